//! `ringress clear-status`: takes the addresses of a ringress that is gone out of the statuses of Ingresses.
//!
//! The chart runs it at the end of `helm uninstall`; after `kubectl delete -f` it is for people.

use std::process::ExitCode;

use anyhow::Context;
use ringress_controller::status::{ClearError, Clearing, clear};

use crate::ask::{self, unreachable};
use crate::terminal;

/// Clears them, and says how many; 1 where a replica still runs.
///
/// # Errors
/// The API server cannot be reached, or refuses.
pub(crate) fn run(clearing: Clearing) -> anyhow::Result<ExitCode> {
    ask::block_on(async {
        match clear(&clearing).await {
            Ok(cleared) => {
                let (ingresses, leases) = (cleared.ingresses, cleared.leases);
                terminal::print(&format!(
                    "addresses are taken out of {ingresses} Ingresses; {leases} Leases are taken away\n"
                ));
                Ok(ExitCode::SUCCESS)
            }
            Err(error @ ClearError::Held { .. }) => {
                eprintln!("error: {error}");
                Ok(ExitCode::FAILURE)
            }
            Err(error @ ClearError::Call { .. }) => Err(unreachable(error)),
            Err(error @ ClearError::Access(_)) => Err(error).context("addresses stay where they are"),
        }
    })
}
