//! Rules of nftables, as text. Pure.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// One port of a Service.
pub(super) struct Target {
    pub(super) protocol: &'static str,
    pub(super) port: u16,
    pub(super) endpoints: Vec<(Ipv4Addr, u16)>,
}

/// Where connections to a port go: ready endpoints; where there are none, those that still serve while they end.
pub(super) fn endpoints(slices: &[&EndpointSlice], port: &str) -> Vec<(Ipv4Addr, u16)> {
    let chosen = |wanted: fn(&Endpoint) -> bool| {
        let mut all: Vec<(Ipv4Addr, u16)> =
            slices.iter().flat_map(|slice| of_slice(slice, port, wanted)).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let ready = chosen(|endpoint| {
        endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready != Some(false))
    });
    if !ready.is_empty() {
        return ready;
    }
    chosen(|endpoint| {
        endpoint.conditions.as_ref().is_some_and(|conditions| {
            conditions.serving == Some(true) && conditions.terminating == Some(true)
        })
    })
}

pub(super) fn of_slice(
    slice: &EndpointSlice,
    port: &str,
    wanted: fn(&Endpoint) -> bool,
) -> Vec<(Ipv4Addr, u16)> {
    let mut ports = slice.ports.iter().flatten();
    let number = ports.find(|one| one.name.as_deref().unwrap_or_default() == port).and_then(|one| one.port);
    let Some(number) = number.and_then(|number| u16::try_from(number).ok()) else { return Vec::new() };
    let endpoints = slice.endpoints.iter().filter(|endpoint| wanted(endpoint));
    let addresses = endpoints.flat_map(|endpoint| &endpoint.addresses);
    addresses.filter_map(|address| Some((address.parse().ok()?, number))).collect()
}

/// In turn to each endpoint; refused where there is none, so that clients need not wait.
pub(super) fn rule(address: Ipv4Addr, protocol: &str, port: u16, endpoints: &[(Ipv4Addr, u16)]) -> String {
    let mut rule = format!("ip daddr {address} {protocol} dport {port} ");
    if let [(to, port)] = endpoints {
        let _ = writeln!(rule, "dnat to {to}:{port}");
    } else if endpoints.is_empty() {
        // A chain of address translation cannot refuse. Nothing listens there, so the kernel refuses by itself.
        return String::new();
    } else {
        let targets =
            endpoints.iter().enumerate().map(|(index, (to, port))| format!("{index} : {to} . {port}"));
        let targets: Vec<String> = targets.collect();
        let _ =
            writeln!(rule, "dnat ip to numgen inc mod {} map {{ {} }}", endpoints.len(), targets.join(", "));
    }
    rule
}

/// A pod that is led to itself must not see its own address as the other side: it would take the packet for forged.
pub(super) fn hairpins(endpoints: &BTreeSet<Ipv4Addr>) -> String {
    if endpoints.is_empty() {
        return String::new();
    }
    let pairs: Vec<String> = endpoints.iter().map(|address| format!("{address} . {address}")).collect();
    format!(
        "chain returning {{ type nat hook postrouting priority srcnat; \
         ct status dnat ip saddr . ip daddr {{ {} }} masquerade; }}\n",
        pairs.join(", ")
    )
}

/// A port of a node that leads to a pod.
pub(super) struct HostPort {
    pub(super) node: Ipv4Addr,
    pub(super) protocol: &'static str,
    pub(super) port: u16,
    pub(super) target: (Ipv4Addr, u16),
}

/// The ports of its node that a pod has while it runs. One on the network of its node needs no way to it.
pub(super) fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else { return Vec::new() };
    let address = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<Ipv4Addr>().ok());
    let (Some(node), Some(own)) = (address(&status.host_ip), address(&status.pod_ip)) else {
        return Vec::new();
    };
    if node == own || matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return Vec::new();
    }
    let ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(HostPort {
                node,
                protocol: protocol(port.protocol.as_deref())?,
                port: u16::try_from(port.host_port?).ok()?,
                target: (own, u16::try_from(port.container_port).ok()?),
            })
        })
        .collect()
}

pub(super) fn protocol(name: Option<&str>) -> Option<&'static str> {
    match name.unwrap_or("TCP") {
        "TCP" => Some("tcp"),
        "UDP" => Some("udp"),
        _ => None,
    }
}
