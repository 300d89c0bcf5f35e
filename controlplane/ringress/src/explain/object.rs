//! `explain ingress/NAME`: what is wrong with the object, and each of its paths asked as a request.
//!
//! Every path gets a line of its own: the answer, who answers in its place, or why no client can ask for it. Answers are
//! printed as they come. Beyond [`PATHS_WHOLE`] paths each is a row.

use std::collections::BTreeSet;

use anyhow::bail;
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress};
use ringress_shared::listener::HeadLimits;
use serde::{Deserialize, Serialize};

use super::explanation::{Explanation, Winner};
use super::live::{Asked, Object};
use super::question::{Question, read_head};
use super::text;
use crate::terminal::{Style, escaped};
use crate::wire::ObjectName;

/// More than these are a table: nobody reads thousands of whole answers.
const PATHS_WHOLE: usize = 30;

/// Rows that are asked for at once.
const AT_ONCE: usize = 100;

/// Problems of the object that are shown; JSON has them all.
const PROBLEMS_SHOWN: usize = 20;

/// The answer about one object; its JSON shape is stable.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    object: ObjectName,
    #[serde(flatten)]
    standing: Standing,
    paths: Vec<Answered>,
}

/// How the object stands with whoever serves it: what `POST /applied` says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Standing {
    /// `applied`, `waiting`, `refused` or `not_ours`.
    pub(super) state: String,
    pub(super) why: String,
    pub(super) problems: Vec<Wrong>,
}

/// What is wrong with a field of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Wrong {
    level: String,
    reason: String,
    field: String,
    message: String,
}

/// One path of the object.
#[derive(Debug, Serialize)]
struct Answered {
    field: String,
    url: String,
    /// Why no client can ask for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unasked: Option<String>,
    /// More than one where replicas or releases differ.
    explanations: Vec<Explanation>,
}

/// Explains each path; whether all of them lead where the object says.
///
/// # Errors
/// Nobody can be asked.
pub(super) async fn explain(
    Object { name, text, ingress }: Object,
    question: &Question,
    asked: &mut Asked,
    mut out: impl FnMut(&str),
) -> anyhow::Result<(Report, bool)> {
    let paths = paths_of(&ingress);
    let standing = asked.standing(&text).await?;
    let style = Style::of_stdout();
    out(&head(&name, &standing, paths.len(), style));
    let is_table = paths.len() > PATHS_WHOLE;
    let width = paths.iter().map(|path| path.url.chars().count()).max().unwrap_or(0).min(URL_WIDTH_MAX);
    let mut is_fine = !paths.is_empty();
    let mut report = Report { object: name, standing, paths: Vec::with_capacity(paths.len()) };
    let at_once = if is_table { AT_ONCE } else { 1 };
    let mut paths = paths.into_iter().peekable();
    while paths.peek().is_some() {
        let some = paths.by_ref().take(at_once).collect();
        let question = Question { is_brief: is_table, ..question.clone() };
        for answered in ask(some, &question, asked, &report.object).await? {
            is_fine &= answered.is_fine(&report.object);
            out(&match is_table {
                true => answered.row(&report.object, width),
                false => answered.text(&report.object, style),
            });
            report.paths.push(answered);
        }
    }
    if is_table {
        out("\nexplain URL tells one of them whole; -o json tells what becomes of each, and not why\n");
    }
    Ok((report, is_fine))
}

/// The answers to some paths, in their order.
async fn ask(
    paths: Vec<Path>,
    question: &Question,
    asked: &mut Asked,
    object: &ObjectName,
) -> anyhow::Result<Vec<Answered>> {
    let question = |path: &Path| Question { url: path.url.clone(), ..question.clone() };
    let checked =
        |path: Path| Path { unasked: path.unasked.clone().or_else(|| unaskable(&question(&path))), ..path };
    let paths: Vec<Path> = paths.into_iter().map(checked).collect();
    let questions: Vec<Question> = paths.iter().filter(|path| path.unasked.is_none()).map(question).collect();
    let mut answers = asked.explain_all(&questions, object).await?.into_iter();
    let answered = paths.into_iter().map(|Path { field, url, unasked }| {
        let explanations = match &unasked {
            Some(_) => Vec::new(),
            None => answers.next().unwrap_or_default(),
        };
        Answered { field, url, unasked, explanations }
    });
    Ok(answered.collect())
}

fn head(name: &ObjectName, standing: &Standing, count: usize, style: Style) -> String {
    let Standing { state, why, problems } = standing;
    let state = state.replace('_', " ");
    let state = if state == "applied" { style.good(&state) } else { style.bad(&state) };
    let why = if why.is_empty() { String::new() } else { format!(": {}", escaped(why)) };
    let mut text = format!("{}  {state}{why}\n", style.bold(&name.to_string()));
    for Wrong { level, reason, field, message } in problems.iter().take(PROBLEMS_SHOWN) {
        text.push_str(&format!("  {level}  {}\n", escaped(&format!("{field}: {reason}: {message}"))));
    }
    if let Some(more @ 1..) = problems.len().checked_sub(PROBLEMS_SHOWN) {
        text.push_str(&format!("  … and {more} more; lint and -o json list all\n"));
    }
    if count == 0 {
        text.push_str("it has neither a rule nor a default backend, so it takes no request\n");
    }
    text
}

