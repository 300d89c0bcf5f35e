//! The life of one request, decided: what happened goes in, what to do next comes out.
//!
//! ```text
//!            ┌────────────── Answer ◄─────────────────────────────┐
//! HeadComplete ─► route ─► policies ─► pick ─► Try ─► Answered ─► Relay
//!                                       ▲        │
//!                                       ├─ retry ┼─ NotConnected | NoAnswer ─► Answer
//!                                       └─ Pause ┘
//! ```
//!
//! Steps, not bytes: bodies never pass through here. A step owns what it names; nothing in it points into the snapshot.
//!
//! **Retries of our own accord** (never on a status): a connection that could not be opened (each endpoint once); a reused connection that died
//! before its first answer byte, if the request can be sent again; and once, within a budget, a fresh connection that was
//! reset before any answer byte under an idempotent request.
//!
//! **A pause** comes where nobody takes the connection while the endpoints of the upstream are being replaced: in a roll-out
//! all that are known may have gone before the next ones are heard of. Nothing was sent, so the request waits a moment for
//! them, and is then routed to whoever is there.

mod answer;
mod budget;
mod route;

use std::time::{Duration, Instant};

use ringress_shared::id::EndpointId;
use ringress_shared::listener::Listener;
use ringress_shared::route::{Rule, Scratch, Target};
use ringress_shared::snapshot::Snapshot;
use smallvec::SmallVec;

pub use answer::{Answer, Token};
pub use budget::RetryBudget;
pub use route::{NoRoute, Routed};

use crate::balance::{Balancers, Lease, PickCtx, TryResult};
use crate::http::{Head, HeadError};
use crate::policy::{self, RequestFacts};
use crate::random::Random;

/// Tries of one request, over all endpoints; refused connections are counted apart.
const TRIES_MAX: usize = 3;

/// Connections of one request that may be refused. A refusal costs nobody anything and nothing was sent, so a roll-out of
/// many pods, of which several have gone before their endpoints have, fails no request.
const REFUSALS_MAX: usize = 16;

/// How often a request may come through ringress. Once more is common (a hostname of ours behind an ExternalName or an
/// auth URL, an inner controller behind an outer one); a route that leads back to itself never ends.
const PASSES_MAX: u16 = 8;

/// How long a request waits for new endpoints, each time that nobody is left.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
];

/// What an exchange may look at and change; borrowed for one call only.
pub struct Env<'e> {
    /// The time.
    pub now: Instant,
    /// Random numbers of the shard.
    pub random: &'e mut Random,
    /// The snapshot that this exchange took when its head was complete.
    pub snapshot: &'e Snapshot,
    /// The listener that took the connection.
    pub listener: &'e Listener,
    /// Whether the client speaks https, to us or to a trusted proxy before us.
    pub is_https: bool,
    /// The balancers of the shard.
    pub balancers: &'e mut Balancers,
    /// The budget for repeating tries on fresh connections.
    pub budget: &'e mut RetryBudget,
    /// Working memory of the matcher.
    pub scratch: &'e mut Scratch,
    /// Working memory for the host.
    pub host: &'e mut String,
    /// Filled in when a rule takes the request, for the books of whoever asked.
    pub found: Option<&'e Rule>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The request head is complete and well formed.
    HeadComplete,
    /// The connection to the endpoint could not be opened.
    NotConnected(ConnectFailure),
    /// The endpoint's connection ended, kept silent or spoke nonsense before a final response head.
    NoAnswer(NoAnswer),
    /// A final response head came.
    Answered,
    /// The pause is over.
    Resumed,
    /// The client went away before it was answered.
    ClientGone,
}

/// Why a connection could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFailure {
    /// Nobody listens.
    Refused,
    /// Nobody answered in time.
    TimedOut,
    /// Nobody had answered yet when the endpoint left its upstream.
    Withdrawn,
    /// We lack a descriptor or a port: nobody's fault but ours.
    Local,
    /// Anything else, such as an unreachable network.
    Other,
}

/// How a try ended without a final response head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAnswer {
    /// The connection came from the pool.
    pub reused: bool,
    /// Not one byte of an answer came.
    pub silent: bool,
    /// Not one byte of the request was sent.
    pub unsent: bool,
    /// The whole request is still at hand.
    pub replayable: bool,
    /// Why.
    pub cause: NoAnswerCause,
}

/// Why a try ended without a final response head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAnswerCause {
    /// The endpoint closed or reset the connection.
    Closed,
    /// The endpoint kept silent for longer than the rule allows.
    TimedOut,
    /// What came is no response head.
    Malformed(HeadError),
}

