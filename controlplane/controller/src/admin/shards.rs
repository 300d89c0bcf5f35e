//! The shards as a table: what each is, serves and has done.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use ringress_shared::command::ShardStatus;
use ringress_shared::metric::{Counter, ShardReport};
use serde::Serialize;
use tokio::time::Instant;

use super::{Admin, metrics};

pub(super) async fn shards(State(admin): State<Admin>) -> Json<Shards> {
    let live = &admin.live;
    let reports = metrics::gather(&live.ports).await;
    let silences = live.silences(Instant::now());
    let shown = live.ports.iter().zip(&reports).map(|(port, report)| {
        let status = port.status();
        let silent_s = silences.get(status.shard).copied().unwrap_or_default().as_secs_f64();
        Shard { silent_s, ..Shard::of(status, report.as_ref()) }
    });
    let shards = shown.collect();
    let standing = live.standing();
    Json(Shards {
        version: env!("CARGO_PKG_VERSION"),
        generation: standing.generation,
        draining: standing.draining,
        unbound: standing.unbound.clone(),
        shards,
    })
}

/// One process.
#[derive(Debug, Serialize)]
pub(super) struct Shards {
    version: &'static str,
    /// The newest that was published.
    generation: u64,
    draining: bool,
    /// Sockets that cannot be bound, and why.
    unbound: Vec<String>,
    shards: Vec<Shard>,
}

#[derive(Debug, Serialize)]
struct Shard {
    shard: usize,
    /// `null`: any.
    core: Option<usize>,
    /// `io_uring`, `epoll` or `starting`.
    driver: &'static str,
    /// The rung of the driver ladder.
    rung: String,
    /// Why no rung above it; empty on the first.
    reason: String,
    /// The one that new requests get.
    generation: u64,
    accepting: bool,
    /// Client connections that are open.
    connections: i64,
    /// Exchanges that were answered; `null` where the shard did not tell in time.
    requests: Option<u64>,
    /// Of these, those answered with 5xx.
    failures: Option<u64>,
    /// Seconds without a sign of life.
    silent_s: f64,
}

impl Shard {
    fn of(status: &ShardStatus, report: Option<&ShardReport>) -> Self {
        let driver = status.driver.get();
        Self {
            shard: status.shard,
            core: status.core.get().copied(),
            driver: driver.map_or("starting", |report| report.driver.as_str()),
            rung: driver.map(|report| report.rung.clone()).unwrap_or_default(),
            reason: driver.map(|report| report.reason.clone()).unwrap_or_default(),
            generation: status.generation(),
            accepting: status.accepting.load(Ordering::Acquire),
            connections: status.connections.load(Ordering::Relaxed).max(0),
            requests: report
                .map(|report| ANSWERED.iter().map(|counter| report.counters[*counter as usize]).sum()),
            failures: report.map(|report| report.counters[Counter::Responses5xx as usize]),
            silent_s: 0.0,
        }
    }
}

const ANSWERED: [Counter; 5] = [
    Counter::Responses1xx,
    Counter::Responses2xx,
    Counter::Responses3xx,
    Counter::Responses4xx,
    Counter::Responses5xx,
];
