//! The closed-loop client: every connection keeps exactly one request in flight.
//!
//! ```text
//!   warm-up ──────────────► measuring ──────────────► stopped
//!   every connection has had   requests, latency and     each finishes its exchange
//!   an answer, at least        CPU time are counted      and closes
//!   `warm_up` long
//! ```
//!
//! Errors count from the first byte of the warm-up on; figures from the window only. A connection that the proxy
//! closes between two requests is opened again and counted, since a proxy may do so.

mod answer;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use hdrhistogram::Histogram;
use monoio::{
    buf::IoBufMut,
    io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt},
    net::TcpStream,
};
use monoio_rustls::TlsConnector;
use rustls::{ClientConfig, pki_types::ServerName};

use crate::{
    Verdict,
    args::LoadArgs,
    certificate,
    load::answer::{AnswerHead, Malformed},
    procfs::{self, CpuTime, ProcessTree},
    report::Figures,
    runtime,
    scenario::{HOST, LARGE_BYTES, Reuse, Scenario, Transport, pattern},
};

/// The verb: one scenario against one address.
pub(crate) fn run(args: &LoadArgs) -> Result<Verdict> {
    ensure_descriptors(args.scenario)?;
    let tls = match (args.scenario.transport, &args.ca) {
        (Transport::Plain, _) => None,
        (Transport::Tls, Some(file)) => Some(certificate::client_config_from(file)?),
        (Transport::Tls, None) => bail!("scenario {} speaks TLS: --ca is needed", args.scenario.name),
    };
    if let Some(core) = args.core {
        runtime::pin(core)?;
    }
    let proxy = args.pid.map(ProcessTree::of).transpose().context("--pid")?;
    let plan = Plan {
        scenario: *args.scenario,
        address: args.address,
        tls,
        warm_up: Duration::from_secs_f64(args.warm_up),
        window: Duration::from_secs_f64(args.seconds),
    };
    let outcome = runtime::block_on(async move || drive(plan, proxy).await)?;
    let errors = outcome.error_count();
    println!("{}", Figures::of(&outcome));
    for (error, count) in &outcome.errors {
        println!("{count} × {error}");
    }
    Ok(Verdict::from_errors(errors))
}

/// What to send, where, for how long.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) scenario: Scenario,
    pub(crate) address: SocketAddr,
    /// Needed where the scenario's transport is TLS.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

/// What one run counted.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Right answers that ended inside the window.
    pub(crate) requests: u64,
    /// The window as it was.
    pub(crate) elapsed: Duration,
    /// From the first byte of a request (or of its connection, where each has its own) to the last of its answer, µs.
    pub(crate) latency: Histogram<u64>,
    /// What went wrong and how often, from the start of the warm-up to the end.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Keep-alive connections that the proxy closed between two requests.
    pub(crate) reconnects: u64,
    /// CPU time of the proxy inside the window; `None` if no process was named.
    pub(crate) proxy: Option<CpuTime>,
    /// CPU time of this process inside the window: client, and origin where it runs here too.
    pub(crate) load: CpuTime,
}

