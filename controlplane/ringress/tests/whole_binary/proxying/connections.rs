//! Connections: kept, pipelined, of old clients, and our own answers on them.

use crate::support::tools::curl;
use crate::support::upstream::ok;
use crate::support::{Launch, Upstream, on_both_drivers};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

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

    fn a_client_that_asked_for_the_end_is_not_waited_for(driver) {
        const CLIENTS: usize = 100;
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let kept: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let mut client = ringress.client();
                let answer = client.ask("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
                assert_eq!((answer.status, answer.field("connection")), (200, Some("close")), "{number}");
                assert!(client.is_closed().is_some(), "{number}");
                client
            })
            .collect();
        let open = ringress.metric("ringress_connections", "");
        assert!(open < CLIENTS as f64 / 2.0, "{open} connections of {} are held for clients that said their last word", kept.len());
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

on_both_drivers! {
    fn our_own_answers_are_framed_for_every_method(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let mut client = ringress.client();
        client.send("HEAD /x HTTP/1.1\r\nHost: b.test\r\n\r\n");
        let answer = client.read("HEAD").unwrap();
        assert_eq!(answer.status, 404);
        assert!(answer.field("content-length").is_some());
        assert_eq!(client.get("a.test", "/after").status, 200, "no body followed the answer to HEAD");
        let missing = client.get("b.test", "/x");
        assert_eq!(missing.status, 404);
        assert_eq!(missing.text().lines().count(), 1, "one line for people");
    }

    fn a_smaller_head_limit_is_kept(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).flags(&["--max-header-bytes=1KiB"]).serving(&[&upstream]).start();
        let ask = |bytes: usize| {
            let answer = ringress.client().ask(format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n\r\n", "y".repeat(bytes)));
            answer.status
        };
        assert_eq!((ask(900), ask(1100)), (200, 431));
    }

    fn a_thousand_pipelined_requests_are_answered(driver) {
        let upstream = Upstream::answering(|request| ok(&[], request.target().as_bytes()));
        let ringress = Launch::new(driver).flags(&["--access-log=off"]).serving(&[&upstream]).start();
        let mut client = ringress.client();
        let mut stream = client.stream();
        let sender = std::thread::spawn(move || {
            let requests: String = (0..1000).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a.test\r\n\r\n")).collect();
            stream.write_all(requests.as_bytes())
        });
        for number in 0..1000 {
            assert_eq!(client.read("GET").unwrap().text(), format!("/{number}"));
        }
        sender.join().unwrap().unwrap();
    }
}
