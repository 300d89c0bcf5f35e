//! Everything that can be wrong with an object: one constructor each, in a page for each kind of thing.
//!
//! Conditions, Events, lint and the docs follow from these pages. A message names the value and the next step; the field
//! stands beside it. Secrets never appear in a message.

mod annotation;
mod class;
mod manifest;
mod path;
mod rules;
mod service;
mod tls;

use std::fmt;

pub use rules::{LintRule, RULES};

use ringress_shared::origin::{ObjectRef, Origin};

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

/// The first few of a list that may be long.
fn some_of(list: &[String]) -> String {
    let named = list.iter().take(SOME).cloned().collect::<Vec<_>>().join(", ");
    match list.len().saturating_sub(SOME) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

/// So many of a list are named.
const SOME: usize = 3;

/// The next step where a Service has nobody who answers.
const CHECK_ENDPOINTS: &str = "check its selector, its pods' readiness and its EndpointSlices";
