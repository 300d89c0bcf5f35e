//! Deployments, Services and their endpoints.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::Case;
use crate::client::get;
use crate::load::{Load, Seen, load_beside};
use crate::support::World;

pub(crate) const CASES: &[Case] = &[
    ("a_deployment_is_served_rolled_scaled_and_gone", deployment),
    ("a_load_balancer_reaches_every_ready_pod_and_no_other", balancer),
    ("a_pod_reaches_itself_through_its_service", hairpin),
    ("pods_are_spread_over_nodes", spread),
    ("a_port_of_a_node_leads_to_its_pod", host_port),
];

/// An echo Deployment behind a Service with an address of its own.
pub(crate) fn echo(replicas: usize) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: echo}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: echo}}}}
  template:
    metadata: {{labels: {{app: echo}}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: echo
        image: echo
        ports: [{{name: http, containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /status/200, port: http}}, periodSeconds: 1, failureThreshold: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: echo}}
spec:
  type: LoadBalancer
  selector: {{app: echo}}
  ports: [{{name: http, port: 80, targetPort: http}}]
"#
    )
}

fn deployment(world: &World) -> anyhow::Result<()> {
    world.apply(&echo(2))?;
    until_available(world, 2)?;
    let pods = world.list("pods", "app=echo")?;
    let address = pods[0]["status"]["podIP"].as_str().context("an address")?.to_owned();
    let answer = world.exec(&["curl", "-sS", "-m", "5", &format!("http://{address}:8080/hello")])?;
    let name = pods[0]["metadata"]["name"].as_str().context("a name")?;
    ensure!(answer.contains("\"path\": \"/hello\"") && answer.contains(name), "{answer}");
    let before: BTreeSet<String> = names(&pods);
    world.roll("deployment/echo")?;
    world.until("the old pods are gone", || {
        Ok(names(&world.list("pods", "app=echo")?).is_disjoint(&before))
    })?;
    world.kubectl(&["scale", "deployment/echo", "--replicas=4"])?;
    until_available(world, 4)?;
    world.kubectl(&["scale", "deployment/echo", "--replicas=1"])?;
    world.until("one endpoint is left", || Ok(ready_endpoints(world, "echo")?.len() == 1))?;
    world.kubectl(&["delete", "deployment/echo", "service/echo"])?;
    world.until("nothing is left", || {
        Ok(world.list("pods", "app=echo")?.is_empty() && runs(world)?.is_empty())
    })?;
    let links = world.exec(&["ip", "-brief", "link"])?;
    let third_and_fourth: Vec<&str> = address.split('.').skip(2).collect();
    ensure!(!links.contains(&format!("pod-{} ", third_and_fourth.join("-"))), "its link is left: {links}");
    Ok(())
}

fn balancer(world: &World) -> anyhow::Result<()> {
    world.apply(&echo(3))?;
    until_available(world, 3)?;
    let address = balancer_address(world)?;
    let all = names(&world.list("pods", "app=echo")?);
    world.until("every pod answers", || Ok(answering(world, address, 9)? == all))?;
    let unready = all.first().context("a pod")?.clone();
    world.fault("unready", &world.pod(&unready))?;
    let others: BTreeSet<String> = all.iter().filter(|name| **name != unready).cloned().collect();
    world.until("the unready one answers no more", || Ok(answering(world, address, 9)? == others))?;
    world.fault("ready", &world.pod(&unready))?;
    world.until("it answers again", || Ok(answering(world, address, 9)? == all))?;
    rolled_under_load(world, address)
}

/// What every test of ringress builds on: new connections go to pods that are there.
fn rolled_under_load(world: &World, address: SocketAddr) -> anyhow::Result<()> {
    let load = Load::of_new_connections(address, "a");
    let ((), Seen { asked, failures }) = load_beside(world, load, || world.roll("deployment/echo"))?;
    println!("{} of {asked} new connections failed while pods that end at once were rolled", failures.len());
    ensure!(asked >= 20, "only {asked} requests during the rollout");
    // The echo ends at once on SIGTERM, while its endpoint is on its way out of the rules: a few connections may find it
    // gone. Many would mean that the rules are late.
    ensure!(failures.len() * 10 <= asked, "{} of {asked} failed: {:?}", failures.len(), failures.first());
    Ok(())
}

