//! How far the watches have come, so that replicas can tell each other what they serve.
//!
//! Resource versions are compared within one watch alone: there the API server promises an order (since 1.35 in so many
//! words, and with etcd always), and versions of kinds that are stored apart are never held against each other. A version that
//! is no number counts as 0: nobody waits for it.
//!
//! Two numbers per watch, because not all that is heard changes something: a replica has what another one serves once it has
//! *heard* what *changed* something there. The version of a list or a bookmark is heard, but never asked for: another
//! replica, whose watch is silent, reaches it much later.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Up to where the watches were followed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reached {
    /// The number of the change that this speaks for, counted by the source.
    change: u64,
    marks: Arc<[Mark]>,
}

/// One watch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    /// As the plan shows it: `ingresses`, `services in shop`.
    watch: Arc<str>,
    /// Everything up to this version was heard.
    heard: u64,
    /// The newest version that changed something.
    changed: u64,
}

impl Reached {
    pub(super) fn new(watches: impl IntoIterator<Item = String>) -> Self {
        let mark = |watch: String| Mark { watch: watch.into(), heard: 0, changed: 0 };
        Self { change: 0, marks: watches.into_iter().map(mark).collect() }
    }

    /// What was heard, by watch: what a replica shows to the others.
    pub fn heard(&self) -> BTreeMap<String, u64> {
        self.marks.iter().map(|mark| (mark.watch.to_string(), mark.heard)).collect()
    }

    /// Whether a replica that has heard all this has everything that is served here. One that follows a kind everywhere has
    /// what is followed in one namespace here.
    pub fn is_known_with(&self, heard: &BTreeMap<String, u64>) -> bool {
        self.marks.iter().filter(|mark| mark.changed > 0).all(|mark| {
            let kind = mark.watch.split(' ').next().unwrap_or_default();
            let heard = heard.get(&*mark.watch).or_else(|| heard.get(kind));
            heard.is_some_and(|heard| *heard >= mark.changed)
        })
    }

    /// Whether an object of this kind and version, or what it became since, was heard of. A version that is no number says
    /// nothing about that.
    pub fn has_heard(&self, kind: &str, namespace: &str, version: &str) -> bool {
        let version = number(version);
        let is_about = |mark: &&Mark| {
            let rest = mark.watch.strip_prefix(kind);
            rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(" in ") == Some(namespace))
        };
        version == 0 || self.marks.iter().filter(is_about).any(|mark| mark.heard >= version)
    }

    /// Notes a line of a watch, or a bookmark.
    pub(super) fn hear(&mut self, watch: usize, version: u64) {
        self.with(watch, |mark| mark.heard = mark.heard.max(version));
    }

    /// Notes a whole list. Its version may lie behind: then the server was restored from a backup.
    pub(super) fn list(&mut self, watch: usize, version: u64) {
        self.with(watch, |mark| {
            mark.heard = version;
            mark.changed = mark.changed.min(version);
        });
    }

    /// Notes that an object of this version changed something.
    pub(super) fn change(&mut self, watch: usize, version: u64) {
        self.with(watch, |mark| mark.changed = mark.changed.max(version));
    }

    /// Begins the next change.
    pub(super) fn next(&mut self) {
        self.change += 1;
    }

    fn with(&mut self, watch: usize, act: impl FnOnce(&mut Mark)) {
        if let Some(mark) = Arc::make_mut(&mut self.marks).get_mut(watch) {
            act(mark);
        }
    }
}

#[cfg(test)]
impl Reached {
    pub(crate) fn of_test(watch: &str) -> Self {
        Self::new([watch.to_owned()])
    }

    pub(crate) fn change_of_test(&mut self, version: u64) {
        self.change(0, version);
    }
}

/// How far the source is at this moment.
#[derive(Debug, Default)]
pub struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    reached: Reached,
    /// Whether something was heard that is not handed on.
    is_pending: bool,
}

