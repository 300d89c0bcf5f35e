//! What the writer cannot do: noted where it fails, over where it succeeds again, shown by the admin. Requests never notice any
//! of it, so whoever looks after the cluster has to.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::source::kube::call::Failure;

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
}

impl Task {
    /// What cannot be done, as the end of "cannot".
    fn what(self) -> &'static str {
        match self {
            Self::Addresses => "read where clients reach us",
            Self::Statuses => "write the statuses of Ingresses",
            Self::Events => "write Events",
            Self::Election => "hold or read the Lease of the leader",
            Self::OwnLease => "show in a Lease what this replica serves",
            Self::OtherLeases => "follow the Leases of the other replicas",
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
        }
    }
}

/// What fails now.
#[derive(Debug, Default)]
pub(crate) struct Troubles(Mutex<BTreeMap<Task, Trouble>>);

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
        let (why, is_refused) = (failure.to_string(), matches!(failure, Failure::Forbidden(_)));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = all.get(&task).map(|known| known.since);
        let trouble = Trouble { since: since.unwrap_or_else(Instant::now), why, is_refused };
        all.insert(task, trouble);
        since.is_none()
    }

    /// Notes that something works, or is not ours to do.
    pub(super) fn over(&self, tasks: &[Task]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.iter().for_each(|task| drop(all.remove(task)));
    }

    /// Whether the right to do it is missing.
    pub(super) fn is_refused(&self, task: Task) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&task).is_some_and(|trouble| trouble.is_refused)
    }

    /// Everything that fails now.
    pub(crate) fn report(&self) -> Vec<TroubleReport> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let report = |(task, trouble): (&Task, &Trouble)| TroubleReport {
            what: task.what(),
            why: trouble.why.clone(),
            is_refused: trouble.is_refused,
            needs: task.needs(),
            age: trouble.since.elapsed(),
        };
        all.iter().map(report).collect()
    }
}

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
}
