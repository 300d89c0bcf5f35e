//! Our chart, installed by helm in the namespace of a test.

use std::fmt;

use anyhow::Context;

use crate::services::service_address;
use crate::support::{World, deploy};

/// A release in the namespace of a test.
pub(crate) struct Release<'w> {
    pub(crate) world: &'w World,
    pub(crate) name: &'static str,
}

impl<'w> Release<'w> {
    /// Installs it and waits until it is ready; values as `--set` takes them.
    ///
    /// Its class and the controller of that are its own and named after it, so that no release of another test serves what
    /// it does. Its seccomp profile is that of the runtime, which refuses io_uring: the memory of rings is counted per user for
    /// the whole machine, and there is enough for a few replicas only.
    pub(crate) fn install(world: &'w World, name: &'static str, values: &[&str]) -> anyhow::Result<Self> {
        let release = Self { world, name };
        let chart = ["install", name, &deploy("helm/ringress"), "--wait"];
        let class = format!("controller.ingressClassResource.name={name}");
        let controller = format!("controller.ingressClassResource.controllerValue=ringress.dev/{name}");
        let own = [
            &*class,
            &*controller,
            "controller.image.pullPolicy=Never",
            "controller.shutdownGracePeriodSeconds=1",
        ];
        release.helm(&[&chart[..], &set(&own), &set(values)].concat())?;
        Ok(release)
    }

    /// Upgrades it; values that are not named here stay.
    pub(crate) fn upgrade(&self, values: &[&str]) -> anyhow::Result<()> {
        let keep = ["upgrade", self.name, &deploy("helm/ringress"), "--reuse-values", "--wait"];
        self.helm(&[&keep[..], &set(values)].concat()).map(drop)
    }

    pub(crate) fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let namespace = ["--namespace", self.world.namespace(), "--timeout", "120s"];
        self.world.exec(&[&["helm"], arguments, &namespace].concat())
    }

    /// Removes it, and waits until its pods are gone.
    pub(crate) fn uninstall(&self) -> anyhow::Result<()> {
        self.helm(&["uninstall", self.name, "--wait"]).map(drop)
    }

    /// What its Deployment or DaemonSet is called, and its Service.
    pub(crate) fn controller(&self) -> String {
        format!("{}-ringress-controller", self.name)
    }

    /// The Lease of its election.
    pub(crate) fn lease(&self) -> String {
        format!("{}-ringress-leader", self.name)
    }

    /// The service account of its pods.
    pub(crate) fn account(&self) -> String {
        format!("{}-ringress", self.name)
    }

    /// Names of its pods, without those that are on their way out.
    pub(crate) fn pods(&self) -> anyhow::Result<Vec<String>> {
        let selector =
            format!("app.kubernetes.io/instance={},app.kubernetes.io/component=controller", self.name);
        let pods = self.world.list("pods", &selector)?;
        let stay = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        stay.map(|pod| Ok(pod["metadata"]["name"].as_str().context("a pod has a name")?.to_owned())).collect()
    }

    pub(crate) fn address(&self) -> anyhow::Result<String> {
        Ok(service_address(self.world, &self.controller())?.ip().to_string())
    }
}

fn set<'v>(values: &[&'v str]) -> Vec<&'v str> {
    values.iter().flat_map(|value| ["--set", *value]).collect()
}

/// An Ingress `web` of this class and host, with a Service and a pod behind it.
pub(crate) fn served(world: &World, class: &str, host: &str) -> anyhow::Result<()> {
    world.apply(
        r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"#,
    )?;
    route(world, "web", class, host)?;
    world.backends()
}

/// An Ingress that leads to the Service `web`.
pub(crate) fn route(world: &World, name: &str, class: &str, host: &str) -> anyhow::Result<()> {
    world.apply(&OnePath::new(name, class, host).to_string())
}

/// An Ingress of one path, as a manifest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnePath<'p> {
    pub(crate) name: &'p str,
    pub(crate) class: &'p str,
    pub(crate) host: &'p str,
    pub(crate) path: &'p str,
    pub(crate) kind: &'p str,
    pub(crate) service: &'p str,
    pub(crate) port: u16,
    /// The Secret of its certificate; empty: none.
    pub(crate) secret: &'p str,
}

impl<'p> OnePath<'p> {
    /// All of a host, to port 80 of the Service `web`.
    pub(crate) fn new(name: &'p str, class: &'p str, host: &'p str) -> Self {
        Self { name, class, host, path: "/", kind: "Prefix", service: "web", port: 80, secret: "" }
    }
}

impl fmt::Display for OnePath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, class, host, path, kind, service, port, secret } = self;
        let backend = format!("{{service: {{name: {service}, port: {{number: {port}}}}}}}");
        let tls = match *secret {
            "" => String::new(),
            secret => format!("  tls: [{{hosts: [{host}], secretName: {secret}}}]\n"),
        };
        write!(
            f,
            "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}}}
spec:
  ingressClassName: {class}
  rules:
  - host: {host}
    http: {{paths: [{{path: {path}, pathType: {kind}, backend: {backend}}}]}}
{tls}"
        )
    }
}

/// Waits until an Ingress shows this address.
pub(crate) fn until_address(world: &World, ingress: &str, address: &str) -> anyhow::Result<()> {
    world.until(&format!("Ingress {ingress} shows {address}"), || {
        let shown = world.get("ingress", ingress)?["status"]["loadBalancer"]["ingress"].clone();
        Ok(shown.as_array().is_some_and(|all| all.iter().any(|one| one["ip"] == address)))
    })
}

/// Waits for an Event of this reason about an Ingress.
pub(crate) fn until_said(world: &World, ingress: &str, reason: &str) -> anyhow::Result<()> {
    let of_it = format!("regarding.kind=Ingress,regarding.name={ingress},reason={reason}");
    let events = ["get", "events.v1.events.k8s.io", "-o", "name", "--field-selector", &of_it];
    world.until(&format!("Ingress {ingress} has an Event {reason}"), || {
        Ok(!world.kubectl(&events)?.is_empty())
    })
}
