//! What cannot be written to the cluster: statuses, Events, Leases. Empty without a cluster, and of statuses and Events on replicas
//! that do not lead.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::Admin;
use crate::status::troubles::TroubleReport;

pub(super) async fn writes(State(admin): State<Admin>) -> Json<Writes> {
    Json(Writes { troubles: admin.live.troubles.report().into_iter().map(Trouble::from).collect() })
}

#[derive(Debug, Serialize)]
pub(super) struct Writes {
    troubles: Vec<Trouble>,
}

#[derive(Debug, Serialize)]
struct Trouble {
    /// What cannot be done, as the end of "cannot".
    what: &'static str,
    why: String,
    /// Whether a right is missing.
    refused: bool,
    /// The rights that it takes, as RBAC words them.
    needs: &'static str,
    /// Seconds for which it has been failing.
    failing_s: f64,
}

impl From<TroubleReport> for Trouble {
    fn from(TroubleReport { what, why, is_refused, needs, age }: TroubleReport) -> Self {
        Self { what, why, refused: is_refused, needs, failing_s: age.as_secs_f64() }
    }
}
