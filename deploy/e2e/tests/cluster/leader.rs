//! Who writes statuses and Events of ringress: one replica at a time, with what the chart grants and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::Case;
use crate::support::World;

pub(crate) const CASES: &[Case] = &[
    ("a_killed_leader_is_followed_in_twenty_seconds_and_nothing_is_left_unsaid", killed),
    ("a_leader_that_slept_writes_nothing_when_it_wakes", woken),
    ("applied_waits_for_a_frozen_replica_until_it_counts_no_more", frozen),
    ("a_leader_that_ends_hands_over_at_once_and_the_last_one_clears_up", ended),
];

/// Two replicas from the chart that watch the namespace of the test alone.
struct Release<'w> {
    world: &'w World,
    name: &'static str,
}

impl<'w> Release<'w> {
    fn install(world: &'w World, name: &'static str) -> anyhow::Result<Self> {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../helm/ringress");
        let chart = chart.to_str().context("a plain path")?;
        let mut command =
            vec!["helm", "template", name, chart, "--no-hooks", "--namespace", world.namespace()];
        let full_name = format!("fullnameOverride={name}");
        let class = format!("controller.ingressClassResource.name={name}");
        for value in [
            &*full_name,
            &*class,
            "controller.scope.enabled=true",
            "controller.shutdownGracePeriodSeconds=0",
            "controller.terminationGracePeriodSeconds=30",
            "controller.extraArgs.shards=2",
            "controller.extraArgs.pin=never",
            "controller.extraArgs.access-log=off",
        ] {
            command.extend(["--set", value]);
        }
        let manifests = world.exec(&command)?;
        world.apply(&manifests)?;
        let release = Self { world, name };
        world.until("both replicas show what they serve", || Ok(release.shown()?.len() == 2))?;
        world.until("one replica leads", || Ok(!release.holder()?.is_empty()))?;
        Ok(release)
    }

    /// Who holds the Lease, and how often it went from hand to hand.
    fn lease(&self) -> anyhow::Result<(String, i64)> {
        let lease = self.world.get("lease", &format!("{}-leader", self.name));
        let Ok(lease) = lease else { return Ok((String::new(), 0)) };
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
        Ok((holder, lease["spec"]["leaseTransitions"].as_i64().unwrap_or(0)))
    }

    fn holder(&self) -> anyhow::Result<String> {
        Ok(self.lease()?.0)
    }

    /// The pod that leads.
    fn leader(&self) -> anyhow::Result<String> {
        Ok(pod_of(&self.holder()?).to_owned())
    }

    /// The pods that show what they serve.
    fn shown(&self) -> anyhow::Result<BTreeSet<String>> {
        let leases = self.world.list("leases", &format!("ringress.dev/replica-of={}-leader", self.name))?;
        let pod = |lease: &Value| Some(pod_of(lease["spec"]["holderIdentity"].as_str()?).to_owned());
        Ok(leases.iter().filter_map(pod).collect())
    }

    fn apply_ingress(&self, name: &str) -> anyhow::Result<()> {
        let class = self.name;
        self.world.apply(&format!(
            r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}}}
spec:
  ingressClassName: {class}
  rules:
  - host: {name}.test
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: {class}-controller, port: {{number: 80}}}}}}}}]}}
"#
        ))
    }

    /// Every `Applied`, the oldest first.
    fn applied(&self) -> anyhow::Result<Vec<Applied>> {
        let list: Value = serde_json::from_str(&self.world.kubectl(&["get", "events", "-o", "json"])?)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let events =
            list["items"].as_array().context("items")?.iter().filter(|event| event["reason"] == "Applied");
        let applied = events.map(|event| Applied {
            ingress: text(&event["involvedObject"]["name"]),
            by: text(&event["reportingInstance"]),
            at: text(&event["eventTime"]),
            note: text(&event["message"]),
        });
        let mut applied: Vec<Applied> = applied.collect();
        applied.sort_by(|one, other| one.at.cmp(&other.at));
        Ok(applied)
    }

    /// What `Applied` says of an Ingress.
    fn note(&self, ingress: &str) -> anyhow::Result<Option<String>> {
        Ok(self.applied()?.into_iter().find(|applied| applied.ingress == ingress).map(|applied| applied.note))
    }

    fn until_applied(&self, ingress: &str) -> anyhow::Result<String> {
        self.world.until(&format!("{ingress} is applied"), || Ok(self.note(ingress)?.is_some()))?;
        self.note(ingress)?.context("it was there")
    }
}

#[derive(Debug)]
struct Applied {
    ingress: String,
    by: String,
    at: String,
    note: String,
}

/// The pod of a process: its name, and a number of its own.
fn pod_of(identity: &str) -> &str {
    identity.rsplit_once('_').map_or(identity, |(pod, _)| pod)
}

