//! Arguments of the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A cluster in a box: a real API server, pods as processes, one network namespace around it all. Needs root.
#[derive(Debug, Parser)]
#[command(name = "ringress-e2e", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Bring a box up; the first time builds the control plane, which takes minutes.
    Up(UpArgs),
    /// Run a command inside a box, with KUBECONFIG set and kubectl, helm and ringress on the PATH.
    Exec(ExecArgs),
    /// End a box and everything in it.
    Down(NameArgs),
    /// List the boxes that are up.
    List,
    /// Do harm to a pod or to a part of the control plane.
    Fault(FaultArgs),
    /// Start echo pods behind the Services of a namespace that have none.
    Backends(BackendsArgs),
    /// The first process of a box or of a container: runs a command, passes signals on, reaps orphans.
    #[command(hide = true)]
    Init(InitArgs),
    /// The process that holds a box together.
    #[command(hide = true)]
    Supervise(SuperviseArgs),
    /// Becomes a container: builds its root, gives up privileges, runs its command.
    #[command(hide = true)]
    Container(ContainerArgs),
    /// Does nothing until told to end.
    #[command(hide = true)]
    Pause,
}

/// Which box is meant.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// Name of the box: several live side by side.
    #[arg(long, value_name = "NAME", default_value = "box", env = "RINGRESS_E2E_NAME")]
    pub name: String,
}

/// Flags of `up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Which box.
    #[command(flatten)]
    pub name: NameArgs,
    /// How many virtual nodes it has.
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub nodes: u8,
    /// Which Kubernetes: 1.36 or 1.31.
    #[arg(long, value_name = "MINOR", default_value = "1.36", env = "RINGRESS_E2E_KUBERNETES")]
    pub kubernetes: String,
    /// The ringress binary that pods run; built by cargo where it is not given.
    #[arg(long, value_name = "FILE", env = "RINGRESS_E2E_RINGRESS")]
    pub ringress: Option<PathBuf>,
    /// One more image: pods that name it run this binary.
    #[arg(long = "image", value_name = "NAME=FILE")]
    pub images: Vec<String>,
    /// Manifests to apply once it is up.
    #[arg(long, value_name = "PATH")]
    pub manifests: Vec<PathBuf>,
    /// Leave it at Kubernetes: install neither ringress nor the beginner example.
    #[arg(long)]
    pub bare: bool,
}

/// Flags of `exec`.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Which box.
    #[command(flatten)]
    pub name: NameArgs,
    /// Run it in the network of this pod, instead of that of the nodes.
    #[arg(long, value_name = "NAMESPACE/POD")]
    pub pod: Option<String>,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Flags of `backends`.
#[derive(Debug, Args)]
pub struct BackendsArgs {
    /// Which box.
    #[command(flatten)]
    pub name: NameArgs,
    /// The namespace of the Services.
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// How many pods for each Service.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub replicas: u32,
}

/// Flags of `fault`.
#[derive(Debug, Args)]
pub struct FaultArgs {
    /// Which box.
    #[command(flatten)]
    pub name: NameArgs,
    /// Which harm.
    #[command(subcommand)]
    pub fault: FaultVerb,
}

/// Which harm.
#[derive(Debug, Clone, Subcommand)]
pub enum FaultVerb {
    /// SIGKILL the containers of a pod; its restart policy says what follows.
    Kill {
        /// NAMESPACE/POD, or a part of the control plane.
        target: String,
    },
    /// SIGSTOP every process of a pod.
    Freeze {
        /// NAMESPACE/POD, or a part of the control plane.
        target: String,
    },
    /// Undo freeze.
    Thaw {
        /// NAMESPACE/POD, or a part of the control plane.
        target: String,
    },
    /// Drop every packet from and to a pod; probes of the kubelet pass.
    Blackhole {
        /// NAMESPACE/POD.
        target: String,
    },
    /// Undo blackhole.
    Heal {
        /// NAMESPACE/POD.
        target: String,
    },
    /// Report a pod as not ready, whatever its probes say.
    Unready {
        /// NAMESPACE/POD.
        target: String,
    },
    /// Undo unready.
    Ready {
        /// NAMESPACE/POD.
        target: String,
    },
    /// Replace the tokens of a pod's service account, as happens elsewhere before they expire.
    Rotate {
        /// NAMESPACE/POD.
        target: String,
    },
    /// End a part of the control plane and keep it down.
    Stop {
        /// etcd, kube-apiserver or kube-controller-manager.
        target: String,
    },
    /// Undo stop.
    Start {
        /// etcd, kube-apiserver or kube-controller-manager.
        target: String,
    },
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// Arguments of `supervise`.
#[derive(Debug, Args)]
pub struct SuperviseArgs {
    /// The folder of the box.
    pub folder: PathBuf,
}

/// Arguments of `container`.
#[derive(Debug, Args)]
pub struct ContainerArgs {
    /// The file that says what the container is.
    pub spec: PathBuf,
    /// The namespaces are there: become it.
    #[arg(long)]
    pub inside: bool,
}
