//! Request heads, one row per clause: what is refused, with which status, and how what passes is framed.
//!
//! "§4.7 n" counts the strictness rules of the design; sections without a number of a standard are RFC 9112's.

mod codec_support;

use codec_support::{good_request, request};
use ringress_engine::codec::h1::HeadScanner;
use ringress_engine::http::HeadError::*;
use ringress_engine::http::{Framing, HeadError, Known};
use ringress_shared::listener::HeadLimits;

/// Whole, and in pieces of several sizes: the same verdict, with the same status.
#[track_caller]
fn check(clause: &str, bytes: &[u8], expected: Result<Framing, HeadError>) {
    let limits = HeadLimits::default();
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    let whole =
        request(bytes, bytes.len(), &limits).unwrap_or_else(|| panic!("{clause}: no verdict: {shown:?}"));
    assert_eq!(whole.map(|head| head.facts.framing), expected, "{clause}: {shown:?}");
    for step in [1, 2, 3, 7] {
        let found =
            request(bytes, step, &limits).unwrap_or_else(|| panic!("{clause}: no verdict: {shown:?}"));
        let status = |result: Result<Framing, HeadError>| result.map_err(HeadError::status);
        assert_eq!(
            status(found.map(|head| head.facts.framing)),
            status(expected),
            "{clause} by {step}: {shown:?}"
        );
    }
}

#[track_caller]
fn table(rows: &[(&str, &str, Result<Framing, HeadError>)]) {
    for (clause, text, expected) in rows {
        check(clause, text.as_bytes(), *expected);
    }
}

/// Rows that differ in the fields only: they follow a good request line and Host.
#[track_caller]
fn fields(method: &str, rows: &[(&str, &str, Result<Framing, HeadError>)]) {
    for (clause, text, expected) in rows {
        let bytes = format!("{method} / HTTP/1.1\r\nHost: a\r\n{text}\r\n");
        check(clause, bytes.as_bytes(), *expected);
    }
}

/// Rows that differ in the target only.
#[track_caller]
fn targets(method: &str, host: &str, rows: &[(&str, &str, Result<Framing, HeadError>)]) {
    for (clause, target, expected) in rows {
        let bytes = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        check(clause, bytes.as_bytes(), *expected);
    }
}

/// Rows that differ in the value of Host only.
#[track_caller]
fn hosts(rows: &[(&str, &str, Result<Framing, HeadError>)]) {
    for (clause, host, expected) in rows {
        check(clause, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes(), *expected);
    }
}

const NONE: Result<Framing, HeadError> = Ok(Framing::None);
const CHUNKED: Result<Framing, HeadError> = Ok(Framing::Chunked);

