//! The upstreams of the generation: which Service, how it is balanced, who is behind it and who is not chosen; and what
//! each shard knows of those endpoints, which it keeps to itself until it is asked.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use ringress_shared::command::Command;
use ringress_shared::id::{EndpointId, UpstreamId};
use ringress_shared::metric::EndpointLoad;
use ringress_shared::origin::ObjectRef;
use ringress_shared::upstream::Upstream;
use ringress_translate::{Claim, Objects, Problem, Reason, Verdict};
use serde::Serialize;

use super::{Admin, NOTHING_YET, metrics, plain};
use crate::live::View;

pub(super) async fn backends(State(admin): State<Admin>) -> Response {
    match admin.live.view() {
        Some(view) => {
            let told = metrics::ask_all(&admin.live.ports, Command::Loads).await;
            Json(Backends::of(&view, &Loads::of(told))).into_response()
        }
        None => plain(StatusCode::SERVICE_UNAVAILABLE, NOTHING_YET),
    }
}

/// One generation.
#[derive(Debug, Serialize)]
pub(super) struct Backends {
    generation: u64,
    /// Shards that did not tell in time what they know of endpoints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    silent: Vec<usize>,
    /// By namespace, Service and port.
    pub(super) backends: Vec<Backend>,
    /// What rules name and is not there.
    missing: Vec<Missing>,
}

/// A Service, or a port of one, that a rule names in vain.
#[derive(Debug, Serialize)]
struct Missing {
    kind: String,
    namespace: String,
    name: String,
    field: String,
    reason: &'static str,
    message: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Backend {
    id: String,
    namespace: String,
    service: String,
    /// As rules name it: a number or a name.
    port: String,
    protocol: String,
    balance: String,
    /// `no such Service`, `no such port`: what rules name is not there, so there is nothing to choose from.
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<&'static str>,
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Serialize)]
struct Endpoint {
    /// `ip:port`; of what is not chosen the address alone.
    address: String,
    /// The pod, where it is known.
    target: Option<String>,
    /// `ready`, `terminating`, `not ready`; `given` where no EndpointSlice names it, as with external names.
    state: &'static str,
    /// Whether requests go there.
    chosen: bool,
    /// What shards know of it: those where it is in use, fails or is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shards: Vec<Load>,
}

/// What one shard knows of one endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Load {
    shard: usize,
    /// Tries under way.
    in_flight: u32,
    /// Failures in a row.
    failures: u32,
    /// Seconds for which it is left out yet; `null`: it is not.
    ejected_s: Option<f64>,
}

/// What the shards told.
#[derive(Debug, Default)]
pub(super) struct Loads {
    silent: Vec<usize>,
    by_endpoint: BTreeMap<(UpstreamId, EndpointId), Vec<Load>>,
}

impl Loads {
    fn of(told: Vec<Option<Vec<EndpointLoad>>>) -> Self {
        let mut all = Self::default();
        for (shard, told) in told.into_iter().enumerate() {
            let Some(told) = told else {
                all.silent.push(shard);
                continue;
            };
            for EndpointLoad { upstream, endpoint, in_flight, failures, ejected } in told {
                let load =
                    Load { shard, in_flight, failures, ejected_s: ejected.map(|left| left.as_secs_f64()) };
                all.by_endpoint.entry((upstream, endpoint)).or_default().push(load);
            }
        }
        all
    }
}

impl Backends {
    pub(super) fn of(view: &View, loads: &Loads) -> Self {
        let around = Around {
            slices: by_service(&view.objects),
            absent: absent(view.translation.claims.iter()),
            loads,
        };
        let mut backends: Vec<_> =
            view.snapshot.upstreams.values().map(|upstream| Backend::of(upstream, &around)).collect();
        backends.sort_by(|a, b| {
            (&a.namespace, &a.service, &a.port, &a.id).cmp(&(&b.namespace, &b.service, &b.port, &b.id))
        });
        let missing = missing(&view.problems);
        Self { generation: view.snapshot.generation, silent: loads.silent.clone(), backends, missing }
    }
}

/// What upstreams are seen against.
struct Around<'v> {
    slices: Slices<'v>,
    absent: BTreeMap<UpstreamId, &'static str>,
    loads: &'v Loads,
}

/// The upstreams that exist because a rule names them, and for no other reason.
fn absent<'c>(claims: impl Iterator<Item = &'c Claim>) -> BTreeMap<UpstreamId, &'static str> {
    let absent = claims.filter_map(|claim| claim.service.as_ref()).filter_map(|service| {
        let what = match service.verdict {
            Verdict::ServiceMissing => "no such Service",
            Verdict::PortMissing { .. } => "no such port",
            _ => return None,
        };
        Some((service.upstream, what))
    });
    absent.collect()
}

