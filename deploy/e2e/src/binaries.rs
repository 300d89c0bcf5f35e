//! The programs of a box that are built from source, and where they are kept.
//!
//! What comes from Go modules is kept by a hash of the module's files, so that it is built once per version and machine.
//! ringress itself is built by cargo, which knows best what has changed.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use crate::progress::Progress;

/// A program built from a Go module of ours.
#[derive(Debug, Clone, Copy)]
pub struct GoProgram {
    /// What it is called.
    pub name: &'static str,
    /// Folder of the module, under `deploy/e2e`.
    module: &'static str,
    /// The file that says which versions, where it is not go.mod.
    versions: Option<&'static str>,
    /// The package to build.
    package: &'static str,
    /// What it answers when asked for its version.
    pub version: &'static str,
    /// Where the linker puts that.
    version_symbols: &'static str,
}

const KUBERNETES_SYMBOLS: &str = "k8s.io/component-base/version";

/// The control planes there are, by minor version; the first is the usual one.
pub const KUBERNETES: [(&str, GoProgram); 2] = [
    (
        "1.36",
        GoProgram {
            name: "kubernetes",
            module: "kubernetes",
            versions: None,
            package: ".",
            version: "v1.36.3",
            version_symbols: KUBERNETES_SYMBOLS,
        },
    ),
    (
        "1.31",
        GoProgram {
            name: "kubernetes-1.31",
            module: "kubernetes",
            versions: Some("1.31.mod"),
            package: ".",
            version: "v1.31.0",
            version_symbols: KUBERNETES_SYMBOLS,
        },
    ),
];

/// helm.
pub const HELM: GoProgram = GoProgram {
    name: "helm",
    module: "helm",
    versions: None,
    package: "helm.sh/helm/v4/cmd/helm",
    version: "v4.3.1",
    version_symbols: "helm.sh/helm/v4/internal/version",
};

/// The control plane of this minor version.
///
/// # Errors
/// There is none.
pub fn kubernetes(minor: &str) -> anyhow::Result<GoProgram> {
    let known = KUBERNETES.iter().find(|(known, _)| *known == minor);
    let names: Vec<_> = KUBERNETES.iter().map(|(name, _)| *name).collect();
    known
        .map(|(_, program)| *program)
        .with_context(|| format!("--kubernetes {minor} is not known; there are: {}", names.join(", ")))
}

impl GoProgram {
    /// The file, built now where it is not kept already.
    ///
    /// # Errors
    /// Go is missing or too old, or modules cannot be fetched.
    pub fn ensure(&self) -> anyhow::Result<PathBuf> {
        let file = self.file()?;
        if file.exists() {
            return Ok(file);
        }
        let folder = file.parent().context("a folder of built programs")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // Two boxes that come up at once build once.
        let lock = File::create(folder.join("lock"))?;
        lock.lock().context("cannot lock the folder of built programs")?;
        if !file.exists() {
            let unfinished = folder.join("unfinished");
            self.build(&unfinished)?;
            fs::rename(&unfinished, &file)?;
        }
        Ok(file)
    }

    /// Whether it was built before.
    pub fn is_kept(&self) -> bool {
        self.file().is_ok_and(|file| file.exists())
    }

    fn file(&self) -> anyhow::Result<PathBuf> {
        Ok(cache_folder()?.join(self.name).join(self.hash()?).join(self.name))
    }

    fn build(&self, into: &Path) -> anyhow::Result<()> {
        let all = self.packages()?;
        let mut progress = Progress::begin(&format!("building {} {} (once)", self.name, self.version));
        let mut build = self.go("build");
        build.args(["-v", "-trimpath", "-p", "2", "-ldflags", &self.linker_flags()]);
        let mut child = build
            .arg("-o")
            .arg(into)
            .arg(self.package)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start go; install Go 1.26 or newer")?;
        let mut last = Vec::new();
        let stderr = child.stderr.take().context("the output of go")?;
        for (done, line) in BufReader::new(stderr).lines().map_while(Result::ok).enumerate() {
            progress.at(&format!("package {done} of {all}: {line}"));
            last.push(line);
            last.drain(..last.len().saturating_sub(12));
        }
        if !child.wait()?.success() {
            bail!("go could not build {}:\n{}", self.name, last.join("\n"));
        }
        progress.done();
        Ok(())
    }

