//! Services of type LoadBalancer: an address each, and the way from it to ready endpoints; ports of nodes that lead to pods.
//!
//! What cloud and kube-proxy do together elsewhere is one table of nftables here, replaced as a whole on every change:
//! connections that exist go on, new ones see the new endpoints. ClusterIPs of these Services and that of the API server
//! lead the same way; those of other Services lead nowhere, as nothing in a box looks them up.

mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::json;

use rules::{Target, endpoints, hairpins, host_ports, protocol, rule};

use crate::net::{self, API_PORT, API_SERVICE, Addresses, GATEWAY};

/// Keeps addresses and rules as the API server says, until dropped.
pub(crate) async fn run(client: Client) {
    let mut world = World::new();
    let mut events = Box::pin(changes(&client));
    let mut installed = String::new();
    while let Some(first) = events.next().await {
        world.apply(first);
        // Whatever has arrived already belongs to the same change; but thousands of changes in a row must not hold up one.
        let enough = Instant::now() + Duration::from_millis(20);
        while Instant::now() < enough
            && let Ok(Some(next)) = tokio::time::timeout(Duration::from_millis(1), events.next()).await
        {
            world.apply(next);
        }
        let rules = world.rules();
        if rules != installed {
            match net::nft(&rules) {
                Ok(()) => installed = rules,
                Err(error) => tracing::error!(error = format!("{error:#}"), "rules of Services were refused"),
            }
        }
        publish(&client, world.unpublished()).await;
    }
}

enum Change {
    Service(Box<watcher::Event<Service>>),
    Slice(Box<watcher::Event<EndpointSlice>>),
    Pod(Box<watcher::Event<Pod>>),
}

fn changes(client: &Client) -> impl Stream<Item = Change> + use<> {
    let services = watched::<Service>(client).map(|event| Change::Service(Box::new(event)));
    let slices = watched::<EndpointSlice>(client).map(|event| Change::Slice(Box::new(event)));
    let pods = watched::<Pod>(client).filter(|event| ready(concerns_nodes(event)));
    stream::select(stream::select(services, slices), pods.map(|event| Change::Pod(Box::new(event))))
}

fn watched<K>(client: &Client) -> impl Stream<Item = watcher::Event<K>> + use<K>
where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + 'static,
{
    watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .filter_map(async |event| event.inspect_err(|error| tracing::warn!(%error, "a watch broke")).ok())
}

/// NAMESPACE, NAME.
type Name = (String, String);

struct World {
    addresses: Addresses,
    services: Listed<Service>,
    slices: Listed<EndpointSlice>,
    /// Those with ports of their node only.
    pods: Listed<Pod>,
    given: BTreeMap<Name, Ipv4Addr>,
}

/// All objects of a kind. What a new list does not name is dropped when it is complete, not before.
struct Listed<K> {
    all: BTreeMap<Name, K>,
    coming: BTreeMap<Name, K>,
}

impl<K: kube::ResourceExt> Listed<K> {
    fn new() -> Self {
        Self { all: BTreeMap::new(), coming: BTreeMap::new() }
    }

    fn apply(&mut self, event: watcher::Event<K>) {
        let name = |object: &K| (object.namespace().unwrap_or_default(), object.name_any());
        match event {
            watcher::Event::Init => self.coming.clear(),
            watcher::Event::InitApply(object) => drop(self.coming.insert(name(&object), object)),
            watcher::Event::InitDone => self.all = std::mem::take(&mut self.coming),
            watcher::Event::Apply(object) => drop(self.all.insert(name(&object), object)),
            watcher::Event::Delete(object) => drop(self.all.remove(&name(&object))),
        }
    }
}

impl World {
    fn new() -> Self {
        Self {
            addresses: Addresses::of_balancers(),
            services: Listed::new(),
            slices: Listed::new(),
            pods: Listed::new(),
            given: BTreeMap::new(),
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Service(event) => {
                self.services.apply(*event);
                self.give_addresses();
            }
            Change::Slice(event) => self.slices.apply(*event),
            Change::Pod(event) => self.pods.apply(*event),
        }
    }

