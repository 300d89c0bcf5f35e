//! The way out.

use std::time::Duration;

use ringress_controller::Ended;
use ringress_shared::command::Event;

use crate::support::{eventually, get};
use crate::{Running, Setup, USUAL, manifest};

#[tokio::test]
async fn the_way_out_is_not_ready_then_drain_then_end() {
    let grace = Duration::from_secs(1);
    let running = Running::with(Setup { grace, ..USUAL });
    running.is_ready().await;
    running.stop.send(()).await.unwrap();
    let answer = running.answers("/readyz", 503).await;
    assert!(answer.body.contains("the process is stopping"), "{}", answer.body);
    assert!(running.shards.iter().all(|shard| !shard.told().iter().any(|told| told.starts_with("Drain"))));
    assert_eq!(get(running.admin, "/healthz").await.status, 200, "the admin is alive");
    let shards = running.shards.clone();
    assert_eq!(running.end().await.unwrap(), Ended::Drained { cut: 0 });
    for shard in shards {
        assert_eq!(shard.told().last().unwrap(), "Drain(30s)");
    }
}

#[tokio::test]
async fn a_generation_is_still_published_during_the_grace_period() {
    let running = Running::with(Setup { grace: Duration::from_secs(60), ..USUAL });
    running.is_ready().await;
    running.stop.send(()).await.unwrap();
    running.answers("/readyz", 503).await;
    running.write("api.yaml", &manifest("api", "/api"));
    assert_eq!(running.report(2).await.generation, 2);
}

#[tokio::test]
async fn the_end_waits_for_the_last_shard_and_adds_up_what_was_cut() {
    let running = Running::with(Setup { obedient: false, ..USUAL });
    eventually(async || running.shards[1].told(), |told| told.iter().any(|told| told == "Apply(1)")).await;
    running.stop.send(()).await.unwrap();
    eventually(async || running.shards[1].told(), |told| told.iter().any(|told| told == "Drain(30s)")).await;
    running.shards[0].say(Event::Drained { shard: 0, cut: 2 });
    running.shards[0].say(Event::Drained { shard: 0, cut: 2 });
    assert_eq!(get(running.admin, "/healthz").await.status, 200, "still there");
    assert!(!running.ended.is_finished());
    running.shards[1].say(Event::Drained { shard: 1, cut: 1 });
    assert_eq!(running.end().await.unwrap(), Ended::Drained { cut: 3 });
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    for grace in [Duration::ZERO, Duration::from_secs(60)] {
        let running = Running::with(Setup { grace, obedient: false, ..USUAL });
        running.answers("/readyz", 503).await;
        running.stop.send(()).await.unwrap();
        running.stop.send(()).await.unwrap();
        assert_eq!(running.end().await.unwrap(), Ended::Forced);
    }
}

#[tokio::test]
async fn a_shard_that_never_drains_does_not_hold_the_process() {
    let running = Running::with(Setup { obedient: false, drain: Duration::from_millis(50), ..USUAL });
    eventually(async || running.shards[1].told(), |told| told.iter().any(|told| told == "Apply(1)")).await;
    running.stop.send(()).await.unwrap();
    assert_eq!(running.end().await.unwrap(), Ended::TimedOut);
    assert_ne!(Ended::TimedOut.exit_code(), 0);
}

#[tokio::test]
async fn a_dead_shard_ends_the_process() {
    let running = Running::new().await;
    running.shards[1].say(Event::Died { shard: 1, message: "index out of bounds".to_owned() });
    let error = running.end().await.unwrap_err();
    assert!(error.to_string().starts_with("shard 1 died: index out of bounds"), "{error}");
    assert_eq!(error.exit_code(), 1);
}