#[test]
fn request_lines() {
    table(&[
        ("§3", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
        ("§3 two spaces before the target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Err(Target)),
        ("§3 two spaces before the version", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("§3 tab as separator", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("§3 tab before the version", "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", Err(Target)),
        ("§3 space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("§3 space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("§3 space before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("§3 no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n", Err(Target)),
        ("§3 no method", "/ HTTP/1.1\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("§3 no version (HTTP/0.9)", "GET /\r\n\r\n", Err(Target)),
        ("§3 no version, one space", "GET / \r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("§3 not HTTP", "hello\r\n\r\n", Err(RequestLine)),
        ("§3 a response", "HTTP/1.1 200 OK\r\nHost: a\r\n\r\n", Err(RequestLine)),
    ]);
}

#[test]
fn methods_are_tokens() {
    table(&[
        ("RFC 9110 §9.1 unknown method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
        ("RFC 9110 §9.1 lower case is another method", "get / HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
        ("RFC 9110 §5.6.2 every token byte", "!#$%&'*+-.^_`|~1aZ / HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
        ("RFC 9110 §9.1 colon", "GE:T / HTTP/1.1\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("RFC 9110 §9.1 parenthesis", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("RFC 9110 §9.1 quote", "\"GET\" / HTTP/1.1\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("RFC 9110 §9.1 control byte", "G\u{1}ET / HTTP/1.1\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("RFC 9110 §9.1 non-ASCII", "GÉT / HTTP/1.1\r\nHost: a\r\n\r\n", Err(RequestLine)),
    ]);
}

#[test]
fn versions() {
    table(&[
        ("§2.3", "GET / HTTP/1.0\r\n\r\n", NONE),
        ("RFC 9110 §15.6.6", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", Err(Version)),
        ("RFC 9110 §15.6.6", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", Err(Version)),
        ("RFC 9110 §15.6.6", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", Err(Version)),
        ("RFC 9113 §3.4 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Err(Version)),
        ("§2.3 no minor version", "GET / HTTP/2\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("§2.3 lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("§2.3 two digits", "GET / HTTP/1.10\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("§2.3 leading zero", "GET / HTTP/01.1\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("§2.3 letters", "GET / HTTP/1.x\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("§2.3 another protocol", "GET / ICAP/1.0\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("§2.3 no slash", "GET / HTTP1.1\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("§2.3 comma", "GET / HTTP/1,1\r\nHost: a\r\n\r\n", Err(RequestLine)),
    ]);
}

#[test]
fn line_ends() {
    table(&[
        ("§4.7 4 LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", Err(BareLineFeed)),
        ("§4.7 4 LF behind a field", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", Err(BareLineFeed)),
        ("§4.7 4 LF as the blank line", "GET / HTTP/1.1\r\nHost: a\r\n\n", Err(BareLineFeed)),
        ("§4.7 4 LF only", "GET / HTTP/1.1\nHost: a\n\n", Err(BareLineFeed)),
        ("§4.7 4 LF behind an empty value", "GET / HTTP/1.1\r\nHost: a\r\nX:\n\r\n", Err(BareLineFeed)),
        (
            "§4.7 4 LF LF in a field block",
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\n\nZ: w\r\n\r\n",
            Err(BareLineFeed),
        ),
        ("§2.2 CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", Err(FieldValue)),
        ("§2.2 CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\r\n\r\n", Err(FieldValue)),
        ("§2.2 CR in the request line", "GET /\rHTTP/1.1\r\nHost: a\r\n\r\n", Err(Target)),
        ("§2.2 CR behind the version", "GET / HTTP/1.1\rX\r\nHost: a\r\n\r\n", Err(RequestLine)),
        ("§2.2 CR before a name", "GET / HTTP/1.1\r\nHost: a\r\n\rX: a\r\n\r\n", Err(BareCarriageReturn)),
        ("§2.2 CR in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\rY: a\r\n\r\n", Err(FieldName)),
        ("§2.2 one empty line before", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
        ("§4.7 6 two empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Err(EmptyLine)),
        ("§4.7 4 LF before", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Err(BareLineFeed)),
    ]);
}

#[test]
fn field_names() {
    fields(
        "GET",
        &[
            ("RFC 9110 §5.1 every token byte", "!#$%&'*+-.^`|~1aZ: y\r\n", NONE),
            ("§5.1 no colon", "X\r\n", Err(FieldName)),
            ("§5.1 space before the colon", "X : y\r\n", Err(FieldName)),
            ("§5.1 tab before the colon", "X\t: y\r\n", Err(FieldName)),
            ("§5.1 space in the name", "X Y: z\r\n", Err(FieldName)),
            ("CVE-2023-25725 empty name", ": y\r\n", Err(FieldName)),
            ("CVE-2023-25725 colon only", ":\r\n", Err(FieldName)),
            ("§5.2 obs-fold with a space", "X: a\r\n b\r\n", Err(FieldName)),
            ("§5.2 obs-fold with a tab", "X: a\r\n\tb\r\n", Err(FieldName)),
            ("§5.2 obs-fold of an empty value", "X:\r\n a\r\n", Err(FieldName)),
            ("§5.2 obs-fold of Transfer-Encoding", "Transfer-Encoding:\r\n chunked\r\n", Err(FieldName)),
            ("§5.2 blank folded line", "X: a\r\n \r\n", Err(FieldName)),
            ("RFC 9110 §5.1 parenthesis", "X(: y\r\n", Err(FieldName)),
            ("RFC 9110 §5.1 slash", "X/Y: y\r\n", Err(FieldName)),
            ("RFC 9110 §5.1 quote", "\"X\": y\r\n", Err(FieldName)),
            ("RFC 9110 §5.1 NUL", "X\0: y\r\n", Err(FieldName)),
            ("RFC 9110 §5.1 control byte", "X\u{b}: y\r\n", Err(FieldName)),
            ("RFC 9110 §5.1 DEL", "X\u{7f}: y\r\n", Err(FieldName)),
            ("RFC 9110 §5.1 non-ASCII", "É: y\r\n", Err(FieldName)),
            ("§4.7 10 underscore passes the parser", "X_Y: y\r\n", NONE),
        ],
    );
    check("§2.2 space before the first field", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", Err(FieldName));
    check("§2.2 tab before the first field", b"GET / HTTP/1.1\r\n\tHost: a\r\n\r\n", Err(FieldName));
}

#[test]
fn field_values() {
    fields(
        "GET",
        &[
            ("RFC 9110 §5.5 no white space", "X:y\r\n", NONE),
            ("RFC 9110 §5.5 white space around", "X: \t y \t \r\n", NONE),
            ("RFC 9110 §5.5 empty", "X:\r\n", NONE),
            ("RFC 9110 §5.5 blanks only", "X: \t \r\n", NONE),
            ("RFC 9110 §5.5 tab inside", "X: a\tb\r\n", NONE),
            ("§4.7 7 obs-text", "X: é\r\n", NONE),
            ("RFC 9110 §5.5 colon", "X: a:b\r\n", NONE),
            ("RFC 9110 §5.5 NUL", "X: a\0b\r\n", Err(FieldValue)),
            ("RFC 9110 §5.5 control byte", "X: a\u{1}b\r\n", Err(FieldValue)),
            ("RFC 9110 §5.5 vertical tab", "X: \u{b}a\r\n", Err(FieldValue)),
            ("RFC 9110 §5.5 form feed", "X: a\u{c}\r\n", Err(FieldValue)),
            ("RFC 9110 §5.5 ESC", "X: \u{1b}[0m\r\n", Err(FieldValue)),
            ("RFC 9110 §5.5 DEL", "X: \u{7f}\r\n", Err(FieldValue)),
        ],
    );
    let head = good_request(b"GET / HTTP/1.1\r\nHost: \t a \t\r\nX:\r\nY:  \t\r\n\r\n");
    assert_eq!(
        (head.hostname(), head.find_name(b"x"), head.find_name(b"y")),
        (&b"a"[..], Some(&b""[..]), Some(&b""[..]))
    );
    check("§4.7 7 raw obs-text", b"GET / HTTP/1.1\r\nHost: a\r\nX: \x80\xff\r\n\r\n", NONE);
}

#[test]
fn content_length() {
    fields(
        "POST",
        &[
            ("§6.3 rule 6", "Content-Length: 5\r\n", Ok(Framing::Length(5))),
            ("§6.3 zero is announced", "Content-Length: 0\r\n", Ok(Framing::Length(0))),
            ("§6.3 rule 7 none", "", NONE),
            ("RFC 9110 §8.6 leading zeros", "Content-Length: 0005\r\n", Ok(Framing::Length(5))),
            ("RFC 9110 §8.6 case", "cOnTeNt-lEnGtH: 5\r\n", Ok(Framing::Length(5))),
            (
                "§4.7 3 identical twice",
                "Content-Length: 5\r\nContent-Length: 5\r\n",
                Err(ContentLengthRepeated),
            ),
            (
                "§6.3 rule 5 different",
                "Content-Length: 5\r\nContent-Length: 6\r\n",
                Err(ContentLengthRepeated),
            ),
            ("§4.7 3 list", "Content-Length: 5, 5\r\n", Err(ContentLengthRepeated)),
            ("§4.7 3 list without blank", "Content-Length: 5,6\r\n", Err(ContentLengthRepeated)),
            ("CVE-2023-40225 empty", "Content-Length:\r\n", Err(ContentLengthInvalid)),
            (
                "CVE-2023-40225 empty, then one",
                "Content-Length: \r\nContent-Length: 5\r\n",
                Err(ContentLengthRepeated),
            ),
            ("§4.7 3 plus", "Content-Length: +5\r\n", Err(ContentLengthInvalid)),
            ("§4.7 3 minus", "Content-Length: -5\r\n", Err(ContentLengthInvalid)),
            ("§4.7 3 minus zero", "Content-Length: -0\r\n", Err(ContentLengthInvalid)),
            ("§4.7 3 space inside", "Content-Length: 5 5\r\n", Err(ContentLengthInvalid)),
            ("§4.7 3 hexadecimal", "Content-Length: 0x5\r\n", Err(ContentLengthInvalid)),
            ("§4.7 3 hexadecimal digit", "Content-Length: a\r\n", Err(ContentLengthInvalid)),
            ("§4.7 3 underscore", "Content-Length: 1_0\r\n", Err(ContentLengthInvalid)),
            ("§4.7 3 fraction", "Content-Length: 5.0\r\n", Err(ContentLengthInvalid)),
            ("§4.7 3 quotes", "Content-Length: \"5\"\r\n", Err(ContentLengthInvalid)),
            ("§4.7 3 semicolon", "Content-Length: 5;\r\n", Err(ContentLengthInvalid)),
            ("§4.7 3 Arabic digit", "Content-Length: ٥\r\n", Err(ContentLengthInvalid)),
            (
                "§4.7 3 2^63 - 1",
                "Content-Length: 9223372036854775807\r\n",
                Ok(Framing::Length(i64::MAX as u64)),
            ),
            ("§4.7 3 2^63", "Content-Length: 9223372036854775808\r\n", Err(ContentLengthInvalid)),
            ("§4.7 3 2^64", "Content-Length: 18446744073709551616\r\n", Err(ContentLengthInvalid)),
            (
                "§4.7 3 many digits",
                "Content-Length: 00000000000000000000000000005\r\n",
                Err(ContentLengthInvalid),
            ),
        ],
    );
    fields(
        "GET",
        &[
            ("§4.7 12 GET with a body", "Content-Length: 5\r\n", Ok(Framing::Length(5))),
            (
                "§4.7 12 repeated on GET",
                "Content-Length: 0\r\nContent-Length: 0\r\n",
                Err(ContentLengthRepeated),
            ),
        ],
    );
    fields("HEAD", &[("§4.7 12 HEAD with a body", "Content-Length: 5\r\n", Ok(Framing::Length(5)))]);
}

#[test]
fn transfer_encoding() {
    fields(
        "POST",
        &[
            ("§6.3 rule 4", "Transfer-Encoding: chunked\r\n", CHUNKED),
            ("§7 case", "transfer-encoding: Chunked\r\n", CHUNKED),
            ("RFC 9110 §5.5 blanks", "Transfer-Encoding: \t chunked \t\r\n", CHUNKED),
            (
                "§4.7 2 repeated",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Err(TransferCodingInvalid),
            ),
            (
                "§4.7 2 repeated, one empty",
                "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n",
                Err(TransferCodingInvalid),
            ),
            ("§4.7 2 list", "Transfer-Encoding: chunked, chunked\r\n", Err(TransferCodingInvalid)),
            ("§4.7 2 identity", "Transfer-Encoding: identity\r\n", Err(TransferCodingInvalid)),
            ("§4.7 2 identity first", "Transfer-Encoding: identity, chunked\r\n", Err(TransferCodingInvalid)),
            (
                "CVE-2026-2835 identity last",
                "Transfer-Encoding: chunked, identity\r\n",
                Err(TransferCodingInvalid),
            ),
            (
                "CVE-2026-2835 two fields",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
                Err(TransferCodingInvalid),
            ),
            ("§6.1 unknown coding", "Transfer-Encoding: gzip\r\n", Err(TransferCodingUnknown)),
            (
                "§6.1 unknown coding below chunked",
                "Transfer-Encoding: gzip, chunked\r\n",
                Err(TransferCodingUnknown),
            ),
            ("§6.3 chunked not last", "Transfer-Encoding: chunked, gzip\r\n", Err(TransferCodingInvalid)),
            ("§4.7 2 almost chunked", "Transfer-Encoding: xchunked\r\n", Err(TransferCodingUnknown)),
            ("§4.7 2 almost chunked", "Transfer-Encoding: chunke\r\n", Err(TransferCodingUnknown)),
            ("§4.7 2 parameter", "Transfer-Encoding: chunked;a=b\r\n", Err(TransferCodingInvalid)),
            ("§4.7 2 weight", "Transfer-Encoding: chunked;q=0\r\n", Err(TransferCodingInvalid)),
            ("§4.7 2 empty", "Transfer-Encoding:\r\n", Err(TransferCodingInvalid)),
            ("§4.7 2 empty items", "Transfer-Encoding: ,chunked\r\n", Err(TransferCodingInvalid)),
            ("§4.7 2 empty items", "Transfer-Encoding: chunked,\r\n", Err(TransferCodingInvalid)),
            ("§4.7 2 quotes", "Transfer-Encoding: \"chunked\"\r\n", Err(TransferCodingInvalid)),
            ("§4.7 2 two words", "Transfer-Encoding: chunked chunked\r\n", Err(TransferCodingInvalid)),
            ("§4.7 2 vertical tab", "Transfer-Encoding: \u{b}chunked\r\n", Err(FieldValue)),
            ("§4.7 2 form feed behind", "Transfer-Encoding: chunked\u{c}\r\n", Err(FieldValue)),
            ("§4.7 2 non-ASCII blank", "Transfer-Encoding: \u{a0}chunked\r\n", Err(TransferCodingInvalid)),
            ("§4.7 6 space before the colon", "Transfer-Encoding : chunked\r\n", Err(FieldName)),
            ("§4.7 10 an alias is not framing", "Transfer_Encoding: chunked\r\n", NONE),
            ("§4.7 2 the trailing dot is another name", "Transfer-Encoding.: chunked\r\n", NONE),
        ],
    );
    fields("GET", &[("§6.3 rule 4 on GET", "Transfer-Encoding: chunked\r\n", CHUNKED)]);
    let old = |field: &str| format!("POST / HTTP/1.0\r\n{field}\r\n\r\n");
    for field in ["Transfer-Encoding: chunked", "Transfer-Encoding: identity", "Transfer-Encoding:"] {
        check("CVE-2026-2835 in HTTP/1.0", old(field).as_bytes(), Err(TransferCodingVersion));
    }
    check("§6.3 rule 7, HTTP/1.0 has no close-delimited requests", b"POST / HTTP/1.0\r\n\r\n", NONE);
}

#[test]
fn length_beside_coding() {
    fields(
        "POST",
        &[
            (
                "§6.3 rule 3 CL.TE",
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                Err(LengthAndCoding),
            ),
            (
                "§6.3 rule 3 TE.CL",
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                Err(LengthAndCoding),
            ),
            (
                "§6.3 rule 3 zero length",
                "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
                Err(LengthAndCoding),
            ),
            (
                "§6.3 rule 3 broken coding",
                "Content-Length: 5\r\nTransfer-Encoding: x\r\n",
                Err(LengthAndCoding),
            ),
            ("§6.3 rule 3 empty coding", "Content-Length: 5\r\nTransfer-Encoding:\r\n", Err(LengthAndCoding)),
            (
                "§6.3 rule 3 broken length",
                "Content-Length: x\r\nTransfer-Encoding: chunked\r\n",
                Err(LengthAndCoding),
            ),
            (
                "§6.3 rule 3 identity",
                "Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
                Err(LengthAndCoding),
            ),
        ],
    );
    check(
        "§6.3 rule 3 in HTTP/1.0",
        b"POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        Err(LengthAndCoding),
    );
}

#[test]
fn host_is_there_once() {
    table(&[
        ("§3.2 missing", "GET / HTTP/1.1\r\n\r\n", Err(HostMissing)),
        ("§3.2 missing with others", "GET / HTTP/1.1\r\nX: y\r\n\r\n", Err(HostMissing)),
        ("§3.2 missing in absolute form", "GET http://a/ HTTP/1.1\r\n\r\n", Err(HostMissing)),
        ("§3.2 twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Err(HostRepeated)),
        ("§3.2 the same twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Err(HostRepeated)),
        ("§3.2 twice in other case", "GET / HTTP/1.1\r\nHost: a\r\nhOST: a\r\n\r\n", Err(HostRepeated)),
        ("§3.2 twice in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", Err(HostRepeated)),
        ("§3.2 an alias is none", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", Err(FieldName)),
        ("RFC 1945 HTTP/1.0 needs none", "GET / HTTP/1.0\r\n\r\n", NONE),
        ("RFC 1945 HTTP/1.0 may have one", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", NONE),
        ("§3.2 bad in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", Err(HostInvalid)),
    ]);
}

#[test]
fn host_grammar() {
    hosts(&[
        ("RFC 3986 §3.2.2 name", "www.example.com", NONE),
        ("RFC 3986 §3.2.2 upper case", "WWW.Example.COM", NONE),
        ("RFC 3986 §3.2.2 final dot", "example.com.", NONE),
        ("RFC 3986 §3.2.2 underscore", "my_service", NONE),
        ("RFC 3986 §3.2.2 IPv4", "127.0.0.1", NONE),
        ("RFC 3986 §3.2.2 IPv6", "[2001:db8::1]", NONE),
        ("RFC 3986 §3.2.3 port", "a:8080", NONE),
        ("RFC 3986 §3.2.3 empty port", "a:", NONE),
        ("RFC 3986 §3.2.3 IPv6 and port", "[::1]:65535", NONE),
        ("RFC 9110 §7.2 empty", "", Err(HostInvalid)),
        ("RFC 3986 §3.2.3 port only", ":80", Err(HostInvalid)),
        ("RFC 3986 §3.2.3 port 0", "a:0", Err(HostInvalid)),
        ("RFC 3986 §3.2.3 port too big", "a:65536", Err(HostInvalid)),
        ("RFC 3986 §3.2.3 port overflow", "a:4294967376", Err(HostInvalid)),
        ("RFC 3986 §3.2.3 signed port", "a:+80", Err(HostInvalid)),
        ("RFC 3986 §3.2.3 name as port", "a:http", Err(HostInvalid)),
        ("RFC 3986 §3.2.3 two ports", "a:80:80", Err(HostInvalid)),
        ("RFC 3986 §3.2.3 blank before the port", "a :80", Err(HostInvalid)),
        ("RFC 3986 §3.2.1 user", "user@a", Err(HostInvalid)),
        ("RFC 3986 §3.2.1 user and password", "u:p@a", Err(HostInvalid)),
        ("RFC 9110 §7.2 a path", "a/b", Err(HostInvalid)),
        ("RFC 9110 §7.2 a query", "a?b", Err(HostInvalid)),
        ("RFC 9110 §7.2 a fragment", "a#b", Err(HostInvalid)),
        ("RFC 9110 §7.2 a URI", "http://a", Err(HostInvalid)),
        ("RFC 9110 §7.2 a list", "a, b", Err(HostInvalid)),
        ("RFC 9110 §7.2 a list without blank", "a,b", Err(HostInvalid)),
        ("RFC 9110 §7.2 two words", "a b", Err(HostInvalid)),
        ("RFC 9110 §7.2 tab", "a\tb", Err(HostInvalid)),
        ("§4.7 7 non-ASCII", "é.example", Err(HostInvalid)),
        ("§4.7 9 escape", "a%2eb", Err(HostInvalid)),
        ("§4.7 9 escaped NUL", "a%00", Err(HostInvalid)),
        ("§4.7 9 backslash", "a\\b", Err(HostInvalid)),
        ("§4.7 9 quotes", "\"a\"", Err(HostInvalid)),
        ("§4.7 9 angle", "<a>", Err(HostInvalid)),
        ("§4.7 9 semicolon", "a;b", Err(HostInvalid)),
        ("§4.7 9 asterisk", "*.example", Err(HostInvalid)),
        ("RFC 3986 §3.2.2 open bracket", "[::1", Err(HostInvalid)),
        ("RFC 3986 §3.2.2 no address in brackets", "[a]", Err(HostInvalid)),
        ("RFC 3986 §3.2.2 empty brackets", "[]", Err(HostInvalid)),
        ("RFC 3986 §3.2.2 IPvFuture", "[v1.a]", Err(HostInvalid)),
        ("RFC 6874 zone", "[fe80::1%25eth0]", Err(HostInvalid)),
        ("RFC 3986 §3.2.2 text behind brackets", "[::1]a", Err(HostInvalid)),
        ("RFC 3986 §3.2.2 IPv6 without brackets", "::1", Err(HostInvalid)),
        ("RFC 9110 §5.5 NUL", "a\0b", Err(FieldValue)),
    ]);
    check(
        "RFC 1035 too long",
        format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(256)).as_bytes(),
        Err(HostInvalid),
    );
}

#[test]
fn origin_form() {
    targets(
        "GET",
        "a",
        &[
            ("RFC 3986 §3.3 all path bytes", "/aZ09-._~!$&'()*+,;=:@%41/", NONE),
            ("RFC 3986 §3.4 query", "/?a=b&c[]=d?e/f", NONE),
            ("RFC 3986 §3.3 double slash", "//a//b", NONE),
            ("RFC 3986 §3.4 loose percent in a query", "/?q=100%", NONE),
            ("§4.7 15 dot segments pass the parser", "/../a", NONE),
            ("RFC 3986 §2.1 half an escape", "/%4", Err(Target)),
            ("RFC 3986 §2.1 no escape", "/%zz", Err(Target)),
            ("RFC 3986 §2.1 percent at the end", "/%?a", Err(Target)),
            ("CVE-2023-45539 fragment", "/a#b", Err(Target)),
            ("CVE-2023-45539 fragment only", "/#", Err(Target)),
            ("CVE-2021-32779 fragment with dots", "/a#/../b", Err(Target)),
            ("§4.7 7 backslash", "/a\\b", Err(Target)),
            ("§4.7 7 quote", "/\"", Err(Target)),
            ("§4.7 7 less", "/<", Err(Target)),
            ("§4.7 7 greater", "/>", Err(Target)),
            ("§4.7 7 caret", "/^", Err(Target)),
            ("§4.7 7 grave", "/`", Err(Target)),
            ("§4.7 7 brace", "/{", Err(Target)),
            ("§4.7 7 bar", "/|", Err(Target)),
            ("§4.7 7 brace", "/}", Err(Target)),
            ("§4.7 7 in the query", "/?a=\"", Err(Target)),
            ("§4.7 7 non-ASCII", "/é", Err(Target)),
            ("§4.7 7 control byte", "/\u{1}", Err(Target)),
            ("§4.7 7 NUL", "/\0", Err(Target)),
            ("§4.7 7 DEL", "/\u{7f}", Err(Target)),
            ("§3.2.1 no slash", "a", Err(Target)),
            ("§3.2.1 query only", "?a", Err(Target)),
            ("§3.2.1 dot", "./a", Err(Target)),
        ],
    );
    check("§4.7 7 raw byte", b"GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", Err(Target));
}

#[test]
fn absolute_form() {
    targets(
        "GET",
        "a",
        &[
            ("§3.2.2", "http://a/b", NONE),
            ("§3.2.2 https", "https://a/b", NONE),
            ("RFC 3986 §3.1 scheme case", "HTTP://a/b", NONE),
            ("RFC 3986 §3.2.2 host case", "http://A/b", NONE),
            ("§3.2.2 no path", "http://a", NONE),
            ("§3.2.2 query without path", "http://a?b", NONE),
            ("§4.7 9 another host", "http://b/", Err(HostMismatch)),
            ("§4.7 9 another port", "http://a:80/", Err(HostMismatch)),
            ("§4.7 9 a longer host", "http://a.b/", Err(HostMismatch)),
            ("RFC 9110 §4.2.4 user", "http://u@a/", Err(HostInvalid)),
            ("RFC 9110 §4.2.1 no host", "http:///b", Err(HostInvalid)),
            ("RFC 9110 §4.2.1 no host, port", "http://:80/b", Err(HostInvalid)),
            ("§3.2.2 one slash", "http:/a/b", Err(Target)),
            ("§3.2.2 another scheme", "ftp://a/b", Err(Target)),
            ("§3.2.2 no scheme", "a/b", Err(Target)),
            ("§4.7 7 fragment", "http://a/#b", Err(Target)),
            ("§4.7 7 fragment behind the host", "http://a#b", Err(HostInvalid)),
            ("§4.7 7 backslash behind the host", "http://a\\b", Err(HostInvalid)),
        ],
    );
    let old = good_request(b"GET http://a:81/b?c HTTP/1.0\r\n\r\n");
    assert_eq!((old.authority(), old.facts.port, old.path()), (&b"a:81"[..], Some(81), &b"/b"[..]));
}

#[test]
fn other_forms() {
    table(&[
        ("§3.2.4", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", NONE),
        ("§3.2.4 another method", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", Err(Target)),
        ("§3.2.4 more than the asterisk", "OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n", Err(Target)),
        ("§3.2.3", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", NONE),
        ("§3.2.3 no port", "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", Err(Target)),
        ("§3.2.3 a path", "CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n", Err(HostInvalid)),
        ("§3.2.3 another host", "CONNECT a:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", Err(HostMismatch)),
        ("§3.2.3 another method", "GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n", Err(Target)),
    ]);
    assert_eq!(good_request(b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n").path(), b"*");
    assert_eq!(good_request(b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n").path(), b"/");
    assert_eq!(good_request(b"OPTIONS http://a?b HTTP/1.1\r\nHost: a\r\n\r\n").path(), b"/");
}

#[test]
fn expectations() {
    let expects = |fields: &str| {
        let bytes = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let head = request(bytes.as_bytes(), 1, &HeadLimits::default()).expect("a verdict");
        head.map(|head| head.facts.expect_continue)
    };
    let rows = [
        ("RFC 9110 §10.1.1", "Content-Length: 5\r\nExpect: 100-continue\r\n", Ok(true)),
        ("RFC 9110 §10.1.1 case", "Content-Length: 5\r\nExpect: 100-Continue\r\n", Ok(true)),
        ("RFC 9110 §10.1.1 chunked", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n", Ok(true)),
        ("0.CL desync: no body", "Expect: 100-continue\r\n", Ok(false)),
        ("0.CL desync: empty body", "Content-Length: 0\r\nExpect: 100-continue\r\n", Ok(false)),
        ("RFC 9110 §10.1.1 unknown", "Content-Length: 5\r\nExpect: x\r\n", Err(Expectation)),
        ("RFC 9110 §10.1.1 empty", "Content-Length: 5\r\nExpect:\r\n", Err(Expectation)),
        ("0.CL desync: obfuscated", "Content-Length: 5\r\nExpect: y 100-continue\r\n", Err(Expectation)),
        ("CL.0 desync: list", "Content-Length: 5\r\nExpect: 100-continue, x\r\n", Err(Expectation)),
        (
            "CL.0 desync: twice",
            "Content-Length: 5\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n",
            Err(Expectation),
        ),
    ];
    for (clause, fields, expected) in rows {
        assert_eq!(expects(fields), expected, "{clause}");
    }
    assert_eq!(Expectation.status(), 417);
    let old = good_request(b"POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: x\r\n\r\n");
    assert!(!old.facts.expect_continue, "RFC 9110 §10.1.1: HTTP/1.0 expectations are ignored");
}

#[test]
fn persistence() {
    for (clause, version, fields, expected) in [
        ("§9.3", "1.1", "", true),
        ("§9.3 close", "1.1", "Connection: close\r\n", false),
        ("§9.3 case", "1.1", "Connection: Close\r\n", false),
        ("§9.3 in a list", "1.1", "Connection: x, close\r\n", false),
        ("§9.3 in a second field", "1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("§9.3 close wins", "1.1", "Connection: keep-alive, close\r\n", false),
        ("§9.3 part of a word", "1.1", "Connection: closed\r\n", true),
        ("§9.3 HTTP/1.0", "1.0", "", false),
        ("§9.3 HTTP/1.0 keep-alive", "1.0", "Connection: Keep-Alive\r\n", true),
        ("§9.3 HTTP/1.0 both", "1.0", "Connection: keep-alive, close\r\n", false),
        ("§C.2.2 Proxy-Connection says nothing", "1.0", "Proxy-Connection: keep-alive\r\n", false),
    ] {
        let head = good_request(format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n").as_bytes());
        assert_eq!(head.facts.keep_alive, expected, "{clause}");
    }
}

#[test]
fn connection_options() {
    let many = |count: usize| format!("Connection: {}\r\n", vec!["x"; count].join(","));
    fields(
        "GET",
        &[
            ("16 options", &many(16), NONE),
            ("17 options", &many(17), Err(ConnectionOptions)),
            ("no token", "Connection: a b, \"c\"\r\n", NONE),
            ("empty items", "Connection: ,,\r\n", NONE),
        ],
    );
    let head = good_request(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Mine, Host, content-length, X-Forwarded-For, te\r\n\
          Connection: authorization, cookie, x-forwarded-what, Private\r\n\r\n",
    );
    let nominated: Vec<_> = head.facts.nominated.iter().map(|span| head.bytes(*span)).collect();
    assert_eq!(nominated, [&b"X-Mine"[..], b"Private"], "CVE-2024-45410");
    assert!(head.is_nominated(b"x-mine") && !head.is_nominated(b"host"));
}

#[test]
fn upgrades() {
    let upgrade = |line: &str, fields: &str| {
        let head = good_request(format!("{line}\r\nHost: a\r\n{fields}\r\n").as_bytes());
        head.upgrade().map(|protocol| String::from_utf8_lossy(protocol).into_owned())
    };
    let asked = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    assert_eq!(upgrade("GET / HTTP/1.1", asked).as_deref(), Some("websocket"));
    let empty = format!("Content-Length: 0\r\n{asked}");
    assert_eq!(upgrade("GET / HTTP/1.1", &empty).as_deref(), Some("websocket"));
    for (clause, line, fields) in [
        ("RFC 9110 §7.8 not named in Connection", "GET / HTTP/1.1", "Upgrade: websocket\r\n"),
        ("RFC 9110 §7.8 HTTP/1.0", "GET / HTTP/1.0", asked),
        ("§4.3 another method", "POST / HTTP/1.1", asked),
        (
            "§4.3 with a body",
            "GET / HTTP/1.1",
            "Content-Length: 5\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        ),
        (
            "§4.3 with chunks",
            "GET / HTTP/1.1",
            "Transfer-Encoding: chunked\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        ),
        (
            "h2c smuggling",
            "GET / HTTP/1.1",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n",
        ),
        ("a choice of protocols", "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n"),
        ("two fields", "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"),
        (
            "two fields, the other way round",
            "GET / HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
        ),
        ("no protocol", "GET / HTTP/1.1", "Connection: Upgrade\r\nUpgrade:\r\n"),
    ] {
        assert_eq!(upgrade(line, fields), None, "{clause}");
    }
}

#[test]
fn te_trailers() {
    for (value, expected) in [
        ("trailers", true),
        ("Trailers", true),
        ("gzip, trailers", true),
        ("gzip;q=1", false),
        ("trailers;q=0", false),
        ("xtrailers", false),
        ("", false),
    ] {
        let head = good_request(format!("GET / HTTP/1.1\r\nHost: a\r\nTE: {value}\r\n\r\n").as_bytes());
        assert_eq!(head.facts.te_trailers, expected, "RFC 9110 §10.1.4: {value}");
    }
}

#[test]
fn te_may_be_split() {
    for fields in ["TE: trailers\r\nTE: gzip\r\n", "TE: gzip\r\nTE: trailers\r\n"] {
        let head = good_request(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
        assert!(head.facts.te_trailers, "RFC 9110 §5.3: {fields}");
    }
}

#[test]
fn every_error_has_its_status() {
    for (error, status) in [
        (RequestLine, 400),
        (HostMissing, 400),
        (LengthAndCoding, 400),
        (TransferCodingInvalid, 400),
        (RequestLineTooLong, 414),
        (Expectation, 417),
        (HeadTooLarge, 431),
        (FieldTooLarge, 431),
        (TooManyFields, 431),
        (TransferCodingUnknown, 501),
        (Version, 505),
    ] {
        assert_eq!(error.status(), status, "{error}");
    }
}

#[test]
fn sizes() {
    let limits = HeadLimits::default();
    let padded = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(len - 14));
    check("§4.7 16 request line at the limit", padded(8192).as_bytes(), NONE);
    check("§4.7 16 request line above it", padded(8193).as_bytes(), Err(RequestLineTooLong));
    let field = |len: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(len - 3));
    check("§4.7 16 field at the limit", field(16_384).as_bytes(), NONE);
    check("§4.7 16 field above it", field(16_385).as_bytes(), Err(FieldTooLarge));
    let count = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    check("§4.7 16 fields at the limit", count(100).as_bytes(), NONE);
    check("§4.7 16 fields above it", count(101).as_bytes(), Err(TooManyFields));
    let whole = |len: usize| {
        let before = "GET / HTTP/1.1\r\nHost: a\r\n";
        let lines = format!("X: {}\r\n", "a".repeat(16_000)).repeat(4);
        let rest = len - before.len() - lines.len() - "Y: \r\n\r\n".len();
        format!("{before}{lines}Y: {}\r\n\r\n", "a".repeat(rest))
    };
    check("§4.7 16 head at the limit", whole(65_535).as_bytes(), NONE);
    check("§4.7 16 head above it", whole(65_536).as_bytes(), Err(HeadTooLarge));
    assert_eq!(
        [RequestLineTooLong, FieldTooLarge, TooManyFields, HeadTooLarge].map(HeadError::status),
        [414, 431, 431, 431]
    );
    let many = HeadLimits { fields_max: 1000, ..limits };
    let head = request(count(1000).as_bytes(), 4096, &many).expect("a verdict").expect("within the limits");
    assert_eq!(head.fields().len(), 1000, "more fields than fit on the stack");
}

#[test]
fn hopeless_heads_are_refused_before_they_end() {
    let limits = HeadLimits::default();
    let endless = |start: &str, more: usize| format!("{start}{}", "a".repeat(more));
    for (clause, bytes, expected) in [
        ("request line", endless("GET /", 9000), RequestLineTooLong),
        ("field", endless("GET / HTTP/1.1\r\nX: ", 17_000), FieldTooLarge),
        (
            "head",
            format!("GET / HTTP/1.1\r\n{}", format!("X: {}\r\n", "a".repeat(1000)).repeat(66)),
            HeadTooLarge,
        ),
        ("fields", format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(102)), TooManyFields),
        ("LF", "GET / HTTP/1.1\n".to_string(), BareLineFeed),
        ("CR", "GET / HTTP/1.1\rX".to_string(), BareCarriageReturn),
        ("NUL: a TLS hello on a plain port", "\u{16}\u{3}\u{1}\0".to_string(), Nul),
        ("empty lines", "\r\n\r\n".to_string(), EmptyLine),
    ] {
        for step in [1, 5, bytes.len()] {
            let found = request(bytes.as_bytes(), step, &limits).map(|found| found.map(drop));
            assert_eq!(found, Some(Err(expected)), "{clause} by {step}");
        }
    }
    assert!(
        request(b"GET / HTTP/1.1\r\nHost: a\r\n\r", 1, &limits).is_none(),
        "a head may still come of this"
    );
}

#[test]
fn the_scanner_stands_at_the_limits() {
    let limits = HeadLimits { head_bytes_max: 128, fields_max: 4, ..HeadLimits::default() };
    let scan = |bytes: &[u8]| HeadScanner::default().scan(bytes, &limits);
    for lead in ["", "\r\n"] {
        let fields = |count: usize| format!("{lead}GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(count));
        assert_eq!(scan(format!("{}\r\n", fields(4)).as_bytes()), Ok(Some(lead.len() + 42)));
        assert_eq!(scan(format!("{}\r", fields(4)).as_bytes()), Ok(None), "the blank line may come");
        assert_eq!(scan(format!("{}X", fields(4)).as_bytes()), Err(TooManyFields));
        assert_eq!(scan(fields(5).as_bytes()), Err(TooManyFields));
        let open = |len: usize| format!("{lead}GET / HTTP/1.1\r\nX: {}", "a".repeat(len - 19));
        assert_eq!(scan(format!("{}\r\n\r\n", open(124)).as_bytes()), Ok(Some(lead.len() + 128)));
        assert_eq!(scan(format!("{}\r\n\r\n", open(125)).as_bytes()), Err(HeadTooLarge));
        assert_eq!(scan(open(127).as_bytes()), Ok(None));
        assert_eq!(scan(open(128).as_bytes()), Err(HeadTooLarge), "no room for the blank line");
    }
}

#[test]
fn what_follows_the_head_is_not_looked_at() {
    let bytes = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\0\n\r\nGET /evil\n";
    assert_eq!(good_request(bytes).facts.framing, Framing::Length(4));
    let long = [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], &[b'x'; 100_000]].concat();
    good_request(&long);
}

#[test]
fn a_head_keeps_order_case_and_repeats() {
    let head =
        good_request(b"GET /a?b HTTP/1.1\r\nhOST: a\r\nX-B: 1\r\nx-a: 2\r\nX-B: 3\r\nCookie: c\r\n\r\n");
    let names: Vec<_> = head.fields().iter().map(|field| head.bytes(field.name)).collect();
    assert_eq!(names, [&b"hOST"[..], b"X-B", b"x-a", b"X-B", b"Cookie"]);
    assert_eq!((head.method(), head.target(), head.query()), (&b"GET"[..], &b"/a?b"[..], Some(&b"b"[..])));
    assert_eq!((head.find(Known::Cookie), head.find(Known::Date)), (Some(&b"c"[..]), None));
    assert_eq!(head.find_name(b"x-b"), Some(&b"1"[..]));
}

#[test]
fn a_head_is_reused_without_a_trace() {
    use ringress_engine::codec::h1::parse_request;
    let limits = HeadLimits::default();
    let mut head = good_request(
        b"POST /a?b HTTP/1.0\r\nHost: a:1\r\nContent-Length: 1\r\nTE: trailers\r\nConnection: x\r\n\r\n",
    );
    let bytes = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n";
    parse_request(bytes, &limits, &mut head).expect("a good head");
    assert_eq!(codec_support::summary(&head), codec_support::summary(&good_request(bytes)));
}

#[test]
fn parse_alone_is_as_strict() {
    use ringress_engine::codec::h1::parse_request;
    use ringress_engine::http::Head;
    let limits = HeadLimits {
        request_line_bytes_max: 64,
        field_bytes_max: 64,
        head_bytes_max: 256,
        fields_max: 4,
        ..HeadLimits::default()
    };
    let long = "a".repeat(100);
    for (bytes, expected) in [
        (String::new(), Incomplete),
        ("\r\n".to_string(), Incomplete),
        ("GET / HTTP/1.1\r\nHost: a\r\n".to_string(), Incomplete),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\nmore".to_string(), Incomplete),
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_string(), EmptyLine),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n".to_string(), BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a \n\r\n".to_string(), BareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n".to_string(), BareLineFeed),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), RequestLineTooLong),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), FieldTooLarge),
        (format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(4)), TooManyFields),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(256)), HeadTooLarge),
    ] {
        assert_eq!(parse_request(bytes.as_bytes(), &limits, &mut Head::new()), Err(expected), "{bytes:?}");
    }
}
