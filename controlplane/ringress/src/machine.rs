//! What the machine gives this process: cores, and limits that can be raised.

use core_affinity::CoreId;
use rlimit::Resource;

use crate::args::{Pin, Process};

/// How many shards there are, and on which core each one stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// One entry per shard; `None`: the kernel moves it as it likes.
    pub(crate) cores: Vec<Option<CoreId>>,
}

impl Layout {
    /// The layout that flags, CPU quota and affinity give.
    pub(crate) fn of(process: &Process) -> Self {
        let allowed = core_affinity::get_core_ids().unwrap_or_default();
        // The standard library reads the affinity mask and the quotas of both cgroup versions.
        let usable = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with(process.shards.unwrap_or(usable), process.pin, &allowed)
    }

    fn with(shards: usize, pin: Pin, allowed: &[CoreId]) -> Self {
        let pinned = match pin {
            // A quota below the number of cores means that somebody else runs on them: a pinned shard would wait
            // for its own core while another one idles.
            Pin::Auto => allowed.len() == shards,
            Pin::Always => !allowed.is_empty(),
            Pin::Never => false,
        };
        let core = |shard: usize| pinned.then(|| allowed[shard % allowed.len()]);
        Self { cores: (0..shards).map(core).collect() }
    }
}

/// Raises the soft limits of descriptors and of locked memory to the hard ones. Connections need the first, rings the
/// second; a refusal is no reason not to start, so it is only logged.
pub(crate) fn raise_limits() {
    for (name, resource) in [("descriptors", Resource::NOFILE), ("locked memory", Resource::MEMLOCK)] {
        if let Err(error) = raise(resource) {
            tracing::warn!(limit = name, %error, "limit not raised");
        }
    }
}

fn raise(resource: Resource) -> std::io::Result<()> {
    let (soft, hard) = resource.get()?;
    if soft < hard { resource.set(hard, hard) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(ids: &[usize]) -> Vec<CoreId> {
        ids.iter().map(|id| CoreId { id: *id }).collect()
    }

    #[test]
    fn auto_pins_only_when_every_shard_has_a_core_of_its_own() {
        type Row = (usize, Pin, &'static [usize], &'static [Option<usize>]);
        let rows: [Row; 6] = [
            (2, Pin::Auto, &[0, 1], &[Some(0), Some(1)]),
            (2, Pin::Auto, &[4, 7], &[Some(4), Some(7)]),
            (2, Pin::Auto, &[0, 1, 2, 3], &[None, None]),
            (3, Pin::Always, &[0, 1], &[Some(0), Some(1), Some(0)]),
            (2, Pin::Never, &[0, 1], &[None, None]),
            (1, Pin::Always, &[], &[None]),
        ];
        for (shards, pin, allowed, expected) in rows {
            let layout = Layout::with(shards, pin, &cores(allowed));
            let got: Vec<_> = layout.cores.iter().map(|core| core.map(|core| core.id)).collect();
            assert_eq!(got, expected, "{shards} {pin:?} {allowed:?}");
        }
    }

    #[test]
    fn raised_limits_stand_at_the_hard_ones() {
        raise_limits();
        let (soft, hard) = Resource::NOFILE.get().unwrap();
        assert_eq!(soft, hard);
    }
}
