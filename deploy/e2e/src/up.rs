//! `up`: builds what is missing, starts the first process of a box, waits until it is ready.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use crate::args::UpArgs;
use crate::binaries::{self, GoProgram};
use crate::boxes::{Cluster, Plan};
use crate::install::{self, Installed};
use crate::kubelet::image;
use crate::progress::Progress;

/// Commands of the system that a box needs, with their Debian packages.
const COMMANDS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("mount", "mount"),
];

/// Commands that tests need besides.
const COMMANDS_OF_TESTS: [(&str, &str); 3] =
    [("setpriv", "util-linux"), ("openssl", "openssl"), ("curl", "curl")];

/// Brings a box up.
///
/// # Errors
/// The machine cannot hold one, something does not build, or the box ends before it is ready.
pub(crate) fn run(args: &UpArgs) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::named(&args.name.name)?;
    let kubernetes = binaries::kubernetes(&args.kubernetes)?;
    let images = args.images.iter().map(|image| image::parse(image)).collect::<anyhow::Result<Vec<_>>>()?;
    check_machine(&kubernetes)?;
    if let Some(holder) = cluster.holder() {
        bail!(
            "box {} is up already (process {holder}); end it with: ringress-e2e down --name {0}",
            cluster.name()
        );
    }
    let ringress = match &args.ringress {
        Some(file) => file.canonicalize().with_context(|| format!("--ringress {}", file.display()))?,
        None => binaries::ringress()?,
    };
    let programs = Programs { kubernetes: kubernetes.ensure()?, helm: binaries::HELM.ensure()?, ringress };
    let plan = Plan {
        nodes: args.nodes,
        kubernetes: programs.kubernetes.clone(),
        version: kubernetes.version.to_owned(),
        images: images.into_iter().chain(image::usual(&programs.ringress)?).collect(),
    };
    cluster.create(&plan)?;
    programs.link(&cluster)?;
    install::seccomp_profile(&cluster)?;
    start(&cluster)?;
    let installed = if args.bare { None } else { Some(install::ringress_and_example(&cluster)?) };
    install::manifests(&cluster, &args.manifests)?;
    println!("{}", told(&cluster, &plan, installed.as_ref()));
    Ok(ExitCode::SUCCESS)
}

struct Programs {
    kubernetes: PathBuf,
    helm: PathBuf,
    ringress: PathBuf,
}

impl Programs {
    /// Puts them where `exec` looks first.
    fn link(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let links = [
            ("kubectl", &self.kubernetes),
            ("helm", &self.helm),
            ("ringress", &self.ringress),
            // kubectl finds plugins by this name.
            ("kubectl-ringress", &self.ringress),
        ];
        for (name, target) in links {
            let link = cluster.commands().join(name);
            symlink(target, &link).with_context(|| format!("cannot make {}", link.display()))?;
        }
        Ok(())
    }
}

/// Says everything at once that keeps this machine from holding a box.
fn check_machine(kubernetes: &GoProgram) -> anyhow::Result<()> {
    let missing = missing(kubernetes, &COMMANDS);
    if !missing.is_empty() {
        bail!("this machine cannot hold a box: {}", missing.join("; "));
    }
    Ok(())
}

/// What keeps this machine from running the tests.
pub fn missing_for_tests(kubernetes: &GoProgram) -> Vec<String> {
    missing(kubernetes, &[&COMMANDS[..], &COMMANDS_OF_TESTS].concat())
}

/// What keeps this machine from holding a box.
fn missing(kubernetes: &GoProgram, commands: &[(&str, &str)]) -> Vec<String> {
    let mut missing = Vec::new();
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .collect();
    let found = |command: &str| folders.iter().any(|folder| folder.join(command).is_file());
    for (command, package) in commands {
        if !found(command) {
            missing.push(format!("no command {command} (apt-get install {package})"));
        }
    }
    match rustix::process::geteuid().is_root() {
        false => missing.push("it needs root".to_owned()),
        true if found("unshare") && found("ip") => missing.extend(no_namespaces()),
        true => {}
    }
    let built = kubernetes.is_kept() && binaries::HELM.is_kept();
    match (built, found("go")) {
        (true, _) => {}
        (false, true) => missing.extend(unfit_go(kubernetes)),
        (false, false) => missing.push(format!("no command go ({GO_NEEDED})")),
    }
    missing
}

