//! HTTP/1.1 towards a client: one request after the other, strictly in order.
//!
//! ```text
//! idle ── first byte ──► head ── complete ──► exchange (in a seat) ── keep ──► idle
//!   │ idle timeout         │ 400 408 414 431 …          └─ close ─► linger ─► end
//!   └──────► end ◄─────────┘
//! ```
//!
//! Pipelined bytes stay in the buffer until the answer before them is complete; they are never forwarded. An idle
//! connection holds a 1 KiB buffer; what an exchange needs is taken from stacks while it runs.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use ringress_engine::codec::h1::{HeadError, HeadScanner};
use ringress_engine::exchange::{Answer, Token};
use ringress_engine::http::forward::PeerText;
use ringress_shared::listener::{ClientTimeouts, HeadLimits, SocketId};
use ringress_shared::metric::Counter;

use crate::buffer::{Buffer, Size};
use crate::clock::Clock;
use crate::deadline::Purpose;
use crate::perform;
use crate::rt;
use crate::shard::{Current, Place, Shard};
use crate::stream::{Reader, Writer};
use crate::tls::Session;

/// A client's connection.
pub(crate) struct Client {
    pub(crate) place: Place,
    pub(crate) socket: SocketId,
    pub(crate) peer: SocketAddr,
    pub(crate) peer_text: PeerText,
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    /// What was received and not used yet.
    pub(crate) received: Buffer,
    pub(crate) session: Option<Rc<Session>>,
    /// The name that the client asked for over TLS, lower case.
    pub(crate) server_name: Option<Box<str>>,
}

/// How a connection goes on after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// With the next request.
    Keep,
    /// Not: after the client had time to read the answer.
    Close,
    /// Not at all: nothing is left to say.
    End,
    /// Not at all, and the client must see that something is missing.
    Cut,
}

/// What waiting for a head gave.
enum Arrival {
    /// A head of so many bytes stands at the front of the buffer.
    Head(usize),
    /// The client is gone, or said nothing for too long.
    Gone,
    /// Something that cannot become a head.
    Refused(HeadError),
    /// A head that took too long.
    TooSlow,
}

impl Client {
    /// Boxed: the futures that serve it move around, and it is a quarter of a kilobyte.
    pub(crate) fn new(
        place: Place,
        socket: SocketId,
        peer: SocketAddr,
        reader: Reader,
        writer: Writer,
        session: Option<Rc<Session>>,
    ) -> Box<Self> {
        let server_name =
            session.as_ref().and_then(|session| session.server_name()).map(String::into_boxed_str);
        let received = Buffer::new(Size::Idle);
        let peer_text = PeerText::new(peer.ip());
        Box::new(Self { place, socket, peer, peer_text, reader, writer, received, session, server_name })
    }

    pub(crate) fn shard(&self) -> &Rc<Shard> {
        self.place.shard()
    }
}

/// Exchanges before other tasks have their turn.
const EXCHANGES_PER_TURN: u32 = 32;

/// Serves a connection to its end.
pub(crate) async fn serve(mut client: Box<Client>) {
    let mut exchanges = 0_u32;
    let after = loop {
        let Some((limits, timeouts)) = settings(&client) else { break After::Close };
        let after = match arrival(&mut client, &limits, &timeouts).await {
            Arrival::Head(bytes) => {
                let shard = Rc::clone(client.shard());
                let after;
                (client, after) = shard.seats.exchange(client, bytes).await;
                after
            }
            // We end it: over TLS the client is told, or it could not tell this from a cut.
            Arrival::Gone if client.reader.watch.has_expired() => After::Close,
            Arrival::Gone => return,
            Arrival::Refused(error) => Box::pin(refuse(&mut client, refusal(error))).await,
            Arrival::TooSlow => Box::pin(refuse(&mut client, too_slow())).await,
        };
        if after != After::Keep {
            break after;
        }
        client.received.shrink();
        client.reader.shrink();
        // Who sends one request after the other without a pause gets its turn, not everybody's.
        exchanges += 1;
        if exchanges.is_multiple_of(EXCHANGES_PER_TURN) {
            rt::yield_now().await;
        }
    };
    match after {
        After::Close => Box::pin(linger(client)).await,
        After::Cut => rt::reset(client.reader.descriptor()),
        After::Keep | After::End => {}
    }
}

fn settings(client: &Client) -> Option<(HeadLimits, ClientTimeouts)> {
    let current: Rc<Current> = client.shard().current()?;
    let http = &current.socket(client.socket)?.listeners.first()?.http;
    Some((http.limits, http.timeouts))
}

async fn arrival(client: &mut Client, limits: &HeadLimits, timeouts: &ClientTimeouts) -> Arrival {
    let mut scanner = HeadScanner::default();
    let mut began = false;
    loop {
        if client.received.is_empty() {
            let idle = if client.shard().is_draining() { IDLE_WHILE_DRAINING } else { timeouts.idle };
            client.reader.watch.arm(Purpose::Idle, idle.min(timeouts.idle));
        } else {
            match scanner.scan(client.received.bytes(), limits) {
                Ok(Some(bytes)) => {
                    client.reader.watch.disarm();
                    return Arrival::Head(bytes);
                }
                Ok(None) => {}
                Err(error) => return Arrival::Refused(error),
            }
            // One deadline from the first byte of a head to its last: a byte a second gains nothing.
            if !std::mem::replace(&mut began, true) {
                client.reader.watch.arm(Purpose::Read, timeouts.header);
            }
        }
        if !client.received.make_room() {
            return Arrival::Refused(HeadError::HeadTooLarge);
        }
        match client.reader.read(&mut client.received).await {
            Ok(0) | Err(_) if began && client.reader.watch.has_expired() => return Arrival::TooSlow,
            Ok(0) | Err(_) => return Arrival::Gone,
            Ok(_) => {}
        }
    }
}

fn refusal(error: HeadError) -> Answer {
    Answer::closing(error.status(), Token::Other(error.token()), error.message())
}

fn too_slow() -> Answer {
    Answer::closing(408, Token::HttpRequestError, "the request head did not arrive in time")
}

async fn refuse(client: &mut Client, answer: Answer) -> After {
    client.shard().count(Counter::BadRequests);
    perform::refuse(client, &answer).await
}

/// How long a connection may stay idle once draining began: its client may have sent a request just then.
pub(crate) const IDLE_WHILE_DRAINING: Duration = Duration::from_secs(1);

/// How long a client may be silent, and how long it may go on sending, after its last answer: a connection that is closed
/// over unread bytes is reset, and the client may never read the answer.
const LINGER_SILENCE: Duration = Duration::from_secs(2);
const LINGER: Duration = Duration::from_secs(10);

async fn linger(mut client: Box<Client>) {
    client.writer.finish(LINGER_SILENCE).await;
    // Nobody waits for a client that does not listen when the process is about to end.
    let until = Clock::coarse() + if client.shard().is_draining() { LINGER_SILENCE } else { LINGER };
    let mut buffer = std::mem::replace(&mut client.received, Buffer::empty());
    while !client.reader.watch.has_expired() && Clock::coarse() < until {
        client.reader.watch.arm(Purpose::Read, LINGER_SILENCE);
        if buffer.size() == Size::Idle {
            buffer = Buffer::new(Size::Small);
        }
        buffer.clear();
        if !matches!(client.reader.read(&mut buffer).await, Ok(count) if count > 0) {
            return;
        }
        rt::yield_now().await;
    }
}
