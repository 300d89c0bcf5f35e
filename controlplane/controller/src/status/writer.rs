//! The loud part: holds the Lease, reads addresses, writes statuses and Events, and never more than is due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use ringress_translate::objects::Key;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::address::{self, Address};
use super::decide::{Known, Ledger, Present, Write};
use super::event::{self, Applied, Event, Limits, State};
use super::lease::{Election, LOOK, Step};
use super::{Publish, StatusConfig};
use crate::acknowledge::GenerationReport;
use crate::live::View;
use crate::source::kube::call::{self, Failure};
use crate::source::kube::plan::escape;
use crate::source::kube::watch::random;

/// Writes statuses and Events for as long as it is run, and only while it leads.
#[derive(Debug)]
pub struct Writer {
    config: StatusConfig,
    reports: watch::Receiver<Option<GenerationReport>>,
}

impl Writer {
    pub(super) fn new(config: StatusConfig, reports: watch::Receiver<Option<GenerationReport>>) -> Self {
        Self { config, reports }
    }

    /// Runs until the feed is gone. What fails is tried again; nothing of it reaches traffic.
    pub async fn run(self) {
        let client = match self.config.access.client().await {
            Ok(client) => client,
            Err(error) => {
                // The source cannot reach it either, and says so where it is read.
                tracing::debug!(%error, "no status and no Events are written");
                return;
            }
        };
        let own = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let namespace = own(&self.config.pod_namespace);
        let namespace = namespace.unwrap_or_else(|| client.default_namespace().to_owned());
        let pod = own(&self.config.pod_name).unwrap_or_else(|| "ringress".to_owned());
        // Two processes of one name must not both think that they hold it.
        let me = format!("{pod}_{:08x}", random() as u32);
        let (leads, leading) = watch::channel(None);
        let holder = Holder {
            client: client.clone(),
            election: Election::new(&me, &namespace, &self.config.election_id),
            leases: format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"),
            name: self.config.election_id.clone(),
            leads,
            complained: false,
        };
        let scribe = Scribe {
            client,
            publish: self.config.publish,
            pod: own(&self.config.pod_name),
            namespace,
            me,
            leading,
            ledger: None,
            addresses: None,
            last: None,
            present: BTreeMap::new(),
            limits: Limits::default(),
            counts: BTreeMap::new(),
        };
        tokio::select! {
            () = holder.run() => {}
            () = scribe.run(self.reports) => {}
        }
    }
}

/// Holds the Lease, or waits for it.
struct Holder {
    client: Client,
    election: Election,
    leases: String,
    name: String,
    leads: watch::Sender<Option<Instant>>,
    complained: bool,
}

impl Holder {
    async fn run(mut self) {
        loop {
            match self.turn().await {
                Ok(()) => self.complained = false,
                Err(failure) if !self.complained => {
                    tracing::warn!(lease = self.name, error = %failure, "the Lease cannot be held or read");
                    self.complained = true;
                }
                Err(_) => {}
            }
            self.leads.send_if_modified(|leads| {
                let now = self.election.leads_until();
                std::mem::replace(leads, now) != now
            });
            sleep(LOOK).await;
        }
    }