/// What to do next.
#[derive(Debug)]
pub enum Step {
    /// Answer the client ourselves; the exchange is over.
    Answer(Answer),
    /// Send the request to the leased endpoint.
    Try(Try),
    /// Wait so long, follow the newest endpoints, and go on.
    Pause(Duration),
    /// Pass the response on; the exchange is over when it was sent.
    Relay,
    /// Stop: nobody waits for an answer.
    Abandon,
}

/// One try.
#[derive(Debug)]
pub struct Try {
    /// The endpoint, and its place in the books.
    pub lease: Lease,
    /// Whether a pooled connection will not do.
    pub fresh: bool,
}

/// One request from its complete head to its answer.
#[derive(Debug, Default)]
pub struct Exchange {
    routed: Option<Routed>,
    no_route: Option<NoRoute>,
    tries: usize,
    /// Those of them that do not count: whose connection was refused or not waited for, and all before a pause.
    uncounted: usize,
    pauses: usize,
    /// What is answered if a pause does not help.
    unreachable: Option<ConnectFailure>,
    /// Where the last try went.
    last: Option<EndpointId>,
    /// Endpoints that failed this request; a stale pooled connection says nothing of its endpoint.
    failed: SmallVec<[EndpointId; TRIES_MAX]>,
    fresh: bool,
    repeated: bool,
}

impl Exchange {
    /// An exchange whose head is not read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the request goes, once it was routed.
    pub fn routed(&self) -> Option<&Routed> {
        self.routed.as_ref()
    }

    /// Why no rule took the request.
    pub fn no_route(&self) -> Option<NoRoute> {
        self.no_route
    }

    /// Tries after the first.
    pub fn retries(&self) -> usize {
        self.tries.saturating_sub(1)
    }

    /// What to do after `outcome`.
    pub fn next(&mut self, outcome: Outcome, head: &Head, env: &mut Env<'_>) -> Step {
        match outcome {
            Outcome::HeadComplete => self.begin(head, env),
            Outcome::NotConnected(failure) => self.after_connect_failure(failure, env),
            Outcome::NoAnswer(failure) => self.after_silence(failure, head, env),
            Outcome::Resumed => self.resume(env),
            Outcome::Answered => Step::Relay,
            Outcome::ClientGone => Step::Abandon,
        }
    }

    fn begin(&mut self, head: &Head, env: &mut Env<'_>) -> Step {
        env.budget.deposit();
        let rule = match route::find(head, env) {
            Ok(rule) => rule,
            Err(refusal) => {
                self.no_route = refusal.no_route;
                return Step::Answer(refusal.answer);
            }
        };
        env.found = Some(rule);
        if head.facts.passes >= PASSES_MAX {
            return Step::Answer(Answer::looping());
        }
        let facts = RequestFacts { is_https: env.is_https, framing: head.facts.framing };
        let backend = route::choose_backend(&rule.backends, env.random);
        let target = backend.map_or(Target::Answer(503), |backend| backend.target);
        let of_backend = backend.map(|backend| &*backend.policies);
        let sets = [Some(&*env.listener.policies), Some(&*rule.policies), of_backend];
        let sets = sets.into_iter().flatten();
        self.routed = Some(Routed::new(rule, target, sets.clone()));
        if let Some(answer) = policy::on_request(sets, head, &facts) {
            return Step::Answer(answer);
        }
        match target {
            Target::Answer(status) => Step::Answer(Answer::unavailable(status)),
            Target::Upstream(_) => {
                self.try_next(env).unwrap_or_else(|| Step::Answer(Answer::unavailable(503)))
            }
        }
    }

    fn after_connect_failure(&mut self, failure: ConnectFailure, env: &mut Env<'_>) -> Step {
        self.failed.extend(self.last);
        self.uncounted += usize::from(matches!(failure, ConnectFailure::Refused | ConnectFailure::Withdrawn));
        // Nothing was sent, so another endpoint can always be asked.
        let elsewhere = self.may_try() && self.has_elsewhere(env);
        let retry = if elsewhere { self.try_next(env) } else { self.pause(failure, env) };
        retry.unwrap_or_else(|| Step::Answer(unreachable(failure)))
    }

    fn pause(&mut self, failure: ConnectFailure, env: &Env<'_>) -> Option<Step> {
        let Target::Upstream(id) = self.routed.as_ref()?.target else { return None };
        let is_gone =
            matches!(failure, ConnectFailure::Refused | ConnectFailure::Withdrawn | ConnectFailure::Other);
        let pause = PAUSES.get(self.pauses).filter(|_| is_gone && env.balancers.is_moving(id, env.now))?;
        self.pauses += 1;
        self.unreachable = Some(failure);
        Some(Step::Pause(*pause))
    }

