//! The route table: built once per generation, read by every shard, and by `ringress explain`.
//!
//! ```text
//! host  →  exact, else one-label wildcard, else any          (Ingress: the first of them decides alone;
//!                                                              Gateway API: falls through to the next)
//! path  →  exact, else expressions in order, else longest prefix
//!          (Ingress, strictly: expressions only close, and take nothing from a path with as long a text)
//! same path  →  candidates in the order of the builder; the first whose predicates hold wins
//! slashes    →  a path that reaches a closed rule once `//` is `/` belongs to that rule
//! ```
//!
//! Cost of a lookup: one or two hash probes for the host; at a host with up to eight prefixes a scan, above that one
//! probe per path element. No allocation but for paths that normalisation had to change.

use std::sync::Arc;

use hashbrown::HashMap;
use regex_automata::meta::Cache;
use regex_automata::{Input, util::captures::Captures};

use super::Rule;
use super::matches::{PathMatch, Predicates, RequestView, prefix_matches};
use super::path::NormalPath;
use super::regex::PathRegex;
use crate::hostname::{HostPattern, parent_domain};
use crate::spread::Spread;

type Map<V> = HashMap<Box<str>, V, foldhash::fast::RandomState>;

/// Entries by host, shared with the table before as far as they did not change.
type Hosts = Spread<Arc<str>, Arc<HostEntry>, foldhash::fast::RandomState>;

/// Whose semantics the rules of a host follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// Ingress v1 as the API documents it.
    #[default]
    Strict,
    /// Ingress v1 as ingress-nginx serves it.
    IngressNginx,
    /// Gateway API.
    GatewayApi,
}

/// One way to reach a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// What it asks of the path.
    pub path: PathMatch,
    /// What it asks beside the path.
    pub predicates: Predicates,
    /// Where it leads.
    pub rule: Arc<Rule>,
}

/// The rules of one host.
#[derive(Debug, Default)]
pub struct HostEntry {
    dialect: Dialect,
    candidates: Vec<Candidate>,
    exact: Map<Vec<u32>>,
    /// In order of trial.
    expressions: Vec<u32>,
    /// Longest first; the numbers of one prefix stand in order of trial.
    prefixes: Vec<(Box<str>, Vec<u32>)>,
    /// The same by text, where there are too many to scan.
    prefix_index: Map<u32>,
    /// Takes what no path of the host matches: the host's default backend.
    fallback: Option<Arc<Rule>>,
    /// Whether a request that nothing matched goes on to the less specific host.
    fallthrough: bool,
}

/// The expressions of a host that a lookup tries.
#[derive(Debug, Clone, Copy)]
enum Expressions {
    All,
    /// Those whose texts are longer than that of the path which matched literally.
    LongerThan(usize),
}

impl Expressions {
    fn has(self, length: usize) -> bool {
        match self {
            Self::All => true,
            Self::LongerThan(literal) => length > literal,
        }
    }
}

/// Prefixes of a host that are cheaper to scan than to hash.
const SCANNED_PREFIXES_MAX: usize = 8;

/// All routes of a listener. A copy is cheap, and a change of it costs what changes.
#[derive(Debug, Default, Clone)]
pub struct RouteTable {
    exact: Hosts,
    /// Keyed by the parent domain. A wildcard that spans labels stands in `deep_wildcard`.
    wildcard: Hosts,
    /// Gateway API wildcards: any number of labels, most specific first.
    deep_wildcard: Hosts,
    any: Option<Arc<HostEntry>>,
    /// Takes hosts that nothing names, and paths where nothing else is said.
    default: Option<Arc<Rule>>,
}

/// The rule for a request, and how it was reached.
#[derive(Debug)]
pub struct Found<'t> {
    /// What happens now.
    pub rule: &'t Arc<Rule>,
    /// The candidate, or `None` where a default backend took the request.
    pub candidate: Option<&'t Candidate>,
    /// Which of [`NormalPath::merged`] leads here, where the path itself does not.
    pub merged: Option<usize>,
}

/// What a lookup gives.
#[derive(Debug)]
pub enum Lookup<'t> {
    /// A rule.
    Found(Found<'t>),
    /// No host matched, and there is no default backend.
    NoHost,
    /// The host matched and no path did.
    NoPath,
    /// Decoding an encoded slash would choose another rule: 400.
    Ambiguous,
}

/// Why a candidate that was looked at did not win.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// Its path does not match.
    Path,
    /// Method, fields or query do not hold.
    Predicates,
}

/// Hears what a lookup tries, in order.
pub trait Trace {
    /// The rules of this host are tried.
    fn host(&mut self, _entry: &HostEntry) {}
    /// This candidate was looked at and skipped.
    fn skipped(&mut self, _candidate: &Candidate, _why: Skip) {}
}

