//! Calls of the writer: small objects as JSON, each call with a limit.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use serde::Deserialize;
use serde_json::Value;

use super::replica::LABEL;
use crate::source::kube::call::{self, Failure};
use crate::source::kube::plan::escape;

/// One object; `None` where there is none.
pub(super) async fn read(client: &Client, path: &str) -> Result<Option<Value>, Failure> {
    let answer = match call::get(client, path, CALL).await {
        Err(Failure::Missing) => return Ok(None),
        answer => answer?,
    };
    let body = call::whole(answer, CALL).await?;
    let value = serde_json::from_slice(&body);
    value.map(Some).map_err(|error| Failure::Broken(format!("an answer has no sense: {error}")))
}

/// A list, or a page of it.
#[derive(Debug, Deserialize)]
pub(super) struct List {
    kind: String,
    pub(super) metadata: ListMetadata,
    items: Option<Vec<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListMetadata {
    pub(super) resource_version: String,
    #[serde(default)]
    pub(super) r#continue: String,
}

impl List {
    pub(super) fn into_items(self) -> Vec<Value> {
        self.items.unwrap_or_default()
    }
}

/// A list. What only looks like one is none: an empty one takes addresses out of every status.
pub(super) async fn list(client: &Client, path: &str) -> Result<List, Failure> {
    let body = call::whole(call::get(client, path, CALL).await?, CALL).await?;
    match serde_json::from_slice::<List>(&body) {
        Ok(list) if list.kind.ends_with("List") => Ok(list),
        Ok(List { kind, .. }) => Err(Failure::Broken(format!("a list is of kind {kind:?}"))),
        Err(error) => Err(Failure::Broken(format!("a list has no sense: {error}"))),
    }
}

/// How a call changes an object.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verb {
    Create,
    Replace,
    /// By RFC 7386.
    Merge,
    Delete,
}

pub(super) async fn write(client: &Client, verb: Verb, path: &str, body: &Value) -> Result<(), Failure> {
    let (method, content_type) = match verb {
        Verb::Create => ("POST", "application/json"),
        Verb::Replace => ("PUT", "application/json"),
        Verb::Merge => ("PATCH", "application/merge-patch+json"),
        Verb::Delete => ("DELETE", "application/json"),
    };
    let body = body.to_string().into_bytes();
    call::put(client, method, path, content_type, body, CALL).await.map(drop)
}

/// The path of the Leases of a namespace.
pub(super) fn leases(namespace: &str) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")
}

/// The wall clock with microseconds, as Leases and Events want it.
pub(super) fn stamp() -> String {
    format!("{:.6}", Timestamp::now())
}

/// Whether a Lease was renewed within its duration, and a moment more, by the wall clock.
pub(super) fn is_renewed(lease: &Value) -> bool {
    let renewed = lease["spec"]["renewTime"].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let within = lease["spec"]["leaseDurationSeconds"].as_i64().unwrap_or(0) + SKEW_S;
    renewed.is_some_and(|renewed| Timestamp::now().as_second() - renewed.as_second() < within)
}

/// The Leases of replicas of a namespace that run, of whichever election.
pub(super) async fn running(client: &Client, leases: &str) -> Result<Vec<Value>, Failure> {
    let mut found = list(client, &format!("{leases}?labelSelector={}", escape(LABEL))).await?.into_items();
    found.retain(is_renewed);
    Ok(found)
}

/// Whether somebody holds a Lease, by the wall clock.
pub(super) fn is_held(lease: &Value) -> bool {
    !lease["spec"]["holderIdentity"].as_str().unwrap_or_default().is_empty() && is_renewed(lease)
}

/// The path of the Ingresses of a namespace; of all of them without one.
pub(super) fn ingresses(namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{NETWORKING}/namespaces/{namespace}/ingresses"),
        None => format!("{NETWORKING}/ingresses"),
    }
}

const NETWORKING: &str = "/apis/networking.k8s.io/v1";

/// Clocks of nodes may differ by so much.
const SKEW_S: i64 = 15;

/// One call may take so long: less than lies between the last write of a leader and the first of the next.
pub(super) const CALL: Duration = Duration::from_secs(4);
