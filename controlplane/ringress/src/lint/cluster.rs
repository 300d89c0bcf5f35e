//! The objects of a cluster as `lint` judges them: read once, with the rights of whoever asks.
//!
//! What may not be read is said once, and nothing is called missing that may well be there.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::networking::v1::Ingress;
use ringress_controller::source::kube::escape;
use ringress_shared::origin::ObjectRef;
use ringress_translate::manifest::{Folder, Loaded, json};
use ringress_translate::references::secrets_of;
use ringress_translate::{Key, Level, Objects, Problem, Reason, Settings};
use serde::Deserialize;

use super::releases::{self, Judge};
use super::{Extent, Finding, Report, finding, problems, sorted};
use crate::args::Choice;
use crate::ask::{Cluster, Refusal, Selection, Target, unreachable};
use crate::wire::ObjectName;

/// What was read.
pub(super) struct Judged {
    /// Each release that runs.
    releases: Vec<Judge>,
    loaded: Loaded,
    /// Kinds that may not be read, and why.
    unreadable: Vec<(&'static Source, String)>,
    /// What may not be read of other namespaces.
    elsewhere: Vec<Elsewhere>,
    meant: Meant,
    extent: Extent,
}

/// What is reported on. What it meets is read wherever it stands: an Ingress of another namespace may have its hosts.
struct Meant {
    selection: Selection,
    /// The Ingresses with the labels that were asked for; `None`: all.
    labelled: Option<BTreeSet<(String, String)>>,
}

/// Objects of namespaces that nothing is reported on, and why they may not be read.
struct Elsewhere {
    kind: &'static str,
    why: String,
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

/// Reads what the user's namespaces hold, and what of others may take something from it.
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
    let selection = cluster.selection();
    let mut loaded = Loaded { objects: Objects::default(), problems: Vec::new() };
    let mut elsewhere = take_ingresses(cluster, &mut loaded).await?;
    let ingresses = count(&loaded, selection);
    let mut unreadable = Vec::new();
    for source in &SOURCES {
        match listed(cluster, source, selection).await {
            Ok(items) => items.iter().for_each(|item| take(source.kind, item, &mut loaded)),
            Err(Refusal::Forbidden(why)) => unreadable.push((source, why)),
            Err(why) => return Err(unreachable(format!("cannot list {}: {why}", source.path.1))),
        }
    }
    let refused = take_secrets(cluster, &mut loaded).await?;
    unreadable.extend(refused.meant.map(|why| (&SECRETS, why)));
    elsewhere.extend(refused.elsewhere.map(|why| Elsewhere { kind: SECRETS.kind, why }));
    let labelled = match &selector {
        Some(selector) => Some(labelled(cluster, selector).await?),
        None => None,
    };
    let ingresses = labelled.as_ref().map_or(ingresses, BTreeSet::len);
    let extent = Extent { ingresses, place: place(selection, selector.is_some()) };
    let meant = Meant { selection: selection.clone(), labelled };
    let releases = releases::read(cluster, &settings).await;
    Ok(Judged { releases, loaded, unreadable, elsewhere, meant, extent })
}

/// Takes those of all namespaces; where that is refused, those that are reported on.
async fn take_ingresses(cluster: &Cluster, loaded: &mut Loaded) -> anyhow::Result<Vec<Elsewhere>> {
    let mut elsewhere = Vec::new();
    let found = match (cluster.list(INGRESSES, &Selection::All, "").await, cluster.selection()) {
        (Err(Refusal::Forbidden(why)), own @ Selection::Namespace(_)) => {
            elsewhere.push(Elsewhere { kind: INGRESS, why });
            cluster.list(INGRESSES, own, "").await
        }
        (found, _) => found,
    };
    let found = found.map_err(|why| unreachable(format!("cannot list Ingresses: {why}")))?;
    found.iter().for_each(|item| take(INGRESS, item.get(), loaded));
    Ok(elsewhere)
}

/// Ingresses that are reported on, those that cannot be decoded included.
fn count(loaded: &Loaded, selection: &Selection) -> usize {
    let decoded = loaded.objects.ingresses.keys().map(|key| &key.namespace);
    let others = loaded.problems.iter().map(|problem| &problem.object.namespace);
    decoded.chain(others).filter(|namespace| selection.takes(namespace)).count()
}

async fn listed(cluster: &Cluster, source: &Source, selection: &Selection) -> Result<Vec<String>, Refusal> {
    let everywhere = Selection::All;
    let selection = if source.is_namespaced { selection } else { &everywhere };
    let items = cluster.list(source.path, selection, "").await?;
    Ok(items.iter().map(|item| item.get().to_owned()).collect())
}

/// Why Secrets may not be read.
#[derive(Default)]
struct Refused {
    meant: Option<String>,
    elsewhere: Option<String>,
}

/// Takes the Secrets that the Ingresses name, and says why one may not be read: those are withheld, as nobody can say whether
/// they are there.
async fn take_secrets(cluster: &Cluster, loaded: &mut Loaded) -> anyhow::Result<Refused> {
    let selection = cluster.selection();
    let asked = futures_util::stream::iter(secrets(&loaded.objects, selection)).map(|key| async {
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
    let answers = asked.buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(take_answers(answers, selection, loaded))
}

/// Those that what is reported on names; of others those that alone tell which hosts they are for.
fn secrets(objects: &Objects, selection: &Selection) -> BTreeSet<Key> {
    let names_no_host = |ingress: &Ingress| {
        let entries = ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten());
        entries.into_iter().any(|tls| tls.hosts.as_ref().is_none_or(Vec::is_empty))
    };
    let ingresses = objects.ingresses.iter().map(|(key, stored)| (key, &stored.object));
    let concerned =
        ingresses.filter(|(key, ingress)| selection.takes(&key.namespace) || names_no_host(ingress));
    concerned.flat_map(|(key, ingress)| secrets_of(key, ingress)).collect()
}

/// A Secret, `None` where there is none, or why it may not be read.
type Answer = Result<Option<String>, String>;

fn take_answers(answers: Vec<(Key, Answer)>, selection: &Selection, loaded: &mut Loaded) -> Refused {
    let mut refused = Refused::default();
    let mut withheld = BTreeSet::new();
    for (key, answer) in answers {
        match answer {
            Ok(Some(text)) => take(SECRETS.kind, &text, loaded),
            Ok(None) => {}
            Err(why) if selection.takes(&key.namespace) => {
                withheld.insert(key);
                refused.meant.get_or_insert(why);
            }
            Err(why) => drop(refused.elsewhere.get_or_insert(why)),
        }
    }
    loaded.objects.withheld = Arc::new(withheld);
    refused
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

fn place(selection: &Selection, is_selected: bool) -> String {
    let labels = if is_selected { "with these labels " } else { "" };
    match selection {
        Selection::All => format!("{labels}in all namespaces"),
        Selection::Namespace(name) => format!("{labels}in the namespace {name}"),
    }
}

/// The Ingresses with these labels; what they meet is read whatever it is labelled.
async fn labelled(cluster: &Cluster, selector: &str) -> anyhow::Result<BTreeSet<(String, String)>> {
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

impl Meant {
    fn has(&self, kind: &str, namespace: &str, name: &str) -> bool {
        let is_labelled = |labelled: &BTreeSet<(String, String)>| {
            kind != INGRESS || labelled.contains(&(namespace.to_owned(), name.to_owned()))
        };
        self.selection.takes(namespace) && self.labelled.as_ref().is_none_or(is_labelled)
    }
}

impl Judged {
    /// Everything that is wrong at `now`, and what could not be judged, as each release sees it.
    pub(super) fn reports(mut self, now: i64) -> Vec<Report> {
        let releases = std::mem::take(&mut self.releases);
        let of = |judge: Judge| {
            let findings = self.findings(&judge, now).into_iter();
            let release = judge.release;
            let findings = findings.map(|finding| Finding { release: release.clone(), ..finding }).collect();
            Report { release, findings, judged: Some(self.extent.clone()) }
        };
        let mut reports: Vec<Report> = releases.into_iter().map(of).collect();
        leave_to_others(&mut reports);
        reports
    }

    fn findings(&self, judge: &Judge, now: i64) -> Vec<Finding> {
        let Self { unreadable, elsewhere, meant, .. } = self;
        let unjudged: BTreeSet<Reason> =
            unreadable.iter().flat_map(|(source, _)| source.unjudged).copied().collect();
        let is_judged = |problem: &Problem| {
            let ObjectRef { kind, namespace, name } = &problem.object;
            !unjudged.contains(&problem.reason) && meant.has(kind, namespace, name)
        };
        // Objects of an API server stand in no file.
        let nowhere = Folder::new();
        let problems = problems(self.seen_by(judge), &judge.settings, now).into_iter().filter(is_judged);
        let mut findings: Vec<_> = problems.map(|problem| finding(problem, &nowhere)).collect();
        findings.extend(self.unwatched(judge, &findings));
        findings.extend(unreadable.iter().map(|(source, why)| not_readable(source.kind, ALL, why)));
        findings.extend(elsewhere.iter().map(|Elsewhere { kind, why }| not_readable(kind, OTHERS, why)));
        sorted(findings)
    }

    /// The objects, as far as a release looks at them: what it does not watch takes nothing from what is reported on.
    fn seen_by(&self, Judge { settings, watched, .. }: &Judge) -> Loaded {
        let mut loaded = self.loaded.clone();
        if self.unreadable.iter().any(|(source, _)| source.kind == "IngressClass") {
            take("IngressClass", &assumed_class(settings), &mut loaded);
        }
        let is_unseen =
            |key: &&Key| !self.meant.selection.takes(&key.namespace) && !watched.has(&key.namespace);
        for key in self.loaded.objects.ingresses.keys().filter(is_unseen) {
            loaded.objects.remove(&key.reference(INGRESS));
        }
        loaded
    }

    /// A remark for each Ingress that is meant, of the class of the release and not watched by it.
    fn unwatched(&self, judge: &Judge, findings: &[Finding]) -> Vec<Finding> {
        let of_another = |object: &ObjectName| {
            findings.iter().any(|finding| is_of_another_class(finding) && finding.object == *object)
        };
        let keys = self.loaded.objects.ingresses.keys();
        let meant = keys.filter(|key| self.meant.has(INGRESS, &key.namespace, &key.name));
        let elsewhere = meant.filter(|key| !judge.watched.has(&key.namespace));
        let objects = elsewhere.map(|key| ObjectName::from(&key.reference(INGRESS)));
        objects.filter(|object| !of_another(object)).map(|object| not_watched(judge, object)).collect()
    }
}

fn is_of_another_class(finding: &Finding) -> bool {
    finding.reason == Reason::ClassNotOwned.as_str()
}

/// That an object is not its own, a release need not say where another one takes it.
fn leave_to_others(reports: &mut [Report]) {
    let is_foreign = |finding: &Finding| is_of_another_class(finding) || finding.reason == NOT_WATCHED;
    let foreign_to = |report: &Report| -> BTreeSet<ObjectName> {
        report
            .findings
            .iter()
            .filter(|finding| is_foreign(finding))
            .map(|found| found.object.clone())
            .collect()
    };
    let everywhere =
        reports.iter().map(foreign_to).reduce(|all, next| all.intersection(&next).cloned().collect());
    let everywhere = everywhere.unwrap_or_default();
    for report in reports {
        report.findings.retain(|finding| !is_foreign(finding) || everywhere.contains(&finding.object));
    }
}

/// What to say of an Ingress that stands where a release does not look.
fn not_watched(Judge { release, watched, .. }: &Judge, object: ObjectName) -> Finding {
    let who = release.as_ref().map_or_else(|| "the release".to_owned(), |name| format!("the release {name}"));
    let message = format!(
        "not watched by {who} ({}), and so not served by it; {}",
        watched.flag(),
        watched.next_step(&object.namespace)
    );
    let path = "metadata.namespace".to_owned();
    Finding { path, ..remark(object, (NOT_WATCHED, "not-watched"), message) }
}

/// What cannot be said without kinds that may not be read.
const ALL: &str = "these may not be read, so whether any is missing is not judged";

/// The same of those in namespaces that nothing is reported on.
const OTHERS: &str = "those of other namespaces may not be read, so whether one of them has a host, a path or a name first is not judged";

fn not_readable(kind: &str, consequence: &str, why: &str) -> Finding {
    let object = ObjectName { kind: kind.to_owned(), namespace: String::new(), name: "all".to_owned() };
    remark(object, ("Forbidden", "not-readable"), format!("{consequence}: {why}"))
}

fn remark(object: ObjectName, (reason, rule): (&'static str, &'static str), message: String) -> Finding {
    let level = Level::Info.as_str();
    Finding {
        object,
        level,
        reason,
        rule,
        message,
        path: String::new(),
        file: None,
        line: None,
        release: None,
    }
}

const NOT_WATCHED: &str = "NotWatched";

const INGRESS: &str = "Ingress";

#[cfg(test)]
mod tests;
