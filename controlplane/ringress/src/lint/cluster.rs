//! The objects of a cluster as `lint` judges them: read once, with the rights of whoever asks.
//!
//! What may not be read is said once, and nothing is called missing that may well be there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Namespace;
use ringress_controller::source::kube::escape;
use ringress_translate::manifest::{Folder, Loaded, json};
use ringress_translate::references::secrets_of;
use ringress_translate::{Key, Level, Objects, Problem, Reason, Settings};
use serde::Deserialize;

use super::{Extent, Finding, Report, finding, problems, sorted};
use crate::args::Choice;
use crate::ask::{Cluster, Refusal, Replica, Selection, Target, releases, unreachable};
use crate::terminal::escaped;
use crate::wire::ObjectName;

/// What was read.
pub(super) struct Judged {
    /// Each release that runs.
    releases: Vec<Judge>,
    loaded: Loaded,
    /// Kinds that may not be read, and why.
    unreadable: Vec<(&'static Source, String)>,
    /// The Ingresses that are meant; `None`: all that were read.
    meant: Option<BTreeSet<(String, String)>>,
    extent: Extent,
}

/// A release, by whose flags objects are judged.
struct Judge {
    /// `None`: there is no other one to tell it from.
    release: Option<String>,
    /// Those of the user, with what the release was told.
    settings: Settings,
    watched: Watched,
}

/// The namespaces that a release serves, and the flag that says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Watched {
    flag: String,
    /// `None`: all of them.
    namespaces: Option<BTreeSet<String>>,
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
    let told = told(cluster).await;
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
    let is_selected = selector.is_some();
    let meant = match selector {
        Some(selector) => Some(meant(cluster, &selector).await?),
        None => None,
    };
    let ingresses = meant.as_ref().map_or(ingresses.len(), BTreeSet::len);
    let extent = Extent { ingresses, place: place(selection, is_selected) };
    for line in unasked(&told, &settings) {
        eprintln!("warning: {line}");
    }
    let mut releases = of_releases(&settings, told);
    for judge in &mut releases {
        judge.watched.select(cluster).await;
    }
    Ok(Judged { releases, loaded, unreadable, meant, extent })
}

type Flags = BTreeMap<String, String>;

/// A release that runs, and its flags, or why it cannot be asked for them.
type Told = (Option<String>, Result<Flags, String>);

/// What each release was told. Where nobody can be asked, that is no reason not to judge.
async fn told(cluster: &Cluster) -> Vec<Told> {
    match cluster.replicas().await {
        Ok(none) if none.is_empty() => vec![(None, Err(cluster.nothing_runs()))],
        Ok(replicas) => {
            let found = releases(replicas).into_iter();
            join_all(found.map(async |release| (release.name, flags(release.replicas).await))).await
        }
        Err(why) => vec![(None, Err(format!("{why:#}")))],
    }
}

/// What to say of releases that are judged by flags that nobody told.
fn unasked(told: &[Told], settings: &Settings) -> Vec<String> {
    let Settings { ingress_class, controller_class, watch_ingress_without_class, .. } = settings;
    let silent = told.iter().filter_map(|(release, flags)| Some((release, flags.as_ref().err()?)));
    let line = |(release, why): (&Option<String>, &String)| {
        let who = match release {
            Some(name) => format!("the release {name} cannot be asked for its flags"),
            None => "no release can be asked for its flags".to_owned(),
        };
        format!(
            "{who} ({}), so these are assumed: --ingress-class {ingress_class} --controller-class {controller_class} \
             --watch-ingress-without-class={watch_ingress_without_class}; give those that it runs with",
            escaped(why)
        )
    };
    silent.map(line).collect()
}

/// One that is not told apart where there is no other.
fn of_releases(settings: &Settings, told: Vec<Told>) -> Vec<Judge> {
    let is_alone = told.len() == 1;
    let of = |(release, flags): Told| {
        let flags = flags.unwrap_or_default();
        let release = release.filter(|_| !is_alone);
        Judge { release, settings: as_told(settings.clone(), &flags), watched: Watched::of(&flags) }
    };
    told.into_iter().map(of).collect()
}

const WATCH_NAMESPACE: &str = "watch-namespace";

const WATCH_NAMESPACE_SELECTOR: &str = "watch-namespace-selector";

