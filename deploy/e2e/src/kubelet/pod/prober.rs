//! Probes of one container, from its start to its end.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;
use tokio::sync::mpsc;

use super::super::probe;
use super::{At, Event};

/// Asks the probes of one container, from its start to its end.
pub(super) struct Prober {
    pub(super) at: At,
    pub(super) target: probe::Target,
    pub(super) events: mpsc::UnboundedSender<Event>,
}

impl Prober {
    pub(super) async fn run(self) {
        let container = self.target.container.clone();
        let process = self.target.process;
        if let Some(startup) = &container.startup_probe {
            if !self.passes(startup).await {
                let _ = self.events.send(Event::Dead { slot: self.at, process, why: "startup" });
                return;
            }
            let _ = self.events.send(Event::Started { slot: self.at, process });
        }
        let liveness = async {
            if let Some(liveness) = &container.liveness_probe {
                self.watch(liveness, true, |alive| {
                    (!alive).then_some(Event::Dead { slot: self.at, process, why: "liveness" })
                })
                .await;
            }
        };
        let readiness = async {
            if let Some(readiness) = &container.readiness_probe {
                self.watch(readiness, false, |ready| Some(Event::Ready { slot: self.at, process, ready }))
                    .await;
            }
        };
        tokio::join!(liveness, readiness);
    }

    /// Whether it is passed once before it fails for good.
    async fn passes(&self, probe: &Probe) -> bool {
        let mut counter = probe::Counter::new(probe, true);
        tokio::time::sleep(probe::delay(probe)).await;
        loop {
            match probe::ask(probe, &self.target).await {
                Ok(()) => return true,
                Err(_) if counter.count(false).is_some() => return false,
                Err(_) => tokio::time::sleep(probe::period(probe)).await,
            }
        }
    }

    /// Tells every change of the verdict.
    async fn watch(&self, probe: &Probe, verdict: bool, event: impl Fn(bool) -> Option<Event>) {
        let mut counter = probe::Counter::new(probe, verdict);
        tokio::time::sleep(probe::delay(probe)).await;
        let mut first = true;
        loop {
            let outcome = probe::ask(probe, &self.target).await;
            let success = outcome.is_ok();
            if let Some(event) = counter.count(success).and_then(&event) {
                if let Err(error) = outcome {
                    tracing::info!(
                        container = self.target.container.name,
                        error = format!("{error:#}"),
                        "probe failed"
                    );
                }
                if self.events.send(event).is_err() {
                    return;
                }
            }
            // A program needs a moment before it listens: the first answers are asked for sooner than the period says, or
            // every start would cost a whole period. A real kubelet does the same for readiness when a container changes.
            let hurry = first && !success && !verdict;
            if success {
                first = false;
            }
            tokio::time::sleep(if hurry { probe::period(probe).min(HURRY) } else { probe::period(probe) })
                .await;
        }
    }
}

/// Time between readiness probes until the first success.
const HURRY: Duration = Duration::from_millis(100);
