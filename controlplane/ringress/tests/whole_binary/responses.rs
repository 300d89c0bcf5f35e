//! What endpoints answer, and what clients and the next exchange see of it.
//!
//! One endpoint answers by the path that it is asked for, so that a row is a request, the exact bytes of the answer and
//! what happens to the connection after it. One shard: after each row another request goes out, and must neither see a byte
//! of the row's answer nor ride on a connection that the row has spoiled.

mod early;
mod framing;
mod heads;
mod relaying;
mod row;

use crate::support::upstream::ok;
use crate::support::{Client, Driver, Launch, Received, Ringress, Upstream, on_both_drivers, wait_until};
use row::{Reuse, Row, perform};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

on_both_drivers! {
    fn every_answer_is_relayed_or_refused_as_the_standard_says(driver) {
        let rows = all_rows();
        let house = House::start(driver, &rows);
        let failures: Vec<_> = rows.iter().filter_map(|row| house.check(row).err()).collect();
        println!("responses on {}: {} of {}", driver.as_str(), rows.len() - failures.len(), rows.len());
        assert!(rows.len() >= 60, "rows were lost");
        assert!(failures.is_empty(), "{} of {} rows failed:\n{}", failures.len(), rows.len(), failures.join("\n"));
    }
}

fn all_rows() -> Vec<Row> {
    [framing::rows(), heads::rows(), relaying::rows()].into_iter().flatten().collect()
}

struct House {
    ringress: Ringress,
    endpoint: Upstream,
    /// Scripts that have sent their last byte.
    performed: Arc<AtomicUsize>,
}

impl House {
    fn start(driver: Driver, rows: &[Row]) -> Self {
        let scripts: BTreeMap<_, _> = rows.iter().map(|row| (row.target(), row.script.clone())).collect();
        let scripts = Mutex::new(scripts);
        let performed = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&performed);
        let endpoint = Upstream::start(move |peer| {
            while let Some(request) = peer.read_request() {
                let script = scripts.lock().unwrap().get(&request.target()).cloned();
                let goes_on = match script {
                    Some(script) => perform(peer, &script, &count),
                    None => peer.send(ok(&[], request.target().as_bytes())),
                };
                if !goes_on {
                    return;
                }
            }
        });
        let ringress = Launch::new(driver)
            .shards(1)
            .flags(&["--upstream-response-timeout=1s", "--connect-timeout=2s"])
            .serving(&[&endpoint])
            .start();
        Self { ringress, endpoint, performed }
    }

    fn check(&self, row: &Row) -> Result<(), String> {
        self.endpoint.forget();
        let performed = self.performed.load(Ordering::SeqCst);
        let mut client = self.ringress.client();
        client.send(row.request());
        (row.sees)(&mut client)
            .map(|()| wait_until("the script is over", || self.performed.load(Ordering::SeqCst) > performed))
            .and_then(|()| self.check_next(row, client))
            .map_err(|why| format!("  {} [{}]: {why}", row.name, row.source))
    }

    /// The next exchange sees its own answer, on a connection that it may use.
    fn check_next(&self, row: &Row, mut client: Client) -> Result<(), String> {
        let next = match client.try_get("a.test", "/next") {
            Ok(answer) => answer,
            Err(_) => {
                self.ringress.client().try_get("a.test", "/next").map_err(|error| format!("next: {error}"))?
            }
        };
        if next.status != 200 || next.text() != "/next" {
            return Err(format!("the next exchange got {} {:?}", next.status, next.text()));
        }
        let of = |target: &str| {
            let places = self.endpoint.requests().into_iter().zip(self.endpoint.request_connections());
            places
                .filter(|(request, _)| request.target() == target)
                .map(|(_, connection)| connection)
                .next_back()
        };
        let reused = of(&row.target()) == of("/next");
        match row.reuse {
            Reuse::Never if reused => Err("the spoiled connection was used again".into()),
            Reuse::Must if !reused => Err("a good connection was not used again".into()),
            Reuse::Never | Reuse::Must | Reuse::May => Ok(()),
        }
    }
}

on_both_drivers! {
    fn an_early_final_answer_reaches_a_client_that_is_still_sending(driver) {
        let upstream = Upstream::start(|peer| {
            let Some(_) = peer.read_head() else { return };
            peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
            peer.half_close();
            peer.wait_end();
        });
        let ringress = Launch::new(driver)
            .serving(&[&upstream])
            .start();
        let mut client = ringress.client();
        let mut stream = client.stream();
        let sender = std::thread::spawn(move || {
            use std::io::Write;
            let head = "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 67108864\r\n\r\n";
            // Nobody needs to take all of it; the answer must arrive all the same.
            drop(stream.write_all(head.as_bytes()).and_then(|()| (0..1024).try_for_each(|_| stream.write_all(&[b'x'; 65_536]))));
        });
        let answer = client.read("POST").unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (413, "big"));
        assert!(answer.says_close(), "a request that was not read to its end cannot be followed by another");
        drop(client);
        sender.join().unwrap();
    }

    fn an_answer_before_the_body_came_keeps_the_next_request_apart(driver) {
        // CVE-2025-4366: the rest of a body must never be taken for a request.
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        let upstream = Upstream::start(move |peer| {
            while let Some(head) = peer.read_head() {
                let head = String::from_utf8(head).unwrap();
                let target = head.split(' ').nth(1).unwrap().to_owned();
                let early = head.starts_with("POST");
                seen.lock().unwrap().push(target.clone());
                if !peer.send(ok(&[], target.as_bytes())) || early {
                    peer.wait_end();
                    return;
                }
            }
        });
        let ringress = Launch::new(driver)
            .shards(1)
            .serving(&[&upstream])
            .start();
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";
        let mut client = ringress.client();
        client.send(format!("POST /early HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", smuggled.len() + 10));
        assert_eq!(client.read("POST").unwrap().text(), "/early");
        // The rest of the body, as far as the connection is still there to take it.
        drop(client.try_send(smuggled));
        drop(client.try_send("0123456789"));
        if let Ok(answer) = client.try_get("a.test", "/next") {
            assert_eq!(answer.text(), "/next");
        }
        assert_eq!(ringress.client().get("a.test", "/other").text(), "/other");
        assert!(heads.lock().unwrap().iter().all(|target| target != "/smuggled"), "the body became a request");
    }

    fn poisoned_connections_never_cross_talk_under_load(driver) {
        // Every answer names its request; one in three is followed by an answer that nobody asked for.
        let upstream = Upstream::start(|peer| {
            let mut count = 0;
            while let Some(request) = peer.read_request() {
                count += 1;
                let mut answer = ok(&[], request.target().as_bytes());
                if count % 3 == 0 {
                    answer.extend(ok(&[], b"poison"));
                }
                if !peer.send(answer) {
                    return;
                }
            }
        });
        let ringress = Launch::new(driver)
            .serving(&[&upstream])
            .start();
        let port = ringress.ports.http;
        let clients = (0..8).map(|number| {
            std::thread::spawn(move || {
                let mut client = Client::connect(port);
                for round in 0..50 {
                    let target = format!("/{number}/{round}");
                    let answer = client.get("a.test", &target);
                    assert_eq!((answer.status, answer.text()), (200, target));
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert!(upstream.requests().iter().all(|request: &Received| request.method() == "GET"));
    }
}