    /// Everybody may be asked again: some are new, and whoever refused may have come back.
    fn resume(&mut self, env: &mut Env<'_>) -> Step {
        self.failed.clear();
        self.uncounted = self.tries;
        let failure = self.unreachable.unwrap_or(ConnectFailure::Other);
        self.try_next(env).unwrap_or_else(|| Step::Answer(unreachable(failure)))
    }

    fn after_silence(&mut self, failure: NoAnswer, head: &Head, env: &mut Env<'_>) -> Step {
        if self.may_repeat(failure, head, env) {
            // A pool can hold several connections that died together: the next one is opened.
            self.fresh = true;
            if !failure.reused {
                self.repeated = true;
                self.failed.extend(self.last);
            }
            if let Some(step) = self.try_next(env) {
                return step;
            }
        }
        Step::Answer(match failure.cause {
            NoAnswerCause::Closed => Answer::new(
                502,
                Token::ConnectionTerminated,
                "the endpoint closed the connection without an answer",
            ),
            NoAnswerCause::TimedOut => {
                Answer::new(504, Token::HttpResponseTimeout, "the endpoint did not answer in time")
            }
            NoAnswerCause::Malformed(error) => Answer::new(
                502,
                Token::Other(error.response_token()),
                "the endpoint sent an invalid response",
            ),
        })
    }

    fn may_try(&self) -> bool {
        self.tries - self.uncounted < TRIES_MAX && self.failed.len() < REFUSALS_MAX
    }

    fn may_repeat(&self, failure: NoAnswer, head: &Head, env: &mut Env<'_>) -> bool {
        let died_silent = failure.silent && failure.cause == NoAnswerCause::Closed;
        if !died_silent || !failure.replayable || !self.may_try() || !(failure.unsent || head.is_idempotent())
        {
            return false;
        }
        failure.reused || (!self.repeated && env.budget.withdraw())
    }

    fn try_next(&mut self, env: &mut Env<'_>) -> Option<Step> {
        let Target::Upstream(id) = self.routed.as_ref()?.target else { return None };
        let upstream = env.snapshot.upstreams.get(&id)?;
        let generation = env.snapshot.generation;
        let ctx = PickCtx { now: env.now, random: env.random, generation, avoid: &self.failed };
        let lease = env.balancers.pick(upstream, ctx)?;
        self.tries += 1;
        self.last = Some(lease.endpoint());
        Some(Step::Try(Try { lease, fresh: self.fresh }))
    }

    /// Whether an endpoint is left that this request has not failed at. The newest set counts, not that of the exchange's
    /// snapshot: endpoints that are gone by now are why one looks elsewhere.
    fn has_elsewhere(&self, env: &Env<'_>) -> bool {
        let Some(Routed { target: Target::Upstream(id), .. }) = self.routed else { return false };
        env.balancers.has_other(id, &self.failed)
    }
}

fn unreachable(failure: ConnectFailure) -> Answer {
    match failure {
        ConnectFailure::Refused => {
            Answer::new(502, Token::ConnectionRefused, "the endpoint refused the connection")
        }
        ConnectFailure::TimedOut => {
            Answer::new(504, Token::ConnectionTimeout, "the endpoint did not take the connection in time")
        }
        ConnectFailure::Withdrawn => {
            Answer::new(502, Token::DestinationUnavailable, "the endpoint is gone, and no other is left")
        }
        ConnectFailure::Local => {
            Answer::new(503, Token::ConnectionLimit, "no more connections can be opened here")
        }
        ConnectFailure::Other => {
            Answer::new(502, Token::DestinationUnroutable, "the endpoint could not be reached")
        }
    }
}

/// What a failed try says of its endpoint: a stale pooled connection says nothing.
pub fn verdict(outcome: Outcome) -> Option<TryResult> {
    match outcome {
        Outcome::Answered => Some(TryResult::Answered),
        Outcome::NotConnected(ConnectFailure::Local | ConnectFailure::Withdrawn) => None,
        Outcome::NotConnected(_) => Some(TryResult::Failed),
        Outcome::NoAnswer(failure)
            if failure.reused && failure.silent && failure.cause == NoAnswerCause::Closed =>
        {
            None
        }
        Outcome::NoAnswer(_) => Some(TryResult::Failed),
        Outcome::HeadComplete | Outcome::Resumed | Outcome::ClientGone => None,
    }
}
