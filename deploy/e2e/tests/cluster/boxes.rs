//! Boxes as such: side by side, and without a trace.

use std::path::PathBuf;

use anyhow::{Context, ensure};

use crate::Case;
use crate::services::{answering, balancer_address, echo, until_available};
use crate::support::{World, down};

pub(crate) const CASES: &[Case] = &[
    ("a_second_box_knows_nothing_of_the_first_and_leaves_nothing", side_by_side),
    ("pods_live_on_while_the_api_server_is_away", api_server_away),
    ("up_is_refused_where_a_box_is_up", up_twice),
    ("a_machine_without_a_capability_is_told_which", capabilities),
    ("exec_passes_the_exit_code_on", exit_code),
    ("the_box_has_the_version_that_was_asked_for", version),
];

fn side_by_side(world: &World) -> anyhow::Result<()> {
    let other = World::start("other", &["--nodes", "1"])?;
    // Both have the same addresses; each knows its own nodes only.
    let nodes = |world: &World| world.exec(&["kubectl", "get", "nodes", "-o", "name"]);
    ensure!(nodes(&other)? == "node/node-1\n", "{}", nodes(&other)?);
    ensure!(nodes(world)? == "node/node-1\nnode/node-2\n", "{}", nodes(world)?);
    other.apply(&echo(2))?;
    until_available(&other, 2)?;
    let holder = other.cluster().up()?;
    let network = std::fs::read_link(format!("/proc/{holder}/ns/net"))?;
    let inside = processes_in(&network);
    ensure!(inside.len() > 3, "few processes share the network of the box: {inside:?}");
    down(other.cluster())?;
    ensure!(processes_in(&network).is_empty(), "left: {:?}", processes_in(&network));
    let folder = other.cluster().folder();
    ensure!(!folder.exists(), "{} is left", folder.display());
    let name = folder.to_str().context("a plain path")?;
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    ensure!(!mounts.contains(name), "mounts are left");
    ensure!(left_processes(name).is_empty(), "processes are left: {:?}", left_processes(name));
    Ok(())
}

/// In a box of its own: all others would notice.
fn api_server_away(_: &World) -> anyhow::Result<()> {
    let world = World::start("away", &["--nodes", "1"])?;
    world.apply(&echo(2))?;
    until_available(&world, 2)?;
    let address = balancer_address(&world)?;
    let all = answering(&world, address, 4)?;
    world.fault("stop", "kube-apiserver")?;
    ensure!(world.kubectl(&["get", "pods"]).is_err(), "the API server still answers");
    ensure!(answering(&world, address, 4)? == all, "pods were lost");
    let killed = all.first().context("a pod")?;
    world.fault("kill", &world.pod(killed))?;
    world.until("the killed container is back", || {
        Ok(answering(&world, address, 8).is_ok_and(|names| names == all))
    })?;
    world.fault("start", "kube-apiserver")?;
    world.until("its status is written", || {
        Ok(world.get("pod", killed)?["status"]["containerStatuses"][0]["restartCount"] == 1)
    })?;
    world.kubectl(&["scale", "deployment/echo", "--replicas=3"])?;
    until_available(&world, 3)?;
    // Everything after the first list is seen again, by those too that were cut off.
    world.until("the third one answers", || Ok(answering(&world, address, 9)?.len() == 3))
}

fn up_twice(world: &World) -> anyhow::Result<()> {
    let name = world.cluster().name();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringress-e2e"))
        .args(["up", "--name", name])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && said.contains("is up already"), "{said}");
    Ok(())
}

/// As in a container that is not privileged.
fn capabilities(_: &World) -> anyhow::Result<()> {
    for (dropped, expected) in [
        ("-sys_admin", "no namespaces can be made (it needs CAP_SYS_ADMIN,"),
        ("-net_admin", "no network can be set up (it needs CAP_NET_ADMIN,"),
    ] {
        let name = format!("capable-{}", std::process::id());
        let output = std::process::Command::new("setpriv")
            .args(["--bounding-set", dropped, "--inh-caps", dropped])
            .args([env!("CARGO_BIN_EXE_ringress-e2e"), "up", "--bare", "--name", &name])
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success() && said.contains(expected), "without {dropped}: {said}");
    }
    Ok(())
}

fn exit_code(world: &World) -> anyhow::Result<()> {
    let name = world.cluster().name();
    let status = std::process::Command::new(env!("CARGO_BIN_EXE_ringress-e2e"))
        .args(["exec", "--name", name, "sh", "-c", "exit 7"])
        .status()?;
    ensure!(status.code() == Some(7), "{status}");
    Ok(())
}

fn version(world: &World) -> anyhow::Result<()> {
    let asked = std::env::var("RINGRESS_E2E_KUBERNETES").unwrap_or_else(|_| "1.36".to_owned());
    let told: serde_json::Value = serde_json::from_str(&world.exec(&["kubectl", "version", "-o", "json"])?)?;
    let server = told["serverVersion"]["gitVersion"].as_str().context("a version")?;
    ensure!(server.starts_with(&format!("v{asked}.")), "{server}, and {asked} was asked for");
    Ok(())
}

/// Processes whose network is this one.
fn processes_in(network: &std::path::Path) -> Vec<PathBuf> {
    processes()
        .filter(|process| std::fs::read_link(process.join("ns/net")).is_ok_and(|own| own == network))
        .collect()
}

/// Processes that were started from the folder of a box.
fn left_processes(folder: &str) -> Vec<PathBuf> {
    let named = |process: &PathBuf| std::fs::read(process.join("cmdline")).unwrap_or_default();
    processes().filter(|process| String::from_utf8_lossy(&named(process)).contains(folder)).collect()
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    all.filter(|path| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
    })
}
