//! Measures what a proxied request costs: an origin, a closed-loop client and the peers to compare with.
//!
//! ```text
//!                core 1                    core 0                 core 1
//!   client ── load.rs ── TCP or TLS ──► one proxy ── TCP ──► origin.rs
//!                └──────────── one thread, one ring ────────────┘
//! ```
//!
//! The figure that counts is CPU time of the proxy per request, not requests per second: the second depends on
//! the generator too. Every answer is checked; a run with one wrong answer ends with exit code 1.
//! What this does not do: measure over a real network card, or say anything about another machine.

mod args;
mod certificate;
mod compare;
mod load;
mod machine;
mod origin;
mod peer;
mod procfs;
mod report;
mod runtime;
mod scenario;

use std::process::ExitCode;

use args::{Args, Verb};
use clap::Parser;

fn main() -> ExitCode {
    let outcome = match Args::parse().verb {
        Verb::Compare(args) => compare::run(args),
        Verb::Origin(args) => origin::run(&args),
        Verb::Load(args) => load::run(&args),
    };
    match outcome {
        Ok(Verdict::Clean) => ExitCode::SUCCESS,
        Ok(Verdict::Errors) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// What a verb found, apart from being unable to run at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every answer was right.
    Clean,
    /// At least one exchange failed or was answered wrongly: the figures must not be used.
    Errors,
}

impl Verdict {
    pub(crate) fn from_errors(errors: u64) -> Self {
        if errors == 0 { Verdict::Clean } else { Verdict::Errors }
    }
}
