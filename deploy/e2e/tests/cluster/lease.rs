//! Who leads, as the Lease of an election says.
//!
//! Times are those of the object: what a test sees of it may be late, on a busy machine by seconds.

use anyhow::Context;
use jiff::Timestamp;
use serde_json::Value;

use crate::support::World;

/// Who holds a Lease, since when, and how often it went from hand to hand.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    /// A process: where it is killed, the next one in its pod is another.
    pub(crate) by: String,
    pub(crate) since: Timestamp,
    pub(crate) transitions: i64,
}

impl Held {
    /// The pod of the process.
    pub(crate) fn pod(&self) -> &str {
        pod_of(&self.by)
    }
}

/// A Lease of the namespace of the test, `None` where nobody holds it.
pub(crate) fn held(world: &World, name: &str) -> anyhow::Result<Option<Held>> {
    let lease = world.kubectl(&["get", "lease", name, "--ignore-not-found", "-o", "json"])?;
    if lease.is_empty() {
        return Ok(None);
    }
    let lease: Value = serde_json::from_str(&lease)?;
    let spec = &lease["spec"];
    let by = spec["holderIdentity"].as_str().unwrap_or_default().to_owned();
    let since = time(&spec["acquireTime"])?;
    let transitions = spec["leaseTransitions"].as_i64().unwrap_or(0);
    Ok((!by.is_empty()).then_some(Held { by, since, transitions }))
}

/// Who leads now.
pub(crate) fn leader(world: &World, name: &str) -> anyhow::Result<Held> {
    held(world, name)?.context("nobody leads")
}

/// Who leads once this process does no more; meanwhile something is done, over and over.
pub(crate) fn successor(
    world: &World,
    name: &str,
    of: &Held,
    mut meanwhile: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<Held> {
    let mut next = None;
    world.until(&format!("another process than {} leads", of.by), || {
        meanwhile()?;
        next = held(world, name)?.filter(|held| held.by != of.by);
        Ok(next.is_some())
    })?;
    next.context("it was there")
}

/// The pod of a process: its name, before a number of the process' own.
pub(crate) fn pod_of(identity: &str) -> &str {
    identity.rsplit_once('_').map_or(identity, |(pod, _)| pod)
}

/// A time of an object.
pub(crate) fn time(value: &Value) -> anyhow::Result<Timestamp> {
    value.as_str().with_context(|| format!("{value} is no time"))?.parse().context("a time")
}
