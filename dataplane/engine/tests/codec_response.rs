//! Response heads, one row per clause: what becomes a 502, how what passes is framed, whether its connection is kept.
//!
//! "§4.7 n" counts the strictness rules of the design; sections without a number of a standard are RFC 9112's.

mod codec_support;

use codec_support::{good_response, response};
use ringress_engine::codec::h1::{ResponseContext, parse_response};
use ringress_engine::http::Framing::*;
use ringress_engine::http::HeadError::*;
use ringress_engine::http::{Framing, Head, HeadError, Known};
use ringress_shared::listener::HeadLimits;

const GET: ResponseContext = ResponseContext { head: false, upgrade: false };
const HEAD: ResponseContext = ResponseContext { head: true, upgrade: false };
const UPGRADE: ResponseContext = ResponseContext { head: false, upgrade: true };

/// Framing and whether the connection may be used again.
type Verdict = Result<(Framing, bool), HeadError>;

#[track_caller]
fn check(clause: &str, bytes: &[u8], context: ResponseContext, expected: Verdict) {
    let limits = HeadLimits::default();
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    for step in [bytes.len(), 1, 2, 5] {
        let found = response(bytes, context, step, &limits);
        let found = found.unwrap_or_else(|| panic!("{clause}: no verdict: {shown:?}"));
        let found = found.map(|head| (head.facts.framing, head.facts.keep_alive));
        let same = if step == bytes.len() { found == expected } else { found.is_ok() == expected.is_ok() };
        assert!(same, "{clause} by {step}: {shown:?}: {found:?}, expected {expected:?}");
    }
}

#[track_caller]
fn table(context: ResponseContext, rows: &[(&str, &str, Verdict)]) {
    for (clause, text, expected) in rows {
        check(clause, text.as_bytes(), context, *expected);
    }
}

/// Rows that differ in the fields only.
#[track_caller]
fn fields(context: ResponseContext, status: u16, rows: &[(&str, &str, Verdict)]) {
    for (clause, text, expected) in rows {
        check(clause, format!("HTTP/1.1 {status} X\r\n{text}\r\n").as_bytes(), context, *expected);
    }
}

#[test]
fn status_lines() {
    table(
        GET,
        &[
            ("§4", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Ok((Length(0), true))),
            ("§4 empty reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", Ok((Length(0), true))),
            (
                "§4 no space before an empty reason",
                "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
                Ok((Length(0), true)),
            ),
            ("§4 reason with obs-text", "HTTP/1.1 200 é\r\nContent-Length: 0\r\n\r\n", Ok((Length(0), true))),
            (
                "§4 reason of many words",
                "HTTP/1.1 418 I'm a\tteapot\r\nContent-Length: 0\r\n\r\n",
                Ok((Length(0), true)),
            ),
            (
                "RFC 9110 §15 class unknown",
                "HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
                Ok((Length(0), true)),
            ),
            ("RFC 9110 §15 below 100", "HTTP/1.1 099 X\r\n\r\n", Err(StatusLine)),
            ("RFC 9110 §15 zero", "HTTP/1.1 000 X\r\n\r\n", Err(StatusLine)),
            ("§4 two digits", "HTTP/1.1 20 OK\r\n\r\n", Err(StatusLine)),
            ("§4 four digits", "HTTP/1.1 2000 OK\r\n\r\n", Err(StatusLine)),
            ("§4 sign", "HTTP/1.1 +20 OK\r\n\r\n", Err(StatusLine)),
            ("§4 hexadecimal", "HTTP/1.1 2a0 OK\r\n\r\n", Err(StatusLine)),
            ("§4 no status", "HTTP/1.1 OK\r\n\r\n", Err(StatusLine)),
            ("§4 two spaces", "HTTP/1.1  200 OK\r\n\r\n", Err(StatusLine)),
            ("§4 tab", "HTTP/1.1\t200 OK\r\n\r\n", Err(StatusLine)),
            ("§4 NUL in the reason", "HTTP/1.1 200 O\0K\r\n\r\n", Err(StatusLine)),
            ("§4 CR in the reason", "HTTP/1.1 200 O\rK\r\n\r\n", Err(StatusLine)),
            ("§2.3 version", "HTTP/1.2 200 OK\r\n\r\n", Err(Version)),
            ("§2.3 version", "HTTP/2.0 200 OK\r\n\r\n", Err(Version)),
            ("§2.3 lower case", "http/1.1 200 OK\r\n\r\n", Err(StatusLine)),
            ("§2.3 ICY", "ICY 200 OK\r\n\r\n", Err(StatusLine)),
            ("§2.2 an empty line before is for requests only", "\r\nHTTP/1.1 200 OK\r\n\r\n", Err(EmptyLine)),
            ("§4 not HTTP", "220 smtp.example ESMTP\r\n\r\n", Err(StatusLine)),
        ],
    );
    let head = good_response(b"HTTP/1.0 404 Not  Found \xe9\r\nServer: x\r\n\r\n", GET);
    assert_eq!((head.status(), head.reason()), (404, &b"Not  Found \xe9"[..]));
    assert_eq!(good_response(b"HTTP/1.1 200\r\n\r\n", GET).reason(), b"");
}

