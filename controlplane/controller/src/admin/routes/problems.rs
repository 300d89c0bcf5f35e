//! What is wrong with the objects, as `GET /routes` lists it: by object, with what ringress does in spite of it.

use std::collections::BTreeMap;

use ringress_shared::origin::ObjectRef;
use ringress_translate::{Level, Problem, Reason};
use serde::Serialize;

use crate::live::View;

/// An object with something wrong.
#[derive(Debug, Serialize)]
pub(in crate::admin) struct Troubled {
    kind: String,
    /// Empty for cluster-wide kinds and for files.
    namespace: String,
    name: String,
    problems: Vec<ProblemShown>,
}

#[derive(Debug, Serialize)]
struct ProblemShown {
    level: &'static str,
    reason: &'static str,
    /// Empty for the whole object.
    field: String,
    message: String,
    /// What is done in spite of it.
    action: &'static str,
    /// `file:line`, for what could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
}

/// Every object with a problem or a remark, in the order of their names.
pub(in crate::admin) fn list(view: &View) -> Vec<Troubled> {
    let mut by_object: BTreeMap<&ObjectRef, Vec<&Problem>> = BTreeMap::new();
    for problem in view.problems.iter() {
        by_object.entry(&problem.object).or_default().push(problem);
    }
    let troubled = by_object.into_iter().map(|(object, problems)| {
        let is_kept = problems.iter().any(|problem| problem.reason == Reason::Quarantined);
        Troubled {
            kind: object.kind.to_string(),
            namespace: object.namespace.to_string(),
            name: object.name.to_string(),
            problems: problems.into_iter().map(|problem| shown(problem, is_kept)).collect(),
        }
    });
    troubled.collect()
}

fn shown(problem: &Problem, is_kept: bool) -> ProblemShown {
    ProblemShown {
        level: problem.level.as_str(),
        reason: problem.reason.as_str(),
        field: problem.field.clone(),
        message: problem.message.clone(),
        action: action(problem.reason, problem.level, is_kept),
        place: problem.place.as_ref().map(ToString::to_string),
    }
}

/// What is done in spite of a problem; `is_kept`: an earlier version of the object is served.
fn action(reason: Reason, level: Level, is_kept: bool) -> &'static str {
    const KEPT: &str = "the last good version of the object is served";
    let is_error = level == Level::Error;
    match reason {
        Reason::ClassNotOwned => "the object is left to another controller",
        Reason::NothingToServe if is_kept => KEPT,
        Reason::ClassNotFound | Reason::NoClass | Reason::NothingToServe => "nothing of the object is served",
        Reason::SeveralDefaultClasses => "the newest of the default classes is used",
        Reason::InvalidHost | Reason::InvalidPath | Reason::InvalidPathType if is_error && is_kept => KEPT,
        Reason::InvalidHost | Reason::InvalidPath | Reason::InvalidPathType if is_error => {
            "the rule is left out, the others of the object are served"
        }
        Reason::InvalidHost | Reason::InvalidPath | Reason::InvalidPathType | Reason::UnresolvableHost => {
            "the rule is served as it is written"
        }
        Reason::InvalidBackend | Reason::UnsupportedBackend if is_kept => KEPT,
        Reason::InvalidBackend
        | Reason::UnsupportedBackend
        | Reason::BackendNotFound
        | Reason::ExternalNameRefused
        | Reason::NameNotResolved => "requests to this backend are answered with 503",
        Reason::PortNotFound if is_error => "requests to this backend are answered with 503",
        Reason::PortNotFound => "the EndpointSlice is not used for this port",
        Reason::NoReadyEndpoints if level == Level::Info => "endpoints that terminate are used",
        Reason::NoReadyEndpoints => "requests to this backend are answered with 503",
        Reason::EndpointRefused => "the endpoint is left out",
        Reason::Shadowed => "the other object's rule is served in its place",
        Reason::Quarantined => KEPT,
        Reason::CertificateInvalid if is_kept => "the last good certificate is shown",
        Reason::SecretNotFound | Reason::CertificateInvalid => {
            "its hosts are shown another certificate that covers them, or the default one"
        }
        Reason::SecretWithheld => "its hosts refuse TLS",
        Reason::CertificateHostMismatch | Reason::CertificateExpired => {
            "the certificate is shown all the same"
        }
        Reason::TlsHostMismatch => "each host is served as it is written",
        Reason::InvalidAnnotation if is_error && is_kept => KEPT,
        Reason::InvalidAnnotation if is_error => {
            "the annotation is left out; a protection closes its paths with 503"
        }
        Reason::UnsupportedAnnotation if is_error => "its paths are answered with 503",
        Reason::InvalidAnnotation | Reason::UnknownAnnotation | Reason::UnsupportedAnnotation => {
            "the annotation has no effect"
        }
        Reason::UnsupportedSetting => "the setting has no effect",
        Reason::Undecodable if !is_error => "the field has no effect",
        Reason::Undecodable | Reason::Flattened => {
            "what was read before stays as it was; else it is left out"
        }
        Reason::UnknownKind => "it is not read",
        Reason::DuplicateObject => "the one that was found first counts",
    }
}
