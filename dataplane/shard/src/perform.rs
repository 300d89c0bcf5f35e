//! One exchange, performed: the steps that the engine decides on, awaited.
//!
//! ```text
//! body at hand:     decide ─► open ─► ask (send all, wait for a head) ─┬─► deliver
//!                     ▲────────── try again ◄──────────────────────────┘
//! body still flows: decide ─► open ─► join( pump the body , wait for a head ─► deliver )
//! ```
//!
//! The snapshot is held from the complete head to the response head. Whatever was taken is only good for reuse when both
//! messages were complete; everything else closes.

mod await_head;
mod converse;
mod delivery;
mod upload;

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringress_engine::codec::body::BodyDecoder;
use ringress_engine::codec::h1;
use ringress_engine::exchange::{
    Answer, ConnectFailure, Env, Exchange, NoAnswer, NoAnswerCause, NoRoute, Outcome, Routed, Step, Token,
    Try, verdict,
};
use ringress_engine::http::forward::{
    ForwardRequest, PeerText, Scheme, client_address, client_request_id, write_request,
};
use ringress_engine::http::{Framing, Head, Known};
use ringress_shared::listener::{AccessLogFormat, ClientTimeouts, HeadLimits, Listener, Socket, SocketId};
use ringress_shared::metric::Counter;
use ringress_shared::route::Target;

use await_head::AwaitHead;
use delivery::{Delivered, Delivery, tell};

use crate::buffer::{Buffer, Send};
use crate::clock::Clock;
use crate::deadline::Purpose;
use crate::record::{Record, RuleRecord, class_counter};
use crate::relay::{self, End};
use crate::rt;
use crate::serve::h1::{After, Client};
use crate::serve::listener_for;
use crate::serve::tunnel::{self, Passed, Side};
use crate::serve::waiting::Wait;
use crate::shard::{Current, Shard};
use crate::upstream::{self, Connection};
use crate::workspace::Workspace;

/// Content that a client may still send after its answer, for the connection to go on.
const DISCARDED_BYTES_MAX: usize = 64 * 1024;
const DISCARD: Duration = Duration::from_secs(1);

/// Performs the exchange whose head stands at the front of the client's buffer.
pub(crate) async fn exchange(mut client: Box<Client>, head_bytes: usize) -> (Box<Client>, After) {
    let shard = Rc::clone(client.shard());
    let Some(current) = shard.current() else { return (client, After::Close) };
    let mut work = shard.workspaces.take();
    let after = begin(&shard, current, &mut client, &mut work, head_bytes).await;
    shard.workspaces.put(work);
    (client, after)
}

/// Refuses what could not even become a head.
pub(crate) async fn refuse(client: &mut Client, answer: &Answer) -> After {
    let shard = Rc::clone(client.shard());
    let Some(current) = shard.current() else { return After::Close };
    let Some(listener) = current.socket(client.socket).and_then(|socket| socket.listeners.first()) else {
        return After::Close;
    };
    let terms = Terms::new(&current, listener, client, &Head::new());
    let mut work = shard.workspaces.take();
    // What never became a head is named by its first line.
    let line = first_line(client.received.bytes()).to_vec();
    let mut performance = Performance::new(&shard, terms, client, &mut work);
    let after = performance.answer(answer).await;
    performance.record(Err(&line));
    shard.workspaces.put(work);
    after
}

async fn begin(
    shard: &Rc<Shard>,
    current: Rc<Current>,
    client: &mut Client,
    work: &mut Workspace,
    head_bytes: usize,
) -> After {
    let Some(socket) = current.socket(client.socket) else { return After::Close };
    let Some(first) = socket.listeners.first() else { return After::Close };
    let parsed =
        h1::parse_request(&client.received.bytes()[..head_bytes], &first.http.limits, &mut work.request);
    if let Err(error) = parsed {
        work.request.clear();
        shard.count(Counter::BadRequests);
        let answer = Answer::closing(error.status(), Token::Other(error.token()), error.message());
        return Box::pin(refuse(client, &answer)).await;
    }
    client.received.consume(head_bytes);
    let refusal = refuse_method(&work.request);
    let (listener, misdirected) = choose_listener(socket, client, &work.request);
    let terms = Terms::new(&current, &socket.listeners[listener], client, &work.request);
    let taken = Taken { socket: socket.id, listener, current };
    let mut performance = Performance::new(shard, terms, client, work);
    let after = match refusal.or(misdirected) {
        Some(answer) => Box::pin(performance.answer(&answer)).await,
        None => performance.run(taken).await,
    };
    performance.record(Ok(()));
    after
}

