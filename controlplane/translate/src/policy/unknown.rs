//! Keys of our prefix that nobody knows. One that means a protection closes the paths of its object: its owner wrote it to
//! close something, and we would leave that open.

use super::{Annotation, Annotations, Denial, PREFIX, body_limit, denied};
use crate::problem::Problem;
use crate::spelling::distance;

/// Reports unknown keys; gives the protections among them.
pub(super) fn read(annotations: Annotations<'_>, problems: &mut Vec<Problem>) -> Vec<Denial> {
    let mut closing = Vec::new();
    for (name, value) in annotations.under(PREFIX).filter(|(name, _)| !is_known(name)) {
        let key = format!("{PREFIX}{name}");
        let object = annotations.object;
        match Meaning::of(name) {
            Meaning::Ours(ours) if is_protection(ours) => {
                problems.push(Problem::misspelt_protection(object, &key, &format!("{PREFIX}{}", ours.key)));
                closing.push(Denial::unknown(&key));
            }
            Meaning::Ours(ours) => {
                let nearest = format!("{PREFIX}{}", ours.key);
                problems.push(Problem::unknown_annotation(object, &key, Some(&nearest)));
            }
            Meaning::Theirs(theirs) if theirs.closes(annotations, value) => {
                problems.push(match theirs.is_redirect() {
                    true => Problem::unknown_redirect(object, &key),
                    false => Problem::foreign_protection(object, &key, theirs.name(), theirs.instead()),
                });
                closing.push(theirs.denial(&key));
            }
            Meaning::Protection => {
                problems.push(Problem::foreign_protection(object, &key, "", None));
                closing.push(Denial::unknown(&key));
            }
            Meaning::Theirs(_) | Meaning::Nothing => {
                problems.push(Problem::unknown_annotation(object, &key, None));
            }
        }
    }
    closing
}

/// Whether a key of ours, without its prefix, is unknown and means a protection.
pub(super) fn means_protection(name: &str) -> bool {
    !is_known(name)
        && match Meaning::of(name) {
            Meaning::Ours(ours) => is_protection(ours),
            Meaning::Theirs(theirs) => theirs.protects(),
            Meaning::Protection => true,
            Meaning::Nothing => false,
        }
}

fn is_known(name: &str) -> bool {
    super::annotations().any(|known| known.key == name)
}

fn is_protection(ours: &Annotation) -> bool {
    body_limit::KEYS.iter().any(|known| known.key == ours.key)
}

/// What an unknown key most likely means.
enum Meaning {
    /// A key of ours, misspelt.
    Ours(&'static Annotation),
    /// An annotation of ingress-nginx under our prefix.
    Theirs(&'static denied::Known),
    /// A protection that no table has.
    Protection,
    Nothing,
}

impl Meaning {
    fn of(name: &str) -> Self {
        let name = folded(name);
        let ours = super::annotations().map(|known| (distance(&folded(known.key), &name), known));
        let ours = ours.min_by_key(|(distance, _)| *distance);
        let ours = ours.filter(|(distance, known)| *distance <= known.key.len() / 2);
        let theirs = denied::TABLE.iter().map(|known| (distance(&folded(known.name()), &name), known));
        let theirs = theirs.min_by_key(|(distance, _)| *distance);
        let theirs = theirs.filter(|(distance, known)| *distance <= letters_wrong_max(known.name()));
        match (ours, theirs) {
            (Some((own, ours)), Some((other, _))) if own <= other => Self::Ours(ours),
            (_, Some((_, theirs))) => Self::Theirs(theirs),
            _ if denied::names_protection(&name) => Self::Protection,
            (Some((_, ours)), None) => Self::Ours(ours),
            (None, None) => Self::Nothing,
        }
    }
}

/// Lower case with `-` between words, as keys are written here: `authUrl`, `auth_url` and `AUTH-URL` are `auth-url`.
fn folded(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 2);
    let mut after_lower = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && after_lower {
            out.push('-');
        }
        after_lower = letter.is_ascii_lowercase();
        out.push(if letter.is_alphanumeric() { letter.to_ascii_lowercase() } else { '-' });
    }
    out
}

/// The names of ingress-nginx are many and close to each other: fewer letters may be wrong than in ours.
fn letters_wrong_max(name: &str) -> usize {
    (name.len() / 8).clamp(1, 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_mean_what_they_resemble() {
        for (name, expected) in [
            ("ssl-redirct", "ringress.dev/ssl-redirect"),
            ("max-body-size", "ringress.dev/max-body-bytes"),
            ("maxBodyBytes", "ringress.dev/max-body-bytes"),
            ("max_body_byte", "ringress.dev/max-body-bytes"),
            ("loadbalance", "ringress.dev/load-balance"),
            ("whitelist-source-range", "whitelist-source-range"),
            ("whitelist-source-rang", "whitelist-source-range"),
            ("whitelistSourceRange", "whitelist-source-range"),
            ("auth-ur", "auth-url"),
            ("proxy-body-size", "proxy-body-size"),
            ("rewrite-target", "rewrite-target"),
            ("auth-of-tomorrow", "a protection"),
            ("basic-auth", "a protection"),
            ("rate-limit", "a protection"),
            ("ip-allowlist", "a protection"),
            ("author", "nothing"),
            ("colour", "nothing"),
            ("", "nothing"),
        ] {
            let got = match Meaning::of(name) {
                Meaning::Ours(ours) => format!("{PREFIX}{}", ours.key),
                Meaning::Theirs(theirs) => theirs.name().to_owned(),
                Meaning::Protection => "a protection".to_owned(),
                Meaning::Nothing => "nothing".to_owned(),
            };
            assert_eq!(got, expected, "{name}");
        }
    }

    #[test]
    fn protections_are_told_from_the_rest() {
        for (name, expected) in [
            ("max-body-byte", true),
            ("whitelist-source-range", true),
            ("auth-urls", true),
            ("configuration-snippet", true),
            ("basic-auth", true),
            ("max-body-bytes", false),
            ("ssl-redirct", false),
            ("rewrite-target", false),
            ("colour", false),
        ] {
            assert_eq!(means_protection(name), expected, "{name}");
        }
    }
}
