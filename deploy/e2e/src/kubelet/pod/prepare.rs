//! Before anything runs: images are known, there is a network, volumes are there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::super::image;
use super::{Actor, RETRY, Stage};
use crate::net::Network;

/// How often volumes from the API are compared with what is there.
const REFRESH: Duration = Duration::from_secs(3);

impl Actor {
    pub(super) async fn prepare_or_retry(&mut self) {
        match self.prepare().await {
            Ok(()) => {
                self.trouble = None;
                self.stage = Stage::Running;
                self.refresher = Some(self.keep_volumes_up_to_date());
                self.start_what_is_due().await;
            }
            Err(error) => {
                self.trouble = Some(format!("{error:#}"));
                self.stage = Stage::Preparing { at: Instant::now() + RETRY };
            }
        }
    }

    pub(super) async fn prepare(&mut self) -> anyhow::Result<()> {
        for slot in self.init.iter().chain(&self.containers) {
            let reference = slot.container.image.as_deref().unwrap_or_default();
            image::find(&self.host.images, reference)
                .with_context(|| format!("no image {reference}: give --image NAME=FILE to up"))?;
        }
        if self.network.is_none() {
            self.network = Some(self.make_network()?);
        }
        let (pod, place) = (self.pod(), self.place()?);
        self.volumes.lock().await.bring_up_to_date(&pod, &place).await
    }

    pub(super) fn make_network(&self) -> anyhow::Result<Network> {
        if self.spec.host_network == Some(true) {
            return Ok(Network::of(self.host.node_address(&self.node())?));
        }
        let address = self.host.take_address().context("all addresses of pods are taken")?;
        let network = Network::of(address);
        network.create().inspect_err(|_| self.host.give_back_address(address))?;
        Ok(network)
    }

    /// In a task of its own: an API server that does not answer must not hold up the end of a pod.
    pub(super) fn keep_volumes_up_to_date(&self) -> AbortHandle {
        let (volumes, latest) = (Arc::clone(&self.volumes), self.latest.clone());
        let place = self.place();
        let keep = async move {
            let Ok(place) = place else { return };
            loop {
                tokio::time::sleep(REFRESH).await;
                let pod = Arc::clone(&latest.borrow().pod);
                if let Err(error) = volumes.lock().await.bring_up_to_date(&pod, &place).await {
                    tracing::debug!(error = format!("{error:#}"), "volumes stay as they are");
                }
            }
        };
        tokio::spawn(keep).abort_handle()
    }
}

/// Where the volumes of a pod lie.
pub(super) fn volumes_folder(pod: &Path) -> PathBuf {
    pod.join("volumes")
}
