//! Holds the Lease, waits for it, and gives it back or takes it away in the end.

use std::sync::Arc;

use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::api::{self, Verb};
use super::lease::{Election, LOOK, Role, Step};
use super::troubles::{Task, Troubles};
use crate::source::kube::call::Failure;
use crate::source::kube::plan::escape;

/// The part of a replica in the election.
pub(super) struct Holder {
    client: Client,
    election: Election,
    /// The path of the Leases.
    leases: String,
    name: String,
    role: watch::Sender<Role>,
    troubles: Arc<Troubles>,
}

impl Holder {
    pub(super) fn new(
        client: Client,
        me: &str,
        namespace: &str,
        name: &str,
        troubles: Arc<Troubles>,
    ) -> Self {
        Self {
            client,
            election: Election::new(me, namespace, name),
            leases: api::leases(namespace),
            name: name.to_owned(),
            role: watch::Sender::default(),
            troubles,
        }
    }

    /// Our role, now and later.
    pub(super) fn role(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    pub(super) async fn run(&mut self) {
        loop {
            match self.turn().await {
                Ok(()) => self.troubles.over(&[Task::Election]),
                Err(failure) if self.troubles.note(Task::Election, &failure) => {
                    let needs = Task::Election.needs();
                    tracing::warn!(lease = self.name, error = %failure, needs, "the Lease cannot be held or read");
                }
                Err(_) => {}
            }
            sleep(LOOK).await;
        }
    }

    /// One look at the Lease, and what follows from it.
    pub(super) async fn turn(&mut self) -> Result<(), Failure> {
        let turned = self.step().await;
        self.tell();
        turned
    }

    /// Gives the Lease back if it is ours, or takes it away where nobody is left to hold it. An upgrade that names another Lease has
    /// taken the rights that name this one, so it is listed and patched.
    pub(super) async fn end(&mut self, is_last: bool) -> Result<(), Failure> {
        if !is_last && !self.election.role().holds() {
            return Ok(());
        }
        let selector = escape(&format!("metadata.name={}", self.name));
        let list = api::list(&self.client, &format!("{}?fieldSelector={selector}", self.leases)).await?;
        let lease = list.into_items().into_iter().next().unwrap_or_default();
        let free = self.election.release(&lease, &api::stamp());
        self.tell();
        let is_free = free.is_some() || lease["spec"]["holderIdentity"] == "";
        if is_last && is_free && self.remove(&lease).await.is_ok() {
            tracing::info!(lease = self.name, "the Lease is taken away");
            return Ok(());
        }
        let Some(free) = free else { return Ok(()) };
        let version = &lease["metadata"]["resourceVersion"];
        let patch = json!({"metadata": {"resourceVersion": version}, "spec": free["spec"]});
        api::write(&self.client, Verb::Merge, &self.path(), &patch).await?;
        tracing::info!(lease = self.name, "the Lease is given back");
        Ok(())
    }

    /// Takes the Lease away if it is as it was read.
    async fn remove(&self, lease: &Value) -> Result<(), Failure> {
        let body = json!({"preconditions": {"resourceVersion": lease["metadata"]["resourceVersion"]}});
        api::write(&self.client, Verb::Delete, &self.path(), &body).await
    }

    async fn step(&mut self) -> Result<(), Failure> {
        let lease = api::read(&self.client, &self.path()).await?;
        let asked = Instant::now();
        let written = match self.election.step(lease.as_ref(), asked, &api::stamp()) {
            Step::Wait => return Ok(()),
            Step::Create(lease) => api::write(&self.client, Verb::Create, &self.leases, &lease).await,
            Step::Replace(lease) => api::write(&self.client, Verb::Replace, &self.path(), &lease).await,
        };
        match written {
            Ok(()) => {
                if self.election.won(asked) {
                    tracing::info!(lease = self.name, "this replica writes statuses and Events");
                }
                Ok(())
            }
            Err(Failure::Conflict) => {
                self.election.lost();
                Ok(())
            }
            Err(failure) => Err(failure),
        }
    }

    fn tell(&self) {
        self.role.send_if_modified(|role| {
            let now = self.election.role();
            let differs = role != now;
            role.clone_from(now);
            differs
        });
    }

    fn path(&self) -> String {
        format!("{}/{}", self.leases, self.name)
    }
}
