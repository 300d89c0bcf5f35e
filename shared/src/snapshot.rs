//! The immutable everything that a shard needs.
//!
//! ```text
//! Snapshot ── generation
//!          ├─ sockets ── listeners ── routing ── RouteTable ── rules ── policies
//!          │                      └─ tls      ── CertificateStore       backends ─┐ by UpstreamId
//!          ├─ upstreams ◄──────────────────────────────────────────────────────────┘
//!          ├─ server_configs   rustls configurations, assembled at publication, by listener
//!          └─ ambient          what outlives generations: ticket keys
//! ```
//!
//! Every part is an `Arc` of its own and keeps its pointer while it is equal, so that a shard sees by pointer what moved.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rustls::server::ProducesTickets;

use crate::listener::{ListenerId, Socket};
use crate::upstream::UpstreamTable;

/// The number of a snapshot, counted from 1 in each process.
pub type Generation = u64;

/// What translation gives and publication numbers: the parts of a snapshot.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What to listen on, and behind it what to route with.
    pub sockets: Arc<[Socket]>,
    /// Where to forward, by id.
    pub upstreams: Arc<UpstreamTable>,
}

/// One generation, whole.
#[derive(Clone)]
pub struct Snapshot {
    /// Its number.
    pub generation: Generation,
    /// What to listen on, and behind it what to route with.
    pub sockets: Arc<[Socket]>,
    /// Where to forward, by id.
    pub upstreams: Arc<UpstreamTable>,
    /// The rustls configuration of each terminating listener.
    pub server_configs: Arc<BTreeMap<ListenerId, Arc<rustls::ServerConfig>>>,
    /// What outlives generations.
    pub ambient: Arc<Ambient>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// State that outlives generations and is shared by all shards without a lock.
pub struct Ambient {
    /// Seals and opens session tickets; reading its keys takes no lock.
    pub tickets: Arc<dyn ProducesTickets>,
}

impl fmt::Debug for Ambient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ambient").finish_non_exhaustive()
    }
}
