//! The kube source against a scripted API server that fails in every way that a real one will not on demand.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "../support/mod.rs"]
mod support;

mod credentials;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringress_controller::source::Change;
use ringress_controller::source::kube::{Access, KubeSource, Patience, Reached, Scope, Standing};
use ringress_shared::origin::ObjectRef;
use ringress_translate::manifest::Loaded;
use ringress_translate::objects::Key;
use serde_json::{Value, json};
use support::api_server::{ApiServer, Call, Fault};
use support::patience;
use tokio::sync::mpsc;

/// A source that watches the scripted server.
struct Tap {
    changes: mpsc::Receiver<Change>,
    standing: Arc<Standing>,
    last: Option<Loaded>,
    reached: Reached,
}

impl Tap {
    async fn open(server: &ApiServer) -> Self {
        Self::open_as(server, "http", Scope::default()).await
    }

    async fn open_as(server: &ApiServer, scheme: &str, scope: Scope) -> Self {
        Self::open_by(server.kubeconfig(scheme), scope).await
    }

    async fn open_by(kubeconfig: PathBuf, scope: Scope) -> Self {
        let access = Access { kubeconfig: Some(kubeconfig), context: None };
        let source = KubeSource::new(access, scope, patience());
        let standing = source.standing();
        Self { changes: source.watch().await.unwrap(), standing, last: None, reached: Reached::default() }
    }

    async fn open_with(server: &ApiServer, patience: Patience) -> Self {
        let access = Access { kubeconfig: Some(server.kubeconfig("http")), context: None };
        let source = KubeSource::new(access, Scope::default(), patience);
        let standing = source.standing();
        Self { changes: source.watch().await.unwrap(), standing, last: None, reached: Reached::default() }
    }

    fn has(&self, kind: &str, key: &str) -> bool {
        self.last.as_ref().is_some_and(|loaded| loaded.objects.contains(&reference(kind, key)))
    }

    /// Takes changes until it holds; fails after ten seconds.
    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !holds(self) {
            let change = tokio::time::timeout_at(deadline, self.changes.recv()).await;
            match change {
                Ok(Some(change)) => self.take(change),
                other => panic!("never came true: {what}; {other:?}; {:#?}", self.standing.report()),
            }
        }
    }

    async fn until_has(&mut self, kind: &str, key: &str) {
        self.until(&format!("{kind} {key}"), |tap| tap.has(kind, key)).await;
    }

    async fn until_lacks(&mut self, kind: &str, key: &str) {
        self.until(&format!("no {kind} {key}"), |tap| tap.last.is_some() && !tap.has(kind, key)).await;
    }

    /// Takes what comes within a while.
    async fn settle(&mut self, within: Duration) {
        let until = tokio::time::Instant::now() + within;
        while let Ok(Some(change)) = tokio::time::timeout_at(until, self.changes.recv()).await {
            self.take(change);
        }
    }

    fn take(&mut self, change: Change) {
        self.last = Some(change.loaded);
        self.reached = change.reached;
    }
}

fn reference(kind: &str, key: &str) -> ObjectRef {
    let (namespace, name) = key.split_once('/').unwrap_or(("", key));
    ObjectRef::new(kind, namespace, name)
}

fn object(key: &str, rest: Value) -> Value {
    let (namespace, name) = key.split_once('/').unwrap_or(("", key));
    let mut object =
        json!({"metadata": {"namespace": namespace, "name": name, "managedFields": [{"manager": "x"}]}});
    object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    object
}

fn service(key: &str) -> Value {
    object(key, json!({"spec": {"ports": [{"port": 80}]}}))
}

fn ingress(key: &str, secret: &str) -> Value {
    object(key, json!({"spec": {"tls": [{"hosts": ["a.test"], "secretName": secret}]}}))
}

fn secret(key: &str) -> Value {
    object(key, json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "eA==", "tls.key": "eQ=="}}))
}

