//! What the writer cannot do: noted where it fails, over where it succeeds again, shown by the admin. Requests never notice any
//! of it, so whoever looks after the cluster has to.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::source::kube::call::Failure;
use crate::supervise::Panicked;

/// A part of what the writer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    /// Looks where clients reach us.
    Addresses,
    /// Writes that into Ingresses.
    Statuses,
    Events,
    /// Holds the Lease of the leader, or waits for it.
    Election,
    /// Shows what this replica serves.
    OwnLease,
    /// Follows what the others show.
    OtherLeases,
    /// Goes on at all: a part that panicked is started again.
    Running(Part),
}

/// A part of the writer that runs by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Holder,
    Announcer,
    Speaker,
    Scribe,
}

impl Part {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Holder => "leader election",
            Self::Announcer => "lease of the replica",
            Self::Speaker => "events",
            Self::Scribe => "statuses",
        }
    }
}

impl Task {
    const ALL: [Self; 10] = [
        Self::Addresses,
        Self::Statuses,
        Self::Events,
        Self::Election,
        Self::OwnLease,
        Self::OtherLeases,
        Self::Running(Part::Holder),
        Self::Running(Part::Announcer),
        Self::Running(Part::Speaker),
        Self::Running(Part::Scribe),
    ];

    /// As labels of metrics have it.
    fn label(self) -> &'static str {
        match self {
            Self::Addresses => "addresses",
            Self::Statuses => "statuses",
            Self::Events => "events",
            Self::Election => "election",
            Self::OwnLease => "own_lease",
            Self::OtherLeases => "other_leases",
            Self::Running(Part::Holder) => "running_election",
            Self::Running(Part::Announcer) => "running_own_lease",
            Self::Running(Part::Speaker) => "running_events",
            Self::Running(Part::Scribe) => "running_statuses",
        }
    }

    /// What cannot be done, as the end of "cannot".
    fn what(self) -> &'static str {
        match self {
            Self::Addresses => "read where clients reach us",
            Self::Statuses => "write the statuses of Ingresses",
            Self::Events => "write Events",
            Self::Election => "hold or read the Lease of the leader",
            Self::OwnLease => "show in a Lease what this replica serves",
            Self::OtherLeases => "follow the Leases of the other replicas",
            Self::Running(Part::Holder) => "keep running what holds the Lease of the leader",
            Self::Running(Part::Announcer) => "keep running what shows what this replica serves",
            Self::Running(Part::Speaker) => "keep running what writes Events",
            Self::Running(Part::Scribe) => "keep running what writes the statuses of Ingresses",
        }
    }

    /// The rights that it takes, as RBAC words them.
    pub(super) fn needs(self) -> &'static str {
        match self {
            Self::Addresses => {
                "get, list and watch services (the one of --publish-service), or get and list pods and get nodes"
            }
            Self::Statuses => "patch ingresses/status in networking.k8s.io, where Ingresses are watched",
            Self::Events => "create and patch events in events.k8s.io, where Ingresses are watched",
            Self::Election => "create, get and update leases in coordination.k8s.io, in its own namespace",
            Self::OwnLease => "create, patch and delete leases in coordination.k8s.io, in its own namespace",
            Self::OtherLeases => "list and watch leases in coordination.k8s.io, in its own namespace",
            Self::Running(_) => "no right that is missing",
        }
    }
}

/// What fails now: by task and namespace, where it takes a right, since rights are granted by namespace. Else by task, with no
/// namespace.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<BTreeMap<Task, BTreeMap<Box<str>, Trouble>>>);

#[derive(Debug)]
struct Trouble {
    since: Instant,
    why: String,
    is_refused: bool,
}

/// One thing that fails.
#[derive(Debug, PartialEq)]
pub(crate) struct TroubleReport {
    /// What cannot be done, as the end of "cannot".
    pub(crate) what: &'static str,
    pub(crate) why: String,
    /// Whether it takes a right that is not there.
    pub(crate) is_refused: bool,
    /// The rights that it takes, as RBAC words them.
    pub(crate) needs: &'static str,
    /// For how long it has been failing.
    pub(crate) age: Duration,
}

impl Troubles {
    /// Notes a failure; returns whether it is the first in a row.
    pub(super) fn note(&self, task: Task, failure: &Failure) -> bool {
        self.note_in(task, "", failure)
    }

    /// Notes that a part panicked, or (`None`) that it goes on since.
    pub(super) fn note_panic(&self, part: Part, panicked: Option<&Panicked>) {
        match panicked {
            Some(panicked) => drop(self.note(Task::Running(part), &Failure::Broken(panicked.as_defect()))),
            None => self.over(&[Task::Running(part)]),
        }
    }

    /// Notes a failure in a namespace; returns whether it is the first in a row, wherever.
    pub(super) fn note_in(&self, task: Task, namespace: &str, failure: &Failure) -> bool {
        let (why, is_refused) = (failure.to_string(), matches!(failure, Failure::Forbidden(_)));
        let place = if is_refused { namespace } else { "" };
        let mut all = self.lock();
        let places = all.entry(task).or_default();
        let is_first = places.is_empty();
        let since = places.get(place).map_or_else(Instant::now, |known| known.since);
        places.insert(place.into(), Trouble { since, why, is_refused });
        is_first
    }

    /// Notes that something works everywhere, or is not ours to do.
    pub(super) fn over(&self, tasks: &[Task]) {
        let mut all = self.lock();
        tasks.iter().for_each(|task| drop(all.remove(task)));
    }

