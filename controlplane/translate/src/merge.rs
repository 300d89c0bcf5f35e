//! Objects that share a host become one list of rules: per host and path test the oldest object wins.
//!
//! Every host remembers who contributes to it, so that a change touches its own hosts and no other. What stands here
//! depends on rules and names alone, never on Services, endpoints or Secrets.
//!
//! The https redirect follows the request's host. A name under `tls` counts where its object has a rule that can take
//! requests for that host, so nobody imposes it on hosts of others. A name without rules of its own gets an entry with
//! the rules that take its requests anyway (of the wildcard above, or of every host), and the redirect on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringress_shared::hostname::{HostPattern, parent_domain};
use ringress_shared::id::RuleId;
use ringress_shared::origin::Origin;
use ringress_shared::policy::PolicySet;
use ringress_shared::route::{Backend, Candidate, HostEntry, PathMatch, Rule, Target};

use crate::claim::Winner;
use crate::few::Few;
use crate::index;
use crate::ingress::covers;
use crate::ir::{BackendIr, BalanceIr, Host, IngressIr, PathTest, PortIr, RuleIr, UpstreamKey};
use crate::objects::Key;
use crate::policy::{self, Interned, Position};
use crate::problem::flags;
use crate::settings::Settings;

/// Objects by name, as they contribute to something.
pub(crate) type Contributors = Few<Key, Arc<IngressIr>>;

/// All hosts, and the default backend of everything.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    hosts: BTreeMap<Host, HostState>,
    /// Names under `tls`, with the objects that name them.
    named: BTreeMap<HostPattern, Contributors>,
    default: DefaultState,
    dirty: BTreeSet<Host>,
    interned: Interned,
}

/// What a host consists of, and what became of it.
#[derive(Debug, Default)]
struct HostState {
    /// Nobody, where the host only stands under `tls`.
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
    facts: HostFacts,
}

/// What the objects of a host have to know of each other.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct HostFacts {
    /// Whether ingress-nginx takes all paths there as expressions.
    regex_mode: bool,
    /// Whether a rule of an object names it: then it is no further name of other hosts.
    named: bool,
    /// Objects that close the whole host, in the order of their keys.
    guards: Box<[Guard]>,
    /// Whether a path or a default backend of the host takes what no longer path does.
    pub(crate) takes_all: bool,
    /// Namespaces whose rules redirect to https, in order: one of their objects names the host under `tls`, and takes requests
    /// of it. Who takes none has no say, and nobody has one over the rules of another namespace.
    redirecting: Box<[Arc<str>]>,
}

/// An object that closes whole hosts, because it asks for a protection of them that is not applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Guard {
    pub(crate) key: Key,
    pub(crate) because: Arc<str>,
}

impl HostFacts {
    fn of(contributors: &Contributors, host: &Host) -> Self {
        let own = contributors.values().filter(|ir| !ir.is_alias(host));
        let guards = own.filter_map(|ir| Some((ir, ir.policies.guards_hosts()?)));
        let guard = |(ir, annotation): (&Arc<IngressIr>, &Arc<str>)| Guard {
            key: ir.key.clone(),
            because: format!("{annotation}, and {} asks for it for the whole host", ir.object).into(),
        };
        Self {
            named: contributors.values().any(|ir| !ir.is_alias(host)),
            regex_mode: contributors.values().any(|ir| ir.regex_hosts.binary_search(host).is_ok()),
            guards: guards.map(guard).collect(),
            takes_all: false,
            redirecting: Box::default(),
        }
    }

    /// Whether a rule of an object of the host is one there.
    pub(crate) fn holds(&self, ir: &IngressIr, rule: &RuleIr) -> bool {
        self.has_say(ir, &rule.host) && (self.regex_mode || !rule.path.needs_regex_mode())
    }

    /// Whether an object decides about the host: a further name yields to whoever names it.
    fn has_say(&self, ir: &IngressIr, host: &Host) -> bool {
        !self.named || !ir.is_alias(host)
    }

    /// Whether plain text for the rules of an object is sent to https, unless it says no.
    pub(crate) fn redirects(&self, key: &Key) -> bool {
        self.redirecting.binary_search(&key.namespace).is_ok()
    }

