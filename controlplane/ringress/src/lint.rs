//! `ringress lint`: everything that is wrong with manifests, with the place and the next step.
//!
//! What it lists is what translation found, plus the dates of certificates, which translation cannot judge: it has no clock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use ringress_shared::certificate::Certificate;
use ringress_shared::id::CertificateId;
use ringress_shared::snapshot::Parts;
use ringress_translate::manifest::Folder;
use ringress_translate::{LastGood, Level, Memo, Problem, Settings, certificate, translate};
use serde::Serialize;

use crate::args::Output;
use crate::files::{self, Texts};
use crate::terminal::{self, Style};
use crate::wire::ObjectName;

/// Lints what the paths name; 1 where something is an error.
///
/// # Errors
/// A path that cannot be read.
pub(crate) fn run((paths, settings, output): (Vec<PathBuf>, Settings, Output)) -> anyhow::Result<ExitCode> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs() as i64);
    let findings = lint(files::read(&paths)?, &settings, now);
    match output {
        Output::Json => terminal::print(&format!("{}\n", serde_json::to_string_pretty(&findings)?)),
        Output::Text => terminal::print(&text(&findings, Style::of_stdout())),
    }
    let has_error = findings.iter().any(|finding| finding.level == Level::Error.as_str());
    Ok(if has_error { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One finding; its JSON shape is stable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) object: ObjectName,
    pub(crate) level: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) message: String,
    /// The field.
    pub(crate) path: String,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<usize>,
}

/// Everything that is wrong at `now` (seconds since 1970), in the order of files and lines.
pub(crate) fn lint(texts: Texts, settings: &Settings, now: i64) -> Vec<Finding> {
    let mut folder = Folder::new();
    let loaded = folder.update(texts);
    let translation = translate(&loaded.objects, settings, &LastGood::default(), &mut Memo::default());
    let dates = certificates(&translation.parts)
        .into_values()
        .filter_map(|certificate| certificate::expiry(certificate, now));
    let problems = loaded.problems.iter().cloned().chain(translation.problems.iter().cloned()).chain(dates);
    let mut findings: Vec<_> = problems.map(|problem| finding(problem, &folder)).collect();
    findings.sort_by(|a, b| {
        (&a.file, a.line, &a.object, &a.path, a.rule).cmp(&(&b.file, b.line, &b.object, &b.path, b.rule))
    });
    findings.dedup();
    findings
}

fn certificates(parts: &Parts) -> BTreeMap<CertificateId, &Arc<Certificate>> {
    let listeners = parts.sockets.iter().flat_map(|socket| socket.listeners.iter());
    let stores = listeners.filter_map(|listener| listener.tls.as_ref()).map(|tls| &tls.certificates);
    let all = stores.flat_map(|store| {
        store.entries().map(|(_, certificate)| certificate).chain(store.default_certificate())
    });
    all.map(|certificate| (certificate.id, certificate)).collect()
}

fn finding(problem: Problem, folder: &Folder) -> Finding {
    let place = problem.place.clone().or_else(|| folder.place(&problem.object, &problem.field));
    let (file, line) = place.map(|place| (place.file, place.line)).unzip();
    Finding {
        object: (&problem.object).into(),
        level: problem.level.as_str(),
        reason: problem.reason.as_str(),
        rule: problem.rule,
        message: problem.message,
        path: problem.field,
        file,
        line,
    }
}

/// `file:line  level  rule  message`, one finding a line, and a count.
fn text(findings: &[Finding], style: Style) -> String {
    let mut text = String::new();
    for finding in findings {
        let place = match (&finding.file, finding.line) {
            (Some(file), Some(line)) => format!("{file}:{line}"),
            _ => "-".to_owned(),
        };
        let level = match finding.level {
            "error" => style.bad(finding.level),
            "warning" => style.doubtful(finding.level),
            _ => style.dim(finding.level),
        };
        let field = if finding.path.is_empty() { String::new() } else { format!(" {}", finding.path) };
        let (rule, object, message) = (finding.rule, &finding.object, &finding.message);
        text.push_str(&format!("{place}  {level}  {rule}  {object}{field}: {message}\n"));
    }
    text.push_str(&format!("{}\n", summary(findings)));
    text
}

fn summary(findings: &[Finding]) -> String {
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level.as_str()).count();
    let part = |level: Level, one: &str| match count(level) {
        1 => format!("1 {one}"),
        many => format!("{many} {one}s"),
    };
    match findings.is_empty() {
        true => "nothing is wrong".to_owned(),
        false => [part(Level::Error, "error"), part(Level::Warning, "warning"), part(Level::Info, "remark")]
            .join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHOUT_SERVICE: &str = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
spec:
  rules:
  - host: web.example.com
    http:
      paths:
      - path: /
        pathType: Prefix
        backend:
          service:
            name: gone
            port:
              number: 80
";

    fn findings(text: &str) -> Vec<Finding> {
        let settings = Settings { watch_ingress_without_class: true, ..Settings::default() };
        lint([("a.yaml".to_owned(), text.into())].into(), &settings, 0)
    }

    #[test]
    fn a_finding_names_object_field_line_and_next_step() {
        let all = findings(WITHOUT_SERVICE);
        let found =
            all.iter().find(|finding| finding.rule == "service-missing").expect("the Service is missing");
        assert_eq!(found.object.to_string(), "Ingress default/web");
        assert_eq!(found.level, "error");
        assert_eq!(found.reason, "BackendNotFound");
        assert_eq!(found.file.as_deref(), Some("a.yaml"));
        assert!((10..=16).contains(&found.line.unwrap()), "{found:?}");
        assert!(found.path.starts_with("spec.rules[0].http.paths[0]"), "{found:?}");
        assert!(found.message.contains("create it"), "{found:?}");
    }

    #[test]
    fn the_json_shape_is_the_documented_one() {
        let json = serde_json::to_value(&findings(WITHOUT_SERVICE)[0]).unwrap();
        let mut keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        assert_eq!(keys, ["file", "level", "line", "message", "object", "path", "reason", "rule"]);
        let mut object: Vec<_> = json["object"].as_object().unwrap().keys().cloned().collect();
        object.sort();
        assert_eq!(object, ["kind", "name", "namespace"]);
    }

    #[test]
    fn text_starts_with_the_place_and_ends_with_a_count() {
        let text = text(&findings(WITHOUT_SERVICE), Style::plain());
        let line = text.lines().find(|line| line.contains("service-missing")).unwrap();
        assert!(line.starts_with("a.yaml:"), "{line}");
        assert!(line.contains("  error  service-missing  Ingress default/web spec.rules[0]"), "{line}");
        assert!(text.lines().last().unwrap().starts_with("1 error, "), "{text}");
    }

    #[test]
    fn nothing_wrong_says_so() {
        assert_eq!(text(&findings(""), Style::plain()), "nothing is wrong\n");
    }
}
