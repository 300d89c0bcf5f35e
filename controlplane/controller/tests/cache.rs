//! A start without the API server: what was known is served from the cache, says so, and is replaced as a whole.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringress_controller::source::kube::{
    Access, CacheConfig, CacheKey, CacheReport, KubeSource, Patience, Scope, Standing,
};
use ringress_controller::{Config, Controller, Ended, Error, Source};
use ringress_shared::certificate::CertificateStore;
use ringress_translate::Settings;
use serde_json::{Value, json};
use support::api_server::{ApiServer, Call, Fault};
use support::{FakeShard, eventually, get, patience, ports, shards};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const CONFIRM: Duration = Duration::from_millis(600);
const AFTER: Duration = Duration::from_millis(300);

fn cache(dir: &Path, key: Option<&str>) -> CacheConfig {
    let mut config = CacheConfig::new(dir.join("cache"));
    config.after = AFTER;
    config.pause = Duration::from_millis(10);
    config.key = key.map(|digit| {
        use std::os::unix::fs::PermissionsExt;
        let file = dir.join("key");
        let _ = std::fs::remove_file(&file);
        std::fs::write(&file, digit.repeat(64)).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
        CacheKey::read(&file).unwrap()
    });
    config
}

/// A controller over one fake shard.
struct Running {
    shard: Arc<FakeShard>,
    standing: Arc<Standing>,
    admin: SocketAddr,
    stop: mpsc::Sender<()>,
    ended: JoinHandle<Result<Ended, Error>>,
}

impl Running {
    fn start(server: &ApiServer, cache: CacheConfig) -> Self {
        let access = Access { kubeconfig: Some(server.kubeconfig("http")), context: None };
        let source = KubeSource::new(access, Scope::default(), Patience { confirm: CONFIRM, ..patience() })
            .with_cache(cache);
        let standing = source.standing();
        let loopback = || Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let config = Config {
            source: Source::Cluster(Box::new(source)),
            settings: Settings { http: loopback(), https: loopback(), ..Settings::default() },
            admin_address: loopback(),
            health_address: None,
            drain_timeout: Duration::from_secs(1),
            shutdown_grace_period: Duration::ZERO,
            overlay: None,
            explain: Arc::new(|_, _| Ok(Value::Null)),
            on_generation: Box::new(|_| {}),
        };
        let (shards, events) = shards(1);
        let controller = Controller::new(config, ports(&shards), events).unwrap();
        let admin = controller.admin_address().unwrap();
        let (stop, stopped) = mpsc::channel(2);
        let ended = tokio::spawn(controller.run_until(stopped));
        Self { shard: Arc::clone(&shards[0]), standing, admin, stop, ended }
    }

    async fn is_ready(&self) {
        eventually(async || get(self.admin, "/readyz").await, |answer| answer.status == 200).await;
    }

    fn cache(&self) -> CacheReport {
        self.standing.cache().unwrap()
    }

    /// Hosts with routes.
    async fn hosts(&self) -> Vec<String> {
        let routes = get(self.admin, "/routes").await.json();
        let routes = routes["routes"].as_array().unwrap().iter();
        let hosts = routes.map(|route| route["host"].as_str().unwrap().to_owned());
        hosts.filter(|host| host != "*").collect()
    }

    fn generation(&self) -> u64 {
        self.shard.serving.lock().unwrap().as_ref().map_or(0, |snapshot| snapshot.generation)
    }

    fn certificates(&self) -> Arc<CertificateStore> {
        let snapshot = Arc::clone(self.shard.serving.lock().unwrap().as_ref().unwrap());
        let mut listeners = snapshot.sockets.iter().flat_map(|socket| socket.listeners.iter());
        Arc::clone(&listeners.find_map(|listener| listener.tls.as_ref()).unwrap().certificates)
    }

    async fn end(self) {
        self.stop.send(()).await.unwrap();
        self.ended.await.unwrap().unwrap();
    }
}

