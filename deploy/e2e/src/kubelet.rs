//! The kubelet of all virtual nodes: binds pods to nodes and runs them as processes.
//!
//! ```text
//! watch of pods ─► no node yet ─► placement ─► binding
//!               ├► fake         ─► fake: an address and a status, nothing else
//!               └► ours         ─► pod: one task each ─► container processes, probes, volumes, status
//! ```

mod environment;
mod fake;
pub(crate) mod image;
mod log;
mod node;
mod placement;
mod pod;
mod probe;
mod process;
mod reference;
mod server;
mod slot;
mod status;
mod volume;

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail};
use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::json;

use crate::boxes::{Cluster, Image, Plan};
use crate::control::{Fault, PodRun};
use crate::net::Addresses;
use fake::Fakes;
use node::Node;
use placement::Candidate;
use pod::Handle;

/// Handles to everything that is run.
pub(crate) struct Kubelet {
    pods: Pods,
}

/// By identity: a name may come back before its predecessor has ended.
type Pods = Arc<Mutex<HashMap<String, Entry>>>;

#[derive(Clone)]
struct Entry {
    /// NAMESPACE/NAME.
    name: String,
    handle: Handle,
}

/// What all pods share.
struct Host {
    client: Client,
    images: Vec<Image>,
    /// This program, as containers start it.
    program: PathBuf,
    pods_folder: PathBuf,
    logs_folder: PathBuf,
    profiles_folder: PathBuf,
    nodes: Vec<Node>,
    addresses: Mutex<Addresses>,
}

impl Host {
    fn node_address(&self, name: &str) -> anyhow::Result<Ipv4Addr> {
        let node = self.nodes.iter().find(|node| node.name == name);
        node.map(|node| node.address).with_context(|| format!("no node {name}"))
    }

    fn take_address(&self) -> Option<Ipv4Addr> {
        lock(&self.addresses).take()
    }

    fn give_back_address(&self, address: Ipv4Addr) {
        lock(&self.addresses).give_back(address);
    }

    /// The log of a container, which outlives its pod.
    fn log(&self, pod: &Pod, container: &str) -> PathBuf {
        self.logs_folder.join(format!("{}_{container}.log", name_of(pod).replace('/', "_")))
    }
}

impl Kubelet {
    /// Makes the nodes and begins to run what is bound to them.
    ///
    /// # Errors
    /// Nodes cannot be made, or the port of the kubelet is taken.
    pub(crate) async fn start(cluster: &Cluster, plan: &Plan, client: Client) -> anyhow::Result<Self> {
        let logs_folder = cluster.logs().join("pods");
        std::fs::create_dir_all(&logs_folder)?;
        let host = Arc::new(Host {
            nodes: node::create(&client, plan).await?,
            client: client.clone(),
            images: plan.images.clone(),
            program: std::env::current_exe().context("the path of this program")?,
            pods_folder: cluster.pods(),
            logs_folder,
            profiles_folder: cluster.seccomp_profiles(),
            addresses: Mutex::new(Addresses::of_pods()),
        });
        let pods = Pods::default();
        server::start(cluster, Arc::clone(&host), Arc::clone(&pods)).await?;
        let worker = Worker {
            candidates: host.nodes.iter().map(Node::candidate).collect(),
            fakes: Fakes::new(client),
            bound: HashMap::new(),
            relisted: HashSet::new(),
            pods: Arc::clone(&pods),
            host,
        };
        tokio::spawn(worker.run());
        Ok(Self { pods })
    }

    /// How every pod is run.
    pub(crate) fn pods(&self) -> Vec<PodRun> {
        let mut all: Vec<PodRun> = lock(&self.pods).values().filter_map(describe).collect();
        all.sort_by(|left, right| left.pod.cmp(&right.pod));
        all
    }

    /// How one pod is run.
    ///
    /// # Errors
    /// There is none of that name, or it has no network yet.
    pub(crate) fn pod(&self, name: &str) -> anyhow::Result<PodRun> {
        describe(&self.entry(name)?).with_context(|| format!("pod {name} has no network yet"))
    }

    /// Does harm to one pod.
    ///
    /// # Errors
    /// There is none of that name, or the harm is none for pods.
    pub(crate) async fn harm(&self, name: &str, fault: Fault) -> anyhow::Result<()> {
        let handle = self.entry(name)?.handle;
        handle.harm(fault).await
    }

    fn entry(&self, name: &str) -> anyhow::Result<Entry> {
        match lock(&self.pods).values().find(|entry| entry.name == name) {
            Some(entry) => Ok(entry.clone()),
            None => bail!("no pod {name} is run here; it must be NAMESPACE/NAME of one with processes"),
        }
    }
}

