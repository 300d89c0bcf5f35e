//! The chart in the hands of helm, and `deploy/ringress.yaml` in those of kubectl.
//!
//! In the box with Kubernetes alone. Releases that would own the same class of controller go one after the other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};

use crate::Case;
use crate::client::{get, until_outcome};
use crate::services::{load_during, service_address};
use crate::support::{World, deploy};

pub(crate) const CASES: &[Case] = &[
    ("a_release_is_installed_upgraded_rolled_back_and_uninstalled", lifecycle),
    ("a_release_takes_over_the_class_of_ingress_nginx", takeover),
    ("a_release_makes_the_class_nginx_where_there_is_none", makes_nginx),
    ("a_daemon_set_listens_on_the_ports_of_its_nodes", daemon_set),
    ("the_manifest_installs_what_the_chart_does", manifest),
    ("the_api_server_takes_everything_that_the_chart_can_render", dry_run),
];

/// A release in the namespace of a test.
pub(crate) struct Release<'w> {
    world: &'w World,
    name: &'static str,
}

impl<'w> Release<'w> {
    /// Installs it and waits until it is ready; values as `--set` takes them.
    pub(crate) fn install(world: &'w World, name: &'static str, values: &[&str]) -> anyhow::Result<Self> {
        let release = Self { world, name };
        let file = deploy("e2e/values.yaml");
        let chart = ["install", name, &deploy("helm/ringress"), "-f", &file, "--wait"];
        let own =
            ["controller.ingressClassResource.default=false", "controller.shutdownGracePeriodSeconds=1"];
        release.helm(&[&chart[..], &set(&own), &set(values)].concat())?;
        Ok(release)
    }

    fn helm(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let namespace = ["--namespace", self.world.namespace(), "--timeout", "60s"];
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

    pub(crate) fn address(&self) -> anyhow::Result<String> {
        Ok(service_address(self.world, &self.controller())?.ip().to_string())
    }

    fn arguments(&self) -> anyhow::Result<String> {
        let deployment = self.world.get("deployment", &self.controller())?;
        Ok(deployment["spec"]["template"]["spec"]["containers"][0]["args"].to_string())
    }

    fn ready(&self) -> anyhow::Result<u64> {
        let deployment = self.world.get("deployment", &self.controller())?;
        deployment["status"]["readyReplicas"].as_u64().context("ready replicas")
    }

    /// Objects of it anywhere, as KIND/NAME.
    fn objects(&self) -> anyhow::Result<Vec<String>> {
        let kinds = self.world.exec(&["kubectl", "api-resources", "--verbs=list", "-o", "name"])?;
        let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
        let selector = format!("app.kubernetes.io/instance={}", self.name);
        let found = self.world.exec(&[
            "kubectl",
            "get",
            &kinds.join(","),
            "--all-namespaces",
            "--ignore-not-found",
            "-o",
            "name",
            "-l",
            &selector,
        ])?;
        Ok(found.lines().map(str::to_owned).collect())
    }
}

fn set<'v>(values: &[&'v str]) -> Vec<&'v str> {
    values.iter().flat_map(|value| ["--set", *value]).collect()
}

