//! Lines, names and values of a head, and how much of them there may be.

use super::row::{OPEN, Row, bytes, get, get_target, post, refused, served};

pub(super) fn rows() -> Vec<Row> {
    [request_lines(), line_ends(), folded_lines(), field_names(), field_values(), limits()]
        .into_iter()
        .flatten()
        .collect()
}

fn request_lines() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §3";
    let line = |line: &str| format!("{line}\r\nHost: a.test\r\n\r\n");
    vec![
        refused(SOURCE, "two spaces before the target", line("GET  / HTTP/1.1")),
        refused(SOURCE, "two spaces after the target", line("GET /  HTTP/1.1")),
        refused(SOURCE, "a space after the version", line("GET / HTTP/1.1 ")),
        refused(SOURCE, "a space in the target", line("GET /a b HTTP/1.1")),
        refused(SOURCE, "tabs for spaces", line("GET\t/\tHTTP/1.1")),
        refused(SOURCE, "a tab in the target", line("GET /a\tb HTTP/1.1")),
        refused(SOURCE, "no version", line("GET /")).with(&[400, 505]),
        refused(SOURCE, "no target", line("GET HTTP/1.1")),
        refused(SOURCE, "no method", line(" / HTTP/1.1")),
        refused(SOURCE, "a method that is no token", line("GE{T} / HTTP/1.1")),
        refused(SOURCE, "a NUL in the method", bytes("GE", b"\0", "T / HTTP/1.1\r\nHost: a.test\r\n\r\n")),
        refused(SOURCE, "a version in lower case", line("GET / http/1.1")).with(&[400, 505]),
        refused(SOURCE, "HTTP/1.2", line("GET / HTTP/1.2")).with(&[400, 505]),
        refused(SOURCE, "HTTP/1.10", line("GET / HTTP/1.10")).with(&[400, 505]),
        refused(SOURCE, "HTTP/1", line("GET / HTTP/1")).with(&[400, 505]),
        refused(SOURCE, "HTTP/2.0", line("GET / HTTP/2.0")).with(&[400, 505]),
        refused(SOURCE, "HTTP/0.9 spelled out", line("GET / HTTP/0.9")).with(&[400, 505]),
        refused("RFC 9113 §3.4", "the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .with(&[400, 505]),
        refused(
            SOURCE,
            "the beginning of a TLS handshake",
            bytes("", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", "\r\n\r\n"),
        ),
        served(SOURCE, "a method nobody knows", "BREW / HTTP/1.1\r\nHost: a.test\r\n\r\n", OPEN)
            .present("BREW / HTTP/1.1"),
        served(
            "RFC 9110 §9.1",
            "a method in lower case is another method",
            "get / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            OPEN,
        )
        .present("get / HTTP/1.1"),
    ]
}

fn line_ends() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §2.2";
    vec![
        refused(SOURCE, "a bare LF after the request line", "GET / HTTP/1.1\nHost: a.test\r\n\r\n"),
        refused(SOURCE, "bare LFs everywhere", "GET / HTTP/1.1\nHost: a.test\n\n"),
        refused(SOURCE, "a bare LF after a field", get("X: y\nZ: z\r\n")),
        refused(
            SOURCE,
            "a bare LF that hides chunked",
            post("X: y\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", "hello"),
        ),
        refused(SOURCE, "a bare LF as the blank line", "GET / HTTP/1.1\r\nHost: a.test\r\n\nX: y\r\n\r\n"),
        refused(SOURCE, "LF CR as the blank line", "GET / HTTP/1.1\r\nHost: a.test\r\n\n\r\r\n\r\n"),
        refused(SOURCE, "a bare CR in a value", get("X: y\rZ: z\r\n")),
        refused(
            SOURCE,
            "a bare CR that hides chunked",
            post("X: y\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", "hello"),
        ),
        refused(SOURCE, "CR CR LF after a field", get("X: y\r\r\n")),
        refused(SOURCE, "a bare CR in a name", get("X\rY: z\r\n")),
        refused(SOURCE, "a bare CR in the request line", "GET /\rx HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        refused(SOURCE, "a CR at the end of the version", "GET / HTTP/1.1\r\r\nHost: a.test\r\n\r\n"),
        served(
            SOURCE,
            "one empty line before the request",
            "\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            OPEN,
        ),
        refused(
            SOURCE,
            "two empty lines before the request",
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
        ),
        refused(SOURCE, "an LF before the request", "\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        refused(SOURCE, "a CR before the request", "\rGET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
        refused(SOURCE, "white space before the request", " GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    ]
}

fn folded_lines() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §5.2";
    vec![
        refused(SOURCE, "a value folded by a space", get("X: y\r\n z\r\n")),
        refused(SOURCE, "a value folded by a tab", get("X: y\r\n\tz\r\n")),
        refused(SOURCE, "a folded Host", "GET / HTTP/1.1\r\nHost:\r\n a.test\r\n\r\n"),
        refused(
            SOURCE,
            "a folded coding",
            post("Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n", "hello"),
        ),
        refused(
            SOURCE,
            "chunked behind a fold",
            post("X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "hello"),
        ),
        refused(
            "RFC 9112 §2.2",
            "white space before the first field",
            "GET / HTTP/1.1\r\n Host: a.test\r\nHost: a.test\r\n\r\n",
        ),
        refused(SOURCE, "a line of white space alone", get(" \r\n")),
    ]
}

fn field_names() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §5.1, RFC 9112 §5.1";
    let names = [
        "X Y", "X(", "X[", "X{", "X\"", "X/", "X\\", "X@", "X,", "X;", "X=", "X?", "X<", "\u{e9}", "X\u{7f}",
        "X\u{1}",
    ];
    let mut rows: Vec<_> = names
        .into_iter()
        .map(|name| refused(SOURCE, &format!("the field name {name:?}"), get(&format!("{name}: v\r\n"))))
        .collect();
    rows.extend([
        refused("CVE-2023-25725", "an empty field name", get(": v\r\n")),
        refused(
            "CVE-2023-25725",
            "an empty field name before chunked",
            post(":\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        refused(SOURCE, "a space before the colon", get("X : v\r\n")),
        refused(SOURCE, "a tab before the colon", get("X\t: v\r\n")),
        refused(SOURCE, "a space before the colon of a length", post("Content-Length : 5\r\n", "hello")),
        refused(
            SOURCE,
            "a space before the colon of a coding",
            post("Transfer-Encoding : chunked\r\nContent-Length: 5\r\n", "hello"),
        ),
        refused(SOURCE, "a field without a colon", get("garbage\r\n")),
        refused(SOURCE, "a second request line among the fields", get("GET /admin HTTP/1.1\r\n")),
        refused(
            SOURCE,
            "a NUL in a name",
            bytes("GET / HTTP/1.1\r\nHost: a.test\r\nX", b"\0", "Y: v\r\n\r\n"),
        ),
        refused(
            SOURCE,
            "a byte above 127 in a name",
            bytes("GET / HTTP/1.1\r\nHost: a.test\r\nX", b"\xff", ": v\r\n\r\n"),
        ),
    ]);
    rows
}

fn field_values() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §5.5";
    let mut rows: Vec<_> = [0u8, 1, 7, 8, 11, 12, 14, 27, 31, 127]
        .into_iter()
        .map(|byte| {
            let head = bytes("GET / HTTP/1.1\r\nHost: a.test\r\nX: a", &[byte], "b\r\n\r\n");
            refused(SOURCE, &format!("the byte {byte} in a value"), head)
        })
        .collect();
    rows.extend([
        served(SOURCE, "a tab in a value", get("X: a\tb\r\n"), OPEN).present("X: a\tb\r\n"),
        served(SOURCE, "an empty value", get("X:\r\n"), OPEN),
        served(
            SOURCE,
            "bytes above 127 in a value",
            bytes("GET / HTTP/1.1\r\nHost: a.test\r\nX: a", b"\xe9\xff", "b\r\n\r\n"),
            OPEN,
        ),
    ]);
    rows
}

fn limits() -> Vec<Row> {
    const SOURCE: &str = "limits: 8 KiB request line, 16 KiB field, 64 KiB and 100 fields a head";
    let field = |bytes: usize| format!("X: {}\r\n", "y".repeat(bytes));
    let numbered = |count: usize| (0..count).map(|number| format!("X-{number}: y\r\n")).collect::<String>();
    vec![
        refused(SOURCE, "a request line of 9,000 bytes", get_target(&format!("/{}", "a".repeat(9_000))))
            .with(&[414]),
        refused(SOURCE, "a request line of 80,000 bytes", get_target(&format!("/{}", "a".repeat(80_000))))
            .with(&[414]),
        refused(SOURCE, "a request line that does not end", format!("GET /{}", "a".repeat(80_000)))
            .with(&[414]),
        refused(SOURCE, "a field of 20,000 bytes", get(&field(20_000))).with(&[431]),
        refused(
            SOURCE,
            "a field that does not end",
            format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}", "y".repeat(80_000)),
        )
        .with(&[431]),
        refused(SOURCE, "a head of 75,000 bytes", get(&field(15_000).repeat(5))).with(&[431]),
        refused(SOURCE, "101 fields", get(&numbered(100))).with(&[431]),
        refused(SOURCE, "1,000 fields", get(&numbered(1_000))).with(&[431]),
        served(SOURCE, "100 fields", get(&numbered(99)), OPEN).present("X-98: y"),
        served(SOURCE, "a field of 15,000 bytes", get(&field(15_000)), OPEN),
        served(SOURCE, "a head of 60,000 bytes", get(&field(15_000).repeat(4)), OPEN),
    ]
}
