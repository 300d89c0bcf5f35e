//! Tokens that the API server does not accept, and an API server that is not trusted.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertifiedKey, KeyPair};
use ringress_controller::source::kube::Scope;
use rustls::ServerConfig;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::support::api_server::ApiServer;
use crate::{Tap, object, service};

/// A tap that shows the token of a file, has seen a Service and its class, and that file.
async fn served(server: &ApiServer) -> (Tap, PathBuf) {
    server.accept_only("first");
    server.put("services", service("a/first"));
    server.put("ingressclasses", object("other", json!({"spec": {"controller": "x/y"}})));
    let (kubeconfig, file) = server.kubeconfig_with_token_file("first");
    // Of one namespace, so that classes may do without being watched.
    let scope = Scope {
        namespaces: ["a".to_owned()].into(),
        class: ("ringress".to_owned(), "ringress.dev/ingress-controller".to_owned()),
        ..Scope::default()
    };
    let mut tap = Tap::open_by(kubeconfig, scope).await;
    tap.until_has("Service", "a/first").await;
    (tap, file)
}

fn failures(tap: &Tap) -> u64 {
    tap.standing.report().iter().map(|report| report.failures).sum()
}

#[tokio::test]
async fn a_token_that_was_replaced_in_its_file_is_shown_at_once() {
    let server = ApiServer::start().await;
    let (mut tap, file) = served(&server).await;
    std::fs::write(file, "second").unwrap();
    server.accept_only("second");
    server.end_watches();
    server.put("services", service("a/second"));
    let begun = Instant::now();
    tap.until_has("Service", "a/second").await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(failures(&tap), 0, "nobody notices: {:#?}", tap.standing.report());
}

#[tokio::test]
async fn a_token_that_stays_wrong_costs_no_object_and_no_storm_and_is_named() {
    let server = ApiServer::start().await;
    let (mut tap, file) = served(&server).await;
    server.accept_only("second");
    server.end_watches();
    // Meanwhile every watch ends and is refused, and the class is listed again.
    server.compact();
    let begun = Instant::now();
    tap.settle(Duration::from_millis(2500)).await;
    assert!(tap.has("Service", "a/first") && tap.has("IngressClass", "other"), "what is known goes on");
    assert!(!tap.has("IngressClass", "ringress"), "nothing is assumed: this is no missing right");
    let expected =
        format!("does not accept the token in {} (401: Unauthorized); the file is read", file.display());
    for report in tap.standing.report() {
        let (_, why) = report.failing.clone().unwrap_or_else(|| panic!("it fails: {report:?}"));
        assert!(why.contains(&expected) && !why.contains("refuses"), "{why}");
    }
    let refused =
        server.requests().iter().filter(|request| request.token == "first" && request.at > begun).count();
    let again = refused as u64 - failures(&tap).min(refused as u64);
    assert!(again <= begun.elapsed().as_secs() + 8, "{again} calls were sent once more");
    std::fs::write(&file, "second").unwrap();
    let replaced = Instant::now();
    server.put("services", service("a/second"));
    tap.until_has("Service", "a/second").await;
    assert!(replaced.elapsed() < Duration::from_secs(2), "{:?}", replaced.elapsed());
}

#[tokio::test]
async fn a_token_that_is_wrong_at_the_start_is_waited_for() {
    let server = ApiServer::start().await;
    server.accept_only("second");
    server.put("services", service("a/first"));
    let (kubeconfig, file) = server.kubeconfig_with_token_file("first");
    let mut tap = Tap::open_by(kubeconfig, Scope::default()).await;
    tap.settle(Duration::from_millis(300)).await;
    assert!(tap.last.is_none());
    let missing = tap.standing.missing();
    assert!(
        missing.iter().any(|line| line.contains("services cannot be listed: the API server does not accept")),
        "{missing:?}"
    );
    std::fs::write(&file, "second").unwrap();
    tap.until_has("Service", "a/first").await;
}

/// TLS before the scripted server, whose certificate can be replaced.
struct Front {
    address: SocketAddr,
    shown: watch::Sender<Arc<ServerConfig>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Front {
    async fn start(server: &ApiServer, certified: &CertifiedKey<KeyPair>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, behind) = (listener.local_addr().unwrap(), server.address);
        let (shown, newest) = watch::channel(config(certified));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let mut newest = newest.clone();
                let acceptor = TlsAcceptor::from(Arc::clone(&newest.borrow_and_update()));
                connections.spawn(async move {
                    let Ok(mut client) = acceptor.accept(stream).await else { return };
                    let mut server = TcpStream::connect(behind).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        _ = newest.changed() => {}
                    }
                });
            }
        });
        Self { address, shown, task }
    }

    /// Begins anew with another certificate.
    fn show(&self, certified: &CertifiedKey<KeyPair>) {
        self.shown.send_replace(config(certified));
    }
}

fn certified() -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap()
}

fn config(certified: &CertifiedKey<KeyPair>) -> Arc<ServerConfig> {
    let key = rustls_pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    Arc::new(config.with_single_cert(vec![certified.cert.der().clone()], key).unwrap())
}

#[tokio::test]
async fn an_authority_that_was_replaced_in_its_file_is_trusted_at_once() {
    let server = ApiServer::start().await;
    let (first, second) = (certified(), certified());
    let front = Front::start(&server, &first).await;
    let dir = tempfile::tempdir().unwrap();
    let (kubeconfig, authority) = (dir.path().join("kubeconfig"), dir.path().join("ca.crt"));
    std::fs::write(&authority, first.cert.pem()).unwrap();
    let cluster = json!({"server": format!("https://{}", front.address), "certificate-authority": authority});
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "here", "cluster": cluster}], "users": [{"name": "here", "user": {"token": "t"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "here"}}],
    });
    std::fs::write(&kubeconfig, text.to_string()).unwrap();
    server.put("services", service("a/first"));
    let mut tap = Tap::open_by(kubeconfig, Scope::default()).await;
    tap.until_has("Service", "a/first").await;
    front.show(&second);
    server.put("services", service("a/second"));
    tap.settle(Duration::from_millis(1500)).await;
    assert!(tap.has("Service", "a/first") && !tap.has("Service", "a/second"), "nobody is trusted unseen");
    std::fs::write(&authority, second.cert.pem()).unwrap();
    let replaced = Instant::now();
    tap.until_has("Service", "a/second").await;
    assert!(replaced.elapsed() < Duration::from_secs(4), "{:?}", replaced.elapsed());
}
