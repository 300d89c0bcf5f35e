//! The chart in the hands of helm, and `deploy/ringress.yaml` in those of kubectl.
//!
//! In the box with Kubernetes alone. Releases that would own the same class of controller go one after the other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};

use crate::Case;
use crate::client::{get, get_tls, samples, until_outcome};
use crate::load::{Load, load_beside};
use crate::release::{Release, route, served, until_address};
use crate::seeds::{authority, create_secret};
use crate::support::{World, deploy};

pub(crate) const CASES: &[Case] = &[
    ("a_release_is_installed_upgraded_rolled_back_and_uninstalled", lifecycle),
    ("a_release_takes_over_the_class_of_ingress_nginx", takeover),
    ("a_release_makes_the_class_nginx_where_there_is_none", makes_nginx),
    ("a_release_with_a_cache_serves_it_while_the_api_server_is_away", cached),
    ("a_daemon_set_listens_on_the_ports_of_its_nodes", daemon_set),
    ("the_manifest_installs_what_the_chart_does", manifest),
    ("the_api_server_takes_everything_that_the_chart_can_render", dry_run),
];

/// What only the tests of the chart itself ask of a release.
impl Release<'_> {
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

/// Held while `ringress.dev/ingress-controller` is served by a release of one test.
fn usual_controller() -> MutexGuard<'static, ()> {
    static OWNED: Mutex<()> = Mutex::new(());
    // Whoever panicked with it has failed already.
    OWNED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lifecycle(world: &World) -> anyhow::Result<()> {
    let release = Release::install(world, "life", &[])?;
    let address = release.address()?;
    served(world, release.name, "life.test")?;
    until_outcome(world, &address, ("life.test", "/"), "web")?;
    until_address(world, "web", &address)?;

    let load = Load::of_new_connections(format!("{address}:80").parse()?, "life.test");
    let ((), seen) = load_beside(world, load, || {
        release.upgrade(&["controller.replicaCount=3", "controller.extraArgs.max-header-bytes=16384"])?;
        until_ready(&release, 3)
    })?;
    println!("{} of {} requests failed during helm upgrade", seen.failures.len(), seen.asked);
    seen.none_failed_of(20)?;
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

/// The class nginx, and the controller that the chart has where nobody names another.
const OF_NGINX: [&str; 2] = [
    "controller.ingressClassResource.name=nginx",
    "controller.ingressClassResource.controllerValue=ringress.dev/ingress-controller",
];

fn takeover(world: &World) -> anyhow::Result<()> {
    let class = "apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx, labels: {app.kubernetes.io/name: ingress-nginx}}
spec: {controller: k8s.io/ingress-nginx}";
    let _alone = usual_controller();
    world.apply(class)?;
    served(world, "nginx", "take.test")?;
    let before = world.get("ingress", "web")?;
    let release = Release::install(world, "take", &OF_NGINX)?;
    let address = release.address()?;
    until_outcome(world, &address, ("take.test", "/"), "web")?;
    until_address(world, "web", &address)?;
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
    release.upgrade(&[])?;
    until_outcome(world, &address, ("take.test", "/"), "web")?;
    release.uninstall()?;
    let class = world.get("ingressclass", "nginx")?;
    ensure!(class["spec"]["controller"] == "k8s.io/ingress-nginx", "{class}");
    world.kubectl(&["delete", "ingressclass", "nginx"]).map(drop)
}

fn makes_nginx(world: &World) -> anyhow::Result<()> {
    let _alone = usual_controller();
    let release = Release::install(world, "none", &OF_NGINX)?;
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
    ];
    let release = Release::install(world, "daemon", &values)?;
    let set = world.get("daemonset", &release.controller())?;
    ensure!(set["status"]["numberReady"] == 2, "{}", set["status"]);
    served(world, release.name, "daemon.test")?;
    for node in ["198.18.0.11", "198.18.0.12"] {
        until_outcome(world, &format!("{node}:8088"), ("daemon.test", "/"), "web")?;
        until_address(world, "web", node)?;
    }
    // A node holds its port for one pod: the old one goes first.
    world.roll(&format!("daemonset/{}", release.controller()))?;
    until_outcome(world, "198.18.0.11:8088", ("daemon.test", "/"), "web")?;
    release.uninstall()
}