    async fn turn(&mut self) -> Result<(), Failure> {
        let path = format!("{}/{}", self.leases, self.name);
        let lease = read(&self.client, &path).await?;
        let asked = Instant::now();
        let written = match self.election.step(lease.as_ref(), asked, &stamp()) {
            Step::Wait => return Ok(()),
            Step::Create(lease) => write(&self.client, "POST", &self.leases, JSON, &lease).await,
            Step::Replace(lease) => write(&self.client, "PUT", &path, JSON, &lease).await,
        };
        match written {
            Ok(_) => {
                if self.election.won(asked) {
                    tracing::info!(lease = self.name, "this replica writes statuses and Events");
                }
                Ok(())
            }
            Err(Failure::Conflict) => {
                self.election.lost();
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }
}

/// Writes what is due.
struct Scribe {
    client: Client,
    publish: Option<Publish>,
    pod: Option<String>,
    namespace: String,
    me: String,
    leading: watch::Receiver<Option<Instant>>,
    /// `None`: the statuses were not read since we lead.
    ledger: Option<Ledger>,
    /// `None`: not known yet.
    addresses: Option<Vec<Address>>,
    /// The state that was last spoken of.
    last: Option<Arc<View>>,
    /// Its Ingresses.
    present: BTreeMap<Key, Present>,
    limits: Limits,
    /// How often an Event was said, by name.
    counts: BTreeMap<String, u32>,
}

impl Scribe {
    async fn run(mut self, mut reports: watch::Receiver<Option<GenerationReport>>) {
        let mut look = interval(ADDRESSES_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complained = false;
        let mut more = false;
        loop {
            tokio::select! {
                () = std::future::ready(()), if more => {}
                changed = reports.changed() => if changed.is_err() { return },
                _ = look.tick() => self.look().await,
                Ok(()) = self.leading.changed() => {}
            }
            // Reports that come close together are one: statuses need no haste, and Applied has a second.
            sleep(TOGETHER).await;
            let Some(report) = reports.borrow_and_update().clone() else { continue };
            self.speak(&report).await;
            match self.write_statuses(&report.view).await {
                Ok(left) => {
                    more = left;
                    complained = false;
                }
                Err(failure) => {
                    more = false;
                    if !std::mem::replace(&mut complained, true) {
                        tracing::warn!(error = %failure, "statuses cannot be written; trying again");
                    }
                }
            }
        }
    }

    fn leads(&self) -> bool {
        self.leading.borrow().is_some_and(|until| until > Instant::now())
    }

    /// Looks where clients reach us. What cannot be read stays as it was.
    async fn look(&mut self) {
        if let Some(Publish::Addresses(texts)) = &self.publish {
            self.addresses = Some(address::sorted(texts.iter().cloned()));
            return;
        }
        if !self.leads() {
            return;
        }
        match self.look_up().await {
            Ok(addresses) => self.addresses = addresses.or(self.addresses.take()),
            Err(failure) => {
                tracing::warn!(error = %failure, "cannot read where clients reach us; statuses stay as they are");
            }
        }
    }

    async fn look_up(&self) -> Result<Option<Vec<Address>>, Failure> {
        match &self.publish {
            Some(Publish::Service(key)) => {
                let path = format!("/api/v1/namespaces/{}/services/{}", key.namespace, key.name);
                let service = read(&self.client, &path).await?;
                Ok(Some(service.map(|service| address::of_service(&service)).unwrap_or_default()))
            }
            Some(Publish::Nodes) => self.look_up_nodes().await,
            Some(Publish::Addresses(_)) | None => Ok(None),
        }
    }

    /// The nodes under the pods that carry the labels of ours.
    async fn look_up_nodes(&self) -> Result<Option<Vec<Address>>, Failure> {
        let Some(pod) = &self.pod else { return Ok(None) };
        let pods = format!("/api/v1/namespaces/{}/pods", self.namespace);
        let Some(own) = read(&self.client, &format!("{pods}/{pod}")).await? else { return Ok(None) };
        let Some(labels) = own["metadata"]["labels"].as_object() else { return Ok(None) };
        // What a roll-out adds differs between pods of one kind, and so do the labels of their nodes: from Kubernetes 1.35 on,
        // those of the topology stand on each pod.
        let varying = ["pod-template-hash", "controller-revision-hash", "pod-template-generation"];
        let varies = |key: &str| varying.contains(&key) || key.starts_with("topology.kubernetes.io/");
        let alike = labels.iter().filter(|(key, _)| !varies(key));
        let terms: Vec<String> =
            alike.filter_map(|(key, value)| Some(format!("{key}%3D{}", value.as_str()?))).collect();
        let list = read(&self.client, &format!("{pods}?labelSelector={}", terms.join("%2C"))).await?;
        Ok(list.map(|list| address::of_pods(&list)))
    }

    /// Writes the Events that are due since the last time.
    async fn speak(&mut self, report: &GenerationReport) {
        if !self.leads() {
            // What happens meanwhile is somebody else's to say.
            self.last = None;
            return;
        }
        let before = self.last.replace(Arc::clone(&report.view));
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, &report.view)) {
            return;
        }
        if before.as_ref().is_none_or(|before| differ(before, &report.view)) {
            self.present = ours(&report.view);
        }
        let state = |view: &'_ View| -> (Arc<_>, Arc<[_]>) {
            (Arc::clone(&view.objects), Arc::clone(&view.problems))
        };
        let (objects, problems) = state(&report.view);
        let earlier = before.as_deref().map(state);
        let earlier = earlier.as_ref().map(|(objects, problems)| State { objects, problems });
        let applied =
            Applied { generation: report.generation, shards: report.shards, elapsed: report.elapsed };
        let now = State { objects: &objects, problems: &problems };
        let events = event::between(earlier, now, applied, |key| {
            self.present.get(key).is_some_and(|found| found.is_ours)
        });
        for event in events {
            if !self.leads() {
                return;
            }
            if self.limits.allow(&event.object, Instant::now())
                && let Err(failure) = self.say(&event).await
            {
                tracing::debug!(object = %event.object, error = %failure, "an Event is lost");
            }
        }
    }

