//! An explanation for people.

use super::explanation::{Check, Checked, Explanation, Loser, Place, Reached, State};
use crate::terminal::{Style, columns};

/// Losers of one check that are shown; JSON has them all.
const LOSERS_SHOWN: usize = 10;

/// The whole answer.
pub(super) fn render(explanation: &Explanation, style: Style) -> String {
    let mut text = format!("{} {}", style.bold(&explanation.method), style.bold(&explanation.url));
    if let Some(generation) = explanation.generation {
        text.push_str(&style.dim(&format!("  (generation {generation})")));
    }
    text.push_str("\n\n");
    text.push_str(&columns(&facts(explanation, style), "  "));
    if let Some(request) = &explanation.upstream_request {
        text.push_str(&sent(request));
    }
    if explanation.checklist.iter().any(|check| check.state == State::Failed) {
        text.push_str("\nchecklist\n");
        text.push_str(&columns(&checks(&explanation.checklist, style), "  "));
    }
    if !explanation.problems.is_empty() {
        text.push_str("\nwhat is wrong with this object\n");
        for problem in &explanation.problems {
            text.push_str(&format!("  {problem}\n"));
        }
    }
    if !explanation.losers.is_empty() {
        text.push_str("\nwhy not the others\n");
        text.push_str(&losers(&explanation.losers, style));
    }
    text
}

fn facts(explanation: &Explanation, style: Style) -> Vec<[String; 2]> {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push([name.to_owned(), value]);
    match &explanation.answer {
        None => row("verdict", style.good("routed")),
        Some(answer) => {
            let verdict = match (&answer.location, answer.status) {
                (Some(location), status) => style.good(&format!("{status} to {location}")),
                (None, 0) => style.bad(&answer.message),
                (None, status) => style.bad(&format!("{status}: {}", answer.message)),
            };
            row("verdict", verdict);
        }
    }
    if let Some(winner) = &explanation.winner {
        row("rule", format!("{} {}{}", winner.object, winner.field, at(&winner.place)));
        row("matched", format!("host {}, path {}", winner.host, winner.matched));
    }
    if let Some(certificate) = &explanation.certificate {
        let whose = match &certificate.secret {
            Some(secret) => secret.to_string(),
            None => "the generated default certificate".to_owned(),
        };
        let names = certificate.names.join(", ");
        let not = if certificate.covers_host { "" } else { ", which does not name this host" };
        row("certificate", format!("{whose} for {names}{not}"));
    }
    for policy in &explanation.policies {
        row("policy", format!("{}: {}", policy.policy, policy.effect));
    }
    for backend in &explanation.backends {
        row("backend", backend_text(backend, explanation.backends.len()));
        for endpoint in &backend.endpoints {
            let target = endpoint.target.as_ref().map(|target| format!("  {target}")).unwrap_or_default();
            row("", format!("{}{target}", endpoint.address));
        }
    }
    rows
}

fn backend_text(backend: &Reached, count: usize) -> String {
    let weight = if count > 1 { format!(", weight {}", backend.weight) } else { String::new() };
    match (&backend.service, &backend.port, backend.answers) {
        (Some(service), Some(port), _) => {
            let endpoints = match backend.endpoints.len() {
                1 => "1 endpoint".to_owned(),
                count => format!("{count} endpoints"),
            };
            format!("{service} port {port}, {endpoints}{weight}")
        }
        (_, _, Some(status)) => format!("status {status}{weight}"),
        _ => format!("nothing{weight}"),
    }
}

fn sent(request: &str) -> String {
    let lines = request.trim_end().lines().map(|line| format!("  | {line}\n"));
    format!("\nsent to the endpoint\n{}", lines.collect::<String>())
}

fn checks(checklist: &[Check], style: Style) -> Vec<[String; 4]> {
    let row = |(number, check): (usize, &Check)| {
        let state = match check.state {
            State::Ok => "ok",
            State::Failed => "FAILED",
            State::Open => "-",
        };
        let says = if check.state == State::Failed { style.bad(&check.says) } else { check.says.clone() };
        [(number + 1).to_string(), check.check.as_str().to_owned(), state.to_owned(), says]
    };
    checklist.iter().enumerate().map(row).collect()
}

fn losers(losers: &[Loser], style: Style) -> String {
    let mut text = String::new();
    for group in losers.chunk_by(|a, b| a.check == b.check) {
        for loser in group.iter().take(LOSERS_SHOWN) {
            text.push_str(&loser_text(loser, style));
        }
        if let Some(more @ 1..) = group.len().checked_sub(LOSERS_SHOWN) {
            let check = group.first().map_or(Checked::Host, |loser| loser.check);
            text.push_str(&format!("  … and {more} more by {}; -o json lists all\n", check.as_str()));
        }
    }
    text
}

fn loser_text(loser: &Loser, style: Style) -> String {
    let Loser { object, field, host, path, check, why, place } = loser;
    let what = format!("{object} {field}{}", at(place));
    format!(
        "  {:<10}  {what}\n  {:<10}  {}\n",
        check.as_str(),
        "",
        style.dim(&format!("{host} {path}: {why}"))
    )
}

fn at(place: &Place) -> String {
    match (&place.file, place.line) {
        (Some(file), Some(line)) => format!("  ({file}:{line})"),
        _ => String::new(),
    }
}
