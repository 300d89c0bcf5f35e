//! What is said of objects that were read, and of those that could not be.

use serde_json::{Value, json};

use super::releases::{Flags, of_releases};
use super::*;
use crate::ask::Watched;

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

fn shop() -> Selection {
    Selection::Namespace("shop".to_owned())
}

/// What was read, and is reported on where it stands in the namespace shop.
fn judged(releases: Vec<Judge>, loaded: Loaded) -> Judged {
    let meant = Meant { selection: shop(), labelled: None };
    let (unreadable, elsewhere, extent) = (Vec::new(), Vec::new(), extent(1));
    Judged { releases, loaded, unreadable, elsewhere, meant, extent }
}

fn extent(ingresses: usize) -> Extent {
    Extent { ingresses, place: place(&shop(), false) }
}

#[test]
fn how_much_was_judged_is_said() {
    let said = |ingresses| {
        let judged = Some(extent(ingresses));
        let report = Report { release: None, findings: Vec::new(), judged };
        report.text(crate::terminal::Style::plain())
    };
    assert_eq!(said(3), "nothing is wrong: 3 Ingresses in the namespace shop\n");
    assert_eq!(said(0), "nothing is wrong: there is no Ingress in the namespace shop, so none was judged\n");
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
    let refused = take_answers(vec![(gone, answer)], &shop(), &mut loaded);
    unread.extend(refused.meant.map(|why| (&SECRETS, why)));
    let labelled = meant.map(|name| BTreeSet::from([("shop".to_owned(), name.to_owned())]));
    let settings = Settings { apply_default_class: false, ..Settings::default() };
    let releases = vec![Judge { release: None, settings, watched: Watched::default() }];
    let meant = Meant { selection: shop(), labelled };
    let mut reports = Judged { unreadable: unread, meant, ..judged(releases, loaded) }.reports(0);
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
    let releases = of_releases(&Settings::default(), vec![told("ng/ng", "nginx"), told("r/r", "ringress")]);
    let reports = judged(releases, loaded).reports(0);
    let said = |at: usize, rule: &str| -> Vec<&str> {
        let found = reports[at].findings.iter().filter(|finding| finding.rule == rule);
        found.map(|finding| &*finding.object.name).collect()
    };
    assert_eq!((said(0, "service-missing"), said(1, "service-missing")), (vec!["theirs"], vec!["mine"]));
    assert_eq!((said(0, "class-not-ours"), said(1, "class-not-ours")), (vec!["nobodys"], vec!["nobodys"]));
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
    let findings = judged(releases, loaded).reports(0).into_iter().flat_map(|report| report.findings);
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
    let elsewhere = ("r/a", "watch-namespace", "edge");
    assert_eq!(unwatched_by(&[elsewhere, ("r/b", "watch-namespace", "shop")]), none);
    let nobody = unwatched_by(&[elsewhere, ("r/b", "watch-namespace", "infra")]);
    assert!(nobody.len() == 2 && nobody[1].starts_with("not watched by the release r/b "), "{nobody:?}");
    // The class is another one's there, so that nobody serves it.
    let classed = unwatched_by(&[elsewhere, ("r/b", "controller-class", "example.com/b")]);
    assert_eq!(classed.len(), 1, "{classed:?}");
    // Which namespaces it takes was not asked.
    assert_eq!(unwatched_by(&[("r/r", "watch-namespace-selector", "team=a")]), none);
}

#[test]
fn labels_choose_the_ingresses_and_not_what_they_meet() {
    assert_eq!(found(&[], Some("b")), rows(&[("b", "service-missing"), ("b", "secret-missing")]));
}

/// One that is older than all others.
fn older(namespace: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut older: Value = serde_json::from_str(&ingress("a")).unwrap();
    older["metadata"] =
        json!({"namespace": namespace, "name": "older", "creationTimestamp": "2020-01-01T00:00:00Z"});
    change(&mut older);
    older.to_string()
}

/// What is said of the namespace shop, where a release has this flag and the namespace far has an older Ingress for the same.
fn beside_far(flag: &str, value: &str) -> Vec<(String, &'static str)> {
    let mut loaded = Loaded { objects: Objects::default(), problems: Vec::new() };
    let mut newer: Value = serde_json::from_str(&ingress("a")).unwrap();
    newer["metadata"]["creationTimestamp"] = json!("2021-01-01T00:00:00Z");
    for text in [newer.to_string(), older("far", |_| {})] {
        take(INGRESS, &text, &mut loaded);
    }
    take("IngressClass", &assumed_class(&Settings::default()), &mut loaded);
    let flags = Flags::from([(flag.to_owned(), value.to_owned())]);
    let releases = of_releases(&Settings::default(), vec![(None, Ok(flags))]);
    let findings = judged(releases, loaded).reports(0).remove(0).findings;
    findings.into_iter().map(|finding| (finding.object.to_string(), finding.rule)).collect()
}

#[test]
fn what_another_namespace_has_first_is_said_of_the_one_that_is_meant() {
    let of_shop = |rules: &[&'static str]| -> Vec<_> {
        rules.iter().map(|rule| ("Ingress shop/a".to_owned(), *rule)).collect()
    };
    let beside = beside_far("watch-namespace", "");
    assert!(beside.contains(&("Ingress shop/a".to_owned(), "shadowed-by")), "{beside:?}");
    assert!(beside.iter().all(|(object, _)| object == "Ingress shop/a"), "{beside:?}");
    // What a release does not watch takes nothing.
    let alone = of_shop(&["service-missing", "secret-missing"]);
    assert_eq!(beside_far("watch-namespace", "shop"), alone);
}

#[test]
fn what_may_not_be_read_of_other_namespaces_is_said_once() {
    let loaded = Loaded { objects: Objects::default(), problems: Vec::new() };
    let releases = of_releases(&Settings::default(), vec![(None, Ok(Flags::new()))]);
    let elsewhere = vec![Elsewhere { kind: INGRESS, why: "no".to_owned() }];
    let findings = Judged { elsewhere, ..judged(releases, loaded) }.reports(0).remove(0).findings;
    let [only] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(
        (only.object.to_string().as_str(), only.rule, only.level),
        ("Ingress all", "not-readable", "info")
    );
    assert!(only.message.contains("of other namespaces") && only.message.ends_with(": no"), "{only:?}");
}

#[test]
fn secrets_of_others_are_asked_for_where_they_alone_tell_for_which_hosts_they_are() {
    let mut loaded = Loaded { objects: Objects::default(), problems: Vec::new() };
    let unnamed = older("near", |one| one["spec"]["tls"] = json!([{"secretName": "unnamed"}]));
    for text in [ingress("a"), older("far", |_| {}), unnamed] {
        take(INGRESS, &text, &mut loaded);
    }
    let key = |namespace: &str, name: &str| Key { namespace: namespace.into(), name: name.into() };
    let (own, other) = (key("shop", "gone"), key("near", "unnamed"));
    assert_eq!(secrets(&loaded.objects, &shop()), [own.clone(), other.clone()].into());
    let no = || Err("no".to_owned());
    let refused = take_answers(vec![(own.clone(), no()), (other, no())], &shop(), &mut loaded);
    assert!(refused.meant.is_some() && refused.elsewhere.is_some());
    assert_eq!(*loaded.objects.withheld, [own].into(), "of others nothing is said");
}
