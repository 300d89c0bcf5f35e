//! The upstreams of all rules, with who uses them and what stands behind them.
//!
//! An upstream exists as soon as a rule names it, also without its Service: so a Service or an endpoint that comes or goes
//! never touches a route.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ringress_shared::upstream::{EndpointSet, Upstream, UpstreamProtocol, UpstreamTable};

use crate::claim::{ServiceVerdict, Verdict};
use crate::few::Few;
use crate::ir::{IngressIr, UpstreamKey};
use crate::objects::{Key, Objects};
use crate::problem::Problem;
use crate::resolve::endpoints::{self, Slices};
use crate::resolve::service;
use crate::settings::Settings;
use crate::table::ByKey;

#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    states: BTreeMap<UpstreamKey, State>,
    by_service: BTreeMap<Key, Few<UpstreamKey, ()>>,
    slices: Slices,
    resolved: BTreeMap<String, Vec<IpAddr>>,
    table: Arc<UpstreamTable>,
    /// By Service: what is wrong with its slices and Endpoints.
    problems: ByKey<Arc<[Problem]>>,
    dns_names: BTreeSet<String>,
    dirty: BTreeSet<UpstreamKey>,
}

#[derive(Debug)]
struct State {
    users: Few<Key, ()>,
    upstream: Arc<Upstream>,
    verdict: Verdict,
    dns_name: Option<String>,
}

impl Upstreams {
    /// Takes what an object leads to out and in.
    pub(crate) fn replace(&mut self, before: Option<&Arc<IngressIr>>, after: Option<&Arc<IngressIr>>) {
        for (ir, key) in before.iter().flat_map(|ir| ir.upstreams().into_iter().map(move |key| (ir, key))) {
            self.release(&ir.key, key);
        }
        for (ir, key) in after.iter().flat_map(|ir| ir.upstreams().into_iter().map(move |key| (ir, key))) {
            self.take(&ir.key, key);
        }
    }

    /// Makes an upstream exist for a user.
    pub(crate) fn take(&mut self, user: &Key, key: &UpstreamKey) {
        let state = self.states.entry(key.clone()).or_insert_with(|| State {
            users: Few::default(),
            upstream: Arc::new(empty(key)),
            verdict: Verdict::ServiceMissing,
            dns_name: None,
        });
        if state.users.is_empty() {
            self.by_service.entry(key.service.clone()).or_default().insert(key.clone(), ());
            self.dirty.insert(key.clone());
        }
        state.users.insert(user.clone(), ());
    }

    fn release(&mut self, user: &Key, key: &UpstreamKey) {
        if let Some(state) = self.states.get_mut(key) {
            state.users.remove(user);
            self.dirty.insert(key.clone());
        }
    }

    /// Follows changed Services and Endpoints.
    pub(crate) fn services_moved(&mut self, services: impl IntoIterator<Item = Key>) {
        for service in services {
            self.dirty.extend(self.by_service.get(&service).into_iter().flat_map(Few::keys).cloned());
        }
    }

    /// Follows changed EndpointSlices.
    pub(crate) fn slices_moved(&mut self, slices: impl IntoIterator<Item = Key>, objects: &Objects) {
        for slice in slices {
            let services: Vec<Key> = self.slices.follow(&slice, objects).collect();
            self.services_moved(services);
        }
    }

    /// Follows names that resolve to something else.
    pub(crate) fn names_moved(&mut self, resolved: &BTreeMap<String, Vec<IpAddr>>) {
        if self.resolved == *resolved {
            return;
        }
        let moved = |name: &String| self.resolved.get(name) != resolved.get(name);
        let dirty = self.states.iter().filter(|(_, state)| state.dns_name.as_ref().is_some_and(moved));
        self.dirty.extend(dirty.map(|(key, _)| key.clone()));
        self.resolved.clone_from(resolved);
    }

    /// Resolves what changed. Gives the users of upstreams whose verdict is another one now.
    pub(crate) fn rebuild(&mut self, objects: &Objects, settings: &Settings) -> BTreeSet<Key> {
        let dirty = std::mem::take(&mut self.dirty);
        if dirty.is_empty() {
            return BTreeSet::new();
        }
        let mut users = BTreeSet::new();
        let mut names_moved = false;
        for key in &dirty {
            let name = |states: &BTreeMap<UpstreamKey, State>| states.get(key)?.dns_name.clone();
            let before = name(&self.states);
            if self.states.get(key).is_some_and(|state| state.users.is_empty()) {
                self.forget(key);
            } else if let Some(changed) = self.resolve(key, objects, settings) {
                users.extend(changed);
            }
            names_moved |= before != name(&self.states);
        }
        self.update_table(&dirty);
        let services: BTreeSet<Key> = dirty.into_iter().map(|key| key.service).collect();
        for service in services {
            self.report(service, objects, settings);
        }
        if names_moved {
            self.dns_names = self.states.values().filter_map(|state| state.dns_name.clone()).collect();
        }
        users
    }

