//! Asking what runs: one process by its admin address, or every replica of a cluster.
//!
//! ```text
//! verb ─► Target ─┬─ a process: its admin address ─────────────────────────────────┐
//!                 └─ a cluster: Pods by their labels ─► port-forward, through the ──┴─► Connection ─► admin page
//!                                                       API server
//! ```
//!
//! Pods are never reached by their addresses: whoever asks may stand outside of the cluster's network, and the admin listens
//! on the pod's own loopback. Nothing is changed anywhere.

mod cluster;
mod connection;
mod list;
mod replica;
mod selection;
mod voice;
mod watched;

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;

use anyhow::Context;
use futures_util::future::join_all;
use serde::de::DeserializeOwned;

pub(crate) use crate::args::Asked;
pub(crate) use cluster::{Cluster, Refusal};
pub(crate) use connection::{Answer, Connection};
pub(crate) use list::{Listed, list};
pub(crate) use replica::Replica;
pub(crate) use selection::Selection;
pub(crate) use voice::{Voice, voices};
pub(crate) use watched::Watched;

/// The exit code for a cluster or a process that cannot be reached.
pub(crate) const UNREACHABLE: u8 = 3;

/// A cluster or a process that cannot be reached.
#[derive(Debug)]
pub(crate) struct Unreachable {
    said: String,
    /// A right is missing, so that asking again does not help.
    is_forbidden: bool,
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.said)
    }
}

impl std::error::Error for Unreachable {}

/// An error whose exit code is [`UNREACHABLE`].
pub(crate) fn unreachable(why: impl fmt::Display) -> anyhow::Error {
    anyhow::Error::new(Unreachable { said: why.to_string(), is_forbidden: false })
}

/// The same, for want of a right.
pub(crate) fn forbidden(why: impl fmt::Display) -> anyhow::Error {
    anyhow::Error::new(Unreachable { said: why.to_string(), is_forbidden: true })
}

/// Whether asking again may help.
pub(crate) fn may_pass(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Unreachable>().is_some_and(|unreachable| !unreachable.is_forbidden)
}

/// Runs what a verb asks to its end, on this thread.
///
/// # Errors
/// Those of `work`, and a machine that has no room for a runtime.
pub(crate) fn block_on(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    // Fails only if it was done before, which is just as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start a runtime")?;
    let ended = runtime.block_on(work);
    // A lookup that hangs must not keep the process.
    runtime.shutdown_background();
    ended
}

/// Who is asked.
pub(crate) enum Target {
    Process(Replica, Selection),
    Cluster(Box<Cluster>),
}

impl Target {
    /// Connects to the cluster; a process is connected to when it is asked.
    ///
    /// # Errors
    /// Nothing says where the cluster is.
    pub(crate) async fn open(asked: Asked) -> anyhow::Result<Self> {
        Ok(match asked {
            Asked::Process(address, selection) => Self::Process(Replica::process(address), selection),
            Asked::Cluster(choice) => Self::Cluster(Box::new(Cluster::connect(choice).await?)),
        })
    }

    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        match self {
            Self::Process(..) => None,
            Self::Cluster(cluster) => Some(cluster),
        }
    }

    /// The namespaces that the user speaks of.
    pub(crate) fn selection(&self) -> &Selection {
        match self {
            Self::Process(_, selection) => selection,
            Self::Cluster(cluster) => cluster.selection(),
        }
    }

    /// Those that get requests; all of them, where none does.
    ///
    /// # Errors
    /// As [`replicas`](Self::replicas).
    pub(crate) async fn serving(&self) -> anyhow::Result<Vec<Replica>> {
        let (ready, others): (Vec<_>, Vec<_>) =
            self.replicas().await?.into_iter().partition(Replica::is_ready);
        Ok(if ready.is_empty() { others } else { ready })
    }

    /// Everything that runs as the controller, ready or not; at least one.
    ///
    /// # Errors
    /// The cluster cannot be reached, or nothing runs there.
    pub(crate) async fn replicas(&self) -> anyhow::Result<Vec<Replica>> {
        match self {
            Self::Process(replica, _) => Ok(vec![replica.clone()]),
            Self::Cluster(cluster) => {
                let replicas = cluster.replicas().await?;
                match replicas.is_empty() {
                    true => Err(unreachable(cluster.nothing_runs())),
                    false => Ok(replicas),
                }
            }
        }
    }
}

/// The replicas of one release: what one of them is told, all of them are.
pub(crate) struct Release {
    /// `namespace/name`; `None` for a process.
    pub(crate) name: Option<String>,
    pub(crate) replicas: Vec<Replica>,
}

/// Several controllers, each with classes of its own, may run side by side: none of them speaks for the others.
pub(crate) fn releases(replicas: Vec<Replica>) -> Vec<Release> {
    let mut releases: BTreeMap<Option<String>, Vec<Replica>> = BTreeMap::new();
    for replica in replicas {
        releases.entry(replica.release.clone()).or_default().push(replica);
    }
    releases.into_iter().map(|(name, replicas)| Release { name, replicas }).collect()
}

/// What one page says on each replica.
pub(crate) struct Gathered<T> {
    pub(crate) answers: Vec<(Replica, T)>,
    /// Those that could not be asked, and why.
    pub(crate) silent: Vec<(Replica, anyhow::Error)>,
}

impl<T: DeserializeOwned> Gathered<T> {
    /// Asks all at the same time.
    ///
    /// # Errors
    /// None of them answers.
    pub(crate) async fn ask(replicas: Vec<Replica>, page: &str) -> anyhow::Result<Self> {
        let asked = replicas.into_iter().map(async |replica| {
            let answer = replica.get::<T>(page).await;
            (replica, answer)
        });
        let mut gathered = Self { answers: Vec::new(), silent: Vec::new() };
        for (replica, answer) in join_all(asked).await {
            match answer {
                Ok(answer) => gathered.answers.push((replica, answer)),
                Err(error) => gathered.silent.push((replica, error)),
            }
        }
        match gathered.silent.first() {
            Some((_, why)) if gathered.answers.is_empty() => Err(unreachable(format!("{why:#}"))),
            _ => Ok(gathered),
        }
    }

    /// Says on stderr who could not be asked; the exit code, where everything else is fine.
    pub(crate) fn conclude(&self) -> ExitCode {
        for (_, error) in &self.silent {
            eprintln!("error: {error:#}");
        }
        let is_one_missing = self.silent.iter().any(|(replica, _)| replica.is_ready());
        if is_one_missing { ExitCode::from(UNREACHABLE) } else { ExitCode::SUCCESS }
    }
}
