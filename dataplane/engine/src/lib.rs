//! The quiet room of the data plane: bytes and a snapshot in, decisions out.
//!
//! No sockets, no clock, no randomness of its own, no runtime: time and random numbers are arguments. The journey of a
//! request, in the order of the modules:
//!
//! ```text
//! codec (bytes → head, data, trailers) → http (what a head means) → exchange (what to do next)
//!    exchange: RouteTable::find → policy (request) → balance (health) → pool
//! ```
#![forbid(unsafe_code)]

pub mod balance;
pub mod codec;
pub mod exchange;
pub mod health;
pub mod http;
pub mod policy;
pub mod pool;
pub mod random;
