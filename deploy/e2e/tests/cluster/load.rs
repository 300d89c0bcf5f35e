//! An HTTP/1.1 client that keeps its connection and honours `Connection: close`, and a load made of such clients.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::World;

/// Longer than anything takes that is not lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// A client with one connection at a time.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    stream: Option<TcpStream>,
}

impl Client {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// A client that is connected.
    pub(crate) async fn connected(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = connect(address).await?;
        Ok(Self { address, stream: Some(stream) })
    }

    /// Its connection, for the runtime of another thread.
    pub(crate) fn into_std(self) -> anyhow::Result<std::net::TcpStream> {
        Ok(self.stream.context("a client without a connection")?.into_std()?)
    }

    /// A client with a connection from another runtime.
    pub(crate) fn from_std(stream: std::net::TcpStream) -> anyhow::Result<Self> {
        let address = stream.peer_addr()?;
        Ok(Self { address, stream: Some(TcpStream::from_std(stream)?) })
    }

    /// Asks for the root of a host.
    pub(crate) async fn get(&mut self, host: &str) -> anyhow::Result<Answer> {
        self.ask(host, "/").await
    }

    /// Asks for a path of a host.
    pub(crate) async fn ask(&mut self, host: &str, path: &str) -> anyhow::Result<Answer> {
        tokio::time::timeout(PATIENCE, self.exchange(host, path)).await.context("no answer in time")?
    }

    /// The next request takes a new connection.
    pub(crate) fn hang_up(&mut self) {
        self.stream = None;
    }

    async fn exchange(&mut self, host: &str, path: &str) -> anyhow::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.address).await?,
        };
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
        let mut bytes = Vec::with_capacity(1024);
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            read_some(&mut stream, &mut bytes).await?;
        };
        let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
        let length = field(&text, "content-length").and_then(|value| value.parse::<usize>().ok());
        let length = length.with_context(|| format!("an answer without a length: {text}"))?;
        while bytes.len() < head + length {
            read_some(&mut stream, &mut bytes).await?;
        }
        ensure!(bytes.len() == head + length, "more bytes than the answer has");
        if field(&text, "connection") != Some("close") {
            self.stream = Some(stream);
        }
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        Ok(Answer { status, body: String::from_utf8_lossy(&bytes[head..]).into_owned() })
    }
}

fn field<'head>(head: &'head str, name: &str) -> Option<&'head str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).await.context("connect")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn read_some(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> anyhow::Result<()> {
    if stream.read_buf(bytes).await? == 0 {
        bail!("the connection ended after {} bytes of an answer", bytes.len());
    }
    Ok(())
}

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
    /// Nobody listened where it was sent to.
    pub(crate) was_refused: bool,
    pub(crate) what: String,
}

impl Failure {
    fn of(host: &str, outcome: anyhow::Result<Answer>) -> Self {
        let refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
        let (was_refused, what) = match outcome {
            Ok(answer) => (false, format!("{host}: {answer:?}")),
            Err(error) => {
                (error.root_cause().downcast_ref().is_some_and(refused), format!("{host}: {error:#}"))
            }
        };
        Self { at: Instant::now(), was_refused, what }
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
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    seen
}
