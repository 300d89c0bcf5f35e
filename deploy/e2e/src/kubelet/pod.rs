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

mod report;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Lifecycle, LifecycleHandler, Pod, PodSpec, Probe};
use rustix::process::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::environment::{self, Place};
use super::process::{self, Process, Start};
use super::reference::References;
use super::slot::{self, Restart, Slot, State};
use super::status::{self, Facts, Transitions};
use super::volume::Volumes;
use super::{Host, image, probe};
use crate::control::Fault;
use crate::net::Network;
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

/// How often volumes from the API are compared with what is there.
const REFRESH: Duration = Duration::from_secs(3);
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

    // Preparing.

    async fn prepare_or_retry(&mut self) {
        match self.prepare().await {
            Ok(()) => {
                self.trouble = None;
                self.stage = Stage::Running;
                self.refresher = Some(self.keep_volumes_up_to_date());
                self.start_what_is_due().await;
            }
            Err(error) => {
                self.trouble = Some(format!("{error:#}"));
                self.stage = Stage::Preparing { at: Instant::now() + RETRY };
            }
        }
    }

    async fn prepare(&mut self) -> anyhow::Result<()> {
        for slot in self.init.iter().chain(&self.containers) {
            let reference = slot.container.image.as_deref().unwrap_or_default();
            image::find(&self.host.images, reference)
                .with_context(|| format!("no image {reference}: give --image NAME=FILE to up"))?;
        }
        if self.network.is_none() {
            self.network = Some(self.make_network()?);
        }
        let (pod, place) = (self.pod(), self.place()?);
        self.volumes.lock().await.bring_up_to_date(&pod, &place).await
    }

    fn make_network(&self) -> anyhow::Result<Network> {
        if self.spec.host_network == Some(true) {
            return Ok(Network::of(self.host.node_address(&self.node())?));
        }
        let address = self.host.take_address().context("all addresses of pods are taken")?;
        let network = Network::of(address);
        network.create().inspect_err(|_| self.host.give_back_address(address))?;
        Ok(network)
    }

    /// In a task of its own: an API server that does not answer must not hold up the end of a pod.
    fn keep_volumes_up_to_date(&self) -> AbortHandle {
        let (volumes, latest) = (Arc::clone(&self.volumes), self.latest.clone());
        let place = self.place();
        let keep = async move {
            let Ok(place) = place else { return };
            loop {
                tokio::time::sleep(REFRESH).await;
                let pod = Arc::clone(&latest.borrow().pod);
                if let Err(error) = volumes.lock().await.bring_up_to_date(&pod, &place).await {
                    tracing::debug!(error = format!("{error:#}"), "volumes stay as they are");
                }
            }
        };
        tokio::spawn(keep).abort_handle()
    }

    // Running.

    async fn start_what_is_due(&mut self) {
        let restart = Restart::of(&self.spec);
        if status::finished(&self.containers, &self.init, restart).is_some() {
            return;
        }
        // Init containers go one by one; while one is not done, nothing behind it starts.
        if let Some(index) = self.init.iter().position(|slot| !status::succeeded(&slot.state)) {
            return self.start_if_due(At { init: true, index }).await;
        }
        for index in 0..self.containers.len() {
            self.start_if_due(At { init: false, index }).await;
        }
    }

    async fn start_if_due(&mut self, at: At) {
        let slot = self.slot(at);
        let due = slot.restart_at.is_none_or(|due| due <= Instant::now());
        if !matches!(slot.state, State::Waiting { .. }) || !due {
            return;
        }
        if let Err(error) = self.start(at).await {
            let slot = self.slot(at);
            slot.state =
                State::Waiting { reason: "CreateContainerConfigError", message: format!("{error:#}") };
            slot.restart_at = Some(Instant::now() + RETRY);
        }
    }

    async fn start(&mut self, at: At) -> anyhow::Result<()> {
        let container = self.slot(at).container.clone();
        let (pod, place) = (self.pod(), self.place()?);
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let references = References::new(self.host.client.clone(), &namespace);
        let environment = environment::of(&container, &pod, &place, &references).await?;
        let reference = container.image.as_deref().unwrap_or_default();
        let folder = self.folder.join(&container.name);
        let root = folder.join("root");
        std::fs::create_dir_all(&root)?;
        let hostname = match self.spec.host_network {
            Some(true) => self.node(),
            _ => pod.metadata.name.clone().unwrap_or_default(),
        };
        let network = self.network.as_ref().context("the pod has no network")?.clone();
        let spec = slot::spec(slot::Parts {
            network: &network,
            pod: &self.spec,
            container: &container,
            image: image::find(&self.host.images, reference).context("the image is gone")?,
            volumes: &volumes_folder(&self.folder),
            environment,
            root,
            hostname: hostname.chars().take(63).collect(),
            program: &self.host.program,
        })?;
        let log = self.host.log(&pod, &container.name);
        if self.slot(at).restarts > 0 {
            // What it said before stays readable as the previous log.
            let _ = std::fs::rename(&log, log.with_extension("previous"));
        }
        let (process, child) = Process::start(&Start {
            program: &self.host.program,
            spec: &spec,
            spec_file: &folder.join("spec.json"),
            log: &log,
        })?;
        self.await_exit(at, process, child);
        let target = probe::Target { container, address: network.address, process };
        let prober = self.start_probing(at, target);
        self.slot(at).begin(process, prober);
        Ok(())
    }

    fn await_exit(&self, at: At, process: Process, mut child: tokio::process::Child) {
        let events = self.events.0.clone();
        tokio::spawn(async move {
            let (code, signal) = match child.wait().await {
                Ok(status) => process::exit(status),
                Err(_) => (255, None),
            };
            let _ = events.send(Event::Exited { slot: at, process, code, signal });
        });
    }

    fn start_probing(&self, at: At, target: probe::Target) -> Option<AbortHandle> {
        let container = &target.container;
        let any = [&container.startup_probe, &container.liveness_probe, &container.readiness_probe];
        if at.init || any.iter().all(|probe| probe.is_none()) {
            return None;
        }
        let prober = Prober { at, target, events: self.events.0.clone() };
        Some(tokio::spawn(prober.run()).abort_handle())
    }

    fn kill_what_is_overdue(&mut self) {
        let now = Instant::now();
        for slot in self.init.iter_mut().chain(&mut self.containers) {
            if slot.kill_at.is_some_and(|due| due <= now) {
                slot.kill_at = None;
                if let State::Running { process, .. } = slot.state {
                    process.signal(Signal::KILL);
                }
            }
        }
    }

    // Stopping.

    fn begin_to_stop(&mut self) {
        self.stage = Stage::Stopping;
        let grace = self.grace();
        let hooks: Vec<_> = self.running().collect();
        for (at, process) in hooks {
            self.slot(at).kill_at = Some(Instant::now() + grace);
            let container = self.slot(at).container.clone();
            match pre_stop(&container.lifecycle) {
                Some(hook) if !grace.is_zero() => self.run_hook(at, process, hook, grace, container),
                _ => process.signal(Signal::TERM),
            }
        }
    }

    fn run_hook(
        &self,
        at: At,
        process: Process,
        hook: LifecycleHandler,
        grace: Duration,
        container: Container,
    ) {
        let events = self.events.0.clone();
        let address = self.network.as_ref().map(|network| network.address);
        tokio::spawn(async move {
            let outcome = tokio::time::timeout(grace, run_handler(&hook, process, address, container)).await;
            if let Ok(Err(error)) = outcome {
                tracing::warn!(error = format!("{error:#}"), "preStop hook failed");
            }
            let _ = events.send(Event::Hooked { slot: at, process });
        });
    }

    fn grace(&self) -> Duration {
        let latest = self.latest.borrow();
        if latest.gone {
            return Duration::ZERO;
        }
        let own =
            latest.pod.metadata.deletion_grace_period_seconds.or(self.spec.termination_grace_period_seconds);
        Duration::from_secs(own.unwrap_or(30).max(0).cast_unsigned())
    }

    async fn finish(mut self) {
        self.report();
        if let Some(refresher) = self.refresher.take() {
            refresher.abort();
        }
        if let Some(network) = self.network.take().filter(|_| self.spec.host_network != Some(true)) {
            if let Err(error) = network.darken(false).and_then(|()| network.remove()) {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the network of a pod stays behind until the box goes"
                );
            }
            self.host.give_back_address(network.address);
        }
        // Links of a volume may lead anywhere, removal follows none; whatever stays goes with the box.
        let _ = std::fs::remove_dir_all(&self.folder);
        let gone = self.latest.borrow().gone;
        self.reporter.end(!gone).await;
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

    /// A second deletion may give less time than the first did.
    fn shorten_patience(&mut self) {
        let latest = Instant::now() + self.grace();
        for slot in self.init.iter_mut().chain(&mut self.containers) {
            slot.kill_at = slot.kill_at.map(|due| due.min(latest));
        }
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

/// Asks the probes of one container, from its start to its end.
struct Prober {
    at: At,
    target: probe::Target,
    events: mpsc::UnboundedSender<Event>,
}

impl Prober {
    async fn run(self) {
        let container = self.target.container.clone();
        let process = self.target.process;
        if let Some(startup) = &container.startup_probe {
            if !self.passes(startup).await {
                let _ = self.events.send(Event::Dead { slot: self.at, process, why: "startup" });
                return;
            }
            let _ = self.events.send(Event::Started { slot: self.at, process });
        }
        let liveness = async {
            if let Some(liveness) = &container.liveness_probe {
                self.watch(liveness, true, |alive| {
                    (!alive).then_some(Event::Dead { slot: self.at, process, why: "liveness" })
                })
                .await;
            }
        };
        let readiness = async {
            if let Some(readiness) = &container.readiness_probe {
                self.watch(readiness, false, |ready| Some(Event::Ready { slot: self.at, process, ready }))
                    .await;
            }
        };
        tokio::join!(liveness, readiness);
    }

    /// Whether it is passed once before it fails for good.
    async fn passes(&self, probe: &Probe) -> bool {
        let mut counter = probe::Counter::new(probe, true);
        tokio::time::sleep(probe::delay(probe)).await;
        loop {
            match probe::ask(probe, &self.target).await {
                Ok(()) => return true,
                Err(_) if counter.count(false).is_some() => return false,
                Err(_) => tokio::time::sleep(probe::period(probe)).await,
            }
        }
    }

    /// Tells every change of the verdict.
    async fn watch(&self, probe: &Probe, verdict: bool, event: impl Fn(bool) -> Option<Event>) {
        let mut counter = probe::Counter::new(probe, verdict);
        tokio::time::sleep(probe::delay(probe)).await;
        let mut first = true;
        loop {
            let outcome = probe::ask(probe, &self.target).await;
            let success = outcome.is_ok();
            if let Some(event) = counter.count(success).and_then(&event) {
                if let Err(error) = outcome {
                    tracing::info!(
                        container = self.target.container.name,
                        error = format!("{error:#}"),
                        "probe failed"
                    );
                }
                if self.events.send(event).is_err() {
                    return;
                }
            }
            // A program needs a moment before it listens: the first answers are asked for sooner than the period says, or
            // every start would cost a whole period. A real kubelet does the same for readiness when a container changes.
            let hurry = first && !success && !verdict;
            if success {
                first = false;
            }
            tokio::time::sleep(if hurry { probe::period(probe).min(HURRY) } else { probe::period(probe) })
                .await;
        }
    }
}

/// Time between readiness probes until the first success.
const HURRY: Duration = Duration::from_millis(100);

fn volumes_folder(pod: &std::path::Path) -> PathBuf {
    pod.join("volumes")
}

fn pre_stop(lifecycle: &Option<Lifecycle>) -> Option<LifecycleHandler> {
    lifecycle.as_ref()?.pre_stop.clone()
}

async fn run_handler(
    handler: &LifecycleHandler,
    process: Process,
    address: Option<std::net::Ipv4Addr>,
    container: Container,
) -> anyhow::Result<()> {
    if let Some(sleep) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(sleep.seconds.max(0).cast_unsigned())).await;
    }
    if let Some(action) = &handler.exec {
        probe::run(process, action.command.as_deref().unwrap_or_default()).await?;
    }
    if let Some(action) = &handler.http_get {
        let address = address.context("the pod has no network")?;
        probe::http_get(action, &probe::Target { container, address, process }).await?;
    }
    Ok(())
}
