//! Endpoints that fail, and how the others are chosen.

use crate::support::manifest::{self, Ingress};
use crate::support::process::Ports;
use crate::support::upstream::{echo, ok};
use crate::support::{Client, Launch, Upstream, on_both_drivers, wait_until};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// An address that takes no connection and refuses none: its queue is full.
struct Deaf {
    address: SocketAddr,
    _listener: socket2::Socket,
    _queued: Vec<TcpStream>,
}

impl Deaf {
    fn new() -> Self {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
        let queued: Vec<_> = std::iter::from_fn(connect).take(16).collect();
        assert!(queued.len() < 16, "the queue is never full");
        Self { address, _listener: listener, _queued: queued }
    }
}

on_both_drivers! {
    fn a_refused_connection_is_502_or_another_endpoint(driver) {
        let gone = Upstream::named("gone").address();
        let alone = Launch::new(driver)
            .manifests(&[Ingress::simple("a", "a.test", "web").yaml(), manifest::service("web"), manifest::endpoints("web", &[gone])])
            .start();
        let answer = alone.get("a.test", "/");
        assert_eq!(answer.status, 502);
        assert!(answer.field("proxy-status").is_some_and(|value| value.contains("connection_refused")), "{:?}", answer.fields);

        let upstream = Upstream::named("web");
        let pair = Launch::new(driver)
            .manifests(&[
                Ingress::simple("a", "a.test", "web").yaml(),
                manifest::service("web"),
                manifest::endpoints("web", &[gone, upstream.address()]),
            ])
            .start();
        let mut client = pair.client();
        for round in 0..40 {
            assert_eq!(client.get("a.test", "/").status, 200, "round {round}");
        }
    }

    fn endpoints_that_are_ringress_itself_are_a_loop_that_ends(driver) {
        let upstream = Upstream::named("web");
        let ports = Ports::free();
        let to_itself = SocketAddr::from(([127, 0, 0, 1], ports.http));
        let ringress = Launch::new(driver)
            .ports(ports)
            .manifests(&[
                Ingress::simple("loop", "loop.test", "itself").yaml(),
                manifest::service("itself"),
                manifest::endpoints("itself", &[to_itself]),
                Ingress::simple("a", "a.test", "web").yaml(),
                manifest::service("web"),
                manifest::endpoints("web", &[upstream.address()]),
            ])
            .start();
        let answer = ringress.get("loop.test", "/");
        assert_eq!(answer.status, 508);
        assert!(answer.field("proxy-status").is_some_and(|value| value.contains("proxy_loop_detected")), "{:?}", answer.fields);
        assert_eq!(ringress.metric("ringress_upstream_connects_total", ""), 8.0, "eight times round, and no further");
        assert_eq!(ringress.get("a.test", "/").status, 200, "and nobody else notices");
    }

    fn a_request_that_finds_nobody_in_a_roll_out_waits_for_the_next_endpoints(driver) {
        let (first, next) = (Upstream::named("first"), Upstream::named("next"));
        let gone = Upstream::named("gone").address();
        let to = |address| manifest::file(&[manifest::endpoints("web", &[address])]);
        let ringress = Launch::new(driver)
            .shards(1)
            .manifests(&[Ingress::simple("a", "a.test", "web").yaml(), manifest::service("web")])
            .file("slices.yaml", &to(first.address()))
            .start();
        assert_eq!(ringress.get("a.test", "/").status, 200);
        ringress.apply("slices.yaml", &to(gone));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| ringress.client().get("a.test", "/"));
            wait_until("the endpoint refused it", || ringress.metric("ringress_upstream_connect_failures_total", "") > 0.0);
            ringress.apply("slices.yaml", &to(next.address()));
            assert_eq!(waiting.join().unwrap().status, 200);
        });
        assert_eq!(next.requests().len(), 1);
    }

    fn a_connection_that_nobody_takes_is_given_up_when_its_endpoint_leaves(driver) {
        let (deaf, next) = (Deaf::new(), Upstream::named("next"));
        let to = |address| manifest::file(&[manifest::endpoints("web", &[address])]);
        let ringress = Launch::new(driver)
            .shards(1)
            .manifests(&[Ingress::simple("a", "a.test", "web").yaml(), manifest::service("web")])
            .file("slices.yaml", &to(deaf.address))
            .start();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| ringress.client().get("a.test", "/"));
            wait_until("the connection is being opened", || ringress.metric("ringress_upstream_connects_total", "") > 0.0);
            ringress.apply("slices.yaml", &to(next.address()));
            // Who waits until the time for connecting is over answers 504.
            assert_eq!(waiting.join().unwrap().status, 200);
        });
        assert_eq!(next.requests().len(), 1);
        // Where nobody came in its place, the wait goes on to an answer of its own.
        ringress.apply("slices.yaml", &to(deaf.address));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| ringress.client().get("a.test", "/"));
            wait_until("the connection is being opened", || ringress.metric("ringress_upstream_connects_total", "") > 2.0);
            ringress.apply("slices.yaml", &manifest::file(&[manifest::endpoints("web", &[])]));
            let answer = waiting.join().unwrap();
            assert_eq!(answer.status, 502);
            assert!(answer.field("proxy-status").is_some_and(|value| value.contains("destination_unavailable")), "{:?}", answer.fields);
        });
    }

    fn a_stale_connection_is_tried_again_only_where_that_is_safe(driver) {
        // Every connection answers once and dies on the second request, the classic race of keep-alive.
        let upstream = Upstream::start(|peer| {
            let Some(request) = peer.read_request() else { return };
            peer.send(echo("web", &request));
            peer.read_request();
        });
        let ringress = Launch::new(driver).shards(1).serving(&[&upstream]).start();
        let mut client = ringress.client();
        for round in 0..10 {
            assert_eq!(client.get("a.test", &format!("/get/{round}")).status, 200, "a GET is repeated on a fresh connection");
        }
        upstream.forget();
        let post = client.ask("POST /post HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello");
        let arrived = upstream.requests().iter().filter(|request| request.method() == "POST").count();
        assert_eq!(arrived, 1, "a POST that may have had its effect is never repeated");
        assert_eq!(post.status, 502);
    }

    fn a_connection_that_died_while_idle_costs_nobody_a_request(driver) {
        let upstream = Upstream::answering(|request| ok(&[], request.target().as_bytes()));
        let dead = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&dead);
        let dying = Upstream::start(move |peer| {
            if let Some(request) = peer.read_request() {
                peer.send(ok(&[], request.target().as_bytes()));
                peer.half_close();
                count.fetch_add(1, Ordering::SeqCst);
                peer.wait_end();
            }
        });
        let ringress = Launch::new(driver).shards(1).serving(&[&upstream, &dying]).start();
        let mut client = ringress.client();
        for round in 0..40 {
            let answer = client.ask(format!("POST /{round} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"));
            assert_eq!((answer.status, answer.text()), (200, format!("/{round}")));
            wait_until("the FIN is sent", || dead.load(Ordering::SeqCst) + upstream.requests().len() == round + 1);
        }
    }

    fn the_last_endpoint_is_never_ejected(driver) {
        let healthy = Arc::new(AtomicUsize::new(0));
        let state = Arc::clone(&healthy);
        let upstream = Upstream::start(move |peer| {
            while let Some(request) = peer.read_request() {
                if state.load(Ordering::SeqCst) == 0 {
                    peer.reset();
                    return;
                }
                peer.send(echo("web", &request));
            }
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        for _ in 0..30 {
            assert_eq!(ringress.get("a.test", "/").status, 502);
        }
        healthy.store(1, Ordering::SeqCst);
        for _ in 0..10 {
            assert_eq!(ringress.get("a.test", "/").status, 200, "the only endpoint is asked whatever it did before");
        }
    }

    fn an_endpoint_that_keeps_failing_is_left_alone_for_a_while(driver) {
        let good = Upstream::named("good");
        let bad = Upstream::start(|peer| {
            if peer.read_request().is_some() {
                peer.reset();
            }
        });
        let ringress = Launch::new(driver).shards(1).serving(&[&good, &bad]).start();
        let mut client = ringress.client();
        for _ in 0..60 {
            assert_eq!(client.get("a.test", "/").status, 200, "an idempotent request that was reset has another try");
        }
        let failed = bad.requests().len();
        assert!(failed < 30, "half of the requests would be 30; {failed} reached the failing endpoint");
        assert!(ringress.metric("ringress_ejections_total", "") >= 1.0);
    }
}

on_both_drivers! {
    fn round_robin_is_even(driver) {
        let upstreams = [Upstream::named("one"), Upstream::named("two"), Upstream::named("three")];
        let ringress = Launch::new(driver).shards(1).serving(&upstreams.each_ref()).start();
        let mut client = ringress.client();
        for _ in 0..30 {
            client.get("a.test", "/");
        }
        assert_eq!(upstreams.each_ref().map(|upstream| upstream.requests().len()), [10, 10, 10]);
    }

    fn ewma_prefers_the_fast_endpoint(driver) {
        let fast = Upstream::named("fast");
        let slow = Upstream::start(|peer| {
            while let Some(request) = peer.read_request() {
                // The latency is the subject, nothing is waited for.
                std::thread::sleep(Duration::from_millis(40));
                peer.send(echo("slow", &request));
            }
        });
        let ingress = Ingress::simple("a", "a.test", "web").annotation("ringress.dev/load-balance", "ewma");
        let ringress = Launch::new(driver)
            .shards(1)
            .manifests(&[ingress.yaml(), manifest::service("web"), manifest::endpoints("web", &[fast.address(), slow.address()])])
            .start();
        let port = ringress.ports.http;
        let clients: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut client = Client::connect(port);
                    (0..50).for_each(|_| assert_eq!(client.get("a.test", "/").status, 200));
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        let (fast, slow) = (fast.requests().len(), slow.requests().len());
        assert_eq!(fast + slow, 200);
        assert!(fast > 4 * slow, "{fast} went to the fast endpoint, {slow} to the slow one");
    }
}
