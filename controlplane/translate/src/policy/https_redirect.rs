//! `ringress.dev/ssl-redirect`: hosts that are named under `tls` send plain-text clients to https unless it says "false".
//!
//! Paths below `/.well-known/acme-challenge` never redirect: the certificate authority asks for them in plain text before
//! there is a certificate.

use ringress_shared::policy::HttpsRedirect;

use super::{Annotation, Annotations, Position, SSL_REDIRECT, value};
use crate::ir::PathTest;
use crate::problem::Problem;
use crate::settings::Settings;

pub(super) const KEYS: &[Annotation] = &[Annotation {
    key: KEY,
    values: "true, false",
    default: "true",
    effect: "Answers plain-text requests to hosts named under tls with 308 to https.",
}];

const KEY: &str = "ssl-redirect";

/// What an object asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Asked {
    /// Nothing: it redirects where the host is named under `tls`.
    #[default]
    Default,
    /// The same, in so many words: who says so hears where it is not done.
    WithTls,
    Never,
}

impl Asked {
    /// Takes over a redirect that a newer version asks for.
    pub(super) fn harden(&mut self, newer: Self) {
        if newer != Self::Never {
            *self = newer;
        }
    }
}

pub(super) fn read(annotations: Annotations<'_>, settings: &Settings, problems: &mut Vec<Problem>) -> Asked {
    match annotations.parse(KEY, value::TRUTH, value::truth, problems) {
        Ok(Some(false)) => Asked::Never,
        Ok(Some(true)) if settings.https.is_some() => Asked::WithTls,
        Ok(Some(true)) => {
            problems.push(Problem::plain_without_https(annotations.object, SSL_REDIRECT));
            Asked::Default
        }
        // A value that cannot be read leaves the safer side in force.
        Ok(None) | Err(_) => Asked::Default,
    }
}

pub(super) fn lower(asked: Asked, position: Position<'_>, settings: &Settings) -> Option<HttpsRedirect> {
    let wanted = asked != Asked::Never && position.host_has_tls && !position.redirect_exempt;
    // Without an https listener a redirect leads nowhere.
    let reachable = settings.https.is_some();
    (wanted && reachable).then_some(HttpsRedirect { status: 308, port: settings.https_public_port })
}

const CHALLENGE: &str = "/.well-known/acme-challenge";

/// Whether everything that this path takes lies under the challenge path.
pub(crate) fn exempt_from_redirect(path: &PathTest) -> bool {
    match path {
        PathTest::Exact(text) | PathTest::Prefix(text) => {
            text.strip_prefix(CHALLENGE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathTest::Expression { .. } | PathTest::Beginning { .. } | PathTest::Text(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_challenges_are_exempt() {
        for (path, expected) in [
            (PathTest::Exact("/.well-known/acme-challenge/abc".into()), true),
            (PathTest::Prefix("/.well-known/acme-challenge".into()), true),
            (PathTest::Prefix("/.well-known/acme-challenge/abc".into()), true),
            (PathTest::Prefix("/.well-known".into()), false),
            (PathTest::Prefix("/.well-known/acme-challenges".into()), false),
            (PathTest::Prefix("".into()), false),
        ] {
            assert_eq!(exempt_from_redirect(&path), expected, "{path}");
        }
    }
}
