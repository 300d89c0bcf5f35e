//! The objects of a cluster as `lint` judges them: read once, with the rights of whoever asks.
//!
//! What may not be read is said once, and nothing is called missing that may well be there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt};
use ringress_controller::source::kube::escape;
use ringress_translate::manifest::{Folder, Loaded, json};
use ringress_translate::references::secrets_of;
use ringress_translate::{Key, Level, Objects, Problem, Reason, Settings};
use serde::Deserialize;

use super::{Finding, finding, problems, sorted};
use crate::args::Choice;
use crate::ask::{Cluster, Refusal, Replica, Selection, Target, unreachable};
use crate::wire::ObjectName;

/// What was read.
pub(super) struct Judged {
    /// Those of the user, with what the controller that runs was told about classes.
    settings: Settings,
    loaded: Loaded,
    /// Kinds that may not be read, and why.
    unreadable: Vec<(&'static Source, String)>,
    /// The Ingresses that are meant; `None`: all that were read.
    meant: Option<BTreeSet<(String, String)>>,
}

/// A kind, where it stands, and what cannot be said without it.
struct Source {
    kind: &'static str,
    path: (&'static str, &'static str),
    is_namespaced: bool,
    unjudged: &'static [Reason],
}

const NETWORKING: &str = "/apis/networking.k8s.io/v1";

const INGRESSES: (&str, &str) = (NETWORKING, "ingresses");

/// What is listed.
const SOURCES: [Source; 3] = [
    Source {
        kind: "IngressClass",
        path: (NETWORKING, "ingressclasses"),
        is_namespaced: false,
        unjudged: &[Reason::ClassNotFound, Reason::ClassNotOwned],
    },
    Source {
        kind: "Service",
        path: ("/api/v1", "services"),
        is_namespaced: true,
        unjudged: &[Reason::BackendNotFound, Reason::PortNotFound, Reason::NoReadyEndpoints],
    },
    Source {
        kind: "EndpointSlice",
        path: ("/apis/discovery.k8s.io/v1", "endpointslices"),
        is_namespaced: true,
        unjudged: &[Reason::NoReadyEndpoints, Reason::PortNotFound],
    },
];

/// Secrets are asked for by name, of whichever type: what no Ingress names is nobody's business.
const SECRETS: Source = Source {
    kind: "Secret",
    path: ("/api/v1", "secrets"),
    is_namespaced: true,
    unjudged: &[Reason::SecretWithheld],
};

/// How many Secrets are asked for at once.
const AT_ONCE: usize = 16;

/// Reads what the user's namespaces hold.
///
/// # Errors
/// The cluster cannot be reached, or its Ingresses may not be read.
pub(super) async fn read(
    choice: Choice,
    selector: Option<String>,
    settings: Settings,
) -> anyhow::Result<Judged> {
    let target = Target::open(crate::args::Asked::Cluster(choice)).await?;
    let cluster = target.cluster().context("a cluster was opened")?;
    let settings = as_told(settings, &flags(cluster).await);
    let selection = cluster.selection();
    let mut loaded = Loaded { objects: Objects::default(), problems: Vec::new() };
    let ingresses = cluster.list(INGRESSES, selection, "").await;
    let ingresses = ingresses.map_err(|why| unreachable(format!("cannot list Ingresses: {why}")))?;
    ingresses.iter().for_each(|item| take("Ingress", item.get(), &mut loaded));
    let mut unreadable = Vec::new();
    for source in &SOURCES {
        match listed(cluster, source, selection).await {
            Ok(items) => items.iter().for_each(|item| take(source.kind, item, &mut loaded)),
            Err(Refusal::Forbidden(why)) => unreadable.push((source, why)),
            Err(why) => return Err(unreachable(format!("cannot list {}: {why}", source.path.1))),
        }
    }
    if let Some(why) = take_secrets(cluster, &mut loaded).await? {
        unreadable.push((&SECRETS, why));
    }
    if unreadable.iter().any(|(source, _)| source.kind == "IngressClass") {
        take("IngressClass", &assumed_class(&settings), &mut loaded);
    }
    let meant = match selector {
        Some(selector) => Some(meant(cluster, &selector).await?),
        None => None,
    };
    Ok(Judged { settings, loaded, unreadable, meant })
}

/// The flags of the controller that runs; none where nobody can be asked, which is no reason not to judge.
async fn flags(cluster: &Cluster) -> BTreeMap<String, String> {
    #[derive(Deserialize)]
    struct Page {
        flags: Vec<Flag>,
    }
    #[derive(Deserialize)]
    struct Flag {
        flag: String,
        value: String,
    }
    let replicas = cluster.replicas().await.unwrap_or_default();
    let Some(replica) = replicas.into_iter().find(Replica::is_ready) else { return BTreeMap::new() };
    let page = replica.get("/flags").await;
    let flags = page.map(|Page { flags }| flags).unwrap_or_default();
    flags.into_iter().map(|Flag { flag, value }| (flag, value)).collect()
}

/// What the user leaves open is as the controller that runs has it.
fn as_told(settings: Settings, flags: &BTreeMap<String, String>) -> Settings {
    let defaults = Settings::default();
    let told = |flag: &str| flags.get(flag).filter(|value| !value.is_empty()).cloned();
    let or_told = |given: String, default: String, flag: &str| match given == default {
        true => told(flag).unwrap_or(given),
        false => given,
    };
    let is_classless = told("watch-ingress-without-class").is_some_and(|value| value == "true");
    Settings {
        ingress_class: or_told(settings.ingress_class, defaults.ingress_class, "ingress-class"),
        controller_class: or_told(settings.controller_class, defaults.controller_class, "controller-class"),
        watch_ingress_without_class: settings.watch_ingress_without_class || is_classless,
        ..settings
    }
}

async fn listed(cluster: &Cluster, source: &Source, selection: &Selection) -> Result<Vec<String>, Refusal> {
    let everywhere = Selection::All;
    let selection = if source.is_namespaced { selection } else { &everywhere };
    let items = cluster.list(source.path, selection, "").await?;
    Ok(items.iter().map(|item| item.get().to_owned()).collect())
}

/// Takes the Secrets that the Ingresses name, and says why one may not be read: those are withheld, as nobody can say whether
/// they are there.
async fn take_secrets(cluster: &Cluster, loaded: &mut Loaded) -> anyhow::Result<Option<String>> {
    let ingresses = loaded.objects.ingresses.iter();
    let named: BTreeSet<Key> =
        ingresses.flat_map(|(key, ingress)| secrets_of(key, &ingress.object)).collect();
    let asked = futures_util::stream::iter(named).map(|key| async {
        let (Key { namespace, name }, (group, resource)) = (&key, SECRETS.path);
        let path = format!("{group}/namespaces/{namespace}/{resource}/{}", escape(name));
        match cluster.text(&path).await {
            Ok(text) => Ok((key, Ok(Some(text)))),
            Err(Refusal::Missing) => Ok((key, Ok(None))),
            Err(Refusal::Forbidden(why)) => Ok((key, Err(why))),
            Err(Refusal::Broken(why)) => {
                Err(unreachable(format!("cannot read Secret {namespace}/{name}: {why}")))
            }
        }
    });
    let answers: Vec<_> = asked.buffered(AT_ONCE).try_collect().await?;
    Ok(take_answers(answers, loaded))
}

/// A Secret, `None` where there is none, or why it may not be read.
type Answer = Result<Option<String>, String>;

fn take_answers(answers: Vec<(Key, Answer)>, loaded: &mut Loaded) -> Option<String> {
    let mut refusal = None;
    let mut withheld = BTreeSet::new();
    for (key, answer) in answers {
        match answer {
            Ok(Some(text)) => take(SECRETS.kind, &text, loaded),
            Ok(None) => {}
            Err(why) => {
                withheld.insert(key);
                refusal.get_or_insert(why);
            }
        }
    }
    loaded.objects.withheld = Arc::new(withheld);
    refusal
}

/// The class of the flags, where classes may not be read: as the controller does it.
fn assumed_class(settings: &Settings) -> String {
    let (name, controller) = (&settings.ingress_class, &settings.controller_class);
    serde_json::json!({"metadata": {"name": name}, "spec": {"controller": controller}}).to_string()
}

fn take(kind: &str, text: &str, loaded: &mut Loaded) {
    match json::object(kind, text) {
        Ok(object) => drop(loaded.objects.insert(object)),
        Err(problem) => loaded.problems.push(*problem),
    }
}

/// The Ingresses with these labels; what they meet is read whatever it is labelled.
async fn meant(cluster: &Cluster, selector: &str) -> anyhow::Result<BTreeSet<(String, String)>> {
    #[derive(Deserialize)]
    struct Named {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        namespace: String,
        name: String,
    }
    let query = format!("&labelSelector={}", escape(selector));
    let found = cluster.objects::<Named>(INGRESSES, cluster.selection(), &query).await;
    let found = found.map_err(|why| unreachable(format!("cannot list Ingresses with {selector}: {why}")))?;
    Ok(found.into_iter().map(|item| (item.metadata.namespace, item.metadata.name)).collect())
}

impl Judged {
    /// Everything that is wrong at `now`, and what could not be judged.
    pub(super) fn findings(self, now: i64) -> Vec<Finding> {
        let Self { settings, loaded, unreadable, meant } = self;
        let unjudged: BTreeSet<Reason> =
            unreadable.iter().flat_map(|(source, _)| source.unjudged).copied().collect();
        let is_meant = |problem: &Problem| match &meant {
            Some(meant) if &*problem.object.kind == "Ingress" => {
                meant.contains(&(problem.object.namespace.to_string(), problem.object.name.to_string()))
            }
            _ => true,
        };
        // Objects of an API server stand in no file.
        let nowhere = Folder::new();
        let problems = problems(loaded, &settings, now).into_iter();
        let problems = problems.filter(|problem| !unjudged.contains(&problem.reason) && is_meant(problem));
        let mut findings: Vec<_> = problems.map(|problem| finding(problem, &nowhere)).collect();
        findings.extend(unreadable.iter().map(|(source, why)| not_readable(source, why)));
        sorted(findings)
    }
}

fn not_readable(source: &Source, why: &str) -> Finding {
    let object =
        ObjectName { kind: source.kind.to_owned(), namespace: String::new(), name: "all".to_owned() };
    Finding {
        object,
        level: Level::Info.as_str(),
        reason: "Forbidden",
        rule: "not-readable",
        message: format!("these may not be read, so whether any is missing is not judged: {why}"),
        path: String::new(),
        file: None,
        line: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ingress(name: &str) -> String {
        let backend = json!({"service": {"name": "gone", "port": {"number": 80}}});
        let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
        json!({
            "metadata": {"namespace": "shop", "name": name},
            "spec": {
                "ingressClassName": "ringress",
                "tls": [{"hosts": [format!("{name}.test")], "secretName": "gone"}],
                "rules": [{"host": format!("{name}.test"), "http": {"paths": [path]}}],
            },
        })
        .to_string()
    }

    fn found(unreadable: &[&str], meant: Option<&str>) -> Vec<(String, &'static str)> {
        let mut loaded = Loaded { objects: Objects::default(), problems: Vec::new() };
        ["a", "b"].iter().for_each(|name| take("Ingress", &ingress(name), &mut loaded));
        take("IngressClass", &assumed_class(&Settings::default()), &mut loaded);
        let sources = SOURCES.iter().filter(|source| unreadable.contains(&source.kind));
        let mut unread: Vec<_> = sources.map(|source| (source, "no".to_owned())).collect();
        let gone = Key { namespace: "shop".into(), name: "gone".into() };
        let answer = if unreadable.contains(&"Secret") { Err("no".to_owned()) } else { Ok(None) };
        unread.extend(take_answers(vec![(gone, answer)], &mut loaded).map(|why| (&SECRETS, why)));
        let meant = meant.map(|name| BTreeSet::from([("shop".to_owned(), name.to_owned())]));
        let settings = Settings { apply_default_class: false, ..Settings::default() };
        let findings = Judged { settings, loaded, unreadable: unread, meant }.findings(0);
        assert!(findings.iter().all(|finding| finding.file.is_none() && finding.line.is_none()));
        findings.into_iter().map(|finding| (finding.object.name, finding.rule)).collect()
    }

    fn rows(rows: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
        rows.iter().map(|(name, rule)| ((*name).to_owned(), *rule)).collect()
    }

    #[test]
    fn what_may_not_be_read_is_said_once_and_never_called_missing() {
        let all = rows(&[
            ("a", "service-missing"),
            ("a", "secret-missing"),
            ("b", "service-missing"),
            ("b", "secret-missing"),
        ]);
        assert_eq!(found(&[], None), all);
        assert_eq!(found(&["Secret"], Some("a")), rows(&[("a", "service-missing"), ("all", "not-readable")]));
        let unread = rows(&[("all", "not-readable"), ("all", "not-readable")]);
        assert_eq!(found(&["Secret", "Service"], None), unread);
    }

    #[test]
    fn what_is_left_open_is_as_the_controller_was_told() {
        let flags =
            [("ingress-class", "edge"), ("controller-class", "a/b"), ("watch-ingress-without-class", "true")];
        let flags = flags.map(|(flag, value)| (flag.to_owned(), value.to_owned())).into();
        let given = Settings { ingress_class: "mine".to_owned(), ..Settings::default() };
        let settings = as_told(given, &flags);
        assert_eq!((&*settings.ingress_class, &*settings.controller_class), ("mine", "a/b"));
        assert!(settings.watch_ingress_without_class);
        assert_eq!(
            as_told(Settings::default(), &BTreeMap::new()).controller_class,
            Settings::default().controller_class
        );
    }

    #[test]
    fn labels_choose_the_ingresses_and_not_what_they_meet() {
        assert_eq!(found(&[], Some("b")), rows(&[("b", "service-missing"), ("b", "secret-missing")]));
    }
}
