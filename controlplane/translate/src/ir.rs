//! What every front-end ends in: rules in routing terms, before references are resolved and hosts are merged.
//!
//! Nothing here refers to another object's content, so an unchanged object keeps its form. What a dialect generates
//! (the `/` of a host, a slash redirect) is a [`RuleIr`] like any other, and an expression is a [`PathTest`]; so the stages
//! after this page know dialects only as a value that they pass on.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use ringress_shared::hostname::HostPattern;
use ringress_shared::id::{RuleId, UpstreamId};
use ringress_shared::origin::{ObjectRef, Origin};
use ringress_shared::route::{Dialect, PathMatch, PathRegex, RegexError};
use ringress_shared::upstream::{Balance, UpstreamProtocol};

use crate::claim::{Precedence, Winner};
use crate::ingress::covers;
use crate::objects::Key;
use crate::policy::PolicyIr;

/// A host of rules; `None` is every host.
pub(crate) type Host = Option<HostPattern>;

/// One object with routes, after syntax.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IngressIr {
    pub(crate) key: Key,
    pub(crate) object: ObjectRef,
    /// Decides between objects that claim the same.
    pub(crate) created: Option<Timestamp>,
    /// The dialect of its hosts.
    pub(crate) dialect: Dialect,
    /// Every host that a rule names, also without a path; each once, in order.
    pub(crate) hosts: Box<[Host]>,
    pub(crate) rules: Vec<RuleIr>,
    pub(crate) default_backend: Option<DefaultIr>,
    pub(crate) tls: Vec<TlsIr>,
    pub(crate) policies: PolicyIr,
    /// Claims that are wrong and lost.
    pub(crate) lost: Vec<LostIr>,
    /// Hosts that it puts into regex mode: ingress-nginx takes all paths there, of every object, as
    /// expressions. In order.
    pub(crate) regex_hosts: Box<[Host]>,
    /// Of [`hosts`](Self::hosts), those that no rule of it names: further names of them, closed while nobody else's rule
    /// names them. In order.
    pub(crate) aliases: Box<[Host]>,
    /// Rules without a path.
    pub(crate) bare: Vec<BareIr>,
}

/// One path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RuleIr {
    pub(crate) origin: Origin,
    pub(crate) host: Host,
    pub(crate) host_text: String,
    pub(crate) path: PathTest,
    pub(crate) path_text: String,
    pub(crate) path_type: String,
    pub(crate) backend: BackendIr,
    /// Whether it closes what a wrong path may have meant. It takes no path from an object that has that path.
    pub(crate) is_stand_in: bool,
}

/// What a rule asks of the path. Two rules of a host with equal tests claim the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PathTest {
    Exact(Box<str>),
    /// Without trailing slashes.
    Prefix(Box<str>),
    /// What a path means where its host is in regex mode, closed; and for dialects that match a host's paths by expressions.
    Expression {
        source: Box<str>,
        case_insensitive: bool,
    },
    /// Everything that begins with a text, in any case: closed where an expression cannot be had, or too many of them.
    Beginning {
        /// ASCII and short, so that it always compiles. A dot takes any character.
        text: Box<str>,
        /// It takes from others what the longest text that it stands for would take.
        length: usize,
        /// How many paths it stands for.
        paths: usize,
        /// Whether it holds where the host is in no regex mode, too.
        always: bool,
    },
    /// Everything that begins with a text as it is, closed: what `ImplementationSpecific` is to ingress-nginx in any mode.
    Text(Box<str>),
}

/// A default backend.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DefaultIr {
    pub(crate) origin: Origin,
    pub(crate) backend: BackendIr,
    /// Takes every request that nothing matches, instead of those to the hosts of its object.
    pub(crate) catches_all: bool,
}

/// Where a rule leads.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum BackendIr {
    Service { upstream: UpstreamKey, field: Arc<str> },
    Answer(u16),
}

/// What makes an upstream: it exists whether or not its Service does, so that routes do not depend on Services.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UpstreamKey {
    pub(crate) service: Key,
    pub(crate) port: PortIr,
    pub(crate) balance: BalanceIr,
}

/// A Service port as a rule names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PortIr {
    Number(u16),
    Name(Arc<str>),
    /// The first port of the Service; for flags that name no port.
    First,
}

