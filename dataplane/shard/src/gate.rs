//! Gates: how many connections to one endpoint are being opened at once.
//!
//! A burst of clients must not become a burst of handshakes at an endpoint that is slow to take them. Who waits here is
//! served by a connection that came back meanwhile just as well.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Poll, Waker};

use ringress_shared::id::{EndpointId, IdMap};

/// Connections that are opened at once, per endpoint and shard.
const OPENING_MAX: usize = 128;

/// The gates of a shard. An endpoint to which nothing is being opened has none.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    by_endpoint: RefCell<IdMap<EndpointId, Gate>>,
    tickets: Cell<u64>,
}

#[derive(Debug, Default)]
struct Gate {
    opening: usize,
    waiting: HashMap<u64, Waker>,
}

/// The right to open one connection; dropped when it is open, or could not be.
#[derive(Debug)]
pub(crate) struct Pass {
    gates: Rc<Gates>,
    endpoint: EndpointId,
}

/// A place in the queue of a gate; may be dropped at any time.
struct Queued<'g> {
    gates: &'g Gates,
    endpoint: EndpointId,
    ticket: Option<u64>,
}

impl Gates {
    /// Waits until one more connection may be opened.
    pub(crate) async fn enter(self: &Rc<Self>, endpoint: EndpointId) -> Pass {
        let mut queued = Queued { gates: self, endpoint, ticket: None };
        std::future::poll_fn(|context| queued.poll(context.waker())).await;
        Pass { gates: Rc::clone(self), endpoint }
    }
}

impl Queued<'_> {
    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        let mut gates = self.gates.by_endpoint.borrow_mut();
        let gate = gates.entry(self.endpoint).or_default();
        if gate.opening < OPENING_MAX {
            gate.opening += 1;
            return Poll::Ready(());
        }
        let ticket = *self.ticket.get_or_insert_with(|| {
            let ticket = self.gates.tickets.get();
            self.gates.tickets.set(ticket + 1);
            ticket
        });
        gate.waiting.insert(ticket, waker.clone());
        Poll::Pending
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        if let Some(gate) = self.gates.by_endpoint.borrow_mut().get_mut(&self.endpoint) {
            gate.waiting.remove(&ticket);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut gates = self.gates.by_endpoint.borrow_mut();
        let Some(gate) = gates.get_mut(&self.endpoint) else { return };
        gate.opening -= 1;
        // All of them: one that was woken may be given up before it looks.
        gate.waiting.drain().for_each(|(_, waker)| waker.wake());
        if gate.opening == 0 {
            gates.remove(&self.endpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    #[test]
    fn so_many_enter_and_the_next_waits_for_one_to_leave() {
        let gates: Rc<Gates> = Rc::default();
        let endpoint = EndpointId::of(&["a"]);
        let mut context = Context::from_waker(Waker::noop());
        let mut enter = || pin!(gates.enter(endpoint)).poll(&mut context);
        let mut passes: Vec<_> = (0..OPENING_MAX).map(|_| enter()).collect();
        assert!(passes.iter().all(Poll::is_ready));
        assert!(enter().is_pending());
        assert!(gates.by_endpoint.borrow()[&endpoint].waiting.is_empty(), "who gave up is forgotten");
        passes.pop();
        passes.push(enter());
        assert!(passes.last().unwrap().is_ready());
        drop(passes);
        assert!(gates.by_endpoint.borrow().is_empty());
    }

    #[test]
    fn who_waits_is_woken() {
        let gates: Rc<Gates> = Rc::default();
        let endpoint = EndpointId::of(&["a"]);
        let mut context = Context::from_waker(Waker::noop());
        let mut passes: Vec<_> =
            (0..OPENING_MAX).map(|_| pin!(gates.enter(endpoint)).poll(&mut context)).collect();
        let mut waits = pin!(gates.enter(endpoint));
        assert!(waits.as_mut().poll(&mut context).is_pending());
        passes.pop();
        assert!(waits.as_mut().poll(&mut context).is_ready());
    }
}
