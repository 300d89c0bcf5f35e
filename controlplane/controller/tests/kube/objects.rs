//! Objects that cannot be decoded.

use ringress_translate::objects::Key;
use serde_json::{Value, json};

use crate::support::api_server::ApiServer;
use crate::{Tap, ingress, object, reference, service};

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
