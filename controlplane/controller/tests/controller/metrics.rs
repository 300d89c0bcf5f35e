//! What is counted, and where it is shown.

use std::fs;

use ringress_controller::Config;
use ringress_shared::command::Event;
use ringress_shared::metric::Counter;

use crate::support::{empty_report, eventually, get};
use crate::{Running, first_report, loopback, manifest};

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
