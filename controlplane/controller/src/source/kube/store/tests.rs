//! The store as a machine: news in, objects out.

use super::super::plan;
use super::super::wire::item_of;
use super::*;

struct Bench {
    store: Store,
    watches: Vec<Watch>,
}

impl Bench {
    fn new(scope: Scope) -> Self {
        let watches = plan::watches(&scope);
        Self { store: Store::new(&scope, &watches, true), watches }
    }

    /// All first lists are there, and empty but for these.
    fn whole(scope: Scope, objects: &[(Kind, String)]) -> Self {
        let mut bench = Self::new(scope);
        let kinds: Vec<Kind> = bench.watches.iter().map(|watch| watch.kind).collect();
        for (watch, kind) in kinds.iter().enumerate() {
            let is_named = bench.watches[watch].names_only;
            let of_kind = objects.iter().filter(|(of, _)| of == kind && !is_named);
            let items = of_kind.map(|(_, text)| item_of(*kind, text));
            bench.store.take(watch, News::Page(items.collect()));
            bench.store.take(watch, News::Listed);
        }
        assert!(bench.store.is_whole());
        bench
    }

    fn number(&self, kind: Kind) -> usize {
        self.watches.iter().position(|watch| watch.kind == kind).unwrap()
    }

    fn put(&mut self, kind: Kind, text: &str) {
        let watch = self.number(kind);
        self.store.take(watch, News::Changed(Box::new(item_of(kind, text))));
    }

    fn delete(&mut self, kind: Kind, key: &str) {
        let watch = self.number(kind);
        self.store.take(watch, News::Deleted(key_of(key)));
    }

    fn list(&mut self, kind: Kind, texts: &[String]) -> Verdict {
        let watch = self.number(kind);
        self.store.take(watch, News::Page(texts.iter().map(|text| item_of(kind, text)).collect()));
        self.store.take(watch, News::Listed)
    }

    /// The only Secret that is asked for.
    fn asked(&mut self, key: &str) -> Asked {
        let asked = self.store.wanted_secrets();
        assert_eq!(asked.iter().map(|asked| &asked.key).collect::<Vec<_>>(), [&key_of(key)]);
        asked[0].clone()
    }

    /// As the watch of Secrets of other types says it.
    fn name(&mut self, key: &str) {
        let item = Item { key: key_of(key), content: Content::Named };
        self.store.take(self.others(), News::Changed(Box::new(item)));
    }

    fn others(&self) -> usize {
        self.watches.iter().position(|watch| watch.names_only).unwrap()
    }

    fn answer(&mut self, asked: &Asked, text: &str) {
        self.store.fetched(asked, Some(item_of(Kind::Secret, text)));
    }

    fn has(&self, kind: Kind, key: &str) -> bool {
        self.store.objects.contains(&kind.reference(&key_of(key)))
    }
}

fn key_of(text: &str) -> Key {
    let (namespace, name) = text.split_once('/').unwrap_or(("", text));
    Key::new(namespace, name)
}

