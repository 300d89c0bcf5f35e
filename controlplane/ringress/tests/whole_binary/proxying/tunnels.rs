//! Tunnels: opened by the 101, never before.

use super::noise;
use crate::support::{Launch, Upstream, on_both_drivers};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

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

    fn half_a_tunnel_may_end_before_the_other(driver) {
        let upstream = Upstream::start(|peer| {
            let Some(head) = peer.read_head() else { return };
            peer.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
            if head.starts_with(b"GET /client-first") {
                peer.wait_end();
                peer.send("bye");
                return;
            }
            peer.send("bye");
            peer.half_close();
            if peer.take(4) == Some(b"late".to_vec()) {
                peer.wait_end();
            }
        });
        let ringress = Launch::new(driver).serving(&[&upstream]).start();
        let open = |target: &str| {
            let mut client = ringress.client();
            client.send(format!("GET {target} HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"));
            assert_eq!(client.read("GET").unwrap().status, 101);
            client
        };
        let mut client = open("/client-first");
        client.half_close();
        assert_eq!(client.take(3).unwrap(), b"bye", "what the endpoint says after the client's last word still arrives");
        assert!(client.is_closed().is_some());

        let mut client = open("/endpoint-first");
        assert_eq!(client.take(3).unwrap(), b"bye");
        assert!(client.is_closed().is_some(), "the end of the endpoint's direction arrives");
        client.send("late");
        crate::support::wait_until("the other direction still flows", || upstream.bytes().ends_with(b"late"));
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
