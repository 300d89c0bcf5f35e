//! `ringress lint`: everything that is wrong with manifests, with the place and the next step.
//!
//! What it lists is what could not be read, what translation found, and the dates of certificates, which translation cannot
//! judge: it has no clock. An Ingress that nobody serves for want of a class is judged as if it were ours, too.

mod cluster;
mod releases;

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use ringress_shared::certificate::Certificate;
use ringress_shared::id::CertificateId;
use ringress_shared::origin::ObjectRef;
use ringress_shared::snapshot::Parts;
use ringress_translate::manifest::{Folder, Loaded};
use ringress_translate::{
    LastGood, Level, Memo, Objects, Problem, Reason, Settings, Translation, certificate, translate,
};
use serde::Serialize;

use crate::args::{Lint, LintSource, Output};
use crate::ask;
use crate::files::{self, Names};
use crate::terminal::{self, Style, escaped};
use crate::wire::ObjectName;

/// Lints what the paths name, or the objects of a cluster; 1 where something is an error, 3 where the cluster cannot be
/// reached.
///
/// # Errors
/// A path that names nothing, stdin that cannot be read, and a cluster that cannot be.
pub(crate) fn run(Lint { source, settings, output }: Lint) -> anyhow::Result<ExitCode> {
    match source {
        LintSource::Manifests(paths) => {
            let findings = lint(files::read(&paths, Names::Openable)?.load(), &settings, now());
            conclude(vec![Report { release: None, findings, judged: None }], output)
        }
        LintSource::Cluster(choice, selector) => ask::block_on(async {
            let judged = cluster::read(choice, selector, settings).await?;
            conclude(judged.reports(now()), output)
        }),
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs() as i64)
}

/// What is wrong, as one release sees it.
pub(crate) struct Report {
    /// What runs with classes of its own; `None` where there is no other.
    release: Option<String>,
    findings: Vec<Finding>,
    /// How many Ingresses of a cluster, and which; `None` for manifests, which everybody has before them.
    judged: Option<Extent>,
}

/// What was looked at.
#[derive(Clone)]
pub(crate) struct Extent {
    ingresses: usize,
    /// As the end of a sentence.
    place: String,
}

fn conclude(reports: Vec<Report>, output: Output) -> anyhow::Result<ExitCode> {
    let style = Style::of_stdout();
    let texts: Vec<String> = reports.iter().map(|report| report.text(style)).collect();
    let findings: Vec<Finding> = reports.into_iter().flat_map(|report| report.findings).collect();
    let structured = terminal::structured(output, &findings)?;
    terminal::print(&structured.unwrap_or_else(|| texts.join("\n")));
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
    /// Which release says so; absent where one alone runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) release: Option<String>,
}

impl Report {
    fn text(&self, style: Style) -> String {
        let head = match &self.release {
            Some(release) => format!("{}\n", style.bold(&format!("release {release}"))),
            None => String::new(),
        };
        let found = text(&self.findings, style);
        let found = found.trim_end();
        match &self.judged {
            None => format!("{head}{found}\n"),
            Some(Extent { ingresses: 0, place }) => {
                format!("{head}{found}: there is no Ingress {place}, so none was judged\n")
            }
            Some(Extent { ingresses: 1, place }) => format!("{head}{found}: 1 Ingress {place}\n"),
            Some(Extent { ingresses, place }) => format!("{head}{found}: {ingresses} Ingresses {place}\n"),
        }
    }
}

/// Everything that is wrong with manifests at `now` (seconds since 1970), in the order of files and lines.
pub(crate) fn lint((folder, loaded): (Folder, Loaded), settings: &Settings, now: i64) -> Vec<Finding> {
    let has_endpoints = !loaded.objects.endpoint_slices.is_empty() || !loaded.objects.endpoints.is_empty();
    let mut problems = problems(loaded, settings, now);
    if !has_endpoints {
        summarise(&mut problems, Reason::NoReadyEndpoints, Problem::endpoints_unknown);
    }
    sorted(problems.into_iter().map(|problem| finding(problem, &folder)).collect())
}

fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    findings.sort_by(|a, b| {
        (&a.file, a.line, &a.object, &a.path, a.rule).cmp(&(&b.file, b.line, &b.object, &b.path, b.rule))
    });
    findings
}

