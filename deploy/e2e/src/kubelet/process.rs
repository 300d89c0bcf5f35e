//! The process of a container: started in the network of its pod, watched, signalled.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use anyhow::Context;
use rustix::process::Signal;
use tokio::process::{Child, Command};

use super::log;
use crate::boxes::{self, write_json};
use crate::container::Spec;

/// A running container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    /// The process outside, which waits for the first one inside.
    outer: i32,
}

/// What is needed to start one.
pub(crate) struct Start<'s> {
    /// This program.
    pub(crate) program: &'s Path,
    pub(crate) spec: &'s Spec,
    /// Where the spec is written.
    pub(crate) spec_file: &'s Path,
    pub(crate) log: &'s Path,
}

impl Process {
    /// Starts a container; the child ends when it does.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn start(start: &Start<'_>) -> anyhow::Result<(Self, Child)> {
        write_json(start.spec_file, start.spec)?;
        let mut child = Command::new(start.program)
            .arg("container")
            .arg(start.spec_file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start a container")?;
        let outer = child.id().context("a process id")?.cast_signed();
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(log::keep(stdout, start.log.to_owned()));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(log::keep(stderr, start.log.to_owned()));
        }
        Ok((Self { outer }, child))
    }

    /// The first process inside; `None` in the moment before it exists.
    pub(crate) fn first(self) -> Option<i32> {
        boxes::children(self.outer).first().copied()
    }

    /// Signals the first process inside. SIGKILL takes all others along.
    pub(crate) fn signal(self, signal: Signal) {
        match self.first() {
            Some(first) => boxes::signal(first, signal),
            None if signal == Signal::KILL => boxes::signal(self.outer, signal),
            None => {}
        }
    }

    /// Signals every process inside.
    pub(crate) fn signal_all(self, signal: Signal) {
        for process in self.inside() {
            boxes::signal(process, signal);
        }
    }

    /// Every process inside.
    pub(crate) fn inside(self) -> Vec<i32> {
        let mut all = Vec::new();
        let mut found = boxes::children(self.outer);
        while let Some(process) = found.pop() {
            all.push(process);
            found.extend(children_of_all_threads(process));
        }
        all
    }
}

/// The exit code and, where it was killed, the signal.
pub(crate) fn exit(status: ExitStatus) -> (i32, Option<i32>) {
    match (status.code(), status.signal()) {
        (Some(code), _) => (code, None),
        (None, Some(signal)) => (128 + signal, Some(signal)),
        (None, None) => (255, None),
    }
}

fn children_of_all_threads(process: i32) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<_>>())
        .collect()
}