    /// The object that closes the host for this one too: nobody closes what stands in another namespace.
    pub(crate) fn guard(&self, key: &Key) -> Option<&Guard> {
        self.guards.iter().find(|guard| guard.key.namespace == key.namespace && guard.key != *key)
    }

    /// An object of another namespace that would close the host for this one too.
    pub(crate) fn foreign_guard(&self, key: &Key) -> Option<&Guard> {
        self.guards.iter().find(|guard| guard.key.namespace != key.namespace)
    }
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
    /// Hosts that route otherwise now.
    pub(crate) hosts: BTreeSet<Host>,
    /// Whether the default backend of everything is another one now.
    pub(crate) default: bool,
    /// Objects of which something else is shadowed now.
    pub(crate) objects: BTreeSet<Key>,
}

impl Rebuilt {
    /// Whether a route is another one now.
    pub(crate) fn has_routes(&self) -> bool {
        self.default || !self.hosts.is_empty()
    }
}

impl Hosts {
    /// Takes an object's rules and names out and in.
    pub(crate) fn replace(&mut self, before: Option<&Arc<IngressIr>>, after: Option<&Arc<IngressIr>>) {
        if let Some(before) = before {
            self.take_out(before);
        }
        if let Some(after) = after {
            self.put_in(after);
        }
    }

    fn take_out(&mut self, ir: &IngressIr) {
        for host in &ir.hosts {
            self.dirty.insert(host.clone());
            if let Some(state) = self.hosts.get_mut(host) {
                state.contributors.remove(&ir.key);
            }
        }
        for name in ir.tls_names() {
            let Some(namers) = self.named.get_mut(name) else { continue };
            namers.remove(&ir.key);
            if namers.is_empty() {
                self.named.remove(name);
            }
        }
        self.touch_names(ir);
        self.default.dirty |= self.default.contributors.remove(&ir.key).is_some();
    }

    fn put_in(&mut self, ir: &Arc<IngressIr>) {
        for host in &ir.hosts {
            self.dirty.insert(host.clone());
            let state = self.hosts.entry(host.clone()).or_default();
            state.contributors.insert(ir.key.clone(), Arc::clone(ir));
        }
        for name in ir.tls_names() {
            self.named.entry(name.clone()).or_default().insert(ir.key.clone(), Arc::clone(ir));
        }
        self.touch_names(ir);
        if ir.is_catch_all() {
            self.default.dirty = true;
            self.default.contributors.insert(ir.key.clone(), Arc::clone(ir));
        }
    }

    /// The hosts that an object names under `tls` may redirect otherwise now.
    fn touch_names(&mut self, ir: &IngressIr) {
        for name in ir.tls_names() {
            self.dirty.insert(Some(name.clone()));
            if matches!(name, HostPattern::Wildcard(_)) {
                let covered = |host: &&Host| host.as_ref().is_some_and(|host| covers(name, host));
                self.dirty.extend(self.hosts.keys().filter(covered).cloned());
            }
        }
    }

    /// Rebuilds what changed.
    pub(crate) fn rebuild(&mut self, settings: &Settings) -> Rebuilt {
        let mut rebuilt = Rebuilt::default();
        if self.default.dirty {
            let candidates: Vec<_> = self.default.contributors.values().cloned().collect();
            candidates.iter().for_each(|ir| self.touch_names(ir));
        }
        self.touch_borrowers();
        let default = winner(self.default.contributors.values()).cloned();
        for host in std::mem::take(&mut self.dirty) {
            self.rebuild_host(host, default.as_ref(), settings, &mut rebuilt);
        }
        if std::mem::take(&mut self.default.dirty) {
            self.rebuild_default(settings, &mut rebuilt);
        }
        self.interned.prune();
        rebuilt
    }

    /// Names without rules of their own follow the host whose rules they have.
    fn touch_borrowers(&mut self) {
        let lenders: Vec<Host> =
            self.dirty.iter().filter(|host| !matches!(host, Some(HostPattern::Exact(_)))).cloned().collect();
        if lenders.is_empty() {
            return;
        }
        let borrows = |name: &&HostPattern| {
            lenders.iter().any(|lender| lender.is_none() || *lender == wildcard_above(name))
                && !self.has_rules(&Some((*name).clone()))
        };
        let borrowers: Vec<Host> = self.named.keys().filter(borrows).cloned().map(Some).collect();
        self.dirty.extend(borrowers);
    }