/// A server with one Service, and a tap that has seen it.
async fn served() -> (ApiServer, Tap) {
    let server = ApiServer::start().await;
    server.put("services", service("a/first"));
    let mut tap = Tap::open(&server).await;
    tap.until_has("Service", "a/first").await;
    (server, tap)
}

#[tokio::test]
async fn nothing_is_handed_on_before_the_last_first_list() {
    let server = ApiServer::start().await;
    server.put("services", service("a/x"));
    server.put("ingresses", ingress("a/web", "none"));
    server.fail("endpointslices", Call::List, Fault::Slow(Duration::from_millis(400)), Some(1));
    let begun = Instant::now();
    let mut tap = Tap::open(&server).await;
    assert!(!tap.standing.missing().is_empty());
    let first = tap.changes.recv().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(400));
    assert!(first.loaded.objects.contains(&reference("Service", "a/x")));
    assert!(first.loaded.objects.contains(&reference("Ingress", "a/web")));
    assert!(tap.standing.missing().is_empty());
}

#[tokio::test]
async fn lists_come_in_pages() {
    let server = ApiServer::start().await;
    (0..1203).for_each(|number| server.put("services", service(&format!("a/s{number}"))));
    let mut tap = Tap::open(&server).await;
    let first = tap.changes.recv().await.unwrap();
    assert_eq!(first.loaded.objects.services.len(), 1203);
    let pages =
        server.requests().into_iter().filter(|request| request.query.contains_key("continue")).count();
    assert_eq!(pages, 2);
}

#[tokio::test]
async fn events_are_followed_without_listing_again() {
    let (server, mut tap) = served().await;
    server.put("services", service("a/second"));
    tap.until_has("Service", "a/second").await;
    server.delete("services", "a", "first");
    tap.until_lacks("Service", "a/first").await;
    // Two ends of the watch's time.
    tap.settle(Duration::from_millis(2500)).await;
    server.put("services", service("a/third"));
    tap.until_has("Service", "a/third").await;
    assert_eq!(server.lists("services"), 1);
    assert!(server.watches("services") >= 3);
}

#[tokio::test]
async fn a_version_that_expired_in_the_stream_is_listed_anew_and_what_is_gone_goes() {
    let (server, mut tap) = served().await;
    server.fail("services", Call::Watch, Fault::Expire, Some(1));
    server.end_watches();
    server.delete("services", "a", "first");
    server.put("services", service("a/second"));
    server.compact();
    tap.until_has("Service", "a/second").await;
    assert!(!tap.has("Service", "a/first"), "its deletion was never told");
    assert_eq!(server.lists("services"), 2);
}

#[tokio::test]
async fn what_a_list_changes_is_asked_of_the_other_replicas() {
    let (server, mut tap) = served().await;
    let knows = |tap: &Tap, version: u64| {
        let mut heard = tap.reached.heard();
        heard.insert("services".to_owned(), version);
        tap.reached.is_known_with(&heard)
    };
    let version_of = |name: &str| {
        let object = server.object("services", "a", name).unwrap();
        object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
    };
    let first = version_of("first");
    assert!(knows(&tap, first) && !knows(&tap, first - 1), "of the first list");
    server.put("services", service("a/second"));
    tap.until_has("Service", "a/second").await;
    let second = version_of("second");
    assert!(knows(&tap, second) && !knows(&tap, second - 1), "of an event");
    server.fail("services", Call::Watch, Fault::Expire, Some(1));
    server.end_watches();
    server.put("services", service("a/third"));
    server.compact();
    tap.until_has("Service", "a/third").await;
    assert_eq!(server.lists("services"), 2, "the change came by a list");
    let third = version_of("third");
    assert!(knows(&tap, third) && !knows(&tap, third - 1), "of a list");
}

#[tokio::test]
async fn a_version_that_the_server_has_not_reached_is_listed_anew() {
    let (server, mut tap) = served().await;
    server.fail("services", Call::Watch, Fault::Future, Some(1));
    server.end_watches();
    server.put("services", service("a/second"));
    tap.until_has("Service", "a/second").await;
    assert_eq!(server.lists("services"), 2);
}

