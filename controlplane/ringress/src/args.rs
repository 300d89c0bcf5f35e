//! Arguments and environment: the only place that reads either.
//!
//! clap knows the flags, their variables, defaults and help; every value is taken as text. [`RunArgs::check`] and its
//! siblings then read all the texts and report all [`Mistakes`] together, before any port is bound. Texts become typed
//! values here and nowhere else; what changes the meaning of objects ends in a `Settings` field.

mod ask;
mod check;
mod clear;
mod cluster;
mod foreign;
mod groups;
mod mistakes;
mod told;
mod values;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use ringress_translate::settings::Settings;

use crate::terminal::quoted;
use ask::{AskArgs, OutputArgs};
pub(crate) use ask::{
    Asked, Caller, Choice, DoctorArgs, DumpArgs, Tell, TellArgs, Wait, WaitArgs, ingress_of,
};
pub(crate) use cluster::{Cluster, Origin};
pub(crate) use mistakes::Mistakes;
pub(crate) use told::Told;

/// Serves Kubernetes Ingress manifests through pinned shards.
#[derive(Debug, Parser)]
#[command(name = "ringress", version, max_term_width = 120, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Plain text on terminals, too; so does the variable NO_COLOR.
    #[arg(long, global = true)]
    no_color: bool,
    #[arg(skip)]
    pub(crate) caller: Caller,
    /// What the flags of the verb are, and who said so.
    #[arg(skip)]
    pub(crate) told: Vec<Told>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

impl Cli {
    /// What the user asks for. Ends the process where help is asked for and where clap refuses the arguments.
    pub(crate) fn read() -> Self {
        let cli = Self::try_read(std::env::args_os()).unwrap_or_else(|refused| refused.exit());
        IS_COLOR_REFUSED.store(cli.no_color, Ordering::Relaxed);
        cli
    }

    fn try_read(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        let is_plugin = arguments.first().is_some_and(|program| is_plugin(Path::new(program)));
        let mut command = foreign::known_to(Self::command());
        if is_plugin {
            command = command.bin_name("kubectl ringress");
        }
        let matches = command.try_get_matches_from_mut(arguments)?;
        let given = matches.subcommand().map(|(_, verb)| given(verb)).unwrap_or_default();
        let is_told_twice = given.contains("manifests") && given.contains("admin");
        match command.find_subcommand_mut("explain") {
            Some(explain) if is_told_twice && matches.subcommand_name() == Some("explain") => {
                return Err(explain.error(ErrorKind::ArgumentConflict, TWO_SOURCES));
            }
            _ => {}
        }
        let told = told::of(&command, &matches);
        let mut cli = Self::from_arg_matches(&matches).map_err(|refused| refused.format(&mut command))?;
        if let (Verb::Run(run), Some((_, flags))) = (&mut cli.verb, matches.subcommand()) {
            run.foreign = foreign::given(flags);
        }
        Ok(Self { caller: Caller { is_plugin, names_admin: given.contains("admin") }, told, ..cli })
    }
}

/// kubectl runs a plugin under a name that begins with its own.
fn is_plugin(program: &Path) -> bool {
    program.file_stem().is_some_and(|name| name == "kubectl-ringress")
}

const TWO_SOURCES: &str =
    "the argument '--manifests <PATH>' cannot be used with '--admin <IP:PORT>': one of them answers";

