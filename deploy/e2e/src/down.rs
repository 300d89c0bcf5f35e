//! `down` and `list`.

use std::process::ExitCode;

use crate::args::NameArgs;
use crate::boxes::Cluster;

/// Ends the box of this name, and takes its folder away. There is no way to end all: others on this machine have theirs.
///
/// # Errors
/// It does not end, or its folder cannot be removed.
pub(crate) fn run(args: &NameArgs) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::named(&args.name)?;
    let was_up = cluster.holder().is_some();
    cluster.end()?;
    cluster.remove()?;
    println!("box {} {}", cluster.name(), if was_up { "is down" } else { "was not up" });
    Ok(ExitCode::SUCCESS)
}

/// Prints the boxes that are up.
///
/// # Errors
/// The folder of boxes cannot be read.
pub(crate) fn list() -> anyhow::Result<ExitCode> {
    for one in Cluster::all()? {
        if let Some(holder) = one.holder() {
            println!("{}\tprocess {holder}\t{}", one.name(), one.folder().display());
        }
    }
    Ok(ExitCode::SUCCESS)
}
