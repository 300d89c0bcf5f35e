//! Who writes statuses and Events of ringress: one replica at a time, with what the chart grants and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::Case;
use crate::audit::{self, Death};
use crate::lease::{self, Held, pod_of, time};
use crate::release::{Release, route};
use crate::support::World;

pub(crate) const CASES: &[Case] = &[
    ("writers_whose_terms_overlap_are_found_in_the_audit_log", |_| audit::finds_overlapping_terms()),
    ("a_killed_leader_is_followed_in_twenty_seconds_and_nothing_is_left_unsaid", killed),
    ("a_leader_that_slept_writes_nothing_when_it_wakes", woken),
    ("applied_waits_for_a_frozen_replica_until_it_counts_no_more", frozen),
    ("a_leader_that_ends_hands_over_at_once_and_the_last_one_clears_up", ended),
];

/// Two replicas of a release that watch the namespace of the test alone.
struct Replicas<'w> {
    world: &'w World,
    release: Release<'w>,
}

impl<'w> Replicas<'w> {
    fn install(world: &'w World, name: &'static str) -> anyhow::Result<Self> {
        let values = [
            "controller.scope.enabled=true",
            "controller.shutdownGracePeriodSeconds=0",
            "controller.terminationGracePeriodSeconds=30",
            "controller.extraArgs.shards=2",
            "controller.extraArgs.pin=never",
            "controller.extraArgs.access-log=off",
        ];
        let replicas = Self { world, release: Release::install(world, name, &values)? };
        world.until("both replicas show what they serve", || Ok(replicas.shown()?.len() == 2))?;
        world.until("one replica leads", || Ok(lease::held(world, &replicas.release.lease())?.is_some()))?;
        Ok(replicas)
    }

    /// Who leads now.
    fn leader(&self) -> anyhow::Result<Held> {
        lease::leader(self.world, &self.release.lease())
    }

