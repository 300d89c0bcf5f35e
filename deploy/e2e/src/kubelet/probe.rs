//! Probes: asked from the node, as a kubelet does, counted against their thresholds.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;

use super::process::Process;
use crate::net::PROBER;

/// What is probed.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) container: Container,
    pub(crate) address: Ipv4Addr,
    /// For commands.
    pub(crate) process: Process,
}

/// Counts answers in a row: the verdict changes at a threshold and not before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counter {
    verdict: bool,
    against: i32,
    success_threshold: i32,
    failure_threshold: i32,
}

impl Counter {
    pub(crate) fn new(probe: &Probe, verdict: bool) -> Self {
        Self {
            verdict,
            against: 0,
            success_threshold: probe.success_threshold.unwrap_or(1).max(1),
            failure_threshold: probe.failure_threshold.unwrap_or(3).max(1),
        }
    }

    /// The new verdict, where this answer changed it.
    pub(crate) fn count(&mut self, success: bool) -> Option<bool> {
        if success == self.verdict {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let threshold = if success { self.success_threshold } else { self.failure_threshold };
        if self.against < threshold {
            return None;
        }
        self.against = 0;
        self.verdict = success;
        Some(success)
    }
}

/// Time between two probes.
pub(crate) fn period(probe: &Probe) -> Duration {
    seconds(probe.period_seconds, 10)
}

/// Time before the first.
pub(crate) fn delay(probe: &Probe) -> Duration {
    Duration::from_secs(probe.initial_delay_seconds.unwrap_or(0).max(0).cast_unsigned().into())
}

/// Asks once.
///
/// # Errors
/// The answer is no, or none in time: why, for the log.
pub(crate) async fn ask(probe: &Probe, target: &Target) -> anyhow::Result<()> {
    let patience = seconds(probe.timeout_seconds, 1);
    tokio::time::timeout(patience, ask_patiently(probe, target)).await.context("no answer in time")?
}

async fn ask_patiently(probe: &Probe, target: &Target) -> anyhow::Result<()> {
    if let Some(action) = &probe.http_get {
        return http_get(action, target).await;
    }
    if let Some(action) = &probe.tcp_socket {
        return connect(target, &action.port).await.map(drop);
    }
    if let Some(action) = &probe.exec {
        return run(target.process, action.command.as_deref().unwrap_or_default()).await;
    }
    bail!("only httpGet, tcpSocket and exec are known here")
}

/// Runs a command inside a container; also what a preStop hook does.
///
/// # Errors
/// It does not end with 0.
pub(crate) async fn run(process: Process, command: &[String]) -> anyhow::Result<()> {
    let process = process.first().context("the container has ended")?;
    let status = Command::new("nsenter")
        .arg(format!("--target={process}"))
        .args(["--net", "--mount", "--pid", "--uts", "--ipc", "--root", "--wd", "--"])
        .args(command)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .status()
        .await?;
    if !status.success() {
        bail!("the command ended with {status}");
    }
    Ok(())
}

/// Sends a GET and wants a status from 200 to 399; also what a preStop hook does.
///
/// # Errors
/// Another answer, or none.
pub(crate) async fn http_get(action: &HTTPGetAction, target: &Target) -> anyhow::Result<()> {
    if action.scheme.as_deref() == Some("HTTPS") {
        bail!("httpGet by HTTPS is not known here");
    }
    let mut stream = connect(target, &action.port).await?;
    let path = action.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let headers = action.http_headers.iter().flatten();
    let own_host = headers.clone().find(|header| header.name.eq_ignore_ascii_case("host"));
    let host = own_host.map_or_else(|| target.address.to_string(), |header| header.value.clone());
    let fields: String = headers
        .filter(|header| !header.name.eq_ignore_ascii_case("host"))
        .map(|header| format!("{}: {}\r\n", header.name, header.value))
        .collect();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: kube-probe/1.36\r\n{fields}Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.context("no status line")?;
    let status = status(&answer).context("no status line")?;
    if !(200..400).contains(&status) {
        bail!("status {status}");
    }
    Ok(())
}

fn status(line: &[u8; 12]) -> Option<u16> {
    std::str::from_utf8(line).ok()?.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok()
}

async fn connect(target: &Target, port: &IntOrString) -> anyhow::Result<TcpStream> {
    let port = port_number(port, &target.container).context("no such port")?;
    let socket = TcpSocket::new_v4()?;
    // From an address of its own: a black hole lets it pass, as the way from a node to its pods is another than that
    // from everybody else.
    socket.bind(SocketAddr::from((PROBER, 0)))?;
    Ok(socket.connect(SocketAddr::from((target.address, port))).await?)
}

fn port_number(port: &IntOrString, container: &Container) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            ports.find(|port| port.name.as_ref() == Some(name))?.container_port
        }
    };
    u16::try_from(number).ok()
}

fn seconds(value: Option<i32>, usual: u64) -> Duration {
    Duration::from_secs(value.filter(|value| *value > 0).map_or(usual, |value| value.cast_unsigned().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_changes_at_its_threshold() {
        let probe = Probe { success_threshold: Some(2), failure_threshold: Some(3), ..Probe::default() };
        let mut counter = Counter::new(&probe, false);
        let answers = [true, false, true, true, false, false, true, false, false, false, false];
        let verdicts: Vec<_> = answers.iter().map(|answer| counter.count(*answer)).collect();
        let mut expected = vec![None; answers.len()];
        expected[3] = Some(true);
        expected[9] = Some(false);
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn status_lines() {
        assert_eq!(status(b"HTTP/1.1 200"), Some(200));
        assert_eq!(status(b"HTTP/1.0 503"), Some(503));
        assert_eq!(status(b"SSH-2.0-Open"), None);
    }

    #[test]
    fn ports_by_number_and_name() {
        let container: Container = serde_json::from_value(
            serde_json::json!({"name": "c", "ports": [{"name": "http", "containerPort": 80}]}),
        )
        .unwrap();
        assert_eq!(port_number(&IntOrString::Int(81), &container), Some(81));
        assert_eq!(port_number(&IntOrString::String("http".to_owned()), &container), Some(80));
        assert_eq!(port_number(&IntOrString::String("none".to_owned()), &container), None);
        assert_eq!(port_number(&IntOrString::Int(70_000), &container), None);
    }
}
