//! The embedded example: the beginner exercise, two hosts and two Services.

use crate::files::Texts;

/// Its manifests, by the name that they have in the repository.
pub(super) fn texts() -> Texts {
    FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect()
}

const FILES: &[(&str, &str)] = &[
    (
        "deploy/examples/beginner/ingress.yaml",
        include_str!("../../../../deploy/examples/beginner/ingress.yaml"),
    ),
    (
        "deploy/examples/beginner/services.yaml",
        include_str!("../../../../deploy/examples/beginner/services.yaml"),
    ),
];
