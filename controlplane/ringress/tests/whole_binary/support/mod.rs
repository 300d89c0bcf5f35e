//! What every suite stands on: the real process, upstreams that follow a script, clients that send exact bytes.
//!
//! Nothing here knows ringress from within: it starts the binary, writes manifests and speaks to sockets. Every wait is
//! bounded, and nothing sleeps to wait for a thing: it polls for it.

pub(crate) mod client;
pub(crate) mod driver;
pub(crate) mod manifest;
pub(crate) mod message;
pub(crate) mod process;
pub(crate) mod tools;
pub(crate) mod upstream;

use std::time::{Duration, Instant};

pub(crate) use client::Client;
pub(crate) use driver::{Driver, on_both_drivers};
pub(crate) use message::{Received, Response};
pub(crate) use process::{Launch, Ringress};
pub(crate) use upstream::{Peer, Upstream};

/// The longest that a test waits for one thing. Far above what anything takes, so that a slow machine fails nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Polls until `probe` gives something; `None` once [`PATIENCE`] is over.
pub(crate) fn poll<T>(mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Polls until `probe` holds, and fails with `what` where it never does.
pub(crate) fn wait_until(what: &str, mut probe: impl FnMut() -> bool) {
    assert!(poll(|| probe().then_some(())).is_some(), "waited in vain until {what}");
}
