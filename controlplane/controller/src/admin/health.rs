//! Liveness and readiness, with the state of each shard.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ringress_shared::command::ShardStatus;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Admin, plain};
use crate::live::Live;

/// `?verbose=1` answers JSON.
#[derive(Deserialize)]
pub(super) struct Detail {
    verbose: Option<String>,
}

impl Detail {
    fn is_verbose(&self) -> bool {
        self.verbose.as_deref().is_some_and(|value| !matches!(value, "0" | "false"))
    }
}

pub(super) async fn healthz(State(admin): State<Admin>, Query(detail): Query<Detail>) -> Response {
    let health = Health::of(&admin.live, Live::is_alive);
    health.answer(&detail, "alive")
}

pub(super) async fn readyz(State(admin): State<Admin>, Query(detail): Query<Detail>) -> Response {
    let health = Health::of(&admin.live, Live::is_ready);
    health.answer(&detail, "ready")
}

/// The state of the process as others see it.
#[derive(Serialize)]
struct Health {
    ok: bool,
    /// Why not; empty where it is.
    reasons: Vec<String>,
    /// Why what is served may be wrong all the same; empty where nothing speaks against it.
    degraded: Vec<String>,
    /// The newest that was published.
    generation: u64,
    draining: bool,
    /// Where requests are taken.
    sockets: Vec<String>,
    shards: Vec<Shard>,
}

#[derive(Serialize)]
struct Shard {
    shard: usize,
    generation: u64,
    accepting: bool,
    connections: i64,
    /// Seconds without a sign of life.
    silent_s: f64,
    driver: &'static str,
    /// The rung of the driver ladder.
    rung: String,
    /// Why no rung above it; empty on the first.
    reason: String,
}

impl Live {
    /// What speaks against the process being alive.
    fn is_alive(&self) -> Vec<String> {
        self.silences(Instant::now())
            .into_iter()
            .enumerate()
            .filter_map(|(shard, silence)| wedged(shard, silence))
            .collect()
    }

    /// What speaks against sending requests here.
    pub(crate) fn is_ready(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let standing = self.standing();
        if standing.draining {
            reasons.push("the process is stopping".to_owned());
        }
        if standing.generation == 0 {
            reasons.push("no generation is published yet".to_owned());
            reasons.extend(self.watches.iter().flat_map(|watches| watches.missing()));
        }
        for status in self.ports.iter().map(|port| port.status()) {
            if status.generation() == 0 {
                reasons.push(format!("shard {} has no generation yet", status.shard));
            } else if !status.accepting.load(Ordering::Acquire) {
                reasons.push(format!("shard {} does not accept", status.shard));
            }
        }
        reasons
    }
}

/// What is said of a shard that is silent for too long.
fn wedged(shard: usize, silence: Duration) -> Option<String> {
    let said = || format!("shard {shard} gave no sign of life for {} s", silence.as_secs());
    (silence > SILENCE_MAX).then(said)
}

impl Health {
    fn of(live: &Live, against: impl Fn(&Live) -> Vec<String>) -> Self {
        let reasons = against(live);
        let standing = live.standing();
        let silences = live.silences(Instant::now());
        let sockets = standing.bound.iter().map(|(id, address)| match id.address == *address {
            true => id.to_string(),
            false => format!("{id} on {address}"),
        });
        Self {
            ok: reasons.is_empty(),
            reasons,
            degraded: live.degraded(),
            generation: standing.generation,
            draining: standing.draining,
            sockets: sockets.chain(standing.unbound.iter().cloned()).collect(),
            shards: live
                .ports
                .iter()
                .enumerate()
                .map(|(number, port)| {
                    Shard::of(port.status(), silences.get(number).copied().unwrap_or_default())
                })
                .collect(),
        }
    }

    fn answer(&self, detail: &Detail, what: &str) -> Response {
        let status = if self.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        match detail.is_verbose() {
            true => (status, Json(self)).into_response(),
            false => plain(status, &self.lines(what)),
        }
    }

    fn lines(&self, what: &str) -> String {
        let first = match self.ok {
            true => what.to_owned(),
            false => format!("not {what}: {}", self.reasons.join("; ")),
        };
        let degraded = self.degraded.iter().map(|why| format!("degraded: {why}"));
        let shards = self.shards.iter().map(Shard::line);
        std::iter::once(first).chain(degraded).chain(shards).collect::<Vec<_>>().join("\n")
    }
}

impl Shard {
    fn of(status: &ShardStatus, silence: Duration) -> Self {
        let driver = status.driver.get();
        Self {
            shard: status.shard,
            generation: status.generation(),
            accepting: status.accepting.load(Ordering::Acquire),
            connections: status.connections.load(Ordering::Relaxed),
            silent_s: silence.as_secs_f64(),
            driver: driver.map_or("starting", |report| report.driver.as_str()),
            rung: driver.map(|report| report.rung.clone()).unwrap_or_default(),
            reason: driver.map(|report| report.reason.clone()).unwrap_or_default(),
        }
    }

    fn line(&self) -> String {
        let accepting = if self.accepting { "accepting" } else { "not accepting" };
        let mut line = format!(
            "shard {}: generation {}, {accepting}, {} ({})",
            self.shard, self.generation, self.driver, self.rung
        );
        if !self.reason.is_empty() {
            line = format!("{line}, because {}", self.reason);
        }
        line
    }
}

/// A shard counts at least once a second; this is a wedge.
const SILENCE_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_wedged_after_more_than_ten_seconds_of_silence() {
        assert_eq!(wedged(1, Duration::from_secs(10)), None);
        let said = wedged(1, Duration::from_millis(10_001));
        assert_eq!(said.as_deref(), Some("shard 1 gave no sign of life for 10 s"));
    }
}