fn killed(world: &World) -> anyhow::Result<()> {
    let release = Release::install(world, "killed")?;
    release.apply_ingress("before")?;
    let note = release.until_applied("before")?;
    ensure!(note.contains("confirmed by all 4 shards of 2 replicas"), "{note}");
    let (first, transitions) = release.lease()?;
    world.fault("kill", &world.pod(pod_of(&first)))?;
    let begun = Instant::now();
    let mut holders = vec![first.clone()];
    for number in 0.. {
        release.apply_ingress(&format!("during-{number}"))?;
        let holder = release.holder()?;
        if holders.last() != Some(&holder) {
            holders.push(holder);
            break;
        }
        ensure!(
            begun.elapsed() < Duration::from_secs(20),
            "nobody follows {first} after {:?}",
            begun.elapsed()
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    println!("a new leader {:.1} s after the old one was killed", begun.elapsed().as_secs_f64());
    release.apply_ingress("after")?;
    said_by(&release, &holders)?;
    ensure!(release.lease()? == (holders[1].clone(), transitions + 1), "{:?}", release.lease()?);
    Ok(())
}

fn woken(world: &World) -> anyhow::Result<()> {
    let release = Release::install(world, "woken")?;
    release.apply_ingress("before")?;
    release.until_applied("before")?;
    let first = release.holder()?;
    world.fault("freeze", &world.pod(pod_of(&first)))?;
    // It hears of these only when it wakes, still believing that it leads.
    release.apply_ingress("asleep")?;
    world.until("another one leads", || Ok(release.holder()? != first))?;
    let second = release.holder()?;
    world.fault("thaw", &world.pod(pod_of(&first)))?;
    release.apply_ingress("awake")?;
    world.until_ready(pod_of(&first), "True")?;
    release.apply_ingress("after")?;
    said_by(&release, &[first, second])
}

/// Every Ingress is said once, by these one after the other.
fn said_by(release: &Release<'_>, holders: &[String]) -> anyhow::Result<()> {
    let world = release.world;
    let ingresses = world.kubectl(&["get", "ingresses", "-o", "name"])?;
    world.until("everything is said", || {
        let said: BTreeSet<String> = release.applied()?.into_iter().map(|applied| applied.ingress).collect();
        Ok(ingresses.lines().all(|name| said.contains(name.rsplit('/').next().unwrap_or_default())))
    })?;
    let applied = release.applied()?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    applied.iter().for_each(|applied| *counts.entry(&*applied.ingress).or_default() += 1);
    ensure!(counts.values().all(|count| *count == 1), "said twice: {counts:?}");
    // Writers follow each other and never alternate.
    let mut writers: Vec<&str> = applied.iter().map(|applied| &*applied.by).collect();
    writers.dedup();
    ensure!(writers == holders, "{writers:?} wrote, {holders:?} held the Lease");
    Ok(())
}

fn frozen(world: &World) -> anyhow::Result<()> {
    let release = Release::install(world, "frozen")?;
    release.apply_ingress("before")?;
    release.until_applied("before")?;
    let leader = release.leader()?;
    let follower = release.shown()?.into_iter().find(|pod| *pod != leader).context("a follower")?;
    world.fault("freeze", &world.pod(&follower))?;
    let begun = Instant::now();
    release.apply_ingress("meanwhile")?;
    // The last renewal may be five seconds old, and it counts for fifteen.
    while begun.elapsed() < Duration::from_secs(8) {
        ensure!(release.note("meanwhile")?.is_none(), "said without {follower} after {:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(500));
    }
    let note = release.until_applied("meanwhile")?;
    println!("Applied {:.1} s after a replica was frozen", begun.elapsed().as_secs_f64());
    ensure!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    ensure!(note.contains(&format!("not confirmed by {follower}, of which nothing is heard")), "{note}");
    ensure!(!note.contains("; confirmed"), "nobody else confirmed it: {note}");
    world.fault("thaw", &world.pod(&follower))?;
    world.until_ready(&follower, "True")?;
    for number in 0.. {
        let name = format!("again-{number}");
        release.apply_ingress(&name)?;
        if release.until_applied(&name)?.contains("of 2 replicas") {
            return Ok(());
        }
        ensure!(begun.elapsed() < Duration::from_secs(60), "{follower} does not count again");
    }
    Ok(())
}

fn ended(world: &World) -> anyhow::Result<()> {
    let release = Release::install(world, "ended")?;
    release.apply_ingress("web")?;
    let addresses = || -> anyhow::Result<Value> {
        Ok(world.get("ingress", "web")?["status"]["loadBalancer"]["ingress"].clone())
    };
    world.until("the address is shown", || Ok(addresses()?.is_array()))?;
    let leader = release.leader()?;
    let begun = Instant::now();
    world.kubectl(&["delete", "pod", &leader, "--wait=false"])?;
    world.until("another one leads", || {
        let now = release.leader()?;
        Ok(!now.is_empty() && now != leader)
    })?;
    let elapsed = begun.elapsed();
    println!("a new leader {:.1} s after the old one was asked to end", elapsed.as_secs_f64());
    ensure!(elapsed < Duration::from_secs(6), "{elapsed:?}");
    ensure!(addresses()?.is_array(), "somebody is left to serve it");
    world.kubectl(&["scale", "deployment/ended-controller", "--replicas=0"])?;
    world.until("the addresses are gone", || Ok(addresses()?.is_null()))?;
    world.until("the Leases are gone", || Ok(release.shown()?.is_empty() && release.holder()?.is_empty()))
}