/// The one task that sees all pods.
struct Worker {
    host: Arc<Host>,
    pods: Pods,
    fakes: Fakes,
    candidates: Vec<Candidate>,
    /// Identity to node and owner of whatever has a node.
    bound: HashMap<String, (String, String)>,
    /// What a new list names, while it comes.
    relisted: HashSet<String>,
}

impl Worker {
    async fn run(mut self) {
        let api: Api<Pod> = Api::all(self.host.client.clone());
        let mut events = Box::pin(watcher(api, watcher::Config::default()).default_backoff());
        loop {
            match events.try_next().await {
                Ok(Some(event)) => self.happened(event).await,
                Ok(None) => return,
                Err(error) => tracing::warn!(%error, "watch of pods broke, it begins again"),
            }
        }
    }

    async fn happened(&mut self, event: watcher::Event<Pod>) {
        match event {
            watcher::Event::Init => self.relisted.clear(),
            watcher::Event::InitApply(pod) => {
                self.relisted.extend(pod.metadata.uid.clone());
                self.apply(pod).await;
            }
            watcher::Event::InitDone => self.forget_what_was_not_listed(),
            watcher::Event::Apply(pod) => self.apply(pod).await,
            watcher::Event::Delete(pod) => {
                if let Some(uid) = pod.metadata.uid {
                    self.forget(&uid);
                }
            }
        }
    }

    async fn apply(&mut self, pod: Pod) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).filter(|node| !node.is_empty());
        let Some(node) = node else {
            return self.bind(&pod, &uid).await;
        };
        if !self.host.nodes.iter().any(|known| known.name == node) {
            return;
        }
        self.count(&uid, &node, placement::owner(&pod));
        if fake::is_fake(&pod) {
            return self.fakes.apply(pod);
        }
        self.run_pod(uid, pod);
    }

    fn run_pod(&self, uid: String, pod: Pod) {
        let pod = Arc::new(pod);
        let mut pods = lock(&self.pods);
        if let Some(entry) = pods.get(&uid) {
            return entry.handle.update(pod);
        }
        let ended = {
            let (pods, uid) = (Arc::clone(&self.pods), uid.clone());
            move || drop(lock(&pods).remove(&uid))
        };
        let entry = Entry { name: name_of(&pod), handle: Handle::start(Arc::clone(&self.host), pod, ended) };
        pods.insert(uid, entry);
    }

    async fn bind(&mut self, pod: &Pod, uid: &str) {
        // The binding comes back as an event; until then there is nothing more to do.
        if self.bound.contains_key(uid) || pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        let Some(node) = placement::choose(pod, &self.candidates).map(str::to_owned) else { return };
        self.count(uid, &node, placement::owner(pod));
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let api: Api<Pod> = Api::namespaced(self.host.client.clone(), namespace);
        let name = pod.metadata.name.clone().unwrap_or_default();
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let permit = self.fakes.permit().await;
        tokio::spawn(async move {
            let answer: Result<serde_json::Value, _> =
                api.create_subresource("binding", &name, &PostParams::default(), &binding).await;
            if let Err(error) = answer {
                tracing::warn!(pod = name, %error, "pod could not be bound");
            }
            drop(permit);
        });
    }

    fn count(&mut self, uid: &str, node: &str, owner: String) {
        if self.bound.contains_key(uid) {
            return;
        }
        if let Some(candidate) = self.candidates.iter_mut().find(|candidate| candidate.name == node) {
            candidate.add(&owner);
        }
        self.bound.insert(uid.to_owned(), (node.to_owned(), owner));
    }

    fn forget(&mut self, uid: &str) {
        if let Some((node, owner)) = self.bound.remove(uid)
            && let Some(candidate) = self.candidates.iter_mut().find(|candidate| candidate.name == node)
        {
            candidate.remove(&owner);
        }
        self.fakes.forget(uid);
        if let Some(entry) = lock(&self.pods).get(uid) {
            entry.handle.gone();
        }
    }

    /// What was deleted while the watch was broken has no event of its own.
    fn forget_what_was_not_listed(&mut self) {
        let known: Vec<String> = self.bound.keys().cloned().chain(lock(&self.pods).keys().cloned()).collect();
        for uid in known {
            if !self.relisted.contains(&uid) {
                self.forget(&uid);
            }
        }
        self.relisted.clear();
    }
}

fn describe(entry: &Entry) -> Option<PodRun> {
    let shown = entry.handle.shown();
    let network = shown.network?;
    Some(PodRun {
        pod: entry.name.clone(),
        node: shown.node,
        address: network.address.to_string(),
        network: network.name,
        processes: shown.processes.iter().filter_map(|(_, process)| process.first()).collect(),
    })
}

/// NAMESPACE/NAME.
fn name_of(pod: &Pod) -> String {
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    format!("{}/{}", word(&pod.metadata.namespace), word(&pod.metadata.name))
}

/// A panic elsewhere leaves these maps whole: every change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
