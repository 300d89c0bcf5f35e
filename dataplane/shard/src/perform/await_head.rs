//! Waiting for the head of a final response.

use std::cell::Cell;
use std::time::Duration;

use ringress_engine::codec::h1::{self, HeadError, HeadScanner, ResponseContext};
use ringress_engine::exchange::NoAnswerCause;
use ringress_engine::http::forward::{ForwardResponse, write_response};
use ringress_engine::http::{Head, Version};
use ringress_shared::listener::HeadLimits;
use ringress_shared::route::RuleTimeouts;

use crate::buffer::{Buffer, Outgoing};
use crate::deadline::Purpose;
use crate::stream::{Reader, Writer};

/// Interim responses before a final one.
const INTERIM_MAX: usize = 16;

/// Waits for the head of a final response, passing interim ones on. Heads of endpoints have limits of their own: what a
/// client may send says nothing of what it may get.
pub(super) struct AwaitHead<'a> {
    /// Whether the request is over: until then the endpoint owes nothing.
    pub(super) sent: &'a Cell<bool>,
    pub(super) request: &'a Head,
    pub(super) timeouts: &'a RuleTimeouts,
    pub(super) write_timeout: Duration,
}

impl AwaitHead<'_> {
    /// # Errors
    /// Whether not one byte came, and why there is no final head.
    pub(super) async fn perform(
        &self,
        reader: &mut Reader,
        received: &mut Buffer,
        response: &mut Head,
        writer: &mut Writer,
        out: &mut Outgoing,
    ) -> Result<(), (bool, NoAnswerCause)> {
        let context = ResponseContext {
            head: self.request.method() == b"HEAD",
            upgrade: self.request.upgrade().is_some(),
        };
        let limits = HeadLimits::default();
        let malformed = |error| (false, NoAnswerCause::Malformed(error));
        for interim in 0..=INTERIM_MAX {
            let bytes = self.next_head(reader, received, interim == 0).await?;
            h1::parse_response(&received.bytes()[..bytes], context, &limits, response).map_err(malformed)?;
            received.consume(bytes);
            match response.status() {
                // The endpoint may switch to what the client asked for, and to nothing else (RFC 9110 §7.8).
                101 if !self.asked_for(response.upgrade()) => {
                    return Err(malformed(HeadError::UnexpectedUpgrade));
                }
                100 | 102..=199 => {}
                _ => return Ok(()),
            }
            self.pass_interim(response, writer, out).await;
        }
        Err(malformed(HeadError::StatusLine))
    }

    fn asked_for(&self, switched_to: Option<&[u8]>) -> bool {
        match (self.request.upgrade(), switched_to) {
            (Some(asked), Some(switched)) => asked.eq_ignore_ascii_case(switched),
            _ => false,
        }
    }

    async fn next_head(
        &self,
        reader: &mut Reader,
        received: &mut Buffer,
        is_first: bool,
    ) -> Result<usize, (bool, NoAnswerCause)> {
        let limits = HeadLimits::default();
        let mut scanner = HeadScanner::default();
        loop {
            let silent = is_first && received.is_empty();
            match scanner.scan(received.bytes(), &limits) {
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) if received.make_room() => {}
                Ok(None) => return Err((silent, NoAnswerCause::Malformed(HeadError::HeadTooLarge))),
                Err(error) => return Err((silent, NoAnswerCause::Malformed(error))),
            }
            if self.sent.get() {
                reader.watch.arm(Purpose::Read, self.timeouts.response);
            }
            match reader.read(received).await {
                Ok(count) if count > 0 => {}
                _ if reader.watch.has_expired() => return Err((silent, NoAnswerCause::TimedOut)),
                _ if silent => return Err((true, NoAnswerCause::Closed)),
                _ => return Err((false, NoAnswerCause::Malformed(HeadError::Incomplete))),
            }
        }
    }

    async fn pass_interim(&self, response: &Head, writer: &mut Writer, out: &mut Outgoing) {
        // HTTP/1.0 knows no interim responses (RFC 9110 §15.2).
        if self.request.version() != Version::Http11 {
            return;
        }
        let forward = ForwardResponse {
            version: Version::Http11,
            head: false,
            keep_alive: true,
            date: &[],
            edits: &[],
        };
        out.clear();
        write_response(response, &forward, out.text());
        // A client that is gone shows with the final answer.
        writer.flush(out, self.write_timeout).await;
    }
}
