//! How long a body is: lengths, codings, chunks, trailers.

use super::row::{OPEN, Row, SECOND, SMUGGLED, TWO, bytes, chunked, get, post, refused, served};

pub(super) fn rows() -> Vec<Row> {
    [length_beside_chunked(), transfer_codings(), lengths(), chunks(), trailers()]
        .into_iter()
        .flatten()
        .collect()
}

fn length_beside_chunked() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §6.1";
    let smuggle = format!("0\r\n\r\n{SMUGGLED}");
    vec![
        refused(
            SOURCE,
            "Content-Length before chunked",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ),
        refused(
            SOURCE,
            "chunked before Content-Length",
            post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ),
        refused(
            SOURCE,
            "CL.TE with a second request",
            post("Content-Length: 60\r\nTransfer-Encoding: chunked\r\n", &smuggle),
        ),
        refused(
            SOURCE,
            "TE.CL with a second request",
            post(
                "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                &format!("2f\r\n{SMUGGLED}\r\n0\r\n\r\n"),
            ),
        ),
        refused(
            SOURCE,
            "a length of zero beside chunked",
            post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", &smuggle),
        ),
        refused(
            SOURCE,
            "both in a GET",
            get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n",
        ),
        refused(
            SOURCE,
            "a length beside identity",
            post("Content-Length: 5\r\nTransfer-Encoding: identity\r\n", "hello"),
        )
        .with(&[400, 501]),
        refused(
            SOURCE,
            "chunked between two lengths",
            post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ),
    ]
}

