//! A program that only watches. What it has late, no controller can have early: that is the API server, the machine and
//! whatever else runs there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures_util::{StreamExt, pin_mut};
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{ListParams, WatchEvent, WatchParams};

use super::api::{self, Access};

/// How long it may take for an object that others have.
const PATIENCE: Duration = Duration::from_secs(5);

/// Watches Ingresses, in a thread of its own, until it is dropped.
pub(crate) struct Bystander {
    notes: Arc<Mutex<Notes>>,
}

#[derive(Default)]
struct Notes {
    /// When it had an object.
    seen: HashMap<String, Instant>,
    /// Why it watches no more.
    ended: Option<anyhow::Error>,
}

impl Bystander {
    /// Call it inside; it watches when this returns.
    pub(crate) fn start(access: &Access) -> anyhow::Result<Self> {
        let (access, notes) = (access.clone(), Arc::<Mutex<Notes>>::default());
        let (began, begins) = mpsc::channel();
        let theirs = Arc::downgrade(&notes);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let Ok(runtime) = runtime else { return };
            let ended = runtime.block_on(watch(&access, &theirs, &began));
            if let Some(notes) = theirs.upgrade() {
                locked(&notes).ended = ended.err();
            }
        });
        begins.recv().context("the bystander does not watch")?;
        Ok(Self { notes })
    }

    /// When it had the object; it forgets that.
    pub(crate) async fn saw(&self, name: &str) -> anyhow::Result<Instant> {
        let began = Instant::now();
        loop {
            if let Some(seen) = locked(&self.notes).seen.remove(name) {
                return Ok(seen);
            }
            if let Some(error) = locked(&self.notes).ended.take() {
                return Err(error.context("the bystander ended"));
            }
            ensure!(began.elapsed() < PATIENCE, "the bystander has not seen {name}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn locked(notes: &Mutex<Notes>) -> MutexGuard<'_, Notes> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch(access: &Access, notes: &Weak<Mutex<Notes>>, began: &mpsc::Sender<()>) -> anyhow::Result<()> {
    let ingresses = api::all::<Ingress>(&access.client().await?);
    let list = ingresses.list(&ListParams::default().limit(1)).await?;
    let mut version = list.metadata.resource_version.context("a list without resourceVersion")?;
    loop {
        let events = ingresses.watch(&WatchParams::default(), &version).await?;
        // Whoever started this may be gone; then nobody asks.
        let _ = began.send(());
        pin_mut!(events);
        while let Some(event) = events.next().await {
            let Some(notes) = notes.upgrade() else { return Ok(()) };
            match event? {
                WatchEvent::Added(ingress) => {
                    let name = ingress.metadata.name.unwrap_or_default();
                    locked(&notes).seen.insert(name, Instant::now());
                    version = ingress.metadata.resource_version.unwrap_or(version);
                }
                WatchEvent::Modified(ingress) | WatchEvent::Deleted(ingress) => {
                    version = ingress.metadata.resource_version.unwrap_or(version);
                }
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(status) => bail!("{status:?}"),
            }
        }
    }
}
