//! A client inside the box: plain requests over one connection at a time, https by curl.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::World;

/// Longer than anything takes that is not lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no head: {text:?}"))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("no status: {head:?}"))?;
        Ok(Self { status, head: head.to_owned(), body: body.to_owned() })
    }

    /// The version that its head begins with.
    pub(crate) fn protocol(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    /// A field of its head.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    /// A text that the echo says, such as `service`, `pod` or `path`; empty where no echo answered.
    pub(crate) fn echoed(&self, name: &str) -> String {
        self.echo()[name].as_str().unwrap_or_default().to_owned()
    }

    /// A field of the request as the echo received it; empty where it had none.
    pub(crate) fn received(&self, field: &str) -> String {
        self.echo()["headers"][field].as_str().unwrap_or_default().to_owned()
    }

    /// Which Service answered, else the status: how tables say what they expect.
    pub(crate) fn outcome(&self) -> String {
        let service = self.echoed("service");
        if self.status == 200 && !service.is_empty() { service } else { self.status.to_string() }
    }

    fn echo(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

fn field<'head>(head: &'head str, name: &str) -> Option<&'head str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'q> {
    pub(crate) method: &'q str,
    pub(crate) host: &'q str,
    pub(crate) target: &'q str,
}

impl<'q> Question<'q> {
    pub(crate) fn get(host: &'q str, target: &'q str) -> Self {
        Self { method: "GET", host, target }
    }
}

/// A client that keeps its connection and honours `Connection: close`.
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
        self.ask(Question::get(host, "/")).await
    }

    pub(crate) async fn ask(&mut self, question: Question<'_>) -> anyhow::Result<Answer> {
        tokio::time::timeout(PATIENCE, self.exchange(question)).await.context("no answer in time")?
    }

    /// The next request takes a new connection.
    pub(crate) fn hang_up(&mut self) {
        self.stream = None;
    }

    async fn exchange(&mut self, question: Question<'_>) -> anyhow::Result<Answer> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => connect(self.address).await?,
        };
        let Question { method, host, target } = question;
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: box/1\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::with_capacity(1024);
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            read_some(&mut stream, &mut bytes).await?;
        };
        let text = String::from_utf8_lossy(&bytes[..head]);
        let length = field(&text, "content-length").and_then(|value| value.parse::<usize>().ok());
        let length = length.with_context(|| format!("an answer without a length: {text}"))?;
        while bytes.len() < head + length {
            read_some(&mut stream, &mut bytes).await?;
        }
        ensure!(bytes.len() == head + length, "more bytes than the answer has");
        let answer = Answer::parse(&String::from_utf8_lossy(&bytes))?;
        if answer.field("connection") != Some("close") {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
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

/// GET over http; the port is 80 where the address has none.
pub(crate) fn get(world: &World, address: &str, host: &str, target: &str) -> anyhow::Result<Answer> {
    ask(world, address, Question::get(host, target))
}

/// A request over http; the port is 80 where the address has none.
pub(crate) fn ask(world: &World, address: &str, question: Question<'_>) -> anyhow::Result<Answer> {
    let address = match address.parse() {
        Ok(address) => address,
        Err(_) => SocketAddr::new(address.parse()?, 80),
    };
    let [method, host, target] = [question.method, question.host, question.target].map(str::to_owned);
    world.inside(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let question = Question { method: &method, host: &host, target: &target };
        runtime.block_on(Client::to(address).ask(question))
    })
}

/// GET over https, port 443; the certificate must be of this authority (a file) and name where one is given.
pub(crate) fn get_tls(
    world: &World,
    address: &str,
    url: &str,
    authority: Option<&str>,
) -> anyhow::Result<Answer> {
    let host = url.trim_start_matches("https://").split('/').next().unwrap_or_default();
    let resolve = format!("{host}:443:{address}");
    let trust: &[&str] = match authority {
        Some(file) => &["--cacert", file],
        None => &["-k"],
    };
    let command =
        [&["curl", "-sS", "-i", "-m", "5", "--http1.1", "--resolve", &resolve, url], trust].concat();
    Answer::parse(&world.exec(&command)?)
}

/// Waits until the answer is this: a Service, or a status.
pub(crate) fn until_outcome(
    world: &World,
    address: &str,
    (host, target): (&str, &str),
    expected: &str,
) -> anyhow::Result<()> {
    world.until(&format!("http://{host}{target} is answered by {expected}"), || {
        let outcome = get(world, address, host, target)?.outcome();
        ensure!(outcome == expected, "{outcome}");
        Ok(true)
    })
}

/// The values that a page of metrics has for a name, one for each set of labels.
pub(crate) fn samples(page: &str, name: &str) -> anyhow::Result<Vec<f64>> {
    let of_it = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
    };
    let lines = page.lines().filter(of_it);
    let values = lines.map(|line| Ok(line.rsplit(' ').next().context("a value")?.parse()?));
    let values = values.collect::<anyhow::Result<Vec<f64>>>()?;
    ensure!(!values.is_empty(), "no metric {name}");
    Ok(values)
}
