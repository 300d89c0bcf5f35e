//! Which kinds are read in which version, whose the others are, and what a misspelt one was likely meant to be.

use crate::spelling::distance;

/// What a document is, by its kind and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Read.
    Ours,
    /// A kind that we read, in a version of Kubernetes in which nobody serves it (any more).
    OtherVersion { wanted: &'static str },
    /// Not a kind of Kubernetes, and nearly one that we read.
    Misspelt { meant: &'static str, wanted: &'static str },
    /// A kind that we do not read, or one of somebody else's group.
    Foreign,
}

/// Judges a document by its kind and `apiVersion`.
pub(super) fn judge(kind: &str, version: &str) -> Verdict {
    if let Some((_, wanted)) = KINDS.iter().find(|(known, _)| *known == kind) {
        return match version {
            version if version == *wanted => Verdict::Ours,
            version if is_of_kubernetes(version, wanted) => Verdict::OtherVersion { wanted },
            _ => Verdict::Foreign,
        };
    }
    match nearest(kind) {
        Some((meant, wanted)) if is_of_kubernetes(version, wanted) => Verdict::Misspelt { meant, wanted },
        _ => Verdict::Foreign,
    }
}

fn nearest(kind: &str) -> Option<(&'static str, &'static str)> {
    let kind = kind.to_ascii_lowercase();
    let distances =
        KINDS.iter().map(|(known, wanted)| (distance(&known.to_ascii_lowercase(), &kind), known, wanted));
    let (letters, known, wanted) = distances.min()?;
    (letters <= MISSPELT_LETTERS_MAX).then_some((known, wanted))
}

/// Whether a version is one of Kubernetes itself, or meant to be: groups of others are DNS names of others.
fn is_of_kubernetes(version: &str, wanted: &str) -> bool {
    let own = group(version);
    let kubernetes = own.ends_with(".k8s.io") && !own.ends_with(".x-k8s.io");
    !own.contains('.') || kubernetes || distance(own, group(wanted)) <= MISSPELT_LETTERS_MAX
}

/// `networking.k8s.io/v1` → `networking.k8s.io`; the group of `v1` is empty.
fn group(version: &str) -> &str {
    match version.split_once('/') {
        Some((group, _)) => group,
        None if version.contains('.') => version,
        None => "",
    }
}

/// No two kinds of Kubernetes of which we read one are that near to each other.
const MISSPELT_LETTERS_MAX: usize = 2;

const KINDS: &[(&str, &str)] = &[
    ("Ingress", "networking.k8s.io/v1"),
    ("IngressClass", "networking.k8s.io/v1"),
    ("EndpointSlice", "discovery.k8s.io/v1"),
    ("Service", "v1"),
    ("Endpoints", "v1"),
    ("Secret", "v1"),
    ("ConfigMap", "v1"),
    ("Namespace", "v1"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_versions_are_judged() {
        let networking = "networking.k8s.io/v1";
        let other = |wanted| Verdict::OtherVersion { wanted };
        let misspelt = |meant, wanted| Verdict::Misspelt { meant, wanted };
        for (kind, version, expected) in [
            ("Ingress", networking, Verdict::Ours),
            ("Service", "v1", Verdict::Ours),
            ("Ingress", "extensions/v1beta1", other(networking)),
            ("Ingress", "networking.k8s.io", other(networking)),
            ("Ingress", "networking.k8s.oi/v1", other(networking)),
            ("Ingress", "v1", other(networking)),
            ("Service", "apps/v1", other("v1")),
            ("Service", "serving.knative.dev/v1", Verdict::Foreign),
            ("Ingress", "config.openshift.io/v1", Verdict::Foreign),
            ("Ingres", networking, misspelt("Ingress", networking)),
            ("ingress", "extensions/v1beta1", misspelt("Ingress", networking)),
            ("IngressClas", networking, misspelt("IngressClass", networking)),
            ("CONFIGMAP", "v1", misspelt("ConfigMap", "v1")),
            ("Secrte", "v1", misspelt("Secret", "v1")),
            ("Secrets", "example.com/v1", Verdict::Foreign),
            ("Egress", "crd.antrea.io/v1", Verdict::Foreign),
            ("ServiceImport", "multicluster.x-k8s.io/v1", Verdict::Foreign),
            ("Deployment", "apps/v1", Verdict::Foreign),
            ("Event", "v1", Verdict::Foreign),
        ] {
            assert_eq!(judge(kind, version), expected, "{kind} of {version}");
        }
    }
}
