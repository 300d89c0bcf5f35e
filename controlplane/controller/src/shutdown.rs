//! The way out: not ready → grace period → drain → end.
//!
//! ```text
//! Serving ──stop──► Grace (503 on /readyz, still accepting) ──period over──► Draining ──all drained──► Drained
//!                     └──stop──► Forced                                        ├──stop──► Forced
//!                                                                              └──too late──► TimedOut
//! ```

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use ringress_shared::command::ShardId;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How the controller ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every shard drained.
    Drained {
        /// Connections that had to be cut, because the drain timeout passed.
        cut: u64,
    },
    /// A shard did not answer in time.
    TimedOut,
    /// A second signal came.
    Forced,
}

impl Ended {
    /// 0 where everything went as asked.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Drained { .. } => 0,
            Self::TimedOut | Self::Forced => 1,
        }
    }
}

/// SIGTERM and SIGINT, as one message each.
///
/// # Errors
/// The signals cannot be taken over.
pub(crate) fn signals() -> io::Result<mpsc::Receiver<()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if sender.send(()).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// How far the way out has been gone.
#[derive(Debug, Default)]
pub(crate) enum Stage {
    /// Nobody asked to stop.
    #[default]
    Serving,
    /// Not ready any more, and still accepting.
    Grace {
        /// Then draining begins.
        until: Instant,
    },
    /// Shards finish what is under way.
    Draining {
        /// Then the process ends anyway.
        until: Instant,
        /// Who has not reported.
        waiting: BTreeSet<ShardId>,
        /// Connections cut so far.
        cut: u64,
    },
}

impl Stage {
    pub(crate) fn is_draining(&self) -> bool {
        matches!(self, Self::Draining { .. })
    }

    /// Waits until the stage is over; for ever where it has no end.
    pub(crate) async fn over(&self) {
        match self {
            Self::Serving => std::future::pending().await,
            Self::Grace { until } | Self::Draining { until, .. } => tokio::time::sleep_until(*until).await,
        }
    }

    pub(crate) fn draining(shards: usize, within: Duration) -> Self {
        Self::Draining { until: Instant::now() + within + LATE, waiting: (0..shards).collect(), cut: 0 }
    }

    /// Notes that a shard has drained; the end, where it was the last.
    pub(crate) fn drained(&mut self, shard: ShardId, more: u64) -> Option<Ended> {
        let Self::Draining { waiting, cut, .. } = self else { return None };
        if waiting.remove(&shard) {
            *cut += more;
        }
        waiting.is_empty().then_some(Ended::Drained { cut: *cut })
    }
}

/// Shards keep the drain timeout themselves; one that is this late will not answer any more.
const LATE: Duration = Duration::from_secs(2);
