//! TLS towards clients: rustls' sessions driven over our own reads and writes.
//!
//! The session is shared by both halves of a connection and borrowed only between awaits, so reading and writing go on at
//! the same time in one task: tunnels and early answers need that. monoio-rustls cannot do it, and would pin 32 KiB per
//! idle connection.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConnection;
use rustls::server::{Accepted, Acceptor};

use crate::buffer::{Buffer, Outgoing, Size};
use crate::deadline::Purpose;
use crate::deadline::Wheel;
use crate::rt::{Halves, ReadHalf, WriteHalf};
use crate::stream::{Reader, Writer, plain, receive, send_all};

/// A TLS session with a client.
pub(crate) struct Session {
    connection: RefCell<ServerConnection>,
    /// The last buffer of ciphertext, kept for the next write.
    spare: RefCell<Option<Outgoing>>,
}

/// Ciphertext buffers up to this size are kept for the next write.
const SPARE_BYTES_MAX: usize = 4 * 1024;

impl Session {
    fn new(mut connection: ServerConnection) -> Self {
        // What is written is sent at once, so nothing piles up; a limit would only refuse a full write behind a ticket.
        connection.set_buffer_limit(None);
        Self { connection: RefCell::new(connection), spare: RefCell::new(None) }
    }

    /// The server name that the client asked for, lower case.
    pub(crate) fn server_name(&self) -> Option<String> {
        self.connection.borrow().server_name().map(str::to_ascii_lowercase)
    }

