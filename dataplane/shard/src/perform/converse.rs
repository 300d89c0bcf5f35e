//! A request whose body still flows: both directions at once, and no second try once anything of it was sent.

use ringress_engine::codec::body::BodyDecoder;
use ringress_engine::exchange::{Exchange, NoAnswer, NoAnswerCause, Outcome, Routed, Step, Try};
use ringress_engine::http::{Framing, Head};

use super::await_head::AwaitHead;
use super::delivery::{Delivery, Told, tell};
use super::upload::Upload;
use super::{Performance, Taken, Terms, decide, report};
use crate::buffer::{Buffer, Outgoing};
use crate::clock::Clock;
use crate::relay::{End, Plan};
use crate::rt;
use crate::serve::h1::{After, Client};
use crate::serve::waiting::Wait;
use crate::shard::Shard;
use crate::stream::{Reader, Writer};
use crate::upstream::Connection;
use crate::workspace::Workspace;

impl Performance<'_> {
    /// Begins to send the head. An endpoint that does not take one byte of it has not seen the request.
    pub(super) fn announce(&mut self, connection: &mut Connection) -> Result<(), NoAnswer> {
        self.write_request_head();
        // Content that is here already follows at once, in the same packet.
        let more = !self.client.received.is_empty();
        connection.writer.offer(&mut self.work.to_endpoint, more).map_err(|_| NoAnswer {
            reused: connection.reused,
            silent: true,
            unsent: true,
            replayable: true,
            cause: NoAnswerCause::Closed,
        })
    }

    /// Sends the rest of an announced request while its answer may be on the way already.
    pub(super) async fn converse(
        &mut self,
        taken: Taken,
        mut connection: Connection,
        attempt: Try,
        routed: &Routed,
    ) -> After {
        let delivery = self.delivery(routed);
        let waiting =
            self.shard.waiting.enter(self.client.reader.descriptor(), connection.reader.descriptor());
        let upload = Upload::new(&self.client.reader, &connection.reader, routed.timeouts.response);
        let framing = self.work.request.facts.framing;
        let mut decoder = BodyDecoder::with_limits(framing, &self.terms.limits);
        let plan = Plan {
            chunked: framing == Framing::Chunked,
            trailers: true,
            read_timeout: self.terms.timeouts.body,
            write_timeout: routed.timeouts.response,
            bytes_max: routed.body_bytes_max,
            bytes: &self.tally.bytes_in,
            stop: &upload.stop,
        };
        let Workspace { request, response, to_endpoint, to_client } = &mut *self.work;
        let Client { reader, writer, received, .. } = &mut *self.client;
        let sending = upload.pump(reader, received, &mut decoder, &mut connection.writer, to_endpoint, &plan);
        let answering = Answering {
            shard: self.shard,
            exchange: &mut self.exchange,
            terms: &self.terms,
            routed,
            attempt: &attempt,
            upload: &upload,
            delivery: &delivery,
            waiting: &waiting,
            request,
            reused: connection.reused,
        };
        let answering = answering.perform(
            taken,
            &mut connection.reader,
            &mut connection.received,
            response,
            writer,
            to_client,
        );
        let ((), told) = rt::join(sending, answering).await;
        self.tally.status = told.status;
        self.tally.token = told.token;
        self.tally.bytes_out.set(delivery.bytes.get() + told.bytes);
        drop(attempt);
        let complete = told.delivered.end == End::Complete && upload.failure.get().is_none();
        if complete && upload.finished.get() && self.work.response.facts.keep_alive && told.token.is_empty() {
            let seconds = self.work.response.facts.keep_alive_secs;
            connection.give_back(self.shard, &routed.timeouts, seconds, Clock::now());
        }
        match told.delivered.after() {
            After::Keep if !upload.finished.get() => After::Close,
            after => after,
        }
    }
}

/// The way back, while the body still flows.
struct Answering<'a> {
    shard: &'a Shard,
    exchange: &'a mut Exchange,
    terms: &'a Terms,
    routed: &'a Routed,
    attempt: &'a Try,
    upload: &'a Upload,
    delivery: &'a Delivery,
    waiting: &'a Wait,
    request: &'a Head,
    reused: bool,
}

impl Answering<'_> {
    async fn perform(
        self,
        taken: Taken,
        reader: &mut Reader,
        received: &mut Buffer,
        response: &mut Head,
        writer: &mut Writer,
        to_client: &mut Outgoing,
    ) -> Told {
        let outcome = self.await_head(reader, received, response, writer, to_client).await;
        let Self { shard, exchange, terms, attempt, upload, delivery, request, .. } = self;
        let now = Clock::now();
        if upload.failure.get().is_none() {
            report(shard, attempt, outcome, now);
        }
        let (step, _) = decide(shard, now, &taken, exchange, outcome, request, terms.is_https);
        drop(taken);
        let told = match (step, upload.refusal()) {
            (Step::Relay, _) => {
                // In the middle of a body that nobody reads, no next request can be found.
                let goes_on = upload.finished.get() && !shard.is_draining();
                delivery.keep_alive.set(delivery.keep_alive.get() && goes_on);
                let delivered =
                    delivery.perform(request, response, reader, received, writer, to_client).await;
                Told { bytes: 0, status: response.status(), token: "", delivered }
            }
            (Step::Abandon, _) => Told::nothing(),
            (_, Some(answer)) | (Step::Answer(answer), None) => {
                tell(&answer, request, false, &delivery.date, delivery.write_timeout, writer, to_client).await
            }
            // No second try was asked for: the body is gone.
            (Step::Try(_) | Step::Pause(_), None) => Told::nothing(),
        };
        upload.answered();
        told
    }

    async fn await_head(
        &self,
        reader: &mut Reader,
        received: &mut Buffer,
        response: &mut Head,
        writer: &mut Writer,
        to_client: &mut Outgoing,
    ) -> Outcome {
        let await_head = AwaitHead {
            sent: &self.upload.ended,
            request: self.request,
            timeouts: &self.routed.timeouts,
            write_timeout: self.terms.timeouts.write,
        };
        let reused = self.reused;
        match await_head.perform(reader, received, response, writer, to_client).await {
            Ok(()) => Outcome::Answered,
            Err(_) if self.waiting.client_is_gone() || self.upload.client_is_gone() => Outcome::ClientGone,
            Err((silent, cause)) => {
                Outcome::NoAnswer(NoAnswer { reused, silent, unsent: false, replayable: false, cause })
            }
        }
    }
}
