//! Random exchanges on many connections at once: every answer must be the answer to its own request, whole.
//!
//! Clients pipeline, split their bytes anywhere and frame bodies either way; endpoints frame answers in every way that the
//! standard has, announce interim answers, split theirs and end connections. Whatever meets whatever, an answer names the
//! request it belongs to and repeats its body.

use std::io::{Read, Write};
use std::sync::Arc;

use crate::agreement::Dice;
use crate::proxying::{in_chunks, noise};
use crate::support::manifest::{self, Ingress};
use crate::support::message::Received;
use crate::support::tools::{Certificate, tls_connect};
use crate::support::{Client, Launch, Peer, Upstream, on_both_drivers};

const CLIENTS: usize = 12;
const BATCHES: usize = 40;

on_both_drivers! {
    fn every_answer_belongs_to_its_request_whatever_the_framing(driver) {
        let upstreams = [0, 1].map(|_| Upstream::start(answer_at_random).unrecorded());
        let certificate = Certificate::for_names(&["a.test"]);
        let ringress = Launch::new(driver)
            .flags(&["--access-log=off"])
            .manifests(&[
                Ingress::simple("a", "a.test", "web").tls("a.test", Some("cert")).annotation("ringress.dev/ssl-redirect", "false").yaml(),
                manifest::service("web"),
                manifest::endpoints("web", &upstreams.each_ref().map(Upstream::address)),
                manifest::tls_secret("cert", &certificate.certificate, &certificate.key),
            ])
            .start();
        let (http, https, config) = (ringress.ports.http, ringress.ports.https, certificate.client_config());
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let config = Arc::clone(&config);
                std::thread::spawn(move || {
                    let mut dice = Dice::new(0x5eed + number as u64);
                    match number % 2 {
                        0 => converse(number, &mut dice, || Client::connect(http)),
                        _ => converse(number, &mut dice, || tls_connect(https, "a.test", &config).unwrap()),
                    }
                })
            })
            .collect();
        let answers: usize = clients.into_iter().map(|client| client.join().unwrap()).sum();
        println!("soak on {}: {answers} answers on {CLIENTS} clients", driver.as_str());
        assert_eq!(ringress.metric("ringress_panics_total", ""), 0.0);
    }
}

/// One request of a batch.
struct Asked {
    bytes: Vec<u8>,
    method: &'static str,
    target: String,
    body: Vec<u8>,
}

fn converse<S: Read + Write>(number: usize, dice: &mut Dice, connect: impl Fn() -> Client<S>) -> usize {
    let mut client = connect();
    let mut answers = 0;
    for batch in 0..BATCHES {
        let mut asked: Vec<_> =
            (0..1 + dice.roll(4)).map(|place| ask(dice, &format!("/{number}/{batch}/{place}"))).collect();
        // What was not answered because the connection ended in order is asked again on the next one.
        while !asked.is_empty() {
            send_in_pieces(dice, &mut client, &asked);
            let (answered, goes_on) = read_answers(&mut client, &asked);
            answers += answered;
            asked.drain(..answered);
            if !goes_on {
                client = connect();
            }
        }
    }
    answers
}

fn ask(dice: &mut Dice, target: &str) -> Asked {
    let method = dice.one(&["GET", "GET", "POST", "POST", "PUT", "HEAD"]);
    let has_body = method == "POST" || method == "PUT";
    let size = [0, 1, 5, 1_000, 16_384, 70_000][dice.roll(6)];
    let body = if has_body { noise(size + dice.roll(3)) } else { Vec::new() };
    let (fields, framed) = match (has_body, dice.chance(50)) {
        (false, _) => (String::new(), Vec::new()),
        (true, true) => (format!("Content-Length: {}\r\n", body.len()), body.clone()),
        (true, false) => {
            ("Transfer-Encoding: chunked\r\n".to_owned(), in_chunks(&body, 1 + dice.roll(9_000), ""))
        }
    };
    let filler = "y".repeat(dice.roll(3_000));
    let head = format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\nX-Filler: {filler}\r\n{fields}\r\n");
    Asked { bytes: [head.as_bytes(), &framed].concat(), method, target: target.to_owned(), body }
}

fn send_in_pieces<S: Read + Write>(dice: &mut Dice, client: &mut Client<S>, asked: &[Asked]) {
    let bytes: Vec<u8> = asked.iter().flat_map(|asked| asked.bytes.iter().copied()).collect();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let count = match dice.roll(4) {
            0 => rest.len(),
            1 => 1 + dice.roll(10),
            _ => 1 + dice.roll(20_000),
        };
        let (piece, after) = rest.split_at(count.min(rest.len()));
        // The connection may have ended after an earlier answer of the batch; reading tells.
        if client.try_send(piece).is_err() {
            return;
        }
        rest = after;
    }
}

/// How many answers came, each checked against its request, and whether the connection goes on.
fn read_answers<S: Read + Write>(client: &mut Client<S>, asked: &[Asked]) -> (usize, bool) {
    for (number, asked) in asked.iter().enumerate() {
        let answer = loop {
            let answer = client
                .read(asked.method)
                .unwrap_or_else(|error| panic!("{} {}: {error}", asked.method, asked.target));
            if answer.status >= 200 {
                break answer;
            }
        };
        assert_eq!(answer.status, 200, "{} {}: {}", asked.method, asked.target, answer.text());
        assert_eq!(
            answer.field("x-target"),
            Some(asked.target.as_str()),
            "an answer went to the wrong request"
        );
        assert!(
            asked.method == "HEAD" || answer.body == expected(&asked.target, &asked.body),
            "{}: the body changed",
            asked.target
        );
        if answer.says_close() {
            return (number + 1, false);
        }
    }
    (asked.len(), true)
}

fn expected(target: &str, body: &[u8]) -> Vec<u8> {
    [target.as_bytes(), body].concat()
}

/// The endpoint's side: everything that an answer may look like. What ends a connection is announced, so that no request
/// can be lost by a race that is nobody's fault.
fn answer_at_random(peer: &mut Peer) {
    let mut dice = Dice::new(0xabcd + peer.number as u64);
    while let Some(request) = peer.read_request() {
        let (bytes, goes_on) = random_answer(&mut dice, &request);
        if dice.chance(15) && !peer.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n") {
            return;
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((1 + dice.roll(40_000)).min(rest.len()));
            if !peer.send(piece) {
                return;
            }
            rest = after;
        }
        if !goes_on {
            return;
        }
    }
}

fn random_answer(dice: &mut Dice, request: &Received) -> (Vec<u8>, bool) {
    let body = expected(&request.target(), &request.body);
    let is_head = request.method() == "HEAD";
    let target = request.target();
    let close = dice.chance(10);
    let connection = if close { "Connection: close\r\n" } else { "" };
    let (version, fields, framed, goes_on) = match dice.roll(8) {
        0 => ("HTTP/1.0", format!("Content-Length: {}\r\n", body.len()), body, false),
        1 => ("HTTP/1.1", "Connection: close\r\n".to_owned(), body, false),
        2..5 => (
            "HTTP/1.1",
            format!("{connection}Transfer-Encoding: chunked\r\n"),
            in_chunks(&body, 1 + dice.roll(9_000), "X-End: y\r\n"),
            !close,
        ),
        _ => ("HTTP/1.1", format!("{connection}Content-Length: {}\r\n", body.len()), body, !close),
    };
    let head = format!("{version} 200 OK\r\nX-Target: {target}\r\n{fields}\r\n");
    let framed = if is_head { Vec::new() } else { framed };
    ([head.as_bytes(), &framed].concat(), goes_on)
}