/// [`Balance`] with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum BalanceIr {
    #[default]
    RoundRobin,
    PeakEwma,
}

/// One entry under `spec.tls` for one host.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TlsIr {
    pub(crate) origin: Origin,
    pub(crate) hosts: TlsHosts,
    /// `None`: the default certificate.
    pub(crate) secret: Option<Key>,
}

/// Which names an entry under `spec.tls` is for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TlsHosts {
    Named(Vec<(HostPattern, Arc<str>)>),
    /// No host is named, neither there nor by a rule: the names that the certificate has.
    OfCertificate,
}

/// A claim that is wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LostIr {
    pub(crate) origin: Origin,
    pub(crate) host: Host,
    pub(crate) host_text: String,
    pub(crate) path_text: String,
    pub(crate) path_type: String,
    pub(crate) why: String,
}

/// A rule that names a host and no path: its requests go to a default backend.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BareIr {
    pub(crate) origin: Origin,
    pub(crate) host: Host,
}

impl IngressIr {
    /// Every upstream that it leads to.
    pub(crate) fn upstreams(&self) -> BTreeSet<&UpstreamKey> {
        let backends = self.rules.iter().map(|rule| &rule.backend);
        let backends = backends.chain(self.default_backend.iter().map(|default| &default.backend));
        let keys = backends.filter_map(|backend| match backend {
            BackendIr::Service { upstream, .. } => Some(upstream),
            BackendIr::Answer(_) => None,
        });
        keys.collect()
    }

    /// The hosts that stand under its `tls`.
    pub(crate) fn tls_names(&self) -> impl Iterator<Item = &HostPattern> {
        self.tls.iter().flat_map(TlsIr::named).map(|(host, _)| host)
    }

    /// Whether every name of `host` stands under its `tls`.
    pub(crate) fn names(&self, host: &HostPattern) -> bool {
        self.tls_names().any(|name| covers(name, host))
    }

    /// Whether it knows a host by a further name alone.
    pub(crate) fn is_alias(&self, host: &Host) -> bool {
        self.aliases.binary_search(host).is_ok()
    }

    /// Whether a rule of it takes requests of the rules of a host.
    pub(crate) fn takes_at(&self, host: &Host) -> bool {
        let has_default = self.default_backend.is_some() && !self.is_catch_all();
        self.rules.iter().any(|rule| rule.host == *host) || has_default && self.hosts.contains(host)
    }

    /// Whether its default backend takes every request that nothing matches.
    pub(crate) fn is_catch_all(&self) -> bool {
        self.default_backend.as_ref().is_some_and(|default| default.catches_all)
    }

    /// Whether this object wins over `other` where both claim the same: strictly older, or not younger and first by name.
    /// A missing time is equal to any other.
    pub(crate) fn beats(&self, other: &Self) -> bool {
        match (self.created, other.created) {
            (Some(own), Some(theirs)) if own != theirs => own < theirs,
            _ => self.key < other.key,
        }
    }

    /// This object as the one that took, with that field, what `loser` claims too.
    pub(crate) fn takes(&self, origin: &Origin, loser: &Self) -> Winner {
        let because = match (self.created, loser.created) {
            _ if self.key == loser.key => Precedence::Position,
            _ if !self.beats(loser) => Precedence::Others,
            (Some(own), Some(theirs)) if own < theirs => Precedence::Older,
            _ => Precedence::Name,
        };
        Winner { origin: origin.clone(), because }
    }

    /// The id of its default backend as a rule.
    pub(crate) fn default_rule_id(&self) -> RuleId {
        RuleId::of(&[&self.key.namespace, &self.key.name, "default backend"])
    }
}

impl RuleIr {
    /// Lives as long as the object claims this host and path, wherever in the object it stands.
    pub(crate) fn id(&self, key: &Key) -> RuleId {
        let host = self.host.as_ref().map_or_else(|| "*".to_owned(), HostPattern::to_string);
        let (form, text) = match &self.path {
            PathTest::Exact(text) => ("Exact", text),
            PathTest::Prefix(text) => ("Prefix", text),
            PathTest::Expression { source, .. } => ("Expression", source),
            PathTest::Beginning { text, .. } => ("Beginning", text),
            PathTest::Text(text) => ("Text", text),
        };
        RuleId::of(&[&key.namespace, &key.name, &host, form, text])
    }
}

