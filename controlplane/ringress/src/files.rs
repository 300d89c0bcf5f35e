//! Files of manifests: those of a running process, read again by whoever wants to name a line in them, and single texts.

mod read;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use ringress_controller::source::read_text;
use ringress_translate::manifest::Folder;

pub(crate) use read::{Gathered, Names, read, stdin};

/// Texts by the name under which a person finds them again.
pub(crate) type Texts = BTreeMap<String, Arc<str>>;

/// Where the manifests of a running process come from. A generation knows no lines, so whoever wants to name one reads
/// again.
#[derive(Debug, Clone)]
pub(crate) enum Manifests {
    /// This folder.
    Folder(PathBuf),
    /// The program itself.
    Texts(Texts),
}

impl Manifests {
    /// What stands there now. What has become unreadable is left out: that only costs the lines.
    pub(crate) fn read(&self) -> Folder {
        let manifests = match self {
            Self::Texts(texts) => texts.clone().into(),
            Self::Folder(path) => read(std::slice::from_ref(path), Names::InFolder).unwrap_or_default(),
        };
        manifests.load().0
    }
}

/// The text of one file.
///
/// # Errors
/// It is no regular file, is too large, is not UTF-8, or cannot be read.
pub(crate) fn text(path: &Path) -> anyhow::Result<String> {
    let is_other = fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
    read_text(path).with_context(|| match is_other {
        true => format!("cannot read {}; write - to read a pipe on stdin", path.display()),
        false => format!("cannot read {}", path.display()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringress_shared::origin::ObjectRef;

    #[test]
    fn a_file_that_cannot_be_read_costs_its_own_lines_alone() {
        let dir = tempfile::tempdir().unwrap();
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n";
        fs::write(dir.path().join("web.yaml"), service).unwrap();
        fs::write(dir.path().join("broken.yaml"), b"\xff\xfe").unwrap();
        let folder = Manifests::Folder(dir.path().to_owned()).read();
        let place = folder.place(&ObjectRef::new("Service", "default", "web"), "metadata").unwrap();
        assert_eq!(place.to_string(), "web.yaml:3", "named as in the folder");
        fs::remove_dir_all(dir.path()).unwrap();
        let folder = Manifests::Folder(dir.path().to_owned()).read();
        assert_eq!(folder.place(&ObjectRef::new("Service", "default", "web"), ""), None);
    }

    #[test]
    fn a_pipe_is_refused_with_the_next_step() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe.yaml");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = format!("{:#}", text(&pipe).unwrap_err());
        assert!(error.contains("pipe.yaml; write -") && error.contains("no regular file"), "{error}");
    }
}
