//! The loud part: runs what writes, and ends it in order.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use serde_json::{Value, json};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::StatusConfig;
use super::announcer::Announcer;
use super::api::{self, Verb};
use super::authors::Authors;
use super::holder::Holder;
use super::lease::Role;
use super::nodes::Nodes;
use super::owner::Owner;
use super::replica::{Publishes, Replica, is_of_group, name_of, shown};
use super::scribe::{Place, Scribe};
use super::speaker::Speaker;
use super::troubles::{Part, Troubles};
use crate::acknowledge::GenerationReport;
use crate::readiness::Readiness;
use crate::source::kube::Progress;
use crate::source::kube::call::Failure;
use crate::source::kube::watch::random;
use crate::supervise::supervise_and_tell;

/// Writes statuses and Events for as long as it is run, and only while it leads.
#[derive(Debug)]
pub struct Writer {
    config: StatusConfig,
    progress: Arc<Progress>,
    /// What was live first; it is taken once.
    first: Option<oneshot::Receiver<GenerationReport>>,
    reports: watch::Receiver<Option<GenerationReport>>,
}

/// Who we are.
struct Identity {
    client: Client,
    namespace: String,
    /// `holderIdentity`; two processes of one name must not both think that they hold the Lease.
    me: String,
    replica: Replica,
    troubles: Arc<Troubles>,
}

impl Writer {
    pub(super) fn new(
        config: StatusConfig,
        progress: Arc<Progress>,
        (first, reports): (oneshot::Receiver<GenerationReport>, watch::Receiver<Option<GenerationReport>>),
    ) -> Self {
        Self { config, progress, first: Some(first), reports }
    }

    /// Runs until the process is asked to stop, and then gives back what it holds. What fails is tried again; nothing of it
    /// reaches traffic.
    pub async fn run(mut self, readiness: Readiness) {
        let mut first = self.first.take();
        let Some(who) = self.identity(readiness.troubles()).await else { return };
        let Identity { client, namespace, me, replica, troubles } = &who;
        let holder =
            Holder::new(client.clone(), me, namespace, &self.config.election_id, Arc::clone(troubles));
        let role = holder.role();
        // One for all: who writes is told by what it was last told, and by the clock.
        let holder = Mutex::new(holder);
        let calls = || (client.clone(), api::leases(namespace));
        let hold = || async { holder.lock().await.run().await };
        let announce = || {
            let (reports, progress) = (self.reports.clone(), Arc::clone(&self.progress));
            let announced = (replica.clone(), self.published());
            Announcer::new(calls(), announced, reports, progress, readiness.clone()).run()
        };
        let speak = || {
            let (me, role, troubles) = (me.clone(), role.clone(), Arc::clone(troubles));
            let speaker = Speaker::new(calls(), replica.clone(), me, role, troubles);
            speaker.run(first.take(), self.reports.clone())
        };
        let write = || self.scribe(&who, role.clone()).run(self.reports.clone());
        tokio::select! {
            biased;
            () = readiness.stopped() => {}
            () = keep_running(Part::Holder, troubles, hold) => {}
            () = keep_running(Part::Announcer, troubles, announce) => {}
            () = keep_running(Part::Speaker, troubles, speak) => {}
            () = keep_running(Part::Scribe, troubles, write) => {}
        }
        let mut holder = holder.into_inner();
        if timeout(CLOSING, self.close(&who, &mut holder)).await.is_err() {
            tracing::warn!(
                "the Lease and the statuses are left as they are, because the API server is too slow"
            );
        }
    }

    async fn identity(&self, troubles: Arc<Troubles>) -> Option<Identity> {
        let client = match self.config.access.client().await {
            Ok(client) => client,
            Err(error) => {
                // The source cannot reach it either, and says so where it is read.
                tracing::debug!(%error, "no status and no Events are written");
                return None;
            }
        };
        let namespace =
            own(&self.config.pod_namespace).unwrap_or_else(|| client.default_namespace().to_owned());
        let process = random() as u32;
        let pod = own(&self.config.pod_name).unwrap_or_else(|| format!("{process:08x}"));
        let me = format!("{pod}_{process:08x}");
        let replica = Replica::new(&pod, &me, &namespace, &self.config.election_id);
        Some(Identity { client, namespace, me, replica, troubles })
    }

    fn scribe(&self, who: &Identity, role: watch::Receiver<Role>) -> Scribe {
        let owner = Owner::new(&who.namespace, &self.config.election_id);
        let authors = Authors::new(who.client.clone(), api::leases(&who.namespace), owner);
        let reading = (self.config.watched.clone(), self.config.read_again, self.config.confirm);
        let place = self.place(who);
        Scribe::new((who.client.clone(), authors), reading, place, role, Arc::clone(&who.troubles))
    }

    fn place(&self, who: &Identity) -> Place {
        let pod = own(&self.config.pod_name);
        let internal = self.config.report_internal_addresses;
        let nodes = pod.map(|pod| Nodes::new(who.client.clone(), &who.namespace, &pod, internal));
        Place::new(self.config.publish.clone(), nodes)
    }

