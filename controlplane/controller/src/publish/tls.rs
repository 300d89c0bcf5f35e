//! rustls configurations out of TLS profiles.
//!
//! A configuration is kept as long as its listener keeps the very same profile, so that a change elsewhere costs nothing
//! here and shards see by pointer that nothing moved. Nothing in a configuration takes a lock that shards would share: no
//! session cache, tickets by [`TicketKeys`].

use std::collections::BTreeMap;
use std::sync::Arc;

use ringress_shared::listener::{Listener, ListenerId, Socket, TlsProfile};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};

use crate::tickets::TicketKeys;

/// The rustls configuration of each terminating listener.
pub(super) type ServerConfigs = Arc<BTreeMap<ListenerId, Arc<ServerConfig>>>;

/// Assembles configurations and remembers them by profile.
#[derive(Debug)]
pub(super) struct TlsConfigs {
    provider: Arc<CryptoProvider>,
    tickets: Arc<TicketKeys>,
    /// What each listener had last.
    kept: BTreeMap<ListenerId, (Arc<TlsProfile>, Arc<ServerConfig>)>,
    served: ServerConfigs,
}

impl TlsConfigs {
    /// No configuration yet.
    pub(super) fn new(tickets: Arc<TicketKeys>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Self { provider, tickets, kept: BTreeMap::new(), served: Arc::default() }
    }

    /// The configurations of these sockets; the same `Arc` as before where no profile changed.
    ///
    /// # Errors
    /// The TLS stack refuses a configuration; what was kept stays.
    pub(super) fn assemble(&mut self, sockets: &[Socket]) -> Result<ServerConfigs, rustls::Error> {
        let mut fresh = BTreeMap::new();
        for (listener, profile) in terminating(sockets) {
            let config = self.config(listener, profile)?;
            fresh.insert(listener.id.clone(), (Arc::clone(profile), config));
        }
        if !same(&self.kept, &fresh) {
            let served = fresh.iter().map(|(id, (_, config))| (id.clone(), Arc::clone(config))).collect();
            self.served = Arc::new(served);
        }
        self.kept = fresh;
        Ok(Arc::clone(&self.served))
    }

    fn config(
        &self,
        listener: &Listener,
        profile: &Arc<TlsProfile>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        match self.kept.get(&listener.id) {
            Some((kept, config)) if Arc::ptr_eq(kept, profile) => Ok(Arc::clone(config)),
            _ => self.build(profile).map(Arc::new),
        }
    }

    fn build(&self, profile: &TlsProfile) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&profile.certificates) as _);
        config.alpn_protocols.clone_from(&profile.alpn);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = self.tickets.ticketer(&profile.id);
        config.send_tls13_tickets = 1;
        config.max_early_data_size = 0;
        Ok(config)
    }
}

fn terminating(sockets: &[Socket]) -> impl Iterator<Item = (&Listener, &Arc<TlsProfile>)> {
    let listeners = sockets.iter().flat_map(|socket| socket.listeners.iter());
    listeners.filter_map(|listener| Some((listener, listener.tls.as_ref()?)))
}

type Kept = BTreeMap<ListenerId, (Arc<TlsProfile>, Arc<ServerConfig>)>;

fn same(old: &Kept, new: &Kept) -> bool {
    old.len() == new.len()
        && old.iter().zip(new).all(|((a, (_, x)), (b, (_, y)))| a == b && Arc::ptr_eq(x, y))
}
