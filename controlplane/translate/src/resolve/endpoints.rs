//! The endpoints of a Service port: all its EndpointSlices merged, or its Endpoints object where it has no slice.
//!
//! A slice's port is found by name, as kube-proxy does it; so a `targetPort` is never looked at. An address that is ready
//! in one slice is ready.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, ObjectReference};
use k8s_openapi::api::discovery::v1::{EndpointConditions, EndpointSlice};
use ringress_shared::upstream::Endpoint;

use crate::few::Few;
use crate::objects::{Key, Objects};
use crate::problem::Problem;
use crate::settings::Settings;

/// The label that ties a slice to its Service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Which slices a Service has.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    by_service: BTreeMap<Key, Few<Key, ()>>,
    service_of: BTreeMap<Key, Key>,
}

impl Slices {
    /// Follows a change of one slice. Gives the Services that it touches: the one it had and the one it has.
    pub(crate) fn follow(&mut self, slice: &Key, objects: &Objects) -> impl Iterator<Item = Key> + use<> {
        let before = self.service_of.remove(slice);
        if let Some(service) = &before {
            let left = self.by_service.get_mut(service).map(|slices| {
                slices.remove(slice);
                slices.is_empty()
            });
            if left == Some(true) {
                self.by_service.remove(service);
            }
        }
        let after = objects.endpoint_slices.get(slice).and_then(|stored| service_of(slice, &stored.object));
        if let Some(service) = &after {
            self.by_service.entry(service.clone()).or_default().insert(slice.clone(), ());
            self.service_of.insert(slice.clone(), service.clone());
        }
        before.into_iter().chain(after)
    }

    fn of<'s>(
        &'s self,
        service: &Key,
        objects: &'s Objects,
    ) -> impl Iterator<Item = (&'s Key, &'s EndpointSlice)> {
        let keys = self.by_service.get(service).into_iter().flat_map(Few::keys);
        keys.filter_map(|key| Some((key, &*objects.endpoint_slices.get(key)?.object)))
    }
}

fn service_of(slice: &Key, object: &EndpointSlice) -> Option<Key> {
    let name = object.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some(Key { namespace: slice.namespace.clone(), name: name.as_str().into() })
}

/// The endpoints of a Service port by condition, each list sorted by address.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) ready: Vec<Endpoint>,
    /// Serving while they terminate.
    pub(crate) terminating: Vec<Endpoint>,
    /// How many are neither.
    pub(crate) not_ready: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    Ready,
    Terminating,
    NotReady,
}

#[derive(Default)]
struct Gathering {
    found: BTreeMap<SocketAddr, (Condition, Option<Arc<str>>)>,
}

impl Gathering {
    fn add(&mut self, address: SocketAddr, condition: Condition, target: Option<Arc<str>>) {
        let entry = self.found.entry(address).or_insert_with(|| (condition, target.clone()));
        if condition < entry.0 {
            *entry = (condition, target);
        }
    }

    fn finish(self) -> Gathered {
        let mut gathered = Gathered::default();
        for (address, (condition, target)) in self.found {
            match condition {
                Condition::Ready => gathered.ready.push(Endpoint::new(address, target)),
                Condition::Terminating => gathered.terminating.push(Endpoint::new(address, target)),
                Condition::NotReady => gathered.not_ready += 1,
            }
        }
        gathered
    }
}

/// Everything behind the port of that name; unnamed ports have the empty name.
pub(crate) fn gather(
    service: &Key,
    port_name: &str,
    objects: &Objects,
    slices: &Slices,
    settings: &Settings,
) -> Gathered {
    let mut gathering = Gathering::default();
    let mut any_slice = false;
    for (_, slice) in slices.of(service, objects) {
        any_slice = true;
        from_slice(slice, port_name, settings, &mut gathering);
    }
    if !any_slice && let Some(stored) = objects.endpoints.get(service) {
        for subset in stored.object.subsets.iter().flatten() {
            from_subset(subset, port_name, settings, &mut gathering);
        }
    }
    gathering.finish()
}

fn from_slice(slice: &EndpointSlice, port_name: &str, settings: &Settings, gathering: &mut Gathering) {
    let port = slice.ports.iter().flatten().find(|port| {
        port.name.as_deref().unwrap_or_default() == port_name && is_tcp(port.protocol.as_deref())
    });
    let Some(port) = port.and_then(|port| port_number(port.port)) else { return };
    for endpoint in &slice.endpoints {
        let condition = condition(endpoint.conditions.as_ref());
        let target = target(endpoint.target_ref.as_ref());
        for address in endpoint.addresses.iter().filter_map(|text| admitted(text, settings)) {
            gathering.add(SocketAddr::new(address, port), condition, target.clone());
        }
    }
}

