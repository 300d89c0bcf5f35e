//! The effective configuration: what the flags say and who said so, and what the shards were told. Never a key, and no value of
//! a Secret: what is shown is built from the snapshot and never from the objects.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::backends::{Backend, Backends, Loads};
use super::certificates::{Certificates, Missing, Shown};
use super::routes::problems::Troubled;
use super::routes::{Route, Routes};
use super::{Admin, NOTHING_YET, plain};

/// One flag of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FlagTold {
    /// Without dashes.
    pub flag: String,
    /// As text; empty: not given, and without a default.
    pub value: String,
    /// `flag`, `environment` or `default`.
    pub origin: &'static str,
}

pub(super) async fn dump(State(admin): State<Admin>) -> Response {
    let Some(view) = admin.live.view() else { return plain(StatusCode::SERVICE_UNAVAILABLE, NOTHING_YET) };
    let Routes { generation, degraded, routes, problems } = Routes::of(&view, admin.live.degraded());
    let Certificates { certificates, missing, .. } = Certificates::of(&view, &admin.live.shown_since);
    let dump = Dump {
        version: env!("CARGO_PKG_VERSION"),
        generation,
        degraded,
        flags: &admin.flags,
        routes,
        backends: Backends::of(&view, &Loads::default()).backends,
        certificates,
        missing_certificates: missing,
        problems,
    };
    Json(dump).into_response()
}

/// The flags alone.
pub(super) async fn flags(State(admin): State<Admin>) -> Json<Value> {
    Json(json!({"version": env!("CARGO_PKG_VERSION"), "flags": &*admin.flags}))
}

#[derive(Debug, Serialize)]
struct Dump<'a> {
    version: &'static str,
    generation: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<String>,
    flags: &'a [FlagTold],
    routes: Vec<Route>,
    backends: Vec<Backend>,
    certificates: Vec<Shown>,
    missing_certificates: Vec<Missing>,
    problems: Vec<Troubled>,
}
