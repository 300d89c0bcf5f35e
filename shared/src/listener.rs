//! Sockets, the listeners they carry, and the settings that are live data of a listener.
//!
//! A socket is not a listener: one address and port carries several listeners, and the Host (or, over TLS, the server
//! name) picks the most specific one. Nothing here opens anything: the control thread binds, a shard accepts.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::certificate::CertificateStore;
use crate::hostname::HostPattern;
use crate::policy::PolicySet;
use crate::route::RouteTable;

/// The transport of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Stream sockets.
    Tcp,
    /// Datagram sockets.
    Udp,
}

/// What makes a socket the same socket across generations: address and transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId {
    /// The local address; the unspecified IPv6 address means dual stack where the machine has it.
    pub address: SocketAddr,
    /// TCP or UDP.
    pub transport: Transport,
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.transport {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
        };
        write!(f, "{scheme}/{}", self.address)
    }
}

/// One local address with the listeners that share it.
#[derive(Debug, Clone)]
pub struct Socket {
    /// Address and transport.
    pub id: SocketId,
    /// Whether every connection starts with a PROXY protocol header.
    pub proxy_protocol: bool,
    /// Most specific hostname first; at least one.
    pub listeners: Arc<[Listener]>,
}

/// Names a listener for as long as it exists: the object that asked for it and its name there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub Arc<str>);

impl fmt::Display for ListenerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One listener: a hostname on a socket, its TLS mode and what it routes with.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Compared to find requests that reached the wrong listener (421).
    pub id: ListenerId,
    /// `None` takes every name.
    pub hostname: Option<HostPattern>,
    /// `None` is plain text.
    pub tls: Option<Arc<TlsProfile>>,
    /// What is applied to every request, before the policies of its rule.
    pub policies: Arc<PolicySet>,
    /// Where requests or connections go.
    pub routing: Routing,
    /// Limits, timeouts, trust and log format of this listener.
    pub http: Arc<HttpSettings>,
}

/// What a listener routes with. TLS passthrough, TCP and UDP tables join here as variants.
#[derive(Debug, Clone)]
pub enum Routing {
    /// HTTP requests, by host and path.
    Http(Arc<RouteTable>),
}

/// Names a TLS profile: listeners with the same client-auth and certificates share resumption, others never do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TlsProfileId(pub Arc<str>);

/// How a listener terminates TLS. The rustls configuration is assembled from this when a generation is published.
#[derive(Debug, Clone)]
pub struct TlsProfile {
    /// Session tickets are sealed per profile.
    pub id: TlsProfileId,
    /// Certificates by server name.
    pub certificates: Arc<CertificateStore>,
    /// Protocols offered by ALPN, most wanted first.
    pub alpn: Vec<Vec<u8>>,
}

/// Live settings of an HTTP listener: data of the snapshot, never read from flags on a shard.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSettings {
    /// Sizes of heads.
    pub limits: HeadLimits,
    /// How long a client may take.
    pub timeouts: ClientTimeouts,
    /// Peers whose forwarding fields are believed. Empty: nobody.
    pub trusted_proxies: Box<[IpNet]>,
    /// What one finished exchange writes to the log.
    pub access_log: AccessLogFormat,
    /// The port that clients see, for redirects and `X-Forwarded-Port`.
    pub public_port: u16,
}

/// Sizes of request and response heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// Bytes of a whole head with its blank line; at most 65,535 (431 above).
    pub head_bytes_max: u32,
    /// Bytes of the request line (414 above).
    pub request_line_bytes_max: u32,
    /// Bytes of one field line (431 above).
    pub field_bytes_max: u32,
    /// Fields of one head (431 above).
    pub fields_max: u16,
    /// Bytes of all trailers of one body.
    pub trailer_bytes_max: u32,
    /// Trailer fields of one body.
    pub trailers_max: u16,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self {
            head_bytes_max: 65_535,
            request_line_bytes_max: 8 * 1024,
            field_bytes_max: 16 * 1024,
            fields_max: 100,
            trailer_bytes_max: 8 * 1024,
            trailers_max: 32,
        }
    }
}

/// How long a client may take for each part of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientTimeouts {
    /// From the first byte of a head to its end; also the TLS handshake (408).
    pub header: Duration,
    /// Longest silence inside a request body (408).
    pub body: Duration,
    /// Longest time in which the client takes no byte of an answer.
    pub write: Duration,
    /// Life of an idle keep-alive connection.
    pub idle: Duration,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            header: Duration::from_secs(10),
            body: Duration::from_secs(60),
            write: Duration::from_secs(60),
            idle: Duration::from_secs(75),
        }
    }
}

/// The access-log preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLogFormat {
    /// No line.
    Off,
    /// One JSON object a line.
    #[default]
    Json,
    /// Common Log Format.
    Clf,
}
