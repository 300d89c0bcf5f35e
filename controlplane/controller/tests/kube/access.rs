//! How the server is reached, and what may be watched.

use std::sync::Arc;

use ringress_controller::source::kube::{Access, KubeSource, Scope};
use serde_json::json;

use crate::support::api_server::{ApiServer, Call, Fault};
use crate::support::patience;
use crate::{Tap, object, service, support};

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
