//! The control loop from a folder to shards that acknowledge, and what the admin says meanwhile.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringress_controller::{Config, Controller, Ended, Error, GenerationReport, Refused, Source};
use ringress_shared::command::Event;
use ringress_shared::metric::{Counter, EndpointLoad};
use ringress_translate::Settings;
use serde_json::{Value, json};
use support::{Answer, FakeShard, empty_report, eventually, get, ports, post, shards};
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

#[tokio::test]
async fn readiness_waits_for_generation_one_on_every_shard() {
    let running = Running::with(Setup { obedient: false, ..USUAL });
    eventually(async || running.shards[1].told(), |told| told.iter().any(|told| told == "Apply(1)")).await;
    running.shards[0].obey();
    let answer = running.answers("/readyz", 503).await;
    assert!(answer.body.contains("shard 1 has no generation yet"), "{}", answer.body);
    assert!(!answer.body.contains("shard 0 has"), "{}", answer.body);
    assert!(running.reports.lock().unwrap().is_empty(), "not live everywhere");
    running.shards[1].obey();
    running.is_ready().await;
    let report = running.report(1).await;
    assert_eq!((report.generation, report.shards, report.fresh), (1, 2, true));
}

#[tokio::test]
async fn readiness_needs_every_shard_to_accept() {
    let running = Running::new().await;
    running.shards[1].accept(false);
    let answer = running.answers("/readyz", 503).await;
    assert!(answer.body.contains("shard 1 does not accept"), "{}", answer.body);
    running.shards[1].accept(true);
    running.is_ready().await;
}

#[tokio::test]
async fn readiness_names_the_driver_of_each_shard() {
    let running = Running::new().await;
    let answer = get(running.admin, "/readyz").await;
    assert!(answer.body.starts_with("ready\n"), "{}", answer.body);
    assert!(answer.body.contains("epoll (epoll), because io_uring_setup: EPERM"), "{}", answer.body);
    let verbose = get(running.admin, "/readyz?verbose=1").await.json();
    assert_eq!(verbose["ok"], true);
    assert_eq!(verbose["shards"][1]["driver"], "epoll");
    assert_eq!(verbose["shards"][1]["reason"], "io_uring_setup: EPERM");
    assert_eq!(verbose["sockets"].as_array().unwrap().len(), 1, "{verbose}");
}

#[tokio::test]
async fn the_generation_page_shows_what_is_published_and_what_each_shard_has() {
    let running = Running::new().await;
    assert_eq!(get(running.admin, "/generation").await.json(), json!({"generation": 1, "shards": [1, 1]}));
    running.shards[1].obedient.store(false, Ordering::SeqCst);
    running.write("api.yaml", &manifest("api", "/api"));
    let page =
        eventually(async || get(running.admin, "/generation").await.json(), |page| page["shards"][0] == 2)
            .await;
    assert_eq!(page, json!({"generation": 2, "shards": [2, 1]}));
    running.shards[1].obey();
    let report = running.report(2).await;
    assert_eq!(report.generation, 2);
    assert_eq!(get(running.admin, "/generation").await.json(), json!({"generation": 2, "shards": [2, 2]}));
}

#[tokio::test]
async fn a_change_that_changes_no_object_makes_no_generation() {
    let running = Running::new().await;
    running.write("web.yaml", &format!("# a comment\n{}", manifest("web", "/")));
    running.write("api.yaml", &manifest("api", "/api"));
    let report = running.report(2).await;
    assert_eq!(report.generation, 2, "the second change made the second generation");
    assert_eq!(report.view.objects.ingresses.len(), 2);
}

#[tokio::test]
async fn problems_of_a_generation_that_is_on_its_way_are_reported_when_it_is_live() {
    let running = Running::new().await;
    running.report(1).await;
    running.shards[0].obedient.store(false, Ordering::SeqCst);
    running.write("api.yaml", &manifest("api", "/api"));
    eventually(async || running.shards[0].told(), |told| told.iter().any(|told| told == "Apply(2)")).await;
    running.write("broken.yaml", "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web\n");
    let problems = async || get(running.admin, "/problems").await.body;
    eventually(problems, |body| body.contains("broken.yaml")).await;
    assert_eq!(running.reports.lock().unwrap().len(), 1, "generation 2 is not live on shard 0");
    running.shards[0].obey();
    let report = running.report(2).await;
    assert_eq!((report.generation, report.fresh), (2, true));
    let is_broken = |problem: &ringress_translate::Problem| &*problem.object.name == "broken.yaml";
    assert!(report.problems.iter().any(is_broken) && report.appeared.iter().any(is_broken));
    assert!(report.view.problems.iter().any(is_broken), "{:?}", report.view.problems);
}

