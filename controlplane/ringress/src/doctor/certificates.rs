//! Certificates that are missing, over, or about to be.

use std::collections::BTreeSet;

use super::Line;
use super::facts::Facts;
use crate::terminal::several;

pub(super) fn judge(facts: &Facts) -> Vec<Line> {
    let pages: Vec<_> =
        facts.replicas.iter().filter_map(|replica| replica.says.as_ref()?.certificates.as_ref()).collect();
    let mut lines = BTreeSet::new();
    let mut count = 0;
    for page in pages {
        count = count.max(page.certificates.iter().filter(|found| found.secret.is_some()).count());
        lines.extend(page.missing.iter().map(|missing| {
            let object = format!("{} {}/{}", missing.kind, missing.namespace, missing.name);
            let what = format!("{object}: {}: {}", missing.reason, missing.message);
            Line::problem("certificates", what, "kubectl ringress certs lists them with their hosts")
        }));
        lines.extend(page.certificates.iter().filter_map(|found| {
            let why = found.last_good.as_ref()?;
            let what = format!("{} of {} is the last good one: {why}", found.host, found.whose());
            Some(Line::warning("certificates", what, "repair the Secret; a restart ends the last good one"))
        }));
        lines.extend(page.certificates.iter().filter(|found| found.secret.is_some()).filter_map(|found| {
            let (days, whose, ends) = (found.days_left(facts.now), found.whose(), &found.not_after);
            let next = "put a new one into the Secret: it is shown from the next handshake on";
            match days {
                ..0 => Some(Line::problem(
                    "certificates",
                    format!("{} of {whose} ended {ends}", found.host),
                    next,
                )),
                0..EXPIRING_DAYS => {
                    let what = format!(
                        "{} of {whose} ends {ends}, in {}",
                        found.host,
                        several(days as usize, "day")
                    );
                    Some(Line::warning("certificates", what, next))
                }
                _ => None,
            }
        }));
    }
    match lines.is_empty() {
        true => vec![Line::ok(
            "certificates",
            format!("{} from Secrets, none missing or about to end", several(count, "certificate")),
        )],
        false => lines.into_iter().collect(),
    }
}

/// As `lint` has it.
const EXPIRING_DAYS: i64 = 14;
