//! The answer of `explain` as JSON: what `-o json` prints and `POST /explain` returns. Its shape is stable.

use serde::{Deserialize, Serialize};

use crate::wire::ObjectName;

/// What happens to one request, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Explanation {
    pub(crate) url: String,
    pub(crate) method: String,
    /// The generation that was asked; absent for manifests that nothing serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<u64>,
    /// Who was asked: `namespace/pod`, or the admin address of a process; absent for manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replica: Option<String>,
    /// Other replicas that say the same, where all were asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) agreeing: Vec<String>,
    /// Whether the request reaches an endpoint or is redirected.
    pub(crate) routed: bool,
    /// The host that rules were compared with: lower case, no port.
    pub(crate) host: String,
    /// The path that rules were compared with.
    pub(crate) path: String,
    /// The rule that takes the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) winner: Option<Winner>,
    /// The certificate that a TLS client is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<Shown>,
    /// What the rule applies, in order.
    pub(crate) policies: Vec<Applied>,
    /// What ringress answers itself; absent where the request is forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answer: Option<OwnAnswer>,
    /// Where the rule leads.
    pub(crate) backends: Vec<Reached>,
    /// Whether it is known who is ready there: manifests without EndpointSlices do not say.
    #[serde(default = "known")]
    pub(crate) endpoints_known: bool,
    /// The head that the endpoint receives; absent where nothing is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upstream_request: Option<String>,
    /// Host, path, class, Service, port, endpoints: in this order.
    pub(crate) checklist: Vec<Check>,
    /// Every other path of every object, in the order of the checklist.
    pub(crate) losers: Vec<Loser>,
    /// What else is wrong with the winner's object; without a winner, what could not be read and so became no rule.
    pub(crate) problems: Vec<String>,
}

fn known() -> bool {
    true
}

impl Explanation {
    /// Whether another replica says the same of the same request; generations are counted by each for itself.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let what = |explanation: &Self| Self {
            generation: None,
            replica: None,
            agreeing: Vec::new(),
            ..explanation.clone()
        };
        what(self) == what(other)
    }
}

/// The rule that takes a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Winner {
    pub(crate) object: ObjectName,
    /// Path of the field in the object.
    pub(crate) field: String,
    /// The host of the rule; `*` for every host.
    pub(crate) host: String,
    /// The path with its type, or `default backend`.
    pub(crate) matched: String,
    #[serde(flatten)]
    pub(crate) place: Place,
}

/// Where something stands, where it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    /// From 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<usize>,
}

/// A certificate that is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// The Secret; absent for the generated default certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<ObjectName>,
    pub(crate) names: Vec<String>,
    /// Whether it names the host.
    pub(crate) covers_host: bool,
}

/// A policy of the rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Applied {
    pub(crate) policy: String,
    pub(crate) effect: String,
}

/// An answer that ringress gives itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OwnAnswer {
    pub(crate) status: u16,
    pub(crate) message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) location: Option<String>,
    /// The policy that gives it; absent where no rule or no endpoint is the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<String>,
}

/// Where a rule leads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reached {
    /// Absent where a status stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<ObjectName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<String>,
    pub(crate) weight: u32,
    /// The status that stands in for an invalid reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) answers: Option<u16>,
    pub(crate) endpoints: Vec<ReachedEndpoint>,
}

/// One `ip:port`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReachedEndpoint {
    pub(crate) address: String,
    /// The pod, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
}

/// One line of the checklist for a 404.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Check {
    pub(crate) check: Checked,
    pub(crate) state: State,
    pub(crate) says: String,
}

/// What is checked; in the order in which to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Checked {
    Host,
    Path,
    Class,
    Service,
    Port,
    Endpoints,
    /// Everything fits, and another rule comes first.
    Precedence,
}

impl Checked {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Path => "path",
            Self::Class => "class",
            Self::Service => "Service",
            Self::Port => "port",
            Self::Endpoints => "endpoints",
            Self::Precedence => "precedence",
        }
    }
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Ok,
    Failed,
    /// Not looked at, because an earlier check failed.
    Open,
}

/// A path that did not get the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loser {
    pub(crate) object: ObjectName,
    pub(crate) field: String,
    /// `*` for every host.
    pub(crate) host: String,
    /// The path with its type, or `default backend`.
    pub(crate) path: String,
    /// Where it failed.
    pub(crate) check: Checked,
    pub(crate) why: String,
    #[serde(flatten)]
    pub(crate) place: Place,
}
