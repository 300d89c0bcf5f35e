//! How the watches of the API server stand: what is refused, failing or assumed. Empty without a cluster.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Admin;
use crate::source::kube::WatchReport;

pub(super) async fn watches(State(admin): State<Admin>) -> Json<Watches> {
    let reports = admin.live.watches.as_ref().map(|watches| watches.report()).unwrap_or_default();
    Json(Watches { watches: reports.into_iter().map(Watch::from).collect() })
}

#[derive(Debug, Serialize)]
pub(super) struct Watches {
    watches: Vec<Watch>,
}

#[derive(Debug, Serialize)]
struct Watch {
    /// `services in shop`.
    watch: String,
    kind: &'static str,
    /// Whether its first list is there.
    listed: bool,
    /// Whether it may not be watched, and something is assumed instead.
    assumed: bool,
    /// Whether an empty list is not believed yet.
    doubted: bool,
    lists: u64,
    failures: u64,
    /// Why it fails; `null` while it does not.
    failing: Option<String>,
    /// Seconds for which it has been failing.
    failing_s: Option<f64>,
}

impl From<WatchReport> for Watch {
    fn from(report: WatchReport) -> Self {
        let WatchReport {
            watch,
            kind,
            listed,
            assumed,
            lists,
            events: _,
            failures,
            failing,
            doubts,
            doubted: _,
        } = report;
        let (failing_s, failing) = failing.map(|(since, why)| (since.as_secs_f64(), why)).unzip();
        Self { watch, kind, listed, assumed, doubted: doubts, lists, failures, failing, failing_s }
    }
}
