//! What is answered with 503 now, whoever asks: paths that are closed, and those that lead to nobody.

use std::collections::BTreeSet;

use super::Line;
use super::classes::few;
use super::facts::{Dead, Facts};
use crate::terminal::several;

const CHECK: &str = "answers";

pub(super) fn judge(facts: &Facts) -> Vec<Line> {
    let said: Vec<_> = facts.replicas.iter().filter_map(|replica| replica.says.as_ref()).collect();
    let Some(routes) = said.iter().map(|says| says.routes).max().filter(|routes| *routes > 0) else {
        return Vec::new();
    };
    let dead: BTreeSet<&Dead> = said.iter().flat_map(|says| &says.dead).collect();
    let objects: BTreeSet<&str> = dead.iter().map(|dead| &*dead.object).collect();
    if dead.is_empty() {
        return vec![Line::ok(CHECK, format!("none of {} answers 503", several(routes, "path")))];
    }
    let first: Vec<String> =
        dead.iter().map(|Dead { object, url, why }| format!("{object} {url} ({why})")).collect();
    let what = format!(
        "{} of {} in {} answer 503: {}",
        dead.len(),
        several(routes, "path"),
        several(objects.len(), "object"),
        few(&first)
    );
    let next = "kubectl ringress lint says why, object by object; explain URL says it of one path";
    vec![match dead.len() >= routes {
        true => Line::problem(CHECK, what, next),
        false => Line::warning(CHECK, what, next),
    }]
}
