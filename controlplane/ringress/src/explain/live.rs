//! Asking what runs: `POST /explain` on a process, or on one or every replica of a cluster.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Context, bail};
use futures_util::future::join_all;
use hyper::body::Bytes;
use k8s_openapi::api::networking::v1::Ingress;
use ringress_controller::Refused;

use super::explanation::Explanation;
use super::object::Standing;
use super::question::Question;
use super::unserved::unserved;
use crate::ask::{
    Answer, Cluster, Connection, Refusal, Replica, Selection, Target, UNREACHABLE, Unreachable, releases,
    unreachable,
};
use crate::wire::ObjectName;

/// The answers to one question: one for each release that serves it, more where its replicas differ.
///
/// # Errors
/// Nobody can be asked, or the question is wrong.
pub(super) async fn ask(
    target: &Target,
    asked: &mut Asked,
    question: &Question,
) -> anyhow::Result<Vec<Explanation>> {
    let mut explanations = asked.explain(question, None).await?;
    if let Some(cluster) = target.cluster()
        && explanations.iter().any(|one| one.winner.is_none())
    {
        name_unserved(cluster, &mut explanations).await;
    }
    Ok(explanations)
}

/// Whoever is asked: a ready replica of each release, or all of them. Connections are kept from question to question.
pub(super) struct Asked {
    voices: Vec<Voice>,
    /// Those that could not be asked, and are not asked again, by release.
    silent: Vec<(Option<String>, anyhow::Error)>,
    /// Releases that get no requests at the moment.
    unready: Vec<String>,
}

struct Voice {
    replica: Replica,
    connection: Option<Connection>,
    /// Who says the same, where it does not answer.
    others: Vec<Replica>,
}

impl Asked {
    /// # Errors
    /// Nothing runs, or nothing of it is ready.
    pub(super) async fn open(target: &Target, is_every_replica: bool) -> anyhow::Result<Self> {
        let replicas = target.replicas().await?;
        let unready = unready(&replicas);
        let replicas = ready(replicas)?;
        let voices = match is_every_replica {
            true => replicas.into_iter().filter_map(|replica| Voice::of(vec![replica])).collect(),
            false => {
                releases(replicas).into_iter().filter_map(|release| Voice::of(release.replicas)).collect()
            }
        };
        Ok(Self { voices, silent: Vec::new(), unready })
    }

    /// Says on stderr who could not be asked; the exit code for that, where somebody was.
    pub(super) fn conclude(&self) -> Option<ExitCode> {
        for release in &self.unready {
            eprintln!("warning: no replica of the release {release} is ready; the answer is without it");
        }
        for (release, error) in &self.silent {
            let of = release.as_ref().map(|name| format!(" (release {name})")).unwrap_or_default();
            eprintln!("error: {error:#}; the answer is without it{of}");
        }
        (!self.silent.is_empty()).then(|| ExitCode::from(UNREACHABLE))
    }

    /// Keeps those that answer.
    ///
    /// # Errors
    /// Nobody does, or the question is wrong.
    fn answers<T>(&mut self, answers: Vec<anyhow::Result<T>>) -> anyhow::Result<Vec<T>> {
        let asked = std::mem::take(&mut self.voices);
        let mut said = Vec::with_capacity(answers.len());
        for (voice, answer) in asked.into_iter().zip(answers) {
            match answer {
                Ok(answer) => {
                    said.push(answer);
                    self.voices.push(voice);
                }
                Err(error) if error.is::<Unreachable>() => self.silent.push((voice.replica.release, error)),
                Err(error) => return Err(error),
            }
        }
        match (said.is_empty(), self.silent.is_empty()) {
            (true, false) => Err(self.silent.remove(0).1),
            _ => Ok(said),
        }
    }

    /// What those say that serve it: where releases stand side by side, one that does not know a host has nothing to say
    /// beside one that does. `object` is the one that is meant to take the request, where one is.
    ///
    /// # Errors
    /// None of them can be asked, or the question is wrong.
    pub(super) async fn explain(
        &mut self,
        question: &Question,
        object: Option<&ObjectName>,
    ) -> anyhow::Result<Vec<Explanation>> {
        let body = Bytes::from(serde_json::to_vec(question)?);
        let asked = join_all(self.voices.iter_mut().map(|voice| voice.explain(&body))).await;
        Ok(distinct(by_who_serves(self.answers(asked)?, object)))
    }

