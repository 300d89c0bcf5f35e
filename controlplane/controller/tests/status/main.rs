//! From an object of a cluster to its status and its Events, over shards that acknowledge.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod broken_secrets;
mod troubles;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringress_controller::source::kube::{Access, KubeSource, Patience, Scope};
use ringress_controller::status::{self, ClearError, Cleared, Clearing, Publish, StatusConfig};
use ringress_controller::{Config, Controller, Ended, Error, Source};
use ringress_translate::Settings;
use serde_json::{Value, json};
use support::api_server::{ApiServer, Call, Fault};
use support::{FakeShard, eventually, get, ports, post, shards};
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

/// What differs between tests.
struct Flags {
    pod: &'static str,
    publish: Publish,
    clear_on_shutdown: bool,
    internal: bool,
    read_again: Duration,
    election_id: &'static str,
    watched: BTreeSet<String>,
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
            election_id: "ringress-leader",
            watched: BTreeSet::new(),
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
    let access = Access { kubeconfig: Some(server.kubeconfig("http")), context: None };
    let source = KubeSource::new(access.clone(), Scope::default(), Patience::default());
    let config = StatusConfig {
        access,
        publish: Some(flags.publish),
        watched: flags.watched,
        report_internal_addresses: flags.internal,
        clear_on_shutdown: flags.clear_on_shutdown,
        read_again: flags.read_again,
        election_id: flags.election_id.to_owned(),
        pod_name: Some(flags.pod.to_owned()),
        pod_namespace: Some("ringress".to_owned()),
    };
    let (writer, feed) = status::writer(config, source.progress());
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
    let writer = tokio::spawn(writer.run(controller.readiness()));
    let (stop, stopped) = mpsc::channel(2);
    let ended = tokio::spawn(controller.run_until(stopped));
    Running { shards, admin, stop, ended, writer }
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
    // As the API server does it: a change of the spec leaves the status, and who wrote it.
    let mut moved = ingress("web", "other", "a.test", "web");
    let known = server.object("ingresses", "shop", "web").unwrap();
    moved["status"] = known["status"].clone();
    moved["metadata"]["managedFields"] = known["metadata"]["managedFields"].clone();
    server.put("ingresses", moved);
    eventually(async || addresses(&server, "web"), |found| found.is_null()).await;
    let writes = server.requests().into_iter().filter(|request| request.path.ends_with("/status")).count();
    assert_eq!(writes, 2, "one to set, one to clear");
    drop(running);
}

#[tokio::test]
async fn what_somebody_else_writes_into_a_status_is_put_right() {
    let server = cluster().await;
    server.put("ingresses", ingress("foreign", "other", "b.test", "web"));
    let running = run_with(&server, Flags { read_again: Duration::from_millis(200), ..Flags::default() });
    let ours = json!([{"ip": "192.0.2.7"}]);
    eventually(async || addresses(&server, "web"), |found| *found == ours).await;
    for name in ["web", "foreign"] {
        let mut object = server.object("ingresses", "shop", name).unwrap();
        object["status"] = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.9"}]}});
        server.put("ingresses", object);
    }
    eventually(async || addresses(&server, "web"), |found| *found == ours).await;
    assert_eq!(addresses(&server, "foreign"), json!([{"ip": "198.51.100.9"}]), "another controller's");
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
    let (_one, _two) = (run(&server), run_as(&server, "ringress-1"));
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    eventually(async || events(&server, "late").len(), |found| *found == 1).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(events(&server, "late").len(), 1);
    let writes = server.requests().into_iter().filter(|request| request.path.ends_with("/status")).count();
    assert_eq!(writes, 2, "one per Ingress");
    let lease = server.object("leases", "ringress", "ringress-leader").unwrap();
    assert!(lease["spec"]["holderIdentity"].as_str().unwrap().starts_with("ringress-"), "{lease}");
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

#[tokio::test]
async fn a_change_is_applied_once_every_shard_of_every_replica_serves_it() {
    let server = cluster().await;
    let (one, two) = two(&server).await;
    two.shards[1].obedient.store(false, Ordering::SeqCst);
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    for running in [&one, &two] {
        let generation = async || get(running.admin, "/generation").await.json()["generation"].clone();
        eventually(generation, |found| *found == 2).await;
    }
    // Longer than the pause between two writes of a Lease.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(
        events(&server, "late").is_empty(),
        "one shard of the other replica is behind: {:?}",
        events(&server, "late")
    );
    let begun = Instant::now();
    two.shards[1].obey();
    let said = eventually(async || events(&server, "late"), |found| !found.is_empty()).await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(said[0].1.contains("; confirmed by all 4 shards of 2 replicas after "), "{said:?}");
    assert_eq!((said.len(), &*said[0].0), (1, "Applied"));
}