/// Held while `ringress.dev/ingress-controller` is served by a release of one test.
fn usual_controller() -> MutexGuard<'static, ()> {
    static OWNED: Mutex<()> = Mutex::new(());
    // Whoever panicked with it has failed already.
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lifecycle(world: &World) -> anyhow::Result<()> {
    let class = [
        "controller.ingressClassResource.name=lifecycle",
        "controller.ingressClassResource.controllerValue=ringress.dev/lifecycle",
    ];
    let release = Release::install(world, "life", &class)?;
    let address = release.address()?;
    served(world, "lifecycle", "life.test")?;
    until_outcome(world, &address, ("life.test", "/"), "web")?;
    until_address(world, &address)?;

    let keep = ["upgrade", release.name, &deploy("helm/ringress"), "--reuse-values", "--wait"];
    let changes = ["controller.replicaCount=3", "controller.extraArgs.max-header-bytes=16384"];
    let load = load_during(world, format!("{address}:80").parse()?, "life.test", || {
        release.helm(&[&keep[..], &set(&changes)].concat())?;
        until_ready(&release, 3)
    })?;
    println!("{} of {} requests failed during helm upgrade", load.failures.len(), load.asked);
    ensure!(
        load.asked >= 50 && load.failures.is_empty(),
        "{} asked: {:?}",
        load.asked,
        load.failures.first()
    );
    ensure!(release.arguments()?.contains("--max-header-bytes=16384"), "{}", release.arguments()?);

    release.helm(&["rollback", release.name, "1", "--wait"])?;
    until_ready(&release, 2)?;
    ensure!(!release.arguments()?.contains("--max-header-bytes"), "{}", release.arguments()?);
    until_outcome(world, &address, ("life.test", "/"), "web")?;

    ensure!(!release.objects()?.is_empty(), "objects of the release are found by their label");
    release.uninstall()?;
    let status = &world.get("ingress", "web")?["status"]["loadBalancer"];
    ensure!(status.get("ingress").is_none(), "helm uninstall leaves an address: {status}");
    world.until("nothing of the release is left", || Ok(release.objects()?.is_empty()))?;
    let leases = world.kubectl(&["get", "leases", "-o", "name"])?;
    ensure!(leases.is_empty(), "{leases}");
    let releases = world.kubectl(&["get", "secrets", "-l", "owner=helm", "-o", "name"])?;
    ensure!(releases.is_empty(), "{releases}");
    Ok(())
}

fn takeover(world: &World) -> anyhow::Result<()> {
    let class = "apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx, labels: {app.kubernetes.io/name: ingress-nginx}}
spec: {controller: k8s.io/ingress-nginx}";
    let _alone = usual_controller();
    world.apply(class)?;
    served(world, "nginx", "take.test")?;
    let before = world.get("ingress", "web")?;
    let release = Release::install(world, "take", &["controller.ingressClassResource.name=nginx"])?;
    let address = release.address()?;
    until_outcome(world, &address, ("take.test", "/"), "web")?;
    until_address(world, &address)?;
    let after = world.get("ingress", "web")?;
    ensure!(
        before["metadata"]["generation"] == after["metadata"]["generation"],
        "the Ingress was changed: {after}"
    );
    ensure!(
        release.arguments()?.contains("--controller-class=k8s.io/ingress-nginx"),
        "{}",
        release.arguments()?
    );
    release.helm(&["upgrade", release.name, &deploy("helm/ringress"), "--reuse-values", "--wait"])?;
    until_outcome(world, &address, ("take.test", "/"), "web")?;
    release.uninstall()?;
    let class = world.get("ingressclass", "nginx")?;
    ensure!(class["spec"]["controller"] == "k8s.io/ingress-nginx", "{class}");
    world.kubectl(&["delete", "ingressclass", "nginx"]).map(drop)
}

fn makes_nginx(world: &World) -> anyhow::Result<()> {
    let _alone = usual_controller();
    let release = Release::install(world, "none", &["controller.ingressClassResource.name=nginx"])?;
    let class = world.get("ingressclass", "nginx")?;
    ensure!(class["spec"]["controller"] == "ringress.dev/ingress-controller", "{class}");
    served(world, "nginx", "none.test")?;
    until_outcome(world, &release.address()?, ("none.test", "/"), "web")?;
    release.uninstall()?;
    ensure!(world.get("ingressclass", "nginx").is_err(), "its own class goes with the release");
    Ok(())
}

