//! A client that sends exact bytes and reads whole responses.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::message::{Inbox, Response, retried};

/// One connection to ringress.
pub(crate) struct Client<S = TcpStream> {
    stream: S,
    inbox: Inbox,
}

impl Client {
    /// Connects to a port of this machine.
    pub(crate) fn connect(port: u16) -> Self {
        Self::try_connect(port).expect("ringress accepts connections")
    }

    /// As [`connect`](Self::connect), where refusal is an answer.
    ///
    /// # Errors
    /// As connecting gives them.
    pub(crate) fn try_connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::over(stream))
    }

    /// Sends FIN and keeps reading.
    pub(crate) fn half_close(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Ends the connection with RST.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("a TCP socket lingers");
    }

    /// Whether nothing arrives for `quiet`; the connection must stay open over it.
    pub(crate) fn is_silent_for(&mut self, quiet: Duration) -> bool {
        self.stream.set_read_timeout(Some(quiet)).expect("a timeout above zero");
        let got = retried(|| self.stream.peek(&mut [0]));
        self.stream.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        self.inbox.pending().is_empty() && got.is_err_and(|error| is_timeout(&error))
    }

    /// A second handle for another thread.
    pub(crate) fn stream(&self) -> TcpStream {
        self.stream.try_clone().expect("descriptors are left")
    }
}

impl<S: Read + Write> Client<S> {
    /// Speaks over a stream that is already there.
    pub(crate) fn over(stream: S) -> Self {
        Self { stream, inbox: Inbox::default() }
    }

    /// The stream below.
    pub(crate) fn transport(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("ringress takes bytes");
    }

    /// As [`send`](Self::send), where a closed connection is an answer.
    ///
    /// # Errors
    /// As writing gives them.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())?;
        self.stream.flush()
    }

    /// Sends a request without body and reads its answer.
    pub(crate) fn get(&mut self, host: &str, target: &str) -> Response {
        self.try_get(host, target).unwrap_or_else(|error| panic!("GET {host}{target}: {error}"))
    }

    /// As [`get`](Self::get), where no answer is an answer.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn try_get(&mut self, host: &str, target: &str) -> io::Result<Response> {
        self.try_send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"))?;
        self.read("GET")
    }

    /// Sends bytes and reads the answer to a GET.
    pub(crate) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        self.send(bytes.as_ref());
        let shown = String::from_utf8_lossy(&bytes.as_ref()[..bytes.as_ref().len().min(200)]).into_owned();
        self.read("GET").unwrap_or_else(|error| panic!("{shown:?}: {error}"))
    }

    /// Reads one response, interim ones too.
    ///
    /// # Errors
    /// `UnexpectedEof` where none comes or it is cut short; `InvalidData` where it is malformed.
    pub(crate) fn read(&mut self, method: &str) -> io::Result<Response> {
        self.inbox.read_response(&mut self.stream, method)
    }

    /// Reads exactly `count` bytes.
    ///
    /// # Errors
    /// `UnexpectedEof` where fewer come.
    pub(crate) fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        self.inbox.take(&mut self.stream, count)
    }

    /// Reads what is left until the other side ends; a reset ends it, too.
    pub(crate) fn read_rest(&mut self) -> Vec<u8> {
        let mut rest = self.inbox.pending().to_vec();
        self.inbox = Inbox::default();
        let mut buffer = [0; 16 * 1024];
        while let Ok(count @ 1..) = retried(|| self.stream.read(&mut buffer)) {
            rest.extend_from_slice(&buffer[..count]);
        }
        rest
    }

    /// Whether the other side ends the connection without another byte, and how long that took.
    pub(crate) fn is_closed(&mut self) -> Option<Duration> {
        let began = Instant::now();
        if !self.inbox.pending().is_empty() {
            return None;
        }
        match retried(|| self.stream.read(&mut [0])) {
            Ok(0) => Some(began.elapsed()),
            Ok(_) => None,
            Err(error) if is_timeout(&error) => None,
            Err(_) => Some(began.elapsed()),
        }
    }
}

/// Whether an operation ended because its time was over.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
