//! Feeds heads the way a connection does: scan what has come, parse once the end is found.
#![allow(dead_code, reason = "every suite uses its own part")]

use ringress_engine::codec::h1::{HeadScanner, ResponseContext, parse_request, parse_response};
use ringress_engine::http::{Head, HeadError};
use ringress_shared::listener::HeadLimits;

/// A request that came in pieces of `step` bytes; `None` while the head is not complete.
pub(crate) fn request(bytes: &[u8], step: usize, limits: &HeadLimits) -> Option<Result<Head, HeadError>> {
    let mut head = Head::new();
    let end = scan(bytes, step, limits)?;
    Some(end.and_then(|end| parse_request(&bytes[..end], limits, &mut head)).map(|()| head))
}

/// A response that came in pieces of `step` bytes; `None` while the head is not complete.
pub(crate) fn response(
    bytes: &[u8],
    context: ResponseContext,
    step: usize,
    limits: &HeadLimits,
) -> Option<Result<Head, HeadError>> {
    let mut head = Head::new();
    let end = scan(bytes, step, limits)?;
    Some(end.and_then(|end| parse_response(&bytes[..end], context, limits, &mut head)).map(|()| head))
}

/// A head that must be fine.
#[track_caller]
pub(crate) fn good_request(bytes: &[u8]) -> Head {
    match request(bytes, bytes.len(), &HeadLimits::default()) {
        Some(Ok(head)) => head,
        other => panic!("{:?}: {:?}", String::from_utf8_lossy(bytes), other.map(|found| found.map(drop))),
    }
}

/// A head that must be fine.
#[track_caller]
pub(crate) fn good_response(bytes: &[u8], context: ResponseContext) -> Head {
    match response(bytes, context, bytes.len(), &HeadLimits::default()) {
        Some(Ok(head)) => head,
        other => panic!("{:?}: {:?}", String::from_utf8_lossy(bytes), other.map(|found| found.map(drop))),
    }
}

/// Everything about a head that a test can compare.
pub(crate) fn summary(head: &Head) -> impl PartialEq + std::fmt::Debug + use<> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields: Vec<_> = head
        .fields()
        .iter()
        .map(|field| (text(head.bytes(field.name)), text(head.bytes(field.value)), field.known))
        .collect();
    let line = (text(head.method()), text(head.target()), head.status(), text(head.reason()), head.version());
    (line, fields, format!("{:?}", head.facts))
}

fn scan(bytes: &[u8], step: usize, limits: &HeadLimits) -> Option<Result<usize, HeadError>> {
    let mut scanner = HeadScanner::default();
    let mut end = 0;
    while end < bytes.len() {
        end = (end + step.max(1)).min(bytes.len());
        match scanner.scan(&bytes[..end], limits) {
            Ok(None) => {}
            Ok(Some(found)) => return Some(Ok(found)),
            Err(error) => return Some(Err(error)),
        }
    }
    None
}