    /// How many packages it consists of. Asking also fetches the modules, so that building shows packages only.
    fn packages(&self) -> anyhow::Result<usize> {
        let progress = Progress::begin(&format!("fetching the modules of {} {}", self.name, self.version));
        let output = self
            .go("list")
            .args(["-deps", "-f", "{{.ImportPath}}", self.package])
            .stderr(Stdio::piped())
            .output()
            .context("cannot start go; install Go 1.26 or newer")?;
        if !output.status.success() {
            bail!(
                "go cannot list the packages of {}:\n{}",
                self.name,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        progress.done();
        Ok(output.stdout.iter().filter(|byte| **byte == b'\n').count())
    }

    fn go(&self, verb: &str) -> Command {
        let mut go = Command::new("nice");
        go.args(["-n", "10", "go", verb]).current_dir(self.source());
        go.env("CGO_ENABLED", "0");
        if let Some(versions) = self.versions {
            go.arg(format!("-modfile={versions}"));
        }
        go
    }

    fn linker_flags(&self) -> String {
        let Self { version, version_symbols: symbols, .. } = self;
        let numbers: Vec<_> = version.trim_start_matches('v').split('.').collect();
        // Symbols that a program lacks are ignored by the linker.
        format!(
            "-s -w -X {symbols}.gitVersion={version} -X {symbols}.gitMajor={} -X {symbols}.gitMinor={} -X {symbols}.version={version}",
            numbers[0], numbers[1],
        )
    }

    /// The folder of its module.
    pub(crate) fn source(&self) -> PathBuf {
        crate_folder().join(self.module)
    }

    fn hash(&self) -> anyhow::Result<String> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.source())
            .with_context(|| format!("cannot read {}", self.source().display()))?
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| self.consists_of(path))
            .collect();
        files.sort();
        let mut hash = Sha256::new();
        hash.update(self.linker_flags());
        for file in files {
            let mut content = Vec::new();
            File::open(&file)?.read_to_end(&mut content)?;
            hash.update(file.file_name().unwrap_or_default().as_encoded_bytes());
            hash.update((content.len() as u64).to_be_bytes());
            hash.update(&content);
        }
        Ok(hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Its sources, and the versions that it is built from: those of another Kubernetes change nothing.
    fn consists_of(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let versions = self.versions.unwrap_or("go.mod");
        name.ends_with(".go") || name == versions || name == versions.replace(".mod", ".sum")
    }
}

/// The ringress binary, built by cargo with the profile that this program was built with.
///
/// # Errors
/// cargo is missing, or the code does not build.
pub fn ringress() -> anyhow::Result<PathBuf> {
    let progress = Progress::begin("building ringress");
    let workspace = crate_folder().join("../..");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // cargo shows its own progress, which knows more than we do; its messages name the file.
    cargo.args(["build", "-p", "ringress", "--bin", "ringress", "--message-format=json-render-diagnostics"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo
        .current_dir(&workspace)
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start cargo; name a binary with --ringress")?;
    if !output.status.success() {
        bail!("cargo could not build ringress; name a binary with --ringress");
    }
    let file =
        executable(&String::from_utf8_lossy(&output.stdout)).context("cargo named no ringress binary")?;
    progress.done();
    Ok(file)
}

/// The last executable that cargo's messages name.
fn executable(messages: &str) -> Option<PathBuf> {
    messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    })
}

/// The folder `deploy` of the source tree: the chart, the examples, the seccomp profile.
pub(crate) fn deploy_folder() -> PathBuf {
    // Without `..`, for a person sees these paths.
    let crate_folder = crate_folder();
    crate_folder.parent().map(Path::to_owned).unwrap_or(crate_folder)
}

fn crate_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn cache_folder() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME is set: no place for built programs")?.join("ringress"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_one_kubernetes_ignores_the_versions_of_another() {
        let (new, old) = (KUBERNETES[0].1, KUBERNETES[1].1);
        let consists = |program: GoProgram, name: &str| program.consists_of(Path::new(name));
        assert!(consists(new, "go.mod") && consists(new, "go.sum") && consists(new, "main.go"));
        assert!(!consists(new, "1.31.mod") && !consists(new, "1.31.sum"));
        assert!(consists(old, "1.31.mod") && consists(old, "1.31.sum") && consists(old, "main.go"));
        assert!(!consists(old, "go.mod"));
    }

    #[test]
    fn the_executable_is_read_from_the_messages_of_cargo() {
        let messages = "{\"reason\":\"a\",\"executable\":null}\nnoise\n{\"reason\":\"b\",\"executable\":\"/t/ringress\"}\n{}";
        assert_eq!(executable(messages), Some(PathBuf::from("/t/ringress")));
        assert_eq!(executable(""), None);
    }

    #[test]
    fn the_version_is_stamped() {
        let flags = KUBERNETES[0].1.linker_flags();
        assert!(
            flags.contains("version.gitVersion=v1.36.3 ") && flags.contains("version.gitMinor=36 "),
            "{flags}"
        );
    }
}
