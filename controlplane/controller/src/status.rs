//! What users see on their objects: addresses in `status.loadBalancer`, and Events.
//!
//! ```text
//! generation live ─► Feed ─┬─► scribe:  address, nodes ─► decide ──────────► PATCH ingresses/status ┐ the leader
//!                          ├─► speaker: waiting ─► agreed? ─► outbox ──────► POST events            ┘ alone
//!                          │                        ▲ replica: what the others have
//!                          └─► announcer: what this replica has ───────────► PATCH leases/ringress-replica-POD
//!                              holder:  lease ─► who leads ────────────────► PUT leases/ELECTION-ID
//! ```
//!
//! Everything here is beside the way of traffic: it may fail, lag or be switched off, and requests never notice. What to
//! write is decided by pure functions (`address`, `decide`, `event`, `served`, `users`, `waiting`, `reminders`, `replica`, `outbox`, and `lease` for who
//! writes); the others talk to the API server, compare before they write, and write within limits.
//!
//! `Applied` speaks for every shard of every replica that is ready: each shows in a Lease of its own how far the watches
//! were that its shards serve, and the leader waits until all have what it serves itself. Nothing is known of Pods for that: a
//! replica counts while it renews its Lease, which it does only while it is ready. Where those Leases may not be read, it says so.

mod address;
mod announcer;
mod api;
mod authors;
mod clear;
mod decide;
mod event;
mod follow;
mod holder;
mod known;
mod lease;
mod nodes;
mod outbox;
mod owner;
mod reminders;
mod replica;
mod scribe;
mod served;
mod speaker;
pub(crate) mod troubles;
mod users;
mod waiting;
mod writer;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ringress_translate::objects::Key;
use tokio::sync::{oneshot, watch};

use crate::acknowledge::GenerationReport;
use crate::live::View;
use crate::source::kube::{Access, Progress};

pub use clear::{ClearError, Cleared, Clearing, Election, clear};
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
    /// Of nodes, show the internal address even where there is an external one.
    pub report_internal_addresses: bool,
    /// The namespaces of Ingresses, as the source watches them; empty: all.
    pub watched: BTreeSet<String>,
    /// How often what others may have written over it is put right.
    pub read_again: Duration,
    /// How long clients must reach us nowhere before the addresses are taken out for that.
    pub confirm: Duration,
    /// Whether the last replica takes the addresses out of the statuses when it ends.
    pub clear_on_shutdown: bool,
    /// The name of the Lease.
    pub election_id: String,
    /// The pod that this process runs in.
    pub pod_name: Option<String>,
    /// Its namespace, and that of the Lease; `None`: what the kubeconfig or the service account says.
    pub pod_namespace: Option<String>,
}

/// Takes the reports of live generations. Only the newest matters, and the first: what is there at the start is not news, and
/// what changes a moment later is, even if nobody has looked by then.
#[derive(Debug)]
pub struct Feed {
    first: Option<oneshot::Sender<GenerationReport>>,
    newest: watch::Sender<Option<GenerationReport>>,
}

impl Feed {
    /// Hands a report on. Never waits.
    pub fn tell(&mut self, report: GenerationReport) {
        if let Some(first) = self.first.take() {
            // Fails where nobody writes.
            let _ = first.send(report.clone());
        }
        self.newest.send_replace(Some(report));
    }
}

/// Whether an Ingress is of our class.
fn is_ours(view: &View, ingress: &Key) -> bool {
    view.translation.claims.of(ingress).any(|claim| claim.class.is_ours())
}

/// A writer and what feeds it. `progress` is that of the source whose generations are reported.
pub fn writer(config: StatusConfig, progress: Arc<Progress>) -> (Writer, Feed) {
    let (newest, reports) = watch::channel(None);
    let (sender, first) = oneshot::channel();
    (Writer::new(config, progress, (first, reports)), Feed { first: Some(sender), newest })
}
