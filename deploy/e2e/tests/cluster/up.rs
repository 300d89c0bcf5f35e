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
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let driver = if matches!(disabled.trim(), "" | "0") { "io_uring" } else { "epoll" };
    let ringress = world.other_namespace("ringress");
    let pods = ringress.kubectl(&["get", "pods", "-o=jsonpath={.items[*].metadata.name}"])?;
    ensure!(pods.split_whitespace().count() == 2, "{pods}");
    for pod in pods.split_whitespace() {
        let metrics = ringress.exec_in(pod, &["curl", "-sS", "-m", "5", "http://127.0.0.1:10254/metrics"])?;
        let shards: Vec<_> = metrics.lines().filter(|line| line.starts_with("ringress_io_driver{")).collect();
        let expected = format!("driver=\"{driver}\"}} 1");
        let as_expected = !shards.is_empty() && shards.iter().all(|shard| shard.ends_with(&expected));
        // Rings of one user share what the machine lets him lock; others on it may have taken all of that.
        ensure!(
            as_expected || ringress.kubectl(&["logs", pod])?.contains("Cannot allocate memory"),
            "{shards:?}"
        );
    }
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
