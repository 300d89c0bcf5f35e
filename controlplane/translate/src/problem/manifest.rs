//! Problems with manifests: what cannot be decoded, or is not where it belongs.

use ringress_shared::origin::ObjectRef;

use super::Level::{Error, Info, Warning};
use super::{Place, Problem, Reason, finding};

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