    fn has_rules(&self, host: &Host) -> bool {
        self.hosts.get(host).is_some_and(|state| !state.contributors.is_empty())
    }

    /// The host whose rules take the requests for `host`; `None` where only the default backend of everything can.
    fn lender(&self, host: &Host) -> Option<Host> {
        let above = host.as_ref().and_then(wildcard_above).map(Some);
        let candidates = [Some(host.clone()), above, Some(None)];
        candidates.into_iter().flatten().find(|candidate| self.has_rules(candidate))
    }

    fn rebuild_host(
        &mut self,
        host: Host,
        default: Option<&Arc<IngressIr>>,
        settings: &Settings,
        rebuilt: &mut Rebuilt,
    ) {
        let nobody = Contributors::default();
        let lender = self.lender(&host);
        let lends = |lender: &Host| self.hosts.get(lender).map(|state| &state.contributors);
        let contributors = lender.as_ref().and_then(lends).unwrap_or(&nobody);
        let names = |ir: &&Arc<IngressIr>| host.as_ref().is_some_and(|host| ir.names(host));
        let takes = |ir: &Arc<IngressIr>| lender.as_ref().is_some_and(|lender| ir.takes_at(lender));
        let redirects = contributors.values().filter(names).any(takes);
        let default = default.filter(names);
        let is_own = lender.as_ref() == Some(&host);
        let is_named = host.as_ref().is_some_and(|name| self.named.contains_key(name));
        let mut after = None;
        if is_own || is_named && (redirects || default.is_some()) {
            let entered = lender.as_ref().unwrap_or(&host);
            let interned = &mut self.interned;
            let facts = HostFacts::of(contributors, entered);
            let merge = Merge { host: entered, name: host.as_ref(), default, facts, settings, interned };
            let mut merged = merge.merge(contributors);
            if !is_own {
                // Who lost there is said of the host that lends its rules.
                merged.shadowed.clear();
            }
            after = Some(merged);
        }
        self.enter(host, after, rebuilt);
    }

