//! Accepting: one task per listening socket, which takes what is queued and makes a task of every connection.
//!
//! Waiting is a poll that may be dropped, taking never waits: so a socket can be given up at any time without losing a
//! connection that the kernel had already accepted.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringress_shared::listener::SocketId;
use ringress_shared::metric::Counter;

use crate::rt::{self, TcpListener};
use crate::shard::Shard;

/// Connections taken before other tasks have their turn.
const TAKEN_PER_TURN_MAX: usize = 64;
/// How long accepting pauses where descriptors or memory run out: to spin would help nobody.
const PAUSE: Duration = Duration::from_millis(50);

/// Tells an accepting task to finish.
#[derive(Debug, Default)]
pub(crate) struct StopSign {
    up: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl StopSign {
    pub(crate) fn put_up(&self) {
        self.up.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    async fn seen(&self) {
        std::future::poll_fn(|context| {
            if self.up.get() {
                return Poll::Ready(());
            }
            self.waker.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// Accepts until the sign is up, then serves what is still queued and closes the socket.
pub(crate) async fn accept(shard: Rc<Shard>, id: SocketId, listener: TcpListener, stop: Rc<StopSign>) {
    loop {
        let stopped = wait(&listener, &stop).await;
        match take_queued(&shard, id, &listener) {
            Ok(true) => rt::yield_now().await,
            Ok(false) if stopped => return,
            Ok(false) => {}
            // A client that gave up while it was queued is nobody's problem.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) if stopped => return,
            Err(error) => {
                shard.count(Counter::AcceptFailures);
                shard.log_once_a_second(&format!("accepting on {id} fails: {error}"));
                rt::sleep(PAUSE).await;
            }
        }
    }
}

/// Whether it is time to stop; else there may be connections.
async fn wait(listener: &TcpListener, stop: &StopSign) -> bool {
    let mut readable = std::pin::pin!(listener.readable());
    let mut seen = std::pin::pin!(stop.seen());
    std::future::poll_fn(|context| {
        if seen.as_mut().poll(context).is_ready() {
            return Poll::Ready(true);
        }
        readable.as_mut().poll(context).map(|_| false)
    })
    .await
}

/// Takes what is queued, a batch at most. Whether there may be more.
fn take_queued(shard: &Rc<Shard>, id: SocketId, listener: &TcpListener) -> io::Result<bool> {
    for _ in 0..TAKEN_PER_TURN_MAX {
        if shard.is_full() {
            return Err(io::Error::other(
                "the ring has no room for more connections; they wait in the queue",
            ));
        }
        let Some((socket, peer)) = listener.take()? else { return Ok(false) };
        shard.admit(id, socket, peer);
    }
    Ok(true)
}
