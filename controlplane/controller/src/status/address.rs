//! Where clients reach us: pure, from what the API server says of a Service or of pods.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One entry of `status.loadBalancer.ingress`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Address {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    hostname: Option<String>,
}

impl Address {
    /// A text is an address where it reads like one, else a name.
    pub(super) fn new(text: &str) -> Self {
        match text.parse::<IpAddr>() {
            Ok(ip) => Self { ip: Some(ip.to_string()), hostname: None },
            Err(_) => Self { ip: None, hostname: Some(text.to_owned()) },
        }
    }
}

/// Every address once, in an order that does not depend on who says it.
pub(super) fn sorted(texts: impl IntoIterator<Item = String>) -> Vec<Address> {
    let texts = texts.into_iter().filter(|text| !text.is_empty() && text != "None");
    let addresses: BTreeSet<Address> = texts.map(|text| Address::new(&text)).collect();
    addresses.into_iter().collect()
}

/// The addresses of a Service: those of its load balancer and its external ones, else its cluster address unless it waits
/// for a load balancer.
pub(super) fn of_service(service: &Value) -> Vec<Address> {
    let spec = &service["spec"];
    if spec["type"] == "ExternalName" {
        return sorted(text(&spec["externalName"]));
    }
    let balancer = items(&service["status"]["loadBalancer"]["ingress"]).flat_map(|entry| {
        let ip = text(&entry["ip"]);
        if ip.is_some() { ip } else { text(&entry["hostname"]) }
    });
    let external = items(&spec["externalIPs"]).flat_map(text);
    let addresses = sorted(balancer.chain(external));
    match addresses.is_empty() && spec["type"] != "LoadBalancer" {
        true => sorted(text(&spec["clusterIP"])),
        false => addresses,
    }
}

/// The node under a running pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Under {
    pub(super) node: String,
    /// The internal address, which pods tell too.
    pub(super) internal: Option<String>,
}

/// The nodes under those of these pods that run, each once.
pub(super) fn nodes_under(pods: &[Value]) -> BTreeSet<Under> {
    let running = pods.iter().filter(|pod| pod["status"]["phase"] == "Running");
    let under = running.filter_map(|pod| {
        Some(Under { node: text(&pod["spec"]["nodeName"])?, internal: text(&pod["status"]["hostIP"]) })
    });
    under.collect()
}

/// Where clients reach a node: its first external address, without one its first internal one.
pub(super) fn of_node(node: &Value) -> Option<String> {
    let first = |kind: &str| {
        let mut of_kind = items(&node["status"]["addresses"]).filter(|address| address["type"] == *kind);
        of_kind.find_map(|address| text(&address["address"]).filter(|text| !text.is_empty()))
    };
    first("ExternalIP").or_else(|| first("InternalIP"))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(service: Value, expected: &[&str]) {
        let expected: Vec<Address> = expected.iter().map(|text| Address::new(text)).collect();
        assert_eq!(of_service(&service), expected, "{service}");
    }

    #[test]
    fn a_service_is_reached_where_its_type_says() {
        let balancer = json!({"loadBalancer": {"ingress": [{"hostname": "lb.test"}, {"ip": "192.0.2.7"}]}});
        check(
            json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}, "status": balancer}),
            &["lb.test", "192.0.2.7"],
        );
        check(json!({"spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1"}}), &[]);
        check(json!({"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1"}}), &["10.0.0.1"]);
        check(
            json!({"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "externalIPs": ["192.0.2.9"]}}),
            &["192.0.2.9"],
        );
        check(json!({"spec": {"type": "ClusterIP", "clusterIP": "None"}}), &[]);
        check(json!({"spec": {"type": "ExternalName", "externalName": "edge.test"}}), &["edge.test"]);
    }

    #[test]
    fn nodes_are_those_under_running_pods_each_once() {
        let pod = |node: &str, phase: &str| json!({"spec": {"nodeName": node}, "status": {"hostIP": "192.0.2.2", "phase": phase}});
        let pods = [pod("a", "Running"), pod("a", "Running"), pod("b", "Pending")];
        let under = Under { node: "a".to_owned(), internal: Some("192.0.2.2".to_owned()) };
        assert_eq!(nodes_under(&pods), BTreeSet::from([under]));
    }

    #[test]
    fn a_node_is_reached_from_outside_where_it_can_be() {
        let node = |rows: &[(&str, &str)]| {
            let addresses: Vec<Value> =
                rows.iter().map(|(kind, address)| json!({"type": kind, "address": address})).collect();
            json!({"status": {"addresses": addresses}})
        };
        let both =
            node(&[("InternalIP", "10.0.0.1"), ("ExternalIP", "192.0.2.1"), ("ExternalIP", "192.0.2.9")]);
        let inner = node(&[("Hostname", "a"), ("ExternalIP", ""), ("InternalIP", "10.0.0.1")]);
        for (node, expected) in
            [(both, Some("192.0.2.1")), (inner, Some("10.0.0.1")), (node(&[("Hostname", "a")]), None)]
        {
            assert_eq!(of_node(&node).as_deref(), expected, "{node}");
        }
    }

    #[test]
    fn an_address_has_the_form_of_the_api() {
        assert_eq!(serde_json::to_value(Address::new("192.0.2.2")).unwrap(), json!({"ip": "192.0.2.2"}));
        assert_eq!(serde_json::to_value(Address::new("a.test")).unwrap(), json!({"hostname": "a.test"}));
    }
}
