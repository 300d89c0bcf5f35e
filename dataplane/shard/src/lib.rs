//! The loud room of the data plane: one pinned thread with its ring, sockets and timers.
//!
//! The journey of bytes, in the order of the modules:
//!
//! ```text
//! listen → accept → [tls] → serve/h1 → perform (the exchange decides) → upstream → relay → record
//!                                                       └─ 101 ─► serve/tunnel
//! ```
//!
//! No lock, no shared counter on the way; everything of a shard is `Rc` and `Cell`. Only [`rt`] names the runtime.
#![deny(unsafe_code)]

mod buffer;
mod clock;
mod deadline;
mod gate;
mod inbox;
mod kernel;
mod listen;
mod perform;
mod record;
mod relay;
mod rt;
mod seat;
mod serve;
mod shard;
mod stream;
mod tls;
mod upstream;
mod workspace;

pub use rt::DriverChoice;
pub use shard::{ShardConfig, spawn};
