//! Clients that leave or are slow, and who is let go then.

use crate::support::manifest::{self, Ingress};
use crate::support::upstream::{End, echo, ok};
use crate::support::{Launch, Upstream, on_both_drivers, wait_until};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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

on_both_drivers! {
    fn a_trickle_in_either_direction_is_not_silence(driver) {
        let upstream = Upstream::start(|peer| {
            while let Some(request) = peer.read_request() {
                peer.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
                for byte in &request.body {
                    // Slower in all than the timeout, faster for each byte.
                    std::thread::sleep(Duration::from_millis(200));
                    peer.send([*byte]);
                }
            }
        });
        let flags = ["--upstream-response-timeout=900ms", "--client-body-timeout=900ms"];
        let ringress = Launch::new(driver).flags(&flags).serving(&[&upstream]).start();
        let mut client = ringress.client();
        client.send("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8\r\n\r\n");
        for byte in b"trickled" {
            client.send([*byte]);
            std::thread::sleep(Duration::from_millis(200));
        }
        let answer = client.read("POST").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "trickled"));
    }

    fn a_connection_that_nobody_accepts_is_504(driver) {
        // A queue of one that is full: the kernel drops the next SYN, as a firewall would.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let full = std::net::TcpListener::from(socket);
        let address = full.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            waiting.push(stream);
        }
        let ringress = Launch::new(driver)
            .flags(&["--connect-timeout=400ms"])
            .manifests(&[Ingress::simple("a", "a.test", "web").yaml(), manifest::service("web"), manifest::endpoints("web", &[address])])
            .start();
        let began = Instant::now();
        let answer = ringress.get("a.test", "/");
        assert_eq!(answer.status, 504);
        assert!(answer.field("proxy-status").is_some_and(|value| value.contains("connection_timeout")), "{:?}", answer.fields);
        assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
        drop(waiting);
    }

    fn an_endpoint_is_let_go_when_the_client_leaves_inside_the_answer(driver) {
        let ended = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ended);
        let upstream = Upstream::start(move |peer| {
            if peer.read_request().is_some() {
                peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
                if peer.wait_end() != End::Open {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        client.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        client.take(20).unwrap();
        client.reset();
        wait_until("the endpoint sees the end", || ended.load(Ordering::SeqCst) == 1);
    }

    fn a_client_that_leaves_inside_its_body_leaves_no_whole_request(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).shards(1).serving(&[&upstream]).start();
        for framing in ["Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"] {
            for resets in [false, true] {
                let mut client = ringress.client();
                client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{framing}"));
                match resets {
                    true => client.reset(),
                    false => {
                        client.half_close();
                        client.read_rest();
                    }
                }
                assert_eq!(ringress.get("a.test", "/next").status, 200);
            }
        }
        assert!(upstream.requests().iter().all(|request| request.method() == "GET"), "half a body was taken for a whole one");
    }
}
