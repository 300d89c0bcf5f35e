//! Requests and answers on their way through: connections, bodies, deadlines, endpoints that fail.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::manifest::{self, Ingress};
use crate::support::message::values_of;
use crate::support::tools::curl;
use crate::support::upstream::{End, echo, ok};
use crate::support::{Client, Driver, Launch, Upstream, on_both_drivers, wait_until};

/// Bytes that repeat late, so that a lost or doubled buffer shows.
pub(crate) fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(count);
    bytes
}

fn in_chunks(bytes: &[u8], size: usize, trailers: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / size * 12 + 64);
    for chunk in bytes.chunks(size) {
        write!(out, "{:x}\r\n", chunk.len()).unwrap();
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    write!(out, "0\r\n{trailers}\r\n").unwrap();
    out
}

// Connections and order.
on_both_drivers! {
    fn connections_are_kept_on_both_sides(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).shards(1).serving(&[&upstream]).start();
        let mut client = ringress.client();
        for round in 0..20 {
            assert_eq!(client.get("a.test", &format!("/{round}")).status, 200);
        }
        assert_eq!(upstream.connections(), 1);
        assert_eq!(upstream.requests().len(), 20);
    }

    fn pipelined_requests_are_answered_in_order_and_never_pipelined_upstream(driver) {
        let overtaken = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&overtaken);
        let upstream = Upstream::start(move |peer| {
            while let Some(request) = peer.read_request() {
                // The slowest comes first: answers that race would overtake it.
                let slow = request.target() == "/0";
                if slow && !peer.is_silent_for(Duration::from_millis(100)) || !peer.pending().is_empty() {
                    seen.fetch_add(1, Ordering::SeqCst);
                }
                peer.send(ok(&[], request.target().as_bytes()));
            }
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        let requests: String = (0..30).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a.test\r\n\r\n")).collect();
        client.send(requests);
        for number in 0..30 {
            assert_eq!(client.read("GET").unwrap().text(), format!("/{number}"));
        }
        assert_eq!(overtaken.load(Ordering::SeqCst), 0, "a request reached the endpoint before the one before it was answered");
    }

    fn a_request_in_single_bytes_is_served(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        for byte in b"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;e\r\nde\r\n0\r\nT: u\r\n\r\n" {
            client.send([*byte]);
        }
        assert_eq!(client.read("POST").unwrap().status, 200);
        assert_eq!(upstream.requests()[0].body, b"abcde");
    }

    fn clients_of_http_1_0_are_served_as_they_ask(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        let answer = client.ask("GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
        assert_eq!(answer.status, 200);
        assert!(client.is_closed().is_some(), "HTTP/1.0 without keep-alive ends the connection");
        let mut client = ringress.client();
        for _ in 0..3 {
            let answer = client.ask("GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n");
            assert_eq!((answer.status, answer.field("connection")), (200, Some("keep-alive")));
        }
        let heads = upstream.requests();
        assert!(heads.iter().all(|request| request.head.starts_with(b"GET / HTTP/1.1\r\n")), "endpoints are spoken to in HTTP/1.1");
    }

    fn curl_is_served(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let url = format!("http://127.0.0.1:{}/x", ringress.ports.http);
        let body = "x".repeat(2_000_000);
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("body");
        std::fs::write(&file, &body).unwrap();
        let data = format!("@{}", file.display());
        let output = curl(&["-H", "Host: a.test", "--data-binary", &data, &url]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("POST /x HTTP/1.1\r\n") && text.ends_with(&body), "{}", &text[..text.len().min(500)]);
        assert_eq!(upstream.requests()[0].body.len(), body.len(), "curl waits for 100 with a body of this size");
    }
}

// Bodies.
on_both_drivers! {
    fn large_bodies_pass_unchanged_in_both_framings(driver) {
        let upstream = Upstream::answering(|request| {
            let chunked = request.target() == "/chunked";
            match chunked {
                true => [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), in_chunks(&request.body, 70_001, "")].concat(),
                false => ok(&[], &request.body),
            }
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let body = noise(8 * 1024 * 1024);
        for (target, fields, framed) in [
            ("/length", format!("Content-Length: {}\r\n", body.len()), body.clone()),
            ("/chunked", "Transfer-Encoding: chunked\r\n".to_owned(), in_chunks(&body, 33_333, "")),
        ] {
            let mut client = ringress.client();
            let mut stream = client.stream();
            let head = format!("POST {target} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
            let sender = std::thread::spawn(move || stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&framed)));
            let answer = client.read("POST").unwrap();
            sender.join().unwrap().unwrap();
            assert_eq!(answer.status, 200);
            assert!(answer.body == body, "{target}: {} bytes came back and differ", answer.body.len());
            assert_eq!(client.get("a.test", "/after").status, 200, "{target}: the connection goes on");
        }
        assert!(upstream.requests().iter().filter(|request| !request.body.is_empty()).all(|request| request.body == body));
    }

    fn trailers_pass_in_both_directions(driver) {
        let upstream = Upstream::answering(|request| {
            let sum = values_of(&request.trailers, "x-sum").join(",");
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Back: {sum}\r\n\r\n").into_bytes()
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        let answer = client.ask("POST / HTTP/1.1\r\nHost: a.test\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n");
        assert_eq!(values_of(&answer.trailers, "x-back"), ["42"]);
        assert_eq!(upstream.requests()[0].body, b"hello");
    }

    fn a_client_that_waits_for_100_gets_it_from_the_endpoint(driver) {
        let upstream = Upstream::start(|peer| {
            while let Some(head) = peer.read_head() {
                let head = String::from_utf8(head).unwrap();
                assert!(head.contains("Expect: 100-continue\r\n"), "{head}");
                assert!(peer.is_silent_for(Duration::from_millis(50)), "the body came before 100");
                peer.send("HTTP/1.1 100 Continue\r\n\r\n");
                let Some(body) = peer.take(5) else { return };
                peer.send(ok(&[], &body));
            }
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        for _ in 0..2 {
            client.send("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
            assert_eq!(client.read("POST").unwrap().status, 100);
            client.send("hello");
            let answer = client.read("POST").unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        }
    }

    fn an_endpoint_that_refuses_the_body_spares_the_client_from_sending_it(driver) {
        let upstream = Upstream::start(|peer| {
            if peer.read_head().is_some() {
                peer.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno");
                peer.wait_end();
            }
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
        let answer = client.read("POST").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (417, "no"));
        assert!(answer.says_close() && client.is_closed().is_some(), "nobody knows whether the body comes");
        assert!(!upstream.bytes().ends_with(b"hello"));
    }

    fn bodies_over_the_limit_are_refused(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).flags(&["--max-body-bytes=1000"]).serving(&[&upstream]).start();
        let post = |fields: &str, body: &[u8]| {
            let mut client = ringress.client();
            drop(client.try_send([format!("POST / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n").as_bytes(), body].concat()));
            client.read("POST").unwrap()
        };
        assert_eq!(post("Content-Length: 1000\r\n", &[b'x'; 1000]).status, 200);
        assert_eq!(post("Transfer-Encoding: chunked\r\n", &in_chunks(&[b'x'; 1000], 100, "")).status, 200);
        upstream.forget();
        let refused = post("Content-Length: 1001\r\n", &[b'x'; 1001]);
        assert_eq!(refused.status, 413);
        assert!(refused.says_close());
        assert!(upstream.bytes().is_empty(), "a body that announces its size is refused before anything is sent on");
        assert_eq!(post("Transfer-Encoding: chunked\r\n", &in_chunks(&[b'x'; 1001], 100, "")).status, 413);
        assert!(upstream.requests().is_empty(), "the endpoint never saw the end of a body that was cut");
    }
}

// Tunnels.
on_both_drivers! {
    fn a_tunnel_opens_on_the_101_and_not_before(driver) {
        // CVE-2026-2833: bytes behind an upgrade request belong to the tunnel, if one opens.
        let early = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&early);
        let upstream = Upstream::start(move |peer| {
            let Some(head) = peer.read_head() else { return };
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
            *seen.lock().unwrap() = Some(!peer.is_silent_for(Duration::from_millis(200)));
            peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Key: y\r\n\r\nwelcome");
            while let Some(bytes) = peer.take(5) {
                peer.send(bytes.to_ascii_uppercase());
            }
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        client.send("GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly");
        let answer = client.read("GET").unwrap();
        assert_eq!((answer.status, answer.field("x-key")), (101, Some("y")));
        assert_eq!(*early.lock().unwrap(), Some(false), "the endpoint saw bytes of the tunnel before it opened one");
        assert_eq!(client.take(12).unwrap(), b"welcomeEARLY");
        for text in ["hello", "there"] {
            client.send(text);
            assert_eq!(client.take(5).unwrap(), text.to_ascii_uppercase().as_bytes());
        }
        client.half_close();
        assert!(client.is_closed().is_some(), "the end of one side reaches the other");
    }

    fn a_tunnel_carries_megabytes_both_ways_at_once(driver) {
        const BYTES: usize = 4 * 1024 * 1024;
        let upstream = Upstream::start(|peer| {
            if peer.read_head().is_none() {
                return;
            }
            peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
            for _ in 0..BYTES / 65_536 {
                let Some(bytes) = peer.take(65_536) else { return };
                peer.send(bytes);
            }
            peer.wait_end();
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        assert_eq!(client.read("GET").unwrap().status, 101);
        let bytes = noise(BYTES);
        let (mut stream, sent) = (client.stream(), bytes.clone());
        let sender = std::thread::spawn(move || stream.write_all(&sent));
        assert!(client.take(BYTES).unwrap() == bytes, "the tunnel changed bytes");
        sender.join().unwrap().unwrap();
    }

    fn a_refused_upgrade_is_an_ordinary_answer(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        let answer = client.ask("GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        assert_eq!(answer.status, 200);
        assert_eq!(client.get("a.test", "/after").status, 200);
    }

    fn an_idle_tunnel_ends(driver) {
        let upstream = Upstream::start(|peer| {
            if peer.read_head().is_some() {
                peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
                peer.wait_end();
            }
        });
        let ringress = Launch::new(driver).flags(&["--tunnel-idle-timeout=400ms"]).serving(&[&upstream]).start();
        let mut client = ringress.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
        assert_eq!(client.read("GET").unwrap().status, 101);
        let lasted = client.is_closed().expect("an idle tunnel is closed");
        assert!(lasted >= Duration::from_millis(300), "after {lasted:?}");
    }
}

// Clients that go away or are slow.
on_both_drivers! {
    fn a_half_closed_client_gets_its_answer(driver) {
        let upstream = Upstream::start(|peer| {
            while let Some(request) = peer.read_request() {
                if !peer.is_silent_for(Duration::from_millis(150)) {
                    return;
                }
                peer.send(echo("web", &request));
            }
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        client.half_close();
        assert_eq!(client.read("GET").unwrap().status, 200);
        assert!(client.is_closed().is_some());
    }

    fn a_client_that_resets_ends_its_exchange_upstream(driver) {
        let ends = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ends);
        let upstream = Upstream::start(move |peer| {
            if peer.read_request().is_some() {
                let end = peer.wait_end();
                seen.lock().unwrap().push(end);
            }
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        wait_until("the endpoint has the request", || upstream.requests().len() == 1);
        client.reset();
        wait_until("the endpoint sees the end", || !ends.lock().unwrap().is_empty());
        assert_ne!(ends.lock().unwrap()[0], End::Open, "the endpoint works on for nobody");
    }

    fn slow_clients_meet_their_deadlines(driver) {
        let upstream = Upstream::named("web");
        let flags = ["--client-header-timeout=400ms", "--client-body-timeout=400ms", "--client-idle-timeout=400ms"];
        let ringress = Launch::new(driver).flags(&flags).serving(&[&upstream]).start();
        let closes_with = |sent: &str, status: Option<u16>| {
            let mut client = ringress.client();
            let began = Instant::now();
            client.send(sent);
            if let Some(status) = status {
                let answer = client.read("GET").unwrap_or_else(|error| panic!("{sent:?}: {error}"));
                assert_eq!(answer.status, status, "{sent:?}");
                assert!(answer.says_close(), "{sent:?}");
            }
            assert!(client.is_closed().is_some(), "{sent:?}");
            assert!(began.elapsed() >= Duration::from_millis(300), "{sent:?} ended after {:?}", began.elapsed());
        };
        std::thread::scope(|scope| {
            scope.spawn(|| closes_with("GET / HTTP/1.1\r\nHost: a", Some(408)));
            scope.spawn(|| closes_with("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhel", Some(408)));
            scope.spawn(|| closes_with("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", Some(408)));
            scope.spawn(|| {
                let mut client = ringress.client();
                assert_eq!(client.get("a.test", "/").status, 200);
                let lasted = client.is_closed().expect("an idle connection is closed without a word");
                assert!(lasted >= Duration::from_millis(300), "after {lasted:?}");
            });
        });
        assert!(upstream.requests().iter().all(|request| request.method() == "GET"), "no request without its body reached the endpoint whole");
    }

    fn a_head_that_trickles_does_not_move_its_deadline(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).flags(&["--client-header-timeout=500ms"]).serving(&[&upstream]).start();
        let mut client = ringress.client();
        let began = Instant::now();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n");
        // Slowloris: one field every while, for ever.
        while client.try_send("X: y\r\n").is_ok() && client.is_silent_for(Duration::from_millis(50)) {
            assert!(began.elapsed() < Duration::from_secs(10), "the deadline moved with every byte");
        }
        assert_eq!(client.read("GET").map(|answer| answer.status).unwrap_or(408), 408);
        assert!(began.elapsed() >= Duration::from_millis(400));
    }

    fn a_client_that_reads_nothing_is_cut(driver) {
        let ends = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&ends);
        let upstream = Upstream::start(move |peer| {
            if peer.read_request().is_some() {
                peer.send(ok(&[], &vec![b'x'; 64 * 1024 * 1024]));
                seen.fetch_add(1, Ordering::SeqCst);
            }
        });
        let ringress = Launch::new(driver).flags(&["--client-write-timeout=400ms"]).serving(&[&upstream]).start();
        let mut client = ringress.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        wait_until("the endpoint is let go", || ends.load(Ordering::SeqCst) == 1);
        let got = client.read_rest().len();
        assert!(got < 64 * 1024 * 1024, "all {got} bytes arrived");
    }
}

// What endpoints are told.
on_both_drivers! {
    fn an_endpoint_is_told_who_asks_and_nothing_more(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let port = ringress.ports.http;
        ringress.client().ask(format!("GET /a%2e/b?c=%zz&d HTTP/1.1\r\nhost: A.test:{port}\r\nUser-Agent: me\r\nX-Request-ID: abc-1\r\nAccept: */*\r\n\r\n"));
        let request = &upstream.requests()[0];
        assert_eq!(request.target(), "/a%2e/b?c=%zz&d", "the target goes on as sent");
        let mut names: Vec<_> = request.fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        let expected = ["accept", "host", "user-agent", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip", "x-request-id"];
        assert_eq!(names, expected);
        for (name, expected) in [
            ("host", format!("A.test:{port}")),
            ("x-forwarded-for", "127.0.0.1".into()),
            ("x-forwarded-host", format!("A.test:{port}")),
            ("x-forwarded-port", port.to_string()),
            ("x-forwarded-proto", "http".into()),
            ("x-real-ip", "127.0.0.1".into()),
            ("x-request-id", "abc-1".into()),
        ] {
            assert_eq!(request.field(name), Some(expected.as_str()), "{name}");
        }
    }

    fn request_ids_are_made_where_none_came_and_differ(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        for _ in 0..20 {
            ringress.get("a.test", "/");
        }
        let mut ids: Vec<_> = upstream.requests().iter().map(|request| request.field("x-request-id").unwrap().to_owned()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 20);
        assert!(ids.iter().all(|id| id.len() >= 16));
    }

    fn trusted_proxies_are_believed_and_others_are_not(driver) {
        for (range, trusted) in [("127.0.0.0/8", true), ("10.0.0.0/8,::1/128", false)] {
            let upstream = Upstream::named("web");
            let ringress = Launch::new(driver).flags(&["--trusted-proxies", range]).serving(&[&upstream]).start();
            ringress.client().ask(
                "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.test\r\nX-Real-IP: 203.0.113.9\r\n\r\n",
            );
            let request = &upstream.requests()[0];
            let expected = match trusted {
                true => ["203.0.113.9, 127.0.0.1", "https", "shop.test", "203.0.113.9"],
                false => ["127.0.0.1", "http", "a.test", "127.0.0.1"],
            };
            let names = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip"];
            assert_eq!(names.map(|name| request.field(name).unwrap()), expected, "{range}");
        }
    }
}

// Endpoints that fail.
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

// Balancing.
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

// What is said about all this.
on_both_drivers! {
    fn each_exchange_writes_one_line_that_names_its_generation(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        ringress.get("a.test", "/logged?q=1");
        ringress.get("b.test", "/unrouted");
        let line = |path: &str| {
            let out = ringress.stdout();
            out.lines().find(|line| line.contains(path)).map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a line is JSON"))
        };
        wait_until("both lines are written", || line("/logged").is_some() && line("/unrouted").is_some());
        let (routed, unrouted) = (line("/logged").unwrap(), line("/unrouted").unwrap());
        assert_eq!((routed["status"].as_u64(), routed["generation"].as_u64()), (Some(200), Some(1)), "{routed}");
        assert_eq!((routed["method"].as_str(), routed["host"].as_str()), (Some("GET"), Some("a.test")), "{routed}");
        assert_eq!(unrouted["status"].as_u64(), Some(404), "{unrouted}");
        assert!(unrouted["no_route_reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{unrouted}");
    }

    fn a_log_line_stays_one_line_whatever_a_client_sends(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let before = ringress.stdout().lines().count();
        ringress.client().ask("GET /marker%0a%22%7d?\"quoted\" HTTP/1.1\r\nHost: a.test\r\nUser-Agent: a\"b\\c\t{}\r\nReferer: \u{e9}\r\nConnection: close\r\n\r\n");
        ringress.client().ask("GET /marker%0a%22%7d?$%7Bx%7D HTTP/1.1\r\nHost: a.test\r\nUser-Agent: a\"b\\c\t{}\r\nReferer: \u{e9}\r\nConnection: close\r\n\r\n");
        wait_until("the lines are written", || ringress.stdout().matches("/marker").count() >= 1);
        for line in ringress.stdout().lines().skip(before) {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line:?}");
        }
    }

    fn the_driver_is_named_where_people_look(driver) {
        let ringress = Launch::new(driver).start();
        let name = driver.as_str();
        let metric = format!("driver=\"{name}\"");
        assert!(ringress.metric("ringress_io_driver", &metric) >= 2.0, "one line for each shard");
        assert!(ringress.admin("/readyz").text().contains(name));
        assert!(ringress.logs().contains(name));
        assert!(ringress.metric("ringress_generation", "") >= 2.0);
    }
}
