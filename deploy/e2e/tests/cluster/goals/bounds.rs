//! What the measures are held to. A miss is told with its figure, after everything was measured and printed.

use anyhow::{Context, ensure};

use super::OwnBox;
use super::propagation::{Propagations, Spread};

/// What a quantile may be.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) name: &'static str,
    pub(crate) per_mille: usize,
    pub(crate) ms: f64,
}

/// From a write to every shard.
pub(crate) const PROMISED: [Bound; 3] = [
    Bound { name: "p50", per_mille: 500, ms: 3.0 },
    Bound { name: "p95", per_mille: 950, ms: 5.0 },
    Bound { name: "p99", per_mille: 990, ms: 10.0 },
];

/// What thousands of routes may cost the next one: so many times what it costs without them.
const GROWTH_MAX: f64 = 1.5;

/// Figures that were worse than promised.
#[derive(Debug, Default)]
pub(crate) struct Misses(Vec<String>);

impl Misses {
    /// Notes a figure beyond its bound; one that is no number is beyond any.
    pub(crate) fn at_most(&mut self, what: &str, found: f64, most: f64, unit: &str) {
        if found.is_nan() || found > most {
            self.0.push(format!("{what}: {found:.2} {unit}, promised: {most:.2} {unit}"));
        }
    }

    /// A write acknowledged to the first 200 on every shard. What the API server takes for its event is part of the promise; what
    /// an answer takes of a machine on which nothing changes comes on top.
    pub(crate) fn propagation(
        &mut self,
        what: &str,
        bounds: &[Bound],
        propagations: &Propagations,
        quiet: &Spread,
    ) {
        for Bound { name, per_mille, ms } in bounds {
            let [served, seen, jitter] =
                [&propagations.served, &propagations.seen, quiet].map(|spread| spread.quantile(*per_mille));
            let what = format!(
                "{what}, {name} (a bystander: {seen:.2} ms, the quiet machine itself: {jitter:.2} ms)"
            );
            self.at_most(&what, served, ms + jitter, "ms");
        }
    }

    /// Thousands of routes must not cost the next one much. A propagation is told by answers, so no growth is less than one takes.
    pub(crate) fn growth(&mut self, what: &str, few: &Propagations, many: &Propagations, quiet: &Spread) {
        let [few, many, answer] = [&few.served, &many.served, quiet].map(|spread| spread.quantile(500));
        let what = format!("{what}, p50 ({few:.2} ms before)");
        self.at_most(&what, many, few * GROWTH_MAX + answer, "ms");
    }

    /// # Errors
    /// There are any.
    pub(crate) fn none(self) -> anyhow::Result<()> {
        ensure!(self.0.is_empty(), "worse than promised:\n{}", self.0.join("\n"));
        Ok(())
    }
}

/// Figures of a build for debugging would say nothing.
///
/// # Errors
/// The box has such a ringress.
pub(crate) fn ensure_release(world: &OwnBox) -> anyhow::Result<()> {
    let program =
        world.cluster().commands().join("ringress").canonicalize().context("ringress of the box")?;
    let is_debug = program.parent().is_some_and(|folder| folder.ends_with("debug"));
    ensure!(
        !is_debug,
        "{} is a build for debugging: cargo build --release -p ringress, and \
         RINGRESS_E2E_RINGRESS=$PWD/target/release/ringress",
        program.display()
    );
    Ok(())
}
