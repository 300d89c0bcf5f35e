//! What became of each path of each Ingress, for `ringress explain` and the routes table.

use std::fmt;

use k8s_openapi::jiff::Timestamp;
use ringress_shared::hostname::HostPattern;
use ringress_shared::id::{RuleId, UpstreamId};
use ringress_shared::origin::{ObjectRef, Origin};
use ringress_shared::route::PathMatch;

/// One path (or default backend) of one Ingress.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The object and the field.
    pub origin: Origin,
    /// When the object was created, where it says so.
    pub created: Option<Timestamp>,
    /// Whether the object is ours, and why.
    pub class: ClassVerdict,
    /// The host as written; empty for every host.
    pub host_text: String,
    /// The host; `None` for every host, and where the text is no host.
    pub host: Option<HostPattern>,
    /// The path as written; empty for a default backend.
    pub path_text: String,
    /// The path type as written; `DefaultBackend` for a default backend.
    pub path_type: String,
    /// What is asked of a request's path; `None` for a default backend and a path that is wrong.
    pub path: Option<PathMatch>,
    /// Where it leads; `None` where no Service is named.
    pub service: Option<ServiceVerdict>,
    /// What became of it.
    pub outcome: Outcome,
}

impl Claim {
    /// Whether this is a default backend, which takes what no path matches.
    pub fn is_default_backend(&self) -> bool {
        self.path_type == DEFAULT_BACKEND
    }
}

/// The path type of claims that are default backends.
pub const DEFAULT_BACKEND: &str = "DefaultBackend";

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is a rule of the table.
    Routed(RuleId),
    /// The object belongs to somebody else, or to nobody.
    ClassNotOurs(String),
    /// Another object has the same host, path and type, and came first.
    Shadowed {
        /// The winner.
        by: Winner,
    },
    /// It is wrong; the last good version of the object is served instead.
    Quarantined(String),
    /// It is wrong and lost.
    Invalid(String),
}

/// Who came first, and what decided that; shown as the origin alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Winner {
    /// The field that took what was claimed.
    pub origin: Origin,
    /// What decided.
    pub because: Precedence,
}

impl fmt::Display for Winner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)
    }
}

/// What decided between two claims of the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precedence {
    /// The winner's object is older.
    Older,
    /// Neither is older, or one of them has no creation time, so the order of the names decided.
    Name,
    /// More than two claim it, some without a creation time: the loser lost to one of the others.
    Others,
    /// Both stand in one object, the winner first.
    Position,
}

/// What can be said of the winner: "it is older".
impl fmt::Display for Precedence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Older => "it is older",
            Self::Name => "its name comes first (neither is older)",
            Self::Others => "it comes first among all that claim it",
            Self::Position => "it stands first in the object",
        })
    }
}

/// Whether an Ingress is ours, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClassVerdict {
    /// `spec.ingressClassName` names a class of ours.
    Named(String),
    /// It names no class, and the default class is ours.
    Default(String),
    /// The legacy annotation has our value.
    Annotated(String),
    /// It has no class, and such objects are served.
    WithoutClass,
    /// It names a class that nobody defines, and such classes are taken as ours.
    Created(String),
    /// The class belongs to another controller.
    NotOwned {
        /// The class.
        class: String,
        /// Its `spec.controller`.
        controller: String,
    },
    /// It names no class, and the default class belongs to another controller.
    DefaultNotOwned {
        /// The class.
        class: String,
        /// Its `spec.controller`.
        controller: String,
    },
    /// `spec.ingressClassName` names a class that does not exist.
    NotFound(String),
    /// The legacy annotation has another value.
    OtherAnnotation(String),
    /// It has no class at all.
    NoClass,
}

impl ClassVerdict {
    /// Whether the object is served.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Named(_)
            | Self::Default(_)
            | Self::Annotated(_)
            | Self::WithoutClass
            | Self::Created(_) => true,
            Self::NotOwned { .. }
            | Self::DefaultNotOwned { .. }
            | Self::NotFound(_)
            | Self::OtherAnnotation(_)
            | Self::NoClass => false,
        }
    }
}

impl fmt::Display for ClassVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(class) => write!(f, "class {class} is ours"),
            Self::Default(class) => write!(f, "no class, and the default class {class} is ours"),
            Self::Annotated(value) => write!(f, "annotation kubernetes.io/ingress.class is {value}"),
            Self::WithoutClass => f.write_str("no class, and objects without a class are served"),
            Self::Created(class) => write!(f, "class {class} is defined by nobody and taken as ours"),
            Self::NotOwned { class, controller } => write!(f, "class {class} belongs to {controller}"),
            Self::DefaultNotOwned { class, controller } => {
                write!(f, "no class, and the default class {class} belongs to {controller}")
            }
            Self::NotFound(class) => write!(f, "class {class} does not exist"),
            Self::OtherAnnotation(value) => {
                write!(f, "annotation kubernetes.io/ingress.class is {value}, which is not ours")
            }
            Self::NoClass => f.write_str("no class, and there is no default class"),
        }
    }
}

/// A Service port that a claim names, and what was found there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceVerdict {
    /// The Service.
    pub service: ObjectRef,
    /// The port as written: a number or a name.
    pub port: String,
    /// The upstream of this port. It exists in the table whatever the verdict is; without endpoints it answers 503.
    pub upstream: UpstreamId,
    /// What was found.
    pub verdict: Verdict,
}

/// What was found at a Service port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Endpoints that can be chosen.
    Ok {
        /// How many.
        endpoints: usize,
        /// Whether all of them are terminating, because nothing is ready.
        terminating: bool,
    },
    /// There is no such Service.
    ServiceMissing,
    /// The Service has no such port for TCP.
    PortMissing {
        /// The ports that it has for TCP: `80`, `443 (https)`.
        has: Vec<String>,
        /// The protocol that it has this port for instead: `UDP`.
        other_protocol: Option<String>,
    },
    /// The Service port exists, and nothing behind it is ready.
    NoReadyEndpoints {
        /// Endpoints that are there and not ready.
        not_ready: usize,
    },
    /// The external name leads to this machine or its link, which is refused.
    ExternalNameRefused {
        /// The name.
        name: String,
    },
    /// The external name is not resolved (yet).
    NotResolved {
        /// The name.
        name: String,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok { endpoints, terminating: false } => write!(f, "{endpoints} ready"),
            Self::Ok { endpoints, terminating: true } => write!(f, "{endpoints} terminating, none ready"),
            Self::ServiceMissing => f.write_str("the Service does not exist"),
            Self::PortMissing { has, other_protocol } => {
                match other_protocol {
                    Some(protocol) => write!(f, "the Service has it for {protocol} alone, not for TCP")?,
                    None => f.write_str("the Service has no such port")?,
                }
                match has.is_empty() {
                    true => f.write_str("; it has none for TCP"),
                    false => write!(f, "; it has {}", has.join(", ")),
                }
            }
            Self::NoReadyEndpoints { not_ready: 0 } => f.write_str("no endpoints"),
            Self::NoReadyEndpoints { not_ready } => write!(f, "no ready endpoints, {not_ready} not ready"),
            Self::ExternalNameRefused { name } => write!(f, "the external name {name} is refused"),
            Self::NotResolved { name } => write!(f, "the external name {name} does not resolve"),
        }
    }
}
