//! The folder of a box, and who holds it.
//!
//! A box is up while its holder lives: the process outside that waits for the first process inside. The holder is known by
//! process id *and* start time, so that an id taken over by a stranger is never mistaken for it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::control::{Answer, Question};

/// A cluster in a box, by name; whether it is up is another question.
#[derive(Debug, Clone)]
pub struct Cluster {
    name: String,
    folder: PathBuf,
}

/// What a box is made of: written by `up`, read by the processes inside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// How many virtual nodes.
    pub(crate) nodes: u8,
    /// The binary that is etcd, kube-apiserver, kube-controller-manager and kubectl.
    pub(crate) kubernetes: PathBuf,
    /// What `version` says.
    pub(crate) version: String,
    /// Image name to what it runs.
    pub(crate) images: Vec<Image>,
}

/// What an image name stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Image {
    /// The name without registry tag or digest.
    pub(crate) name: String,
    /// The file outside, and where it appears inside.
    pub(crate) binary: Option<(PathBuf, PathBuf)>,
    /// Replaced by `command` of a container.
    pub(crate) entrypoint: Vec<String>,
    /// Replaced by `args` of a container, left out where it has a `command`.
    pub(crate) arguments: Vec<String>,
    /// Whether a process before it passes signals on: for programs that rely on not being process 1.
    pub(crate) init: bool,
}

/// Who holds a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    pid: i32,
    /// Clock ticks between the start of the machine and that of the process.
    started: u64,
}

