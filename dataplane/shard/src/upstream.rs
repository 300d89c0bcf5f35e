//! Connections to endpoints: opened or taken from the pool, and given back only when they are clean.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringress_engine::exchange::{ConnectFailure, Try};
use ringress_shared::id::{EndpointId, UpstreamId};
use ringress_shared::metric::Counter;
use ringress_shared::route::RuleTimeouts;

use crate::buffer::{Buffer, Size};
use crate::clock::Clock;
use crate::rt;
use crate::shard::Shard;
use crate::stream::{Reader, Writer, plain};

/// A connection to an endpoint, in use by exactly one exchange.
pub(crate) struct Connection {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    /// What was received and not used yet.
    pub(crate) received: Buffer,
    /// Whether it came from the pool.
    pub(crate) reused: bool,
    endpoint: EndpointId,
}

/// An idle connection. Nothing waits on it: a read that is dropped at checkout would swallow the next answer.
pub(crate) struct Idle {
    reader: Reader,
    writer: Writer,
}

impl Idle {
    /// Whether it can be used: bytes or an end that nobody asked for rule it out.
    pub(crate) fn is_alive(&self) -> bool {
        rt::is_quiet(self.reader.descriptor())
    }
}

/// How often it is looked whether an endpoint that does not answer is still wanted.
const LOOK: Duration = Duration::from_millis(250);

/// A connection for one try at an endpoint of `upstream`.
pub(crate) async fn open(
    shard: &Rc<Shard>,
    attempt: &Try,
    upstream: UpstreamId,
    timeouts: &RuleTimeouts,
    now: Instant,
) -> Result<Connection, ConnectFailure> {
    let endpoint = attempt.lease.endpoint();
    if !attempt.fresh
        && let Some(connection) = pooled(shard, endpoint, now)
    {
        return Ok(connection);
    }
    let is_wanted = || shard.current().is_some_and(|current| current.has_endpoint(upstream, endpoint));
    // Opening is rare and its future large.
    let opened = Box::pin(while_wanted(connect(shard, attempt), timeouts.connect, is_wanted)).await;
    if opened.is_err() {
        shard.count(Counter::UpstreamConnectFailures);
    }
    opened
}

/// Waits for a connection, `within` at most, and no longer than its endpoint belongs to the upstream: an address that has
/// left without a refusal never answers, and those that came in its place do.
async fn while_wanted<T>(
    opening: impl Future<Output = io::Result<T>>,
    within: Duration,
    is_wanted: impl Fn() -> bool,
) -> Result<T, ConnectFailure> {
    let mut opening = pin!(opening);
    let mut left = within;
    loop {
        let look = LOOK.min(left);
        if let Ok(opened) = rt::timeout(look, opening.as_mut()).await {
            return opened.map_err(|error| failure(&error));
        }
        left -= look;
        if left.is_zero() {
            return Err(ConnectFailure::TimedOut);
        }
        if !is_wanted() {
            return Err(ConnectFailure::Withdrawn);
        }
    }
}

fn failure(error: &io::Error) -> ConnectFailure {
    match error.kind() {
        _ if is_ours(error) => ConnectFailure::Local,
        io::ErrorKind::ConnectionRefused => ConnectFailure::Refused,
        io::ErrorKind::TimedOut => ConnectFailure::TimedOut,
        _ => ConnectFailure::Other,
    }
}

fn pooled(shard: &Shard, endpoint: EndpointId, now: Instant) -> Option<Connection> {
    let Idle { reader, writer } = shard.pool.borrow_mut().take(endpoint, now, Idle::is_alive)?;
    shard.count(Counter::UpstreamReuses);
    Some(Connection { reader, writer, received: Buffer::new(Size::Small), reused: true, endpoint })
}

/// May be dropped at any time.
async fn connect(shard: &Shard, attempt: &Try) -> io::Result<Connection> {
    let endpoint = attempt.lease.endpoint();
    let _pass = shard.gates.enter(endpoint).await;
    // While this one waited, another may have come back.
    if !attempt.fresh
        && let Some(connection) = pooled(shard, endpoint, Clock::now())
    {
        return Ok(connection);
    }
    shard.count(Counter::UpstreamConnects);
    let halves = rt::connect(attempt.lease.address()).await?;
    let (reader, writer) = plain(halves, &shard.wheel);
    Ok(Connection { reader, writer, received: Buffer::new(Size::Small), reused: false, endpoint })
}

/// Whether an error of connecting says something of this machine, not of the endpoint.
fn is_ours(error: &io::Error) -> bool {
    let ours = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::EADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| ours.contains(&code))
}

impl Connection {
    /// Gives the connection back after its request was sent whole and its response read whole. Bytes that nobody asked
    /// for make it unusable.
    pub(crate) fn give_back(
        self,
        shard: &Shard,
        timeouts: &RuleTimeouts,
        keep_alive_secs: Option<u32>,
        now: Instant,
    ) {
        if !self.received.is_empty() || self.reader.watch.has_expired() || self.writer.watch.has_expired() {
            return;
        }
        // The endpoint names its own limit: be gone a second earlier.
        let life = match keep_alive_secs {
            Some(seconds) => timeouts.idle.min(Duration::from_secs(u64::from(seconds.saturating_sub(1)))),
            None => timeouts.idle,
        };
        self.reader.watch.disarm();
        let idle = Idle { reader: self.reader, writer: self.writer };
        // A full pool closes what it does not keep.
        drop(shard.pool.borrow_mut().put(self.endpoint, idle, now, life));
    }

    /// Cuts the connection, so that whoever waits on it learns of the end.
    pub(crate) fn cut(descriptor: std::os::fd::RawFd) {
        rt::shutdown(descriptor, std::net::Shutdown::Both);
    }
}