fn object(key: &str, rest: Value) -> Value {
    let (namespace, name) = key.split_once('/').unwrap_or(("", key));
    let mut object = json!({"metadata": {"namespace": namespace, "name": name}});
    object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    object
}

fn ingress(name: &str, host: &str) -> Value {
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    object(
        &format!("shop/{name}"),
        json!({"spec": {
            "ingressClassName": "ringress",
            "tls": [{"hosts": [host], "secretName": "cert"}],
            "rules": [{"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
        }}),
    )
}

/// A cluster with one host that has a certificate.
async fn cluster() -> ApiServer {
    let server = ApiServer::start().await;
    server.put(
        "ingressclasses",
        object("ringress", json!({"spec": {"controller": "ringress.dev/ingress-controller"}})),
    );
    server.put("ingresses", ingress("web", "own.test"));
    server.put("services", object("shop/web", json!({"spec": {"ports": [{"port": 80}]}})));
    let slice = json!({
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"]}],
        "ports": [{"port": 8080}],
    });
    let mut slice = object("shop/web-1", slice);
    slice["metadata"]["labels"] = json!({"kubernetes.io/service-name": "web"});
    server.put("endpointslices", slice);
    server.put("secrets", secret());
    server
}

fn secret() -> Value {
    use base64::Engine;
    let made = rcgen::generate_simple_self_signed(["own.test".to_owned()]).unwrap();
    let encode = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
    let data =
        json!({"tls.crt": encode(made.cert.pem()), "tls.key": encode(made.signing_key.serialize_pem())});
    object("shop/cert", json!({"type": "kubernetes.io/tls", "data": data}))
}

/// A cluster that was served once by a process that has written its cache.
async fn served_once(dir: &Path, key: Option<&str>) -> ApiServer {
    let server = cluster().await;
    let running = Running::start(&server, cache(dir, key));
    running.is_ready().await;
    eventually(async || running.cache(), |report| report.writes > 0).await;
    assert_eq!(running.cache().serving, None);
    running.end().await;
    server
}

fn away(server: &ApiServer) {
    server.fail("*", Call::Any, Fault::Close, None);
    server.end_watches();
}

fn shown(store: &CertificateStore, name: &str) -> Option<String> {
    store.resolve(Some(name)).map(|found| {
        found.secret.as_ref().map_or_else(|| "generated".to_owned(), |secret| secret.name.to_string())
    })
}

#[tokio::test]
async fn a_restart_without_the_api_server_serves_what_was_known_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let server = served_once(dir.path(), Some("a")).await;
    for fault in [Fault::Close, Fault::Hang, Fault::Refuse(500, None), Fault::Refuse(429, Some(1))] {
        server.fail("*", Call::Any, fault.clone(), None);
        let begun = Instant::now();
        let running = Running::start(&server, cache(dir.path(), Some("a")));
        running.is_ready().await;
        assert!(begun.elapsed() >= AFTER, "{fault:?}: the API server is given its time");
        assert_eq!(running.hosts().await, ["own.test"], "{fault:?}");
        assert_eq!(shown(&running.certificates(), "own.test").as_deref(), Some("cert"));
        let readyz = get(running.admin, "/readyz").await.body;
        assert!(readyz.starts_with("ready\ndegraded: ") && readyz.contains("s old is served"), "{readyz}");
        let verbose = get(running.admin, "/readyz?verbose=1").await.json();
        assert_eq!(verbose["degraded"].as_array().unwrap().len(), 1, "{verbose}");
        assert!(
            get(running.admin, "/routes").await.json()["degraded"][0].as_str().unwrap().contains("cache")
        );
        let metrics = get(running.admin, "/metrics").await.body;
        for line in ["ringress_cache_serving 1", "ringress_cache_secrets_withheld 0"] {
            assert!(metrics.lines().any(|found| found == line), "{line} is missing in\n{metrics}");
        }
        assert!(metrics.contains("\nringress_cache_age_seconds "), "{metrics}");
        running.end().await;
        server.heal();
    }
}

#[tokio::test]
async fn the_api_server_replaces_the_cache_in_one_generation() {
    let dir = tempfile::tempdir().unwrap();
    let server = served_once(dir.path(), Some("a")).await;
    away(&server);
    let running = Running::start(&server, cache(dir.path(), Some("a")));
    running.is_ready().await;
    assert_eq!(running.generation(), 1);
    server.put("ingresses", ingress("second", "second.test"));
    server.delete("ingresses", "shop", "web");
    // Kinds come back one after the other, and none of them counts before the last.
    server.heal();
    server.fail("endpointslices", Call::List, Fault::Slow(Duration::from_millis(300)), Some(1));
    eventually(async || running.generation(), |generation| *generation > 1).await;
    assert_eq!(running.generation(), 2);
    assert_eq!(running.hosts().await, ["second.test"]);
    assert_eq!(running.cache().serving, None);
    let health = get(running.admin, "/healthz?verbose=1").await.json();
    assert_eq!(health["degraded"], json!([]), "{health}");
    let metrics = get(running.admin, "/metrics").await.body;
    assert!(metrics.lines().any(|line| line == "ringress_cache_serving 0"), "{metrics}");
    // And the newest state is what the next start finds.
    eventually(async || running.cache(), |report| report.writes > 0).await;
    away(&server);
    running.end().await;
    let running = Running::start(&server, cache(dir.path(), Some("a")));
    running.is_ready().await;
    assert_eq!(running.hosts().await, ["second.test"]);
}

#[tokio::test]
async fn without_the_key_hosts_with_certificates_refuse_tls() {
    // Written without a key; with a key that the process lacks; with another key.
    for (written, read) in [(None, None), (Some("a"), None), (Some("a"), Some("b")), (None, Some("a"))] {
        let dir = tempfile::tempdir().unwrap();
        let server = served_once(dir.path(), written).await;
        away(&server);
        let running = Running::start(&server, cache(dir.path(), read));
        running.is_ready().await;
        assert_eq!(running.hosts().await, ["own.test"]);
        let store = running.certificates();
        assert_eq!(shown(&store, "own.test"), None, "{written:?} {read:?}");
        assert!(store.refuses("own.test"));
        assert_eq!(shown(&store, "other.test").as_deref(), Some("generated"));
        let from = running.cache().serving.unwrap();
        assert_eq!(from.withheld, 1);
        assert!(from.describe().contains("refuse TLS"), "{}", from.describe());
        let problems = get(running.admin, "/routes").await.json()["problems"].to_string();
        assert!(problems.contains("SecretWithheld"), "{problems}");
        let missing = get(running.admin, "/certificates").await.json()["missing"].clone();
        assert_eq!(missing[0]["reason"], "SecretWithheld", "{missing}");
        assert_eq!(missing[0]["hosts"][0], "own.test", "{missing}");
        server.heal();
        eventually(
            async || shown(&running.certificates(), "own.test"),
            |name| name.as_deref() == Some("cert"),
        )
        .await;
        assert!(!running.certificates().refuses("own.test"));
    }
}

#[tokio::test]
async fn a_protection_stays_closed() {
    let dir = tempfile::tempdir().unwrap();
    let server = cluster().await;
    let mut closed = ingress("web", "own.test");
    closed["metadata"]["annotations"] = json!({"nginx.ingress.kubernetes.io/auth-type": "basic"});
    server.put("ingresses", closed);
    let denied = async |running: &Running| get(running.admin, "/routes").await.json()["routes"].to_string();
    let running = Running::start(&server, cache(dir.path(), None));
    running.is_ready().await;
    let before = denied(&running).await;
    assert!(before.contains("denied"), "{before}");
    eventually(async || running.cache(), |report| report.writes > 0).await;
    running.end().await;
    away(&server);
    let running = Running::start(&server, cache(dir.path(), None));
    running.is_ready().await;
    assert_eq!(denied(&running).await, before);
}

#[tokio::test]
async fn an_api_server_that_refuses_us_is_not_away() {
    let dir = tempfile::tempdir().unwrap();
    let server = served_once(dir.path(), None).await;
    server.fail("*", Call::Any, Fault::Refuse(403, None), None);
    let running = Running::start(&server, cache(dir.path(), None));
    tokio::time::sleep(AFTER * 3).await;
    let readyz = get(running.admin, "/readyz").await;
    assert_eq!(readyz.status, 503);
    assert!(readyz.body.contains("refuses"), "{}", readyz.body);
    // Gone after that, it is away.
    server.heal();
    away(&server);
    running.is_ready().await;
    assert!(running.cache().serving.is_some());
}

#[tokio::test]
async fn an_api_server_that_answers_in_time_leaves_the_cache_alone() {
    let dir = tempfile::tempdir().unwrap();
    let server = served_once(dir.path(), None).await;
    server.put("ingresses", ingress("second", "second.test"));
    let running = Running::start(&server, cache(dir.path(), None));
    running.is_ready().await;
    assert_eq!(running.hosts().await.len(), 2);
    assert_eq!((running.generation(), running.cache().serving), (1, None));
}

#[tokio::test]
async fn a_first_list_that_is_empty_is_doubted_where_the_cache_knows_better() {
    let dir = tempfile::tempdir().unwrap();
    let server = served_once(dir.path(), None).await;
    server.fail("ingresses", Call::List, Fault::Empty, Some(1));
    let running = Running::start(&server, cache(dir.path(), None));
    running.is_ready().await;
    assert_eq!(running.hosts().await, ["own.test"]);
    assert!(running.cache().serving.is_some());
    eventually(async || running.cache().serving, Option::is_none).await;
    assert_eq!(running.hosts().await, ["own.test"], "the second list has it");
    running.end().await;
    // Twice is the truth.
    server.delete("ingresses", "shop", "web");
    let running = Running::start(&server, cache(dir.path(), None));
    running.is_ready().await;
    assert_eq!(running.hosts().await, ["own.test"]);
    eventually(async || running.hosts().await.len(), |hosts| *hosts == 0).await;
}

#[tokio::test]
async fn a_cache_that_cannot_be_used_is_ignored_and_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let server = served_once(dir.path(), None).await;
    let file = dir.path().join("cache/cluster.cache");
    let good = std::fs::read(&file).unwrap();
    for spoilt in [good[..good.len() / 2].to_vec(), b"something else".to_vec(), Vec::new()] {
        std::fs::write(&file, spoilt).unwrap();
        away(&server);
        let running = Running::start(&server, cache(dir.path(), None));
        tokio::time::sleep(AFTER * 2).await;
        assert_eq!(get(running.admin, "/readyz").await.status, 503, "nothing is served");
        server.heal();
        running.is_ready().await;
        eventually(async || running.cache(), |report| report.writes > 0).await;
        running.end().await;
        assert!(std::fs::read(&file).unwrap().len() > good.len() / 2);
    }
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_costs_nothing_but_a_word() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("cache"), "no folder").unwrap();
    let server = cluster().await;
    let running = Running::start(&server, cache(dir.path(), None));
    running.is_ready().await;
    eventually(async || running.cache(), |report| report.failures > 0).await;
    let metrics = get(running.admin, "/metrics").await.body;
    assert!(metrics.contains("ringress_cache_writes_total{result=\"failure\"}"), "{metrics}");
}

#[tokio::test]
async fn changes_are_written_together_and_not_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    let server = cluster().await;
    let mut config = cache(dir.path(), None);
    config.pause = Duration::from_millis(400);
    let running = Running::start(&server, config);
    running.is_ready().await;
    eventually(async || running.cache(), |report| report.writes == 1).await;
    for number in 0..30 {
        server.put("ingresses", ingress("web", &format!("h{number}.test")));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    eventually(async || running.hosts().await, |hosts| hosts == &["h29.test"]).await;
    assert!(running.cache().writes <= 2, "{}", running.cache().writes);
    let file = dir.path().join("cache/cluster.cache");
    let is_newest = |bytes: &Vec<u8>| bytes.windows(8).any(|window| window == b"h29.test");
    eventually(async || std::fs::read(&file).unwrap(), is_newest).await;
}
