//! The virtual nodes: objects of the API, and a network each for pods that ask for that of their node.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::Context;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::placement::Candidate;
use crate::boxes::Plan;
use crate::net::{GATEWAY, KUBELET_PORT, Network, node_address};

/// One of them.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    labels: BTreeMap<String, String>,
}

impl Node {
    fn numbered(index: u8) -> Self {
        let name = format!("node-{}", index + 1);
        let labels = [
            ("kubernetes.io/hostname", name.clone()),
            ("kubernetes.io/os", "linux".to_owned()),
            ("kubernetes.io/arch", "amd64".to_owned()),
            ("topology.kubernetes.io/region", "box".to_owned()),
            ("topology.kubernetes.io/zone", format!("zone-{}", index + 1)),
        ];
        let labels = labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { address: node_address(index), name, labels }
    }

    /// As placement sees it, empty.
    pub(crate) fn candidate(&self) -> Candidate {
        Candidate { name: self.name.clone(), labels: self.labels.clone(), owners: BTreeMap::new(), pods: 0 }
    }

    fn object(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": self.labels},
            // Nodes are born with a taint that a controller takes away which does not run here.
            "spec": {"providerID": format!("box://{}", self.name), "taints": []},
        })
    }

    fn status(&self, version: &str) -> Value {
        let room = json!({"cpu": "64", "memory": "256Gi", "pods": "20000", "ephemeral-storage": "1Ti"});
        let condition = |name: &str, status: &str, reason: &str| {
            json!({"type": name, "status": status, "reason": reason, "message": "a virtual node",
                   "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()})
        };
        json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name},
            "status": {
                "addresses": [
                    {"type": "InternalIP", "address": self.address.to_string()},
                    {"type": "Hostname", "address": self.name},
                    // Where its kubelet listens: see the address types of the API server.
                    {"type": "InternalDNS", "address": GATEWAY.to_string()},
                ],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
                "capacity": room,
                "allocatable": room,
                "conditions": [
                    condition("Ready", "True", "KubeletReady"),
                    condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
                    condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
                    condition("PIDPressure", "False", "KubeletHasSufficientPID"),
                ],
                "nodeInfo": {
                    "architecture": "amd64", "bootID": "", "containerRuntimeVersion": "process://1", "kernelVersion": "",
                    "kubeProxyVersion": version, "kubeletVersion": version, "machineID": "", "operatingSystem": "linux",
                    "osImage": "a cluster in a box", "systemUUID": "",
                },
            },
        })
    }
}

/// Makes all nodes.
///
/// # Errors
/// The kernel or the API server refuses.
pub(crate) async fn create(client: &Client, plan: &Plan) -> anyhow::Result<Vec<Node>> {
    let api: Api<k8s_openapi::api::core::v1::Node> = Api::all(client.clone());
    let nodes: Vec<Node> = (0..plan.nodes).map(Node::numbered).collect();
    let params = PatchParams::apply("box").force();
    for node in &nodes {
        Network::of(node.address).create()?;
        api.patch(&node.name, &params, &Patch::Apply(node.object())).await.context("a node")?;
        // Taints that admission adds are not ours to leave out by applying.
        let clean = json!({"spec": {"taints": null}});
        api.patch(&node.name, &PatchParams::default(), &Patch::Merge(clean))
            .await
            .context("the taints of a node")?;
        let status = node.status(&plan.version);
        api.patch_status(&node.name, &params, &Patch::Apply(status)).await.context("the status of a node")?;
    }
    Ok(nodes)
}
