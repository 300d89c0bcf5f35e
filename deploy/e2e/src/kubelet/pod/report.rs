//! Writes the status of one pod to the API server: the latest only, on change only, until it is taken.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The writer of one pod. A slow API server holds up nobody but it.
pub(super) struct Reporter {
    wanted: watch::Sender<Option<Value>>,
    writer: JoinHandle<()>,
    pods: Api<Pod>,
    name: String,
    uid: String,
}

/// How long one write may take, and how long the next waits after one that failed.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(300);

impl Reporter {
    pub(super) fn start(client: Client, namespace: &str, name: &str, uid: &str) -> Self {
        let pods: Api<Pod> = Api::namespaced(client, namespace);
        let (wanted, received) = watch::channel(None);
        let writer = tokio::spawn(write(pods.clone(), name.to_owned(), uid.to_owned(), received));
        Self { wanted, writer, pods, name: name.to_owned(), uid: uid.to_owned() }
    }

    /// This is the status from now on.
    pub(super) fn report(&self, status: Value) {
        self.wanted.send_if_modified(|wanted| {
            let changed = wanted.as_ref() != Some(&status);
            *wanted = Some(status);
            changed
        });
    }

    /// Writes what is left to write; then lets go of the object, if asked to.
    pub(super) async fn end(self, remove: bool) {
        let Self { wanted, writer, pods, name, uid } = self;
        drop(wanted);
        // It ends when it has written the last one.
        let _ = tokio::time::timeout(PATIENCE, writer).await;
        if remove {
            let_go(&pods, &name, uid).await;
        }
    }
}

/// Deletes the object for good, however long the API server is away.
async fn let_go(pods: &Api<Pod>, name: &str, uid: String) {
    let preconditions = Preconditions { uid: Some(uid), resource_version: None };
    let now = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }.grace_period(0);
    loop {
        match tokio::time::timeout(PATIENCE, pods.delete(name, &now)).await {
            Ok(Ok(_)) => return,
            // Gone, or another pod of that name.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => return,
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn write(pods: Api<Pod>, name: String, uid: String, mut wanted: watch::Receiver<Option<Value>>) {
    while wanted.changed().await.is_ok() {
        loop {
            let Some(status) = wanted.borrow_and_update().clone() else { break };
            // The identity is a precondition: never write onto a successor of the same name.
            let patch = Patch::Strategic(json!({"metadata": {"uid": uid}, "status": status}));
            let params = PatchParams::default();
            let writing = pods.patch_status(&name, &params, &patch);
            match tokio::time::timeout(PATIENCE, writing).await {
                Ok(Ok(_)) => break,
                Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => break,
                // It would be refused again; the next status may not be.
                Ok(Err(kube::Error::Api(status))) if status.code == 422 => {
                    tracing::error!(pod = name, message = status.message, "status of a pod is invalid");
                    break;
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
            if wanted.has_changed().is_err() {
                break;
            }
        }
    }
}
