//! What translation takes and gives, and the order of its stages.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use ringress_shared::listener::{Socket, TlsProfile};
use ringress_shared::route::{Dialect, RouteTable};
use ringress_shared::snapshot::Parts;

use crate::certificates::{Certificates, CertificatesByKey};
use crate::claim::{Claim, ServiceVerdict, Verdict};
use crate::findings::{Findings, Sources};
use crate::index;
use crate::ingress::class::Classes;
use crate::members::{Change, Members, Surroundings};
use crate::merge::{self, Hosts};
use crate::objects::{Key, Objects};
use crate::policy;
use crate::problem::{Problem, flags};
use crate::settings::Settings;
use crate::table::{ByKey, Table};
use crate::tracker::Tracker;
use crate::upstreams::Upstreams;

/// What translation gives.
#[derive(Debug, Clone)]
pub struct Translation {
    /// The parts of the snapshot; equal parts keep their `Arc` as long as the memo is kept.
    pub parts: Parts,
    /// What is wrong, by object.
    pub problems: Chunks<Problem>,
    /// What became of every path, by object.
    pub claims: Chunks<Claim>,
    /// What the sources should fetch.
    pub wants: Wants,
    /// To be handed to the next translation.
    pub last_good: LastGood,
}

/// What was found about objects, in shared pieces: an object about which nothing else is found costs nothing per translation.
#[derive(Debug, Clone)]
pub struct Chunks<T>(Vec<Chunk<T>>);

/// What was found about the objects of a kind; never an empty list.
type Chunk<T> = ByKey<Arc<[T]>>;

impl<T> Chunks<T> {
    /// All elements, in the order of the objects.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(Chunk::values).flat_map(|list| list.iter())
    }

    /// What was found about the objects of that name. Costs a binary search.
    pub fn of(&self, key: &Key) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(|chunk| chunk.get(key)).flat_map(|list| list.iter())
    }

    /// Whether both are one and the same in memory: then they are equal.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        let mut chunks = self.0.iter().zip(&other.0);
        self.0.len() == other.0.len() && chunks.all(|(a, b)| a.is_shared_with(b))
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.0.iter().flat_map(Chunk::values).map(|list| list.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<T: Clone> Chunks<T> {
    /// All elements in one list.
    pub fn to_vec(&self) -> Vec<T> {
        self.iter().cloned().collect()
    }
}

/// What the sources should fetch: the one loop in the one-way street.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wants {
    /// DNS names to resolve into [`Objects::resolved`].
    pub dns_names: BTreeSet<String>,
}

/// The last versions of objects that had nothing wrong inside themselves.
#[derive(Debug, Clone, Default)]
pub struct LastGood {
    ingresses: Table<Ingress>,
    certificates: CertificatesByKey,
}

/// What translation remembers so that one change costs one host. It never changes a result: whatever memo is handed in,
/// the translation is that of an empty one.
#[derive(Debug, Default)]
pub struct Memo(Option<Box<State>>);

#[derive(Debug)]
struct State {
    settings: Settings,
    classes: Classes,
    members: Members,
    hosts: Hosts,
    upstreams: Upstreams,
    certificates: Certificates,
    /// What is wrong with flags, classes and Secrets, under a name that no object has.
    general: Chunk<Problem>,
    problems: Chunk<Problem>,
    claims: Chunk<Claim>,
    parts: Option<BuiltParts>,
    seen: Seen,
}

/// The parts with what they were built from.
#[derive(Debug)]
struct BuiltParts {
    routes: Arc<RouteTable>,
    sockets: Arc<[Socket]>,
    profile: Arc<TlsProfile>,
}

#[derive(Debug, Default)]
struct Seen {
    ingresses: Tracker<Ingress>,
    ingress_classes: Tracker<IngressClass>,
    services: Tracker<Service>,
    endpoint_slices: Tracker<EndpointSlice>,
    endpoints: Tracker<Endpoints>,
    secrets: Tracker<Secret>,
    withheld: Arc<BTreeSet<Key>>,
}

