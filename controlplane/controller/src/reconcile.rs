//! From what sources know to what is translated: pieces together, equal inputs dropped, translation beside the loop.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ringress_translate::manifest::Loaded;
use ringress_translate::objects::Table;
use ringress_translate::{LastGood, Memo, Objects, Problem, Settings, Translation, translate};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use crate::source::kube::Reached;

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

/// Translates on a thread of its own, so that the loop goes on answering, and survives a panic of translation.
pub(crate) struct Translator {
    settings: Arc<Settings>,
    last_good: LastGood,
    memo: Option<Memo>,
    running: Option<JoinHandle<(Output, Memo)>>,
}

impl Translator {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { settings, last_good: LastGood::default(), memo: None, running: None }
    }

    /// Starts; the one before must have ended.
    pub(crate) fn start(&mut self, input: Input) {
        let (settings, last_good) = (Arc::clone(&self.settings), self.last_good.clone());
        let mut memo = self.memo.take().unwrap_or_default();
        self.running = Some(tokio::task::spawn_blocking(move || {
            let translation = translate(&input.objects, &settings, &last_good, &mut memo);
            (Output { input, translation: Arc::new(translation) }, memo)
        }));
    }

    /// Waits for what was started; for ever where nothing was. May be dropped and called again.
    ///
    /// # Errors
    /// Translation panicked: its memo is gone, what was good before stays good.
    pub(crate) async fn finished(&mut self) -> Result<Output, JoinError> {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let done = running.await;
        self.running = None;
        let (output, memo) = done?;
        self.memo = Some(memo);
        self.last_good = output.translation.last_good.clone();
        Ok(output)
    }
}

/// Whether nothing that translation reads differs.
pub(crate) fn same_objects(a: &Objects, b: &Objects) -> bool {
    let Objects {
        ingresses,
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
    same_table(ingresses, &b.ingresses)
        && same_table(ingress_classes, &b.ingress_classes)
        && same_table(services, &b.services)
        && same_table(endpoint_slices, &b.endpoint_slices)
        && same_table(endpoints, &b.endpoints)
        && same_table(secrets, &b.secrets)
        && *withheld == b.withheld
        && same_table(config_maps, &b.config_maps)
        && same_table(namespaces, &b.namespaces)
        && *resolved == b.resolved
}

fn same_table<T>(a: &Table<T>, b: &Table<T>) -> bool {
    a.len() == b.len() && a.differing(b).is_empty()
}