#[test]
fn line_ends_and_fields() {
    table(
        GET,
        &[
            ("§4.7 4 LF behind the status line", "HTTP/1.1 200 OK\nX: y\r\n\r\n", Err(BareLineFeed)),
            ("§4.7 4 LF behind an empty reason", "HTTP/1.1 200\nX: y\r\n\r\n", Err(BareLineFeed)),
            ("§4.7 4 LF behind a field", "HTTP/1.1 200 OK\r\nX: y\n\r\n", Err(BareLineFeed)),
            ("§4.7 4 LF as the blank line", "HTTP/1.1 200 OK\r\nX: y\r\n\n", Err(BareLineFeed)),
            ("§4.7 13 CR in a value", "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", Err(FieldValue)),
            ("§4.7 13 NUL in a value", "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", Err(FieldValue)),
            ("§4.7 5 obs-fold", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", Err(FieldName)),
            (
                "§4.7 6 space before the colon",
                "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
                Err(FieldName),
            ),
            ("§4.7 6 empty name", "HTTP/1.1 200 OK\r\n: x\r\n\r\n", Err(FieldName)),
            ("§4.7 6 no colon", "HTTP/1.1 200 OK\r\nX\r\n\r\n", Err(FieldName)),
            ("§4.7 6 space before the first name", "HTTP/1.1 200 OK\r\n X: y\r\n\r\n", Err(FieldName)),
        ],
    );
}

#[test]
fn framing_by_fields() {
    fields(
        GET,
        200,
        &[
            ("§6.3 rule 6", "Content-Length: 5\r\n", Ok((Length(5), true))),
            ("§6.3 rule 4", "Transfer-Encoding: chunked\r\n", Ok((Chunked, true))),
            ("§6.3 rule 8", "", Ok((UntilClose, false))),
            ("§6.3 rule 8 with keep-alive", "Connection: keep-alive\r\n", Ok((UntilClose, false))),
            (
                "§6.3 rule 3 both: the length goes, then the connection",
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                Ok((Chunked, false)),
            ),
            (
                "§6.3 rule 3 other order",
                "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
                Ok((Chunked, false)),
            ),
            (
                "§6.3 rule 5 different",
                "Content-Length: 5\r\nContent-Length: 6\r\n",
                Err(ContentLengthRepeated),
            ),
            ("§4.7 3 identical", "Content-Length: 5\r\nContent-Length: 5\r\n", Err(ContentLengthRepeated)),
            ("§4.7 3 list", "Content-Length: 5, 5\r\n", Err(ContentLengthRepeated)),
            ("§4.7 3 sign", "Content-Length: +5\r\n", Err(ContentLengthInvalid)),
            ("§4.7 3 empty", "Content-Length:\r\n", Err(ContentLengthInvalid)),
            ("§4.7 3 overflow", "Content-Length: 99999999999999999999\r\n", Err(ContentLengthInvalid)),
            (
                "§4.7 3 broken beside a coding",
                "Content-Length: x\r\nTransfer-Encoding: chunked\r\n",
                Err(ContentLengthInvalid),
            ),
            ("§4.7 2 list", "Transfer-Encoding: gzip, chunked\r\n", Err(TransferCodingUnknown)),
            (
                "§4.7 2 repeated",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Err(TransferCodingInvalid),
            ),
            ("§4.7 2 identity", "Transfer-Encoding: identity\r\n", Err(TransferCodingInvalid)),
            ("§4.7 2 unknown", "Transfer-Encoding: x\r\n", Err(TransferCodingUnknown)),
            ("§9.6 close", "Content-Length: 5\r\nConnection: close\r\n", Ok((Length(5), false))),
        ],
    );
    table(
        GET,
        &[
            (
                "§6.1 coding in HTTP/1.0",
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                Err(TransferCodingVersion),
            ),
            ("§9.3 HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", Ok((Length(5), false))),
            (
                "§9.3 HTTP/1.0 keep-alive",
                "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
                Ok((Length(5), true)),
            ),
            ("§6.3 rule 8 HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\n", Ok((UntilClose, false))),
        ],
    );
}

#[test]
fn responses_without_body() {
    let none = Ok((None, true));
    for status in [200, 404, 500] {
        fields(
            HEAD,
            status,
            &[
                ("§6.3 rule 1 HEAD", "", none),
                ("§6.3 rule 1 HEAD with a length", "Content-Length: 5\r\n", none),
                ("§6.3 rule 1 HEAD with chunks", "Transfer-Encoding: chunked\r\n", none),
            ],
        );
    }
    fields(
        GET,
        304,
        &[("§6.3 rule 1", "", none), ("§6.3 rule 1 with a length", "Content-Length: 5\r\n", none)],
    );
    fields(
        GET,
        204,
        &[
            ("§6.3 rule 1", "", none),
            ("RFC 9110 §8.6 zero length", "Content-Length: 0\r\n", none),
            ("RFC 9110 §8.6 announced all the same", "Content-Length: 5\r\n", Ok((None, false))),
            ("§6.1 chunks announced all the same", "Transfer-Encoding: chunked\r\n", Ok((None, false))),
            ("§4.7 3 repeated", "Content-Length: 0\r\nContent-Length: 0\r\n", Err(ContentLengthRepeated)),
        ],
    );
    fields(
        GET,
        205,
        &[("RFC 9110 §15.3.6 is framed like any other", "Content-Length: 0\r\n", Ok((Length(0), true)))],
    );
    let head = good_response(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", HEAD);
    assert_eq!(head.facts.content_length, Some(5), "RFC 9110 §8.6: what GET would have got");
}

#[test]
fn an_announced_last_chunk_of_a_304_may_come() {
    fields(GET, 304, &[("§6.1", "Transfer-Encoding: chunked\r\n", Ok((None, false)))]);
}

#[test]
fn interim_responses() {
    for status in [100, 102, 103, 199] {
        fields(
            GET,
            status,
            &[
                ("RFC 9110 §15.2", "Link: </a>; rel=preload\r\n", Ok((None, true))),
                ("RFC 9110 §8.6 zero length", "Content-Length: 0\r\n", Ok((None, true))),
                ("§4.7 13 a body", "Content-Length: 5\r\n", Err(InterimWithBody)),
                ("§4.7 13 chunks", "Transfer-Encoding: chunked\r\n", Err(InterimWithBody)),
            ],
        );
    }
}

#[test]
fn switching_protocols() {
    let asked = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    fields(
        UPGRADE,
        101,
        &[
            ("RFC 9110 §15.2.2", asked, Ok((None, false))),
            ("RFC 9110 §7.8 no protocol", "Connection: Upgrade\r\n", Err(UnexpectedUpgrade)),
            ("RFC 9110 §7.8 empty protocol", "Connection: Upgrade\r\nUpgrade:\r\n", Err(UnexpectedUpgrade)),
            ("§4.7 13 a body", "Upgrade: websocket\r\nContent-Length: 5\r\n", Err(InterimWithBody)),
        ],
    );
    fields(GET, 101, &[("§4.7 13 nobody asked", asked, Err(UnexpectedUpgrade))]);
    // CVE-2024-23326: only a 101 opens a tunnel, whatever else the endpoint says.
    fields(
        UPGRADE,
        200,
        &[("CVE-2024-23326", &format!("{asked}Content-Length: 5\r\n"), Ok((Length(5), true)))],
    );
    let head = good_response(format!("HTTP/1.1 101 X\r\n{asked}\r\n").as_bytes(), UPGRADE);
    assert_eq!(head.upgrade(), Some(&b"websocket"[..]));
    let head = good_response(format!("HTTP/1.1 200 X\r\n{asked}\r\n").as_bytes(), UPGRADE);
    assert_eq!(head.upgrade(), Option::None);
}

#[test]
fn keep_alive_seconds() {
    for (value, expected) in [
        ("timeout=5", Some(5)),
        ("timeout=5, max=100", Some(5)),
        ("max=100, Timeout=7", Some(7)),
        ("timeout=", Option::None),
        ("timeout=-1", Option::None),
        ("timeout=x", Option::None),
        ("timeout=99999999999", Option::None),
        ("timeou", Option::None),
    ] {
        let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: {value}\r\n\r\n");
        assert_eq!(good_response(bytes.as_bytes(), GET).facts.keep_alive_secs, expected, "{value}");
    }
}

#[test]
fn sizes() {
    let lines = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(count));
    check("§4.7 16", lines(100).as_bytes(), GET, Ok((UntilClose, false)));
    check("§4.7 16", lines(101).as_bytes(), GET, Err(TooManyFields));
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(16_385));
    check("§4.7 16", long.as_bytes(), GET, Err(FieldTooLarge));
    let line = format!("HTTP/1.1 200 {}\r\n\r\n", "a".repeat(8192));
    check("§4.7 16", line.as_bytes(), GET, Err(RequestLineTooLong));
    let found = parse_response(line.as_bytes(), GET, &HeadLimits::default(), &mut Head::new());
    assert_eq!(found, Err(RequestLineTooLong), "the parser alone is as strict");
    let large = format!("HTTP/1.1 200 OK\r\n{}\r\n", format!("X: {}\r\n", "a".repeat(10_000)).repeat(7));
    check("§4.7 16", large.as_bytes(), GET, Err(HeadTooLarge));
}

#[test]
fn every_error_has_a_token_of_rfc_9209() {
    for (error, token) in [
        (HeadTooLarge, "http_response_header_section_size"),
        (FieldTooLarge, "http_response_header_size"),
        (TransferCodingUnknown, "http_response_transfer_coding"),
        (UnexpectedUpgrade, "http_upgrade_failed"),
        (ContentLengthRepeated, "http_protocol_error"),
    ] {
        assert_eq!(error.response_token(), token);
        assert_eq!(error.token(), "http_request_error");
        assert!(!error.message().is_empty() && !error.message().contains('\n'));
    }
}

#[test]
fn a_response_keeps_its_fields() {
    let head = good_response(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nx-y: z\r\nSet-Cookie: b\r\nServer: s\r\n\r\n",
        GET,
    );
    let cookies: Vec<_> = head.find_all(Known::SetCookie).collect();
    assert_eq!((cookies, head.find(Known::Server)), (vec![&b"a"[..], b"b"], Some(&b"s"[..])));
}