#[tokio::test]
async fn an_object_that_changes_makes_a_generation_even_where_the_result_is_equal() {
    let running = Running::new().await;
    let annotated = manifest("web", "/").replacen("  name: web", "  name: web\n  annotations: {a: b}", 1);
    running.write("web.yaml", &annotated);
    let (first, second) = (running.report(1).await, running.report(2).await);
    assert_eq!(second.generation, 2);
    assert!(Arc::ptr_eq(&first.view.snapshot.server_configs, &second.view.snapshot.server_configs));
}

#[tokio::test]
async fn a_document_that_does_not_parse_is_reported_without_a_generation() {
    let running = Running::new().await;
    running.write("web.yaml", "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web\n");
    let report = running.report(2).await;
    assert_eq!((report.generation, report.fresh), (1, false));
    assert!(!report.appeared.is_empty());
    assert_eq!(report.view.objects.ingresses.len(), 1, "the object stays as it was");
    let metrics = get(running.admin, "/metrics").await.body;
    let errors = report.problems.iter().filter(|problem| problem.level.as_str() == "error").count();
    assert!(metrics.contains(&format!("ringress_problems{{level=\"error\"}} {errors}\n")), "{metrics}");
    running.write("web.yaml", &manifest("web", "/"));
    let report = running.report(3).await;
    assert_eq!((report.generation, report.fresh, report.appeared.len()), (1, false, 0));
    let recovered: Vec<_> = report.recovered.iter().map(ToString::to_string).collect();
    assert!(recovered.contains(&"Ingress shop/web".to_owned()), "{recovered:?}");
}

#[tokio::test]
async fn metrics_count_problems_by_reason_reloads_and_what_shards_complain_about() {
    let running = Running::new().await;
    running.report(1).await;
    running.write("broken.yaml", "kind: [\n");
    running.shards[1].say(Event::Notice { shard: 1, message: "accepting fails".to_owned() });
    let lines = [
        "ringress_object_problems{reason=\"Undecodable\",level=\"error\"} 1",
        "ringress_config_last_reload_successful 1",
        "ringress_config_reloads_total{result=\"success\"} 1",
        "ringress_config_reloads_total{result=\"failure\"} 0",
        "ringress_shard_notices_total{shard=\"0\"} 0",
        "ringress_shard_notices_total{shard=\"1\"} 1",
    ];
    let page = async || get(running.admin, "/metrics").await.body;
    let page =
        eventually(page, |page| lines.iter().all(|line| page.lines().any(|found| found == *line))).await;
    assert!(page.contains("\nprocess_open_fds ") && page.contains("\nprocess_max_fds "), "{page}");
}

#[tokio::test]
async fn a_shard_that_skips_a_generation_acknowledges_it_with_the_next() {
    let running = Running::new().await;
    for shard in &running.shards {
        shard.obedient.store(false, Ordering::SeqCst);
    }
    running.write("b.yaml", &manifest("b", "/b"));
    let published = |generation: u64| {
        let admin = running.admin;
        eventually(
            async move || get(admin, "/generation").await.json(),
            move |page| page["generation"] == generation,
        )
    };
    published(2).await;
    running.write("c.yaml", &manifest("c", "/c"));
    published(3).await;
    assert_eq!(running.reports.lock().unwrap().len(), 1);
    running.shards.iter().for_each(|shard| shard.obey());
    assert_eq!(running.report(2).await.generation, 2);
    assert_eq!(running.report(3).await.generation, 3);
}

