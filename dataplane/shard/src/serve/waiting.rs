//! Exchanges that wait for an endpoint, so that a client that resets its connection meanwhile is noticed.
//!
//! A client that only finishes sending still wants its answer (RFC 9112 §9.6); one that resets does not. No operation is
//! spent on watching: once a second the shard looks at those that have been waiting.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;

use crate::rt;

/// The waiting exchanges of a shard.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    entries: RefCell<Vec<Option<Rc<Entry>>>>,
    free: RefCell<Vec<usize>>,
}

#[derive(Debug)]
struct Entry {
    client: RawFd,
    endpoint: RawFd,
    client_gone: Cell<bool>,
}

/// The place of one waiting exchange; dropped when the wait is over.
#[derive(Debug)]
pub(crate) struct Wait {
    waiting: Rc<Waiting>,
    place: usize,
    entry: Rc<Entry>,
}

impl Waiting {
    pub(crate) fn enter(self: &Rc<Self>, client: RawFd, endpoint: RawFd) -> Wait {
        let entry = Rc::new(Entry { client, endpoint, client_gone: Cell::new(false) });
        let mut entries = self.entries.borrow_mut();
        let place = self.free.borrow_mut().pop().unwrap_or(entries.len());
        if place == entries.len() {
            entries.push(None);
        }
        entries[place] = Some(Rc::clone(&entry));
        Wait { waiting: Rc::clone(self), place, entry }
    }

    /// Cuts the endpoint's connection of every exchange whose client has reset its own.
    pub(crate) fn abandon_reset_clients(&self) {
        for entry in self.entries.borrow().iter().flatten() {
            if !entry.client_gone.get() && rt::is_reset(entry.client) {
                entry.client_gone.set(true);
                rt::shutdown(entry.endpoint, std::net::Shutdown::Both);
            }
        }
    }
}

impl Wait {
    pub(crate) fn client_is_gone(&self) -> bool {
        self.entry.client_gone.get()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waiting.entries.borrow_mut()[self.place] = None;
        self.waiting.free.borrow_mut().push(self.place);
    }
}
