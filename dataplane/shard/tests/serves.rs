//! A shard alone, with a snapshot made by hand, on both drivers: the first thing to look at when a journey breaks.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a test waits by the clock and may panic

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringress_shard::{DriverChoice, ShardConfig, spawn};
use ringress_shared::command::{Command, Event, ShardPort};
use ringress_shared::id::{RuleId, UpstreamId};
use ringress_shared::listener::{
    AccessLogFormat, ClientTimeouts, HeadLimits, HttpSettings, Listener, ListenerId, Routing, Socket,
    SocketId, Transport,
};
use ringress_shared::metric::{Counter, EndpointLoad};
use ringress_shared::origin::{ObjectRef, Origin};
use ringress_shared::policy::PolicySet;
use ringress_shared::route::{
    Backend, Candidate, PathMatch, Predicates, RouteTableBuilder, Rule, RuleTimeouts, Target,
};
use ringress_shared::snapshot::{Ambient, Snapshot};
use ringress_shared::upstream::{Balance, Endpoint, EndpointSet, Upstream, UpstreamProtocol, UpstreamTable};

const DRIVERS: [DriverChoice; 2] = [DriverChoice::Auto, DriverChoice::Epoll];
const WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct NoTickets;

impl rustls::server::ProducesTickets for NoTickets {
    fn enabled(&self) -> bool {
        false
    }
    fn lifetime(&self) -> u32 {
        0
    }
    fn encrypt(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }
    fn decrypt(&self, _cipher: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

struct Running {
    port: Arc<dyn ShardPort>,
    address: SocketAddr,
    events: Receiver<Event>,
}

/// Numbers of shards: neighbours must differ.
static SHARDS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// One shard that sends everything to `endpoints`.
fn start(
    driver: DriverChoice,
    endpoints: &[SocketAddr],
    timeouts: ClientTimeouts,
    rule_timeouts: RuleTimeouts,
) -> Running {
    let (sender, events) = channel();
    let sender = Mutex::new(sender);
    let config = ShardConfig {
        shard: SHARDS.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
        core: None,
        driver,
        events: Arc::new(move |event| drop(sender.lock().unwrap().send(event))),
        access_log: None,
        seed: 1,
    };
    let port = spawn(config).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = SocketId { address, transport: Transport::Tcp };
    port.send(Command::Apply(Arc::new(snapshot(1, socket, endpoints, timeouts, rule_timeouts))));
    port.send(Command::Listen { socket, descriptor: listener.into() });
    let running = Running { port, address, events };
    assert!(matches!(running.events.recv_timeout(WITHIN), Ok(Event::Installed { generation: 1, .. })));
    running
}

fn snapshot(
    generation: u64,
    socket: SocketId,
    endpoints: &[SocketAddr],
    timeouts: ClientTimeouts,
    rule_timeouts: RuleTimeouts,
) -> Snapshot {
    let id = UpstreamId::of(&["default/web:80"]);
    let endpoints = endpoints.iter().map(|address| Endpoint::new(*address, None)).collect();
    let upstream = Upstream {
        id,
        service: ObjectRef::new("Service", "default", "web"),
        port: "80".into(),
        protocol: UpstreamProtocol::Http1,
        balance: Balance::RoundRobin,
        endpoints: Arc::new(EndpointSet { endpoints }),
    };
    let rule = Rule {
        id: RuleId::of(&["web"]),
        origin: Origin { object: ObjectRef::new("Ingress", "default", "web"), field: "spec.rules[0]".into() },
        policies: Arc::new(PolicySet::default()),
        backends: Box::new([Backend { weight: 1, target: Target::Upstream(id), policies: Arc::default() }]),
        timeouts: rule_timeouts,
    };
    let mut routes = RouteTableBuilder::new();
    let candidate = Candidate {
        path: PathMatch::prefix("/web"),
        predicates: Predicates::default(),
        rule: Arc::new(rule),
    };
    routes.candidate(None, candidate);
    let http = HttpSettings {
        limits: HeadLimits::default(),
        timeouts,
        trusted_proxies: Box::new([]),
        access_log: AccessLogFormat::Off,
        public_port: 80,
    };
    let listener = Listener {
        id: ListenerId("http".into()),
        hostname: None,
        tls: None,
        policies: Arc::default(),
        routing: Routing::Http(Arc::new(routes.build())),
        http: Arc::new(http),
    };
    let mut upstreams = UpstreamTable::default();
    upstreams.insert(id, Arc::new(upstream));
    Snapshot {
        generation,
        sockets: Arc::new([Socket { id: socket, proxy_protocol: false, listeners: Arc::new([listener]) }]),
        upstreams: Arc::new(upstreams),
        server_configs: Arc::new(BTreeMap::new()),
        ambient: Arc::new(Ambient { tickets: Arc::new(NoTickets) }),
    }
}

/// An endpoint that answers every head on every connection with `answer`, and counts what it saw.
fn endpoint(answer: &'static [u8]) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let record = Arc::clone(&record);
            std::thread::spawn(move || answer_heads(stream, answer, &record));
        }
    });
    (address, seen)
}

