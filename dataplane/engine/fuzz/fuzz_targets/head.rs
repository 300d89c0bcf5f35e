//! Heads: no bytes panic, pieces do not matter, and what is forwarded reads as it was meant, unambiguously.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringress_engine::codec::h1::{HeadScanner, ResponseContext, parse_request, parse_response};
use ringress_engine::http::forward::{
    ForwardRequest, ForwardResponse, PeerText, Scheme, write_request, write_response,
};
use ringress_engine::http::{Framing, Head, HeadError, Known, Version};
use ringress_shared::listener::HeadLimits;

fuzz_target!(|data: &[u8]| {
    let Some((flags, bytes)) = data.split_first() else { return };
    let flag = |bit: u8| flags & (1 << bit) != 0;
    let step = 1 + usize::from(flags >> 4);
    let context = ResponseContext { head: flag(1), upgrade: flag(2) };
    if flag(0) {
        check(bytes, step, |head, bytes| parse_response(bytes, context, &LIMITS, head), check_response);
    } else {
        check(
            bytes,
            step,
            |head, bytes| parse_request(bytes, &LIMITS, head),
            |head| check_request(head, flag(3)),
        );
    }
});

/// Small enough that mutations reach every limit.
const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 2048,
    request_line_bytes_max: 256,
    field_bytes_max: 512,
    fields_max: 24,
    trailer_bytes_max: 256,
    trailers_max: 8,
};

fn check(
    bytes: &[u8],
    step: usize,
    parse: impl Fn(&mut Head, &[u8]) -> Result<(), HeadError>,
    accepted: impl Fn(&Head),
) {
    let (mut head, mut again) = (Head::new(), Head::new());
    let whole = scan(bytes, bytes.len()).map(|end| end.and_then(|end| parse(&mut head, &bytes[..end])));
    let pieces = scan(bytes, step).map(|end| end.and_then(|end| parse(&mut again, &bytes[..end])));
    // Which of several errors is found first depends on what has come; whether there is one does not.
    let verdict = |result: &Option<Result<(), HeadError>>| result.map(|result| result.is_ok());
    assert_eq!(verdict(&whole), verdict(&pieces), "{whole:?} {pieces:?}");
    // The parser stands alone: whatever it is given.
    let mut alone = Head::new();
    let parsed = parse(&mut alone, bytes);
    if whole == Some(Ok(())) {
        accepted(&head);
    } else if parsed.is_ok() {
        panic!("the parser takes what the scanner refuses: {whole:?}");
    }
}

fn scan(bytes: &[u8], step: usize) -> Option<Result<usize, HeadError>> {
    let mut scanner = HeadScanner::default();
    let mut end = 0;
    while end < bytes.len() {
        end = (end + step.max(1)).min(bytes.len());
        match scanner.scan(&bytes[..end], &LIMITS) {
            Ok(None) => {}
            Ok(Some(found)) => return Some(Ok(found)),
            Err(error) => return Some(Err(error)),
        }
    }
    None
}

fn check_request(head: &Head, trusted: bool) {
    let peer = PeerText::new([192, 0, 2, 1].into());
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
    check_lines(&out);
    if head.authority().is_empty() || head.method() == b"CONNECT" {
        return;
    }
    let mut again = Head::new();
    parse_request(&out, &HeadLimits::default(), &mut again).expect("what we send, we take");
    assert_eq!(again.facts.framing, head.facts.framing);
    assert_eq!((again.method(), again.path(), again.query()), (head.method(), head.path(), head.query()));
    assert_eq!((again.authority(), again.upgrade()), (head.authority(), head.upgrade()));
    let count = |known| again.find_all(known).count();
    assert_eq!((count(Known::Host), count(Known::XRequestId), count(Known::XForwardedFor)), (1, 1, 1));
    assert!(count(Known::ContentLength) + count(Known::TransferEncoding) <= 1);
    assert!(again.fields().iter().all(|field| !again.bytes(field.name).contains(&b'_')));
    assert_eq!(again.find(Known::Proxy), None);
    if !trusted {
        assert_eq!(again.find(Known::XForwardedFor), Some(&b"192.0.2.1"[..]));
        assert_eq!((again.find(Known::Forwarded), again.find(Known::XForwardedOther)), (None, None));
    }
}

fn check_response(head: &Head) {
    let forward =
        ForwardResponse { version: Version::Http11, head: false, keep_alive: true, date: b"D", edits: &[] };
    let mut out = Vec::new();
    let body = write_response(head, &forward, &mut out);
    check_lines(&out);
    let context = ResponseContext { head: head.facts.framing == Framing::None, upgrade: true };
    let mut again = Head::new();
    parse_response(&out, context, &HeadLimits::default(), &mut again).expect("what we send, we take");
    assert_eq!(
        (again.status(), again.reason(), again.facts.framing),
        (head.status(), head.reason(), body.framing)
    );
    assert_ne!(body.framing, Framing::UntilClose);
}

/// Every line ends in CRLF, there is no other CR or LF, and the only blank line is the last.
fn check_lines(out: &[u8]) {
    let text = out.strip_suffix(b"\r\n\r\n").expect("a blank line at the end");
    let mut lines = 0;
    let mut rest = text;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        assert!(at > 0 && !rest[..at].iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        rest = &rest[at + 2..];
        lines += 1;
    }
    assert!(lines > 0 || !rest.is_empty());
    assert!(!rest.is_empty() && !rest.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
}