fn hairpin(world: &World) -> anyhow::Result<()> {
    world.apply(&echo(1))?;
    until_available(world, 1)?;
    let address = balancer_address(world)?;
    let pods = names(&world.list("pods", "app=echo")?);
    let pod = pods.first().context("a pod")?;
    let url = format!("http://{address}/");
    world.until("it answers itself", || {
        Ok(world.exec_in(pod, &["curl", "-sS", "-m", "2", &url])?.contains(pod))
    })
}

fn spread(world: &World) -> anyhow::Result<()> {
    world.apply(&echo(4))?;
    until_available(world, 4)?;
    let pods = world.list("pods", "app=echo")?;
    let on = |node: &str| pods.iter().filter(|pod| pod["spec"]["nodeName"] == node).count();
    ensure!((on("node-1"), on("node-2")) == (2, 2), "{} and {}", on("node-1"), on("node-2"));
    Ok(())
}

fn host_port(world: &World) -> anyhow::Result<()> {
    world.apply(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: 1
  nodeName: node-2
  containers: [{name: c, image: echo, ports: [{containerPort: 8080, hostPort: 8081}]}]
"#,
    )?;
    world.until("the node answers for the pod", || {
        let node = "198.18.0.12:8081".parse()?;
        Ok(answering(world, node, 1).is_ok_and(|names| names.contains("p")))
    })
}

pub(crate) fn until_available(world: &World, replicas: usize) -> anyhow::Result<()> {
    world.until(&format!("{replicas} endpoints are ready"), || {
        let status = &world.get("deployment", "echo")?["status"];
        let whole = status["availableReplicas"] == replicas && status["replicas"] == replicas;
        Ok(whole && ready_endpoints(world, "echo")?.len() == replicas)
    })
}

/// Waits for so many ready endpoints of a Service.
pub(crate) fn until_endpoints(world: &World, service: &str, count: usize) -> anyhow::Result<()> {
    world.until(&format!("{count} endpoints are ready"), || {
        Ok(ready_endpoints(world, service)?.len() == count)
    })
}

/// Addresses of ready endpoints of a Service.
pub(crate) fn ready_endpoints(world: &World, service: &str) -> anyhow::Result<BTreeSet<String>> {
    let slices = world.list("endpointslices", &format!("kubernetes.io/service-name={service}"))?;
    let endpoints = slices.iter().flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    Ok(ready.filter_map(|endpoint| endpoint["addresses"][0].as_str().map(str::to_owned)).collect())
}

/// The address and port of the echo Service.
pub(crate) fn balancer_address(world: &World) -> anyhow::Result<SocketAddr> {
    service_address(world, "echo")
}

/// The address of a Service of type LoadBalancer, with port 80.
pub(crate) fn service_address(world: &World, name: &str) -> anyhow::Result<SocketAddr> {
    let mut found = None;
    world.until("the Service has an address", || {
        let service = world.get("service", name)?;
        found = service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str().map(str::to_owned);
        Ok(found.is_some())
    })?;
    Ok(format!("{}:80", found.context("an address")?).parse()?)
}

/// Names of the pods that answer so many requests.
pub(crate) fn answering(
    world: &World,
    address: SocketAddr,
    requests: usize,
) -> anyhow::Result<BTreeSet<String>> {
    let pod = || {
        let answer = get(world, &address.to_string(), "a", "/")?;
        let pod = answer.echoed("pod");
        ensure!(!pod.is_empty(), "an answer without a pod: {answer:?}");
        Ok(pod)
    };
    (0..requests).map(|_| pod()).collect()
}

/// Pods that are run for this test.
fn runs(world: &World) -> anyhow::Result<Vec<String>> {
    let answer = world.cluster().ask(&ringress_e2e::control::Question::Pods)?;
    let ringress_e2e::control::Answer::Pods(runs) = answer else { bail!("{answer:?}") };
    let ours = format!("{}/", world.namespace());
    Ok(runs.into_iter().map(|run| run.pod).filter(|pod| pod.starts_with(&ours)).collect())
}

/// The names of pods.
pub(crate) fn names(pods: &[serde_json::Value]) -> BTreeSet<String> {
    pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned)).collect()
}

/// How long something takes.
pub(crate) fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}
