//! The admin port: health, metrics, and questions about what is served.
//!
//! It reads what the control loop shows and asks shards for their counters; it changes nothing, so it needs no
//! permission. It must still not stand on a traffic port: routes and endpoints are nobody else's business.
//!
//! | page | answer |
//! |---|---|
//! | `GET /healthz`, `/livez` | 200 while every shard gives signs of life |
//! | `GET /readyz` | 200 once generation 1 serves on all shards, each accepts, and nobody asked to stop |
//! | `GET /metrics` | counters of all shards and of the control plane |
//! | `GET /version` | `{"version": …}` |
//! | `GET /generation` | `{"generation": n, "shards": [n, …]}` |
//! | `GET /routes` | every path of every host with its rule, policies, upstreams, endpoints; what is wrong with which object |
//! | `GET /problems` | what is wrong with which object, alone |
//! | `GET /shards` | core, driver, generation, connections and requests of each shard |
//! | `GET /watches` | how the watches of the API server stand |
//! | `GET /writes` | what cannot be written to the cluster, and which rights it takes |
//! | `GET /certificates` | what is shown for which host, and what is missing |
//! | `GET /backends` | the Services behind rules, with their endpoints, chosen or not |
//! | `GET /flags` | flags, and who gave them |
//! | `GET /dump` | flags, routes, backends, certificates and problems of one generation |
//! | `POST /explain` | what would happen to a request |
//! | `POST /applied` | whether an Ingress is served as it is, on every shard |

mod applied;
mod backends;
pub(crate) mod certificates;
mod dump;
mod health;
mod metrics;
mod routes;
mod serve;
mod shards;
mod watches;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{FromRequest, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, body::Body};
use serde::Serialize;
use serde_json::Value;

use crate::live::{Live, View};
pub use dump::FlagTold;
pub(crate) use serve::serve;

/// Answers what would happen to a request: handed in by the binary, the only place that knows both planes.
pub type Explain = Arc<dyn Fn(&View, Value) -> Result<Value, Refused> + Send + Sync>;

/// Why a question cannot be answered: it is wrong itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The field of the question; `body` for all of it.
    pub field: String,
    /// What is wrong with it, and the next step.
    #[serde(rename = "error")]
    pub message: String,
}

/// Which pages an address serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Every page.
    All,
    /// What kubelets and Prometheus ask for.
    Health,
}

#[derive(Clone)]
pub(crate) struct Admin {
    pub(crate) live: Arc<Live>,
    pub(crate) explain: Explain,
    pub(crate) flags: Arc<[FlagTold]>,
}

pub(crate) fn router(pages: Pages, admin: Admin) -> Router {
    let mut router = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/livez", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::metrics));
    if pages == Pages::All {
        router = router
            .route("/version", get(version))
            .route("/generation", get(generation))
            .route("/routes", get(routes::routes))
            .route("/problems", get(routes::problems))
            .route("/shards", get(shards::shards))
            .route("/watches", get(watches::watches))
            .route("/writes", get(writes::writes))
            .route("/certificates", get(certificates::certificates))
            .route("/backends", get(backends::backends))
            .route("/flags", get(dump::flags))
            .route("/dump", get(dump::dump))
            .route("/applied", post(applied::applied))
            .route("/explain", post(explain_request));
    }
    router.with_state(admin)
}

async fn version() -> Json<Version> {
    Json(Version { version: env!("CARGO_PKG_VERSION") })
}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

async fn generation(State(admin): State<Admin>) -> Json<Generations> {
    // Shards first: a generation that they have is never missing from the number beside it.
    let shards = admin.live.ports.iter().map(|port| port.status().generation()).collect();
    Json(Generations { shards, generation: admin.live.standing().generation })
}

#[derive(Serialize)]
struct Generations {
    /// The newest that was published.
    generation: u64,
    /// The one that new requests get, by shard.
    shards: Vec<u64>,
}

async fn explain_request(State(admin): State<Admin>, request: Request) -> Response {
    let question: Value = match read(request).await {
        Ok(Json(question)) => question,
        Err(refusal) => return refusal,
    };
    let Some(view) = admin.live.view() else { return plain(StatusCode::SERVICE_UNAVAILABLE, NOTHING_YET) };
    // On a thread of its own: a panic there must cost this answer and nothing else.
    match tokio::task::spawn_blocking(move || (admin.explain)(&view, question)).await {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(Refused { field, message })) => refused(StatusCode::BAD_REQUEST, &field, &message),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("explain failed: {error}")),
    }
}

/// Reads what a question brings; what does not come in time, or has no sense, is answered here.
async fn read<T: FromRequest<(), Rejection: Rejection>>(request: Request) -> Result<T, Response> {
    match tokio::time::timeout(BODY_TIMEOUT, T::from_request(request, &())).await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(rejection)) => Err(refused(rejection.status(), "body", &rejection.body_text())),
        Err(_) => Err(refused(StatusCode::REQUEST_TIMEOUT, "body", "the body did not come in time")),
    }
}

/// What axum says of a body that it cannot read.
trait Rejection {
    fn status(&self) -> StatusCode;
    fn body_text(&self) -> String;
}

impl Rejection for JsonRejection {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn body_text(&self) -> String {
        self.body_text()
    }
}

impl Rejection for BytesRejection {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn body_text(&self) -> String {
        self.body_text()
    }
}

fn refused(status: StatusCode, field: &str, message: &str) -> Response {
    let refused = Refused { field: field.to_owned(), message: message.to_owned() };
    (status, Json(refused)).into_response()
}

fn plain(status: StatusCode, text: &str) -> Response {
    let body = Body::from(format!("{text}\n"));
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}

const NOTHING_YET: &str = "nothing is served yet; try again once /readyz answers 200";

/// For the body of a question, after its head.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
