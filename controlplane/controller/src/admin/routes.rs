//! The routes as the shards have them: read from the snapshot, so that nothing is shown that is not served. Beside them
//! what is wrong with which object, since that is why a route is missing.

pub(super) mod problems;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ringress_shared::listener::Routing;
use ringress_shared::policy::PolicySet;
use ringress_shared::route::{
    Backend, Candidate, PathMatch, Predicates, RouteTable, Rule, Target, ValueMatch,
};
use ringress_shared::snapshot::Snapshot;
use ringress_shared::upstream::UpstreamTable;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Admin, NOTHING_YET, plain};
use crate::live::View;
use problems::Troubled;

pub(super) async fn routes(State(admin): State<Admin>) -> Response {
    match admin.live.view() {
        Some(view) => Json(Routes::of(&view, admin.live.degraded())).into_response(),
        None => plain(StatusCode::SERVICE_UNAVAILABLE, NOTHING_YET),
    }
}

/// What is wrong, without the routes.
pub(super) async fn problems(State(admin): State<Admin>) -> Response {
    match admin.live.view() {
        Some(view) => {
            let (generation, problems) = (view.snapshot.generation, problems::list(&view));
            Json(json!({"generation": generation, "problems": problems})).into_response()
        }
        None => plain(StatusCode::SERVICE_UNAVAILABLE, NOTHING_YET),
    }
}

/// One generation.
#[derive(Debug, Serialize)]
pub(super) struct Routes {
    pub(super) generation: u64,
    /// Why they may be wrong, as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) degraded: Vec<String>,
    pub(super) routes: Vec<Route>,
    /// Objects with something wrong, and what is done in spite of it.
    pub(super) problems: Vec<Troubled>,
}

impl Routes {
    pub(super) fn of(view: &View, degraded: Vec<String>) -> Self {
        Self {
            generation: view.snapshot.generation,
            degraded,
            routes: list(&view.snapshot),
            problems: problems::list(view),
        }
    }
}

/// One path of one host.
#[derive(Debug, Serialize)]
pub(super) struct Route {
    /// The listeners that lead here.
    listeners: Vec<String>,
    /// `*` for any.
    host: String,
    /// `null` for a default backend.
    path: Option<String>,
    /// `Exact`, `Prefix`, `Regex` or `Default`.
    path_type: &'static str,
    /// What is asked beside the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    predicates: Option<Value>,
    rule: RuleShown,
    /// In order of evaluation.
    policies: Vec<Value>,
    backends: Vec<BackendShown>,
}

#[derive(Debug, Serialize)]
struct RuleShown {
    id: String,
    kind: String,
    namespace: String,
    name: String,
    field: String,
}

#[derive(Debug, Serialize)]
struct BackendShown {
    weight: u32,
    /// Answered by ringress itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<UpstreamShown>,
}

#[derive(Debug, Serialize)]
struct UpstreamShown {
    id: String,
    namespace: String,
    service: String,
    port: String,
    protocol: String,
    balance: String,
    endpoints: Vec<String>,
}

fn list(snapshot: &Snapshot) -> Vec<Route> {
    tables(snapshot)
        .iter()
        .flat_map(|(table, listeners)| of_table(table, listeners, &snapshot.upstreams))
        .collect()
}

/// Every table once, with the listeners that share it.
fn tables(snapshot: &Snapshot) -> Vec<(Arc<RouteTable>, BTreeSet<String>)> {
    let mut tables: Vec<(Arc<RouteTable>, BTreeSet<String>)> = Vec::new();
    for listener in snapshot.sockets.iter().flat_map(|socket| socket.listeners.iter()) {
        let Routing::Http(table) = &listener.routing;
        match tables.iter_mut().find(|(known, _)| Arc::ptr_eq(known, table)) {
            Some((_, listeners)) => drop(listeners.insert(listener.id.to_string())),
            None => tables.push((Arc::clone(table), [listener.id.to_string()].into())),
        }
    }
    tables
}

