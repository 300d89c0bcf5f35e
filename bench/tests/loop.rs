//! The two ends without a proxy between them: the client must accept the origin's answers and nothing else.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    thread,
};

#[test]
fn every_plain_scenario_runs_without_an_error_against_the_origin() {
    let origin = Origin::start();
    for scenario in ["a", "b", "dp", "e", "g"] {
        let output = load(origin.address, scenario);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{scenario}: {text}");
        assert!(text.contains("errors 0") && !text.contains("req/s 0,"), "{scenario}: {text}");
    }
}

#[test]
fn an_error_status_is_an_error() {
    check_refused("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "status 503");
}

#[test]
fn another_length_is_an_error() {
    check_refused("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "length 2 instead of 1024");
}

#[test]
fn a_body_without_a_length_is_an_error() {
    check_refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "no Content-Length");
}

#[test]
fn a_truncated_body_is_an_error() {
    let start_of_the_body = "\u{0}\u{1}\u{2}";
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n{start_of_the_body}");
    check_refused(&answer, "closed before the answer was complete");
}

#[test]
fn foreign_bytes_of_the_right_length_are_an_error() {
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n{}", "x".repeat(1024));
    check_refused(&answer, "the body is not the origin's");
}

#[test]
fn a_closed_connection_is_an_error() {
    check_refused("", "closed before the answer was complete");
}

#[test]
fn a_port_that_nobody_listens_on_is_an_error() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    check_output(&load(address, "a"), "connect: ");
}

#[test]
fn tls_without_a_certificate_to_trust_is_wrong_usage() {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let output = load(address, "c");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--ca"), "{output:?}");
}

/// A server that gives every connection `answer` and closes it makes the client report `reason` and exit with 1.
fn check_refused(answer: &str, reason: &str) {
    check_output(&load(scripted(answer), "a"), reason);
}

fn check_output(output: &Output, reason: &str) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(reason), "{reason:?} is missing: {text}");
}

fn load(address: SocketAddr, scenario: &str) -> Output {
    bench()
        .args(["load", "--seconds", "0.2", "--warm-up", "0.05", "--scenario", scenario])
        .args(["--address", &address.to_string()])
        .output()
        .expect("the binary runs")
}

fn bench() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ringress-bench"))
}

/// The thread ends with the process.
fn scripted(answer: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let answer = answer.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that stops closes its connections at any point.
            let _ = stream.and_then(|stream| answer_once(stream, &answer));
        }
    });
    address
}

fn answer_once(mut stream: TcpStream, answer: &str) -> std::io::Result<()> {
    let mut request = [0; 1024];
    let _ = stream.read(&mut request)?;
    stream.write_all(answer.as_bytes())
}

struct Origin {
    child: Child,
    address: SocketAddr,
}

impl Origin {
    fn start() -> Self {
        let mut child = bench()
            .args(["origin", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the origin says where it listens");
        let address = line.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        let address = address.and_then(|text| text.parse().ok()).expect("an address");
        Self { child, address }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
