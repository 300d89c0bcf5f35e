//! The proxies to compare: each writes its configuration into a folder, starts pinned, and is stopped again.
//!
//! All get the same: one core, one worker, the same certificate, one session ticket, keep-alive to the origin with
//! room for every connection, no access log. A peer's file holds what its own manual recommends for that.

mod haproxy;
mod nginx;
mod ringress;

use std::{
    ffi::OsString,
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    args::{CompareArgs, PeerKind},
    certificate::Certificate,
    procfs::{self, ProcessTree},
    runtime,
    scenario::Transport,
};

pub(crate) use ringress::find_binary as find_ringress;

/// What every peer is configured for.
pub(crate) struct Task<'a> {
    /// Where the configurations go, one folder for each peer.
    pub(crate) folder: &'a Path,
    pub(crate) origin: SocketAddr,
    pub(crate) certificate: &'a Certificate,
    pub(crate) proxy_core: usize,
    pub(crate) load_core: usize,
}

/// A proxy that runs.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    /// The command as started.
    pub(crate) command: String,
    plain: SocketAddr,
    tls: SocketAddr,
    child: Child,
    log: PathBuf,
}

/// How to start one, before it is started.
struct Launch {
    name: &'static str,
    binary: PathBuf,
    arguments: Vec<OsString>,
    version: String,
    ports: Ports,
}

/// Loopback ports of one peer.
#[derive(Debug, Clone, Copy)]
struct Ports {
    plain: u16,
    tls: u16,
    admin: u16,
}

impl Peer {
    /// Configures and starts a peer. It may not listen yet.
    ///
    /// # Errors
    /// The binary is missing or refuses its configuration.
    pub(crate) fn start(kind: PeerKind, args: &CompareArgs, task: &Task<'_>) -> Result<Self> {
        let launch = prepare(kind, args, task)?;
        launch.start(task).with_context(|| format!("cannot start {}", kind.name()))
    }

    /// Where it serves a transport.
    pub(crate) fn address(&self, transport: Transport) -> SocketAddr {
        match transport {
            Transport::Plain => self.plain,
            Transport::Tls => self.tls,
        }
    }

    /// Its processes.
    ///
    /// # Errors
    /// It ended; the end of its log is given.
    pub(crate) fn processes(&mut self) -> Result<ProcessTree> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}; its last words:\n{}", self.name, self.last_words());
        }
        Ok(ProcessTree::of(self.child.id())?)
    }

    /// That every process of it runs on the one core.
    ///
    /// # Errors
    /// One does not: the figures would be of another machine.
    pub(crate) fn ensure_pinned(&mut self, core: usize) -> Result<()> {
        for pid in self.processes()?.processes() {
            let cores = procfs::allowed_cores(*pid)?;
            ensure!(cores == core.to_string(), "process {pid} of {} may run on cores {cores}", self.name);
        }
        Ok(())
    }

    /// The end of what it printed.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Peer {
    /// Asks it to end, then insists: nginx's worker outlives a master that is killed outright.
    fn drop(&mut self) {
        let asked = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let begun = Instant::now();
        while asked.is_ok() && begun.elapsed() < STOP_LIMIT {
            if matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl PeerKind {
    /// Name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            PeerKind::Ringress => "ringress",
            PeerKind::Nginx => "nginx",
            PeerKind::Haproxy => "haproxy",
        }
    }
}

fn prepare(kind: PeerKind, args: &CompareArgs, task: &Task<'_>) -> Result<Launch> {
    let folder = task.folder.join(kind.name());
    fs::create_dir_all(&folder)?;
    let ports = Ports::free()?;
    let task = Task { folder: &folder, ..*task };
    match kind {
        PeerKind::Ringress => ringress::prepare(args.ringress.as_deref(), &task, ports),
        PeerKind::Nginx => nginx::prepare(&args.nginx, &task, ports),
        PeerKind::Haproxy => haproxy::prepare(&args.haproxy, &task, ports),
    }
}

impl Launch {
    fn start(self, task: &Task<'_>) -> Result<Peer> {
        let log = task.folder.join(format!("{}.log", self.name));
        let output = File::create(&log)?;
        let mut command = Command::new(&self.binary);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // A process inherits the cores of the thread that starts it.
        runtime::pin(task.proxy_core)?;
        let child = command.spawn();
        runtime::pin(task.load_core)?;
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Ok(Peer {
            name: self.name,
            version: self.version,
            command: format!("{command:?}"),
            plain: loopback(self.ports.plain),
            tls: loopback(self.ports.tls),
            child: child.with_context(|| self.binary.display().to_string())?,
            log,
        })
    }
}

impl Ports {
    /// Three that were free a moment ago, held together so that they differ.
    fn free() -> Result<Self> {
        let held = [0; 3].map(|_| TcpListener::bind("127.0.0.1:0"));
        let mut ports = Vec::new();
        for listener in held {
            ports.push(listener?);
        }
        let ports: Vec<u16> =
            ports.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<Result<_>>()?;
        Ok(Self { plain: ports[0], tls: ports[1], admin: ports[2] })
    }
}

/// First line that a binary prints about its version, on either stream.
fn version_of(binary: &Path, flag: &str) -> Result<String> {
    let output = Command::new(binary)
        .arg(flag)
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    Ok(String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned())
}

const STOP_LIMIT: Duration = Duration::from_secs(3);
