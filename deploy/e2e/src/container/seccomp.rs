//! Seccomp profiles of containers: the one that common runtimes have as their default, as far as ringress notices it, and
//! those of a node, which are files in the format of these runtimes.
//!
//! A filter of the library knows one verdict beside its default. What a profile refuses in a way of its own (`clone3` is said
//! not to be implemented, so that the C library takes `clone`) is therefore allowed by the main filter and refused by a
//! second one: of two filters the stricter verdict holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::boxes::read_json;

/// Which calls a container may make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Seccomp {
    /// All.
    #[default]
    Unconfined,
    /// Not those of io_uring; the rest of the usual profile nobody here would notice.
    RuntimeDefault,
    /// Those of a profile in a file.
    Localhost(PathBuf),
}

/// Filters, to be put in force one by one.
pub(crate) struct Filters(Vec<BpfProgram>);

impl Filters {
    /// Those of a container.
    ///
    /// # Errors
    /// The profile cannot be read, or says what is not known here.
    pub(crate) fn of(seccomp: &Seccomp) -> anyhow::Result<Self> {
        let arch = std::env::consts::ARCH.try_into()?;
        match seccomp {
            Seccomp::Unconfined => Ok(Self(Vec::new())),
            Seccomp::RuntimeDefault => Ok(Self(vec![without_io_uring(arch)?])),
            Seccomp::Localhost(file) => {
                let profile: Profile = read_json(file)?;
                profile.filters(arch).map(Self).with_context(|| format!("profile {}", file.display()))
            }
        }
    }

    /// Puts them in force. This takes the way to new privileges along, and needs none itself.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn apply(&self) -> anyhow::Result<()> {
        self.0.iter().try_for_each(|filter| {
            seccompiler::apply_filter(filter).context("cannot put a seccomp filter in force")
        })
    }
}

/// The file of a profile of this name among those of the node.
///
/// # Errors
/// There is no name, it leads elsewhere, or there is no such profile.
pub(crate) fn of_node(folder: &Path, name: Option<&str>) -> anyhow::Result<PathBuf> {
    let name = name.context("seccompProfile.localhostProfile is missing")?;
    if !Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_))) {
        bail!("seccompProfile.localhostProfile {name:?} must be a path below the folder of profiles");
    }
    let file = folder.join(name);
    if !file.is_file() {
        bail!("no seccomp profile {name} on the node: put it into {}", folder.display());
    }
    Ok(file)
}

/// The calls end with EPERM, as where a profile does not name them.
fn without_io_uring(arch: TargetArch) -> anyhow::Result<BpfProgram> {
    // io_uring_setup, io_uring_enter, io_uring_register: the same numbers on every architecture.
    let calls = [425, 426, 427].map(|call| (call, Vec::new()));
    let refused = SeccompAction::Errno(Errno::PERM.raw_os_error().cast_unsigned());
    let filter = SeccompFilter::new(calls.into(), SeccompAction::Allow, refused, arch)?;
    Ok(filter.try_into()?)
}

/// A profile as runtimes read it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: Action,
    #[serde(default = "eperm")]
    default_errno_ret: u32,
    syscalls: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    names: Vec<String>,
    action: Action,
    #[serde(default)]
    args: Vec<Argument>,
    #[serde(default = "eperm")]
    errno_ret: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Action {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: Comparison,
}

#[derive(Debug, Deserialize)]
enum Comparison {
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

fn eperm() -> u32 {
    Errno::PERM.raw_os_error().cast_unsigned()
}

impl Profile {
    fn filters(&self, arch: TargetArch) -> anyhow::Result<Vec<BpfProgram>> {
        if self.default_action != Action::Errno {
            bail!("defaultAction must be SCMP_ACT_ERRNO: only lists of what is allowed are known here");
        }
        let mut allowed = Vec::new();
        let mut refused: BTreeMap<u32, Vec<Value>> = BTreeMap::new();
        for rule in &self.syscalls {
            // Calls of other architectures, and of newer kernels than the library's table.
            for name in rule.names.iter().filter(|name| is_known(name, arch)) {
                let call = rule.of_call(name);
                if rule.action == Action::Errno {
                    refused.entry(rule.errno_ret).or_default().push(call.clone());
                }
                allowed.push(call);
            }
        }
        let refused = refused
            .into_iter()
            .map(|(errno, calls)| compiled(&json!("allow"), &json!({"errno": errno}), &calls, arch));
        let main = compiled(&json!({"errno": self.default_errno_ret}), &json!("allow"), &allowed, arch);
        refused.chain([main]).collect()
    }
}

impl Rule {
    /// As the library's own format has it.
    fn of_call(&self, name: &str) -> Value {
        let mut call = json!({"syscall": name});
        if !self.args.is_empty() {
            call["args"] = self.args.iter().map(Argument::condition).collect();
        }
        call
    }
}

impl Argument {
    fn condition(&self) -> Value {
        match self.op {
            Comparison::Equal => {
                json!({"index": self.index, "type": "qword", "op": "eq", "val": self.value})
            }
            Comparison::MaskedEqual => {
                let mask = json!({"masked_eq": self.value});
                json!({"index": self.index, "type": "qword", "op": mask, "val": self.value_two})
            }
        }
    }
}

fn compiled(
    otherwise: &Value,
    verdict: &Value,
    calls: &[Value],
    arch: TargetArch,
) -> anyhow::Result<BpfProgram> {
    let filter =
        json!({"only": {"mismatch_action": otherwise, "match_action": verdict, "filter": calls}}).to_string();
    let mut filters = seccompiler::compile_from_json(filter.as_bytes(), arch)?;
    filters.remove("only").context("the compiled filter")
}

/// Whether the library's table has this call; it can only be asked by compiling.
fn is_known(name: &str, arch: TargetArch) -> bool {
    let call = json!({"syscall": name});
    compiled(&json!("trap"), &json!("allow"), &[call], arch).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(profile: &str) -> anyhow::Result<usize> {
        let profile: Profile = serde_json::from_str(profile)?;
        Ok(profile.filters(std::env::consts::ARCH.try_into()?)?.len())
    }

    #[test]
    fn what_is_refused_in_its_own_way_gets_a_filter_of_its_own() {
        let allow = r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW"}"#;
        let clone3 = r#"{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}"#;
        let profile =
            |rules: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{rules}]}}"#);
        assert_eq!(filters(&profile(allow)).unwrap(), 1);
        assert_eq!(filters(&profile(&format!("{allow},{clone3}"))).unwrap(), 2);
        let unknown = r#"{"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW"}"#;
        assert_eq!(filters(&profile(unknown)).unwrap(), 1, "calls of other architectures are passed over");
    }

    #[test]
    fn what_is_not_known_here_is_refused_and_not_ignored() {
        for wrong in [
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}"#,
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG"}]}"#,
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_GT"}]}]}"#,
        ] {
            assert!(filters(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_profile_is_found_below_the_folder_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.json"), "{}").unwrap();
        assert_eq!(of_node(folder.path(), Some("a.json")).unwrap(), folder.path().join("a.json"));
        for name in [None, Some("b.json"), Some("../a.json"), Some("/a.json")] {
            assert!(of_node(folder.path(), name).is_err(), "{name:?}");
        }
    }
}
