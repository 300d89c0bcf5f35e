//! A shard: its thread, what it owns, and how it follows commands.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ringress_engine::balance::Balancers;
use ringress_engine::exchange::RetryBudget;
use ringress_engine::pool::Pool;
use ringress_engine::random::Random;
use ringress_shared::command::{Command, DriverReport, Event, EventSink, ShardPort, ShardStatus};
use ringress_shared::id::{EndpointId, IdMap, RuleId, UpstreamId};
use ringress_shared::listener::{Routing, Socket, SocketId};
use ringress_shared::metric::{Counter, ShardReport};
use ringress_shared::route::{Rule, Scratch};
use ringress_shared::snapshot::Snapshot;

use crate::clock::Clock;
use crate::deadline::Wheel;
use crate::gate::Gates;
use crate::inbox::{self, Inbox};
use crate::listen::{self, StopSign};
use crate::record::{RuleRecord, Statistics};
use crate::rt::{self, DriverChoice, TcpListener};
use crate::seat::Seats;
use crate::serve::{self, h1::IDLE_WHILE_DRAINING, waiting::Waiting};
use crate::upstream::Idle;
use crate::workspace::Workspaces;

/// What a shard is started with.
pub struct ShardConfig {
    /// Its number, from 0.
    pub shard: usize,
    /// The core that it stays on; `None` leaves it to the scheduler.
    pub core: Option<core_affinity::CoreId>,
    /// Which driver it may use.
    pub driver: DriverChoice,
    /// Who hears its events.
    pub events: EventSink,
    /// Who takes batches of access-log lines; a full channel drops them, counted.
    pub access_log: Option<crossbeam_channel::Sender<Vec<u8>>>,
    /// Seeds balancing and request ids.
    pub seed: u64,
}

/// Starts a shard on a thread of its own. Returns when its ring is built; the driver stands in the status.
///
/// # Errors
/// Where the thread or the driver cannot be had.
pub fn spawn(config: ShardConfig) -> io::Result<Arc<dyn ShardPort>> {
    let status = Arc::new(ShardStatus::new(config.shard));
    let (mailbox, inbox) = inbox::open(Arc::clone(&status))?;
    let (built, wait) = mpsc::channel();
    std::thread::Builder::new().name(format!("shard-{}", config.shard)).spawn(move || {
        let (number, events) = (config.shard, Arc::clone(&config.events));
        let ended = std::panic::catch_unwind(AssertUnwindSafe(|| run(config, status, inbox, &built)));
        let message = match ended {
            Ok(Ok(())) => "its mailbox was closed".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => rt::panic_message(panic.as_ref()),
        };
        events(Event::Died { shard: number, message });
    })?;
    wait.recv().map_err(|_| io::Error::other("the shard ended before its driver was built"))??;
    Ok(Arc::new(mailbox))
}

fn run(
    config: ShardConfig,
    status: Arc<ShardStatus>,
    inbox: Inbox,
    built: &mpsc::Sender<io::Result<()>>,
) -> io::Result<()> {
    let pinned = config.core.is_none_or(core_affinity::set_for_current);
    // The ring is built here: only the thread that built it may use it.
    let (mut runtime, mut report) = match rt::build(config.driver) {
        Ok(built) => built,
        Err(error) => {
            // Whoever started us hears it from there.
            let _ = built.send(Err(error));
            return Ok(());
        }
    };
    match config.core {
        Some(core) if pinned => drop(status.core.set(core.id)),
        Some(_) => note(&mut report, "the core could not be taken, the shard is not pinned"),
        None => {}
    }
    status.driver.get_or_init(|| report);
    let _ = built.send(Ok(()));
    runtime.block_on(async move {
        rt::prepare_yielding()?;
        let shard = Rc::new(Shard::new(config, status));
        Rc::clone(&shard).start_housekeeping();
        inbox.attend(|commands| shard.follow(commands)).await
    })
}

