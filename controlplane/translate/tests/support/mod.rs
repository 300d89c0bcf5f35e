//! What the suites share: manifests with certificates written as `@cert(names)`, and a translation as readable YAML.

#![allow(dead_code, reason = "each suite uses its own part")]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringress_shared::listener::Routing;
use ringress_shared::policy::PolicySet;
use ringress_shared::route::{RouteTable, Rule, Target};
use ringress_shared::upstream::UpstreamTable;
use ringress_translate::{Claim, Outcome, Problem, Translation};

/// One key pair per list of names and process; golden outputs never show its bytes.
static PAIRS: LazyLock<Mutex<HashMap<String, (String, String)>>> = LazyLock::new(Mutex::default);

fn pair(names: &str) -> (String, String) {
    let mut pairs = PAIRS.lock().unwrap();
    let make = || {
        let names: Vec<String> = names.split(',').map(str::trim).map(str::to_owned).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    };
    pairs.entry(names.to_owned()).or_insert_with(make).clone()
}

/// Replaces `@cert(a.example.com,b)` and `@key(…)` by base64 of a certificate for these names and of its key.
pub(crate) fn with_certificates(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let part = |prefix: &str| {
            let inner = rest.strip_prefix(prefix)?;
            let end = inner.find(')')?;
            Some((inner[..end].to_owned(), prefix.len() + end + 1))
        };
        if let Some((names, length)) = part("@cert(") {
            out.push_str(&STANDARD.encode(pair(&names).0));
            rest = &rest[length..];
        } else if let Some((names, length)) = part("@key(") {
            out.push_str(&STANDARD.encode(pair(&names).1));
            rest = &rest[length..];
        } else {
            out.push('@');
            rest = &rest[1..];
        }
    }
    out + rest
}

/// Everything of a translation that users can see, as YAML.
pub(crate) fn describe(translation: &Translation, extra: &[Problem]) -> String {
    let mut out = String::new();
    let routes = routes(translation);
    describe_routes(&routes, &translation.parts.upstreams, &mut out);
    describe_certificates(translation, &mut out);
    let claims: Vec<_> =
        translation.claims.iter().filter(|claim| !matches!(claim.outcome, Outcome::Routed(_))).collect();
    if !claims.is_empty() {
        out.push_str("not_routed:\n");
        claims.iter().for_each(|claim| describe_claim(claim, &mut out));
    }
    let wants = &translation.wants.dns_names;
    if !wants.is_empty() {
        writeln!(out, "wants: {wants:?}").unwrap();
    }
    let problems: Vec<_> = extra.iter().chain(translation.problems.iter()).collect();
    out.push_str(if problems.is_empty() { "problems: []\n" } else { "problems:\n" });
    problems.iter().for_each(|problem| describe_problem(problem, &mut out));
    out
}

/// The table of the first socket; every socket leads to the same one.
pub(crate) fn routes(translation: &Translation) -> Arc<RouteTable> {
    let tables: Vec<_> = translation
        .parts
        .sockets
        .iter()
        .flat_map(|socket| socket.listeners.iter())
        .map(|listener| match &listener.routing {
            Routing::Http(table) => Arc::clone(table),
        })
        .collect();
    assert!(tables.windows(2).all(|pair| Arc::ptr_eq(&pair[0], &pair[1])));
    tables.into_iter().next().unwrap()
}

fn describe_routes(table: &RouteTable, upstreams: &UpstreamTable, out: &mut String) {
    let hosts = table.hosts();
    let empty = hosts.is_empty() && table.default_rule().is_none();
    out.push_str(if empty { "routes: []\n" } else { "routes:\n" });
    for (host, entry) in hosts {
        let mut candidates: Vec<_> = entry.candidates().iter().collect();
        candidates.sort_by_key(|candidate| candidate.path.to_string());
        if candidates.is_empty() && entry.fallback().is_none() {
            writeln!(out, "- host: {host:?}").unwrap();
        }
        for candidate in candidates {
            assert!(candidate.predicates.is_empty());
            describe_rule(&host, &candidate.path.to_string(), &candidate.rule, upstreams, out);
        }
        if let Some(rule) = entry.fallback() {
            describe_rule(&host, "default backend", rule, upstreams, out);
        }
    }
    if let Some(rule) = table.default_rule() {
        describe_rule("everything else", "default backend", rule, upstreams, out);
    }
}

