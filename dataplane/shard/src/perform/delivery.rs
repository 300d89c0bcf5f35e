//! What the client gets: the response of an endpoint, or an answer of our own.

use std::cell::Cell;
use std::time::Duration;

use ringress_engine::codec::body::BodyDecoder;
use ringress_engine::exchange::Answer;
use ringress_engine::http::forward::{ForwardResponse, LocalAnswer, write_local_answer, write_response};
use ringress_engine::http::{Framing, Head, Version};

use crate::buffer::{Buffer, Outgoing};
use crate::relay::{self, End, Plan};
use crate::serve::h1::After;
use crate::stream::{Reader, Writer};

/// Passes a final response on.
pub(super) struct Delivery {
    pub(super) version: Version,
    pub(super) is_head: bool,
    pub(super) keep_alive: Cell<bool>,
    pub(super) date: [u8; 29],
    pub(super) response_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) bytes: Cell<u64>,
}

/// How a response reached its client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivered {
    pub(super) end: End,
    pub(super) keep_alive: bool,
    /// Whether only the end of the connection tells the client where the body ends.
    pub(super) until_close: bool,
}

impl Delivered {
    pub(super) fn after(self) -> After {
        match (self.end, self.keep_alive) {
            (End::Complete, true) => After::Keep,
            (End::Complete, false) => After::Close,
            // The client must see that the end of the body is missing: by its framing, or else by a reset.
            _ if self.until_close => After::Cut,
            _ => After::End,
        }
    }
}

impl Delivery {
    pub(super) async fn perform(
        &self,
        request: &Head,
        response: &Head,
        reader: &mut Reader,
        received: &mut Buffer,
        writer: &mut Writer,
        out: &mut Outgoing,
    ) -> Delivered {
        let forward = ForwardResponse {
            version: self.version,
            head: self.is_head,
            keep_alive: self.keep_alive.get(),
            date: &self.date,
            edits: &[],
        };
        out.clear();
        let client = write_response(response, &forward, out.text());
        let mut decoder = BodyDecoder::new(response.facts.framing);
        let plan = Plan {
            chunked: client.framing == Framing::Chunked,
            trailers: request.facts.te_trailers,
            read_timeout: self.response_timeout,
            write_timeout: self.write_timeout,
            bytes_max: None,
            bytes: &self.bytes,
            stop: &Cell::new(false),
        };
        let end = if relay::take_whole(received, &mut decoder, out, &plan) {
            let sent = writer.flush(out, self.write_timeout).await;
            if sent { End::Complete } else { End::Unwritable }
        } else {
            Box::pin(relay::body(reader, received, &mut decoder, writer, out, &plan)).await
        };
        let until_close = client.framing == Framing::UntilClose;
        Delivered { end, keep_alive: client.keep_alive, until_close }
    }
}

/// What the client was told.
pub(super) struct Told {
    /// Content of an answer of our own.
    pub(super) bytes: u64,
    pub(super) status: u16,
    pub(super) token: &'static str,
    pub(super) delivered: Delivered,
}

impl Told {
    pub(super) fn nothing() -> Self {
        Self {
            bytes: 0,
            status: 0,
            token: "",
            delivered: Delivered { end: End::Stopped, keep_alive: false, until_close: false },
        }
    }
}

/// Gives an answer of our own.
pub(super) async fn tell(
    answer: &Answer,
    request: &Head,
    keep_alive: bool,
    date: &[u8; 29],
    within: Duration,
    writer: &mut Writer,
    out: &mut Outgoing,
) -> Told {
    let body = format!("{}\n", answer.message);
    let token = answer.token.as_str();
    let location = answer.location.as_deref().map(|location| ("Location", location));
    let local = LocalAnswer {
        status: answer.status,
        error: Some(token).filter(|token| !token.is_empty()),
        body: body.as_bytes(),
        fields: location.as_slice(),
        date,
        version: request.version(),
        head: request.method() == b"HEAD",
        keep_alive,
    };
    out.clear();
    write_local_answer(&local, out.text());
    let sent = writer.flush(out, within).await;
    let end = if sent { End::Complete } else { End::Unwritable };
    let bytes = if local.head { 0 } else { body.len() as u64 };
    Told { bytes, status: answer.status, token, delivered: Delivered { end, keep_alive, until_close: false } }
}
