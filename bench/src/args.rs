//! The command line. Nothing else reads argv.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use crate::scenario::{self, Scenario};

/// Origin, closed-loop load generator and scenarios beside peers.
#[derive(Debug, Parser)]
#[command(name = "ringress-bench", version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Run scenarios through ringress and its peers, interleaved, and print what each request cost.
    Compare(CompareArgs),
    /// Serve the answers that the scenarios ask for, and nothing else.
    Origin(OriginArgs),
    /// Drive one scenario against a proxy that is already running.
    Load(LoadArgs),
}

/// Arguments of `compare`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// Scenarios in the order to run them: a, b, c, d, dp, e, et, g, gt.
    #[arg(long, value_delimiter = ',', default_value = "a,c", value_parser = scenario::parse)]
    pub(crate) scenarios: Vec<&'static Scenario>,

    /// Proxies in the order of a round.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "ringress,nginx")]
    pub(crate) peers: Vec<PeerKind>,

    /// Rounds of every scenario; the median counts.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=101))]
    pub(crate) rounds: u32,

    /// Length of one measured window in seconds.
    #[arg(long, default_value_t = 4.0, value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Seconds of load before each window.
    #[arg(long, default_value_t = 0.7, value_parser = seconds)]
    pub(crate) warm_up: f64,

    /// The ringress binary; without it this workspace's release binary, built where it is not up to date.
    #[arg(long)]
    pub(crate) ringress: Option<PathBuf>,

    /// The nginx binary.
    #[arg(long, default_value = "/usr/sbin/nginx")]
    pub(crate) nginx: PathBuf,

    /// The HAProxy binary.
    #[arg(long, default_value = "/usr/sbin/haproxy")]
    pub(crate) haproxy: PathBuf,

    /// Core of the proxies.
    #[arg(long, default_value_t = 0)]
    pub(crate) proxy_core: usize,

    /// Core of the origin and the client.
    #[arg(long, default_value_t = 1)]
    pub(crate) load_core: usize,

    /// Also write everything as JSON to this file.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

/// Arguments of `origin`.
#[derive(Debug, clap::Args)]
pub(crate) struct OriginArgs {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:9000")]
    pub(crate) listen: SocketAddr,

    /// Core to pin to; not pinned without it.
    #[arg(long)]
    pub(crate) core: Option<usize>,
}

/// Arguments of `load`.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// Address of the proxy (of its TLS port for scenarios over TLS).
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) address: SocketAddr,

    /// The scenario: a, b, c, d, dp, e, et, g, gt.
    #[arg(long, default_value = "a", value_parser = scenario::parse)]
    pub(crate) scenario: &'static Scenario,

    /// Length of the measured window in seconds.
    #[arg(long, default_value_t = 4.0, value_parser = seconds)]
    pub(crate) seconds: f64,

    /// Seconds of load before the window.
    #[arg(long, default_value_t = 0.7, value_parser = seconds)]
    pub(crate) warm_up: f64,

    /// PEM file with the certificate to trust; needed by scenarios over TLS.
    #[arg(long)]
    pub(crate) ca: Option<PathBuf>,

    /// Process whose CPU time (with its children's) is divided by the requests.
    #[arg(long)]
    pub(crate) pid: Option<u32>,

    /// Core to pin to; not pinned without it.
    #[arg(long)]
    pub(crate) core: Option<usize>,
}

/// A proxy that `compare` knows how to configure and start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PeerKind {
    /// ringress with one shard.
    Ringress,
    /// nginx with one worker.
    Nginx,
    /// HAProxy with one thread.
    Haproxy,
}

/// A length of time: above zero and bounded, so that a typing error does not run for days.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value <= 3600.0 => Ok(value),
        _ => Err("expected a number of seconds above 0 and at most 3600".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn compare_takes_lists_and_defaults() {
        let args = Args::parse_from(["bench", "compare", "--scenarios", "c,dp", "--peers", "nginx,haproxy"]);
        let Verb::Compare(compare) = args.verb else { panic!("compare was asked for") };
        assert_eq!(compare.scenarios.iter().map(|s| s.name).collect::<Vec<_>>(), ["c", "dp"]);
        assert_eq!(compare.peers, [PeerKind::Nginx, PeerKind::Haproxy]);
        assert_eq!((compare.rounds, compare.seconds), (3, 4.0));
    }

    #[test]
    fn an_unknown_scenario_or_an_endless_window_is_refused() {
        for wrong in [["--scenarios", "z"], ["--seconds", "0"], ["--seconds", "1e9"], ["--rounds", "0"]] {
            assert!(
                Args::try_parse_from(["bench", "compare"].into_iter().chain(wrong)).is_err(),
                "{wrong:?}"
            );
        }
    }
}
