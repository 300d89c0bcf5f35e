//! `exec`: a command inside a box.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::args::ExecArgs;
use crate::boxes::Cluster;
use crate::control::{Answer, Question};

/// Becomes the command.
///
/// # Errors
/// The box is not up, or the command cannot be started.
pub(crate) fn run(args: &ExecArgs) -> anyhow::Result<ExitCode> {
    let inside = Cluster::named(&args.name.name)?;
    let network = match &args.pod {
        Some(pod) => Some(network_of(&inside, pod)?),
        None => None,
    };
    let error = command(&inside, network.as_deref(), &args.command)?.exec();
    Err(error).context("cannot start nsenter (package util-linux)")
}

/// The command line that runs something inside: same folder, KUBECONFIG set, kubectl, helm and ringress on the PATH.
///
/// # Errors
/// The box is not up.
pub(crate) fn command(
    inside: &Cluster,
    network: Option<&str>,
    command: &[String],
) -> anyhow::Result<Command> {
    let holder = inside.up()?;
    let space = |kind: &str| format!("/proc/{holder}/ns/{kind}");
    let mut nsenter = Command::new("nsenter");
    nsenter.arg(format!("--net={}", space("net")));
    nsenter.arg(format!("--mount={}", space("mnt")));
    nsenter.arg(format!("--pid={}", space("pid_for_children")));
    nsenter.arg("--");
    // The network of a pod has a name inside only, so it is entered from there.
    if let Some(network) = network {
        nsenter.args(["nsenter".to_owned(), format!("--net=/run/netns/{network}"), "--".to_owned()]);
    }
    // Entering the mounts moves to the root folder; env goes back to where the caller stands.
    nsenter.arg("env").arg("-C").arg(std::env::current_dir()?).args(command);
    nsenter
        .env("KUBECONFIG", inside.kubeconfig())
        .env("PATH", path(inside)?)
        .env("RINGRESS_E2E_NAME", inside.name());
    Ok(nsenter)
}

fn path(inside: &Cluster) -> anyhow::Result<OsString> {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let folders = [inside.commands()].into_iter().chain(std::env::split_paths(&inherited));
    // Network tools live in sbin, which is not on every PATH.
    Ok(std::env::join_paths(folders.chain(["/usr/sbin".into(), "/sbin".into()]))?)
}

fn network_of(inside: &Cluster, pod: &str) -> anyhow::Result<String> {
    match inside.ask(&Question::Pod { pod: pod.to_owned() })? {
        Answer::Pod(pod) => Ok(pod.network),
        other => bail!("no pod was described but {other:?}"),
    }
}
