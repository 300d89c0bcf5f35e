//! Harm on purpose, and how it is undone.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::Case;
use crate::services::{answering, balancer_address, echo, ready_endpoints, until_available};
use crate::support::World;

pub(crate) const CASES: &[Case] = &[
    ("a_killed_container_comes_back", kill),
    ("a_frozen_pod_loses_its_readiness_and_gets_it_back", freeze),
    ("a_black_hole_swallows_packets_but_not_probes", black_hole),
    ("a_part_of_the_control_plane_comes_back", control_plane),
    ("a_fault_for_nobody_is_refused", refused),
];

fn one_echo(world: &World) -> anyhow::Result<String> {
    world.apply(&echo(1))?;
    until_available(world, 1)?;
    let pods = world.list("pods", "app=echo")?;
    Ok(pods[0]["metadata"]["name"].as_str().context("a name")?.to_owned())
}

fn kill(world: &World) -> anyhow::Result<()> {
    let pod = one_echo(world)?;
    world.fault("kill", &world.pod(&pod))?;
    world.until("it is back", || {
        let status = world.get("pod", &pod)?["status"]["containerStatuses"][0].clone();
        Ok(status["restartCount"] == 1
            && status["ready"] == true
            && status["lastState"]["terminated"]["exitCode"] == 137)
    })
}

fn freeze(world: &World) -> anyhow::Result<()> {
    let pod = one_echo(world)?;
    world.fault("freeze", &world.pod(&pod))?;
    world.until_ready(&pod, "False")?;
    world.until("no endpoint is ready", || Ok(ready_endpoints(world, "echo")?.is_empty()))?;
    world.fault("thaw", &world.pod(&pod))?;
    world.until_ready(&pod, "True")
}

fn black_hole(world: &World) -> anyhow::Result<()> {
    let pod = one_echo(world)?;
    let address = balancer_address(world)?;
    world.until("it answers", || Ok(answering(world, address, 1).is_ok()))?;
    world.fault("blackhole", &world.pod(&pod))?;
    ensure!(answering(world, address, 1).is_err(), "a packet passed");
    // Two periods of its probe.
    std::thread::sleep(Duration::from_millis(2500));
    world.until_ready(&pod, "True")?;
    world.fault("heal", &world.pod(&pod))?;
    world.until("it answers again", || Ok(answering(world, address, 1).is_ok()))
}

fn control_plane(world: &World) -> anyhow::Result<()> {
    world.fault("kill", "kube-controller-manager")?;
    one_echo(world)?;
    ensure!(world.fault("blackhole", "etcd").is_err(), "a black hole is for pods");
    Ok(())
}

fn refused(world: &World) -> anyhow::Result<()> {
    for target in ["nobody", "default/nobody"] {
        let error = world.fault("kill", target).err().context("it was done")?;
        ensure!(format!("{error}").contains("no pod"), "{error}");
    }
    Ok(())
}
