//! Bodies, one row per clause: where data is, where it ends, what is refused.
//!
//! "§4.7 8" is the design's rule for chunks; sections without a number of a standard are RFC 9112's.

use ringress_engine::codec::body::{BodyDecoder, BodyError, BodyEvent};
use ringress_engine::http::{Framing, HeadError};
use ringress_shared::listener::HeadLimits;

/// A body as it ends: data, what is left over, and the trailers or the error.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    data: Vec<u8>,
    rest: Vec<u8>,
    end: Result<Option<Vec<(String, String)>>, BodyError>,
}

/// Feeds `bytes` in pieces of `step`. `end: Ok(None)` means that more is needed.
fn read(framing: Framing, bytes: &[u8], step: usize) -> Read {
    let mut decoder = BodyDecoder::new(framing);
    let (mut data, mut start, mut end) = (Vec::new(), 0, 0);
    loop {
        let decoded = match decoder.decode(&bytes[start..end]) {
            Ok(decoded) => decoded,
            Err(error) => return Read { data, rest: Vec::new(), end: Err(error) },
        };
        if let BodyEvent::Data(range) = &decoded.event {
            assert!(!range.is_empty() && range.end == decoded.consumed);
            data.extend_from_slice(&bytes[start..end][range.clone()]);
        }
        start += decoded.consumed;
        match decoded.event {
            BodyEvent::Data(_) => {}
            BodyEvent::End => {
                assert_eq!((decoder.is_done(), decoder.remaining()), (true, Some(0)));
                return Read { data, rest: bytes[start..].to_vec(), end: Ok(Some(trailers(&decoder))) };
            }
            BodyEvent::NeedMore => {
                assert_eq!(start, end, "what was not consumed must be asked for by an event");
                if end == bytes.len() {
                    return Read { data, rest: Vec::new(), end: Ok(None) };
                }
                end = (end + step).min(bytes.len());
            }
        }
    }
}

fn trailers(decoder: &BodyDecoder) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    decoder
        .trailers()
        .into_iter()
        .flat_map(|found| found.iter().map(|(name, value)| (text(name), text(value))))
        .collect()
}

#[track_caller]
fn check(clause: &str, framing: Framing, bytes: &[u8], expected: &Read) {
    for step in [bytes.len().max(1), 1, 2, 3, 5] {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
        assert_eq!(&read(framing, bytes, step), expected, "{clause} by {step}: {shown:?}");
    }
}

#[track_caller]
fn good(clause: &str, text: &str, data: &str, rest: &str) {
    let expected = Read { data: data.into(), rest: rest.into(), end: Ok(Some(Vec::new())) };
    check(clause, Framing::Chunked, text.as_bytes(), &expected);
}

#[track_caller]
fn bad(clause: &str, text: &str, data: &str, error: BodyError) {
    let expected = Read { data: data.into(), rest: Vec::new(), end: Err(error) };
    check(clause, Framing::Chunked, text.as_bytes(), &expected);
}

#[test]
fn bodies_of_known_length() {
    let ended =
        |data: &str, rest: &str| Read { data: data.into(), rest: rest.into(), end: Ok(Some(Vec::new())) };
    check("§6.3 rule 7", Framing::None, b"GET / HTTP/1.1\r\n", &ended("", "GET / HTTP/1.1\r\n"));
    check("§6.3 rule 6 zero", Framing::Length(0), b"x", &ended("", "x"));
    check("§6.3 rule 6", Framing::Length(5), b"hello", &ended("hello", ""));
    check("§6.3 rule 6 pipelined", Framing::Length(5), b"helloGET /", &ended("hello", "GET /"));
    let more = Read { data: "hell".into(), rest: Vec::new(), end: Ok(None) };
    check("§8 incomplete", Framing::Length(5), b"hell", &more);
    check("§6.3 rule 8", Framing::UntilClose, b"hell", &more);
}

