//! Manifests from files, folders and stdin, for the verbs that only answer. Read once, nothing is watched.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use ringress_controller::source::read_text;
use ringress_translate::manifest::Folder;

/// Texts by the name under which a person finds them again.
pub(crate) type Texts = BTreeMap<String, Arc<str>>;

/// Reads what the paths name: `-` is stdin, a folder is read with its subfolders, hidden names aside.
///
/// # Errors
/// A path that cannot be read, or a folder without a manifest.
pub(crate) fn read(paths: &[PathBuf]) -> anyhow::Result<Texts> {
    let mut texts = Texts::new();
    for path in paths {
        if path.as_os_str() == "-" {
            texts.insert("stdin".to_owned(), stdin()?.into());
        } else if path.is_dir() {
            let before = texts.len();
            read_folder(path, &mut texts, 0)?;
            if texts.len() == before {
                bail!("{} has no .yaml, .yml or .json file", path.display());
            }
        } else {
            read_file(path, &mut texts)?;
        }
    }
    Ok(texts)
}

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
    /// What stands there now. A folder that has become unreadable is empty: that only costs the lines.
    pub(crate) fn read(&self) -> Folder {
        let texts = match self {
            Self::Texts(texts) => texts.clone(),
            Self::Folder(path) => read(std::slice::from_ref(path)).unwrap_or_default(),
        };
        let mut folder = Folder::new();
        folder.update(texts);
        folder
    }
}

/// All of stdin.
pub(crate) fn stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).context("cannot read stdin")?;
    Ok(text)
}

/// Folders inside each other that are followed; links in a circle end here.
const DEPTH_MAX: usize = 16;

fn read_folder(folder: &Path, texts: &mut Texts, depth: usize) -> anyhow::Result<()> {
    let cannot = || format!("cannot read the folder {}", folder.display());
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            if depth < DEPTH_MAX {
                read_folder(&path, texts, depth + 1)?;
            }
        } else if is_manifest(&path) && !is_pipe_or_device(&path) {
            read_file(&path, texts)?;
        }
    }
    Ok(())
}

fn read_file(path: &Path, texts: &mut Texts) -> anyhow::Result<()> {
    texts.insert(path.display().to_string(), text(path)?.into());
    Ok(())
}

/// The text of one file.
///
/// # Errors
/// It is no regular file, is too large, is not UTF-8, or cannot be read.
pub(crate) fn text(path: &Path) -> anyhow::Result<String> {
    read_text(path).with_context(|| match is_pipe_or_device(path) {
        true => format!("cannot read {}; write - to read a pipe on stdin", path.display()),
        false => format!("cannot read {}", path.display()),
    })
}

/// What a running process leaves alone, too. A link to nothing is none of these: it is named as an error.
fn is_pipe_or_device(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_give_their_manifests_and_files_give_themselves() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("sub/.git")).unwrap();
        for name in ["a.yaml", "sub/b.json", "c.txt", ".d.yaml", "sub/.git/e.yml"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let names = |paths: &[PathBuf]| {
            let strip = |name: &String| name.replace(&format!("{}/", dir.path().display()), "");
            read(paths).unwrap().keys().map(strip).collect::<Vec<_>>()
        };
        assert_eq!(names(&[dir.path().to_owned()]), ["a.yaml", "sub/b.json"]);
        // A file that is named is read whatever its name.
        assert_eq!(names(&[dir.path().join("c.txt")]), ["c.txt"]);
    }

    #[test]
    fn a_pipe_is_left_out_of_a_folder_and_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let (file, pipe) = (dir.path().join("a.yaml"), dir.path().join("pipe.yaml"));
        fs::write(&file, "a").unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::os::unix::fs::symlink(&pipe, dir.path().join("link.yaml")).unwrap();
        let folder = read(&[dir.path().to_owned()]).unwrap();
        assert_eq!(folder.keys().collect::<Vec<_>>(), [&file.display().to_string()]);
        let error = format!("{:#}", read(&[pipe]).unwrap_err());
        assert!(error.contains("pipe.yaml; write -") && error.contains("no regular file"), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let nowhere = dir.path().join("nowhere.yaml");
        let error = format!("{:#}", read(std::slice::from_ref(&nowhere)).unwrap_err());
        assert!(error.contains("nowhere.yaml"), "{error}");
        assert!(read(&[dir.path().to_owned()]).is_err(), "an empty folder has nothing to say");
    }
}
