//! `ringress.dev/load-balance`: how an endpoint is chosen. Part of the upstream's identity, not of a rule's policies.

use super::{Annotation, Annotations};
use crate::ir::BalanceIr;
use crate::problem::Problem;

pub(super) const KEYS: &[Annotation] = &[Annotation {
    key: "load-balance",
    values: "round_robin, ewma",
    default: "round_robin",
    effect: "Chooses endpoints in turn, or the better of two by latency and load.",
}];

pub(super) fn read(annotations: Annotations<'_>, problems: &mut Vec<Problem>) -> BalanceIr {
    let parsed = annotations.parse("load-balance", "round_robin or ewma", parse, problems);
    parsed.ok().flatten().unwrap_or_default()
}

fn parse(text: &str) -> Option<BalanceIr> {
    match text {
        "round_robin" => Some(BalanceIr::RoundRobin),
        "ewma" => Some(BalanceIr::PeakEwma),
        _ => None,
    }
}
