//! An HTTP/1.1 client that keeps its connection and honours `Connection: close`, and a load made of such clients.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

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
        tokio::time::timeout(PATIENCE, self.exchange(host)).await.context("no answer in time")?
    }

    /// The next request takes a new connection.
    pub(crate) fn hang_up(&mut self) {
        self.stream = None;
    }

    async fn exchange(&mut self, host: &str) -> anyhow::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.address).await?,
        };
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await?;
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
    /// Everything but 200, with what it was.
    pub(crate) failures: Vec<String>,
}

impl Seen {
    /// Nothing failed, and enough was asked for that to mean something.
    pub(crate) fn none_failed_of(&self, least: usize) -> anyhow::Result<()> {
        ensure!(self.asked >= least, "only {} requests", self.asked);
        let first = &self.failures[..self.failures.len().min(5)];
        ensure!(first.is_empty(), "{} of {} requests failed: {first:?}", self.failures.len(), self.asked);
        Ok(())
    }
}

/// What is asked for, and by how many clients: most keep their connection, one in four takes a new one each time.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    /// Asked for in turn.
    pub(crate) hosts: Rc<[String]>,
    pub(crate) clients: usize,
    /// What the body must be; `None`: anything.
    pub(crate) body: Option<&'static str>,
}

impl Load {
    /// Of one host.
    pub(crate) fn of(address: SocketAddr, host: &str, clients: usize) -> Self {
        Self { address, hosts: [host.to_owned()].into(), clients, body: None }
    }
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
            Ok(answer) => seen.failures.push(format!("{host}: {answer:?}")),
            Err(error) => seen.failures.push(format!("{host}: {error:#}")),
        }
        if number % 4 == 3 {
            client.hang_up();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    seen
}
