//! What the flags say, as translation reads it. Built by the binary; nothing here is read from argv or the environment.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ringress_shared::certificate::Certificate;
use ringress_shared::listener::HttpSettings;
use ringress_shared::route::{Dialect, RuleTimeouts};

use crate::objects::Key;

/// Flags that change the meaning of objects, and defaults of what objects leave open.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where plain-text requests are taken; `None`: nowhere.
    pub http: Option<SocketAddr>,
    /// Where TLS is terminated; `None`: nowhere.
    pub https: Option<SocketAddr>,
    /// The https port that clients see: redirects lead there.
    pub https_public_port: u16,
    /// The value of the legacy annotation `kubernetes.io/ingress.class` that is ours; in folders also the class that is
    /// ours where nobody defines it.
    pub ingress_class: String,
    /// The `spec.controller` of the IngressClass objects that are ours.
    pub controller_class: String,
    /// Whether Ingresses without any class are served.
    pub watch_ingress_without_class: bool,
    /// Whether a class that an Ingress names and nobody defines is taken as ours (`dev`).
    pub create_named_classes: bool,
    /// Whether the default IngressClass is applied here (folders), because no API server has filled the field.
    pub apply_default_class: bool,
    /// Takes what nothing else matches; its first port.
    pub default_backend_service: Option<Key>,
    /// The Secret of the certificate for names that nothing else covers.
    pub default_ssl_certificate: Option<Key>,
    /// Warned about and unread in the strict dialect.
    pub configmap: Option<Key>,
    /// The prefix of the ingress-nginx annotations.
    pub annotations_prefix: String,
    /// Whose semantics Ingresses follow.
    pub compat: Dialect,
    /// Limits, timeouts and log of the listeners; `public_port` is the one of the plain-text listener.
    pub http_settings: HttpSettings,
    /// How long endpoints may take.
    pub timeouts: RuleTimeouts,
    /// The largest request body; `None`: unlimited.
    pub body_bytes_max: Option<u64>,
    /// Whether endpoints may have loopback addresses (folders).
    pub allow_loopback_endpoints: bool,
    /// For names that no Secret covers; self-signed by the controller.
    pub fallback_certificate: Option<Arc<Certificate>>,
}

impl Default for Settings {
    fn default() -> Self {
        let any = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        Self {
            http: Some(SocketAddr::new(any, 80)),
            https: Some(SocketAddr::new(any, 443)),
            https_public_port: 443,
            ingress_class: "ringress".into(),
            controller_class: "ringress.dev/ingress-controller".into(),
            watch_ingress_without_class: false,
            create_named_classes: false,
            apply_default_class: true,
            default_backend_service: None,
            default_ssl_certificate: None,
            configmap: None,
            annotations_prefix: "nginx.ingress.kubernetes.io".into(),
            compat: Dialect::Strict,
            http_settings: HttpSettings {
                limits: Default::default(),
                timeouts: Default::default(),
                trusted_proxies: Box::new([]),
                access_log: Default::default(),
                public_port: 80,
            },
            timeouts: RuleTimeouts::default(),
            body_bytes_max: None,
            allow_loopback_endpoints: false,
            fallback_certificate: None,
        }
    }
}

impl Settings {
    /// Whether `other` gives the same translation. A certificate is compared by its content's hash, having no equality.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let Self {
            http,
            https,
            https_public_port,
            ingress_class,
            controller_class,
            watch_ingress_without_class,
            create_named_classes,
            apply_default_class,
            default_backend_service,
            default_ssl_certificate,
            configmap,
            annotations_prefix,
            compat,
            http_settings,
            timeouts,
            body_bytes_max,
            allow_loopback_endpoints,
            fallback_certificate,
        } = self;
        let fingerprint =
            |certificate: &Option<Arc<Certificate>>| certificate.as_ref().map(|found| found.fingerprint);
        *http == other.http
            && *https == other.https
            && *https_public_port == other.https_public_port
            && *ingress_class == other.ingress_class
            && *controller_class == other.controller_class
            && *watch_ingress_without_class == other.watch_ingress_without_class
            && *create_named_classes == other.create_named_classes
            && *apply_default_class == other.apply_default_class
            && *default_backend_service == other.default_backend_service
            && *default_ssl_certificate == other.default_ssl_certificate
            && *configmap == other.configmap
            && *annotations_prefix == other.annotations_prefix
            && *compat == other.compat
            && *http_settings == other.http_settings
            && *timeouts == other.timeouts
            && *body_bytes_max == other.body_bytes_max
            && *allow_loopback_endpoints == other.allow_loopback_endpoints
            && fingerprint(fallback_certificate) == fingerprint(&other.fallback_certificate)
    }
}