#[tokio::test]
async fn what_the_server_asks_us_to_wait_is_waited() {
    let server = ApiServer::start().await;
    server.put("services", service("a/x"));
    server.fail("services", Call::List, Fault::Refuse(429, Some(1)), Some(1));
    let mut tap = Tap::open(&server).await;
    tap.until_has("Service", "a/x").await;
    let lists: Vec<Instant> = server
        .requests()
        .into_iter()
        .filter(|request| request.path.ends_with("/services") && !request.query.contains_key("watch"))
        .map(|request| request.at)
        .collect();
    assert_eq!(lists.len(), 2);
    assert!(lists[1] - lists[0] >= Duration::from_secs(1), "{:?}", lists[1] - lists[0]);
}

#[tokio::test]
async fn a_half_open_stream_is_noticed() {
    let (server, mut tap) = served().await;
    server.fail("services", Call::Watch, Fault::Silence, Some(1));
    server.end_watches();
    tap.settle(Duration::from_millis(300)).await;
    server.put("services", service("a/second"));
    let begun = Instant::now();
    tap.until_has("Service", "a/second").await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(server.lists("services"), 1);
}

#[tokio::test]
async fn an_event_that_was_cut_comes_again() {
    let (server, mut tap) = served().await;
    server.fail("services", Call::Watch, Fault::Truncate, Some(1));
    server.end_watches();
    server.put("services", service("a/second"));
    tap.until_has("Service", "a/second").await;
    assert_eq!(server.lists("services"), 1);
}

#[tokio::test]
async fn a_line_without_sense_leads_to_a_list() {
    let (server, mut tap) = served().await;
    server.fail("services", Call::Watch, Fault::Garbage, Some(1));
    server.end_watches();
    server.put("services", service("a/second"));
    tap.until_has("Service", "a/second").await;
    assert_eq!(server.lists("services"), 2);
}

#[tokio::test]
async fn one_undecodable_object_blinds_nobody() {
    let server = ApiServer::start().await;
    server.put("services", object("a/broken", json!({"spec": {"ports": "many"}})));
    server.put("services", service("a/good"));
    let mut tap = Tap::open(&server).await;
    tap.until_has("Service", "a/good").await;
    let problems = &tap.last.as_ref().unwrap().problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].object, reference("Service", "a/broken"));
    server.put("services", object("a/good", json!({"spec": 7})));
    server.put("services", service("a/later"));
    tap.until_has("Service", "a/later").await;
    assert!(tap.has("Service", "a/good"), "its version before goes on");
    assert_eq!(tap.last.as_ref().unwrap().problems.len(), 2);
    server.put("services", service("a/broken"));
    tap.until_has("Service", "a/broken").await;
    assert_eq!(tap.last.as_ref().unwrap().problems.len(), 1);
}

