//! What the measures are held to. A miss is told with its figure, after everything was measured and printed.

use anyhow::{Context, ensure};

use super::OwnBox;
use super::propagation::Propagations;

/// Figures that were worse than promised.
#[derive(Debug, Default)]
pub(crate) struct Misses(Vec<String>);

impl Misses {
    /// Notes a figure beyond its bound; one that is no number is beyond any.
    pub(crate) fn at_most(&mut self, what: &str, found: f64, most: f64, unit: &str) {
        if found.is_nan() || found > most {
            self.0.push(format!("{what}: {found:.2} {unit}, promised: {most} {unit}"));
        }
    }

    /// A write acknowledged to the first 200 on every shard. The promise is made for a machine without jitter: what a bystander
    /// waits for its event at the same time comes on top.
    pub(crate) fn propagation(&mut self, what: &str, propagations: &Propagations) {
        for (name, per_mille, promised) in [("p50", 500, 3.0), ("p95", 950, 5.0), ("p99", 990, 10.0)] {
            let jitter = propagations.seen.quantile(per_mille);
            let what = format!("{what}, {name} (a bystander: {jitter:.2} ms)");
            self.at_most(&what, propagations.served.quantile(per_mille), promised + jitter, "ms");
        }
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
