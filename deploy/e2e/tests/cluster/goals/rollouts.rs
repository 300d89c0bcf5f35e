//! Backends are replaced under load.

use anyhow::ensure;

use super::api;
use super::controller::Controller;
use super::{Scene, inside};
use crate::load::{Load, load_during};
use crate::services::{echo, until_available};
use crate::support::World;

const PODS: usize = 10;
const CLIENTS: usize = 8;

pub(crate) fn five() -> anyhow::Result<()> {
    rolled(5)
}

pub(crate) fn hundred() -> anyhow::Result<()> {
    rolled(100)
}

/// The pods exit at once on SIGTERM, while their endpoints are on the way out; no preStop gives anybody time.
fn rolled(times: usize) -> anyhow::Result<()> {
    let Scene { world, access, plan } = Scene::up("rollouts")?;
    world.apply(&echo(PODS))?;
    until_available(&world, PODS)?;
    let kubectl = world.clone();
    inside(&world, move || async move {
        let client = access.client().await?;
        api::create_class(&client).await?;
        api::create_ingress(&client, api::ingress("echo", "echo.local", "echo")).await?;
        let controller = Controller::start(&plan).await?;
        let rollouts = async {
            for _ in 0..times {
                let kubectl = kubectl.clone();
                tokio::task::spawn_blocking(move || roll(&kubectl)).await??;
            }
            Ok(())
        };
        let ((), seen) = load_during(Load::of(controller.http, "echo.local", CLIENTS), rollouts).await?;
        println!(
            "{} of {} requests failed in {times} rollouts of {PODS} pods",
            seen.failures.len(),
            seen.asked
        );
        ensure!(times * 200 <= seen.asked, "only {} requests", seen.asked);
        seen.none_failed_of(1_000)
    })
}

fn roll(world: &World) -> anyhow::Result<()> {
    world.roll("deployment/echo")?;
    until_available(world, PODS)
}
