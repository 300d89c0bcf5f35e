//! `run`: its arguments, its ports and its admin address.

use super::{code, folder, path, ringress, stderr, stdout};
use crate::support::manifest;
use crate::support::process::Ports;
use crate::support::{Client, Launch, Ringress, Upstream, on_both_drivers, wait_until};
use serde_json::Value;
use std::process::Command;
use tempfile::TempDir;

#[test]
fn a_cluster_that_nothing_leads_to_is_wrong_usage_in_one_sentence() {
    let output = ringress(&["run", "--kubeconfig=/nowhere/kubeconfig", "--admin-address=127.0.0.1:0"]);
    assert_eq!(code(&output), Some(2));
    let told = stderr(&output);
    assert!(told.contains("/nowhere/kubeconfig") && told.trim().lines().count() == 1, "{told}");
}

#[test]
fn all_wrong_flags_are_reported_together() {
    let arguments = [
        "run",
        "--manifests=/nowhere",
        "--http-port=http",
        "--drain-timeout=soon",
        "--io-driver=kqueue",
        "--trusted-proxies=everybody",
        "--max-header-bytes=1",
        "--compat=apache",
    ];
    let output = ringress(&arguments);
    assert_eq!(code(&output), Some(2));
    let told = stderr(&output);
    for flag in [
        "--http-port",
        "--drain-timeout",
        "--io-driver",
        "--trusted-proxies",
        "--max-header-bytes",
        "--compat",
    ] {
        assert!(told.contains(flag), "{flag} is not in: {told}");
    }
}

#[test]
fn version_and_help_answer() {
    let version = ringress(&["version"]);
    assert_eq!(
        (code(&version), stdout(&version).trim().to_owned()),
        (Some(0), format!("ringress {}", env!("CARGO_PKG_VERSION")))
    );
    let help = ringress(&["run", "--help"]);
    assert_eq!(code(&help), Some(0));
    for flag in [
        "--manifests",
        "--http-port",
        "--https-port",
        "--admin-address",
        "--health-address",
        "--shards",
        "--pin",
        "--io-driver",
        "--ingress-class",
        "--controller-class",
        "--watch-ingress-without-class",
        "--default-backend-service",
        "--default-ssl-certificate",
        "--configmap",
        "--annotations-prefix",
        "--compat",
        "--access-log",
        "--drain-timeout",
        "--shutdown-grace-period",
        "--trusted-proxies",
        "--client-header-timeout",
        "--client-body-timeout",
        "--client-write-timeout",
        "--client-idle-timeout",
        "--connect-timeout",
        "--upstream-response-timeout",
        "--upstream-idle-timeout",
        "--tunnel-idle-timeout",
        "--max-body-bytes",
        "--max-header-bytes",
    ] {
        let variable = format!("RINGRESS_{}", flag.trim_start_matches("--").replace('-', "_").to_uppercase());
        assert!(stdout(&help).contains(flag) && stdout(&help).contains(&variable), "{flag} with {variable}");
    }
    let verbs = stdout(&ringress(&["--help"]));
    for verb in ["run", "dev", "explain", "lint", "wait", "doctor", "clear-status", "fmt", "echo"] {
        assert!(
            verbs.lines().any(|line| line.trim_start().starts_with(&format!("{verb} "))),
            "{verb}: {verbs}"
        );
    }
    assert_eq!(code(&ringress(&["serve"])), Some(2));
}

on_both_drivers! {
    fn a_port_that_is_taken_is_said_and_never_shared(driver) {
        let upstream = Upstream::named("first");
        let first = Launch::new(driver).serving(&[&upstream]).start();
        let (home, ports) = (TempDir::new().unwrap(), Ports { http: first.ports.http, ..Ports::free() });
        let files = folder(&[("class.yaml", manifest::CLASS)]);
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringress"));
        command.args(["run", "--manifests", path(&files)]).args(ports.flags()).args(["--shards=2", "--pin=never", "--io-driver", driver.as_str()]);
        let mut second = Ringress::of(command, home, ports);
        wait_until("the port is named", || second.logs().contains(&ports.http.to_string()));
        let ready = second.try_admin("/readyz").is_ok_and(|answer| answer.status == 200);
        assert!(!ready, "a process without its port is not ready");
        assert!(!second.is_running() || second.logs().to_lowercase().contains("in use"), "{}", second.logs());
        for _ in 0..20 {
            assert_eq!(first.get("a.test", "/").field("x-upstream"), Some("first"), "two processes shared a port");
        }
    }

    fn flags_may_come_from_the_environment(driver) {
        let files = folder(&[("class.yaml", manifest::CLASS)]);
        let (home, ports) = (TempDir::new().unwrap(), Ports::free());
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringress"));
        command
            .arg("run")
            .env("RINGRESS_MANIFESTS", path(&files))
            .env("RINGRESS_HTTP_PORT", ports.http.to_string())
            .env("RINGRESS_HTTPS_PORT", ports.https.to_string())
            .env("RINGRESS_ADMIN_ADDRESS", format!("127.0.0.1:{}", ports.admin))
            .env("RINGRESS_SHARDS", "3")
            .env("RINGRESS_PIN", "never")
            .env("RINGRESS_IO_DRIVER", driver.as_str());
        let mut process = Ringress::of(command, home, ports);
        process.wait_ready();
        assert_eq!(process.live().shards.len(), 3);
        assert_eq!(process.get("a.test", "/").status, 404);
    }

    fn the_admin_port_answers_and_the_health_port_answers_less(driver) {
        let health = crate::support::process::free_port();
        let process = Launch::new(driver).flags(&[&format!("--health-address=127.0.0.1:{health}")]).start();
        let of_health = |target: &str| Client::connect(health).get("localhost", target).status;
        for (target, on_admin, on_health) in [
            ("/healthz", 200, 200),
            ("/readyz", 200, 200),
            ("/metrics", 200, 200),
            ("/version", 200, 404),
            ("/generation", 200, 404),
            ("/routes", 200, 404),
            ("/nothing", 404, 404),
        ] {
            assert_eq!((process.admin(target).status, of_health(target)), (on_admin, on_health), "{target}");
        }
        let live: Value = serde_json::from_slice(&process.admin("/generation").body).unwrap();
        assert_eq!(live, serde_json::json!({"generation": 1, "shards": [1, 1]}));
        assert!(process.admin("/version").text().contains(env!("CARGO_PKG_VERSION")));
        assert_eq!(Client::connect(process.ports.http).get("localhost", "/healthz").status, 404, "nothing of this on the traffic port");
    }
}
