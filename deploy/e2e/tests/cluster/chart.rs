//! The chart in the hands of helm, and `deploy/ringress.yaml` in those of kubectl.
//!
//! In the box with Kubernetes alone. Releases that would own the same class of controller go one after the other.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::Case;
use crate::audit;
use crate::client::{get, get_tls, samples, until_outcome};
use crate::lease;
use crate::load::{Load, load_beside};
use crate::release::{Release, route, served, until_address, until_said};
use crate::seeds::{authority, create_secret};
use crate::support::{World, deploy};

pub(crate) const CASES: &[Case] = &[
    ("a_release_is_installed_upgraded_rolled_back_and_uninstalled", lifecycle),
    ("a_release_lives_and_ends_in_a_restricted_namespace", restricted),
    ("a_clearing_that_fails_ends_no_uninstallation_and_says_why", uncleared),
    ("a_second_release_with_the_same_controller_is_refused", rival),
    ("a_release_takes_over_the_class_of_ingress_nginx", takeover),
    ("a_release_beside_another_controller_leaves_statuses_to_it", beside),
    ("a_release_makes_the_class_nginx_where_there_is_none", makes_nginx),
    ("a_release_serves_the_aliases_of_its_class", aliases),
    ("an_election_that_is_named_anew_in_a_roll_out_takes_no_address_away", renamed),
    ("a_namespace_that_is_watched_no_more_is_cleared_as_the_notes_say", unwatched),
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
    nothing_stays(&release)?;
    let releases = stored(world)?;
    ensure!(releases.is_empty(), "{releases}");
    Ok(())
}

/// The API server enforces the standard. Contexts that are given for pods are those of the Job at the end, too.
fn restricted(world: &World) -> anyhow::Result<()> {
    let label = "pod-security.kubernetes.io/enforce=restricted";
    world.exec(&["kubectl", "label", "namespace", world.namespace(), label])?;
    let refused = world.kubectl(&["run", "plain", "--image=pause"]).err().context("a plain pod is taken")?;
    ensure!(format!("{refused:#}").contains("violates PodSecurity"), "{refused:#}");
    let of_pods = [
        "controller.podSecurityContext.runAsNonRoot=true",
        "controller.podSecurityContext.seccompProfile.type=RuntimeDefault",
        "controller.containerSecurityContext.runAsUser=101",
        "controller.containerSecurityContext.allowPrivilegeEscalation=false",
        "controller.containerSecurityContext.capabilities.drop={ALL}",
        "controller.containerSecurityContext.capabilities.add={NET_BIND_SERVICE}",
    ];
    for (name, host, values) in [("usual", "usual.test", &[][..]), ("podwide", "podwide.test", &of_pods[..])]
    {
        let release = Release::install(world, name, values)?;
        served(world, name, host)?;
        let address = release.address()?;
        until_outcome(world, &address, (host, "/"), "web")?;
        until_address(world, "web", &address)?;
        release.uninstall()?;
        ensure!(addresses(world)?.is_null(), "{name}: an address stays: {}", addresses(world)?);
        let jobs = world.kubectl(&["get", "jobs", "-o", "name"])?;
        ensure!(jobs.is_empty(), "{name}: {jobs}");
    }
    Ok(())
}

/// The API server refuses what the Job does. helm names it, the release and its rights are gone within a minute, and the log
/// of the Job is there to be read.
fn uncleared(world: &World) -> anyhow::Result<()> {
    // A replica that ends may be quicker than the loss of its rights, and is refused as well.
    let accounts = format!("system:serviceaccount:{}:frozen-", world.namespace());
    world.apply(&format!(
        r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: frozen}}
spec:
  matchConstraints:
    resourceRules:
    - {{apiGroups: [networking.k8s.io], apiVersions: [v1], operations: [UPDATE], resources: [ingresses/status]}}
  matchConditions: [{{name: of-the-release, expression: "request.userInfo.username.startsWith('{accounts}')"}}]
  validations:
  - {{expression: "object.?status.loadBalancer.ingress.hasValue()", message: addresses stay}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: frozen}}
