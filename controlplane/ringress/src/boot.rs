//! Wires the two planes: shards, the way their events take, the controller, the runtime that it lives on.
//!
//! ```text
//! Layout ─► one shard per entry ─► ports ──┐
//!              └─ EventSink ─► channel ──┴─► Controller, on a runtime of its own threads
//! ```

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use ringress_controller::status::Writer;
use ringress_controller::{Config, Controller, Ended, Error, FlagTold};
use ringress_shard::{DriverChoice, ShardConfig};
use ringress_shared::command::{Command, Event, EventSink, ShardPort};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::args::{Driver, Process, Told};
use crate::logging::Lines;
use crate::machine::{self, Layout};

/// What the whole process needs.
pub(crate) struct Boot {
    pub(crate) process: Process,
    pub(crate) lines: Lines,
    /// Filled in when the admin listens; tells the number where port 0 was asked for.
    pub(crate) admin: Arc<OnceLock<SocketAddr>>,
    /// What the flags are, for `ringress dump`.
    pub(crate) told: Vec<Told>,
}

/// Starts the shards and serves until the process is asked to stop; `writer` runs beside it, and ends in order before the
/// process does. `configure` sees the shards and the control runtime, so that it may start tasks of its own there.
///
/// # Errors
/// A shard cannot start, a port is taken, or whatever else keeps the controller from serving.
pub(crate) fn serve(
    boot: Boot,
    writer: Option<Writer>,
    configure: impl FnOnce(&Runtime, &[Arc<dyn ShardPort>]) -> anyhow::Result<Config>,
) -> anyhow::Result<ExitCode> {
    machine::raise_limits();
    // Fails only if it was done before, which is just as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = control_runtime()?;
    let (ports, events) = start_shards(&boot)?;
    let config = configure(&runtime, &ports)?;
    let flags: Vec<FlagTold> = boot.told.into_iter().map(flag).collect();
    let ended = runtime.block_on(async {
        let controller = Controller::new(config, ports, events)?.with_flags(flags);
        if let Some(address) = controller.admin_address() {
            tracing::info!(%address, "admin listens");
            boot.admin.get_or_init(|| address);
        }
        let writer = writer.map(|writer| tokio::spawn(writer.run(controller.readiness())));
        // On a worker: from a watch to the shards a change then stays on one thread, where the cores are busy with others.
        let ended = match tokio::spawn(controller.run()).await {
            Ok(ended) => ended,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        if let Some(writer) = writer.filter(|_| !matches!(ended, Ok(Ended::Forced))) {
            // It has a limit of its own.
            if let Err(error) = writer.await {
                tracing::error!(%error, "a defect of ringress: what writes statuses panicked");
            }
        }
        ended
    });
    // Tasks that still run (echo backends, a slow lookup) must not keep the process.
    runtime.shutdown_background();
    match ended {
        Ok(ended) => {
            tracing::info!(?ended, "stopped");
            Ok(ExitCode::from(ended.exit_code()))
        }
        Err(error) => failed(error),
    }
}

fn flag(Told { flag, value, origin }: Told) -> FlagTold {
    FlagTold { flag, value, origin }
}

/// What the operator can put right exits 2 through the caller; the rest is 1.
fn failed(error: Error) -> anyhow::Result<ExitCode> {
    match error.exit_code() {
        // Its text names the cause already; a chain would say it twice.
        2 => Err(anyhow::Error::msg(error.to_string())),
        code => {
            tracing::error!(%error, "stopped");
            Ok(ExitCode::from(code))
        }
    }
}

/// Few threads: the control plane waits most of the time, and the cores belong to the shards.
fn control_runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("control")
        .enable_all()
        .build()
        .context("cannot start the control runtime")
}

type Started = (Vec<Arc<dyn ShardPort>>, UnboundedReceiver<Event>);

fn start_shards(boot: &Boot) -> anyhow::Result<Started> {
    let (sender, events) = unbounded_channel();
    // The receiver outlives every shard; after it nobody listens any more.
    let sink: EventSink = Arc::new(move |event| drop(sender.send(event)));
    let layout = Layout::of(&boot.process);
    let mut ports = Vec::with_capacity(layout.cores.len());
    for (shard, core) in layout.cores.iter().enumerate() {
        let config = ShardConfig {
            shard,
            core: *core,
            driver: driver(boot.process.io_driver),
            events: Arc::clone(&sink),
            access_log: Some(boot.lines.sender()),
            seed: seed(shard),
        };
        let port = ringress_shard::spawn(config).with_context(|| format!("shard {shard} cannot start"))?;
        log_start(shard, *core, &*port);
        ports.push(port);
    }
    introduce(&ports);
    Ok((ports, events))
}

/// Lets every shard hand connections to the others: the kernel spreads few connections badly.
fn introduce(ports: &[Arc<dyn ShardPort>]) {
    let neighbours: Arc<[Arc<dyn ShardPort>]> = ports.into();
    ports.iter().for_each(|port| port.send(Command::Neighbours(Arc::clone(&neighbours))));
}

fn log_start(shard: usize, core: Option<core_affinity::CoreId>, port: &dyn ShardPort) {
    let core = core.map_or_else(|| "any".to_owned(), |core| core.id.to_string());
    match port.status().driver.get() {
        Some(report) => {
            let (driver, rung, reason) = (report.driver.as_str(), &report.rung, &report.reason);
            tracing::info!(shard, core, driver, rung, reason, "shard started");
        }
        None => tracing::info!(shard, core, "shard started"),
    }
}

fn driver(driver: Driver) -> DriverChoice {
    match driver {
        Driver::Auto => DriverChoice::Auto,
        Driver::IoUring => DriverChoice::IoUring,
        Driver::Epoll => DriverChoice::Epoll,
    }
}

/// Differs between shards and between processes, so that they do not all start at the same endpoint.
fn seed(shard: usize) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(shard)
}
