//! Laws: pieces do not matter, what is written can be read, and no bytes whatsoever break anything.

mod codec_support;

use codec_support::{request, response, summary};
use proptest::prelude::*;
use ringress_engine::codec::body::{BodyDecoder, BodyEvent};
use ringress_engine::codec::encode;
use ringress_engine::codec::h1::{HeadScanner, ResponseContext};
use ringress_engine::http::forward::{
    ForwardRequest, ForwardResponse, PeerText, Scheme, write_request, write_response,
};
use ringress_engine::http::{Framing, Head, Version};
use ringress_shared::listener::HeadLimits;

/// Data and outcome of a body fed in the pieces that `cuts` make.
fn read_body(framing: Framing, bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, String) {
    let mut decoder = BodyDecoder::new(framing);
    let (mut data, mut start) = (Vec::new(), 0);
    for end in cuts.iter().copied().chain([bytes.len()]) {
        loop {
            let step = match decoder.decode(&bytes[start..end.max(start)]) {
                Ok(step) => step,
                Err(error) => return (data, format!("{error:?}")),
            };
            if let BodyEvent::Data(range) = &step.event {
                data.extend_from_slice(&bytes[start..][range.clone()]);
            }
            start += step.consumed;
            match step.event {
                BodyEvent::Data(_) => {}
                BodyEvent::NeedMore => break,
                BodyEvent::End => return (data, format!("{:?} {:?}", &bytes[start..], trailers(&decoder))),
            }
        }
    }
    (data, "more".to_string())
}

fn trailers(decoder: &BodyDecoder) -> Vec<(Vec<u8>, Vec<u8>)> {
    decoder
        .trailers()
        .into_iter()
        .flat_map(|all| all.iter())
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}

fn forwarded(head: &Head, trusted: bool) -> Vec<u8> {
    let peer = PeerText::new("192.0.2.1".parse().expect("an address"));
    let forward = ForwardRequest {
        peer: &peer,
        client: &peer,
        trusted,
        scheme: Scheme::Http,
        public_port: 80,
        request_id: b"id",
        target: None,
        host: None,
        upgrade: true,
        edits: &[],
    };
    let mut out = Vec::new();
    write_request(head, &forward, &mut out);
    out
}

fn answered(head: &Head) -> Vec<u8> {
    let forward =
        ForwardResponse { version: Version::Http11, head: false, keep_alive: true, date: b"D", edits: &[] };
    let mut out = Vec::new();
    write_response(head, &forward, &mut out);
    out
}

/// Lines that are nearly heads: enough of them are, and the others miss narrowly.
fn near_head(first: &'static [&'static str]) -> impl Strategy<Value = String> {
    let names = prop::sample::select(NAMES);
    let values = prop_oneof![prop::sample::select(VALUES).prop_map(str::to_string), "[ -~]{0,12}"];
    let ends = prop_oneof![40 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("\r\n ")];
    let field = (names, values, ends).prop_map(|(name, value, end)| format!("{name}: {value}{end}"));
    (prop::sample::select(first), prop::collection::vec(field, 0..8))
        .prop_map(|(first, fields)| format!("{first}\r\n{}\r\n", fields.concat()))
}