#[tokio::test]
async fn an_undecodable_ingress_that_asks_for_a_protection_replaces_what_lacks_it() {
    let protected = json!({"nginx.ingress.kubernetes.io/auth-url": "http://auth.test"});
    let broken = |key: &str, annotations: &Value| {
        let backend = json!({"service": {"name": "web", "port": {"number": "many"}}});
        let path = json!({"path": "/admin", "pathType": "Prefix", "backend": backend});
        let spec = json!({"rules": [{"host": "a.test", "http": {"paths": [path]}}]});
        let (namespace, name) = key.split_once('/').unwrap();
        let metadata = json!({"namespace": namespace, "name": name, "annotations": annotations});
        json!({"metadata": metadata, "spec": spec})
    };
    let server = ApiServer::start().await;
    server.put("ingresses", ingress("a/changed", "none"));
    server.put("ingresses", ingress("a/open", "none"));
    server.put("ingresses", broken("a/new", &protected));
    let mut tap = Tap::open(&server).await;
    tap.until_has("Ingress", "a/new").await;
    server.put("ingresses", broken("a/changed", &protected));
    server.put("ingresses", broken("a/open", &json!({})));
    tap.until("three problems", |tap| tap.last.as_ref().is_some_and(|loaded| loaded.problems.len() == 3))
        .await;
    let loaded = tap.last.as_ref().unwrap();
    for (name, is_protected) in [("new", true), ("changed", true), ("open", false)] {
        let stored = loaded.objects.ingresses.get(&Key::new("a", name)).unwrap();
        assert_eq!(stored.object.metadata.annotations.is_some(), is_protected, "{name}");
        let problem = loaded.problems.iter().find(|problem| &*problem.object.name == name).unwrap();
        assert_eq!(problem.message.ends_with("the version before goes on"), !is_protected, "{problem}");
    }
    server.put("ingresses", ingress("a/changed", "none"));
    server.delete("ingresses", "a", "new");
    tap.until_lacks("Ingress", "a/new").await;
    assert_eq!(tap.last.as_ref().unwrap().problems.len(), 1);
}

#[tokio::test]
async fn an_empty_list_once_takes_nothing_out() {
    let (server, mut tap) = served().await;
    server.fail("services", Call::List, Fault::Empty, Some(1));
    server.fail("services", Call::Watch, Fault::Expire, Some(1));
    server.end_watches();
    let doubts = async |wanted: bool| {
        let standing = Arc::clone(&tap.standing);
        support::eventually(
            async || standing.report().iter().any(|report| report.doubts),
            |found| *found == wanted,
        )
        .await
    };
    doubts(true).await;
    doubts(false).await;
    tap.settle(Duration::from_millis(50)).await;
    assert!(tap.has("Service", "a/first"));
    assert_eq!(server.lists("services"), 3, "first, empty, confirming");
}

#[tokio::test]
async fn an_empty_list_that_is_confirmed_is_believed() {
    let (server, mut tap) = served().await;
    server.delete("services", "a", "first");
    server.put("services", service("a/second"));
    tap.until_has("Service", "a/second").await;
    server.fail("services", Call::Watch, Fault::Expire, Some(1));
    server.fail("services", Call::List, Fault::Empty, Some(2));
    server.end_watches();
    let begun = Instant::now();
    tap.until_lacks("Service", "a/second").await;
    assert!(begun.elapsed() >= patience().confirm);
}

