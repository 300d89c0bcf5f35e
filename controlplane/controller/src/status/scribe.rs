//! Keeps `status.loadBalancer` of Ingresses as it should be, while it leads: looks where clients reach us, compares, writes
//! what differs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use ringress_translate::Objects;
use ringress_translate::objects::Key;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Publish;
use super::address::{self, Address};
use super::api::{self, Verb};
use super::authors::Authors;
use super::decide::{Ledger, Present, Shown, Write};
use super::follow::{Collection, News, follow};
use super::is_ours;
use super::known::{addresses_of, read_statuses};
use super::lease::Role;
use super::nodes::Nodes;
use super::owner::Signature;
use super::troubles::{Task, Troubles};
use crate::acknowledge::GenerationReport;
use crate::live::View;
use crate::source::kube::call::Failure;

/// Writes statuses while it leads.
pub(super) struct Scribe {
    client: Client,
    authors: Authors,
    /// The namespaces of Ingresses; empty: all.
    watched: BTreeSet<String>,
    place: Place,
    role: watch::Receiver<Role>,
    ledger: Ledger,
    /// How often the statuses are read.
    read_again: Duration,
    /// That clients reach us nowhere must hold for so long.
    confirm: Duration,
    /// Since when they seem to reach us nowhere.
    nowhere_since: Option<Instant>,
    /// When they were read last.
    read_at: Option<Instant>,
    /// The generation that was last looked at.
    view: Option<Arc<View>>,
    troubles: Arc<Troubles>,
}

/// Where clients reach us, as the flags say it.
pub(super) enum Place {
    Nowhere,
    At(Vec<String>),
    /// The news of it while we lead.
    Service(Key, Option<mpsc::Receiver<News>>),
    Nodes(Box<Nodes>),
}

impl Place {
    /// What the flags ask for; the nodes of pods where there is a pod.
    pub(super) fn new(publish: Option<Publish>, nodes: Option<Nodes>) -> Self {
        match (publish, nodes) {
            (Some(Publish::Addresses(texts)), _) => Self::At(texts),
            (Some(Publish::Service(key)), _) => Self::Service(key, None),
            (Some(Publish::Nodes), Some(nodes)) => Self::Nodes(Box::new(nodes)),
            (Some(Publish::Nodes), None) | (None, _) => Self::Nowhere,
        }
    }
}

impl Scribe {
    pub(super) fn new(
        (client, authors): (Client, Authors),
        (watched, read_again, confirm): (BTreeSet<String>, Duration, Duration),
        place: Place,
        role: watch::Receiver<Role>,
        troubles: Arc<Troubles>,
    ) -> Self {
        Self {
            client,
            authors,
            watched,
            place,
            role,
            ledger: Ledger::default(),
            read_again,
            confirm,
            nowhere_since: None,
            read_at: None,
            view: None,
            troubles,
        }
    }