#[tokio::test]
async fn applied_does_not_speak_for_others_where_replicas_may_not_show_themselves() {
    let server = cluster().await;
    server.fail("leases/ringress-replica-ringress-0", Call::Write, Fault::Refuse(403, None), None);
    let _running = run(&server);
    until_led_by(&server, "ringress-0").await;
    let is_told = async || get(_running.admin, "/writes").await.json()["troubles"].to_string();
    eventually(is_told, |told| told.contains("show in a Lease")).await;
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    let said = eventually(async || events(&server, "late"), |found| !found.is_empty()).await;
    assert!(said[0].1.ends_with("of this replica; the others are unknown"), "{said:?}");
}

#[tokio::test]
async fn what_a_replica_serves_is_written_at_once_and_then_once_a_second() {
    let server = cluster().await;
    let (_one, _two) = two(&server).await;
    let writes = || {
        let to =
            |request: &support::api_server::Request| request.path.ends_with("/ringress-replica-ringress-1");
        server.requests().into_iter().filter(to).map(|request| request.at).collect::<Vec<_>>()
    };
    let begun = Instant::now();
    for number in 0..40 {
        server.put("ingresses", ingress(&format!("more-{number}"), "ringress", "b.test", "web"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let all = writes();
    assert!(all.windows(2).skip(1).all(|pair| pair[1] - pair[0] > Duration::from_millis(990)), "{all:?}");
    let meanwhile = all.iter().filter(|at| **at >= begun).count();
    assert!((2..=4).contains(&meanwhile), "{meanwhile} writes in two seconds");
}

#[tokio::test]
async fn a_leader_that_ends_hands_over_at_once_and_the_last_one_clears_up() {
    let server = cluster().await;
    let (one, two) = two(&server).await;
    one.end().await;
    assert!(
        server.object("leases", "ringress", "ringress-replica-ringress-0").is_none(),
        "it counts no more"
    );
    let begun = Instant::now();
    until_led_by(&server, "ringress-1").await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(addresses(&server, "web").is_array(), "there is somebody left");
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    let said = eventually(async || events(&server, "late"), |found| !found.is_empty()).await;
    assert!(!said[0].1.contains("confirmed"), "it is alone: {said:?}");
    two.end().await;
    assert_eq!(holder(&server), "");
    assert_eq!(addresses(&server, "web"), Value::Null);
    assert_eq!(addresses(&server, "late"), Value::Null);
    assert!(server.object("leases", "ringress", "ringress-replica-ringress-1").is_none());
}

#[tokio::test]
async fn replicas_that_end_together_clear_up_as_well() {
    let server = cluster().await;
    let (one, two) = two(&server).await;
    tokio::join!(one.end(), two.end());
    assert_eq!((holder(&server), addresses(&server, "web")), (String::new(), Value::Null));
}

#[tokio::test]
async fn addresses_stay_where_the_flag_says_so() {
    let server = cluster().await;
    let running = run_with(&server, Flags { clear_on_shutdown: false, ..Flags::default() });
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    running.end().await;
    assert_eq!((holder(&server), addresses(&server, "web")), (String::new(), json!([{"ip": "192.0.2.7"}])));
}

/// What takes the addresses out when ringress is gone.
fn clearing(server: &ApiServer) -> Clearing {
    Clearing {
        access: Access { kubeconfig: Some(server.kubeconfig("http")), context: None },
        namespace: Some("ringress".to_owned()),
        election_id: "ringress-leader".to_owned(),
        watched: ["shop".to_owned()].into(),
        is_forced: false,
    }
}

#[tokio::test]
async fn what_ringress_left_in_statuses_is_told_by_who_wrote_it() {
    let server = cluster().await;
    // The same address, written by somebody else.
    let mut theirs = ingress("theirs", "other", "b.test", "web");
    theirs["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}});
    server.put("ingresses", theirs);
    let running = run_with(&server, Flags { clear_on_shutdown: false, ..Flags::default() });
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    until_shown(&server, 1).await;
    let held = status::clear(&clearing(&server)).await.unwrap_err();
    assert!(matches!(&held, ClearError::Held { holder, .. } if holder.starts_with("ringress-0_")), "{held}");
    assert!(addresses(&server, "web").is_array(), "a leader that runs would not notice");
    running.end().await;
    // Neither can be asked any more.
    server.delete("ingressclasses", "", "ringress");
    let cleared = status::clear(&clearing(&server)).await.unwrap();
    assert_eq!(cleared, Cleared { ingresses: 1, leases: 1 });
    assert_eq!(addresses(&server, "web"), Value::Null);
    assert_eq!(addresses(&server, "theirs"), json!([{"ip": "192.0.2.7"}]));
    assert_eq!(server.objects("leases").len(), 0);
    assert_eq!(status::clear(&clearing(&server)).await.unwrap(), Cleared::default(), "nothing is left");
}

#[tokio::test]
async fn a_lease_that_is_held_by_nobody_with_rights_is_no_obstacle_to_who_insists() {
    let server = cluster().await;
    let running = run(&server);
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    let forced = Clearing { is_forced: true, ..clearing(&server) };
    server.fail("ingresses", Call::Write, Fault::Refuse(403, None), Some(1));
    let refused = status::clear(&forced).await.unwrap_err().to_string();
    assert!(refused.contains("patch ingresses/status"), "{refused}");
    // Changed in between: looked at again.
    server.fail("ingresses", Call::Write, Fault::Refuse(409, None), Some(1));
    assert_eq!(status::clear(&forced).await.unwrap().ingresses, 1);
    assert_eq!(addresses(&server, "web"), Value::Null);
    drop(running);
}

#[tokio::test]
async fn a_change_that_nobody_could_say_is_said_by_the_next_leader() {
    let server = cluster().await;
    server.fail("leases", Call::Write, Fault::Refuse(503, None), None);
    let running = run(&server);
    let generation = async || get(running.admin, "/generation").await.json()["generation"].clone();
    eventually(&generation, |found| *found == 1).await;
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    eventually(&generation, |found| *found == 2).await;
    assert!(events(&server, "late").is_empty(), "nobody leads");
    server.heal();
    let said = eventually(async || events(&server, "late"), |found| !found.is_empty()).await;
    assert_eq!(said[0].0, "Applied");
    assert!(events(&server, "web").is_empty(), "it was there from the start");
}

#[tokio::test]
async fn what_is_wrong_for_a_moment_is_not_said() {
    let server = cluster().await;
    let _running = run(&server);
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    server.put("ingresses", ingress("late", "ringress", "b.test", "after"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let ports = json!({"ports": [{"port": 80}]});
    server.put("services", json!({"metadata": {"namespace": "shop", "name": "after"}, "spec": ports}));
    let has = |reason: &'static str| {
        move |said: &Vec<(String, String)>| said.iter().any(|(found, _)| found == reason)
    };
    let said = eventually(async || events(&server, "late"), has("NoReadyEndpoints")).await;
    assert!(!has("BackendNotFound")(&said), "{said:?}");
}

#[tokio::test]
async fn what_one_leader_has_said_the_next_does_not_repeat() {
    let server = cluster().await;
    let (one, _two) = two(&server).await;
    server.put("ingresses", ingress("late", "ringress", "b.test", "missing"));
    eventually(async || events(&server, "late").len(), |found| *found == 2).await;
    one.end().await;
    until_led_by(&server, "ringress-1").await;
    let tries = async || {
        let late = |request: &support::api_server::Request| request.body["regarding"]["name"] == "late";
        server.requests().into_iter().filter(late).count()
    };
    // Two Events by each of them: it does not know what was said, and finds it there.
    eventually(tries, |found| *found == 4).await;
    let again = |request: &support::api_server::Request| {
        request.method == "PATCH" && request.path.contains("/events/")
    };
    assert!(!server.requests().iter().any(again), "no count was raised");
    assert_eq!(events(&server, "late").len(), 2, "{:?}", events(&server, "late"));
}

#[tokio::test]
async fn where_cluster_wide_objects_may_have_no_events_it_is_tried_once() {
    let server = cluster().await;
    let default = |name: &str| {
        let annotations = json!({"ingressclass.kubernetes.io/is-default-class": "true"});
        let metadata = json!({"name": name, "uid": format!("uid-{name}"), "annotations": annotations});
        json!({"metadata": metadata, "spec": {"controller": "ringress.dev/ingress-controller"}})
    };
    let _running = run(&server);
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    server.fail("events", Call::Write, Fault::Refuse(403, None), Some(1));
    let tries = || {
        let requests = server.requests().into_iter();
        requests.filter(|request| request.path.ends_with("/namespaces/default/events")).count()
    };
    ["one", "two"].iter().for_each(|name| server.put("ingressclasses", default(name)));
    eventually(async || tries(), |tries| *tries == 1).await;
    server.put("ingressclasses", default("two-and-a-half"));
    server.put("ingresses", ingress("late", "ringress", "b.test", "missing"));
    let is_wrong = |said: &Vec<(String, String)>| said.iter().any(|(reason, _)| reason == "BackendNotFound");
    eventually(async || events(&server, "late"), is_wrong).await;
    assert_eq!(tries(), 1);
    assert!(events(&server, "two").is_empty() && events(&server, "two-and-a-half").is_empty());
}

#[tokio::test]
async fn what_may_not_be_written_stands_on_a_page_until_it_may() {
    let server = cluster().await;
    for resource in ["ingresses", "events", "leases"] {
        server.fail(resource, Call::Write, Fault::Refuse(403, None), None);
    }
    let running = run(&server);
    let refused = async || {
        let page = get(running.admin, "/writes").await.json();
        let troubles = page["troubles"].as_array().cloned().unwrap_or_default();
        let refused = troubles.iter().filter(|trouble| trouble["refused"] == true);
        refused.map(|trouble| trouble["needs"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let told = eventually(refused, |told| told.len() == 2).await;
    assert!(told.iter().all(|needs| needs.contains("leases")), "nobody leads yet: {told:?}");
    server.heal();
    for resource in ["ingresses", "events"] {
        server.fail(resource, Call::Write, Fault::Refuse(403, None), None);
    }
    until_led_by(&server, "ringress-0").await;
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    let told = eventually(refused, |told| told.len() == 2 && !told[0].contains("leases")).await;
    assert!(told[0].contains("ingresses/status") && told[1].contains("events"), "{told:?}");
    server.heal();
    eventually(async || addresses(&server, "late"), |found| found.is_array()).await;
    server.put("ingresses", ingress("later", "ringress", "c.test", "web"));
    eventually(refused, |told| told.is_empty()).await;
}

#[tokio::test]
async fn an_event_that_is_not_taken_is_tried_again() {
    let server = cluster().await;
    let _running = run(&server);
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    server.fail("events", Call::Write, Fault::Refuse(500, None), Some(1));
    server.fail("events", Call::Write, Fault::Close, Some(1));
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    eventually(async || events(&server, "late").len(), |found| *found == 1).await;
    let tries = server.requests().iter().filter(|request| request.path.ends_with("/events")).count();
    assert_eq!(tries, 3);
}

#[tokio::test]
async fn an_object_that_is_again_what_it_was_is_applied_again() {
    let server = cluster().await;
    let _running = run(&server);
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    for (count, host) in ["b.test", "a.test", "b.test"].into_iter().enumerate() {
        server.put("ingresses", ingress("web", "ringress", host, "web"));
        eventually(async || events(&server, "web").len(), |found| *found == count + 1).await;
    }
}

#[tokio::test]
async fn an_object_that_is_again_what_it_was_is_not_served_before_it_is_heard_of() {
    let server = cluster().await;
    let running = run(&server);
    let state = async || {
        let object = server.object("ingresses", "shop", "web").unwrap();
        let answer = post(running.admin, "/applied", &object.to_string()).await.json();
        (answer["state"].as_str().unwrap_or_default().to_owned(), answer["why"].to_string())
    };
    eventually(state, |(state, _)| state == "applied").await;
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    eventually(state, |(state, _)| state == "applied").await;
    // The watch is cut off while somebody changes the object, and changes it back.
    server.fail("ingresses", Call::Any, Fault::Refuse(503, None), None);
    server.end_watches();
    let first = server.object("ingresses", "shop", "web").unwrap();
    server.put("ingresses", ingress("web", "ringress", "b.test", "web"));
    server.put("ingresses", first);
    let (waiting, why) = state().await;
    assert!(waiting == "waiting" && why.contains("has not come as far"), "{waiting}: {why}");
    server.heal();
    eventually(state, |(state, _)| state == "applied").await;
}

#[tokio::test]
async fn a_version_in_quarantine_is_not_said_to_be_applied() {
    let server = cluster().await;
    let _running = run(&server);
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    let mut wrong = ingress("web", "ringress", "a.test", "web");
    wrong["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = json!("Sideways");
    server.put("ingresses", wrong);
    let said = eventually(async || events(&server, "web"), |found| !found.is_empty()).await;
    let reasons: Vec<_> = said.iter().map(|(reason, _)| &**reason).collect();
    assert!(reasons.contains(&"Quarantined"), "{said:?}");
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    eventually(async || events(&server, "late").len(), |found| *found == 1).await;
    assert!(
        !events(&server, "web").iter().any(|(reason, _)| reason == "Applied"),
        "{:?}",
        events(&server, "web")
    );
}

#[tokio::test]
async fn the_address_follows_the_service() {
    let server = cluster().await;
    let service = |addresses: &[&str]| {
        let addresses: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
        json!({
            "metadata": {"namespace": "ringress", "name": "edge"}, "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": addresses}},
        })
    };
    server.put("services", service(&[]));
    let publish = Publish::Service(ringress_translate::Key::new("ringress", "edge"));
    let _running = run_with(&server, Flags { publish, ..Flags::default() });
    eventually(async || server.watches("services"), |found| *found >= 2).await;
    assert_eq!(addresses(&server, "web"), Value::Null, "there is none yet");
    for ip in ["192.0.2.1", "192.0.2.2"] {
        let begun = Instant::now();
        server.put("services", service(&[ip]));
        eventually(async || addresses(&server, "web"), |found| *found == json!([{"ip": ip}])).await;
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    let own = |request: &support::api_server::Request| request.path == "/api/v1/namespaces/ringress/services";
    let asked: Vec<_> = server.requests().into_iter().filter(own).collect();
    assert!(!asked.is_empty());
    for request in asked {
        assert_eq!(request.query["fieldSelector"], "metadata.name=edge", "a role that names it suffices");
    }
}

#[tokio::test]
async fn a_node_is_shown_by_its_external_address_where_nodes_may_be_read() {
    let cases = [(true, false, "192.0.2.11"), (false, false, "10.0.0.11"), (true, true, "10.0.0.11")];
    for (may_read, internal, expected) in cases {
        let server = cluster().await;
        server.put(
            "pods",
            json!({
                "metadata": {"namespace": "ringress", "name": "ringress-0", "labels": {"app": "ringress"}},
                "spec": {"nodeName": "node-1"}, "status": {"phase": "Running", "hostIP": "10.0.0.11"},
            }),
        );
        server.put("nodes", json!({"metadata": {"name": "node-1"}, "status": {"addresses": [
            {"type": "InternalIP", "address": "10.0.0.11"}, {"type": "ExternalIP", "address": "192.0.2.11"},
        ]}}));
        if !may_read {
            server.fail("nodes", Call::Any, Fault::Refuse(403, None), None);
        }
        let _running = run_with(&server, Flags { publish: Publish::Nodes, internal, ..Flags::default() });
        eventually(async || addresses(&server, "web"), |found| *found == json!([{"ip": expected}])).await;
    }
}

#[tokio::test]
async fn what_an_outage_kept_back_is_said_after_it() {
    let server = cluster().await;
    let running = run(&server);
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    server.fail("events", Call::Write, Fault::Refuse(500, None), None);
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    let tries = || server.requests().iter().filter(|request| request.path.ends_with("/events")).count();
    eventually(async || tries(), |tries| *tries > 0).await;
    server.fail("leases", Call::Any, Fault::Close, None);
    // Longer than a leader goes on without its Lease.
    tokio::time::sleep(Duration::from_secs(9)).await;
    let before = tries();
    server.put("ingresses", ingress("later", "ringress", "c.test", "web"));
    let generation = async || get(running.admin, "/generation").await.json()["generation"].clone();
    eventually(generation, |found| *found == 3).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(tries(), before, "who does not lead is silent");
    server.heal();
    for name in ["late", "later"] {
        let said = eventually(async || events(&server, name), |found| !found.is_empty()).await;
        assert_eq!((said.len(), &*said[0].0), (1, "Applied"));
    }
}

#[tokio::test]
async fn an_event_waits_for_a_token_that_is_accepted() {
    let server = cluster().await;
    let running = run(&server);
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    server.fail("events", Call::Write, Fault::Refuse(401, None), Some(3));
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    let told = async || get(running.admin, "/writes").await.json()["troubles"].clone();
    let told = eventually(told, |told| told[0]["what"] == "write Events").await;
    assert_eq!(told[0]["refused"], false, "no right is missing: {told}");
    assert!(
        told[0]["why"].as_str().unwrap().contains("does not accept the token in users[].user.token of"),
        "{told}"
    );
    eventually(async || events(&server, "late").len(), |found| *found == 1).await;
}
