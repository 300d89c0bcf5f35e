//! Everything that can be wrong with an object: one constructor each.
//!
//! Conditions, Events, lint and the docs follow from this page. A message names the value and the next step; the field
//! stands beside it. Secrets never appear in a message.

mod rules;

use std::fmt;

pub use rules::{LintRule, RULES};

use ringress_shared::origin::{ObjectRef, Origin};

use crate::claim::Winner;

/// One thing wrong with one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The object.
    pub object: ObjectRef,
    /// How bad it is.
    pub level: Level,
    /// For conditions and Events.
    pub reason: Reason,
    /// The lint rule, kebab-case.
    pub rule: &'static str,
    /// Path of the field, as in the API documentation; empty for the whole object.
    pub field: String,
    /// Value and next step.
    pub message: String,
    /// Where it stands, for what was read from a file and could not become an object.
    pub place: Option<Place>,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The name relative to the folder.
    pub file: String,
    /// From 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.object)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Something that the object asks for is not served.
    Error,
    /// Served, though likely not as meant.
    Warning,
    /// Good to know.
    Info,
}

impl Level {
    /// `error`, `warning`, `info`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why, in one CamelCase word, for conditions and Events.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// The word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

reasons! {
    /// The class belongs to another controller.
    ClassNotOwned,
    /// The class does not exist.
    ClassNotFound,
    /// The object has no class.
    NoClass,
    /// More than one class is the default.
    SeveralDefaultClasses,
    /// A host is no host of a rule.
    InvalidHost,
    /// A path is no path of a rule.
    InvalidPath,
    /// A path type is missing or unknown.
    InvalidPathType,
    /// The object has neither rules nor a default backend.
    NothingToServe,
    /// A backend names nothing, or too much.
    InvalidBackend,
    /// A backend is a resource, which is not supported.
    UnsupportedBackend,
    /// The Service does not exist.
    BackendNotFound,
    /// The Service has no such port.
    PortNotFound,
    /// Nothing behind the Service is ready.
    NoReadyEndpoints,
    /// An endpoint's address is refused.
    EndpointRefused,
    /// An external name is refused.
    ExternalNameRefused,
    /// An external name does not resolve.
    NameNotResolved,
    /// Another object came first with the same host, path and type.
    Shadowed,
    /// The last good version is served.
    Quarantined,
    /// The Secret does not exist.
    SecretNotFound,
    /// A Secret exists, and its content is not known.
    SecretWithheld,
    /// The Secret holds no usable certificate.
    CertificateInvalid,
    /// The certificate does not cover the host.
    CertificateHostMismatch,
    /// The certificate is outside its dates.
    CertificateExpired,
    /// A host under tls has no rule, or the other way round.
    TlsHostMismatch,
    /// A value of an annotation is wrong.
    InvalidAnnotation,
    /// An annotation of our prefix is unknown.
    UnknownAnnotation,
    /// An annotation of ingress-nginx is not applied.
    UnsupportedAnnotation,
    /// A host may not resolve on its users' machines.
    UnresolvableHost,
    /// A flag has no effect, or not yet.
    UnsupportedSetting,
    /// A document cannot be decoded.
    Undecodable,
    /// A document lost its indentation.
    Flattened,
    /// A kind that is not read.
    UnknownKind,
    /// Two documents define one object.
    DuplicateObject,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

use Level::{Error, Info, Warning};

/// Everything but the object, so that constructors read as a table.
struct Finding {
    level: Level,
    reason: Reason,
    rule: &'static str,
    message: String,
}

impl Finding {
    fn at(self, origin: &Origin) -> Problem {
        self.of(&origin.object, &origin.field)
    }

    fn of(self, object: &ObjectRef, field: &str) -> Problem {
        Problem {
            object: object.clone(),
            level: self.level,
            reason: self.reason,
            rule: self.rule,
            field: field.to_owned(),
            message: self.message,
            place: None,
        }
    }
}

fn finding(level: Level, reason: Reason, rule: &'static str, message: String) -> Finding {
    Finding { level, reason, rule, message }
}

impl Problem {
    /// The same problem with the line where it stands.
    pub fn with_place(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }
}

/// Classes.
impl Problem {
    /// The class belongs to another controller.
    pub fn class_not_owned(origin: &Origin, class: &str, controller: &str, ours: &str) -> Self {
        let message = format!(
            "class {class} belongs to {controller}, so this object is left to it; use a class whose \
             spec.controller is {ours}, or run with --controller-class={controller}"
        );
        finding(Info, Reason::ClassNotOwned, "class-not-ours", message).at(origin)
    }

    /// The class does not exist.
    pub fn class_not_found(origin: &Origin, class: &str, ours: &str) -> Self {
        let message = format!(
            "IngressClass {class} does not exist, so nothing of this object is served; create it with \
             spec.controller: {ours}"
        );
        finding(Warning, Reason::ClassNotFound, "class-not-ours", message).at(origin)
    }

    /// The legacy annotation names somebody else.
    pub fn annotation_class_not_ours(origin: &Origin, value: &str, ours: &str) -> Self {
        let message = format!(
            "annotation kubernetes.io/ingress.class is {value}, so this object is left to that controller; set \
             spec.ingressClassName, or the annotation to {ours}"
        );
        finding(Info, Reason::ClassNotOwned, "class-not-ours", message).at(origin)
    }

    /// No class at all.
    pub fn no_class(origin: &Origin) -> Self {
        let message = "the object names no class and no IngressClass is the default, so nothing of it is served; set \
                       spec.ingressClassName, make a class the default, or run with --watch-ingress-without-class";
        finding(Warning, Reason::NoClass, "no-class", message.into()).at(origin)
    }

    /// Class and legacy annotation stand side by side.
    pub fn two_classes(origin: &Origin, annotation: &str, class: &str) -> Self {
        let message = format!(
            "annotation kubernetes.io/ingress.class: {annotation} stands beside spec.ingressClassName: {class}, which \
             wins; remove the annotation"
        );
        finding(Warning, Reason::InvalidAnnotation, "two-classes", message).at(origin)
    }

    /// More than one class is the default.
    pub fn several_default_classes(class: &ObjectRef, winner: &str) -> Self {
        let message = format!(
            "more than one IngressClass is the default; the newest, {winner}, is used; remove the annotation \
             ingressclass.kubernetes.io/is-default-class from the others"
        );
        let field = "metadata.annotations[ingressclass.kubernetes.io/is-default-class]";
        finding(Warning, Reason::SeveralDefaultClasses, "several-default-classes", message).of(class, field)
    }
}

/// Hosts, paths and backends.
impl Problem {
    /// A host of a rule is no host.
    pub fn invalid_host(origin: &Origin, host: &str, why: &str) -> Self {
        let message = format!(
            "host {host:?} {why}; write a DNS name such as www.example.com or *.example.com, or leave it out for every host"
        );
        finding(Error, Reason::InvalidHost, "invalid-host", message).at(origin)
    }

    /// A name that mDNS owns.
    pub fn mdns_host(origin: &Origin, host: &str) -> Self {
        let message = format!(
            "names under .local belong to mDNS and may not resolve; try curl --resolve {host}:80:127.0.0.1, or use \
             a name under .localhost"
        );
        finding(Info, Reason::UnresolvableHost, "host-mdns", message).at(origin)
    }

    /// A path is no path.
    pub fn invalid_path(origin: &Origin, path: &str, why: &str) -> Self {
        let message = format!("path {path:?} {why}");
        finding(Error, Reason::InvalidPath, "invalid-path", message).at(origin)
    }

    /// A literal path that looks like an expression.
    pub fn path_looks_like_regex(origin: &Origin, path: &str) -> Self {
        let message = format!(
            "path {path:?} looks like a regular expression and is matched literally; write a plain Prefix or Exact path"
        );
        finding(Warning, Reason::InvalidPath, "path-looks-like-regex", message).at(origin)
    }

    /// A prefix that readers may take for a prefix of text.
    pub fn prefix_not_elementwise(origin: &Origin, path: &str) -> Self {
        let message = format!(
            "Prefix matches whole path elements: {path} takes what stands below {path}/ and nothing that only \
             begins with the same letters; end the path at a / or list the paths one by one"
        );
        finding(Info, Reason::InvalidPath, "prefix-not-elementwise", message).at(origin)
    }

    /// No path type.
    pub fn missing_path_type(origin: &Origin) -> Self {
        let message = "pathType is required in networking.k8s.io/v1; Prefix is assumed; write pathType: Prefix or Exact";
        finding(Warning, Reason::InvalidPathType, "path-type-missing", message.into()).at(origin)
    }

    /// An unknown path type.
    pub fn invalid_path_type(origin: &Origin, text: &str) -> Self {
        let message = format!("pathType {text:?} is unknown; write Exact, Prefix or ImplementationSpecific");
        finding(Error, Reason::InvalidPathType, "invalid-path-type", message).at(origin)
    }

    /// A backend that names nothing, or too much.
    pub fn invalid_backend(origin: &Origin, why: &str) -> Self {
        let message = format!("{why}; until then the path answers 503");
        finding(Error, Reason::InvalidBackend, "invalid-backend", message).at(origin)
    }

    /// A resource backend.
    pub fn resource_backend(origin: &Origin, resource: &str) -> Self {
        let message = format!(
            "resource backends are not supported, so {resource} is not reached and the path answers 503; use backend.service"
        );
        finding(Error, Reason::UnsupportedBackend, "unsupported-backend", message).at(origin)
    }

    /// Neither rules nor a default backend.
    pub fn nothing_to_serve(origin: &Origin) -> Self {
        let message = "there are neither rules nor a default backend, so there is nothing to serve, and an API server refuses \
                       such an object; write spec.rules with a host and its paths, or spec.defaultBackend";
        finding(Error, Reason::NothingToServe, "nothing-to-serve", message.into()).at(origin)
    }

    /// Another object was first.
    pub fn shadowed(origin: &Origin, what: &str, winner: &Winner) -> Self {
        let message = format!(
            "{what} is already taken by {winner}: {}; change one of them or remove this one",
            winner.because
        );
        finding(Warning, Reason::Shadowed, "shadowed-by", message).at(origin)
    }

    /// The last good version is served.
    pub fn quarantined(origin: &Origin, because: &str) -> Self {
        let message =
            format!("this version is wrong and the last good one is still served; repair it: {because}");
        finding(Error, Reason::Quarantined, "quarantined", message).at(origin)
    }
}

/// Services and endpoints.
impl Problem {
    /// No such Service.
    pub fn service_missing(origin: &Origin, service: &ObjectRef) -> Self {
        let message = format!(
            "{service} does not exist, so the path answers 503; create it in namespace {} or correct the name",
            service.namespace
        );
        finding(Error, Reason::BackendNotFound, "service-missing", message).at(origin)
    }

    /// No such port.
    pub fn port_missing(origin: &Origin, service: &ObjectRef, port: &str, has: &[String]) -> Self {
        let next = match has.is_empty() {
            true => "it has no TCP port at all; add one to its spec.ports".to_owned(),
            false => format!("it has {}; name one of these", has.join(", ")),
        };
        let message = format!("{service} has no port {port}, so the path answers 503; {next}");
        finding(Error, Reason::PortNotFound, "port-mismatch", message).at(origin)
    }

    /// Nothing is ready.
    pub fn no_ready_endpoints(origin: &Origin, service: &ObjectRef, port: &str, not_ready: usize) -> Self {
        let why = match not_ready {
            0 => "has no endpoints".to_owned(),
            count => format!("has no ready endpoint, {count} are not ready"),
        };
        let message = format!("{service} port {port} {why}, so the path answers 503; {CHECK_ENDPOINTS}");
        finding(Warning, Reason::NoReadyEndpoints, "no-ready-endpoints", message).at(origin)
    }

    /// Nothing defines endpoints for any Service: for lint, which sees a part of a cluster only.
    pub fn endpoints_unknown() -> Self {
        let message = "there is no EndpointSlice among them, so whether anything behind their Services is ready is not \
                       judged; ask a running process: ringress explain URL --admin ADDRESS";
        let all = ObjectRef::new("Manifests", "", "all");
        finding(Info, Reason::NoReadyEndpoints, "no-ready-endpoints", message.into()).of(&all, "")
    }

    /// Only terminating endpoints are left.
    pub fn only_terminating(origin: &Origin, service: &ObjectRef, endpoints: usize) -> Self {
        let message = format!(
            "{service} has nothing ready; {endpoints} terminating endpoints serve until they are gone"
        );
        finding(Info, Reason::NoReadyEndpoints, "no-ready-endpoints", message).at(origin)
    }

    /// An endpoint address that must not be reached from outside.
    pub fn endpoint_refused(object: &ObjectRef, field: &str, address: &str) -> Self {
        let message =
            format!("endpoint address {address} is loopback, link-local or no address, and is left out");
        finding(Warning, Reason::EndpointRefused, "endpoint-refused", message).of(object, field)
    }

    /// A slice without the port that its Service asks for.
    pub fn slice_port_missing(slice: &ObjectRef, service: &ObjectRef, port: &str, has: &[String]) -> Self {
        let named = |name: &str| if name.is_empty() { "without a name".to_owned() } else { name.to_owned() };
        let has: Vec<String> = has.iter().map(|name| named(name)).collect();
        let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
        let message = format!(
            "{service} has a port named {port:?}, and no EndpointSlice of it has one of that name (here: {has}); ports \
             are matched by name, so name it as the Service does"
        );
        finding(Warning, Reason::PortNotFound, "slice-port-mismatch", message).of(slice, "ports")
    }

    /// An external name that leads to this machine.
    pub fn external_name_refused(origin: &Origin, service: &ObjectRef, name: &str) -> Self {
        let message = format!(
            "{service} leads to {name}, which is this machine or its link, and is refused; name a host outside"
        );
        finding(Error, Reason::ExternalNameRefused, "external-name-refused", message).at(origin)
    }

    /// An external name without addresses.
    pub fn name_not_resolved(origin: &Origin, service: &ObjectRef, name: &str) -> Self {
        let message = format!(
            "{service} leads to {name}, which does not resolve, so the path answers 503; check the name"
        );
        finding(Warning, Reason::NameNotResolved, "name-not-resolved", message).at(origin)
    }
}

const CHECK_ENDPOINTS: &str = "check its selector, its pods' readiness and its EndpointSlices";

/// TLS.
impl Problem {
    /// No such Secret.
    pub fn secret_missing(origin: &Origin, secret: &ObjectRef) -> Self {
        let message = format!(
            "{secret} does not exist, so the default certificate is served; create it: kubectl create secret tls {} \
             --namespace {} --cert=tls.crt --key=tls.key",
            secret.name, secret.namespace
        );
        finding(Error, Reason::SecretNotFound, "secret-missing", message).at(origin)
    }

    /// The referenced Secret is there, and its content is not known: a cache without a key had to leave it out, or the API
    /// server does not give it.
    pub fn secret_withheld(origin: &Origin, secret: &ObjectRef) -> Self {
        let message = format!(
            "the content of {secret} is not known, so TLS is refused; if the API server answers, it does not give the \
             content: check the right to get Secrets in the namespace {}; if a cache is served because it does not answer: \
             with --cache-key-file the cache keeps certificates, encrypted",
            secret.namespace
        );
        finding(Error, Reason::SecretWithheld, "secret-withheld", message).at(origin)
    }

    /// The referenced Secret is there and useless.
    pub fn secret_unusable(origin: &Origin, secret: &ObjectRef, because: &Problem) -> Self {
        let message = format!(
            "{secret} cannot be used, so the default certificate is served: {}: {}",
            because.field, because.message
        );
        finding(Error, Reason::CertificateInvalid, because.rule, message).at(origin)
    }

    /// Text that is no base64.
    pub fn secret_placeholder(secret: &ObjectRef, key: &str) -> Self {
        let message = format!(
            "the value of {key} is not base64; it looks like a placeholder from a document; put the encoded file \
             there, or plain text under stringData"
        );
        finding(Error, Reason::CertificateInvalid, "secret-placeholder", message).of(secret, &data_field(key))
    }

    /// A key of the Secret is missing.
    pub fn secret_key_missing(secret: &ObjectRef, key: &str) -> Self {
        let message =
            format!("there is no {key}; a Secret of type kubernetes.io/tls has tls.crt and tls.key");
        finding(Error, Reason::CertificateInvalid, "certificate-invalid", message)
            .of(secret, &data_field(key))
    }

    /// PEM or DER that does not parse.
    pub fn certificate_invalid(secret: &ObjectRef, key: &str, why: &str) -> Self {
        finding(Error, Reason::CertificateInvalid, "certificate-invalid", why.to_owned())
            .of(secret, &data_field(key))
    }

    /// Certificate and key do not belong together.
    pub fn certificate_mismatch(secret: &ObjectRef) -> Self {
        let message = "the key does not belong to the certificate in tls.crt; put the pair of one order there, the \
                       server's certificate first";
        finding(Error, Reason::CertificateInvalid, "certificate-mismatch", message.into())
            .of(secret, &data_field("tls.key"))
    }

    /// A broken Secret whose last good certificate goes on.
    pub fn certificate_quarantined(secret: &ObjectRef, because: &Problem) -> Self {
        let message = format!(
            "this version is wrong and the last good certificate is still served; repair it: {}",
            because.message
        );
        finding(Error, Reason::Quarantined, because.rule, message).of(secret, &because.field)
    }

    /// The names of the certificate leave the host out.
    pub fn certificate_host(origin: &Origin, secret: &ObjectRef, host: &str, names: &[Box<str>]) -> Self {
        let names = if names.is_empty() { "no DNS name".to_owned() } else { names.join(", ") };
        let message = format!(
            "the certificate in {secret} is for {names} and not for {host}, so the default certificate is served there; \
             order one that names {host}"
        );
        finding(Error, Reason::CertificateHostMismatch, "certificate-host", message).at(origin)
    }

    /// A name of a certificate whose entry names no host, and which another object names.
    pub fn unnamed_certificate(origin: &Origin, name: &str, another: &ObjectRef) -> Self {
        let message = format!(
            "this entry names no host, so it serves the names of its certificate that no other object names, and {another} \
             names {name} or a host that meets it; list the hosts of this entry"
        );
        finding(Warning, Reason::Shadowed, "shadowed-by", message).at(origin)
    }

    /// The certificate is past its end.
    pub fn certificate_expired(secret: &ObjectRef, date: &str) -> Self {
        let message = format!("the certificate expired on {date}; clients refuse it; renew it");
        finding(Error, Reason::CertificateExpired, "certificate-expired", message)
            .of(secret, &data_field("tls.crt"))
    }

    /// The certificate is before its beginning.
    pub fn certificate_not_yet_valid(secret: &ObjectRef, date: &str) -> Self {
        let message =
            format!("the certificate is valid from {date} on; clients refuse it until then; check the clock");
        finding(Error, Reason::CertificateExpired, "certificate-expired", message)
            .of(secret, &data_field("tls.crt"))
    }

    /// The certificate ends soon.
    pub fn certificate_expiring(secret: &ObjectRef, date: &str, days: i64) -> Self {
        let message = format!("the certificate expires on {date}, in {days} days; renew it");
        finding(Warning, Reason::CertificateExpired, "certificate-expired", message)
            .of(secret, &data_field("tls.crt"))
    }

    /// A host under tls without a rule.
    pub fn tls_host_without_rule(origin: &Origin, host: &str) -> Self {
        let message = format!(
            "{host} stands under tls and no rule of this object has it; hosts under tls must match hosts of rules; \
             add a rule or remove it"
        );
        finding(Warning, Reason::TlsHostMismatch, "tls-host-without-rule", message).at(origin)
    }

    /// A host of a rule that tls leaves out.
    pub fn rule_host_without_tls(origin: &Origin, host: &str) -> Self {
        let message = format!(
            "{host} is not listed under spec.tls as other hosts of this object are: it is served on plain http, and on \
             https with the default certificate; list it under tls if it should be redirected"
        );
        finding(Warning, Reason::TlsHostMismatch, "rule-host-without-tls", message).at(origin)
    }
}

/// The path of a key of a Secret.
pub(crate) fn data_field(key: &str) -> String {
    format!("data[{key}]")
}

/// The object that problems with flags name.
pub(crate) fn flags() -> ObjectRef {
    ObjectRef::new("Flags", "", "ringress")
}

/// The path of an annotation.
pub(crate) fn annotation_field(key: &str) -> String {
    format!("metadata.annotations[{key}]")
}

/// Annotations and flags.
impl Problem {
    /// A value that does not parse.
    pub fn invalid_annotation(object: &ObjectRef, key: &str, value: &str, expected: &str) -> Self {
        let message = format!("value {value:?} is not {expected}; correct it or remove the annotation");
        finding(Error, Reason::InvalidAnnotation, "invalid-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// Our prefix, and no key of ours.
    pub fn unknown_annotation(object: &ObjectRef, key: &str, nearest: Option<&str>) -> Self {
        let message = match nearest {
            Some(nearest) => format!("{key} is unknown and has no effect; did you mean {nearest}?"),
            None => format!("{key} is unknown and has no effect; remove it"),
        };
        finding(Warning, Reason::UnknownAnnotation, "unknown-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A protection of ingress-nginx that the strict dialect cannot give.
    pub fn unsupported_protection(object: &ObjectRef, key: &str, instead: Option<&str>) -> Self {
        let way_out = match instead {
            Some(instead) => format!("use {instead}"),
            None => "remove the annotation once the protection is not needed".to_owned(),
        };
        let message = format!(
            "{key} asks for a protection that is not applied in the strict dialect, so every path of this object \
             answers 503 instead of being open; {way_out}"
        );
        finding(Error, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A protection without a value.
    pub fn empty_protection(object: &ObjectRef, key: &str) -> Self {
        let message = format!(
            "{key} has no value, which may be what a template has left of a protection, so every path of this object \
             answers 503 instead of being open; remove the annotation if no protection is meant"
        );
        finding(Error, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A protocol towards endpoints that is not spoken.
    pub fn unspoken_protocol(object: &ObjectRef, key: &str, value: &str) -> Self {
        let message = format!(
            "{key} is {value:?}, and only plain HTTP/1.1 is spoken to endpoints, so every path of this object answers 503 \
             instead of being forwarded in clear text; name a port of the Service that takes plain HTTP, and remove the \
             annotation"
        );
        finding(Error, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// TLS that should reach the endpoints as it is.
    pub fn no_passthrough(object: &ObjectRef, key: &str) -> Self {
        let message = format!(
            "{key} asks that TLS be handed through to the endpoints, which is not done, so every path of this object \
             answers 503 instead of being forwarded in clear text; name a port of the Service that takes plain HTTP, list \
             the host under spec.tls, and remove the annotation"
        );
        finding(Error, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A canary of another object.
    pub fn canary_left_out(object: &ObjectRef, key: &str) -> Self {
        let message = format!(
            "{key} makes this object a canary of another one, which is not served in the strict dialect, so it takes no \
             traffic at all; remove the annotation if it should be served as an object of its own"
        );
        finding(Warning, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A redirect of ingress-nginx for hosts that we do not redirect.
    pub fn plain_text_closed(object: &ObjectRef, key: &str, hosts: &[String]) -> Self {
        let message = format!(
            "{key} asks that plain text be redirected, which is done for hosts named under spec.tls alone; the paths of {} \
             answer 503 instead of being served in plain text, unless another object names the host there; list it under \
             spec.tls",
            hosts.join(", ")
        );
        finding(Error, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A redirect of ingress-nginx without an https port.
    pub fn redirect_without_https(object: &ObjectRef, key: &str) -> Self {
        let message = format!(
            "{key} asks that plain text be redirected, and there is no https port, so every path of this object answers \
             503 instead of being served in plain text; give --https-port, or remove the annotation"
        );
        finding(Error, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A redirect of ingress-nginx that ours gives too.
    pub fn redirected_anyway(object: &ObjectRef, key: &str) -> Self {
        let message =
            format!("{key} is not applied; hosts named under spec.tls are redirected without it; remove it");
        finding(Info, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A protection of ingress-nginx that protects nothing as it is set.
    pub fn void_protection(object: &ObjectRef, key: &str) -> Self {
        let message =
            format!("{key} is not applied; as it is set it closes nothing, so nothing is opened by that");
        finding(Info, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A protection of ingress-nginx beside our annotation for the same.
    pub fn replaced_protection(object: &ObjectRef, key: &str, ours: &str) -> Self {
        let message = format!("{key} is not applied; {ours} of this object holds instead");
        finding(Info, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// An annotation of ingress-nginx without effect.
    pub fn unsupported_annotation(object: &ObjectRef, key: &str, instead: Option<&str>) -> Self {
        let message = match instead {
            Some(instead) => format!("{key} has no effect in the strict dialect; use {instead}"),
            None => format!("{key} has no effect in the strict dialect; remove it"),
        };
        finding(Warning, Reason::UnsupportedAnnotation, "unsupported-annotation", message)
            .of(object, &annotation_field(key))
    }

    /// A rewrite that throws the rest of the path away.
    pub fn rewrite_collapses_path(object: &ObjectRef, key: &str, value: &str) -> Self {
        let message = format!(
            "in ingress-nginx the rewrite to {value:?} replaces the whole path, so /api/users/7 reaches the endpoint as \
             {value}, and every path of the host becomes a case-insensitive expression; there, write path: /api(/|$)(.*) \
             with rewrite-target: /$2; in the strict dialect the path is forwarded as it is"
        );
        finding(Warning, Reason::UnsupportedAnnotation, "rewrite-collapses-path", message)
            .of(object, &annotation_field(key))
    }

    /// A flag that the strict dialect does not read.
    pub fn configmap_unread(config_map: &ObjectRef) -> Self {
        let message =
            "--configmap is not read in the strict dialect; use flags and annotations of ringress.dev/";
        finding(Warning, Reason::UnsupportedSetting, "configmap-unread", message.into()).of(config_map, "")
    }

    /// A dialect that is not there yet.
    pub fn dialect_not_yet(flags: &ObjectRef) -> Self {
        let message = "--compat ingress-nginx is not implemented yet, so no Ingress is served; run with --compat strict";
        finding(Error, Reason::UnsupportedSetting, "dialect-not-yet", message.into()).of(flags, "--compat")
    }

    /// Nothing behind the flag's Service is ready.
    pub fn flag_backend_not_ready(flags: &ObjectRef, service: &ObjectRef, why: &str) -> Self {
        let message =
            format!("{service}: {why}, so requests that nothing matches answer 503; {CHECK_ENDPOINTS}");
        finding(Warning, Reason::NoReadyEndpoints, "no-ready-endpoints", message)
            .of(flags, "--default-backend-service")
    }

    /// The flag's Service is missing.
    pub fn flag_backend(flags: &ObjectRef, service: &ObjectRef, why: &str) -> Self {
        let message = format!("{service}: {why}; requests that nothing matches answer 503");
        finding(Error, Reason::BackendNotFound, "service-missing", message)
            .of(flags, "--default-backend-service")
    }
}

/// Manifests.
impl Problem {
    /// Text that is no YAML or JSON, or no object of its kind.
    pub fn undecodable(object: &ObjectRef, field: &str, why: &str) -> Self {
        let message = format!("cannot be read: {why}");
        finding(Error, Reason::Undecodable, "undecodable", message).of(object, field)
    }

    /// A folder whose name is that of a manifest; `holds_manifests` are read as those of any other folder.
    pub fn folder_instead_of_file(file: &ObjectRef, holds_manifests: bool) -> Self {
        let (level, next) = match holds_manifests {
            true => (Warning, "the manifests in it are read; name it otherwise"),
            false => (Error, "there is no manifest in it; put the file there, or remove the folder"),
        };
        let message = format!("it is a folder, though it is named like a manifest; {next}");
        finding(level, Reason::Undecodable, "undecodable", message).of(file, "")
    }

    /// A field that the kind does not have.
    pub fn unknown_field(object: &ObjectRef, field: &str) -> Self {
        let message =
            format!("{} has no such field, so it has no effect; check its name and indentation", object.kind);
        finding(Warning, Reason::Undecodable, "unknown-field", message).of(object, field)
    }

    /// A field that stands one level too high.
    pub fn misplaced_field(object: &ObjectRef, field: &str, home: &str) -> Self {
        let message = format!(
            "{field} stands at the top of the object and belongs under {home}; an API server refuses such an object, so \
             nothing of this version counts; indent it below {home}"
        );
        finding(Error, Reason::Undecodable, "misplaced-field", message).of(object, field)
    }

    /// Indentation was lost; `obstacle` is why it cannot be restored.
    pub fn flattened(object: &ObjectRef, obstacle: Option<&str>) -> Self {
        let next = match obstacle {
            None => "run ringress fmt to restore it".to_owned(),
            Some(obstacle) => format!("ringress fmt cannot restore it: {obstacle}"),
        };
        let message = format!(
            "this {} has lost its indentation, as happens when a manifest is copied from a web page; {next}",
            object.kind
        );
        finding(Error, Reason::Flattened, "flattened-yaml", message).of(object, "")
    }

    /// A margin makes the text unreadable.
    pub fn margin(file: &ObjectRef) -> Self {
        let message = "the lines stand behind a margin, all of them or all but the first, as happens when a manifest is \
                       copied from a web page, so it cannot be read; run ringress fmt to take the margin away";
        finding(Error, Reason::Flattened, "flattened-yaml", message.into()).of(file, "")
    }

    /// A kind that is not read.
    pub fn unknown_kind(object: &ObjectRef, kind: &str, api_version: &str) -> Self {
        let message = format!("{kind} of {api_version} is not read");
        finding(Info, Reason::UnknownKind, "unknown-kind", message).of(object, "kind")
    }

    /// A kind that is nearly one of ours.
    pub fn misspelt_kind(object: &ObjectRef, kind: &str, meant: &str, wanted: &str) -> Self {
        let message = format!(
            "Kubernetes has no kind {kind}, so this object is not read; did you mean {meant} ({wanted})?"
        );
        finding(Error, Reason::UnknownKind, "unknown-kind", message).of(object, "kind")
    }

    /// A kind of ours in another version.
    pub fn unknown_version(object: &ObjectRef, kind: &str, api_version: &str, wanted: &str) -> Self {
        let and = match (kind, api_version.ends_with("/v1beta1")) {
            ("Ingress", true) => {
                ", give every path a pathType, write backend.service.name and backend.service.port.number for serviceName and \
                 servicePort, and defaultBackend for spec.backend"
            }
            ("EndpointSlice", true) => ", and write nodeName and zone for topology",
            _ => "",
        };
        let message = format!(
            "{kind} of {api_version} is not read, and no API server of today serves it; change apiVersion to {wanted}{and}"
        );
        finding(Error, Reason::UnknownKind, "unknown-kind", message).of(object, "apiVersion")
    }

    /// Two documents for one object.
    pub fn duplicate_object(object: &ObjectRef, first: &Place) -> Self {
        let message = format!("this object is already defined at {first}, which counts; remove one of them");
        finding(Error, Reason::DuplicateObject, "duplicate-object", message).of(object, "")
    }

    /// The object stays as it was, because its file cannot be read.
    pub fn kept(object: &ObjectRef, file: &str) -> Self {
        let message = format!(
            "{file} cannot be read whole, so this object stays as it was; repair the file, or delete it to delete the object"
        );
        finding(Warning, Reason::Quarantined, "quarantined", message).of(object, "")
    }
}