fn problems(loaded: Loaded, settings: &Settings, now: i64) -> BTreeSet<Problem> {
    let objects = &loaded.objects;
    let judged = judge(objects, settings);
    let mut problems: BTreeSet<Problem> = loaded.problems.into_iter().collect();
    problems.extend(judged.problems.iter().cloned());
    let mut certificates = certificates(&judged.parts);
    if let Some((unclaimed, as_ours)) = judge_unclaimed(objects, settings, &judged) {
        let concerns =
            |problem: &&Problem| &*problem.object.kind != "Ingress" || unclaimed.contains(&problem.object);
        problems.extend(as_ours.problems.iter().filter(concerns).cloned());
        certificates.extend(self::certificates(&as_ours.parts));
    }
    problems.extend(certificates.values().filter_map(|certificate| certificate::expiry(certificate, now)));
    summarise(&mut problems, Reason::NameNotResolved, Problem::names_unknown);
    problems
}

fn judge(objects: &Objects, settings: &Settings) -> Translation {
    translate(objects, settings, &LastGood::default(), &mut Memo::default())
}

/// The Ingresses that nobody serves, because they name no class or one that nobody defines; and what is found if they are
/// ours. Those of other controllers stay out of it.
fn judge_unclaimed(
    objects: &Objects,
    settings: &Settings,
    judged: &Translation,
) -> Option<(BTreeSet<ObjectRef>, Translation)> {
    let about = |wanted: &[Reason]| -> BTreeSet<ObjectRef> {
        let problems = judged.problems.iter().filter(|problem| wanted.contains(&problem.reason));
        problems.map(|problem| problem.object.clone()).collect()
    };
    let unclaimed = about(&[Reason::NoClass, Reason::ClassNotFound]);
    if unclaimed.is_empty() {
        return None;
    }
    let mut objects = objects.clone();
    for foreign in about(&[Reason::ClassNotOwned]) {
        objects.remove(&foreign);
    }
    let settings =
        Settings { watch_ingress_without_class: true, create_named_classes: true, ..settings.clone() };
    Some((unclaimed, judge(&objects, &settings)))
}

/// What is missing here alone is one thing and not one of each object: the cluster has it.
fn summarise(problems: &mut BTreeSet<Problem>, reason: Reason, summary: fn() -> Problem) {
    let before = problems.len();
    problems.retain(|problem| problem.reason != reason);
    if problems.len() < before {
        problems.insert(summary());
    }
}