    /// Who leads once this process does no more; meanwhile something is done, over and over.
    fn successor(&self, of: &Held, meanwhile: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Held> {
        lease::successor(self.world, &self.release.lease(), of, meanwhile)
    }

    /// Statuses were written by the one that led, and by no other.
    fn ensure_one_writer(&self, death: Option<&Death<'_>>) -> anyhow::Result<()> {
        let requests = audit::requests(self.world, &self.release.account())?;
        audit::ensure_one_writer(&requests, &self.release.lease(), death)
    }

    /// The pods that show what they serve, and when they did so last.
    fn shown(&self) -> anyhow::Result<BTreeMap<String, Timestamp>> {
        let leases =
            self.world.list("leases", &format!("ringress.dev/replica-of={}", self.release.lease()))?;
        let named =
            leases.iter().filter_map(|lease| Some((lease["spec"]["holderIdentity"].as_str()?, lease)));
        named.map(|(by, lease)| Ok((pod_of(by).to_owned(), time(&lease["spec"]["renewTime"])?))).collect()
    }

    /// No pod answers for it, and none is asked.
    fn apply_ingress(&self, name: &str) -> anyhow::Result<()> {
        route(self.world, name, self.release.name, &format!("{name}.test"))
    }

    /// Every `Applied`, the oldest first.
    fn applied(&self) -> anyhow::Result<Vec<Applied>> {
        let list: Value = serde_json::from_str(&self.world.kubectl(&["get", "events", "-o", "json"])?)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let events =
            list["items"].as_array().context("items")?.iter().filter(|event| event["reason"] == "Applied");
        let applied = events.map(|event| {
            Ok(Applied {
                ingress: text(&event["involvedObject"]["name"]),
                by: text(&event["reportingInstance"]),
                at: time(&event["eventTime"])?,
                note: text(&event["message"]),
            })
        });
        let mut applied = applied.collect::<anyhow::Result<Vec<Applied>>>()?;
        applied.sort_by_key(|applied| applied.at);
        Ok(applied)
    }

    /// `Applied` follows a write within a second: all of a few but one, for other tests share the machine. A change that is made
    /// less than a second after the one before waits until a follower shows itself again, which it does once a second.
    fn ensure_applied_within_a_second(&self) -> anyhow::Result<()> {
        let took = (0..5).map(|number| {
            std::thread::sleep(Duration::from_millis(1_200));
            let name = format!("quick-{number}");
            self.apply_ingress(&name)?;
            let written = Timestamp::now();
            Ok(self.until_applied(&name)?.at.duration_since(written))
        });
        let mut took = took.collect::<anyhow::Result<Vec<_>>>()?;
        took.sort();
        println!("Applied so long after the write: {took:?}");
        ensure!(took[took.len() - 2] < SignedDuration::from_secs(1), "{took:?}");
        Ok(())
    }

    /// What `Applied` says of an Ingress, once it does.
    fn until_applied(&self, ingress: &str) -> anyhow::Result<Applied> {
        let mut found = None;
        self.world.until(&format!("{ingress} is applied"), || {
            found = self.applied()?.into_iter().find(|applied| applied.ingress == ingress);
            Ok(found.is_some())
        })?;
        found.context("it was there")
    }
}

#[derive(Debug)]
struct Applied {
    ingress: String,
    by: String,
    at: Timestamp,
    note: String,
}

fn killed(world: &World) -> anyhow::Result<()> {
    let replicas = Replicas::install(world, "killed")?;
    replicas.apply_ingress("before")?;
    let note = replicas.until_applied("before")?.note;
    ensure!(note.contains("confirmed by all 4 shards of 2 replicas"), "{note}");
    replicas.ensure_applied_within_a_second()?;
    let first = replicas.leader()?;
    let killed = Timestamp::now();
    world.fault("kill", &world.pod(first.pod()))?;
    let death = Death { pod: first.pod(), at: Timestamp::now() };
    let mut number = 0;
    // The killed one comes back in its pod as another process, which may lead as well as any.
    let second = replicas.successor(&first, || {
        number += 1;
        std::thread::sleep(Duration::from_millis(500));
        replicas.apply_ingress(&format!("during-{number}"))
    })?;
    let after = second.since.duration_since(killed);
    println!("a new leader {:.1} s after the old one was killed", after.as_secs_f64());
    ensure!(after < SignedDuration::from_secs(20), "nobody followed {first:?} before {second:?}");
    replicas.apply_ingress("after")?;
    said_by(&replicas, &[&first, &second])?;
    let last = replicas.leader()?;
    ensure!(last.by == second.by && last.transitions == first.transitions + 1, "{first:?}, now {last:?}");
    replicas.ensure_one_writer(Some(&death))?;
    replicas.release.uninstall()
}

fn woken(world: &World) -> anyhow::Result<()> {
    let replicas = Replicas::install(world, "woken")?;
    replicas.apply_ingress("before")?;
    replicas.until_applied("before")?;
    let first = replicas.leader()?;
    let pod = first.pod();
    world.fault("freeze", &world.pod(pod))?;
    // It hears of these only when it wakes, still believing that it leads.
    replicas.apply_ingress("asleep")?;
    let second = replicas.successor(&first, || Ok(()))?;
    world.fault("thaw", &world.pod(pod))?;
    replicas.apply_ingress("awake")?;
    world.until_ready(pod, "True")?;
    replicas.apply_ingress("after")?;
    said_by(&replicas, &[&first, &second])?;
    replicas.ensure_one_writer(None)?;
    replicas.release.uninstall()
}

/// Every Ingress is said once, by these one after the other.
fn said_by(replicas: &Replicas<'_>, holders: &[&Held]) -> anyhow::Result<()> {
    let world = replicas.world;
    let ingresses = world.kubectl(&["get", "ingresses", "-o", "name"])?;
    world.until("everything is said", || {
        let said: BTreeSet<String> = replicas.applied()?.into_iter().map(|applied| applied.ingress).collect();
        Ok(ingresses.lines().all(|name| said.contains(name.rsplit('/').next().unwrap_or_default())))
    })?;
    let applied = replicas.applied()?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    applied.iter().for_each(|applied| *counts.entry(&*applied.ingress).or_default() += 1);
    ensure!(counts.values().all(|count| *count == 1), "said twice: {counts:?}");
    // Writers follow each other and never alternate.
    let mut writers: Vec<&str> = applied.iter().map(|applied| &*applied.by).collect();
    writers.dedup();
    ensure!(writers.iter().eq(holders.iter().map(|held| &held.by)), "{writers:?} wrote, {holders:?} led");
    Ok(())
}

fn frozen(world: &World) -> anyhow::Result<()> {
    let replicas = Replicas::install(world, "frozen")?;
    replicas.apply_ingress("before")?;
    replicas.until_applied("before")?;
    let leader = replicas.leader()?;
    let mut pods = replicas.shown()?.into_keys();
    let follower = pods.find(|pod| pod != leader.pod()).context("a follower")?;
    world.fault("freeze", &world.pod(&follower))?;
    replicas.apply_ingress("meanwhile")?;
    let last = *replicas.shown()?.get(&follower).context("its Lease outlives it")?;
    let applied = replicas.until_applied("meanwhile")?;
    let silent = applied.at.duration_since(last);
    println!("Applied {:.1} s after a frozen replica had shown itself last", silent.as_secs_f64());
    // It counts for fifteen seconds, less what its own clock has for the way to the API server.
    let counted = SignedDuration::from_secs(14)..SignedDuration::from_secs(30);
    ensure!(counted.contains(&silent), "said after {silent:#}: {applied:?}");
    let unconfirmed = format!("not confirmed by {follower}, of which nothing is heard");
    ensure!(applied.note.contains(&unconfirmed), "{applied:?}");
    ensure!(!applied.note.contains("; confirmed"), "nobody else confirmed it: {applied:?}");
    world.fault("thaw", &world.pod(&follower))?;
    world.until_ready(&follower, "True")?;
    let mut number = 0;
    world.until(&format!("{follower} counts again"), || {
        number += 1;
        let name = format!("again-{number}");
        replicas.apply_ingress(&name)?;
        Ok(replicas.until_applied(&name)?.note.contains("of 2 replicas"))
    })?;
    replicas.release.uninstall()
}

fn ended(world: &World) -> anyhow::Result<()> {
    let replicas = Replicas::install(world, "ended")?;
    replicas.apply_ingress("web")?;
    let addresses = || -> anyhow::Result<Value> {
        Ok(world.get("ingress", "web")?["status"]["loadBalancer"]["ingress"].clone())
    };
    world.until("the address is shown", || Ok(addresses()?.is_array()))?;
    let first = replicas.leader()?;
    let asked = Timestamp::now();
    world.kubectl(&["delete", "pod", first.pod(), "--wait=false"])?;
    let elapsed = replicas.successor(&first, || Ok(()))?.since.duration_since(asked);
    println!("a new leader {:.1} s after the old one was asked to end", elapsed.as_secs_f64());
    ensure!(elapsed < SignedDuration::from_secs(6), "{elapsed:#}");
    ensure!(addresses()?.is_array(), "somebody is left to serve it");
    world.kubectl(&["scale", &format!("deployment/{}", replicas.release.controller()), "--replicas=0"])?;
    world.until("the addresses are gone", || Ok(addresses()?.is_null()))?;
    world.until("the Leases are gone", || {
        Ok(replicas.shown()?.is_empty() && lease::held(world, &replicas.release.lease())?.is_none())
    })?;
    replicas.ensure_one_writer(None)?;
    replicas.release.uninstall()
}
