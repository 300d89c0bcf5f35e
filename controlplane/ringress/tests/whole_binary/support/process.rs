//! The real binary: started with a folder of manifests, watched, ended by its own process id.

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::client::Client;
use super::driver::Driver;
use super::manifest::{self, CLASS, Document, Ingress, file};
use super::message::Response;
use super::upstream::Upstream;
use super::{PATIENCE, poll};

/// How a process is started.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    io_driver: &'static str,
    shards: usize,
    flags: Vec<String>,
    files: Vec<(String, String)>,
    ports: Option<Ports>,
    /// What runs the binary; empty: nothing but itself.
    under: Vec<String>,
}

impl Launch {
    /// `ringress run` on two shards with an empty folder.
    pub(crate) fn new(driver: Driver) -> Self {
        Self {
            io_driver: driver.as_str(),
            shards: 2,
            flags: Vec::new(),
            files: Vec::new(),
            ports: None,
            under: Vec::new(),
        }
    }

    /// One shard where a test watches one pool.
    pub(crate) fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Asks for something else than a certain driver.
    pub(crate) fn io_driver(mut self, flag: &'static str) -> Self {
        self.io_driver = flag;
        self
    }

    /// Adds flags.
    pub(crate) fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// Adds a file with these documents and the class `ringress`.
    pub(crate) fn manifests(self, documents: &[Document]) -> Self {
        let all: Vec<_> = [CLASS.to_owned()].into_iter().chain(documents.iter().cloned()).collect();
        self.file("manifests.yaml", &file(&all))
    }

    /// Lets this command start the binary, which it must become.
    pub(crate) fn under(mut self, command: &[&str]) -> Self {
        self.under = command.iter().map(|part| (*part).to_owned()).collect();
        self
    }

    /// Takes these ports instead of free ones.
    pub(crate) fn ports(mut self, ports: Ports) -> Self {
        self.ports = Some(ports);
        self
    }

    /// Routes everything of `a.test` to one Service, `web`, with these endpoints.
    pub(crate) fn serving(self, endpoints: &[&Upstream]) -> Self {
        let addresses: Vec<_> = endpoints.iter().map(|endpoint| endpoint.address()).collect();
        self.manifests(&[
            Ingress::simple("a", "a.test", "web").yaml(),
            manifest::service("web"),
            manifest::endpoints("web", &addresses),
        ])
    }

    /// Adds a file as it is.
    pub(crate) fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Starts the process and waits until it is ready.
    pub(crate) fn start(self) -> Ringress {
        let mut ringress = self.spawn();
        ringress.wait_ready();
        ringress
    }

    /// Starts the process without waiting.
    pub(crate) fn spawn(self) -> Ringress {
        let home = TempDir::new().expect("a temporary folder");
        let manifests = home.path().join("manifests");
        fs::create_dir(&manifests).expect("the folder is empty");
        for (name, text) in &self.files {
            fs::write(manifests.join(name), text).expect("the folder can be written");
        }
        let ports = self.ports.unwrap_or_else(Ports::free);
        let binary = env!("CARGO_BIN_EXE_ringress").to_owned();
        let words: Vec<_> = self.under.iter().chain([&binary]).collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .args(["run", "--manifests"])
            .arg(&manifests)
            .args(ports.flags())
            .args(["--shards", &self.shards.to_string(), "--pin", "never"])
            .args(["--io-driver", self.io_driver])
            .args(&self.flags);
        Ringress::of(command, home, ports)
    }
}

/// The ports of one process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    /// Plain text.
    pub(crate) http: u16,
    /// TLS.
    pub(crate) https: u16,
    /// Administration, on 127.0.0.1.
    pub(crate) admin: u16,
}

impl Ports {
    /// Three ports that nobody uses.
    pub(crate) fn free() -> Self {
        Self { http: free_port(), https: free_port(), admin: free_port() }
    }

    /// As arguments.
    pub(crate) fn flags(&self) -> Vec<String> {
        let Self { http, https, admin } = self;
        vec![
            format!("--http-port={http}"),
            format!("--https-port={https}"),
            format!("--admin-address=127.0.0.1:{admin}"),
        ]
    }
}