fn describe_rule(host: &str, path: &str, rule: &Rule, upstreams: &UpstreamTable, out: &mut String) {
    writeln!(out, "- host: {host:?}\n  path: {path:?}\n  rule: {}", rule.origin).unwrap();
    let PolicySet { body_limit, denied, https_redirect } = &*rule.policies;
    if let Some(limit) = body_limit {
        writeln!(out, "  body_limit: {}", limit.body_bytes_max).unwrap();
    }
    if let Some(denied) = denied {
        writeln!(out, "  denied: {:?}", denied.because).unwrap();
    }
    if let Some(redirect) = https_redirect {
        writeln!(out, "  https_redirect: {} port {}", redirect.status, redirect.port).unwrap();
    }
    for backend in &rule.backends {
        match backend.target {
            Target::Answer(status) => writeln!(out, "  answer: {status}").unwrap(),
            Target::Upstream(id) => {
                let upstream = &upstreams[&id];
                assert_eq!(upstream.id, id);
                let name = format!("{}:{}", upstream.service, upstream.port);
                writeln!(out, "  upstream: {name} {:?}", upstream.balance).unwrap();
                let endpoints = upstream.endpoints.endpoints.iter();
                let endpoints: Vec<_> = endpoints.map(|endpoint| endpoint.address.to_string()).collect();
                writeln!(out, "  endpoints: {endpoints:?}").unwrap();
            }
        }
    }
}

fn describe_certificates(translation: &Translation, out: &mut String) {
    let profiles = translation.parts.sockets.iter().flat_map(|socket| socket.listeners.iter());
    let Some(profile) = profiles.filter_map(|listener| listener.tls.as_ref()).next() else { return };
    assert_eq!(profile.alpn, [b"http/1.1".to_vec()]);
    let secret = |secret: &Option<ringress_shared::origin::ObjectRef>| {
        secret.as_ref().map_or_else(|| "generated".to_owned(), ToString::to_string)
    };
    let mut lines: BTreeMap<String, String> = BTreeMap::new();
    for (host, certificate) in profile.certificates.entries() {
        lines.insert(host, secret(&certificate.secret));
    }
    lines.extend(profile.certificates.refused().map(|host| (host, "refused".to_owned())));
    if let Some(certificate) = profile.certificates.default_certificate() {
        lines.insert("default".to_owned(), secret(&certificate.secret));
    }
    if !lines.is_empty() {
        out.push_str("certificates:\n");
        for (host, secret) in lines {
            writeln!(out, "  {host:?}: {secret}").unwrap();
        }
    }
}

fn describe_claim(claim: &Claim, out: &mut String) {
    let outcome = match &claim.outcome {
        Outcome::Routed(_) => "routed".to_owned(),
        Outcome::ClassNotOurs(why) => format!("class not ours: {why}"),
        Outcome::Shadowed { by } => format!("shadowed by {by}"),
        Outcome::Quarantined(why) => format!("quarantined: {why}"),
        Outcome::Invalid(why) => format!("invalid: {why}"),
    };
    let host = if claim.host_text.is_empty() { "*" } else { &claim.host_text };
    let what = format!("{host} {} ({})", claim.path_text, claim.path_type);
    writeln!(out, "- claim: {}\n  what: {what:?}\n  outcome: {outcome:?}", claim.origin).unwrap();
}

fn describe_problem(problem: &Problem, out: &mut String) {
    writeln!(out, "- {}: {} {}", problem.level, problem.reason, problem.rule).unwrap();
    writeln!(out, "  at: {} {}", problem.object, problem.field).unwrap();
    if let Some(place) = &problem.place {
        writeln!(out, "  line: {}", place.line).unwrap();
    }
    writeln!(out, "  message: {:?}", problem.message).unwrap();
}
