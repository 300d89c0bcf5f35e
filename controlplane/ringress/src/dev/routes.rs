//! The routes of a generation as the screen shows them: read from the snapshot, so that nothing is shown that is not
//! served.

use ringress_shared::listener::Routing;
use ringress_shared::route::{Candidate, PathMatch, RouteTable, Rule, Target};
use ringress_shared::snapshot::Snapshot;
use ringress_shared::upstream::UpstreamTable;

/// One path of one host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route {
    /// `*` for every host.
    pub(super) host: String,
    /// As a client would ask for it.
    pub(super) path: String,
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

fn of_table(table: &RouteTable, upstreams: &UpstreamTable) -> Vec<Route> {
    let mut routes = Vec::new();
    for (host, entry) in table.hosts() {
        let candidates = entry.candidates().iter();
        routes.extend(candidates.map(|candidate| route(&host, Some(candidate), &candidate.rule, upstreams)));
        routes.extend(entry.fallback().map(|rule| route(&host, None, rule, upstreams)));
    }
    routes.extend(table.default_rule().map(|rule| route("*", None, rule, upstreams)));
    routes
}

fn route(host: &str, candidate: Option<&Candidate>, rule: &Rule, upstreams: &UpstreamTable) -> Route {
    let (path, kind) = match candidate.map(|candidate| &candidate.path) {
        None => ("/".to_owned(), "default backend"),
        Some(PathMatch::Exact(path)) => (path.to_string(), "Exact"),
        Some(PathMatch::Prefix(prefix)) if prefix.is_empty() => ("/".to_owned(), "Prefix"),
        Some(PathMatch::Prefix(prefix)) => (prefix.to_string(), "Prefix"),
        Some(PathMatch::Regex(regex)) => (regex.source().to_owned(), "Regex"),
    };
    let (target, endpoints) = target(rule, upstreams);
    Route {
        host: host.to_owned(),
        path,
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
