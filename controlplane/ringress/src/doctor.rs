//! `ringress doctor`: what keeps requests from being served, in the order in which to look, each with the next step.
//!
//! ```text
//! facts: pods, admin pages, classes, Ingresses, Services, a knock at the published addresses ─► judge (pure) ─► lines
//! ```

mod addresses;
mod answers;
mod certificates;
mod classes;
mod facts;
mod replicas;

use std::process::ExitCode;

use serde::Serialize;

use crate::args::Tell;
use crate::ask::{self, Target};
use crate::certs;
use crate::terminal::{self, Style, escaped, several};
use facts::Facts;

/// Examines; 1 where something is a problem, 3 where the cluster or the process cannot be reached.
///
/// # Errors
/// It cannot be reached at all.
pub(crate) fn run(Tell { asked, output }: Tell) -> anyhow::Result<ExitCode> {
    ask::block_on(async {
        let target = Target::open(asked).await?;
        let gathered = Facts::gather(&target, certs::now()).await?;
        let lines = judge_all(&gathered);
        let structured = terminal::structured(output, &lines)?;
        terminal::print(&structured.unwrap_or_else(|| by_release(&lines, Style::of_stdout())));
        let is_well = lines.iter().all(|line| line.state != State::Problem);
        Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Each release by its own flags and classes; which one a line is about stands in it where there are several.
fn judge_all(gathered: &[Facts]) -> Vec<Line> {
    let is_one = gathered.len() == 1;
    let of = |facts: &Facts| {
        let release = if is_one { None } else { facts.release.clone() };
        judge(facts)
            .into_iter()
            .map(move |line| Line { release: release.clone(), ..line })
            .collect::<Vec<_>>()
    };
    gathered.iter().flat_map(of).collect()
}

fn judge(facts: &Facts) -> Vec<Line> {
    let parts = [replicas::judge, classes::judge, addresses::judge, answers::judge, certificates::judge];
    parts.iter().flat_map(|part| part(facts)).collect()
}

/// One thing that was looked at; its JSON shape is stable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Line {
    state: State,
    check: &'static str,
    what: String,
    /// What to do about it; empty where all is well.
    next: String,
    /// The release that it is about; absent where one alone runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// It works, though likely not as meant.
    Warning,
    /// Requests are not served as they should be.
    Problem,
}

impl Line {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { state: State::Ok, check, what: what.into(), next: String::new(), release: None }
    }

    fn warning(check: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { state: State::Warning, check, what: what.into(), next: next.into(), release: None }
    }

    fn problem(check: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { state: State::Problem, check, what: what.into(), next: next.into(), release: None }
    }
}

/// One text for each release, under its name where there are several.
fn by_release(lines: &[Line], style: Style) -> String {
    let of = |lines: &[Line]| match lines.first().and_then(|line| line.release.as_deref()) {
        Some(release) => format!("{}\n{}", style.bold(&format!("release {release}")), text(lines, style)),
        None => text(lines, style),
    };
    let texts: Vec<String> = lines.chunk_by(|a, b| a.release == b.release).map(of).collect();
    texts.join("\n")
}

/// A line each, and the next step below it.
fn text(lines: &[Line], style: Style) -> String {
    let width = lines.iter().map(|line| line.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Line { state, check, what, next, .. } in lines {
        let state = match state {
            State::Ok => style.good("ok     "),
            State::Warning => style.doubtful("warning"),
            State::Problem => style.bad("problem"),
        };
        text.push_str(&format!("{state}  {check:width$}  {}\n", escaped(what)));
        if !next.is_empty() {
            text.push_str(&format!("{:9}{:width$}  {}\n", "", "", style.dim(&format!("→ {next}"))));
        }
    }
    let count = |state| lines.iter().filter(|line| line.state == state).count();
    let (problems, warnings) = (count(State::Problem), count(State::Warning));
    text.push_str(&match (problems, warnings) {
        (0, 0) => "nothing is wrong\n".to_owned(),
        _ => format!("{}, {}\n", several(problems, "problem"), several(warnings, "warning")),
    });
    text
}

#[cfg(test)]
mod tests;