/// Objects to snapshot parts. Total: a wrong object yields problems and loses only its own rules.
///
/// Cost with a warm memo: what differs, one host per changed Ingress, and a pointer per hundred objects.
pub fn translate(
    objects: &Objects,
    settings: &Settings,
    last_good: &LastGood,
    memo: &mut Memo,
) -> Translation {
    let state = match memo.0.take() {
        Some(state) if state.settings.same(settings) => memo.0.insert(state),
        _ => memo.0.insert(Box::new(State::new(objects, settings, last_good))),
    };
    state.follow(objects, last_good);
    state.translation()
}

impl State {
    fn new(objects: &Objects, settings: &Settings, last_good: &LastGood) -> Self {
        let mut upstreams = Upstreams::default();
        if let Some(upstream) = merge::flag_upstream(settings) {
            upstreams.take(&flag_user(), &upstream);
        }
        let mut hosts = Hosts::default();
        hosts.start();
        Self {
            settings: settings.clone(),
            classes: Classes::default(),
            members: Members::default(),
            hosts,
            upstreams,
            certificates: Certificates::new(settings, objects, &last_good.certificates),
            general: Chunk::default(),
            problems: Chunk::default(),
            claims: Chunk::default(),
            parts: None,
            seen: Seen::default(),
        }
    }

    /// Brings everything up to date, stage by stage in the order of the journey.
    fn follow(&mut self, objects: &Objects, last_good: &LastGood) {
        let changes = self.follow_ingresses(objects, last_good);
        let mut dirty: BTreeSet<Key> = changes.iter().map(|change| change.key.clone()).collect();
        self.replace(&changes, objects, last_good);
        dirty.extend(self.follow_secrets(objects, last_good));
        dirty.extend(self.follow_services(objects));
        let rebuilt = self.hosts.rebuild(&self.settings);
        self.rebuild_parts(&rebuilt);
        dirty.extend(rebuilt.objects);
        self.rebuild_findings(objects, dirty);
    }

    fn follow_ingresses(&mut self, objects: &Objects, last_good: &LastGood) -> Vec<Change> {
        let mut moved: BTreeSet<Key> = self.seen.ingresses.moved(&objects.ingresses).into_iter().collect();
        if !self.seen.ingress_classes.moved(&objects.ingress_classes).is_empty() {
            let classes = Classes::read(&objects.ingress_classes, &self.settings);
            if classes != self.classes {
                moved.extend(self.members.keys().cloned());
            }
            self.classes = classes;
        }
        let around = Surroundings {
            objects,
            classes: &self.classes,
            settings: &self.settings,
            last_good: &last_good.ingresses,
        };
        self.members.follow(moved, around)
    }

    fn replace(&mut self, changes: &[Change], objects: &Objects, last_good: &LastGood) {
        for change in changes.iter().filter(|change| !change.is_void()) {
            let (before, after) = (change.before.as_ref(), change.after.as_ref());
            self.hosts.replace(before, after);
            self.upstreams.replace(before, after);
            self.certificates.replace(before, after, objects, &last_good.certificates);
        }
    }

    fn follow_secrets(&mut self, objects: &Objects, last_good: &LastGood) -> BTreeSet<Key> {
        let mut moved = self.seen.secrets.moved(&objects.secrets);
        let withheld = std::mem::replace(&mut self.seen.withheld, Arc::clone(&objects.withheld));
        moved.extend(withheld.symmetric_difference(&objects.withheld).cloned());
        moved.extend(self.certificates.broken().cloned());
        let users = self.certificates.secrets_moved(moved, objects, &last_good.certificates);
        let members = users.iter().filter_map(|key| self.members.member(key)?.served.as_ref());
        self.certificates.touch(members);
        let rebuilt = self.certificates.rebuild(&self.settings);
        users.into_iter().chain(rebuilt.objects).collect()
    }

