//! What translation takes and gives, and the order of its stages.

use std::collections::{BTreeMap, BTreeSet};
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
use crate::objects::{Key, Objects, Stored};
use crate::problem::{Problem, flags};
use crate::settings::Settings;
use crate::sharded::Sharded;
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

/// A list in shared pieces: an unchanged piece costs one pointer per translation.
#[derive(Debug, Clone)]
pub struct Chunks<T>(Vec<Arc<[T]>>);

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Chunks<T> {
    /// All elements, in the order of the objects.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|chunk| chunk.iter())
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|chunk| chunk.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|chunk| chunk.is_empty())
    }

    pub(crate) fn push(&mut self, chunk: &Arc<[T]>) {
        if !chunk.is_empty() {
            self.0.push(Arc::clone(chunk));
        }
    }
}

impl<T: Clone> Chunks<T> {
    /// All elements in one list.
    pub fn to_vec(&self) -> Vec<T> {
        self.iter().cloned().collect()
    }
}

impl<'c, T> IntoIterator for &'c Chunks<T> {
    type Item = &'c T;
    type IntoIter = std::iter::FlatMap<
        std::slice::Iter<'c, Arc<[T]>>,
        std::slice::Iter<'c, T>,
        fn(&'c Arc<[T]>) -> std::slice::Iter<'c, T>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().flat_map(|chunk| chunk.iter())
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
    ingresses: Sharded<Stored<Ingress>>,
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
    findings: BTreeMap<Key, Findings>,
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
/// Cost with a warm memo: what differs, one host per changed Ingress, and a pointer for each object's findings.
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
            findings: BTreeMap::new(),
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
        dirty.extend(rebuilt.objects);
        self.rebuild_parts(rebuilt.routes);
        self.rebuild_findings(dirty);
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
    fn rebuild_parts(&mut self, routes_moved: bool) {
        let profile = self.certificates.profile();
        let routes = match &self.parts {
            Some(built) if !routes_moved => Arc::clone(&built.routes),
            _ => index::route_table(&self.hosts),
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

    fn rebuild_findings(&mut self, dirty: BTreeSet<Key>) {
        let sources =
            Sources { hosts: &self.hosts, upstreams: &self.upstreams, certificates: &self.certificates };
        for key in dirty {
            match self.members.member(&key) {
                Some(member) => drop(self.findings.insert(key, Findings::of(member, sources))),
                None => drop(self.findings.remove(&key)),
            }
        }
    }

    fn translation(&self) -> Translation {
        let sockets = self.parts.as_ref().map(|built| Arc::clone(&built.sockets)).unwrap_or_default();
        let mut problems = Chunks::default();
        let mut claims = Chunks::default();
        problems.push(&self.general_problems().into());
        for findings in self.findings.values() {
            problems.push(&findings.problems);
            claims.push(&findings.claims);
        }
        self.upstreams.problems().for_each(|chunk| problems.push(chunk));
        Translation {
            parts: Parts { sockets, upstreams: Arc::clone(self.upstreams.table()) },
            problems,
            claims,
            wants: Wants { dns_names: self.upstreams.dns_names().clone() },
            last_good: LastGood {
                ingresses: self.members.good().clone(),
                certificates: self.certificates.good().clone(),
            },
        }
    }

    /// What is wrong with flags, classes and Secrets.
    fn general_problems(&self) -> Vec<Problem> {
        let settings = &self.settings;
        let mut problems = Vec::new();
        if settings.compat != Dialect::Strict {
            problems.push(Problem::dialect_not_yet(&flags()));
        }
        if let Some(config_map) = &settings.configmap {
            problems.push(Problem::configmap_unread(&config_map.reference("ConfigMap")));
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
