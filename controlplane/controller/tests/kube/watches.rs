//! Watches that end, are cut, expire or say nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::api_server::{ApiServer, Call, Fault};
use crate::{Tap, served, service, support};

#[tokio::test]
async fn events_are_followed_without_listing_again() {
    let (server, mut tap) = served().await;
    server.put("services", service("a/second"));
    tap.until_has("Service", "a/second").await;
    server.delete("services", "a", "first");
    tap.until_lacks("Service", "a/first").await;
    // Two ends of the watch's time.
    tap.settle(Duration::from_millis(2500)).await;
    server.put("services", service("a/third"));
    tap.until_has("Service", "a/third").await;
    assert_eq!(server.lists("services"), 1);
    assert!(server.watches("services") >= 3);
}

#[tokio::test]
async fn a_version_that_expired_in_the_stream_is_listed_anew_and_what_is_gone_goes() {
    let (server, mut tap) = served().await;
    server.fail("services", Call::Watch, Fault::Expire, Some(1));
    server.end_watches();
    server.delete("services", "a", "first");
    server.put("services", service("a/second"));
    server.compact();
    tap.until_has("Service", "a/second").await;
    assert!(!tap.has("Service", "a/first"), "its deletion was never told");
    assert_eq!(server.lists("services"), 2);
}

#[tokio::test]
async fn a_version_that_the_server_has_not_reached_is_listed_anew() {
    let (server, mut tap) = served().await;
    server.fail("services", Call::Watch, Fault::Future, Some(1));
    server.end_watches();
    server.put("services", service("a/second"));
    tap.until_has("Service", "a/second").await;
    assert_eq!(server.lists("services"), 2);
}

#[tokio::test]
async fn what_the_server_asks_us_to_wait_is_waited() {
    let server = ApiServer::start().await;
    server.put("services", service("a/x"));
    server.fail("services", Call::List, Fault::Refuse(429, Some(1)), Some(1));
    let mut tap = Tap::open(&server).await;
    tap.until_has("Service", "a/x").await;
    let lists: Vec<Instant> = server
        .requests()
        .into_iter()
        .filter(|request| request.path.ends_with("/services") && !request.query.contains_key("watch"))
        .map(|request| request.at)
        .collect();
    assert_eq!(lists.len(), 2);
    assert!(lists[1] - lists[0] >= Duration::from_secs(1), "{:?}", lists[1] - lists[0]);
}

#[tokio::test]
async fn a_half_open_stream_is_noticed() {
    let (server, mut tap) = served().await;
    server.fail("services", Call::Watch, Fault::Silence, Some(1));
    server.end_watches();
    tap.settle(Duration::from_millis(300)).await;
    server.put("services", service("a/second"));
    let begun = Instant::now();
    tap.until_has("Service", "a/second").await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(server.lists("services"), 1);
}

#[tokio::test]
async fn an_event_that_was_cut_comes_again() {
    let (server, mut tap) = served().await;
    server.fail("services", Call::Watch, Fault::Truncate, Some(1));
    server.end_watches();
    server.put("services", service("a/second"));
    tap.until_has("Service", "a/second").await;
    assert_eq!(server.lists("services"), 1);
}

#[tokio::test]
async fn a_line_without_sense_leads_to_a_list() {
    let (server, mut tap) = served().await;
    server.fail("services", Call::Watch, Fault::Garbage, Some(1));
    server.end_watches();
    server.put("services", service("a/second"));
    tap.until_has("Service", "a/second").await;
    assert_eq!(server.lists("services"), 2);
}

#[tokio::test]
async fn a_server_that_is_away_costs_no_list_and_no_object() {
    let refused = [(500, None), (503, Some(1)), (403, None)].map(|(code, after)| Fault::Refuse(code, after));
    for fault in [Fault::Close, Fault::Hang].into_iter().chain(refused) {
        let (server, mut tap) = served().await;
        server.fail("*", Call::Any, fault.clone(), None);
        server.end_watches();
        tap.settle(Duration::from_millis(1500)).await;
        assert!(tap.has("Service", "a/first"), "{fault:?}");
        let failing = tap.standing.report().into_iter().filter(|report| report.failing.is_some()).count();
        assert_eq!(failing, 6, "{fault:?} is shown");
        server.put("services", service("a/second"));
        server.heal();
        let back = Instant::now();
        tap.until_has("Service", "a/second").await;
        assert!(back.elapsed() < Duration::from_secs(3), "{fault:?}: {:?}", back.elapsed());
        let standing = Arc::clone(&tap.standing);
        let is_fine = async || standing.report().iter().all(|report| report.failing.is_none());
        support::eventually(is_fine, |fine| *fine).await;
        assert_eq!(server.lists("services"), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn watches_end_with_their_receiver() {
    let (server, tap) = served().await;
    drop(tap);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = server.requests().len();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(server.requests().len(), before);
}
