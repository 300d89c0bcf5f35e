//! The nodes that ringress runs on, as addresses: asked for, not followed.
//!
//! Pods of ringress come and go with a roll-out and nodes hardly ever, so a list of our own pods every few seconds and each
//! node once a minute cost less than following all nodes would, whose heartbeats never end.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::Client;
use serde_json::Value;
use tokio::time::Instant;

use super::address::{self, Address, Under};
use super::api;
use crate::source::kube::call::Failure;
use crate::source::kube::plan::escape;

/// Looks the nodes up under the pods beside ours.
pub(super) struct Nodes {
    client: Client,
    /// The path of the pods.
    pods: String,
    /// Our own.
    pod: String,
    /// Whether internal addresses are wanted even where there are others; pods tell those themselves.
    internal: bool,
    /// What a node's address was, and when that was asked.
    known: BTreeMap<String, (Instant, Option<String>)>,
    complained: bool,
}

impl Nodes {
    pub(super) fn new(client: Client, namespace: &str, pod: &str, internal: bool) -> Self {
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        Self { client, pods, pod: pod.to_owned(), internal, known: BTreeMap::new(), complained: false }
    }

    /// Their addresses; `None` where our own pod is not there.
    ///
    /// # Errors
    /// The pods cannot be read.
    pub(super) async fn addresses(&mut self) -> Result<Option<Vec<Address>>, Failure> {
        let own = api::read(&self.client, &format!("{}/{}", self.pods, self.pod)).await?;
        let Some(selector) = own.as_ref().and_then(alike) else { return Ok(None) };
        let pods =
            api::list(&self.client, &format!("{}?labelSelector={}", self.pods, escape(&selector))).await?;
        let mut addresses = Vec::new();
        for under in address::nodes_under(&pods.into_items()) {
            addresses.extend(self.address(&under).await);
        }
        Ok(Some(address::sorted(addresses)))
    }

    /// The address of one node. Where nodes may not be read, as without a ClusterRole, pods say the internal one.
    async fn address(&mut self, under: &Under) -> Option<String> {
        if self.internal && under.internal.is_some() {
            return under.internal.clone();
        }
        let now = Instant::now();
        if let Some((asked, known)) = self.known.get(&under.node)
            && now.saturating_duration_since(*asked) < ASK_AGAIN
        {
            return known.clone();
        }
        let found = match api::read(&self.client, &format!("/api/v1/nodes/{}", under.node)).await {
            Ok(node) => node.and_then(|node| address::of_node(&node)),
            Err(failure) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!(
                        node = under.node, error = %failure, needs = "get nodes",
                        "a node cannot be read; Ingresses show its internal address"
                    );
                }
                None
            }
        };
        let found = found.or_else(|| under.internal.clone());
        self.known.insert(under.node.clone(), (now, found.clone()));
        found
    }
}

/// The selector of pods like this one; `None` where it has no labels.
fn alike(pod: &Value) -> Option<String> {
    // What a roll-out adds differs between pods of one kind, and so do the labels of their nodes: from Kubernetes 1.35 on,
    // those of the topology stand on each pod.
    let varying = ["pod-template-hash", "controller-revision-hash", "pod-template-generation"];
    let labels = pod["metadata"]["labels"].as_object()?;
    let varies = |key: &str| varying.contains(&key) || key.starts_with("topology.kubernetes.io/");
    let alike = labels.iter().filter(|(key, _)| !varies(key));
    let terms: Vec<String> =
        alike.filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    Some(terms.join(",")).filter(|terms| !terms.is_empty())
}

/// A node is asked again after this.
const ASK_AGAIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_of_two_roll_outs_are_alike() {
        let labels = json!({"app": "ringress", "pod-template-hash": "6d5f", "tier": "edge", "topology.kubernetes.io/zone": "a"});
        assert_eq!(
            alike(&json!({"metadata": {"labels": labels}})).as_deref(),
            Some("app=ringress,tier=edge")
        );
        assert_eq!(
            alike(&json!({"metadata": {"labels": {"pod-template-hash": "6d5f"}}})),
            None,
            "not every pod there is"
        );
        assert_eq!(alike(&json!({"metadata": {}})), None);
    }
}
