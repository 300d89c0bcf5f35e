//! `ringress.dev/max-body-bytes`: the largest request body. A value that cannot be read closes the object's paths: a limit
//! is a protection.

use ringress_shared::policy::BodyLimit;

use super::{Annotation, Annotations, Denial, PREFIX, denied, value};
use crate::problem::Problem;
use crate::settings::Settings;

pub(super) const KEYS: &[Annotation] = &[Annotation {
    key: KEY,
    values: "a number of bytes from 1 on, also with k, m or g; unlimited",
    default: "--max-body-bytes",
    effect: "Refuses request bodies over this size with 413.",
}];

const KEY: &str = "max-body-bytes";

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
    match annotations.parse(KEY, &expected(annotations), parse, problems) {
        Ok(asked) => asked.unwrap_or_default(),
        Err(_) => {
            denied.push(Denial::body_limit(format!("{PREFIX}{KEY} cannot be read")));
            Asked::Default
        }
    }
}

/// What would be a value, and which one whoever writes 0 as for ingress-nginx may mean.
fn expected(annotations: Annotations<'_>) -> String {
    let range =
        format!("a number of bytes from 1 to {} (also with k, m or g) or unlimited", value::BYTES_MAX);
    match annotations.own(KEY).is_some_and(denied::is_no_limit) {
        true => format!("{range} (no limit, which 0 is to ingress-nginx)"),
        false => range,
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
