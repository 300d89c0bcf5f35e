//! The cluster in a box does what tests of ringress rely on.
//!
//! Tests share three boxes, each has a namespace of its own in one of them: with Kubernetes alone, with ringress installed, and
//! another such box for tests that claim requests for any host. Where root, namespaces or Go are missing, all are left out,
//! and one line says why; with RINGRESS_E2E_REQUIRED=1 that is a failure.
//! RINGRESS_E2E_KUBERNETES=1.31 runs them on the oldest version instead.

mod articles;
mod audit;
mod authority;
mod boxes;
mod chart;
mod client;
mod conformance;
mod containers;
mod faults;
mod forward;
mod goals;
mod kubectl;
mod leader;
mod lease;
mod load;
mod rbac;
mod release;
mod ringress;
mod scale;
mod seeds;
mod services;
mod support;
mod tokens;
mod up;

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
    let missing = ringress_e2e::up::missing_for_tests(&kubernetes);
    if !missing.is_empty() && !arguments.list {
        println!("skipped: the cluster in a box: {}", missing.join("; "));
        let required = std::env::var("RINGRESS_E2E_REQUIRED").is_ok_and(|value| value == "1");
        return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let bare = trials(bare(), World::shared);
    let installed = trials(installed(), World::with_ringress);
    let every_host = trials(seeds::CASES.to_vec(), World::for_every_host);
    let shared = bare.chain(installed).chain(every_host).chain(conformance::trials());
    let goals = goals::CASES.iter().map(|goal| in_its_own_box(*goal));
    let measures = goals::MEASURES.iter().map(|goal| in_its_own_box(*goal).with_ignored_flag(true));
    let conclusion = libtest_mimic::run(&arguments, shared.chain(goals).chain(measures).collect());
    World::end();
    conclusion.exit_code()
}

fn trials(cases: Vec<Case>, world: fn() -> anyhow::Result<World>) -> impl Iterator<Item = Trial> + use<> {
    cases.into_iter().map(move |(name, case)| {
        Trial::test(name, move || world().and_then(|world| case(&world.namespaced(name))).map_err(failed))
    })
}

fn in_its_own_box((name, goal): goals::Goal) -> Trial {
    Trial::test(name, move || goal().map_err(failed))
}

fn failed(error: anyhow::Error) -> libtest_mimic::Failed {
    format!("{error:#}").into()
}

/// Tests in the box with Kubernetes alone.
fn bare() -> Vec<Case> {
    let all = [
        containers::CASES,
        services::CASES,
        faults::CASES,
        forward::CASES,
        kubectl::CASES,
        ringress::CASES,
        leader::CASES,
        scale::CASES,
        boxes::CASES,
        chart::CASES,
        rbac::CASES,
        tokens::CASES,
        authority::CASES,
    ];
    all.concat()
}

/// Tests in the box where ringress is installed.
fn installed() -> Vec<Case> {
    [up::CASES, articles::CASES].concat()
}