spec: {{policyName: frozen, validationActions: [Deny]}}
"#
    ))?;
    let release = Release::install(world, "frozen", &[])?;
    served(world, release.name, "frozen.test")?;
    until_address(world, "web", &release.address()?)?;

    let began = Instant::now();
    let said = release.uninstall().err().context("helm says nothing")?;
    let (said, took) = (format!("{said:#}"), began.elapsed());
    ensure!(said.contains("frozen-ringress-clear-status"), "{said}");
    ensure!(took < Duration::from_secs(100), "helm took {} s", took.as_secs());
    let left = stored(world)?;
    ensure!(left.is_empty(), "the release is there still: {left}");
    world.until("nothing but the Job and its pods is left", || {
        let left = release.objects()?;
        let is_of_job = |object: &String| object.starts_with("job") || object.starts_with("pod/");
        Ok(!left.is_empty() && left.iter().all(is_of_job))
    })?;
    let log = world.kubectl(&["logs", "job/frozen-ringress-clear-status"])?;
    ensure!(log.contains("addresses stay"), "{log}");
    ensure!(addresses(world)?.is_array(), "there is nothing left to clear");

    let by_hand = ["kubectl", "ringress", "clear-status", "--election-id", "frozen-ringress-leader"];
    world.exec(&[&by_hand[..], &["-n", world.namespace()]].concat())?;
    ensure!(addresses(world)?.is_null(), "an address stays: {}", addresses(world)?);
    let policy = "validatingadmissionpolicy/frozen";
    world.exec(&["kubectl", "delete", policy, "validatingadmissionpolicybinding/frozen"]).map(drop)
}

/// What helm knows of releases in the namespace of the test.
fn stored(world: &World) -> anyhow::Result<String> {
    world.kubectl(&["get", "secrets", "-l", "owner=helm", "-o", "name"])
}

/// What the Ingress `web` shows.
fn addresses(world: &World) -> anyhow::Result<serde_json::Value> {
    Ok(world.get("ingress", "web")?["status"]["loadBalancer"]["ingress"].take())
}

