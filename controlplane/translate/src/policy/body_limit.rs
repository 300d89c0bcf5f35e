//! `ringress.dev/max-body-bytes`: the largest request body. A value that cannot be read closes the object's paths: a limit
//! is a protection.

use ringress_shared::policy::BodyLimit;

use super::{Annotation, Annotations, Denial, PREFIX, value};
use crate::problem::Problem;
use crate::settings::Settings;

pub(super) const KEYS: &[Annotation] = &[Annotation {
    key: "max-body-bytes",
    values: "a number of bytes, also with k, m or g; unlimited",
    default: "--max-body-bytes",
    effect: "Refuses request bodies over this size with 413.",
}];

/// What an object asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Asked {
    /// Nothing: the flag decides.
    #[default]
    Default,
    Unlimited,
    Bytes(u64),
}

impl Asked {
    pub(super) fn is_set(self) -> bool {
        self != Self::Default
    }
}

pub(super) fn read(
    annotations: Annotations<'_>,
    denied: &mut Vec<Denial>,
    problems: &mut Vec<Problem>,
) -> Asked {
    let expected = "a number of bytes (also with k, m or g) or unlimited";
    match annotations.parse("max-body-bytes", expected, parse, problems) {
        Ok(asked) => asked.unwrap_or_default(),
        Err(_) => {
            denied.push(Denial::body_limit(format!("{PREFIX}max-body-bytes cannot be read")));
            Asked::Default
        }
    }
}

fn parse(text: &str) -> Option<Asked> {
    match text {
        "unlimited" => Some(Asked::Unlimited),
        text => value::bytes(text).map(Asked::Bytes),
    }
}

pub(super) fn lower(asked: Asked, settings: &Settings) -> Option<BodyLimit> {
    let body_bytes_max = match asked {
        Asked::Default => settings.body_bytes_max?,
        Asked::Unlimited => return None,
        Asked::Bytes(bytes) => bytes,
    };
    Some(BodyLimit { body_bytes_max })
}