#[tokio::test]
async fn a_storm_of_changes_is_coalesced_and_ends_in_the_last_state() {
    let running = Running::new().await;
    for number in 0..300 {
        running.write("api.yaml", &manifest("api", &format!("/{number}")));
    }
    let path = |report: &GenerationReport| {
        let objects = &report.view.objects;
        objects.ingresses.values().find_map(|stored| {
            let rule = &stored.object.spec.as_ref()?.rules.as_ref()?[0];
            rule.http.as_ref()?.paths[0].path.clone().filter(|path| path != "/")
        })
    };
    let last = async || running.reports.lock().unwrap().last().and_then(path);
    eventually(last, |path| path.as_deref() == Some("/299")).await;
    let generations = running.reports.lock().unwrap().len();
    assert!(generations < 150, "{generations} generations for 300 changes");
}

#[tokio::test]
async fn metrics_add_what_shards_count_to_what_the_control_plane_knows() {
    let running = Running::new().await;
    let mut report = empty_report();
    report.counters[Counter::Responses2xx as usize] = 41;
    report.counters[Counter::TlsResumptions as usize] = 3;
    report.latency.record(700).unwrap();
    report.pooled = 5;
    *running.shards[1].report.lock().unwrap() = Some(report);
    running.report(1).await;
    let metrics = get(running.admin, "/metrics").await.body;
    for line in [
        "ringress_requests_total{shard=\"1\",code_class=\"2xx\"} 41",
        "ringress_requests_total{shard=\"0\",code_class=\"2xx\"} 0",
        "ringress_tls_handshakes_total{shard=\"1\",resumed=\"true\"} 3",
        "ringress_upstream_idle_connections{shard=\"1\"} 5",
        "ringress_generation{shard=\"0\"} 1",
        "ringress_io_driver{shard=\"0\",driver=\"epoll\"} 1",
        "ringress_connections{shard=\"0\"} 0",
        "ringress_request_duration_seconds_bucket{le=\"0.001\",shard=\"1\"} 1",
        "ringress_request_duration_seconds_count{shard=\"1\"} 1",
        "ringress_config_apply_seconds_count 1",
        "ringress_snapshots 1",
        "ringress_build_info{version=\"0.1.0\"} 1",
        "# TYPE ringress_requests counter",
        "# EOF",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in\n{metrics}");
    }
}

#[tokio::test]
async fn a_shard_that_does_not_answer_is_left_out_of_the_metrics() {
    let running = Running::new().await;
    *running.shards[0].report.lock().unwrap() = None;
    let metrics = get(running.admin, "/metrics").await.body;
    assert!(metrics.contains("ringress_requests_total{shard=\"1\""), "{metrics}");
    assert!(!metrics.contains("ringress_requests_total{shard=\"0\""), "{metrics}");
    assert!(metrics.contains("ringress_generation{shard=\"0\"} 1"), "{metrics}");
}

#[tokio::test]
async fn the_health_address_serves_health_and_metrics_only() {
    let running = Running::new().await;
    for path in ["/healthz", "/livez", "/readyz", "/metrics"] {
        assert_eq!(get(running.health, path).await.status, 200, "{path}");
    }
    for path in ["/version", "/generation", "/routes", "/explain", "/"] {
        assert_eq!(get(running.health, path).await.status, 404, "{path}");
    }
    assert_eq!(get(running.admin, "/version").await.json(), json!({"version": "0.1.0"}));
}

