//! Events: what is said, when, and how often.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::api_server::{Call, Fault};
use crate::support::{eventually, get, post};
use crate::{Flags, addresses, cluster, events, ingress, run, start};

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
async fn what_takes_no_request_or_is_closed_is_not_said_to_be_live() {
    let server = cluster().await;
    let running = run(&server);
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    for (name, annotation, expected) in [
        ("canary", "canary", "not served (ringress serves no canaries yet) as generation "),
        ("closed", "enable-modsecurity", "closed (every path answers 503) as generation "),
    ] {
        let mut object = ingress(name, "ringress", &format!("{name}.test"), "web");
        object["metadata"]["annotations"] =
            json!({format!("nginx.ingress.kubernetes.io/{annotation}"): "true"});
        server.put("ingresses", object);
        let applied = async || events(&server, name).into_iter().find(|(reason, _)| reason == "Applied");
        let said = eventually(applied, Option::is_some).await.unwrap();
        assert!(said.1.starts_with(expected), "{said:?}");
        let object = server.object("ingresses", "shop", name).unwrap();
        let answer = post(running.admin, "/applied", &object.to_string()).await.json();
        assert_eq!(answer["state"], "refused", "{answer}");
    }
}

#[tokio::test]
async fn what_changes_before_the_writer_has_looked_once_is_applied_as_well() {
    let server = cluster().await;
    let (controller, writer) = start(&server, Flags::default());
    let generation = async || get(controller.admin, "/generation").await.json()["generation"].clone();
    eventually(&generation, |found| *found == 1).await;
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    eventually(&generation, |found| *found == 2).await;
    let _running = controller.with(writer);
    let said = eventually(async || events(&server, "late"), |found| !found.is_empty()).await;
    assert_eq!(said[0].0, "Applied");
    assert!(events(&server, "web").is_empty(), "it was there from the start");
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
    let is_said = |found: &Vec<(String, String)>| found.iter().any(|(reason, _)| reason == "Quarantined");
    eventually(async || events(&server, "web"), is_said).await;
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    eventually(async || events(&server, "late").len(), |found| *found == 1).await;
    assert!(
        !events(&server, "web").iter().any(|(reason, _)| reason == "Applied"),
        "{:?}",
        events(&server, "web")
    );
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
