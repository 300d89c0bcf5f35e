//! Fake pods: many of them, at once.

use anyhow::{Context, ensure};

use crate::Case;
use crate::services::{ready_endpoints, timed};
use crate::support::World;

pub(crate) const CASES: &[Case] = &[("five_hundred_fake_pods_are_endpoints_that_answer", fakes)];

fn fakes(world: &World) -> anyhow::Result<()> {
    world.apply(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  replicas: 500
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}, annotations: {e2e.ringress.dev/fake: "true"}}
    spec: {containers: [{name: c, image: anything, ports: [{name: http, containerPort: 8088}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: echo}
spec: {selector: {app: echo}, ports: [{name: http, port: 80, targetPort: http}]}
"#,
    )?;
    let took = timed(|| {
        world.until("500 endpoints are ready", || Ok(ready_endpoints(world, "echo")?.len() == 500))
    })?;
    println!("500 fake pods were endpoints after {:.1} s", took.as_secs_f64());
    let endpoints = ready_endpoints(world, "echo")?;
    let address = endpoints.first().context("an endpoint")?;
    let answer = world.exec(&["curl", "-sS", "-m", "5", &format!("http://{address}:8088/x")])?;
    ensure!(answer == format!("fake {address}:8088 /x\n"), "{answer}");
    world.kubectl(&["scale", "deployment/echo", "--replicas=0"])?;
    world.until("all are gone", || Ok(world.list("pods", "app=echo")?.is_empty()))
}