/// Hears nothing, at no cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTrace;

impl Trace for NoTrace {}

/// Working memory of lookups: one per shard.
#[derive(Debug, Default)]
pub struct Scratch {
    caches: HashMap<usize, Cache>,
    captures: Option<Captures>,
}

impl Scratch {
    /// Captures of the expression that won the last lookup, if one did.
    pub fn captures(&self) -> Option<&Captures> {
        self.captures.as_ref()
    }

    /// Forgets the working memory of expressions; called on every new snapshot, whose expressions are others.
    pub fn clear(&mut self) {
        self.caches.clear();
        self.captures = None;
    }

    fn search(&mut self, regex: &PathRegex, path: &[u8]) -> bool {
        let cache = self.caches.entry(regex.key()).or_insert_with(|| regex.create_cache());
        let mut captures = regex.program().create_captures();
        regex.program().search_captures_with(cache, &Input::new(path), &mut captures);
        let found = captures.is_match();
        self.captures = found.then_some(captures);
        found
    }
}

impl RouteTable {
    /// The rule for a request.
    ///
    /// `host` as [`normalise_host`](crate::hostname::normalise_host) gives it, `path` as
    /// [`normalise`](super::path::normalise) gives it.
    pub fn find<R: RequestView, T: Trace>(
        &self,
        host: &str,
        path: &NormalPath<'_>,
        request: &R,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Lookup<'_> {
        let found = self.find_bytes(host, &path.bytes, request, scratch, trace);
        if let Some(decoded) = &path.with_slashes {
            let Ok(decoded) = decoded else { return Lookup::Ambiguous };
            let other = self.find_bytes(host, decoded, request, &mut Scratch::default(), &mut NoTrace);
            if rule_of(&other).map(Arc::as_ptr) != rule_of(&found).map(Arc::as_ptr) {
                return Lookup::Ambiguous;
            }
        }
        if path.merged.is_empty() || is_closed(&found) {
            return found;
        }
        self.closed_by_merging(host, &path.merged, request).unwrap_or(found)
    }

    /// The closed rule that an endpoint which merges slashes takes the path for. A protection that is not applied guarded
    /// that spelling too, so it does not open.
    fn closed_by_merging<R: RequestView>(
        &self,
        host: &str,
        merged: &[Vec<u8>],
        request: &R,
    ) -> Option<Lookup<'_>> {
        merged.iter().enumerate().find_map(|(number, path)| {
            let found = self.find_bytes(host, path, request, &mut Scratch::default(), &mut NoTrace);
            match found {
                Lookup::Found(found) if found.rule.policies.denied.is_some() => {
                    Some(Lookup::Found(Found { merged: Some(number), ..found }))
                }
                _ => None,
            }
        })
    }

    fn find_bytes<R: RequestView, T: Trace>(
        &self,
        host: &str,
        path: &[u8],
        request: &R,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Lookup<'_> {
        scratch.captures = None;
        let mut host_matched = false;
        for entry in self.entries_for(host) {
            host_matched = true;
            trace.host(entry);
            if let Some(candidate) = entry.find(path, request, scratch, trace) {
                return Lookup::Found(Found {
                    rule: &candidate.rule,
                    candidate: Some(candidate),
                    merged: None,
                });
            }
            if let Some(rule) = &entry.fallback {
                return Lookup::Found(Found { rule, candidate: None, merged: None });
            }
            if !entry.fallthrough {
                break;
            }
        }
        match &self.default {
            Some(rule) => Lookup::Found(Found { rule, candidate: None, merged: None }),
            None if host_matched => Lookup::NoPath,
            None => Lookup::NoHost,
        }
    }

    /// The entries that take a host, most specific first.
    pub fn entries_for<'t, 'h>(
        &'t self,
        host: &'h str,
    ) -> impl Iterator<Item = &'t Arc<HostEntry>> + use<'t, 'h> {
        let exact = self.exact.get(host);
        let wildcard = parent_domain(host).and_then(|parent| self.wildcard.get(parent));
        let deep = std::iter::successors(parent_domain(host), |domain| parent_domain(domain))
            .filter(|_| !self.deep_wildcard.is_empty())
            .filter_map(|domain| self.deep_wildcard.get(domain));
        exact.into_iter().chain(wildcard).chain(deep).chain(self.any.as_ref())
    }

    /// Every host entry with the host it stands for (`*` for any), sorted by host.
    pub fn hosts(&self) -> Vec<(String, &Arc<HostEntry>)> {
        let exact = self.exact.iter().map(|(host, entry)| (host.to_string(), entry));
        let wildcard = self.wildcard.iter().chain(self.deep_wildcard.iter());
        let wildcard = wildcard.map(|(suffix, entry)| (format!("*.{suffix}"), entry));
        let any = self.any.iter().map(|entry| ("*".to_owned(), entry));
        let mut hosts: Vec<_> = exact.chain(wildcard).chain(any).collect();
        hosts.sort_by(|a, b| a.0.cmp(&b.0));
        hosts
    }

    /// Every rule, in no order; one that several candidates lead to comes several times.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        let hosts = self.exact.values().chain(self.wildcard.values()).chain(self.deep_wildcard.values());
        let of_hosts = hosts.chain(&self.any).flat_map(|entry| {
            entry.candidates.iter().map(|candidate| &candidate.rule).chain(&entry.fallback)
        });
        of_hosts.chain(&self.default)
    }

    /// Takes what no host and path matches, if there is such a backend.
    pub fn default_rule(&self) -> Option<&Arc<Rule>> {
        self.default.as_ref()
    }

    /// Replaces the rules of a host; `None` for the host stands for every host, `None` for the entry takes it out.
    pub fn put(&mut self, host: Option<&HostPattern>, entry: Option<Arc<HostEntry>>) {
        match host {
            None => self.any = entry,
            Some(HostPattern::Exact(name)) => put(&mut self.exact, name, entry),
            Some(HostPattern::Wildcard(suffix)) => {
                let spans_labels = entry.as_ref().is_some_and(|entry| entry.dialect == Dialect::GatewayApi);
                let (deep, shallow) = if spans_labels { (entry, None) } else { (None, entry) };
                put(&mut self.deep_wildcard, suffix, deep);
                put(&mut self.wildcard, suffix, shallow);
            }
        }
    }

    /// Replaces what takes what no host and path matches.
    pub fn put_default_rule(&mut self, rule: Option<Arc<Rule>>) {
        self.default = rule;
    }
}