#[tokio::test]
async fn explain_asks_the_closure_about_the_newest_generation() {
    let running = Running::new().await;
    let answer = post(running.admin, "/explain", r#"{"url": "http://shop.example.com/"}"#).await;
    assert_eq!(answer.json(), json!({"generation": 1, "asked": "http://shop.example.com/"}));
    let no_json = post(running.admin, "/explain", "{").await;
    assert_eq!((no_json.status, &no_json.json()["field"]), (400, &json!("body")), "{}", no_json.body);
    let no_url = post(running.admin, "/explain", "{}").await;
    assert_eq!((no_url.status, no_url.json()), (400, json!({"field": "url", "error": "is missing"})));
    assert_eq!(post(running.admin, "/explain", r#"{"url": "panic"}"#).await.status, 500);
    assert_eq!(get(running.admin, "/explain").await.status, 405);
    assert_eq!(get(running.admin, "/healthz").await.status, 200, "a panic costs one answer");
}

#[tokio::test]
async fn a_question_whose_body_does_not_come_is_refused() {
    let running = Running::new().await;
    let mut stream = tokio::net::TcpStream::connect(running.admin).await.unwrap();
    let head = "POST /explain HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Type: application/json\r\n\
                Content-Length: 100\r\n\r\n{";
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer);
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("never refused").unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn the_way_out_is_not_ready_then_drain_then_end() {
    let grace = Duration::from_secs(1);
    let running = Running::with(Setup { grace, ..USUAL });
    running.is_ready().await;
    running.stop.send(()).await.unwrap();
    let answer = running.answers("/readyz", 503).await;
    assert!(answer.body.contains("the process is stopping"), "{}", answer.body);
    assert!(running.shards.iter().all(|shard| !shard.told().iter().any(|told| told.starts_with("Drain"))));
    assert_eq!(get(running.admin, "/healthz").await.status, 200, "the admin is alive");
    let shards = running.shards.clone();
    assert_eq!(running.end().await.unwrap(), Ended::Drained { cut: 0 });
    for shard in shards {
        assert_eq!(shard.told().last().unwrap(), "Drain(30s)");
    }
}

#[tokio::test]
async fn a_generation_is_still_published_during_the_grace_period() {
    let running = Running::with(Setup { grace: Duration::from_secs(60), ..USUAL });
    running.is_ready().await;
    running.stop.send(()).await.unwrap();
    running.answers("/readyz", 503).await;
    running.write("api.yaml", &manifest("api", "/api"));
    assert_eq!(running.report(2).await.generation, 2);
}

#[tokio::test]
async fn the_end_waits_for_the_last_shard_and_adds_up_what_was_cut() {
    let running = Running::with(Setup { obedient: false, ..USUAL });
    eventually(async || running.shards[1].told(), |told| told.iter().any(|told| told == "Apply(1)")).await;
    running.stop.send(()).await.unwrap();
    eventually(async || running.shards[1].told(), |told| told.iter().any(|told| told == "Drain(30s)")).await;
    running.shards[0].say(Event::Drained { shard: 0, cut: 2 });
    running.shards[0].say(Event::Drained { shard: 0, cut: 2 });
    assert_eq!(get(running.admin, "/healthz").await.status, 200, "still there");
    assert!(!running.ended.is_finished());
    running.shards[1].say(Event::Drained { shard: 1, cut: 1 });
    assert_eq!(running.end().await.unwrap(), Ended::Drained { cut: 3 });
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    for grace in [Duration::ZERO, Duration::from_secs(60)] {
        let running = Running::with(Setup { grace, obedient: false, ..USUAL });
        running.answers("/readyz", 503).await;
        running.stop.send(()).await.unwrap();
        running.stop.send(()).await.unwrap();
        assert_eq!(running.end().await.unwrap(), Ended::Forced);
    }
}

#[tokio::test]
async fn a_shard_that_never_drains_does_not_hold_the_process() {
    let running = Running::with(Setup { obedient: false, drain: Duration::from_millis(50), ..USUAL });
    eventually(async || running.shards[1].told(), |told| told.iter().any(|told| told == "Apply(1)")).await;
    running.stop.send(()).await.unwrap();
    assert_eq!(running.end().await.unwrap(), Ended::TimedOut);
    assert_ne!(Ended::TimedOut.exit_code(), 0);
}

#[tokio::test]
async fn a_dead_shard_ends_the_process() {
    let running = Running::new().await;
    running.shards[1].say(Event::Died { shard: 1, message: "index out of bounds".to_owned() });
    let error = running.end().await.unwrap_err();
    assert!(error.to_string().starts_with("shard 1 died: index out of bounds"), "{error}");
    assert_eq!(error.exit_code(), 1);
}

#[tokio::test]
async fn a_taken_port_ends_the_start_with_the_flag_to_change() {
    let other = TcpListener::bind(loopback()).unwrap();
    let address = other.local_addr().unwrap();
    let (shards, events) = shards(1);
    let reports = Arc::default();
    let texts = [("web.yaml".to_owned(), manifest("web", "/").into())].into();
    let mut config = config(Source::Texts(texts), &reports);
    config.settings = settings(address);
    let controller = Controller::new(config, ports(&shards), events).unwrap();
    let (_stop, stopped) = mpsc::channel(1);
    let error = fails(controller.run_until(stopped)).await;
    let expected = format!("port {} is taken on 127.0.0.1", address.port());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert!(error.to_string().ends_with("stop the other process or give --http-port another one"), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[tokio::test]
async fn a_taken_admin_address_is_found_before_anything_starts() {
    let other = TcpListener::bind(loopback()).unwrap();
    let (shards, events) = shards(1);
    let mut config = config(Source::Texts(Default::default()), &Arc::default());
    config.admin_address = Some(other.local_addr().unwrap());
    let error = Controller::new(config, ports(&shards), events).err().unwrap();
    assert!(error.to_string().contains("--admin-address"), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[tokio::test]
async fn a_missing_folder_ends_the_start() {
    let (shards, events) = shards(1);
    let missing = tempfile::tempdir().unwrap().path().join("missing");
    let controller =
        Controller::new(config(Source::Folder(missing), &Arc::default()), ports(&shards), events);
    let (_stop, stopped) = mpsc::channel(1);
    let error = fails(controller.unwrap().run_until(stopped)).await;
    assert_eq!(error.exit_code(), 2);
    assert!(shards[0].told().is_empty());
}

#[tokio::test]
async fn the_overlay_changes_objects_before_they_are_translated() {
    let (shards, events) = shards(1);
    let reports = Arc::default();
    let texts = [("web.yaml".to_owned(), manifest("web", "/").into())].into();
    let mut config = config(Source::Texts(texts), &reports);
    config.overlay = Some(Box::new(|objects| objects.services.clear()));
    let controller = Controller::new(config, ports(&shards), events).unwrap();
    let (stop, stopped) = mpsc::channel(1);
    let ended = tokio::spawn(controller.run_until(stopped));
    eventually(async || reports.lock().unwrap().len(), |reports| *reports == 1).await;
    let view = Arc::clone(&reports.lock().unwrap()[0].view);
    assert_eq!((view.objects.ingresses.len(), view.objects.services.len()), (1, 0));
    stop.send(()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(10), ended).await.expect("does not end");
    assert_eq!(ended.unwrap().unwrap(), Ended::Drained { cut: 0 });
}

#[tokio::test]
async fn the_routes_page_lists_what_the_shards_serve() {
    let running = Running::new().await;
    running.report(1).await;
    let page = get(running.admin, "/routes").await.json();
    let [route] = &page["routes"].as_array().unwrap()[..] else { panic!("{page}") };
    assert_eq!((&page["generation"], &page["problems"]), (&json!(1), &json!([])));
    assert_eq!(
        (&route["host"], &route["path"], &route["path_type"]),
        (&json!("shop.example.com"), &json!("/"), &json!("Prefix"))
    );
    assert_eq!(route["rule"]["kind"], "Ingress");
    assert_eq!((&route["rule"]["namespace"], &route["rule"]["name"]), (&json!("shop"), &json!("web")));
    let upstream = &route["backends"][0]["upstream"];
    assert_eq!((&upstream["service"], &upstream["port"]), (&json!("web"), &json!("80")));
    assert_eq!(upstream["endpoints"], json!(["10.1.2.3:8000"]));
}

#[tokio::test]
async fn the_backends_page_tells_what_each_shard_knows_of_an_endpoint() {
    let running = Running::new().await;
    running.report(1).await;
    let page = get(running.admin, "/backends").await.json();
    let endpoint = &page["backends"][0]["endpoints"][0];
    assert_eq!((&endpoint["address"], &endpoint["shards"]), (&json!("10.1.2.3:8000"), &Value::Null));
    let serving = running.shards[0].serving.lock().unwrap().clone().unwrap();
    let upstream = serving.upstreams.values().next().unwrap();
    *running.shards[1].loads.lock().unwrap() = vec![EndpointLoad {
        upstream: upstream.id,
        endpoint: upstream.endpoints.endpoints[0].id,
        in_flight: 3,
        failures: 1,
        ejected: Some(Duration::from_millis(1500)),
    }];
    let page = get(running.admin, "/backends").await.json();
    let expected = json!([{"shard": 1, "in_flight": 3, "failures": 1, "ejected_s": 1.5}]);
    assert_eq!(page["backends"][0]["endpoints"][0]["shards"], expected);
}

#[tokio::test]
async fn the_routes_page_says_what_is_wrong_and_what_is_done_in_spite_of_it() {
    let running = Running::new().await;
    running.report(1).await;
    let of_nobody =
        manifest("web", "/").replace("name: web\n            port", "name: nobody\n            port");
    running.write("web.yaml", &of_nobody);
    running.write("broken.yaml", "kind: [\n");
    let page = eventually(
        async || get(running.admin, "/routes").await.json(),
        |page| page["problems"].as_array().is_some_and(|problems| problems.len() == 2),
    )
    .await;
    let [file, ingress] = &page["problems"].as_array().unwrap()[..] else { panic!("{page}") };
    assert_eq!((&file["kind"], &file["name"]), (&json!("File"), &json!("broken.yaml")));
    assert!(file["problems"][0]["place"].as_str().unwrap().starts_with("broken.yaml:"), "{page}");
    assert_eq!(
        (&ingress["kind"], &ingress["namespace"], &ingress["name"]),
        (&json!("Ingress"), &json!("shop"), &json!("web"))
    );
    let problem = &ingress["problems"][0];
    assert_eq!(
        (&problem["level"], &problem["reason"], &problem["action"]),
        (
            &json!("error"),
            &json!("BackendNotFound"),
            &json!("requests to this backend are answered with 503")
        )
    );
    assert_eq!(problem["field"], "spec.rules[0].http.paths[0].backend.service.name");
    assert!(problem["message"].as_str().unwrap().contains("shop/nobody"), "{page}");
}

#[tokio::test]
async fn requests_are_counted_by_rule_over_all_shards_and_forgotten_with_the_rule() {
    let running = Running::new().await;
    let serving = running.shards[0].serving.lock().unwrap().clone().unwrap();
    let ringress_shared::listener::Routing::Http(table) = &serving.sockets[0].listeners[0].routing;
    let rule = table.hosts()[0].1.candidates()[0].rule.id;
    for shard in &running.shards {
        let mut report = empty_report();
        report.rules.insert(rule, [0, 7, 0, 1, 0]);
        *shard.report.lock().unwrap() = Some(report);
    }
    let labels = "namespace=\"shop\",ingress=\"web\",rule=\"spec.rules[0].http.paths[0]\"";
    let metrics = get(running.admin, "/metrics").await.body;
    let line = format!("ringress_rule_requests_total{{{labels},code_class=\"2xx\"}} 14\n");
    assert!(metrics.contains(&line), "{line} is missing in\n{metrics}");
    let line = format!("ringress_rule_requests_total{{{labels},code_class=\"4xx\"}} 2\n");
    assert!(metrics.contains(&line), "{line} is missing in\n{metrics}");
    fs::remove_file(running.dir.path().join("web.yaml")).unwrap();
    running.report(2).await;
    let metrics = get(running.admin, "/metrics").await.body;
    assert!(!metrics.contains("ingress=\"web\""), "{metrics}");
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

#[tokio::test]
async fn external_names_have_their_addresses_in_generation_one() {
    // An old way to write 192.0.2.1, which only the system's resolver knows, and for which it asks nobody.
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: shop}\n\
                   spec: {type: ExternalName, externalName: \"192.0.513\", ports: [{port: 80}]}\n";
    let ingress = manifest("web", "/").split("---").next().unwrap().to_owned();
    let (report, ..) = first_report(&format!("{ingress}---\n{service}"), |_| {}).await;
    assert_eq!(report.generation, 1);
    assert_eq!(report.view.objects.resolved["192.0.513"], ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
    let endpoints: Vec<_> = report
        .view
        .snapshot
        .upstreams
        .values()
        .flat_map(|upstream| upstream.endpoints.endpoints.iter())
        .collect();
    assert_eq!(endpoints.len(), 1, "{endpoints:?}");
}

#[tokio::test]
async fn the_default_certificate_is_served_and_its_end_is_a_metric() {
    let over_tls = |config: &mut Config| {
        config.settings.http = None;
        config.settings.https = Some(loopback());
    };
    let (report, admin, _running) = first_report(&manifest("web", "/"), over_tls).await;
    assert_eq!(report.view.snapshot.server_configs.len(), 1);
    let fallback = report.view.settings.fallback_certificate.clone().expect("made by the controller");
    let metrics = get(admin, "/metrics").await.body;
    let line =
        format!("ringress_certificate_expiry_timestamp_seconds{{host=\"_\"}} {}\n", fallback.not_after);
    assert!(metrics.contains(&line), "{line} is missing in\n{metrics}");
}
