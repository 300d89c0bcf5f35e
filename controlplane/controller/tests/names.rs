//! DNS: what is wanted is looked up, and what stops resolving stays as it was. Addresses as names need no network.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ringress_controller::source::names::{Resolved, look_up_all, resolve};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn resolved(pairs: &[(&str, &str)]) -> Resolved {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    pairs.iter().map(|(name, found)| ((*name).to_owned(), vec![address(found)])).collect()
}

/// No name server is asked about a name with an empty label.
const BAD: &str = "bad..name";

#[tokio::test]
async fn a_name_that_is_denied_keeps_its_last_addresses_for_now() {
    let before = resolved(&[(BAD, "192.0.2.7"), ("forgotten", "192.0.2.8")]);
    let (_wish, wanted) = watch::channel(names(&[BAD, "192.0.2.1"]));
    let (answers, mut answered) = mpsc::channel(1);
    let resolver = tokio::spawn(resolve(before, wanted, answers));
    let first = timeout(Duration::from_secs(10), answered.recv()).await.expect("no answer").unwrap();
    assert_eq!(first, resolved(&[(BAD, "192.0.2.7"), ("192.0.2.1", "192.0.2.1")]));
    resolver.abort();
}

#[tokio::test]
async fn a_name_that_never_resolved_has_no_addresses() {
    assert_eq!(look_up_all(names(&[BAD])).await, Resolved::new());
}

#[tokio::test]
async fn more_names_than_are_looked_up_at_a_time_are_all_looked_up() {
    let many: BTreeSet<String> = (0..100).map(|number| format!("192.0.2.{number}")).collect();
    assert_eq!(look_up_all(many.clone()).await.into_keys().collect::<BTreeSet<_>>(), many);
}

#[tokio::test]
async fn a_new_wish_is_looked_up_at_once_and_an_equal_answer_is_not_repeated() {
    let (wish, wanted) = watch::channel(names(&["192.0.2.1"]));
    let (answers, mut answered) = mpsc::channel(1);
    let known = resolved(&[("192.0.2.1", "192.0.2.1")]);
    let resolver = tokio::spawn(resolve(known, wanted, answers));
    wish.send(names(&["192.0.2.1", "192.0.2.2"])).unwrap();
    let first = timeout(Duration::from_secs(10), answered.recv()).await.expect("no answer").unwrap();
    assert_eq!(first, resolved(&[("192.0.2.1", "192.0.2.1"), ("192.0.2.2", "192.0.2.2")]));
    wish.send(names(&["192.0.2.2"])).unwrap();
    let second = timeout(Duration::from_secs(10), answered.recv()).await.expect("no answer").unwrap();
    assert_eq!(second, resolved(&[("192.0.2.2", "192.0.2.2")]));
    drop(wish);
    timeout(Duration::from_secs(10), resolver).await.expect("ends with the wish").unwrap();
}
