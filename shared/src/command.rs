//! What the control plane tells a shard, and what a shard tells the control plane.
//!
//! Commands travel through a shard's mailbox. The control thread binds and sends descriptors; a shard never binds.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::listener::SocketId;
use crate::metric::{EndpointLoad, ShardReport};
use crate::snapshot::{Generation, Snapshot};

/// The number of a shard, from 0.
pub type ShardId = usize;

/// What a shard is told.
pub enum Command {
    /// Serve this snapshot from now on. Only the last one of a batch counts.
    Apply(Arc<Snapshot>),
    /// Accept on this bound, listening socket.
    Listen {
        /// Which socket of the snapshot it is.
        socket: SocketId,
        /// Owned, so that a lost message leaks nothing.
        descriptor: OwnedFd,
    },
    /// Serve a connection that somebody else accepted, before a byte of it was read. Whoever sends this has counted it in
    /// [`ShardStatus::connections`] already, so that a burst is not handed to one shard as a whole.
    Adopt {
        /// Which socket of the snapshot it came in by.
        socket: SocketId,
        /// Owned, so that a lost message leaks nothing.
        descriptor: OwnedFd,
        /// The client.
        peer: SocketAddr,
    },
    /// The other shards: new connections are handed to a shard with far fewer of them, since the kernel spreads few
    /// connections badly.
    Neighbours(Arc<[Arc<dyn ShardPort>]>),
    /// Stop accepting on a socket: serve what is queued, then close it.
    Unlisten(SocketId),
    /// Stop accepting everywhere, finish what is under way, report [`Event::Drained`], at the latest after `within`.
    Drain {
        /// What is open after this is cut.
        within: Duration,
    },
    /// Answer with counters and latencies.
    Report(ReportReply),
    /// Answer with what is known of the endpoints that are in use or fail. Walks all of them: for questions of people.
    Loads(LoadsReply),
}

/// Takes the answer to [`Command::Report`]; called on the shard's thread, so it must not block.
pub type ReportReply = Box<dyn FnOnce(ShardReport) + Send>;

/// Takes the answer to [`Command::Loads`], as [`ReportReply`] does; endpoints that are idle and well are left out.
pub type LoadsReply = Box<dyn FnOnce(Vec<EndpointLoad>) + Send>;

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply(snapshot) => write!(f, "Apply({})", snapshot.generation),
            Self::Listen { socket, .. } => write!(f, "Listen({socket})"),
            Self::Adopt { socket, peer, .. } => write!(f, "Adopt({socket}, {peer})"),
            Self::Neighbours(ports) => write!(f, "Neighbours({})", ports.len()),
            Self::Unlisten(socket) => write!(f, "Unlisten({socket})"),
            Self::Drain { within } => write!(f, "Drain({within:?})"),
            Self::Report(_) => f.write_str("Report"),
            Self::Loads(_) => f.write_str("Loads"),
        }
    }
}

/// What a shard tells.
#[derive(Debug)]
pub enum Event {
    /// New exchanges on this shard use this generation.
    Installed {
        /// Who.
        shard: ShardId,
        /// What.
        generation: Generation,
    },
    /// Nothing is open any more.
    Drained {
        /// Who.
        shard: ShardId,
        /// Connections that had to be cut.
        cut: u64,
    },
    /// Something that the operator should read; at most one a second.
    Notice {
        /// Who.
        shard: ShardId,
        /// One line.
        message: String,
    },
    /// The shard's thread ended although nobody asked: the process must end, or its sockets would keep taking connections.
    Died {
        /// Who.
        shard: ShardId,
        /// The panic's message.
        message: String,
    },
}

/// Takes events from any thread; must not block.
pub type EventSink = Arc<dyn Fn(Event) + Send + Sync>;

/// The way to one shard.
pub trait ShardPort: Send + Sync {
    /// Puts a command into the shard's mailbox and wakes it.
    fn send(&self, command: Command);
    /// What the shard says of itself at any time.
    fn status(&self) -> &ShardStatus;
}

/// What a shard says of itself; written by the shard, but for connections that a neighbour hands over.
#[derive(Debug)]
pub struct ShardStatus {
    /// Its number.
    pub shard: ShardId,
    /// The generation that new exchanges use; 0 before the first.
    pub installed: AtomicU64,
    /// Counts up while the shard's loop turns, at least once a second.
    pub heartbeat: AtomicU64,
    /// Whether it accepts connections.
    pub accepting: AtomicBool,
    /// Client connections that are open, with those that are on their way here.
    pub connections: AtomicI64,
    /// The rung of the driver ladder that it stands on.
    pub driver: std::sync::OnceLock<DriverReport>,
    /// The core that it keeps to; unset: any.
    pub core: std::sync::OnceLock<usize>,
}

impl ShardStatus {
    /// The status of a shard that has not started.
    pub fn new(shard: ShardId) -> Self {
        Self {
            shard,
            installed: AtomicU64::new(0),
            heartbeat: AtomicU64::new(0),
            accepting: AtomicBool::new(false),
            connections: AtomicI64::new(0),
            driver: std::sync::OnceLock::new(),
            core: std::sync::OnceLock::new(),
        }
    }

    /// The generation that new exchanges use; 0 before the first.
    pub fn generation(&self) -> Generation {
        self.installed.load(Ordering::Acquire)
    }
}

/// How a shard does its input and output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IoDriver {
    /// Completion rings.
    IoUring,
    /// Readiness polling.
    Epoll,
}

impl IoDriver {
    /// As flags, logs and metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// The rung of the driver ladder that a shard stands on, and why none above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverReport {
    /// The driver.
    pub driver: IoDriver,
    /// Ring sizes and flags, or `epoll`.
    pub rung: String,
    /// Why the rungs above were not taken; empty on the first rung.
    pub reason: String,
    /// Client connections for whose operations there is room; the rest waits in the kernel's queue.
    pub connections_max: u64,
}
