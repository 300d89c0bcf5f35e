//! Which node a pod goes to. Pure.
//!
//! Names of nodes, selectors and the node affinity of DaemonSets are honoured; among the nodes that are left, pods of one
//! owner are spread. Resources, taints and every other affinity are not looked at.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm, Pod};

/// What is known about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// How many pods of each owner it has.
    pub(crate) owners: BTreeMap<String, usize>,
    pub(crate) pods: usize,
}

impl Candidate {
    pub(crate) fn add(&mut self, owner: &str) {
        *self.owners.entry(owner.to_owned()).or_default() += 1;
        self.pods += 1;
    }

    pub(crate) fn remove(&mut self, owner: &str) {
        if let Some(count) = self.owners.get_mut(owner) {
            *count -= 1;
            self.pods -= 1;
            if *count == 0 {
                self.owners.remove(owner);
            }
        }
    }
}

/// The node for this pod; `None` where none will do.
pub(crate) fn choose<'c>(pod: &Pod, candidates: &'c [Candidate]) -> Option<&'c str> {
    let owner = owner(pod);
    let fitting = candidates.iter().filter(|candidate| fits(pod, candidate));
    let load = |candidate: &&Candidate| (candidate.owners.get(&owner).copied().unwrap_or(0), candidate.pods);
    fitting.min_by_key(load).map(|candidate| candidate.name.as_str())
}

/// Whom a pod belongs to: its controller, or itself.
pub(crate) fn owner(pod: &Pod) -> String {
    let controller =
        pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    controller.map_or_else(|| pod.metadata.uid.clone().unwrap_or_default(), |owner| owner.uid.clone())
}

fn fits(pod: &Pod, candidate: &Candidate) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let selected =
        spec.node_selector.iter().flatten().all(|(name, value)| candidate.labels.get(name) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    selected
        && required
            .is_none_or(|selector| selector.node_selector_terms.iter().any(|term| term_fits(term, candidate)))
}

fn term_fits(term: &NodeSelectorTerm, candidate: &Candidate) -> bool {
    let labels = term.match_expressions.iter().flatten();
    let fields = term.match_fields.iter().flatten();
    labels.into_iter().all(|wanted| holds(wanted, candidate.labels.get(&wanted.key)))
        && fields
            .into_iter()
            .all(|wanted| wanted.key == "metadata.name" && holds(wanted, Some(&candidate.name)))
}

fn holds(wanted: &NodeSelectorRequirement, value: Option<&String>) -> bool {
    let among = || value.is_some_and(|value| wanted.values.iter().flatten().any(|one| one == value));
    match wanted.operator.as_str() {
        "In" => among(),
        "NotIn" => !among(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(name: &str, owners: &[&str]) -> Candidate {
        let labels = BTreeMap::from([("kubernetes.io/hostname".to_owned(), name.to_owned())]);
        let mut candidate = Candidate { name: name.to_owned(), labels, owners: BTreeMap::new(), pods: 0 };
        owners.iter().for_each(|owner| candidate.add(owner));
        candidate
    }

    fn pod(owner: &str, spec: serde_json::Value) -> Pod {
        let reference = serde_json::json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": owner, "controller": true});
        let mut spec = spec;
        spec["containers"] = serde_json::json!([]);
        serde_json::from_value(
            serde_json::json!({"metadata": {"ownerReferences": [reference]}, "spec": spec}),
        )
        .unwrap()
    }

    #[test]
    fn siblings_are_spread_before_load_is() {
        let nodes = [candidate("a", &["x"]), candidate("b", &["y", "y", "y"])];
        let empty = || serde_json::json!({});
        assert_eq!(choose(&pod("x", empty()), &nodes), Some("b"));
        assert_eq!(choose(&pod("y", empty()), &nodes), Some("a"));
        assert_eq!(choose(&pod("z", empty()), &nodes), Some("a"), "the emptier one");
    }

    #[test]
    fn selectors_and_affinity_are_honoured() {
        let nodes = [candidate("a", &[]), candidate("b", &[])];
        let selector = serde_json::json!({"nodeSelector": {"kubernetes.io/hostname": "b"}});
        assert_eq!(choose(&pod("x", selector), &nodes), Some("b"));
        let term =
            serde_json::json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]});
        let required = serde_json::json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}});
        assert_eq!(
            choose(&pod("x", serde_json::json!({"affinity": {"nodeAffinity": required}})), &nodes),
            Some("b")
        );
        assert_eq!(choose(&pod("x", serde_json::json!({"nodeSelector": {"a": "b"}})), &nodes), None);
    }
}
