//! What endpoints answer, and what clients and the next exchange see of it.
//!
//! One endpoint answers by the path that it is asked for, so that a row is a request, the exact bytes of the answer and
//! what happens to the connection after it. One shard: after each row another request goes out, and must neither see a byte
//! of the row's answer nor ride on a connection that the row has spoiled.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::message::values_of;
use crate::support::upstream::ok;
use crate::support::{
    Client, Driver, Launch, Peer, Received, Response, Ringress, Upstream, on_both_drivers, wait_until,
};

on_both_drivers! {
    fn every_answer_is_relayed_or_refused_as_the_standard_says(driver) {
        let rows = all_rows();
        let house = House::start(driver, &rows);
        let failures: Vec<_> = rows.iter().filter_map(|row| house.check(row).err()).collect();
        println!("responses on {}: {} of {}", driver.as_str(), rows.len() - failures.len(), rows.len());
        assert!(rows.len() >= 60, "rows were lost");
        assert!(failures.is_empty(), "{} of {} rows failed:\n{}", failures.len(), rows.len(), failures.join("\n"));
    }
}

struct House {
    ringress: Ringress,
    endpoint: Upstream,
    /// Scripts that have sent their last byte.
    performed: Arc<AtomicUsize>,
}

impl House {
    fn start(driver: Driver, rows: &[Row]) -> Self {
        let scripts: BTreeMap<_, _> = rows.iter().map(|row| (row.target(), row.script.clone())).collect();
        let scripts = Mutex::new(scripts);
        let performed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&performed);
        let endpoint = Upstream::start(move |peer| {
            while let Some(request) = peer.read_request() {
                let script = scripts.lock().unwrap().get(&request.target()).cloned();
                let goes_on = match script {
                    Some(script) => perform(peer, &script, &count),
                    None => peer.send(ok(&[], request.target().as_bytes())),
                };
                if !goes_on {
                    return;
                }
            }
        });
        let ringress = Launch::new(driver)
            .shards(1)
            .flags(&["--upstream-response-timeout=1s", "--connect-timeout=2s"])
            .serving(&[&endpoint])
            .start();
        Self { ringress, endpoint, performed }
    }

    fn check(&self, row: &Row) -> Result<(), String> {
        self.endpoint.forget();
        let performed = self.performed.load(Ordering::SeqCst);
        let mut client = self.ringress.client();
        client.send(row.request());
        (row.sees)(&mut client)
            .map(|()| wait_until("the script is over", || self.performed.load(Ordering::SeqCst) > performed))
            .and_then(|()| self.check_next(row, client))
            .map_err(|why| format!("  {} [{}]: {why}", row.name, row.source))
    }

    /// The next exchange sees its own answer, on a connection that it may use.
    fn check_next(&self, row: &Row, mut client: Client) -> Result<(), String> {
        let next = match client.try_get("a.test", "/next") {
            Ok(answer) => answer,
            Err(_) => {
                self.ringress.client().try_get("a.test", "/next").map_err(|error| format!("next: {error}"))?
            }
        };
        if next.status != 200 || next.text() != "/next" {
            return Err(format!("the next exchange got {} {:?}", next.status, next.text()));
        }
        let of = |target: &str| {
            let places = self.endpoint.requests().into_iter().zip(self.endpoint.request_connections());
            places
                .filter(|(request, _)| request.target() == target)
                .map(|(_, connection)| connection)
                .next_back()
        };
        let reused = of(&row.target()) == of("/next");
        match row.reuse {
            Reuse::Never if reused => Err("the spoiled connection was used again".into()),
            Reuse::Must if !reused => Err("a good connection was not used again".into()),
            Reuse::Never | Reuse::Must | Reuse::May => Ok(()),
        }
    }
}

/// Follows a script; whether the connection goes on after it.
fn perform(peer: &mut Peer, script: &[Act], performed: &AtomicUsize) -> bool {
    let end = script.iter().find_map(|act| follow(peer, act));
    performed.fetch_add(1, Ordering::SeqCst);
    if end == Some(End::Silent) {
        peer.wait_end();
    }
    end.is_none()
}

/// How a script ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Silent,
}