    async fn say(&mut self, event: &Event) -> Result<(), Failure> {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", event.namespace());
        let now = stamp();
        let said = match write(&self.client, "POST", &path, JSON, &event.body(&self.me, &now)).await {
            Err(Failure::Conflict) => {
                let count = self.counts.get(&event.name()).copied().unwrap_or(1) + 1;
                let again = event::again(count, &now);
                self.counts.insert(event.name(), count);
                write(&self.client, "PATCH", &format!("{path}/{}", event.name()), MERGE, &again).await
            }
            said => said,
        };
        if self.counts.len() > COUNTS_MAX {
            self.counts.clear();
        }
        said.map(drop)
    }

    /// Writes some of the statuses that differ, so that Events need not wait for thousands; whether more are left.
    async fn write_statuses(&mut self, view: &View) -> Result<bool, Failure> {
        if !self.leads() {
            self.ledger = None;
            return Ok(false);
        }
        if self.publish.is_none() {
            return Ok(false);
        }
        if self.addresses.is_none() {
            self.look().await;
        }
        let Some(addresses) = self.addresses.clone() else { return Ok(false) };
        if self.ledger.is_none() {
            self.ledger = Some(self.read_statuses(view).await?);
        }
        let Some(ledger) = &mut self.ledger else { return Ok(false) };
        let mut due = ledger.due(&self.present, &addresses);
        let is_more = due.len() > WRITES_MAX;
        due.truncate(WRITES_MAX);
        for due in due {
            if !self.leads() {
                return Ok(false);
            }
            self.write_status(due).await?;
            sleep(BETWEEN_WRITES).await;
        }
        Ok(is_more)
    }

