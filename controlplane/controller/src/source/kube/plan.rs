//! What is watched: pure, from flags to paths.
//!
//! Cluster-wide a kind is one watch. With `--watch-namespace` it is one per namespace, so that Roles suffice; what has no
//! namespace (IngressClass) is then watched if allowed and otherwise assumed, see [`Watch::optional`].
//!
//! Secrets are two watches: those that are made for TLS come whole, all others by name only, and what of them is used is
//! fetched one by one. So a Secret of any type is seen as soon as it changes, no content that nobody uses is sent to us, and
//! the rights are the same.

use std::collections::BTreeSet;
use std::fmt;

use ringress_shared::origin::ObjectRef;
use ringress_translate::objects::Key;

/// A kind that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Namespace,
    IngressClass,
    Ingress,
    Service,
    EndpointSlice,
    Secret,
    ConfigMap,
}

impl Kind {
    /// `Ingress`, `Service`, …
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::IngressClass => "IngressClass",
            Self::Ingress => "Ingress",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        }
    }

    /// As RBAC names it.
    fn resource(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::IngressClass => "ingressclasses",
            Self::Ingress => "ingresses",
            Self::Service => "services",
            Self::EndpointSlice => "endpointslices",
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
        }
    }

    fn group(self) -> &'static str {
        match self {
            Self::Ingress | Self::IngressClass => "/apis/networking.k8s.io/v1",
            Self::EndpointSlice => "/apis/discovery.k8s.io/v1",
            Self::Namespace | Self::Service | Self::Secret | Self::ConfigMap => "/api/v1",
        }
    }

    /// The reference to the object of that name.
    pub(super) fn reference(self, key: &Key) -> ObjectRef {
        key.reference(self.as_str())
    }

    /// The path of one object.
    pub(super) fn path_of(self, key: &Key) -> String {
        format!("{}/namespaces/{}/{}/{}", self.group(), key.namespace, self.resource(), key.name)
    }
}

/// What the flags ask for.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Only these namespaces, each by a watch of its own; empty: all.
    pub namespaces: BTreeSet<String>,
    /// Only namespaces with these labels; needs the right to list namespaces. What the flags below name counts anyway.
    pub namespace_selector: Option<String>,
    /// The only ConfigMap that is read.
    pub config_map: Option<Key>,
    /// The Secret that `--default-ssl-certificate` names.
    pub default_certificate: Option<Key>,
    /// The Service that `--default-backend-service` names.
    pub default_backend: Option<Key>,
    /// The class that is assumed where IngressClasses cannot be read: its name and its controller.
    pub class: (String, String),
}

/// One list and the watch that follows it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Watch {
    pub(super) kind: Kind,
    /// `None`: all of them.
    pub(super) namespace: Option<String>,
    /// Only the object of this name.
    pub(super) name: Option<String>,
    /// `labelSelector`.
    pub(super) labels: Option<String>,
    /// Whether a refusal is only reported, because there is something to assume instead.
    pub(super) optional: bool,
    /// Whether only metadata is asked for.
    pub(super) names_only: bool,
}

impl Watch {
    fn new(kind: Kind, namespace: Option<&str>) -> Self {
        Self {
            kind,
            namespace: namespace.map(str::to_owned),
            name: None,
            labels: None,
            optional: false,
            names_only: false,
        }
    }

    /// The path of the list.
    pub(super) fn path(&self) -> String {
        let (group, resource) = (self.kind.group(), self.kind.resource());
        match &self.namespace {
            Some(namespace) => format!("{group}/namespaces/{namespace}/{resource}"),
            None => format!("{group}/{resource}"),
        }
    }

    /// Its selectors as a query, beginning with `&` where there is one.
    pub(super) fn selectors(&self) -> String {
        let mut fields = Vec::new();
        match (self.kind, &self.name) {
            (Kind::Secret, None) if self.names_only => {
                fields.extend(OTHER_SECRETS.iter().map(|kind| format!("type!={kind}")));
            }
            (Kind::Secret, None) => fields.push(format!("type={TLS_SECRET}")),
            _ => {}
        }
        if let Some(name) = &self.name {
            fields.push(format!("metadata.name={name}"));
        }
        let mut query = String::new();
        if !fields.is_empty() {
            query.push_str(&format!("&fieldSelector={}", escape(&fields.join(","))));
        }
        if let Some(labels) = &self.labels {
            query.push_str(&format!("&labelSelector={}", escape(labels)));
        }
        query
    }

    /// Whether an object of this kind belongs to this watch, so that a list without it deletes it.
    pub(super) fn covers(&self, key: &Key) -> bool {
        let in_namespace = self.namespace.as_deref().is_none_or(|namespace| namespace == &*key.namespace);
        in_namespace && self.name.as_deref().is_none_or(|name| name == &*key.name)
    }

    /// What RBAC must allow, for messages.
    pub(super) fn right(&self) -> String {
        let resource = self.kind.resource();
        match &self.namespace {
            Some(namespace) => format!("list and watch {resource} in the namespace {namespace}"),
            None => format!("list and watch {resource} in the whole cluster"),
        }
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.resource())?;
        if self.names_only {
            f.write_str(" of other types")?;
        }
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => write!(f, " {namespace}/{name}"),
            (Some(namespace), None) => write!(f, " in {namespace}"),
            (None, _) => Ok(()),
        }
    }
}

