//! The life of one pod: one task, one loop.
//!
//! ```text
//! preparing ─► running ─► stopping ─► gone
//!   network,     init containers,       preStop, SIGTERM,
//!   volumes      containers, restarts   patience, SIGKILL
//! ```
//!
//! Every turn does what is due, hands the status to the reporter, then waits for the next thing to happen: a newer object,
//! the end of a process, the verdict of a probe, a fault, a deadline.

mod prepare;
mod prober;
mod report;
mod start;
mod stop;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::Host;
use super::environment::Place;
use super::process::Process;
use super::reference::References;
use super::slot::{Restart, Slot};
use super::status::{self, Facts, Transitions};
use super::volume::Volumes;
use crate::control::Fault;
use crate::net::Network;
use prepare::volumes_folder;
use report::Reporter;

/// How the kubelet reaches the task of a pod.
#[derive(Clone)]
pub(crate) struct Handle {
    latest: watch::Sender<Latest>,
    orders: mpsc::Sender<Order>,
    shown: Arc<Mutex<Shown>>,
}

/// What others may see of a pod.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    pub(crate) node: String,
    pub(crate) network: Option<Network>,
    /// By container.
    pub(crate) processes: Vec<(String, Process)>,
}

#[derive(Debug, Clone)]
struct Latest {
    pod: Arc<Pod>,
    /// The object is no more: its grace period is over.
    gone: bool,
}

type Order = (Fault, oneshot::Sender<anyhow::Result<()>>);

impl Handle {
    /// Starts the task of a pod.
    pub(crate) fn start(host: Arc<Host>, pod: Arc<Pod>, ended: impl FnOnce() + Send + 'static) -> Self {
        let (latest, received) = watch::channel(Latest { pod, gone: false });
        let (orders, ordered) = mpsc::channel(4);
        let shown = Arc::new(Mutex::new(Shown::default()));
        let actor = Actor::new(host, received, ordered, Arc::clone(&shown));
        tokio::spawn(async move {
            if let Some(actor) = actor {
                actor.run().await;
            }
            ended();
        });
        Self { latest, orders, shown }
    }

    /// A newer object.
    pub(crate) fn update(&self, pod: Arc<Pod>) {
        self.latest.send_modify(|latest| latest.pod = pod);
    }

    /// The object is no more.
    pub(crate) fn gone(&self) {
        self.latest.send_modify(|latest| latest.gone = true);
    }

    pub(crate) fn shown(&self) -> Shown {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does harm.
    ///
    /// # Errors
    /// The pod is ending, or this harm is not for pods.
    pub(crate) async fn harm(&self, fault: Fault) -> anyhow::Result<()> {
        let (done, answer) = oneshot::channel();
        self.orders.send((fault, done)).await.context("the pod is ending")?;
        answer.await.context("the pod is ending")?
    }
}

struct Actor {
    host: Arc<Host>,
    latest: watch::Receiver<Latest>,
    orders: mpsc::Receiver<Order>,
    shown: Arc<Mutex<Shown>>,
    events: (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
    reporter: Reporter,
    spec: PodSpec,
    folder: PathBuf,
    init: Vec<Slot>,
    containers: Vec<Slot>,
    volumes: Arc<tokio::sync::Mutex<Volumes>>,
    refresher: Option<AbortHandle>,
    network: Option<Network>,
    stage: Stage,
    started: Timestamp,
    transitions: Transitions,
    held_unready: bool,
    trouble: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Preparing { at: Instant },
    Running,
    Stopping,
    Gone,
}

/// What happened.
#[derive(Debug)]
enum Event {
    Exited {
        slot: At,
        process: Process,
        code: i32,
        signal: Option<i32>,
    },
    Ready {
        slot: At,
        process: Process,
        ready: bool,
    },
    Started {
        slot: At,
        process: Process,
    },
    /// The liveness or startup probe failed for good.
    Dead {
        slot: At,
        process: Process,
        why: &'static str,
    },
    /// The preStop hook is over.
    Hooked {
        slot: At,
        process: Process,
    },
}

/// Which container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    init: bool,
    index: usize,
}

/// How long to wait before something that was missing is looked for again.
const RETRY: Duration = Duration::from_millis(500);

impl Actor {
    /// `None` for an object that lacks what the API server guarantees.
    fn new(
        host: Arc<Host>,
        latest: watch::Receiver<Latest>,
        orders: mpsc::Receiver<Order>,
        shown: Arc<Mutex<Shown>>,
    ) -> Option<Self> {
        let pod = Arc::clone(&latest.borrow().pod);
        let (spec, uid) = (pod.spec.clone()?, pod.metadata.uid.clone()?);
        let namespace = pod.metadata.namespace.clone()?;
        let slots = |containers: &[Container]| containers.iter().cloned().map(Slot::new).collect::<Vec<_>>();
        let folder = host.pods_folder.join(&uid);
        let references = References::new(host.client.clone(), &namespace);
        shown.lock().unwrap_or_else(PoisonError::into_inner).node = spec.node_name.clone()?;
        Some(Self {
            reporter: Reporter::start(host.client.clone(), &namespace, pod.metadata.name.as_deref()?, &uid),
            events: mpsc::unbounded_channel(),
            init: slots(spec.init_containers.as_deref().unwrap_or_default()),
            containers: slots(&spec.containers),
            volumes: Arc::new(tokio::sync::Mutex::new(Volumes::new(volumes_folder(&folder), references))),
            refresher: None,
            network: None,
            stage: Stage::Preparing { at: Instant::now() },
            started: Timestamp::now(),
            transitions: Transitions::default(),
            held_unready: false,
            trouble: None,
            host,
            latest,
            orders,
            shown,
            spec,
            folder,
        })
    }

