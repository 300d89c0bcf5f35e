//! What is closed of an object with a protection that cannot be applied.
//!
//! Nothing that it was written for may be lost without being closed: its requests would fall to a broader path of somebody
//! else, which may be open. So closed are also its wrong paths as far as they can be read, what its paths mean to
//! ingress-nginx besides themselves, its hosts without a path and their further names. Here it is only put among the rules of
//! the object; whether it holds at a host is decided where hosts are merged.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::networking::v1::IngressRule;
use ringress_shared::origin::Origin;

use super::{Reader, host_of, path};
use crate::ir::{BackendIr, DefaultIr, Host, IngressIr, LostIr, PathTest, RuleIr};
use crate::policy::aliases::Aliases;

impl Reader<'_> {
    /// Adds everything that is closed; gives the further names of its hosts, in order.
    pub(super) fn close(
        &self,
        given: &[IngressRule],
        has_default: bool,
        aliases: Aliases,
        rules: &mut Vec<RuleIr>,
    ) -> Vec<Host> {
        self.close_lost(rules);
        self.close_expressions(rules);
        self.close_beginnings(rules);
        if !has_default {
            self.close_bare_hosts(given, rules);
        }
        close_aliases(aliases, rules)
    }

    /// Closes what can be read of the paths that are wrong.
    fn close_lost(&self, rules: &mut Vec<RuleIr>) {
        let mut closing = Closing::of(rules);
        for lost in self.lost_at_hosts() {
            path::closing(&lost.path_text).into_iter().for_each(|path| closing.add(lost.closed(path)));
        }
    }

    /// Closes what paths mean as expressions: matched literally, they take none of it, and a broader path would. It holds where
    /// the host is in regex mode, which another object may decide.
    fn close_expressions(&self, rules: &mut Vec<RuleIr>) {
        let lost: Vec<RuleIr> =
            self.lost_at_hosts().map(|lost| lost.closed(PathTest::Prefix("".into()))).collect();
        let written: Vec<RuleIr> = rules.iter().chain(&lost).cloned().collect();
        self.close_meanings(&written, rules, false, |rule| path::closing_expression(&rule.path_text));
    }

    /// Closes what `ImplementationSpecific` paths are to ingress-nginx: not elements but a text, with which requests begin.
    fn close_beginnings(&self, rules: &mut Vec<RuleIr>) {
        let has_more = |rule: &&RuleIr| path::text(rule).is_some();
        let written: Vec<RuleIr> = rules.iter().filter(has_more).cloned().collect();
        self.close_meanings(&written, rules, true, path::text);
    }

    /// Closes what paths mean besides themselves: some one by one, and of many the rest together.
    fn close_meanings(
        &self,
        written: &[RuleIr],
        rules: &mut Vec<RuleIr>,
        always: bool,
        meant: impl Fn(&RuleIr) -> Option<PathTest>,
    ) {
        let (one_by_one, rest) = written.split_at(written.len().min(EXPRESSIONS_MAX));
        let mut closing = Closing::of(rules);
        for rule in one_by_one {
            meant(rule).into_iter().for_each(|path| closing.add(RuleIr { path, ..rule.clone() }));
        }
        let together = by_host(rest).into_values().filter_map(|rules| self.beginning_of(&rules, always));
        together.for_each(|rule| closing.add(rule));
    }

    /// Closes what many paths of one host mean besides themselves.
    fn beginning_of(&self, rules: &[&RuleIr], always: bool) -> Option<RuleIr> {
        let path = path::common_beginning(rules.iter().map(|rule| rule.path_text.as_str()), always)?;
        // The field of none of them: no single path that another object has takes it away.
        Some(RuleIr { path, origin: self.origin("spec.rules"), ..(*rules.first()?).clone() })
    }

    /// Closes hosts that stand there without any path.
    fn close_bare_hosts(&self, given: &[IngressRule], rules: &mut Vec<RuleIr>) {
        let with_paths: BTreeSet<Host> = rules.iter().map(|rule| rule.host.clone()).collect();
        let mut closing = Closing::of(rules);
        for (number, rule) in given.iter().enumerate() {
            let host = host_of(rule).flatten();
            if host.is_some() && !with_paths.contains(&host) {
                closing.add(closed_host(self.origin(format!("spec.rules[{number}].host")), host));
            }
        }
    }
}

