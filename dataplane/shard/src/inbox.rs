//! The mailbox of a shard: a channel and a doorbell.
//!
//! ```text
//! sender: push, then ring unless already rung        shard: wake, mark as not rung, then empty the channel
//! ```
//!
//! That order on both sides makes it impossible to lose a command. The doorbell is a socket pair, read by an ordinary
//! operation: no waker crosses a thread.

use std::io::{self, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use ringress_shared::command::{Command, ShardPort, ShardStatus};

use crate::rt::{AsyncReadRent, UnixStream};

/// The sending side; shared by everybody who commands the shard.
pub(crate) struct Mailbox {
    commands: Sender<Command>,
    bell: StdUnixStream,
    rung: Arc<AtomicBool>,
    status: Arc<ShardStatus>,
}

/// The receiving side, on the way to its thread.
pub(crate) struct Inbox {
    commands: Receiver<Command>,
    bell: StdUnixStream,
    rung: Arc<AtomicBool>,
}

/// A mailbox and its inbox.
pub(crate) fn open(status: Arc<ShardStatus>) -> io::Result<(Mailbox, Inbox)> {
    let (sender, receiver) = unbounded();
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let rung = Arc::new(AtomicBool::new(false));
    let mailbox = Mailbox { commands: sender, bell: ours, rung: Arc::clone(&rung), status };
    Ok((mailbox, Inbox { commands: receiver, bell: theirs, rung }))
}

impl ShardPort for Mailbox {
    fn send(&self, command: Command) {
        // A shard that died has reported it; the process ends.
        if self.commands.send(command).is_ok() && !self.rung.swap(true, Ordering::SeqCst) {
            // A full socket has rung already.
            let _ = (&self.bell).write(&[1]);
        }
    }

    fn status(&self) -> &ShardStatus {
        &self.status
    }
}

impl Inbox {
    /// Hands every command to `handle`, for as long as anybody can send.
    ///
    /// # Errors
    /// Those of the doorbell's socket.
    pub(crate) async fn attend(self, mut handle: impl FnMut(Vec<Command>)) -> io::Result<()> {
        crate::rt::prepare(&socket2::SockRef::from(&self.bell).try_clone()?)?;
        let mut bell = UnixStream::from_std(self.bell)?;
        let mut rings = vec![0_u8; 64];
        loop {
            let (result, lent) = bell.read(rings).await;
            rings = lent;
            if result? == 0 {
                return Ok(());
            }
            self.rung.store(false, Ordering::SeqCst);
            handle(self.commands.try_iter().collect());
        }
    }
}
