//! Several replicas: one writes, and speaks for all.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::support::api_server::{Call, Fault};
use crate::support::{eventually, get};
use crate::{addresses, cluster, events, ingress, run, run_as, support, two, until_led_by};

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