/// As much of a request line as a log shows.
fn first_line(received: &[u8]) -> &[u8] {
    let shown = &received[..received.len().min(256)];
    shown.split(|byte| matches!(byte, b'\r' | b'\n')).find(|line| !line.is_empty()).unwrap_or_default()
}

fn refuse_method(head: &Head) -> Option<Answer> {
    (head.method() == b"CONNECT").then(|| {
        Answer::closing(405, Token::HttpRequestError, "this is no forward proxy: CONNECT is not served")
    })
}

/// The number of the listener that the host picks, and a refusal where another one took the connection: what the client
/// was promised there (certificate, client authentication) does not hold here (RFC 9110 §15.5.20).
fn choose_listener(socket: &Socket, client: &Client, head: &Head) -> (usize, Option<Answer>) {
    if socket.listeners.len() == 1 {
        return (0, None);
    }
    let mut host = String::new();
    let host = ringress_shared::hostname::normalise_host(head.authority(), &mut host);
    let misdirected =
        || Answer::closing(421, Token::HttpRequestError, "this connection was made for another host");
    let Some(listener) = listener_for(socket, host) else { return (0, Some(misdirected())) };
    let taken_by = client.server_name.as_deref().and_then(|name| listener_for(socket, name));
    (listener, taken_by.filter(|other| *other != listener).map(|_| misdirected()))
}

/// The snapshot that an exchange took when its head was complete, and its listener there. Given up when the response head
/// came: a long body or a tunnel must not keep old routes alive.
struct Taken {
    current: Rc<Current>,
    socket: SocketId,
    listener: usize,
}

impl Taken {
    fn listener(&self) -> Option<&Listener> {
        self.current.socket(self.socket)?.listeners.get(self.listener)
    }
}

/// What an exchange keeps of its snapshot: values, no reference.
#[derive(Debug, Clone, Copy)]
struct Terms {
    generation: u64,
    limits: HeadLimits,
    timeouts: ClientTimeouts,
    access_log: AccessLogFormat,
    public_port: u16,
    trusted: bool,
    /// The client behind the trusted proxies.
    client: IpAddr,
    is_tls: bool,
    is_https: bool,
}

impl Terms {
    fn new(current: &Current, listener: &Listener, client: &Client, head: &Head) -> Self {
        let http = &listener.http;
        let peer = client.peer.ip().to_canonical();
        let is_trusted = |address| http.trusted_proxies.iter().any(|range| range.contains(&address));
        let trusted = is_trusted(peer);
        let client_address = if trusted { client_address(head, peer, is_trusted) } else { peer };
        let is_tls = client.session.is_some();
        let says_https =
            || head.find(Known::XForwardedProto).is_some_and(|proto| proto.eq_ignore_ascii_case(b"https"));
        Self {
            generation: current.snapshot.generation,
            limits: http.limits,
            timeouts: http.timeouts,
            access_log: http.access_log,
            public_port: http.public_port,
            trusted,
            client: client_address,
            is_tls,
            is_https: is_tls || (trusted && says_https()),
        }
    }
}

/// What is counted on the way.
#[derive(Default)]
struct Tally {
    status: u16,
    token: &'static str,
    /// Why an answer of our own was given.
    detail: &'static str,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    endpoint: Option<SocketAddr>,
    rule: Option<Rc<RuleRecord>>,
}

