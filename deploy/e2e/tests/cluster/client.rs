//! A client inside the box: plain requests over connections of their own, https by curl.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::support::World;

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
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
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

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'q> {
    pub(crate) method: &'q str,
    pub(crate) host: &'q str,
    pub(crate) target: &'q str,
}

/// GET over http; the port is 80 where the address has none.
pub(crate) fn get(world: &World, address: &str, host: &str, target: &str) -> anyhow::Result<Answer> {
    ask(world, address, Question { method: "GET", host, target })
}

/// A request over http; the port is 80 where the address has none.
pub(crate) fn ask(world: &World, address: &str, question: Question<'_>) -> anyhow::Result<Answer> {
    let address = match address.parse() {
        Ok(address) => address,
        Err(_) => SocketAddr::new(address.parse()?, 80),
    };
    let Question { method, host, target } = question;
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: box/1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let text = world.inside(move || {
        let patience = Duration::from_secs(5);
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(request.as_bytes())?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    })?;
    Answer::parse(&text)
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
