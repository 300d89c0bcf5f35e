//! The life of a request under random faults: every law of retrying, for ten thousand seeds. The seed stands in the
//! message of a failure.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test may panic, and a virtual clock needs a start

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringress_engine::balance::Balancers;
use ringress_engine::codec::h1::{HeadError, parse_request};
use ringress_engine::exchange::{
    ConnectFailure, Env, Exchange, NoAnswer, NoAnswerCause, Outcome, RetryBudget, Step, verdict,
};
use ringress_engine::http::Head;
use ringress_engine::random::Random;
use ringress_shared::id::{EndpointId, RuleId, UpstreamId};
use ringress_shared::listener::{
    AccessLogFormat, ClientTimeouts, HeadLimits, HttpSettings, Listener, ListenerId, Routing,
};
use ringress_shared::origin::{ObjectRef, Origin};
use ringress_shared::policy::{BodyLimit, Denied, HttpsRedirect, PolicySet};
use ringress_shared::route::{
    Backend, Candidate, PathMatch, Predicates, RouteTableBuilder, Rule, RuleTimeouts, Scratch, Target,
};
use ringress_shared::snapshot::{Ambient, Snapshot};
use ringress_shared::upstream::{Balance, Endpoint, EndpointSet, Upstream, UpstreamProtocol, UpstreamTable};

#[derive(Debug)]
struct NoTickets;

impl rustls::server::ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }
    fn lifetime(&self) -> u32 {
        0
    }
    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }
    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// One shard's worth of state around one rule.
struct World {
    snapshot: Snapshot,
    listener: Listener,
    balancers: Balancers,
    budget: RetryBudget,
    random: Random,
    scratch: Scratch,
    host: String,
    now: Instant,
}

impl World {
    fn new(seed: u64, endpoints: u16, policies: PolicySet) -> Self {
        Self::with_policies(seed, endpoints, [PolicySet::default(), policies, PolicySet::default()])
    }

    /// With the policies of the listener, the rule and the backend.
    fn with_policies(seed: u64, endpoints: u16, policies: [PolicySet; 3]) -> Self {
        let [of_listener, of_rule, of_backend] = policies.map(Arc::new);
        let id = UpstreamId::of(&["default/web:80"]);
        let endpoints =
            (0..endpoints).map(|port| Endpoint::new(([127, 0, 0, 1], 9_000 + port).into(), None)).collect();
        let upstream = Upstream {
            id,
            service: ObjectRef::new("Service", "default", "web"),
            port: "80".into(),
            protocol: UpstreamProtocol::Http1,
            balance: if seed.is_multiple_of(2) { Balance::RoundRobin } else { Balance::PeakEwma },
            endpoints: Arc::new(EndpointSet { endpoints }),
        };
        let rule = Rule {
            id: RuleId::of(&["web"]),
            origin: Origin { object: ObjectRef::new("Ingress", "default", "web"), field: "".into() },
            policies: of_rule,
            backends: Box::new([Backend { weight: 1, target: Target::Upstream(id), policies: of_backend }]),
            timeouts: RuleTimeouts::default(),
        };
        let mut routes = RouteTableBuilder::new();
        let path = PathMatch::prefix("/");
        routes.candidate(None, Candidate { path, predicates: Predicates::default(), rule: Arc::new(rule) });
        let http = HttpSettings {
            limits: HeadLimits::default(),
            timeouts: ClientTimeouts::default(),
            trusted_proxies: Box::new([]),
            access_log: AccessLogFormat::Off,
            public_port: 80,
        };
        let mut upstreams = UpstreamTable::default();
        upstreams.insert(id, Arc::new(upstream));
        Self {
            snapshot: Snapshot {
                generation: 1,
                sockets: Arc::new([]),
                upstreams: Arc::new(upstreams),
                server_configs: Arc::new(BTreeMap::new()),
                ambient: Arc::new(Ambient { tickets: Arc::new(NoTickets) }),
            },
            listener: Listener {
                id: ListenerId("http".into()),
                hostname: None,
                tls: None,
                policies: of_listener,
                routing: Routing::Http(Arc::new(routes.build())),
                http: Arc::new(http),
            },
            balancers: Balancers::new(0),
            budget: RetryBudget::default(),
            random: Random::new(seed),
            scratch: Scratch::default(),
            host: String::new(),
            now: Instant::now(),
        }
    }

    fn next(&mut self, exchange: &mut Exchange, outcome: Outcome, head: &Head, is_https: bool) -> Step {
        let mut env = Env {
            now: self.now,
            random: &mut self.random,
            snapshot: &self.snapshot,
            listener: &self.listener,
            is_https,
            balancers: &mut self.balancers,
            budget: &mut self.budget,
            scratch: &mut self.scratch,
            host: &mut self.host,
            found: None,
        };
        exchange.next(outcome, head, &mut env)
    }
}