impl Watched {
    /// As the flags say; which namespaces a selector takes is not known yet.
    fn of(flags: &Flags) -> Self {
        let told = |flag: &str| flags.get(flag).filter(|value| !value.is_empty());
        let said = |flag: &str, value: &str| format!("--{flag}={value}");
        if let Some(value) = told(WATCH_NAMESPACE) {
            let names = value.split(',').map(|name| name.trim().to_owned()).collect();
            return Self { flag: said(WATCH_NAMESPACE, value), namespaces: Some(names) };
        }
        let selector = told(WATCH_NAMESPACE_SELECTOR).map(|value| said(WATCH_NAMESPACE_SELECTOR, value));
        Self { flag: selector.unwrap_or_default(), namespaces: None }
    }

    /// Asks which namespaces the selector takes. Where that may not be known, nothing is called unwatched.
    async fn select(&mut self, cluster: &Cluster) {
        let prefix = format!("--{WATCH_NAMESPACE_SELECTOR}=");
        let Some(selector) = self.flag.strip_prefix(&prefix) else { return };
        let query = format!("&labelSelector={}", escape(selector));
        match cluster.objects::<Namespace>(("/api/v1", "namespaces"), &Selection::All, &query).await {
            Ok(found) => {
                self.namespaces = Some(found.into_iter().filter_map(|found| found.metadata.name).collect());
            }
            Err(why) => eprintln!(
                "warning: cannot list Namespaces ({}), so what {} leaves out is not said",
                escaped(&why.to_string()),
                self.flag
            ),
        }
    }

    fn has(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|names| names.contains(namespace))
    }

    /// What to say of an Ingress that stands elsewhere.
    fn remark(&self, release: Option<&str>, object: ObjectName) -> Finding {
        let who = release.map_or_else(|| "the release".to_owned(), |name| format!("the release {name}"));
        let message = format!(
            "not watched by {who} ({}), and so not served by it; let the flag have namespace {}",
            self.flag, object.namespace
        );
        let (level, path) = (Level::Info.as_str(), "metadata.namespace".to_owned());
        Finding {
            object,
            level,
            reason: NOT_WATCHED,
            rule: "not-watched",
            message,
            path,
            file: None,
            line: None,
            release: None,
        }
    }
}

const NOT_WATCHED: &str = "NotWatched";

/// The flags of the first ready replica that answers.
async fn flags(replicas: Vec<Replica>) -> Result<Flags, String> {
    #[derive(Deserialize)]
    struct Page {
        flags: Vec<Flag>,
    }
    #[derive(Deserialize)]
    struct Flag {
        flag: String,
        value: String,
    }
    let mut silent = "no replica of it is ready".to_owned();
    for replica in replicas.into_iter().filter(Replica::is_ready) {
        match replica.get::<Page>("/flags").await {
            Ok(Page { flags }) => {
                return Ok(flags.into_iter().map(|Flag { flag, value }| (flag, value)).collect());
            }
            Err(error) => silent = format!("{error:#}"),
        }
    }
    Err(silent)
}

