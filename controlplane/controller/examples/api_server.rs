//! A scripted API server with many Ingresses, their Services, EndpointSlices and, for some, TLS Secrets, as a real one
//! would send them, to see what `ringress run` needs for them:
//! `cargo run -p ringress-controller --example api_server -- 5000 2500 /tmp/kubeconfig`, then
//! `ringress run --kubeconfig /tmp/kubeconfig …` and `grep Rss /proc/PID/status`. Ends with its standard input.
#![allow(clippy::unwrap_used, dead_code, reason = "an example, and the server of the tests")]

#[path = "../tests/support/api_server.rs"]
mod api_server;

use std::io::Read;

use api_server::ApiServer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut count = || arguments.next().and_then(|text| text.parse().ok());
    let (ingresses, secrets): (usize, usize) = (count().unwrap_or(5000), count().unwrap_or(0));
    let kubeconfig = arguments.next().unwrap_or_else(|| "kubeconfig".to_owned());
    let server = ApiServer::start().await;
    let class =
        json!({"metadata": {"name": "ringress"}, "spec": {"controller": "ringress.dev/ingress-controller"}});
    server.put("ingressclasses", class);
    for number in 0..ingresses {
        server.put("ingresses", ingress(number, number < secrets));
        server.put("services", service(number));
        server.put("endpointslices", slice(number));
    }
    (0..secrets).for_each(|number| server.put("secrets", secret(number)));
    std::fs::copy(server.kubeconfig("http"), &kubeconfig).unwrap();
    println!("{ingresses} Ingresses, {secrets} Secrets; --kubeconfig {kubeconfig}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await.unwrap().unwrap();
}

fn namespace(number: usize) -> String {
    format!("ns-{:02}", number % 50)
}

fn metadata(number: usize, name: &str) -> Value {
    let fields: Value = (0..6)
        .map(|field| (format!("f:field-{field}"), json!({".": {}, "f:name": {}, "f:value": {}})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({
        "name": name,
        "namespace": namespace(number),
        "uid": format!("8f1c8e0a-0000-4000-8000-{number:012}"),
        "creationTimestamp": "2026-11-21T12:00:00Z",
        "generation": 1,
        "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x".repeat(600)},
        "managedFields": [{"manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1",
            "time": "2026-11-21T12:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": fields}}],
    })
}

pub(crate) fn ingress(number: usize, tls: bool) -> Value {
    let host = format!("host-{number}.example.com");
    let backend = json!({"service": {"name": format!("web-{number}"), "port": {"number": 80}}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
    let mut ingress = json!({
        "metadata": metadata(number, &format!("web-{number}")),
        "spec": {"ingressClassName": "ringress", "rules": [{"host": host, "http": {"paths": [path]}}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "198.18.255.1"}]}},
    });
    if tls {
        ingress["spec"]["tls"] = json!([{"hosts": [host], "secretName": format!("cert-{number}")}]);
    }
    ingress
}

pub(crate) fn service(number: usize) -> Value {
    let address = format!("10.96.{}.{}", number / 250, number % 250 + 1);
    json!({
        "metadata": metadata(number, &format!("web-{number}")),
        "spec": {
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}],
            "selector": {"app.kubernetes.io/name": format!("web-{number}")},
            "clusterIP": address, "clusterIPs": [address], "type": "ClusterIP", "sessionAffinity": "None",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    })
}

pub(crate) fn slice(number: usize) -> Value {
    let mut metadata = metadata(number, &format!("web-{number}-x7k2p"));
    metadata["generateName"] = json!(format!("web-{number}-"));
    metadata["annotations"] =
        json!({"endpoints.kubernetes.io/last-change-trigger-time": "2026-11-21T12:00:01Z"});
    metadata["labels"] = json!({
        "kubernetes.io/service-name": format!("web-{number}"),
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "app.kubernetes.io/name": format!("web-{number}"),
    });
    metadata["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "Service", "name": format!("web-{number}"),
        "uid": format!("8f1c8e0a-0000-4000-8000-{number:012}"), "controller": true, "blockOwnerDeletion": true}]);
    let endpoint = json!({
        "addresses": [format!("10.{}.{}.{}", 1 + number / 62_500, number / 250 % 250, number % 250 + 1)],
        "conditions": {"ready": true, "serving": true, "terminating": false},
        "targetRef": {"kind": "Pod", "name": format!("web-{number}-5d8f7c9b4-abcde"), "namespace": namespace(number),
            "uid": format!("9f1c8e0a-0000-4000-8000-{number:012}")},
        "nodeName": "node-1", "zone": "zone-a",
    });
    json!({
        "metadata": metadata, "addressType": "IPv4", "endpoints": [endpoint],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    })
}

pub(crate) fn secret(number: usize) -> Value {
    let made = rcgen::generate_simple_self_signed(vec![format!("host-{number}.example.com")]).unwrap();
    // A chain as an authority gives it: the leaf and two above it.
    let chain = made.cert.pem().repeat(3);
    json!({
        "metadata": metadata(number, &format!("cert-{number}")),
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": STANDARD.encode(chain), "tls.key": STANDARD.encode(made.signing_key.serialize_pem())},
    })
}