fn transfer_codings() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §6.1, CVE-2026-2835";
    let mut rows: Vec<_> = [
        "chunked, chunked",
        "gzip, chunked",
        "chunked, gzip",
        "identity",
        "identity, chunked",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "chunked; x",
        "\"chunked\"",
        "gzip",
        "",
        "chunked,",
        ",chunked",
        ", chunked",
        "chu\tnked",
        "chun ked",
        "chunked\u{b}",
        "trailers",
        "cow",
    ]
    .into_iter()
    .map(|coding| {
        let bytes = post(&format!("Transfer-Encoding: {coding}\r\n"), &format!("0\r\n\r\n{SMUGGLED}"));
        refused(SOURCE, &format!("Transfer-Encoding {coding:?}"), bytes).with(&[400, 501])
    })
    .collect();
    rows.extend([
        refused(SOURCE, "chunked in two fields", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")).with(&[400, 501]),
        refused(SOURCE, "chunked and identity in two fields", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n")).with(&[400, 501]),
        refused(SOURCE, "chunked and an empty field", post("Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n", "0\r\n\r\n")).with(&[400, 501]),
        refused(SOURCE, "chunked in HTTP/1.0", format!("POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}")),
        refused(SOURCE, "chunked with keep-alive in HTTP/1.0", format!("POST / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}")),
        refused(SOURCE, "a NUL in the coding", bytes("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked", b"\0", "\r\n\r\n0\r\n\r\n")),
        served("RFC 9110 §10.1.4", "the coding in another case", post("Transfer-Encoding: Chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), OPEN).present("hello"),
        served("RFC 9110 §5.5", "white space around the coding", post("Transfer-Encoding: \tchunked \t\r\n", "5\r\nhello\r\n0\r\n\r\n"), OPEN).present("hello"),
    ]);
    rows
}

fn lengths() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §8.6, RFC 9112 §6.3";
    let mut rows: Vec<_> = [
        "+5",
        "-5",
        "-0",
        "5 5",
        "5,5",
        "5, 5",
        "5, 6",
        "0x5",
        "5.0",
        "5e0",
        "1_0",
        "5;",
        "\"5\"",
        "five",
        "18446744073709551616",
        "18446744073709551621",
        "99999999999999999999999999",
        "\u{665}",
    ]
    .into_iter()
    .map(|length| {
        refused(
            SOURCE,
            &format!("Content-Length {length:?}"),
            post(&format!("Content-Length: {length}\r\n"), "hello"),
        )
    })
    .collect();
    rows.extend([
        refused("CVE-2023-40225", "an empty length", post("Content-Length:\r\n", "hello")),
        refused("CVE-2023-40225", "a length of white space", post("Content-Length: \t \r\n", "hello")),
        refused(
            SOURCE,
            "two lengths that differ",
            post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"),
        ),
        refused(SOURCE, "two equal lengths", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
        refused(
            SOURCE,
            "a length and an empty one",
            post("Content-Length: 5\r\nContent-Length:\r\n", "hello"),
        ),
        refused(
            SOURCE,
            "two lengths in another case",
            post("content-length: 5\r\nCONTENT-LENGTH: 0\r\n", "hello"),
        ),
        refused(SOURCE, "a length with a vertical tab", post("Content-Length: 5\u{b}\r\n", "hello")),
        refused(
            SOURCE,
            "two lengths in HTTP/1.0",
            "POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\nhello",
        ),
        served(SOURCE, "white space around a length", post("Content-Length: \t5 \r\n", "hello"), OPEN)
            .present("hello"),
    ]);
    rows
}

fn chunks() -> Vec<Row> {
    const SOURCE: &str = "RFC 9112 §7.1";
    let rest = "\r\nhello\r\n0\r\n\r\n";
    let mut rows: Vec<_> = [
        "+5",
        "-5",
        "0x5",
        " 5",
        "5 ",
        "\t5",
        "5\t",
        "g",
        "",
        "00000000000000005",
        "fffffffffffffffff",
        "10000000000000005",
        "5,",
        "5\0",
        "5h",
        "5 ;x",
        "\u{665}",
    ]
    .into_iter()
    .map(|size| {
        refused(SOURCE, &format!("the chunk size {size:?}"), chunked(&format!("{size}{rest}"))).in_body()
    })
    .collect();
    rows.extend([
        refused(SOURCE, "an LF after a size", chunked("5\nhello\r\n0\r\n\r\n")).in_body(),
        refused(SOURCE, "a CR after a size", chunked("5\rhello\r\n0\r\n\r\n")).in_body(),
        refused(SOURCE, "CR CR LF after a size", chunked("5\r\r\nhello\r\n0\r\n\r\n")).in_body(),
        refused(SOURCE, "two arbitrary bytes after a chunk", chunked("5\r\nhelloXX0\r\n\r\n")).in_body(),
        refused(SOURCE, "an LF after a chunk", chunked("5\r\nhello\n0\r\n\r\n")).in_body(),
        refused(SOURCE, "nothing after a chunk", chunked("5\r\nhello0\r\n\r\n")).in_body(),
        refused(SOURCE, "a chunk longer than its size", chunked("5\r\nhello!\r\n0\r\n\r\n")).in_body(),
        refused(SOURCE, "LF CR after a chunk", chunked("5\r\nhello\n\r0\r\n\r\n")).in_body(),
        refused(SOURCE, "an LF after the last chunk", chunked("0\n\r\n")).in_body(),
        refused(SOURCE, "an LF as the end of the body", chunked("0\r\n\n")).in_body(),
        refused(SOURCE, "a CR and another byte as the end", chunked("0\r\n\rX\r\n\r\n")).in_body(),
        refused(
            "RFC 9112 §7.1.1, TERM.EXT",
            "an LF inside an extension",
            chunked("5;a\nb\r\nhello\r\n0\r\n\r\n"),
        )
        .in_body(),
        refused(
            "RFC 9112 §7.1.1, EXT.TERM",
            "a CR inside an extension",
            chunked("5;a\rb\r\nhello\r\n0\r\n\r\n"),
        )
        .in_body(),
        refused("RFC 9112 §7.1.1", "a NUL inside an extension", chunked("5;a\0b\r\nhello\r\n0\r\n\r\n"))
            .in_body(),
        refused(
            "RFC 9112 §7.1.1",
            "an extension of 4 KiB",
            chunked(&format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(4096))),
        )
        .in_body(),
        refused(
            "RFC 9112 §7.1.1, CVE-2023-39326",
            "extensions of 32 KiB in all",
            chunked(&format!("{}0\r\n\r\n", format!("1;{}\r\nx\r\n", "y".repeat(200)).repeat(160))),
        )
        .in_body(),
        served(
            "RFC 9112 §7.1.1",
            "an extension is not forwarded",
            chunked("5;secret=1\r\nhello\r\n0;last\r\n\r\n"),
            OPEN,
        )
        .present("hello")
        .absent("secret")
        .absent(";last"),
        served(
            SOURCE,
            "a size in upper case with zeros before",
            chunked("00A\r\n0123456789\r\n000\r\n\r\n"),
            OPEN,
        )
        .present("0123456789"),
        served(SOURCE, "chunks and then a second request", chunked("5\r\nhello\r\n0\r\n\r\n") + SECOND, TWO)
            .present("hello"),
        served(SOURCE, "an empty body and then a second request", chunked("0\r\n\r\n") + SECOND, TWO),
    ]);
    rows
}

fn trailers() -> Vec<Row> {
    const SOURCE: &str = "RFC 9110 §6.5, RFC 9112 §7.1.2";
    let with = |trailers: &str| chunked(&format!("5\r\nhello\r\n0\r\n{trailers}\r\n"));
    let many: String = (0..40).map(|number| format!("X{number}: y\r\n")).collect();
    vec![
        refused(SOURCE, "a bare LF after a trailer", with("X: y\n")).in_body(),
        refused(SOURCE, "a bare CR in a trailer", with("X: y\rz\r\n")).in_body(),
        refused(SOURCE, "a folded trailer", with("X: y\r\n z\r\n")).in_body(),
        refused(SOURCE, "an empty trailer name", with(": y\r\n")).in_body(),
        refused(SOURCE, "a space before the colon of a trailer", with("X : y\r\n")).in_body(),
        refused(SOURCE, "a trailer without a colon", with("garbage\r\n")).in_body(),
        refused(SOURCE, "a NUL in a trailer", with("X: a\0b\r\n")).in_body(),
        refused(SOURCE, "a request as trailers", with("GET /admin HTTP/1.1\r\nHost: a.test\r\n")).in_body(),
        refused("limits", "forty trailers", with(&many)).with(&[400, 431]).in_body(),
        refused("limits", "a trailer of 12 KiB", with(&format!("X: {}\r\n", "y".repeat(12 * 1024))))
            .with(&[400, 431])
            .in_body(),
        served(
            SOURCE,
            "framing fields among the trailers",
            with("Content-Length: 987654321\r\nTransfer-Encoding: gzip\r\nHost: evil.test\r\n"),
            OPEN,
        )
        .absent("987654321")
        .absent("gzip")
        .absent("evil.test"),
        served(
            SOURCE,
            "forwarding and secret fields among the trailers",
            with("X-Forwarded-For: 6.6.6.6\r\nAuthorization: evil\r\nConnection: evil\r\n"),
            OPEN,
        )
        .absent("6.6.6.6")
        .absent("evil"),
    ]
}
