//! Exchanges that wait for an endpoint, so that a client that resets its connection meanwhile is noticed.
//!
//! A client that only finishes sending still wants its answer (RFC 9112 §9.6); one that resets does not. No operation is
//! spent on watching: once a second the shard looks at those that have been waiting.

use std::cell::RefCell;
use std::os::fd::RawFd;
use std::rc::Rc;

use crate::rt;

/// The waiting exchanges of a shard.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    places: RefCell<Places>,
}

#[derive(Debug, Default)]
struct Places {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Entry {
    client: RawFd,
    endpoint: RawFd,
    client_gone: bool,
}

/// The place of one waiting exchange; dropped when the wait is over.
#[derive(Debug)]
pub(crate) struct Wait {
    waiting: Rc<Waiting>,
    place: usize,
}

impl Waiting {
    pub(crate) fn enter(self: &Rc<Self>, client: RawFd, endpoint: RawFd) -> Wait {
        let mut places = self.places.borrow_mut();
        let entry = Some(Entry { client, endpoint, client_gone: false });
        let place = match places.free.pop() {
            Some(place) => {
                places.entries[place] = entry;
                place
            }
            None => {
                places.entries.push(entry);
                places.entries.len() - 1
            }
        };
        Wait { waiting: Rc::clone(self), place }
    }

    /// Cuts the endpoint's connection of every exchange whose client has reset its own.
    pub(crate) fn abandon_reset_clients(&self) {
        for entry in self.places.borrow_mut().entries.iter_mut().flatten() {
            if !entry.client_gone && rt::is_reset(entry.client) {
                entry.client_gone = true;
                rt::shutdown(entry.endpoint, std::net::Shutdown::Both);
            }
        }
    }
}

impl Wait {
    pub(crate) fn client_is_gone(&self) -> bool {
        let places = self.waiting.places.borrow();
        places.entries[self.place].as_ref().is_some_and(|entry| entry.client_gone)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut places = self.waiting.places.borrow_mut();
        places.entries[self.place] = None;
        places.free.push(self.place);
    }
}