    /// The same of many questions, in their order: the way through the API server costs more than an answer.
    ///
    /// # Errors
    /// As [`explain`](Self::explain).
    pub(super) async fn explain_all(
        &mut self,
        questions: &[Question],
        object: &ObjectName,
    ) -> anyhow::Result<Vec<Vec<Explanation>>> {
        let asked = join_all(self.voices.iter_mut().map(|voice| voice.explain_all(questions))).await;
        let mut said: Vec<_> = self.answers(asked)?.into_iter().map(Vec::into_iter).collect();
        let answers = questions.iter().map(|_| {
            let next = said.iter_mut().filter_map(Iterator::next).collect();
            distinct(by_who_serves(next, Some(object)))
        });
        Ok(answers.collect())
    }

    /// How an object stands with whoever serves it: that it is not theirs, others need not say.
    ///
    /// # Errors
    /// None of them can be asked.
    pub(super) async fn standing(&mut self, text: &str) -> anyhow::Result<Standing> {
        let body = Bytes::from(text.to_owned());
        let asked = join_all(self.voices.iter_mut().map(|voice| voice.standing(&body))).await;
        let said = self.answers(asked)?;
        let of_owner = said.iter().find(|standing| standing.state != "not_ours");
        of_owner.or(said.first()).cloned().context("nobody was asked")
    }
}

impl Voice {
    /// `None` where there are none.
    fn of(replicas: Vec<Replica>) -> Option<Self> {
        let mut replicas = replicas.into_iter();
        let replica = replicas.next()?;
        Some(Self { replica, connection: None, others: replicas.rev().collect() })
    }

    async fn standing(&mut self, body: &Bytes) -> anyhow::Result<Standing> {
        let answer = self.post("/applied", body).await?;
        match (answer.status, refusal(&answer)) {
            (400, Some(Refused { field, message })) => Ok(Standing {
                state: "refused".to_owned(),
                why: format!("{field}: {message}"),
                problems: Vec::new(),
            }),
            _ => answer.read().map_err(|error| self.replica.cannot_be_asked(&error)),
        }
    }

    async fn explain(&mut self, body: &Bytes) -> anyhow::Result<Said> {
        let answer = self.post("/explain", body).await?;
        if let (400, Some(refused)) = (answer.status, refusal(&answer)) {
            bail!(refused.message);
        }
        let explanation = answer.read().map_err(|error| self.replica.cannot_be_asked(&error))?;
        Ok(self.said(explanation))
    }

    async fn explain_all(&mut self, questions: &[Question]) -> anyhow::Result<Vec<Said>> {
        let answer = self.post("/explain", &serde_json::to_vec(questions)?.into()).await?;
        match (answer.status, refusal(&answer)) {
            // An older one takes a list for the fields of a single question.
            (400, Some(Refused { field, .. })) if field == "[0]" => return self.one_by_one(questions).await,
            (400, Some(refused)) => bail!(refused.message),
            _ => {}
        }
        let explanations = answer.read::<Vec<Explanation>>().and_then(|said| match said.len() {
            count if count == questions.len() => Ok(said),
            count => bail!("it answers {count} of {} questions", questions.len()),
        });
        let explanations = explanations.map_err(|error| self.replica.cannot_be_asked(&error))?;
        Ok(explanations.into_iter().map(|explanation| self.said(explanation)).collect())
    }

    async fn one_by_one(&mut self, questions: &[Question]) -> anyhow::Result<Vec<Said>> {
        let mut said = Vec::with_capacity(questions.len());
        for question in questions {
            said.push(self.explain(&serde_json::to_vec(question)?.into()).await?);
        }
        Ok(said)
    }

    fn said(&self, explanation: Explanation) -> Said {
        let Replica { name, release, .. } = &self.replica;
        let explanation = Explanation { replica: Some(name.clone()), ..explanation };
        Said { release: release.clone(), explanation }
    }

    async fn post(&mut self, page: &str, body: &Bytes) -> anyhow::Result<Answer> {
        // One that was kept may have been closed meanwhile; that is no reason to give up.
        if let Some(kept) = &mut self.connection
            && let Ok(answer) = kept.ask("POST", page, body.clone()).await
        {
            return Ok(answer);
        }
        loop {
            let why = match self.post_anew(page, body).await {
                Ok(answer) => return Ok(answer),
                Err(why) => why,
            };
            self.replica = self.others.pop().ok_or(why)?;
        }
    }

