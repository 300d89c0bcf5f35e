//! When a process is ready, and what it says until then.

use std::net::TcpListener;
use std::sync::Arc;

use ringress_controller::{Controller, Source};
use tokio::sync::mpsc;

use crate::support::{eventually, get, ports, shards};
use crate::{Running, Setup, USUAL, config, fails, loopback, manifest, settings};

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