impl Cluster {
    /// The box of this name.
    ///
    /// # Errors
    /// The name is no plain word: it becomes a folder and part of host names.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let plain =
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if name.is_empty() || name.len() > 32 || !plain || name.starts_with('-') {
            bail!("--name {name:?} must be 1 to 32 lower-case letters, digits and dashes");
        }
        Ok(Self { name: name.to_owned(), folder: boxes_folder()?.join(name) })
    }

    /// The box of this folder, as its own processes are told.
    pub(crate) fn at(folder: &Path) -> Self {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self { name, folder: folder.to_owned() }
    }

    /// Every box with a folder, up or not.
    ///
    /// # Errors
    /// The folder of boxes cannot be read.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        let folder = boxes_folder()?;
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", folder.display())),
        };
        let mut all: Vec<Self> = entries.flatten().map(|entry| Self::at(&entry.path())).collect();
        all.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(all)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where everything of it is kept.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The kubeconfig of a cluster administrator; its server is reached from inside only.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// The folder of commands that `exec` puts before the PATH.
    pub fn commands(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// One file for each part of the box.
    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.folder.join("pki")
    }

    pub(crate) fn pods(&self) -> PathBuf {
        self.folder.join("pods")
    }

    /// What a node has in the folder of seccomp profiles of its kubelet.
    pub(crate) fn seccomp_profiles(&self) -> PathBuf {
        self.folder.join("seccomp")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("control")
    }

    pub(crate) fn plan(&self) -> anyhow::Result<Plan> {
        read_json(&self.folder.join("plan.json"))
    }

    /// Makes its folder anew.
    pub(crate) fn create(&self, plan: &Plan) -> anyhow::Result<()> {
        self.remove()?;
        for folder in [
            self.folder.clone(),
            self.commands(),
            self.logs(),
            self.pki(),
            self.pods(),
            self.seccomp_profiles(),
        ] {
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        // Keys of an administrator lie in it. Containers reach their part of it by mounts, not by this path.
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))?;
        write_json(&self.folder.join("plan.json"), plan)
    }

    /// Takes its folder away.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", self.folder.display()))
            }
            _ => Ok(()),
        }
    }

    /// Writes down that this process holds the box.
    pub(crate) fn held_by(&self, pid: u32) -> anyhow::Result<()> {
        let pid = i32::try_from(pid).context("a process id")?;
        let started = started(pid).context("the box ended at once; see its log")?;
        write_json(&self.folder.join("holder.json"), &Holder { pid, started })
    }

    /// The process that holds it, where it is up.
    pub fn holder(&self) -> Option<i32> {
        let holder: Holder = read_json(&self.folder.join("holder.json")).ok()?;
        (started(holder.pid) == Some(holder.started)).then_some(holder.pid)
    }

    /// The process that holds it.
    ///
    /// # Errors
    /// It is not up.
    pub fn up(&self) -> anyhow::Result<i32> {
        self.holder().with_context(|| {
            format!("box {} is not up; bring it up with: ringress-e2e up --name {0}", self.name)
        })
    }

    /// Moves the calling thread into the network of the box: sockets that it makes from now on are inside.
    ///
    /// Meant for tests, which make a thread for it with a runtime of its own.
    ///
    /// # Errors
    /// The box is not up, or the process lacks the privilege.
    pub fn enter_network(&self) -> anyhow::Result<()> {
        let network =
            fs::File::open(format!("/proc/{}/ns/net", self.up()?)).context("the network of the box")?;
        let kind = rustix::thread::LinkNameSpaceType::Network;
        rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&network), Some(kind))
            .context("cannot enter the network of the box; this needs root")
    }

    /// Asks the box something over its control socket.
    ///
    /// # Errors
    /// It does not answer, or says no.
    pub fn ask(&self, question: &Question) -> anyhow::Result<Answer> {
        self.up()?;
        crate::control::ask(&self.socket(), question)
    }

    /// Ends everything inside and waits until it is gone.
    ///
    /// # Errors
    /// It would not end.
    pub(crate) fn end(&self) -> anyhow::Result<()> {
        let Some(holder) = self.holder() else { return Ok(()) };
        // Process 1 takes everything in its namespace along; its parent then ends by itself. Where it has no child yet,
        // the holder is told directly, and the kernel kills what it would have held.
        let victim = children(holder).first().copied().unwrap_or(holder);
        signal(victim, Signal::KILL);
        let patience = Instant::now() + Duration::from_secs(10);
        while self.holder().is_some() {
            if Instant::now() > patience {
                bail!("process {holder}, which holds box {}, does not end", self.name);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Sends a signal; a process that is gone already is no news.
pub(crate) fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// The children of the main thread of a process.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let all = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    all.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("cannot understand {}", path.display()))
}

pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> anyhow::Result<()> {
    fs::write(path, serde_json::to_vec_pretty(value)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

/// When a process was started; `None` where it is gone or a zombie.
fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    start_time(&stat)
}

/// Field 22 of a line of /proc/PID/stat. The name of the program, in parentheses, may hold spaces and parentheses itself.
fn start_time(stat: &str) -> Option<u64> {
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn boxes_folder() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("RINGRESS_E2E_STATE") {
        return Ok(std::path::absolute(folder)?);
    }
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    Ok(state.context("neither XDG_STATE_HOME nor HOME is set: no place for boxes")?.join("ringress/boxes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_stands_behind_a_name_with_parentheses() {
        let fields: Vec<String> = (4..=30).map(|number| number.to_string()).collect();
        let line = |state: &str| format!("17 (a (b) c) {state} {}", fields.join(" "));
        assert_eq!(start_time(&line("S")), Some(22));
        assert_eq!(start_time(&line("Z")), None, "a zombie holds nothing");
        assert_eq!(start_time("17 (cut"), None);
    }

    #[test]
    fn this_process_has_a_start_time_and_no_other_has_the_same_pid() {
        let own = std::process::id() as i32;
        assert!(started(own).is_some());
        assert_eq!(started(i32::MAX), None);
    }

    #[test]
    fn names_are_plain_words() {
        for name in ["", "-a", "A", "a/b", "..", "a b", &"a".repeat(33)] {
            assert!(Cluster::named(name).is_err(), "{name}");
        }
        assert_eq!(Cluster::named("box-2").unwrap().name(), "box-2");
    }
}
