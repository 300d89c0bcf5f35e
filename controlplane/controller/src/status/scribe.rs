//! Keeps `status.loadBalancer` of Ingresses as it should be, while it leads: looks where clients reach us, compares, writes
//! what differs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use ringress_translate::objects::Key;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Publish;
use super::address::{self, Address};
use super::api::{self, Verb};
use super::decide::{Known, Ledger, Present, Write};
use super::follow::{Collection, News, follow};
use super::known::{addresses_of, read_statuses};
use super::lease::Role;
use super::nodes::Nodes;
use super::owner::Owner;
use super::troubles::{Task, Troubles};
use crate::acknowledge::GenerationReport;
use crate::live::View;
use crate::source::kube::call::Failure;

/// Writes statuses while it leads.
pub(super) struct Scribe {
    client: Client,
    owner: Owner,
    place: Place,
    role: watch::Receiver<Role>,
    /// `None`: the statuses were not read since we lead.
    ledger: Option<Ledger>,
    /// `None`: not known yet.
    addresses: Option<Vec<Address>>,
    /// The generation that was last looked at.
    view: Option<Arc<View>>,
    /// Its Ingresses.
    present: BTreeMap<Key, Present>,
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
        client: Client,
        owner: Owner,
        place: Place,
        role: watch::Receiver<Role>,
        troubles: Arc<Troubles>,
    ) -> Self {
        Self {
            client,
            owner,
            place,
            role,
            ledger: None,
            addresses: None,
            view: None,
            present: BTreeMap::new(),
            troubles,
        }
    }

    /// Runs until the feed is gone.
    pub(super) async fn run(mut self, mut reports: watch::Receiver<Option<GenerationReport>>) {
        let mut look = interval(LOOK);
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
                Some(news) = next(&mut self.place) => self.learn(news),
                _ = look.tick() => self.look().await,
                Ok(()) = self.role.changed() => self.look().await,
            }
            if let Some(report) = reports.borrow_and_update().clone() {
                self.take(&report.view);
            }
            more = self.turn().await;
        }
    }

    /// Takes our addresses out of all statuses where they stand: nobody is left to serve them. Returns how many are left.
    pub(super) async fn clear(&mut self, view: &Arc<View>) -> Result<usize, Failure> {
        self.take(view);
        self.present.values_mut().for_each(|present| present.is_ours = false);
        self.ledger = None;
        self.look().await;
        while self.leads() {
            if let (true, Place::Service(..)) = (self.addresses.is_none(), &self.place) {
                let Some(news) = next(&mut self.place).await else { break };
                self.learn(news);
                continue;
            }
            if !self.write_some(Duration::ZERO).await? {
                return Ok(0);
            }
        }
        let addresses = self.addresses.clone().unwrap_or_default();
        Ok(self.ledger.as_mut().map_or(0, |ledger| ledger.due(&self.present, &addresses).len()))
    }

    fn leads(&self) -> bool {
        self.role.borrow().leads(Instant::now())
    }

    fn take(&mut self, view: &Arc<View>) {
        let before = self.view.replace(Arc::clone(view));
        if before.is_none_or(|before| differ(&before, view)) {
            self.present = ours(view);
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
                return;
            }
            Place::Service(key, news) => {
                news.get_or_insert_with(|| follow(self.client.clone(), service(key)));
                return;
            }
            Place::Nodes(_) if !leads => return,
            Place::Nodes(nodes) => nodes.addresses().await,
        };
        match looked {
            Ok(addresses) => {
                self.troubles.over(&[Task::Addresses]);
                self.addresses = addresses.or(self.addresses.take());
            }
            Err(failure) => self.complain(Task::Addresses, &failure),
        }
    }

    fn learn(&mut self, news: News) {
        match news {
            News::Listed(items) => {
                self.addresses = Some(items.first().map(address::of_service).unwrap_or_default())
            }
            News::Changed(service) => self.addresses = Some(address::of_service(&service)),
            News::Deleted(_) => self.addresses = Some(Vec::new()),
            News::Refused(failure) => return self.complain(Task::Addresses, &failure),
        }
        self.troubles.over(&[Task::Addresses]);
    }

    fn complain(&self, task: Task, failure: &Failure) {
        if self.troubles.note(task, failure) {
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
            self.ledger = None;
            self.troubles.over(&[Task::Addresses, Task::Statuses]);
            return false;
        }
        match self.write_some(BETWEEN_WRITES).await {
            Ok(more) => {
                self.troubles.over(&[Task::Statuses]);
                more
            }
            Err(failure) => {
                self.complain(Task::Statuses, &failure);
                false
            }
        }
    }

    async fn write_some(&mut self, pause: Duration) -> Result<bool, Failure> {
        let (Some(view), Some(addresses)) = (self.view.clone(), self.addresses.clone()) else {
            return Ok(false);
        };
        let ledger = match &mut self.ledger {
            Some(ledger) => ledger,
            None => self.ledger.insert(read_statuses(&self.client, &view).await?),
        };
        let mut due = ledger.due(&self.present, &addresses);
        let is_more = due.len() > WRITES_MAX;
        due.truncate(WRITES_MAX);
        for due in due {
            if !self.leads() {
                return Ok(false);
            }
            self.write(due).await?;
            sleep(pause).await;
        }
        Ok(is_more)
    }

    async fn write(&mut self, due: Write) -> Result<(), Failure> {
        let Write { key, uid, before, addresses } = due;
        let path = format!("/apis/networking.k8s.io/v1/namespaces/{}/ingresses/{}", key.namespace, key.name);
        let mut metadata = json!({"uid": uid});
        if addresses.is_empty() {
            let Some(now) = api::read(&self.client, &path).await? else {
                self.forget(&key);
                return Ok(());
            };
            if addresses_of(&now) != before {
                // Somebody else's by now.
                self.note(key, uid, addresses_of(&now));
                return Ok(());
            }
            if !self.owner.wrote_addresses(&now) {
                // Another controller is reached at the same address: none of it is ours.
                self.note(key, uid, Vec::new());
                return Ok(());
            }
            metadata["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
        }
        let listed = if addresses.is_empty() { Value::Null } else { json!(addresses) };
        let patch = json!({"metadata": metadata, "status": {"loadBalancer": {"ingress": listed}}});
        let path = format!("{path}/status?{}", self.owner.query());
        match api::write(&self.client, Verb::Merge, &path, &patch).await {
            Ok(()) => self.note(key, uid, addresses),
            // Gone, or another object of that name: the next generation says which.
            Err(Failure::Missing | Failure::Conflict) => self.forget(&key),
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn note(&mut self, key: Key, uid: String, addresses: Vec<Address>) {
        if let Some(ledger) = &mut self.ledger {
            ledger.note(key, Known { uid, addresses });
        }
    }

    fn forget(&mut self, key: &Key) {
        if let Some(ledger) = &mut self.ledger {
            ledger.forget(key);
        }
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

/// Whether another Ingress may be ours now; endpoints change far more often than that.
fn differ(before: &View, now: &View) -> bool {
    let (before, now) = (&before.objects, &now.objects);
    !before.ingresses.differing(&now.ingresses).is_empty()
        || !before.ingress_classes.differing(&now.ingress_classes).is_empty()
}

/// Every Ingress, and whether it is ours.
fn ours(view: &View) -> BTreeMap<Key, Present> {
    let mut present: BTreeMap<Key, Present> = BTreeMap::new();
    for (key, stored) in &view.objects.ingresses {
        let uid = stored.object.metadata.uid.clone().unwrap_or_default();
        present.insert(key.clone(), Present { uid, is_ours: false });
    }
    for claim in view.translation.claims.iter().filter(|claim| claim.class.is_ours()) {
        if let Some(found) = present.get_mut(&Key::of(&claim.origin.object)) {
            found.is_ours = true;
        }
    }
    present
}

/// Statuses that could not be written, and nodes, are looked at this often.
const LOOK: Duration = Duration::from_secs(5);

/// Reports within this are one.
const TOGETHER: Duration = Duration::from_millis(50);

/// At most so many statuses a second are written: the API server belongs to others too.
const BETWEEN_WRITES: Duration = Duration::from_millis(5);

/// Statuses that are written before news have their turn.
const WRITES_MAX: usize = 50;