fn missing(problems: &[Problem]) -> Vec<Missing> {
    let is_missing =
        |problem: &&Problem| matches!(problem.reason, Reason::BackendNotFound | Reason::PortNotFound);
    let missing = |problem: &Problem| Missing {
        kind: problem.object.kind.to_string(),
        namespace: problem.object.namespace.to_string(),
        name: problem.object.name.to_string(),
        field: problem.field.clone(),
        reason: problem.reason.as_str(),
        message: problem.message.clone(),
    };
    problems.iter().filter(is_missing).map(missing).collect()
}

type Slices<'o> = BTreeMap<(&'o str, &'o str), Vec<&'o EndpointSlice>>;

fn by_service(objects: &Objects) -> Slices<'_> {
    let mut slices = Slices::new();
    for (key, stored) in objects.endpoint_slices.iter() {
        let labels = stored.object.metadata.labels.as_ref();
        if let Some(service) = labels.and_then(|labels| labels.get("kubernetes.io/service-name")) {
            slices.entry((&key.namespace, service)).or_default().push(&stored.object);
        }
    }
    slices
}

impl Backend {
    fn of(upstream: &Upstream, Around { slices, absent, loads }: &Around<'_>) -> Self {
        let ObjectRef { namespace, name, .. } = &upstream.service;
        let absent = absent.get(&upstream.id).copied();
        // Who is behind other ports of the Service is not behind this one.
        let slices = slices.get(&(&**namespace, &**name)).filter(|_| absent.is_none());
        let named = named(slices.into_iter().flatten());
        let mut endpoints: Vec<Endpoint> = upstream
            .endpoints
            .endpoints
            .iter()
            .map(|endpoint| Endpoint {
                address: endpoint.address.to_string(),
                target: endpoint.target.as_ref().map(ToString::to_string),
                state: named.get(&endpoint.address.ip()).map_or("given", |(state, _)| state),
                chosen: true,
                shards: loads.by_endpoint.get(&(upstream.id, endpoint.id)).cloned().unwrap_or_default(),
            })
            .collect();
        let is_chosen =
            |ip: &IpAddr| upstream.endpoints.endpoints.iter().any(|endpoint| endpoint.address.ip() == *ip);
        endpoints.extend(named.iter().filter(|(ip, _)| !is_chosen(ip)).map(|(ip, (state, target))| {
            Endpoint {
                address: ip.to_string(),
                target: target.clone(),
                state,
                chosen: false,
                shards: Vec::new(),
            }
        }));
        Self {
            id: upstream.id.to_string(),
            namespace: namespace.to_string(),
            service: name.to_string(),
            port: upstream.port.to_string(),
            protocol: format!("{:?}", upstream.protocol),
            balance: format!("{:?}", upstream.balance),
            absent,
            endpoints,
        }
    }
}

/// Every address that slices name, with its state and its pod.
fn named<'s>(
    slices: impl Iterator<Item = &'s &'s EndpointSlice>,
) -> BTreeMap<IpAddr, (&'static str, Option<String>)> {
    let mut named = BTreeMap::new();
    for endpoint in slices.flat_map(|slice| &slice.endpoints) {
        let state = state(endpoint);
        let target = endpoint.target_ref.as_ref().and_then(|target| target.name.clone());
        for ip in endpoint.addresses.iter().filter_map(|address| address.parse().ok()) {
            // One address may stand in two slices for a moment, as it moves between them.
            let known = named.entry(ip).or_insert((state, target.clone()));
            if state == READY {
                *known = (state, target.clone());
            }
        }
    }
    named
}

/// As the API has it: unset means ready.
fn state(endpoint: &k8s_openapi::api::discovery::v1::Endpoint) -> &'static str {
    let conditions = endpoint.conditions.as_ref();
    let told = |read: fn(&k8s_openapi::api::discovery::v1::EndpointConditions) -> Option<bool>| {
        conditions.and_then(read)
    };
    match (told(|all| all.ready).unwrap_or(true), told(|all| all.terminating).unwrap_or(false)) {
        (true, _) => READY,
        (false, true) => "terminating",
        (false, false) => "not ready",
    }
}

const READY: &str = "ready";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_what_the_slices_say() {
        let slice = |endpoints: &str| -> EndpointSlice {
            let text = format!("{{\"addressType\": \"IPv4\", \"endpoints\": {endpoints}}}");
            serde_json::from_str(&text).unwrap()
        };
        let first = slice(
            r#"[{"addresses": ["10.0.0.1"], "targetRef": {"name": "a"}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "terminating": true}},
                {"addresses": ["10.0.0.3"], "conditions": {"ready": false}}]"#,
        );
        // An address that moves to another slice is ready as soon as one of them says so.
        let second = slice(r#"[{"addresses": ["10.0.0.3"], "conditions": {"ready": true}}]"#);
        let found = named([&first, &second].iter());
        let states: Vec<_> = found.values().map(|(state, _)| *state).collect();
        assert_eq!(states, ["ready", "terminating", "ready"]);
        assert_eq!(found[&IpAddr::from([10, 0, 0, 1])].1.as_deref(), Some("a"));
    }
}