fn of_table(table: &RouteTable, listeners: &BTreeSet<String>, upstreams: &UpstreamTable) -> Vec<Route> {
    let show = |host: &str, candidate: Option<&Candidate>, rule: &Rule| Route {
        listeners: listeners.iter().cloned().collect(),
        host: host.to_owned(),
        path: candidate.map(|candidate| path_text(&candidate.path)),
        path_type: candidate.map_or("Default", |candidate| path_type(&candidate.path)),
        predicates: candidate
            .map(|candidate| &candidate.predicates)
            .filter(|asked| !asked.is_empty())
            .map(predicates),
        rule: rule_shown(rule),
        policies: policies(&rule.policies),
        backends: rule.backends.iter().map(|backend| backend_shown(backend, upstreams)).collect(),
    };
    let mut routes = Vec::new();
    for (host, entry) in table.hosts() {
        let candidates = entry.candidates().iter();
        routes.extend(candidates.map(|candidate| show(&host, Some(candidate), &candidate.rule)));
        routes.extend(entry.fallback().map(|rule| show(&host, None, rule)));
    }
    routes.extend(table.default_rule().map(|rule| show("*", None, rule)));
    routes
}

fn path_text(path: &PathMatch) -> String {
    match path {
        PathMatch::Prefix(prefix) if prefix.is_empty() => "/".to_owned(),
        PathMatch::Exact(text) | PathMatch::Prefix(text) => text.to_string(),
        PathMatch::Regex(regex) => regex.source().to_owned(),
    }
}

fn path_type(path: &PathMatch) -> &'static str {
    match path {
        PathMatch::Exact(_) => "Exact",
        PathMatch::Prefix(_) => "Prefix",
        PathMatch::Regex(_) => "Regex",
    }
}

fn predicates(predicates: &Predicates) -> Value {
    let Predicates { method, headers, query } = predicates;
    let headers = headers.iter().map(|header| (header.name.to_string(), value_match(&header.value)));
    let query = query.iter().map(|parameter| (parameter.name.to_string(), value_match(&parameter.value)));
    json!({"method": method, "headers": headers.collect::<Map<_, _>>(), "query": query.collect::<Map<_, _>>()})
}

fn value_match(value: &ValueMatch) -> Value {
    match value {
        ValueMatch::Exact(text) => json!({"exact": text}),
        ValueMatch::Regex(regex) => json!({"regex": regex.source()}),
    }
}

fn rule_shown(rule: &Rule) -> RuleShown {
    let object = &rule.origin.object;
    RuleShown {
        id: rule.id.to_string(),
        kind: object.kind.to_string(),
        namespace: object.namespace.to_string(),
        name: object.name.to_string(),
        field: rule.origin.field.to_string(),
    }
}

fn policies(set: &PolicySet) -> Vec<Value> {
    let PolicySet { body_limit, denied, https_redirect } = set;
    let body_limit =
        body_limit.as_ref().map(|limit| json!({"body_limit": {"body_bytes_max": limit.body_bytes_max}}));
    let denied = denied.as_ref().map(|denied| json!({"denied": {"because": &*denied.because}}));
    let https_redirect = https_redirect
        .as_ref()
        .map(|redirect| json!({"https_redirect": {"status": redirect.status, "port": redirect.port}}));
    [body_limit, denied, https_redirect].into_iter().flatten().collect()
}

fn backend_shown(backend: &Backend, upstreams: &UpstreamTable) -> BackendShown {
    let (status, upstream) = match backend.target {
        Target::Answer(status) => (Some(status), None),
        Target::Upstream(id) => (None, upstreams.get(&id)),
    };
    let upstream = upstream.map(|upstream| UpstreamShown {
        id: upstream.id.to_string(),
        namespace: upstream.service.namespace.to_string(),
        service: upstream.service.name.to_string(),
        port: upstream.port.to_string(),
        protocol: format!("{:?}", upstream.protocol),
        balance: format!("{:?}", upstream.balance),
        endpoints: upstream.endpoints.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect(),
    });
    BackendShown { weight: backend.weight, status, upstream }
}
