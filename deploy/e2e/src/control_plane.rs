//! etcd, the API server and the controller manager: their arguments, and who restarts them.
//!
//! A part that ends by itself or is killed comes back; one that was stopped on purpose stays down until it is started.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

use crate::boxes::{self, Cluster, Plan};
use crate::certificates::Pki;
use crate::control::Fault;
use crate::net::{API_PORT, API_SERVICE, GATEWAY, SERVICES};

/// What is run; without node-lifecycle, no heartbeats are missed.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller,\
    job-controller,cronjob-controller,endpointslice-controller,endpointslice-mirroring-controller,endpoints-controller,\
    namespace-controller,garbage-collector-controller,serviceaccount-controller,serviceaccount-token-controller,\
    root-ca-certificate-publisher-controller,pod-garbage-collector-controller,disruption-controller,\
    horizontal-pod-autoscaler-controller,clusterrole-aggregation-controller,validatingadmissionpolicy-status-controller,\
    resourcequota-controller,ttl-after-finished-controller";

/// One program of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Etcd,
    ApiServer,
    ControllerManager,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Etcd, Self::ApiServer, Self::ControllerManager];

    /// By the name of its program.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.program() == name)
    }

    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
        }
    }
}

/// Handles to the running control plane.
#[derive(Debug, Clone)]
pub(crate) struct ControlPlane {
    keepers: [mpsc::Sender<Order>; 3],
}

type Order = (Fault, oneshot::Sender<anyhow::Result<()>>);

impl ControlPlane {
    /// Makes certificates and kubeconfig and starts everything; it becomes ready in its own time.
    ///
    /// # Errors
    /// Files cannot be written, or a program not started.
    pub(crate) fn start(inside: &Cluster, plan: &Plan) -> anyhow::Result<Self> {
        let pki = Pki::at(&inside.pki());
        pki.create(&[
            &GATEWAY.to_string(),
            &API_SERVICE.to_string(),
            "127.0.0.1",
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ])?;
        write_kubeconfig(inside, &pki)?;
        write_audit_policy(inside)?;
        let keep = |part: Part| -> anyhow::Result<mpsc::Sender<Order>> {
            let keeper = Keeper::new(part, inside, plan, &pki)?;
            let (orders, received) = mpsc::channel(4);
            tokio::spawn(keeper.run(received));
            Ok(orders)
        };
        Ok(Self { keepers: [keep(Part::Etcd)?, keep(Part::ApiServer)?, keep(Part::ControllerManager)?] })
    }

    /// Does harm to a part, or undoes it.
    ///
    /// # Errors
    /// That harm is for pods only.
    pub(crate) async fn harm(&self, part: Part, fault: Fault) -> anyhow::Result<()> {
        let (done, answer) = oneshot::channel();
        let keeper = &self.keepers[Part::ALL.iter().position(|one| *one == part).unwrap_or_default()];
        keeper.send((fault, done)).await.context("the control plane is ending")?;
        answer.await.context("the control plane is ending")?
    }
}

/// Keeps one part running.
struct Keeper {
    part: Part,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
    wanted: bool,
}

impl Keeper {
    fn new(part: Part, inside: &Cluster, plan: &Plan, pki: &Pki) -> anyhow::Result<Self> {
        let mut keeper = Self {
            part,
            program: plan.kubernetes.clone(),
            arguments: arguments(part, inside, pki),
            log: inside.logs().join(format!("{}.log", part.program())),
            child: None,
            wanted: true,
        };
        keeper.spawn()?;
        Ok(keeper)
    }

    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            tokio::select! {
                order = orders.recv() => {
                    let Some((fault, done)) = order else { return };
                    // Whoever asked may have gone.
                    let _ = done.send(self.obey(fault).await);
                }
                () = ended(&mut self.child) => {
                    self.child = None;
                    if self.wanted {
                        tracing::warn!(part = self.part.program(), "part of the control plane ended, starting it again");
                        tokio::time::sleep(Duration::from_millis(200)).await;
                        if let Err(error) = self.spawn() {
                            tracing::error!(part = self.part.program(), %error, "part of the control plane does not start");
                        }
                    }
                }
            }
        }
    }

    async fn obey(&mut self, fault: Fault) -> anyhow::Result<()> {
        match fault {
            Fault::Kill => self.signal(Signal::KILL),
            Fault::Freeze => self.signal(Signal::STOP),
            Fault::Thaw => self.signal(Signal::CONT),
            Fault::Stop => {
                self.wanted = false;
                self.signal(Signal::KILL);
                ended(&mut self.child).await;
                self.child = None;
            }
            Fault::Start => {
                self.wanted = true;
                if self.child.is_none() {
                    self.spawn()?;
                }
            }
            Fault::Blackhole | Fault::Heal | Fault::Ready | Fault::Unready | Fault::Rotate => {
                bail!(
                    "{fault:?} is for pods; {} knows kill, freeze, thaw, stop and start",
                    self.part.program()
                )
            }
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.as_ref().and_then(Child::id) {
            boxes::signal(pid.cast_signed(), signal);
        }
    }

    fn spawn(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.program)
            .arg(self.part.program())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }
}

