//! What the articles promise beside their manifests: healthy pods only, certificates that come later, and a 404 whose cause can
//! be found.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};

use crate::Case;
use crate::client::{get, get_tls, until_outcome};
use crate::release::{OnePath, served, until_said};
use crate::seeds::{authority, create_secret};
use crate::services::{echo, names, until_available, until_endpoints};
use crate::support::World;

pub(crate) const CASES: &[Case] = &[
    ("ringress_asks_healthy_pods_only", healthy),
    ("a_certificate_is_issued_by_a_challenge_and_shown_without_a_restart", issued),
    ("each_cause_of_a_404_is_told_apart", not_found),
];

/// The class of the box's ringress.
const CLASS: &str = "ringress";

fn healthy(world: &World) -> anyhow::Result<()> {
    const HOST: &str = "healthy.test";
    world.apply(&echo(3))?;
    until_available(world, 3)?;
    world.apply(&OnePath { service: "echo", ..OnePath::new("healthy", CLASS, HOST) }.to_string())?;
    let address = world.ringress_address()?;
    let answering = || {
        let pods = (0..24).map(|_| {
            let answer = get(world, &address, HOST, "/")?;
            ensure!(answer.status == 200, "{answer:?}");
            Ok(answer.echoed("pod"))
        });
        pods.collect::<anyhow::Result<BTreeSet<String>>>()
    };
    let all = names(&world.list("pods", "app=echo")?);
    world.until("every pod answers", || Ok(answering()? == all))?;
    let unready = all.first().context("a pod")?.clone();
    world.fault("unready", &world.pod(&unready))?;
    let others: BTreeSet<String> = all.iter().filter(|name| **name != unready).cloned().collect();
    until_endpoints(world, "echo", 2)?;
    world.until("the one that is not ready answers no more", || Ok(answering()? == others))?;
    world.fault("ready", &world.pod(&unready))?;
    world.until("it answers again", || Ok(answering()? == all))
}

/// As cert-manager does it: an Ingress waits for its Secret, a second one answers the challenge for a while.
fn issued(world: &World) -> anyhow::Result<()> {
    const HOST: &str = "issued.test";
    const CHALLENGE: &str = "/.well-known/acme-challenge/token";
    served(world, CLASS, "other-issued.test")?;
    world.apply(&OnePath { secret: "issued", ..OnePath::new("issued", CLASS, HOST) }.to_string())?;
    let address = world.ringress_address()?;
    let before = restarts(world)?;
    world.until("the host leads to https", || Ok(get(world, &address, HOST, "/page")?.status == 308))?;
    until_said(world, "issued", "SecretNotFound")?;
    let solver = OnePath { path: CHALLENGE, kind: "Exact", ..OnePath::new("solver", CLASS, HOST) };
    world.apply(&solver.to_string())?;
    world.until("the challenge is answered in plain text", || {
        let answer = get(world, &address, HOST, CHALLENGE)?;
        Ok(answer.status == 200 && answer.echoed("path") == CHALLENGE)
    })?;
    ensure!(get(world, &address, HOST, "/page")?.status == 308, "and nothing else is");
    let folder = tempfile::tempdir()?;
    create_secret(world, folder.path(), "issued", &[HOST])?;
    world.kubectl(&["delete", "ingress", "solver"])?;
    let file = authority(world, folder.path(), "issued")?;
    world.until("the new certificate proves the host", || {
        Ok(get_tls(world, &address, &format!("https://{HOST}/page"), Some(&file))?.status == 200)
    })?;
    ensure!(restarts(world)? == before, "a certificate that comes takes no restart");
    Ok(())
}

/// The names of ringress's pods, and how often each was restarted.
fn restarts(world: &World) -> anyhow::Result<String> {
    let each =
        "-o=jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].restartCount}\n{end}";
    world.other_namespace("ringress").kubectl(&["get", "pods", each])
}

/// "Start with host rules, path rules, ingress class, and the backend Service name and port."
fn not_found(world: &World) -> anyhow::Result<()> {
    served(world, CLASS, "right-host.test")?;
    let address = world.ringress_address()?;
    until_outcome(world, &address, ("right-host.test", "/"), "web")?;
    let objects = [
        OnePath { path: "/shop", ..OnePath::new("path", CLASS, "right-path.test") },
        OnePath::new("class", "of-nobody-here", "wrong-class.test"),
        OnePath { service: "wbe", ..OnePath::new("service", CLASS, "wrong-service.test") },
        OnePath { port: 8181, ..OnePath::new("port", CLASS, "wrong-port.test") },
    ];
    world.apply(&objects.map(|object| object.to_string()).join("---"))?;
    until_outcome(world, &address, ("right-path.test", "/shop"), "web")?;
    // What was asked, the status, and the words of the answer that tell the cause.
    for (host, status, told) in [
        ("wrong-host.test", 404, "no rule names this host"),
        ("right-path.test", 404, "no rule of this host takes this path"),
        ("wrong-class.test", 404, "no rule names this host"),
        ("wrong-service.test", 503, ""),
        ("wrong-port.test", 503, ""),
    ] {
        world.until(&format!("{host} is answered with {status}"), || {
            let answer = get(world, &address, host, "/")?;
            ensure!(answer.status == status && answer.body.contains(told), "{answer:?}");
            Ok(true)
        })?;
    }
    until_said(world, "service", "BackendNotFound")?;
    until_said(world, "port", "PortNotFound")?;
    let explained = |host: &str| {
        let command =
            format!("kubectl ringress explain http://{host}/ --controller-namespace ringress 2>&1 || true");
        world.exec(&["sh", "-c", &command])
    };
    for (host, cause) in [
        ("wrong-host.test", "no rule"),
        ("right-path.test", "/shop"),
        ("wrong-class.test", "of-nobody-here"),
        ("wrong-service.test", "wbe"),
        ("wrong-port.test", "8181"),
    ] {
        let text = explained(host)?;
        ensure!(text.contains(cause), "{host}: {text}");
    }
    Ok(())
}
