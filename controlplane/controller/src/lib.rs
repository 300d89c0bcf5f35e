//! The loud room of the control plane: sources, debounce, publishing, admin.
//!
//! ```text
//! source ─► reconcile ─► translate (pure, on a thread of its own) ─► publish ─► Listen, Apply ─► shards
//!   ▲          ▲  debounce                    │                        │                          │
//!   │          └── names (DNS) ◄── wants ─────┘                        ▼                          ▼
//!   └─ folder                                                 live ◄── acknowledge ◄──── Installed, Drained, Died
//!                                                              └─► admin: health, metrics, routes, explain
//! ```
//!
//! [`Controller`] owns the loop. Everything else is a part of it, or reads what it shows in `live`; nobody calls back.
#![forbid(unsafe_code)]

pub mod source;

pub mod debounce;
mod reconcile;

pub mod default_certificate;
pub mod publish;
pub mod tickets;

mod acknowledge;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's own log")]
mod captured;
mod live;
mod problems;
mod readiness;

pub mod admin;

mod controller;
mod error;
mod shutdown;
pub mod status;
mod supervise;

pub use acknowledge::GenerationReport;
pub use admin::{Explain, FlagTold, Refused};
pub use controller::{Config, Controller};
pub use error::Error;
pub use live::View;
pub use readiness::Readiness;
pub use reconcile::Overlay;
pub use shutdown::Ended;
pub use source::Source;
