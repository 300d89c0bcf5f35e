//! `container`: a process that makes namespaces and waits, and one inside that becomes a container.
//!
//! Its root is a file system in memory with the machine's /usr read-only under it, so that dynamically linked programs,
//! shells and curl work without images. On top come the binary of the image, volumes, /proc, a small /dev and /tmp. Then
//! privileges go as the security context says, and the program takes over: it is process 1, as in any container.

mod seccomp;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::Context;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Gid, Signal, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets, LinkNameSpaceType};
use serde::{Deserialize, Serialize};

use crate::boxes::read_json;

use seccomp::Filters;
pub(crate) use seccomp::{Seccomp, of_node as seccomp_profile};

/// What a container is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// An empty folder that becomes its root.
    pub(crate) root: PathBuf,
    /// The name of its network, as a file.
    pub(crate) network: PathBuf,
    pub(crate) hostname: String,
    pub(crate) command: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) folder: Option<String>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) security: Security,
    /// Whether its network is that of a node, whose settings are not its own.
    pub(crate) host_network: bool,
}

/// A file or folder of the machine that appears inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mount {
    pub(crate) source: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) read_only: bool,
}

/// As whom it runs and what it may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Security {
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) read_only_root: bool,
    pub(crate) no_new_privileges: bool,
    pub(crate) privileged: bool,
    pub(crate) seccomp: Seccomp,
    /// Names without CAP_; what containers usually have, less what is dropped, plus what is added.
    pub(crate) capabilities: Vec<String>,
}

/// Makes the namespaces of a container, starts it inside, waits and ends as it does.
///
/// # Errors
/// The system refuses.
pub(crate) fn hold(spec_file: &Path) -> anyhow::Result<ExitCode> {
    let spec: Spec = read_json(spec_file)?;
    let network = fs::File::open(&spec.network).context("the network of the pod")?;
    rustix::thread::move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        .context("cannot enter the network of the pod")?;
    make_namespaces()?;
    let status = Command::new(std::env::current_exe().context("the path of this program")?)
        .args(["container", "--inside"])
        .arg(spec_file)
        .status()
        .context("cannot start the first process of a container")?;
    Ok(end_like(status))
}

#[expect(
    deprecated,
    reason = "unsafe only where descriptors are unshared: this process has one thread and leaves those alone"
)]
fn make_namespaces() -> anyhow::Result<()> {
    use rustix::thread::UnshareFlags as Flags;
    let flags = Flags::NEWNS | Flags::NEWPID | Flags::NEWUTS | Flags::NEWIPC;
    rustix::thread::unshare(flags).context("cannot make the namespaces of a container")
}

/// Ends by the same signal, so that whoever waits sees what happened to the container.
fn end_like(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal().and_then(Signal::from_named_raw) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), signal);
    }
    let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Becomes it.
///
/// # Errors
/// The root cannot be built, or the program not started; the exit code is then 128, as runtimes have it.
pub(crate) fn become_it(spec: &Path) -> anyhow::Result<ExitCode> {
    // Without its parent nobody would know how it ends, so it ends too.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let spec: Spec = read_json(spec)?;
    match become_container(&spec) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("container: {error:#}");
            Ok(ExitCode::from(128))
        }
    }
}

fn become_container(spec: &Spec) -> anyhow::Result<std::convert::Infallible> {
    rustix::system::sethostname(spec.hostname.as_bytes()).context("cannot set the host name")?;
    if !spec.host_network {
        // As common runtimes have it: without capabilities, a program may still listen on port 80 of its own address.
        fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0").context("cannot open low ports")?;
    }
    // The file of a profile is out of sight once the root is another one.
    let filters = Filters::of(&spec.security.seccomp)?;
    build_root(spec)?;
    enter_root(&spec.root)?;
    if spec.security.read_only_root {
        remount_read_only(Path::new("/"))?;
    }
    give_up_privileges(&spec.security)?;
    let (program, arguments) = spec.command.split_first().context("it has no command")?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(spec.environment.iter().map(|(name, value)| (name, value)));
    command.current_dir(spec.folder.as_deref().unwrap_or("/"));
    // Last of all: a profile allows what the program needs, and starting it.
    filters.apply()?;
    Err(command.exec()).with_context(|| format!("cannot start {program}"))
}