    fn give_addresses(&mut self) {
        let services = &self.services.all;
        let left: Vec<Name> =
            self.given.keys().filter(|name| !services.get(*name).is_some_and(is_balancer)).cloned().collect();
        for name in left {
            if let Some(address) = self.given.remove(&name) {
                self.addresses.give_back(address);
            }
        }
        for (name, service) in services.iter().filter(|(_, service)| is_balancer(service)) {
            if !self.given.contains_key(name) {
                let wished = wished(service).filter(|address| self.addresses.reserve(*address));
                if let Some(address) = wished.or_else(|| self.addresses.take()) {
                    self.given.insert(name.clone(), address);
                }
            }
        }
    }

    /// Services whose status does not say their address.
    fn unpublished(&self) -> Vec<(Name, Ipv4Addr)> {
        let says = |name: &Name, address: &Ipv4Addr| {
            let service = self.services.all.get(name)?;
            let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
            Some(ingress.iter().any(|one| one.ip.as_deref() == Some(&address.to_string())))
        };
        let all = self.given.iter().filter(|(name, address)| says(name, address) != Some(true));
        all.map(|(name, address)| (name.clone(), *address)).collect()
    }

    /// The whole table.
    fn rules(&self) -> String {
        let mut chain = rule(API_SERVICE, "tcp", 443, &[(GATEWAY, API_PORT)]);
        let mut all = BTreeSet::new();
        for (name, address) in &self.given {
            if let Some(service) = self.services.all.get(name) {
                for target in self.targets(name, service) {
                    all.extend(target.endpoints.iter().map(|(address, _)| *address));
                    let cluster =
                        service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_ref()?.parse().ok());
                    for address in [Some(*address), cluster].into_iter().flatten() {
                        chain += &rule(address, target.protocol, target.port, &target.endpoints);
                    }
                }
            }
        }
        for pod in self.pods.all.values() {
            for port in host_ports(pod) {
                chain += &rule(port.node, port.protocol, port.port, &[port.target]);
                all.insert(port.target.0);
            }
        }
        let hairpins = hairpins(&all);
        format!(
            "table ip services\ndelete table ip services\ntable ip services {{\n\
             chain translate {{\n{chain}}}\n\
             chain arriving {{ type nat hook prerouting priority dstnat; jump translate; }}\n\
             chain leaving {{ type nat hook output priority -100; jump translate; }}\n\
             {hairpins}}}\n"
        )
    }

    fn targets(&self, name: &Name, service: &Service) -> Vec<Target> {
        let slices: Vec<&EndpointSlice> = self
            .slices
            .all
            .values()
            .filter(|slice| belongs(slice, name) && slice.address_type == "IPv4")
            .collect();
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        ports
            .filter_map(|port| {
                let own = port.name.clone().unwrap_or_default();
                Some(Target {
                    protocol: protocol(port.protocol.as_deref())?,
                    port: u16::try_from(port.port).ok()?,
                    endpoints: endpoints(&slices, &own),
                })
            })
            .collect()
    }
}

/// Thousands of pods have no port of a node: they are not even remembered.
fn concerns_nodes(event: &watcher::Event<Pod>) -> bool {
    match event {
        watcher::Event::Apply(pod) | watcher::Event::InitApply(pod) => {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            containers
                .flat_map(|container| container.ports.iter().flatten())
                .any(|port| port.host_port.is_some())
        }
        watcher::Event::Delete(_) | watcher::Event::Init | watcher::Event::InitDone => true,
    }
}

fn is_balancer(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer")
}

fn wished(service: &Service) -> Option<Ipv4Addr> {
    service.spec.as_ref()?.load_balancer_ip.as_ref()?.parse().ok()
}

fn belongs(slice: &EndpointSlice, (namespace, name): &Name) -> bool {
    let labels = slice.metadata.labels.as_ref();
    slice.metadata.namespace.as_ref() == Some(namespace)
        && labels.and_then(|labels| labels.get("kubernetes.io/service-name")) == Some(name)
}

