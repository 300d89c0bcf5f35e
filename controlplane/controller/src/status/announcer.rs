//! Shows in a Lease of its own what this replica serves, so that the leader can speak for all of them.
//!
//! Written at once where an Ingress changed, but never more often than once a second; else only to renew it. What changes
//! meanwhile (endpoints do all day) goes along. Nothing is written while the replica is not ready.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::api::{self, Verb};
use super::replica::{Publishes, Replica, Shown};
use super::troubles::{Task, Troubles};
use crate::acknowledge::GenerationReport;
use crate::live::View;
use crate::readiness::Readiness;
use crate::source::kube::Progress;
use crate::source::kube::call::Failure;

/// Keeps the Lease of this replica.
pub(super) struct Announcer {
    client: Client,
    replica: Replica,
    /// The namespaces whose Ingresses get addresses, empty: all; `None`: statuses are left alone.
    published: Option<BTreeSet<String>>,
    /// The path of the Leases.
    leases: String,
    reports: watch::Receiver<Option<GenerationReport>>,
    progress: Arc<Progress>,
    readiness: Readiness,
    /// What was last reported.
    report: Option<GenerationReport>,
    shown: Option<Shown>,
    /// When to write next.
    due: Instant,
    /// Not before this, whatever happens.
    earliest: Instant,
    /// Until when what changes is written at once.
    hasty_until: Instant,
    troubles: Arc<Troubles>,
}

impl Announcer {
    pub(super) fn new(
        (client, leases): (Client, String),
        (replica, published): (Replica, Option<BTreeSet<String>>),
        reports: watch::Receiver<Option<GenerationReport>>,
        progress: Arc<Progress>,
        readiness: Readiness,
    ) -> Self {
        let now = Instant::now();
        let troubles = readiness.troubles();
        Self {
            client,
            replica,
            published,
            leases,
            reports,
            progress,
            readiness,
            report: None,
            shown: None,
            due: now,
            earliest: now,
            hasty_until: now,
            troubles,
        }
    }

    /// Runs until the feed is gone.
    pub(super) async fn run(mut self) {
        self.reports.mark_changed();
        loop {
            tokio::select! {
                changed = self.reports.changed() => match changed {
                    Ok(()) => self.hear(),
                    Err(_) => return,
                },
                () = sleep_until(self.due), if self.report.is_some() => self.renew().await,
            }
        }
    }

    fn hear(&mut self) {
        let Some(report) = self.reports.borrow_and_update().clone() else { return };
        let now = Instant::now();
        let before = self.report.as_ref().map(|report| &report.view);
        if before.is_none_or(|before| has_other_ingresses(before, &report.view)) {
            self.hasty_until = now + HASTE;
        }
        self.report = Some(report);
        let differs = self
            .shown
            .as_ref()
            .is_none_or(|shown| Some(&shown.heard) != self.shows().map(|now| now.heard).as_ref());
        if differs && now < self.hasty_until {
            self.due = self.due.min(self.earliest.max(now + TOGETHER));
        }
    }

    /// What all shards of this replica serve.
    fn shows(&self) -> Option<Shown> {
        let report = self.report.as_ref()?;
        let heard = self.progress.with(&report.view.reached.load()).heard();
        let settings = &report.view.settings;
        let publishes = self.published.as_ref().map(|namespaces| Publishes::new(settings, namespaces));
        Some(Shown { heard, shards: report.shards, generation: report.generation, publishes })
    }

    async fn renew(&mut self) {
        let begun = Instant::now();
        let Some(shown) = self.shows().filter(|_| self.readiness.is_ready()) else {
            self.due = begun + AGAIN;
            return;
        };
        self.earliest = begun + BETWEEN_WRITES;
        match self.write(&shown).await {
            Ok(()) => {
                self.shown = Some(shown);
                self.troubles.over(&[Task::OwnLease]);
                self.due = begun + RENEW;
            }
            Err(failure) => {
                if self.troubles.note(Task::OwnLease, &failure) {
                    let needs = Task::OwnLease.needs();
                    tracing::warn!(
                        lease = self.replica.name, error = %failure, needs,
                        "what this replica serves cannot be shown; Applied does not speak for it"
                    );
                }
                self.due = begun + AGAIN;
            }
        }
    }

    async fn write(&self, shown: &Shown) -> Result<(), Failure> {
        let lease = self.replica.lease(shown, &api::stamp());
        let path = format!("{}/{}", self.leases, self.replica.name);
        match api::write(&self.client, Verb::Merge, &path, &lease).await {
            Err(Failure::Missing) => api::write(&self.client, Verb::Create, &self.leases, &lease).await,
            written => written,
        }
    }
}

fn has_other_ingresses(before: &View, now: &View) -> bool {
    !Arc::ptr_eq(&before.objects, &now.objects)
        && !before.objects.ingresses.differing(&now.objects.ingresses).is_empty()
}

/// At most one write in this time.
const BETWEEN_WRITES: Duration = Duration::from_secs(1);

/// An object seldom comes alone: what comes within this is shown together.
const TOGETHER: Duration = Duration::from_millis(50);

/// After an Ingress changed, what it refers to follows within this.
const HASTE: Duration = Duration::from_secs(3);

/// The Lease is renewed this often: three times before it is not fresh any more.
const RENEW: Duration = Duration::from_secs(5);

/// What could not be written, or not yet, is tried again after this.
const AGAIN: Duration = Duration::from_secs(1);
