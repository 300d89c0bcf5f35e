//! Objects that share a host become one list of rules: per host and path test the oldest object wins.
//!
//! Every host remembers who contributes to it, so that a change touches its own hosts and no other. What stands here
//! depends on rules and names alone, never on Services, endpoints or Secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringress_shared::hostname::{HostPattern, parent_domain};
use ringress_shared::id::RuleId;
use ringress_shared::origin::Origin;
use ringress_shared::policy::PolicySet;
use ringress_shared::route::{Backend, Candidate, HostEntry, Rule, Target};

use crate::claim::Winner;
use crate::index;
use crate::ir::{BackendIr, BalanceIr, Host, IngressIr, PathTest, PortIr, RuleIr, UpstreamKey};
use crate::objects::Key;
use crate::policy::{self, Interned, Position};
use crate::problem::flags;
use crate::settings::Settings;

/// Objects by name, as they contribute to something.
pub(crate) type Contributors = BTreeMap<Key, Arc<IngressIr>>;

/// All hosts, and the default backend of everything.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    hosts: BTreeMap<Host, HostState>,
    default: DefaultState,
    dirty: BTreeSet<Host>,
    interned: Interned,
}

/// What a host consists of, and what became of it.
#[derive(Debug, Default)]
struct HostState {
    contributors: Contributors,
    /// `None` until it is built: an empty host is known, which a missing one is not.
    merged: Option<Merged>,
}

#[derive(Debug, Default)]
struct DefaultState {
    contributors: Contributors,
    rule: Option<Arc<Rule>>,
    shadowed: BTreeMap<Key, Winner>,
    dirty: bool,
}

/// The rules of one host, and who lost there.
#[derive(Debug)]
struct Merged {
    entry: Arc<HostEntry>,
    shadowed: BTreeMap<(Key, Part), Winner>,
}

/// A part of an object that claims something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The number of a rule.
    Rule(usize),
    /// The default backend.
    Default,
}

/// What a rebuild changed.
#[derive(Debug, Default)]
pub(crate) struct Rebuilt {
    /// Whether a route is another one now.
    pub(crate) routes: bool,
    /// Objects of which something else is shadowed now.
    pub(crate) objects: BTreeSet<Key>,
}

impl Hosts {
    /// Takes an object's rules out and in.
    pub(crate) fn replace(&mut self, before: Option<&Arc<IngressIr>>, after: Option<&Arc<IngressIr>>) {
        if let Some(before) = before {
            for host in &before.hosts {
                self.dirty.insert(host.clone());
                if let Some(state) = self.hosts.get_mut(host) {
                    state.contributors.remove(&before.key);
                }
            }
            self.default.dirty |= self.default.contributors.remove(&before.key).is_some();
        }
        if let Some(after) = after {
            for host in &after.hosts {
                self.dirty.insert(host.clone());
                let state = self.hosts.entry(host.clone()).or_default();
                state.contributors.insert(after.key.clone(), Arc::clone(after));
            }
            if after.default_backend.as_ref().is_some_and(|default| default.catches_all) {
                self.default.dirty = true;
                self.default.contributors.insert(after.key.clone(), Arc::clone(after));
            }
        }
    }

    /// Follows a name that came to stand under `tls`, or no longer does.
    pub(crate) fn tls_name_moved(&mut self, name: &HostPattern) {
        let covered = |host: &&Host| host.as_ref().is_some_and(|host| crate::ingress::covers(name, host));
        match name {
            HostPattern::Exact(_) => {
                self.dirty.insert(Some(name.clone()));
            }
            HostPattern::Wildcard(_) => self.dirty.extend(self.hosts.keys().filter(covered).cloned()),
        }
    }

    /// Rebuilds what changed.
    pub(crate) fn rebuild(&mut self, named: &impl Fn(&HostPattern) -> bool, settings: &Settings) -> Rebuilt {
        let mut rebuilt = Rebuilt::default();
        for host in std::mem::take(&mut self.dirty) {
            self.rebuild_host(host, named, settings, &mut rebuilt);
        }
        if std::mem::take(&mut self.default.dirty) {
            self.rebuild_default(settings, &mut rebuilt);
        }
        self.interned.prune();
        rebuilt
    }

