//! Panics in what watches and fetches: the client's own service panics, as nothing that a server says should make it.

use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower_service::Service;

use super::*;

/// Answers a call by its path and query; `None`: never.
type Answer = dyn Fn(&str) -> Option<Value> + Send + Sync;

#[derive(Clone)]
struct Scripted(Arc<Answer>);

impl Service<Request<Body>> for Scripted {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = Arc::clone(&self.0);
        let asked = request.uri().to_string();
        Box::pin(async move {
            match answer(&asked) {
                Some(answer) => Ok(Response::new(Body::from(answer.to_string().into_bytes()))),
                None => pending().await,
            }
        })
    }
}

fn opened(answer: impl Fn(&str) -> Option<Value> + Send + Sync + 'static) -> (Arc<Standing>, Changes) {
    let client = Client::new(Scripted(Arc::new(answer)), "default");
    let patience = Patience { pause: Duration::from_millis(200), ..Patience::default() };
    let source = KubeSource::new(Access::default(), Scope::default(), patience);
    let standing = source.standing();
    let (sender, changes) = mpsc::channel(1);
    tokio::spawn(Owner::start(source, client, sender).run());
    (standing, changes)
}

type Changes = mpsc::Receiver<Change>;

fn list(items: &[Value]) -> Option<Value> {
    Some(json!({"kind": "List", "metadata": {"resourceVersion": "7"}, "items": items}))
}

async fn next(changes: &mut Changes) -> Change {
    let change = tokio::time::timeout(Duration::from_secs(10), changes.recv()).await;
    change.expect("nothing comes").expect("the owner is gone")
}

async fn until(holds: impl Fn() -> bool) {
    let poll = async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), poll).await.expect("it never holds");
}

#[tokio::test]
async fn a_watch_that_panics_is_shown_and_lists_again() {
    let watches = AtomicUsize::new(0);
    let service = |name: &str| json!({"metadata": {"namespace": "a", "name": name}});
    let (standing, mut changes) = opened(move |asked| match asked {
        _ if asked.starts_with("/api/v1/services?watch") => {
            assert!(watches.fetch_add(1, Ordering::SeqCst) > 0, "the first watch");
            None
        }
        _ if asked.contains("watch=1") => None,
        _ if asked.starts_with("/api/v1/services?") => {
            let name = if watches.load(Ordering::SeqCst) == 0 { "before" } else { "after" };
            list(&[service(name)])
        }
        _ => list(&[]),
    });
    let of = |change: &Change| change.loaded.objects.services.keys().map(|key| key.name.to_string()).next();
    assert_eq!(of(&next(&mut changes).await).as_deref(), Some("before"));
    let failing = || {
        let report = standing.report();
        report.into_iter().find(|report| report.watch == "services").and_then(|report| report.failing)
    };
    until(|| failing().is_some()).await;
    let (_, why) = failing().expect("it still waits");
    assert!(why.contains("panicked: the first watch; this is a defect of ringress"), "{why}");
    assert_eq!(of(&next(&mut changes).await).as_deref(), Some("after"), "a whole new list");
    until(|| failing().is_none()).await;
}

#[tokio::test]
async fn a_fetch_that_panics_is_tried_again() {
    let fetches = AtomicUsize::new(0);
    let metadata = json!({"namespace": "a", "name": "cert", "resourceVersion": "7"});
    let ingress = json!({
        "metadata": {"namespace": "a", "name": "web"},
        "spec": {"tls": [{"hosts": ["a.test"], "secretName": "cert"}]},
    });
    let (_, mut changes) = opened(move |asked| match asked {
        _ if asked.contains("watch=1") => None,
        "/api/v1/namespaces/a/secrets/cert" => {
            assert!(fetches.fetch_add(1, Ordering::SeqCst) > 0, "the first fetch");
            Some(
                json!({"metadata": metadata, "type": "Opaque", "data": {"tls.crt": "eA==", "tls.key": "eQ=="}}),
            )
        }
        _ if asked.contains("/ingresses?") => list(std::slice::from_ref(&ingress)),
        _ if asked.contains("/secrets?") && asked.contains("type%21%3D") => {
            list(&[json!({"kind": "PartialObjectMetadata", "metadata": metadata})])
        }
        _ => list(&[]),
    });
    let key = Key::new("a", "cert");
    while !next(&mut changes).await.loaded.objects.secrets.contains_key(&key) {}
}
