//! Fields that a client may not claim, alias or take away.

use super::row::{OPEN, Row, SECOND, TWO, get, post, served};

pub(super) fn rows() -> Vec<Row> {
    [aliases(), forwarding_fields(), connection_fields()].into_iter().flatten().collect()
}

fn aliases() -> Vec<Row> {
    const SOURCE: &str = "CVE-2024-45410 and its repeat with underscores";
    vec![
        served(
            SOURCE,
            "Content_Length is no length and is dropped",
            get("Content_Length: 99\r\n") + SECOND,
            TWO,
        )
        .absent("content_length"),
        served(
            SOURCE,
            "Transfer_Encoding is no coding and is dropped",
            post("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "hello"),
            OPEN,
        )
        .absent("transfer_encoding")
        .present("hello"),
        served(SOURCE, "X_Forwarded_For is dropped", get("X_Forwarded_For: 6.6.6.6\r\n"), OPEN)
            .absent("6.6.6.6"),
        served(SOURCE, "X_Real_IP is dropped", get("X_Real_IP: 6.6.6.6\r\n"), OPEN).absent("6.6.6.6"),
        served(SOURCE, "a name with both signs is dropped", get("X-Forwarded_For: 6.6.6.6\r\n"), OPEN)
            .absent("6.6.6.6"),
    ]
}

fn forwarding_fields() -> Vec<Row> {
    const SOURCE: &str = "CVE-2024-45410, RFC 7239 §8.1";
    let mut rows: Vec<_> = [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Server",
        "X-Real-IP",
        "Forwarded",
    ]
    .into_iter()
    .map(|name| {
        let row = served(
            SOURCE,
            &format!("{name} of a client is not believed"),
            get(&format!("{name}: evil.test\r\n")),
            OPEN,
        );
        row.absent("evil.test")
    })
    .collect();
    rows.extend([
        served("CVE-2016-5385", "Proxy of a client is dropped", get("Proxy: http://evil.test\r\n"), OPEN)
            .absent("evil.test"),
        served(
            SOURCE,
            "two X-Forwarded-For of a client",
            get("X-Forwarded-For: 6.6.6.6\r\nx-forwarded-for: 7.7.7.7\r\n"),
            OPEN,
        )
        .absent("6.6.6.6")
        .absent("7.7.7.7"),
        served(SOURCE, "what stands there is the peer", get(""), OPEN)
            .present("X-Forwarded-For: 127.0.0.1\r\n")
            .present("X-Real-IP: 127.0.0.1\r\n")
            .present("X-Forwarded-Proto: http\r\n"),
    ]);
    rows
}

fn connection_fields() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §7.6.1, CVE-2024-45410";
    vec![
        served(
            SOURCE,
            "a listed field is removed",
            get("Connection: close, X-Hop\r\nX-Hop: secret\r\n"),
            OPEN,
        )
        .absent("secret"),
        served(
            SOURCE,
            "a listed field is removed in any case",
            get("Connection: x-HOP\r\nX-hop: secret\r\n"),
            OPEN,
        )
        .absent("secret"),
        served(
            SOURCE,
            "hop-by-hop fields are removed",
            get("Keep-Alive: timeout=7\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\n"),
            OPEN,
        )
        .absent("timeout=7")
        .absent("proxy-connection")
        .absent("te: gzip"),
        served(SOURCE, "Host cannot be listed", get("Connection: close, Host\r\n"), OPEN)
            .present("Host: a.test"),
        served(
            SOURCE,
            "Authorization cannot be listed",
            get("Connection: close, Authorization\r\nAuthorization: Basic eDp5\r\n"),
            OPEN,
        )
        .present("Authorization: Basic eDp5"),
        served(SOURCE, "Cookie cannot be listed", get("Connection: close, Cookie\r\nCookie: a=b\r\n"), OPEN)
            .present("Cookie: a=b"),
        served(
            SOURCE,
            "X-Forwarded-For cannot be listed",
            get("Connection: close, X-Forwarded-For, X-Real-IP, X-Forwarded-Proto\r\n"),
            OPEN,
        )
        .present("X-Forwarded-For: 127.0.0.1")
        .present("X-Real-IP: 127.0.0.1")
        .present("X-Forwarded-Proto: http"),
        served(
            SOURCE,
            "Content-Length cannot be listed",
            post("Connection: close, Content-Length\r\nContent-Length: 5\r\n", "hello"),
            OPEN,
        )
        .present("Content-Length: 5\r\n")
        .present("hello"),
        served(
            SOURCE,
            "Transfer-Encoding cannot be listed",
            post(
                "Connection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
            OPEN,
        )
        .present("Transfer-Encoding: chunked\r\n")
        .present("hello"),
    ]
}
