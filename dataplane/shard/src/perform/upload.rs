//! A request body that still flows while its answer may be on the way.

use std::cell::Cell;
use std::time::Duration;

use ringress_engine::codec::body::BodyDecoder;
use ringress_engine::exchange::{Answer, Token};

use super::DISCARD;
use crate::buffer::{Buffer, Outgoing};
use crate::deadline::{Purpose, Remote};
use crate::relay::{self, End, Plan};
use crate::rt;
use crate::stream::{Reader, Writer};

/// The request body on its way, seen by both directions.
pub(super) struct Upload {
    pub(super) failure: Cell<Option<End>>,
    /// The endpoint has all of it.
    pub(super) finished: Cell<bool>,
    /// Nothing more of it will be sent.
    pub(super) ended: Cell<bool>,
    pub(super) stop: Cell<bool>,
    client_watch: Remote,
    endpoint_watch: Remote,
    response_timeout: Duration,
    endpoint: std::os::fd::RawFd,
}

impl Upload {
    /// An upload from a client to an endpoint that owes its answer `response_timeout` after the end.
    pub(super) fn new(client: &Reader, endpoint: &Reader, response_timeout: Duration) -> Self {
        Self {
            failure: Cell::new(None),
            finished: Cell::new(false),
            ended: Cell::new(false),
            stop: Cell::new(false),
            client_watch: client.watch.remote(),
            endpoint_watch: endpoint.watch.remote(),
            response_timeout,
            endpoint: endpoint.descriptor(),
        }
    }

    pub(super) async fn pump(
        &self,
        reader: &mut Reader,
        received: &mut Buffer,
        decoder: &mut BodyDecoder,
        writer: &mut Writer,
        out: &mut Outgoing,
        plan: &Plan<'_>,
    ) {
        let end = relay::body(reader, received, decoder, writer, out, plan).await;
        self.ended.set(true);
        match end {
            End::Complete => {
                self.finished.set(true);
                reader.watch.disarm();
                // From now on the endpoint owes an answer.
                self.endpoint_watch.arm(Purpose::Read, self.response_timeout);
            }
            // The endpoint may have answered early; its answer decides. Where the next request begins cannot be known.
            End::Unwritable => self.endpoint_watch.arm(Purpose::Read, self.response_timeout),
            End::Stopped => {}
            End::Truncated | End::Silent | End::Malformed(_) | End::TooLarge => {
                self.failure.set(Some(end));
                // The endpoint must not take what it has for a whole request.
                rt::shutdown(self.endpoint, std::net::Shutdown::Both);
            }
        }
    }

    /// The client has its answer: what it still sends is nobody's business.
    pub(super) fn answered(&self) {
        self.stop.set(true);
        if !self.ended.get() {
            self.client_watch.arm(Purpose::Read, DISCARD);
            rt::shutdown(self.endpoint, std::net::Shutdown::Write);
        }
    }

    pub(super) fn client_is_gone(&self) -> bool {
        self.failure.get() == Some(End::Truncated)
    }

    /// The answer to a body that cannot be passed on.
    pub(super) fn refusal(&self) -> Option<Answer> {
        match self.failure.get()? {
            End::Silent => {
                Some(Answer::closing(408, Token::HttpRequestError, "the request body did not arrive in time"))
            }
            End::Malformed(error) => {
                Some(Answer::closing(error.status(), Token::Other(error.token()), error.message()))
            }
            End::TooLarge => Some(Answer::closing(
                413,
                Token::RequestBodyTooLarge,
                "the request body is larger than this route takes",
            )),
            _ => None,
        }
    }
}