fn rival(world: &World) -> anyhow::Result<()> {
    let first = Release::install(world, "first", &["controller.replicaCount=1"])?;
    let chart = deploy("helm/ringress");
    let class = "controller.ingressClassResource.name=second";
    let same = "controller.ingressClassResource.controllerValue=ringress.dev/first";
    let second = ["install", "second", &*chart, "--set", class, "--set", same];
    let refused = first.helm(&second).err().context("a second release with that controller is taken")?;
    let refused = format!("{refused:#}");
    let holder = format!("IngressClass first of the release {}/first has the controller", world.namespace());
    for part in [&*holder, "controller.ingressClassResource.controllerValue=example.com/second"] {
        ensure!(refused.contains(part), "{part} is missing: {refused}");
    }
    let releases = stored(world)?;
    ensure!(releases.trim() == "secret/sh.helm.release.v1.first.v1", "{releases}");

    // With a controller of its own it is taken, and so it is where both are meant to serve one class.
    let own = "controller.ingressClassResource.controllerValue=ringress.dev/second";
    let shared = "controller.ingressClassResource.enabled=false";
    for last in [&["--set", own][..], &["--set", shared]] {
        first.helm(&[&second[..], last, &["--dry-run=server"]].concat())?;
    }
    first.upgrade(&[])?;
    first.uninstall()
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

/// Everything is served and said, and no address is written, not even when another one stands there; nor is it cleared at the end.
/// That it never asked is in the audit log, and it has no right to.
fn beside(world: &World) -> anyhow::Result<()> {
    let values = ["controller.extraArgs.update-status=false", "controller.extraArgs.sync-rate-limit=0.3"];
    let release = Release::install(world, "beside", &values)?;
    served(world, release.name, "beside.test")?;
    let address = release.address()?;
    until_outcome(world, &address, ("beside.test", "/"), "web")?;
    until_said(world, "web", "Applied")?;
    ensure!(addresses(world)?.is_null(), "an address is shown: {}", addresses(world)?);
    let foreign = r#"{"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}}"#;
    let write = ["patch", "ingress", "web", "--subresource=status", "--type=merge", "-p", foreign];
    world.kubectl(&write)?;
    let logs = world.kubectl(&["logs", &format!("deployment/{}", release.controller())])?;
    ensure!(logs.contains("sync-rate-limit"), "nothing is said of a flag that is ignored: {logs}");

    let requests = audit::requests(world, &release.account())?;
    let asked = |call: &str| requests.iter().any(|request| request.call == call);
    ensure!(asked("create events") && asked("update leases") && !asked("patch ingresses/status"));
    let account = format!("--as=system:serviceaccount:{}:{}", world.namespace(), release.account());
    let may = ["auth", "can-i", "patch", "ingresses", "--subresource=status", &account];
    ensure!(world.kubectl(&may).is_err(), "it may write statuses");
    release.uninstall()?;
    let left = addresses(world)?;
    ensure!(left[0]["ip"] == "192.0.2.9", "the address of another controller is gone: {left}");
    nothing_stays(&release)
}

/// Neither objects of a release that is uninstalled, nor Leases of anybody in the namespace of the test.
fn nothing_stays(release: &Release<'_>) -> anyhow::Result<()> {
    let world = release.world;
    world.until("nothing of the release is left", || Ok(release.objects()?.is_empty()))?;
    let leases = world.kubectl(&["get", "leases", "-o", "name"])?;
    ensure!(leases.is_empty(), "{leases}");
    Ok(())
}

fn aliases(world: &World) -> anyhow::Result<()> {
    let aliases = "controller.ingressClassResource.aliases={aliased-before,aliased-legacy}";
    let release = Release::install(world, "aliased", &[aliases])?;
    served(world, "aliased-legacy", "alias.test")?;
    let address = release.address()?;
    until_outcome(world, &address, ("alias.test", "/"), "web")?;
    until_address(world, "web", &address)?;
    until_said(world, "web", "Applied")?;
    route(world, "other", "aliased-before", "other-alias.test")?;
    until_outcome(world, &address, ("other-alias.test", "/"), "web")?;
    release.uninstall()?;
    for class in ["aliased", "aliased-before", "aliased-legacy"] {
        ensure!(world.get("ingressclass", class).is_err(), "{class} outlives the release");
    }
    Ok(())
}

/// Whoever asks for the address again and again, as external-dns does, finds it every time.
fn renamed(world: &World) -> anyhow::Result<()> {
    let release = Release::install(world, "renamed", &[])?;
    served(world, release.name, "renamed.test")?;
    until_address(world, "web", &release.address()?)?;
    let before = lease::leader(world, &release.lease())?;
    let version =
        || Ok::<_, anyhow::Error>(world.get("ingress", "web")?["metadata"]["resourceVersion"].clone());
    let written = version()?;
    release.upgrade(&["controller.electionID=renamed-anew"])?;
    let pods = || world.list("pods", "app.kubernetes.io/component=controller");
    world.until("the pods of before are gone", || Ok(pods()?.len() == 2))?;
    let after = lease::leader(world, "renamed-anew")?;
    ensure!(after.pod() != before.pod(), "{after:?}");
    ensure!(version()? == written, "the status was written: {}", world.get("ingress", "web")?);
    let left = lease::held(world, &release.lease())?;
    ensure!(left.is_none(), "{left:?} holds the Lease of before");
    release.uninstall()?;
    ensure!(addresses(world)?.is_null(), "an address stays: {}", addresses(world)?);
    nothing_stays(&release)
}

/// The command of the notes takes the addresses out there, and nothing where it is served on.
fn unwatched(world: &World) -> anyhow::Result<()> {
    let gone = world.namespaced(&format!("gone-{}", world.namespace()));
    let both = format!("controller.scope.namespace={}\\,{}", world.namespace(), gone.namespace());
    let release = Release::install(world, "unwatched", &["controller.scope.enabled=true", &both])?;
    let address = release.address()?;
    for (world, host) in [(world, "here.test"), (&gone, "gone.test")] {
        route(world, "web", release.name, host)?;
        until_address(world, "web", &address)?;
    }
    let one = format!("controller.scope.namespace={}", world.namespace());
    let chart = deploy("helm/ringress");
    let upgrade = ["upgrade", release.name, &chart, "--reuse-values", "--wait", "--set", &one];
    let notes = release.helm(&upgrade)?;
    let mut lines = notes.lines().map(str::trim);
    let command =
        lines.find(|line| line.starts_with("kubectl ringress clear-status")).context(notes.clone())?;
    ensure!(addresses(&gone)?.is_array(), "nobody has the right to take it out");
    let said = world.exec(&["sh", "-c", command])?;
    ensure!(addresses(&gone)?.is_null(), "{command}: {said}");
    ensure!(addresses(world)?.is_array(), "{command}: {said}");
    // The leader of before may give the Lease back at this moment.
    world.until("somebody leads", || Ok(lease::held(world, &release.lease())?.is_some()))?;
    ensure!(!release.helm(&upgrade)?.contains("clear-status"), "nothing is left to clear");
    release.uninstall()
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
