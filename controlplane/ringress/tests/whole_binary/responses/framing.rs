//! How long an answer is, and what is not framed well.

use super::row::{Act, Reuse, Row, chunks, cut, five, head, refused, relayed, sees_body};
use crate::support::Client;
use std::time::Duration;

pub(super) fn rows() -> Vec<Row> {
    [framing(), lengths_cut_short(), bodiless()].into_iter().flatten().collect()
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