    /// Puts what a host has become in the place of what it was.
    fn enter(&mut self, host: Host, mut after: Option<Merged>, rebuilt: &mut Rebuilt) {
        let before = self.hosts.get_mut(&host).and_then(|state| state.merged.take());
        let shadowed = |merged: &Option<Merged>| merged.as_ref().map(|merged| merged.shadowed.clone());
        let (lost, losing) = (shadowed(&before).unwrap_or_default(), shadowed(&after).unwrap_or_default());
        rebuilt.objects.extend(difference(&lost, &losing));
        if before.as_ref().map(|merged| &merged.facts) != after.as_ref().map(|merged| &merged.facts) {
            let contributors = self.hosts.get(&host).into_iter().flat_map(|state| state.contributors.keys());
            rebuilt.objects.extend(contributors.cloned());
        }
        if host.is_none() && brought(&before) != brought(&after) {
            rebuilt.objects.extend(self.default.contributors.keys().cloned());
        }
        match (before, &mut after) {
            (Some(before), Some(after)) if index::same_entry(&before.entry, &after.entry) => {
                after.entry = before.entry;
            }
            (None, None) => {}
            _ => drop(rebuilt.hosts.insert(host.clone())),
        }
        match after {
            None => drop(self.hosts.remove(&host)),
            after => self.hosts.entry(host).or_default().merged = after,
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
        // Hosts that its object names under tls have the rule in their own entries, where it redirects.
        let position = Position::default();
        let rule = match winner {
            Some(winner) => {
                let policies = policy::lower(&winner.policies, position, settings);
                default_rule(winner, policies, settings, &mut self.interned)
            }
            None => flag_rule(settings, &mut self.interned),
        };
        if self.default.rule.is_some() != rule.is_some() {
            let contributors = self.hosts.values().flat_map(|state| state.contributors.values());
            rebuilt.objects.extend(contributors.filter(|ir| !ir.bare.is_empty()).map(|ir| ir.key.clone()));
        }
        if self.default.rule != rule {
            self.default.rule = rule;
            rebuilt.default = true;
        }
        self.default.shadowed = shadowed;
    }

    /// Makes the default backend of the flag known.
    pub(crate) fn start(&mut self) {
        self.default.dirty = true;
    }

    /// The rules of a host; `None` where it has none.
    pub(crate) fn entry(&self, host: &Host) -> Option<&Arc<HostEntry>> {
        Some(&self.hosts.get(host)?.merged.as_ref()?.entry)
    }

    /// What the objects of a host have to know of each other; `None` where it has no rules.
    pub(crate) fn facts(&self, host: &Host) -> Option<&HostFacts> {
        Some(&self.hosts.get(host)?.merged.as_ref()?.facts)
    }

    /// Takes what no host and path matches.
    pub(crate) fn default_rule(&self) -> Option<&Arc<Rule>> {
        self.default.rule.as_ref()
    }

    /// Who took what a part of an object claims at a host, if somebody did.
    pub(crate) fn shadowed(&self, host: &Host, key: &Key, part: Part) -> Option<&Winner> {
        self.hosts.get(host)?.merged.as_ref()?.shadowed.get(&(key.clone(), part))
    }

    /// The default backend that a rule for every host brings, which comes before the one of everything.
    pub(crate) fn default_of_any_host(&self) -> Option<&Origin> {
        Some(&self.entry(&None)?.fallback()?.origin)
    }

    /// Who took the default backend of everything from an object, if somebody did.
    pub(crate) fn default_shadowed(&self, key: &Key) -> Option<&Winner> {
        self.default.shadowed.get(key)
    }
}

/// Who brings the default backend of a host.
fn brought(merged: &Option<Merged>) -> Option<&Origin> {
    Some(&merged.as_ref()?.entry.fallback()?.origin)
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
    /// The host whose rules these are.
    host: &'m Host,
    /// The host that they are for, which borrows them where it is another one.
    name: Option<&'m HostPattern>,
    /// Has the default backend of everything, and names the host under `tls`: what no path matches redirects too.
    default: Option<&'m Arc<IngressIr>>,
    facts: HostFacts,
    settings: &'m Settings,
    interned: &'m mut Interned,
}

type Claimed<'c> = (&'c Arc<IngressIr>, usize, &'c RuleIr);

impl Merge<'_> {
    fn merge(mut self, contributors: &Contributors) -> Merged {
        let mut shadowed = BTreeMap::new();
        let mut winners: BTreeMap<&PathTest, Claimed<'_>> = BTreeMap::new();
        for ir in contributors.values() {
            for (number, rule) in self.rules_of(ir) {
                let challenger = (ir, number, rule);
                match winners.get_mut(&rule.path) {
                    None => drop(winners.insert(&rule.path, challenger)),
                    Some(holder) if ir.key != holder.0.key && takes_from(challenger, *holder) => {
                        *holder = challenger;
                    }
                    Some(_) => {}
                }
            }
        }
        for ir in contributors.values() {
            for (number, rule) in self.rules_of(ir) {
                let (winner, at, by) = winners[&rule.path];
                if winner.key != ir.key || at != number {
                    shadowed.insert((ir.key.clone(), Part::Rule(number)), winner.takes(&by.origin, ir));
                }
            }
        }
        drop_orphans(&mut winners, &mut shadowed);
        let by_default = winner(self.with_default(contributors));
        let taking = winners.values().map(|(ir, ..)| *ir).chain(by_default);
        let names = |ir: &&Arc<IngressIr>| self.name.is_some_and(|name| ir.names(name));
        let redirecting: BTreeSet<&Arc<str>> = taking.filter(names).map(|ir| &ir.key.namespace).collect();
        self.facts.redirecting = redirecting.into_iter().cloned().collect();
        let fallback = self.fallback(contributors, &mut shadowed);
        let mut candidates: Vec<Candidate> =
            winners.into_values().filter_map(|claimed| self.candidate(claimed)).collect();
        candidates.sort_by(|a, b| index::trial_order(&a.path, &b.path));
        let dialect = contributors.values().next().map_or(self.settings.compat, |ir| ir.dialect);
        let is_root = |candidate: &Candidate| candidate.path == PathMatch::prefix("/");
        self.facts.takes_all = fallback.is_some() || candidates.iter().any(is_root);
        let entry = index::host_entry(self.host, dialect, candidates, fallback);
        Merged { entry, shadowed, facts: self.facts }
    }

