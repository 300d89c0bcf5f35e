//! One container of a pod: what state it is in, and what it is started with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, PodSpec, SeccompProfile};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::environment;
use super::image;
use super::process::Process;
use super::volume;
use crate::boxes::Image;
use crate::container::{self, Mount, Seccomp, Security, Spec};
use crate::net::Network;

/// A container and its fate.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) container: Container,
    pub(crate) state: State,
    /// How it ended before this time.
    pub(crate) last: Option<Ended>,
    pub(crate) restarts: i32,
    /// What its readiness probe says.
    pub(crate) ready: bool,
    /// Whether its startup probe was passed.
    pub(crate) started: bool,
    pub(crate) restart_at: Option<Instant>,
    /// When its patience with SIGTERM ends.
    pub(crate) kill_at: Option<Instant>,
    prober: Option<AbortHandle>,
}

/// What a container does right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Waiting { reason: &'static str, message: String },
    Running { process: Process, since: Timestamp },
    Ended(Ended),
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
    pub(crate) since: Timestamp,
    pub(crate) until: Timestamp,
}

/// What a policy says about a container that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Restart {
    pub(crate) fn of(spec: &PodSpec) -> Self {
        match spec.restart_policy.as_deref() {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }

    pub(crate) fn wanted(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// How long a container waits for its next start: at once the first time, then doubling. Much shorter than on a real node,
/// so that tests see recovery and not patience.
pub(crate) fn backoff(restarts: i32) -> Duration {
    match restarts {
        ..=0 => Duration::ZERO,
        1..=5 => Duration::from_millis(500 << (restarts - 1)),
        _ => Duration::from_secs(15),
    }
}

impl Slot {
    pub(crate) fn new(container: Container) -> Self {
        Self {
            container,
            state: State::Waiting { reason: "ContainerCreating", message: String::new() },
            last: None,
            restarts: 0,
            ready: false,
            started: false,
            restart_at: None,
            kill_at: None,
            prober: None,
        }
    }

    pub(crate) fn process(&self) -> Option<Process> {
        match self.state {
            State::Running { process, .. } => Some(process),
            _ => None,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.process().is_some() && self.started && self.ready
    }

    pub(crate) fn begin(&mut self, process: Process, prober: Option<AbortHandle>) {
        self.state = State::Running { process, since: Timestamp::now() };
        self.started = self.container.startup_probe.is_none();
        self.ready = self.container.readiness_probe.is_none();
        self.restart_at = None;
        self.kill_at = None;
        self.prober = prober;
    }

    pub(crate) fn end(&mut self, code: i32, signal: Option<i32>) {
        let until = Timestamp::now();
        let since = if let State::Running { since, .. } = self.state { since } else { until };
        self.stop_probing();
        self.ready = false;
        self.started = false;
        self.kill_at = None;
        self.state = State::Ended(Ended { code, signal, since, until });
    }

    /// It ended and comes back after a pause.
    pub(crate) fn wait_for_restart(&mut self) {
        if let State::Ended(ended) = &self.state {
            self.last = Some(ended.clone());
            let pause = backoff(self.restarts);
            self.restart_at = Some(Instant::now() + pause);
            self.restarts += 1;
            self.state =
                State::Waiting { reason: "CrashLoopBackOff", message: format!("back off {pause:?}") };
        }
    }

    pub(crate) fn stop_probing(&mut self) {
        if let Some(prober) = self.prober.take() {
            prober.abort();
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.stop_probing();
    }
}

/// What containers may do that say nothing about it: what common runtimes give.
const USUAL_CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Everything that a container is started with.
pub(crate) struct Parts<'p> {
    pub(crate) pod: &'p PodSpec,
    pub(crate) container: &'p Container,
    pub(crate) image: &'p Image,
    /// The folder of all volumes.
    pub(crate) volumes: &'p Path,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) root: PathBuf,
    pub(crate) network: &'p Network,
    pub(crate) hostname: String,
    pub(crate) program: &'p Path,
    /// The node's seccomp profiles.
    pub(crate) profiles: &'p Path,
}

/// The spec of a container.
///
/// # Errors
/// Parts of it contradict each other.
pub(crate) fn spec(parts: Parts<'_>) -> anyhow::Result<Spec> {
    let command = image::command(parts.image, parts.container);
    let security = security(parts.pod, parts.container, parts.profiles)?;
    if parts.pod.host_network == Some(true) && security.user != 0 {
        check_low_ports(parts.image, parts.container)?;
    }
    Ok(Spec {
        command: command.iter().map(|word| environment::expand(word, &parts.environment)).collect(),
        mounts: mounts(&parts)?,
        security,
        folder: parts.container.working_dir.clone(),
        environment: parts.environment.into_iter().collect(),
        root: parts.root,
        network: Path::new("/run/netns").join(&parts.network.name),
        hostname: parts.hostname,
        host_network: parts.pod.host_network == Some(true),
    })
}

/// Low ports of a node take a capability, which a user that is not root has from the program's file alone. Images have it
/// there; a program that was just built does not, and would only say that a port is not permitted.
fn check_low_ports(image: &Image, container: &Container) -> anyhow::Result<()> {
    let mut ports = container.ports.iter().flatten().map(|port| port.container_port);
    let Some(port) = ports.find(|port| *port < FIRST_FREE_PORT) else { return Ok(()) };
    let Some((file, _)) = &image.binary else { return Ok(()) };
    if rustix::fs::getxattr_query(file, "security.capability").is_err() {
        let file = file.display();
        bail!(
            "containerPort {port} on the network of the node, for a user that is not root, takes a capability on the \
             program's file: setcap cap_net_bind_service=+ep {file}, or choose ports from {FIRST_FREE_PORT} on"
        );
    }
    Ok(())
}

fn mounts(parts: &Parts<'_>) -> anyhow::Result<Vec<Mount>> {
    let mut all = Vec::new();
    if let Some((source, target)) = &parts.image.binary {
        all.push(Mount { source: source.clone(), target: target.clone(), read_only: true });
    }
    if parts.image.init {
        all.push(Mount { source: parts.program.to_owned(), target: image::INIT.into(), read_only: true });
    }
    for mount in parts.container.volume_mounts.iter().flatten() {
        let volume = parts.pod.volumes.iter().flatten().find(|volume| volume.name == mount.name);
        let volume = volume.with_context(|| format!("no volume {}", mount.name))?;
        let source = volume::source(parts.volumes, volume);
        let source = mount.sub_path.as_ref().map_or(source.clone(), |path| source.join(path));
        // What comes from the API is read-only for containers whatever they say, as on a real node.
        let read_only =
            mount.read_only == Some(true) || (volume.empty_dir.is_none() && volume.host_path.is_none());
        all.push(Mount { source, target: PathBuf::from(&mount.mount_path), read_only });
    }
    // Outer mounts first, or they would hide inner ones.
    all.sort_by(|left, right| left.target.cmp(&right.target));
    Ok(all)
}

fn security(pod: &PodSpec, container: &Container, profiles: &Path) -> anyhow::Result<Security> {
    let pod = pod.security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let number =
        |own: Option<i64>, pod: Option<i64>| u32::try_from(own.or(pod).unwrap_or(0)).context("user or group");
    let user = number(own.run_as_user, pod.run_as_user)?;
    if own.run_as_non_root.or(pod.run_as_non_root) == Some(true) && user == 0 {
        bail!("container has runAsNonRoot and image will run as root");
    }
    let profile = own.seccomp_profile.as_ref().or(pod.seccomp_profile.as_ref());
    let mut groups = Vec::new();
    for group in pod.supplemental_groups.into_iter().flatten().chain(pod.fs_group) {
        groups.push(u32::try_from(group).context("a supplemental group")?);
    }
    let capabilities = own.capabilities.unwrap_or_default();
    Ok(Security {
        user,
        group: number(own.run_as_group, pod.run_as_group)?,
        groups,
        read_only_root: own.read_only_root_filesystem == Some(true),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        privileged: own.privileged == Some(true),
        seccomp: seccomp(profile, profiles)?,
        capabilities: kept(capabilities.add.unwrap_or_default(), &capabilities.drop.unwrap_or_default()),
    })
}

fn seccomp(profile: Option<&SeccompProfile>, profiles: &Path) -> anyhow::Result<Seccomp> {
    let Some(profile) = profile else { return Ok(Seccomp::Unconfined) };
    match &*profile.type_ {
        "RuntimeDefault" => Ok(Seccomp::RuntimeDefault),
        "Localhost" => {
            container::seccomp_profile(profiles, profile.localhost_profile.as_deref()).map(Seccomp::Localhost)
        }
        _ => Ok(Seccomp::Unconfined),
    }
}

fn kept(add: Vec<String>, drop: &[String]) -> Vec<String> {
    let plain = |name: &str| name.strip_prefix("CAP_").unwrap_or(name).to_owned();
    let dropped: Vec<String> = drop.iter().map(|name| plain(name)).collect();
    let usual = USUAL_CAPABILITIES.iter().map(|name| (*name).to_owned());
    let all = dropped.iter().any(|name| name == "ALL");
    let mut kept: Vec<String> = usual.filter(|name| !all && !dropped.contains(name)).collect();
    kept.extend(add.iter().map(|name| plain(name)));
    kept
}

/// The first port of a node that needs no capability (`net.ipv4.ip_unprivileged_port_start`).
const FIRST_FREE_PORT: i32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn low_ports_of_a_node_take_a_capability_on_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let image = |binary: Option<PathBuf>| Image {
            name: "ringress".to_owned(),
            binary: binary.map(|file| (file, PathBuf::from("/ringress"))),
            entrypoint: Vec::new(),
            arguments: Vec::new(),
            init: false,
        };
        let listening = |port: i32| -> Container {
            serde_json::from_value(serde_json::json!({"name": "c", "ports": [{"containerPort": port}]}))
                .unwrap()
        };
        let built = image(Some(file.path().to_owned()));
        let refused = check_low_ports(&built, &listening(80)).unwrap_err().to_string();
        let next = format!("setcap cap_net_bind_service=+ep {}", file.path().display());
        assert!(refused.contains("containerPort 80") && refused.contains(&next), "{refused}");
        assert!(check_low_ports(&built, &listening(1024)).is_ok());
        assert!(check_low_ports(&built, &Container::default()).is_ok());
        assert!(check_low_ports(&image(None), &listening(80)).is_ok(), "the machine's own programs");
    }

    #[test]
    fn capabilities_are_dropped_before_they_are_added() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(kept(words(&["NET_BIND_SERVICE"]), &words(&["ALL"])), ["NET_BIND_SERVICE"]);
        assert_eq!(kept(words(&["CAP_SYS_TIME"]), &words(&["ALL"])), ["SYS_TIME"]);
        let usual = kept(Vec::new(), &words(&["NET_RAW"]));
        assert!(usual.contains(&"CHOWN".to_owned()) && !usual.contains(&"NET_RAW".to_owned()));
    }

    #[test]
    fn security_contexts_of_pod_and_container_are_joined() {
        let parse = |pod: serde_json::Value, own: serde_json::Value| {
            let pod: PodSpec =
                serde_json::from_value(serde_json::json!({"containers": [], "securityContext": pod}))
                    .unwrap();
            let container =
                serde_json::from_value(serde_json::json!({"name": "c", "securityContext": own})).unwrap();
            security(&pod, &container, Path::new("/profiles"))
        };
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert!(parse(json(r#"{"runAsNonRoot": true}"#), json("{}")).is_err());
        let user =
            parse(json(r#"{"runAsNonRoot": true, "runAsUser": 1}"#), json(r#"{"runAsUser": 2}"#)).unwrap();
        assert_eq!((user.user, user.group), (2, 0));
        let usual = r#"{"seccompProfile": {"type": "RuntimeDefault"}}"#;
        let none = r#"{"seccompProfile": {"type": "Unconfined"}}"#;
        let refused = |pod, own| parse(json(pod), json(own)).unwrap().seccomp == Seccomp::RuntimeDefault;
        assert!(refused(usual, "{}") && refused("{}", usual) && refused(none, usual));
        assert!(!refused("{}", "{}") && !refused(usual, none));
        let missing = r#"{"seccompProfile": {"type": "Localhost", "localhostProfile": "none.json"}}"#;
        assert!(parse(json(missing), json("{}")).is_err());
    }

    #[test]
    fn pauses_grow_and_end_somewhere() {
        let pauses: Vec<_> = (0..8).map(|restarts| backoff(restarts).as_millis()).collect();
        assert_eq!(pauses, [0, 500, 1000, 2000, 4000, 8000, 15000, 15000]);
    }
}