    fn follow_services(&mut self, objects: &Objects) -> BTreeSet<Key> {
        self.upstreams.services_moved(self.seen.services.moved(&objects.services));
        self.upstreams.services_moved(self.seen.endpoints.moved(&objects.endpoints));
        self.upstreams.slices_moved(self.seen.endpoint_slices.moved(&objects.endpoint_slices), objects);
        self.upstreams.names_moved(&objects.resolved);
        self.upstreams.rebuild(objects, &self.settings)
    }

    /// Sockets are replaced only where routes or certificates were.
    fn rebuild_parts(&mut self, rebuilt: &merge::Rebuilt) {
        let profile = self.certificates.profile();
        let before = self.parts.as_ref().map(|built| Arc::clone(&built.routes)).unwrap_or_default();
        let routes = match rebuilt.has_routes() {
            true => index::route_table(&before, &self.hosts, &rebuilt.hosts),
            false => before,
        };
        let same = self
            .parts
            .as_ref()
            .is_some_and(|built| Arc::ptr_eq(&built.routes, &routes) && Arc::ptr_eq(&built.profile, profile));
        if !same {
            let sockets = index::sockets(&self.settings, &routes, profile);
            self.parts = Some(BuiltParts { routes, sockets, profile: Arc::clone(profile) });
        }
    }

    fn rebuild_findings(&mut self, objects: &Objects, dirty: BTreeSet<Key>) {
        let sources =
            Sources { hosts: &self.hosts, upstreams: &self.upstreams, certificates: &self.certificates };
        for key in dirty {
            let findings = self.members.member(&key).map(|member| Findings::of(member, sources));
            let Findings { problems, claims } = findings.unwrap_or_default();
            self.problems.put(key.clone(), problems);
            self.claims.put(key, claims);
        }
        let general = self.general_problems(objects);
        self.general.put(Key::new("", ""), general.into());
    }

    fn translation(&self) -> Translation {
        let sockets = self.parts.as_ref().map(|built| Arc::clone(&built.sockets)).unwrap_or_default();
        let problems = [&self.general, &self.problems, self.upstreams.problems()];
        Translation {
            parts: Parts { sockets, upstreams: Arc::clone(self.upstreams.table()) },
            problems: Chunks(problems.into_iter().cloned().collect()),
            claims: Chunks(vec![self.claims.clone()]),
            wants: Wants { dns_names: self.upstreams.dns_names().clone() },
            last_good: LastGood {
                ingresses: self.members.good().clone(),
                certificates: self.certificates.good().clone(),
            },
        }
    }

    /// What is wrong with flags, classes and Secrets.
    fn general_problems(&self, objects: &Objects) -> Vec<Problem> {
        let settings = &self.settings;
        let mut problems = Vec::new();
        if settings.compat != Dialect::Strict {
            problems.push(Problem::dialect_not_yet(&flags()));
        }
        if let Some(config_map) = &settings.configmap {
            let reference = config_map.reference("ConfigMap");
            problems.push(Problem::configmap_unread(&reference));
            let stored = objects.config_maps.get(config_map);
            let options = stored.and_then(|stored| stored.object.data.as_ref()).into_iter();
            let protecting = options.flat_map(policy::protections_of_all);
            problems.extend(protecting.map(|option| Problem::configmap_protects(&reference, option)));
        }
        if let Some(upstream) = merge::flag_upstream(settings) {
            problems.extend(flag_backend(&self.upstreams.verdict(&upstream)));
        }
        problems.extend(self.classes.problems().iter().cloned());
        problems.extend(self.certificates.problems());
        problems
    }
}

fn flag_backend(found: &ServiceVerdict) -> Option<Problem> {
    let why = found.verdict.to_string();
    match found.verdict {
        Verdict::Ok { .. } => None,
        Verdict::NoReadyEndpoints { .. } => {
            Some(Problem::flag_backend_not_ready(&flags(), &found.service, &why))
        }
        _ => Some(Problem::flag_backend(&flags(), &found.service, &why)),
    }
}

/// Uses the upstream of `--default-backend-service`; no Ingress has an empty namespace.
fn flag_user() -> Key {
    Key::new("", "--default-backend-service")
}