    async fn post_anew(&mut self, page: &str, body: &Bytes) -> anyhow::Result<Answer> {
        let mut connection = self.replica.connect().await?;
        let answer = connection.ask("POST", page, body.clone()).await;
        let answer = answer.map_err(|error| self.replica.cannot_be_asked(&error))?;
        self.connection = Some(connection);
        Ok(answer)
    }
}

/// What a replica of a release says.
struct Said {
    release: Option<String>,
    explanation: Explanation,
}

/// Those of the releases that lead to the object; else of those that have a rule at all; else everybody's.
fn by_who_serves(said: Vec<Said>, object: Option<&ObjectName>) -> Vec<Explanation> {
    let where_it_wins = |is_meant: &dyn Fn(&ObjectName) -> bool| -> BTreeSet<Option<String>> {
        let wins =
            |said: &&Said| said.explanation.winner.as_ref().is_some_and(|winner| is_meant(&winner.object));
        said.iter().filter(wins).map(|said| said.release.clone()).collect()
    };
    let sought = where_it_wins(&|winner| Some(winner) == object);
    let serving = if sought.is_empty() { where_it_wins(&|_| true) } else { sought };
    let counts = |said: &Said| serving.is_empty() || serving.contains(&said.release);
    said.into_iter().filter(counts).map(|said| said.explanation).collect()
}

/// What the cluster has beside: left out where it may not be read, for the answer stands without it.
async fn name_unserved(cluster: &Cluster, explanations: &mut [Explanation]) {
    const INGRESSES: (&str, &str) = ("/apis/networking.k8s.io/v1", "ingresses");
    let ingresses = match cluster.objects(INGRESSES, &Selection::All, "").await {
        Err(Refusal::Forbidden(_)) => cluster.objects(INGRESSES, cluster.selection(), "").await,
        found => found,
    };
    let ingresses: Vec<Ingress> = ingresses.unwrap_or_default();
    for explanation in explanations {
        explanation.problems.extend(unserved(explanation, &ingresses));
    }
}

/// Those that get requests.
fn ready(replicas: Vec<Replica>) -> anyhow::Result<Vec<Replica>> {
    let names: Vec<_> = replicas
        .iter()
        .map(|replica| format!("{} ({})", replica.name, replica.unready.as_deref().unwrap_or("ready")))
        .collect();
    let ready: Vec<_> = replicas.into_iter().filter(Replica::is_ready).collect();
    match ready.is_empty() {
        true => Err(unreachable(format!("no replica is ready, so nothing is served: {}", names.join(", ")))),
        false => Ok(ready),
    }
}

/// Releases without a replica that gets requests.
fn unready(replicas: &[Replica]) -> Vec<String> {
    let of = |is_ready: bool| -> BTreeSet<&String> {
        let chosen = replicas.iter().filter(|replica| replica.is_ready() == is_ready);
        chosen.filter_map(|replica| replica.release.as_ref()).collect()
    };
    of(false).difference(&of(true)).map(|release| (*release).clone()).collect()
}

/// Keeps one of those that say the same, whoever says it in which generation.
fn distinct(answers: Vec<Explanation>) -> Vec<Explanation> {
    let mut kept: Vec<Explanation> = Vec::new();
    for answer in answers {
        match kept.iter_mut().find(|known| known.says_the_same(&answer)) {
            Some(known) => known.agreeing.extend(answer.replica),
            None => kept.push(answer),
        }
    }
    kept
}

fn refusal(answer: &Answer) -> Option<Refused> {
    let value: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let text = |name| value.get(name)?.as_str().map(str::to_owned);
    Some(Refused { field: text("field")?, message: text("error")? })
}

/// An Ingress as the API server has it.
pub(super) struct Object {
    pub(super) name: ObjectName,
    pub(super) text: String,
    pub(super) ingress: Ingress,
}