impl Answered {
    fn is_fine(&self, object: &ObjectName) -> bool {
        let leads_here = |one: &Explanation| one.routed && is_taken_by(one, object);
        !self.explanations.is_empty() && self.explanations.iter().all(leads_here)
    }

    /// Who answers, in one line, and then all of it.
    fn text(&self, object: &ObjectName, style: Style) -> String {
        let mut text = format!("\n{}\n", style.bold(&escaped(&format!("{} {}", self.field, self.url))));
        if let Some(why) = &self.unasked {
            text.push_str(&format!("{}\n", style.bad(&format!("not asked: {}", escaped(why)))));
        }
        for explanation in &self.explanations {
            let who = match &explanation.winner {
                Some(winner) if winner.object == *object => "answered by this object".to_owned(),
                Some(Winner { object: other, matched, .. }) => {
                    style.doubtful(&format!("answered by {other} ({}), not by this object", escaped(matched)))
                }
                None => style.bad("no rule takes it, so this object does not answer either"),
            };
            text.push_str(&format!("{who}\n{}", text::render(explanation, style)));
        }
        text
    }

    fn row(&self, object: &ObjectName, width: usize) -> String {
        let rows = match &self.unasked {
            Some(why) => vec![("not asked".to_owned(), why.clone())],
            None => self.explanations.iter().map(|one| cells(one, object)).collect(),
        };
        let row = |(verdict, backend): &(String, String)| {
            format!("{:width$}  {verdict:VERDICT_WIDTH$}  {}\n", escaped(&self.url), escaped(backend))
        };
        rows.iter().map(row).collect()
    }
}

/// Verdict, and where it leads or why nowhere.
fn cells(explanation: &Explanation, object: &ObjectName) -> (String, String) {
    if let Some(winner) = explanation.winner.as_ref().filter(|winner| winner.object != *object) {
        return ("other".to_owned(), format!("answered by {} ({})", winner.object, winner.matched));
    }
    match &explanation.answer {
        Some(answer) => match &answer.location {
            Some(location) => (answer.status.to_string(), format!("to {location}")),
            None => (answer.status.to_string(), answer.message.clone()),
        },
        None => {
            let backends = explanation.backends.iter().map(|one| text::backend_text(one, explanation));
            ("routed".to_owned(), backends.collect::<Vec<_>>().join("; "))
        }
    }
}

fn is_taken_by(explanation: &Explanation, object: &ObjectName) -> bool {
    explanation.winner.as_ref().is_some_and(|winner| winner.object == *object)
}

/// A path, and the URL that asks for it.
#[derive(Debug, PartialEq, Eq)]
struct Path {
    field: String,
    url: String,
    unasked: Option<String>,
}

/// Every path; of a rule that has none, what a request for its host gets.
fn paths_of(ingress: &Ingress) -> Vec<Path> {
    let Some(spec) = &ingress.spec else { return Vec::new() };
    let tls: BTreeSet<&str> =
        spec.tls.iter().flatten().flat_map(|tls| tls.hosts.iter().flatten()).map(String::as_str).collect();
    let mut paths = Vec::new();
    for (number, rule) in spec.rules.iter().flatten().enumerate() {
        let host = rule.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(ANY);
        let scheme = if tls.contains(host) { "https" } else { "http" };
        // Any label will do.
        let origin = format!("{scheme}://{}", host.replacen('*', "any", 1));
        match &rule.http {
            None => paths.push(Path {
                field: format!("spec.rules[{number}]"),
                url: format!("{origin}/"),
                unasked: None,
            }),
            Some(http) => paths.extend(http.paths.iter().enumerate().map(|(path, one)| {
                path_of(format!("spec.rules[{number}].http.paths[{path}]"), &origin, one)
            })),
        }
    }
    if spec.default_backend.is_some() && paths.is_empty() {
        let url = format!("http://{ANY}/");
        paths.push(Path { field: "spec.defaultBackend".to_owned(), url, unasked: None });
    }
    paths
}

/// A host that no rule names.
const ANY: &str = "any.example";

fn path_of(field: String, origin: &str, path: &HTTPIngressPath) -> Path {
    let path = path.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let ends_a_path = path.chars().find(|c| matches!(c, '?' | '#'));
    let why = match ends_a_path {
        _ if !path.starts_with('/') => Some(format!("the path {path:?} does not start with /")),
        Some(end) => Some(format!("the path {path:?} has {end:?}, which ends the path of a URL")),
        None => None,
    };
    Path { field, url: format!("{origin}{path}"), unasked: why.map(|why| format!("{why}{}", hint(origin))) }
}

