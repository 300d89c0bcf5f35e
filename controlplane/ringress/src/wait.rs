//! `ringress wait`: until an Ingress is live as it is now, on every shard of every ready replica.
//!
//! ```text
//! API server: the object as it is now ─┬─► replica 1: POST /applied ─► waiting, applied, refused, not ours
//!   (or the manifests of -f)           └─► replica 2: …
//! ```
//!
//! Each replica compares the content itself, so a yes is never about an older version. Which replicas count is asked again
//! with every look: one that becomes ready in the meantime counts, too. What may pass (an API server that is away, nobody who
//! runs or is ready yet) is waited for; a name that is not there and a right that is missing are not.

mod patience;
mod verdict;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::future::join_all;
use ringress_controller::source::kube::escape;
use ringress_translate::Key;
use serde::Deserialize;
use tokio::time::timeout;

use crate::args::{self, Asked};
use crate::ask::{self, Answer, Cluster, Connection, Refusal, Replica, Selection, Target, may_pass};
use crate::files::{self, Names};
use crate::terminal::{self, Style};
use hyper::body::Bytes;
use patience::Patience;
use verdict::{Look, State, Told, Verdict};

/// Waits; 0 once everything is live, 1 where something is refused or the time is over, 3 where nobody can be asked.
///
/// # Errors
/// Nothing to wait for, and a cluster that cannot be reached.
pub(crate) fn run(wait: args::Wait) -> anyhow::Result<ExitCode> {
    ask::block_on(async {
        let output = wait.output;
        let began = Instant::now();
        let verdicts = Waiting::begin(wait).await?.end().await?;
        let seconds = began.elapsed().as_secs_f64();
        let structured = terminal::structured(output, &verdicts)?;
        let text = || verdict::text(&verdicts, seconds, Style::of_stdout());
        terminal::print(&structured.unwrap_or_else(text));
        let is_live = verdicts.iter().all(|verdict| verdict.state == State::Applied);
        Ok(if is_live { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// What is waited for, and who is asked.
struct Waiting {
    target: Target,
    wait: args::Wait,
    /// The objects as they should be live, by name.
    wanted: BTreeMap<Key, Bytes>,
    /// When they were read.
    read: Instant,
    patience: Patience,
    /// Connections that are kept, by replica.
    connections: BTreeMap<String, Connection>,
}

impl Waiting {
    async fn begin(wait: args::Wait) -> anyhow::Result<Self> {
        let mut patience = Patience::of(wait.timeout);
        let target = Target::open(wait.asked.clone()).await?;
        let wanted = loop {
            match wanted(&target, &wait).await {
                Ok(wanted) => break wanted,
                Err(error) => patience.bear(error).await?,
            }
        };
        if wanted.is_empty() {
            bail!("no Ingress is selected, so there is nothing to wait for");
        }
        Ok(Self { target, wait, wanted, read: Instant::now(), patience, connections: BTreeMap::new() })
    }

    /// Looks until there is an answer, or the time is over.
    async fn end(mut self) -> anyhow::Result<Vec<Verdict>> {
        loop {
            match self.look().await {
                Err(error) => self.patience.bear(error).await?,
                Ok(look) => {
                    let verdicts: Vec<Verdict> = self.wanted.keys().map(|key| look.verdict(key)).collect();
                    match verdict::waits_for(&verdicts) {
                        Some(why) if !self.patience.is_over() => self.patience.pause(&why).await,
                        _ => return Ok(verdicts),
                    }
                }
            }
            if self.target.cluster().is_some() && self.read.elapsed() > FRESH {
                self.read_again().await?;
            }
        }
    }

    /// Somebody may have changed an object meanwhile, and then the version before never comes.
    async fn read_again(&mut self) -> anyhow::Result<()> {
        self.read = Instant::now();
        match wanted(&self.target, &self.wait).await {
            Ok(wanted) => self.wanted = wanted,
            // An API server that is away for a moment comes back.
            Err(error) if may_pass(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Asks every ready replica about every object.
    ///
    /// # Errors
    /// Nobody can be asked.
    async fn look(&mut self) -> anyhow::Result<Look> {
        // Nothing may run yet, right after an installation: that is waited for, too.
        let replicas = self.target.replicas().await?;
        let (ready, others): (Vec<_>, Vec<_>) = replicas.into_iter().partition(Replica::is_ready);
        if ready.is_empty() {
            let states = others.iter().map(|replica| {
                format!("{}: {}", replica.name, replica.unready.as_deref().unwrap_or_default())
            });
            return Ok(Look::nobody(format!(
                "no replica is ready ({})",
                states.collect::<Vec<_>>().join(", ")
            )));
        }
        let mut kept = std::mem::take(&mut self.connections);
        let wanted = &self.wanted;
        // One that hangs must not outlast what the user is ready to wait.
        let patience = self.patience.left().max(PATIENCE_MIN);
        let asked = ready.into_iter().map(|replica| {
            let connection = kept.remove(&replica.name);
            async move {
                let told = timeout(patience, ask_all(&replica, connection, wanted)).await;
                let mut told = told
                    .unwrap_or_else(|_| Err(replica.cannot_be_asked(&anyhow::anyhow!("it does not answer"))));
                if let Ok((_, answers)) = &mut told {
                    answers.iter_mut().for_each(|(_, told)| told.replica = replica.name.clone());
                }
                (replica, told)
            }
        });
        let mut look = Look::default();
        let mut nobody = None;
        for (replica, told) in join_all(asked).await {
            match told {
                Ok((connection, answers)) => {
                    drop(self.connections.insert(replica.name, connection));
                    look.add(answers);
                }
                Err(error) => {
                    look.silent(replica.name, format!("{error:#}"), self.wanted.keys());
                    nobody.get_or_insert(error);
                }
            }
        }
        match nobody {
            Some(error) if self.connections.is_empty() => Err(error),
            _ => Ok(look),
        }
    }
}

type Answers = Vec<(Key, Told)>;

async fn ask_all(
    replica: &Replica,
    connection: Option<Connection>,
    wanted: &BTreeMap<Key, Bytes>,
) -> anyhow::Result<(Connection, Answers)> {
    // One that was kept may have been closed meanwhile; that is no reason to give up.
    if let Some(connection) = connection
        && let Ok(answers) = ask_over(connection, wanted).await
    {
        return Ok(answers);
    }
    let answers = ask_over(replica.connect().await?, wanted).await;
    answers.map_err(|error| replica.cannot_be_asked(&error))
}

async fn ask_over(
    mut connection: Connection,
    wanted: &BTreeMap<Key, Bytes>,
) -> anyhow::Result<(Connection, Answers)> {
    let mut answers = Vec::with_capacity(wanted.len());
    for (key, object) in wanted {
        let answer = connection.ask("POST", "/applied", object.clone()).await?;
        answers.push((key.clone(), told(&answer)?));
    }
    Ok((connection, answers))
}

fn told(answer: &Answer) -> anyhow::Result<Told> {
    #[derive(Deserialize)]
    struct Refused {
        field: String,
        error: String,
    }
    match (answer.status, serde_json::from_slice(&answer.body)) {
        (400, Ok(Refused { field, error })) => Ok(Told::refused(format!("{field}: {error}"))),
        _ => answer.read(),
    }
}

async fn wanted(target: &Target, wait: &args::Wait) -> anyhow::Result<BTreeMap<Key, Bytes>> {
    match target.cluster() {
        Some(cluster) => of_cluster(cluster, wait).await,
        None => of_manifests(wait),
    }
}

/// The objects as the API server has them now.
async fn of_cluster(cluster: &Cluster, wait: &args::Wait) -> anyhow::Result<BTreeMap<Key, Bytes>> {
    let mut wanted = BTreeMap::new();
    for name in &wait.names {
        let Selection::Namespace(namespace) = cluster.selection() else {
            bail!("ingress/{name} is in one namespace; name it with -n, or give -l SELECTOR with -A");
        };
        let path = format!("{INGRESSES}/namespaces/{namespace}/ingresses/{name}");
        let text = cluster.text(&path).await.map_err(|why| match why {
            Refusal::Missing => anyhow::anyhow!("there is no Ingress {namespace}/{name}"),
            why => why.error(format!("cannot read Ingress {namespace}/{name}: {why}")),
        })?;
        wanted.insert(Key::new(namespace, name), Bytes::from(text));
    }
    if let Some(selector) = &wait.selector {
        let query = format!("&labelSelector={}", escape(selector));
        let found = cluster.list((INGRESSES, "ingresses"), cluster.selection(), &query).await;
        let found = found.map_err(|why| why.error(format!("cannot list Ingresses: {why}")))?;
        for item in found {
            wanted.insert(key_of(item.get())?, Bytes::from(item.get().to_owned()));
        }
    }
    Ok(wanted)
}

fn key_of(text: &str) -> anyhow::Result<Key> {
    let reference = ringress_translate::manifest::json::reference("Ingress", text);
    match reference.name.is_empty() {
        true => bail!("the API server lists an Ingress without a name"),
        false => Ok(Key::of(&reference)),
    }
}

/// The objects of the manifests; those that are named, or all.
fn of_manifests(wait: &args::Wait) -> anyhow::Result<BTreeMap<Key, Bytes>> {
    let path = wait.manifests.clone().context("manifests are named")?;
    let (_, loaded) = files::read(&[path], Names::Openable)?.load();
    let selection = match &wait.asked {
        Asked::Process(_, selection) => selection.clone(),
        Asked::Cluster(_) => Selection::All,
    };
    let is_named = |key: &Key| wait.names.is_empty() || wait.names.iter().any(|name| **name == *key.name);
    let mut wanted = BTreeMap::new();
    for (key, stored) in loaded.objects.ingresses.iter() {
        if is_named(key) && selection.takes(&key.namespace) {
            wanted.insert(key.clone(), Bytes::from(serde_json::to_vec(&*stored.object)?));
        }
    }
    let is_there = |name: &&String| wanted.keys().any(|key| *key.name == ***name);
    if let Some(name) = wait.names.iter().find(|name| !is_there(name)) {
        bail!("the manifests have no Ingress {name} that can be read");
    }
    Ok(wanted)
}

const INGRESSES: &str = "/apis/networking.k8s.io/v1";

/// For the last look at a replica.
const PATIENCE_MIN: Duration = Duration::from_secs(1);

/// For so long the objects are taken to be as they were read.
const FRESH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Output;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};

    /// An admin that gives each connection one of these answers, one after the other.
    fn admin(answers: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut buffer = [0; 4096];
                // The end of a request with a body of JSON, or of one without a body.
                while !stream.read(&mut buffer).is_ok_and(|count| {
                    count == 0 || buffer[..count].ends_with(b"}") || buffer[..count].ends_with(b"\r\n\r\n")
                }) {}
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        address
    }

    const AWAY: &str = "HTTP/1.0 503 Service Unavailable\r\n\r\n";
    const BUSY: &str = "HTTP/1.0 429 Too Many Requests\r\n\r\n";
    const MISSING: &str = "HTTP/1.0 404 Not Found\r\n\r\n";
    const FORBIDDEN: &str = "HTTP/1.0 403 Forbidden\r\n\r\n";

    fn wait(asked: Asked, seconds: u64) -> args::Wait {
        args::Wait {
            asked,
            names: vec!["web".to_owned()],
            selector: None,
            timeout: Duration::from_secs(seconds),
            manifests: None,
            output: Output::Text,
        }
    }

    /// What waiting for the manifest of `web` on the process behind this address comes to.
    async fn on_process(address: SocketAddr, seconds: u64) -> anyhow::Result<Vec<Verdict>> {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("web.yaml");
        let web = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\n";
        std::fs::write(&manifests, web).unwrap();
        let wait = wait(Asked::Process(address, Selection::All), seconds);
        Waiting::begin(args::Wait { manifests: Some(manifests), ..wait }).await?.end().await
    }

    #[tokio::test]
    async fn who_does_not_answer_yet_is_waited_for() {
        let applied = "HTTP/1.0 200 OK\r\n\r\n{\"state\": \"applied\", \"generation\": 1, \"shards\": [1], \"why\": \"\", \"problems\": []}";
        let answers: &'static [&'static str] = Box::leak(Box::new([AWAY, "", applied]));
        let verdicts = on_process(admin(answers), 60).await.unwrap();
        assert_eq!(verdicts.iter().map(|one| one.state).collect::<Vec<_>>(), [State::Applied]);
    }

    #[tokio::test]
    async fn who_never_answers_is_given_up_with_the_time() {
        // Bound and dropped: nobody listens on this port.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for seconds in [0, 1] {
            let began = Instant::now();
            let error = on_process(address, seconds).await.unwrap_err();
            assert!(may_pass(&error) && error.to_string().contains("--admin-address"), "{error:#}");
            assert!(began.elapsed() >= Duration::from_secs(seconds), "{seconds}");
        }
    }

    #[tokio::test]
    async fn an_api_server_that_is_away_is_waited_for_and_one_that_refuses_is_not() {
        for (answers, said) in [
            (&[BUSY, AWAY, "", MISSING][..], "there is no Ingress shop/web"),
            (&[AWAY, FORBIDDEN], "cannot read Ingress shop/web: the API server refuses"),
        ] {
            let server = format!("http://{}", admin(answers));
            let kubeconfig = serde_json::json!({
                "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "c", "user": {}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c", "namespace": "shop"}}],
            });
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), kubeconfig.to_string()).unwrap();
            let choice = args::Choice { kubeconfig: Some(file.path().to_owned()), ..Default::default() };
            let error = Waiting::begin(wait(Asked::Cluster(choice), 60)).await.err().unwrap();
            assert!(error.to_string().contains(said) && !may_pass(&error), "{error:#}");
        }
    }
}
