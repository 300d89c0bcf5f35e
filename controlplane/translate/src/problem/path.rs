//! Problems with hosts, paths and backends of rules.

use ringress_shared::origin::Origin;

use super::Level::{Error, Info, Warning};
use super::{Problem, Reason, finding, some_of};
use crate::claim::Winner;

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

    /// A rule without a path where nothing takes its requests.
    pub fn leads_nowhere(origin: &Origin, host: &str) -> Self {
        let message = format!(
            "the rule for {host} has no paths, which leaves its requests to a default backend, and there is none, so they \
             answer 404; write http.paths, or spec.defaultBackend"
        );
        finding(Warning, Reason::NothingToServe, "rule-leads-nowhere", message).at(origin)
    }

    /// More protected paths than are closed as expressions one by one.
    pub fn closed_broadly(origin: &Origin, paths: usize, one_by_one: usize, places: &[String]) -> Self {
        let message = format!(
            "a protection of this object is not applied, and ingress-nginx takes its paths as expressions; beyond {one_by_one} \
             of them {paths} are closed together, with everything that begins with {}, in any case; split the object, or \
             remove paths",
            some_of(places)
        );
        finding(Warning, Reason::InvalidPath, "expressions-closed-together", message).at(origin)
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

    /// A default backend of everything, where another object's rule for every host brings one.
    pub fn shadowed_default(origin: &Origin, by: &Origin) -> Self {
        let message = format!(
            "the default backend of hosts that no rule names is already taken by {by}: its object has a rule for every host, \
             which comes first; what is left for this one is what no path takes at hosts with rules of their own; change \
             one of them or remove this one"
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
