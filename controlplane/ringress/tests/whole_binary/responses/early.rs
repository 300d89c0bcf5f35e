//! A final answer in the middle of a request body, and a reset right behind it, while ringress cannot write.
//!
//! What ringress read and could not write must neither be counted twice nor be taken for a request: the body is made of
//! requests, so that a shift by any number of bytes shows.

use std::io::Write;
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::proxying::in_chunks;
use crate::support::upstream::ok;
use crate::support::{Client, Driver, Launch, PATIENCE, Peer, Ringress, Upstream, on_both_drivers};

const KIB: usize = 1024;
/// Around what the kernel takes for a narrow endpoint, plus what is read and forgotten behind it, and far beyond both.
const SIZES: [usize; 13] = [
    3 * KIB,
    16 * KIB,
    48 * KIB,
    60 * KIB,
    64 * KIB,
    72 * KIB,
    80 * KIB,
    96 * KIB,
    112 * KIB,
    128 * KIB,
    192 * KIB,
    KIB * KIB,
    4 * KIB * KIB,
];
/// From here on the endpoint and the kernel cannot have taken the whole body.
const BLOCKS: usize = 160 * KIB;
const ROUNDS: usize = 3;
const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n";

on_both_drivers! {
    fn the_rest_of_a_body_with_length_is_never_a_request(driver) {
        Stage::start(driver).play(|body| {
            let head = format!("POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", body.len());
            (head, body.to_vec())
        });
    }

    fn the_rest_of_a_chunked_body_is_never_a_request(driver) {
        Stage::start(driver).play(|body| {
            let head = "POST /up HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
            (head, in_chunks(body, 5_000, ""))
        });
    }
}

/// One process, one endpoint, and the strings that the endpoint is moved by.
struct Stage {
    ringress: Ringress,
    endpoint: Upstream,
    /// Request lines that reached the endpoint.
    lines: Arc<Mutex<Vec<String>>>,
    /// The endpoint has a head and stopped reading.
    stopped_reading: Receiver<()>,
    /// Lets the endpoint answer and reset.
    go: Sender<()>,
}

impl Stage {
    fn start(driver: Driver) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (tell_stopped, stopped_reading) = channel();
        let (go, gone) = channel();
        let (seen, strings) = (Arc::clone(&lines), Mutex::new((tell_stopped, gone)));
        let endpoint = Upstream::start(move |peer| {
            while let Some(head) = peer.read_head() {
                let line = request_line(&head);
                seen.lock().unwrap().push(line.clone());
                if line.starts_with("POST") {
                    return answer_early(peer, &strings);
                }
                if !peer.send(ok(&[], line.as_bytes())) {
                    return;
                }
            }
        });
        let endpoint = endpoint.narrow();
        let ringress =
            Launch::new(driver).shards(1).flags(&["--access-log=off"]).serving(&[&endpoint]).start();
        Self { ringress, endpoint, lines, stopped_reading, go }
    }

    fn play(&self, request: impl Fn(&[u8]) -> (String, Vec<u8>)) {
        let faults: Vec<_> = SIZES
            .iter()
            .flat_map(|size| std::iter::repeat_n(*size, ROUNDS))
            .filter_map(|size| {
                let (head, body) = request(&requests_of(size));
                self.play_once(size, &head, body).err().map(|why| format!("{size} bytes: {why}"))
            })
            .collect();
        assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), SIZES.len() * ROUNDS, faults.join("\n"));
        assert!(self.endpoint.connections() >= SIZES.len() * ROUNDS, "every reset ended a connection");
    }

    fn play_once(&self, size: usize, head: &str, body: Vec<u8>) -> Result<(), String> {
        let mut client = self.ringress.client();
        client.send(head);
        let mut stream = client.stream();
        // Nobody needs to take all of it.
        let sender = std::thread::spawn(move || drop(stream.write_all(&body)));
        self.stopped_reading.recv_timeout(PATIENCE).map_err(|_| "the request did not arrive".to_owned())?;
        self.answer_and_reset_at_once();
        let seen = watch_the_end(&mut client, size);
        // Whatever the client could not send is of no use any more.
        drop(client.stream().shutdown(Shutdown::Both));
        sender.join().unwrap();
        seen.and_then(|()| self.check_endpoint())
    }

    /// Both happen before ringress sees either: it is held meanwhile.
    fn answer_and_reset_at_once(&self) {
        // A standstill cannot be polled for; too short a wait makes a round easier, never wrong.
        std::thread::sleep(Duration::from_millis(40));
        self.ringress.signal("STOP");
        self.go.send(()).unwrap();
        // The reset leaves when the endpoint's thread has ended.
        std::thread::sleep(Duration::from_millis(10));
        self.ringress.signal("CONT");
    }

    fn check_endpoint(&self) -> Result<(), String> {
        let next =
            self.ringress.client().try_get("a.test", "/next").map_err(|error| format!("next: {error}"))?;
        if next.status != 200 || next.text() != NEXT {
            return Err(format!("the next exchange got {} {:?}", next.status, next.text()));
        }
        let lines = std::mem::take(&mut *self.lines.lock().unwrap());
        match lines.iter().find(|line| !["POST /up HTTP/1.1", NEXT].contains(&line.as_str())) {
            Some(line) => Err(format!("{line:?} reached the endpoint")),
            None => Ok(()),
        }
    }
}

const NEXT: &str = "GET /next HTTP/1.1";

fn answer_early(peer: &mut Peer, strings: &Mutex<(Sender<()>, Receiver<()>)>) {
    let (stopped_reading, go) = &*strings.lock().unwrap();
    stopped_reading.send(()).unwrap();
    if go.recv_timeout(PATIENCE).is_ok() {
        peer.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n");
    }
    peer.reset();
}

/// One answer at most, and nothing after it that nobody asked for.
fn watch_the_end(client: &mut Client, size: usize) -> Result<(), String> {
    let answer = match client.read("POST") {
        Ok(answer) => answer,
        Err(error) if crate::support::client::is_timeout(&error) => {
            return Err("neither answer nor end".into());
        }
        // The client sees that there is no answer: nothing can be mistaken.
        Err(_) => return Ok(()),
    };
    if ![413, 502].contains(&answer.status) {
        return Err(format!("status {}", answer.status));
    }
    if answer.says_close() {
        let rest = client.read_rest();
        return match rest.is_empty() && client.is_closed().is_some() {
            true => Ok(()),
            false => Err(format!("after the last answer came {:?}", String::from_utf8_lossy(&rest))),
        };
    }
    if size >= BLOCKS {
        return Err("a body that was not sent whole was answered as if another request could follow".into());
    }
    // The endpoint's kernel took all of it: the connection may stay, in step.
    match client.try_get("a.test", "/next") {
        Ok(next) if next.status == 200 && next.text() == NEXT => Ok(()),
        Ok(next) => Err(format!("the kept connection answered {} {:?}", next.status, next.text())),
        Err(error) => Err(format!("the kept connection: {error}")),
    }
}

fn requests_of(size: usize) -> Vec<u8> {
    SMUGGLED.iter().copied().cycle().take(size).collect()
}

fn request_line(head: &[u8]) -> String {
    String::from_utf8_lossy(head).lines().next().unwrap_or_default().to_owned()
}