fn put(hosts: &mut Hosts, name: &str, entry: Option<Arc<HostEntry>>) {
    match entry {
        Some(entry) => drop(hosts.insert(name.into(), entry)),
        None => drop(hosts.remove(name)),
    }
}

fn rule_of<'l>(lookup: &'l Lookup<'_>) -> Option<&'l Arc<Rule>> {
    match lookup {
        Lookup::Found(found) => Some(found.rule),
        Lookup::NoHost | Lookup::NoPath | Lookup::Ambiguous => None,
    }
}

fn is_closed(lookup: &Lookup<'_>) -> bool {
    rule_of(lookup).is_some_and(|rule| rule.policies.denied.is_some())
}

impl HostEntry {
    /// Whose semantics these rules follow.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// All candidates, in the order of the builder.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The default backend of this host.
    pub fn fallback(&self) -> Option<&Arc<Rule>> {
        self.fallback.as_ref()
    }

    fn find<R: RequestView, T: Trace>(
        &self,
        path: &[u8],
        request: &R,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Option<&Candidate> {
        if self.expressions.is_empty() {
            return self.find_literal(path, request, trace);
        }
        if self.dialect == Dialect::Strict {
            let literal = self.find_literal(path, request, trace);
            let which =
                literal.map_or(Expressions::All, |literal| Expressions::LongerThan(literal.path.length()));
            return self.find_expression(which, path, request, scratch, trace).or(literal);
        }
        self.find_exact(path, request, trace)
            .or_else(|| self.find_expression(Expressions::All, path, request, scratch, trace))
            .or_else(|| self.find_prefix(path, request, trace))
    }

    fn find_literal<R: RequestView, T: Trace>(
        &self,
        path: &[u8],
        request: &R,
        trace: &mut T,
    ) -> Option<&Candidate> {
        self.find_exact(path, request, trace).or_else(|| self.find_prefix(path, request, trace))
    }

    fn find_exact<R: RequestView, T: Trace>(
        &self,
        path: &[u8],
        request: &R,
        trace: &mut T,
    ) -> Option<&Candidate> {
        if self.exact.is_empty() {
            return None;
        }
        let text = std::str::from_utf8(path).ok()?;
        self.first_that_holds(self.exact.get(text)?, request, trace)
    }

    fn find_expression<R: RequestView, T: Trace>(
        &self,
        which: Expressions,
        path: &[u8],
        request: &R,
        scratch: &mut Scratch,
        trace: &mut T,
    ) -> Option<&Candidate> {
        self.expressions.iter().map(|number| &self.candidates[*number as usize]).find(|candidate| {
            let PathMatch::Regex(regex) = &candidate.path else { return false };
            if !which.has(candidate.path.length()) {
                return false;
            }
            if !scratch.search(regex, path) {
                trace.skipped(candidate, Skip::Path);
                return false;
            }
            let holds = candidate.predicates.hold(request);
            if !holds {
                trace.skipped(candidate, Skip::Predicates);
            }
            holds
        })
    }

    fn find_prefix<R: RequestView, T: Trace>(
        &self,
        path: &[u8],
        request: &R,
        trace: &mut T,
    ) -> Option<&Candidate> {
        if self.prefixes.len() <= SCANNED_PREFIXES_MAX {
            return self
                .prefixes
                .iter()
                .filter(|(prefix, _)| prefix_matches(prefix.as_bytes(), path))
                .find_map(|(_, numbers)| self.first_that_holds(numbers, request, trace));
        }
        element_ends(path).find_map(|end| {
            let text = std::str::from_utf8(&path[..end]).ok()?;
            let (_, numbers) = &self.prefixes[*self.prefix_index.get(text)? as usize];
            self.first_that_holds(numbers, request, trace)
        })
    }

    fn first_that_holds<R: RequestView, T: Trace>(
        &self,
        numbers: &[u32],
        request: &R,
        trace: &mut T,
    ) -> Option<&Candidate> {
        numbers.iter().map(|number| &self.candidates[*number as usize]).find(|candidate| {
            let holds = candidate.predicates.hold(request);
            if !holds {
                trace.skipped(candidate, Skip::Predicates);
            }
            holds
        })
    }
}

/// Lengths at which a prefix of whole elements can end, longest first: all of it, then before each `/`.
fn element_ends(path: &[u8]) -> impl Iterator<Item = usize> {
    let slashes = path.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    std::iter::once(path.len()).chain(slashes)
}

/// Builds a [`RouteTable`]. Candidates of one host and path are tried in the order in which they were added.
#[derive(Debug, Default)]
pub struct RouteTableBuilder {
    hosts: std::collections::BTreeMap<Option<HostPattern>, PendingHost>,
    default: Option<Arc<Rule>>,
}

#[derive(Debug, Default)]
struct PendingHost {
    dialect: Dialect,
    candidates: Vec<Candidate>,
    fallback: Option<Arc<Rule>>,
}

impl RouteTableBuilder {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a host known, even without a path. `None` stands for every host.
    pub fn host(&mut self, host: Option<HostPattern>, dialect: Dialect) -> &mut Self {
        self.hosts.entry(host).or_default().dialect = dialect;
        self
    }