/// What the user leaves open is as the controller that runs has it.
fn as_told(settings: Settings, flags: &Flags) -> Settings {
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
        // What protects is told by it.
        annotations_prefix: or_told(
            settings.annotations_prefix,
            defaults.annotations_prefix,
            "annotations-prefix",
        ),
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

fn place(selection: &Selection, is_selected: bool) -> String {
    let labels = if is_selected { "with these labels " } else { "" };
    match selection {
        Selection::All => format!("{labels}in all namespaces"),
        Selection::Namespace(name) => format!("{labels}in the namespace {name}"),
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
        let Self { loaded, unreadable, meant, .. } = self;
        let settings = &judge.settings;
        let mut loaded = loaded.clone();
        if unreadable.iter().any(|(source, _)| source.kind == "IngressClass") {
            take("IngressClass", &assumed_class(settings), &mut loaded);
        }
        let unjudged: BTreeSet<Reason> =
            unreadable.iter().flat_map(|(source, _)| source.unjudged).copied().collect();
        let is_meant = |problem: &Problem| match meant {
            Some(meant) if &*problem.object.kind == "Ingress" => {
                meant.contains(&(problem.object.namespace.to_string(), problem.object.name.to_string()))
            }
            _ => true,
        };
        // Objects of an API server stand in no file.
        let nowhere = Folder::new();
        let problems = problems(loaded, settings, now).into_iter();
        let problems = problems.filter(|problem| !unjudged.contains(&problem.reason) && is_meant(problem));
        let mut findings: Vec<_> = problems.map(|problem| finding(problem, &nowhere)).collect();
        findings.extend(self.unwatched(judge, &findings));
        findings.extend(unreadable.iter().map(|(source, why)| not_readable(source, why)));
        sorted(findings)
    }
}

impl Judged {
    /// A remark for each Ingress that is meant, of the class of the release and not watched by it.
    fn unwatched(&self, judge: &Judge, findings: &[Finding]) -> Vec<Finding> {
        let Judge { release, watched, .. } = judge;
        let of_another = |object: &ObjectName| {
            findings.iter().any(|finding| is_of_another_class(finding) && finding.object == *object)
        };
        let names =
            self.loaded.objects.ingresses.keys().map(|key| (key.namespace.to_string(), key.name.to_string()));
        let names = names.filter(|name| self.meant.as_ref().is_none_or(|meant| meant.contains(name)));
        let elsewhere = names.filter(|(namespace, _)| !watched.has(namespace));
        let objects =
            elsewhere.map(|(namespace, name)| ObjectName { kind: "Ingress".to_owned(), namespace, name });
        objects
            .filter(|object| !of_another(object))
            .map(|object| watched.remark(release.as_deref(), object))
            .collect()
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
        release: None,
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

    fn extent(ingresses: usize) -> Extent {
        Extent { ingresses, place: place(&Selection::Namespace("shop".to_owned()), false) }
    }

    #[test]
    fn how_much_was_judged_is_said() {
        let said = |ingresses| {
            let judged = Some(extent(ingresses));
            let report = Report { release: None, findings: Vec::new(), judged };
            report.text(crate::terminal::Style::plain())
        };
        assert_eq!(said(3), "nothing is wrong: 3 Ingresses in the namespace shop\n");
        assert_eq!(
            said(0),
            "nothing is wrong: there is no Ingress in the namespace shop, so none was judged\n"
        );
    }

    fn found(unreadable: &[&str], meant: Option<&str>) -> Vec<(String, &'static str)> {
        let mut loaded = Loaded { objects: Objects::default(), problems: Vec::new() };
        ["a", "b"].iter().for_each(|name| take("Ingress", &ingress(name), &mut loaded));
        let class = assumed_class(&Settings::default());
        take("IngressClass", &class, &mut loaded);
        let sources = SOURCES.iter().filter(|source| unreadable.contains(&source.kind));
        let mut unread: Vec<_> = sources.map(|source| (source, "no".to_owned())).collect();
        let gone = Key { namespace: "shop".into(), name: "gone".into() };
        let answer = if unreadable.contains(&"Secret") { Err("no".to_owned()) } else { Ok(None) };
        unread.extend(take_answers(vec![(gone, answer)], &mut loaded).map(|why| (&SECRETS, why)));
        let meant = meant.map(|name| BTreeSet::from([("shop".to_owned(), name.to_owned())]));
        let settings = Settings { apply_default_class: false, ..Settings::default() };
        let releases = vec![Judge { release: None, settings, watched: Watched::default() }];
        let mut reports =
            Judged { releases, loaded, unreadable: unread, meant, extent: extent(2) }.reports(0);
        let findings = reports.remove(0).findings;
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
        let flags = [
            ("ingress-class", "edge"),
            ("controller-class", "a/b"),
            ("watch-ingress-without-class", "true"),
            ("annotations-prefix", "old.test"),
        ];
        let flags = flags.map(|(flag, value)| (flag.to_owned(), value.to_owned())).into();
        let given = Settings { ingress_class: "mine".to_owned(), ..Settings::default() };
        let settings = as_told(given, &flags);
        assert_eq!((&*settings.ingress_class, &*settings.controller_class), ("mine", "a/b"));
        assert!(settings.watch_ingress_without_class);
        assert_eq!(settings.annotations_prefix, "old.test");
        assert_eq!(
            as_told(Settings::default(), &BTreeMap::new()).controller_class,
            Settings::default().controller_class
        );
    }

    #[test]
    fn flags_that_are_assumed_are_named_with_the_release_and_why() {
        let settings = Settings { ingress_class: "mine".to_owned(), ..Settings::default() };
        let told = |name: &str, flags| (Some(name.to_owned()), flags);
        let lines =
            unasked(&[told("a/a", Ok(Flags::new())), told("b/b", Err("no\nanswer".to_owned()))], &settings);
        assert_eq!(
            lines,
            [
                "the release b/b cannot be asked for its flags (no\\nanswer), so these are assumed: --ingress-class mine \
              --controller-class ringress.dev/ingress-controller --watch-ingress-without-class=false; give those that it \
              runs with"
            ]
        );
        let nobody: Told = (None, Err("no controller runs".to_owned()));
        assert!(
            unasked(&[nobody], &settings)[0].starts_with("no release can be asked for its flags (no con")
        );
    }

    #[test]
    fn one_release_alone_is_not_told_apart() {
        let told = |flags| vec![(Some("a/a".to_owned()), flags)];
        let class = ("ingress-class".to_owned(), "edge".to_owned());
        for (flags, class) in [(Ok([class].into()), "edge"), (Err("away".to_owned()), "ringress")] {
            let [Judge { release, settings, .. }] = &of_releases(&Settings::default(), told(flags))[..]
            else {
                panic!("one release");
            };
            assert_eq!((release, &*settings.ingress_class), (&None, class));
        }
    }

    #[test]
    fn each_release_judges_its_own_objects() {
        let mut loaded = Loaded { objects: Objects::default(), problems: Vec::new() };
        for (name, class) in [("mine", "ringress"), ("theirs", "nginx"), ("nobodys", "other")] {
            take("Ingress", &ingress(name).replace("\"ringress\"", &format!("\"{class}\"")), &mut loaded);
            let controller = format!("example.com/{class}");
            let class = json!({"metadata": {"name": class}, "spec": {"controller": controller}});
            take("IngressClass", &class.to_string(), &mut loaded);
        }
        let told = |name: &str, class: &str| {
            let flags = [("controller-class".to_owned(), format!("example.com/{class}"))];
            (Some(name.to_owned()), Ok(flags.into()))
        };
        let releases =
            of_releases(&Settings::default(), vec![told("ng/ng", "nginx"), told("r/r", "ringress")]);
        let reports =
            Judged { releases, loaded, unreadable: Vec::new(), meant: None, extent: extent(3) }.reports(0);
        let said = |at: usize, rule: &str| -> Vec<&str> {
            let found = reports[at].findings.iter().filter(|finding| finding.rule == rule);
            found.map(|finding| &*finding.object.name).collect()
        };
        assert_eq!((said(0, "service-missing"), said(1, "service-missing")), (vec!["theirs"], vec!["mine"]));
        assert_eq!(
            (said(0, "class-not-ours"), said(1, "class-not-ours")),
            (vec!["nobodys"], vec!["nobodys"])
        );
        assert!(reports[0].text(crate::terminal::Style::plain()).starts_with("release ng/ng\n"));
    }

    /// Who says of the Ingress shop/a that it is not watched, where releases have these flags.
    fn unwatched_by(told: &[(&str, &str, &str)]) -> Vec<String> {
        let mut loaded = Loaded { objects: Objects::default(), problems: Vec::new() };
        take("Ingress", &ingress("a"), &mut loaded);
        take("IngressClass", &assumed_class(&Settings::default()), &mut loaded);
        let of = |(name, flag, value): &(&str, &str, &str)| {
            (Some((*name).to_owned()), Ok(Flags::from([((*flag).to_owned(), (*value).to_owned())])))
        };
        let releases = of_releases(&Settings::default(), told.iter().map(of).collect());
        let judged = Judged { releases, loaded, unreadable: Vec::new(), meant: None, extent: extent(1) };
        let findings = judged.reports(0).into_iter().flat_map(|report| report.findings);
        findings.filter(|finding| finding.rule == "not-watched").map(|finding| finding.message).collect()
    }

    #[test]
    fn an_ingress_that_a_release_does_not_watch_is_said_where_no_other_one_does() {
        let none: [&str; 0] = [];
        assert_eq!(unwatched_by(&[("r/r", "watch-namespace", "")]), none);
        assert_eq!(unwatched_by(&[("r/r", "watch-namespace", "edge, shop")]), none);
        let alone = unwatched_by(&[("r/r", "watch-namespace", "edge,infra")]);
        assert_eq!(
            alone,
            [
                "not watched by the release (--watch-namespace=edge,infra), and so not served by it; let the flag have \
              namespace shop"
            ]
        );
        let elsewhere = ("r/a", WATCH_NAMESPACE, "edge");
        assert_eq!(unwatched_by(&[elsewhere, ("r/b", WATCH_NAMESPACE, "shop")]), none);
        let nobody = unwatched_by(&[elsewhere, ("r/b", WATCH_NAMESPACE, "infra")]);
        assert!(nobody.len() == 2 && nobody[1].starts_with("not watched by the release r/b "), "{nobody:?}");
        // The class is another one's there, so that nobody serves it.
        let classed = unwatched_by(&[elsewhere, ("r/b", "controller-class", "example.com/b")]);
        assert_eq!(classed.len(), 1, "{classed:?}");
        // Which namespaces it takes was not asked.
        assert_eq!(unwatched_by(&[("r/r", WATCH_NAMESPACE_SELECTOR, "team=a")]), none);
    }

    #[test]
    fn labels_choose_the_ingresses_and_not_what_they_meet() {
        assert_eq!(found(&[], Some("b")), rows(&[("b", "service-missing"), ("b", "secret-missing")]));
    }
}
