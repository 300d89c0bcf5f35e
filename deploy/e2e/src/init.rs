//! The first process of a process namespace: runs one command, passes signals on, reaps orphans, ends as the command did.
//!
//! The kernel gives process 1 no default signal handling and hands it every orphan. A supervisor that waits for its own
//! children only would collect zombies; a program that relies on the default of SIGTERM would not end.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::Context;
use rustix::process::{Pid, WaitOptions};
use tokio::signal::unix::{SignalKind, signal};

use crate::boxes;

/// Runs the command as a child until it ends.
///
/// # Errors
/// It cannot be started, or signals cannot be received.
pub(crate) fn run(command: &[String]) -> anyhow::Result<ExitCode> {
    let signals = passed_on()?;
    let child = Command::new(&command[0])
        .args(&command[1..])
        .spawn()
        .with_context(|| format!("cannot start {}", command[0]))?;
    let pid = i32::try_from(child.id()).context("a process id")?;
    std::thread::spawn(move || signals(pid));
    reap_until(pid)
}

/// Does nothing until it is told to end.
///
/// # Errors
/// Signals cannot be received.
pub(crate) fn pause() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut asked = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        tokio::select! { _ = asked.recv() => {}, _ = interrupted.recv() => {} }
        Ok(ExitCode::SUCCESS)
    })
}

/// Starts to receive signals, before there is a child that they could be meant for.
fn passed_on() -> anyhow::Result<impl FnOnce(i32) + Send> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    drop(entered);
    Ok(move |child| {
        runtime.block_on(async {
            loop {
                let received = tokio::select! {
                    _ = terminate.recv() => rustix::process::Signal::TERM,
                    _ = interrupt.recv() => rustix::process::Signal::INT,
                    _ = hangup.recv() => rustix::process::Signal::HUP,
                };
                boxes::signal(child, received);
            }
        });
    })
}

fn reap_until(child: i32) -> anyhow::Result<ExitCode> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Pid::as_raw(Some(pid)) == child => {
                let status = ExitStatus::from_raw(status.as_raw());
                let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
                return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for processes"),
        }
    }
}
