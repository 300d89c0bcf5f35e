//! Refuses request bodies over a size. A body of unknown length is counted while it flows: see the relay's limit.

use ringress_shared::policy::BodyLimit;

use super::RequestFacts;
use crate::exchange::{Answer, Token};
use crate::http::Framing;

pub(super) fn on_request(policy: &BodyLimit, facts: &RequestFacts) -> Option<Answer> {
    match facts.framing {
        Framing::Length(length) if length > policy.body_bytes_max => Some(Answer::closing(
            413,
            Token::RequestBodyTooLarge,
            "the request body is larger than this route takes",
        )),
        _ => None,
    }
}
