//! Tells whose addresses stand in statuses, and asks for what only the cluster knows: whether another election is over.
//!
//! Who changes `--election-id` changes the name under which statuses are written; what is equal is never written again, so the old name
//! stays beside it. What elections of our namespace wrote is ours once nobody holds their Lease any more: nobody else would take it out.

use std::collections::BTreeMap;

use kube::Client;

use super::api;
use super::owner::{Author, Owner, Signature};
use crate::source::kube::call::Failure;
use crate::source::kube::plan::escape;

/// What is known of the elections of our namespace.
pub(super) struct Authors {
    client: Client,
    /// The path of the Leases.
    leases: String,
    owner: Owner,
    /// Whether somebody holds the Lease of another election.
    held: BTreeMap<String, bool>,
    /// Whether what other elections wrote is nobody's to take out, however long they are over.
    leaves_others: bool,
}

impl Authors {
    pub(super) fn new(client: Client, leases: String, owner: Owner) -> Self {
        Self { client, leases, owner, held: BTreeMap::new(), leaves_others: false }
    }

    /// How our own writes are signed.
    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Leaves alone what other elections wrote: replicas that run may go on with it.
    pub(super) fn leave_other_elections(&mut self) {
        self.leaves_others = true;
    }

    /// Elections may have ended since they were asked for.
    pub(super) fn forget(&mut self) {
        self.held.clear();
    }

    /// Whether addresses with these signatures are ours to take out.
    ///
    /// # Errors
    /// The Lease of another election cannot be read. Where it may not be read, what it wrote is not ours.
    pub(super) async fn are_ours(&mut self, signatures: &[Signature]) -> Result<bool, Failure> {
        match self.owner.author(signatures) {
            Author::Us => Ok(true),
            Author::Others => Ok(false),
            Author::Election(_) if self.leaves_others => Ok(false),
            Author::Election(lease) => match self.held.get(lease) {
                Some(held) => Ok(!held),
                None => {
                    let held = self.is_held(lease).await?;
                    self.held.insert(lease.to_owned(), held);
                    Ok(!held)
                }
            },
        }
    }

    async fn is_held(&self, lease: &str) -> Result<bool, Failure> {
        // The role has `list` for all Leases of the namespace, and `get` for our own alone.
        let selector = escape(&format!("metadata.name={lease}"));
        match api::list(&self.client, &format!("{}?fieldSelector={selector}", self.leases)).await {
            Err(Failure::Forbidden(_)) => Ok(true),
            leases => Ok(leases?.into_items().iter().any(api::is_held)),
        }
    }
}
