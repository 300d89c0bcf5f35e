//! The end of a pod: hooks, SIGTERM, patience, SIGKILL, and nothing left.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Container, Lifecycle, LifecycleHandler};
use rustix::process::Signal;
use tokio::time::Instant;

use super::super::probe;
use super::super::process::Process;
use super::{Actor, At, Event, Stage};

impl Actor {
    pub(super) fn begin_to_stop(&mut self) {
        self.stage = Stage::Stopping;
        let grace = self.grace();
        let hooks: Vec<_> = self.running().collect();
        for (at, process) in hooks {
            self.slot(at).kill_at = Some(Instant::now() + grace);
            let container = self.slot(at).container.clone();
            match pre_stop(&container.lifecycle) {
                Some(hook) if !grace.is_zero() => self.run_hook(at, process, hook, grace, container),
                _ => process.signal(Signal::TERM),
            }
        }
    }

    pub(super) fn run_hook(
        &self,
        at: At,
        process: Process,
        hook: LifecycleHandler,
        grace: Duration,
        container: Container,
    ) {
        let events = self.events.0.clone();
        let address = self.network.as_ref().map(|network| network.address);
        tokio::spawn(async move {
            let outcome = tokio::time::timeout(grace, run_handler(&hook, process, address, container)).await;
            if let Ok(Err(error)) = outcome {
                tracing::warn!(error = format!("{error:#}"), "preStop hook failed");
            }
            let _ = events.send(Event::Hooked { slot: at, process });
        });
    }

    pub(super) fn grace(&self) -> Duration {
        let latest = self.latest.borrow();
        if latest.gone {
            return Duration::ZERO;
        }
        let own =
            latest.pod.metadata.deletion_grace_period_seconds.or(self.spec.termination_grace_period_seconds);
        Duration::from_secs(own.unwrap_or(30).max(0).cast_unsigned())
    }

    pub(super) async fn finish(mut self) {
        self.report();
        if let Some(refresher) = self.refresher.take() {
            refresher.abort();
        }
        if let Some(network) = self.network.take().filter(|_| self.spec.host_network != Some(true)) {
            if let Err(error) = network.darken(false).and_then(|()| network.remove()) {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the network of a pod stays behind until the box goes"
                );
            }
            self.host.give_back_address(network.address);
        }
        // Links of a volume may lead anywhere, removal follows none; whatever stays goes with the box.
        let _ = std::fs::remove_dir_all(&self.folder);
        let gone = self.latest.borrow().gone;
        self.reporter.end(!gone).await;
    }

    /// A second deletion may give less time than the first did.
    pub(super) fn shorten_patience(&mut self) {
        let latest = Instant::now() + self.grace();
        for slot in self.init.iter_mut().chain(&mut self.containers) {
            slot.kill_at = slot.kill_at.map(|due| due.min(latest));
        }
    }
}

fn pre_stop(lifecycle: &Option<Lifecycle>) -> Option<LifecycleHandler> {
    lifecycle.as_ref()?.pre_stop.clone()
}

async fn run_handler(
    handler: &LifecycleHandler,
    process: Process,
    address: Option<Ipv4Addr>,
    container: Container,
) -> anyhow::Result<()> {
    if let Some(sleep) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(sleep.seconds.max(0).cast_unsigned())).await;
    }
    if let Some(action) = &handler.exec {
        probe::run(process, action.command.as_deref().unwrap_or_default()).await?;
    }
    if let Some(action) = &handler.http_get {
        let address = address.context("the pod has no network")?;
        probe::http_get(action, &probe::Target { container, address, process }).await?;
    }
    Ok(())
}
