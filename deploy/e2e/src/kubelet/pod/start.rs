//! Containers are started: init containers one by one, then all others, again and again as the policy says.

use anyhow::Context;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::super::process::{self, Process, Start};
use super::super::reference::References;
use super::super::slot::{self, Restart, State};
use super::super::{environment, image, probe, status};
use super::prepare::volumes_folder;
use super::prober::Prober;
use super::{Actor, At, Event, RETRY};

impl Actor {
    pub(super) async fn start_what_is_due(&mut self) {
        let restart = Restart::of(&self.spec);
        if status::finished(&self.containers, &self.init, restart).is_some() {
            return;
        }
        // Init containers go one by one; while one is not done, nothing behind it starts.
        if let Some(index) = self.init.iter().position(|slot| !status::succeeded(&slot.state)) {
            return self.start_if_due(At { init: true, index }).await;
        }
        for index in 0..self.containers.len() {
            self.start_if_due(At { init: false, index }).await;
        }
    }

    pub(super) async fn start_if_due(&mut self, at: At) {
        let slot = self.slot(at);
        let due = slot.restart_at.is_none_or(|due| due <= Instant::now());
        if !matches!(slot.state, State::Waiting { .. }) || !due {
            return;
        }
        if let Err(error) = self.start(at).await {
            let slot = self.slot(at);
            slot.state =
                State::Waiting { reason: "CreateContainerConfigError", message: format!("{error:#}") };
            slot.restart_at = Some(Instant::now() + RETRY);
        }
    }

    pub(super) async fn start(&mut self, at: At) -> anyhow::Result<()> {
        let container = self.slot(at).container.clone();
        let (pod, place) = (self.pod(), self.place()?);
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let references = References::new(self.host.client.clone(), &namespace);
        let environment = environment::of(&container, &pod, &place, &references).await?;
        let reference = container.image.as_deref().unwrap_or_default();
        let folder = self.folder.join(&container.name);
        let root = folder.join("root");
        std::fs::create_dir_all(&root)?;
        let hostname = match self.spec.host_network {
            Some(true) => self.node(),
            _ => pod.metadata.name.clone().unwrap_or_default(),
        };
        let network = self.network.as_ref().context("the pod has no network")?.clone();
        let spec = slot::spec(slot::Parts {
            network: &network,
            pod: &self.spec,
            container: &container,
            image: image::find(&self.host.images, reference).context("the image is gone")?,
            volumes: &volumes_folder(&self.folder),
            environment,
            root,
            hostname: hostname.chars().take(63).collect(),
            program: &self.host.program,
            profiles: &self.host.profiles_folder,
        })?;
        let log = self.host.log(&pod, &container.name);
        if self.slot(at).restarts > 0 {
            // What it said before stays readable as the previous log.
            let _ = std::fs::rename(&log, log.with_extension("previous"));
        }
        let (process, child) = Process::start(&Start {
            program: &self.host.program,
            spec: &spec,
            spec_file: &folder.join("spec.json"),
            log: &log,
        })?;
        self.await_exit(at, process, child);
        let target = probe::Target { container, address: network.address, process };
        let prober = self.start_probing(at, target);
        self.slot(at).begin(process, prober);
        Ok(())
    }

    pub(super) fn await_exit(&self, at: At, process: Process, mut child: tokio::process::Child) {
        let events = self.events.0.clone();
        tokio::spawn(async move {
            let (code, signal) = match child.wait().await {
                Ok(status) => process::exit(status),
                Err(_) => (255, None),
            };
            let _ = events.send(Event::Exited { slot: at, process, code, signal });
        });
    }

    pub(super) fn start_probing(&self, at: At, target: probe::Target) -> Option<AbortHandle> {
        let container = &target.container;
        let any = [&container.startup_probe, &container.liveness_probe, &container.readiness_probe];
        if at.init || any.iter().all(|probe| probe.is_none()) {
            return None;
        }
        let prober = Prober { at, target, events: self.events.0.clone() };
        Some(tokio::spawn(prober.run()).abort_handle())
    }
}