    /// Copies the table only where something in it is another one now.
    fn update_table(&mut self, dirty: &BTreeSet<UpstreamKey>) {
        let mut table = None;
        for key in dirty {
            let id = key.id();
            let now = self.states.get(key).map(|state| &state.upstream);
            if now.map(Arc::as_ptr) != self.table.get(&id).map(Arc::as_ptr) {
                let table = table.get_or_insert_with(|| UpstreamTable::clone(&self.table));
                match now {
                    Some(upstream) => drop(table.insert(id, Arc::clone(upstream))),
                    None => drop(table.remove(&id)),
                }
            }
        }
        if let Some(table) = table {
            self.table = Arc::new(table);
        }
    }

    fn forget(&mut self, key: &UpstreamKey) {
        self.states.remove(key);
        if let Some(siblings) = self.by_service.get_mut(&key.service) {
            siblings.remove(key);
            if siblings.is_empty() {
                self.by_service.remove(&key.service);
            }
        }
    }

    /// Resolves one upstream; gives its users where its verdict changed.
    fn resolve(
        &mut self,
        key: &UpstreamKey,
        objects: &Objects,
        settings: &Settings,
    ) -> Option<BTreeSet<Key>> {
        let resolved = service::resolve(key, objects, &self.slices, settings);
        let endpoints = self.shared(&key.service, resolved.endpoints);
        let state = self.states.get_mut(key)?;
        let upstream = Upstream { endpoints, ..empty(key) };
        if *state.upstream != upstream {
            state.upstream = Arc::new(upstream);
        }
        let changed = state.verdict != resolved.verdict;
        state.verdict = resolved.verdict;
        state.dns_name = resolved.dns_name;
        Some(if changed { state.users.keys().cloned().collect() } else { BTreeSet::new() })
    }

    /// The endpoints as one allocation for all upstreams of the Service that have the same.
    fn shared(&self, service: &Key, endpoints: EndpointSet) -> Arc<EndpointSet> {
        let siblings = self.by_service.get(service).into_iter().flat_map(Few::keys);
        let sets = siblings.filter_map(|key| Some(&self.states.get(key)?.upstream.endpoints));
        let mut same = sets.filter(|set| ***set == endpoints);
        same.next().cloned().unwrap_or_else(|| Arc::new(endpoints))
    }

    /// What is wrong with the slices and Endpoints of a Service that somebody uses.
    fn report(&mut self, service: Key, objects: &Objects, settings: &Settings) {
        let mut problems = Vec::new();
        if let Some(upstreams) = self.by_service.get(&service) {
            problems.extend(endpoints::refused(&service, objects, &self.slices, settings));
            let ports: BTreeSet<&str> =
                upstreams.keys().filter_map(|key| service::port_name(key, objects)).collect();
            for port in ports {
                problems.extend(endpoints::without_port(&service, port, objects, &self.slices));
            }
        }
        self.problems.put(service, problems.into());
    }

    /// All upstreams by id.
    pub(crate) fn table(&self) -> &Arc<UpstreamTable> {
        &self.table
    }

    /// What is wrong with slices and Endpoints, by Service.
    pub(crate) fn problems(&self) -> &ByKey<Arc<[Problem]>> {
        &self.problems
    }

    /// DNS names that should be resolved.
    pub(crate) fn dns_names(&self) -> &BTreeSet<String> {
        &self.dns_names
    }

    /// What was found at a Service port.
    pub(crate) fn verdict(&self, key: &UpstreamKey) -> ServiceVerdict {
        let state = self.states.get(key);
        ServiceVerdict {
            service: key.service.reference("Service"),
            port: key.port.to_string(),
            upstream: key.id(),
            verdict: state.map_or(Verdict::ServiceMissing, |state| state.verdict.clone()),
        }
    }
}

fn empty(key: &UpstreamKey) -> Upstream {
    Upstream {
        id: key.id(),
        service: key.service.reference("Service"),
        port: key.port.to_string().into(),
        protocol: UpstreamProtocol::Http1,
        balance: key.balance.into(),
        endpoints: Arc::default(),
    }
}
