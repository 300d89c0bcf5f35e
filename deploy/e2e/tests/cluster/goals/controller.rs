//! A ringress process beside the API server of a box.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::client::{Answer, Client, Question, samples};
use crate::support::World;

/// Where it is reached: the address of the nodes, which nothing else in a box uses.
const HTTP: &str = "198.18.0.1:8080";
const ADMIN: &str = "127.0.0.1:10254";

/// How it is started.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    program: PathBuf,
    kubeconfig: PathBuf,
    log: PathBuf,
    flags: Vec<String>,
}

impl Plan {
    /// With two shards and the rights of an administrator.
    pub(crate) fn of(world: &World) -> Self {
        let cluster = world.cluster();
        Self {
            program: cluster.commands().join("ringress"),
            kubeconfig: cluster.kubeconfig(),
            log: cluster.logs().join("ringress-beside.log"),
            flags: Vec::new(),
        }
    }

    /// With another kubeconfig.
    pub(crate) fn through(mut self, kubeconfig: &Path) -> Self {
        self.kubeconfig = kubeconfig.to_owned();
        self
    }

    /// With more flags.
    pub(crate) fn with(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }
}

/// The process; it ends when this is dropped, or when the thread that started it ends.
#[derive(Debug)]
pub(crate) struct Controller {
    child: Child,
    log: PathBuf,
    pub(crate) http: SocketAddr,
    /// From the start to the first time that it was ready.
    pub(crate) ready_after: Duration,
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(5).collect();
            eprintln!(
                "ringress ended by itself with {status}; the end of its log, last line first: {lines:#?}"
            );
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Controller {
    /// Starts it from a thread that is inside the box, and waits until it is ready.
    pub(crate) async fn start(plan: &Plan) -> anyhow::Result<Self> {
        let mut controller = Self::spawn(plan)?;
        let began = Instant::now();
        while !is_ready().await {
            ensure!(began.elapsed() < Duration::from_secs(60), "not ready; see {}", plan.log.display());
            if let Some(status) = controller.child.try_wait()? {
                bail!("ringress ended with {status}; see {}", plan.log.display());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        controller.ready_after = began.elapsed();
        Ok(controller)
    }

    fn spawn(plan: &Plan) -> anyhow::Result<Self> {
        let log = File::create(&plan.log)?;
        // No process of a failed test stays behind: it goes with the thread that started it.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&plan.program)
            .args(["run", "--shards", "2", "--http-port", "8080", "--https-port", "8443"])
            .args(["--admin-address", ADMIN, "--access-log", "off", "--publish-status-address", "198.18.0.1"])
            .args(["--pod-name", "beside", "--pod-namespace", "default"])
            .args(&plan.flags)
            .env("KUBECONFIG", &plan.kubeconfig)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start setpriv (package util-linux)")?;
        Ok(Self { child, log: plan.log.clone(), http: HTTP.parse()?, ready_after: Duration::ZERO })
    }

    /// One connection to each shard, in their order: which one accepted is read from its counter.
    pub(crate) async fn connection_per_shard(&self) -> anyhow::Result<Vec<Client>> {
        let mut found: [Option<Client>; 2] = [None, None];
        for _ in 0..64 {
            let before = accepted().await?;
            let client = Client::connected(self.http).await?;
            let shard = loop {
                let after = accepted().await?;
                if let Some(shard) = (0..after.len()).find(|shard| after[*shard] > before[*shard]) {
                    break shard;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            };
            found[shard] = Some(client);
            if found.iter().all(Option::is_some) {
                return Ok(found.into_iter().flatten().collect());
            }
        }
        bail!("64 connections went to one shard")
    }

    /// Resident memory.
    pub(crate) fn resident(&self) -> anyhow::Result<Resident> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kibibytes = |name: &'static str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context(name)?;
            anyhow::Ok(line.trim().trim_end_matches(" kB").parse::<u64>()?)
        };
        Ok(Resident { all_kib: kibibytes("VmRSS:")?, file_kib: kibibytes("RssFile:")? })
    }

    /// Processor time used so far.
    pub(crate) fn processor_time(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().context("stat")?.split_whitespace().collect();
        let ticks =
            |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<u64>().ok()).context("ticks");
        // utime and stime, in hundredths of a second (proc(5), fields 14 and 15).
        Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
    }
}

/// Resident memory of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resident {
    all_kib: u64,
    /// Pages of the program itself, which replicas on a node share.
    file_kib: u64,
}

impl Resident {
    pub(crate) fn mib(self) -> f64 {
        self.all_kib as f64 / 1024.0
    }
}

impl std::fmt::Display for Resident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let file = self.file_kib as f64 / 1024.0;
        write!(f, "{:.1} MiB, of these {file:.1} of the program's file", self.mib())
    }
}

/// Whether /readyz says so.
pub(crate) async fn is_ready() -> bool {
    matches!(readyz().await, Ok(Answer { status: 200, .. }))
}

/// What /readyz says.
pub(crate) async fn readyz() -> anyhow::Result<Answer> {
    admin("/readyz").await
}

/// The value of a metric, summed over its labels.
pub(crate) async fn metric(name: &str) -> anyhow::Result<f64> {
    Ok(metrics(name).await?.iter().sum())
}

async fn accepted() -> anyhow::Result<Vec<f64>> {
    metrics("ringress_connections_accepted_total").await
}

async fn metrics(name: &str) -> anyhow::Result<Vec<f64>> {
    samples(&admin("/metrics").await?.body, name)
}

async fn admin(path: &str) -> anyhow::Result<Answer> {
    let asked = Client::to(ADMIN.parse()?).ask(Question::get("admin", path)).await;
    asked.with_context(|| format!("{path} of the admin port"))
}