    /// Adds a candidate to a host.
    pub fn candidate(&mut self, host: Option<HostPattern>, candidate: Candidate) -> &mut Self {
        self.hosts.entry(host).or_default().candidates.push(candidate);
        self
    }

    /// Sets the default backend of a host; the first one stays.
    pub fn fallback(&mut self, host: Option<HostPattern>, rule: Arc<Rule>) -> &mut Self {
        self.hosts.entry(host).or_default().fallback.get_or_insert(rule);
        self
    }

    /// Sets the default backend of everything; the first one stays.
    pub fn default_rule(&mut self, rule: Arc<Rule>) -> &mut Self {
        self.default.get_or_insert(rule);
        self
    }

    /// The finished table.
    pub fn build(self) -> RouteTable {
        let mut table = RouteTable { default: self.default, ..RouteTable::default() };
        for (host, pending) in self.hosts {
            table.put(host.as_ref(), Some(Arc::new(index(pending))));
        }
        table
    }
}

fn index(pending: PendingHost) -> HostEntry {
    let mut entry = HostEntry {
        dialect: pending.dialect,
        fallback: pending.fallback,
        fallthrough: pending.dialect == Dialect::GatewayApi,
        ..HostEntry::default()
    };
    let mut prefixes: Map<Vec<u32>> = Map::default();
    for (number, candidate) in (0..).zip(&pending.candidates) {
        match &candidate.path {
            PathMatch::Exact(text) => entry.exact.entry(text.clone()).or_default().push(number),
            PathMatch::Regex(_) => entry.expressions.push(number),
            PathMatch::Prefix(text) => prefixes.entry(text.clone()).or_default().push(number),
        }
    }
    entry.candidates = pending.candidates;
    // Most hosts have one path, and a list that has grown has room for four.
    entry.candidates.shrink_to_fit();
    entry.prefixes = prefixes.into_iter().collect();
    entry.prefixes.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then_with(|| a.0.cmp(&b.0)));
    if entry.prefixes.len() > SCANNED_PREFIXES_MAX {
        entry.prefix_index = (0..).zip(&entry.prefixes).map(|(at, (text, _))| (text.clone(), at)).collect();
    }
    entry
}

#[cfg(test)]
mod tests;