impl Progress {
    /// What whoever serves `installed` has by now: more than it was made of, where what was heard since changed nothing.
    pub fn with(&self, installed: &Reached) -> Reached {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_newest = !state.is_pending && state.reached.change == installed.change;
        if is_newest { state.reached.clone() } else { installed.clone() }
    }

    pub(super) fn note(&self, reached: &Reached, is_pending: bool) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.reached.clone_from(reached);
        state.is_pending = is_pending;
    }
}

/// A resource version as a number; 0 where it is none.
pub(super) fn number(version: &str) -> u64 {
    version.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(rows: &[(&str, u64)]) -> BTreeMap<String, u64> {
        rows.iter().map(|(watch, version)| ((*watch).to_owned(), *version)).collect()
    }

    fn reached() -> Reached {
        Reached::new(["ingresses".to_owned(), "services in shop".to_owned()])
    }

    #[test]
    fn who_has_heard_every_change_has_what_is_served() {
        let mut ours = reached();
        ours.change(0, 7);
        ours.hear(0, 7);
        ours.change(1, 5);
        ours.hear(1, 9);
        for (theirs, knows) in [
            (heard(&[("ingresses", 7), ("services in shop", 5)]), true),
            (heard(&[("ingresses", 8), ("services", 5)]), true),
            (heard(&[("ingresses", 6), ("services in shop", 99)]), false),
            (heard(&[("ingresses", 7), ("services in other", 9)]), false),
            (heard(&[]), false),
        ] {
            assert_eq!(ours.is_known_with(&theirs), knows, "{theirs:?}");
        }
        assert!(reached().is_known_with(&heard(&[])), "nothing is asked for before anything changed");
    }

    #[test]
    fn a_version_was_heard_of_by_the_watch_of_its_kind_and_namespace() {
        let mut ours = Reached::new(["ingresses in shop".to_owned(), "services".to_owned()]);
        ours.hear(0, 7);
        ours.hear(1, 9);
        for (kind, namespace, version, expected) in [
            ("ingresses", "shop", "7", true),
            ("ingresses", "shop", "8", false),
            ("ingresses", "other", "7", false),
            ("services", "anywhere", "9", true),
            ("services", "anywhere", "10", false),
            ("ingresses", "shop", "unknown", true),
            ("ingresses", "shop", "", true),
        ] {
            assert_eq!(ours.has_heard(kind, namespace, version), expected, "{kind} {namespace} {version}");
        }
        assert!(!Reached::default().has_heard("ingresses", "shop", "1"), "a cache was heard from nobody");
    }

    #[test]
    fn what_only_a_list_or_a_bookmark_says_is_not_asked_of_others() {
        let mut ours = reached();
        ours.change(0, 3);
        ours.list(0, 50);
        ours.hear(0, 60);
        assert!(ours.is_known_with(&heard(&[("ingresses", 3)])));
        assert_eq!(ours.heard()["ingresses"], 60);
    }

    #[test]
    fn a_server_that_was_restored_sets_everybody_back() {
        let mut ours = reached();
        ours.change(0, 90);
        ours.hear(0, 90);
        ours.list(0, 40);
        assert!(ours.is_known_with(&heard(&[("ingresses", 40)])));
    }

    #[test]
    fn what_changed_nothing_counts_for_what_is_served_already() {
        let (progress, mut source) = (Progress::default(), reached());
        source.hear(0, 5);
        source.next();
        let installed = source.clone();
        progress.note(&source, false);
        source.hear(0, 6);
        progress.note(&source, false);
        assert_eq!(progress.with(&installed).heard()["ingresses"], 6);
        source.hear(0, 7);
        progress.note(&source, true);
        assert_eq!(progress.with(&installed).heard()["ingresses"], 5, "7 changed something");
        source.next();
        progress.note(&source, false);
        assert_eq!(progress.with(&installed).heard()["ingresses"], 5, "and is handed on, but not served");
        assert_eq!(progress.with(&source).heard()["ingresses"], 7);
    }

    #[test]
    fn a_version_that_is_no_number_is_waited_for_by_nobody() {
        assert_eq!((number("12"), number("a12"), number("")), (12, 0, 0));
    }
}
