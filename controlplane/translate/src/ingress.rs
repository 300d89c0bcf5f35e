//! Ingress v1: syntax of one object, without looking at any other.
//!
//! A wrong path costs that path only; a wrong host its paths; a wrong backend answers 503. What was wrong inside the object
//! is also said once as [`Read::wrong`], so that the caller can serve the last good version instead.

pub(crate) mod class;
mod closing;
mod path;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressTLS,
};
use ringress_shared::hostname::HostPattern;
use ringress_shared::origin::{ObjectRef, Origin};

use crate::ir::{
    BackendIr, BalanceIr, BareIr, DefaultIr, Host, IngressIr, LostIr, PathTest, PortIr, RuleIr, TlsHosts,
    TlsIr, UpstreamKey,
};
use crate::objects::Key;
use crate::policy::aliases;
use crate::policy::{self, Annotations, PolicyIr, regex_mode};
use crate::problem::{Level, Problem};
use crate::settings::Settings;

pub(crate) use closing::EXPRESSIONS_MAX;

/// One Ingress after syntax.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) ir: IngressIr,
    pub(crate) problems: Vec<Problem>,
    /// The first thing that is wrong inside the object, if there is one.
    pub(crate) wrong: Option<String>,
}

/// Reads one object.
pub(crate) fn read(key: &Key, ingress: &Ingress, settings: &Settings) -> Read {
    let mut problems = Vec::new();
    let object = key.reference("Ingress");
    let annotations = Annotations::new(&object, ingress.metadata.annotations.as_ref());
    let policies = policy::read(annotations, settings, &mut problems);
    let mut reader = Reader { key, object: &object, balance: policies.balance, problems, lost: Vec::new() };
    let ir = reader.ingress(ingress, policies, settings);
    let problems = reader.problems;
    let wrong = problems.iter().find(|problem| is_wrong_inside(problem));
    let wrong = wrong.map(|problem| format!("{}: {}", problem.field, problem.message));
    Read { ir, problems, wrong }
}

/// Whether a problem of syntax makes the version a bad one. What we cannot do is not the object's mistake.
fn is_wrong_inside(problem: &Problem) -> bool {
    use crate::problem::Reason::{UnknownAnnotation, UnsupportedAnnotation, UnsupportedBackend};
    let is_ours = matches!(problem.reason, UnknownAnnotation | UnsupportedAnnotation | UnsupportedBackend);
    problem.level == Level::Error && !is_ours
}

struct Reader<'i> {
    key: &'i Key,
    object: &'i ObjectRef,
    balance: BalanceIr,
    problems: Vec<Problem>,
    lost: Vec<LostIr>,
}

/// A rule's host as text, and parsed where it is one.
struct RuleHost {
    text: String,
    host: Host,
}

