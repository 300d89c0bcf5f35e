//! Takes addresses out of statuses when nobody is left who could: after an uninstallation, which takes the rights of the replicas
//! away in the moment in which it ends them.
//!
//! Works by itself: what the replicas wrote is told by who wrote it (`owner`), so neither their Service nor their class need
//! exist any more, and what earlier elections of their namespace left goes along (`authors`). What others wrote since stays. Also takes
//! away the Leases that the replicas left.

use std::collections::{BTreeMap, BTreeSet};

use kube::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::api::{self, List, Verb};
use super::authors::Authors;
use super::owner::{Owner, Signature, election};
use super::replica::{LABEL, group_of, is_of_group, name_of};
use crate::source::kube::Access;
use crate::source::kube::call::Failure;
use crate::source::kube::plan::escape;

/// Whose addresses are taken out, and where.
#[derive(Debug, Clone)]
pub struct Clearing {
    /// Towards which API server.
    pub access: Access,
    /// The namespace of the replicas; `None`: what the kubeconfig or the service account says.
    pub namespace: Option<String>,
    /// The Lease by which they elected a leader.
    pub election_id: String,
    /// The namespaces of Ingresses; empty: all.
    pub watched: BTreeSet<String>,
    /// Namespaces whose addresses stay, with the Leases, because a ringress of this election goes on to serve them.
    pub served: BTreeSet<String>,
    /// Whether all addresses stay, and Leases alone are taken away.
    pub keeps_addresses: bool,
    /// Whether to go on where that Lease is held: a leader that may still write does not notice.
    pub is_forced: bool,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleared {
    /// The namespace whose replicas were meant.
    pub namespace: String,
    /// Ingresses that showed our addresses and show none now.
    pub ingresses: usize,
    /// Leases that were taken away.
    pub leases: usize,
    /// Elections whose addresses stay, with the number of Ingresses that show them: those of other namespaces, and those of
    /// this one that go on.
    pub others: BTreeMap<Election, usize>,
}

/// Who wrote addresses: the replicas that elected a leader by this Lease.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Election {
    /// Where they ran.
    pub namespace: String,
    /// Their Lease.
    pub lease: String,
}

/// Why addresses stay.
#[derive(Debug, thiserror::Error)]
pub enum ClearError {
    /// Nothing says where the API server is.
    #[error(transparent)]
    Access(#[from] crate::source::kube::AccessError),
    /// A replica runs.
    #[error(
        "the Lease {namespace}/{lease} is held by {holder}, which would not notice; end ringress first (helm uninstall, or \
         scale it to 0, which clears the statuses, too), wait half a minute if it was killed, or give --force"
    )]
    Held {
        /// Where.
        namespace: String,
        /// Which Lease.
        lease: String,
        /// By whom.
        holder: String,
    },
    /// A call failed.
    #[error("{cleared} statuses are cleared, then: cannot {what}: {why}")]
    Call {
        /// What was asked of the API server, as RBAC words it.
        what: &'static str,
        /// What it said.
        why: String,
        /// What was done before.
        cleared: usize,
    },
}

