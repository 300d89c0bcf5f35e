//! Requests for as long as some work takes, and what became of them.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::client::{Answer, Client};
use crate::support::World;

/// What a load has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) asked: usize,
    /// Everything but 200.
    pub(crate) failures: Vec<Failure>,
}

/// A request that was not answered as it should be.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) at: Instant,
    pub(crate) end: End,
    pub(crate) what: String,
}

/// What became of a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Nobody listened where it was sent to.
    Refused,
    /// Its connection ended, or nothing came in time.
    Lost,
    /// An answer came, and it was wrong.
    Answered,
}

impl End {
    fn of(error: &anyhow::Error) -> Self {
        let refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
        if error.root_cause().downcast_ref().is_some_and(refused) { Self::Refused } else { Self::Lost }
    }
}

impl Failure {
    fn of(host: &str, outcome: anyhow::Result<Answer>) -> Self {
        let (end, what) = match outcome {
            Ok(answer) => (End::Answered, format!("{host}: {answer:?}")),
            Err(error) => (End::of(&error), format!("{host}: {error:#}")),
        };
        Self { at: Instant::now(), end, what }
    }
}

impl Seen {
    /// Nothing failed, and enough was asked for that to mean something.
    pub(crate) fn none_failed_of(&self, least: usize) -> anyhow::Result<()> {
        ensure!(self.asked >= least, "only {} requests", self.asked);
        let first: Vec<_> = self.failures.iter().take(5).map(|failure| &failure.what).collect();
        ensure!(first.is_empty(), "{} of {} requests failed: {first:?}", self.failures.len(), self.asked);
        Ok(())
    }
}

/// What a client waits between an answer and its next request.
pub(crate) const PAUSE: Duration = Duration::from_millis(2);

/// What is asked for, and by how many clients.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    /// Asked for in turn.
    pub(crate) hosts: Arc<[String]>,
    pub(crate) clients: usize,
    pub(crate) connections: Connections,
    /// What the body must be; `None`: anything.
    pub(crate) body: Option<&'static str>,
}

/// What becomes of connections after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    /// Most clients keep theirs, one in four takes a new one each time.
    Mixed,
    /// Every request has one of its own.
    New,
}

impl Connections {
    fn are_kept_by(self, client: usize) -> bool {
        self == Self::Mixed && client % 4 != 3
    }
}

impl Load {
    /// Of one host.
    pub(crate) fn of(address: SocketAddr, host: &str, clients: usize) -> Self {
        let hosts = [host.to_owned()].into();
        Self { address, hosts, clients, connections: Connections::Mixed, body: None }
    }

    /// One client that takes a new connection for each request.
    pub(crate) fn of_new_connections(address: SocketAddr, host: &str) -> Self {
        Self { connections: Connections::New, ..Self::of(address, host, 1) }
    }
}

/// Asks from inside a box for as long as some work takes that does not wait asynchronously.
///
/// # Errors
/// The work failed; failures of requests are told, not returned.
pub(crate) fn load_beside<T>(
    world: &World,
    load: Load,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, Seen)> {
    let (over, is_over) = tokio::sync::oneshot::channel::<()>();
    let client = world.clone();
    let asking = std::thread::spawn(move || {
        client.inside(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            // However the work ends, its half of the channel goes.
            let worked = async {
                let _ = is_over.await;
                Ok(())
            };
            Ok(runtime.block_on(load_during(load, worked))?.1)
        })
    });
    let worked = work();
    drop(over);
    let seen = asking.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
    Ok((worked?, seen))
}

/// Asks for as long as some work takes.
///
/// # Errors
/// The work failed; failures of requests are told, not returned.
pub(crate) async fn load_during<T>(
    load: Load,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(T, Seen)> {
    let over = Rc::new(Cell::new(false));
    let tasks = tokio::task::LocalSet::new();
    tasks
        .run_until(async {
            let loads: Vec<_> = (0..load.clients)
                .map(|number| tokio::task::spawn_local(ask_on(load.clone(), number, Rc::clone(&over))))
                .collect();
            let worked = work.await;
            over.set(true);
            let mut all = Seen::default();
            for load in loads {
                let seen = load.await?;
                all.asked += seen.asked;
                all.failures.extend(seen.failures);
            }
            worked.map(|value| (value, all))
        })
        .await
}

async fn ask_on(load: Load, number: usize, over: Rc<Cell<bool>>) -> Seen {
    let mut client = Client::to(load.address);
    let mut seen = Seen::default();
    while !over.get() {
        let host = &load.hosts[(number + seen.asked) % load.hosts.len()];
        seen.asked += 1;
        match client.get(host).await {
            Ok(answer) if answer.status == 200 && load.body.is_none_or(|body| answer.body == body) => {}
            outcome => seen.failures.push(Failure::of(host, outcome)),
        }
        if !load.connections.are_kept_by(number) {
            client.hang_up();
        }
        tokio::time::sleep(PAUSE).await;
    }
    seen
}
