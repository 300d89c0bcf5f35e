//! Generations on their way: what was published and is not yet live on every shard.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ringress_shared::origin::ObjectRef;
use ringress_shared::snapshot::Generation;
use ringress_translate::Problem;
use tokio::time::Instant;

use crate::live::View;
use crate::problems::Shift;

/// What became of a change.
#[derive(Debug, Clone)]
pub struct GenerationReport {
    /// The generation that is live.
    pub generation: Generation,
    /// The shards that serve it: all of them.
    pub shards: usize,
    /// From the change being noticed to the last shard's acknowledgement.
    pub elapsed: Duration,
    /// When that was.
    pub at: Instant,
    /// Whether this generation is new. `false`: a change that reached no object, such as a document that does not parse,
    /// so the generation before goes on; only problems came or went.
    pub fresh: bool,
    /// Everything that is wrong.
    pub problems: Arc<[Problem]>,
    /// Of these, what was not wrong before.
    pub appeared: Vec<Problem>,
    /// What was wrong before and is not now, of objects that still have other problems, and of files.
    pub solved: Vec<Problem>,
    /// Objects that had problems before, are still there, and have none now.
    pub recovered: Vec<ObjectRef>,
    /// The generation with what it came from.
    pub view: Arc<View>,
}

/// Published generations that some shard has not installed.
#[derive(Debug, Default)]
pub(crate) struct Underway {
    waiting: VecDeque<Waiting>,
    /// The generation that was last warned about.
    warned: Generation,
}

#[derive(Debug)]
struct Waiting {
    seen: Instant,
    published: Instant,
    view: Arc<View>,
    shift: Shift,
}

impl Waiting {
    fn generation(&self) -> Generation {
        self.view.snapshot.generation
    }
}

impl Underway {
    pub(crate) fn published(&mut self, view: Arc<View>, shift: Shift, seen: Instant) {
        self.waiting.push_back(Waiting { seen, published: Instant::now(), view, shift });
    }

    /// Puts another view of a generation that is on its way in its place; `false`: it is live already, or was never published.
    pub(crate) fn replaced(&mut self, view: &Arc<View>, shift: Shift) -> bool {
        let generation = view.snapshot.generation;
        let waiting = self.waiting.iter_mut().find(|waiting| waiting.generation() == generation);
        let Some(waiting) = waiting else { return false };
        waiting.view = Arc::clone(view);
        waiting.shift.followed_by(shift, &view.problems);
        true
    }

    /// The reports of the generations that all shards have installed or left behind.
    pub(crate) fn acknowledged(&mut self, generation: Generation, shards: usize) -> Vec<GenerationReport> {
        let now = Instant::now();
        let live = self.waiting.iter().take_while(|waiting| waiting.generation() <= generation).count();
        let report = |waiting: Waiting| GenerationReport {
            generation: waiting.generation(),
            shards,
            elapsed: now.saturating_duration_since(waiting.seen),
            at: now,
            fresh: true,
            problems: Arc::clone(&waiting.view.problems),
            appeared: waiting.shift.appeared,
            solved: waiting.shift.solved,
            recovered: waiting.shift.recovered,
            view: waiting.view,
        };
        self.waiting.drain(..live).map(report).collect()
    }

    /// The oldest generation that has waited too long, once.
    pub(crate) fn overdue(&mut self, now: Instant) -> Option<Generation> {
        let oldest = self.waiting.front()?;
        let overdue =
            now.saturating_duration_since(oldest.published) > PATIENCE && oldest.generation() > self.warned;
        overdue.then(|| {
            self.warned = oldest.generation();
            self.warned
        })
    }
}

/// A shard installs between two batches of events; this is long for any of them.
const PATIENCE: Duration = Duration::from_secs(1);