    fn rebuild_host(
        &mut self,
        host: Host,
        named: &impl Fn(&HostPattern) -> bool,
        settings: &Settings,
        rebuilt: &mut Rebuilt,
    ) {
        let Some(state) = self.hosts.get_mut(&host) else { return };
        let before = state.merged.take();
        let mut after = None;
        if !state.contributors.is_empty() {
            let host_has_tls = host.as_ref().is_some_and(named);
            let merge = Merge { host: &host, host_has_tls, settings, interned: &mut self.interned };
            after = Some(merge.merge(&state.contributors));
        }
        let shadowed = |merged: &Option<Merged>| merged.as_ref().map(|merged| merged.shadowed.clone());
        let (lost, losing) = (shadowed(&before).unwrap_or_default(), shadowed(&after).unwrap_or_default());
        rebuilt.objects.extend(difference(&lost, &losing));
        match (before, &mut after) {
            (Some(before), Some(after)) if index::same_entry(&before.entry, &after.entry) => {
                after.entry = before.entry;
            }
            (None, None) => {}
            _ => rebuilt.routes = true,
        }
        match after {
            None => drop(self.hosts.remove(&host)),
            after => state.merged = after,
        }
    }

    fn rebuild_default(&mut self, settings: &Settings, rebuilt: &mut Rebuilt) {
        let winner = winner(self.default.contributors.values());
        let shadowed: BTreeMap<Key, Winner> = winner
            .and_then(|winner| Some((winner, winner.default_backend.as_ref()?)))
            .map(|(winner, default)| {
                let losers = self.default.contributors.values().filter(|loser| loser.key != winner.key);
                losers.map(|loser| (loser.key.clone(), winner.takes(&default.origin, loser))).collect()
            })
            .unwrap_or_default();
        let before = &self.default.shadowed;
        let changed =
            before.keys().chain(shadowed.keys()).filter(|key| before.get(*key) != shadowed.get(*key));
        rebuilt.objects.extend(changed.cloned());
        // A default backend of everything has no host that could be named under tls.
        let position = Position { host_has_tls: false, redirect_exempt: false };
        let rule = match winner {
            Some(winner) => default_rule(winner, position, settings, &mut self.interned),
            None => flag_rule(settings, &mut self.interned),
        };
        rebuilt.routes |= self.default.rule != rule;
        if self.default.rule != rule {
            self.default.rule = rule;
        }
        self.default.shadowed = shadowed;
    }

    /// Makes the default backend of the flag known.
    pub(crate) fn start(&mut self) {
        self.default.dirty = true;
    }

    /// Every host with its entry.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Host, &Arc<HostEntry>)> {
        self.hosts.iter().filter_map(|(host, state)| Some((host, &state.merged.as_ref()?.entry)))
    }

    /// Takes what no host and path matches.
    pub(crate) fn default_rule(&self) -> Option<&Arc<Rule>> {
        self.default.rule.as_ref()
    }

    /// Who took what a part of an object claims at a host, if somebody did.
    pub(crate) fn shadowed(&self, host: &Host, key: &Key, part: Part) -> Option<&Winner> {
        self.hosts.get(host)?.merged.as_ref()?.shadowed.get(&(key.clone(), part))
    }

    /// Who took the default backend of everything from an object, if somebody did.
    pub(crate) fn default_shadowed(&self, key: &Key) -> Option<&Winner> {
        self.default.shadowed.get(key)
    }
}

/// The objects of which something else is shadowed.
fn difference(
    before: &BTreeMap<(Key, Part), Winner>,
    after: &BTreeMap<(Key, Part), Winner>,
) -> BTreeSet<Key> {
    let changed = before.keys().chain(after.keys()).filter(|part| before.get(*part) != after.get(*part));
    changed.map(|(key, _)| key.clone()).collect()
}

/// The object that wins where all of them claim the same. The order is by name, so it does not depend on who came first.
pub(crate) fn winner<'c>(
    contributors: impl Iterator<Item = &'c Arc<IngressIr>>,
) -> Option<&'c Arc<IngressIr>> {
    contributors.reduce(|best, next| if next.beats(best) { next } else { best })
}

struct Merge<'m> {
    host: &'m Host,
    host_has_tls: bool,
    settings: &'m Settings,
    interned: &'m mut Interned,
}

type Claimed<'c> = (&'c Arc<IngressIr>, usize, &'c RuleIr);