#[tokio::test]
async fn a_server_that_is_away_costs_no_list_and_no_object() {
    let refused = [(500, None), (503, Some(1)), (403, None)].map(|(code, after)| Fault::Refuse(code, after));
    for fault in [Fault::Close, Fault::Hang].into_iter().chain(refused) {
        let (server, mut tap) = served().await;
        server.fail("*", Call::Any, fault.clone(), None);
        server.end_watches();
        tap.settle(Duration::from_millis(1500)).await;
        assert!(tap.has("Service", "a/first"), "{fault:?}");
        let failing = tap.standing.report().into_iter().filter(|report| report.failing.is_some()).count();
        assert_eq!(failing, 6, "{fault:?} is shown");
        server.put("services", service("a/second"));
        server.heal();
        let back = Instant::now();
        tap.until_has("Service", "a/second").await;
        assert!(back.elapsed() < Duration::from_secs(3), "{fault:?}: {:?}", back.elapsed());
        let standing = Arc::clone(&tap.standing);
        let is_fine = async || standing.report().iter().all(|report| report.failing.is_none());
        support::eventually(is_fine, |fine| *fine).await;
        assert_eq!(server.lists("services"), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_named_and_waited_for() {
    let server = ApiServer::start().await;
    let mut tap = Tap::open_as(&server, "https", Scope::default()).await;
    let standing = Arc::clone(&tap.standing);
    let missing = support::eventually(
        async || standing.missing(),
        |missing| missing.iter().any(|line| line.contains("cannot be listed")),
    )
    .await;
    assert!(missing.iter().any(|line| line.contains("services cannot be listed")), "{missing:?}");
    assert!(tap.changes.try_recv().is_err());
}

#[tokio::test]
async fn a_kubeconfig_that_is_not_there_is_an_error_at_once() {
    let access = Access { kubeconfig: Some("/nowhere/kubeconfig".into()), context: None };
    let source = KubeSource::new(access, Scope::default(), patience());
    let error = source.watch().await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/kubeconfig"), "{error}");
    let server = ApiServer::start().await;
    let access = Access { kubeconfig: Some(server.kubeconfig("http")), context: Some("there".to_owned()) };
    let error = KubeSource::new(access, Scope::default(), patience()).watch().await.unwrap_err().to_string();
    assert!(error.contains("there"), "{error}");
}

#[tokio::test]
async fn one_namespace_needs_no_right_outside_of_it() {
    let server = ApiServer::start().await;
    server.put("services", service("a/x"));
    server.put("services", service("b/x"));
    server.fail("ingressclasses", Call::Any, Fault::Refuse(403, None), None);
    let scope = Scope {
        namespaces: ["a".to_owned()].into(),
        class: ("ringress".to_owned(), "ringress.dev/ingress-controller".to_owned()),
        ..Scope::default()
    };
    let mut tap = Tap::open_as(&server, "http", scope).await;
    tap.until_has("Service", "a/x").await;
    assert!(tap.has("IngressClass", "ringress") && !tap.has("Service", "b/x"));
    let outside = server.requests().into_iter().filter(|request| !request.path.contains("/namespaces/a/"));
    assert!(outside.into_iter().all(|request| request.path.ends_with("/ingressclasses")));
    // The right is given later.
    server.heal();
    server.put("ingressclasses", object("other", json!({"spec": {"controller": "x/y"}})));
    tap.until_has("IngressClass", "other").await;
    assert!(!tap.has("IngressClass", "ringress"));
}

#[tokio::test]
async fn without_a_right_that_is_needed_nothing_is_served_and_the_right_is_named() {
    let server = ApiServer::start().await;
    server.fail("secrets", Call::Any, Fault::Refuse(403, None), None);
    let mut tap = Tap::open(&server).await;
    let standing = Arc::clone(&tap.standing);
    support::eventually(
        async || standing.missing(),
        |missing| {
            missing.len() == 2
                && missing[0].contains("secrets cannot be listed")
                && missing[1].contains("secrets of other types cannot be listed")
                && missing.iter().all(|line| line.contains("refuses"))
        },
    )
    .await;
    assert!(tap.changes.try_recv().is_err());
    server.heal();
    tap.until("the first change", |tap| tap.last.is_some()).await;
}

#[tokio::test]
async fn a_secret_is_held_while_an_ingress_names_it() {
    let server = ApiServer::start().await;
    server.put("secrets", secret("a/used"));
    server.put("secrets", secret("a/late"));
    server.put("secrets", object("a/token", json!({"type": "Opaque", "data": {"x": "eA=="}})));
    server.put("ingresses", ingress("a/web", "used"));
    let mut tap = Tap::open(&server).await;
    tap.until_has("Secret", "a/used").await;
    assert_eq!(tap.last.as_ref().unwrap().objects.secrets.len(), 1);
    server.put("ingresses", ingress("a/other", "late"));
    tap.until_has("Ingress", "a/other").await;
    assert!(tap.has("Secret", "a/late"), "the Ingress never comes without its certificate");
    server.delete("ingresses", "a", "other");
    tap.until_lacks("Secret", "a/late").await;
    // A rotation of a held one is an ordinary event.
    server
        .put("secrets", object("a/used", json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "eg=="}})));
    tap.until("the rotated Secret", |tap| {
        let secrets = &tap.last.as_ref().unwrap().objects.secrets;
        secrets.values().any(|stored| stored.object.data.as_ref().unwrap()["tls.crt"].0 == b"z")
    })
    .await;
}