fn from_subset(subset: &EndpointSubset, port_name: &str, settings: &Settings, gathering: &mut Gathering) {
    let port = subset.ports.iter().flatten().find(|port| {
        port.name.as_deref().unwrap_or_default() == port_name && is_tcp(port.protocol.as_deref())
    });
    let Some(port) = port.and_then(|port| port_number(Some(port.port))) else { return };
    let mut add = |addresses: &Option<Vec<EndpointAddress>>, condition| {
        for given in addresses.iter().flatten() {
            if let Some(address) = admitted(&given.ip, settings) {
                gathering.add(SocketAddr::new(address, port), condition, target(given.target_ref.as_ref()));
            }
        }
    };
    add(&subset.addresses, Condition::Ready);
    add(&subset.not_ready_addresses, Condition::NotReady);
}

/// Source: discovery.k8s.io/v1 EndpointConditions. Unset: ready; serving as ready; not terminating.
fn condition(conditions: Option<&EndpointConditions>) -> Condition {
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
    let terminating = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
    match (ready, serving, terminating) {
        (true, _, false) => Condition::Ready,
        (_, true, true) => Condition::Terminating,
        _ => Condition::NotReady,
    }
}

fn is_tcp(protocol: Option<&str>) -> bool {
    matches!(protocol, None | Some("TCP" | ""))
}

fn port_number(port: Option<i32>) -> Option<u16> {
    u16::try_from(port?).ok().filter(|port| *port > 0)
}

fn target(reference: Option<&ObjectReference>) -> Option<Arc<str>> {
    reference?.name.as_deref().map(Arc::from)
}

/// The address, unless it is none or leads to this machine.
fn admitted(text: &str, settings: &Settings) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    let address = address.to_canonical();
    let allowed = !is_local(address) || settings.allow_loopback_endpoints && address.is_loopback();
    allowed.then_some(address)
}

/// Loopback, link-local (the metadata service of clouds), unspecified, multicast: never an endpoint outside.
pub(crate) fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_broadcast()
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unicast_link_local()
                || address.is_unspecified()
                || address.is_multicast()
        }
    }
}

/// Addresses of a Service's slices or Endpoints that are left out.
pub(crate) fn refused(
    service: &Key,
    objects: &Objects,
    slices: &Slices,
    settings: &Settings,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut any_slice = false;
    for (key, slice) in slices.of(service, objects) {
        any_slice = true;
        let object = key.reference("EndpointSlice");
        for (index, endpoint) in slice.endpoints.iter().enumerate() {
            let wrong = endpoint.addresses.iter().filter(|text| admitted(text, settings).is_none());
            problems.extend(wrong.map(|text| {
                Problem::endpoint_refused(&object, &format!("endpoints[{index}].addresses"), text)
            }));
        }
    }
    if !any_slice && let Some(stored) = objects.endpoints.get(service) {
        let object = service.reference("Endpoints");
        for (index, subset) in stored.object.subsets.iter().flatten().enumerate() {
            let wrong =
                subset.addresses.iter().flatten().filter(|given| admitted(&given.ip, settings).is_none());
            problems.extend(wrong.map(|given| {
                Problem::endpoint_refused(&object, &format!("subsets[{index}].addresses"), &given.ip)
            }));
        }
    }
    problems
}

/// Slices of a Service of which none has the port of that name: nothing behind the Service is ever reached.
pub(crate) fn without_port(
    service: &Key,
    port_name: &str,
    objects: &Objects,
    slices: &Slices,
) -> Vec<Problem> {
    let names = |slice: &EndpointSlice| -> Vec<String> {
        slice.ports.iter().flatten().map(|port| port.name.clone().unwrap_or_default()).collect()
    };
    let all: Vec<_> = slices.of(service, objects).map(|(key, slice)| (key, names(slice))).collect();
    if all.iter().any(|(_, names)| names.iter().any(|name| name == port_name)) {
        return Vec::new();
    }
    let reference = service.reference("Service");
    let problem = |(key, names): &(&Key, Vec<String>)| {
        Problem::slice_port_missing(&key.reference("EndpointSlice"), &reference, port_name, names)
    };
    all.iter().map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_follow_the_api() {
        let some = |ready, serving, terminating| EndpointConditions { ready, serving, terminating };
        for (given, expected) in [
            (None, Condition::Ready),
            (Some(some(None, None, None)), Condition::Ready),
            (Some(some(Some(true), None, Some(false))), Condition::Ready),
            (Some(some(Some(false), None, None)), Condition::NotReady),
            (Some(some(Some(false), Some(true), Some(true))), Condition::Terminating),
            (Some(some(Some(false), Some(false), Some(true))), Condition::NotReady),
            (Some(some(Some(false), Some(true), Some(false))), Condition::NotReady),
            // publishNotReadyAddresses keeps terminating endpoints ready; they still come last.
            (Some(some(Some(true), Some(true), Some(true))), Condition::Terminating),
        ] {
            assert_eq!(condition(given.as_ref()), expected, "{given:?}");
        }
    }

    #[test]
    fn local_addresses_are_told_apart() {
        for (text, expected) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("169.254.169.254", true),
            ("fe80::1", true),
            ("0.0.0.0", true),
            ("224.0.0.1", true),
            ("10.0.0.1", false),
            ("fd00::1", false),
        ] {
            assert_eq!(is_local(text.parse().unwrap()), expected, "{text}");
        }
    }
}
