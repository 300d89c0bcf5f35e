//! `backends`: echo pods behind Services that have none, as `ringress dev` has them without a cluster.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::{Value, json};

use crate::args::BackendsArgs;
use crate::boxes::Cluster;
use crate::install;

/// Starts them and waits until they are available.
///
/// # Errors
/// The box is not up, or kubectl says no.
pub(crate) fn run(args: &BackendsArgs) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::named(&args.name.name)?;
    let started = start(&cluster, &args.namespace, args.replicas)?;
    for service in &started {
        let deployment = format!("deployment/{service}");
        let namespace = ["kubectl", "--namespace", &args.namespace];
        let status = ["rollout", "status", &deployment, "--timeout=120s"];
        install::said(&cluster, &[&namespace[..], &status].concat())?;
        println!("{deployment} answers for service/{service}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Starts an echo Deployment for each Service of a namespace that selects pods and has no endpoint; returns their names.
///
/// # Errors
/// kubectl says no.
pub(crate) fn start(inside: &Cluster, namespace: &str, replicas: u32) -> anyhow::Result<Vec<String>> {
    let listed = install::said(
        inside,
        &["kubectl", "--namespace", namespace, "get", "services,endpointslices", "-o", "json"],
    )?;
    let listed: Value = serde_json::from_str(&listed).context("what kubectl lists")?;
    let deployments = deployments(listed["items"].as_array().map_or(&[], Vec::as_slice), replicas);
    if deployments.is_empty() {
        return Ok(Vec::new());
    }
    let names = deployments.iter().filter_map(|one| one["metadata"]["name"].as_str().map(str::to_owned));
    let names = names.collect();
    let file = inside.folder().join(format!("backends-{namespace}.json"));
    std::fs::write(&file, json!({"apiVersion": "v1", "kind": "List", "items": deployments}).to_string())
        .with_context(|| format!("cannot write {}", file.display()))?;
    install::fed(inside, &["kubectl", "--namespace", namespace, "apply", "--server-side", "-f", "-"], &file)?;
    Ok(names)
}

/// A Deployment for each Service that needs one, of Services and EndpointSlices.
fn deployments(objects: &[Value], replicas: u32) -> Vec<Value> {
    let has_endpoints = |slice: &&Value| slice["endpoints"].as_array().is_some_and(|all| !all.is_empty());
    let served: BTreeSet<&str> = objects
        .iter()
        .filter(|object| object["kind"] == "EndpointSlice")
        .filter(has_endpoints)
        .filter_map(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str())
        .collect();
    let services = objects.iter().filter(|object| object["kind"] == "Service");
    services
        .filter(|service| service["metadata"]["name"].as_str().is_some_and(|name| !served.contains(name)))
        .filter(|service| {
            service["spec"]["selector"].is_object() && service["spec"]["type"] != "ExternalName"
        })
        .map(|service| deployment(service, replicas))
        .collect()
}

/// Where a port of a Service leads by name, no number is given: this one is as good as any.
const NAMED_PORT: u64 = 8080;

fn deployment(service: &Value, replicas: u32) -> Value {
    let (name, labels) = (&service["metadata"]["name"], &service["spec"]["selector"]);
    let ports = service["spec"]["ports"].as_array().map_or(&[][..], Vec::as_slice);
    let mut taken = BTreeSet::new();
    let containers: Vec<Value> = ports
        .iter()
        .filter(|port| taken.insert(number(port)))
        .map(|port| container(port, name.as_str().unwrap_or_default()))
        .collect();
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 5, "containers": containers},
            },
        },
    })
}

fn container(port: &Value, service: &str) -> Value {
    let number = number(port);
    let mut container_port = json!({"containerPort": number});
    if let Some(name) = port["targetPort"].as_str() {
        container_port["name"] = json!(name);
    }
    json!({
        "name": format!("echo-{number}"),
        "image": "echo",
        "args": ["--listen", format!("0.0.0.0:{number}"), "--name", service],
        "ports": [container_port],
        "readinessProbe": {"httpGet": {"path": "/status/200", "port": number}, "periodSeconds": 1},
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    })
}

/// The port that pods are asked at: `targetPort`, which is `port` where it is not given.
fn number(port: &Value) -> u64 {
    let target = &port["targetPort"];
    if target.is_string() {
        NAMED_PORT
    } else {
        target.as_u64().or(port["port"].as_u64()).unwrap_or(NAMED_PORT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, spec: Value) -> Value {
        json!({"kind": "Service", "metadata": {"name": name}, "spec": spec})
    }

    #[test]
    fn services_with_a_selector_and_without_endpoints_get_a_deployment() {
        let selector = json!({"app": "a"});
        let ports = json!([{"port": 80, "targetPort": 8080}]);
        let slice = |name: &str, endpoints: Value| {
            let labels = json!({"kubernetes.io/service-name": name});
            json!({"kind": "EndpointSlice", "metadata": {"labels": labels}, "endpoints": endpoints})
        };
        let objects = [
            service("bare", json!({"selector": selector, "ports": ports})),
            service("served", json!({"selector": selector, "ports": ports})),
            service("empty", json!({"selector": selector, "ports": ports})),
            service("manual", json!({"ports": ports})),
            service("name", json!({"selector": selector, "type": "ExternalName"})),
            slice("served", json!([{"addresses": ["198.18.1.1"]}])),
            slice("empty", json!(null)),
        ];
        let started = deployments(&objects, 2);
        let names: Vec<_> = started.iter().map(|one| one["metadata"]["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["bare", "empty"]);
        assert_eq!(started[0]["spec"]["replicas"], 2);
        assert_eq!(started[0]["spec"]["template"]["metadata"]["labels"], selector);
    }

    #[test]
    fn a_container_listens_where_its_service_leads() {
        for (port, number, name) in [
            (json!({"port": 80, "targetPort": 8081}), 8081, None),
            (json!({"port": 80}), 80, None),
            (json!({"port": 80, "targetPort": "http"}), NAMED_PORT, Some("http")),
        ] {
            let container = container(&port, "web");
            assert_eq!(container["ports"][0]["containerPort"], number, "{port}");
            assert_eq!(container["ports"][0]["name"].as_str(), name, "{port}");
            assert_eq!(container["args"][1], format!("0.0.0.0:{number}"), "{port}");
        }
    }

    #[test]
    fn ports_that_lead_to_one_port_of_the_pod_are_one_container() {
        let ports = json!([
            {"name": "a", "port": 80, "targetPort": 8080},
            {"name": "b", "port": 81, "targetPort": 8080},
            {"name": "c", "port": 82, "targetPort": 9090},
        ]);
        let objects = [service("many", json!({"selector": {"app": "a"}, "ports": ports}))];
        let containers = &deployments(&objects, 1)[0]["spec"]["template"]["spec"]["containers"];
        assert_eq!(containers.as_array().unwrap().len(), 2);
    }
}