    /// Whether the session was resumed.
    pub(crate) fn is_resumed(&self) -> bool {
        self.connection.borrow().handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// `TLSv1.3` and so on, for the log.
    pub(crate) fn version(&self) -> &'static str {
        match self.connection.borrow().protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => "",
        }
    }

    /// Decrypts what was received into the free room of `buffer`. `None` where more must be received, 0 at the end.
    pub(crate) fn decrypt(&self, received: &mut Buffer, buffer: &mut Buffer) -> io::Result<Option<usize>> {
        let mut connection = self.connection.borrow_mut();
        loop {
            match connection.reader().read(buffer.tail()) {
                Ok(count) => {
                    buffer.filled(count);
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if received.is_empty() {
                return Ok(None);
            }
            feed(&mut connection, received)?;
        }
    }

    /// The socket ended: a clean end only after the client said so.
    pub(crate) fn end_of_stream(&self) -> io::Result<usize> {
        let mut connection = self.connection.borrow_mut();
        connection.read_tls(&mut io::empty())?;
        match connection.process_new_packets() {
            // Clients that just close are as common as clients that say goodbye; HTTP's own framing tells them apart.
            Ok(_) => Ok(0),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }

    /// Appends the records of `plaintext`, after whatever the session has to say itself.
    pub(crate) fn encrypt(&self, plaintext: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut connection = self.connection.borrow_mut();
        connection.writer().write_all(plaintext)?;
        flush(&mut connection, out)
    }

    /// Appends the closing alert.
    pub(crate) fn close(&self, out: &mut Vec<u8>) {
        let mut connection = self.connection.borrow_mut();
        connection.send_close_notify();
        // Writing to a vector does not fail.
        let _ = flush(&mut connection, out);
    }

    pub(crate) fn lend_out(&self) -> Outgoing {
        self.spare.borrow_mut().take().unwrap_or_default()
    }

    pub(crate) fn take_back(&self, mut out: Outgoing) {
        if out.text().capacity() <= SPARE_BYTES_MAX {
            out.clear();
            *self.spare.borrow_mut() = Some(out);
        }
    }
}

fn feed(connection: &mut ServerConnection, received: &mut Buffer) -> io::Result<()> {
    let count = connection.read_tls(&mut received.bytes())?;
    received.consume(count);
    connection.process_new_packets().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(())
}

fn flush(connection: &mut ServerConnection, out: &mut Vec<u8>) -> io::Result<()> {
    while connection.wants_write() {
        connection.write_tls(out)?;
    }
    Ok(())
}

/// Picks the configuration for a client by the server name that it sent; `None` refuses it.
pub(crate) type Choose<'c> = &'c dyn Fn(Option<&str>) -> Option<Arc<rustls::ServerConfig>>;

/// Shakes hands with a client.
///
/// # Errors
/// Whatever the client did wrong, after the alert was sent; `TimedOut` after `within`.
pub(crate) async fn accept(
    halves: Halves,
    wheel: &Rc<Wheel>,
    within: Duration,
    choose: Choose<'_>,
) -> io::Result<(Reader, Writer, Rc<Session>)> {
    let Halves { descriptor, reader: mut read_half, writer: mut write_half } = halves;
    let watch = crate::deadline::Watch::new(wheel, descriptor);
    // One deadline for the whole handshake: a client that sends a byte a second gains nothing.
    watch.arm(Purpose::Read, within);
    let mut received = Buffer::new(Size::Small);
    let shaken = shake_hands(&mut read_half, &mut write_half, &mut received, &watch, within, choose).await;
    let session = match shaken {
        Ok(session) => Rc::new(session),
        Err(_) if watch.has_expired() => return Err(io::ErrorKind::TimedOut.into()),
        Err(error) => return Err(error),
    };
    received.shrink();
    let (mut reader, mut writer) = plain(Halves { descriptor, reader: read_half, writer: write_half }, wheel);
    reader.secure(Rc::clone(&session), received);
    writer.secure(Rc::clone(&session));
    Ok((reader, writer, session))
}

async fn shake_hands(
    reader: &mut ReadHalf,
    writer: &mut WriteHalf,
    received: &mut Buffer,
    watch: &crate::deadline::Watch,
    within: Duration,
    choose: Choose<'_>,
) -> io::Result<Session> {
    let mut alert = Outgoing::default();
    let outcome = converse(reader, writer, received, watch, within, choose, alert.text()).await;
    if outcome.is_err() && !alert.text().is_empty() {
        // The client learns why, if it still listens.
        let _ = send_all(writer, alert, watch, within).await;
    }
    outcome
}

async fn converse(
    reader: &mut ReadHalf,
    writer: &mut WriteHalf,
    received: &mut Buffer,
    watch: &crate::deadline::Watch,
    within: Duration,
    choose: Choose<'_>,
    alert: &mut Vec<u8>,
) -> io::Result<Session> {
    let accepted = client_hello(reader, received, alert).await?;
    let server_name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
    let config = choose(server_name.as_deref())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no listener takes this server name"))?;
    let mut connection = accepted.into_connection(config).map_err(|(error, mut bytes)| {
        let _ = bytes.write_all(alert);
        io::Error::new(io::ErrorKind::InvalidData, error)
    })?;
    let mut out = Outgoing::default();
    loop {
        while !received.is_empty() && connection.is_handshaking() {
            if let Err(error) = feed(&mut connection, received) {
                flush(&mut connection, alert)?;
                return Err(error);
            }
        }
        let done = !connection.is_handshaking();
        // Tickets of TLS 1.3 travel with the first answer; a TLS 1.2 client still waits for our last flight.
        if !(done && connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3)) {
            out.clear();
            flush(&mut connection, out.text())?;
            let (result, lent) = send_all(writer, out, watch, within).await;
            out = lent;
            result?;
            // Sending re-armed the watch for writing at most for the same time.
        }
        if done {
            return Ok(Session::new(connection));
        }
        if receive(reader, received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn client_hello(
    reader: &mut ReadHalf,
    received: &mut Buffer,
    alert: &mut Vec<u8>,
) -> io::Result<Accepted> {
    let mut acceptor = Acceptor::default();
    loop {
        if receive(reader, received).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        while !received.is_empty() {
            let count = acceptor.read_tls(&mut received.bytes())?;
            received.consume(count);
            match acceptor.accept() {
                Ok(Some(accepted)) => return Ok(accepted),
                Ok(None) => {}
                Err((error, mut bytes)) => {
                    let _ = bytes.write_all(alert);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
    }
}
