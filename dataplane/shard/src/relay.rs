//! Bodies on their way: read here, framed anew, written there. Reading stops while writing does not advance, so a slow
//! side slows the other down and nothing piles up.

use std::cell::Cell;
use std::time::Duration;

use ringress_engine::codec::body::{BodyDecoder, BodyError, BodyEvent};
use ringress_engine::codec::encode;

use crate::buffer::{Buffer, Outgoing, Send, Size};
use crate::deadline::Purpose;
use crate::rt;
use crate::stream::{Reader, Writer};

/// How a body is passed on.
pub(crate) struct Plan<'p> {
    /// Write chunks; else the bytes as they are.
    pub(crate) chunked: bool,
    /// Pass trailers on.
    pub(crate) trailers: bool,
    /// Longest silence of the side that is read.
    pub(crate) read_timeout: Duration,
    /// Longest standstill of the side that is written.
    pub(crate) write_timeout: Duration,
    /// The most bytes of content.
    pub(crate) bytes_max: Option<u64>,
    /// Bytes of content so far.
    pub(crate) bytes: &'p Cell<u64>,
    /// Raised by the other direction when nobody needs the rest.
    pub(crate) stop: &'p Cell<bool>,
}

/// How passing on a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// With the body.
    Complete,
    /// The side that is read went away before the end.
    Truncated,
    /// The side that is read kept silent for too long.
    Silent,
    /// The framing cannot be read.
    Malformed(BodyError),
    /// More content than allowed.
    TooLarge,
    /// The side that is written takes nothing any more.
    Unwritable,
    /// Nobody needs the rest.
    Stopped,
}

/// Content up to this size is copied behind the head, to go out with one write.
const COPIED_BYTES_MAX: usize = 16 * 1024;
/// Steps before other tasks have their turn.
const STEPS_PER_TURN: u32 = 16;

/// Passes a body on. `out` may hold a head already; it leaves before the body, or with its first bytes.
pub(crate) async fn body(
    reader: &mut Reader,
    received: &mut Buffer,
    decoder: &mut BodyDecoder,
    writer: &mut Writer,
    out: &mut Outgoing,
    plan: &Plan<'_>,
) -> End {
    let mut steps = 0_u32;
    loop {
        if plan.stop.get() {
            return End::Stopped;
        }
        if is_plain_bulk(received, decoder, plan) {
            if !flush(writer, out, plan).await || !pass_through(received, decoder, writer, plan).await {
                return End::Unwritable;
            }
        } else if let Err(error) = transcribe(received, decoder, out, plan) {
            return End::Malformed(error);
        }
        if plan.bytes_max.is_some_and(|max| plan.bytes.get() > max) {
            return End::TooLarge;
        }
        let done = decoder.is_done();
        if done && plan.chunked {
            encode::last_chunk(decoder.trailers().filter(|_| plan.trailers), out.text());
        }
        if !flush(writer, out, plan).await {
            return End::Unwritable;
        }
        if done {
            return End::Complete;
        }
        if let Some(end) = read_more(reader, received, decoder, plan).await {
            if end != End::Complete {
                return end;
            }
            if plan.chunked {
                encode::last_chunk(None, out.text());
            }
            return if flush(writer, out, plan).await { End::Complete } else { End::Unwritable };
        }
        steps += 1;
        if steps.is_multiple_of(STEPS_PER_TURN) {
            rt::yield_now().await;
        }
    }
}

/// Moves a small body that was received whole behind the head in `out`; false, and nothing moved, for any other.
pub(crate) fn take_whole(
    received: &mut Buffer,
    decoder: &mut BodyDecoder,
    out: &mut Outgoing,
    plan: &Plan<'_>,
) -> bool {
    let Some(length) = decoder.remaining() else { return false };
    if plan.chunked || length > COPIED_BYTES_MAX as u64 || length > received.len() as u64 {
        return false;
    }
    // Length-framed content cannot be malformed.
    decoder.is_done() || transcribe(received, decoder, out, plan).is_ok()
}

