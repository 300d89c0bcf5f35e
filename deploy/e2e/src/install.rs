//! What is installed in a box once it is up: ringress from its chart, the beginner example, manifests by kubectl.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::backends;
use crate::binaries;
use crate::boxes::Cluster;
use crate::exec;
use crate::progress::Progress;

/// How long anything may take that is installed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Namespace and release of ringress.
const RINGRESS: &str = "ringress";

/// Applies files and folders, in the order given.
///
/// # Errors
/// kubectl says no.
pub(crate) fn manifests(inside: &Cluster, paths: &[PathBuf]) -> anyhow::Result<()> {
    for path in paths {
        let path = std::path::absolute(path)?;
        let shown = path.display().to_string();
        let command = words(&["kubectl", "apply", "--server-side", "-R", "-f", &shown]);
        let status = exec::command(inside, None, &command)?.status().context("cannot start nsenter")?;
        if !status.success() {
            bail!("kubectl could not apply {shown}");
        }
    }
    Ok(())
}

/// What was installed, as a person is told.
pub(crate) struct Installed {
    /// Where the example is reached.
    pub(crate) address: String,
    /// How many replicas there are, and what moves their bytes.
    pub(crate) replicas: String,
}

/// Puts the seccomp profile of ringress on the nodes, where its documentation says that it belongs.
///
/// # Errors
/// The file cannot be copied.
pub(crate) fn seccomp_profile(cluster: &Cluster) -> anyhow::Result<()> {
    let source = binaries::deploy_folder().join("seccomp/ringress.json");
    std::fs::copy(&source, cluster.seccomp_profiles().join("ringress.json"))
        .with_context(|| format!("cannot copy {}", source.display()))?;
    Ok(())
}

/// Installs ringress by its chart, applies the beginner example, and waits until that answers.
///
/// # Errors
/// helm or kubectl says no, or something does not become ready.
pub(crate) fn ringress_and_example(inside: &Cluster) -> anyhow::Result<Installed> {
    let mut progress = Progress::begin("installing ringress and the beginner example");
    chart(inside, &mut progress)?;
    // The example names no class, so it is applied when the default class is surely known; its pods start beside ringress.
    let example = binaries::deploy_folder().join("examples/beginner").display().to_string();
    said(inside, &["kubectl", "apply", "-f", &format!("{example}/services.yaml")])?;
    backends::start(inside, "default", 2)?;
    rolled_out(inside, RINGRESS, "deployment/ringress-controller", &mut progress)?;
    said(inside, &["kubectl", "apply", "-f", &example])?;
    for deployment in ["deployment/web-service", "deployment/api-service"] {
        rolled_out(inside, "default", deployment, &mut progress)?;
    }
    let address = address_of(inside, &mut progress)?;
    progress.at("waiting for the first answer");
    answers(inside, &address)?;
    let replicas = replicas(inside)?;
    progress.done();
    Ok(Installed { address, replicas })
}

fn chart(inside: &Cluster, progress: &mut Progress) -> anyhow::Result<()> {
    progress.at("helm install");
    let chart = binaries::deploy_folder().join("helm/ringress").display().to_string();
    let values = binaries::deploy_folder().join("e2e/values.yaml").display().to_string();
    let namespace = ["--namespace", RINGRESS, "--create-namespace"];
    said(inside, &[&["helm", "install", RINGRESS, &chart, "-f", &values], &namespace[..]].concat())?;
    Ok(())
}

