//! Upstreams that follow a script and record every byte that reached them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::PATIENCE;
use super::client::is_timeout;
use super::message::{Inbox, Received, retried};

/// A listening endpoint; one thread for each connection runs the script.
pub(crate) struct Upstream {
    address: SocketAddr,
    record: Arc<Record>,
    listener: TcpListener,
}

/// What reached an upstream, over all its connections.
#[derive(Default)]
struct Record {
    connections: AtomicUsize,
    /// The bytes of each connection, in order of acceptance.
    bytes: Mutex<Vec<Vec<u8>>>,
    requests: Mutex<Vec<(usize, Received)>>,
    stopped: AtomicBool,
    /// Under load a record of every byte would be the load.
    is_off: AtomicBool,
}

impl Upstream {
    /// Listens on a port of the kernel's choice and runs `script` for each connection.
    pub(crate) fn start(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let record = Arc::new(Record::default());
        let shared = Arc::clone(&record);
        let script: Arc<Script> = Arc::new(script);
        let listens = listener.try_clone().expect("descriptors are left");
        std::thread::spawn(move || accept(&listens, &shared, &script));
        Self { address, record, listener }
    }

    /// Makes the kernel take little for connections that nobody reads from: whoever writes to them stands still soon.
    pub(crate) fn narrow(self) -> Self {
        let listener = socket2::SockRef::from(&self.listener);
        listener.set_recv_buffer_size(4 * 1024).expect("a TCP socket");
        // The sender's buffer grows with the segments that it may send.
        listener.set_tcp_mss(536).expect("a TCP socket");
        self
    }

    /// Answers every request with 200 and the answer's name, then what it received.
    pub(crate) fn named(name: &'static str) -> Self {
        Self::answering(move |request| echo(name, request))
    }

    /// Answers every request with the bytes that `answer` gives, connection by connection in order.
    pub(crate) fn answering(answer: impl Fn(&Received) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |peer| {
            while let Some(request) = peer.read_request() {
                if !peer.send(answer(&request)) {
                    return;
                }
            }
        })
    }

    /// Keeps no record.
    pub(crate) fn unrecorded(self) -> Self {
        self.record.is_off.store(true, Ordering::SeqCst);
        self
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Connections accepted since the start.
    pub(crate) fn connections(&self) -> usize {
        self.record.connections.load(Ordering::SeqCst)
    }

    /// Whole requests since the start or the last [`forget`](Self::forget).
    pub(crate) fn requests(&self) -> Vec<Received> {
        self.record.requests.lock().unwrap().iter().map(|(_, request)| request.clone()).collect()
    }

    /// The connections that the whole requests arrived on, in the same order.
    pub(crate) fn request_connections(&self) -> Vec<usize> {
        self.record.requests.lock().unwrap().iter().map(|(connection, _)| *connection).collect()
    }

    /// Every byte since the start or the last [`forget`](Self::forget), connection after connection.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.record.bytes.lock().unwrap().concat()
    }

    /// Starts recording anew; connections stay.
    pub(crate) fn forget(&self) {
        self.record.requests.lock().unwrap().clear();
        self.record.bytes.lock().unwrap().iter_mut().for_each(Vec::clear);
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.record.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, so that the port is free again.
        drop(TcpStream::connect(self.address));
    }
}

type Script = dyn Fn(&mut Peer) + Send + Sync;

fn accept(listener: &TcpListener, record: &Arc<Record>, script: &Arc<Script>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if record.stopped.load(Ordering::SeqCst) {
            return;
        }
        let mut peer = Peer::new(stream, Arc::clone(record));
        let script = Arc::clone(script);
        std::thread::spawn(move || script(&mut peer));
    }
}

/// The answer of [`Upstream::named`].
pub(crate) fn echo(name: &str, request: &Received) -> Vec<u8> {
    let mut body = request.head.clone();
    body.extend_from_slice(&request.body);
    let mut answer = ok(&[("X-Upstream", name)], &body);
    if request.method() == "HEAD" {
        answer.truncate(answer.len() - body.len());
    }
    answer
}