/// What stands on the command line itself. clap's own conflicts count a variable like a flag, and a variable that is set for
/// the whole shell must not forbid `-f`.
fn given(verb: &ArgMatches) -> BTreeSet<&str> {
    let ids = verb.ids().map(clap::Id::as_str);
    ids.filter(|id| verb.value_source(id) == Some(ValueSource::CommandLine)).collect()
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Serve a cluster, or a folder of manifests, and every change to it.
    Run(Box<RunArgs>),
    /// Try it on this machine: no cluster, no root, echo backends inside the process.
    Dev(DevArgs),
    /// Say which rule takes a URL, what is sent to whom, and why every other rule lost.
    Explain(ExplainArgs),
    /// List everything that is wrong with manifests, or with the objects of a cluster.
    Lint(LintArgs),
    /// Wait until Ingresses are live as they are now, on every shard of every ready replica.
    Wait(WaitArgs),
    /// List the shards of every replica: core, driver, generation, connections, requests.
    Shards(TellArgs),
    /// Look for what keeps requests from being served, and say what to do about it.
    Doctor(DoctorArgs),
    /// List the certificates that are served, and those that are missing.
    Certs(TellArgs),
    /// List the Services behind rules, with their endpoints.
    Backends(TellArgs),
    /// Print the effective configuration: flags, routes, upstreams. Never keys.
    Dump(DumpArgs),
    /// Take the addresses of a ringress that is gone out of the statuses of Ingresses.
    ClearStatus(clear::ClearArgs),
    /// Restore the indentation of manifests that lost it.
    Fmt(FmtArgs),
    /// Answer every request with what was received: a backend to try things with.
    Echo(EchoArgs),
    /// Print the version.
    Version,
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Folder of Kubernetes YAML or JSON to serve and to watch, in place of a cluster.
    #[arg(long, value_name = "DIR", env = "RINGRESS_MANIFESTS")]
    manifests: Option<PathBuf>,
    /// Port for plain text on every address, or off.
    #[arg(long, value_name = "PORT", default_value = "80", env = "RINGRESS_HTTP_PORT")]
    http_port: String,
    /// Port for TLS on every address, or off.
    #[arg(long, value_name = "PORT", default_value = "443", env = "RINGRESS_HTTPS_PORT")]
    https_port: String,
    /// Where health, metrics, routes and explain are answered.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:10254", env = "RINGRESS_ADMIN_ADDRESS")]
    admin_address: String,
    /// Where /healthz, /readyz and /metrics alone are answered, or off.
    #[arg(long, value_name = "IP:PORT", default_value = "off", env = "RINGRESS_HEALTH_ADDRESS")]
    health_address: String,
    /// One line for each exchange on stdout: off, json or clf.
    #[arg(long, value_name = "FORMAT", default_value = "json", env = "RINGRESS_ACCESS_LOG")]
    access_log: String,
    /// How long exchanges under way may go on after SIGTERM; the process ends earlier when nothing is open.
    #[arg(long, value_name = "DURATION", default_value = "30s", env = "RINGRESS_DRAIN_TIMEOUT")]
    drain_timeout: String,
    /// How long to accept on after SIGTERM while /readyz answers 503, before draining.
    #[arg(long, value_name = "DURATION", default_value = "0s", env = "RINGRESS_SHUTDOWN_GRACE_PERIOD")]
    shutdown_grace_period: String,
    #[command(flatten)]
    cluster: cluster::ClusterArgs,
    #[command(flatten)]
    meaning: MeaningArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    #[command(flatten)]
    process: ProcessArgs,
    /// Flags of ingress-nginx that are not ours.
    #[arg(skip)]
    foreign: Vec<&'static foreign::Foreign>,
}

/// Flags of `dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Folder of manifests; without it an embedded example is served.
    #[arg(short = 'f', long = "manifests", value_name = "DIR", env = "RINGRESS_MANIFESTS")]
    manifests: Option<PathBuf>,
    /// Port for plain text, or off.
    #[arg(long, value_name = "PORT", default_value = "8080", env = "RINGRESS_HTTP_PORT")]
    http_port: String,
    /// Port for TLS, or off.
    #[arg(long, value_name = "PORT", default_value = "8443", env = "RINGRESS_HTTPS_PORT")]
    https_port: String,
    /// Address of both ports: this machine alone, or :: for everybody who can reach it.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1", env = "RINGRESS_LISTEN_ADDRESS")]
    listen_address: String,
    /// Where health, metrics, routes and explain are answered.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:10254", env = "RINGRESS_ADMIN_ADDRESS")]
    admin_address: String,
    /// One line for each exchange on stdout: off, json or clf.
    #[arg(long, value_name = "FORMAT", default_value = "off", env = "RINGRESS_ACCESS_LOG")]
    access_log: String,
    #[command(flatten)]
    meaning: MeaningArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    #[command(flatten)]
    process: ProcessArgs,
}

