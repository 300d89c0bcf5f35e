//! `down` and `list`.

use std::process::ExitCode;

use crate::args::DownArgs;
use crate::boxes::Cluster;

/// Ends one box or all of them, and takes their folders away.
///
/// # Errors
/// One does not end, or its folder cannot be removed.
pub(crate) fn run(args: &DownArgs) -> anyhow::Result<ExitCode> {
    let meant = if args.all { Cluster::all()? } else { vec![Cluster::named(&args.name.name)?] };
    for one in meant {
        let was_up = one.holder().is_some();
        one.end()?;
        one.remove()?;
        println!("box {} {}", one.name(), if was_up { "is down" } else { "was not up" });
    }
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
