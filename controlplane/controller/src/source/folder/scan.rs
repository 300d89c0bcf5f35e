//! Reading a folder: the texts of its manifests, as they are now.
//!
//! A whole scan looks at every file; between two of them the files that a hint names are looked at alone, because a folder
//! of thousands costs milliseconds. A file whose stamp (device, inode, size, times) is
//! the one of the last scan is not read again, unless it was written so shortly before that the clock of the file
//! system could not tell two writes apart. A file that is gone counts as deleted after 50 ms only: editors rename the old
//! one away before they write the new one. Hidden names are left out, and with them the `..data` and `..2026_11_21…` of
//! mounted ConfigMaps; the links that lead through them are followed.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::source::text::read_text;

/// A folder and what was read in it last.
#[derive(Debug)]
pub(super) struct Scanner {
    root: PathBuf,
    files: BTreeMap<String, Known>,
}

/// The files of one scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// Text by name, relative to the folder. An unreadable file that was read before keeps that text.
    pub(super) texts: BTreeMap<String, Arc<str>>,
    /// Files and folders that could not be read, and why.
    pub(super) unreadable: BTreeMap<String, String>,
    /// Whether a file looks half-written, so that the folder must be looked at again shortly.
    pub(super) unsettled: bool,
    /// Files that are gone and kept for a moment: what they define may just have moved to another file.
    pub(super) leaving: BTreeSet<String>,
}

impl Scan {
    /// Whether this is a folder in which manifests were found, or which could not be read.
    pub(super) fn has_below(&self, folder: &str) -> bool {
        let below = format!("{folder}/");
        let first = self.texts.range(below.clone()..).next();
        first.is_some_and(|(name, _)| name.starts_with(&below)) || self.unreadable.contains_key(folder)
    }
}

#[derive(Debug)]
struct Known {
    /// `None` where the next scan must read it again.
    stamp: Option<Stamp>,
    text: Arc<str>,
    /// Since when it is gone.
    missing: Option<Instant>,
}

/// What changes whenever a file's content does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Scanner {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), files: BTreeMap::new() }
    }

    /// Reads what has changed. `held` are files that somebody is writing: they keep the text that they had.
    ///
    /// # Errors
    /// The folder itself cannot be read: nothing is known about its files, so nothing changes.
    pub(super) fn scan(&mut self, held: &HashSet<String>) -> io::Result<Scan> {
        let mut found = BTreeMap::new();
        let mut scan = Scan::default();
        let root = fs::metadata(&self.root)?;
        walk(&self.root, "", &mut vec![identity(&root)], &mut found, &mut scan.unreadable)?;
        let mut files = BTreeMap::new();
        for (name, path) in found {
            let before = self.files.remove(&name);
            if let Some(known) = read(&name, &path, before, held, &mut scan) {
                scan.texts.insert(name.clone(), Arc::clone(&known.text));
                files.insert(name, known);
            }
        }
        for (name, known) in std::mem::take(&mut self.files) {
            if let Some(known) = outlive(&name, known, &mut scan) {
                scan.texts.insert(name.clone(), Arc::clone(&known.text));
                files.insert(name, known);
            }
        }
        self.files = files;
        Ok(scan)
    }

    /// Looks at these files alone; what `before` says of the others stays.
    pub(super) fn scan_some(
        &mut self,
        names: &BTreeSet<String>,
        held: &HashSet<String>,
        before: &Scan,
    ) -> Scan {
        let mut scan = before.clone();
        for name in names {
            let path = self.root.join(name);
            let known = self.files.remove(name);
            scan.unreadable.remove(name);
            scan.leaving.remove(name);
            let known = match is_there(&path) {
                true => read(name, &path, known, held, &mut scan),
                false => known.and_then(|known| outlive(name, known, &mut scan)),
            };
            match known {
                Some(known) => {
                    scan.texts.insert(name.clone(), Arc::clone(&known.text));
                    self.files.insert(name.clone(), known);
                }
                None => drop(scan.texts.remove(name)),
            }
        }
        scan
    }
}

/// Whether a name stands for a manifest: pipes and devices do not, a link to nothing does.
fn is_there(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(metadata) => metadata.is_file(),
        Err(_) => fs::symlink_metadata(path).is_ok(),
    }
}