fn answer_heads(mut stream: TcpStream, answer: &[u8], record: &Mutex<Vec<Vec<u8>>>) {
    let mut head = Vec::new();
    let mut byte = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut byte) {
        head.extend_from_slice(&byte[..count]);
        while let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = head.split_off(end + 4);
            record.lock().unwrap().push(std::mem::replace(&mut head, rest));
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WITHIN)).unwrap();
    stream
}

/// Reads until `end` was seen or the peer closed.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let mut bytes = [0; 4096];
    while !String::from_utf8_lossy(&text).contains(end) {
        match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&bytes[..count]),
            Err(error) => panic!("{error}, after {:?}", String::from_utf8_lossy(&text)),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn wait_until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !done() {
        assert!(Instant::now() < deadline, "it never came true");
        std::thread::yield_now();
    }
}

fn counters(port: &Arc<dyn ShardPort>) -> [u64; ringress_shared::metric::COUNTERS] {
    let (sender, receiver) = channel();
    port.send(Command::Report(Box::new(move |report| {
        let _ = sender.send(report.counters);
    })));
    receiver.recv_timeout(WITHIN).unwrap()
}

fn loads(port: &Arc<dyn ShardPort>) -> Vec<EndpointLoad> {
    let (sender, receiver) = channel();
    port.send(Command::Loads(Box::new(move |loads| {
        let _ = sender.send(loads);
    })));
    receiver.recv_timeout(WITHIN).unwrap()
}

const GET: &[u8] = b"GET /web HTTP/1.1\r\nHost: example.com\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn requests_are_forwarded_and_both_sides_are_kept_alive() {
    for driver in DRIVERS {
        let (address, seen) = endpoint(OK);
        let running = start(driver, &[address], ClientTimeouts::default(), RuleTimeouts::default());
        let mut client = connect(running.address);
        for _ in 0..3 {
            client.write_all(GET).unwrap();
            let answer = read_until(&mut client, "hello");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
        assert_eq!(seen.lock().unwrap().len(), 3);
        let counters = counters(&running.port);
        assert_eq!(counters[Counter::UpstreamConnects as usize], 1);
        assert_eq!(counters[Counter::UpstreamReuses as usize], 2);
        assert_eq!(counters[Counter::Responses2xx as usize], 3);
    }
}

#[test]
fn unknown_paths_are_404_and_dead_endpoints_502() {
    for driver in DRIVERS {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let running = start(driver, &[closed], ClientTimeouts::default(), RuleTimeouts::default());
        let mut client = connect(running.address);
        client.write_all(b"GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let answer = read_until(&mut client, "\0");
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("destination_not_found"), "{answer}");
        let mut client = connect(running.address);
        client.write_all(b"GET /web HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let answer = read_until(&mut client, "\0");
        assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains("connection_refused"), "{answer}");
    }
}

#[test]
fn a_shard_tells_what_is_in_flight() {
    for driver in DRIVERS {
        // It takes the request and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let running = start(driver, &[address], ClientTimeouts::default(), RuleTimeouts::default());
        assert!(loads(&running.port).is_empty());
        let mut client = connect(running.address);
        client.write_all(GET).unwrap();
        let (kept, _) = silent.accept().unwrap();
        let told = loads(&running.port);
        assert_eq!(told.iter().map(|load| (load.in_flight, load.failures)).collect::<Vec<_>>(), [(1, 0)]);
        drop((client, kept));
    }
}