    /// What an object claims at the host, with the number that each has among its rules.
    fn rules_of<'i>(&self, ir: &'i IngressIr) -> impl Iterator<Item = (usize, &'i RuleIr)> {
        let is_here = |rule: &RuleIr| rule.host == *self.host && self.facts.holds(ir, rule);
        ir.rules.iter().enumerate().filter(move |(_, rule)| is_here(rule))
    }

    /// Objects whose default backend is one of the host.
    fn with_default<'c>(&self, contributors: &'c Contributors) -> impl Iterator<Item = &'c Arc<IngressIr>> {
        let has_one =
            |ir: &&Arc<IngressIr>| ir.default_backend.is_some() && self.facts.has_say(ir, self.host);
        contributors.values().filter(has_one)
    }

    fn position(&self, ir: &IngressIr) -> Position<'_> {
        let guard = self.facts.guard(&ir.key).map(|guard| &*guard.because);
        Position { host_has_tls: self.facts.redirects(&ir.key), redirect_exempt: false, guard }
    }

    /// The default backend of the host: of the oldest object that has one.
    fn fallback(
        &mut self,
        contributors: &Contributors,
        shadowed: &mut BTreeMap<(Key, Part), Winner>,
    ) -> Option<Arc<Rule>> {
        let Some(winner) = winner(self.with_default(contributors)) else {
            let default = self.default?;
            let position = Position { host_has_tls: true, ..self.position(default) };
            let policies = policy::lower(&default.policies, position, self.settings);
            return default_rule(default, policies, self.settings, self.interned);
        };
        let by = winner.default_backend.as_ref()?;
        for loser in self.with_default(contributors).filter(|ir| ir.key != winner.key) {
            shadowed.insert((loser.key.clone(), Part::Default), winner.takes(&by.origin, loser));
        }
        let position = self.position(winner);
        let policies = policy::lower(&winner.policies, position, self.settings);
        default_rule(winner, policies, self.settings, self.interned)
    }

    fn candidate(&mut self, (ir, _, rule): Claimed<'_>) -> Option<Candidate> {
        let position = self.position(ir);
        let position = match policy::exempt_from_redirect(&rule.path) {
            // What is asked for in plain text was asked for no certificate there either.
            true => Position { redirect_exempt: true, guard: None, ..position },
            false => position,
        };
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

/// Whether the first claims the path rather than the second: what stands in for a wrong path yields to the path itself, and
/// else the older object wins.
fn takes_from((ir, _, rule): Claimed<'_>, (holder, _, held): Claimed<'_>) -> bool {
    match (rule.is_stand_in, held.is_stand_in) {
        (true, false) => false,
        (false, true) => true,
        (true, true) | (false, false) => ir.beats(holder),
    }
}

/// What closes a path as an expression goes with the path itself: who has lost it to another object has no say there.
fn drop_orphans(
    winners: &mut BTreeMap<&PathTest, Claimed<'_>>,
    shadowed: &mut BTreeMap<(Key, Part), Winner>,
) {
    winners.retain(|path, (ir, at, rule)| {
        if !path.is_expression() {
            return true;
        }
        // What stands in the place of a wrong path leads nowhere, and is not the path itself.
        let is_literal = |other: &RuleIr| {
            other.origin == rule.origin
                && other.host == rule.host
                && matches!(other.backend, BackendIr::Service { .. })
        };
        let literal = ir.rules.iter().position(is_literal);
        let by = literal.and_then(|literal| shadowed.get(&(ir.key.clone(), Part::Rule(literal))).cloned());
        let Some(by) = by.filter(|by| by.origin.object != ir.object) else { return true };
        shadowed.insert((ir.key.clone(), Part::Rule(*at)), by);
        false
    });
}

fn default_rule(
    ir: &IngressIr,
    policies: PolicySet,
    settings: &Settings,
    interned: &mut Interned,
) -> Option<Arc<Rule>> {
    let default = ir.default_backend.as_ref()?;
    Some(Arc::new(Rule {
        id: ir.default_rule_id(),
        origin: default.origin.clone(),
        policies: interned.intern(policies),
        backends: Box::new([backend(&default.backend, interned)]),
        timeouts: settings.timeouts,
    }))
}

/// The rule of `--default-backend-service`.
fn flag_rule(settings: &Settings, interned: &mut Interned) -> Option<Arc<Rule>> {
    let upstream = flag_upstream(settings)?;
    let position = Position::default();
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
