//! The kube source against a scripted API server that fails in every way that a real one will not on demand.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod credentials;
mod lists;
mod objects;
mod secrets;
mod watches;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringress_controller::source::Change;
use ringress_controller::source::kube::{Access, KubeSource, Patience, Reached, Scope, Standing};
use ringress_shared::origin::ObjectRef;
use ringress_translate::manifest::Loaded;
use serde_json::{Value, json};
use support::api_server::ApiServer;
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