fn note(report: &mut DriverReport, text: &str) {
    if !report.reason.is_empty() {
        report.reason.push_str("; ");
    }
    report.reason.push_str(text);
}

/// Everything that one thread owns. Cells are borrowed only between awaits.
pub(crate) struct Shard {
    pub(crate) number: usize,
    pub(crate) wheel: Rc<Wheel>,
    pub(crate) clock: Clock,
    pub(crate) pool: RefCell<Pool<Idle>>,
    pub(crate) gates: Rc<Gates>,
    pub(crate) seats: Seats,
    pub(crate) workspaces: Workspaces,
    pub(crate) waiting: Rc<Waiting>,
    pub(crate) desk: RefCell<Desk>,
    current: RefCell<Option<Rc<Current>>>,
    rules: RefCell<IdMap<RuleId, Rc<RuleRecord>>>,
    /// How many of them the last clearing left.
    rules_kept: Cell<usize>,
    statistics: Statistics,
    listeners: RefCell<HashMap<SocketId, Rc<StopSign>>>,
    /// Connections and accepting tasks that are open.
    open: Cell<u64>,
    draining: Cell<bool>,
    drained: Cell<bool>,
    log: RefCell<Vec<u8>>,
    log_lines: Cell<u64>,
    log_sender: Option<crossbeam_channel::Sender<Vec<u8>>>,
    last_notice: Cell<Option<Instant>>,
    neighbours: RefCell<Arc<[Arc<dyn ShardPort>]>>,
    status: Arc<ShardStatus>,
    events: EventSink,
}

/// What an exchange borrows for one decision.
pub(crate) struct Desk {
    pub(crate) random: Random,
    pub(crate) balancers: Balancers,
    pub(crate) budget: RetryBudget,
    pub(crate) scratch: Scratch,
    pub(crate) host: String,
}

/// The snapshot that new exchanges take. Handed out as `Rc`: the atomic count moves twice per swap, never per request.
pub(crate) struct Current {
    pub(crate) snapshot: Arc<Snapshot>,
}

impl Current {
    pub(crate) fn socket(&self, id: SocketId) -> Option<&Socket> {
        self.snapshot.sockets.iter().find(|socket| socket.id == id)
    }

    /// Whether an endpoint belongs to an upstream.
    pub(crate) fn has_endpoint(&self, upstream: UpstreamId, endpoint: EndpointId) -> bool {
        self.snapshot.upstreams.get(&upstream).is_some_and(|upstream| {
            upstream.endpoints.endpoints.iter().any(|candidate| candidate.id == endpoint)
        })
    }
}

/// A batch of log lines is handed over at this size, or after a beat of the housekeeping.
const LOG_BATCH_BYTES: usize = 32 * 1024;
const BEAT: Duration = Duration::from_millis(250);
/// Until when idle connections are closed while draining, one after the other.
const IDLE_SPREAD: Duration = Duration::from_secs(10);
/// Rules whose books may be kept beyond those that the last sweep found.
const RULES_SLACK: usize = 256;

impl Shard {
    fn new(config: ShardConfig, status: Arc<ShardStatus>) -> Self {
        Self {
            number: config.shard,
            wheel: Rc::new(Wheel::new()),
            clock: Clock::new(),
            pool: RefCell::default(),
            gates: Rc::default(),
            seats: Seats::default(),
            workspaces: Workspaces::default(),
            waiting: Rc::default(),
            desk: RefCell::new(Desk {
                random: Random::new(config.seed),
                balancers: Balancers::new(config.shard),
                budget: RetryBudget::default(),
                scratch: Scratch::default(),
                host: String::new(),
            }),
            current: RefCell::new(None),
            rules: RefCell::default(),
            rules_kept: Cell::new(0),
            statistics: Statistics::new(),
            listeners: RefCell::default(),
            open: Cell::new(0),
            draining: Cell::new(false),
            drained: Cell::new(false),
            log: RefCell::default(),
            log_lines: Cell::new(0),
            log_sender: config.access_log,
            last_notice: Cell::new(None),
            neighbours: RefCell::new(Arc::new([])),
            status,
            events: config.events,
        }
    }