struct Performance<'p> {
    shard: &'p Rc<Shard>,
    client: &'p mut Client,
    work: &'p mut Workspace,
    terms: Terms,
    exchange: Exchange,
    tally: Tally,
    request_id: [u8; 32],
    started: Instant,
    /// When the last response was complete; saves the record a look at the clock.
    finished: Option<Instant>,
}

impl<'p> Performance<'p> {
    fn new(shard: &'p Rc<Shard>, terms: Terms, client: &'p mut Client, work: &'p mut Workspace) -> Self {
        let request_id = new_request_id(shard);
        let started = Clock::now();
        Self {
            shard,
            client,
            work,
            terms,
            exchange: Exchange::new(),
            tally: Tally::default(),
            request_id,
            started,
            finished: None,
        }
    }

    async fn run(&mut self, taken: Taken) -> After {
        let mut outcome = Outcome::HeadComplete;
        let mut now = self.started;
        loop {
            let attempt = match self.decide(outcome, now, &taken) {
                Step::Try(attempt) => attempt,
                Step::Answer(answer) => {
                    drop(taken);
                    return Box::pin(self.answer(&answer)).await;
                }
                Step::Pause(time) => {
                    // Rare, and its future is no small one.
                    Box::pin(rt::sleep(time)).await;
                    outcome = Outcome::Resumed;
                    now = Clock::now();
                    self.follow_newest(now);
                    continue;
                }
                // Only a response leads to a relay, and that is delivered where it came.
                Step::Relay | Step::Abandon => return After::End,
            };
            let Some(routed) = self.exchange.routed().copied() else { return After::End };
            self.tally.endpoint = Some(attempt.lease.address());
            let Target::Upstream(upstream) = routed.target else { return After::End };
            let opened = upstream::open(self.shard, &attempt, upstream, &routed.timeouts, now).await;
            let mut connection = match opened {
                Ok(connection) => connection,
                Err(failure) => {
                    outcome = Outcome::NotConnected(failure);
                    now = Clock::now();
                    if failure == ConnectFailure::Withdrawn {
                        self.follow_newest(now);
                    }
                    report(self.shard, &attempt, outcome, now);
                    continue;
                }
            };
            let Some(body) = self.body_at_hand() else {
                match self.announce(&mut connection) {
                    // Streaming is rarer and its future large: it is made when it is needed, like those below.
                    Ok(()) => return Box::pin(self.converse(taken, connection, attempt, &routed)).await,
                    Err(failure) => outcome = Outcome::NoAnswer(failure),
                }
                now = Clock::now();
                report(self.shard, &attempt, outcome, now);
                continue;
            };
            // Whoever resets while an endpoint is silent is noticed until the last byte of the answer.
            let waiting =
                self.shard.waiting.enter(self.client.reader.descriptor(), connection.reader.descriptor());
            outcome = self.ask(&mut connection, body, &routed, &waiting).await;
            now = Clock::now();
            report(self.shard, &attempt, outcome, now);
            match outcome {
                Outcome::Answered => {
                    drop(taken);
                    self.client.received.consume(body);
                    return self.deliver_and_give_back(connection, attempt, waiting, &routed).await;
                }
                Outcome::ClientGone => return After::End,
                _ => {}
            }
        }
    }

    fn decide(&mut self, outcome: Outcome, now: Instant, taken: &Taken) -> Step {
        let (step, rule) = decide(
            self.shard,
            now,
            taken,
            &mut self.exchange,
            outcome,
            &self.work.request,
            self.terms.is_https,
        );
        if rule.is_some() {
            self.tally.rule = rule;
        }
        step
    }

    /// Shows the balancer the endpoints of the newest snapshot, which may be younger than that of the exchange.
    fn follow_newest(&self, now: Instant) {
        let Some(current) = self.shard.current() else { return };
        let Some(Routed { target: Target::Upstream(id), .. }) = self.exchange.routed() else { return };
        if let Some(upstream) = current.snapshot.upstreams.get(id) {
            let balancers = &mut self.shard.desk.borrow_mut().balancers;
            balancers.follow(upstream, current.snapshot.generation, now);
        }
    }