/// What keeps a client from sending it.
fn unaskable(question: &Question) -> Option<String> {
    let why = match question.url().and_then(|url| question.head_bytes(&url)) {
        Err(refused) => refused.message,
        Ok(head) => read_head(&head, &HeadLimits::default()).err()?.message().to_owned(),
    };
    let origin = question.url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    Some(format!("this is no URL that a client can send: {why}{}", hint(&origin)))
}

fn hint(origin: &str) -> String {
    format!("; if it is meant as an expression, ask for a path that it should match: explain {origin}/…")
}

/// The object as it stands where it is looked up.
///
/// # Errors
/// It cannot be read.
pub(super) fn read(name: ObjectName, text: String) -> anyhow::Result<Object> {
    match serde_json::from_str(&text) {
        Ok(ingress) => Ok(Object { name, text, ingress }),
        Err(error) => bail!("{name} cannot be read: {error}"),
    }
}

/// Longer URLs push their row aside.
const URL_WIDTH_MAX: usize = 80;

const VERDICT_WIDTH: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(path: &str) -> serde_json::Value {
        json!({"path": path, "pathType": "Prefix", "backend": {}})
    }

    fn paths(spec: serde_json::Value) -> Vec<Path> {
        paths_of(&serde_json::from_value(json!({"spec": spec})).unwrap())
    }

    #[test]
    fn an_object_is_asked_about_path_by_path() {
        let found = paths(json!({
            "tls": [{"hosts": ["*.shop.test"]}],
            "rules": [
                {"host": "*.shop.test", "http": {"paths": [path("/"), path("/cart")]}},
                {"host": "plain.test"},
                {"http": {"paths": [path("/x")]}},
            ],
        }));
        let found: Vec<_> = found.iter().map(|path| (&*path.field, &*path.url)).collect();
        assert_eq!(
            found,
            [
                ("spec.rules[0].http.paths[0]", "https://any.shop.test/"),
                ("spec.rules[0].http.paths[1]", "https://any.shop.test/cart"),
                ("spec.rules[1]", "http://plain.test/"),
                ("spec.rules[2].http.paths[0]", "http://any.example/x"),
            ]
        );
        assert_eq!(paths(json!({})), []);
        assert_eq!(paths(json!({"defaultBackend": {}}))[0].field, "spec.defaultBackend");
    }

    #[test]
    fn a_path_that_no_client_can_send_says_so_and_keeps_no_other_back() {
        let unasked = |path: &Path| {
            let question =
                Question { url: path.url.clone(), method: "GET".to_owned(), ..Question::default() };
            path.unasked.clone().or_else(|| unaskable(&question))
        };
        let paths = ["/sp ace", "/ok", "/a^b", "/q?x", "no-slash"].map(path);
        let found = paths_of(
            &serde_json::from_value(
                json!({"spec": {"rules": [{"host": "a.test", "http": {"paths": paths}}]}}),
            )
            .unwrap(),
        );
        let said: Vec<Option<String>> = found.iter().map(unasked).collect();
        for (said, word) in said.iter().zip(["' '", "", "", "'?'", "start with /"]) {
            assert!(said.as_ref().is_none_or(|said| said.contains(word)), "{said:?}");
        }
        let asked: Vec<bool> = said.iter().map(Option::is_none).collect();
        assert_eq!(asked, [false, true, false, false, false], "{said:?}");
        assert!(said[0].as_ref().unwrap().ends_with("explain http://a.test/…"), "{said:?}");
    }

    fn answered(winner: &str) -> Answered {
        let object = json!({"kind": "Ingress", "namespace": "shop", "name": winner});
        let explanation = serde_json::from_value(json!({
            "url": "http://a.test/", "method": "GET", "routed": true, "host": "a.test", "path": "/", "policies": [],
            "winner": {"object": object, "field": "spec", "host": "*", "matched": "default backend"},
            "backends": [], "checklist": [], "losers": [], "problems": [],
        }));
        Answered {
            field: "spec.rules[0]".to_owned(),
            url: "http://a.test/".to_owned(),
            unasked: None,
            explanations: vec![explanation.unwrap()],
        }
    }

    #[test]
    fn what_another_object_answers_is_said_before_anything_else() {
        let name = |name: &str| ObjectName {
            kind: "Ingress".to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        };
        let other = answered("other");
        let text = other.text(&name("web"), Style::plain());
        let first = text.lines().nth(2).unwrap();
        assert_eq!(first, "answered by Ingress shop/other (default backend), not by this object");
        assert!(!other.is_fine(&name("web")) && other.is_fine(&name("other")));
        assert!(other.row(&name("web"), 14).starts_with("http://a.test/  other      answered by Ingress"));
    }
}
