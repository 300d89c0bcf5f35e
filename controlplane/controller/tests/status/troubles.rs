//! What cannot be written, and where.

use std::time::Duration;

use ringress_controller::Ended;
use serde_json::json;

use crate::support::api_server::{Call, Fault};
use crate::support::{eventually, get};
use crate::{addresses, cluster, events, ingress, run, until_led_by};

#[tokio::test]
async fn what_is_refused_in_one_namespace_is_told_while_others_grant_it() {
    let server = cluster().await;
    let elsewhere = |name: &str| {
        let mut object = ingress(name, "ringress", "b.test", "web");
        object["metadata"]["namespace"] = json!("stock");
        object
    };
    let running = run(&server);
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    server.fail("events@stock", Call::Write, Fault::Refuse(403, None), None);
    server.put("ingresses", elsewhere("refused"));
    let troubles = async || get(running.admin, "/writes").await.json()["troubles"].clone();
    let told = eventually(troubles, |told| told[0]["refused"] == true).await;
    assert!(told[0]["why"].as_str().unwrap().ends_with("(in the namespace stock)"), "{told}");
    server.put("ingresses", ingress("granted", "ringress", "c.test", "web"));
    eventually(
        async || events(&server, "granted"),
        |said| said.iter().any(|(reason, _)| reason == "Applied"),
    )
    .await;
    assert_eq!(troubles().await[0]["what"], "write Events", "{}", troubles().await);
    server.heal();
    server.put("ingresses", elsewhere("granted-since"));
    eventually(troubles, |told| *told == json!([])).await;
}

#[tokio::test]
async fn a_namespace_without_ingresses_is_no_trouble_any_more() {
    let server = cluster().await;
    let running = run(&server);
    eventually(async || addresses(&server, "web"), |found| found.is_array()).await;
    server.fail("events@stock", Call::Write, Fault::Refuse(403, None), None);
    let mut object = ingress("refused", "ringress", "b.test", "web");
    object["metadata"]["namespace"] = json!("stock");
    server.put("ingresses", object);
    let troubles = async || get(running.admin, "/writes").await.json()["troubles"].clone();
    eventually(troubles, |told| told[0]["refused"] == true).await;
    server.delete("ingresses", "stock", "refused");
    eventually(troubles, |told| *told == json!([])).await;
}

#[tokio::test]
async fn a_status_that_may_not_be_written_stays_a_trouble_between_two_tries() {
    let server = cluster().await;
    let mut object = ingress("refused", "ringress", "b.test", "web");
    object["metadata"]["namespace"] = json!("stock");
    server.put("ingresses", object);
    server.fail("ingresses@stock", Call::Write, Fault::Refuse(403, None), None);
    let running = run(&server);
    let troubles = async || get(running.admin, "/writes").await.json()["troubles"].clone();
    eventually(troubles, |told| told[0]["what"] == "write the statuses of Ingresses").await;
    server.put("ingresses", ingress("granted", "ringress", "c.test", "web"));
    eventually(async || addresses(&server, "granted"), |found| found.is_array()).await;
    let told = troubles().await;
    assert!(told[0]["why"].as_str().unwrap_or_default().ends_with("(in the namespace stock)"), "{told}");
    server.heal();
    eventually(troubles, |told| *told == json!([])).await;
}

#[tokio::test]
async fn readiness_names_what_is_missing_and_a_signal_ends_the_waiting() {
    let server = cluster().await;
    server.fail("secrets", Call::Any, Fault::Refuse(403, None), None);
    let running = run(&server);
    let answer = eventually(
        async || get(running.admin, "/readyz").await,
        |answer| answer.body.contains("secrets cannot be listed"),
    )
    .await;
    assert_eq!(answer.status, 503);
    let metrics = get(running.admin, "/metrics").await.body;
    assert!(metrics.contains(r#"ringress_watch_up{kind="Secret"} 0"#), "{metrics}");
    assert!(metrics.contains(r#"ringress_watch_up{kind="Service"} 1"#), "{metrics}");
    running.stop.send(()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(2), running.ended).await;
    assert_eq!(ended.expect("it goes on waiting").unwrap().unwrap(), Ended::Drained { cut: 0 });
}

#[tokio::test]
async fn what_may_not_be_written_stands_on_a_page_until_it_may() {
    let server = cluster().await;
    for resource in ["ingresses", "events", "leases"] {
        server.fail(resource, Call::Write, Fault::Refuse(403, None), None);
    }
    let running = run(&server);
    let refused = async || {
        let page = get(running.admin, "/writes").await.json();
        let troubles = page["troubles"].as_array().cloned().unwrap_or_default();
        let refused = troubles.iter().filter(|trouble| trouble["refused"] == true);
        refused.map(|trouble| trouble["needs"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    let told = eventually(refused, |told| told.len() == 2).await;
    assert!(told.iter().all(|needs| needs.contains("leases")), "nobody leads yet: {told:?}");
    let failing = async || {
        let page = get(running.admin, "/metrics").await.body;
        let tasks = page.lines().filter_map(|line| line.strip_prefix("ringress_writes_failing{task=\""));
        let (failing, fine): (Vec<_>, Vec<_>) = tasks.partition(|task| task.ends_with("\"} 1"));
        (failing.join(" "), fine.len())
    };
    assert_eq!(failing().await, ("election\"} 1 own_lease\"} 1".to_owned(), 8));
    server.heal();
    for resource in ["ingresses", "events"] {
        server.fail(resource, Call::Write, Fault::Refuse(403, None), None);
    }
    until_led_by(&server, "ringress-0").await;
    server.put("ingresses", ingress("late", "ringress", "b.test", "web"));
    let told = eventually(refused, |told| told.len() == 2 && !told[0].contains("leases")).await;
    assert!(told[0].contains("ingresses/status") && told[1].contains("events"), "{told:?}");
    assert_eq!(failing().await, ("statuses\"} 1 events\"} 1".to_owned(), 8));
    server.heal();
    eventually(async || addresses(&server, "late"), |found| found.is_array()).await;
    server.put("ingresses", ingress("later", "ringress", "c.test", "web"));
    eventually(refused, |told| told.is_empty()).await;
    assert_eq!(failing().await, (String::new(), 10));
}