const REQUEST_LINES: &[&str] = &[
    "GET / HTTP/1.1",
    "POST /a?b HTTP/1.1",
    "GET http://a/b HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "GET /a/%2e%2e//b HTTP/1.0",
    "GET /é HTTP/1.1",
    "GET  / HTTP/1.1",
];
const STATUS_LINES: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.1 204 No Content",
    "HTTP/1.0 200",
    "HTTP/1.1 304 x",
    "HTTP/1.1 103 y",
    "HTTP/1.1 2 x",
];
const NAMES: &[&str] = &[
    "Host",
    "host",
    "Content-Length",
    "Transfer-Encoding",
    "Connection",
    "X-A",
    "x_b",
    "Upgrade",
    "Expect",
    "TE",
    "Keep-Alive",
    "X-Forwarded-For",
    "X-Forwarded-Other",
    "Forwarded",
    "X-Request-ID",
    "Trailer",
    "Cookie",
    "Proxy",
    "",
];
const VALUES: &[&str] = &[
    "a",
    "a",
    "a",
    "a:80",
    "5",
    "+5",
    "0",
    "chunked",
    "gzip, chunked",
    "close",
    "x-a, keep-alive",
    "upgrade",
    "websocket",
    "100-continue",
    "trailers",
    "",
    "\t",
    "a b",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn pieces_of_a_request_do_not_matter(text in near_head(REQUEST_LINES), step in 1usize..40) {
        let limits = HeadLimits::default();
        let show = |step| request(text.as_bytes(), step, &limits)
            .map(|found| found.map(|head| summary(&head)).map_err(|error| error.status()));
        prop_assert_eq!(show(text.len()), show(step));
    }

    #[test]
    fn pieces_of_a_response_do_not_matter(text in near_head(STATUS_LINES), step in 1usize..40, head in any::<bool>()) {
        let (limits, context) = (HeadLimits::default(), ResponseContext { head, upgrade: false });
        let show = |step| response(text.as_bytes(), context, step, &limits)
            .map(|found| found.map(|head| summary(&head)).map_err(drop));
        prop_assert_eq!(show(text.len()), show(step));
    }

    #[test]
    fn a_forwarded_request_reads_the_same(text in near_head(REQUEST_LINES), trusted in any::<bool>()) {
        let limits = HeadLimits::default();
        if let Some(Ok(head)) = request(text.as_bytes(), text.len(), &limits) {
            let once = forwarded(&head, trusted);
            let shown = String::from_utf8_lossy(&once).into_owned();
            // An HTTP/1.0 request without a host leaves with an empty one, which a 1.1 request may not have.
            prop_assume!(!head.authority().is_empty());
            let again = request(&once, once.len(), &limits).expect("a whole head").expect(&shown);
            prop_assert_eq!(again.facts.framing, head.facts.framing);
            prop_assert_eq!((again.method(), again.path(), again.query()), (head.method(), head.path(), head.query()));
            prop_assert_eq!((again.authority(), again.upgrade()), (head.authority(), head.upgrade()));
            prop_assert_eq!(again.facts.expect_continue, head.facts.expect_continue);
            // Forwarding what was forwarded adds our mark and changes nothing more.
            let twice = forwarded(&again, false);
            let thrice = forwarded(&request(&twice, twice.len(), &limits).expect("a whole head").expect("a good head"), false);
            prop_assert_eq!(twice.len() + "CDN-Loop: ringress\r\n".len(), thrice.len());
        }
    }

    #[test]
    fn a_forwarded_response_reads_the_same(text in near_head(STATUS_LINES)) {
        let (limits, context) = (HeadLimits::default(), ResponseContext::default());
        if let Some(Ok(head)) = response(text.as_bytes(), context, text.len(), &limits) {
            let once = answered(&head);
            let shown = String::from_utf8_lossy(&once).into_owned();
            let again = response(&once, context, once.len(), &limits).expect("a whole head").expect(&shown);
            let expected = if head.facts.framing == Framing::UntilClose { Framing::Chunked } else { head.facts.framing };
            prop_assert_eq!((again.status(), again.reason(), again.facts.framing), (head.status(), head.reason(), expected));
        }
    }

    #[test]
    fn pieces_of_chunks_do_not_matter(bytes in near_chunks(), mut cuts in prop::collection::vec(0usize..400, 0..12)) {
        cuts.retain(|cut| *cut <= bytes.len());
        cuts.sort_unstable();
        let single: Vec<usize> = (0..bytes.len()).collect();
        let whole = read_body(Framing::Chunked, &bytes, &[]);
        prop_assert_eq!(&whole, &read_body(Framing::Chunked, &bytes, &cuts));
        prop_assert_eq!(&whole, &read_body(Framing::Chunked, &bytes, &single));
    }

    #[test]
    fn what_is_encoded_is_decoded(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6)) {
        let mut bytes = Vec::new();
        for part in &parts {
            encode::chunk_prefix(part.len(), &mut bytes);
            bytes.extend_from_slice(part);
            encode::chunk_suffix(&mut bytes);
        }
        encode::last_chunk(None, &mut bytes);
        bytes.extend_from_slice(b"next");
        let (data, end) = read_body(Framing::Chunked, &bytes, &[]);
        prop_assert_eq!(data, parts.concat());
        prop_assert_eq!(end, format!("{:?} []", b"next"));
    }

    #[test]
    fn no_bytes_break_anything(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let limits = HeadLimits::default();
        let _ = request(&bytes, 7, &limits);
        let _ = response(&bytes, ResponseContext::default(), 7, &limits);
        let _ = read_body(Framing::Chunked, &bytes, &[]);
        let _ = ringress_engine::codec::h1::parse_request(&bytes, &limits, &mut Head::new());
    }
}

fn near_chunks() -> impl Strategy<Value = Vec<u8>> {
    let sizes = prop_oneof![6 => (1usize..20).prop_map(|size| format!("{size:x}")), 1 => Just("0".to_string()), 1 => "[0-9a-g+ x]{0,3}"];
    let extensions = prop_oneof![6 => Just(String::new()), 1 => ";[ -~]{0,6}"];
    let ends = || prop_oneof![40 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r"), 1 => Just("")];
    let chunk = (sizes, extensions, ends(), ends()).prop_map(|(size, extension, first, second)| {
        let len = usize::from_str_radix(&size, 16).unwrap_or(3);
        format!("{size}{extension}{first}{}{second}", "d".repeat(len)).into_bytes()
    });
    let trailers = prop_oneof![2 => Just("\r\n"), 1 => Just("a: b\r\n\r\n"), 1 => Just("a: b\r\nHost: c\r\n\r\nGET"), 1 => Just("a: b\n\r\n")];
    (prop::collection::vec(chunk, 0..5), trailers)
        .prop_map(|(chunks, trailers)| [&chunks.concat()[..], b"0\r\n", trailers.as_bytes()].concat())
}

#[test]
fn trailers_are_written_as_they_were_read() {
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let decoded =
        decoder.decode(b"0\r\nGrpc-Status: 0\r\nHost: evil\r\nX: y z\r\n\r\n").expect("good trailers");
    assert_eq!(decoded.event, BodyEvent::End);
    let mut out = Vec::new();
    encode::last_chunk(decoder.trailers(), &mut out);
    assert_eq!(out, b"0\r\nGrpc-Status: 0\r\nX: y z\r\n\r\n");
    assert_eq!(encode::LAST_CHUNK, b"0\r\n\r\n");
}

#[test]
fn bytes_once_seen_are_not_looked_at_again() {
    let limits = HeadLimits::default();
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(50)).into_bytes();
    for step in [1, 2, 3, 7, 64] {
        let mut scanner = HeadScanner::default();
        let mut buffered = Vec::new();
        let mut found = None;
        for piece in bytes.chunks(step) {
            // Whoever looked again would stumble over these; the last byte may be half of a line end.
            let seen = buffered.len().saturating_sub(1);
            buffered[..seen].fill(b'\n');
            buffered.extend_from_slice(piece);
            found = scanner.scan(&buffered, &limits).expect("a good head");
        }
        assert_eq!(found, Some(bytes.len()), "by {step}");
    }
}
