//! What `up` leaves behind: ringress from its chart, an example that answers, lines that work when pasted.

use std::process::Command;

use anyhow::{Context, ensure};

use crate::Case;
use crate::services::service_address;
use crate::support::{World, down};

pub(crate) const CASES: &[Case] = &[
    ("up_installs_ringress_and_prints_lines_that_work", printed),
    ("ringress_runs_on_io_uring_under_its_own_profile_and_nothing_else_is_allowed", profile),
    ("echo_pods_stand_behind_services_that_have_none", backends),
];

fn printed(_: &World) -> anyhow::Result<()> {
    let name = format!("printed-{}", std::process::id());
    let output = Command::new(env!("CARGO_BIN_EXE_ringress-e2e")).args(["up", "--name", &name]).output()?;
    let world = World::note(&name)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let screen = String::from_utf8(output.stdout)?;
    let lines: Vec<&str> = screen.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let typed = |line: &str| Command::new("sh").args(["-c", line]).output().context("sh");
    let curls: Vec<_> = lines.iter().filter(|line| line.contains(" curl ")).collect();
    ensure!(curls.len() == 2, "{screen}");
    for (line, service) in curls.into_iter().zip(["web-service", "api-service"]) {
        let output = typed(line)?;
        let body = String::from_utf8(output.stdout)?;
        ensure!(output.status.success() && body.contains(service), "{line}: {body}");
    }
    let ingress = lines.iter().find(|line| line.ends_with("kubectl get ingress")).context("kubectl")?;
    let table = String::from_utf8(typed(ingress)?.stdout)?;
    ensure!(table.contains("beginner") && table.contains("198.18.255."), "{table}");
    let described = lines.iter().find(|line| line.contains("kubectl describe")).context("describe")?;
    let text = String::from_utf8(typed(described)?.stdout)?;
    ensure!(text.contains("Applied"), "{text}");
    down(world.cluster())
}

fn profile(world: &World) -> anyhow::Result<()> {
    let ringress = world.other_namespace("ringress");
    let pods = ringress.kubectl(&["get", "pods", "-o=jsonpath={.items[*].metadata.name}"])?;
    let pods: Vec<&str> = pods.split_whitespace().collect();
    ensure!(pods.len() == 2, "{pods:?}");
    for pod in pods {
        let drivers = Drivers::of(&ringress, pod)?;
        // Rings of one user share what the machine lets him lock, and other boxes may have taken all of that.
        if !drivers.are_as_expected() && ringress.kubectl(&["logs", pod])?.contains("Cannot allocate memory")
        {
            println!("skipped: the driver of {pod}: its user may not lock more memory");
            continue;
        }
        drivers.ensure()?;
    }
    // Nobody else is this user.
    let user = 50_000 + std::process::id() % 10_000;
    world.apply(&RINGED.replace("@user", &user.to_string()))?;
    world.until_ready("ringed", "True")?;
    Drivers::of(world, "ringed")?.ensure()?;
    world.apply(PROFILED)?;
    // unshare(1) asks for a new namespace, which the profile refuses even root.
    world.until("both have ended", || {
        Ok(["free", "profiled"]
            .iter()
            .all(|pod| world.get("pod", pod).is_ok_and(|pod| ended(&pod).is_some())))
    })?;
    let code = |pod: &str| Ok::<_, anyhow::Error>(ended(&world.get("pod", pod)?));
    ensure!(code("free")? == Some(0), "{:?}: the machine refuses it anyway", code("free")?);
    ensure!(code("profiled")? == Some(1), "{:?}", code("profiled")?);
    ensure!(world.kubectl(&["logs", "profiled"])?.contains("Operation not permitted"));
    world
        .apply(&PROFILED.replace("ringress.json", "none.json").replace("name: profiled", "name: missing"))?;
    world.until("a missing profile is said", || {
        let waiting = &world.get("pod", "missing")?["status"]["containerStatuses"][0]["state"]["waiting"];
        Ok(waiting["message"].as_str().is_some_and(|text| text.contains("no seccomp profile none.json")))
    })
}

/// What the shards of a pod run on.
struct Drivers {
    /// A line of the metrics for each.
    shards: Vec<String>,
    expected: &'static str,
}

impl Drivers {
    fn of(world: &World, pod: &str) -> anyhow::Result<Self> {
        let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
        let expected = if matches!(disabled.trim(), "" | "0") { "io_uring" } else { "epoll" };
        if expected == "epoll" {
            println!("skipped: io_uring in {pod}: kernel.io_uring_disabled is {}", disabled.trim());
        }
        let metrics = world.exec_in(pod, &["curl", "-sS", "-m", "5", "http://127.0.0.1:10254/metrics"])?;
        let shards = metrics.lines().filter(|line| line.starts_with("ringress_io_driver{"));
        Ok(Self { shards: shards.map(str::to_owned).collect(), expected })
    }

    fn are_as_expected(&self) -> bool {
        let expected = format!("driver=\"{}\"}} 1", self.expected);
        !self.shards.is_empty() && self.shards.iter().all(|shard| shard.ends_with(&expected))
    }

    fn ensure(&self) -> anyhow::Result<()> {
        ensure!(self.are_as_expected(), "{:?}, not {}", self.shards, self.expected);
        Ok(())
    }
}

/// ringress with one ring, under its profile.
const RINGED: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: ringed}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsUser: @user, runAsNonRoot: true, seccompProfile: {type: Localhost, localhostProfile: ringress.json}}
  containers:
  - name: ringress
    image: ringress
    args: [run, --manifests, /m, --http-port, "8080", --https-port, "off", --health-address, "0.0.0.0:10254", --admin-address,
           "127.0.0.1:10255", --shards, "1", --pin, never]
    readinessProbe: {httpGet: {path: /readyz, port: 10254}, periodSeconds: 1}
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: m, mountPath: /m}]
  volumes: [{name: m, emptyDir: {}}]
"#;

fn ended(pod: &serde_json::Value) -> Option<i64> {
    pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64()
}

const PROFILED: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: free}
spec:
  restartPolicy: Never
  containers: [{name: c, image: shell, command: [unshare, --uts, "true"], securityContext: {capabilities: {add: [SYS_ADMIN]}}}]
---
apiVersion: v1
kind: Pod
metadata: {name: profiled}
spec:
  restartPolicy: Never
  securityContext: {seccompProfile: {type: Localhost, localhostProfile: ringress.json}}
  containers: [{name: c, image: shell, command: [unshare, --uts, "true"], securityContext: {capabilities: {add: [SYS_ADMIN]}}}]
"#;

fn backends(world: &World) -> anyhow::Result<()> {
    world.apply(
        r#"
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {type: LoadBalancer, selector: {app: shop}, ports: [{port: 80, targetPort: http}]}
"#,
    )?;
    world.backends()?;
    let address = service_address(world, "shop")?;
    let answer = world.exec(&["curl", "-sS", "-m", "5", &format!("http://{address}/")])?;
    ensure!(answer.contains("\"service\": \"shop\""), "{answer}");
    world.backends()?;
    ensure!(world.list("deployments", "")?.len() == 1, "a Service that has pods gets no more");
    Ok(())
}