fn build_root(spec: &Spec) -> anyhow::Result<()> {
    let root = &spec.root;
    let empty = None::<&std::ffi::CStr>;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    rustix::mount::mount("tmpfs", root, "tmpfs", MountFlags::empty(), Some(c"mode=0755"))
        .context("a root in memory")?;
    for folder in ["etc", "dev", "proc", "sys", "tmp", "run", "var", "usr"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    bind(Path::new("/usr"), &root.join("usr"), true)?;
    for folder in ["bin", "sbin", "lib", "lib64"] {
        lend(Path::new("/"), root, folder)?;
    }
    write_etc(spec)?;
    for device in ["null", "zero", "full", "random", "urandom"] {
        fs::write(root.join("dev").join(device), "")?;
        rustix::mount::mount_bind(Path::new("/dev").join(device), root.join("dev").join(device))?;
    }
    rustix::mount::mount("proc", root.join("proc"), "proc", MountFlags::NOSUID, empty).context("/proc")?;
    // The machine's: nothing of a network is under it that belongs to a box, but processors and cgroups are.
    rustix::mount::mount_bind_recursive("/sys", root.join("sys")).context("/sys")?;
    for mount in &spec.mounts {
        mount_volume(root, mount).with_context(|| format!("cannot mount {}", mount.target.display()))?;
    }
    Ok(())
}

/// Makes a top-level folder of the machine appear in the root: where it is a link into /usr, as a link.
fn lend(from: &Path, root: &Path, name: &str) -> anyhow::Result<()> {
    let (source, target) = (from.join(name), root.join(name));
    let Ok(metadata) = source.symlink_metadata() else { return Ok(()) };
    if metadata.is_symlink() {
        symlink(fs::read_link(&source)?, target)?;
        return Ok(());
    }
    fs::create_dir_all(&target)?;
    bind(&source, &target, true)
}

fn write_etc(spec: &Spec) -> anyhow::Result<()> {
    let etc = spec.root.join("etc");
    let Security { user, group, .. } = spec.security;
    fs::write(etc.join("passwd"), format!("root:x:0:0::/root:/bin/sh\nuser:x:{user}:{group}::/:/bin/sh\n"))?;
    fs::write(etc.join("group"), format!("root:x:0:\nuser:x:{group}:\n"))?;
    fs::write(etc.join("hosts"), format!("127.0.0.1 localhost\n127.0.1.1 {}\n", spec.hostname))?;
    // No names are resolved in a box: an empty file answers at once, where a missing one means a server on loopback.
    fs::write(etc.join("resolv.conf"), "")?;
    // Where it is missing the loader searches by itself.
    let _ = fs::copy("/etc/ld.so.cache", etc.join("ld.so.cache"));
    Ok(())
}

fn mount_volume(root: &Path, mount: &Mount) -> anyhow::Result<()> {
    let target = root.join(mount.target.strip_prefix("/").unwrap_or(&mount.target));
    if mount.source.is_dir() {
        fs::create_dir_all(&target)?;
    } else {
        fs::create_dir_all(target.parent().context("a folder to mount into")?)?;
        fs::write(&target, "")?;
    }
    bind(&mount.source, &target, mount.read_only)
}

fn bind(source: &Path, target: &Path, read_only: bool) -> anyhow::Result<()> {
    rustix::mount::mount_bind_recursive(source, target)
        .with_context(|| format!("cannot bind {} to {}", source.display(), target.display()))?;
    if read_only { remount_read_only(target) } else { Ok(()) }
}

fn remount_read_only(target: &Path) -> anyhow::Result<()> {
    rustix::mount::mount_remount(target, MountFlags::BIND | MountFlags::RDONLY, c"")
        .with_context(|| format!("cannot make {} read-only", target.display()))
}

fn enter_root(root: &Path) -> anyhow::Result<()> {
    std::env::set_current_dir(root)?;
    // Both roots at one place, then the old one, which lies on top, goes: no folder is needed to put it in.
    rustix::process::pivot_root(".", ".").context("cannot change the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).context("cannot leave the old root")?;
    std::env::set_current_dir("/")?;
    Ok(())
}

fn give_up_privileges(security: &Security) -> anyhow::Result<()> {
    if !security.privileged {
        drop_capabilities(&security.capabilities)?;
    }
    let groups: Vec<Gid> = security.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    let (user, group) = (Uid::from_raw(security.user), Gid::from_raw(security.group));
    rustix::thread::set_thread_groups(&groups)?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_keep_capabilities(true)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    if !security.privileged {
        hold_capabilities(&security.capabilities)?;
    }
    if security.no_new_privileges {
        rustix::thread::set_no_new_privs(true)?;
    }
    Ok(())
}

/// Leaves these in the bounding set: the most that a program started from here can have.
fn drop_capabilities(kept: &[String]) -> anyhow::Result<()> {
    let kept = named(kept);
    for (name, capability) in CapabilitySet::all().iter_names() {
        // Capabilities that this kernel is too old for are refused; nobody has them.
        if !kept.contains(capability)
            && rustix::thread::capability_is_in_bounding_set(capability).unwrap_or(false)
        {
            rustix::thread::remove_capability_from_bounding_set(capability)
                .with_context(|| format!("cannot drop CAP_{name}"))?;
        }
    }
    Ok(())
}

/// Holds these until the program starts, as runtimes do. A user that is not root loses them then, unless the program's file
/// has them, which counts under no_new_privs only where they were held before.
fn hold_capabilities(kept: &[String]) -> anyhow::Result<()> {
    let had = rustix::thread::capabilities(None).context("cannot read capabilities")?;
    let held = had.permitted & named(kept);
    let sets = CapabilitySets { effective: held, permitted: held, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).context("cannot give up capabilities")
}

fn named(names: &[String]) -> CapabilitySet {
    if names.iter().any(|name| name == "ALL") {
        return CapabilitySet::all();
    }
    let all = CapabilitySet::all();
    let found = all.iter_names().filter(|(known, _)| names.iter().any(|name| name == known));
    found.map(|(_, capability)| capability).collect()
}
