//! One answer of an endpoint, what happens to the connection after it, and what the client must see.

use crate::support::{Client, Peer, Response};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) source: &'static str,
    pub(super) method: &'static str,
    pub(super) version: &'static str,
    pub(super) fields: &'static str,
    pub(super) script: Vec<Act>,
    pub(super) sees: Sees,
    pub(super) reuse: Reuse,
}

pub(super) type Sees = Arc<dyn Fn(&mut Client) -> Result<(), String>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    Must,
    Never,
    May,
}

/// What an endpoint does, step by step. A script that does not end the connection goes on with the next request.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Send(Vec<u8>),
    /// Not to wait for something: the silence itself is the subject.
    Pause(Duration),
    Close,
    HalfClose,
    Reset,
    WaitEnd,
}

impl Row {
    pub(super) fn target(&self) -> String {
        let letters =
            self.name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' });
        format!("/{}", letters.collect::<String>())
    }

    pub(super) fn request(&self) -> String {
        let Self { method, version, fields, .. } = self;
        format!("{method} {} {version}\r\nHost: a.test\r\n{fields}\r\n", self.target())
    }

    pub(super) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub(super) fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    pub(super) fn fields(mut self, fields: &'static str) -> Self {
        self.fields = fields;
        self
    }

    pub(super) fn then(mut self, acts: &[Act]) -> Self {
        self.script.extend_from_slice(acts);
        self
    }

    pub(super) fn reuse(mut self, reuse: Reuse) -> Self {
        self.reuse = reuse;
        self
    }

    pub(super) fn sees(mut self, sees: impl Fn(&mut Client) -> Result<(), String> + 'static) -> Self {
        self.sees = Arc::new(sees);
        self
    }
}

/// An answer that cannot be passed on: 502, the token of RFC 9209, and the connection is gone.
pub(super) fn refused(source: &'static str, name: &'static str, answer: impl AsRef<[u8]>) -> Row {
    relayed(source, name, answer).sees(|client| sees_error(client, 502)).reuse(Reuse::Never)
}

/// An answer that reaches the client with status 200 and the body `hello`.
pub(super) fn relayed(source: &'static str, name: &'static str, answer: impl AsRef<[u8]>) -> Row {
    Row {
        name,
        source,
        method: "GET",
        version: "HTTP/1.1",
        fields: "",
        script: vec![Act::Send(answer.as_ref().to_vec())],
        sees: Arc::new(|client| sees_body(client, "GET", 200, "hello").map(drop)),
        reuse: Reuse::Must,
    }
}

/// An answer that is cut short: the client sees its head and then that something is missing.
pub(super) fn cut(source: &'static str, name: &'static str, answer: impl AsRef<[u8]>) -> Row {
    relayed(source, name, answer).reuse(Reuse::Never).sees(|client| match client.read("GET") {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
        // A reset says the same.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
        // Nothing was sent yet: an honest 502 is as good.
        Ok(answer) if answer.status == 502 => Ok(()),
        other => Err(format!("the client saw {other:?}, which looks whole")),
    })
}

pub(super) fn sees_body(
    client: &mut Client,
    method: &str,
    status: u16,
    body: &str,
) -> Result<Response, String> {
    let answer = client.read(method).map_err(|error| format!("no answer: {error}"))?;
    match answer.status == status && answer.text() == body {
        true => Ok(answer),
        false => Err(format!("the client saw {} {:?}", answer.status, answer.text())),
    }
}

pub(super) fn sees_error(client: &mut Client, status: u16) -> Result<(), String> {
    let answer = client.read("GET").map_err(|error| format!("no answer: {error}"))?;
    if answer.status != status {
        return Err(format!("the client saw {} {:?}, not {status}", answer.status, answer.text()));
    }
    match answer.field("proxy-status") {
        Some(value) if value.starts_with("ringress; error=") => Ok(()),
        other => Err(format!("Proxy-Status is {other:?}")),
    }
}

pub(super) fn head(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
}

pub(super) fn five(fields: &str) -> String {
    head(&format!("{fields}Content-Length: 5\r\n")) + "hello"
}

pub(super) fn chunks(body: &str) -> String {
    head("Transfer-Encoding: chunked\r\n") + body
}

/// A field with raw bytes in its value.
pub(super) fn with_bytes(bytes: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\nX: a", bytes, b"b\r\nContent-Length: 5\r\n\r\nhello"].concat()
}

/// Follows a script; whether the connection goes on after it.
pub(super) fn perform(peer: &mut Peer, script: &[Act], performed: &AtomicUsize) -> bool {
    let end = script.iter().find_map(|act| follow(peer, act));
    performed.fetch_add(1, Ordering::SeqCst);
    if end == Some(End::Silent) {
        peer.wait_end();
    }
    end.is_none()
}

/// How a script ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Closed,
    Silent,
}

pub(super) fn follow(peer: &mut Peer, act: &Act) -> Option<End> {
    match act {
        Act::Send(bytes) => return (!peer.send(bytes)).then_some(End::Closed),
        Act::Pause(time) => std::thread::sleep(*time),
        Act::HalfClose => peer.half_close(),
        Act::Reset => {
            peer.reset();
            return Some(End::Closed);
        }
        Act::Close => return Some(End::Closed),
        Act::WaitEnd => return Some(End::Silent),
    }
    None
}