fn manifest(world: &World) -> anyhow::Result<()> {
    let _alone = usual_controller();
    let file = deploy("ringress.yaml");
    world.exec(&["kubectl", "apply", "-f", &file])?;
    world.other_namespace("ringress").until_rolled_out("deployment/ringress-controller")?;
    served(world, "ringress", "manifest.test")?;
    let address = world.ringress_address()?;
    until_outcome(world, &address, ("manifest.test", "/"), "web")?;
    until_address(world, "web", &address)?;
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

/// The API server is away when the process of a pod is started again: what its volume holds is served, with certificates, since
/// there is a key. In a box of its own: all others would notice.
fn cached(_: &World) -> anyhow::Result<()> {
    let world = World::start("cached", &["--nodes", "1"])?;
    let secrets = tempfile::tempdir()?;
    create_secret(&world, secrets.path(), "certificate", &["cached.test"])?;
    let key = format!("--from-literal=key={}", "0123456789abcdef".repeat(4));
    world.kubectl(&["create", "secret", "generic", "cache-key", &key])?;
    served(&world, "cached", "cached.test")?;
    let secured = r#"{"spec": {"tls": [{"hosts": ["cached.test"], "secretName": "certificate"}]}}"#;
    world.kubectl(&["patch", "ingress", "web", "--type=merge", "-p", secured])?;
    let values = [
        "controller.replicaCount=1",
        "controller.cache.enabled=true",
        "controller.cache.keySecret.name=cache-key",
    ];
    let release = Release::install(&world, "cached", &values)?;
    let address = release.address()?;
    let authority = authority(&world, secrets.path(), "certificate")?;
    let answers = || {
        let secured = get_tls(&world, &address, "https://cached.test/", Some(&authority))?;
        ensure!(secured.outcome() == "web", "https: {}", secured.outcome());
        let plain = get(&world, &address, "cached.test", "/")?;
        ensure!(plain.status == 308, "http: {}", plain.status);
        Ok(true)
    };
    world.until("it is served", answers)?;
    let pod = release.pods()?.pop().context("a pod")?;
    let metric = |name: &str| metric(&world, &pod, name);
    world.until("the cache is written", || {
        Ok(metric("ringress_cache_writes_total{result=\"success\"}")? > 0.0)
    })?;

    world.fault("stop", "kube-apiserver")?;
    world.fault("kill", &world.pod(&pod))?;
    world.until("the cache is served", || Ok(metric("ringress_cache_serving")? == 1.0))?;
    world.until("it is served from the cache", answers)?;

    world.fault("start", "kube-apiserver")?;
    world.until("the cache is replaced", || Ok(metric("ringress_cache_serving")? == 0.0))?;
    route(&world, "afterwards", release.name, "afterwards.test")?;
    until_outcome(&world, &address, ("afterwards.test", "/"), "web")?;
    world.end_now();
    Ok(())
}

/// The value of a metric of one pod, summed over its labels.
fn metric(world: &World, pod: &str, name: &str) -> anyhow::Result<f64> {
    let page = world.exec_in(pod, &["curl", "-sS", "-m", "5", "http://127.0.0.1:10254/metrics"])?;
    Ok(samples(&page, name)?.iter().sum())
}

fn until_ready(release: &Release<'_>, replicas: u64) -> anyhow::Result<()> {
    release.world.until(&format!("{replicas} replicas are ready"), || {
        let status = &release.world.get("deployment", &release.controller())?["status"];
        Ok(release.ready()? == replicas
            && status["replicas"] == replicas
            && status["updatedReplicas"] == replicas)
    })
}
