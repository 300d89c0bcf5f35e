//! Upstreams: named sets of endpoints, how to speak to them and how to balance.
//!
//! An upstream is a Service port with a protocol, a TLS profile and a balancing: two rules may speak to one Service
//! differently. The endpoints are an `Arc` of their own, shared by all upstreams of one Service port, so that a pod that
//! comes or goes replaces one pointer.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::id::{BuildIdHasher, EndpointId, UpstreamId};
use crate::origin::ObjectRef;
use crate::spread::Spread;

/// All upstreams of a generation, by id; it shares with the one before what did not change.
pub type UpstreamTable = Spread<UpstreamId, Arc<Upstream>, BuildIdHasher>;

/// A named set of endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Lives as long as Service port, protocol and balancing stay what they are.
    pub id: UpstreamId,
    /// The Service.
    pub service: ObjectRef,
    /// The Service port as the rule names it: a number or a name.
    pub port: Box<str>,
    /// What endpoints speak.
    pub protocol: UpstreamProtocol,
    /// How one endpoint is chosen.
    pub balance: Balance,
    /// Who can be chosen. Empty: 503.
    pub endpoints: Arc<EndpointSet>,
}

/// What the endpoints of an upstream speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UpstreamProtocol {
    /// HTTP/1.1 in plain text.
    #[default]
    Http1,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Balance {
    /// One after the other; every shard starts at an offset of its own.
    #[default]
    RoundRobin,
    /// The better of two by moving average of latency times requests in flight.
    PeakEwma,
}

/// The endpoints that may be chosen, in a stable order without duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointSet {
    /// Sorted by address.
    pub endpoints: Box<[Endpoint]>,
}

/// One `ip:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Hash of the address: pools and statistics hang on it.
    pub id: EndpointId,
    /// Where to connect.
    pub address: SocketAddr,
    /// The pod or other object behind it, where the EndpointSlice names one.
    pub target: Option<Arc<str>>,
}

impl Endpoint {
    /// The endpoint at `address`.
    pub fn new(address: SocketAddr, target: Option<Arc<str>>) -> Self {
        Self { id: EndpointId::of(&[&address.to_string()]), address, target }
    }
}