/// When the child ends; never where there is none.
async fn ended(child: &mut Option<Child>) {
    match child {
        Some(child) => drop(child.wait().await),
        None => std::future::pending().await,
    }
}

fn arguments(part: Part, inside: &Cluster, pki: &Pki) -> Vec<String> {
    match part {
        Part::Etcd => vec![format!("--data-dir={}", inside.folder().join("etcd").display())],
        Part::ApiServer => api_server_arguments(inside, pki),
        Part::ControllerManager => controller_manager_arguments(inside, pki),
    }
}

fn api_server_arguments(inside: &Cluster, pki: &Pki) -> Vec<String> {
    let (certificate, key) = pki.pair("apiserver");
    let (client_certificate, client_key) = pki.pair("admin");
    let (tokens, signing) = pki.tokens();
    vec![
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        format!("--service-cluster-ip-range={SERVICES}"),
        "--authorization-mode=RBAC".to_owned(),
        format!("--secure-port={API_PORT}"),
        format!("--bind-address={GATEWAY}"),
        format!("--advertise-address={GATEWAY}"),
        format!("--tls-cert-file={}", certificate.display()),
        format!("--tls-private-key-file={}", key.display()),
        format!("--client-ca-file={}", pki.authority().display()),
        format!("--kubelet-client-certificate={}", client_certificate.display()),
        format!("--kubelet-client-key={}", client_key.display()),
        // The address of a node belongs to the network of its host pods; all kubelets are one and listen in the box.
        "--kubelet-preferred-address-types=InternalDNS".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", tokens.display()),
        format!("--service-account-signing-key-file={}", signing.display()),
        "--allow-privileged=true".to_owned(),
        format!("--audit-policy-file={}", audit_policy(inside).display()),
        format!("--audit-log-path={}", inside.logs().join("audit.log").display()),
        "--profiling=false".to_owned(),
        // Tests create thousands of objects at once: being held back would measure the API server's politeness.
        "--max-requests-inflight=3000".to_owned(),
        "--max-mutating-requests-inflight=1000".to_owned(),
    ]
}

fn controller_manager_arguments(inside: &Cluster, pki: &Pki) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", inside.kubeconfig().display()),
        "--leader-elect=false".to_owned(),
        format!("--service-account-private-key-file={}", pki.tokens().1.display()),
        format!("--root-ca-file={}", pki.authority().display()),
        "--kube-api-qps=2000".to_owned(),
        "--kube-api-burst=4000".to_owned(),
        "--concurrent-service-endpoint-syncs=10".to_owned(),
        "--concurrent-deployment-syncs=10".to_owned(),
        "--concurrent-replicaset-syncs=10".to_owned(),
        "--concurrent-namespace-syncs=10".to_owned(),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--controllers={CONTROLLERS}"),
    ]
}

fn audit_policy(inside: &Cluster) -> PathBuf {
    inside.folder().join("audit-policy")
}

/// What pods ask, and what they are told: whether somebody has all rights that it needs is read there.
fn write_audit_policy(inside: &Cluster) -> anyhow::Result<()> {
    let policy = serde_json::json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}],
    });
    let path = audit_policy(inside);
    // JSON is YAML.
    fs::write(&path, policy.to_string()).with_context(|| format!("cannot write {}", path.display()))
}

fn write_kubeconfig(inside: &Cluster, pki: &Pki) -> anyhow::Result<()> {
    let (certificate, key) = pki.pair("admin");
    let config = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": inside.name(), "cluster": {
            "server": format!("https://{GATEWAY}:{API_PORT}"),
            "certificate-authority": pki.authority(),
        }}],
        "users": [{"name": "admin", "user": {"client-certificate": certificate, "client-key": key}}],
        "contexts": [{"name": inside.name(), "context": {"cluster": inside.name(), "user": "admin"}}],
        "current-context": inside.name(),
    });
    let path = inside.kubeconfig();
    // JSON is YAML.
    fs::write(&path, serde_json::to_vec_pretty(&config)?)
        .with_context(|| format!("cannot write {}", path.display()))
}