fn request(text: &str) -> Head {
    let mut head = Head::new();
    parse_request(text.as_bytes(), &HeadLimits::default(), &mut head).unwrap();
    head
}

fn random_outcome(random: &mut Random, first_reused: bool, replayable: bool) -> Outcome {
    let causes =
        [NoAnswerCause::Closed, NoAnswerCause::TimedOut, NoAnswerCause::Malformed(HeadError::StatusLine)];
    match random.below(7) {
        0 => Outcome::NotConnected(ConnectFailure::Refused),
        1 => Outcome::NotConnected(ConnectFailure::TimedOut),
        2 => Outcome::NotConnected(ConnectFailure::Withdrawn),
        3..6 => Outcome::NoAnswer(NoAnswer {
            reused: first_reused,
            silent: random.below(3) > 0,
            unsent: random.below(4) == 0,
            replayable,
            cause: causes[random.below(3)],
        }),
        _ => Outcome::Answered,
    }
}

#[test]
fn the_laws_of_retrying_hold_under_any_faults() {
    let get = request("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = request("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    for seed in 0..10_000 {
        let mut faults = Random::new(seed ^ 0xABCD);
        let endpoints = 1 + faults.below(if seed % 8 == 0 { 20 } else { 4 }) as u16;
        let mut world = World::new(seed, endpoints, PolicySet::default());
        for exchange_number in 0..5 {
            let idempotent = faults.below(2) == 0;
            let head = if idempotent { &get } else { &post };
            live(
                &mut world,
                &mut faults,
                head,
                idempotent,
                endpoints,
                &format!("seed {seed}.{exchange_number}"),
            );
            world.now += Duration::from_millis(faults.below(3_000) as u64);
        }
    }
}

fn live(world: &mut World, faults: &mut Random, head: &Head, idempotent: bool, endpoints: u16, seed: &str) {
    let replayable = faults.below(4) > 0;
    let mut exchange = Exchange::new();
    let mut outcome = Outcome::HeadComplete;
    let (mut tries, mut refusals) = (0, 0);
    let mut last = None;
    let mut dead: Vec<EndpointId> = Vec::new();
    loop {
        let step = world.next(&mut exchange, outcome, head, false);
        match step {
            Step::Try(attempt) => {
                check_retry(outcome, idempotent, seed);
                if matches!(outcome, Outcome::NotConnected(_)) {
                    dead.extend(last);
                    assert!(dead.len() < usize::from(endpoints), "{seed}: nobody is left");
                    assert!(
                        !dead.contains(&attempt.lease.endpoint()),
                        "{seed}: the same dead endpoint again"
                    );
                }
                if let Outcome::NoAnswer(_) = outcome {
                    assert!(attempt.fresh, "{seed}: a retry never goes to the pool");
                }
                last = Some(attempt.lease.endpoint());
                let uncounted =
                    [ConnectFailure::Refused, ConnectFailure::Withdrawn].map(Outcome::NotConnected);
                refusals += usize::from(uncounted.contains(&outcome));
                tries += 1;
                assert!(tries - refusals <= 3 && refusals < 16, "{seed}: {tries} tries, {refusals} refused");
                let reused = !attempt.fresh && faults.below(2) == 0;
                outcome = random_outcome(faults, reused, replayable);
                if let Some(result) = verdict(outcome) {
                    assert_ne!(
                        outcome,
                        Outcome::NotConnected(ConnectFailure::Withdrawn),
                        "{seed}: an endpoint that nobody waited for is blamed"
                    );
                    attempt.lease.report(result, world.now);
                }
            }
            Step::Answer(answer) => {
                let expected: &[u16] = match outcome {
                    Outcome::NotConnected(ConnectFailure::TimedOut) => &[504],
                    Outcome::NoAnswer(NoAnswer { cause: NoAnswerCause::TimedOut, .. }) => &[504],
                    _ => &[502],
                };
                assert!(expected.contains(&answer.status), "{seed}: {outcome:?} gave {}", answer.status);
                return;
            }
            Step::Relay => {
                assert_eq!(outcome, Outcome::Answered, "{seed}");
                return;
            }
            Step::Pause(time) => panic!("{seed}: waits {time:?} for endpoints that do not change"),
            Step::Abandon => panic!("{seed}: nobody went away"),
        }
    }
}

fn check_retry(outcome: Outcome, idempotent: bool, seed: &str) {
    if let Outcome::NoAnswer(failure) = outcome {
        assert!(failure.silent, "{seed}: retried after a byte of an answer");
        assert!(failure.replayable, "{seed}: retried without the request");
        assert!(idempotent || failure.unsent, "{seed}: a POST was sent twice");
        assert_eq!(failure.cause, NoAnswerCause::Closed, "{seed}: retried on {:?}", failure.cause);
    }
}

#[test]
fn every_endpoint_is_asked_before_a_refusal_is_the_answer() {
    let head = request("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    for (endpoints, asked) in [(1, 1), (3, 3), (10, 10), (30, 16)] {
        let mut world = World::new(u64::from(endpoints), endpoints, PolicySet::default());
        let mut exchange = Exchange::new();
        let mut outcome = Outcome::HeadComplete;
        let mut refused: Vec<EndpointId> = Vec::new();
        let status = loop {
            match world.next(&mut exchange, outcome, &head, false) {
                Step::Try(attempt) => {
                    assert!(!refused.contains(&attempt.lease.endpoint()), "of {endpoints}: asked again");
                    refused.push(attempt.lease.endpoint());
                    outcome = Outcome::NotConnected(ConnectFailure::Refused);
                    attempt.lease.report(verdict(outcome).unwrap(), world.now);
                }
                Step::Answer(answer) => break answer.status,
                step => panic!("of {endpoints}: {step:?}"),
            }
        };
        assert_eq!((status, refused.len()), (502, asked), "of {endpoints}");
    }
}

#[test]
fn a_request_of_an_older_snapshot_finds_the_endpoints_of_the_newest() {
    let head = request("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut world = World::new(2, 1, PolicySet::default());
    let mut exchange = Exchange::new();
    let Step::Try(first) = world.next(&mut exchange, Outcome::HeadComplete, &head, false) else { panic!() };
    // Another request comes under the next generation, which has one more endpoint.
    let mut newer = World::new(2, 2, PolicySet::default()).snapshot;
    newer.generation = 2;
    std::mem::swap(&mut world.snapshot, &mut newer);
    assert!(matches!(world.next(&mut Exchange::new(), Outcome::HeadComplete, &head, false), Step::Try(_)));
    std::mem::swap(&mut world.snapshot, &mut newer);
    let refused = Outcome::NotConnected(ConnectFailure::Refused);
    let Step::Try(second) = world.next(&mut exchange, refused, &head, false) else { panic!() };
    assert_ne!(second.lease.endpoint(), first.lease.endpoint());
}

#[test]
fn a_request_that_finds_nobody_in_a_roll_out_waits_for_the_next_endpoints() {
    let head = request("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    let refused = Outcome::NotConnected(ConnectFailure::Refused);
    let upstream = |endpoints| {
        let table = World::new(2, endpoints, PolicySet::default()).snapshot.upstreams;
        Arc::clone(table.get(&UpstreamId::of(&["default/web:80"])).unwrap())
    };
    let mut world = World::new(2, 1, PolicySet::default());
    let mut exchange = Exchange::new();
    let step = world.next(&mut exchange, Outcome::HeadComplete, &head, false);
    assert!(matches!(step, Step::Try(_)));
    world.balancers.follow(&upstream(2), 2, world.now);
    assert!(matches!(world.next(&mut exchange, refused, &head, false), Step::Try(_)));
    let Step::Pause(pause) = world.next(&mut exchange, refused, &head, false) else {
        panic!("both are gone")
    };
    world.now += pause;
    world.balancers.follow(&upstream(3), 3, world.now);
    let mut asked = Vec::new();
    let mut outcome = Outcome::Resumed;
    let mut waited = pause;
    let answer = loop {
        match world.next(&mut exchange, outcome, &head, false) {
            Step::Try(attempt) => {
                asked.push(attempt.lease.endpoint());
                outcome = refused;
            }
            Step::Pause(pause) => {
                waited += pause;
                world.now += pause;
                outcome = Outcome::Resumed;
            }
            Step::Answer(answer) => break answer.status,
            step => panic!("{step:?}"),
        }
    };
    asked.sort_unstable();
    asked.dedup();
    assert_eq!((answer, asked.len(), waited), (502, 3, Duration::from_millis(750)));
    world.now += Duration::from_secs(10);
    let (mut later, mut outcome) = (Exchange::new(), Outcome::HeadComplete);
    let answer = loop {
        match world.next(&mut later, outcome, &head, false) {
            Step::Try(_) => outcome = refused,
            Step::Answer(answer) => break answer.status,
            step => panic!("nothing moves any more: {step:?}"),
        }
    };
    assert_eq!(answer, 502);
}

#[test]
fn a_client_that_is_gone_is_not_answered() {
    let mut world = World::new(1, 1, PolicySet::default());
    let head = request("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut exchange = Exchange::new();
    assert!(matches!(world.next(&mut exchange, Outcome::HeadComplete, &head, false), Step::Try(_)));
    assert!(matches!(world.next(&mut exchange, Outcome::ClientGone, &head, false), Step::Abandon));
}

#[test]
fn policies_answer_in_their_order() {
    let all = PolicySet {
        body_limit: Some(BodyLimit { body_bytes_max: 2 }),
        denied: Some(Denied { because: "auth-url is not supported".into() }),
        https_redirect: Some(HttpsRedirect { status: 308, port: 8443 }),
    };
    let without = |change: fn(&mut PolicySet)| {
        let mut set = all.clone();
        change(&mut set);
        set
    };
    let big = "POST /a%20b?q=1 HTTP/1.1\r\nHost: EXAMPLE.com:8080\r\nContent-Length: 3\r\n\r\n";
    let rows = [
        (all.clone(), false, Some(413)),
        (without(|set| set.body_limit = None), false, Some(503)),
        (without(|set| (set.body_limit, set.denied) = (None, None)), false, Some(308)),
        (without(|set| (set.body_limit, set.denied) = (None, None)), true, None),
    ];
    for (policies, is_https, expected) in rows {
        let mut world = World::new(1, 1, policies);
        let step = world.next(&mut Exchange::new(), Outcome::HeadComplete, &request(big), is_https);
        let (status, location) = match step {
            Step::Answer(answer) => (Some(answer.status), answer.location),
            _ => (None, None),
        };
        assert_eq!(status, expected);
        if expected == Some(308) {
            let location = String::from_utf8(location.unwrap()).unwrap();
            assert_eq!(location, "https://EXAMPLE.com:8443/a%20b?q=1");
        }
    }
}

#[test]
fn a_listener_is_asked_before_its_rule_and_a_backend_last() {
    let limit =
        |body_bytes_max| PolicySet { body_limit: Some(BodyLimit { body_bytes_max }), ..PolicySet::default() };
    let denied = PolicySet { denied: Some(Denied { because: "a test".into() }), ..PolicySet::default() };
    let redirect =
        PolicySet { https_redirect: Some(HttpsRedirect { status: 308, port: 443 }), ..PolicySet::default() };
    let none = PolicySet::default;
    let rows = [
        ([denied.clone(), redirect.clone(), limit(2)], Some(503)),
        ([none(), redirect.clone(), denied.clone()], Some(308)),
        ([limit(9), limit(8), limit(2)], Some(413)),
        ([none(), none(), denied], Some(503)),
        ([limit(5), limit(3), limit(4)], None),
    ];
    let head = request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    for (policies, expected) in rows {
        let mut world = World::with_policies(1, 1, policies.clone());
        let mut exchange = Exchange::new();
        let status = match world.next(&mut exchange, Outcome::HeadComplete, &head, false) {
            Step::Answer(answer) => Some(answer.status),
            _ => None,
        };
        assert_eq!(status, expected, "{policies:?}");
        if expected.is_none() {
            assert_eq!(exchange.routed().unwrap().body_bytes_max, Some(3), "the smallest limit holds");
        }
    }
}

#[test]
fn an_upstream_without_endpoints_is_503_and_an_unknown_path_404() {
    let head = request("GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut world = World::new(1, 0, PolicySet::default());
    let mut exchange = Exchange::new();
    let Step::Answer(answer) = world.next(&mut exchange, Outcome::HeadComplete, &head, false) else {
        panic!()
    };
    assert_eq!((answer.status, answer.token.as_str()), (503, "destination_unavailable"));
    let empty = RouteTableBuilder::new().build();
    world.listener.routing = Routing::Http(Arc::new(empty));
    let Step::Answer(answer) = world.next(&mut exchange, Outcome::HeadComplete, &head, false) else {
        panic!()
    };
    assert_eq!((answer.status, answer.token.as_str()), (404, "destination_not_found"));
}

#[test]
fn a_request_that_keeps_coming_back_is_508() {
    let rows = [
        ("", None),
        ("CDN-Loop: ringress\r\n", None),
        ("CDN-Loop: a, ringress, b, ringress, c, d, e, f, g, h\r\n", None),
        ("CDN-Loop: ringress-1, ringress.example, aringress\r\n", None),
        ("CDN-Loop: ringress,ringress,ringress,ringress,ringress,ringress,ringress\r\n", None),
        ("CDN-Loop: ringress,ringress,ringress,ringress,ringress,ringress,ringress,ringress\r\n", Some(508)),
        (
            "CDN-Loop: ringress;a=b, RINGRESS ;c, ringress, ringress\r\ncdn-loop: ringress,, ringress,\r\nCDN-LOOP: ringress,ringress\r\n",
            Some(508),
        ),
    ];
    for (fields, expected) in rows {
        let head = request(&format!("GET /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        let mut world = World::new(3, 1, PolicySet::default());
        let status = match world.next(&mut Exchange::new(), Outcome::HeadComplete, &head, false) {
            Step::Answer(answer) => {
                assert_eq!(answer.token.as_str(), "proxy_loop_detected", "{fields}");
                Some(answer.status)
            }
            _ => None,
        };
        assert_eq!(status, expected, "{fields}");
    }
}
