//! One running controller: a process of this machine or a pod, and the way to its admin address.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::connection::Complaint;
use super::{Connection, Unreachable, forbidden, unreachable};

/// One running controller.
#[derive(Clone)]
pub(crate) struct Replica {
    /// `namespace/pod`, or the admin address of a process.
    pub(crate) name: String,
    /// The release that the pod is of, as `namespace/name`; `None` for a process. What one replica was told, those of its
    /// release were told, and no other.
    pub(crate) release: Option<String>,
    /// The node of a pod.
    pub(crate) node: Option<String>,
    /// Of a pod.
    pub(crate) labels: BTreeMap<String, String>,
    /// Why requests are not sent to it; `None`: it is ready.
    pub(crate) unready: Option<String>,
    way: Way,
}

#[derive(Clone)]
enum Way {
    Process(SocketAddr),
    /// Boxed: a client is large.
    Pod {
        pods: Box<Api<Pod>>,
        pod: String,
        port: u16,
    },
}

impl Replica {
    /// The process behind this admin address.
    pub(crate) fn process(address: SocketAddr) -> Self {
        Self {
            name: address.to_string(),
            release: None,
            node: None,
            labels: BTreeMap::new(),
            unready: None,
            way: Way::Process(address),
        }
    }

    pub(super) fn pod(pods: Api<Pod>, pod: &Pod) -> Self {
        let namespace = pod.namespace().unwrap_or_default();
        Self {
            name: format!("{namespace}/{}", pod.name_any()),
            release: Some(release(&namespace, pod)),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
            labels: pod.labels().clone(),
            unready: unready(pod),
            way: Way::Pod { pods: Box::new(pods), pod: pod.name_any(), port: admin_port(pod) },
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.unready.is_none()
    }

    /// A connection to its admin address.
    ///
    /// # Errors
    /// It cannot be reached; the text says who, and what to look at.
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let connected = timeout(PATIENCE, self.way.connect()).await;
        let connected = connected.unwrap_or_else(|_| bail!("no connection within {} s", PATIENCE.as_secs()));
        connected.map_err(|error| self.cannot_be_asked(&error))
    }

    /// What a page of it says.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), and an answer that is none.
    pub(crate) async fn get<T: DeserializeOwned>(&self, page: &str) -> anyhow::Result<T> {
        let asked = self.connect().await?.get(page).await;
        asked.map_err(|error| self.cannot_be_asked(&error))
    }

    /// Says who it is, where the error does not yet.
    pub(crate) fn cannot_be_asked(&self, error: &anyhow::Error) -> anyhow::Error {
        if let Some(Unreachable { said, is_forbidden }) = error.downcast_ref() {
            return if *is_forbidden { forbidden(said) } else { unreachable(said) };
        }
        let next = match &self.way {
            Way::Process(_) => "; is ringress running, and is this its --admin-address?".to_owned(),
            Way::Pod { port, .. } => match &self.unready {
                Some(why) => format!(" (port {port}; {why})"),
                None => format!(" (port {port})"),
            },
        };
        let said = format!("cannot ask {}{next}: {error:#}", self.name);
        if error.is::<NotAllowed>() { forbidden(said) } else { unreachable(said) }
    }
}

impl Way {
    async fn connect(&self) -> anyhow::Result<Connection> {
        match self {
            Self::Process(address) => Connection::over(TcpStream::connect(address).await?).await,
            Self::Pod { pods, pod, port } => {
                let forwarded = pods.portforward(pod, &[*port]).await;
                let mut forwarded = forwarded.map_err(|error| refused(&error))?;
                let stream = forwarded.take_stream(*port).context("the port was not forwarded")?;
                let complaint = forwarded.take_error(*port).map(|error| Box::pin(error) as Complaint);
                Ok(Connection::over(stream).await?.with_complaint(complaint))
            }
        }
    }
}

/// Whoever asks may not forward ports.
#[derive(Debug)]
struct NotAllowed(String);

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; it takes the right to create pods/portforward in its namespace", self.0)
    }
}

impl std::error::Error for NotAllowed {}

fn refused(error: &kube::Error) -> anyhow::Error {
    let text = error.to_string();
    match text.contains("403") {
        true => anyhow::Error::new(NotAllowed(text)),
        false => anyhow::anyhow!(text),
    }
}

/// Which release a pod is of: as helm names it, and where nothing does, whatever runs in one namespace is one.
fn release(namespace: &str, pod: &Pod) -> String {
    match pod.labels().get("app.kubernetes.io/instance") {
        Some(instance) => format!("{namespace}/{instance}"),
        None => namespace.to_owned(),
    }
}

