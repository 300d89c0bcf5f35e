//! Fake pods, for scale: an address and a Ready condition at once, no process.
//!
//! A pod with the annotation `e2e.ringress.dev/fake: "true"` is one. Its address answers nevertheless: all addresses of
//! fake pods are local to the box, where one server per port answers for all of them, naming the address that was asked.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::net::Addresses;

const ANNOTATION: &str = "e2e.ringress.dev/fake";
/// How many writes may be under way at once: enough to keep the API server busy, not so many that others wait long.
const WRITES: usize = 32;

/// All fake pods.
pub(crate) struct Fakes {
    client: Client,
    addresses: Addresses,
    /// By identity.
    known: HashMap<String, Ipv4Addr>,
    ports: HashSet<u16>,
    writes: Arc<Semaphore>,
}

/// Whether a pod asks for being one.
pub(crate) fn is_fake(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION)).is_some_and(|value| value == "true")
}

impl Fakes {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            addresses: Addresses::of_fakes(),
            known: HashMap::new(),
            ports: HashSet::new(),
            writes: Arc::new(Semaphore::new(WRITES)),
        }
    }

    /// Waits until another write may be made.
    pub(crate) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.writes).acquire_owned().await.ok()
    }

    /// Does what the newer object asks for.
    pub(crate) fn apply(&mut self, pod: Pod) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        if pod.metadata.deletion_timestamp.is_some() {
            return self.write(pod, None);
        }
        if self.known.contains_key(&uid) {
            return;
        }
        let Some(address) = self.addresses.take() else {
            tracing::warn!("all addresses of fake pods are taken");
            return;
        };
        self.known.insert(uid, address);
        for port in ports(&pod) {
            if self.ports.insert(port) {
                tokio::spawn(answer(port));
            }
        }
        let status = status(&pod, address);
        self.write(pod, Some(status));
    }

    /// The object is no more.
    pub(crate) fn forget(&mut self, uid: &str) {
        if let Some(address) = self.known.remove(uid) {
            self.addresses.give_back(address);
        }
    }

    /// Writes a status, or lets go of the object.
    fn write(&self, pod: Pod, status: Option<Value>) {
        let (namespace, name) =
            (pod.metadata.namespace.unwrap_or_default(), pod.metadata.name.unwrap_or_default());
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let writes = Arc::clone(&self.writes);
        tokio::spawn(async move {
            let _permit = writes.acquire().await;
            let outcome = match status {
                Some(status) => api
                    .patch_status(&name, &PatchParams::default(), &Patch::Strategic(status))
                    .await
                    .map(drop),
                None => api.delete(&name, &DeleteParams::default().grace_period(0)).await.map(drop),
            };
            match outcome {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => tracing::warn!(pod = name, %error, "status of a fake pod was not written"),
                Ok(()) => {}
            }
        });
    }
}

fn ports(pod: &Pod) -> Vec<u16> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports.filter_map(|port| u16::try_from(port.container_port).ok()).collect()
}

fn status(pod: &Pod, address: Ipv4Addr) -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |name: &str| json!({"type": name, "status": "True", "lastTransitionTime": now});
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map(condition);
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| {
        json!({
            "name": container.name, "image": container.image, "imageID": "", "ready": true, "started": true,
            "restartCount": 0, "state": {"running": {"startedAt": now}},
        })
    });
    json!({"status": {
        "phase": "Running",
        "conditions": conditions,
        "podIP": address.to_string(),
        "podIPs": [{"ip": address.to_string()}],
        "startTime": now,
        "containerStatuses": containers.collect::<Vec<_>>(),
    }})
}

/// Answers for every fake pod on one port, until the box goes.
async fn answer(port: u16) {
    let listener = match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await {
        Ok(listener) => listener,
        Err(error) => return tracing::warn!(port, %error, "fake pods do not answer on this port"),
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(converse(stream))),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    }
}

async fn converse(stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let Ok(asked) = stream.local_addr() else { return };
    let service = service_fn(move |request| async move { Ok::<_, Infallible>(say(asked, &request)) });
    // A client that goes away is no news.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

fn say(asked: SocketAddr, request: &Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from(format!("fake {asked} {}\n", request.uri()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(annotation: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"annotations": annotation},
            "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 8080}]}]},
        }))
        .unwrap()
    }

    #[test]
    fn only_the_annotation_makes_a_fake() {
        assert!(is_fake(&pod(json!({ANNOTATION: "true"}))));
        assert!(!is_fake(&pod(json!({ANNOTATION: "false"}))));
        assert!(!is_fake(&pod(json!({}))));
    }

    #[test]
    fn a_fake_is_ready_at_once() {
        let pod = pod(json!({}));
        assert_eq!(ports(&pod), [8080]);
        let status = status(&pod, Ipv4Addr::new(198, 18, 128, 1));
        assert_eq!(
            status["status"]["conditions"][3],
            json!({
                "type": "Ready", "status": "True", "lastTransitionTime": status["status"]["startTime"],
            })
        );
        assert_eq!(status["status"]["podIP"], "198.18.128.1");
    }
}
