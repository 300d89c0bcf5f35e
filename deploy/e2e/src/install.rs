//! What is installed in a box once it is up: for now folders of manifests, by kubectl.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::args::ApplyArgs;
use crate::boxes::Cluster;
use crate::exec;

/// `apply`.
///
/// # Errors
/// The box is not up, or kubectl says no.
pub(crate) fn run(args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    manifests(&Cluster::named(&args.name.name)?, &args.manifests)?;
    Ok(ExitCode::SUCCESS)
}

/// Applies files and folders, in the order given.
///
/// # Errors
/// kubectl says no.
pub(crate) fn manifests(inside: &Cluster, paths: &[PathBuf]) -> anyhow::Result<()> {
    for path in paths {
        let path = std::path::absolute(path)?;
        let shown = path.display().to_string();
        let command = ["kubectl", "apply", "--server-side", "-R", "-f", &shown].map(str::to_owned);
        let status = exec::command(inside, None, &command)?.status().context("cannot start nsenter")?;
        if !status.success() {
            bail!("kubectl could not apply {shown}");
        }
    }
    Ok(())
}