    /// The length of a body that was received whole; `None` where it still flows.
    fn body_at_hand(&self) -> Option<usize> {
        match self.work.request.facts.framing {
            Framing::None => Some(0),
            Framing::Length(length) => {
                usize::try_from(length).ok().filter(|length| *length <= self.client.received.len())
            }
            Framing::Chunked | Framing::UntilClose => None,
        }
    }

    fn write_request_head(&mut self) {
        let behind_proxies;
        let client = match self.terms.trusted {
            false => &self.client.peer_text,
            true => {
                behind_proxies = PeerText::new(self.terms.client);
                &behind_proxies
            }
        };
        let forward = ForwardRequest {
            peer: &self.client.peer_text,
            client,
            trusted: self.terms.trusted,
            scheme: if self.terms.is_tls { Scheme::Https } else { Scheme::Http },
            public_port: self.terms.public_port,
            request_id: &self.request_id,
            target: None,
            host: None,
            upgrade: self.work.request.upgrade().is_some(),
            edits: &[],
        };
        self.work.to_endpoint.clear();
        write_request(&self.work.request, &forward, self.work.to_endpoint.text());
    }

    /// Sends a request whose body is at hand and waits for the head of its final response.
    async fn ask(
        &mut self,
        connection: &mut Connection,
        body: usize,
        routed: &Routed,
        waiting: &Wait,
    ) -> Outcome {
        self.write_request_head();
        self.work.to_endpoint.text().extend_from_slice(&self.client.received.bytes()[..body]);
        self.tally.bytes_in.set(body as u64);
        let out = std::mem::take(&mut self.work.to_endpoint);
        // An endpoint that takes nothing any more may still have answered.
        let whole = out.left().len();
        let (_, out) = connection.writer.write_all(out, routed.timeouts.response).await;
        let unsent = out.left().len() == whole;
        self.work.to_endpoint = out;
        let await_head = AwaitHead {
            sent: &Cell::new(true),
            request: &self.work.request,
            timeouts: &routed.timeouts,
            write_timeout: self.terms.timeouts.write,
        };
        let reused = connection.reused;
        let (response, to_client) = (&mut self.work.response, &mut self.work.to_client);
        let answered = await_head.perform(
            &mut connection.reader,
            &mut connection.received,
            response,
            &mut self.client.writer,
            to_client,
        );
        match answered.await {
            Ok(()) => Outcome::Answered,
            Err(_) if waiting.client_is_gone() => Outcome::ClientGone,
            Err((silent, _)) if connection.writer.watch.has_expired() => {
                let cause = NoAnswerCause::TimedOut;
                Outcome::NoAnswer(NoAnswer { reused, silent, unsent: false, replayable: true, cause })
            }
            Err((silent, cause)) => {
                Outcome::NoAnswer(NoAnswer { reused, silent, unsent, replayable: true, cause })
            }
        }
    }

    async fn deliver_and_give_back(
        &mut self,
        mut connection: Connection,
        attempt: Try,
        waiting: Wait,
        routed: &Routed,
    ) -> After {
        let delivery = self.delivery(routed);
        let Workspace { request, response, to_client, .. } = &mut *self.work;
        let switched = response.status() == 101;
        let delivered = delivery
            .perform(
                request,
                response,
                &mut connection.reader,
                &mut connection.received,
                &mut self.client.writer,
                to_client,
            )
            .await;
        self.tally.status = self.work.response.status();
        self.tally.bytes_out.set(delivery.bytes.get());
        if switched && delivered.end == End::Complete {
            // In a tunnel both sides may finish at their own time.
            drop(waiting);
            Box::pin(self.tunnel(connection, routed.timeouts.tunnel)).await;
            return After::End;
        }
        drop(attempt);
        let now = Clock::now();
        self.finished = Some(now);
        if delivered.end == End::Complete && self.work.response.facts.keep_alive {
            let seconds = self.work.response.facts.keep_alive_secs;
            connection.give_back(self.shard, &routed.timeouts, seconds, now);
        }
        self.after(delivered)
    }