/// Waits for a roll-out and shows what kubectl says about it.
fn rolled_out(inside: &Cluster, namespace: &str, what: &str, progress: &mut Progress) -> anyhow::Result<()> {
    let timeout = format!("--timeout={}s", PATIENCE.as_secs());
    let command = words(&["kubectl", "--namespace", namespace, "rollout", "status", what, &timeout]);
    let mut kubectl = exec::command(inside, None, &command)?
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start nsenter")?;
    let stdout = kubectl.stdout.take().context("the output of kubectl")?;
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        progress.at(&line);
    }
    let output = kubectl.wait_with_output()?;
    if !output.status.success() {
        bail!("{what}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn address_of(inside: &Cluster, progress: &mut Progress) -> anyhow::Result<String> {
    progress.at("waiting for the address of the Ingress");
    let address = "{.status.loadBalancer.ingress[0].ip}";
    let timeout = format!("--timeout={}s", PATIENCE.as_secs());
    said(inside, &["kubectl", "wait", "ingress/beginner", &format!("--for=jsonpath={address}"), &timeout])?;
    said(inside, &["kubectl", "get", "ingress/beginner", "-o", &format!("jsonpath={address}")])
}

/// Waits until every Service of the example answers.
fn answers(inside: &Cluster, address: &str) -> anyhow::Result<()> {
    let address = SocketAddr::new(address.parse().context("the address of the Ingress")?, 80);
    let patience = Instant::now() + PATIENCE;
    within(inside, move || {
        for host in ["web.local", "api.local"] {
            while !ask(address, host, "/").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ")) {
                if Instant::now() > patience {
                    bail!("http://{address}/ with Host {host} does not answer 200");
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    })
}

/// How many replicas there are, and on which driver.
fn replicas(inside: &Cluster) -> anyhow::Result<String> {
    let selector = "--selector=app.kubernetes.io/name=ringress,app.kubernetes.io/component=controller";
    let addresses = "-o=jsonpath={.items[*].status.podIP}";
    let pods = said(inside, &["kubectl", "--namespace", RINGRESS, "get", "pods", selector, addresses])?;
    let addresses: Vec<SocketAddr> = pods
        .split_whitespace()
        .map(|address| Ok(SocketAddr::new(address.parse()?, METRICS_PORT)))
        .collect::<anyhow::Result<_>>()?;
    let count = addresses.len();
    let metrics = within(inside, move || {
        addresses
            .iter()
            .map(|address| ask(*address, "metrics", "/metrics"))
            .collect::<anyhow::Result<String>>()
    })?;
    Ok(format!("{count} replicas on {}", drivers(&metrics).join(" and ")))
}

/// `metrics.port` of the chart.
const METRICS_PORT: u16 = 10254;

/// Each driver that any shard is on, once.
fn drivers(metrics: &str) -> Vec<&str> {
    let shards =
        metrics.lines().filter(|line| line.starts_with("ringress_io_driver{") && line.ends_with(" 1"));
    let mut drivers: Vec<&str> =
        shards.filter_map(|line| line.split("driver=\"").nth(1)?.split('"').next()).collect();
    drivers.sort_unstable();
    drivers.dedup();
    drivers
}

/// One request over a connection of its own, and everything that came back. From inside.
fn ask(address: SocketAddr, host: &str, target: &str) -> anyhow::Result<String> {
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(
        format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Does the work in a thread whose sockets are inside.
fn within<T: Send>(inside: &Cluster, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            inside.enter_network()?;
            work()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What a command inside prints; what it complains about is the error.
pub(crate) fn said(inside: &Cluster, command: &[&str]) -> anyhow::Result<String> {
    let output = exec::command(inside, None, &words(command))?.output().context("cannot start nsenter")?;
    if !output.status.success() {
        bail!("{}: {}", command.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a command inside does with a file on its standard input.
pub(crate) fn fed(inside: &Cluster, command: &[&str], file: &Path) -> anyhow::Result<()> {
    let input = std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let output = exec::command(inside, None, &words(command))?
        .stdin(input)
        .output()
        .context("cannot start nsenter")?;
    if !output.status.success() {
        bail!("{}: {}", command.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_driver_is_named_once() {
        let metrics = "# TYPE ringress_io_driver gauge\n\
            ringress_io_driver{shard=\"0\",driver=\"io_uring\"} 1\n\
            ringress_io_driver{shard=\"0\",driver=\"epoll\"} 0\n\
            ringress_io_driver{shard=\"1\",driver=\"io_uring\"} 1\n";
        assert_eq!(drivers(metrics), ["io_uring"]);
        assert_eq!(drivers(&metrics.replace("\"} 0", "\"} 1")), ["epoll", "io_uring"]);
        assert!(drivers("").is_empty());
    }
}
