//! The routes of a generation as the screen shows them: read from the snapshot, so that nothing is shown that is not
//! served.

use std::sync::Arc;

use ringress_shared::certificate::Certificate;
use ringress_shared::listener::Routing;
use ringress_shared::route::{Candidate, PathMatch, RouteTable, Rule, Target};
use ringress_shared::snapshot::Snapshot;
use ringress_shared::upstream::UpstreamTable;

/// One path of one host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    /// `*` for every host.
    pub(super) host: String,
    /// As the rule has it; `*` for what no other path takes.
    pub(super) path: String,
    /// A path that leads here; `None` where the other paths of the host leave nothing.
    pub(super) example: Option<String>,
    /// `Prefix`, `Exact`, …
    pub(super) kind: &'static str,
    /// Service and port, or a status.
    pub(super) target: String,
    pub(super) endpoints: usize,
    /// Whether plain text is sent to https.
    pub(super) redirects: bool,
    /// Object and field.
    pub(super) origin: String,
}

/// The routes of the first HTTP listener; all listeners of `dev` share one table.
pub(super) fn routes(snapshot: &Snapshot) -> Vec<Route> {
    let mut listeners = snapshot.sockets.iter().flat_map(|socket| socket.listeners.iter());
    let Some(listener) = listeners.next() else { return Vec::new() };
    let Routing::Http(table) = &listener.routing;
    of_table(table, &snapshot.upstreams)
}

/// Whose certificate a host shows; `None` without TLS.
pub(super) fn certificate<'s>(snapshot: &'s Snapshot, host: &str) -> Option<&'s Arc<Certificate>> {
    let listeners = snapshot.sockets.iter().flat_map(|socket| socket.listeners.iter());
    listeners
        .filter_map(|listener| listener.tls.as_ref())
        .find_map(|tls| tls.certificates.resolve(Some(host)))
}

fn of_table(table: &RouteTable, upstreams: &UpstreamTable) -> Vec<Route> {
    let mut routes = Vec::new();
    let mut of_any_host: &[Candidate] = &[];
    for (host, entry) in table.hosts() {
        let candidates = entry.candidates();
        routes.extend(candidates.iter().map(|candidate| path_route(&host, candidate, upstreams)));
        routes.extend(entry.fallback().map(|rule| rest_route(&host, candidates, rule, upstreams)));
        if host == ANY_HOST {
            of_any_host = candidates;
        }
    }
    let default = table.default_rule();
    routes.extend(default.map(|rule| rest_route(ANY_HOST, of_any_host, rule, upstreams)));
    routes
}

const ANY_HOST: &str = "*";

fn path_route(host: &str, candidate: &Candidate, upstreams: &UpstreamTable) -> Route {
    let (path, kind) = match &candidate.path {
        PathMatch::Exact(path) => (path.to_string(), "Exact"),
        PathMatch::Prefix(prefix) if prefix.is_empty() => ("/".to_owned(), "Prefix"),
        PathMatch::Prefix(prefix) => (prefix.to_string(), "Prefix"),
        PathMatch::Regex(regex) => (regex.source().to_owned(), "Regex"),
    };
    route(host, (path.clone(), kind, Some(path)), &candidate.rule, upstreams)
}

/// A default backend: what the other paths of its host do not take.
fn rest_route(host: &str, others: &[Candidate], rule: &Rule, upstreams: &UpstreamTable) -> Route {
    let is_free = |path: &&str| !others.iter().any(|other| other.path.matches(path.as_bytes()));
    let example = EXAMPLES.into_iter().find(is_free).map(str::to_owned);
    route(host, ("*".to_owned(), "default backend", example), rule, upstreams)
}

/// Paths that few rules name.
const EXAMPLES: [&str; 2] = ["/", "/anything-else"];

fn route(
    host: &str,
    (path, kind, example): (String, &'static str, Option<String>),
    rule: &Rule,
    upstreams: &UpstreamTable,
) -> Route {
    let (target, endpoints) = target(rule, upstreams);
    Route {
        host: host.to_owned(),
        path,
        example,
        kind,
        target,
        endpoints,
        redirects: rule.policies.https_redirect.is_some(),
        origin: rule.origin.to_string(),
    }
}

fn target(rule: &Rule, upstreams: &UpstreamTable) -> (String, usize) {
    let Some(backend) = rule.backends.first() else { return ("status 503".to_owned(), 0) };
    match backend.target {
        Target::Answer(status) => (format!("status {status}"), 0),
        Target::Upstream(id) => match upstreams.get(&id) {
            Some(upstream) => {
                let service = &upstream.service;
                let target = match &*service.namespace {
                    "default" => format!("{}:{}", service.name, upstream.port),
                    namespace => format!("{namespace}/{}:{}", service.name, upstream.port),
                };
                (target, upstream.endpoints.endpoints.len())
            }
            None => ("nothing".to_owned(), 0),
        },
    }
}
