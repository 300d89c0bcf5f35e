//! What became of one Ingress: its claims, and everything that is wrong with it and with what it refers to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringress_shared::id::RuleId;
use ringress_shared::origin::Origin;

use crate::certificates::Certificates;
use crate::claim::{Claim, DEFAULT_BACKEND, Outcome, ServiceVerdict, Verdict, Winner};
use crate::ingress::EXPRESSIONS_MAX;
use crate::ir::{BackendIr, DefaultIr, Host, IngressIr, LostIr, PathTest, RuleIr};
use crate::members::Member;
use crate::merge::{Guard, Hosts, Part};
use crate::policy;
use crate::problem::Problem;
use crate::upstreams::Upstreams;

/// The findings about one object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    pub(crate) problems: Arc<[Problem]>,
    pub(crate) claims: Arc<[Claim]>,
}

/// Where findings come from.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'s> {
    pub(crate) hosts: &'s Hosts,
    pub(crate) upstreams: &'s Upstreams,
    pub(crate) certificates: &'s Certificates,
}

impl Findings {
    pub(crate) fn of(member: &Member, sources: Sources<'_>) -> Self {
        let mut finder = Finder { member, sources, problems: member.problems.clone(), claims: Vec::new() };
        finder.find();
        let mut seen = BTreeSet::new();
        let mut problems = finder.problems;
        problems.retain(|problem| seen.insert(problem.clone()));
        Self { problems: problems.into(), claims: finder.claims.into() }
    }
}

struct Finder<'f> {
    member: &'f Member,
    sources: Sources<'f>,
    problems: Vec<Problem>,
    claims: Vec<Claim>,
}

