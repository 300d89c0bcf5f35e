//! Gathered from files, folders and stdin, as far as they can be read: a file that cannot is a finding like any other,
//! and the others are read.
//!
//! Only what names nothing at all (a path that does not exist, a folder without a manifest) ends the verb.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ringress_controller::source::read_text;
use ringress_shared::origin::ObjectRef;
use ringress_translate::manifest::{Folder, Loaded};
use ringress_translate::{Place, Problem};

use super::Texts;

/// What was read, and what could not be.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    texts: Texts,
    unreadable: Vec<Problem>,
}

impl Gathered {
    /// The objects, with everything that kept others from being read.
    pub(crate) fn load(self) -> (Folder, Loaded) {
        let mut folder = Folder::new();
        let mut loaded = folder.update(self.texts);
        loaded.problems.extend(self.unreadable);
        (folder, loaded)
    }
}

impl From<Texts> for Gathered {
    fn from(texts: Texts) -> Self {
        Self { texts, unreadable: Vec::new() }
    }
}

/// What files are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// As they can be opened from here.
    Openable,
    /// As in their folder, where only one is named: what a process that serves it calls them.
    InFolder,
}

/// Reads what the paths name: `-` is stdin, a folder is read with its subfolders, hidden names aside.
///
/// # Errors
/// A path that does not exist or is a pipe or a device, a folder that cannot be listed or has no manifest, and stdin
/// where it cannot be read.
pub(crate) fn read(paths: &[PathBuf], names: Names) -> anyhow::Result<Gathered> {
    let mut all = Gathered::default();
    for path in paths {
        if path.as_os_str() == "-" {
            all.texts.insert("stdin".to_owned(), stdin()?.into());
            continue;
        }
        let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        if metadata.is_dir() {
            let is_known = names == Names::InFolder && paths.len() == 1;
            let base = if is_known { path } else { Path::new("") };
            named_folder(path, Reader { base, all: &mut all })?;
        } else if metadata.is_file() {
            Reader { base: Path::new(""), all: &mut all }.file(path);
        } else {
            bail!("{} is no regular file; write - to read a pipe on stdin", path.display());
        }
    }
    Ok(all)
}

/// All of stdin.
///
/// # Errors
/// It holds more than 16 MiB, is not UTF-8, or cannot be read.
pub(crate) fn stdin() -> anyhow::Result<String> {
    capped(io::stdin().lock()).map_err(|error| anyhow::anyhow!("cannot read stdin: {}", advice(&error)))
}

fn capped(input: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    input.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        let why = format!("it holds more than {BYTES_MAX} bytes (16 MiB), which is as much as is read");
        return Err(io::Error::new(ErrorKind::FileTooLarge, why));
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

/// As much as is read of a file, too.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

fn named_folder(path: &Path, mut reader: Reader<'_>) -> anyhow::Result<()> {
    let before = reader.count();
    reader.folder(path, 0).with_context(|| format!("cannot read the folder {}", path.display()))?;
    if reader.count() == before {
        bail!("{} has no .yaml, .yml or .json file", path.display());
    }
    Ok(())
}

struct Reader<'r> {
    /// What the names leave out.
    base: &'r Path,
    all: &'r mut Gathered,
}

impl Reader<'_> {
    fn count(&self) -> usize {
        self.all.texts.len() + self.all.unreadable.len()
    }

    fn folder(&mut self, path: &Path, depth: usize) -> io::Result<()> {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                self.entry(&entry.path(), depth);
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, depth: usize) {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.subfolder(path, depth + 1),
            // Pipes and devices are left alone, as a running process does it.
            Ok(metadata) if metadata.is_file() && is_manifest(path) => self.file(path),
            Ok(_) => {}
            Err(error) if is_manifest(path) && !is_gone(path, &error) => self.unreadable(path, &error),
            Err(_) => {}
        }
    }

    fn subfolder(&mut self, path: &Path, depth: usize) {
        let before = self.all.texts.len();
        if depth <= DEPTH_MAX
            && let Err(error) = self.folder(path, depth)
        {
            self.unreadable(path, &error);
        }
        if is_manifest(path) {
            // What a container runtime makes of a mount whose file is missing.
            let holds_manifests = self.all.texts.len() > before;
            self.report(path, |file| Problem::folder_instead_of_file(file, holds_manifests));
        }
    }

    fn file(&mut self, path: &Path) {
        match read_text(path) {
            Ok(text) => drop(self.all.texts.insert(self.name(path), text.into())),
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.report(path, |file| Problem::undecodable(file, "", &advice(error)));
    }

    fn report(&mut self, path: &Path, problem: impl FnOnce(&ObjectRef) -> Problem) {
        let file = self.name(path);
        let problem = problem(&ObjectRef::new("File", "", &file));
        self.all.unreadable.push(problem.with_place(Place { file, line: 1 }));
    }

    fn name(&self, path: &Path) -> String {
        path.strip_prefix(self.base).unwrap_or(path).display().to_string()
    }
}

