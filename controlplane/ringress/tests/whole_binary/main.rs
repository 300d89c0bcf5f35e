//! The real binary over real sockets: one module for each promise.
//!
//! Every test starts a process of its own on ports of its own, so all of them may run side by side; what moves bytes runs
//! on both drivers (`RINGRESS_TEST_DRIVER=epoll` or `io_uring` asks for one).
#![allow(
    clippy::unwrap_used,
    reason = "the whole crate is a test; the lint's own exception covers test functions only"
)]

mod agreement;
mod cli;
mod drain;
mod ingress;
mod proxying;
mod refused;
mod reload;
mod resources;
mod responses;
mod soak;
mod strictness;
mod support;
mod tls;
