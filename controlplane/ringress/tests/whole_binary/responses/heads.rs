//! Heads of answers: lines, interim answers, old versions, silence.

use super::row::{Act, Reuse, Row, chunks, five, head, refused, relayed, sees_body, sees_error, with_bytes};
use crate::support::Client;
use std::time::Duration;

pub(super) fn rows() -> Vec<Row> {
    [heads(), interim(), old_versions(), silence()].into_iter().flatten().collect()
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