/// Why no namespaces can be made, or not be used: root of a container seldom may.
fn no_namespaces() -> Option<String> {
    let why = refused_inside(&["true"]).map(|why| ("no namespaces can be made", "CAP_SYS_ADMIN", why));
    let (what, needs, why) = why.or_else(|| {
        let why = refused_inside(&["ip", "link", "set", "lo", "up"])?;
        Some(("no network can be set up", "CAP_NET_ADMIN", why))
    })?;
    Some(format!("{what} (it needs {needs}, as in a privileged container): {why}"))
}

/// Why a command does not succeed in namespaces like those of a box.
fn refused_inside(command: &[&str]) -> Option<String> {
    let made = Command::new("unshare")
        .args(["--net", "--pid", "--mount", "--fork"])
        .args(command)
        .env("PATH", with_sbin().ok()?)
        .output();
    match made {
        Ok(made) if made.status.success() => None,
        Ok(made) => Some(String::from_utf8_lossy(&made.stderr).trim().to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// Why the installed Go does not build the programs. One that knows how fetches the version that a module asks for.
fn unfit_go(program: &GoProgram) -> Option<String> {
    let asked = Command::new("go").args(["env", "GOVERSION"]).current_dir(program.source()).output();
    match asked {
        Ok(asked) if asked.status.success() => old_go(String::from_utf8_lossy(&asked.stdout).trim()),
        Ok(asked) => Some(format!("{} ({GO_NEEDED})", String::from_utf8_lossy(&asked.stderr).trim())),
        Err(error) => Some(format!("go does not start: {error} ({GO_NEEDED})")),
    }
}

/// What to say of a Go that does not build the programs of a box. A version that cannot be read may well do.
fn old_go(version: &str) -> Option<String> {
    let mut numbers = version.strip_prefix("go")?.split(|letter: char| !letter.is_ascii_digit());
    let mut number = || numbers.next()?.parse::<u32>().ok();
    let is_old = (number()?, number()?) < GO_OLDEST;
    is_old.then(|| format!("{version} is too old ({GO_NEEDED})"))
}

/// As `go.mod` of the programs says.
const GO_OLDEST: (u32, u32) = (1, 26);

const GO_NEEDED: &str = "Go 1.26 or newer";

fn start(cluster: &Cluster) -> anyhow::Result<()> {
    let mut progress = Progress::begin(&format!("starting box {}", cluster.name()));
    let mut holder = spawn_holder(cluster)?;
    let held = cluster.held_by(holder.id());
    if let Err(error) = held.and_then(|()| await_ready(&mut holder, &mut progress)) {
        let log = cluster.logs().join("supervise.log");
        let _ = cluster.end();
        return Err(error.context(format!("the box did not come up; see {}", log.display())));
    }
    progress.done();
    Ok(())
}

/// The process that makes the namespaces and waits for the first process inside; it outlives us and our terminal.
fn spawn_holder(cluster: &Cluster) -> anyhow::Result<Child> {
    let log = File::create(cluster.logs().join("supervise.log"))?;
    // The program may be built anew while the box lives, but the box goes on with what it was started with.
    let program = cluster.folder().join("ringress-e2e");
    let own = std::env::current_exe().context("the path of this program")?;
    fs::hard_link(&own, &program).or_else(|_| fs::copy(&own, &program).map(|_| ()))?;
    Command::new("setsid")
        .args([
            "unshare",
            "--net",
            "--pid",
            "--mount",
            "--uts",
            "--ipc",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .arg(&program)
        .arg("init")
        .arg(&program)
        .arg("supervise")
        .arg(cluster.folder())
        .current_dir(Path::new("/"))
        .env("PATH", with_sbin()?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("cannot start setsid (package util-linux)")
}

fn with_sbin() -> anyhow::Result<std::ffi::OsString> {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::env::split_paths(&inherited).chain(["/usr/sbin".into(), "/sbin".into()]))?)
}

/// The word by which the supervisor says that the box is ready.
pub(crate) const READY: &str = "ready";

fn await_ready(holder: &mut Child, progress: &mut Progress) -> anyhow::Result<()> {
    let stdout = holder.stdout.take().context("the output of the box")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if line == READY {
            return Ok(());
        }
        progress.at(&line);
    }
    bail!("it ended: {}", holder.wait()?);
}

/// What is there now, and what to type next: lines that work as they are printed.
fn told(cluster: &Cluster, plan: &Plan, installed: Option<&Installed>) -> String {
    let Plan { version, nodes, .. } = plan;
    let mut told = format!("\nKubernetes {version} with {nodes} nodes is up in box {}.\n", cluster.name());
    if let Some(Installed { address, replicas }) = installed {
        told += &format!(
            "ringress is installed from deploy/helm/ringress: {replicas}. deploy/examples/beginner answers at {address}.\n"
        );
    }
    told.push('\n');
    for line in next_steps(cluster, installed) {
        told += &format!("  {line}\n");
    }
    told
}

fn next_steps(cluster: &Cluster, installed: Option<&Installed>) -> Vec<String> {
    let own = own_name();
    let name = if cluster.name() == "box" { String::new() } else { format!(" --name {}", cluster.name()) };
    let commands = match installed {
        Some(Installed { address, .. }) => vec![
            format!("curl -H 'Host: web.local' http://{address}/"),
            format!("curl -H 'Host: web.local' http://{address}/api"),
            "kubectl get ingress".to_owned(),
            "kubectl describe ingress beginner".to_owned(),
            "kubectl ringress explain http://web.local/api".to_owned(),
            "bash".to_owned(),
        ],
        None => vec!["kubectl get nodes,pods -A".to_owned(), "bash".to_owned()],
    };
    let inside = commands.into_iter().map(|command| format!("{own} exec{name} {command}"));
    inside.chain([format!("{own} down{name}")]).collect()
}

/// How this program can be called again, as short as it works from here.
fn own_name() -> String {
    let Ok(program) = std::env::current_exe() else { return "ringress-e2e".to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = |folder: PathBuf| folder.join(program.file_name()?).canonicalize().ok();
    let in_path = std::env::split_paths(&path).find_map(found);
    called_again(&program, &here, in_path.as_deref())
}

/// A bare name works only where PATH has this very program under it, and a file of the current folder needs its `./`.
fn called_again(program: &Path, here: &Path, in_path: Option<&Path>) -> String {
    match (program.file_name(), program.strip_prefix(here)) {
        (Some(name), _) if in_path == Some(program) => name.to_string_lossy().into_owned(),
        (_, Ok(below)) if below.components().count() == 1 => format!("./{}", below.display()),
        (_, Ok(below)) => below.display().to_string(),
        (_, Err(_)) => program.display().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_go_is_named() {
        for (version, is_old) in [
            ("go1.19.8", true),
            ("go1.25", true),
            ("go1.25rc1", true),
            ("go1.26rc1", false),
            ("go1.26.0", false),
            ("go1.30", false),
            ("go2.0", false),
            ("devel +abc", false),
            ("", false),
        ] {
            assert_eq!(old_go(version).is_some(), is_old, "{version}");
        }
        assert_eq!(old_go("go1.19").unwrap(), "go1.19 is too old (Go 1.26 or newer)");
        for module in ["kubernetes/go.mod", "helm/go.mod"] {
            let module = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(module)).unwrap();
            let (major, minor) = GO_OLDEST;
            assert!(module.lines().any(|line| line.starts_with(&format!("go {major}.{minor}."))), "{module}");
        }
    }

    #[test]
    fn the_program_is_called_so_that_a_shell_finds_it() {
        let program = Path::new("/a/b/ringress-e2e");
        for (here, in_path, expected) in [
            ("/a/b", None, "./ringress-e2e"),
            ("/a", None, "b/ringress-e2e"),
            ("/other", None, "/a/b/ringress-e2e"),
            ("/other", Some("/a/b/ringress-e2e"), "ringress-e2e"),
            ("/other", Some("/c/ringress-e2e"), "/a/b/ringress-e2e"),
        ] {
            assert_eq!(
                called_again(program, Path::new(here), in_path.map(Path::new)),
                expected,
                "from {here}"
            );
        }
    }
}
