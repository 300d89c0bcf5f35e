//! Shards without a data plane, and a client for the admin.
#![allow(dead_code, reason = "every suite uses a part of it")]

pub(crate) mod api_server;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringress_controller::source::kube::Patience;
use ringress_shared::command::{Command, DriverReport, Event, IoDriver, ReportReply, ShardPort, ShardStatus};
use ringress_shared::metric::{COUNTERS, EndpointLoad, ShardReport};
use ringress_shared::snapshot::Snapshot;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A shard that does at once what it is told, and writes down what it was told.
pub(crate) struct FakeShard {
    status: ShardStatus,
    events: mpsc::UnboundedSender<Event>,
    pub(crate) told: Mutex<Vec<String>>,
    pub(crate) serving: Mutex<Option<Arc<Snapshot>>>,
    pub(crate) listening: Mutex<Vec<OwnedFd>>,
    /// Whether it installs what it is told to apply.
    pub(crate) obedient: AtomicBool,
    /// What it answers to `Report`; `None` never answers.
    pub(crate) report: Mutex<Option<ShardReport>>,
    unanswered: Mutex<Vec<ReportReply>>,
    /// What it answers to `Loads`.
    pub(crate) loads: Mutex<Vec<EndpointLoad>>,
}

impl FakeShard {
    pub(crate) fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    /// Installs what it was told to apply while it did not obey.
    pub(crate) fn obey(&self) {
        self.obedient.store(true, Ordering::SeqCst);
        let serving = self.serving.lock().unwrap().clone();
        self.install(&serving.expect("nothing was applied"));
    }

    pub(crate) fn beat(&self) {
        self.status.heartbeat.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn accept(&self, accepting: bool) {
        self.status.accepting.store(accepting, Ordering::SeqCst);
    }

    pub(crate) fn say(&self, event: Event) {
        self.events.send(event).unwrap();
    }

    fn install(&self, snapshot: &Snapshot) {
        self.status.installed.store(snapshot.generation, Ordering::SeqCst);
        // The controller may have ended.
        self.events.send(Event::Installed { shard: self.status.shard, generation: snapshot.generation }).ok();
    }
}

impl ShardPort for FakeShard {
    fn send(&self, command: Command) {
        self.told.lock().unwrap().push(format!("{command:?}"));
        match command {
            Command::Apply(snapshot) => {
                *self.serving.lock().unwrap() = Some(Arc::clone(&snapshot));
                if self.obedient.load(Ordering::SeqCst) {
                    self.install(&snapshot);
                }
            }
            Command::Listen { descriptor, .. } => {
                self.listening.lock().unwrap().push(descriptor);
                self.accept(true);
            }
            Command::Unlisten(_) | Command::Adopt { .. } | Command::Neighbours(_) => {}
            Command::Drain { .. } => {
                self.accept(false);
                if self.obedient.load(Ordering::SeqCst) {
                    self.say(Event::Drained { shard: self.status.shard, cut: 0 });
                }
            }
            Command::Report(reply) => match self.report.lock().unwrap().clone() {
                Some(report) => reply(report),
                None => self.unanswered.lock().unwrap().push(reply),
            },
            Command::Loads(reply) => reply(self.loads.lock().unwrap().clone()),
        }
    }

    fn status(&self) -> &ShardStatus {
        &self.status
    }
}

/// `count` obedient shards, and what they say.
pub(crate) fn shards(count: usize) -> (Vec<Arc<FakeShard>>, mpsc::UnboundedReceiver<Event>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let shard = |number| {
        let status = ShardStatus::new(number);
        let driver = DriverReport {
            driver: IoDriver::Epoll,
            rung: "epoll".to_owned(),
            reason: "io_uring_setup: EPERM".to_owned(),
            connections_max: u64::MAX,
        };
        status.driver.set(driver).unwrap();
        Arc::new(FakeShard {
            status,
            events: sender.clone(),
            told: Mutex::default(),
            serving: Mutex::default(),
            listening: Mutex::default(),
            obedient: AtomicBool::new(true),
            report: Mutex::new(Some(empty_report())),
            unanswered: Mutex::default(),
            loads: Mutex::default(),
        })
    };
    ((0..count).map(shard).collect(), receiver)
}

pub(crate) fn ports(shards: &[Arc<FakeShard>]) -> Vec<Arc<dyn ShardPort>> {
    shards.iter().map(|shard| Arc::clone(shard) as Arc<dyn ShardPort>).collect()
}

pub(crate) fn empty_report() -> ShardReport {
    ShardReport {
        counters: [0; COUNTERS],
        latency: hdrhistogram::Histogram::new(3).unwrap(),
        rules: Default::default(),
        pooled: 0,
    }
}

/// An answer of the admin.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

pub(crate) async fn get(address: SocketAddr, path: &str) -> Answer {
    request(address, &format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n")).await
}

pub(crate) async fn post(address: SocketAddr, path: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    request(address, &format!("{head}{body}")).await
}

async fn request(address: SocketAddr, text: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("no answer in time").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("no head");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, body: body.to_owned() }
}

/// Short enough for tests, in the same proportions.
pub(crate) fn patience() -> Patience {
    Patience {
        answer: Duration::from_millis(600),
        watch: Duration::from_secs(1),
        slack: Duration::from_millis(500),
        pause: Duration::from_millis(20),
        pause_max: Duration::from_millis(200),
        list_pause_max: Duration::from_millis(400),
        refused: Duration::from_millis(200),
        confirm: Duration::from_millis(700),
    }
}

/// Asks again and again until `holds`; fails after ten seconds.
pub(crate) async fn eventually<T: std::fmt::Debug>(
    mut ask: impl AsyncFnMut() -> T,
    holds: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let last = ask().await;
        if holds(&last) {
            return last;
        }
        assert!(Instant::now() < deadline, "never came true; last: {last:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
