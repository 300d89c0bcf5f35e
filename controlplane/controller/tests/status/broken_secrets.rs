//! A Secret whose renewal went wrong, and the Ingresses that use it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::api_server::ApiServer;
use crate::support::eventually;
use crate::{addresses, cluster, events, ingress, run};

fn secret(key: &str) -> Value {
    let pair = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
    let key = if key.is_empty() { pair.signing_key.serialize_pem() } else { key.to_owned() };
    json!({
        "metadata": {"namespace": "shop", "name": "cert", "uid": "uid-cert"}, "type": "kubernetes.io/tls",
        "data": {"tls.crt": STANDARD.encode(pair.cert.pem()), "tls.key": STANDARD.encode(key)},
    })
}

fn user(name: &str) -> Value {
    let mut ingress = ingress(name, "ringress", "a.test", "web");
    ingress["spec"]["tls"] = json!([{"hosts": ["a.test"], "secretName": "cert"}]);
    ingress
}

/// Notes of what is in quarantine, by object.
fn quarantined(server: &ApiServer) -> Vec<(String, String)> {
    let said = server.objects("events").into_iter().filter(|event| event["reason"] == "Quarantined");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    said.map(|event| (text(&event["regarding"]["name"]), text(&event["note"]))).collect()
}

#[tokio::test]
async fn a_renewal_that_breaks_is_said_at_the_first_users_and_counted() {
    let server = cluster().await;
    server.put("secrets", secret(""));
    (0..12).for_each(|number| server.put("ingresses", user(&format!("web-{number:02}"))));
    let _running = run(&server);
    eventually(async || addresses(&server, "web-11"), |found| found.is_array()).await;
    assert!(quarantined(&server).is_empty(), "{:?}", quarantined(&server));
    server.put("secrets", secret("no key"));
    eventually(async || quarantined(&server).len(), |said| *said == 11).await;
    let at_user = quarantined(&server).into_iter().find(|(name, _)| name == "web-00").unwrap().1;
    assert!(at_user.starts_with("spec.tls[0].secretName: Secret shop/cert: data[tls.key]: "), "{at_user}");
    assert!(at_user.contains("the last good certificate is still served"), "{at_user}");
    assert!(at_user.ends_with("(11 other Ingresses use it)"), "{at_user}");
    // Who begins to use it is told, too, and nobody else hears it again.
    server.put("ingresses", user("newest"));
    eventually(async || quarantined(&server), |said| said.iter().any(|(name, _)| name == "newest")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let said = quarantined(&server);
    assert_eq!(said.len(), 12, "{said:?}");
    assert!(events(&server, "web-11").iter().all(|(reason, _)| reason != "Quarantined"), "{said:?}");
    assert!(server.objects("events").iter().all(|event| event["series"].is_null()), "nothing is repeated");
}