    /// Runs until the feed is gone.
    pub(super) async fn run(mut self, mut reports: watch::Receiver<Option<GenerationReport>>) {
        let mut look = interval(LOOK.min(self.read_again));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut more = false;
        reports.mark_changed();
        loop {
            tokio::select! {
                () = std::future::ready(()), if more => {}
                changed = reports.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // Reports that come close together are one: statuses need no haste.
                    sleep(TOGETHER).await;
                }
                Some(news) = next(&mut self.place) => {
                    if let Some(addresses) = self.read_news(news) {
                        self.found(addresses);
                    }
                }
                _ = look.tick() => {
                    self.ledger.try_again();
                    self.look().await;
                }
                Ok(()) = self.role.changed() => self.look().await,
            }
            if let Some(report) = reports.borrow_and_update().clone() {
                self.take(&report.view);
            }
            more = self.turn().await;
        }
    }

    /// Takes our addresses out of all statuses where they stand: nobody is left to serve them. Returns how many are left. What
    /// changes at this moment is read anew and tried again.
    pub(super) async fn clear(&mut self, view: &Arc<View>) -> Result<usize, Failure> {
        self.take(view);
        self.ledger.disown();
        self.look().await;
        let mut readings = 0;
        while self.leads() {
            if let (false, Place::Service(..)) = (self.ledger.has_addresses(), &self.place) {
                let Some(news) = next(&mut self.place).await else { break };
                self.read_news(news).into_iter().for_each(|addresses| self.ledger.want(addresses));
                continue;
            }
            if self.write_some(Duration::ZERO).await.map_err(|stuck| stuck.failure)? {
                continue;
            }
            if self.ledger.put_off_count() == 0 || readings == READINGS_MAX {
                break;
            }
            readings += 1;
            self.read().await?;
        }
        Ok(self.ledger.count() + self.ledger.put_off_count())
    }

    fn leads(&self) -> bool {
        self.role.borrow().leads(Instant::now())
    }

    fn take(&mut self, view: &Arc<View>) {
        let before = self.view.replace(Arc::clone(view));
        for key in moved(before.as_deref(), view) {
            self.ledger.follow(&key, present(view, &key));
        }
    }

    /// Looks where clients reach us. What cannot be read stays as it was.
    async fn look(&mut self) {
        let leads = self.leads();
        let looked = match &mut self.place {
            Place::Nowhere => return,
            Place::At(texts) => Ok(Some(address::sorted(texts.iter().cloned()))),
            Place::Service(_, news) if !leads => {
                *news = None;
                self.nowhere_since = None;
                return;
            }
            Place::Service(key, news) => {
                if self.nowhere_since.is_some_and(|since| since.elapsed() >= self.confirm) {
                    // Listed anew, so that it is a second answer that is believed.
                    *news = None;
                }
                news.get_or_insert_with(|| follow(self.client.clone(), service(key)));
                return;
            }
            Place::Nodes(_) if !leads => return,
            Place::Nodes(nodes) => nodes.addresses().await,
        };
        match looked {
            Ok(addresses) => {
                self.troubles.over(&[Task::Addresses]);
                addresses.into_iter().for_each(|addresses| self.found(addresses));
            }
            Err(failure) => self.complain(Task::Addresses, &failure.into()),
        }
    }

    /// The addresses of the Service by what is told of it; `None`: it may not be read.
    fn read_news(&self, news: News) -> Option<Vec<Address>> {
        let addresses = match news {
            News::Listed(items) => items.first().map(address::of_service).unwrap_or_default(),
            News::Changed(service) => address::of_service(&service),
            News::Deleted(_) => Vec::new(),
            News::Refused(failure) => {
                self.complain(Task::Addresses, &failure.into());
                return None;
            }
        };
        self.troubles.over(&[Task::Addresses]);
        Some(addresses)
    }

    /// Shows where clients reach us. "Nowhere" takes the address out of every Ingress, and whoever reads them takes it out of the
    /// DNS: it must hold for a while before it is believed.
    fn found(&mut self, addresses: Vec<Address>) {
        if addresses.is_empty() && !self.ledger.wants(&addresses) {
            let since = *self.nowhere_since.get_or_insert_with(Instant::now);
            if since.elapsed() < self.confirm {
                return;
            }
        }
        self.nowhere_since = None;
        self.ledger.want(addresses);
    }

    fn complain(&self, task: Task, Stuck { namespace, failure }: &Stuck) {
        if self.troubles.note_in(task, namespace, failure) {
            let needs = task.needs();
            match task {
                Task::Addresses => {
                    tracing::warn!(error = %failure, needs, "cannot read where clients reach us; statuses stay as they are");
                }
                _ => tracing::warn!(error = %failure, needs, "statuses cannot be written; trying again"),
            }
        }
    }

    /// Writes some of what is due; returns whether more is.
    async fn turn(&mut self) -> bool {
        if !self.leads() {
            self.ledger.forget_statuses();
            self.troubles.over(&[Task::Addresses, Task::Statuses]);
            return false;
        }
        match self.write_some(BETWEEN_WRITES).await {
            Ok(more) => {
                // What was refused goes on to be, until it is tried again.
                if self.ledger.put_off_count() == 0 {
                    self.troubles.over(&[Task::Statuses]);
                }
                more
            }
            Err(stuck) => {
                self.complain(Task::Statuses, &stuck);
                false
            }
        }
    }

    async fn write_some(&mut self, pause: Duration) -> Result<bool, Stuck> {
        if self.view.is_none() || !self.ledger.has_addresses() {
            return Ok(false);
        }
        if !self.ledger.is_read() || self.is_outdated() {
            self.read().await?;
        }
        let mut refused = Vec::new();
        for due in self.ledger.due(WRITES_MAX) {
            if !self.leads() {
                return Ok(false);
            }
            let key = due.key.clone();
            match self.write(due).await {
                Ok(()) => self.troubles.over_in(Task::Statuses, &key.namespace),
                // One object that may not be written, or that an admission webhook refuses, holds up no other.
                Err(failure @ (Failure::Forbidden(_) | Failure::Broken(_)))
                    if refused.len() < REFUSED_MAX =>
                {
                    self.ledger.put_off(&key);
                    let stuck = Stuck { namespace: key.namespace, failure };
                    self.complain(Task::Statuses, &stuck);
                    refused.push(stuck);
                }
                Err(failure) => return Err(Stuck { namespace: key.namespace, failure }),
            }
            sleep(pause).await;
        }
        refused.pop().map_or(Ok(self.ledger.count() > 0), Err)
    }

    /// Reads what stands in all statuses.
    async fn read(&mut self) -> Result<(), Failure> {
        self.ledger.read(read_statuses(&self.client, &self.watched, &mut self.authors).await?);
        self.read_at = Some(Instant::now());
        Ok(())
    }

    /// Whether somebody else may have changed statuses since they were read: the objects that we follow have none.
    fn is_outdated(&self) -> bool {
        let share = u32::try_from(self.ledger.rows().saturating_sub(1) / OFTEN_READ).unwrap_or(u32::MAX);
        let often = self.read_again.saturating_mul(share.saturating_add(1));
        self.read_at.is_some_and(|read_at| read_at.elapsed() >= often)
    }

    async fn write(&mut self, due: Write) -> Result<(), Failure> {
        let Write { key, uid, before, addresses } = due;
        let path = format!("{}/{}", api::ingresses(Some(&key.namespace)), key.name);
        let mut metadata = json!({"uid": &*uid});
        if addresses.is_empty() {
            let Some(now) = api::read(&self.client, &path).await? else {
                self.ledger.put_off(&key);
                return Ok(());
            };
            // Somebody else's by now, if it is not the same; another controller may be reached at the same address.
            let shown = Shown {
                addresses: addresses_of(&now).into(),
                is_own: self.authors.are_ours(&Signature::all(&now)).await?,
            };
            if shown.addresses != before || !shown.is_own {
                self.ledger.note(&key, &uid, shown);
                return Ok(());
            }
            metadata["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
        }
        let listed = if addresses.is_empty() { Value::Null } else { json!(&addresses[..]) };
        let patch = json!({"metadata": metadata, "status": {"loadBalancer": {"ingress": listed}}});
        let path = format!("{path}/status?{}", self.authors.owner().query());
        match api::write(&self.client, Verb::Merge, &path, &patch).await {
            Ok(()) => self.ledger.note(&key, &uid, Shown { addresses, is_own: true }),
            // Gone, or another object of that name: the next generation says which.
            Err(Failure::Missing | Failure::Conflict) => self.ledger.put_off(&key),
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}

/// A call that failed.
struct Stuck {
    /// Of an object in this namespace; empty: of none.
    namespace: Arc<str>,
    failure: Failure,
}

impl From<Failure> for Stuck {
    fn from(failure: Failure) -> Self {
        Self { namespace: "".into(), failure }
    }
}

async fn next(place: &mut Place) -> Option<News> {
    match place {
        Place::Service(_, Some(news)) => news.recv().await,
        _ => std::future::pending().await,
    }
}

/// One Service, so that a role which names it suffices.
fn service(key: &Key) -> Collection {
    let path = format!("/api/v1/namespaces/{}/services", key.namespace);
    Collection { path, selector: ("fieldSelector", format!("metadata.name={}", key.name)) }
}

/// The Ingresses that changed, or that may be ours now and were not; endpoints change far more often than that.
fn moved(before: Option<&View>, now: &View) -> Vec<Key> {
    let now = &now.objects;
    let Some(before) = before.map(|before| &before.objects) else {
        return now.ingresses.keys().chain(now.set_aside.keys()).cloned().collect();
    };
    let mut moved = before.ingresses.differing(&now.ingresses);
    moved.extend(before.set_aside.differing(&now.set_aside));
    if !before.ingress_classes.differing(&now.ingress_classes).is_empty() {
        moved.extend(now.ingresses.keys().cloned());
    }
    moved
}

/// What an Ingress is now; `None`: it is gone. One that is set aside, because its namespace is not selected any more, is there and
/// not ours.
fn present(view: &View, key: &Key) -> Option<Present> {
    let Objects { ingresses, set_aside, .. } = &*view.objects;
    let found = ingresses.get(key).or_else(|| set_aside.get(key))?;
    let uid = found.object.metadata.uid.as_deref().unwrap_or_default().into();
    Some(Present { uid, is_ours: is_ours(view, key) })
}

/// Statuses that could not be written, and nodes, are looked at this often.
const LOOK: Duration = Duration::from_secs(5);

/// Statuses are read anew so often for what others change while ours are taken out.
const READINGS_MAX: usize = 5;

/// So many writes of a turn may be refused before it ends: beyond that it is not the objects.
const REFUSED_MAX: usize = 3;

/// So many statuses are read as often as the configuration says, more of them in proportion less often.
const OFTEN_READ: usize = 5_000;

/// Reports within this are one.
const TOGETHER: Duration = Duration::from_millis(50);

/// At most so many statuses a second are written: the API server belongs to others too.
const BETWEEN_WRITES: Duration = Duration::from_millis(5);

/// Statuses that are written before news have their turn.
const WRITES_MAX: usize = 50;
