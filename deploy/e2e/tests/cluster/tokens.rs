//! The token of the service account is replaced under a running ringress, and the old one is taken no more.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use jiff::Timestamp;

use crate::Case;
use crate::audit;
use crate::client::{get, until_outcome};
use crate::release::{Release, route, served, until_address, until_said};
use crate::support::World;

pub(crate) const CASES: &[Case] =
    &[("replicas_whose_tokens_are_refused_go_on_with_those_that_replace_them", replaced)];

fn replaced(world: &World) -> anyhow::Result<()> {
    let release = Release::install(world, "tokens", &["controller.scope.enabled=true"])?;
    served(world, release.name, "before.test")?;
    let address = release.address()?;
    until_outcome(world, &address, ("before.test", "/"), "web")?;
    until_address(world, "web", &address)?;
    let before = tokens(&release)?;
    ensure!(before.len() == 2, "{:?} have tokens", before.keys());
    make_account_anew(&release)?;
    // Whoever was authenticated a moment ago is so for a while.
    world
        .until("the old tokens are refused", || Ok(before.values().all(|token| is_refused(world, token))))?;
    for pod in before.keys() {
        world.fault("rotate", &world.pod(pod))?;
    }
    world.until("every pod has another token", || {
        Ok(tokens(&release)?.iter().all(|(pod, token)| before.get(pod).is_some_and(|old| old != token)))
    })?;
    let replaced = Timestamp::now();
    // What was begun with the old token goes on until it ends by itself.
    world.until("every pod watches with its new token", || {
        let requests = audit::requests(world, &release.account())?;
        let watches = requests.iter().filter(|request| request.call == "watch ingresses");
        let begun = |pod: &String| {
            let mut watches = watches.clone();
            watches.any(|watch| watch.pod == *pod && watch.was_granted() && watch.received > replaced)
        };
        Ok(before.keys().all(begun))
    })?;
    // Of the same processes: a token that is read at the start only would be of no use to them.
    route(world, "afterwards", release.name, "after.test")?;
    let replicas = addresses(&release)?;
    for replica in &replicas {
        until_outcome(world, replica, ("after.test", "/"), "web")?;
    }
    until_address(world, "afterwards", &address)?;
    until_said(world, "afterwards", "Applied")?;
    ensure!(get(world, &address, "before.test", "/")?.outcome() == "web", "what was served is served on");
    for pod in before.keys() {
        let restarts = &world.get("pod", pod)?["status"]["containerStatuses"][0]["restartCount"];
        ensure!(*restarts == 0, "{pod} was restarted {restarts} times");
    }
    release.uninstall()
}

/// An account of the same name and rights for which the old tokens do not hold: they carry its uid.
fn make_account_anew(release: &Release<'_>) -> anyhow::Result<()> {
    let (world, account) = (release.world, release.account());
    world.kubectl(&["delete", "serviceaccount", &account])?;
    world.kubectl(&["create", "serviceaccount", &account]).map(drop)
}

fn is_refused(world: &World, token: &str) -> bool {
    let asked = world.exec_as(token, &["get", "ingresses"]);
    asked.is_err_and(|error| format!("{error:#}").contains("Unauthorized"))
}

/// What each pod of the release finds where its token is mounted.
fn tokens(release: &Release<'_>) -> anyhow::Result<BTreeMap<String, String>> {
    let token = |pod: String| {
        let file = volumes(release.world, &pod)?.join("token");
        let token = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Ok((pod, token))
    };
    release.pods()?.into_iter().map(token).collect()
}

/// The folder of the volume that holds the token of a pod, as a node has it.
fn volumes(world: &World, pod: &str) -> anyhow::Result<PathBuf> {
    let pod = world.get("pod", pod)?;
    let volumes = pod["spec"]["volumes"].as_array().context("volumes")?;
    let mut names = volumes.iter().filter_map(|volume| volume["name"].as_str());
    let name = names.find(|name| name.starts_with("kube-api-access")).context("a volume with a token")?;
    let uid = pod["metadata"]["uid"].as_str().context("a uid")?;
    Ok(world.cluster().folder().join("pods").join(uid).join("volumes").join(name))
}

/// Where each replica is reached by itself.
fn addresses(release: &Release<'_>) -> anyhow::Result<Vec<String>> {
    let address = |pod: &String| {
        let pod = release.world.get("pod", pod)?;
        Ok(pod["status"]["podIP"].as_str().context("an address")?.to_owned())
    };
    release.pods()?.iter().map(address).collect()
}
