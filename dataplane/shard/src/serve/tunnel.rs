//! A tunnel: bytes both ways after a 101, not before.
//!
//! A tunnel holds no snapshot, only its idle time: else an old WebSocket would keep old routes alive for days.

use std::cell::Cell;
use std::time::Duration;

use crate::buffer::{Buffer, Size};
use crate::deadline::{Purpose, Remote};
use crate::rt;
use crate::stream::{Reader, Writer};
use crate::upstream::Connection;

/// Steps before other tasks have their turn.
const STEPS_PER_TURN: u32 = 16;

/// One side of a tunnel.
pub(crate) struct Side<'s> {
    pub(crate) reader: &'s mut Reader,
    pub(crate) writer: &'s mut Writer,
    /// What it had sent before the tunnel opened.
    pub(crate) received: Buffer,
}

/// Bytes in both directions.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    pub(crate) from_client: Cell<u64>,
    pub(crate) from_endpoint: Cell<u64>,
}

/// Passes bytes both ways until both sides have finished, or neither said anything for `idle`.
pub(crate) async fn run(client: Side<'_>, endpoint: Side<'_>, idle: Duration, passed: &Passed) {
    // Silence is silence of both: a byte in one direction keeps the other open.
    let client_watch = client.reader.watch.remote();
    let endpoint_watch = endpoint.reader.watch.remote();
    rt::join(
        copy(client.reader, client.received, endpoint.writer, &endpoint_watch, idle, &passed.from_client),
        copy(endpoint.reader, endpoint.received, client.writer, &client_watch, idle, &passed.from_endpoint),
    )
    .await;
}

async fn copy(
    reader: &mut Reader,
    mut buffer: Buffer,
    writer: &mut Writer,
    opposite: &Remote,
    idle: Duration,
    passed: &Cell<u64>,
) {
    let descriptor = writer.descriptor();
    let mut steps = 0_u32;
    loop {
        if !buffer.is_empty() {
            passed.set(passed.get() + buffer.len() as u64);
            opposite.arm(Purpose::Read, idle);
            let (result, lent) = writer.write_all(buffer, idle).await;
            buffer = lent;
            if result.is_err() {
                // Who takes nothing any more gets nothing more said either.
                Connection::cut(descriptor);
                Connection::cut(reader.descriptor());
                return;
            }
        }
        if buffer.size() != Size::Small {
            buffer = Buffer::new(Size::Small);
        }
        buffer.clear();
        reader.watch.arm(Purpose::Read, idle);
        match reader.read(&mut buffer).await {
            Ok(count) if count > 0 => {}
            Ok(_) if !reader.watch.has_expired() => {
                // One direction is finished; the other may have much to say still.
                writer.finish(idle).await;
                return;
            }
            _ => {
                Connection::cut(descriptor);
                return;
            }
        }
        steps += 1;
        if steps.is_multiple_of(STEPS_PER_TURN) {
            rt::yield_now().await;
        }
    }
}