/// What stays of a file that is not there.
fn outlive(name: &str, mut known: Known, scan: &mut Scan) -> Option<Known> {
    let hidden = scan
        .unreadable
        .keys()
        .any(|folder| name.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/')));
    if hidden {
        return Some(known);
    }
    let since = *known.missing.get_or_insert_with(Instant::now);
    known.stamp = None;
    (since.elapsed() < RECENT).then(|| {
        scan.unsettled = true;
        scan.leaving.insert(name.to_owned());
        known
    })
}

type Identity = (u64, u64);

pub(super) fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// Collects the manifests under `folder`; `above` are the folders on the way, so that a link back up ends.
fn walk(
    folder: &Path,
    prefix: &str,
    above: &mut Vec<Identity>,
    found: &mut BTreeMap<String, PathBuf>,
    unreadable: &mut BTreeMap<String, String>,
) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().map(|name| format!("{prefix}{name}")) else { continue };
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => {
                let here = identity(&metadata);
                if above.contains(&here) || above.len() > DEPTH_MAX {
                    continue;
                }
                above.push(here);
                if let Err(error) = walk(&path, &format!("{name}/"), above, found, unreadable) {
                    unreadable.insert(name, error.to_string());
                }
                above.pop();
            }
            // Pipes and devices would block or never end.
            Ok(metadata) if metadata.is_file() && is_manifest(&path) => {
                found.insert(name, path);
            }
            Ok(_) => {}
            // Deleted since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !entry.path().is_symlink() => {}
            Err(_) if !is_manifest(&path) => {}
            // A link to nothing, or no permission: the file is named, so it is not deleted.
            Err(_) => {
                found.insert(name, path);
            }
        }
    }
    Ok(())
}

pub(super) fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}

/// What is known of a file now; `None` where nothing is.
fn read(
    name: &str,
    path: &Path,
    before: Option<Known>,
    held: &HashSet<String>,
    scan: &mut Scan,
) -> Option<Known> {
    if held.contains(name) {
        scan.unsettled = true;
        return before;
    }
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return unreadable(name, &error, before, scan),
    };
    let stamp = Stamp::of(&metadata);
    if before.as_ref().is_some_and(|known| known.stamp == Some(stamp)) {
        return before;
    }
    match read_text(path) {
        Ok(text) if just_emptied(&text, &metadata, before.as_ref()) => {
            scan.unsettled = true;
            before
        }
        Ok(text) => Some(Known {
            stamp: (!is_recent(&metadata)).then_some(stamp),
            text: keep(text, before),
            missing: None,
        }),
        Err(error) => unreadable(name, &error, before, scan),
    }
}

fn unreadable(name: &str, error: &dyn ToString, before: Option<Known>, scan: &mut Scan) -> Option<Known> {
    scan.unreadable.insert(name.to_owned(), error.to_string());
    before.map(|known| Known { stamp: None, ..known })
}

/// The same pointer for the same text, so that nobody parses it again.
fn keep(text: String, before: Option<Known>) -> Arc<str> {
    match before {
        Some(known) if *known.text == *text => known.text,
        _ => text.into(),
    }
}

/// Whether a file that had a text was truncated so shortly ago that its new text is probably still to come.
fn just_emptied(text: &str, metadata: &Metadata, before: Option<&Known>) -> bool {
    text.is_empty() && is_recent(metadata) && before.is_some_and(|known| !known.text.is_empty())
}