/// A whole 200 with these fields and a length.
pub(crate) fn ok(fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let fields: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut answer =
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// One connection of an upstream, as its script sees it.
pub(crate) struct Peer {
    /// Connections are numbered from 0.
    pub(crate) number: usize,
    stream: TcpStream,
    inbox: Inbox,
    record: Arc<Record>,
}

/// How the other side ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In order.
    Fin,
    /// By a reset.
    Reset,
    /// Not at all.
    Open,
}

impl Peer {
    fn new(stream: TcpStream, record: Arc<Record>) -> Self {
        let number = record.connections.fetch_add(1, Ordering::SeqCst);
        let mut bytes = record.bytes.lock().unwrap();
        // Connections are numbered by the one accepting thread, so the places come in order.
        bytes.resize_with(number + 1, Vec::new);
        drop(bytes);
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(2 * PATIENCE)).expect("a timeout above zero");
        stream.set_write_timeout(Some(2 * PATIENCE)).expect("a timeout above zero");
        Self { number, stream, inbox: Inbox::default(), record }
    }

    /// Reads a whole request; `None` at the end of the connection.
    pub(crate) fn read_request(&mut self) -> Option<Received> {
        let mut recorder = Recorder { stream: &self.stream, number: self.number, record: &self.record };
        let request = self.inbox.read_request(&mut recorder).ok()?;
        if !self.record.is_off.load(Ordering::Relaxed) {
            self.record.requests.lock().unwrap().push((self.number, request.clone()));
        }
        Some(request)
    }

    /// Reads the head of a request and leaves its body.
    pub(crate) fn read_head(&mut self) -> Option<Vec<u8>> {
        let mut recorder = Recorder { stream: &self.stream, number: self.number, record: &self.record };
        self.inbox.take_head(&mut recorder).ok()
    }

    /// Reads exactly `count` bytes; `None` where fewer come.
    pub(crate) fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut recorder = Recorder { stream: &self.stream, number: self.number, record: &self.record };
        self.inbox.take(&mut recorder, count).ok()
    }

    /// What has arrived and is not read yet.
    pub(crate) fn pending(&self) -> &[u8] {
        self.inbox.pending()
    }

    /// Whether no byte arrives for `quiet`.
    pub(crate) fn is_silent_for(&mut self, quiet: Duration) -> bool {
        self.stream.set_read_timeout(Some(quiet)).expect("a timeout above zero");
        let got = retried(|| self.stream.peek(&mut [0]));
        self.stream.set_read_timeout(Some(2 * PATIENCE)).expect("a timeout above zero");
        self.inbox.pending().is_empty() && got.is_err_and(|error| is_timeout(&error))
    }

    /// Sends bytes; whether the other side took them.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends FIN and keeps reading.
    pub(crate) fn half_close(&self) {
        // The other side may have ended already; then there is nothing to say.
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// Makes the end of the script a reset.
    pub(crate) fn reset(&self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket lingers");
    }

    /// Reads until the other side ends, for at most [`PATIENCE`].
    pub(crate) fn wait_end(&mut self) -> End {
        let mut recorder = Recorder { stream: &self.stream, number: self.number, record: &self.record };
        let mut buffer = [0; 16 * 1024];
        loop {
            match recorder.read(&mut buffer) {
                Ok(0) => return End::Fin,
                Ok(_) => {}
                Err(error) if is_timeout(&error) => return End::Open,
                Err(_) => return End::Reset,
            }
        }
    }
}

/// Reads from a connection and writes down what came.
struct Recorder<'p> {
    stream: &'p TcpStream,
    number: usize,
    record: &'p Record,
}

impl Read for Recorder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = retried(|| self.stream.read(buffer))?;
        if !self.record.is_off.load(Ordering::Relaxed) {
            self.record.bytes.lock().unwrap()[self.number].extend_from_slice(&buffer[..count]);
        }
        Ok(count)
    }
}
