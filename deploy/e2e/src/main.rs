//! The command line of the cluster in a box.
//!
//! Exit codes: 0 fine, 1 it did not work, 2 wrong usage; `exec` ends as its command does.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use ringress_e2e::args::Cli;

fn main() -> ExitCode {
    ringress_e2e::run(Cli::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
