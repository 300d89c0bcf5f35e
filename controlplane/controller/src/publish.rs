//! Publishing: parts become a numbered snapshot that every shard is told to serve.
//!
//! ```text
//! Parts ──► bind what is new ──► Listen to each shard ──► Apply to each shard ──► Unlisten what is gone
//!                                                              └─► Installed(generation) comes back as an event
//! ```
//!
//! Nobody waits for an acknowledgement before the next generation is published: only the newest Apply of a mailbox
//! counts, so a late shard skips. Snapshots are freed here and never on a shard, whose share must never be the last.

pub mod bind;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use ringress_shared::command::{Command, ShardId, ShardPort};
use ringress_shared::listener::{Socket, SocketId, TlsProfileId};
use ringress_shared::snapshot::{Ambient, Generation, Parts, Snapshot};

use crate::tickets::TicketKeys;
use bind::BindError;
use tls::TlsConfigs;

/// Numbers generations, binds sockets, tells shards and frees what they no longer use.
pub struct Publisher {
    ports: Vec<Arc<dyn ShardPort>>,
    tls: TlsConfigs,
    ambient: Arc<Ambient>,
    generation: Generation,
    /// What each shard has acknowledged.
    installed: Vec<Generation>,
    /// Where the bound sockets of the current generation listen.
    bound: BTreeMap<SocketId, SocketAddr>,
    /// Sockets of the current generation that could not be bound.
    missing: BTreeSet<SocketId>,
    /// Every generation that somebody still uses, the newest last.
    history: Vec<Arc<Snapshot>>,
}

/// One publication.
#[derive(Debug)]
pub struct Publication {
    /// What the shards were told to serve.
    pub snapshot: Arc<Snapshot>,
    /// Sockets that could not be bound; the rest of the generation serves.
    pub failed: Vec<BindError>,
}

impl Publisher {
    /// A publisher that has published nothing. Shard `n` is reached through `ports[n]`.
    pub fn new(ports: Vec<Arc<dyn ShardPort>>, tickets: Arc<TicketKeys>) -> Self {
        let ambient = Ambient { tickets: tickets.ticketer(&TlsProfileId("".into())) };
        Self {
            installed: vec![0; ports.len()],
            ports,
            tls: TlsConfigs::new(tickets),
            ambient: Arc::new(ambient),
            generation: 0,
            bound: BTreeMap::new(),
            missing: BTreeSet::new(),
            history: Vec::new(),
        }
    }

    /// Publishes the next generation. Costs two messages per shard, and a bind per new socket.
    ///
    /// # Errors
    /// The TLS stack refuses a configuration: nothing is published, the generation before stays.
    pub fn publish(&mut self, parts: Parts) -> Result<Publication, rustls::Error> {
        let server_configs = self.tls.assemble(&parts.sockets)?;
        self.generation += 1;
        let snapshot = Arc::new(Snapshot {
            generation: self.generation,
            sockets: parts.sockets,
            upstreams: parts.upstreams,
            server_configs,
            ambient: Arc::clone(&self.ambient),
        });
        let gone = self.forget_sockets(&snapshot.sockets);
        let failed = self.listen(&snapshot.sockets);
        self.tell(|| Command::Apply(Arc::clone(&snapshot)));
        for socket in gone {
            self.tell(|| Command::Unlisten(socket));
        }
        self.history.push(Arc::clone(&snapshot));
        self.free();
        Ok(Publication { snapshot, failed })
    }

    /// Tries again to bind what the current generation lacks; returns what still fails.
    pub fn rebind(&mut self) -> Vec<BindError> {
        if self.missing.is_empty() {
            return Vec::new();
        }
        let Some(newest) = self.history.last() else { return Vec::new() };
        let sockets = Arc::clone(&newest.sockets);
        self.listen(&sockets)
    }

    /// Notes what a shard has acknowledged; returns what all shards have.
    pub fn installed(&mut self, shard: ShardId, generation: Generation) -> Generation {
        if let Some(newest) = self.installed.get_mut(shard) {
            *newest = generation.max(*newest);
        }
        self.acknowledged()
    }

    /// The newest generation that every shard has installed.
    pub fn acknowledged(&self) -> Generation {
        self.installed.iter().copied().min().unwrap_or(self.generation)
    }

    /// The newest generation that was published; 0 before the first.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Where the sockets of the current generation listen.
    pub fn bound(&self) -> &BTreeMap<SocketId, SocketAddr> {
        &self.bound
    }

    /// Frees the snapshots that nobody else holds, but the newest; returns how many live.
    pub fn free(&mut self) -> usize {
        let newest = self.generation;
        self.history.retain(|snapshot| snapshot.generation == newest || Arc::strong_count(snapshot) > 1);
        self.history.len()
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for port in &self.ports {
            port.send(command());
        }
    }

    /// Forgets the sockets that the new generation lacks; returns those that shards listen on.
    fn forget_sockets(&mut self, sockets: &[Socket]) -> Vec<SocketId> {
        let wanted: BTreeSet<SocketId> = sockets.iter().map(|socket| socket.id).collect();
        self.missing.retain(|id| wanted.contains(id));
        let gone: Vec<SocketId> = self.bound.keys().filter(|id| !wanted.contains(id)).copied().collect();
        self.bound.retain(|id, _| wanted.contains(id));
        gone
    }

    /// Binds the sockets that are not bound yet and hands them out.
    fn listen(&mut self, sockets: &[Socket]) -> Vec<BindError> {
        let mut failed = Vec::new();
        for socket in sockets {
            if self.bound.contains_key(&socket.id) {
                continue;
            }
            match bind::bind(socket.id, self.ports.len()) {
                Ok(group) => self.hand_out(socket.id, group),
                Err(error) => {
                    self.missing.insert(socket.id);
                    failed.push(error);
                }
            }
        }
        failed
    }

    fn hand_out(&mut self, socket: SocketId, group: bind::Bound) {
        for (port, descriptor) in self.ports.iter().zip(group.descriptors) {
            port.send(Command::Listen { socket, descriptor });
        }
        self.missing.remove(&socket);
        self.bound.insert(socket, group.address);
    }
}
