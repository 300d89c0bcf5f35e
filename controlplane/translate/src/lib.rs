//! The pure control plane: Kubernetes objects to the parts of a snapshot, and what is wrong with them.
//!
//! ```text
//! text ─ manifest ─► Objects ─► ingress (class, syntax) ─► ir ─► resolve (Services, certificates) ─► merge ─► index
//!                                                                                                       │
//!                                    Translation { parts, problems, claims, wants, last_good } ◄────────┘
//! ```
//!
//! No sockets, no clock, no randomness. [`translate`] is total: a wrong object yields a [`Problem`] and loses only its own
//! rule. It is incremental through a [`Memo`] that never changes the result.
#![forbid(unsafe_code)]

mod certificates;
mod few;
mod findings;
mod index;
mod ingress;
mod ir;
mod members;
mod merge;
mod resolve;
mod spelling;
mod table;
mod tracker;
mod translation;
mod upstreams;

pub mod certificate;
pub mod claim;
pub mod manifest;
pub mod objects;
pub mod policy;
pub mod problem;
pub mod references;
pub mod settings;

pub use claim::{Claim, ClassVerdict, Outcome, Precedence, ServiceVerdict, Verdict, Winner};
pub use objects::{Key, Object, Objects};
pub use problem::{Level, Place, Problem, Reason};
pub use settings::Settings;
pub use translation::{Chunks, LastGood, Memo, Translation, Wants, translate};