    /// How the connection goes on after an answer that was delivered.
    fn after(&self, delivered: Delivered) -> After {
        match delivered.after() {
            // Who asked for the end and has sent all sends nothing that could reset what it was told (RFC 9112 §9.6).
            After::Close if self.was_last_request() => After::End,
            after => after,
        }
    }

    /// Whether the client promised that nothing comes any more, in plain text: TLS has a last word of its own. Old clients
    /// add an empty line to content.
    fn was_last_request(&self) -> bool {
        let facts = &self.work.request.facts;
        !facts.keep_alive
            && facts.framing == Framing::None
            && self.client.received.is_empty()
            && self.client.session.is_none()
    }

    fn delivery(&self, routed: &Routed) -> Delivery {
        Delivery {
            version: self.work.request.version(),
            is_head: self.work.request.method() == b"HEAD",
            keep_alive: Cell::new(self.work.request.facts.keep_alive && !self.shard.is_draining()),
            date: self.shard.clock.date(),
            response_timeout: routed.timeouts.response,
            write_timeout: self.terms.timeouts.write,
            bytes: Cell::new(0),
        }
    }

    async fn tunnel(&mut self, mut connection: Connection, idle: Duration) {
        let passed = Passed::default();
        let client = Side {
            reader: &mut self.client.reader,
            writer: &mut self.client.writer,
            received: std::mem::replace(&mut self.client.received, Buffer::empty()),
        };
        let endpoint = Side {
            reader: &mut connection.reader,
            writer: &mut connection.writer,
            received: std::mem::replace(&mut connection.received, Buffer::empty()),
        };
        tunnel::run(client, endpoint, idle, &passed).await;
        self.tally.bytes_in.set(passed.from_client.get());
        self.tally.bytes_out.set(passed.from_endpoint.get());
    }

    /// Answers the client ourselves and decides about what it still sends.
    async fn answer(&mut self, answer: &Answer) -> After {
        let request = &self.work.request;
        let framing = request.facts.framing;
        // Who waits for a go-ahead will not send its body, or will: nobody can tell where the next request starts.
        let discardable = match framing {
            Framing::None | Framing::Length(0) => true,
            Framing::Length(length) => length <= DISCARDED_BYTES_MAX as u64 && !request.facts.expect_continue,
            Framing::Chunked => !request.facts.expect_continue,
            Framing::UntilClose => false,
        };
        let keep_alive = discardable
            && !answer.close
            && !request.is_empty()
            && request.facts.keep_alive
            && !self.shard.is_draining();
        let date = self.shard.clock.date();
        let (writer, to_client) = (&mut self.client.writer, &mut self.work.to_client);
        let told =
            tell(answer, request, keep_alive, &date, self.terms.timeouts.write, writer, to_client).await;
        self.tally.status = told.status;
        self.tally.token = told.token;
        self.tally.detail = answer.message;
        self.tally.bytes_out.set(told.bytes);
        let after = match answer.close {
            // What was wrong with the request may go on.
            true => told.delivered.after(),
            false => self.after(told.delivered),
        };
        match after {
            After::Keep => self.discard_request(framing).await,
            after => after,
        }
    }

    async fn discard_request(&mut self, framing: Framing) -> After {
        let mut decoder = BodyDecoder::with_limits(framing, &self.terms.limits);
        if decoder.is_done() {
            return After::Keep;
        }
        let Client { reader, received, .. } = &mut *self.client;
        reader.watch.arm(Purpose::Read, DISCARD);
        match relay::discard(reader, received, &mut decoder, DISCARDED_BYTES_MAX).await {
            true => After::Keep,
            false => After::Close,
        }
    }