    /// Notes that something works in a namespace; with an empty name, that it is not what fails everywhere.
    pub(super) fn over_in(&self, task: Task, namespace: &str) {
        self.retain(task, |place| place != namespace);
    }

    /// Forgets the namespaces for which this is false: nothing is done there any more.
    pub(super) fn retain(&self, task: Task, holds: impl Fn(&str) -> bool) {
        let mut all = self.lock();
        let Some(places) = all.get_mut(&task) else { return };
        places.retain(|place, _| holds(place));
        if places.is_empty() {
            all.remove(&task);
        }
    }

    /// Whether the right to do it is missing somewhere.
    pub(super) fn is_refused(&self, task: Task) -> bool {
        self.lock().get(&task).is_some_and(|places| places.values().any(|trouble| trouble.is_refused))
    }

    /// Everything that fails now, each task once.
    pub(crate) fn report(&self) -> Vec<TroubleReport> {
        self.lock().iter().filter_map(|(task, places)| report(*task, places)).collect()
    }

    /// Every task as labels have it, and whether it fails now.
    pub(crate) fn failing(&self) -> [(&'static str, bool); Task::ALL.len()] {
        let all = self.lock();
        Task::ALL.map(|task| (task.label(), all.contains_key(&task)))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Task, BTreeMap<Box<str>, Trouble>>> {
        // Nothing in here can be left half-done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report(task: Task, places: &BTreeMap<Box<str>, Trouble>) -> Option<TroubleReport> {
    let first = places.values().next()?;
    let since = places.values().map(|trouble| trouble.since).min()?;
    Some(TroubleReport {
        what: task.what(),
        why: format!("{}{}", first.why, namespaces(places)),
        is_refused: places.values().any(|trouble| trouble.is_refused),
        needs: task.needs(),
        age: since.elapsed(),
    })
}

/// Where it fails, as the end of a sentence; nothing where that is everywhere.
fn namespaces(places: &BTreeMap<Box<str>, Trouble>) -> String {
    let named: Vec<&str> = places.keys().map(|name| &**name).filter(|name| !name.is_empty()).collect();
    match (named.len(), named.len().saturating_sub(NAMED_MAX)) {
        (0, _) => String::new(),
        (1, _) => format!(" (in the namespace {})", named[0]),
        (_, 0) => format!(" (in the namespaces {})", named.join(", ")),
        (_, more) => format!(" (in the namespaces {} and {more} more)", named[..NAMED_MAX].join(", ")),
    }
}

/// So many namespaces are named.
const NAMED_MAX: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_told_until_it_works_and_is_news_once() {
        let troubles = Troubles::default();
        let refused = Failure::Forbidden("no".to_owned());
        assert!(troubles.note(Task::Statuses, &refused));
        assert!(!troubles.note(Task::Statuses, &refused));
        assert!(troubles.note(Task::Events, &Failure::Broken("away".to_owned())));
        let told = troubles.report();
        let told: Vec<_> = told.iter().map(|one| (one.what, &*one.why, one.is_refused)).collect();
        assert_eq!(
            told,
            [
                ("write the statuses of Ingresses", "the API server refuses: no", true),
                ("write Events", "away", false)
            ]
        );
        assert!(troubles.is_refused(Task::Statuses) && !troubles.is_refused(Task::Events));
        troubles.over(&[Task::Statuses, Task::Addresses]);
        assert_eq!(troubles.report().len(), 1);
        assert!(troubles.note(Task::Statuses, &refused), "it began again");
    }

    #[test]
    fn every_task_has_a_label_of_its_own() {
        let troubles = Troubles::default();
        assert!(troubles.failing().iter().all(|(_, fails)| !fails));
        for (number, task) in Task::ALL.into_iter().enumerate() {
            troubles.note(task, &Failure::Broken("away".to_owned()));
            assert_eq!(troubles.failing().iter().filter(|(_, fails)| *fails).count(), number + 1);
        }
        let labels: std::collections::BTreeSet<_> = troubles.failing().map(|(label, _)| label).into();
        assert_eq!(labels.len(), Task::ALL.len());
    }

    #[test]
    fn what_is_refused_in_one_namespace_stays_while_it_works_in_others() {
        let troubles = Troubles::default();
        let refused = Failure::Forbidden("no".to_owned());
        let told = || troubles.report().into_iter().map(|one| one.why).collect::<Vec<_>>();
        assert!(troubles.note_in(Task::Events, "b", &refused));
        assert!(!troubles.note_in(Task::Events, "a", &refused), "one line in the log says it");
        troubles.over_in(Task::Events, "c");
        troubles.over_in(Task::Events, "");
        assert_eq!(told(), ["the API server refuses: no (in the namespaces a, b)"]);
        for namespace in ["c", "d", "e"] {
            troubles.note_in(Task::Events, namespace, &refused);
        }
        assert_eq!(told(), ["the API server refuses: no (in the namespaces a, b, c and 2 more)"]);
        troubles.retain(Task::Events, |namespace| namespace == "b");
        assert_eq!(told(), ["the API server refuses: no (in the namespace b)"]);
        troubles.over_in(Task::Events, "b");
        assert!(told().is_empty());
        assert!(troubles.note_in(Task::Events, "b", &Failure::Broken("away".to_owned())));
        assert_eq!(told(), ["away"], "that has nothing to do with a namespace");
    }
}
