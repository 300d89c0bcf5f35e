//! From what sources know to what is translated: pieces together, equal inputs dropped, long translations beside the loop.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use ringress_translate::manifest::Loaded;
use ringress_translate::objects::Table;
use ringress_translate::{LastGood, Memo, Objects, Problem, Settings, Translation, translate};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::source::kube::Reached;
use crate::supervise::Panicked;

/// Changes the objects after they were read: `dev` adds endpoints this way.
pub type Overlay = Box<dyn FnMut(&mut Objects) + Send>;

/// What is known now.
pub(crate) struct Known {
    objects: Arc<Objects>,
    unread: Arc<[Problem]>,
    reached: Reached,
    resolved: BTreeMap<String, Vec<IpAddr>>,
    overlay: Option<Overlay>,
}

impl Known {
    /// Nothing, before the source has loaded.
    pub(crate) fn new(overlay: Option<Overlay>) -> Self {
        Self {
            objects: Arc::default(),
            unread: Arc::default(),
            reached: Reached::default(),
            resolved: BTreeMap::new(),
            overlay,
        }
    }

    pub(crate) fn loaded(&mut self, loaded: Loaded, reached: Reached) {
        self.reached = reached;
        self.objects = Arc::new(loaded.objects);
        self.unread = loaded.problems.into();
    }

    pub(crate) fn resolved(&mut self, resolved: BTreeMap<String, Vec<IpAddr>>) {
        self.resolved = resolved;
    }

    /// The addresses of external names.
    pub(crate) fn names(&self) -> &BTreeMap<String, Vec<IpAddr>> {
        &self.resolved
    }

    /// What to translate.
    pub(crate) fn input(&mut self, seen: Instant) -> Input {
        let mut objects = Arc::clone(&self.objects);
        if !self.resolved.is_empty() {
            Arc::make_mut(&mut objects).resolved.clone_from(&self.resolved);
        }
        if let Some(overlay) = &mut self.overlay {
            overlay(Arc::make_mut(&mut objects));
        }
        Input { objects, unread: Arc::clone(&self.unread), reached: self.reached.clone(), seen }
    }
}

/// What one translation works on.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    pub(crate) objects: Arc<Objects>,
    /// What could not be read.
    pub(crate) unread: Arc<[Problem]>,
    /// How far the watches had come.
    pub(crate) reached: Reached,
    /// When the first of the changes was noticed.
    pub(crate) seen: Instant,
}

/// What one translation gave.
pub(crate) struct Output {
    pub(crate) input: Input,
    pub(crate) translation: Arc<Translation>,
}

/// Translates, and survives a panic of translation. What may take long has a thread of its own, so that the loop goes on
/// answering; what is done at once is done at once, since on busy cores the way to another thread and back takes longer.
pub(crate) struct Translator {
    settings: Arc<Settings>,
    last_good: LastGood,
    memo: Option<Memo>,
    running: Option<Running>,
    /// What the last one took.
    took: Duration,
}

enum Running {
    Beside(JoinHandle<Done>),
    Over(Box<Done>),
}

/// What one translation gave and took.
type Done = Result<(Output, Memo, Duration), Panicked>;

impl Translator {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            last_good: LastGood::default(),
            memo: None,
            running: None,
            // Nothing is known of the first one.
            took: Duration::MAX,
        }
    }

    /// Starts; the one before must have ended.
    pub(crate) fn start(&mut self, input: Input, difference: Difference) {
        let (settings, last_good) = (Arc::clone(&self.settings), self.last_good.clone());
        let memo = self.memo.take().unwrap_or_default();
        let translation = move || translation(input, &settings, &last_good, memo);
        let is_short = difference <= Difference::Few && self.took <= SHORT;
        self.running = Some(match is_short {
            true => Running::Over(Box::new(translation())),
            false => Running::Beside(tokio::task::spawn_blocking(translation)),
        });
    }

    /// Waits for what was started; for ever where nothing was. May be dropped and called again.
    ///
    /// # Errors
    /// Translation panicked: its memo is gone, what was good before stays good.
    pub(crate) async fn finished(&mut self) -> Result<Output, Panicked> {
        if let Some(Running::Beside(running)) = &mut self.running {
            let done = running.await.unwrap_or_else(|error| Err(Panicked(error.to_string())));
            self.running = Some(Running::Over(Box::new(done)));
        }
        let Some(Running::Over(done)) = self.running.take() else { return std::future::pending().await };
        self.took = Duration::MAX;
        let (output, memo, took) = (*done)?;
        self.memo = Some(memo);
        self.took = took;
        self.last_good = output.translation.last_good.clone();
        Ok(output)
    }
}

fn translation(input: Input, settings: &Settings, last_good: &LastGood, mut memo: Memo) -> Done {
    let began = Instant::now();
    // A memo that saw a panic is dropped with it.
    let translated =
        catch_unwind(AssertUnwindSafe(|| translate(&input.objects, settings, last_good, &mut memo)));
    let translation = Arc::new(translated.map_err(|panic| Panicked::of(&*panic))?);
    Ok((Output { input, translation }, memo, began.elapsed()))
}

/// A translation that follows one as short as this is not worth a thread.
const SHORT: Duration = Duration::from_millis(3);

/// So many objects that differ are few.
const FEW: usize = 16;

/// How much of what translation reads differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Difference {
    Nothing,
    /// A handful of objects, each of which concerns few routes in most clusters.
    Few,
    /// More, or what concerns all routes.
    Much,
}

/// How much differs.
pub(crate) fn difference(a: &Objects, b: &Objects) -> Difference {
    let Objects {
        ingresses,
        // Nothing of them is translated.
        set_aside: _,
        ingress_classes,
        services,
        endpoint_slices,
        endpoints,
        secrets,
        withheld,
        config_maps,
        namespaces,
        resolved,
    } = a;
    let concerns_all = differing(ingress_classes, &b.ingress_classes) + differing(namespaces, &b.namespaces);
    if concerns_all > 0 || *withheld != b.withheld || *resolved != b.resolved {
        return Difference::Much;
    }
    let objects = differing(ingresses, &b.ingresses)
        + differing(services, &b.services)
        + differing(endpoint_slices, &b.endpoint_slices)
        + differing(endpoints, &b.endpoints)
        + differing(secrets, &b.secrets)
        + differing(config_maps, &b.config_maps);
    match objects {
        0 => Difference::Nothing,
        1..=FEW => Difference::Few,
        _ => Difference::Much,
    }
}

fn differing<T>(a: &Table<T>, b: &Table<T>) -> usize {
    a.differing(b).len()
}
