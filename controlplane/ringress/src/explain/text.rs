//! An explanation for people.

use super::explanation::{Check, Checked, Explanation, Loser, Place, Reached, State};
use crate::terminal::{Style, columns, escaped};

/// Losers of one check that are shown; JSON has them all.
const LOSERS_SHOWN: usize = 10;

/// The whole answer.
pub(super) fn render(explanation: &Explanation, style: Style) -> String {
    let mut text = format!("{} {}", style.bold(&explanation.method), style.bold(&explanation.url));
    if let Some(generation) = explanation.generation {
        text.push_str(&style.dim(&format!("  ({}generation {generation})", who(explanation))));
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
        text.push_str(match explanation.winner {
            Some(_) => "\nwhat is wrong with this object\n",
            // Of manifests that is what could not be read; of a cluster also what the controller has not seen.
            None if explanation.replica.is_some() => "\nwhat is not among the rules\n",
            None => "\nwhat could not be read\n",
        });
        for problem in &explanation.problems {
            text.push_str(&format!("  {}\n", escaped(problem)));
        }
    }
    if !explanation.losers.is_empty() {
        text.push_str("\nwhy not the others\n");
        text.push_str(&losers(&explanation.losers, style));
    }
    text
}

/// Who says so: named where there may be others.
fn who(explanation: &Explanation) -> String {
    let pods = explanation.replica.iter().chain(&explanation.agreeing).filter(|name| name.contains('/'));
    let pods: Vec<&str> = pods.map(String::as_str).collect();
    if pods.is_empty() { String::new() } else { format!("{}, ", pods.join(", ")) }
}

fn facts(explanation: &Explanation, style: Style) -> Vec<[String; 2]> {
    let mut rows = vec![["verdict".to_owned(), verdict(explanation, style)]];
    let mut row = |name: &str, value: String| rows.push([name.to_owned(), escaped(&value).into_owned()]);
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
        row("backend", backend_text(backend, explanation));
        for endpoint in &backend.endpoints {
            let target = endpoint.target.as_ref().map(|target| format!("  {target}")).unwrap_or_default();
            row("", format!("{}{target}", endpoint.address));
        }
    }
    rows
}

/// What the client gets, and the check that failed where one is the reason: a client only hears that there is no rule. A
/// policy answers whatever the checks say.
fn verdict(explanation: &Explanation, style: Style) -> String {
    let Some(answer) = &explanation.answer else { return style.good("routed") };
    let mut failed = explanation.checklist.iter().filter(|check| check.state == State::Failed);
    let failed = if answer.policy.is_none() { failed.next() } else { None };
    let why = failed.map_or(&answer.message, |check| &check.says);
    match (&answer.location, answer.status) {
        (Some(location), status) => style.good(&format!("{status} to {location}")),
        (None, 0) => style.bad(why),
        (None, status) => style.bad(&format!("{status}: {why}")),
    }
}

pub(super) fn backend_text(backend: &Reached, explanation: &Explanation) -> String {
    let weight =
        if explanation.backends.len() > 1 { format!(", weight {}", backend.weight) } else { String::new() };
    match (&backend.service, &backend.port, backend.answers) {
        (Some(service), Some(port), _) => {
            let endpoints = match backend.endpoints.len() {
                1 => "1 endpoint".to_owned(),
                0 if !explanation.endpoints_known => "endpoints unknown".to_owned(),
                count => format!("{count} endpoints"),
            };
            format!("{service} port {port}, {endpoints}{weight}")
        }
        (_, _, Some(status)) => format!("status {status}{weight}"),
        _ => format!("nothing{weight}"),
    }
}

fn sent(request: &str) -> String {
    let lines = request.trim_end().lines().map(|line| format!("  | {}\n", escaped(line)));
    format!("\nsent to the endpoint\n{}", lines.collect::<String>())
}

