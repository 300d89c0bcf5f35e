//! Bodies: large, chunked, announced, refused.

use super::{in_chunks, noise};
use crate::support::message::values_of;
use crate::support::upstream::ok;
use crate::support::{Launch, Upstream, on_both_drivers};
use std::io::Write;
use std::time::Duration;

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

on_both_drivers! {
    fn a_client_that_writes_before_it_reads_still_gets_the_refusal(driver) {
        let upstream = Upstream::named("web");
        let ringress = Launch::new(driver).flags(&["--max-body-bytes=1000"]).serving(&[&upstream]).start();
        for fields in ["Content-Length: 8388608\r\n", "Transfer-Encoding: chunked\r\n"] {
            let mut client = ringress.client();
            let body = if fields.starts_with('C') { vec![b'x'; 8 * 1024 * 1024] } else { in_chunks(&vec![b'x'; 8 * 1024 * 1024], 65_536, "") };
            // All of it first, as simple clients do; the connection may be cut meanwhile.
            drop(client.try_send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n")));
            drop(client.try_send(&body));
            let answer = client.read("POST").unwrap_or_else(|error| panic!("{fields:?}: {error}"));
            assert_eq!(answer.status, 413, "{fields:?}");
        }
    }
}