impl PathTest {
    /// Whether it closes what a path means besides itself.
    pub(crate) fn is_expression(&self) -> bool {
        match self {
            Self::Exact(_) | Self::Prefix(_) => false,
            Self::Expression { .. } | Self::Beginning { .. } | Self::Text(_) => true,
        }
    }

    /// Whether it holds only where its host is in regex mode.
    pub(crate) fn needs_regex_mode(&self) -> bool {
        matches!(self, Self::Expression { .. } | Self::Beginning { always: false, .. })
    }

    /// The form that the route table matches.
    ///
    /// # Errors
    /// An expression that does not compile.
    pub(crate) fn compile(&self) -> Result<PathMatch, RegexError> {
        Ok(match self {
            Self::Exact(text) => PathMatch::Exact(text.clone()),
            Self::Prefix(text) => PathMatch::Prefix(text.clone()),
            Self::Expression { source, case_insensitive } => {
                PathMatch::Regex(PathRegex::compile(source, *case_insensitive)?)
            }
            Self::Beginning { text, length, .. } => {
                PathMatch::Regex(PathRegex::compile(&beginning(text), true)?.in_place_of(*length))
            }
            Self::Text(text) => {
                PathMatch::Regex(PathRegex::compile(&exactly(text), false)?.in_place_of(text.len()))
            }
        })
    }
}

impl fmt::Display for PathTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "{text} (Exact)"),
            Self::Prefix(text) if text.is_empty() => f.write_str("/ (Prefix)"),
            Self::Prefix(text) => write!(f, "{text} (Prefix)"),
            Self::Expression { source, .. } => write!(f, "{source} (expression)"),
            Self::Beginning { text, .. } => write!(f, "{} (expression)", beginning(text)),
            Self::Text(text) => write!(f, "{} (expression)", exactly(text)),
        }
    }
}

/// The expression of everything that begins with a text as it is.
fn exactly(text: &str) -> String {
    beginning(text).replace('.', "\\.")
}

/// The expression of everything that begins with a text.
fn beginning(text: &str) -> String {
    text.chars().fold("^".to_owned(), |mut out, letter| {
        // Escaped, other signs would mean something: `\<` is where a word begins.
        if matches!(letter, '\\' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$') {
            out.push('\\');
        }
        out.push(letter);
        out
    })
}

impl UpstreamKey {
    /// The stable id: Service port, protocol and balancing.
    pub(crate) fn id(&self) -> UpstreamId {
        let balance = match self.balance {
            BalanceIr::RoundRobin => "round_robin",
            BalanceIr::PeakEwma => "ewma",
        };
        let protocol = match UpstreamProtocol::default() {
            UpstreamProtocol::Http1 => "http1",
        };
        UpstreamId::of(&[
            &self.service.namespace,
            &self.service.name,
            &self.port.to_string(),
            protocol,
            balance,
        ])
    }
}

impl fmt::Display for PortIr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
            Self::First => f.write_str("first"),
        }
    }
}

impl From<BalanceIr> for Balance {
    fn from(balance: BalanceIr) -> Self {
        match balance {
            BalanceIr::RoundRobin => Self::RoundRobin,
            BalanceIr::PeakEwma => Self::PeakEwma,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_of_a_dialect_reach_the_route_table() {
        let test = PathTest::Expression { source: "^/api(/|$)(.*)".into(), case_insensitive: true };
        assert!(test.compile().unwrap().matches(b"/API/users"));
        let broken = PathTest::Expression { source: "^/(".into(), case_insensitive: true };
        assert!(broken.compile().is_err());
    }

    #[test]
    fn any_printed_text_can_be_a_beginning() {
        let printed: String = (' '..='~').collect();
        let test =
            PathTest::Beginning { text: printed.as_str().into(), length: 500, paths: 1, always: false };
        let compiled = test.compile().unwrap();
        assert!(compiled.matches(format!("{}x", printed.to_ascii_uppercase()).as_bytes()));
        assert!(!compiled.matches(&printed.as_bytes()[1..]));
        assert_eq!(compiled.length(), 500);
    }
}
