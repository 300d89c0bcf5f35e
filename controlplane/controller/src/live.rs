//! What the control loop tells the admin: written by the loop alone, read by any request without a lock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use prometheus_client::metrics::histogram::Histogram;
use ringress_shared::command::{ShardId, ShardPort};
use ringress_shared::listener::SocketId;
use ringress_shared::snapshot::{Generation, Snapshot};
use ringress_translate::{Objects, Problem, Settings, Translation};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::admin::certificates::ShownSince;
use crate::problems::State;
use crate::source::kube::{self, Progress, Reached};
use crate::status::troubles::Troubles;

/// One generation with everything that it came from.
#[derive(Debug, Clone)]
pub struct View {
    /// What was read.
    pub objects: Arc<Objects>,
    /// What the flags say.
    pub settings: Arc<Settings>,
    /// What became of the objects.
    pub translation: Arc<Translation>,
    /// What the shards were told to serve.
    pub snapshot: Arc<Snapshot>,
    /// Everything that is wrong: what could not be read, then what was translated.
    pub problems: Arc<[Problem]>,
    /// How far the watches had come with it.
    pub(crate) reached: Covered,
}

/// How far the watches had come with a generation: further with every change that left its objects as they are.
#[derive(Debug, Clone)]
pub(crate) struct Covered(Arc<ArcSwap<Reached>>);

impl Covered {
    pub(crate) fn new(reached: Reached) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(reached)))
    }

    pub(crate) fn load(&self) -> Arc<Reached> {
        self.0.load_full()
    }

    pub(crate) fn store(&self, reached: Reached) {
        self.0.store(Arc::new(reached));
    }
}

impl View {
    /// Its objects with what is wrong with them.
    pub(crate) fn state(&self) -> State<'_> {
        State { objects: &self.objects, problems: &self.problems }
    }
}

/// The state of the process, as far as others ask for it.
pub(crate) struct Live {
    pub(crate) ports: Vec<Arc<dyn ShardPort>>,
    /// How the watches stand; `None` without a cluster.
    pub(crate) watches: Option<Arc<kube::Standing>>,
    /// How far they have come; `None` without a cluster.
    pub(crate) progress: Option<Arc<Progress>>,
    /// What cannot be written to the cluster.
    pub(crate) troubles: Arc<Troubles>,
    /// Seconds from a change being seen to its generation being live on all shards.
    pub(crate) apply: Histogram,
    /// Whether the process was asked to stop.
    pub(crate) stopping: watch::Sender<bool>,
    /// Since when certificates are shown.
    pub(crate) shown_since: ShownSince,
    view: ArcSwapOption<View>,
    standing: ArcSwap<Standing>,
}

/// The part of the state that is small and changes as a whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    /// The newest published generation; 0 before the first.
    pub(crate) generation: Generation,
    /// Snapshots that somebody holds.
    pub(crate) snapshots: usize,
    /// Whether the process is on its way out.
    pub(crate) draining: bool,
    /// Where the sockets listen.
    pub(crate) bound: BTreeMap<SocketId, SocketAddr>,
    /// Sockets that could not be bound, and why.
    pub(crate) unbound: Vec<String>,
    /// The last sign of life of each shard; empty before the loop turns.
    pub(crate) beats: Vec<Beat>,
    /// How changes went.
    pub(crate) reloads: Reloads,
    /// What each shard wanted the operator to read, counted; a shard that said nothing is not there.
    pub(crate) notices: BTreeMap<ShardId, u64>,
}

impl Standing {
    /// Notes that a shard wanted the operator to read something.
    pub(crate) fn noticed(&mut self, shard: ShardId) {
        *self.notices.entry(shard).or_default() += 1;
    }
}

/// How changes to the objects went.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reloads {
    /// Generations that were published.
    pub(crate) successes: u64,
    /// Changes that could not be translated or published, so that the generation before went on.
    pub(crate) failures: u64,
    /// When the newest generation was published; `None` before the first.
    pub(crate) last_success: Option<SystemTime>,
    /// Whether the newest change was published.
    pub(crate) is_last_good: bool,
}

impl Reloads {
    pub(crate) fn succeeded(&mut self, now: SystemTime) {
        *self = Self { successes: self.successes + 1, last_success: Some(now), is_last_good: true, ..*self };
    }

    pub(crate) fn failed(&mut self) {
        *self = Self { failures: self.failures + 1, is_last_good: false, ..*self };
    }
}

/// A shard's heartbeat and when it last differed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beat {
    count: u64,
    seen: Instant,
}

impl Live {
    pub(crate) fn new(ports: Vec<Arc<dyn ShardPort>>, cluster: Option<&kube::KubeSource>) -> Arc<Self> {
        Arc::new(Self {
            ports,
            watches: cluster.map(kube::KubeSource::standing),
            progress: cluster.map(kube::KubeSource::progress),
            troubles: Arc::default(),
            apply: Histogram::new(APPLY_BUCKETS),
            stopping: watch::Sender::new(false),
            shown_since: ShownSince::default(),
            view: ArcSwapOption::empty(),
            standing: ArcSwap::default(),
        })
    }

    /// The newest generation, with what it came from; `None` before the first.
    pub(crate) fn view(&self) -> Option<Arc<View>> {
        self.view.load_full()
    }

    pub(crate) fn show(&self, view: View) -> Arc<View> {
        let view = Arc::new(view);
        self.view.store(Some(Arc::clone(&view)));
        view
    }

    pub(crate) fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }

    /// Replaces the standing. Only the control loop calls this, so nothing is lost between reading and writing.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Standing)) {
        let mut standing = Standing::clone(&self.standing.load());
        change(&mut standing);
        self.standing.store(Arc::new(standing));
    }

    /// Notes which shards have given a sign of life since the last time.
    pub(crate) fn listen_to_hearts(&self, now: Instant) {
        let counts: Vec<u64> =
            self.ports.iter().map(|port| port.status().heartbeat.load(Ordering::Relaxed)).collect();
        self.change(|standing| standing.beats = next_beats(&standing.beats, &counts, now));
    }

    /// Why what is served may be wrong.
    pub(crate) fn degraded(&self) -> Vec<String> {
        self.watches.iter().flat_map(|watches| watches.degraded()).collect()
    }

    /// How long each shard has given no sign of life.
    pub(crate) fn silences(&self, now: Instant) -> Vec<Duration> {
        self.standing().beats.iter().map(|beat| now.saturating_duration_since(beat.seen)).collect()
    }
}

fn next_beats(before: &[Beat], counts: &[u64], now: Instant) -> Vec<Beat> {
    let next = |(shard, count): (usize, &u64)| match before.get(shard) {
        Some(beat) if beat.count == *count => *beat,
        _ => Beat { count: *count, seen: now },
    };
    counts.iter().enumerate().map(next).collect()
}

/// From a swap in a quiet process to a folder of thousands of objects, and what should alarm.
const APPLY_BUCKETS: [f64; 8] = [0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 5.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_silent_from_its_last_new_count_on() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let first = next_beats(&[], &[1, 1], at(0));
        let second = next_beats(&first, &[2, 1], at(4));
        assert_eq!((second[0].seen, second[1].seen), (at(4), at(0)));
    }
}