fn daemon_set(world: &World) -> anyhow::Result<()> {
    let values = [
        "controller.kind=DaemonSet",
        "controller.hostPort.enabled=true",
        // Tests beside this one have pods on the network of the node.
        "controller.hostPort.ports.http=8088",
        "controller.hostPort.ports.https=8448",
        "controller.service.enabled=false",
        "controller.ingressClassResource.name=daemon",
        "controller.ingressClassResource.controllerValue=ringress.dev/daemon",
    ];
    let release = Release::install(world, "daemon", &values)?;
    let set = world.get("daemonset", &release.controller())?;
    ensure!(set["status"]["numberReady"] == 2, "{}", set["status"]);
    served(world, "daemon", "daemon.test")?;
    for node in ["198.18.0.11", "198.18.0.12"] {
        until_outcome(world, &format!("{node}:8088"), ("daemon.test", "/"), "web")?;
        until_address(world, node)?;
    }
    // A node holds its port for one pod: the old one goes first.
    world.kubectl(&["rollout", "restart", "daemonset", &release.controller()])?;
    world.kubectl(&["rollout", "status", "daemonset", &release.controller(), "--timeout=60s"])?;
    until_outcome(world, "198.18.0.11:8088", ("daemon.test", "/"), "web")?;
    release.uninstall()
}

fn manifest(world: &World) -> anyhow::Result<()> {
    let _alone = usual_controller();
    let file = deploy("ringress.yaml");
    world.exec(&["kubectl", "apply", "-f", &file])?;
    let own = |arguments: &[&str]| world.exec(&[&["kubectl", "--namespace", "ringress"], arguments].concat());
    own(&["rollout", "status", "deployment/ringress-controller", "--timeout=60s"])?;
    served(world, "ringress", "manifest.test")?;
    let address = "-o=jsonpath={.status.loadBalancer.ingress[0].ip}";
    let address = own(&["get", "service", "ringress-controller", address])?;
    until_outcome(world, &address, ("manifest.test", "/"), "web")?;
    until_address(world, &address)?;
    ensure!(get(world, &address, "other.test", "/")?.status == 404);
    // Applied once more, it changes nothing; of disruption budgets kubectl never says so.
    let again = world.exec(&["kubectl", "apply", "-f", &file])?;
    let changed = again.lines().filter(|line| !line.ends_with(" unchanged"));
    ensure!(changed.clone().all(|line| line.starts_with("poddisruptionbudget")), "{again}");
    world.exec(&["kubectl", "delete", "-f", &file, "--wait=false"])?;
    // It refuses while a replica holds the Lease, which goes with the namespace.
    world.until("what it left is cleared up", || {
        world.exec(&["sh", "-c", "kubectl ringress clear-status -n ringress || true"])?;
        Ok(world.get("ingress", "web")?["status"]["loadBalancer"].get("ingress").is_none())
    })
}

/// In a box of its own: namespaces of others come and go, and foreign kinds are defined.
fn dry_run(_: &World) -> anyhow::Result<()> {
    let own = World::start("dry-run", &["--nodes", "1"])?;
    let said = own.exec(&[&deploy("helm/test.sh"), "--server"]);
    own.end_now();
    let taken = said?.lines().filter(|line| line.starts_with("ok ")).count();
    ensure!(taken > 1, "{taken} files were taken");
    Ok(())
}

/// An Ingress of this class and host with a Service and a pod behind it.
pub(crate) fn served(world: &World, class: &str, host: &str) -> anyhow::Result<()> {
    world.apply(&format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: web}}
spec:
  ingressClassName: {class}
  rules:
  - host: {host}
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]}}
"#
    ))?;
    world.backends()
}

/// Waits until the Ingress shows this address.
pub(crate) fn until_address(world: &World, address: &str) -> anyhow::Result<()> {
    world.until(&format!("the Ingress shows {address}"), || {
        let shown = world.get("ingress", "web")?["status"]["loadBalancer"]["ingress"].clone();
        Ok(shown.as_array().is_some_and(|all| all.iter().any(|one| one["ip"] == address)))
    })
}

fn until_ready(release: &Release<'_>, replicas: u64) -> anyhow::Result<()> {
    release.world.until(&format!("{replicas} replicas are ready"), || {
        let status = &release.world.get("deployment", &release.controller())?["status"];
        Ok(release.ready()? == replicas
            && status["replicas"] == replicas
            && status["updatedReplicas"] == replicas)
    })
}