impl IngressIr {
    /// Closes every path that a newer, wrong version protects and this one does not have.
    pub(crate) fn close(&mut self, newer: &Self) {
        let has_own = self.default_backend.is_some() && !self.is_catch_all();
        let mut closing = Closing::of(&mut self.rules);
        newer.rules.iter().for_each(|rule| closing.add(rule.clone()));
        match &newer.default_backend {
            Some(default) if default.catches_all && self.default_backend.is_none() => {
                self.default_backend = Some(DefaultIr { backend: BackendIr::Answer(503), ..default.clone() });
            }
            Some(default) if !default.catches_all => {
                let open = newer.hosts.iter().filter(|host| !(has_own && self.hosts.contains(*host)));
                open.for_each(|host| closing.add(closed_host(default.origin.clone(), host.clone())));
            }
            _ => {}
        }
        let both = |own: &[Host], newer: &[Host]| -> Box<[Host]> {
            let hosts: BTreeSet<Host> = own.iter().chain(newer).cloned().collect();
            hosts.into_iter().collect()
        };
        let is_alias = |host: &&Host| {
            let knows = |ir: &Self| !ir.hosts.contains(*host) || ir.is_alias(host);
            knows(self) && knows(newer)
        };
        self.aliases = both(&self.aliases, &newer.aliases).iter().filter(is_alias).cloned().collect();
        self.hosts = both(&self.hosts, &newer.hosts);
        self.regex_hosts = both(&self.regex_hosts, &newer.regex_hosts);
        let rules = &self.rules;
        self.bare.retain(|bare| !rules.iter().any(|rule| rule.host == bare.host));
    }
}

/// Closes further names of the hosts; gives them, in order.
fn close_aliases(aliases: Aliases, rules: &mut Vec<RuleIr>) -> Vec<Host> {
    let mut hosts = Vec::new();
    for alias in aliases.names {
        rules.push(closed_host(alias.origin, Some(alias.host.clone())));
        hosts.push(Some(alias.host));
    }
    hosts.sort_unstable();
    hosts
}

fn closed_host(origin: Origin, host: Host) -> RuleIr {
    RuleIr {
        origin,
        host_text: host.as_ref().map(ToString::to_string).unwrap_or_default(),
        host,
        path: PathTest::Prefix("".into()),
        path_text: "/".to_owned(),
        path_type: "Prefix".to_owned(),
        backend: BackendIr::Answer(503),
        is_stand_in: false,
    }
}

/// Adds closed rules where an object has no other for that host and path.
struct Closing<'r> {
    rules: &'r mut Vec<RuleIr>,
    taken: BTreeSet<(Host, PathTest)>,
}

impl<'r> Closing<'r> {
    fn of(rules: &'r mut Vec<RuleIr>) -> Self {
        let taken = rules.iter().map(|rule| (rule.host.clone(), rule.path.clone())).collect();
        Self { rules, taken }
    }

    fn add(&mut self, rule: RuleIr) {
        if self.taken.insert((rule.host.clone(), rule.path.clone())) {
            self.rules.push(RuleIr { backend: BackendIr::Answer(503), ..rule });
        }
    }
}

impl LostIr {
    /// A rule that closes a path in its place.
    fn closed(&self, path: PathTest) -> RuleIr {
        RuleIr {
            origin: self.origin.clone(),
            host: self.host.clone(),
            host_text: self.host_text.clone(),
            path,
            path_text: self.path_text.clone(),
            path_type: self.path_type.clone(),
            backend: BackendIr::Answer(503),
            is_stand_in: true,
        }
    }
}

fn by_host(rules: &[RuleIr]) -> BTreeMap<&Host, Vec<&RuleIr>> {
    let mut hosts: BTreeMap<&Host, Vec<&RuleIr>> = BTreeMap::new();
    rules.iter().for_each(|rule| hosts.entry(&rule.host).or_default().push(rule));
    hosts
}

/// So many paths of an object are closed as expressions one by one: each costs memory on every shard.
pub(crate) const EXPRESSIONS_MAX: usize = 200;