    async fn write_status(&mut self, due: Write) -> Result<(), Failure> {
        let Write { key, uid, before, addresses } = due;
        let path = format!("/apis/networking.k8s.io/v1/namespaces/{}/ingresses/{}", key.namespace, key.name);
        let mut metadata = json!({"uid": uid});
        if addresses.is_empty() {
            let Some(now) = read(&self.client, &path).await? else { return Ok(()) };
            if addresses_of(&now) != before {
                // Somebody else's by now.
                self.note(key, uid, addresses_of(&now));
                return Ok(());
            }
            metadata["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
        }
        let listed = if addresses.is_empty() { Value::Null } else { json!(addresses) };
        let patch = json!({"metadata": metadata, "status": {"loadBalancer": {"ingress": listed}}});
        match write(&self.client, "PATCH", &format!("{path}/status"), MERGE, &patch).await {
            Ok(_) => self.note(key, uid, addresses),
            // Gone, or another object of that name: the next generation says which.
            Err(Failure::Missing | Failure::Conflict) => {
                if let Some(ledger) = &mut self.ledger {
                    ledger.forget(&key);
                }
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    fn note(&mut self, key: Key, uid: String, addresses: Vec<Address>) {
        if let Some(ledger) = &mut self.ledger {
            ledger.note(key, Known { uid, addresses });
        }
    }

    /// What stands in the statuses now. Read once when we begin to lead; the objects that we keep have none.
    async fn read_statuses(&self, view: &View) -> Result<Ledger, Failure> {
        let mut ledger = Ledger::default();
        let namespaces: BTreeSet<&str> = view.objects.ingresses.keys().map(|key| &*key.namespace).collect();
        for namespace in namespaces {
            let mut next = Some(String::new());
            while let Some(token) = next {
                let page = self.read_status_page(namespace, &token).await?;
                for StatusItem { metadata, status } in page.items {
                    let addresses = status.unwrap_or_default().addresses();
                    ledger.note(Key::new(namespace, &metadata.name), Known { uid: metadata.uid, addresses });
                }
                next = Some(page.metadata.r#continue).filter(|token| !token.is_empty());
            }
        }
        Ok(ledger)
    }

    async fn read_status_page(&self, namespace: &str, token: &str) -> Result<StatusPage, Failure> {
        let mut path = format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses?limit=500");
        if !token.is_empty() {
            path = format!("{path}&continue={}", escape(token));
        }
        let answer = call::get(&self.client, &path, CALL).await?;
        let body = call::whole(answer, CALL).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Failure::Broken(format!("a list has no sense: {error}")))
    }
}

/// A page of Ingresses, of which only the statuses are read: thousands of them would weigh more than all that we keep.
#[derive(Deserialize)]
struct StatusPage {
    #[serde(default)]
    metadata: PageMetadata,
    items: Vec<StatusItem>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PageMetadata {
    r#continue: String,
}

#[derive(Deserialize)]
struct StatusItem {
    metadata: ItemMetadata,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct ItemMetadata {
    name: String,
    #[serde(default)]
    uid: String,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    load_balancer: Balancer,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Balancer {
    ingress: Option<Vec<Entry>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    ip: Option<String>,
    hostname: Option<String>,
}

impl Status {
    fn addresses(self) -> Vec<Address> {
        let entries = self.load_balancer.ingress.unwrap_or_default();
        address::sorted(entries.into_iter().filter_map(|entry| entry.ip.or(entry.hostname)))
    }
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

fn addresses_of(ingress: &Value) -> Vec<Address> {
    Status::deserialize(&ingress["status"]).unwrap_or_default().addresses()
}

/// One object; `None` where there is none.
async fn read(client: &Client, path: &str) -> Result<Option<Value>, Failure> {
    let answer = match call::get(client, path, CALL).await {
        Err(Failure::Missing) => return Ok(None),
        answer => answer?,
    };
    let body = call::whole(answer, CALL).await?;
    let value = serde_json::from_slice(&body);
    value.map(Some).map_err(|error| Failure::Broken(format!("an answer has no sense: {error}")))
}

async fn write(
    client: &Client,
    method: &str,
    path: &str,
    content_type: &'static str,
    body: &Value,
) -> Result<Vec<u8>, Failure> {
    call::put(client, method, path, content_type, body.to_string().into_bytes(), CALL).await
}

/// The wall clock with microseconds, as Leases and Events want it.
fn stamp() -> String {
    format!("{:.6}", Timestamp::now())
}

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

/// One call may take so long: far less than the Lease lives.
const CALL: Duration = Duration::from_secs(4);

/// Where clients reach us changes rarely.
const ADDRESSES_EVERY: Duration = Duration::from_secs(5);

/// Reports within this are one.
const TOGETHER: Duration = Duration::from_millis(50);

/// At most so many statuses a second are written: the API server belongs to others too.
const BETWEEN_WRITES: Duration = Duration::from_millis(5);

/// Statuses that are written before Events have their turn.
const WRITES_MAX: usize = 50;

/// Events whose counts are remembered.
const COUNTS_MAX: usize = 4096;
