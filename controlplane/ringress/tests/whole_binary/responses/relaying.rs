//! What passes on of a good answer, and what never does of a bad one.

use super::row::{Act, Reuse, Row, chunks, five, head, relayed, sees_body};
use crate::support::message::values_of;

pub(super) fn rows() -> Vec<Row> {
    [relaying(), extra_bytes()].into_iter().flatten().collect()
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
