//! Echo backends behind the Services that have no endpoints of their own.
//!
//! Every such Service gets two listeners on loopback, its pods, and one EndpointSlice for each. They are started when
//! the Service appears and stopped some time after it has gone, because a generation that still leads there may live on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use ringress_translate::{Key, Object, Objects};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::echo::{self, Identity};

/// Pods of one Service: two, so that balancing can be seen.
const PODS: usize = 2;
/// How long a backend outlives its Service.
const AFTERLIFE: Duration = Duration::from_secs(5);
/// The label by which a slice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The backends that run.
pub(super) struct Backends {
    runtime: Handle,
    running: BTreeMap<Key, Vec<Pod>>,
}

struct Pod {
    name: String,
    port: u16,
    task: JoinHandle<()>,
}

impl Backends {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime, running: BTreeMap::new() }
    }

    /// Puts echo backends behind every Service without endpoints, and takes away those that nobody needs any more.
    pub(super) fn stand_in(&mut self, objects: &mut Objects) {
        let lonely = without_endpoints(objects);
        self.stop_others(&lonely);
        for (key, ports) in lonely {
            let pods = self.running.entry(key.clone()).or_insert_with(|| start(&self.runtime, &key));
            for pod in pods {
                objects.insert(Object::EndpointSlice(Box::new(slice(&key, pod, &ports))));
            }
        }
    }

    fn stop_others(&mut self, needed: &BTreeMap<Key, Vec<Option<String>>>) {
        let gone = self.running.extract_if(.., |key, _| !needed.contains_key(key));
        let tasks: Vec<_> = gone.flat_map(|(_, pods)| pods).map(|pod| pod.task).collect();
        if tasks.is_empty() {
            return;
        }
        self.runtime.spawn(async move {
            tokio::time::sleep(AFTERLIFE).await;
            tasks.iter().for_each(JoinHandle::abort);
        });
    }
}

/// The Services that lead nowhere, with the names of their ports.
fn without_endpoints(objects: &Objects) -> BTreeMap<Key, Vec<Option<String>>> {
    let taken = with_endpoints(objects);
    let services = objects.services.iter().filter(|(key, _)| !taken.contains(key));
    let ports = services.map(|(key, stored)| (key.clone(), tcp_ports(&stored.object)));
    ports.filter(|(_, ports)| !ports.is_empty()).collect()
}

fn with_endpoints(objects: &Objects) -> BTreeSet<Key> {
    let slices = objects.endpoint_slices.iter().filter(|(_, slice)| !slice.object.endpoints.is_empty());
    let by_slice = slices.filter_map(|(key, slice)| {
        let labels = slice.object.metadata.labels.as_ref()?;
        Some(Key::new(&key.namespace, labels.get(SERVICE_NAME)?))
    });
    let has_subset = |subsets: &Vec<_>| !subsets.is_empty();
    let endpoints = objects.endpoints.iter();
    let by_endpoints = endpoints.filter(|(_, stored)| stored.object.subsets.as_ref().is_some_and(has_subset));
    by_slice.chain(by_endpoints.map(|(key, _)| key.clone())).collect()
}

/// Names of the TCP ports; none for an external name, which leads somewhere already.
fn tcp_ports(service: &Service) -> Vec<Option<String>> {
    let Some(spec) = &service.spec else { return Vec::new() };
    if spec.type_.as_deref() == Some("ExternalName") {
        return Vec::new();
    }
    let is_tcp = |protocol: Option<&str>| protocol.is_none_or(|protocol| protocol == "TCP");
    let ports = spec.ports.iter().flatten();
    ports.filter(|port| is_tcp(port.protocol.as_deref())).map(|port| port.name.clone()).collect()
}

fn start(runtime: &Handle, key: &Key) -> Vec<Pod> {
    let pods = (1..=PODS).filter_map(|number| {
        let name = format!("{}-{number}", key.name);
        start_pod(runtime, key, &name)
            .inspect_err(|error| tracing::error!(service = %key.name, %error, "echo backend not started"))
            .ok()
    });
    pods.collect()
}