/// Flags of `explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// What a client would ask for, as in http://web.local/cart; or ingress/NAME, for all paths of that object.
    #[arg(value_name = "URL")]
    url: String,
    /// Answer from these manifests (a folder, a file, or - for stdin), not from a process.
    #[arg(short = 'f', long = "manifests", value_name = "PATH")]
    pub(crate) manifests: Option<PathBuf>,
    /// Ask every replica of a cluster, and say where their answers differ.
    #[arg(long)]
    all_replicas: bool,
    /// Request method.
    #[arg(short = 'X', long = "request", value_name = "METHOD", default_value = "GET")]
    method: String,
    /// Request field, as in 'Cookie: a=b'; repeat for more. With 'Host: web.local' the URL may be a path.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    meaning: MeaningArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
}

/// Flags of `lint`.
#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    /// Folders or files; - is stdin. Without one, the objects of a cluster.
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Of a cluster: Ingresses with these labels only, as in app=web.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    meaning: MeaningArgs,
}

/// Flags of `fmt`.
#[derive(Debug, Args)]
pub(crate) struct FmtArgs {
    /// Files; - is stdin.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Replace the files instead of printing.
    #[arg(short = 'w', long)]
    pub(crate) write: bool,
}

/// Flags of `echo`.
#[derive(Debug, Args)]
pub(crate) struct EchoArgs {
    /// Where to listen.
    #[arg(long, value_name = "IP:PORT")]
    listen: String,
    /// The Service to name in answers.
    #[arg(long, value_name = "SERVICE", default_value = "echo")]
    name: String,
    /// The pod to name in answers; the port is added where this is not given.
    #[arg(long, value_name = "POD")]
    pod: Option<String>,
}

/// What changes the meaning of objects; `run`, `dev`, `explain` and `lint` take the same.
#[derive(Debug, Args)]
#[command(next_help_heading = "Meaning of objects")]
struct MeaningArgs {
    /// The IngressClass that is served.
    #[arg(long, value_name = "NAME", default_value = "ringress", env = "RINGRESS_INGRESS_CLASS")]
    ingress_class: String,
    /// The spec.controller of IngressClasses that are served.
    #[arg(
        long,
        value_name = "DOMAIN/NAME",
        default_value = "ringress.dev/ingress-controller",
        env = "RINGRESS_CONTROLLER_CLASS"
    )]
    controller_class: String,
    /// Serve Ingresses that name no class; dev: true, else false.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        env = "RINGRESS_WATCH_INGRESS_WITHOUT_CLASS"
    )]
    watch_ingress_without_class: Option<String>,
    /// The Service that answers what no rule takes; its first port is used.
    #[arg(long, value_name = "NAMESPACE/NAME", env = "RINGRESS_DEFAULT_BACKEND_SERVICE")]
    default_backend_service: Option<String>,
    /// The Secret with the certificate for names that no other certificate covers.
    #[arg(long, value_name = "NAMESPACE/NAME", env = "RINGRESS_DEFAULT_SSL_CERTIFICATE")]
    default_ssl_certificate: Option<String>,
    /// The ConfigMap with the options of ingress-nginx: named in a warning, and not read yet.
    #[arg(long, value_name = "NAMESPACE/NAME", env = "RINGRESS_CONFIGMAP")]
    configmap: Option<String>,
    /// The prefix of foreign annotations that are recognised.
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "nginx.ingress.kubernetes.io",
        env = "RINGRESS_ANNOTATIONS_PREFIX"
    )]
    annotations_prefix: String,
    /// Whose semantics Ingresses follow: strict, which is what Kubernetes documents, without annotations of ingress-nginx
    /// (those that protect close their paths); ingress-nginx is not there yet.
    #[arg(long, value_name = "SEMANTICS", default_value = "strict", env = "RINGRESS_COMPAT")]
    compat: String,
}

