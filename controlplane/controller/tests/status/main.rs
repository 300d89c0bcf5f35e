//! From an object of a cluster to its status and its Events, over shards that acknowledge.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod broken_secrets;
mod clearing;
mod events;
mod replicas;
mod troubles;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ringress_controller::source::kube::{Access, KubeSource, Patience, Scope};
use ringress_controller::status::{self, Clearing, Publish, StatusConfig};
use ringress_controller::{Config, Controller, Ended, Error, Readiness, Source};
use ringress_translate::Settings;
use serde_json::{Value, json};
use support::api_server::ApiServer;
use support::{FakeShard, eventually, ports, shards};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

struct Running {
    shards: Vec<Arc<FakeShard>>,
    admin: SocketAddr,
    stop: mpsc::Sender<()>,
    ended: JoinHandle<Result<Ended, Error>>,
    writer: JoinHandle<()>,
}

impl Running {
    /// Ends in order, as after SIGTERM.
    async fn end(self) {
        self.stop.send(()).await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(5), self.ended).await;
        ended.expect("it goes on").unwrap().unwrap();
        self.writer.await.unwrap();
    }
}

/// A controller without its writer.
struct Silent {
    shards: Vec<Arc<FakeShard>>,
    admin: SocketAddr,
    stop: mpsc::Sender<()>,
    ended: JoinHandle<Result<Ended, Error>>,
    readiness: Readiness,
}

impl Silent {
    fn with(self, writer: status::Writer) -> Running {
        let Self { shards, admin, stop, ended, readiness } = self;
        Running { shards, admin, stop, ended, writer: tokio::spawn(writer.run(readiness)) }
    }
}

/// What differs between tests.
struct Flags {
    pod: &'static str,
    publish: Publish,
    clear_on_shutdown: bool,
    internal: bool,
    read_again: Duration,
    confirm: Duration,
    election_id: &'static str,
    watched: BTreeSet<String>,
    scope: Scope,
}

impl Default for Flags {
    fn default() -> Self {
        let publish = Publish::Addresses(vec!["192.0.2.7".to_owned()]);
        Self {
            pod: "ringress-0",
            publish,
            clear_on_shutdown: true,
            internal: false,
            read_again: Duration::from_secs(60),
            confirm: Duration::from_secs(10),
            election_id: "ringress-leader",
            watched: BTreeSet::new(),
            scope: Scope::default(),
        }
    }
}

/// A controller over two fake shards that serves the scripted cluster and writes to it.
fn run(server: &ApiServer) -> Running {
    run_with(server, Flags::default())
}

/// Another replica.
fn run_as(server: &ApiServer, pod: &'static str) -> Running {
    run_with(server, Flags { pod, ..Flags::default() })
}

fn run_with(server: &ApiServer, flags: Flags) -> Running {
    let (controller, writer) = start(server, flags);
    controller.with(writer)
}

/// A controller that runs, and its writer, which does not yet.
fn start(server: &ApiServer, flags: Flags) -> (Silent, status::Writer) {
    let access = Access { kubeconfig: Some(server.kubeconfig("http")), context: None };
    let source = KubeSource::new(access.clone(), flags.scope, Patience::default());
    let config = StatusConfig {
        access,
        publish: Some(flags.publish),
        watched: flags.watched,
        report_internal_addresses: flags.internal,
        clear_on_shutdown: flags.clear_on_shutdown,
        read_again: flags.read_again,
        confirm: flags.confirm,
        election_id: flags.election_id.to_owned(),
        pod_name: Some(flags.pod.to_owned()),
        pod_namespace: Some("ringress".to_owned()),
    };
    let (writer, mut feed) = status::writer(config, source.progress());
    let nowhere = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let config = Config {
        source: Source::Cluster(Box::new(source)),
        settings: Settings { http: nowhere, https: None, ..Settings::default() },
        admin_address: nowhere,
        health_address: None,
        drain_timeout: Duration::from_secs(1),
        shutdown_grace_period: Duration::ZERO,
        overlay: None,
        explain: Arc::new(|_, question| Ok(question)),
        on_generation: Box::new(move |report| feed.tell(report)),
    };
    let (shards, events) = shards(2);
    let controller = Controller::new(config, ports(&shards), events).unwrap();
    let admin = controller.admin_address().unwrap();
    let readiness = controller.readiness();
    let (stop, stopped) = mpsc::channel(2);
    let ended = tokio::spawn(controller.run_until(stopped));
    (Silent { shards, admin, stop, ended, readiness }, writer)
}

fn ingress(name: &str, class: &str, host: &str, service: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name, "uid": format!("uid-{name}")},
        "spec": {"ingressClassName": class, "rules": [{"host": host, "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}},
        ]}}]},
    })
}

/// A cluster with a class, a Service and an Ingress.
async fn cluster() -> ApiServer {
    let server = ApiServer::start().await;
    let class = |name: &str, controller: &str| json!({"metadata": {"name": name}, "spec": {"controller": controller}});
    server.put("ingressclasses", class("ringress", "ringress.dev/ingress-controller"));
    server.put("ingressclasses", class("other", "example.test/other"));
    server.put(
        "services",
        json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"ports": [{"port": 80}]}}),
    );
    server.put("endpointslices", json!({
        "metadata": {"namespace": "shop", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"port": 8080}],
        "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": true}}],
    }));
    server.put("ingresses", ingress("web", "ringress", "a.test", "web"));
    server
}

fn addresses(server: &ApiServer, name: &str) -> Value {
    server.object("ingresses", "shop", name).unwrap()["status"]["loadBalancer"]["ingress"].clone()
}

/// Reason and note of every Event about an object.
fn events(server: &ApiServer, name: &str) -> Vec<(String, String)> {
    let about = |event: &Value| event["regarding"]["name"] == name;
    let text = |event: &Value, key: &str| event[key].as_str().unwrap().to_owned();
    let events = server.objects("events").into_iter().filter(about);
    events.map(|event| (text(&event, "reason"), text(&event, "note"))).collect()
}

fn holder(server: &ApiServer) -> String {
    let lease = server.object("leases", "ringress", "ringress-leader").unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

/// Waits until that pod leads.
async fn until_led_by(server: &ApiServer, pod: &str) {
    eventually(async || holder(server), |holder| holder.starts_with(&format!("{pod}_"))).await;
}

/// Waits until so many replicas show what they serve.
async fn until_shown(server: &ApiServer, count: usize) {
    let shown = async || {
        let leases = server.objects("leases");
        leases
            .iter()
            .filter(|lease| lease["metadata"]["labels"]["ringress.dev/replica-of"] == "ringress-leader")
            .count()
    };
    eventually(shown, |found| *found == count).await;
}

/// Two replicas, of which the first leads.
async fn two(server: &ApiServer) -> (Running, Running) {
    let one = run_as(server, "ringress-0");
    until_led_by(server, "ringress-0").await;
    let two = run_as(server, "ringress-1");
    until_shown(server, 2).await;
    eventually(async || addresses(server, "web"), |found| found.is_array()).await;
    (one, two)
}

/// What takes the addresses out when ringress is gone.
fn clearing(server: &ApiServer) -> Clearing {
    Clearing {
        access: Access { kubeconfig: Some(server.kubeconfig("http")), context: None },
        namespace: Some("ringress".to_owned()),
        election_id: "ringress-leader".to_owned(),
        watched: ["shop".to_owned()].into(),
        served: BTreeSet::new(),
        keeps_addresses: false,
        is_forced: false,
    }
}
