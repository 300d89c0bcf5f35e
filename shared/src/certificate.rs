//! Certificates by server name.
//!
//! Keys are parsed in the control plane, never on a shard. A store belongs to one generation: established connections
//! keep the `Arc` that they were made with, so a swap needs no lock and certificate and route can never disagree.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::hostname::parent_domain;
use crate::id::CertificateId;
use crate::origin::ObjectRef;

/// A certificate with its key and what is said about it.
#[derive(Clone)]
pub struct Certificate {
    /// Lives as long as the Secret.
    pub id: CertificateId,
    /// The Secret, or `None` for the generated default certificate.
    pub secret: Option<ObjectRef>,
    /// Chain and signing key, ready for rustls.
    pub key: Arc<CertifiedKey>,
    /// DNS names of the leaf's subject alternative names, lower case.
    pub names: Box<[Box<str>]>,
    /// Seconds since 1970 from which the leaf is valid.
    pub not_before: i64,
    /// Seconds since 1970 until which the leaf is valid.
    pub not_after: i64,
    /// SHA-256 of the leaf's DER, for people and golden tests.
    pub fingerprint: [u8; 32],
}

impl Certificate {
    /// Whether the leaf's names cover `host` (lower case); a wildcard name spans one label (RFC 6125 §6.4.3).
    pub fn covers(&self, host: &str) -> bool {
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(suffix) => parent_domain(host) == Some(suffix),
            None => **name == *host,
        })
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key never reaches a log.
        f.debug_struct("Certificate")
            .field("id", &self.id)
            .field("secret", &self.secret)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// The certificates of a listener, by server name.
#[derive(Debug, Clone, Default)]
pub struct CertificateStore {
    exact: HashMap<Box<str>, Entry, foldhash::fast::RandomState>,
    /// Keyed by the parent domain of the wildcard.
    wildcard: HashMap<Box<str>, Entry, foldhash::fast::RandomState>,
    default: Option<Arc<Certificate>>,
}

/// `None`: the host is refused, because its certificate is not known and another one would be a lie.
type Entry = Option<Arc<Certificate>>;

impl CertificateStore {
    /// A store that answers unknown names with `default`, or refuses them.
    pub fn new(default: Option<Arc<Certificate>>) -> Self {
        Self { default, ..Self::default() }
    }

    /// Serves `certificate` for `host` (`a.example.com` or `*.example.com`, lower case). The first entry of a host stays;
    /// returns whether this was the first.
    pub fn insert(&mut self, host: &str, certificate: Arc<Certificate>) -> bool {
        self.enter(host, Some(certificate))
    }

    /// Refuses handshakes for `host`, in the form of [`insert`](Self::insert): neither a wildcard nor the default stands in.
    pub fn refuse(&mut self, host: &str) -> bool {
        self.enter(host, None)
    }

    fn enter(&mut self, host: &str, entry: Entry) -> bool {
        let (map, key) = match host.strip_prefix("*.") {
            Some(suffix) => (&mut self.wildcard, suffix),
            None => (&mut self.exact, host),
        };
        map.try_insert(key.into(), entry).is_ok()
    }

    /// The certificate for a server name (lower case): exact, then one-label wildcard, then the default.
    pub fn resolve(&self, server_name: Option<&str>) -> Option<&Arc<Certificate>> {
        match server_name.and_then(|name| self.entry(name)) {
            Some(entry) => entry.as_ref(),
            None => self.default.as_ref(),
        }
    }

    /// Whether handshakes for a name are refused although there may be a default.
    pub fn refuses(&self, name: &str) -> bool {
        self.entry(name).is_some_and(Option::is_none)
    }

    fn entry(&self, name: &str) -> Option<&Entry> {
        self.exact.get(name).or_else(|| self.wildcard.get(parent_domain(name)?))
    }

    /// The certificate for names that nothing else covers.
    pub fn default_certificate(&self) -> Option<&Arc<Certificate>> {
        self.default.as_ref()
    }

    /// Every host with a certificate as `(host, certificate)`, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (String, &Arc<Certificate>)> {
        self.all().filter_map(|(host, entry)| Some((host, entry.as_ref()?)))
    }

    /// Every host that is refused, in no order.
    pub fn refused(&self) -> impl Iterator<Item = String> {
        self.all().filter(|(_, entry)| entry.is_none()).map(|(host, _)| host)
    }

    fn all(&self) -> impl Iterator<Item = (String, &Entry)> {
        let exact = self.exact.iter().map(|(host, entry)| (host.to_string(), entry));
        let wildcard = self.wildcard.iter().map(|(suffix, entry)| (format!("*.{suffix}"), entry));
        exact.chain(wildcard)
    }
}

impl ResolvesServerCert for CertificateStore {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has checked that the name is a DNS name; only its case is open.
        let name = hello.server_name().map(str::to_ascii_lowercase);
        CertificateStore::resolve(self, name.as_deref()).map(|certificate| Arc::clone(&certificate.key))
    }
}
