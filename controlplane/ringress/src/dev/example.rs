//! The embedded example: the beginner exercise, two hosts and two Services.

use crate::files::Texts;

/// Its manifests. Their names say that there is no such file: whoever has the binary alone would look for it.
pub(super) fn texts() -> Texts {
    FILES.iter().map(|(name, text)| ((*name).to_owned(), (*text).into())).collect()
}

const FILES: &[(&str, &str)] = &[
    ("embedded example, ingress.yaml", include_str!("../../../../deploy/examples/beginner/ingress.yaml")),
    ("embedded example, services.yaml", include_str!("../../../../deploy/examples/beginner/services.yaml")),
];