impl Reader<'_> {
    fn ingress(&mut self, ingress: &Ingress, policies: PolicyIr, settings: &Settings) -> IngressIr {
        let spec = ingress.spec.clone().unwrap_or_default();
        let mut hosts = BTreeSet::new();
        let mut rules = Vec::new();
        let given = spec.rules.unwrap_or_default();
        for (number, rule) in given.iter().enumerate() {
            let field = format!("spec.rules[{number}]");
            let text = rule.host.clone().unwrap_or_default();
            let http = rule.http.as_ref();
            let Some(host) = self.host(&field, &text, http) else { continue };
            hosts.insert(host.host.clone());
            self.paths(&field, &host, http, &mut rules);
        }
        if given.is_empty() && spec.default_backend.is_none() {
            let field = if ingress.spec.is_some() { "spec.rules" } else { "spec" };
            self.problems.push(Problem::nothing_to_serve(&self.origin(field)));
        }
        let default_backend =
            spec.default_backend.as_ref().map(|backend| self.default_backend(backend, given.is_empty()));
        let tls = self.tls(&spec.tls.unwrap_or_default(), &hosts);
        let takes_any =
            hosts.contains(&None) || default_backend.as_ref().is_some_and(|default| default.catches_all);
        self.compare_hosts(&tls, &hosts, &rules, takes_any);
        let annotations = Annotations::new(self.object, ingress.metadata.annotations.as_ref());
        let served = self.served(&hosts, &rules, default_backend.as_ref());
        let in_plain_text = in_plain_text(&served, &tls);
        policy::report_hosts(annotations, &policies, &in_plain_text, settings, &mut self.problems);
        let regex_hosts = regex_hosts(&given, regex_mode::read(annotations, settings));
        if !regex_hosts.is_empty() {
            self.warn_of_prefixes(&rules);
        }
        let aliases = aliases::read(annotations, &hosts, settings);
        aliases.report(self.object, policies.is_protected(), &mut self.problems);
        let further = match policies.is_protected() {
            true => self.close(&given, default_backend.is_some(), aliases, &mut rules),
            false => Vec::new(),
        };
        hosts.extend(further.iter().cloned());
        let bare = self.bare_rules(&given, &rules);
        rules.shrink_to_fit();
        self.lost.shrink_to_fit();
        IngressIr {
            key: self.key.clone(),
            object: self.object.clone(),
            created: ingress.metadata.creation_timestamp.as_ref().map(|time| time.0),
            dialect: settings.compat,
            hosts: hosts.into_iter().collect(),
            rules,
            default_backend,
            tls,
            policies,
            lost: std::mem::take(&mut self.lost),
            regex_hosts,
            aliases: further.into_boxed_slice(),
            bare,
        }
    }

    fn origin(&self, field: impl Into<Arc<str>>) -> Origin {
        Origin { object: self.object.clone(), field: field.into() }
    }

    /// The host of a rule; `None` where it is wrong, and then its paths are lost.
    fn host(&mut self, field: &str, text: &str, http: Option<&HTTPIngressRuleValue>) -> Option<RuleHost> {
        if text.is_empty() {
            return Some(RuleHost { text: String::new(), host: None });
        }
        let origin = self.origin(format!("{field}.host"));
        match HostPattern::parse(text) {
            Ok(host) => {
                if text.to_ascii_lowercase().ends_with(".local") {
                    self.problems.push(Problem::mdns_host(&origin, text));
                }
                Some(RuleHost { text: text.to_owned(), host: Some(host) })
            }
            Err(error) => {
                let problem = Problem::invalid_host(&origin, text, &error.to_string());
                self.lose_host(field, text, http, &problem.message);
                self.problems.push(problem);
                None
            }
        }
    }

    fn lose_host(&mut self, field: &str, host: &str, http: Option<&HTTPIngressRuleValue>, why: &str) {
        for (number, path) in http.iter().flat_map(|http| http.paths.iter().enumerate()) {
            let origin = self.origin(format!("{field}.http.paths[{number}]"));
            self.lost.push(LostIr {
                origin,
                host: None,
                host_text: host.to_owned(),
                path_text: path.path.clone().unwrap_or_default(),
                path_type: path.path_type.clone(),
                why: why.to_owned(),
            });
        }
    }

    fn paths(
        &mut self,
        field: &str,
        host: &RuleHost,
        http: Option<&HTTPIngressRuleValue>,
        rules: &mut Vec<RuleIr>,
    ) {
        for (number, given) in http.iter().flat_map(|http| http.paths.iter().enumerate()) {
            let origin = self.origin(format!("{field}.http.paths[{number}]"));
            match self.path(&origin, given) {
                Ok((path, backend)) => rules.push(RuleIr {
                    origin,
                    host: host.host.clone(),
                    host_text: host.text.clone(),
                    path,
                    path_text: given.path.clone().unwrap_or_default(),
                    path_type: given.path_type.clone(),
                    backend,
                    is_stand_in: false,
                }),
                Err(problem) => {
                    self.lost.push(LostIr {
                        origin,
                        host: host.host.clone(),
                        host_text: host.text.clone(),
                        path_text: given.path.clone().unwrap_or_default(),
                        path_type: given.path_type.clone(),
                        why: problem.message.clone(),
                    });
                    self.problems.push(*problem);
                }
            }
        }
    }

    fn path(
        &mut self,
        origin: &Origin,
        given: &HTTPIngressPath,
    ) -> Result<(PathTest, BackendIr), Box<Problem>> {
        let test = path::read(origin, given, &mut self.problems)?;
        let field = format!("{}.backend", origin.field);
        Ok((test, self.backend(&field, &given.backend)))
    }

    fn default_backend(&mut self, backend: &IngressBackend, catches_all: bool) -> DefaultIr {
        let origin = self.origin("spec.defaultBackend");
        DefaultIr { origin, backend: self.backend("spec.defaultBackend", backend), catches_all }
    }

    /// Where a rule leads. A wrong backend answers 503: without its rule, requests would fall to a broader path, which may
    /// be open where this one is closed.
    fn backend(&mut self, field: &str, backend: &IngressBackend) -> BackendIr {
        let read = match (&backend.service, &backend.resource) {
            (Some(service), None) => self.service(&format!("{field}.service"), service),
            (None, Some(resource)) => {
                let what = format!("{} {}", resource.kind, resource.name);
                Err(Box::new(Problem::resource_backend(&self.origin(format!("{field}.resource")), &what)))
            }
            (Some(_), Some(_)) => {
                let why = "backend names both a service and a resource; keep one of them";
                Err(Box::new(Problem::invalid_backend(&self.origin(field), why)))
            }
            (None, None) => {
                let why = "backend names no service; write backend.service.name and backend.service.port \
                           (serviceName and servicePort belong to versions before networking.k8s.io/v1)";
                Err(Box::new(Problem::invalid_backend(&self.origin(field), why)))
            }
        };
        read.unwrap_or_else(|problem| {
            self.problems.push(*problem);
            BackendIr::Answer(503)
        })
    }

    fn service(&self, field: &str, service: &IngressServiceBackend) -> Result<BackendIr, Box<Problem>> {
        let wrong = |field: String, why: &str| Box::new(Problem::invalid_backend(&self.origin(field), why));
        if !is_service_name(&service.name) {
            let why =
                format!("{:?} is no name of a Service; write lower-case letters, digits and -", service.name);
            return Err(wrong(format!("{field}.name"), &why));
        }
        let port = service.port.clone().unwrap_or_default();
        let name = port.name.filter(|name| !name.is_empty());
        // Zero beside a name is what Go programs write for "not set".
        let port = match (port.number.filter(|number| *number != 0 || name.is_none()), name) {
            (Some(number), None) => match u16::try_from(number) {
                Ok(number) if number > 0 => PortIr::Number(number),
                _ => {
                    let why = format!("{number} is no port; write a number from 1 to 65535");
                    return Err(wrong(format!("{field}.port.number"), &why));
                }
            },
            (None, Some(name)) if is_port_name(&name) => PortIr::Name(name.into()),
            (None, Some(name)) => {
                let why = format!("{name:?} is no name of a port; write a number under port.number");
                return Err(wrong(format!("{field}.port.name"), &why));
            }
            (Some(_), Some(_)) => {
                return Err(wrong(
                    format!("{field}.port"),
                    "port has both a number and a name; keep one of them",
                ));
            }
            (None, None) => {
                return Err(wrong(
                    format!("{field}.port"),
                    "port is missing; write port.number or port.name",
                ));
            }
        };
        let service = Key { namespace: self.key.namespace.clone(), name: service.name.as_str().into() };
        let upstream = UpstreamKey { service, port, balance: self.balance };
        Ok(BackendIr::Service { upstream, field: field.into() })
    }

    fn tls(&mut self, entries: &[IngressTLS], rule_hosts: &BTreeSet<Host>) -> Vec<TlsIr> {
        let mut all = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            let field = format!("spec.tls[{number}]");
            let secret = entry.secret_name.as_deref().filter(|name| !name.is_empty());
            let secret = secret.map(|name| Key { namespace: self.key.namespace.clone(), name: name.into() });
            let named = entry.hosts.as_deref().unwrap_or_default();
            let hosts = match named.is_empty() {
                true => self.implied_hosts(&field, rule_hosts),
                false => TlsHosts::Named(self.named_hosts(&field, named)),
            };
            all.push(TlsIr { origin: self.origin(field), hosts, secret });
        }
        all
    }

    fn named_hosts(&mut self, field: &str, named: &[String]) -> Vec<(HostPattern, Arc<str>)> {
        let mut hosts = Vec::new();
        for (number, text) in named.iter().enumerate() {
            let field: Arc<str> = format!("{field}.hosts[{number}]").into();
            match HostPattern::parse(text) {
                Ok(host) => hosts.push((host, field)),
                Err(error) => {
                    let origin = self.origin(field);
                    self.problems.push(Problem::invalid_host(&origin, text, &error.to_string()));
                }
            }
        }
        hosts
    }

    /// An entry without hosts is for the hosts of the rules.
    fn implied_hosts(&self, field: &str, rule_hosts: &BTreeSet<Host>) -> TlsHosts {
        let hosts: Vec<_> =
            rule_hosts.iter().flatten().map(|host| (host.clone(), Arc::from(field))).collect();
        if hosts.is_empty() { TlsHosts::OfCertificate } else { TlsHosts::Named(hosts) }
    }

    /// Reports hosts that stand on one side only, of `tls` and `rules`.
    fn compare_hosts(&mut self, tls: &[TlsIr], hosts: &BTreeSet<Host>, rules: &[RuleIr], takes_any: bool) {
        let named: Vec<_> = tls.iter().flat_map(TlsIr::named).collect();
        for (host, field) in named.iter().filter(|_| !takes_any) {
            if !hosts.iter().flatten().any(|rule| covers(host, rule) || covers(rule, host)) {
                let origin = self.origin(Arc::clone(field));
                self.problems.push(Problem::tls_host_without_rule(&origin, &host.to_string()));
            }
        }
        let mut reported = BTreeSet::new();
        for rule in rules.iter().filter(|_| !named.is_empty()) {
            let Some(host) = &rule.host else { continue };
            if named.iter().any(|(tls, _)| covers(tls, host)) || !reported.insert(host) {
                continue;
            }
            let field = rule.origin.field.split(".http.").next().unwrap_or_default();
            let origin = self.origin(format!("{field}.host"));
            self.problems.push(Problem::rule_host_without_tls(&origin, &host.to_string()));
        }
    }

    /// The hosts of paths that a redirect would concern, be they right or wrong.
    fn served(
        &self,
        hosts: &BTreeSet<Host>,
        rules: &[RuleIr],
        default: Option<&DefaultIr>,
    ) -> BTreeSet<Host> {
        let by_rules = rules.iter().filter(|rule| !policy::exempt_from_redirect(&rule.path));
        let lost = self.lost_at_hosts();
        let mut served: BTreeSet<Host> =
            by_rules.map(|rule| &rule.host).chain(lost.map(|lost| &lost.host)).cloned().collect();
        match default {
            Some(default) if default.catches_all => drop(served.insert(None)),
            Some(_) => served.extend(hosts.iter().cloned()),
            None => {}
        }
        served
    }

    /// Wrong paths whose host is right.
    fn lost_at_hosts(&self) -> impl Iterator<Item = &LostIr> {
        self.lost.iter().filter(|lost| lost.host.is_some() || lost.host_text.is_empty())
    }

    /// Rules that name a host where no rule of the object has a path.
    fn bare_rules(&self, given: &[IngressRule], rules: &[RuleIr]) -> Vec<BareIr> {
        let lost = self.lost_at_hosts().map(|lost| &lost.host);
        let with_paths: BTreeSet<&Host> = rules.iter().map(|rule| &rule.host).chain(lost).collect();
        let bare = given.iter().enumerate().filter_map(|(number, rule)| {
            let host = host_of(rule).filter(|host| !with_paths.contains(host))?;
            Some(BareIr { origin: self.origin(format!("spec.rules[{number}]")), host })
        });
        bare.collect()
    }

    fn warn_of_prefixes(&mut self, rules: &[RuleIr]) {
        for rule in rules {
            let is_root = rule.path == PathTest::Prefix("".into());
            if rule.path_type == "Prefix" && !is_root {
                let origin = self.origin(format!("{}.path", rule.origin.field));
                self.problems.push(Problem::prefix_not_elementwise(&origin, &rule.path_text));
            }
        }
    }
}

