//! The ringress binary: arguments, boot and one file per verb.
//!
//! ```text
//! args ─► run, dev ─► boot ─► shards + controller       (the only place that knows both wings)
//!      ├► explain, lint, fmt                              (answers about manifests)
//!      ├► explain, lint, wait, shards, … ─► ask               (answers about what runs: a cluster or a process)
//!      ├► clear-status                                    (what a ringress that is gone left in a cluster)
//!      └► echo                                            (a backend to try things with)
//! ```
//!
//! Exit codes: 0 fine, 1 a negative answer, 2 wrong usage or unreadable input, 3 the cluster or process
//! cannot be reached.
#![forbid(unsafe_code)]

mod args;
mod ask;
mod backends;
mod boot;
mod certs;
mod clear_status;
mod dev;
mod doctor;
mod dump;
mod echo;
mod explain;
mod files;
mod fmt;
mod lint;
mod logging;
mod machine;
mod run;
mod shards;
mod terminal;
mod wait;
mod wire;
mod yaml;

use std::process::ExitCode;

use args::{Cli, Mistakes, Verb};
use ask::{UNREACHABLE, Unreachable};

fn main() -> ExitCode {
    let Cli { caller, told, verb, .. } = Cli::read();
    match verb {
        Verb::Run(args) => answer(args.check(), |run| run::run(run, told)),
        Verb::Dev(args) => answer(args.check(), |dev| dev::run(dev, told)),
        Verb::Explain(args) => answer(args.check(caller), explain::run),
        Verb::Lint(args) => answer(args.check(caller), lint::run),
        Verb::Fmt(args) => answer(Ok(args), fmt::run),
        Verb::Echo(args) => answer(args.check(), echo::run),
        Verb::Wait(args) => answer(args.check(caller), wait::run),
        Verb::Shards(args) => answer(args.check(caller), shards::run),
        Verb::Doctor(args) => answer(args.check(caller), doctor::run),
        Verb::Certs(args) => answer(args.check(caller), certs::run),
        Verb::Backends(args) => answer(args.check(caller), backends::run),
        Verb::Dump(args) => answer(args.check(caller), dump::run),
        Verb::ClearStatus(args) => answer(args.check(), clear_status::run),
        Verb::Version => {
            terminal::print(&format!("ringress {}\n", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
    }
}

/// Does what the arguments say, or says what is wrong with them.
fn answer<T>(checked: Result<T, Mistakes>, verb: impl FnOnce(T) -> anyhow::Result<ExitCode>) -> ExitCode {
    let outcome = match checked {
        Ok(value) => verb(value),
        Err(mistakes) => {
            eprint!("{mistakes}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::from(if error.is::<Unreachable>() { UNREACHABLE } else { WRONG_USAGE })
    })
}

/// The exit code for wrong usage, and for input that cannot be read.
const WRONG_USAGE: u8 = 2;