#[tokio::test]
async fn a_secret_of_another_type_is_seen_without_reading_those_that_nobody_names() {
    let server = ApiServer::start().await;
    let opaque = |key: &str, text: &str| object(key, json!({"type": "Opaque", "data": {"tls.crt": text}}));
    server.put("secrets", opaque("a/opaque", "eA=="));
    server.put("secrets", opaque("a/other", "eA=="));
    server.put("secrets", object("a/release", json!({"type": "helm.sh/release.v1"})));
    server.put("ingresses", ingress("a/web", "opaque"));
    let mut tap = Tap::open(&server).await;
    let first = tap.changes.recv().await.unwrap();
    assert!(first.loaded.objects.contains(&reference("Secret", "a/opaque")), "with the first change");
    assert_eq!(first.loaded.objects.secrets.len(), 1);
    server.put("secrets", opaque("a/opaque", "eg=="));
    tap.until("the new content", |tap| {
        let secrets = tap.last.as_ref().map(|loaded| &loaded.objects.secrets);
        let mut secrets = secrets.into_iter().flat_map(|secrets| secrets.values());
        secrets.any(|stored| stored.object.data.as_ref().unwrap()["tls.crt"].0 == b"z")
    })
    .await;
    server.delete("secrets", "a", "opaque");
    tap.until_lacks("Secret", "a/opaque").await;
    let reads = server.requests().into_iter().filter(|request| request.path.contains("/secrets/"));
    assert!(reads.into_iter().all(|request| request.path.ends_with("/opaque")));
    let is_list = |path: &str| path.ends_with("/secrets");
    let whole = server.requests().into_iter().filter(|request| is_list(&request.path) && !request.names_only);
    assert!(whole.into_iter().all(|request| request.query["fieldSelector"] == "type=kubernetes.io/tls"));
}