async fn publish(client: &Client, services: Vec<(Name, Ipv4Addr)>) {
    for ((namespace, name), address) in services {
        let api: Api<Service> = Api::namespaced(client.clone(), &namespace);
        let status =
            json!({"status": {"loadBalancer": {"ingress": [{"ip": address.to_string(), "ipMode": "VIP"}]}}});
        // Where it fails, the next change of anything tries again.
        if let Err(error) = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await {
            tracing::warn!(service = name, %error, "address of a Service was not published");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> World {
        let mut world = World::new();
        let service: Service = serde_json::from_value(json!({
            "metadata": {"namespace": "n", "name": "s"},
            "spec": {"type": "LoadBalancer", "clusterIP": "198.19.0.9", "ports": [{"name": "http", "port": 80}]},
        }))
        .unwrap();
        world.apply(Change::Service(Box::new(watcher::Event::Apply(service))));
        world
    }

    fn slice(endpoints: serde_json::Value) -> Change {
        let slice = serde_json::from_value(json!({
            "metadata": {"namespace": "n", "name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": 8080}], "endpoints": endpoints,
        }));
        Change::Slice(Box::new(watcher::Event::Apply(slice.unwrap())))
    }

    fn endpoint(address: &str, conditions: serde_json::Value) -> serde_json::Value {
        json!({"addresses": [address], "conditions": conditions})
    }

    #[test]
    fn connections_go_to_ready_endpoints_in_turn() {
        let mut world = world();
        assert!(!world.rules().contains("198.18.255.1"), "without endpoints the kernel refuses");
        let ready = json!({"ready": true});
        world.apply(slice(json!([
            endpoint("198.18.1.1", ready.clone()),
            endpoint("198.18.1.2", ready),
            endpoint("198.18.1.3", json!({"ready": false})),
        ])));
        let rules = world.rules();
        let map = "numgen inc mod 2 map { 0 : 198.18.1.1 . 8080, 1 : 198.18.1.2 . 8080 }";
        assert!(rules.contains(&format!("ip daddr 198.18.255.1 tcp dport 80 dnat ip to {map}")), "{rules}");
        assert!(rules.contains(&format!("ip daddr 198.19.0.9 tcp dport 80 dnat ip to {map}")), "{rules}");
    }

    #[test]
    fn ending_endpoints_serve_only_where_no_other_does() {
        let ending = || endpoint("198.18.1.1", json!({"ready": false, "serving": true, "terminating": true}));
        let mut world = world();
        world.apply(slice(json!([ending(), endpoint("198.18.1.2", json!({"ready": true}))])));
        assert!(world.rules().contains("dnat to 198.18.1.2:8080"));
        world.apply(slice(json!([ending()])));
        assert!(world.rules().contains("dnat to 198.18.1.1:8080"));
    }

    #[test]
    fn a_port_of_a_node_leads_to_its_pod() {
        let mut world = World::new();
        let pod = |phase: &str| {
            let pod = json!({
                "metadata": {"namespace": "n", "name": "p"},
                "spec": {"containers": [{"name": "c", "ports": [{"containerPort": 8080, "hostPort": 80}]}]},
                "status": {"hostIP": "198.18.0.11", "podIP": "198.18.1.1", "phase": phase},
            });
            watcher::Event::Apply(serde_json::from_value::<Pod>(pod).unwrap())
        };
        assert!(concerns_nodes(&pod("Running")));
        world.apply(Change::Pod(Box::new(pod("Running"))));
        assert!(world.rules().contains("ip daddr 198.18.0.11 tcp dport 80 dnat to 198.18.1.1:8080"));
        world.apply(Change::Pod(Box::new(pod("Failed"))));
        assert!(!world.rules().contains("198.18.0.11"));
    }

    #[test]
    fn addresses_are_given_once_wished_for_and_given_back() {
        let mut world = world();
        let name = |name: &str| ("n".to_owned(), name.to_owned());
        let service = |name: &str, spec: serde_json::Value| {
            let service = json!({"metadata": {"namespace": "n", "name": name}, "spec": spec});
            Change::Service(Box::new(watcher::Event::Apply(serde_json::from_value(service).unwrap())))
        };
        let wish = json!({"type": "LoadBalancer", "loadBalancerIP": "198.18.255.7"});
        world.apply(service("t", wish.clone()));
        world.apply(service("u", wish));
        assert_eq!(world.given[&name("t")], Ipv4Addr::new(198, 18, 255, 7));
        assert_eq!(world.given[&name("u")], Ipv4Addr::new(198, 18, 255, 2), "the wish was taken");
        assert_eq!(world.unpublished().len(), 3);
        world.apply(service("t", json!({"type": "ClusterIP"})));
        assert!(!world.given.contains_key(&name("t")));
    }
}