fn object(key: &str, rest: &str) -> String {
    let key = key_of(key);
    format!(r#"{{"metadata":{{"namespace":"{}","name":"{}"}}{rest}}}"#, key.namespace, key.name)
}

fn ingress(key: &str, secret: &str) -> String {
    object(key, &format!(r#","spec":{{"tls":[{{"secretName":"{secret}"}}]}}"#))
}

fn secret(key: &str) -> String {
    object(key, r#","type":"kubernetes.io/tls","data":{"tls.crt":"eA==","tls.key":"eQ=="}"#)
}

#[test]
fn nothing_is_whole_before_every_kind_has_delivered_its_first_list() {
    let mut bench = Bench::new(Scope::default());
    for watch in 0..bench.watches.len() {
        assert!(!bench.store.is_whole(), "before {}", bench.watches[watch]);
        bench.store.take(watch, News::Listed);
    }
    assert!(bench.store.is_whole() && bench.store.is_changed());
}

#[test]
fn a_list_takes_out_what_it_lacks_and_changes_only_what_differs() {
    let services = ["a/x", "a/y"].map(|key| (Kind::Service, object(key, r#","spec":{}"#)));
    let mut bench = Bench::whole(Scope::default(), &services);
    bench.store.load();
    bench.list(Kind::Service, &services.clone().map(|(_, text)| text));
    assert!(!bench.store.is_changed(), "the same list is no change");
    bench.list(Kind::Service, &[object("a/y", r#","spec":{}"#)]);
    assert!(bench.store.is_changed());
    assert!(!bench.has(Kind::Service, "a/x") && bench.has(Kind::Service, "a/y"));
}

#[test]
fn a_list_of_one_namespace_says_nothing_about_the_others() {
    let scope = Scope { namespaces: ["a".to_owned(), "b".to_owned()].into(), ..Scope::default() };
    let mut bench = Bench::whole(scope, &[]);
    bench.put(Kind::Service, &object("a/x", ""));
    bench.put(Kind::Service, &object("b/x", ""));
    let second = bench.number(Kind::Service) + 1;
    assert_eq!(bench.watches[second].namespace.as_deref(), Some("b"));
    bench.store.take(second, News::Page(vec![item_of(Kind::Service, &object("b/y", ""))]));
    bench.store.take(second, News::Listed);
    assert!(bench.has(Kind::Service, "a/x") && !bench.has(Kind::Service, "b/x"));
}

#[test]
fn a_torn_list_takes_nothing_out() {
    let services = ["a/x", "a/y"].map(|key| (Kind::Service, object(key, "")));
    let mut bench = Bench::whole(Scope::default(), &services);
    let watch = bench.number(Kind::Service);
    bench.store.take(watch, News::Page(vec![item_of(Kind::Service, &object("a/x", ""))]));
    bench.store.take(watch, News::Torn);
    bench.list(Kind::Service, &[object("a/y", "")]);
    assert!(
        !bench.has(Kind::Service, "a/x") && bench.has(Kind::Service, "a/y"),
        "the second list counts alone"
    );
}

#[test]
fn an_empty_list_is_believed_the_second_time() {
    let mut bench = Bench::whole(Scope::default(), &[(Kind::Service, object("a/x", ""))]);
    assert_eq!(bench.list(Kind::Service, &[]), Verdict::Doubted(1));
    assert!(bench.has(Kind::Service, "a/x"));
    assert_eq!(bench.list(Kind::Service, &[]), Verdict::Settled);
    assert!(!bench.has(Kind::Service, "a/x"));
    assert_eq!(bench.list(Kind::Service, &[]), Verdict::Fine, "nothing is nothing new");
}

#[test]
fn a_list_that_is_full_again_settles_the_doubt() {
    let mut bench = Bench::whole(Scope::default(), &[(Kind::Service, object("a/x", ""))]);
    bench.list(Kind::Service, &[]);
    assert_eq!(bench.list(Kind::Service, &[object("a/x", "")]), Verdict::Settled);
    assert_eq!(bench.list(Kind::Service, &[]), Verdict::Doubted(1), "a new emptiness is a new doubt");
}

#[test]
fn what_cannot_be_read_keeps_its_last_version_until_it_is_deleted() {
    let mut bench = Bench::whole(Scope::default(), &[(Kind::Service, object("a/x", r#","spec":{}"#))]);
    bench.put(Kind::Service, &object("a/x", r#","spec":7"#));
    let loaded = bench.store.load();
    assert!(bench.has(Kind::Service, "a/x"));
    let [problem] = &loaded.problems[..] else { panic!("{:?}", loaded.problems) };
    assert!(problem.message.ends_with("the version before goes on"), "{problem}");
    bench.put(Kind::Service, &object("a/x", r#","spec":7"#));
    assert!(!bench.store.is_changed(), "the same problem is no news");
    bench.put(Kind::Service, &object("a/x", r#","spec":{}"#));
    assert!(bench.store.load().problems.is_empty());
    bench.put(Kind::Service, &object("a/x", r#","spec":7"#));
    bench.delete(Kind::Service, "a/x");
    assert!(bench.store.load().problems.is_empty() && !bench.has(Kind::Service, "a/x"));
}

#[test]
fn secrets_that_nobody_names_are_not_held() {
    let objects = [
        (Kind::Ingress, ingress("a/web", "used")),
        (Kind::Secret, secret("a/used")),
        (Kind::Secret, secret("a/other")),
        (Kind::Secret, secret("b/used")),
    ];
    let bench = Bench::whole(Scope::default(), &objects);
    assert!(bench.has(Kind::Secret, "a/used"));
    assert_eq!(bench.store.objects.secrets.len(), 1);
}

#[test]
fn a_secret_is_fetched_once_it_is_named_and_dropped_once_it_is_not() {
    let objects = [(Kind::Secret, secret("a/late")), (Kind::Ingress, ingress("a/web", "none"))];
    let mut bench = Bench::whole(Scope::default(), &objects);
    bench.put(Kind::Ingress, &ingress("a/web", "late"));
    assert!(bench.store.is_waiting());
    let asked = bench.asked("a/late");
    assert!(bench.store.wanted_secrets().is_empty(), "asked for once");
    bench.store.fetched(&asked, Some(item_of(Kind::Secret, &secret("a/late"))));
    assert!(!bench.store.is_waiting() && bench.has(Kind::Secret, "a/late"));
    bench.put(Kind::Ingress, &ingress("a/web", "none"));
    assert!(!bench.has(Kind::Secret, "a/late"));
    bench.put(Kind::Ingress, &ingress("a/web", "late"));
    bench.asked("a/late");
}

#[test]
fn what_the_watch_says_of_a_secret_is_newer_than_what_was_fetched() {
    let mut bench = Bench::whole(Scope::default(), &[(Kind::Secret, secret("a/late"))]);
    bench.put(Kind::Ingress, &ingress("a/web", "late"));
    let asked = bench.asked("a/late");
    bench.delete(Kind::Secret, "a/late");
    bench.store.fetched(&asked, Some(item_of(Kind::Secret, &secret("a/late"))));
    assert!(!bench.has(Kind::Secret, "a/late"));
}

#[test]
fn a_secret_of_another_type_is_fetched_whenever_it_changes_and_only_while_it_is_named() {
    let mut bench = Bench::whole(Scope::default(), &[(Kind::Ingress, ingress("a/web", "opaque"))]);
    bench.name("a/other");
    assert!(bench.store.wanted_secrets().is_empty(), "nobody names it");
    bench.name("a/opaque");
    let first = bench.asked("a/opaque");
    bench.name("a/opaque");
    let second = bench.asked("a/opaque");
    bench.answer(&first, &secret("a/opaque"));
    assert!(!bench.has(Kind::Secret, "a/opaque"), "it has changed since");
    bench.answer(&second, &secret("a/opaque"));
    assert!(bench.has(Kind::Secret, "a/opaque") && !bench.store.is_waiting());
    bench.name("a/opaque");
    assert!(bench.has(Kind::Secret, "a/opaque"), "what is known goes on until the answer");
    let others = bench.others();
    bench.store.take(others, News::Deleted(key_of("a/opaque")));
    assert!(!bench.has(Kind::Secret, "a/opaque") && !bench.store.is_waiting());
}

#[test]
fn a_secret_whose_content_is_to_come_has_changed_where_it_is_named() {
    let mut bench = Bench::whole(Scope::default(), &[(Kind::Ingress, ingress("a/web", "used"))]);
    let others = bench.others();
    for (key, expected) in [("a/unused", false), ("a/used", true)] {
        let item = Item { key: key_of(key), content: Content::Named };
        let (_, changed) = bench.store.hear(others, News::Changed(Box::new(item)));
        assert_eq!(changed, expected, "{key}");
    }
}

#[test]
fn a_secret_that_is_made_again_with_another_type_stays_whichever_watch_is_faster() {
    for deleted_first in [true, false] {
        let objects = [(Kind::Ingress, ingress("a/web", "x")), (Kind::Secret, secret("a/x"))];
        let mut bench = Bench::whole(Scope::default(), &objects);
        if deleted_first {
            bench.delete(Kind::Secret, "a/x");
            assert!(!bench.has(Kind::Secret, "a/x"));
        }
        bench.name("a/x");
        if !deleted_first {
            bench.delete(Kind::Secret, "a/x");
            // So does a list of the watch that knew it before.
            bench.list(Kind::Secret, &[secret("a/y")]);
        }
        let asked = bench.asked("a/x");
        bench.answer(&asked, &secret("a/x"));
        assert!(bench.has(Kind::Secret, "a/x"), "deleted first: {deleted_first}");
    }
}

#[test]
fn a_list_of_names_takes_out_what_it_lacks() {
    let mut bench = Bench::whole(Scope::default(), &[(Kind::Ingress, ingress("a/web", "x"))]);
    bench.name("a/x");
    let asked = bench.asked("a/x");
    bench.answer(&asked, &secret("a/x"));
    let others = bench.others();
    let item = Item { key: key_of("a/y"), content: Content::Named };
    bench.store.take(others, News::Page(vec![item]));
    bench.store.take(others, News::Listed);
    assert!(!bench.has(Kind::Secret, "a/x"));
}

#[test]
fn without_doubts_an_empty_list_counts_at_once() {
    let scope = Scope::default();
    let watches = plan::watches(&scope);
    let mut bench = Bench { store: Store::new(&scope, &watches, false), watches };
    bench.list(Kind::Service, &[object("a/x", "")]);
    assert_eq!(bench.list(Kind::Service, &[]), Verdict::Fine);
    assert!(!bench.has(Kind::Service, "a/x"));
}

#[test]
fn a_first_list_that_is_empty_is_doubted_where_a_cache_knows_better() {
    let mut cached = Objects::default();
    let Content::Read(known) = item_of(Kind::Service, &object("a/x", "")).content else { panic!() };
    cached.insert(*known);
    let mut bench = Bench::new(Scope::default());
    bench.store.expect(&cached);
    assert_eq!(bench.list(Kind::Service, &[]), Verdict::Doubted(1));
    assert!(!bench.store.has(Kind::Service), "not whole yet");
    assert_eq!(bench.list(Kind::Ingress, &[]), Verdict::Fine, "the cache has none either");
    assert_eq!(bench.list(Kind::Service, &[]), Verdict::Settled);
    assert!(bench.store.has(Kind::Service));
}

#[test]
fn two_ingresses_share_a_secret() {
    let objects = [
        (Kind::Ingress, ingress("a/one", "shared")),
        (Kind::Ingress, ingress("a/two", "shared")),
        (Kind::Secret, secret("a/shared")),
    ];
    let mut bench = Bench::whole(Scope::default(), &objects);
    bench.delete(Kind::Ingress, "a/one");
    assert!(bench.has(Kind::Secret, "a/shared"));
    bench.delete(Kind::Ingress, "a/two");
    assert!(!bench.has(Kind::Secret, "a/shared"));
}

#[test]
fn a_namespace_comes_and_goes_with_its_label() {
    let scope = Scope { namespace_selector: Some("team=a".to_owned()), ..Scope::default() };
    let mut bench = Bench::whole(scope, &[(Kind::Service, object("shop/x", ""))]);
    assert!(!bench.has(Kind::Service, "shop/x"));
    bench.put(Kind::Namespace, &object("shop", ""));
    assert!(bench.has(Kind::Service, "shop/x"));
    bench.put(Kind::Service, &object("shop/y", ""));
    bench.delete(Kind::Namespace, "shop");
    assert!(!bench.has(Kind::Service, "shop/x") && !bench.has(Kind::Service, "shop/y"));
    bench.delete(Kind::Service, "shop/y");
    bench.put(Kind::Namespace, &object("shop", ""));
    assert!(bench.has(Kind::Service, "shop/x") && !bench.has(Kind::Service, "shop/y"));
}

/// A slice of the Service of that name.
fn slice(key: &str, of: &str) -> String {
    let key = key_of(key);
    let (namespace, name) = (key.namespace, key.name);
    format!(
        r#"{{"metadata":{{"namespace":"{namespace}","name":"{name}","labels":{{"kubernetes.io/service-name":"{of}"}}}},"addressType":"IPv4","endpoints":[]}}"#
    )
}

#[test]
fn what_flags_name_counts_in_namespaces_that_are_not_selected() {
    let scope = Scope {
        namespace_selector: Some("team=a".to_owned()),
        default_certificate: Some(key_of("own/cert")),
        default_backend: Some(key_of("own/sorry")),
        config_map: Some(key_of("own/settings")),
        ..Scope::default()
    };
    let named = [
        (Kind::Secret, "own/cert"),
        (Kind::Service, "own/sorry"),
        (Kind::EndpointSlice, "own/sorry-1"),
        (Kind::ConfigMap, "own/settings"),
    ];
    let objects = [
        (Kind::Secret, secret("own/cert")),
        (Kind::Service, object("own/sorry", "")),
        (Kind::Service, object("own/other", "")),
        (Kind::EndpointSlice, slice("own/sorry-1", "sorry")),
        (Kind::EndpointSlice, slice("own/other-1", "other")),
        (Kind::EndpointSlice, slice("else/sorry-1", "sorry")),
        (Kind::ConfigMap, object("own/settings", "")),
    ];
    let mut bench = Bench::whole(scope, &objects);
    let check = |bench: &Bench, when: &str| {
        for (kind, key) in named {
            assert!(bench.has(kind, key), "{key} {when}");
        }
        let others = [(Kind::Service, "own/other"), (Kind::EndpointSlice, "own/other-1")];
        for (kind, key) in others.into_iter().chain([(Kind::EndpointSlice, "else/sorry-1")]) {
            assert!(!bench.has(kind, key), "{key} {when}");
        }
    };
    check(&bench, "at the start");
    bench.put(Kind::Namespace, &object("own", ""));
    assert!(bench.has(Kind::Service, "own/other"));
    bench.delete(Kind::Namespace, "own");
    check(&bench, "after the label went");
    bench.put(Kind::EndpointSlice, &slice("own/sorry-1", "other"));
    assert!(!bench.has(Kind::EndpointSlice, "own/sorry-1"), "it is of another Service now");
    bench.put(Kind::EndpointSlice, &slice("own/sorry-1", "sorry"));
    check(&bench, "after a slice came back");
    assert!(!bench.store.aside.contains(&Kind::EndpointSlice.reference(&key_of("own/sorry-1"))));
    bench.delete(Kind::Service, "own/sorry");
    assert!(!bench.has(Kind::Service, "own/sorry"));
}

#[test]
fn what_flags_name_and_cannot_be_read_is_told_in_namespaces_that_are_not_selected() {
    let scope = Scope {
        namespace_selector: Some("team=a".to_owned()),
        default_backend: Some(key_of("own/sorry")),
        ..Scope::default()
    };
    let broken = |key| object(key, r#","spec":7"#);
    let objects = ["own/sorry", "own/other"].map(|key| (Kind::Service, broken(key)));
    let mut bench = Bench::whole(scope, &objects);
    let told: Vec<_> =
        bench.store.load().problems.iter().map(|problem| problem.object.name.to_string()).collect();
    assert_eq!(told, ["sorry"]);
}

#[test]
fn where_classes_may_not_be_read_the_one_of_the_flags_is_assumed() {
    let scope = Scope {
        namespaces: ["a".to_owned()].into(),
        class: ("ours".to_owned(), "example.test/controller".to_owned()),
        ..Scope::default()
    };
    let mut bench = Bench::new(scope);
    let watch = bench.number(Kind::IngressClass);
    bench.store.take(watch, News::Refused);
    let class = &bench.store.objects.ingress_classes.get(&key_of("ours")).unwrap().object;
    assert_eq!(class.spec.as_ref().unwrap().controller.as_deref(), Some("example.test/controller"));
    let real = object("theirs", r#","spec":{"controller":"x/y"}"#);
    bench.list(Kind::IngressClass, &[real]);
    assert!(!bench.has(Kind::IngressClass, "ours") && bench.has(Kind::IngressClass, "theirs"));
}