impl Outcome {
    /// Failed or wrongly answered exchanges.
    pub(crate) fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Runs one scenario on this thread's runtime.
///
/// # Errors
/// The proxy's process ended, or `/proc` cannot be read. Failed exchanges are no error but counted.
pub(crate) async fn drive(plan: Plan, proxy: Option<ProcessTree>) -> Result<Outcome> {
    let plan = Rc::new(plan);
    let tally = Rc::new(Tally::new()?);
    let spawn = |_| monoio::spawn(keep_busy(plan.clone(), tally.clone()));
    let connections: Vec<_> = (0..plan.scenario.connections).map(spawn).collect();

    warm_up(&plan, &tally).await;
    // Nothing that a window would count is worth waiting for.
    let window = if tally.is_hopeless() { Duration::ZERO } else { plan.window };
    let before = CpuTimes::read(proxy.as_ref())?;
    let opened = Instant::now();
    tally.phase.set(Phase::Measuring);
    monoio::time::sleep(window).await;
    tally.phase.set(Phase::Stopped);
    let elapsed = opened.elapsed();
    let after = CpuTimes::read(proxy.as_ref())?;

    let deadline = Instant::now() + STOP_LIMIT;
    for connection in connections {
        let left = deadline.saturating_duration_since(Instant::now());
        if monoio::time::timeout(left, connection).await.is_err() {
            tally.fail("an exchange did not end");
        }
    }
    if tally.requests.get() == 0 {
        tally.fail("no answer inside the window");
    }
    Ok(Outcome {
        requests: tally.requests.get(),
        elapsed,
        latency: tally.latency.borrow().clone(),
        errors: tally.errors.borrow().clone(),
        reconnects: tally.reconnects.get(),
        proxy: after.proxy.zip(before.proxy).map(|(after, before)| after - before),
        load: after.load - before.load,
    })
}

/// At least as long as the plan says, and until every connection had an answer.
async fn warm_up(plan: &Plan, tally: &Tally) {
    let begun = Instant::now();
    while begun.elapsed() < plan.warm_up || tally.unanswered(plan) > 0 {
        if tally.is_hopeless() || begun.elapsed() > plan.warm_up + START_LIMIT {
            return tally.fail(&format!("{} of the connections had no answer", tally.unanswered(plan)));
        }
        monoio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What both sides have used so far.
struct CpuTimes {
    load: CpuTime,
    proxy: Option<CpuTime>,
}

impl CpuTimes {
    fn read(proxy: Option<&ProcessTree>) -> Result<Self> {
        let of = |tree: &ProcessTree| tree.cpu_time().context("cannot read CPU time: has the process ended?");
        Ok(Self { load: of(&ProcessTree::own())?, proxy: proxy.map(of).transpose()? })
    }
}

/// Asks until the proxy answers one request of the scenario rightly.
///
/// # Errors
/// It did not within `limit`; the last reason is given.
pub(crate) async fn wait_until_served(plan: Plan, limit: Duration) -> Result<()> {
    let begun = Instant::now();
    let plan = Rc::new(Plan { scenario: Scenario { reuse: Reuse::Once, ..plan.scenario }, ..plan });
    loop {
        let tally = Tally::new()?;
        let attempt = monoio::time::timeout(Duration::from_secs(2), connection(&plan, &tally)).await;
        let reason = match attempt {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer within 2 s".to_owned(),
        };
        if begun.elapsed() > limit {
            bail!("{} is not served within {limit:?}: {reason}", plan.address);
        }
        monoio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether the process may open the descriptors that a scenario takes: two per connection here (client and origin),
/// and as many in the proxy, which inherits the limit.
///
/// # Errors
/// Says what to raise.
pub(crate) fn ensure_descriptors(scenario: &Scenario) -> Result<()> {
    let needed = scenario.connections as u64 * 3 + 200;
    let limit = procfs::descriptor_limit().context("cannot read the limit of open files")?;
    let enough = limit.is_none_or(|limit| limit >= needed);
    ensure!(enough, "scenario {} needs {needed} open files: run ulimit -n {needed} first", scenario.name);
    Ok(())
}

/// One connection after the other until the run stops.
async fn keep_busy(plan: Rc<Plan>, tally: Rc<Tally>) {
    let mut first = true;
    while tally.phase.get() != Phase::Stopped {
        if !first && plan.scenario.reuse == Reuse::KeepAlive {
            tally.reconnects.set(tally.reconnects.get() + 1);
        }
        first = false;
        if let Err(error) = connection(&plan, &tally).await {
            tally.fail(&error.to_string());
            // A proxy that refuses everything would otherwise be asked some hundred thousand times.
            monoio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn connection(plan: &Plan, tally: &Tally) -> Result<(), Failure> {
    let begun = Instant::now();
    let tcp = TcpStream::connect_addr(plan.address).await.map_err(Failure::Connect)?;
    tcp.set_nodelay(true).map_err(Failure::Connect)?;
    match &plan.tls {
        None => converse(tcp, begun, plan, tally).await,
        Some(config) => {
            let name = ServerName::try_from(HOST).map_err(|error| Failure::Handshake(error.to_string()))?;
            let connector = TlsConnector::from(config.clone());
            let tls = connector
                .connect(name, tcp)
                .await
                .map_err(|error| Failure::Handshake(with_source(&error)))?;
            converse(tls, begun, plan, tally).await
        }
    }
}

/// Requests and answers until the run stops or the proxy announces the end of the connection.
async fn converse<S: AsyncReadRent + AsyncWriteRent>(
    mut stream: S,
    mut begun: Instant,
    plan: &Plan,
    tally: &Tally,
) -> Result<(), Failure> {
    let mut buffer: Vec<u8> = Vec::with_capacity(buffer_bytes(&plan.scenario));
    let mut request = plan.scenario.request();
    let mut first = true;
    loop {
        let (written, sent) = stream.write_all(request).await;
        written.map_err(Failure::Write)?;
        request = sent;
        let closes;
        (closes, buffer) = receive(&mut stream, buffer, &plan.scenario, first).await?;
        let answered = Instant::now();
        tally.record(answered - begun, first);
        begun = answered;
        first = false;
        if plan.scenario.reuse == Reuse::Once {
            return expect_end(&mut stream, buffer, &plan.scenario).await;
        }
        if closes || tally.phase.get() == Phase::Stopped {
            return Ok(());
        }
    }
}

/// Reads one answer and checks it. Every answer's status and length; with `compare`, also every byte.
async fn receive<S: AsyncReadRent>(
    stream: &mut S,
    mut buffer: Vec<u8>,
    scenario: &Scenario,
    compare: bool,
) -> Result<(bool, Vec<u8>), Failure> {
    buffer.clear();
    let head: AnswerHead = loop {
        buffer = read_more(stream, buffer).await?;
        match answer::parse(&buffer)? {
            Some(head) => break head,
            None if buffer.len() == buffer.capacity() => return Err(Failure::HeadTooLong),
            None => {}
        }
    };
    if head.status != 200 {
        return Err(Failure::Status(head.status));
    }
    if head.body_bytes != scenario.answer_body_bytes {
        return Err(Failure::Length { expected: scenario.answer_body_bytes, declared: head.body_bytes });
    }
    buffer.drain(..head.head_bytes);
    let mut received = 0;
    loop {
        if compare && !PATTERN[received..].starts_with(&buffer) || received + buffer.len() > head.body_bytes {
            return Err(Failure::Body);
        }
        received += buffer.len();
        if received == head.body_bytes {
            return Ok((head.closes, buffer));
        }
        buffer.clear();
        buffer = read_more(stream, buffer).await?;
    }
}

/// After an answer to `Connection: close` nothing may follow but the end.
async fn expect_end<S: AsyncReadRent>(
    stream: &mut S,
    mut buffer: Vec<u8>,
    scenario: &Scenario,
) -> Result<(), Failure> {
    buffer.clear();
    match stream.read(buffer).await.0 {
        Ok(0) => Ok(()),
        Ok(_) => Err(Failure::Body),
        // Many proxies end TCP without close_notify; after a complete answer with a length nothing is lost by it.
        Err(error)
            if scenario.transport == Transport::Tls && error.kind() == io::ErrorKind::UnexpectedEof =>
        {
            Ok(())
        }
        Err(error) => Err(Failure::Read(error)),
    }
}

async fn read_more<S: AsyncReadRent>(stream: &mut S, buffer: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let (used, room) = (buffer.len(), buffer.capacity());
    let (read, slice) = stream.read(buffer.slice_mut(used..room)).await;
    match read {
        Ok(0) => Err(Failure::Closed),
        Ok(_) => Ok(slice.into_inner()),
        Err(error) => Err(Failure::Read(error)),
    }
}

fn buffer_bytes(scenario: &Scenario) -> usize {
    if scenario.answer_body_bytes > 64 * 1024 { 256 * 1024 } else { 8 * 1024 }
}

/// The error and what it came from: "io error" alone helps nobody.
fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Why an exchange did not end well.
#[derive(Debug)]
enum Failure {
    Connect(io::Error),
    Handshake(String),
    Write(io::Error),
    Read(io::Error),
    Closed,
    HeadTooLong,
    Malformed(Malformed),
    Status(u16),
    Length { expected: usize, declared: usize },
    Body,
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Failure::Malformed(malformed)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Connect(error) => write!(f, "connect: {error}"),
            Failure::Handshake(error) => write!(f, "TLS handshake: {error}"),
            Failure::Write(error) => write!(f, "write: {error}"),
            Failure::Read(error) => write!(f, "read: {error}"),
            Failure::Closed => write!(f, "closed before the answer was complete"),
            Failure::HeadTooLong => write!(f, "the answer's head does not fit the buffer"),
            Failure::Malformed(malformed) => write!(f, "malformed answer: {malformed}"),
            Failure::Status(status) => write!(f, "status {status}"),
            Failure::Length { expected, declared } => write!(f, "length {declared} instead of {expected}"),
            Failure::Body => write!(f, "the body is not the origin's"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measuring,
    Stopped,
}

/// What the connections of a run count together.
struct Tally {
    phase: Cell<Phase>,
    requests: Cell<u64>,
    first_answers: Cell<usize>,
    reconnects: Cell<u64>,
    latency: RefCell<Histogram<u64>>,
    errors: RefCell<BTreeMap<String, u64>>,
}

impl Tally {
    fn new() -> Result<Self> {
        Ok(Self {
            phase: Cell::new(Phase::WarmUp),
            requests: Cell::new(0),
            first_answers: Cell::new(0),
            reconnects: Cell::new(0),
            latency: RefCell::new(Histogram::new_with_bounds(1, LATENCY_LIMIT_MICROS, 3)?),
            errors: RefCell::new(BTreeMap::new()),
        })
    }

    fn record(&self, latency: Duration, first_of_connection: bool) {
        if first_of_connection {
            self.first_answers.set(self.first_answers.get() + 1);
        }
        if self.phase.get() == Phase::Measuring {
            self.requests.set(self.requests.get() + 1);
            let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            self.latency.borrow_mut().saturating_record(micros.max(1));
        }
    }

    fn fail(&self, reason: &str) {
        let mut errors = self.errors.borrow_mut();
        match errors.get_mut(reason) {
            Some(count) => *count += 1,
            None => {
                errors.insert(reason.to_owned(), 1);
            }
        }
    }

    fn is_hopeless(&self) -> bool {
        self.errors.borrow().values().sum::<u64>() > ERRORS_MAX
    }

    fn unanswered(&self, plan: &Plan) -> usize {
        plan.scenario.connections.saturating_sub(self.first_answers.get())
    }
}

static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| pattern(LARGE_BYTES).collect());

const LATENCY_LIMIT_MICROS: u64 = 60_000_000;
/// Errors after which a run is given up before its window opens.
const ERRORS_MAX: u64 = 1000;
const START_LIMIT: Duration = Duration::from_secs(10);
const STOP_LIMIT: Duration = Duration::from_secs(5);
