//! Asking what runs: `POST /explain` on a process, or on one or every replica of a cluster.

use anyhow::bail;
use futures_util::future::join_all;
use k8s_openapi::api::networking::v1::Ingress;
use ringress_controller::Refused;

use super::explanation::Explanation;
use super::question::Question;
use super::unserved::unserved;
use crate::args::{Asked, ingress_of};
use crate::ask::{Answer, Cluster, Refusal, Replica, Selection, Target, unreachable};

/// What is asked: one question, or one for each path of an Ingress.
pub(super) struct Asking {
    pub(super) question: Question,
    pub(super) is_every_replica: bool,
}

/// The answers, first question first. More than one for a question where replicas differ.
///
/// # Errors
/// Nobody can be asked, or the question is wrong.
pub(super) async fn ask(asked: Asked, asking: Asking) -> anyhow::Result<Vec<Explanation>> {
    let Asking { question, is_every_replica } = asking;
    let target = Target::open(asked).await?;
    let questions = match ingress_of(&question.url) {
        Some(name) => questions_of(&ingress(&target, name).await?, &question),
        None => vec![question],
    };
    let replicas = ready(target.replicas().await?)?;
    let asked = if is_every_replica { &replicas[..] } else { &replicas[..1] };
    let mut explanations = Vec::new();
    for question in &questions {
        let body = serde_json::to_vec(question)?;
        let answers = join_all(asked.iter().map(|replica| one(replica, &body))).await;
        distinct(&mut explanations, answers.into_iter().collect::<anyhow::Result<_>>()?);
    }
    if let Some(cluster) = target.cluster()
        && explanations.iter().any(|one| one.winner.is_none())
    {
        name_unserved(cluster, &mut explanations).await;
    }
    Ok(explanations)
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

async fn one(replica: &Replica, body: &[u8]) -> anyhow::Result<Explanation> {
    let answer = replica.post("/explain", body.to_vec()).await?;
    if let (400, Some(refused)) = (answer.status, refusal(&answer)) {
        bail!(refused.message);
    }
    let explanation: Explanation = answer.read().map_err(|error| replica.cannot_be_asked(&error))?;
    Ok(Explanation { replica: Some(replica.name.clone()), ..explanation })
}

/// Keeps one of those that say the same, whoever says it in which generation.
fn distinct(kept: &mut Vec<Explanation>, answers: Vec<Explanation>) {
    let first = kept.len();
    for answer in answers {
        let is_same = |known: &&mut Explanation| known.says_the_same(&answer);
        match kept[first..].iter_mut().find(is_same) {
            Some(known) => known.agreeing.extend(answer.replica),
            None => kept.push(answer),
        }
    }
}

fn refusal(answer: &Answer) -> Option<Refused> {
    let value: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    let text = |name| value.get(name)?.as_str().map(str::to_owned);
    Some(Refused { field: text("field")?, message: text("error")? })
}

/// The Ingress of that name, as the API server has it.
async fn ingress(target: &Target, name: &str) -> anyhow::Result<Ingress> {
    let Some(cluster) = target.cluster() else {
        bail!(
            "ingress/{name} is looked up in a cluster, and a process is asked here; give a URL, or no --admin"
        );
    };
    let Selection::Namespace(namespace) = cluster.selection() else {
        bail!("ingress/{name} is in one namespace; name it with -n");
    };
    found(cluster, namespace, name).await
}

async fn found(cluster: &Cluster, namespace: &str, name: &str) -> anyhow::Result<Ingress> {
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses/{name}");
    match cluster.get(&path).await {
        Ok(ingress) => Ok(ingress),
        Err(Refusal::Missing) => bail!("there is no Ingress {namespace}/{name}"),
        Err(why) => Err(unreachable(format!("cannot read Ingress {namespace}/{name}: {why}"))),
    }
}

/// A question for each path of the object, with the method and fields of the first.
fn questions_of(ingress: &Ingress, question: &Question) -> Vec<Question> {
    let Some(spec) = &ingress.spec else { return Vec::new() };
    let tls: Vec<&String> = spec.tls.iter().flatten().flat_map(|tls| tls.hosts.iter().flatten()).collect();
    let mut urls = Vec::new();
    for rule in spec.rules.iter().flatten() {
        let host = rule.host.as_deref().filter(|host| !host.is_empty()).unwrap_or("any.example");
        // Any label will do.
        let named = host.replacen('*', "any", 1);
        let scheme = if tls.iter().any(|name| *name == host) { "https" } else { "http" };
        let paths = rule.http.iter().flat_map(|http| &http.paths);
        urls.extend(paths.map(|path| format!("{scheme}://{named}{}", path.path.as_deref().unwrap_or("/"))));
    }
    if urls.is_empty() && spec.default_backend.is_some() {
        urls.push("http://any.example/".to_owned());
    }
    urls.into_iter().map(|url| Question { url, ..question.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
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

    async fn asked(address: SocketAddr) -> anyhow::Error {
        let asking = Asking { question: question("http://h/"), is_every_replica: false };
        ask(Asked::Process(address, Selection::All), asking).await.unwrap_err()
    }

    fn question(url: &str) -> Question {
        Question { url: url.into(), method: "GET".into(), headers: vec![("A".into(), "b".into())] }
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

    #[test]
    fn an_object_is_asked_about_path_by_path() {
        let path = |path: &str| json!({"path": path, "pathType": "Prefix", "backend": {}});
        let ingress = json!({"spec": {
            "tls": [{"hosts": ["*.shop.test"]}],
            "rules": [
                {"host": "*.shop.test", "http": {"paths": [path("/"), path("/cart")]}},
                {"host": "plain.test", "http": {"paths": [path("/")]}},
                {"http": {"paths": [path("/x")]}},
            ],
        }});
        let questions = questions_of(&serde_json::from_value(ingress).unwrap(), &question("ingress/web"));
        let urls: Vec<_> = questions.iter().map(|question| &*question.url).collect();
        assert_eq!(
            urls,
            [
                "https://any.shop.test/",
                "https://any.shop.test/cart",
                "http://plain.test/",
                "http://any.example/x"
            ]
        );
        assert_eq!(questions[0].headers, question("").headers);
    }
}
