//! The cluster in a box does what tests of ringress rely on.
//!
//! All tests share one box, each has a namespace of its own. Where root, namespaces or Go are missing, all are left out,
//! and one line says why; with RINGRESS_E2E_REQUIRED=1 that is a failure.
//! RINGRESS_E2E_KUBERNETES=1.31 runs them on the oldest version instead.

mod boxes;
mod containers;
mod faults;
mod forward;
mod leader;
mod ringress;
mod scale;
mod services;
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use ringress_e2e::binaries;

use support::World;

/// A test: what it shows, as a sentence, and how.
type Case = (&'static str, fn(&World) -> anyhow::Result<()>);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let minor = std::env::var("RINGRESS_E2E_KUBERNETES");
    let kubernetes = match binaries::kubernetes(minor.as_deref().unwrap_or(binaries::KUBERNETES[0].0)) {
        Ok(kubernetes) => kubernetes,
        Err(error) => {
            eprintln!("RINGRESS_E2E_KUBERNETES: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let missing = ringress_e2e::up::missing(&kubernetes);
    if !missing.is_empty() && !arguments.list {
        println!("skipped: the cluster in a box: {}", missing.join("; "));
        let required = std::env::var("RINGRESS_E2E_REQUIRED").is_ok_and(|value| value == "1");
        return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let trials = cases().into_iter().map(|(name, case)| {
        Trial::test(name, move || {
            World::shared()
                .and_then(|world| case(&world.namespaced(name)))
                .map_err(|error| format!("{error:#}").into())
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    World::end();
    conclusion.exit_code()
}

fn cases() -> Vec<Case> {
    let all = [
        containers::CASES,
        services::CASES,
        faults::CASES,
        forward::CASES,
        ringress::CASES,
        leader::CASES,
        scale::CASES,
        boxes::CASES,
    ];
    all.concat()
}