/// Limits and timeouts that rules start from.
#[derive(Debug, Args)]
#[command(next_help_heading = "Clients and endpoints")]
struct TrafficArgs {
    /// Port that clients see for plain text, for X-Forwarded-Port; default: the port of --http-port.
    #[arg(long, value_name = "PORT", env = "RINGRESS_HTTP_PUBLIC_PORT")]
    http_public_port: Option<String>,
    /// Port that clients see for TLS, for redirects and X-Forwarded-Port; default: the port of --https-port.
    #[arg(long, value_name = "PORT", env = "RINGRESS_HTTPS_PUBLIC_PORT")]
    https_public_port: Option<String>,
    /// Peers whose X-Forwarded fields are believed: ranges, separated by commas. Nobody by default.
    #[arg(
        long,
        value_name = "CIDR,...",
        default_value = "",
        hide_default_value = true,
        env = "RINGRESS_TRUSTED_PROXIES"
    )]
    trusted_proxies: String,
    /// For a whole request head, and for the TLS handshake (408).
    #[arg(long, value_name = "DURATION", default_value = "10s", env = "RINGRESS_CLIENT_HEADER_TIMEOUT")]
    client_header_timeout: String,
    /// Longest silence inside a request body (408).
    #[arg(long, value_name = "DURATION", default_value = "60s", env = "RINGRESS_CLIENT_BODY_TIMEOUT")]
    client_body_timeout: String,
    /// Longest time in which a client takes no byte of an answer.
    #[arg(long, value_name = "DURATION", default_value = "60s", env = "RINGRESS_CLIENT_WRITE_TIMEOUT")]
    client_write_timeout: String,
    /// Life of an idle client connection.
    #[arg(long, value_name = "DURATION", default_value = "75s", env = "RINGRESS_CLIENT_IDLE_TIMEOUT")]
    client_idle_timeout: String,
    /// For a TCP connection to an endpoint (504).
    #[arg(long, value_name = "DURATION", default_value = "5s", env = "RINGRESS_CONNECT_TIMEOUT")]
    connect_timeout: String,
    /// Longest silence of an endpoint, for the head (504) and inside the body.
    #[arg(long, value_name = "DURATION", default_value = "60s", env = "RINGRESS_UPSTREAM_RESPONSE_TIMEOUT")]
    upstream_response_timeout: String,
    /// Life of an unused connection to an endpoint.
    #[arg(long, value_name = "DURATION", default_value = "60s", env = "RINGRESS_UPSTREAM_IDLE_TIMEOUT")]
    upstream_idle_timeout: String,
    /// Longest silence in both directions of a tunnel, such as a WebSocket.
    #[arg(long, value_name = "DURATION", default_value = "1h", env = "RINGRESS_TUNNEL_IDLE_TIMEOUT")]
    tunnel_idle_timeout: String,
    /// Largest request body in bytes, as in 1MiB, or unlimited (413).
    #[arg(long, value_name = "SIZE", default_value = "unlimited", env = "RINGRESS_MAX_BODY_BYTES")]
    max_body_bytes: String,
    /// Largest request head in bytes, at most 64KiB (431).
    #[arg(long, value_name = "SIZE", default_value = "64KiB", env = "RINGRESS_MAX_HEADER_BYTES")]
    max_header_bytes: String,
}

/// What holds for the whole process.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
struct ProcessArgs {
    /// Number of shards; auto: what CPU quota and affinity allow.
    #[arg(long, value_name = "COUNT", default_value = "auto", env = "RINGRESS_SHARDS")]
    shards: String,
    /// Whether each shard keeps to one core: auto (when there are as many as shards), always or never.
    #[arg(long, value_name = "WHEN", default_value = "auto", env = "RINGRESS_PIN")]
    pin: String,
    /// How shards do input and output: auto, io_uring or epoll.
    #[arg(long, value_name = "DRIVER", default_value = "auto", env = "RINGRESS_IO_DRIVER")]
    io_driver: String,
    /// What is logged: error, warn, info (the default of run), debug, trace, or directives by module.
    #[arg(long, value_name = "LEVEL", env = "RINGRESS_LOG_LEVEL")]
    log_level: Option<String>,
}

/// `run`, read.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) origin: Origin,
    pub(crate) admin_address: SocketAddr,
    pub(crate) health_address: Option<SocketAddr>,
    pub(crate) drain_timeout: Duration,
    pub(crate) shutdown_grace_period: Duration,
    pub(crate) settings: Settings,
    pub(crate) process: Process,
    /// Flags that are taken and change nothing, each with why.
    pub(crate) ignored: Vec<(&'static str, &'static str)>,
}

