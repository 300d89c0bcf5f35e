//! Metrics: every counter of a shard is one line here.
//!
//! A shard counts in plain cells and hands out copies; nothing on the way of a request is shared between cores. The
//! exporter adds the shards up.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::id::{EndpointId, IdMap, RuleId, UpstreamId};

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident => $name:literal, [$($key:literal = $value:literal),*], $help:literal;)*) => {
        /// A counter of a shard.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Counter { $($(#[$doc])* $variant,)* }

        impl Counter {
            /// All counters, in the order of their numbers.
            pub const ALL: &[Counter] = &[$(Counter::$variant,)*];

            /// Metric name, constant labels, help text.
            pub fn describe(self) -> (&'static str, &'static [(&'static str, &'static str)], &'static str) {
                match self { $(Counter::$variant => ($name, &[$(($key, $value)),*], $help),)* }
            }
        }
    };
}

counters! {
    /// Client connections accepted.
    ConnectionsAccepted => "ringress_connections_accepted_total", [], "Client connections accepted.";
    /// Times that accepting had to pause.
    AcceptFailures => "ringress_accept_failures_total", [], "Times that accepting connections had to pause: no descriptors, no memory, or a full ring.";
    /// Exchanges answered with 1xx as the final status (101).
    Responses1xx => "ringress_requests_total", ["code_class" = "1xx"], "Exchanges by class of the status sent to the client.";
    /// Exchanges answered with 2xx.
    Responses2xx => "ringress_requests_total", ["code_class" = "2xx"], "Exchanges by class of the status sent to the client.";
    /// Exchanges answered with 3xx.
    Responses3xx => "ringress_requests_total", ["code_class" = "3xx"], "Exchanges by class of the status sent to the client.";
    /// Exchanges answered with 4xx.
    Responses4xx => "ringress_requests_total", ["code_class" = "4xx"], "Exchanges by class of the status sent to the client.";
    /// Exchanges answered with 5xx.
    Responses5xx => "ringress_requests_total", ["code_class" = "5xx"], "Exchanges by class of the status sent to the client.";
    /// Requests that no host matched.
    NoRouteHost => "ringress_no_route_total", ["reason" = "host"], "Requests without a route, by reason.";
    /// Requests whose host matched and path did not.
    NoRoutePath => "ringress_no_route_total", ["reason" = "path"], "Requests without a route, by reason.";
    /// Requests refused by the codec.
    BadRequests => "ringress_bad_requests_total", [], "Requests refused by the HTTP/1.1 codec.";
    /// Connections opened to endpoints.
    UpstreamConnects => "ringress_upstream_connects_total", [], "Connections opened to endpoints.";
    /// Connections to endpoints that failed to open.
    UpstreamConnectFailures => "ringress_upstream_connect_failures_total", [], "Connections to endpoints that failed to open.";
    /// Exchanges on a reused upstream connection.
    UpstreamReuses => "ringress_upstream_reuses_total", [], "Exchanges sent on a pooled connection.";
    /// Tries repeated on a fresh connection or another endpoint.
    Retries => "ringress_retries_total", [], "Tries repeated on another connection.";
    /// Endpoints ejected after failures in a row.
    Ejections => "ringress_ejections_total", [], "Endpoints ejected after failures in a row.";
    /// Completed TLS handshakes.
    TlsHandshakes => "ringress_tls_handshakes_total", ["resumed" = "false"], "Completed TLS handshakes.";
    /// Completed TLS handshakes that resumed a session.
    TlsResumptions => "ringress_tls_handshakes_total", ["resumed" = "true"], "Completed TLS handshakes.";
    /// TLS handshakes that failed.
    TlsHandshakeFailures => "ringress_tls_handshake_failures_total", [], "TLS handshakes that failed.";
    /// Panics caught in a connection's task.
    Panics => "ringress_panics_total", [], "Panics caught; each cost one connection.";
    /// Access-log lines dropped because the writer was behind.
    LogLinesDropped => "ringress_access_log_dropped_total", [], "Access-log lines dropped because the reader was behind.";
    /// Bytes of bodies received from clients.
    BytesIn => "ringress_request_body_bytes_total", [], "Bytes of request bodies received from clients.";
    /// Bytes of bodies sent to clients.
    BytesOut => "ringress_response_body_bytes_total", [], "Bytes of response bodies sent to clients.";
}

/// Number of counters.
pub const COUNTERS: usize = Counter::ALL.len();

/// A copy of what one shard has counted since it started.
#[derive(Debug, Clone)]
pub struct ShardReport {
    /// Indexed by [`Counter`].
    pub counters: [u64; COUNTERS],
    /// Microseconds from the complete request head to the end of the response, over all rules.
    pub latency: Histogram<u64>,
    /// Exchanges by rule and class of status (1xx at 0).
    pub rules: IdMap<RuleId, [u64; 5]>,
    /// Idle upstream connections in the pools.
    pub pooled: u64,
}

/// What one shard knows of one endpoint at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointLoad {
    /// Behind which upstream.
    pub upstream: UpstreamId,
    /// Which endpoint of it.
    pub endpoint: EndpointId,
    /// Tries under way.
    pub in_flight: u32,
    /// Failures in a row, since it last answered or was last left out.
    pub failures: u32,
    /// For how long it is left out yet; `None`: it is not.
    pub ejected: Option<Duration>,
}