#[test]
fn a_streamed_body_arrives_and_chunks_come_back() {
    for driver in DRIVERS {
        let (address, seen) =
            endpoint(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let running = start(driver, &[address], ClientTimeouts::default(), RuleTimeouts::default());
        let mut client = connect(running.address);
        client.write_all(b"POST /web HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        for chunk in ["3\r\nabc\r\n", "4\r\ndefg\r\n", "0\r\n\r\n"] {
            client.write_all(chunk.as_bytes()).unwrap();
        }
        let answer = read_until(&mut client, "0\r\n\r\n");
        assert!(answer.contains("5\r\nhello\r\n0\r\n\r\n"), "{answer}");
        let head = String::from_utf8(seen.lock().unwrap()[0].clone()).unwrap();
        assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
    }
}

#[test]
fn deadlines_end_slow_heads_and_silent_endpoints() {
    for driver in DRIVERS {
        let (address, _) = endpoint(b"");
        let timeouts = ClientTimeouts { header: Duration::from_millis(200), ..ClientTimeouts::default() };
        let rule = RuleTimeouts { response: Duration::from_millis(200), ..RuleTimeouts::default() };
        let running = start(driver, &[address], timeouts, rule);
        let mut slow = connect(running.address);
        slow.write_all(b"GET /web HT").unwrap();
        let started = Instant::now();
        let answer = read_until(&mut slow, "\0");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(started.elapsed() >= Duration::from_millis(150));
        let mut client = connect(running.address);
        client.write_all(GET).unwrap();
        let answer = read_until(&mut client, "time");
        assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    }
}

#[test]
fn draining_answers_what_is_under_way_and_then_reports() {
    for driver in DRIVERS {
        let (address, _) = endpoint(OK);
        let running = start(driver, &[address], ClientTimeouts::default(), RuleTimeouts::default());
        let mut client = connect(running.address);
        client.write_all(GET).unwrap();
        read_until(&mut client, "hello");
        running.port.send(Command::Drain { within: WITHIN });
        wait_until(|| !running.port.status().accepting.load(std::sync::atomic::Ordering::Acquire));
        client.write_all(GET).unwrap();
        let answer = read_until(&mut client, "hello");
        assert!(answer.contains("Connection: close\r\n"), "{answer}");
        assert_eq!(read_until(&mut client, "\0"), "");
        drop(client);
        assert!(matches!(running.events.recv_timeout(WITHIN), Ok(Event::Drained { cut: 0, .. })));
        assert!(TcpStream::connect(running.address).is_err());
    }
}

#[test]
fn connections_are_handed_to_a_shard_with_far_fewer() {
    for driver in DRIVERS {
        let (address, _) = endpoint(OK);
        let [busy, idle] =
            [0, 1].map(|_| start(driver, &[address], ClientTimeouts::default(), RuleTimeouts::default()));
        // Both shards know the socket that the clients use; only the first one accepts on it.
        let ports: Arc<[Arc<dyn ShardPort>]> = Arc::new([Arc::clone(&busy.port), Arc::clone(&idle.port)]);
        let socket = SocketId { address: busy.address, transport: Transport::Tcp };
        let shared = snapshot(2, socket, &[address], ClientTimeouts::default(), RuleTimeouts::default());
        idle.port.send(Command::Apply(Arc::new(shared)));
        assert!(matches!(idle.events.recv_timeout(WITHIN), Ok(Event::Installed { generation: 2, .. })));
        busy.port.send(Command::Neighbours(ports));
        let clients: Vec<TcpStream> = (0..40)
            .map(|_| {
                let mut client = connect(busy.address);
                client.write_all(GET).unwrap();
                assert!(read_until(&mut client, "hello").starts_with("HTTP/1.1 200 "));
                client
            })
            .collect();
        let open =
            |running: &Running| running.port.status().connections.load(std::sync::atomic::Ordering::Relaxed);
        let (kept, handed) = (open(&busy), open(&idle));
        assert_eq!(kept + handed, 40);
        assert!(kept.abs_diff(handed) <= 12, "{kept} stayed and {handed} moved");
        drop(clients);
        wait_until(|| open(&busy) == 0 && open(&idle) == 0);
    }
}

#[test]
fn a_body_that_lost_its_end_never_looks_complete() {
    for driver in DRIVERS {
        let address =
            endpoint_that_breaks(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        let running = start(driver, &[address], ClientTimeouts::default(), RuleTimeouts::default());
        // Chunks tell a 1.1 client; a 1.0 client has only the way the connection ends.
        let mut modern = connect(running.address);
        modern.write_all(GET).unwrap();
        assert!(!read_until(&mut modern, "\0").contains("0\r\n\r\n"));
        let mut old = connect(running.address);
        old.write_all(b"GET /web HTTP/1.0\r\nHost: a\r\n\r\n").unwrap();
        let mut rest = Vec::new();
        let ended = old.read_to_end(&mut rest);
        assert_eq!(ended.map_err(|error| error.kind()), Err(std::io::ErrorKind::ConnectionReset));
    }
}

/// An endpoint that closes every connection after `answer`.
fn endpoint_that_breaks(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
        }
    });
    address
}
