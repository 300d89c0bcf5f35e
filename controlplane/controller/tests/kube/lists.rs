//! What lists say, and what is believed of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringress_controller::source::kube::Patience;

use crate::support::api_server::{ApiServer, Call, Fault};
use crate::support::patience;
use crate::{Tap, ingress, reference, served, service, support};

#[tokio::test]
async fn nothing_is_handed_on_before_the_last_first_list() {
    let server = ApiServer::start().await;
    server.put("services", service("a/x"));
    server.put("ingresses", ingress("a/web", "none"));
    server.fail("endpointslices", Call::List, Fault::Slow(Duration::from_millis(400)), Some(1));
    let begun = Instant::now();
    let mut tap = Tap::open(&server).await;
    assert!(!tap.standing.missing().is_empty());
    let first = tap.changes.recv().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert!(first.loaded.objects.contains(&reference("Service", "a/x")));
    assert!(first.loaded.objects.contains(&reference("Ingress", "a/web")));
    assert!(tap.standing.missing().is_empty());
}

#[tokio::test]
async fn lists_come_in_pages() {
    let server = ApiServer::start().await;
    (0..1203).for_each(|number| server.put("services", service(&format!("a/s{number}"))));
    let mut tap = Tap::open(&server).await;
    let first = tap.changes.recv().await.unwrap();
    assert_eq!(first.loaded.objects.services.len(), 1203);
    let pages =
        server.requests().into_iter().filter(|request| request.query.contains_key("continue")).count();
    assert_eq!(pages, 2);
}

#[tokio::test]
async fn what_a_list_changes_is_asked_of_the_other_replicas() {
    let (server, mut tap) = served().await;
    let knows = |tap: &Tap, version: u64| {
        let mut heard = tap.reached.heard();
        heard.insert("services".to_owned(), version);
        tap.reached.is_known_with(&heard)
    };
    let version_of = |name: &str| {
        let object = server.object("services", "a", name).unwrap();
        object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
    };
    let first = version_of("first");
    assert!(knows(&tap, first) && !knows(&tap, first - 1), "of the first list");
    server.put("services", service("a/second"));
    tap.until_has("Service", "a/second").await;
    let second = version_of("second");
    assert!(knows(&tap, second) && !knows(&tap, second - 1), "of an event");
    server.fail("services", Call::Watch, Fault::Expire, Some(1));
    server.end_watches();
    server.put("services", service("a/third"));
    server.compact();
    tap.until_has("Service", "a/third").await;
    assert_eq!(server.lists("services"), 2, "the change came by a list");
    let third = version_of("third");
    assert!(knows(&tap, third) && !knows(&tap, third - 1), "of a list");
}

#[tokio::test]
async fn an_empty_list_once_takes_nothing_out() {
    let (server, mut tap) = served().await;
    server.fail("services", Call::List, Fault::Empty, Some(1));
    server.fail("services", Call::Watch, Fault::Expire, Some(1));
    server.end_watches();
    let doubts = async |wanted: bool| {
        let standing = Arc::clone(&tap.standing);
        support::eventually(
            async || standing.report().iter().any(|report| report.doubts),
            |found| *found == wanted,
        )
        .await
    };
    doubts(true).await;
    doubts(false).await;
    tap.settle(Duration::from_millis(50)).await;
    assert!(tap.has("Service", "a/first"));
    assert_eq!(server.lists("services"), 3, "first, empty, confirming");
    let doubted: u64 = tap.standing.report().iter().map(|report| report.doubted).sum();
    assert_eq!(doubted, 1, "it is counted when it is settled, too");
}

#[tokio::test]
async fn what_only_looks_like_a_list_is_none_however_often_it_comes() {
    let server = ApiServer::start().await;
    server.put("services", service("a/first"));
    server.fail("services", Call::List, Fault::Senseless, Some(2));
    let mut tap = Tap::open(&server).await;
    let first = tap.changes.recv().await.unwrap();
    assert!(first.loaded.objects.contains(&reference("Service", "a/first")), "not ready without it");
    assert_eq!(server.lists("services"), 3);
    server.fail("services", Call::Watch, Fault::Expire, Some(1));
    server.fail("services", Call::List, Fault::Senseless, Some(4));
    server.put("services", service("a/second"));
    server.end_watches();
    tap.until_has("Service", "a/second").await;
    assert!(tap.has("Service", "a/first"));
    assert!(tap.standing.report().iter().all(|report| !report.doubts));
}

#[tokio::test]
async fn an_empty_list_that_is_confirmed_is_believed() {
    let (server, mut tap) = served().await;
    server.delete("services", "a", "first");
    server.put("services", service("a/second"));
    tap.until_has("Service", "a/second").await;
    server.fail("services", Call::Watch, Fault::Expire, Some(1));
    server.fail("services", Call::List, Fault::Empty, Some(2));
    server.end_watches();
    let begun = Instant::now();
    tap.until_lacks("Service", "a/second").await;
    assert!(begun.elapsed() >= patience().confirm);
}

#[tokio::test]
async fn the_deletion_of_everything_is_believed_at_once_where_it_is_watched() {
    let server = ApiServer::start().await;
    let names: Vec<String> = (0..40).map(|number| format!("s{number}")).collect();
    names.iter().for_each(|name| server.put("services", service(&format!("a/{name}"))));
    let mut tap = Tap::open(&server).await;
    tap.until_has("Service", "a/s0").await;
    let begun = Instant::now();
    names.iter().for_each(|name| server.delete("services", "a", name));
    tap.until("nothing", |tap| tap.last.as_ref().is_some_and(|loaded| loaded.objects.services.is_empty()))
        .await;
    assert!(begun.elapsed() < patience().confirm, "{:?}", begun.elapsed());
    assert!(tap.standing.report().iter().all(|report| !report.doubts));
}

#[tokio::test]
async fn without_confirmation_an_empty_list_is_believed_at_once() {
    let server = ApiServer::start().await;
    server.put("services", service("a/first"));
    let mut tap = Tap::open_with(&server, Patience { confirm: Duration::ZERO, ..patience() }).await;
    tap.until_has("Service", "a/first").await;
    server.fail("services", Call::Watch, Fault::Expire, Some(1));
    server.fail("services", Call::List, Fault::Empty, Some(1));
    server.end_watches();
    tap.until_lacks("Service", "a/first").await;
    assert_eq!(server.lists("services"), 2);
}
