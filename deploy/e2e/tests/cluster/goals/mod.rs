//! What ringress promises beside a real API server: nothing is lost while backends, the API server or objects fail.
//!
//! Each goal has a box of its own, and a ringress process beside the API server of it. The short forms are tests like the
//! others; the long ones and those that measure are left out unless they are asked for, one at a time and on a quiet
//! machine:
//!
//! ```text
//! RINGRESS_E2E_RINGRESS=target/release/ringress \
//!   cargo test -p ringress-e2e --test cluster -- --ignored --test-threads 1 --nocapture measure_propagation
//! ```

mod api;
mod backend;
mod bounds;
mod bystander;
mod controller;
mod interposer;
mod mutations;
mod outages;
mod propagation;
mod restarts;
mod rollouts;
mod scale;

use std::future::Future;
use std::ops::Deref;

use self::api::Access;
use self::controller::Plan;
use crate::support::World;

/// A goal: what is promised, as a sentence, and how it is shown.
pub(crate) type Goal = (&'static str, fn() -> anyhow::Result<()>);

/// Part of every test run.
pub(crate) const CASES: &[Goal] = &[
    ("five_rollouts_of_ten_pods_that_exit_at_once_lose_nothing", rollouts::five),
    ("the_api_server_may_fail_in_every_way_for_a_while", outages::short),
    ("two_replicas_are_replaced_and_nothing_is_lost", restarts::rolled),
    ("the_leader_is_killed_and_nothing_is_lost_at_the_other_replica", restarts::killed),
    ("a_start_without_the_api_server_is_served_from_the_cache", restarts::from_the_cache),
    ("mutated_objects_never_change_what_others_answer", mutations::short),
    ("every_route_that_is_added_is_not_found_and_then_found_on_every_shard", propagation::short),
];

/// Left out unless asked for.
pub(crate) const MEASURES: &[Goal] = &[
    ("soak_a_hundred_rollouts_of_ten_pods", rollouts::hundred),
    ("soak_the_api_server_fails_in_every_way_for_a_minute", outages::long),
    ("soak_five_hundred_mutations_beside_a_thousand_objects", mutations::long),
    ("measure_propagation_from_none_to_three_thousand_routes", propagation::long),
    ("measure_propagation_beside_five_thousand_routes_that_churn", scale::propagation_beside_churn),
    ("measure_five_thousand_routes", scale::five_thousand),
    ("measure_certificates", scale::certificates),
    ("measure_an_endpoint_that_goes", propagation::endpoint_gone),
    ("measure_a_second_up", scale::second_up),
];

/// A box that is ended when this is dropped.
struct OwnBox(World);

impl OwnBox {
    /// With Kubernetes alone.
    fn up(name: &str) -> anyhow::Result<Self> {
        Ok(Self(World::start(name, &["--nodes", "1"])?))
    }

    /// With two replicas of ringress from the chart, and the beginner example.
    fn installed(name: &str) -> anyhow::Result<Self> {
        Ok(Self(World::start_installed(name, &[])?))
    }
}

impl Deref for OwnBox {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl Drop for OwnBox {
    fn drop(&mut self) {
        self.0.end_now();
    }
}

/// A box, and what a ringress beside its API server and a client of that need.
struct Scene {
    world: OwnBox,
    access: Access,
    plan: Plan,
}

impl Scene {
    fn up(name: &str) -> anyhow::Result<Self> {
        let world = OwnBox::up(name)?;
        Ok(Self { access: Access::of(&world)?, plan: Plan::of(&world), world })
    }

    /// For a measure: ringress must be a release build.
    fn measured(name: &str) -> anyhow::Result<Self> {
        let scene = Self::up(name)?;
        bounds::ensure_release(&scene.world)?;
        Ok(scene)
    }
}

/// Runs async work with a runtime whose sockets are inside the box.
fn inside<T, F>(world: &World, work: impl FnOnce() -> F + Send + 'static) -> anyhow::Result<T>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>>,
{
    world.inside(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work())
    })
}
