//! Seats for exchanges: the future of an exchange is large and short, so the memory of one that ended is used by the next.
//!
//! A connection that is idle has no seat. The last seat that was left is taken next: it is the warmest.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::perform;
use crate::serve::h1::{After, Client};

/// Seats that nobody sits on. A shard has as many as it ever had exchanges at once, up to a limit.
#[derive(Default)]
pub(crate) struct Seats {
    free: RefCell<Vec<Box<dyn Seat>>>,
}

const KEPT: usize = 1_024;

impl Seats {
    /// Performs the exchange whose head stands at the front of the client's buffer.
    pub(crate) async fn exchange(&self, client: Box<Client>, head_bytes: usize) -> (Box<Client>, After) {
        let mut seat = self.free.borrow_mut().pop().unwrap_or_else(|| new_seat(perform::exchange));
        seat.sit(client, head_bytes);
        let done = std::future::poll_fn(|context| seat.poll(context)).await;
        let mut free = self.free.borrow_mut();
        if free.len() < KEPT {
            free.push(seat);
        }
        done
    }
}

/// A place for one exchange at a time, whatever the type of its future.
trait Seat {
    fn sit(&mut self, client: Box<Client>, head_bytes: usize);
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<(Box<Client>, After)>;
}

struct SeatOf<M, F> {
    make: M,
    future: Pin<Box<Option<F>>>,
}

fn new_seat<M, F>(make: M) -> Box<dyn Seat>
where
    M: Fn(Box<Client>, usize) -> F + 'static,
    F: Future<Output = (Box<Client>, After)> + 'static,
{
    Box::new(SeatOf { make, future: Box::pin(None) })
}

impl<M, F> Seat for SeatOf<M, F>
where
    M: Fn(Box<Client>, usize) -> F,
    F: Future<Output = (Box<Client>, After)>,
{
    fn sit(&mut self, client: Box<Client>, head_bytes: usize) {
        self.future.set(Some((self.make)(client, head_bytes)));
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<(Box<Client>, After)> {
        let Some(future) = self.future.as_mut().as_pin_mut() else { return Poll::Pending };
        let polled = future.poll(context);
        if polled.is_ready() {
            self.future.set(None);
        }
        polled
    }
}
