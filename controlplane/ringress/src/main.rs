//! The ringress binary: arguments, boot and one file per verb.
//!
//! ```text
//! args ─► run, dev ─► boot ─► shards + controller       (the only place that knows both wings)
//!      ├► explain, lint, fmt                              (answers about manifests)
//!      └► echo                                            (a backend to try things with)
//! ```
//!
//! Exit codes: 0 fine, 1 a negative answer, 2 wrong usage or unreadable input, 3 the process cannot be reached.
#![forbid(unsafe_code)]

mod args;
mod boot;
mod dev;
mod echo;
mod explain;
mod files;
mod fmt;
mod lint;
mod logging;
mod machine;
mod run;
mod terminal;
mod wire;

use std::process::ExitCode;

use args::{Cli, Mistakes, Verb};

fn main() -> ExitCode {
    match Cli::read().verb {
        Verb::Run(args) => answer(args.check(), run::run),
        Verb::Dev(args) => answer(args.check(), dev::run),
        Verb::Explain(args) => answer(args.check(), explain::run),
        Verb::Lint(args) => answer(args.check(), lint::run),
        Verb::Fmt(args) => answer(Ok(args), fmt::run),
        Verb::Echo(args) => answer(args.check(), echo::run),
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
        ExitCode::from(WRONG_USAGE)
    })
}

/// The exit code for wrong usage, and for input that cannot be read.
const WRONG_USAGE: u8 = 2;
