//! Where a request ends: bodies, upgrades, unread bodies and expectations must never shift the next request.

use super::row::{OPEN, Row, SECOND, SMUGGLED, TWO, get, post, refused, served};

pub(super) fn rows() -> Vec<Row> {
    [bodies(), upgrades(), unread_bodies(), expectations()].into_iter().flatten().collect()
}

fn bodies() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §9.3.1, RFC 9112 §6.3";
    let five = "Content-Length: 5\r\n\r\nhello";
    vec![
        served(SOURCE, "a GET with a body is framed", format!("GET / HTTP/1.1\r\nHost: a.test\r\n{five}{SECOND}"), TWO).present("Content-Length: 5\r\n").present("hello"),
        served(SOURCE, "a HEAD with a body is framed", format!("HEAD / HTTP/1.1\r\nHost: a.test\r\n{five}"), OPEN).present("hello"),
        served(SOURCE, "a DELETE with a body is framed", format!("DELETE / HTTP/1.1\r\nHost: a.test\r\n{five}{SECOND}"), TWO).present("hello"),
        served(SOURCE, "an OPTIONS with a chunked body is framed", format!("OPTIONS / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{SECOND}"), TWO).present("hello"),
        served("CVE-2026-2835", "a POST without framing has no body", format!("POST / HTTP/1.1\r\nHost: a.test\r\n\r\n{SECOND}"), TWO),
        served("CVE-2026-2835", "a POST of HTTP/1.0 without framing has no body", format!("POST / HTTP/1.0\r\nHost: a.test\r\n\r\n{SMUGGLED}"), OPEN).absent("smuggled"),
        served("CVE-2026-2835", "a POST of HTTP/1.0 with a length", format!("POST / HTTP/1.0\r\nHost: a.test\r\n{five}"), OPEN).present("hello"),
        served(SOURCE, "bytes behind a request that ends the connection", format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n{SMUGGLED}"), OPEN).absent("smuggled"),
        refused(SOURCE, "a fault behind a good request", format!("{}GET /\0 HTTP/1.1\r\n\r\n", get(""))).after(OPEN),
        refused(SOURCE, "bytes beyond the length are the next request", format!("{}!{SMUGGLED}", post("Content-Length: 5\r\n", "hello "))).after(OPEN),
        refused(SOURCE, "a refused request takes what follows with it", format!("{}{SMUGGLED}", get("X : y\r\n"))),
    ]
}

fn upgrades() -> Vec<Row> {
    const SOURCE: &str = "CVE-2026-2833, RFC 9110 §7.8";
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    vec![
        served(SOURCE, "no tunnel without 101: what follows is a request", get(upgrade) + SECOND, TWO),
        refused(SOURCE, "no tunnel without 101: what follows is parsed strictly", get(upgrade) + "not http\r\n\r\n").after(OPEN),
        served(SOURCE, "no upgrade of a request with a body", post(&format!("{upgrade}Content-Length: 5\r\n"), "hello"), OPEN)
            .absent("upgrade")
            .present("hello"),
        served(SOURCE, "no upgrade of a GET with a body", get(&format!("{upgrade}Content-Length: 5\r\n")) + "hello" + SECOND, TWO)
            .absent("upgrade")
            .present("hello"),
        served(SOURCE, "no upgrade of a method other than GET", format!("OPTIONS / HTTP/1.1\r\nHost: a.test\r\n{upgrade}\r\n{SECOND}"), TWO)
            .absent("upgrade"),
        served(SOURCE, "no upgrade in HTTP/1.0", format!("GET / HTTP/1.0\r\nHost: a.test\r\n{upgrade}\r\n"), OPEN).absent("upgrade"),
        served(SOURCE, "Upgrade that Connection does not list", get("Upgrade: websocket\r\n"), OPEN).absent("upgrade"),
        served(SOURCE, "no HTTP/2 in clear text through us", get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"), OPEN).absent("h2c").absent("http2-settings"),
    ]
}

fn unread_bodies() -> Vec<Row> {
    const SOURCE: &str = "CVE-2025-4366";
    let unrouted =
        |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: b.test\r\n{fields}\r\n{body}");
    let length = format!("Content-Length: {}\r\n", SMUGGLED.len());
    let chunk = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    vec![
        refused(SOURCE, "a body behind a 404 is no request", unrouted(&length, SMUGGLED))
            .with(&[404])
            .may_stay(),
        refused(
            SOURCE,
            "a chunked body behind a 404 is no request",
            unrouted("Transfer-Encoding: chunked\r\n", &chunk),
        )
        .with(&[404])
        .may_stay(),
        refused(
            SOURCE,
            "a body that never ends behind a 404",
            unrouted("Content-Length: 100000000\r\n", SMUGGLED),
        )
        .with(&[404])
        .may_stay(),
        refused(
            SOURCE,
            "a broken chunk behind a 404",
            unrouted("Transfer-Encoding: chunked\r\n", &format!("zz\r\n{SMUGGLED}")),
        )
        .with(&[404, 400])
        .may_stay(),
    ]
}

fn expectations() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §10.1.1, 0.CL and CL.0 of 2025";
    let mut rows: Vec<_> =
        ["100-continued", "100 continue", "200-ok", "y 100-continue", "100-continue, x", "\"100-continue\""]
            .into_iter()
            .map(|value| {
                let bytes =
                    post(&format!("Expect: {value}\r\nContent-Length: {}\r\n", SMUGGLED.len()), SMUGGLED);
                refused(SOURCE, &format!("Expect {value:?}"), bytes).with(&[400, 417])
            })
            .collect();
    rows.extend([
        served(
            SOURCE,
            "a body that does not wait for 100",
            post(&format!("Expect: 100-continue\r\nContent-Length: {}\r\n", SMUGGLED.len()), SMUGGLED),
            OPEN,
        ),
        served(
            SOURCE,
            "a GET with Expect and a body",
            get(&format!("Expect: 100-continue\r\nContent-Length: {}\r\n", SMUGGLED.len()))
                + SMUGGLED
                + SECOND,
            TWO,
        ),
        served(SOURCE, "Expect without a body", get("Expect: 100-continue\r\n") + SECOND, TWO),
    ]);
    rows
}
