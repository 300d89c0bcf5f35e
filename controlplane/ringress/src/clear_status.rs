//! `ringress clear-status`: takes the addresses of a ringress that is gone out of the statuses of Ingresses.
//!
//! The chart runs it at the end of `helm uninstall`; after `kubectl delete -f` it is for people.

use std::process::ExitCode;

use anyhow::Context;
use ringress_controller::status::{ClearError, Cleared, Clearing, Election, clear};

use crate::ask::{self, unreachable};
use crate::terminal::{self, escaped, several};

/// Clears them, and says how many; 1 where a replica still runs.
///
/// # Errors
/// The API server cannot be reached, or refuses.
pub(crate) fn run(clearing: Clearing) -> anyhow::Result<ExitCode> {
    ask::block_on(async {
        match clear(&clearing).await {
            Ok(cleared) => {
                terminal::print(&text(&cleared, &clearing.election_id));
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

/// What was done, and whose addresses stay: who looks in the wrong namespace finds nothing there.
fn text(Cleared { namespace, ingresses, leases, others }: &Cleared, election_id: &str) -> String {
    let taken = match ingresses {
        0 => format!(
            "no Ingress shows an address of the ringress in the namespace {namespace} (--election-id {election_id})"
        ),
        some => format!("addresses are taken out of {}", several(*some, "Ingress")),
    };
    let gone = match leases {
        0 => "there is no Lease of it".to_owned(),
        1 => "1 Lease is taken away".to_owned(),
        many => format!("{many} Leases are taken away"),
    };
    let mut text = format!("{taken}; {gone}\n");
    for (Election { namespace, lease }, count) in others {
        let shows = if *count == 1 { "shows" } else { "show" };
        let said = format!(
            "{} {shows} addresses of the one in the namespace {namespace}: clear-status -n {namespace} --election-id {lease}",
            several(*count, "Ingress")
        );
        text.push_str(&format!("{}\n", escaped(&said)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ingresses: usize, leases: usize, others: &[(&str, usize)]) -> String {
        let election =
            |namespace: &str| Election { namespace: namespace.to_owned(), lease: "leader".to_owned() };
        let others = others.iter().map(|(namespace, count)| (election(namespace), *count)).collect();
        text(&Cleared { namespace: "default".to_owned(), ingresses, leases, others }, "leader")
    }

    #[test]
    fn one_is_one_and_many_are_many() {
        assert_eq!(of(1, 1, &[]), "addresses are taken out of 1 Ingress; 1 Lease is taken away\n");
        assert_eq!(of(2, 3, &[]), "addresses are taken out of 2 Ingresses; 3 Leases are taken away\n");
    }

    #[test]
    fn who_finds_nothing_is_told_where_it_was_looked_for_and_whose_addresses_there_are() {
        let said = of(0, 0, &[("edge", 1), ("ringress", 2)]);
        assert_eq!(
            said.lines().collect::<Vec<_>>(),
            [
                "no Ingress shows an address of the ringress in the namespace default (--election-id leader); there is no \
                 Lease of it",
                "1 Ingress shows addresses of the one in the namespace edge: clear-status -n edge --election-id leader",
                "2 Ingresses show addresses of the one in the namespace ringress: clear-status -n ringress --election-id \
                 leader",
            ]
        );
    }
}
