//! The nouns that both planes speak.
//!
//! The control plane builds a [`Snapshot`](snapshot::Snapshot) out of these, the shards decide with it. Nothing here does
//! IO, awaits, reads a clock or knows Kubernetes' client. The one verb that stands here is
//! [`RouteTable::find`](route::RouteTable::find), because shards and `ringress explain` must use the very same matcher.
//!
//! Order of the modules: from the whole (snapshot) to its parts, then what travels beside it (commands, metrics).
#![forbid(unsafe_code)]

pub mod certificate;
pub mod command;
pub mod hostname;
pub mod id;
pub mod listener;
pub mod metric;
pub mod origin;
pub mod policy;
pub mod route;
pub mod snapshot;
pub mod spread;
pub mod upstream;