/// Takes the addresses out, and the Leases away unless somebody goes on to serve.
///
/// # Errors
/// The API server cannot be reached or refuses, or a replica runs.
pub async fn clear(clearing: &Clearing) -> Result<Cleared, ClearError> {
    let client = clearing.access.client().await?;
    let namespace = clearing.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let leases = api::leases(&namespace);
    // What an election before theirs wrote stands in statuses as it was. Where they may not be listed, whoever insists takes out
    // what is surely its own.
    let running = match api::running(&client, &leases).await {
        Err(Failure::Forbidden(_)) if clearing.is_forced => None,
        running => Some(running.map_err(|why| failed("list leases", &why, 0))?),
    };
    // Whoever serves other namespaces does not look at these.
    let goes_on = !clearing.served.is_empty();
    if !clearing.is_forced && !goes_on {
        let lease = api::read(&client, &format!("{leases}/{}", clearing.election_id)).await;
        let lease = lease.map_err(|why| failed("get leases", &why, 0))?;
        if let Some(held) =
            lease.iter().filter(|lease| api::is_held(lease)).chain(running.iter().flatten()).next()
        {
            let holder = held["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
            return Err(ClearError::Held { namespace, lease: name_of(held).to_owned(), holder });
        }
    }
    let owner = Owner::new(&namespace, &clearing.election_id);
    let mut authors = Authors::new(client.clone(), leases.clone(), owner);
    let group = group_of(&clearing.election_id);
    if running.is_none_or(|running| running.iter().any(|lease| !is_of_group(lease, &group))) {
        authors.leave_other_elections();
    }
    let mut cleared = Cleared { namespace, ..Cleared::default() };
    for path in if clearing.keeps_addresses { Vec::new() } else { paths(clearing) } {
        clear_in(&client, &mut authors, (&path, &clearing.served), &mut cleared).await?;
    }
    if goes_on {
        return Ok(cleared);
    }
    let removed = remove_leases(&client, &leases, &clearing.election_id).await;
    cleared.leases = removed.map_err(|why| failed("list and delete leases", &why, cleared.ingresses))?;
    Ok(cleared)
}

fn failed(what: &'static str, why: &Failure, cleared: usize) -> ClearError {
    ClearError::Call { what, why: why.to_string(), cleared }
}

fn paths(Clearing { watched, served, .. }: &Clearing) -> Vec<String> {
    if watched.is_empty() {
        return vec![api::ingresses(None)];
    }
    watched.difference(served).map(|namespace| api::ingresses(Some(namespace))).collect()
}

/// Goes through the Ingresses of a path, again where one was changed in between.
async fn clear_in(
    client: &Client,
    authors: &mut Authors,
    (path, served): (&str, &BTreeSet<String>),
    cleared: &mut Cleared,
) -> Result<(), ClearError> {
    let is_served = |ingress: &Value| {
        ingress["metadata"]["namespace"].as_str().is_some_and(|namespace| served.contains(namespace))
    };
    for _ in 0..ROUNDS {
        let mut is_whole = true;
        let mut next = Some(String::new());
        let mut others: BTreeMap<Election, usize> = BTreeMap::new();
        while let Some(token) = next {
            let page = page(client, path, &token).await;
            let page = page.map_err(|why| failed("list ingresses", &why, cleared.ingresses))?;
            let token = page.metadata.r#continue.clone();
            let mut ours = Vec::new();
            for ingress in page.into_items().into_iter().filter(|ingress| !is_served(ingress)) {
                let signatures = Signature::all(&ingress);
                let is_ours = authors.are_ours(&signatures).await;
                if is_ours.map_err(|why| failed("list leases", &why, cleared.ingresses))? {
                    ours.push(ingress);
                } else if let Some(election) = shown(&ingress).then(|| election(&signatures)).flatten() {
                    *others.entry(election.into()).or_default() += 1;
                }
            }
            is_whole &= write(client, authors.owner(), ours, &mut cleared.ingresses).await?;
            next = Some(token).filter(|token| !token.is_empty());
        }
        if is_whole {
            for (election, count) in others {
                *cleared.others.entry(election).or_default() += count;
            }
            return Ok(());
        }
    }
    let why = Failure::Conflict;
    Err(failed("patch ingresses/status", &why, cleared.ingresses))
}

/// Whether an Ingress shows an address at all: who took them out signed that, too.
fn shown(ingress: &Value) -> bool {
    ingress["status"]["loadBalancer"]["ingress"].as_array().is_some_and(|addresses| !addresses.is_empty())
}

impl From<(&str, &str)> for Election {
    fn from((namespace, lease): (&str, &str)) -> Self {
        Self { namespace: namespace.to_owned(), lease: lease.to_owned() }
    }
}

async fn page(client: &Client, path: &str, token: &str) -> Result<List, Failure> {
    let mut path = format!("{path}?limit=500");
    if !token.is_empty() {
        path = format!("{path}&continue={}", escape(token));
    }
    api::list(client, &path).await
}

/// Clears these, some at a time; returns whether none was changed in between.
async fn write(
    client: &Client,
    owner: &Owner,
    mut ingresses: Vec<Value>,
    cleared: &mut usize,
) -> Result<bool, ClearError> {
    let mut is_whole = true;
    while !ingresses.is_empty() {
        let some = ingresses.split_off(ingresses.len().saturating_sub(AT_ONCE));
        let writes = some.into_iter().map(|ingress| {
            let (client, owner) = (client.clone(), owner.clone());
            async move { write_one(&client, &owner, &ingress).await }
        });
        for written in writes.collect::<JoinSet<_>>().join_all().await {
            match written {
                Ok(()) => *cleared += 1,
                Err(Failure::Missing) => {}
                Err(Failure::Conflict) => is_whole = false,
                Err(why) => return Err(failed("patch ingresses/status", &why, *cleared)),
            }
        }
    }
    Ok(is_whole)
}

async fn write_one(client: &Client, owner: &Owner, ingress: &Value) -> Result<(), Failure> {
    let metadata = &ingress["metadata"];
    let text = |key: &str| metadata[key].as_str().unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    let path = format!("{}/{name}/status?{}", api::ingresses(Some(namespace)), owner.query());
    let patch = json!({
        "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
        "status": {"loadBalancer": {"ingress": null}},
    });
    api::write(client, Verb::Merge, &path, &patch).await
}

/// Takes the Leases of the replicas away, and that of their leader.
async fn remove_leases(client: &Client, leases: &str, election_id: &str) -> Result<usize, Failure> {
    let selector = escape(&format!("{LABEL}={}", group_of(election_id)));
    let of_replicas = api::list(client, &format!("{leases}?labelSelector={selector}")).await?.into_items();
    let mut removed = 0;
    for name in of_replicas.iter().map(name_of).chain([election_id]) {
        match api::write(client, Verb::Delete, &format!("{leases}/{name}"), &json!({})).await {
            Ok(()) => removed += 1,
            Err(Failure::Missing) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(removed)
}

/// So many writes are under way at a time: thousands of Ingresses take seconds.
const AT_ONCE: usize = 16;

/// How often is looked again for what was changed in between.
const ROUNDS: usize = 5;
