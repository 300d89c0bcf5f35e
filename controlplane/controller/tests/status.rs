//! From an object of a cluster to its status and its Events, over shards that acknowledge.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringress_controller::source::kube::{Access, KubeSource, Patience, Scope};
use ringress_controller::status::{self, Publish, StatusConfig};
use ringress_controller::{Config, Controller, Ended, Error, Source};
use ringress_translate::Settings;
use serde_json::{Value, json};
use support::api_server::{ApiServer, Call, Fault};
use support::{FakeShard, eventually, get, ports, shards};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

struct Running {
    shards: Vec<Arc<FakeShard>>,
    admin: SocketAddr,
    stop: mpsc::Sender<()>,
    ended: JoinHandle<Result<Ended, Error>>,
}

/// A controller over two fake shards that serves the scripted cluster and writes to it.
fn run(server: &ApiServer) -> Running {
    let access = Access { kubeconfig: Some(server.kubeconfig("http")), context: None };
    let source = KubeSource::new(access.clone(), Scope::default(), Patience::default());
    let (writer, feed) = status::writer(StatusConfig {
        access,
        publish: Some(Publish::Addresses(vec!["192.0.2.7".to_owned()])),
        election_id: "ringress-leader".to_owned(),
        pod_name: Some("ringress-0".to_owned()),
        pod_namespace: Some("ringress".to_owned()),
    });
    tokio::spawn(writer.run());
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
    let (stop, stopped) = mpsc::channel(2);
    let ended = tokio::spawn(controller.run_until(stopped));
    Running { shards, admin, stop, ended }
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

#[tokio::test]
async fn an_ingress_gets_the_address_and_loses_it_with_its_class() {
    let server = cluster().await;
    server.put("ingresses", ingress("foreign", "other", "b.test", "web"));
    let running = run(&server);
    eventually(async || addresses(&server, "web"), |found| *found == json!([{"ip": "192.0.2.7"}])).await;
    assert_eq!(addresses(&server, "foreign"), Value::Null);
    // As the API server does it: a change of the spec leaves the status.
    let mut moved = ingress("web", "other", "a.test", "web");
    moved["status"] = server.object("ingresses", "shop", "web").unwrap()["status"].clone();
    server.put("ingresses", moved);
    eventually(async || addresses(&server, "web"), |found| found.is_null()).await;
    let writes = server.requests().into_iter().filter(|request| request.path.ends_with("/status")).count();
    assert_eq!(writes, 2, "one to set, one to clear");
    drop(running);
}

#[tokio::test]
async fn a_change_is_said_to_be_applied_once_every_shard_serves_it() {
    let server = cluster().await;
    let running = run(&server);
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    assert!(events(&server, "web").is_empty(), "at the start nothing is new: {:?}", events(&server, "web"));
    running.shards[1].obedient.store(false, Ordering::SeqCst);
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    eventually(
        async || get(running.admin, "/generation").await.json()["generation"].clone(),
        |found| *found == 2,
    )
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(events(&server, "late").is_empty(), "one shard is behind");
    let begun = Instant::now();
    running.shards[1].obey();
    let said = eventually(async || events(&server, "late"), |found| !found.is_empty()).await;
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].0, "Applied");
    assert!(said[0].1.starts_with("live as generation 2 on 2 shards after "), "{said:?}");
}

#[tokio::test]
async fn what_is_wrong_is_said_at_the_object_and_counted_when_it_comes_back() {
    let server = cluster().await;
    server.put("ingresses", ingress("web", "ringress", "a.test", "missing"));
    let _running = run(&server);
    let said = eventually(async || events(&server, "web"), |found| !found.is_empty()).await;
    assert_eq!(said[0].0, "BackendNotFound", "{said:?}");
    server.put("ingresses", ingress("web", "ringress", "a.test", "web"));
    eventually(async || events(&server, "web").len(), |found| *found == 2).await;
    server.put("ingresses", ingress("web", "ringress", "a.test", "missing"));
    let counted = async || {
        let warnings = server.objects("events").into_iter().filter(|event| event["type"] == "Warning");
        warnings.map(|event| event["series"]["count"].clone()).collect::<Vec<_>>()
    };
    eventually(counted, |counts| counts == &[json!(2)]).await;
}

#[tokio::test]
async fn two_replicas_have_one_writer() {
    let server = cluster().await;
    let (_one, _two) = (run(&server), run(&server));
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    eventually(async || events(&server, "late").len(), |found| *found == 1).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(events(&server, "late").len(), 1);
    let writes = server.requests().into_iter().filter(|request| request.path.ends_with("/status")).count();
    assert_eq!(writes, 2, "one per Ingress");
    let lease = server.object("leases", "ringress", "ringress-leader").unwrap();
    assert!(lease["spec"]["holderIdentity"].as_str().unwrap().starts_with("ringress-0_"), "{lease}");
}

#[tokio::test]
async fn readiness_names_what_is_missing_and_a_signal_ends_the_waiting() {
    let server = cluster().await;
    server.fail("secrets", Call::Any, Fault::Refuse(403, None), None);
    let running = run(&server);
    let answer = eventually(
        async || get(running.admin, "/readyz").await,
        |answer| answer.body.contains("secrets cannot be listed"),
    )
    .await;
    assert_eq!(answer.status, 503);
    let metrics = get(running.admin, "/metrics").await.body;
    assert!(metrics.contains(r#"ringress_watch_up{kind="Secret"} 0"#), "{metrics}");
    assert!(metrics.contains(r#"ringress_watch_up{kind="Service"} 1"#), "{metrics}");
    running.stop.send(()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(2), running.ended).await;
    assert_eq!(ended.expect("it goes on waiting").unwrap().unwrap(), Ended::Drained { cut: 0 });
}
