//! Secrets: held while they are named, fetched, withheld.

use std::time::{Duration, Instant};

use ringress_translate::objects::Key;
use serde_json::json;

use crate::support::api_server::{ApiServer, Call, Fault};
use crate::{Tap, ingress, object, reference, secret, service};

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
async fn the_first_change_has_every_secret_however_long_they_take() {
    let server = ApiServer::start().await;
    let names: Vec<String> = (0..150).map(|number| format!("s{number}")).collect();
    for name in &names {
        let text = json!({"type": "Opaque", "data": {"tls.crt": "eA=="}});
        server.put("secrets", object(&format!("a/{name}"), text));
        server.put("ingresses", ingress(&format!("a/{name}"), name));
    }
    server.put("secrets", object("a/refused", json!({"type": "Opaque"})));
    server.put("ingresses", ingress("a/refused", "refused"));
    server.fail("secrets/refused", Call::List, Fault::Refuse(403, None), None);
    for name in &names {
        server.fail(
            format!("secrets/{name}").leak(),
            Call::List,
            Fault::Slow(Duration::from_millis(400)),
            Some(1),
        );
    }
    let begun = Instant::now();
    let mut tap = Tap::open(&server).await;
    let first = tap.changes.recv().await.unwrap();
    assert_eq!(first.loaded.objects.secrets.len(), names.len());
    assert!(begun.elapsed() > Duration::from_millis(1200), "not all at once: {:?}", begun.elapsed());
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "nobody waits for the refused one: {:?}",
        begun.elapsed()
    );
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