fn checks(checklist: &[Check], style: Style) -> Vec<[String; 4]> {
    let row = |(number, check): (usize, &Check)| {
        let state = match check.state {
            State::Ok => "ok",
            State::Failed => "FAILED",
            State::Open => "-",
        };
        let says = if check.state == State::Failed {
            style.bad(&check.says)
        } else {
            escaped(&check.says).into_owned()
        };
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
        "  {:<10}  {}\n  {:<10}  {}\n",
        check.as_str(),
        escaped(&what),
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As it travels, so that the shape of the JSON is held too.
    fn explanation() -> serde_json::Value {
        json!({
            "url": "http://a.test/x", "method": "GET", "generation": 3, "routed": true,
            "host": "a.test", "path": "/x",
            "winner": {
                "object": {"kind": "Ingress", "namespace": "shop", "name": "web"},
                "field": "spec.rules[0].http.paths[0]", "host": "a.test", "matched": "/ (Prefix)",
                "file": "a.yaml", "line": 7
            },
            "policies": [],
            "backends": [{
                "service": {"kind": "Service", "namespace": "shop", "name": "web"}, "port": "80", "weight": 1,
                "endpoints": [{"address": "10.0.0.1:80", "target": "web-1"}]
            }],
            "endpoints_known": true,
            "upstream_request": "GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "checklist": [{"check": "host", "state": "ok", "says": "a.test is named"}],
            "losers": [],
            "problems": []
        })
    }

    fn rendered(value: serde_json::Value) -> String {
        let explanation: Explanation = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(&explanation).unwrap(), value, "the shape is stable");
        render(&explanation, Style::plain())
    }

    #[test]
    fn a_routed_request_reads_from_the_rule_to_the_bytes() {
        assert_eq!(
            rendered(explanation()),
            "\
GET http://a.test/x  (generation 3)

  verdict  routed
  rule     Ingress shop/web spec.rules[0].http.paths[0]  (a.yaml:7)
  matched  host a.test, path / (Prefix)
  backend  Service shop/web port 80, 1 endpoint
           10.0.0.1:80  web-1

sent to the endpoint
  | GET /x HTTP/1.1
  | Host: a.test
"
        );
    }

    #[test]
    fn the_check_that_failed_is_the_verdict() {
        let mut value = explanation();
        value["routed"] = false.into();
        value["answer"] = json!({"status": 404, "message": "no rule names this host"});
        value["checklist"] = json!([
            {"check": "host", "state": "failed", "says": "b.test is named by no rule"},
            {"check": "path", "state": "open", "says": ""}
        ]);
        let text = rendered(value);
        assert!(text.contains("verdict  404: b.test is named by no rule\n"), "{text}");
        assert!(text.contains("1  host  FAILED  b.test is named by no rule\n  2  path  -\n"), "{text}");
    }

    #[test]
    fn no_text_of_an_object_writes_a_line_of_its_own() {
        let wild = "x\n  verdict  routed\u{1b}[2J";
        let mut value = explanation();
        for text in
            ["/winner/object/name", "/winner/matched", "/winner/file", "/backends/0/service/name", "/url"]
        {
            *value.pointer_mut(text).unwrap() = wild.into();
        }
        value["problems"] = json!([wild]);
        value["checklist"] = json!([{"check": "host", "state": "ok", "says": wild}, {"check": "path", "state": "failed", "says": wild}]);
        value["losers"] = json!([{
            "object": {"kind": "Ingress", "namespace": "shop", "name": wild}, "field": wild,
            "host": wild, "path": wild, "check": "host", "why": wild
        }]);
        let text = rendered(value);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(text.lines().filter(|line| line.starts_with("  verdict")).count(), 1, "{text}");
        assert_eq!(text.matches(r"\u{1b}[2J").count(), 13, "{text}");
    }

    #[test]
    fn many_losers_are_counted_not_listed() {
        let loser = json!({
            "object": {"kind": "Ingress", "namespace": "shop", "name": "other"}, "field": "spec.rules[0]",
            "host": "b.test", "path": "/ (Prefix)", "check": "host", "why": "b.test does not take a.test"
        });
        let mut value = explanation();
        value["losers"] = vec![loser; LOSERS_SHOWN + 5].into();
        let text = rendered(value);
        assert_eq!(text.matches("does not take").count(), LOSERS_SHOWN, "{text}");
        assert!(text.contains("… and 5 more by host"), "{text}");
    }
}