/// All watches, without one that another covers.
pub(super) fn watches(scope: &Scope) -> Vec<Watch> {
    let mut watches = Vec::new();
    let everywhere = scope.namespaces.is_empty();
    if let Some(selector) = &scope.namespace_selector {
        watches.push(Watch { labels: Some(selector.clone()), ..Watch::new(Kind::Namespace, None) });
    }
    watches.push(Watch { optional: !everywhere, ..Watch::new(Kind::IngressClass, None) });
    let kinds = [
        (Kind::Ingress, false),
        (Kind::Service, false),
        (Kind::EndpointSlice, false),
        (Kind::Secret, false),
        (Kind::Secret, true),
    ];
    for (kind, names_only) in kinds {
        let watch = |namespace| Watch { names_only, ..Watch::new(kind, namespace) };
        match everywhere {
            true => watches.push(watch(None)),
            false => watches.extend(scope.namespaces.iter().map(|name| watch(Some(name)))),
        }
    }
    watches.extend(scope.config_map.as_ref().map(|key| named(Kind::ConfigMap, key)));
    let outside = |key: &&Key| !everywhere && !scope.namespaces.contains(&*key.namespace);
    watches.extend(scope.default_certificate.as_ref().filter(outside).map(|key| named(Kind::Secret, key)));
    for key in scope.default_backend.iter().filter(outside) {
        watches.push(named(Kind::Service, key));
        let labels = Some(format!("{SERVICE_NAME}={}", key.name));
        watches.push(Watch { labels, ..Watch::new(Kind::EndpointSlice, Some(&key.namespace)) });
    }
    watches
}

fn named(kind: Kind, key: &Key) -> Watch {
    Watch { name: Some(key.name.to_string()), ..Watch::new(kind, Some(&key.namespace)) }
}

/// The label of an EndpointSlice that names its Service.
pub(super) const SERVICE_NAME: &str = "kubernetes.io/service-name";

const TLS_SECRET: &str = "kubernetes.io/tls";

/// What is of no use to us, or seen by the other watch: there are thousands of these in some clusters.
const OTHER_SECRETS: [&str; 6] = [
    TLS_SECRET,
    "helm.sh/release.v1",
    "kubernetes.io/service-account-token",
    "kubernetes.io/dockercfg",
    "kubernetes.io/dockerconfigjson",
    "bootstrap.kubernetes.io/token",
];

/// Percent-encodes a value of a query.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => escaped.push(byte as char),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scope: &Scope, expected: &[&str]) {
        let found: Vec<String> =
            watches(scope).iter().map(|watch| format!("{}?{}", watch.path(), watch.selectors())).collect();
        assert_eq!(found, expected);
    }

    const OTHERS: &str = "&fieldSelector=type%21%3Dkubernetes.io%2Ftls%2Ctype%21%3Dhelm.sh%2Frelease.v1%2C\
        type%21%3Dkubernetes.io%2Fservice-account-token%2Ctype%21%3Dkubernetes.io%2Fdockercfg%2C\
        type%21%3Dkubernetes.io%2Fdockerconfigjson%2Ctype%21%3Dbootstrap.kubernetes.io%2Ftoken";

    #[test]
    fn the_whole_cluster_is_one_watch_per_kind() {
        check(
            &Scope::default(),
            &[
                "/apis/networking.k8s.io/v1/ingressclasses?",
                "/apis/networking.k8s.io/v1/ingresses?",
                "/api/v1/services?",
                "/apis/discovery.k8s.io/v1/endpointslices?",
                "/api/v1/secrets?&fieldSelector=type%3Dkubernetes.io%2Ftls",
                &format!("/api/v1/secrets?{OTHERS}"),
            ],
        );
    }

    #[test]
    fn namespaces_are_watched_apart_and_what_flags_name_outside_by_its_name() {
        let scope = Scope {
            namespaces: ["shop".to_owned()].into(),
            config_map: Some(Key::new("ringress", "settings")),
            default_certificate: Some(Key::new("ringress", "default")),
            default_backend: Some(Key::new("ringress", "sorry")),
            ..Scope::default()
        };
        check(
            &scope,
            &[
                "/apis/networking.k8s.io/v1/ingressclasses?",
                "/apis/networking.k8s.io/v1/namespaces/shop/ingresses?",
                "/api/v1/namespaces/shop/services?",
                "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?",
                "/api/v1/namespaces/shop/secrets?&fieldSelector=type%3Dkubernetes.io%2Ftls",
                &format!("/api/v1/namespaces/shop/secrets?{OTHERS}"),
                "/api/v1/namespaces/ringress/configmaps?&fieldSelector=metadata.name%3Dsettings",
                "/api/v1/namespaces/ringress/secrets?&fieldSelector=metadata.name%3Ddefault",
                "/api/v1/namespaces/ringress/services?&fieldSelector=metadata.name%3Dsorry",
                "/apis/discovery.k8s.io/v1/namespaces/ringress/endpointslices?&labelSelector=kubernetes.io%2Fservice-name%3Dsorry",
            ],
        );
        let optional: Vec<_> = watches(&scope).into_iter().filter(|watch| watch.optional).collect();
        assert_eq!(optional.len(), 1);
        assert_eq!(optional[0].kind, Kind::IngressClass);
    }

    #[test]
    fn a_selector_watches_the_namespaces_that_it_selects() {
        let scope = Scope { namespace_selector: Some("team in (a,b)".to_owned()), ..Scope::default() };
        let first = &watches(&scope)[0];
        assert_eq!(first.path(), "/api/v1/namespaces");
        assert_eq!(first.selectors(), "&labelSelector=team%20in%20%28a%2Cb%29");
    }

    #[test]
    fn a_watch_covers_its_namespace_and_name_only() {
        let watch = named(Kind::Secret, &Key::new("a", "x"));
        assert!(watch.covers(&Key::new("a", "x")));
        assert!(!watch.covers(&Key::new("a", "y")));
        assert!(!watch.covers(&Key::new("b", "x")));
        assert!(Watch::new(Kind::Secret, None).covers(&Key::new("b", "x")));
    }
}