impl Merge<'_> {
    fn merge(mut self, contributors: &Contributors) -> Merged {
        let mut shadowed = BTreeMap::new();
        let mut winners: BTreeMap<&PathTest, Claimed<'_>> = BTreeMap::new();
        for ir in contributors.values() {
            for (number, rule) in ir.rules.iter().enumerate().filter(|(_, rule)| rule.host == *self.host) {
                let challenger = (ir, number, rule);
                match winners.get_mut(&rule.path) {
                    None => drop(winners.insert(&rule.path, challenger)),
                    Some(holder) if ir.key != holder.0.key && ir.beats(holder.0) => *holder = challenger,
                    Some(_) => {}
                }
            }
        }
        for ir in contributors.values() {
            for (number, rule) in ir.rules.iter().enumerate().filter(|(_, rule)| rule.host == *self.host) {
                let (winner, at, by) = winners[&rule.path];
                if winner.key != ir.key || at != number {
                    shadowed.insert((ir.key.clone(), Part::Rule(number)), winner.takes(&by.origin, ir));
                }
            }
        }
        let fallback = self.fallback(contributors, &mut shadowed);
        let mut candidates: Vec<Candidate> =
            winners.into_values().filter_map(|claimed| self.candidate(claimed)).collect();
        candidates.sort_by(|a, b| index::trial_order(&a.path, &b.path));
        let dialect = contributors.values().next().map_or(self.settings.compat, |ir| ir.dialect);
        Merged { entry: index::host_entry(self.host, dialect, candidates, fallback), shadowed }
    }

    /// The default backend of the host: of the oldest object that has one.
    fn fallback(
        &mut self,
        contributors: &Contributors,
        shadowed: &mut BTreeMap<(Key, Part), Winner>,
    ) -> Option<Arc<Rule>> {
        let with_default = || contributors.values().filter(|ir| ir.default_backend.is_some());
        let winner = winner(with_default())?;
        let by = winner.default_backend.as_ref()?;
        for loser in with_default().filter(|ir| ir.key != winner.key) {
            shadowed.insert((loser.key.clone(), Part::Default), winner.takes(&by.origin, loser));
        }
        let position = Position { host_has_tls: self.host_has_tls, redirect_exempt: false };
        default_rule(winner, position, self.settings, self.interned)
    }

    fn candidate(&mut self, (ir, _, rule): Claimed<'_>) -> Option<Candidate> {
        let redirect_exempt = policy::exempt_from_redirect(&rule.path);
        let position = Position { host_has_tls: self.host_has_tls, redirect_exempt };
        let policies = self.interned.intern(policy::lower(&ir.policies, position, self.settings));
        // Front-ends hand on only expressions that compile.
        let path = rule.path.compile().ok()?;
        let rule = Rule {
            id: rule.id(&ir.key),
            origin: rule.origin.clone(),
            policies,
            backends: Box::new([backend(&rule.backend, self.interned)]),
            timeouts: self.settings.timeouts,
        };
        Some(Candidate { path, predicates: Default::default(), rule: Arc::new(rule) })
    }
}

fn default_rule(
    ir: &IngressIr,
    position: Position,
    settings: &Settings,
    interned: &mut Interned,
) -> Option<Arc<Rule>> {
    let default = ir.default_backend.as_ref()?;
    Some(Arc::new(Rule {
        id: ir.default_rule_id(),
        origin: default.origin.clone(),
        policies: interned.intern(policy::lower(&ir.policies, position, settings)),
        backends: Box::new([backend(&default.backend, interned)]),
        timeouts: settings.timeouts,
    }))
}

/// The rule of `--default-backend-service`.
fn flag_rule(settings: &Settings, interned: &mut Interned) -> Option<Arc<Rule>> {
    let upstream = flag_upstream(settings)?;
    let position = Position { host_has_tls: false, redirect_exempt: false };
    Some(Arc::new(Rule {
        id: RuleId::of(&["--default-backend-service"]),
        origin: Origin { object: flags(), field: "--default-backend-service".into() },
        policies: interned.intern(policy::lower(&Default::default(), position, settings)),
        backends: Box::new([backend_of(Target::Upstream(upstream.id()), interned)]),
        timeouts: settings.timeouts,
    }))
}

/// The upstream of `--default-backend-service`.
pub(crate) fn flag_upstream(settings: &Settings) -> Option<UpstreamKey> {
    let service = settings.default_backend_service.clone()?;
    Some(UpstreamKey { service, port: PortIr::First, balance: BalanceIr::RoundRobin })
}

fn backend(backend: &BackendIr, interned: &mut Interned) -> Backend {
    let target = match backend {
        BackendIr::Service { upstream, .. } => Target::Upstream(upstream.id()),
        BackendIr::Answer(status) => Target::Answer(*status),
    };
    backend_of(target, interned)
}

/// The only backend of a rule: an Ingress has no policies for backends of their own.
fn backend_of(target: Target, interned: &mut Interned) -> Backend {
    Backend { weight: 1, target, policies: interned.intern(PolicySet::default()) }
}

/// The wildcard that takes a name, if it has a parent.
pub(crate) fn wildcard_above(name: &HostPattern) -> Option<HostPattern> {
    match name {
        HostPattern::Exact(name) => parent_domain(name).map(|parent| HostPattern::Wildcard(parent.into())),
        HostPattern::Wildcard(_) => None,
    }
}