    /// The namespaces whose Ingresses get addresses, empty: all; `None`: statuses are left alone.
    fn published(&self) -> Option<BTreeSet<String>> {
        self.config.publish.as_ref().map(|_| self.config.watched.clone())
    }

    /// Takes the Lease of this replica away, the addresses if nobody is left to serve them, and lets the next one lead.
    async fn close(&self, who: &Identity, holder: &mut Holder) {
        let report = self.reports.borrow().clone();
        let mut is_last = false;
        // Before the first generation nothing was shown anywhere.
        if let Some(report) = report {
            let leases = api::leases(&who.namespace);
            let own = format!("{leases}/{}", who.replica.name);
            if let Err(error) = api::write(&who.client, Verb::Delete, &own, &json!({})).await {
                tracing::debug!(lease = who.replica.name, %error, "there is no Lease of this replica to take away");
            }
            match self.clear_as_the_last(who, holder, &leases, &report).await {
                Ok(alone) => is_last = alone,
                Err(error) => {
                    // An uninstallation takes our rights away; the chart's Job does it then.
                    let (namespace, lease) = (&who.namespace, &self.config.election_id);
                    let next = format!("ringress clear-status --namespace {namespace} --election-id {lease}");
                    tracing::warn!(%error, next, "addresses stay in the statuses of Ingresses, unless somebody clears them");
                }
            }
        }
        if let Err(error) = holder.end(is_last).await {
            tracing::debug!(%error, "the Lease is not given back; it runs out by itself");
        }
    }

    /// Takes the addresses out if this is the last replica that publishes them. Returns whether it is the last of its election.
    async fn clear_as_the_last(
        &self,
        who: &Identity,
        holder: &mut Holder,
        leases: &str,
        report: &GenerationReport,
    ) -> Result<bool, Failure> {
        let others = others(who, leases).await?;
        if others.iter().any(|lease| is_of_group(lease, &who.replica.group)) {
            return Ok(false);
        }
        let own = self.published().map(|namespaces| Publishes::new(&report.view.settings, &namespaces));
        // A roll-out that changes the name of the election has its replicas in two of them.
        let is_published = |own: &Publishes| {
            others.iter().any(|lease| shown(lease).publishes.is_some_and(|theirs| theirs.covers(own)))
        };
        let leads = Self::lead(holder).await;
        if self.config.clear_on_shutdown && own.is_some_and(|own| !is_published(&own)) {
            leads?;
            let left = self.scribe(who, holder.role()).clear(&report.view).await?;
            tracing::info!(
                left,
                "the last replica ends; addresses are taken out of the statuses of Ingresses"
            );
        }
        Ok(true)
    }

    /// Waits a moment for the Lease: another one that ends gives it back.
    async fn lead(holder: &mut Holder) -> Result<(), Failure> {
        let role = holder.role();
        let patience = Instant::now() + HANDED_OVER;
        while !role.borrow().leads(Instant::now()) && Instant::now() < patience {
            holder.turn().await?;
            if !role.borrow().leads(Instant::now()) {
                sleep(HANDED_OVER / 10).await;
            }
        }
        Ok(())
    }
}

/// Runs a part of the writer, and shows where it panicked. The others go on.
async fn keep_running<F: Future<Output = ()>>(part: Part, troubles: &Troubles, start: impl FnMut() -> F) {
    supervise_and_tell(part.name(), start, |panicked| troubles.note_panic(part, panicked)).await;
}

/// The Leases of other replicas of our namespace, of any election, that were renewed lately. The clocks of nodes may differ: a
/// replica that is taken for gone writes the addresses again.
async fn others(who: &Identity, leases: &str) -> Result<Vec<Value>, Failure> {
    let mut running = api::running(&who.client, leases).await?;
    running.retain(|lease| name_of(lease) != who.replica.name);
    Ok(running)
}

fn own(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

/// An end in order may take so long.
const CLOSING: Duration = Duration::from_secs(10);

/// Replicas that end together give the Lease from one to the next within this.
const HANDED_OVER: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_that_panics_is_shown_started_again_and_over_when_it_goes_on() {
        let troubles = Troubles::default();
        let starts = std::cell::Cell::new(0);
        let part = || async {
            starts.set(starts.get() + 1);
            assert!(starts.get() > 1, "the first");
            std::future::pending::<()>().await;
        };
        let told = || troubles.report().into_iter().map(|one| (one.what, one.why)).collect::<Vec<_>>();
        let mut run = std::pin::pin!(keep_running(Part::Scribe, &troubles, part));
        assert!(timeout(Duration::from_secs(5), &mut run).await.is_err(), "it goes on");
        assert_eq!(starts.get(), 2);
        let why = "panicked: the first; this is a defect of ringress, and it is started again";
        assert_eq!(told(), [("keep running what writes the statuses of Ingresses", why.to_owned())]);
        assert!(timeout(Duration::from_secs(90), &mut run).await.is_err(), "it goes on");
        assert!(told().is_empty());
    }
}
