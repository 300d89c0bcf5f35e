//! DNS: the addresses of the names that translation wants, looked up again and again.
//!
//! It runs here and never on a shard. A name that stops resolving keeps the addresses that it had.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Addresses by name.
pub type Resolved = BTreeMap<String, Vec<IpAddr>>;

/// Looks the wanted names up on every change of the wish and every 30 s; yields the whole whenever it differs from what is
/// known. Ends when the wish has no sender any more, or nobody takes the answers.
pub async fn resolve(
    mut resolved: Resolved,
    mut wanted: watch::Receiver<BTreeSet<String>>,
    answers: mpsc::Sender<Resolved>,
) {
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = again.tick() => {}
            changed = wanted.changed() => if changed.is_err() { return },
        }
        let names = wanted.borrow_and_update().clone();
        let fresh = look_up_all(names, &resolved).await;
        if fresh == resolved {
            continue;
        }
        resolved = fresh;
        if answers.send(resolved.clone()).await.is_err() {
            return;
        }
    }
}

/// The addresses of these names; those of `before` for names that cannot be resolved now.
pub async fn look_up_all(names: BTreeSet<String>, before: &Resolved) -> Resolved {
    let mut names = names.into_iter();
    let mut running: JoinSet<(String, Option<Vec<IpAddr>>)> = JoinSet::new();
    let mut resolved = Resolved::new();
    loop {
        while running.len() < LOOKUPS_MAX
            && let Some(name) = names.next()
        {
            running.spawn(async move {
                let found = look_up(&name).await;
                (name, found)
            });
        }
        let Some(done) = running.join_next().await else { return resolved };
        let Ok((name, found)) = done else { continue };
        if let Some(addresses) = found.or_else(|| before.get(&name).cloned()) {
            resolved.insert(name, addresses);
        }
    }
}

/// Sorted and without duplicates, so that the order of an answer makes no generation.
async fn look_up(name: &str) -> Option<Vec<IpAddr>> {
    match timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((name, 0))).await {
        Ok(Ok(found)) => {
            let addresses: BTreeSet<IpAddr> = found.map(|address| address.ip()).collect();
            (!addresses.is_empty()).then(|| addresses.into_iter().collect())
        }
        Ok(Err(error)) => {
            tracing::debug!(name, %error, "name does not resolve");
            None
        }
        Err(_) => {
            tracing::debug!(name, "name does not resolve in time");
            None
        }
    }
}

/// Time between two looks; answers come without a time to live.
const AGAIN: Duration = Duration::from_secs(30);

const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Lookups at a time: each takes a blocking thread.
const LOOKUPS_MAX: usize = 16;
