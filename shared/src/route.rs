//! Routes: hosts with rules, and the one matcher that shards and `ringress explain` share.
//!
//! ```text
//! RouteTable ── exact host ─────┐
//!            ├─ one-label wildcard ┤─► HostEntry ── candidates by path ── predicates ── Rule
//!            └─ any host ───────┘
//! ```

mod matches;
mod path;
mod regex;
mod table;

pub use matches::{BareGet, HeaderMatch, PathMatch, Predicates, QueryMatch, RequestView, ValueMatch};
pub use path::{NormalPath, PathError, normalise};
pub use regex::{PathRegex, RegexError};
pub use table::{
    Candidate, Dialect, Found, HostEntry, Lookup, NoTrace, RouteTable, RouteTableBuilder, Scratch, Skip,
    Trace,
};

use std::sync::Arc;
use std::time::Duration;

use crate::id::{RuleId, UpstreamId};
use crate::origin::Origin;
use crate::policy::PolicySet;

/// What happens to the requests that one path of one object matches.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Lives as long as the object and the field.
    pub id: RuleId,
    /// The object and the field that say so.
    pub origin: Origin,
    /// What is applied, in the order of [`PolicySet`].
    pub policies: Arc<PolicySet>,
    /// Who answers, by weight. Empty: 503.
    pub backends: Box<[Backend]>,
    /// How long endpoints may take.
    pub timeouts: RuleTimeouts,
}

/// A weighted reference from a rule to an upstream.
#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    /// Its share among the backends of the rule.
    pub weight: u32,
    /// Where the share goes.
    pub target: Target,
    /// What is applied to its share only, after those of the rule.
    pub policies: Arc<PolicySet>,
}

/// Where a backend leads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// To the endpoints of an upstream.
    Upstream(UpstreamId),
    /// To a status of our own: an invalid reference answers 503 (Ingress) or 500 (Gateway API).
    Answer(u16),
}

/// How long the endpoints of a rule may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RuleTimeouts {
    /// For the TCP connection (504).
    pub connect: Duration,
    /// Longest silence of an endpoint, for the head (504) and between reads of the body.
    pub response: Duration,
    /// Life of an unused pooled connection.
    pub idle: Duration,
    /// Longest silence in both directions of a tunnel.
    pub tunnel: Duration,
}

impl Default for RuleTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            response: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            tunnel: Duration::from_secs(3600),
        }
    }
}