    /// Writes the exchange into the books and the log: one with a head, or what was received instead of one.
    fn record(&self, head: Result<(), &[u8]>) {
        let finished = self.finished.unwrap_or_else(Clock::now);
        let micros =
            u64::try_from(finished.saturating_duration_since(self.started).as_micros()).unwrap_or(u64::MAX);
        let status = self.tally.status;
        // The life of a tunnel is no latency, and what never was a request has none.
        if head.is_ok() && status != 101 {
            self.shard.observe(micros);
        }
        if status != 0 {
            self.shard.count(class_counter(status));
        }
        let no_route = match self.exchange.no_route() {
            Some(NoRoute::Host) => {
                self.shard.count(Counter::NoRouteHost);
                "host"
            }
            Some(NoRoute::Path) => {
                self.shard.count(Counter::NoRoutePath);
                "path"
            }
            None => "",
        };
        self.shard.add(Counter::BytesIn, self.tally.bytes_in.get());
        self.shard.add(Counter::BytesOut, self.tally.bytes_out.get());
        self.shard.add(Counter::Retries, self.exchange.retries() as u64);
        if let (Some(rule), 100..600) = (&self.tally.rule, status) {
            let class = &rule.classes[usize::from(status / 100 - 1)];
            class.set(class.get() + 1);
        }
        if self.terms.access_log == AccessLogFormat::Off {
            return;
        }
        let line = head.err();
        let head = head.is_ok().then_some(&self.work.request);
        let record = Record {
            format: self.terms.access_log,
            generation: self.terms.generation,
            shard: self.shard.number,
            client: self.terms.client,
            tls: self.client.session.as_ref().map_or("", |session| session.version()),
            head,
            line,
            detail: self.tally.detail,
            // Nginx's number for a client that went away before it was answered.
            status: if status == 0 { 499 } else { status },
            token: self.tally.token,
            no_route,
            request_id: head.and_then(client_request_id).unwrap_or(&self.request_id),
            bytes_in: self.tally.bytes_in.get(),
            bytes_out: self.tally.bytes_out.get(),
            endpoint: self.tally.endpoint,
            tries: self.exchange.retries() + 1,
            rule: self.tally.rule.as_deref(),
            micros,
        };
        self.shard.log(|out| record.write(out));
    }
}

/// Asks the engine. The books of the rule are opened when a rule takes the request.
fn decide(
    shard: &Shard,
    now: Instant,
    taken: &Taken,
    exchange: &mut Exchange,
    outcome: Outcome,
    head: &Head,
    is_https: bool,
) -> (Step, Option<Rc<RuleRecord>>) {
    let Some(listener) = taken.listener() else {
        // A connection outlives its listener by one answer.
        return (Step::Answer(Answer::unavailable(503)), None);
    };
    let mut desk = shard.desk.borrow_mut();
    let desk = &mut *desk;
    let mut env = Env {
        now,
        random: &mut desk.random,
        snapshot: &taken.current.snapshot,
        listener,
        is_https,
        balancers: &mut desk.balancers,
        budget: &mut desk.budget,
        scratch: &mut desk.scratch,
        host: &mut desk.host,
        found: None,
    };
    let step = exchange.next(outcome, head, &mut env);
    let record = env.found.map(|rule| shard.rule_record(rule));
    (step, record)
}

fn report(shard: &Shard, attempt: &Try, outcome: Outcome, now: Instant) {
    if let Some(result) = verdict(outcome)
        && attempt.lease.report(result, now)
    {
        shard.count(Counter::Ejections);
    }
}

fn new_request_id(shard: &Shard) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut desk = shard.desk.borrow_mut();
    let halves = [desk.random.next_u64(), desk.random.next_u64()];
    std::array::from_fn(|place| DIGITS[(halves[place / 16] >> (4 * (place % 16)) & 0xf) as usize])
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use super::*;

    fn future_bytes<F: Future>(_: impl Fn(Box<Client>, usize) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn the_common_exchange_stays_small() {
        // What is rare (a flowing body, a tunnel, an answer of our own) is boxed on its own.
        let bytes = future_bytes(exchange);
        assert!(bytes <= 2_560, "the future of an exchange has {bytes} bytes");
    }
}
