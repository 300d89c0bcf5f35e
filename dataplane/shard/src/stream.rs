//! A connection to a client or an endpoint, as two halves that one task owns: plain or TLS, each with its deadline.

use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use crate::buffer::{Buffer, Outgoing, Send};
use crate::deadline::{Purpose, Watch, Wheel};
use crate::rt::{self, AsyncReadRent, AsyncWriteRent, Halves, ReadHalf, WriteHalf};
use crate::tls::Session;

/// The reading half.
pub(crate) struct Reader {
    pub(crate) watch: Watch,
    descriptor: RawFd,
    half: ReadHalf,
    tls: Option<Box<Ciphertext>>,
}

/// What a TLS reader has beside the socket.
struct Ciphertext {
    session: Rc<Session>,
    received: Buffer,
}

/// The writing half.
pub(crate) struct Writer {
    pub(crate) watch: Watch,
    descriptor: RawFd,
    half: WriteHalf,
    tls: Option<Rc<Session>>,
}

/// Takes a connection over in plain text.
pub(crate) fn plain(halves: Halves, wheel: &Rc<Wheel>) -> (Reader, Writer) {
    let Halves { descriptor, reader, writer } = halves;
    let reader = Reader { watch: Watch::new(wheel, descriptor), descriptor, half: reader, tls: None };
    (reader, Writer { watch: Watch::new(wheel, descriptor), descriptor, half: writer, tls: None })
}

impl Reader {
    pub(crate) fn descriptor(&self) -> RawFd {
        self.descriptor
    }

    /// From now on everything is read through the session. `received` holds ciphertext that came with the handshake.
    pub(crate) fn secure(&mut self, session: Rc<Session>, received: Buffer) {
        self.tls = Some(Box::new(Ciphertext { session, received }));
    }

    /// Gives back what only a busy connection needs.
    pub(crate) fn shrink(&mut self) {
        if let Some(ciphertext) = &mut self.tls {
            ciphertext.received.shrink();
        }
    }

    /// Reads into the free room of a buffer; 0 is the end. Must be awaited to its end, see [`crate::rt`].
    pub(crate) async fn read(&mut self, into: &mut Buffer) -> io::Result<usize> {
        match &mut self.tls {
            None => read_plain(&mut self.half, into).await,
            Some(ciphertext) => Box::pin(read_secure(&mut self.half, ciphertext, into)).await,
        }
    }
}

/// The operation owns the buffer while it is pending; afterwards it stands in its place again.
async fn read_plain(half: &mut ReadHalf, into: &mut Buffer) -> io::Result<usize> {
    let lent = std::mem::replace(into, Buffer::empty());
    let (result, lent) = half.read(lent).await;
    *into = lent;
    result
}

async fn read_secure(
    half: &mut ReadHalf,
    ciphertext: &mut Ciphertext,
    into: &mut Buffer,
) -> io::Result<usize> {
    loop {
        if let Some(count) = ciphertext.session.decrypt(&mut ciphertext.received, into)? {
            return Ok(count);
        }
        if receive(half, &mut ciphertext.received).await? == 0 {
            return ciphertext.session.end_of_stream();
        }
    }
}

/// Reads ciphertext.
pub(crate) async fn receive(half: &mut ReadHalf, into: &mut Buffer) -> io::Result<usize> {
    if !into.make_room() {
        return Err(io::Error::other("a TLS record does not fit any buffer"));
    }
    let room = into.free();
    let result = read_plain(half, into).await;
    // A read that filled its block will find more waiting.
    if matches!(result, Ok(count) if count == room) {
        into.widen();
    }
    result
}

impl Writer {
    /// From now on everything is written through the session.
    pub(crate) fn secure(&mut self, session: Rc<Session>) {
        self.tls = Some(session);
    }

    /// Sends everything, giving the peer `within` for each step forward. Must be awaited to its end.
    pub(crate) async fn write_all<B: Send>(&mut self, bytes: B, within: Duration) -> (io::Result<()>, B) {
        self.watch.arm(Purpose::Write, within);
        let (result, bytes) = match &self.tls {
            None => send_all(&mut self.half, bytes, &self.watch, within).await,
            Some(session) => {
                let session = Rc::clone(session);
                Box::pin(write_secure(&mut self.half, &session, bytes, &self.watch, within)).await
            }
        };
        self.watch.disarm();
        (result, bytes)
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.descriptor
    }

    /// Sends of `out` what there is room for, without waiting. `more` says that its packet will be filled at once.
    pub(crate) fn offer(&self, out: &mut Outgoing, more: bool) -> io::Result<()> {
        // What is encrypted cannot be taken back.
        let at_once = match &self.tls {
            None => rt::send_at_once(self.descriptor, out.left(), more),
            Some(_) => None,
        };
        if let Some(sent) = at_once {
            out.sent(sent?);
        }
        Ok(())
    }

    /// Sends what `out` holds and empties it; whether the peer took it. Keeps the text's capacity.
    pub(crate) async fn flush(&mut self, out: &mut Outgoing, within: Duration) -> bool {
        let (result, mut lent) = self.write_all(std::mem::take(out), within).await;
        lent.clear();
        *out = lent;
        result.is_ok()
    }

    /// Says that nothing more comes, in the language of the connection, and ends the sending direction.
    pub(crate) async fn finish(&mut self, within: Duration) {
        if let Some(session) = &self.tls {
            let mut out = Outgoing::default();
            session.close(out.text());
            self.watch.arm(Purpose::Write, within);
            // The peer may be gone; there is nobody to tell.
            let _ = send_all(&mut self.half, out, &self.watch, within).await;
            self.watch.disarm();
        }
        rt::shutdown(self.descriptor, std::net::Shutdown::Write);
    }
}

pub(crate) async fn send_all<B: Send>(
    half: &mut WriteHalf,
    mut bytes: B,
    watch: &Watch,
    within: Duration,
) -> (io::Result<()>, B) {
    while !bytes.left().is_empty() {
        let (result, lent) = half.write(bytes).await;
        bytes = lent;
        match result {
            Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), bytes),
            Ok(count) => bytes.sent(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (Err(error), bytes),
        }
        if !bytes.left().is_empty() {
            watch.arm(Purpose::Write, within);
        }
    }
    (Ok(()), bytes)
}

/// Plaintext that is encrypted before a send: bounds what one connection holds.
const PLAINTEXT_BYTES_MAX: usize = 64 * 1024;

async fn write_secure<B: Send>(
    half: &mut WriteHalf,
    session: &Session,
    mut bytes: B,
    watch: &Watch,
    within: Duration,
) -> (io::Result<()>, B) {
    let mut out = session.lend_out();
    while !bytes.left().is_empty() {
        let count = bytes.left().len().min(PLAINTEXT_BYTES_MAX);
        out.clear();
        if let Err(error) = session.encrypt(&bytes.left()[..count], out.text()) {
            return (Err(error), bytes);
        }
        let (result, lent) = send_all(half, out, watch, within).await;
        out = lent;
        if let Err(error) = result {
            return (Err(error), bytes);
        }
        bytes.sent(count);
    }
    session.take_back(out);
    (Ok(()), bytes)
}