    async fn run(mut self) {
        loop {
            self.do_what_is_due().await;
            if self.stage == Stage::Gone {
                return self.finish().await;
            }
            self.report();
            self.wait().await;
        }
    }

    async fn do_what_is_due(&mut self) {
        if self.wants_end() && self.stage != Stage::Stopping {
            self.begin_to_stop();
        }
        match self.stage {
            Stage::Preparing { at } if at <= Instant::now() => self.prepare_or_retry().await,
            Stage::Running => self.start_what_is_due().await,
            Stage::Stopping if self.slots().all(|slot| slot.process().is_none()) => self.stage = Stage::Gone,
            Stage::Preparing { .. } | Stage::Stopping | Stage::Gone => {}
        }
        self.kill_what_is_overdue();
        let processes =
            self.slots().filter_map(|slot| Some((slot.container.name.clone(), slot.process()?))).collect();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.processes = processes;
        shown.network.clone_from(&self.network);
    }

    fn wants_end(&self) -> bool {
        let latest = self.latest.borrow();
        latest.gone || latest.pod.metadata.deletion_timestamp.is_some()
    }

    fn kill_what_is_overdue(&mut self) {
        let now = Instant::now();
        for slot in self.init.iter_mut().chain(&mut self.containers) {
            if slot.kill_at.is_some_and(|due| due <= now) {
                slot.kill_at = None;
                if let Some(process) = slot.process() {
                    process.signal(Signal::KILL);
                }
            }
        }
    }

    // The turn of the loop.

    fn report(&mut self) {
        let facts = Facts {
            init: &self.init,
            containers: &self.containers,
            restart: Restart::of(&self.spec),
            address: self.network.as_ref().map(|network| network.address.to_string()),
            node_address: self.place_of_node(),
            started: self.started,
            held_unready: self.held_unready,
            trouble: self.trouble.as_deref(),
        };
        self.reporter.report(status::of(&facts, &mut self.transitions, Timestamp::now()));
    }

    async fn wait(&mut self) {
        let deadline = self.deadline();
        tokio::select! {
            changed = self.latest.changed() => {
                if changed.is_err() {
                    self.stage = Stage::Gone;
                } else if self.stage == Stage::Stopping {
                    self.shorten_patience();
                }
            }
            Some(event) = self.events.1.recv() => self.happened(event),
            Some((fault, done)) = self.orders.recv() => {
                // Whoever asked may have gone.
                let _ = done.send(self.suffer(fault));
            }
            () = tokio::time::sleep_until(deadline) => {}
        }
    }