/// Why a pod gets no requests.
fn unready(pod: &Pod) -> Option<String> {
    if pod.metadata.deletion_timestamp.is_some() {
        return Some("the pod is ending".to_owned());
    }
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    if phase != "Running" {
        let waiting = status.and_then(waiting).map(|why| format!(": {why}")).unwrap_or_default();
        return Some(format!("the pod is {phase}{waiting}"));
    }
    let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let ready = conditions.clone().find(|condition| condition.type_ == "Ready");
    match ready {
        Some(ready) if ready.status == "True" => None,
        _ => {
            let waiting = status.and_then(waiting).map(|why| format!(": {why}")).unwrap_or_default();
            Some(format!("the pod is not ready{waiting}"))
        }
    }
}

/// What the first container that does not run waits for.
fn waiting(status: &k8s_openapi::api::core::v1::PodStatus) -> Option<String> {
    let states = status.container_statuses.iter().flatten().filter_map(|container| container.state.as_ref());
    let mut reasons = states.filter_map(|state| state.waiting.as_ref()?.reason.clone());
    reasons.next()
}

/// The port of `--admin-address`, as the pod was told it.
fn admin_port(pod: &Pod) -> u16 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .filter_map(told_address)
        .find_map(|address| address.parse::<SocketAddr>().ok())
        .map_or(ADMIN_PORT, |address| address.port())
}

/// A flag beats its variable.
fn told_address(container: &Container) -> Option<String> {
    let words: Vec<&String> = container.command.iter().chain(&container.args).flatten().collect();
    let flag =
        words.iter().enumerate().rev().find_map(|(at, word)| match word.strip_prefix("--admin-address") {
            Some("") => words.get(at + 1).map(|next| next.to_string()),
            Some(rest) => rest.strip_prefix('=').map(str::to_owned),
            None => None,
        });
    let variable = || {
        let found = container.env.iter().flatten().find(|variable| variable.name == "RINGRESS_ADMIN_ADDRESS");
        found?.value.clone()
    };
    flag.or_else(variable)
}

/// Where the admin listens unless it is told otherwise.
const ADMIN_PORT: u16 = 10254;

/// For a connection, through the API server or to a process.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(value: Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_admin_port_is_the_one_that_the_pod_was_told() {
        let check = |container: Value, expected: u16| {
            let found = admin_port(&pod(json!({"spec": {"containers": [{"name": "sidecar"}, container]}})));
            assert_eq!(found, expected, "{container}");
        };
        check(json!({"name": "c"}), 10254);
        check(json!({"name": "c", "args": ["run", "--admin-address=127.0.0.1:10255"]}), 10255);
        check(json!({"name": "c", "args": ["run", "--admin-address", "[::1]:7"]}), 7);
        check(json!({"name": "c", "command": ["ringress", "run", "--admin-address=127.0.0.1:9"]}), 9);
        let variable = json!([{"name": "RINGRESS_ADMIN_ADDRESS", "value": "127.0.0.1:8"}]);
        check(json!({"name": "c", "env": variable}), 8);
        check(json!({"name": "c", "env": variable, "args": ["--admin-address=127.0.0.1:9"]}), 9);
        check(json!({"name": "c", "args": ["--admin-address=$(WHERE)"]}), 10254);
    }

    #[test]
    fn pods_of_one_release_are_known_by_namespace_and_instance() {
        let of = |labels: Value| release("edge", &pod(json!({"metadata": {"labels": labels}})));
        assert_eq!(of(json!({"app.kubernetes.io/instance": "ng"})), "edge/ng");
        assert_eq!(of(json!({"ringress.dev/component": "controller"})), "edge");
    }

    #[test]
    fn a_pod_is_ready_when_it_says_so_and_does_not_end() {
        let check = |value: Value, expected: Option<&str>| {
            assert_eq!(unready(&pod(value.clone())).as_deref(), expected, "{value}");
        };
        let status =
            |ready: &str| json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]});
        check(json!({"status": status("True")}), None);
        check(json!({"status": status("False")}), Some("the pod is not ready"));
        let ending = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        check(json!({"metadata": ending, "status": status("True")}), Some("the pod is ending"));
        check(json!({}), Some("the pod is Pending"));
        let waiting = json!([{"name": "c", "ready": false, "image": "", "imageID": "", "restartCount": 0,
            "state": {"waiting": {"reason": "ImagePullBackOff"}}}]);
        let pending = json!({"phase": "Pending", "containerStatuses": waiting});
        check(json!({"status": pending}), Some("the pod is Pending: ImagePullBackOff"));
    }
}
