//! What cannot be written, and where.

use serde_json::json;

use crate::support::api_server::{Call, Fault};
use crate::support::{eventually, get};
use crate::{addresses, cluster, events, ingress, run};

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