#[tokio::test]
async fn a_secret_that_never_comes_delays_the_changes_of_others_once() {
    let server = ApiServer::start().await;
    let names: Vec<String> = (0..14).map(|number| format!("s{number}")).collect();
    names.iter().for_each(|name| server.put("secrets", secret(&format!("a/{name}"))));
    server.put("secrets", secret("a/x"));
    server.fail("secrets/x", Call::List, Fault::Hang, None);
    let mut tap = Tap::open(&server).await;
    tap.until("the first change", |tap| tap.last.is_some()).await;
    server.put("ingresses", ingress("a/stuck", "x"));
    let comes = async {
        for name in &names {
            server.put("ingresses", ingress(&format!("a/{name}"), name));
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    };
    let begun = Instant::now();
    server.put("services", service("a/plain"));
    let seen = async {
        tap.until_has("Service", "a/plain").await;
        begun.elapsed()
    };
    let (seen, ()) = tokio::join!(seen, comes);
    assert!(seen < Duration::from_millis(2000), "{seen:?}");
    let begun = Instant::now();
    server.put("services", service("a/later"));
    server.put("secrets", secret("a/new"));
    server.put("ingresses", ingress("a/new", "new"));
    tap.until_has("Ingress", "a/new").await;
    assert!(begun.elapsed() < Duration::from_millis(500), "what is late holds nobody: {:?}", begun.elapsed());
    assert!(tap.has("Secret", "a/new") && tap.has("Service", "a/later"));
}

#[tokio::test]
async fn a_secret_that_may_not_be_fetched_is_withheld_and_not_missing() {
    let server = ApiServer::start().await;
    for name in ["x", "fine"] {
        let text = json!({"type": "Opaque", "data": {"tls.crt": "eA=="}});
        server.put("secrets", object(&format!("a/{name}"), text));
        server.put("ingresses", ingress(&format!("a/{name}"), name));
    }
    server.fail("secrets/x", Call::List, Fault::Refuse(403, None), None);
    let mut tap = Tap::open(&server).await;
    tap.until_has("Ingress", "a/x").await;
    let x = Key::new("a", "x");
    let withheld = |tap: &Tap| tap.last.as_ref().unwrap().objects.withheld.contains(&x);
    assert!(withheld(&tap) && tap.has("Secret", "a/fine"));
    let failing = |tap: &Tap| tap.standing.report().into_iter().filter_map(|report| report.failing).collect();
    let said: Vec<(Duration, String)> = failing(&tap);
    assert!(said.len() == 1 && said[0].1.contains("a/x") && said[0].1.contains("refuses"), "{said:?}");
    // A watch that begins again does not hide it.
    tap.settle(Duration::from_millis(1500)).await;
    assert_eq!(failing(&tap).len(), 1);
    server.heal();
    tap.until_has("Secret", "a/x").await;
    assert!(!withheld(&tap));
    assert_eq!(failing(&tap), []);
}

#[tokio::test]
async fn a_secret_that_is_gone_before_it_is_fetched_is_missing() {
    let server = ApiServer::start().await;
    server.put("secrets", object("a/x", json!({"type": "Opaque"})));
    server.put("ingresses", ingress("a/web", "x"));
    server.fail("secrets/x", Call::List, Fault::Refuse(403, None), None);
    let mut tap = Tap::open(&server).await;
    tap.until_has("Ingress", "a/web").await;
    server.delete("secrets", "a", "x");
    tap.until("nothing withheld", |tap| {
        tap.last.as_ref().is_some_and(|loaded| loaded.objects.withheld.is_empty())
    })
    .await;
    assert!(tap.standing.report().iter().all(|report| report.failing.is_none()));
}

#[tokio::test]
async fn the_deletion_of_everything_is_believed_at_once_where_it_is_watched() {
    let server = ApiServer::start().await;
    let names: Vec<String> = (0..40).map(|number| format!("s{number}")).collect();
    names.iter().for_each(|name| server.put("services", service(&format!("a/{name}"))));
    let mut tap = Tap::open(&server).await;
    tap.until_has("Service", "a/s0").await;
    let begun = Instant::now();
    names.iter().for_each(|name| server.delete("services", "a", name));
    tap.until("nothing", |tap| tap.last.as_ref().is_some_and(|loaded| loaded.objects.services.is_empty()))
        .await;
    assert!(begun.elapsed() < patience().confirm, "{:?}", begun.elapsed());
    assert!(tap.standing.report().iter().all(|report| !report.doubts));
}

#[tokio::test]
async fn without_confirmation_an_empty_list_is_believed_at_once() {
    let server = ApiServer::start().await;
    server.put("services", service("a/first"));
    let mut tap = Tap::open_with(&server, Patience { confirm: Duration::ZERO, ..patience() }).await;
    tap.until_has("Service", "a/first").await;
    server.fail("services", Call::Watch, Fault::Expire, Some(1));
    server.fail("services", Call::List, Fault::Empty, Some(1));
    server.end_watches();
    tap.until_lacks("Service", "a/first").await;
    assert_eq!(server.lists("services"), 2);
}

#[tokio::test]
async fn a_selector_follows_labels() {
    let server = ApiServer::start().await;
    let namespace =
        |team: &str| object("shop", json!({"metadata": {"name": "shop", "labels": {"team": team}}}));
    server.put("services", service("shop/x"));
    server.put("namespaces", namespace("a"));
    let scope = Scope { namespace_selector: Some("team=a".to_owned()), ..Scope::default() };
    let mut tap = Tap::open_as(&server, "http", scope).await;
    tap.until_has("Service", "shop/x").await;
    server.delete("namespaces", "", "shop");
    tap.until_lacks("Service", "shop/x").await;
    server.put("namespaces", namespace("a"));
    tap.until_has("Service", "shop/x").await;
}

#[tokio::test]
async fn watches_end_with_their_receiver() {
    let (server, tap) = served().await;
    drop(tap);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = server.requests().len();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(server.requests().len(), before);
}