fn advice(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::InvalidData => "it is not UTF-8; save it as UTF-8 (some shells write UTF-16)".to_owned(),
        _ => error.to_string(),
    }
}

/// Whether a file was deleted since its folder was listed. A link to nothing is still there.
fn is_gone(path: &Path, error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound && !path.is_symlink()
}

fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

/// Folders inside each other that are followed; links in a circle end here.
const DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_cannot_be_read_is_a_problem_of_that_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("sub/.git")).unwrap();
        for name in ["a.yaml", "sub/b.json", "c.txt", ".d.yaml", "sub/.git/e.yml"] {
            fs::write(at(name), "").unwrap();
        }
        fs::write(at("latin.yaml"), b"# caf\xe9\n").unwrap();
        fs::File::create(at("large.yaml")).unwrap().set_len(BYTES_MAX + 1).unwrap();
        symlink("nowhere", at("link.yaml")).unwrap();
        fs::create_dir(at("empty.yaml")).unwrap();
        fs::create_dir(at("full.yaml")).unwrap();
        fs::write(at("full.yaml/in.yaml"), "").unwrap();
        assert!(std::process::Command::new("mkfifo").arg(at("pipe.yaml")).status().unwrap().success());

        let all = read(&[dir.path().to_owned()], Names::InFolder).unwrap();
        assert_eq!(all.texts.keys().collect::<Vec<_>>(), ["a.yaml", "full.yaml/in.yaml", "sub/b.json"]);
        let mut said: Vec<_> = all
            .unreadable
            .iter()
            .map(|problem| (&*problem.object.name, problem.level.as_str(), problem.message.as_str()))
            .collect();
        said.sort_unstable();
        for ((name, level, message), (expected, expected_level, part)) in said.iter().zip([
            ("empty.yaml", "error", "is a folder"),
            ("full.yaml", "warning", "is a folder"),
            ("large.yaml", "error", "16 MiB"),
            ("latin.yaml", "error", "UTF-8"),
            ("link.yaml", "error", "No such file"),
        ]) {
            assert_eq!((*name, *level), (expected, expected_level));
            assert!(message.contains(part), "{name}: {message}");
        }
        assert_eq!(said.len(), 5, "{said:?}");

        // Beside others, and by itself, a file has the name by which it was reached.
        let named = at("latin.yaml");
        let all = read(&[named.clone(), at("sub")], Names::InFolder).unwrap();
        assert_eq!(all.texts.keys().collect::<Vec<_>>(), [&at("sub/b.json").display().to_string()]);
        assert_eq!(*all.unreadable[0].object.name, *named.display().to_string());
    }

    #[test]
    fn a_path_that_names_nothing_to_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe.yaml");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for (path, part) in [
            (dir.path().join("nowhere.yaml"), "nowhere.yaml"),
            (pipe, "pipe.yaml is no regular file; write -"),
            (dir.path().to_owned(), "has no .yaml"),
        ] {
            let error = format!("{:#}", read(std::slice::from_ref(&path), Names::Openable).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn input_is_capped() {
        assert_eq!(capped(io::repeat(b'#').take(BYTES_MAX)).unwrap().len() as u64, BYTES_MAX);
        let error = capped(io::repeat(b'#')).unwrap_err();
        assert!(error.to_string().contains("16 MiB"), "{error}");
        assert!(advice(&capped(&b"\xff\xfea"[..]).unwrap_err()).contains("UTF-8"));
    }
}