fn certificates(parts: &Parts) -> BTreeMap<CertificateId, Arc<Certificate>> {
    let listeners = parts.sockets.iter().flat_map(|socket| socket.listeners.iter());
    let stores = listeners.filter_map(|listener| listener.tls.as_ref()).map(|tls| &tls.certificates);
    let all = stores.flat_map(|store| {
        store.entries().map(|(_, certificate)| certificate).chain(store.default_certificate())
    });
    all.map(|certificate| (certificate.id, Arc::clone(certificate))).collect()
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
        release: None,
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
        let Finding { rule, object, message, .. } = finding;
        let said = format!("{rule}  {object}{field}: {message}");
        text.push_str(&format!("{}  {level}  {}\n", escaped(&place), escaped(&said)));
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
    use crate::files::{Gathered, Texts};

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
        lint(manifests(text).load(), &settings, 0)
    }

    fn manifests(text: &str) -> Gathered {
        Gathered::from(Texts::from([("a.yaml".to_owned(), text.into())]))
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
    fn no_name_and_no_message_writes_a_line_of_its_own() {
        let mut wrong = findings(WITHOUT_SERVICE)[0].clone();
        wrong.object.name = "web\nb.yaml:1  error  forged".to_owned();
        wrong.path = "metadata.annotations[\x1b[2J]".to_owned();
        wrong.message.push_str("\r\u{9b}31m");
        wrong.file = Some("a\n.yaml".to_owned());
        let text = text(&[wrong], Style::plain());
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.trim_end_matches('\n').replace('\n', "").contains(char::is_control), "{text:?}");
        assert!(text.contains(r"web\nb.yaml:1  error  forged metadata.annotations[\u{1b}[2J]"), "{text}");
    }

    #[test]
    fn an_object_that_nobody_serves_is_judged_as_ours_too() {
        let foreign = "\
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: theirs}
spec: {controller: example.com/theirs}
";
        let web = |name: &str, class: &str| {
            let text = WITHOUT_SERVICE.replace("name: web\n", &format!("name: {name}\n"));
            text.replace("spec:\n", &format!("spec:\n{class}"))
        };
        let text = [
            foreign.to_owned(),
            web("without", ""),
            web("undefined", "  ingressClassName: nowhere\n"),
            web("foreign", "  ingressClassName: theirs\n"),
        ];
        let found = lint(manifests(&text.join("---\n")).load(), &Settings::default(), 0);
        let rules = |name: &str| -> Vec<_> {
            found.iter().filter(|finding| finding.object.name == name).map(|finding| finding.rule).collect()
        };
        // They are compared with each other as well: the second in the order of names finds its place taken.
        assert_eq!(rules("undefined"), ["class-not-ours", "service-missing"]);
        assert_eq!(rules("without"), ["no-class", "shadowed-by", "service-missing"]);
        assert_eq!(rules("foreign"), ["class-not-ours"], "what others serve is their business");
    }

    #[test]
    fn endpoints_that_nothing_defines_are_one_remark() {
        let service = |name: &str| {
            format!(
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]}}\n"
            )
        };
        let other = WITHOUT_SERVICE.replace("web", "other").replace("name: gone", "name: gone-too");
        let cluster = format!("{WITHOUT_SERVICE}---\n{other}{}{}", service("gone"), service("gone-too"));
        let said = |text: &str| -> Vec<(&str, String)> {
            let found = findings(text).into_iter().filter(|finding| finding.rule == "no-ready-endpoints");
            found.map(|finding| (finding.level, finding.object.to_string())).collect()
        };
        assert_eq!(said(&cluster), [("info", "Manifests all".to_owned())]);
        let slice = "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x, labels: \
                     {kubernetes.io/service-name: gone}}\naddressType: IPv4\nports: [{port: 1}]\nendpoints: [{addresses: [10.0.0.1]}]\n";
        let expected = [("warning", "Ingress default/other".to_owned())];
        assert_eq!(said(&format!("{cluster}{slice}")), expected, "of the others it is still said");
        assert_eq!(said(WITHOUT_SERVICE), [], "and nothing where no Service is to be judged");
    }

    #[test]
    fn external_names_that_are_addresses_of_this_machine_are_refused_in_every_spelling() {
        let said = |name: &str| -> Vec<(&str, String)> {
            let text = WITHOUT_SERVICE.replace("name: gone", "name: outside")
                + &format!(
                    "---\napiVersion: v1\nkind: Service\nmetadata: {{name: outside}}\nspec: {{type: ExternalName, \
                     externalName: {name:?}, ports: [{{port: 80}}]}}\n"
                );
            let found = findings(&text).into_iter().filter(|finding| finding.reason.contains("Name"));
            found.map(|finding| (finding.reason, finding.message)).collect()
        };
        for name in [
            "localhost",
            "127.0.0.1",
            "127.1",
            "127.0.1",
            "0177.0.0.1",
            "0x7f.1",
            "0X7F.1",
            "2130706433",
            "127.1.",
            "0",
            "169.254.43518",
            "::1",
        ] {
            let [(reason, message)] = &said(name)[..] else { panic!("{name}: {:?}", said(name)) };
            assert_eq!(*reason, "ExternalNameRefused", "{name}");
            assert!(message.contains("this machine or its link, and is refused"), "{name}: {message}");
        }
        for name in ["10.1", "167772161", "192.0.2.1"] {
            assert_eq!(said(name), [], "{name} leads outside");
        }
        for name in ["example.com", "127.1.example.com", "256.1"] {
            let [(reason, message)] = &said(name)[..] else { panic!("{name}: {:?}", said(name)) };
            assert_eq!(*reason, "NameNotResolved", "{name}");
            assert!(message.contains("not looked up here"), "{name}: {message}");
        }
    }

    #[test]
    fn nothing_wrong_says_so() {
        assert_eq!(text(&findings(""), Style::plain()), "nothing is wrong\n");
    }
}
