//! `ringress explain`: which rule takes a request, what is sent to whom, and why every other rule lost.
//!
//! One pure function, [`answer::explain`], over what was translated. It is asked offline about manifests, or live through
//! `POST /explain`, where the controller calls the closure that [`for_admin`] makes. Here is only who asks and how it is
//! printed.

mod answer;
mod checklist;
mod claims;
mod explanation;
#[cfg(test)]
mod laws;
mod live;
mod object;
mod question;
mod text;
mod unserved;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use ringress_controller::{Refused, View, default_certificate};
use ringress_shared::origin::Origin;
use ringress_shared::snapshot::Parts;
use ringress_translate::manifest::Folder;
use ringress_translate::{LastGood, Memo, Problem, Settings, translate};
use serde_json::Value;

use crate::args::{Explain, ExplainSource, Output, ingress_of};
use crate::ask;
use crate::files::{self, Manifests, Names};
use crate::terminal::{self, Style};
use answer::World;
use explanation::{Explanation, Place};
use question::Question;

/// Explains one request, or each path of one Ingress; 1 where one is not routed, 3 where nobody can be asked.
///
/// # Errors
/// A question that cannot be asked, manifests that cannot be read, and a cluster or process that cannot be reached.
pub(crate) fn run(explain: Explain) -> anyhow::Result<ExitCode> {
    let Explain { url, method, headers, source, is_every_replica, output } = explain;
    let question = Question { url, method, headers, is_brief: false };
    match source {
        ExplainSource::Manifests(path, settings) => {
            let answer = offline(path, *settings, &question)?;
            show(&[answer.map_err(|refused| anyhow::Error::msg(refused.message))?], output)
        }
        ExplainSource::Asked(asked) => ask::block_on(async {
            let target = ask::Target::open(asked).await?;
            match ingress_of(&question.url) {
                Some(name) => one_object(&target, name, &question, is_every_replica, output).await,
                None => one_url(&target, &question, is_every_replica, output).await,
            }
        }),
    }
}

/// What each release says to a URL.
async fn one_url(
    target: &ask::Target,
    question: &Question,
    is_every_replica: bool,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let mut asked = live::Asked::open(target, is_every_replica).await?;
    let answered = show(&live::ask(target, &mut asked, question).await?, output)?;
    // Whoever is silent may have said something else.
    Ok(asked.conclude().unwrap_or(answered))
}

/// Each path of an object, printed as its answer comes.
async fn one_object(
    target: &ask::Target,
    name: &str,
    question: &Question,
    is_every_replica: bool,
    output: Output,
) -> anyhow::Result<ExitCode> {
    let object = live::object(target, name).await?;
    let mut asked = live::Asked::open(target, is_every_replica).await?;
    let print = |text: &str| {
        if matches!(output, Output::Text) {
            terminal::print(text);
        }
    };
    let (report, is_fine) = object::explain(object, question, &mut asked, print).await?;
    if let Some(structured) = terminal::structured(output, &report)? {
        terminal::print(&structured);
    }
    let answered = if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Ok(asked.conclude().unwrap_or(answered))
}