    pub(crate) fn current(&self) -> Option<Rc<Current>> {
        self.current.borrow().clone()
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    pub(crate) fn count(&self, counter: Counter) {
        self.statistics.add(counter, 1);
    }

    pub(crate) fn add(&self, counter: Counter, count: u64) {
        self.statistics.add(counter, count);
    }

    pub(crate) fn observe(&self, micros: u64) {
        self.statistics.observe(micros);
    }

    /// The books of a rule, opened when its first request comes.
    pub(crate) fn rule_record(&self, rule: &Rule) -> Rc<RuleRecord> {
        let mut rules = self.rules.borrow_mut();
        Rc::clone(rules.entry(rule.id).or_insert_with(|| Rc::new(RuleRecord::new(rule))))
    }

    /// Tells the operator something, at most once a second.
    pub(crate) fn log_once_a_second(&self, message: &str) {
        let now = Clock::now();
        let recent = self
            .last_notice
            .get()
            .is_some_and(|last| now.saturating_duration_since(last) < Duration::from_secs(1));
        if !recent {
            self.last_notice.set(Some(now));
            (self.events)(Event::Notice { shard: self.number, message: message.to_owned() });
        }
    }

    /// Lets `write` append a line to the access log.
    pub(crate) fn log(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.log_sender.is_none() {
            return;
        }
        let mut log = self.log.borrow_mut();
        write(&mut log);
        self.log_lines.set(self.log_lines.get() + 1);
        if log.len() >= LOG_BATCH_BYTES {
            self.hand_over_log(&mut log);
        }
    }

    fn hand_over_log(&self, log: &mut Vec<u8>) {
        let lines = self.log_lines.replace(0);
        let Some(sender) = self.log_sender.as_ref().filter(|_| !log.is_empty()) else { return };
        if sender.try_send(std::mem::take(log)).is_err() {
            self.add(Counter::LogLinesDropped, lines);
        }
    }

    /// Serves an accepted connection here, or on a shard that has far fewer of them.
    pub(crate) fn admit(self: &Rc<Self>, id: SocketId, socket: socket2::Socket, peer: SocketAddr) {
        self.count(Counter::ConnectionsAccepted);
        if let Some(neighbour) = self.lighter_neighbour() {
            neighbour.status().connections.fetch_add(1, Ordering::Relaxed);
            neighbour.send(Command::Adopt { socket: id, descriptor: socket.into(), peer });
            return;
        }
        self.status.connections.fetch_add(1, Ordering::Relaxed);
        self.serve(id, socket, peer);
    }

    /// Whether the operations of one more connection might not find room.
    pub(crate) fn is_full(&self) -> bool {
        let open = u64::try_from(self.status.connections.load(Ordering::Relaxed)).unwrap_or(0);
        self.status.driver.get().is_some_and(|driver| open >= driver.connections_max)
    }

    /// A neighbour with so few connections that moving one pays for the way: it costs a doorbell.
    fn lighter_neighbour(&self) -> Option<Arc<dyn ShardPort>> {
        let load = |status: &ShardStatus| status.connections.load(Ordering::Relaxed);
        let ours = load(&self.status);
        let neighbours = self.neighbours.borrow();
        let lightest = neighbours
            .iter()
            .filter(|port| {
                port.status().shard != self.number && port.status().accepting.load(Ordering::Relaxed)
            })
            .min_by_key(|port| load(port.status()))?;
        let worth_it = ours * 5 > load(lightest.status()) * 6 + 10;
        (worth_it && !self.is_draining()).then(|| Arc::clone(lightest))
    }

    /// Makes a task of a connection that is counted already.
    fn serve(self: &Rc<Self>, id: SocketId, socket: socket2::Socket, peer: SocketAddr) {
        self.open.set(self.open.get() + 1);
        let place = Place { shard: Rc::clone(self), is_connection: true };
        let shard = Rc::clone(self);
        let on_panic = move |message: String| {
            shard.count(Counter::Panics);
            shard.log_once_a_second(&format!("a connection's task panicked: {message}"));
        };
        rt::spawn_guarded(serve::connection(place, id, socket, peer), on_panic);
    }

    fn follow(self: &Rc<Self>, commands: Vec<Command>) {
        // Only the last snapshot of a batch counts: a late shard skips generations.
        let last_apply = commands.iter().rposition(|command| matches!(command, Command::Apply(_)));
        for (number, command) in commands.into_iter().enumerate() {
            match command {
                Command::Apply(snapshot) if Some(number) == last_apply => self.install(snapshot),
                Command::Apply(_) => {}
                Command::Listen { socket, descriptor } => self.listen(socket, descriptor),
                Command::Adopt { socket, descriptor, peer } => self.serve(socket, descriptor.into(), peer),
                Command::Neighbours(ports) => drop(self.neighbours.replace(ports)),
                Command::Unlisten(socket) => self.unlisten(socket),
                Command::Drain { within } => self.drain(within),
                Command::Report(reply) => reply(self.report()),
                Command::Loads(reply) => reply(self.desk.borrow().balancers.loads(Clock::now())),
            }
        }
    }

    fn install(&self, snapshot: Arc<Snapshot>) {
        let generation = snapshot.generation;
        self.desk.borrow_mut().scratch.clear();
        // Dropping the old one is a decrement: the publisher keeps it until nobody holds it.
        *self.current.borrow_mut() = Some(Rc::new(Current { snapshot }));
        self.status.installed.store(generation, Ordering::Release);
        (self.events)(Event::Installed { shard: self.number, generation });
    }

    fn listen(self: &Rc<Self>, id: SocketId, descriptor: OwnedFd) {
        let listener = match TcpListener::adopt(descriptor.into()) {
            Ok(listener) => listener,
            Err(error) => return self.log_once_a_second(&format!("the socket {id} cannot be used: {error}")),
        };
        let stop = Rc::new(StopSign::default());
        if let Some(previous) = self.listeners.borrow_mut().insert(id, Rc::clone(&stop)) {
            previous.put_up();
        }
        self.status.accepting.store(true, Ordering::Release);
        self.open.set(self.open.get() + 1);
        let place = Place { shard: Rc::clone(self), is_connection: false };
        let on_panic = {
            let shard = Rc::clone(self);
            // Without its accepting task the shard would keep taking connections and never serve them.
            move |message: String| (shard.events)(Event::Died { shard: shard.number, message })
        };
        let shard = Rc::clone(self);
        let task = async move {
            listen::accept(shard, id, listener, stop).await;
            drop(place);
        };
        rt::spawn_guarded(task, on_panic);
    }

    fn unlisten(&self, id: SocketId) {
        if let Some(stop) = self.listeners.borrow_mut().remove(&id) {
            stop.put_up();
        }
        if self.listeners.borrow().is_empty() {
            self.status.accepting.store(false, Ordering::Release);
        }
    }

    fn drain(self: &Rc<Self>, within: Duration) {
        self.draining.set(true);
        let sockets: Vec<SocketId> = self.listeners.borrow().keys().copied().collect();
        sockets.into_iter().for_each(|id| self.unlisten(id));
        // Who honours `Connection: close` gets it with the next answer; who stays silent is closed.
        self.wheel.hurry_idle(IDLE_WHILE_DRAINING.min(within / 2), IDLE_SPREAD.min(within / 2));
        let shard = Rc::clone(self);
        let deadline = async move {
            rt::sleep(within).await;
            shard.report_drained();
        };
        rt::spawn_guarded(deadline, |_| {});
        if self.is_empty() {
            self.report_drained();
        }
    }

    /// Nothing is open, and nothing is on its way here from a neighbour.
    fn is_empty(&self) -> bool {
        self.open.get() == 0 && self.status.connections.load(Ordering::Relaxed) <= 0
    }

    fn report_drained(&self) {
        if !self.drained.replace(true) {
            self.hand_over_log(&mut self.log.borrow_mut());
            let cut = u64::try_from(self.status.connections.load(Ordering::Relaxed)).unwrap_or(0);
            (self.events)(Event::Drained { shard: self.number, cut });
        }
    }

    fn report(&self) -> ShardReport {
        let rules = self.rules.borrow();
        ShardReport {
            counters: self.statistics.counters(),
            latency: self.statistics.latency(),
            rules: rules.iter().map(|(id, record)| (*id, record.classes.each_ref().map(Cell::get))).collect(),
            pooled: self.pool.borrow().len() as u64,
        }
    }

    fn start_housekeeping(self: Rc<Self>) {
        let wheel = Rc::clone(&self.wheel).turn();
        let died = |shard: &Rc<Self>| {
            let shard = Rc::clone(shard);
            move |message: String| (shard.events)(Event::Died { shard: shard.number, message })
        };
        rt::spawn_guarded(
            async move {
                wheel.await;
            },
            died(&self),
        );
        let on_panic = died(&self);
        rt::spawn_guarded(self.keep_house(), on_panic);
    }

    async fn keep_house(self: Rc<Self>) {
        let mut beats = 0_u64;
        loop {
            rt::sleep(BEAT).await;
            beats += 1;
            self.status.heartbeat.fetch_add(1, Ordering::Relaxed);
            self.hand_over_log(&mut self.log.borrow_mut());
            if beats.is_multiple_of(4) {
                self.waiting.abandon_reset_clients();
                self.sweep();
            }
        }
    }

    /// Closes pooled connections that died or whose endpoint is gone, and forgets upstreams and rules that are gone.
    fn sweep(&self) {
        let Some(current) = self.current() else { return };
        let upstreams = &current.snapshot.upstreams;
        let known: IdMap<EndpointId, ()> = match self.pool.borrow().is_empty() {
            true => IdMap::default(),
            false => upstreams
                .values()
                .flat_map(|upstream| upstream.endpoints.endpoints.iter().map(|endpoint| (endpoint.id, ())))
                .collect(),
        };
        self.pool.borrow_mut().sweep(Clock::now(), |endpoint| known.contains_key(&endpoint), Idle::is_alive);
        self.desk.borrow_mut().balancers.retain(upstreams);
        self.forget_rules(&current);
    }

    /// Closes the books of rules that are gone, once there are many more than there were.
    fn forget_rules(&self, current: &Current) {
        let mut rules = self.rules.borrow_mut();
        if rules.len() < 2 * self.rules_kept.get() + RULES_SLACK {
            return;
        }
        let mut known: IdMap<RuleId, ()> = IdMap::default();
        for listener in current.snapshot.sockets.iter().flat_map(|socket| socket.listeners.iter()) {
            let Routing::Http(table) = &listener.routing;
            known.extend(table.rules().map(|rule| (rule.id, ())));
        }
        rules.retain(|id, _| known.contains_key(id));
        self.rules_kept.set(rules.len());
    }
}

/// A place in the books of a shard, held by an open connection or an accepting task.
pub(crate) struct Place {
    shard: Rc<Shard>,
    is_connection: bool,
}

impl Place {
    pub(crate) fn shard(&self) -> &Rc<Shard> {
        &self.shard
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let shard = &self.shard;
        if self.is_connection {
            shard.status.connections.fetch_sub(1, Ordering::Relaxed);
        }
        shard.open.set(shard.open.get() - 1);
        if shard.draining.get() && shard.is_empty() {
            shard.report_drained();
        }
    }
}