fn is_recent(metadata: &Metadata) -> bool {
    let Ok(modified) = metadata.modified() else { return true };
    // A time in the future (a clock was set) counts as recent: it only costs reading the file again.
    SystemTime::now().duration_since(modified).is_ok_and(|age| age < RECENT) || modified > SystemTime::now()
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Times of a file may stand still for a tick of the kernel (10 ms at 100 Hz) or longer on network file systems.
pub(super) const RECENT: Duration = Duration::from_millis(50);

/// Folders inside each other that are followed.
const DEPTH_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(scanner: &mut Scanner) -> Scan {
        scanner.scan(&HashSet::new()).unwrap()
    }

    fn names(scan: &Scan) -> Vec<&str> {
        scan.texts.keys().map(String::as_str).collect()
    }

    /// Makes a file look old, so that its stamp is trusted and an empty text believed.
    fn age(path: &Path) {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    }

    #[test]
    fn manifests_are_read_in_subfolders_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("sub/.git")).unwrap();
        for name in ["a.yaml", "b.yml", "sub/c.json", "d.txt", ".e.yaml", "sub/.git/f.yaml", "g.yaml~"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        assert_eq!(names(&scan(&mut Scanner::new(dir.path()))), ["a.yaml", "b.yml", "sub/c.json"]);
    }

    #[test]
    fn pipes_and_devices_are_left_alone_by_whole_and_partial_scans() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yaml"), "a").unwrap();
        let pipe = dir.path().join("pipe.yaml");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::os::unix::fs::symlink(&pipe, dir.path().join("link.yaml")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", dir.path().join("device.yaml")).unwrap();
        let hinted = ["pipe.yaml", "link.yaml", "device.yaml"].map(str::to_owned).into();
        // On a thread of its own: an open pipe would hold the test for ever.
        let (done, both) = std::sync::mpsc::channel();
        let root = dir.path().to_owned();
        std::thread::spawn(move || {
            let mut scanner = Scanner::new(&root);
            let whole = scan(&mut scanner);
            let some = scanner.scan_some(&hinted, &HashSet::new(), &whole);
            done.send((whole, some)).unwrap();
        });
        let (whole, some) = both.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(names(&whole), ["a.yaml"]);
        assert!(whole.unreadable.is_empty(), "{whole:?}");
        assert_eq!(some, whole);
    }

    #[test]
    fn a_file_that_is_too_large_is_named_and_keeps_the_text_it_had() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::write(&path, "a").unwrap();
        let mut scanner = Scanner::new(dir.path());
        scan(&mut scanner);
        fs::File::options().write(true).open(&path).unwrap().set_len(17 * 1024 * 1024).unwrap();
        let second = scan(&mut scanner);
        assert_eq!(&*second.texts["a.yaml"], "a");
        assert!(second.unreadable["a.yaml"].contains("16 MiB"), "{:?}", second.unreadable);
    }

    #[test]
    fn a_link_to_the_folder_above_ends() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yaml"), "a").unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        assert_eq!(names(&scan(&mut Scanner::new(dir.path()))), ["a.yaml"]);
    }

    #[test]
    fn an_unchanged_text_keeps_its_pointer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::write(&path, "a").unwrap();
        let mut scanner = Scanner::new(dir.path());
        let first = scan(&mut scanner);
        fs::write(&path, "a").unwrap();
        let second = scan(&mut scanner);
        assert!(Arc::ptr_eq(&first.texts["a.yaml"], &second.texts["a.yaml"]));
        fs::write(&path, "b").unwrap();
        assert_eq!(&*scan(&mut scanner).texts["a.yaml"], "b", "same size, same moment");
    }

    #[test]
    fn an_unreadable_file_keeps_the_text_it_had() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::write(&path, "a").unwrap();
        let mut scanner = Scanner::new(dir.path());
        scan(&mut scanner);
        fs::write(&path, b"\xff\xfe").unwrap();
        let second = scan(&mut scanner);
        assert_eq!(&*second.texts["a.yaml"], "a");
        assert!(second.unreadable["a.yaml"].contains("UTF-8"), "{second:?}");
    }

    #[test]
    fn a_link_to_nothing_is_unreadable_and_not_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("a.yaml"));
        fs::write(&target, "a").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let mut scanner = Scanner::new(dir.path());
        assert_eq!(&*scan(&mut scanner).texts["a.yaml"], "a");
        fs::remove_file(&target).unwrap();
        let second = scan(&mut scanner);
        assert_eq!(&*second.texts["a.yaml"], "a");
        assert!(second.unreadable.contains_key("a.yaml"));
    }

    #[test]
    fn a_scan_of_some_files_gives_what_a_whole_scan_gives() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        for name in ["a.yaml", "b.yaml", "c.yaml"] {
            write(name, name);
        }
        let mut scanner = Scanner::new(dir.path());
        let before = scan(&mut scanner);
        write("a.yaml", "changed");
        write("b.yaml", "not looked at");
        fs::write(dir.path().join("c.yaml"), b"\xff").unwrap();
        write("d.yaml", "new");
        let names = ["a.yaml", "c.yaml", "d.yaml", "never.yaml"].map(str::to_owned).into();
        let some = scanner.scan_some(&names, &HashSet::new(), &before);
        assert_eq!((&*some.texts["b.yaml"], &*some.texts["c.yaml"]), ("b.yaml", "c.yaml"));
        assert!(some.unreadable.contains_key("c.yaml"));
        write("b.yaml", "b.yaml");
        assert_eq!(some, scan(&mut scanner));
    }

    #[test]
    fn a_file_just_emptied_is_waited_for_and_then_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::write(&path, "a").unwrap();
        let mut scanner = Scanner::new(dir.path());
        scan(&mut scanner);
        fs::write(&path, "").unwrap();
        let second = scan(&mut scanner);
        assert!(second.unsettled);
        assert_eq!(&*second.texts["a.yaml"], "a");
        age(&path);
        assert_eq!(&*scan(&mut scanner).texts["a.yaml"], "");
    }

    #[test]
    fn a_file_that_is_gone_counts_as_deleted_when_it_stays_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::write(&path, "a").unwrap();
        let mut scanner = Scanner::new(dir.path());
        scan(&mut scanner);
        fs::remove_file(&path).unwrap();
        let second = scan(&mut scanner);
        assert_eq!((names(&second), second.unsettled), (vec!["a.yaml"], true));
        let deadline = Instant::now() + Duration::from_secs(5);
        while scan(&mut scanner).unsettled && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert!(names(&scan(&mut scanner)).is_empty());
    }

    #[test]
    fn a_missing_folder_is_an_error_and_deletes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("m");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("a.yaml"), "a").unwrap();
        let mut scanner = Scanner::new(&root);
        scan(&mut scanner);
        let moved = dir.path().join("n");
        fs::rename(&root, &moved).unwrap();
        assert!(scanner.scan(&HashSet::new()).is_err());
        fs::rename(&moved, &root).unwrap();
        assert_eq!(names(&scan(&mut scanner)), ["a.yaml"]);
    }
}