impl Finder<'_> {
    fn find(&mut self) {
        match self.member.served.clone() {
            Some(served) => self.served(&served),
            None => self.left_alone(),
        }
        for lost in self.member.lost() {
            let why = lost.why.clone();
            let outcome = match (self.member.class.is_ours(), self.member.is_quarantined()) {
                (false, _) => Outcome::ClassNotOurs(self.member.class.to_string()),
                (true, true) => Outcome::Quarantined(why),
                (true, false) => Outcome::Invalid(why),
            };
            self.claims.push(self.lost(lost, outcome));
        }
    }

    fn served(&mut self, ir: &IngressIr) {
        let hosts = self.sources.hosts;
        let holds = |rule: &RuleIr| hosts.facts(&rule.host).is_some_and(|facts| facts.holds(ir, rule));
        for (number, rule) in ir.rules.iter().enumerate().filter(|(_, rule)| holds(rule)) {
            let service = self.service(&rule.backend);
            let by = hosts.shadowed(&rule.host, &ir.key, Part::Rule(number));
            let outcome = match by {
                // The path itself says so.
                Some(by) if rule.path.is_expression() => Outcome::Shadowed { by: by.clone() },
                by => self.outcome(rule.id(&ir.key), by, &rule.origin, || what(rule)),
            };
            self.claims.push(self.rule(rule, service, outcome));
        }
        self.closed_broadly(ir.rules.iter().filter(|rule| holds(rule)));
        self.guarded(ir);
        self.led_nowhere(ir);
        self.left_in_plain_text(ir);
        if let Some(default) = &ir.default_backend {
            self.default_backend(ir, default);
        }
        let certificates = self.sources.certificates;
        self.problems.extend(certificates.problems_of(ir).cloned());
        self.problems.extend(certificates.problems_of_unnamed(ir));
    }

    /// Says that paths were too many to be closed one by one.
    fn closed_broadly<'r>(&mut self, rules: impl Iterator<Item = &'r RuleIr>) {
        let broad = rules.filter_map(|rule| match &rule.path {
            PathTest::Beginning { text, paths, .. } if *paths > 1 => Some((rule, text, paths)),
            _ => None,
        });
        let broad: Vec<_> = broad.collect();
        let Some((first, ..)) = broad.first() else { return };
        let places: Vec<String> =
            broad.iter().map(|(rule, text, _)| format!("{}{text}", host_text(&rule.host))).collect();
        let paths = broad.iter().map(|(.., paths)| **paths).sum();
        self.problems.push(Problem::closed_broadly(&first.origin, paths, EXPRESSIONS_MAX, &places));
    }

    /// Says which hosts another object protects as a whole.
    fn guarded(&mut self, ir: &IngressIr) {
        if ir.policies.is_closed() {
            return;
        }
        let mut closed: BTreeMap<&Guard, Vec<String>> = BTreeMap::new();
        let mut open: BTreeMap<&Guard, Vec<String>> = BTreeMap::new();
        let is_exempt = |rule: &RuleIr| policy::exempt_from_redirect(&rule.path);
        let is_concerned = |host: &&Host| {
            ir.default_backend.is_some()
                || ir.rules.iter().any(|rule| rule.host == **host && !is_exempt(rule))
        };
        let takes = ir.hosts.iter().filter(is_concerned);
        for (host, facts) in takes.filter_map(|host| Some((host, self.sources.hosts.facts(host)?))) {
            let (list, guard) = match facts.guard(&ir.key) {
                Some(guard) => (&mut closed, guard),
                None => match facts.foreign_guard(&ir.key) {
                    Some(guard) => (&mut open, guard),
                    None => continue,
                },
            };
            list.entry(guard).or_default().push(host_text(host));
        }
        let object = &self.member.object;
        let closed = closed
            .into_iter()
            .map(|(guard, hosts)| Problem::closed_with_host(object, &guard.because, &hosts));
        let open =
            open.into_iter().map(|(guard, hosts)| Problem::open_beside_guard(object, &guard.because, &hosts));
        self.problems.extend(closed.chain(open));
    }

    /// Says which rules without a path lead nowhere.
    fn led_nowhere(&mut self, ir: &IngressIr) {
        if self.sources.hosts.default_rule().is_some() {
            return;
        }
        let nowhere = |host: &Host| self.sources.hosts.facts(host).is_some_and(|facts| !facts.takes_all);
        let bare = ir.bare.iter().filter(|bare| nowhere(&bare.host));
        let problems: Vec<Problem> =
            bare.map(|bare| Problem::leads_nowhere(&bare.origin, &host_text(&bare.host))).collect();
        self.problems.extend(problems);
    }

    /// Says where a redirect is asked for in so many words and there is none.
    fn left_in_plain_text(&mut self, ir: &IngressIr) {
        let is_said = ir.policies.says_redirect() && !self.member.is_quarantined();
        // What is closed is not served in plain text.
        if !is_said || ir.policies.is_protected() {
            return;
        }
        let hosts = self.plain_hosts(ir);
        if !hosts.is_empty() {
            let problem = Problem::left_in_plain_text(&self.member.object, policy::SSL_REDIRECT, &hosts);
            self.problems.push(problem);
        }
    }

    /// Hosts where an object takes requests that are neither redirected nor closed with their host.
    fn plain_hosts(&self, ir: &IngressIr) -> Vec<String> {
        let hosts = self.sources.hosts;
        let is_taken = |host: &Host, part: Part| hosts.shadowed(host, &ir.key, part).is_none();
        let rules = ir.rules.iter().enumerate().filter(|(number, rule)| {
            !policy::exempt_from_redirect(&rule.path) && is_taken(&rule.host, Part::Rule(*number))
        });
        let mut taken: BTreeSet<&Host> = rules.map(|(_, rule)| &rule.host).collect();
        if ir.default_backend.is_some() {
            taken.extend(ir.hosts.iter().filter(|host| is_taken(host, Part::Default)));
        }
        let is_plain = |host: &&Host| {
            let facts = hosts.facts(host);
            facts.is_some_and(|facts| !facts.redirects(&ir.key) && facts.guard(&ir.key).is_none())
        };
        let mut plain: BTreeSet<&Host> = taken.into_iter().filter(is_plain).collect();
        if ir.is_catch_all() && hosts.default_shadowed(&ir.key).is_none() {
            plain.insert(&None);
        }
        let rest = if ir.tls_names().next().is_some() { "every other host" } else { "every host" };
        let text = |host: &Host| host.as_ref().map_or_else(|| rest.to_owned(), ToString::to_string);
        plain.into_iter().map(text).collect()
    }

    fn default_backend(&mut self, ir: &IngressIr, default: &DefaultIr) {
        let service = self.service(&default.backend);
        let id = ir.default_rule_id();
        if default.catches_all {
            let by = self.sources.hosts.default_shadowed(&ir.key);
            let beside = self.sources.hosts.default_of_any_host();
            let beside = beside.filter(|other| by.is_none() && other.object != ir.object);
            self.problems.extend(beside.map(|by| Problem::shadowed_default(&default.origin, by)));
            let outcome = self.outcome(id, by, &default.origin, || "the default backend".to_owned());
            self.claims.push(self.default_claim(default, &None, service, outcome));
            return;
        }
        for host in &ir.hosts {
            let by = self.sources.hosts.shadowed(host, &ir.key, Part::Default);
            let what = || format!("the default backend of {}", host_text(host));
            let outcome = self.outcome(id, by, &default.origin, what);
            self.claims.push(self.default_claim(default, host, service.clone(), outcome));
        }
    }

    fn outcome(
        &mut self,
        id: RuleId,
        by: Option<&Winner>,
        origin: &Origin,
        what: impl FnOnce() -> String,
    ) -> Outcome {
        match by {
            None => Outcome::Routed(id),
            Some(by) => {
                self.problems.push(Problem::shadowed(origin, &what(), by));
                Outcome::Shadowed { by: by.clone() }
            }
        }
    }

    /// Claims of an object that is not ours, or not served at all.
    fn left_alone(&mut self) {
        let member = self.member;
        let outcome = match member.left_out.filter(|_| member.class.is_ours()) {
            Some(why) => Outcome::Invalid(why.to_owned()),
            None => Outcome::ClassNotOurs(member.class.to_string()),
        };
        if member.is_quarantined() {
            // These would be the claims of another version.
            return;
        }
        let ir = member.read();
        let holds = |rule: &&RuleIr| !rule.path.needs_regex_mode() || ir.regex_hosts.contains(&rule.host);
        for rule in ir.rules.iter().filter(holds) {
            self.claims.push(self.rule(rule, None, outcome.clone()));
        }
        if let Some(default) = &ir.default_backend {
            self.claims.push(self.default_claim(default, &None, None, outcome));
        }
    }

    /// What the Service of a backend is; reports what is wrong with it.
    fn service(&mut self, backend: &BackendIr) -> Option<ServiceVerdict> {
        let BackendIr::Service { upstream, field } = backend else { return None };
        let verdict = self.sources.upstreams.verdict(upstream);
        let at = |part: &str| Origin {
            object: self.member.object.clone(),
            field: format!("{field}.{part}").into(),
        };
        let service = &verdict.service;
        let problem = match &verdict.verdict {
            Verdict::Ok { terminating: false, .. } => None,
            Verdict::Ok { endpoints, terminating: true } => {
                Some(Problem::only_terminating(&at("name"), service, *endpoints))
            }
            Verdict::ServiceMissing => Some(Problem::service_missing(&at("name"), service)),
            Verdict::PortMissing { has, other_protocol: None } => {
                Some(Problem::port_missing(&at("port"), service, &verdict.port, has))
            }
            Verdict::PortMissing { has, other_protocol: Some(protocol) } => {
                Some(Problem::port_not_tcp(&at("port"), service, &verdict.port, protocol, has))
            }
            Verdict::NoReadyEndpoints { not_ready } => {
                Some(Problem::no_ready_endpoints(&at("name"), service, &verdict.port, *not_ready))
            }
            Verdict::ExternalNameRefused { name } => {
                Some(Problem::external_name_refused(&at("name"), service, name))
            }
            Verdict::NotResolved { name } => Some(Problem::name_not_resolved(&at("name"), service, name)),
        };
        self.problems.extend(problem);
        Some(verdict)
    }

    fn rule(&self, rule: &RuleIr, service: Option<ServiceVerdict>, outcome: Outcome) -> Claim {
        Claim {
            origin: rule.origin.clone(),
            created: self.member.created,
            class: self.member.class.clone(),
            host_text: rule.host_text.clone(),
            host: rule.host.clone(),
            path_text: rule.path_text.clone(),
            path_type: rule.path_type.clone(),
            path: rule.path.compile().ok(),
            service,
            outcome,
        }
    }

    fn default_claim(
        &self,
        default: &DefaultIr,
        host: &Host,
        service: Option<ServiceVerdict>,
        outcome: Outcome,
    ) -> Claim {
        Claim {
            origin: default.origin.clone(),
            created: self.member.created,
            class: self.member.class.clone(),
            host_text: host.as_ref().map(ToString::to_string).unwrap_or_default(),
            host: host.clone(),
            path_text: String::new(),
            path_type: DEFAULT_BACKEND.to_owned(),
            path: None,
            service,
            outcome,
        }
    }

    fn lost(&self, lost: &LostIr, outcome: Outcome) -> Claim {
        Claim {
            origin: lost.origin.clone(),
            created: self.member.created,
            class: self.member.class.clone(),
            host_text: lost.host_text.clone(),
            host: lost.host.clone(),
            path_text: lost.path_text.clone(),
            path_type: lost.path_type.clone(),
            path: None,
            service: None,
            outcome,
        }
    }
}

fn what(rule: &RuleIr) -> String {
    format!("{} {}", host_text(&rule.host), rule.path)
}

fn host_text(host: &Host) -> String {
    host.as_ref().map_or_else(|| "every host".to_owned(), ToString::to_string)
}
