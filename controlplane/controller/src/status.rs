//! What users see on their objects: addresses in `status.loadBalancer`, and Events.
//!
//! ```text
//! generation live ─► Feed ─► Writer ──┬─ address: where clients reach us ─► decide ─► PATCH ingresses/status
//!                              ▲      └─ event: what changed, what is wrong ────────► POST events
//!                              └─ lease: only the leader writes; every replica serves
//! ```
//!
//! Everything here is beside the way of traffic: it may fail, lag or be switched off, and requests never notice. What to
//! write is decided by pure functions (`address`, `decide`, `event`, and `lease` for who writes); only `writer` talks to the
//! API server, compares before it writes, and writes within limits.

mod address;
mod decide;
mod event;
mod lease;
mod writer;

use ringress_translate::objects::Key;
use tokio::sync::watch;

use crate::acknowledge::GenerationReport;
use crate::source::kube::Access;

pub use writer::Writer;

/// Where the addresses of Ingresses come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publish {
    /// The addresses of this Service.
    Service(Key),
    /// These addresses and names.
    Addresses(Vec<String>),
    /// The nodes on which the pods of ringress run.
    Nodes,
}

/// Who writes what, and as whom.
#[derive(Debug, Clone)]
pub struct StatusConfig {
    /// Towards which API server.
    pub access: Access,
    /// `None`: the status of Ingresses is left alone.
    pub publish: Option<Publish>,
    /// The name of the Lease.
    pub election_id: String,
    /// The pod that this process runs in.
    pub pod_name: Option<String>,
    /// Its namespace, and that of the Lease; `None`: what the kubeconfig or the service account says.
    pub pod_namespace: Option<String>,
}

/// Takes the reports of live generations; only the newest matters.
#[derive(Debug, Clone)]
pub struct Feed(watch::Sender<Option<GenerationReport>>);

impl Feed {
    /// Hands a report on. Never waits.
    pub fn tell(&self, report: GenerationReport) {
        self.0.send_replace(Some(report));
    }
}

/// A writer and what feeds it.
pub fn writer(config: StatusConfig) -> (Writer, Feed) {
    let (sender, reports) = watch::channel(None);
    (Writer::new(config, reports), Feed(sender))
}