fn follow(peer: &mut Peer, act: &Act) -> Option<End> {
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

/// What an endpoint does, step by step. A script that does not end the connection goes on with the next request.
#[derive(Debug, Clone)]
enum Act {
    Send(Vec<u8>),
    /// Not to wait for something: the silence itself is the subject.
    Pause(Duration),
    Close,
    HalfClose,
    Reset,
    WaitEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reuse {
    Must,
    Never,
    May,
}

type Sees = Arc<dyn Fn(&mut Client) -> Result<(), String>>;

struct Row {
    name: &'static str,
    source: &'static str,
    method: &'static str,
    version: &'static str,
    fields: &'static str,
    script: Vec<Act>,
    sees: Sees,
    reuse: Reuse,
}

impl Row {
    fn target(&self) -> String {
        let letters =
            self.name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' });
        format!("/{}", letters.collect::<String>())
    }

    fn request(&self) -> String {
        let Self { method, version, fields, .. } = self;
        format!("{method} {} {version}\r\nHost: a.test\r\n{fields}\r\n", self.target())
    }

    fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    fn version(mut self, version: &'static str) -> Self {
        self.version = version;
        self
    }

    fn fields(mut self, fields: &'static str) -> Self {
        self.fields = fields;
        self
    }

    fn then(mut self, acts: &[Act]) -> Self {
        self.script.extend_from_slice(acts);
        self
    }

    fn reuse(mut self, reuse: Reuse) -> Self {
        self.reuse = reuse;
        self
    }

    fn sees(mut self, sees: impl Fn(&mut Client) -> Result<(), String> + 'static) -> Self {
        self.sees = Arc::new(sees);
        self
    }
}

/// An answer that cannot be passed on: 502, the token of RFC 9209, and the connection is gone.
fn refused(source: &'static str, name: &'static str, answer: impl AsRef<[u8]>) -> Row {
    relayed(source, name, answer).sees(|client| sees_error(client, 502)).reuse(Reuse::Never)
}

/// An answer that reaches the client with status 200 and the body `hello`.
fn relayed(source: &'static str, name: &'static str, answer: impl AsRef<[u8]>) -> Row {
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
fn cut(source: &'static str, name: &'static str, answer: impl AsRef<[u8]>) -> Row {
    relayed(source, name, answer).reuse(Reuse::Never).sees(|client| match client.read("GET") {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
        // A reset says the same.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
        // Nothing was sent yet: an honest 502 is as good.
        Ok(answer) if answer.status == 502 => Ok(()),
        other => Err(format!("the client saw {other:?}, which looks whole")),
    })
}

fn sees_body(client: &mut Client, method: &str, status: u16, body: &str) -> Result<Response, String> {
    let answer = client.read(method).map_err(|error| format!("no answer: {error}"))?;
    match answer.status == status && answer.text() == body {
        true => Ok(answer),
        false => Err(format!("the client saw {} {:?}", answer.status, answer.text())),
    }
}

fn sees_error(client: &mut Client, status: u16) -> Result<(), String> {
    let answer = client.read("GET").map_err(|error| format!("no answer: {error}"))?;
    if answer.status != status {
        return Err(format!("the client saw {} {:?}, not {status}", answer.status, answer.text()));
    }
    match answer.field("proxy-status") {
        Some(value) if value.starts_with("ringress; error=") => Ok(()),
        other => Err(format!("Proxy-Status is {other:?}")),
    }
}

fn head(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
}

fn five(fields: &str) -> String {
    head(&format!("{fields}Content-Length: 5\r\n")) + "hello"
}

fn chunks(body: &str) -> String {
    head("Transfer-Encoding: chunked\r\n") + body
}

/// A field with raw bytes in its value.
fn with_bytes(bytes: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 200 OK\r\nX: a", bytes, b"b\r\nContent-Length: 5\r\n\r\nhello"].concat()
}

fn all_rows() -> Vec<Row> {
    [
        framing(),
        heads(),
        interim(),
        lengths_cut_short(),
        extra_bytes(),
        bodiless(),
        old_versions(),
        silence(),
        relaying(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn framing() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §6.3";
    vec![
        relayed(SOURCE, "a length", five("")),
        relayed(SOURCE, "chunks", chunks("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")),
        relayed(SOURCE, "a chunk extension", chunks("5;x=y\r\nhello\r\n0\r\n\r\n")),
        // A response with both is either refused, or its length is dropped and the connection given up; never trusted.
        relayed(
            SOURCE,
            "a length beside chunked",
            head("Content-Length: 99\r\nTransfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\n\r\n",
        )
        .reuse(Reuse::Never)
        .sees(|client| match client.read("GET") {
            Ok(answer) if answer.status == 502 => Ok(()),
            Ok(answer)
                if answer.status == 200
                    && answer.text() == "hello"
                    && answer.field("content-length").is_none() =>
            {
                Ok(())
            }
            other => Err(format!("the client saw {other:?}")),
        }),
        refused(
            SOURCE,
            "two lengths that differ",
            head("Content-Length: 5\r\nContent-Length: 6\r\n") + "hello",
        ),
        refused(SOURCE, "two equal lengths", head("Content-Length: 5\r\nContent-Length: 5\r\n") + "hello"),
        refused(SOURCE, "a list of lengths", head("Content-Length: 5, 5\r\n") + "hello"),
        refused(SOURCE, "a length with a sign", head("Content-Length: +5\r\n") + "hello"),
        refused(SOURCE, "a length below zero", head("Content-Length: -5\r\n") + "hello"),
        refused(SOURCE, "an empty length", head("Content-Length:\r\n") + "hello"),
        refused(SOURCE, "a length in hexadecimal", head("Content-Length: 0x5\r\n") + "hello"),
        refused(
            SOURCE,
            "a length beyond 64 bits",
            head("Content-Length: 99999999999999999999999\r\n") + "hello",
        ),
        refused(
            SOURCE,
            "a coding before chunked",
            head("Transfer-Encoding: gzip, chunked\r\n") + "0\r\n\r\n",
        ),
        refused(
            SOURCE,
            "a coding after chunked",
            head("Transfer-Encoding: chunked, identity\r\n") + "0\r\n\r\n",
        ),
        refused(
            SOURCE,
            "chunked twice",
            head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
        ),
        refused(SOURCE, "an unknown coding", head("Transfer-Encoding: xchunked\r\n") + "hello"),
        refused(
            SOURCE,
            "chunked in HTTP 1.0",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        relayed("RFC 9112 §6.3 rule 8", "no framing ends with the connection", head("") + "hello")
            .then(&[Act::Close])
            .reuse(Reuse::Never)
            .sees(|client| {
                let answer = sees_body(client, "GET", 200, "hello")?;
                match answer.field("transfer-encoding") {
                    Some("chunked") => Ok(()),
                    other => Err(format!("a body of unknown length is framed by {other:?}")),
                }
            }),
    ]
}

fn heads() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §2.2, §4, §5";
    let mut rows = vec![
        refused(SOURCE, "LF for CRLF", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello"),
        refused(SOURCE, "one LF among CRLFs", "HTTP/1.1 200 OK\r\nX: y\nContent-Length: 5\r\n\r\nhello"),
        refused(SOURCE, "a bare CR in a value", with_bytes(b"\r")),
        refused(SOURCE, "a NUL in a value", with_bytes(b"\0")),
        refused(SOURCE, "a folded value", five("X: y\r\n z\r\n")),
        refused(SOURCE, "a space before the colon", five("X : y\r\n")),
        refused(SOURCE, "an empty field name", five(": y\r\n")),
        refused(SOURCE, "a field without a colon", five("garbage\r\n")),
        refused(SOURCE, "a space before the first field", five(" X: y\r\n")),
        refused(SOURCE, "a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 5\r\n\r\nhello"),
        refused(SOURCE, "a status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello"),
        refused(SOURCE, "a status below 100", "HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\nhello"),
        refused(SOURCE, "no status line", "hello, I speak no HTTP\r\n\r\n"),
        refused(SOURCE, "an answer of another protocol", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        refused(SOURCE, "HTTP 2.0 in a status line", "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        refused(
            SOURCE,
            "a control byte in the reason",
            b"HTTP/1.1 200 O\x01K\r\nContent-Length: 5\r\n\r\nhello",
        ),
        relayed(SOURCE, "no reason", "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello"),
        relayed(SOURCE, "a field above 127", with_bytes(b"\xe9")),
    ];
    let long: &'static str = Box::leak(format!("X: {}\r\n", "y".repeat(15_000)).into_boxed_str());
    rows.push(refused("limits", "a head of 75000 bytes", five(&long.repeat(5))));
    rows.push(refused(
        "limits",
        "a head that does not end",
        format!("HTTP/1.1 200 OK\r\n{}", long.repeat(6)),
    ));
    rows.push(relayed("limits", "a head of 60000 bytes", five(&long.repeat(4))));
    rows
}

fn interim() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §15.2, RFC 8297";
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let both = |status: u16| {
        move |client: &mut Client| {
            let interim = client.read("GET").map_err(|error| error.to_string())?;
            if interim.status != status {
                return Err(format!("the client saw {} before {status}", interim.status));
            }
            sees_body(client, "GET", 200, "hello").map(drop)
        }
    };
    vec![
        relayed(SOURCE, "103 before the answer", hints.to_owned() + &five("")).sees(both(103)),
        relayed(SOURCE, "103 in a packet of its own", hints)
            .then(&[Act::Pause(Duration::from_millis(30)), Act::Send(five("").into())])
            .sees(both(103)),
        relayed(SOURCE, "100 that nobody asked for", "HTTP/1.1 100 Continue\r\n\r\n".to_owned() + &five(""))
            .sees(|client| {
                let first = client.read("GET").map_err(|error| error.to_string())?;
                match first.status {
                    100 => sees_body(client, "GET", 200, "hello").map(drop),
                    200 if first.text() == "hello" => Ok(()),
                    other => Err(format!("the client saw {other}")),
                }
            }),
        relayed(SOURCE, "103 never reaches HTTP 1.0", hints.to_owned() + &five(""))
            .version("HTTP/1.0")
            .reuse(Reuse::May),
        refused("limits", "a flood of interim answers", hints.repeat(200)).sees(|client| {
            loop {
                match client.read("GET").map_err(|error| error.to_string())?.status {
                    103 => {}
                    502 => return Ok(()),
                    other => return Err(format!("the client saw {other}")),
                }
            }
        }),
        refused(
            SOURCE,
            "an interim answer with a length",
            "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello".to_owned() + &five(""),
        ),
        refused(
            SOURCE,
            "an interim answer in chunks",
            "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned() + &five(""),
        ),
        refused(
            "RFC 9110 §15.2.2",
            "101 that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        refused("RFC 9110 §15.2.2", "101 without a protocol", "HTTP/1.1 101 Switching Protocols\r\n\r\n")
            .fields("Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        relayed("CVE-2024-23326", "200 to an upgrade opens no tunnel", five(""))
            .fields("Connection: Upgrade\r\nUpgrade: websocket\r\n")
            .reuse(Reuse::May),
        relayed(
            "CVE-2024-23326",
            "200 with upgrade fields opens no tunnel",
            five("Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        )
        .fields("Connection: Upgrade\r\nUpgrade: websocket\r\n")
        .reuse(Reuse::May),
    ]
}

fn lengths_cut_short() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §8";
    let long = head("Content-Length: 10\r\n") + "hello";
    vec![
        cut(SOURCE, "FIN inside a length", &long).then(&[Act::Close]),
        cut(SOURCE, "RST inside a length", &long).then(&[Act::Pause(Duration::from_millis(30)), Act::Reset]),
        cut(SOURCE, "half a FIN inside a length", &long).then(&[Act::HalfClose, Act::WaitEnd]),
        cut(SOURCE, "silence inside a length", &long).then(&[Act::WaitEnd]),
        cut(SOURCE, "FIN inside a chunk", chunks("a\r\nhello")).then(&[Act::Close]),
        cut(SOURCE, "FIN between chunks", chunks("5\r\nhello\r\n")).then(&[Act::Close]),
        cut(SOURCE, "FIN before the trailers end", chunks("5\r\nhello\r\n0\r\nX: y\r\n")).then(&[Act::Close]),
        cut("RFC 9112 §7.1", "a chunk without its line end", chunks("5\r\nhelloXX0\r\n\r\n")),
        cut("RFC 9112 §7.1", "a chunk size with a sign", chunks("+5\r\nhello\r\n0\r\n\r\n")),
        cut("RFC 9112 §7.1", "a chunk size with LF", chunks("5\nhello\r\n0\r\n\r\n")),
        cut(
            "RFC 9112 §7.1",
            "a chunk size beyond 64 bits",
            chunks("fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ),
        cut("RFC 9112 §7.1.1", "a chunk extension with LF", chunks("5;a\nb\r\nhello\r\n0\r\n\r\n")),
        cut("RFC 9112 §7.1.2", "a trailer with a bare LF", chunks("5\r\nhello\r\n0\r\nX: y\n\r\n")),
        refused(SOURCE, "FIN inside the head", "HTTP/1.1 200 OK\r\nContent-Le").then(&[Act::Close]),
        refused(SOURCE, "RST inside the head", "HTTP/1.1 200 OK\r\nContent-Le")
            .then(&[Act::Pause(Duration::from_millis(30)), Act::Reset]),
        refused(SOURCE, "FIN for an answer", "")
            .method("POST")
            .fields("Content-Length: 0\r\n")
            .then(&[Act::Close]),
        refused(SOURCE, "RST for an answer", "")
            .method("POST")
            .fields("Content-Length: 0\r\n")
            .then(&[Act::Reset]),
    ]
}

/// Bytes behind a complete answer belong to nobody: the connection is never used again.
fn extra_bytes() -> Vec<Row> {
    const SOURCE: &str = "response queue poisoning: answers to the wrong client";
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    vec![
        relayed(SOURCE, "a second answer in the same packet", five("") + poison).reuse(Reuse::Never),
        relayed(SOURCE, "a second answer in a packet of its own", five(""))
            .then(&[Act::Send(poison.into())])
            .reuse(Reuse::Never),
        relayed(SOURCE, "a second answer behind chunks", chunks("5\r\nhello\r\n0\r\n\r\n") + poison)
            .reuse(Reuse::Never),
        relayed(SOURCE, "one byte too many", five("") + "!").reuse(Reuse::Never),
        relayed(SOURCE, "an empty line too many", five("") + "\r\n").reuse(Reuse::Never),
        relayed(SOURCE, "a body behind 204", "HTTP/1.1 204 No Content\r\n\r\n".to_owned() + poison)
            .reuse(Reuse::Never)
            .sees(|client| sees_body(client, "GET", 204, "").map(drop)),
        relayed(SOURCE, "a body behind 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison")
            .reuse(Reuse::Never)
            .sees(|client| sees_body(client, "GET", 304, "").map(drop)),
        relayed(SOURCE, "a body behind HEAD", five("") + poison)
            .method("HEAD")
            .reuse(Reuse::Never)
            .sees(|client| sees_body(client, "HEAD", 200, "").map(drop)),
        relayed(SOURCE, "a length of zero with a body", head("Content-Length: 0\r\n") + "hello")
            .reuse(Reuse::Never)
            .sees(|client| sees_body(client, "GET", 200, "").map(drop)),
        relayed(SOURCE, "FIN behind a whole answer", five("")).then(&[Act::Close]).reuse(Reuse::Never),
    ]
}

fn bodiless() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §6.4.1, §8.6";
    let sees = |method: &'static str, status: u16, length: Option<&'static str>| {
        move |client: &mut Client| {
            let answer = sees_body(client, method, status, "")?;
            match answer.field("content-length") == length {
                true => Ok(()),
                false => {
                    Err(format!("Content-Length is {:?}, not {length:?}", answer.field("content-length")))
                }
            }
        }
    };
    vec![
        relayed(SOURCE, "HEAD keeps the length", head("Content-Length: 5\r\n")).method("HEAD").sees(sees(
            "HEAD",
            200,
            Some("5"),
        )),
        relayed(SOURCE, "HEAD with chunked has no body", head("Transfer-Encoding: chunked\r\n"))
            .method("HEAD")
            .sees(sees("HEAD", 200, None)),
        relayed(SOURCE, "HEAD without framing has no body", head(""))
            .method("HEAD")
            .sees(sees("HEAD", 200, None)),
        relayed(SOURCE, "204 has no body", "HTTP/1.1 204 No Content\r\n\r\n").sees(sees("GET", 204, None)),
        relayed(SOURCE, "304 keeps the length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n")
            .sees(sees("GET", 304, Some("5"))),
        relayed(SOURCE, "a length of zero", head("Content-Length: 0\r\n")).sees(sees("GET", 200, Some("0"))),
        relayed(SOURCE, "an empty chunked body", chunks("0\r\n\r\n"))
            .sees(|client| sees_body(client, "GET", 200, "").map(drop)),
    ]
}

fn old_versions() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §2.3, §9.3";
    let old = |fields: &str| format!("HTTP/1.0 200 OK\r\n{fields}\r\nhello");
    vec![
        relayed(SOURCE, "an endpoint of HTTP 1.0 with a length", old("Content-Length: 5\r\n"))
            .then(&[Act::Close])
            .reuse(Reuse::Never)
            .sees(|client| {
                let answer = sees_body(client, "GET", 200, "hello")?;
                match answer.head.starts_with(b"HTTP/1.1 ") {
                    true => Ok(()),
                    false => Err("the version of the endpoint reached the client".into()),
                }
            }),
        relayed(SOURCE, "an endpoint of HTTP 1.0 without a length", old(""))
            .then(&[Act::Close])
            .reuse(Reuse::Never),
        relayed(SOURCE, "an endpoint of HTTP 1.0 that stays silent after it", old("Content-Length: 5\r\n"))
            .reuse(Reuse::Never),
        relayed(SOURCE, "an endpoint that closes", five("Connection: close\r\n")).reuse(Reuse::Never),
        relayed(SOURCE, "chunks to a client of HTTP 1.0", chunks("5\r\nhello\r\n0\r\n\r\n"))
            .version("HTTP/1.0")
            .sees(|client| {
                let answer = sees_body(client, "GET", 200, "hello")?;
                match answer.field("transfer-encoding") {
                    None => Ok(()),
                    Some(coding) => Err(format!("{coding} to a client of HTTP/1.0")),
                }
            }),
        relayed(SOURCE, "a body until close to a client of HTTP 1.0", head("") + "hello")
            .version("HTTP/1.0")
            .then(&[Act::Close])
            .reuse(Reuse::Never),
    ]
}

fn silence() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §15.6.5, RFC 9209 §2.3";
    vec![
        refused(SOURCE, "no byte of an answer", "")
            .then(&[Act::WaitEnd])
            .sees(|client| sees_error(client, 504)),
        refused(SOURCE, "half a head and then silence", "HTTP/1.1 200 OK\r\nX: ")
            .then(&[Act::WaitEnd])
            .sees(|client| sees_error(client, 504)),
        refused(SOURCE, "an interim answer and then silence", "HTTP/1.1 103 Early Hints\r\n\r\n")
            .then(&[Act::WaitEnd])
            .sees(|client| {
                let interim = client.read("GET").map_err(|error| error.to_string())?;
                if interim.status != 103 {
                    return Err(format!("the client saw {}", interim.status));
                }
                sees_error(client, 504)
            }),
    ]
}

fn relaying() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §7.6";
    vec![
        relayed(SOURCE, "hop-by-hop fields of an answer", five("Connection: keep-alive, X-Hop\r\nX-Hop: y\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nX-End: z\r\n")).sees(|client| {
            let answer = sees_body(client, "GET", 200, "hello")?;
            for gone in ["x-hop", "keep-alive", "proxy-connection"] {
                if answer.field(gone).is_some() {
                    return Err(format!("{gone} reached the client"));
                }
            }
            (answer.field("x-end") == Some("z")).then_some(()).ok_or_else(|| "X-End was lost".into())
        }),
        relayed(SOURCE, "several fields of one name keep their order", five("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nVia: 1.1 x\r\n")).sees(|client| {
            let answer = sees_body(client, "GET", 200, "hello")?;
            let cookies = values_of(&answer.fields, "set-cookie");
            (cookies == ["a=1", "b=2"]).then_some(()).ok_or_else(|| format!("cookies arrived as {cookies:?}"))
        }),
        relayed(SOURCE, "Server and Date of the endpoint stay", five("Server: origin\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n")).sees(|client| {
            let answer = sees_body(client, "GET", 200, "hello")?;
            let same = answer.field("server") == Some("origin") && answer.field("date") == Some("Sun, 06 Nov 1994 08:49:37 GMT");
            same.then_some(()).ok_or_else(|| format!("the client saw {:?}", answer.fields))
        }),
        relayed(SOURCE, "Server and Date where the endpoint sent none", five("")).sees(|client| {
            let answer = sees_body(client, "GET", 200, "hello")?;
            let both = answer.field("server") == Some("ringress") && answer.field("date").is_some_and(|date| date.ends_with(" GMT"));
            both.then_some(()).ok_or_else(|| format!("the client saw {:?}", answer.fields))
        }),
        relayed("RFC 9110 §6.5", "trailers reach a client that asked", chunks("5\r\nhello\r\n0\r\nX-Sum: 42\r\nContent-Length: 9\r\n\r\n"))
            .fields("TE: trailers\r\nConnection: TE\r\n")
            .sees(|client| {
                let answer = sees_body(client, "GET", 200, "hello")?;
                let right = values_of(&answer.trailers, "x-sum") == ["42"] && values_of(&answer.trailers, "content-length").is_empty();
                right.then_some(()).ok_or_else(|| format!("the trailers were {:?}", answer.trailers))
            }),
        relayed("RFC 9110 §6.5", "trailers are dropped for a client that did not ask", chunks("5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n")).sees(|client| {
            let answer = sees_body(client, "GET", 200, "hello")?;
            answer.trailers.is_empty().then_some(()).ok_or_else(|| format!("the trailers were {:?}", answer.trailers))
        }),
        relayed("RFC 9110 §15", "a status nobody knows", "HTTP/1.1 299 Odd\r\nContent-Length: 5\r\n\r\nhello").sees(|client| sees_body(client, "GET", 299, "hello").map(drop)),
        relayed("RFC 9110 §15.6", "an error of the endpoint is the endpoint's", "HTTP/1.1 503 Busy\r\nContent-Length: 5\r\nX-Own: yes\r\n\r\nhello").reuse(Reuse::May).sees(|client| {
            let answer = sees_body(client, "GET", 503, "hello")?;
            (answer.field("x-own") == Some("yes")).then_some(()).ok_or_else(|| "a status of the endpoint was replaced".into())
        }),
    ]
}

on_both_drivers! {
    fn an_early_final_answer_reaches_a_client_that_is_still_sending(driver) {
        let upstream = Upstream::start(|peer| {
            let Some(_) = peer.read_head() else { return };
            peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
            peer.half_close();
            peer.wait_end();
        });
        let ringress = Launch::new(driver)
            .serving(&[&upstream])
            .start();
        let mut client = ringress.client();
        let mut stream = client.stream();
        let sender = std::thread::spawn(move || {
            use std::io::Write;
            let head = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 67108864\r\n\r\n";
            // Nobody needs to take all of it; the answer must arrive all the same.
            drop(stream.write_all(head.as_bytes()).and_then(|()| (0..1024).try_for_each(|_| stream.write_all(&[b'x'; 65_536]))));
        });
        let answer = client.read("POST").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (413, "big"));
        assert!(answer.says_close(), "a request that was not read to its end cannot be followed by another");
        drop(client);
        sender.join().unwrap();
    }

    fn an_answer_before_the_body_came_keeps_the_next_request_apart(driver) {
        // CVE-2025-4366: the rest of a body must never be taken for a request.
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let upstream = Upstream::start(move |peer| {
            while let Some(head) = peer.read_head() {
                let head = String::from_utf8(head).unwrap();
                let target = head.split(' ').nth(1).unwrap().to_owned();
                let early = head.starts_with("POST");
                seen.lock().unwrap().push(target.clone());
                if !peer.send(ok(&[], target.as_bytes())) || early {
                    peer.wait_end();
                    return;
                }
            }
        });
        let ringress = Launch::new(driver)
            .shards(1)
            .serving(&[&upstream])
            .start();
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
        let mut client = ringress.client();
        client.send(format!("POST /early HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", smuggled.len() + 10));
        assert_eq!(client.read("POST").unwrap().text(), "/early");
        // The rest of the body, as far as the connection is still there to take it.
        drop(client.try_send(smuggled));
        drop(client.try_send("0123456789"));
        if let Ok(answer) = client.try_get("a.test", "/next") {
            assert_eq!(answer.text(), "/next");
        }
        assert_eq!(ringress.client().get("a.test", "/other").text(), "/other");
        assert!(heads.lock().unwrap().iter().all(|target| target != "/smuggled"), "the body became a request");
    }

    fn poisoned_connections_never_cross_talk_under_load(driver) {
        // Every answer names its request; one in three is followed by an answer that nobody asked for.
        let upstream = Upstream::start(|peer| {
            let mut count = 0;
            while let Some(request) = peer.read_request() {
                count += 1;
                let mut answer = ok(&[], request.target().as_bytes());
                if count % 3 == 0 {
                    answer.extend(ok(&[], b"poison"));
                }
                if !peer.send(answer) {
                    return;
                }
            }
        });
        let ringress = Launch::new(driver)
            .serving(&[&upstream])
            .start();
        let port = ringress.ports.http;
        let clients = (0..8).map(|number| {
            std::thread::spawn(move || {
                let mut client = Client::connect(port);
                for round in 0..50 {
                    let target = format!("/{number}/{round}");
                    let answer = client.get("a.test", &target);
                    assert_eq!((answer.status, answer.text()), (200, target));
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert!(upstream.requests().iter().all(|request: &Received| request.method() == "GET"));
    }
}