/// `dev`, read.
#[derive(Debug)]
pub(crate) struct Dev {
    /// `None`: the embedded example.
    pub(crate) manifests: Option<PathBuf>,
    pub(crate) admin_address: SocketAddr,
    pub(crate) settings: Settings,
    pub(crate) process: Process,
}

/// `explain`, read.
#[derive(Debug)]
pub(crate) struct Explain {
    /// A URL, or `ingress/NAME`.
    pub(crate) url: String,
    pub(crate) method: String,
    /// Name and value, as given.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) source: ExplainSource,
    pub(crate) is_every_replica: bool,
    pub(crate) output: Output,
}

/// Who answers `explain`.
#[derive(Debug)]
pub(crate) enum ExplainSource {
    /// These manifests.
    Manifests(PathBuf, Box<Settings>),
    /// What runs.
    Asked(Asked),
}

/// `lint`, read.
#[derive(Debug)]
pub(crate) struct Lint {
    pub(crate) source: LintSource,
    pub(crate) settings: Settings,
    pub(crate) output: Output,
}

/// What is judged.
#[derive(Debug)]
pub(crate) enum LintSource {
    /// Folders and files.
    Manifests(Vec<PathBuf>),
    /// The objects of a cluster; of Ingresses those that the selector takes.
    Cluster(Choice, Option<String>),
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Output {
    /// For people.
    #[default]
    Text,
    /// For people with wide screens.
    Wide,
    /// Names alone, one a line.
    Name,
    /// For programs; its shape is stable.
    Json,
    /// The same.
    Yaml,
}

/// What holds for the whole process.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// `None`: as many as quota and affinity allow.
    pub(crate) shards: Option<usize>,
    pub(crate) pin: Pin,
    pub(crate) io_driver: Driver,
    /// `None`: what suits the verb.
    pub(crate) log_level: Option<String>,
}

/// Whether shards keep to one core each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Pin {
    /// When there are as many allowed cores as shards.
    #[default]
    Auto,
    /// Also when shards have to share.
    Always,
    /// The kernel decides.
    Never,
}

/// How shards do input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Driver {
    /// The best that the kernel allows.
    #[default]
    Auto,
    /// io_uring or an error.
    IoUring,
    /// epoll.
    Epoll,
}

/// Whether the user asks for plain text, us by a flag or every program by a variable (no-color.org).
pub(crate) fn is_color_refused() -> bool {
    IS_COLOR_REFUSED.load(Ordering::Relaxed)
        || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Set once, before anything is printed.
static IS_COLOR_REFUSED: AtomicBool = AtomicBool::new(false);

/// How the running program can be called again: as short as it works from here, for a shell.
pub(crate) fn program() -> String {
    let Ok(program) = std::env::current_exe() else { return "ringress".to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |folder: PathBuf| folder.join(program.file_name()?).canonicalize().ok();
    let in_path = std::env::split_paths(&path).find_map(found);
    quoted(&called_again(&program, &here, in_path.as_deref()))
}

/// A bare name works only where PATH has this very program under it, and a file of the current folder needs its `./`.
fn called_again(program: &Path, here: &Path, in_path: Option<&Path>) -> String {
    let text = |path: &Path| path.display().to_string();
    match (program.file_name(), program.strip_prefix(here)) {
        (Some(name), _) if in_path == Some(program) => text(name.as_ref()),
        (_, Ok(below)) if below.components().count() == 1 => format!("./{}", below.display()),
        (_, Ok(below)) => text(below),
        (_, Err(_)) => text(program),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_called_so_that_a_shell_finds_it() {
        let check = |here: &str, in_path: Option<&str>, expected: &str| {
            let called = called_again(Path::new("/a/b/ringress"), Path::new(here), in_path.map(Path::new));
            assert_eq!(called, expected, "from {here}, PATH has {in_path:?}");
        };
        check("/a/b", None, "./ringress");
        check("/a", None, "b/ringress");
        check("/", None, "a/b/ringress");
        check("/other", None, "/a/b/ringress");
        check("/other", Some("/a/b/ringress"), "ringress");
        check("/a/b", Some("/a/b/ringress"), "ringress");
        check("/a/b", Some("/usr/bin/ringress"), "./ringress");
    }
}