    fn deadline(&self) -> Instant {
        let prepare = match self.stage {
            Stage::Preparing { at } => Some(at),
            _ => None,
        };
        let starts = self.slots().filter_map(|slot| slot.restart_at);
        let kills = self.slots().filter_map(|slot| slot.kill_at);
        let starts = starts.filter(|_| self.stage == Stage::Running);
        let far = Instant::now() + Duration::from_secs(3600);
        starts.chain(kills).chain(prepare).min().unwrap_or(far)
    }

    fn happened(&mut self, event: Event) {
        let (at, process) = match event {
            Event::Exited { slot, process, .. }
            | Event::Ready { slot, process, .. }
            | Event::Started { slot, process }
            | Event::Dead { slot, process, .. }
            | Event::Hooked { slot, process } => (slot, process),
        };
        // News of a process that was replaced since.
        if self.slot(at).process() != Some(process) {
            return;
        }
        match event {
            Event::Exited { code, signal, .. } => self.exited(at, code, signal),
            Event::Ready { ready, .. } => self.slot(at).ready = ready,
            Event::Started { .. } => self.slot(at).started = true,
            Event::Hooked { .. } => process.signal(Signal::TERM),
            Event::Dead { why, .. } => {
                tracing::info!(
                    container = self.slot(at).container.name,
                    why,
                    "container is killed for its probe"
                );
                let grace = Duration::from_secs(
                    self.spec.termination_grace_period_seconds.unwrap_or(30).max(0).cast_unsigned(),
                );
                self.slot(at).kill_at = Some(Instant::now() + grace);
                process.signal(Signal::TERM);
            }
        }
    }

    fn exited(&mut self, at: At, code: i32, signal: Option<i32>) {
        let policy = Restart::of(&self.spec);
        let comes_back = self.stage == Stage::Running
            && if at.init { policy != Restart::Never && code != 0 } else { policy.wanted(code) };
        let slot = self.slot(at);
        slot.end(code, signal);
        if comes_back {
            slot.wait_for_restart();
        }
    }

    fn suffer(&mut self, fault: Fault) -> anyhow::Result<()> {
        let processes: Vec<Process> = self.running().map(|(_, process)| process).collect();
        match fault {
            Fault::Kill => processes.iter().for_each(|process| process.signal(Signal::KILL)),
            Fault::Freeze => processes.iter().for_each(|process| process.signal_all(Signal::STOP)),
            Fault::Thaw => processes.iter().for_each(|process| process.signal_all(Signal::CONT)),
            Fault::Blackhole | Fault::Heal => {
                let network = self.network.as_ref().context("the pod has no network yet")?;
                network.darken(fault == Fault::Blackhole)?;
            }
            Fault::Unready | Fault::Ready => self.held_unready = fault == Fault::Unready,
            Fault::Rotate => {
                let volumes = Arc::clone(&self.volumes);
                // Not waited for: they may be being brought up to date, by an API server that does not answer.
                tokio::spawn(async move { volumes.lock().await.forget_tokens() });
            }
            Fault::Stop | Fault::Start => {
                bail!("{fault:?} is for parts of the control plane; scale or delete pods instead")
            }
        }
        Ok(())
    }

    // Small things.

    fn slot(&mut self, at: At) -> &mut Slot {
        if at.init { &mut self.init[at.index] } else { &mut self.containers[at.index] }
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.init.iter().chain(&self.containers)
    }

    fn running(&self) -> impl Iterator<Item = (At, Process)> {
        let places = |init: bool| move |index: usize| At { init, index };
        let init = (0..self.init.len()).map(places(true)).zip(&self.init);
        let containers = (0..self.containers.len()).map(places(false)).zip(&self.containers);
        init.chain(containers).filter_map(|(at, slot)| Some((at, slot.process()?)))
    }

    fn pod(&self) -> Arc<Pod> {
        Arc::clone(&self.latest.borrow().pod)
    }

    fn node(&self) -> String {
        self.spec.node_name.clone().unwrap_or_default()
    }

    fn place_of_node(&self) -> String {
        self.host.node_address(&self.node()).map(|address| address.to_string()).unwrap_or_default()
    }

    fn place(&self) -> anyhow::Result<Place> {
        let network = self.network.as_ref().context("the pod has no network")?;
        Ok(Place { pod_address: network.address.to_string(), node_address: self.place_of_node() })
    }
}