/// The hosts of an object that it puts into regex mode. Without a path, a host has a generated `/` there.
fn regex_hosts(given: &[IngressRule], asked: regex_mode::Asked<'_>) -> Box<[Host]> {
    if !asked.is_something() {
        return Box::default();
    }
    let mut hosts: BTreeMap<Host, Vec<&str>> = BTreeMap::new();
    for rule in given {
        let Some(host) = host_of(rule) else { continue };
        let paths = rule.http.iter().flat_map(|http| &http.paths);
        let texts = paths.map(|path| path.path.as_deref().unwrap_or_default());
        hosts.entry(host).or_default().extend(texts);
    }
    let takes = |texts: &[&str]| asked.takes(if texts.is_empty() { &["/"] } else { texts });
    hosts.into_iter().filter(|(_, texts)| takes(texts)).map(|(host, _)| host).collect()
}

/// The host of a rule; `None` where it is wrong.
fn host_of(rule: &IngressRule) -> Option<Host> {
    match rule.host.as_deref().unwrap_or_default() {
        "" => Some(None),
        text => HostPattern::parse(text).ok().map(Some),
    }
}

impl TlsIr {
    /// The hosts that it names, with their fields.
    pub(crate) fn named(&self) -> &[(HostPattern, Arc<str>)] {
        match &self.hosts {
            TlsHosts::Named(hosts) => hosts,
            TlsHosts::OfCertificate => &[],
        }
    }
}

/// Hosts that are not named under `tls`.
fn in_plain_text(served: &BTreeSet<Host>, tls: &[TlsIr]) -> Vec<String> {
    let is_named =
        |host: &HostPattern| tls.iter().flat_map(TlsIr::named).any(|(named, _)| covers(named, host));
    let open = served.iter().filter(|host| !host.as_ref().is_some_and(is_named));
    open.map(|host| host.as_ref().map_or_else(|| "every host".to_owned(), ToString::to_string)).collect()
}

/// Whether every name of `host` falls under `tls`.
pub(crate) fn covers(tls: &HostPattern, host: &HostPattern) -> bool {
    match host {
        HostPattern::Exact(name) => tls.matches(name),
        HostPattern::Wildcard(_) => tls == host,
    }
}

/// RFC 1035 label, which names of Services are (RFC 1123 labels are taken too).
fn is_service_name(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

/// RFC 6335 §5.1: letters, digits and `-`, at least one letter.
fn is_port_name(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
}
