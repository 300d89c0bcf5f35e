//! Where `dev` listens, and the lines that lead there when they are pasted into a shell.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ringress_shared::origin::ObjectRef;

use super::routes::Route;
use crate::terminal::quoted;

/// The ports, and the address that reaches them from this machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listening {
    pub(super) address: IpAddr,
    pub(super) http: Option<u16>,
    pub(super) https: Option<u16>,
}

impl Listening {
    pub(super) fn new(http: Option<SocketAddr>, https: Option<SocketAddr>) -> Self {
        let address = http.or(https).map(|address| address.ip()).filter(|address| !address.is_unspecified());
        Self {
            address: address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            http: http.map(|address| address.port()),
            https: https.map(|address| address.port()),
        }
    }

    /// As it stands before the port of a URL.
    fn host(&self) -> String {
        match self.address {
            IpAddr::V4(Ipv4Addr::LOCALHOST) => "localhost".to_owned(),
            _ => self.literal(),
        }
    }

    /// Asks in plain text.
    pub(super) fn curl(&self, route: &Route) -> Option<String> {
        let (port, path) = (self.http?, route.example.as_deref()?);
        let follows = if route.redirects { "-i " } else { "" };
        let url = quoted(&format!("{}:{port}{path}", self.host()));
        Some(match &*route.host {
            "*" => format!("curl {follows}{url}"),
            host => format!("curl {follows}-H 'Host: {}' {url}", a_host(host)),
        })
    }

    /// Asks over TLS without looking at the certificate.
    pub(super) fn curl_tls(&self, route: &Route) -> Option<String> {
        self.over_tls(route, "curl -k")
    }

    /// Asks over TLS and believes the authority of this run alone. For bash and zsh: other shells have no `<(…)`.
    pub(super) fn curl_verified(&self, route: &Route, authority: SocketAddr) -> Option<String> {
        self.over_tls(route, &format!("curl --cacert <(curl -s http://{authority}/ca.pem)"))
    }

    fn over_tls(&self, route: &Route, curl: &str) -> Option<String> {
        let (port, path) = (self.https?, route.example.as_deref()?);
        let host = a_host(&route.host);
        let url = quoted(&format!("https://{host}:{port}{path}"));
        Some(match &*route.host {
            "*" if self.address == Ipv4Addr::LOCALHOST => format!("{curl} {url}"),
            _ => format!("{curl} --resolve {} {url}", quoted(&format!("{host}:{port}:{}", self.literal()))),
        })
    }

    /// Says whose certificate a host shows. Who issued it is not known here, so nothing is there to verify it with.
    pub(super) fn who_issued(&self, host: &str) -> Option<String> {
        let (port, host) = (self.https?, a_host(host));
        let target = quoted(&format!("{}:{port}", self.literal()));
        Some(format!(
            "openssl s_client -connect {target} -servername {host} </dev/null 2>/dev/null | \
             openssl x509 -noout -subject -issuer -enddate"
        ))
    }

    fn literal(&self) -> String {
        match self.address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        }
    }
}

/// What a host shows, where the authority of this run did not issue it.
pub(super) fn foreign(host: &str, secret: Option<&ObjectRef>) -> String {
    match secret {
        Some(secret) => format!("{} shows {secret}, which this run did not issue; who did:", a_host(host)),
        None => format!("{} shows a certificate that nobody vouches for:", a_host(host)),
    }
}

/// A host that falls under the one of a rule.
pub(super) fn a_host(host: &str) -> String {
    match host.strip_prefix("*.") {
        Some(suffix) => format!("any.{suffix}"),
        None if host == "*" => "localhost".to_owned(),
        None => host.to_owned(),
    }
}
