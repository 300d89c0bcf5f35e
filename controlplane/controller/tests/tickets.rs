//! Session tickets: who may open what, and for how long.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::Arc;

use ringress_controller::tickets::TicketKeys;
use ringress_shared::listener::TlsProfileId;
use rustls::server::ProducesTickets;

fn profile(name: &str) -> TlsProfileId {
    TlsProfileId(Arc::from(name))
}

#[test]
fn a_ticket_opens_under_its_own_profile() {
    let keys = TicketKeys::new().unwrap();
    let ticket = keys.ticketer(&profile("a")).encrypt(b"session").unwrap();
    assert_eq!(keys.ticketer(&profile("a")).decrypt(&ticket).as_deref(), Some(&b"session"[..]));
    assert!(!ticket.windows(7).any(|window| window == b"session"), "the state stands in clear");
}

#[test]
fn a_ticket_does_not_open_under_another_profile() {
    let keys = TicketKeys::new().unwrap();
    let ticket = keys.ticketer(&profile("a")).encrypt(b"session").unwrap();
    assert_eq!(keys.ticketer(&profile("b")).decrypt(&ticket), None);
}

#[test]
fn a_ticket_survives_one_rotation_and_not_two() {
    let keys = TicketKeys::new().unwrap();
    let ticketer = keys.ticketer(&profile("a"));
    let ticket = ticketer.encrypt(b"session").unwrap();
    keys.rotate().unwrap();
    assert!(ticketer.decrypt(&ticket).is_some());
    assert_ne!(ticketer.encrypt(b"session").unwrap()[..16], ticket[..16], "the fresh key seals");
    keys.rotate().unwrap();
    assert_eq!(ticketer.decrypt(&ticket), None);
}

#[test]
fn a_ticket_of_another_process_does_not_open() {
    let ticket = TicketKeys::new().unwrap().ticketer(&profile("a")).encrypt(b"session").unwrap();
    assert_eq!(TicketKeys::new().unwrap().ticketer(&profile("a")).decrypt(&ticket), None);
}

#[test]
fn no_changed_or_shortened_ticket_opens() {
    let keys = TicketKeys::new().unwrap();
    let ticketer = keys.ticketer(&profile("a"));
    let ticket = ticketer.encrypt(b"session").unwrap();
    for length in 0..ticket.len() {
        assert_eq!(ticketer.decrypt(&ticket[..length]), None, "cut to {length}");
    }
    for index in 0..ticket.len() {
        let mut changed = ticket.clone();
        changed[index] ^= 1;
        assert_eq!(ticketer.decrypt(&changed), None, "byte {index} flipped");
    }
}

#[test]
fn two_tickets_of_one_session_differ() {
    let keys = TicketKeys::new().unwrap();
    let ticketer = keys.ticketer(&profile("a"));
    assert_ne!(ticketer.encrypt(b"session"), ticketer.encrypt(b"session"));
}