fn start_pod(runtime: &Handle, key: &Key, name: &str) -> std::io::Result<Pod> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    let identity = Identity { service: key.name.to_string(), pod: name.to_owned() };
    let _entered = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let task = runtime.spawn(echo::serve(listener, identity));
    Ok(Pod { name: name.to_owned(), port, task })
}

fn slice(key: &Key, pod: &Pod, ports: &[Option<String>]) -> EndpointSlice {
    let mut slice = EndpointSlice { address_type: "IPv4".to_owned(), ..EndpointSlice::default() };
    slice.metadata.name = Some(format!("{}-echo", pod.name));
    slice.metadata.namespace = Some(key.namespace.to_string());
    slice.metadata.labels = Some([(SERVICE_NAME.to_owned(), key.name.to_string())].into());
    slice.endpoints = vec![Endpoint {
        addresses: vec![Ipv4Addr::LOCALHOST.to_string()],
        conditions: Some(EndpointConditions { ready: Some(true), ..EndpointConditions::default() }),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            name: Some(pod.name.clone()),
            namespace: Some(key.namespace.to_string()),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    }];
    let port = |name: &Option<String>| EndpointPort {
        name: Some(name.clone().unwrap_or_default()),
        port: Some(pod.port.into()),
        protocol: Some("TCP".to_owned()),
        ..EndpointPort::default()
    };
    slice.ports = Some(ports.iter().map(port).collect());
    slice
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringress_translate::manifest::Folder;

    fn objects(text: &str) -> Objects {
        Folder::new().update([("a.yaml".to_owned(), text.into())].into()).objects
    }

    const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]
";

    fn slices(objects: &Objects) -> Vec<String> {
        objects.endpoint_slices.keys().map(|key| key.name.to_string()).collect()
    }

    #[tokio::test]
    async fn a_service_without_endpoints_gets_two_pods_that_answer() {
        let mut objects = objects(SERVICE);
        Backends::new(Handle::current()).stand_in(&mut objects);
        assert_eq!(slices(&objects), ["web-1-echo", "web-2-echo"]);
        for stored in objects.endpoint_slices.values() {
            let ports = stored.object.ports.as_ref().unwrap();
            assert_eq!(ports.len(), 1, "UDP is left out");
            assert_eq!(ports[0].name.as_deref(), Some("http"));
            let address = (Ipv4Addr::LOCALHOST, ports[0].port.unwrap() as u16);
            tokio::net::TcpStream::connect(address).await.unwrap();
        }
    }

    #[tokio::test]
    async fn backends_stay_the_same_while_they_are_needed() {
        let mut backends = Backends::new(Handle::current());
        let ports = |backends: &mut Backends| {
            let mut objects = objects(SERVICE);
            backends.stand_in(&mut objects);
            let port = |stored: &EndpointSlice| stored.ports.as_ref().unwrap()[0].port;
            objects.endpoint_slices.values().map(|stored| port(&stored.object)).collect::<Vec<_>>()
        };
        let first = ports(&mut backends);
        assert_eq!(ports(&mut backends), first);
        backends.stand_in(&mut Objects::default());
        assert!(backends.running.is_empty());
    }

    #[tokio::test]
    async fn endpoints_of_its_own_and_external_names_are_left_alone() {
        let own = format!(
            "{SERVICE}---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-abc, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: false}}}}]
ports: [{{name: http, port: 9}}]
"
        );
        let external = "\
apiVersion: v1
kind: Service
metadata: {name: out}
spec: {type: ExternalName, externalName: example.com, ports: [{port: 80}]}
";
        for text in [&own, external] {
            let mut objects = objects(text);
            let before = slices(&objects);
            Backends::new(Handle::current()).stand_in(&mut objects);
            assert_eq!(slices(&objects), before, "{text}");
        }
    }
}