/// A port of this test process alone.
///
/// It lies below the range that the kernel hands out by itself, so that no outgoing connection takes it meanwhile, and in a
/// block that a datagram socket reserves, so that several test processes at once stay apart.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = block();
    for _ in 1..BLOCK_PORTS {
        let port = first + 1 + NEXT.fetch_add(1, Ordering::Relaxed) % (BLOCK_PORTS - 1);
        if TcpListener::bind(("0.0.0.0", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

const BLOCK_PORTS: u16 = 1_000;

/// The first port of the block that this process has to itself.
fn block() -> u16 {
    static RESERVED: OnceLock<(u16, UdpSocket)> = OnceLock::new();
    let reserve = || {
        let mut blocks = (0..16).map(|number| 15_000 + number * BLOCK_PORTS);
        blocks.find_map(|first| Some((first, UdpSocket::bind(("127.0.0.1", first)).ok()?)))
    };
    RESERVED.get_or_init(|| reserve().expect("a block of ports is free")).0
}

/// A running process; dropping it ends it.
pub(crate) struct Ringress {
    /// Where it listens.
    pub(crate) ports: Ports,
    child: Child,
    home: TempDir,
}

/// What `GET /generation` says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct Live {
    /// The newest generation that was published.
    pub(crate) generation: u64,
    /// The generation of each shard.
    pub(crate) shards: Vec<u64>,
}

impl Live {
    /// Whether every shard has the newest generation.
    pub(crate) fn is_everywhere(&self) -> bool {
        self.shards.iter().all(|shard| *shard == self.generation)
    }
}

impl Ringress {
    /// Starts any command of the binary, with its output in files of `home`.
    pub(crate) fn of(mut command: Command, home: TempDir, ports: Ports) -> Self {
        let output = |name: &str| File::create(home.path().join(name)).expect("the folder can be written");
        command.stdin(Stdio::null()).stdout(output("stdout")).stderr(output("stderr"));
        let child = command.spawn().expect("the binary was built");
        Self { ports, child, home }
    }

    /// Waits until `/readyz` answers 200.
    pub(crate) fn wait_ready(&mut self) {
        let ready = poll(|| {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("ringress ended with {status}\n{}", self.logs());
            }
            (self.try_admin("/readyz").ok()?.status == 200).then_some(())
        });
        assert!(ready.is_some(), "ringress never became ready\n{}", self.logs());
    }

    /// A new connection to the plain-text port.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.ports.http)
    }

    /// One GET on a connection of its own.
    pub(crate) fn get(&self, host: &str, target: &str) -> Response {
        self.client().ask(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    }

    /// One GET of the admin port.
    pub(crate) fn admin(&self, target: &str) -> Response {
        self.try_admin(target).unwrap_or_else(|error| panic!("admin {target}: {error}\n{}", self.logs()))
    }

    /// The same, where no answer is an answer.
    ///
    /// # Errors
    /// As connecting and reading give them.
    pub(crate) fn try_admin(&self, target: &str) -> std::io::Result<Response> {
        let mut client = Client::try_connect(self.ports.admin)?;
        client.try_send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))?;
        client.read("GET")
    }

    /// One POST of JSON to the admin port.
    pub(crate) fn admin_post(&self, target: &str, json: &serde_json::Value) -> Response {
        let body = json.to_string();
        Client::connect(self.ports.admin).ask(format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ))
    }

    /// What `GET /generation` says.
    pub(crate) fn live(&self) -> Live {
        let answer = self.admin("/generation");
        serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
    }

    /// The sum of a metric over its labels, of which `with` must be among.
    pub(crate) fn metric(&self, name: &str, with: &str) -> f64 {
        let text = self.admin("/metrics").text();
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(with));
        let values = lines.filter(|line| matches!(line.as_bytes().get(name.len()), Some(b'{' | b' ')));
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Replaces a manifest by rename, and waits until its generation is live on every shard.
    pub(crate) fn apply(&self, name: &str, text: &str) -> Live {
        self.change(|manifests| replace(manifests, name, text))
    }

    /// Changes the folder and waits until a newer generation is live on every shard.
    pub(crate) fn change(&self, change: impl FnOnce(&Path)) -> Live {
        let before = self.live().generation;
        change(&self.manifests());
        self.wait_after(before)
    }

    /// Waits until a generation after `before` is live on every shard.
    pub(crate) fn wait_after(&self, before: u64) -> Live {
        poll(|| Some(self.live()).filter(|live| live.generation > before && live.is_everywhere()))
            .unwrap_or_else(|| panic!("no generation after {before}: {:?}\n{}", self.live(), self.logs()))
    }

    /// The folder of manifests.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.home.path().join("manifests")
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.expect("kill is installed").success(), "the process is there");
    }

    /// Waits for the end of the process.
    pub(crate) fn wait_exit(&mut self) -> ExitStatus {
        self.wait_exit_within(PATIENCE)
    }

    /// The same, for at most `patience`.
    pub(crate) fn wait_exit_within(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                return status;
            }
            assert!(Instant::now() < deadline, "ringress did not end\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Whether the process still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the process is ours").is_none()
    }

    /// What it wrote to stdout so far.
    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.home.path().join("stdout")).unwrap_or_default()
    }

    /// What it wrote to stderr so far.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.home.path().join("stderr")).unwrap_or_default()
    }

    /// The end of both outputs, for messages of failed tests.
    pub(crate) fn logs(&self) -> String {
        format!(
            "--- stdout\n{}\n--- stderr\n{}",
            last_lines(&self.stdout(), 10),
            last_lines(&self.stderr(), 40)
        )
    }
}

impl Drop for Ringress {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
    }
}

/// Replaces a file as editors do: written beside, then renamed.
pub(crate) fn replace(folder: &Path, name: &str, text: &str) {
    // Beside the folder stand those of other tests.
    let own = folder.file_name().expect("the folder has a name").display();
    let beside = folder.with_file_name(format!("{own}.{name}.new"));
    fs::write(&beside, text).expect("the folder can be written");
    fs::rename(&beside, folder.join(name)).expect("both are in one file system");
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