/// Reads and forgets the rest of a body, up to `bytes_max` and the deadline that is armed already. Whether it ended.
pub(crate) async fn discard(
    reader: &mut Reader,
    received: &mut Buffer,
    decoder: &mut BodyDecoder,
    bytes_max: usize,
) -> bool {
    let mut left = bytes_max;
    loop {
        while !decoder.is_done() && !received.is_empty() {
            let Ok(decoded) = decoder.decode(received.bytes()) else { return false };
            received.consume(decoded.consumed);
        }
        if decoder.is_done() {
            return true;
        }
        if !received.make_room() {
            return false;
        }
        match reader.read(received).await {
            Ok(count) if count > 0 && count <= left => left -= count,
            _ => return false,
        }
    }
}

/// Whether what was received can go out as it is, without being copied.
fn is_plain_bulk(received: &Buffer, decoder: &BodyDecoder, plan: &Plan<'_>) -> bool {
    !plan.chunked
        && received.len() > COPIED_BYTES_MAX / 4
        && decoder.remaining().is_some_and(|remaining| remaining >= received.len() as u64)
}

async fn pass_through(
    received: &mut Buffer,
    decoder: &mut BodyDecoder,
    writer: &mut Writer,
    plan: &Plan<'_>,
) -> bool {
    plan.bytes.set(plan.bytes.get() + received.len() as u64);
    // A body of known length: every byte that was received is its data.
    if decoder.decode(received.bytes()).is_err() {
        return false;
    }
    let buffer = std::mem::replace(received, Buffer::empty());
    let (result, mut buffer) = writer.write_all(buffer, plan.write_timeout).await;
    // What could not be sent was decoded all the same: left behind, it would be taken for what follows the body.
    buffer.clear();
    *received = buffer;
    result.is_ok()
}

/// Moves content from the received bytes into `out`, framed anew.
fn transcribe(
    received: &mut Buffer,
    decoder: &mut BodyDecoder,
    out: &mut Outgoing,
    plan: &Plan<'_>,
) -> Result<(), BodyError> {
    while !decoder.is_done() && !received.is_empty() {
        let decoded = decoder.decode(received.bytes())?;
        if let BodyEvent::Data(range) = decoded.event {
            let data = &received.bytes()[range];
            plan.bytes.set(plan.bytes.get() + data.len() as u64);
            if plan.chunked {
                encode::chunk_prefix(data.len(), out.text());
            }
            out.text().extend_from_slice(data);
            if plan.chunked {
                encode::chunk_suffix(out.text());
            }
        }
        received.consume(decoded.consumed);
    }
    Ok(())
}

async fn flush(writer: &mut Writer, out: &mut Outgoing, plan: &Plan<'_>) -> bool {
    out.left().is_empty() || writer.flush(out, plan.write_timeout).await
}

/// `None` where more was received; else how the reading ended.
async fn read_more(
    reader: &mut Reader,
    received: &mut Buffer,
    decoder: &mut BodyDecoder,
    plan: &Plan<'_>,
) -> Option<End> {
    if !received.make_room() {
        // A decoder leaves nothing behind but what it cannot read yet, and that is never a whole block.
        return Some(End::Malformed(BodyError::ChunkSize));
    }
    reader.watch.arm(Purpose::Read, plan.read_timeout);
    let room = received.free();
    match reader.read(received).await {
        Ok(count) if count > 0 => {
            if count == room {
                widen(received);
            }
            None
        }
        _ if reader.watch.has_expired() => Some(End::Silent),
        Ok(_) if decoder.finish_on_close().is_ok() => Some(End::Complete),
        Ok(_) | Err(_) => Some(End::Truncated),
    }
}

/// A read that filled its block will find more waiting: the next one takes more at once.
fn widen(received: &mut Buffer) {
    if received.size() < Size::Bulk && received.len() * 2 > received.free() {
        received.widen();
    }
}
