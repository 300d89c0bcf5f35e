//! The control loop from a folder to shards that acknowledge, and what the admin says meanwhile.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "../support/mod.rs"]
mod support;

mod generations;
mod metrics;
mod pages;
mod readiness;
mod shutdown;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringress_controller::{Config, Controller, Ended, Error, GenerationReport, Refused, Source};
use ringress_translate::Settings;
use serde_json::json;
use support::{Answer, FakeShard, eventually, get, ports, shards};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// An Ingress of any host, with its Service and one endpoint.
fn manifest(name: &str, path: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
  namespace: shop
spec:
  ingressClassName: ringress
  rules:
  - host: shop.example.com
    http:
      paths:
      - path: {path}
        pathType: Prefix
        backend:
          service:
            name: {name}
            port:
              number: 80
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: shop
spec:
  ports:
  - port: 80
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}
  namespace: shop
  labels:
    kubernetes.io/service-name: {name}
addressType: IPv4
ports:
- port: 8000
endpoints:
- addresses: [10.1.2.3]
  conditions:
    ready: true
"
    )
}

/// A controller that runs over fake shards.
struct Running {
    dir: tempfile::TempDir,
    shards: Vec<Arc<FakeShard>>,
    reports: Arc<Mutex<Vec<GenerationReport>>>,
    admin: SocketAddr,
    health: SocketAddr,
    stop: mpsc::Sender<()>,
    ended: JoinHandle<Result<Ended, Error>>,
}

/// What differs between tests.
struct Setup {
    shards: usize,
    obedient: bool,
    grace: Duration,
    drain: Duration,
}

const USUAL: Setup =
    Setup { shards: 2, obedient: true, grace: Duration::ZERO, drain: Duration::from_secs(30) };

/// The error that ends a start which must not succeed.
async fn fails(run: impl Future<Output = Result<Ended, Error>>) -> Error {
    tokio::time::timeout(Duration::from_secs(10), run).await.expect("it runs").unwrap_err()
}

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn settings(http: SocketAddr) -> Settings {
    Settings { http: Some(http), https: None, create_named_classes: true, ..Settings::default() }
}

fn config(source: Source, reports: &Arc<Mutex<Vec<GenerationReport>>>) -> Config {
    let reports = Arc::clone(reports);
    Config {
        source,
        settings: settings(loopback()),
        admin_address: Some(loopback()),
        health_address: Some(loopback()),
        drain_timeout: USUAL.drain,
        shutdown_grace_period: USUAL.grace,
        overlay: None,
        explain: Arc::new(|view, request| {
            assert_ne!(request["url"], "panic", "asked to");
            if request["url"].is_null() {
                return Err(Refused { field: "url".into(), message: "is missing".into() });
            }
            Ok(json!({"generation": view.snapshot.generation, "asked": request["url"]}))
        }),
        on_generation: Box::new(move |report| reports.lock().unwrap().push(report)),
    }
}

impl Running {
    async fn new() -> Self {
        let running = Self::with(USUAL);
        running.is_ready().await;
        running
    }

    /// Starts and does not wait for anything.
    fn with(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("web.yaml"), manifest("web", "/")).unwrap();
        let (shards, events) = shards(setup.shards);
        for shard in &shards {
            shard.obedient.store(setup.obedient, Ordering::SeqCst);
        }
        let reports = Arc::default();
        let mut config = config(Source::Folder(dir.path().to_owned()), &reports);
        config.drain_timeout = setup.drain;
        config.shutdown_grace_period = setup.grace;
        let controller = Controller::new(config, ports(&shards), events).unwrap();
        let (admin, health) = (controller.admin_address().unwrap(), controller.health_address().unwrap());
        let (stop, stopped) = mpsc::channel(2);
        let ended = tokio::spawn(controller.run_until(stopped));
        Self { dir, shards, reports, admin, health, stop, ended }
    }

    async fn is_ready(&self) {
        self.answers("/readyz", 200).await;
    }

    async fn answers(&self, path: &str, status: u16) -> Answer {
        eventually(async || get(self.admin, path).await, |answer| answer.status == status).await
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// Waits for the report number `count` and gives it.
    async fn report(&self, count: usize) -> GenerationReport {
        eventually(async || self.reports.lock().unwrap().len(), |reports| *reports >= count).await;
        self.reports.lock().unwrap()[count - 1].clone()
    }

    async fn end(self) -> Result<Ended, Error> {
        tokio::time::timeout(Duration::from_secs(10), self.ended).await.expect("does not end").unwrap()
    }
}

/// Starts with manifests that are part of the program, and gives the first report.
async fn first_report(
    manifest: &str,
    change: impl FnOnce(&mut Config),
) -> (GenerationReport, SocketAddr, Alive) {
    let (shards, events) = shards(1);
    let reports = Arc::default();
    let texts = [("all.yaml".to_owned(), manifest.into())].into();
    let mut config = config(Source::Texts(texts), &reports);
    change(&mut config);
    let controller = Controller::new(config, ports(&shards), events).unwrap();
    let admin = controller.admin_address().unwrap();
    let (stop, stopped) = mpsc::channel(1);
    tokio::spawn(controller.run_until(stopped));
    eventually(async || reports.lock().unwrap().len(), |reports| *reports > 0).await;
    let report = reports.lock().unwrap()[0].clone();
    (report, admin, Alive { _stop: stop, _shards: shards })
}

/// What a controller needs to go on.
struct Alive {
    _stop: mpsc::Sender<()>,
    _shards: Vec<Arc<FakeShard>>,
}