/// One answer is printed as it is, several as a list.
fn show(explanations: &[Explanation], output: Output) -> anyhow::Result<ExitCode> {
    let structured = match explanations {
        [one] => terminal::structured(output, one)?,
        several => terminal::structured(output, &several)?,
    };
    let style = Style::of_stdout();
    let text = || explanations.iter().map(|one| text::render(one, style)).collect::<Vec<_>>().join("\n");
    terminal::print(&structured.unwrap_or_else(text));
    let is_routed = !explanations.is_empty() && explanations.iter().all(|one| one.routed);
    Ok(if is_routed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn offline(
    path: PathBuf,
    settings: Settings,
    question: &Question,
) -> anyhow::Result<Result<Explanation, Refused>> {
    let manifests = files::read(&[path], Names::InFolder)?;
    let fallback = default_certificate::self_signed().context("cannot make the default certificate")?;
    let settings = Settings { fallback_certificate: Some(Arc::new(fallback)), ..settings };
    Ok(explain_manifests(manifests, &settings, question))
}

/// What `run` with these settings would do with these manifests.
fn explain_manifests(
    manifests: files::Gathered,
    settings: &Settings,
    question: &Question,
) -> Result<Explanation, Refused> {
    let (folder, loaded) = manifests.load();
    let translation = translate(&loaded.objects, settings, &LastGood::default(), &mut Memo::default());
    let problems: Vec<Problem> =
        loaded.problems.iter().cloned().chain(translation.problems.iter().cloned()).collect();
    let world = World {
        parts: &translation.parts,
        claims: &translation.claims,
        problems: &problems,
        generation: None,
        endpoints_known: !loaded.objects.endpoint_slices.is_empty() || !loaded.objects.endpoints.is_empty(),
        place: &|origin| place_in(&folder, origin),
    };
    answer::explain(&world, question)
}

/// What `POST /explain` calls, with a question or a list of them. `manifests` are read again each time, to say in which line a
/// rule stands.
pub(crate) fn for_admin(manifests: Manifests) -> ringress_controller::Explain {
    Arc::new(move |view, request| {
        let folder = manifests.read();
        let answer = |question: &Value| -> Result<Value, Refused> {
            let question = Question::read(question)?;
            Ok(serde_json::json!(explain_view(view, &folder, &question)?))
        };
        match &request {
            Value::Array(questions) if questions.len() > QUESTIONS_MAX => Err(Refused {
                field: "body".to_owned(),
                message: format!("{} questions; a list has {QUESTIONS_MAX} at most", questions.len()),
            }),
            Value::Array(questions) => questions.iter().map(answer).collect(),
            question => answer(question),
        }
    })
}

/// As many are answered at once.
const QUESTIONS_MAX: usize = 256;

fn explain_view(view: &View, folder: &Folder, question: &Question) -> Result<Explanation, Refused> {
    let snapshot = &view.snapshot;
    let parts = Parts { sockets: Arc::clone(&snapshot.sockets), upstreams: Arc::clone(&snapshot.upstreams) };
    let world = World {
        parts: &parts,
        claims: &view.translation.claims,
        problems: &view.problems,
        generation: Some(snapshot.generation),
        endpoints_known: true,
        place: &|origin| place_in(folder, origin),
    };
    answer::explain(&world, question)
}

fn place_in(folder: &Folder, origin: &Origin) -> Place {
    match folder.place(&origin.object, &origin.field) {
        Some(place) => Place { file: Some(place.file), line: Some(place.line) },
        None => Place::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::explanation::State;
    use super::*;
    use crate::files::Texts;

    #[test]
    fn what_cannot_be_read_is_shown_where_no_rule_is_found() {
        let question = Question {
            url: "http://a.test/".into(),
            method: "GET".into(),
            headers: Vec::new(),
            is_brief: false,
        };
        let flattened = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\nname: web\nspec:\nrules:\n- host: a.test\n";
        for (text, word) in [("kind: [\n", "a.yaml"), (flattened, "ringress fmt")] {
            let texts: Texts = [("a.yaml".to_owned(), text.into())].into();
            let explanation = explain_manifests(texts.into(), &Settings::default(), &question).unwrap();
            let shown = text::render(&explanation, Style::plain());
            let verdict =
                "verdict  404: there is no rule at all; 1 part of the manifests could not be read\n";
            assert!(shown.contains(verdict), "{shown}");
            let [problem] = &explanation.problems[..] else { panic!("{explanation:?}") };
            assert!(problem.contains(word) && problem.contains("(a.yaml:"), "{problem}");
            assert!(shown.contains(&format!("what could not be read\n  {problem}\n")), "{shown}");
            assert_eq!(explanation.checklist[0].state, State::Failed);
        }
    }
}