#[test]
fn chunks() {
    good("§7.1", "5\r\nhello\r\n0\r\n\r\n", "hello", "");
    good("§7.1 two", "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!", "");
    good("§7.1 none", "0\r\n\r\n", "", "");
    good("§7.1 zeros", "000\r\n\r\n", "", "");
    good("§7.1 leading zeros", "0005\r\nhello\r\n0\r\n\r\n", "hello", "");
    good("§7.1 upper case", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789", "");
    good("§7.1 lower case", "a\r\n0123456789\r\n0\r\n\r\n", "0123456789", "");
    good("§7.1 16 digits", "0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", "hello", "");
    good("§7.1 pipelined", "5\r\nhello\r\n0\r\n\r\nGET /", "hello", "GET /");
    good("§7.1 data that looks like chunks", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n", "");
    good("§7.1 data of line ends", "2\r\n\r\n\r\n0\r\n\r\n", "\r\n", "");
}

#[test]
fn chunk_sizes() {
    for (clause, text) in [
        ("§4.7 8 plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("§4.7 8 minus", "-1\r\n"),
        ("§4.7 8 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("§4.7 8 0X", "0X5\r\nhello\r\n0\r\n\r\n"),
        ("§4.7 8 blank before", " 5\r\nhello\r\n0\r\n\r\n"),
        ("§4.7 8 blank behind", "5 \r\nhello\r\n0\r\n\r\n"),
        ("§4.7 8 tab behind", "5\t\r\nhello\r\n0\r\n\r\n"),
        ("§4.7 8 blank before an extension", "5 ;a\r\nhello\r\n0\r\n\r\n"),
        ("§4.7 8 blank inside", "1 0\r\n"),
        ("§4.7 8 underscore", "1_0\r\n"),
        ("§4.7 8 h suffix", "5h\r\n"),
        ("§4.7 8 no hexadecimal digit", "g\r\n"),
        ("§4.7 8 fraction", "5.0\r\n"),
        ("§4.7 8 comma", "5,5\r\n"),
        ("§4.7 8 quotes", "\"5\"\r\n"),
        ("§7.1 empty", "\r\nhello"),
        ("§7.1 extension only", ";a\r\nhello"),
        ("§7.1 NUL", "5\0\r\nhello"),
        ("§7.1 non-ASCII digit", "５\r\nhello"),
        ("§4.7 8 17 digits", "00000000000000005\r\n"),
        ("§4.7 8 2^63", "8000000000000000\r\n"),
        ("§4.7 8 2^64 - 1", "ffffffffffffffff\r\n"),
        ("§4.7 8 2^64 + 5 wraps to 5", "10000000000000005\r\n"),
        ("§2.2 LF", "5\nhello\r\n0\r\n\r\n"),
        ("§2.2 CR", "5\rhello\r\n0\r\n\r\n"),
        ("§2.2 CR CR LF", "5\r\r\nhello\r\n0\r\n\r\n"),
        ("§2.2 LF CR", "5\n\rhello\r\n0\r\n\r\n"),
    ] {
        bad(clause, text, "", BodyError::ChunkSize);
    }
    let huge = Read { data: "x".into(), rest: Vec::new(), end: Ok(None) };
    check("§4.7 8 2^63 - 1", Framing::Chunked, b"7fffffffffffffff\r\nx", &huge);
    bad("§7.1 the second one", "1\r\nx\r\n+1\r\ny\r\n", "x", BodyError::ChunkSize);
    bad("§7.1 a blank line between chunks", "1\r\nx\r\n\r\n0\r\n\r\n", "x", BodyError::ChunkSize);
}

#[test]
fn chunk_ends() {
    for (clause, text) in [
        ("§7.1 longer than said", "5\r\nhello!\r\n0\r\n\r\n"),
        ("§7.1 nothing behind the data", "5\r\nhello0\r\n\r\n"),
        ("§2.2 LF", "5\r\nhello\n0\r\n\r\n"),
        ("§2.2 CR", "5\r\nhello\r0\r\n\r\n"),
        ("two arbitrary bytes for CRLF", "5\r\nhelloXX0\r\n\r\n"),
        ("an arbitrary byte for CR", "5\r\nhelloX\n0\r\n\r\n"),
        ("an arbitrary byte for LF", "5\r\nhello\rX0\r\n\r\n"),
        ("§2.2 LF CR", "5\r\nhello\n\r0\r\n\r\n"),
    ] {
        bad(clause, text, "hello", BodyError::ChunkEnd);
    }
}

#[test]
fn chunk_extensions() {
    good("§7.1.1", "5;a=b\r\nhello\r\n0;c\r\n\r\n", "hello", "");
    good("§7.1.1 quoted", "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n", "hello", "");
    good("§7.1.1 blanks inside", "5; a = b\r\nhello\r\n0\r\n\r\n", "hello", "");
    good("§7.1.1 looks like chunks", "5;0\r\nhello\r\n0\r\n\r\n", "hello", "");
    for (clause, text) in [
        ("§4.7 8 LF in an extension", "5;a\nhello\r\n0\r\n\r\n"),
        ("§4.7 8 NUL in an extension", "5;a\0\r\nhello\r\n0\r\n\r\n"),
        ("§4.7 8 control byte", "5;\u{1}\r\nhello\r\n0\r\n\r\n"),
        ("§4.7 8 DEL", "5;\u{7f}\r\nhello\r\n0\r\n\r\n"),
    ] {
        bad(clause, text, "", BodyError::ChunkExtension);
    }
    bad("§4.7 8 CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n", "", BodyError::ChunkSize);
    let line = |len: usize| format!("5;{}\r\nhello\r\n", "a".repeat(len));
    good("§4.7 8 256 bytes", &format!("{}0\r\n\r\n", line(256)), "hello", "");
    bad("§4.7 8 257 bytes", &line(257), "", BodyError::ChunkExtension);
    let many = |count: usize| format!("{}0\r\n\r\n", line(256).repeat(count));
    good("§4.7 8 16 KiB in all", &many(64), &"hello".repeat(64), "");
    bad("§4.7 8 above 16 KiB in all", &many(65), &"hello".repeat(64), BodyError::ChunkExtension);
}

#[test]
fn trailers_that_travel() {
    let ended = |fields: &[(&str, &str)]| Read {
        data: "x".into(),
        rest: "rest".into(),
        end: Ok(Some(fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())),
    };
    for (clause, section, expected) in [
        ("§7.1.2", "Grpc-Status: 0\r\n", &[("Grpc-Status", "0")][..]),
        ("§7.1.2 two", "a: b\r\nc:d\r\n", &[("a", "b"), ("c", "d")]),
        ("§7.1.2 blanks", "a: \t b \t\r\n", &[("a", "b")]),
        ("§7.1.2 empty value", "a:\r\n", &[("a", "")]),
        (
            "RFC 9110 §6.5.1 framing",
            "Content-Length: 5\r\na: b\r\nTransfer-Encoding: chunked\r\n",
            &[("a", "b")],
        ),
        ("RFC 9110 §6.5.1 routing", "Host: evil\r\n", &[]),
        ("RFC 9110 §6.5.1 authorisation", "Authorization: x\r\nCookie: y\r\nSet-Cookie: z\r\n", &[]),
        ("RFC 9110 §6.5.1 hop-by-hop", "Connection: close\r\nTE: x\r\nUpgrade: y\r\nKeep-Alive: z\r\n", &[]),
        ("§4.7 11 forwarding", "X-Forwarded-For: 1\r\nX-Real-IP: 2\r\nForwarded: 3\r\nProxy: 4\r\n", &[]),
        ("§4.7 10 alias", "X_Forwarded_For: 1\r\nContent_Length: 5\r\n", &[]),
        ("RFC 9110 §6.5.1 content", "Content-Type: x\r\nContent-Encoding: y\r\nContent-Range: z\r\n", &[]),
        (
            "RFC 9110 §6.5.1 modifiers",
            "Expect: 100-continue\r\nRange: x\r\nIf-Match: y\r\nMax-Forwards: 0\r\n",
            &[],
        ),
        ("RFC 9110 §6.5.1 control data", "Cache-Control: x\r\nAge: 1\r\nVary: *\r\nLocation: /\r\n", &[]),
    ] {
        let bytes = format!("1\r\nx\r\n0\r\n{section}\r\nrest");
        check(clause, Framing::Chunked, bytes.as_bytes(), &ended(expected));
    }
}

#[test]
fn trailers_that_are_refused() {
    let long = "a".repeat(8200);
    let many = "a: b\r\n".repeat(33);
    for (clause, section, error) in [
        ("§2.2 LF", "a: b\n\r\n", BodyError::Trailer(HeadError::BareLineFeed)),
        ("§2.2 LF as the blank line", "a: b\r\n\n", BodyError::Trailer(HeadError::BareLineFeed)),
        ("§2.2 LF at once", "\n", BodyError::Trailer(HeadError::BareLineFeed)),
        ("§2.2 CR", "a: b\rc\r\n\r\n", BodyError::Trailer(HeadError::FieldValue)),
        ("§5.2 obs-fold", "a: b\r\n c\r\n\r\n", BodyError::Trailer(HeadError::FieldName)),
        ("§5.1 space before the colon", "a : b\r\n\r\n", BodyError::Trailer(HeadError::FieldName)),
        ("§5.1 empty name", ": b\r\n\r\n", BodyError::Trailer(HeadError::FieldName)),
        (
            "§5.1 no colon: the next request",
            "GET / HTTP/1.1\r\n\r\n",
            BodyError::Trailer(HeadError::FieldName),
        ),
        ("RFC 9110 §5.5 NUL", "a: \0\r\n\r\n", BodyError::Trailer(HeadError::FieldValue)),
        ("§4.7 16 bytes", &format!("a: {long}\r\n\r\n"), BodyError::TrailersTooLarge),
        ("§4.7 16 count", &format!("{many}\r\n"), BodyError::TrailersTooLarge),
    ] {
        bad(clause, &format!("1\r\nx\r\n0\r\n{section}"), "x", error);
    }
}

#[test]
fn trailer_limits_are_the_listeners() {
    let limits = HeadLimits { trailers_max: 1, trailer_bytes_max: 16, ..HeadLimits::default() };
    for (section, fine) in [("a: b\r\n", true), ("a: b\r\nc: d\r\n", false), ("a: 0123456789\r\n", false)] {
        let bytes = format!("0\r\n{section}\r\n");
        let found = BodyDecoder::with_limits(Framing::Chunked, &limits).decode(bytes.as_bytes());
        assert_eq!(found.is_ok(), fine, "{section:?}");
    }
}

#[test]
fn endless_trailers_are_refused_before_they_end() {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    decoder.decode(b"0\r\n").expect("a last chunk");
    let refused = (0..9000).find(|_| decoder.decode(b"a").is_err());
    assert_eq!(refused, Some(8192));
}

#[test]
fn a_lost_connection_ends_only_what_ends_with_it() {
    let close = |framing: Framing, bytes: &[u8]| {
        let mut decoder = BodyDecoder::new(framing);
        let mut at = 0;
        while !matches!(decoder.decode(&bytes[at..]), Ok(step) if { at += step.consumed; !matches!(step.event, BodyEvent::Data(_)) })
        {
        }
        decoder.finish_on_close()
    };
    assert_eq!(close(Framing::UntilClose, b"abc"), Ok(()));
    assert_eq!(close(Framing::UntilClose, b""), Ok(()));
    assert_eq!(close(Framing::None, b""), Ok(()));
    assert_eq!(close(Framing::Length(3), b"abc"), Ok(()));
    assert_eq!(close(Framing::Chunked, b"1\r\nx\r\n0\r\n\r\n"), Ok(()));
    for (framing, bytes) in [
        (Framing::Length(3), &b"ab"[..]),
        (Framing::Chunked, b""),
        (Framing::Chunked, b"1\r\n"),
        (Framing::Chunked, b"1\r\nx"),
        (Framing::Chunked, b"1\r\nx\r\n"),
        (Framing::Chunked, b"1\r\nx\r\n0\r\n"),
        (Framing::Chunked, b"1\r\nx\r\n0\r\na: b\r\n"),
    ] {
        assert_eq!(close(framing, bytes), Err(BodyError::Truncated), "{framing:?} {bytes:?}");
    }
}

#[test]
fn errors_tell_whom_to_blame() {
    assert_eq!([BodyError::ChunkSize.status(), BodyError::TrailersTooLarge.status()], [400, 431]);
    assert_eq!(BodyError::ChunkEnd.response_token(), "http_response_transfer_coding");
    assert_eq!(BodyError::Truncated.response_token(), "http_response_incomplete");
    assert_eq!(BodyError::TrailersTooLarge.response_token(), "http_response_trailer_section_size");
    assert_eq!(BodyError::ChunkSize.token(), "http_request_error");
}