/// The Ingress of that name.
///
/// # Errors
/// A process is asked, which does not know it, or the API server does not have it.
pub(super) async fn object(target: &Target, name: &str) -> anyhow::Result<Object> {
    let Some(cluster) = target.cluster() else {
        bail!(
            "ingress/{name} is looked up in a cluster, and a process is asked here; give a URL, or no --admin"
        );
    };
    let Selection::Namespace(namespace) = cluster.selection() else {
        bail!("ingress/{name} is in one namespace; name it with -n");
    };
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses/{name}");
    let text = cluster.text(&path).await.map_err(|why| match why {
        Refusal::Missing => anyhow::anyhow!("there is no Ingress {namespace}/{name}"),
        why => why.error(format!("cannot read Ingress {namespace}/{name}: {why}")),
    })?;
    let (kind, namespace, name) = ("Ingress".to_owned(), namespace.clone(), name.to_owned());
    super::object::read(ObjectName { kind, namespace, name }, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;
    use serde_json::json;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};

    /// An admin that answers one request with these bytes; gives what it was asked.
    fn admin(answer: &'static [u8]) -> (SocketAddr, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            while !request.ends_with(b"}") {
                let count = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..count]);
            }
            stream.write_all(answer).unwrap();
            String::from_utf8(request).unwrap()
        });
        (address, asked)
    }

    /// An admin that gives one of these to each connection in turn.
    fn answers(all: &'static [&'static [u8]]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for answer in all {
                let (mut stream, _) = listener.accept().unwrap();
                let mut buffer = [0; 4096];
                let mut request = Vec::new();
                while !request.ends_with(b"}") && !request.ends_with(b"]") {
                    let count = stream.read(&mut buffer).unwrap();
                    request.extend_from_slice(&buffer[..count]);
                }
                stream.write_all(answer).unwrap();
            }
        });
        address
    }

    async fn asked(address: SocketAddr) -> anyhow::Error {
        let target = Target::open(args::Asked::Process(address, Selection::All)).await.unwrap();
        let mut asked = Asked::open(&target, false).await.unwrap();
        ask(&target, &mut asked, &question("http://h/")).await.unwrap_err()
    }

    fn question(url: &str) -> Question {
        Question {
            url: url.into(),
            method: "GET".into(),
            headers: vec![("A".into(), "b".into())],
            is_brief: false,
        }
    }

    #[tokio::test]
    async fn the_question_is_sent_as_json_and_an_error_comes_back() {
        let answer = b"HTTP/1.0 400 Bad Request\r\n\r\n{\"field\": \"url\", \"error\": \"no such URL\"}";
        let (address, told) = admin(answer);
        assert_eq!(asked(address).await.to_string(), "no such URL");
        let told = told.join().unwrap();
        assert!(told.starts_with("POST /explain HTTP/1.1\r\n"), "{told}");
        assert!(told.ends_with(r#"{"url":"http://h/","method":"GET","headers":[["A","b"]]}"#), "{told}");
    }

    #[tokio::test]
    async fn an_older_replica_is_asked_one_by_one() {
        let (one, two) = (question("http://h/"), question("http://i/"));
        let voice = |address| Voice::of(vec![Replica::process(address)]).unwrap();
        const NO_LIST: &[u8] =
            b"HTTP/1.0 400 Bad Request\r\n\r\n{\"field\": \"[0]\", \"error\": \"invalid type: map\"}";
        let address = answers(&[NO_LIST, EXPLAINED, EXPLAINED]);
        assert_eq!(voice(address).explain_all(&[one.clone(), two.clone()]).await.unwrap().len(), 2);
        let few = answers(&[b"HTTP/1.0 200 OK\r\n\r\n[]"]);
        let Err(error) = voice(few).explain_all(&[one, two]).await else { panic!("one is missing") };
        assert!(error.to_string().contains("it answers 0 of 2 questions"), "{error:#}");
    }

    #[tokio::test]
    async fn other_statuses_are_told() {
        let (address, _) = admin(b"HTTP/1.0 503 Service Unavailable\r\n\r\nnothing is served yet\n");
        let error = asked(address).await;
        assert!(error.is::<crate::ask::Unreachable>(), "{error:?}");
        assert!(error.to_string().contains("503: nothing is served yet"), "{error}");
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_with_a_next_step() {
        // Bound and dropped: nobody listens on this port.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = asked(address).await;
        assert!(
            error.is::<crate::ask::Unreachable>() && error.to_string().contains("--admin-address"),
            "{error}"
        );
    }

    const EXPLAINED: &[u8] = b"HTTP/1.0 200 OK\r\n\r\n{\"url\": \"http://h/\", \"method\": \"GET\", \"routed\": true, \
        \"host\": \"h\", \"path\": \"/\", \"policies\": [], \"winner\": null, \"backends\": [], \"checklist\": [], \
        \"losers\": [], \"problems\": []}";

    /// Bound and dropped: nobody listens on this port.
    fn nobody() -> Replica {
        Replica::process(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
    }

    #[tokio::test]
    async fn one_release_that_is_silent_is_named_and_the_others_answer() {
        let answering = Replica::process(admin(EXPLAINED).0);
        let silent = nobody();
        let name = silent.name.clone();
        let voices = [silent, answering].into_iter().filter_map(|one| Voice::of(vec![one])).collect();
        let mut asked = Asked { voices, silent: Vec::new(), unready: Vec::new() };
        assert!(asked.conclude().is_none());
        assert_eq!(asked.explain(&question("http://h/"), None).await.unwrap().len(), 1);
        let [(_, error)] = &asked.silent[..] else { panic!("{:?}", asked.silent) };
        assert!(error.to_string().contains(&name), "{error}");
        assert!(asked.conclude() == Some(ExitCode::from(UNREACHABLE)) && asked.voices.len() == 1);
    }

    #[tokio::test]
    async fn another_replica_of_the_release_answers_for_one_that_is_silent() {
        let voice = Voice::of(vec![nobody(), nobody(), Replica::process(admin(EXPLAINED).0)]);
        let mut asked =
            Asked { voices: voice.into_iter().collect(), silent: Vec::new(), unready: Vec::new() };
        assert_eq!(asked.explain(&question("http://h/"), None).await.unwrap().len(), 1);
        assert!(asked.conclude().is_none());
    }

    #[test]
    fn releases_of_which_nothing_is_ready_are_named() {
        let replica = |release: &str, unready: Option<&str>| {
            let mut replica = Replica::process("127.0.0.1:1".parse().unwrap());
            replica.release = Some(release.to_owned());
            replica.unready = unready.map(str::to_owned);
            replica
        };
        let all = [
            replica("edge/ng", Some("the pod is not ready")),
            replica("r/r", None),
            replica("r/r", Some("the pod is ending")),
            Replica::process("127.0.0.1:1".parse().unwrap()),
        ];
        assert_eq!(unready(&all), ["edge/ng"]);
    }

    #[tokio::test]
    async fn where_nobody_answers_that_is_the_error() {
        let voices = [nobody(), nobody()].into_iter().filter_map(|one| Voice::of(vec![one])).collect();
        let mut asked = Asked { voices, silent: Vec::new(), unready: Vec::new() };
        let error = asked.explain(&question("http://h/"), None).await.unwrap_err();
        assert!(error.is::<Unreachable>(), "{error:#}");
    }

    fn said(release: &str, winner: Option<&str>) -> Said {
        let object = |name: &str| json!({"kind": "Ingress", "namespace": "shop", "name": name});
        let winner =
            winner.map(|name| json!({"object": object(name), "field": "", "host": "h", "matched": "/"}));
        let explanation = serde_json::from_value(json!({
            "url": release, "method": "GET", "routed": winner.is_some(), "host": "h", "path": "/", "policies": [],
            "winner": winner, "backends": [], "checklist": [], "losers": [], "problems": [],
        }));
        Said { release: Some(release.to_owned()), explanation: explanation.unwrap() }
    }

    #[test]
    fn who_serves_a_host_answers_for_it() {
        let check = |all: &[(&str, Option<&str>)], object: Option<&str>, expected: &[&str]| {
            let object = object.map(|name| ObjectName {
                kind: "Ingress".to_owned(),
                namespace: "shop".to_owned(),
                name: name.to_owned(),
            });
            let all_said = all.iter().map(|(release, winner)| said(release, *winner)).collect();
            let kept = by_who_serves(all_said, object.as_ref());
            let kept: Vec<&str> = kept.iter().map(|one| &*one.url).collect();
            assert_eq!(kept, expected, "{all:?} {object:?}");
        };
        check(&[("ng", None), ("r", Some("web"))], None, &["r"]);
        check(&[("ng", Some("other")), ("r", Some("web"))], None, &["ng", "r"]);
        check(&[("ng", Some("other")), ("r", Some("web"))], Some("web"), &["r"]);
        check(&[("ng", None), ("r", None)], Some("web"), &["ng", "r"]);
        check(&[("r", None), ("r", Some("web"))], None, &["r", "r"]);
    }
}
