//! What wakes the folder source: inotify on the folder and its subfolders, and on the folder above it.
//!
//! The folder above tells when the folder itself is deleted and made again, or when a link in its place is turned. The
//! watch then stands on a dead folder and is built anew. Without inotify (no permission, no watches left) the source still
//! looks every two seconds.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::scan::{identity, is_manifest};

/// Why to look, or why not yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// Something changed, anything may have.
    Look,
    /// A manifest came, went, or was touched.
    Touched { name: String },
    /// Something that is no manifest by its name went: it matters only where it was a folder with manifests.
    Vanished { name: String },
    /// A folder came: what was put in before it was watched gave no hint, so look now and once more.
    LookTwice,
    /// A file is being written; its end is a hint of its own, unless it does not come within `patience`.
    Writing { name: String, patience: Duration },
    /// A file was written and closed.
    Written { name: String },
}

/// The watch of one folder.
pub(super) struct Watch {
    root: PathBuf,
    events: mpsc::Receiver<notify::Result<Event>>,
    sender: mpsc::Sender<notify::Result<Event>>,
    /// Which folder stood at `root` when the watcher was made; `None` without one.
    watched: Option<(u64, u64)>,
    watcher: Option<RecommendedWatcher>,
    complained: bool,
}

impl Watch {
    pub(super) fn new(root: &Path) -> Self {
        let (sender, events) = mpsc::channel();
        let mut watch =
            Self { root: root.to_owned(), events, sender, watched: None, watcher: None, complained: false };
        watch.keep_up();
        watch
    }

    /// Makes the watcher anew where another folder stands at the path than the one it watches; returns whether it did.
    pub(super) fn keep_up(&mut self) -> bool {
        let stands = std::fs::metadata(&self.root).ok().map(|metadata| identity(&metadata));
        if self.watcher.is_some() && self.watched == stands {
            return false;
        }
        match self.build(stands.is_some()) {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                self.watched = stands;
                self.complained = false;
                true
            }
            Err(error) => {
                self.complain(&error);
                false
            }
        }
    }

    /// The first hints that come within `patience`; none where that passes. Events that mean nothing to us (the folder above
    /// may be a busy one, and our own reading is heard too) do not prolong it.
    pub(super) fn wait(&self, patience: Duration) -> Vec<Hint> {
        let until = Instant::now() + patience;
        loop {
            // The sender lives as long as we do, so an error can only be the timeout.
            let Ok(first) = self.events.recv_timeout(until.saturating_duration_since(Instant::now())) else {
                return Vec::new();
            };
            let events = std::iter::once(first).chain(self.events.try_iter());
            let hints: Vec<Hint> = events.flat_map(|event| self.hints(event)).collect();
            if !hints.is_empty() {
                return hints;
            }
        }
    }

    fn build(&self, root_exists: bool) -> notify::Result<RecommendedWatcher> {
        let sender = self.sender.clone();
        // Nobody listens only when the source is gone.
        let mut watcher = notify::recommended_watcher(move |event| drop(sender.send(event)))?;
        if let Some(above) = self.root.parent() {
            // It may be unreadable to us; then only the slow look notices that the folder was replaced.
            watcher.watch(above, RecursiveMode::NonRecursive).ok();
        }
        if root_exists {
            watcher.watch(&self.root, RecursiveMode::Recursive)?;
        }
        Ok(watcher)
    }

    fn complain(&mut self, error: &notify::Error) {
        self.watcher = None;
        if !self.complained {
            tracing::warn!(folder = %self.root.display(), %error, "folder is polled, because it cannot be watched");
        }
        self.complained = true;
    }

    fn hints(&self, event: notify::Result<Event>) -> Vec<Hint> {
        let Ok(event) = event else { return vec![Hint::Look] };
        if event.need_rescan() {
            return vec![Hint::Look];
        }
        event.paths.iter().filter_map(|path| self.hint(event.kind, path)).collect()
    }

    fn hint(&self, kind: EventKind, path: &Path) -> Option<Hint> {
        let inside = path.strip_prefix(&self.root).ok()?;
        match meaning(inside) {
            Meaning::None => None,
            Meaning::Mount => mount_hint(kind, path),
            Meaning::Other => other_hint(kind, path, inside),
            Meaning::Manifest => manifest_hint(kind, path, inside.to_string_lossy().into_owned()),
        }
    }
}

/// What a path below the folder is to us, by its name.
enum Meaning {
    /// Hidden: never read under this name.
    None,
    /// The folder itself, or the inside of a mounted ConfigMap, whose links lead to manifests.
    Mount,
    /// A folder, a link, or a file that is none of ours, such as those that editors write beside.
    Other,
    /// A manifest.
    Manifest,
}

fn meaning(inside: &Path) -> Meaning {
    let begins = |part: &std::ffi::OsStr, with: &[u8]| part.as_encoded_bytes().starts_with(with);
    match () {
        () if inside.as_os_str().is_empty() => Meaning::Mount,
        () if inside.iter().any(|part| begins(part, b"..")) => Meaning::Mount,
        () if inside.iter().any(|part| begins(part, b".")) => Meaning::None,
        () if is_manifest(inside) => Meaning::Manifest,
        () => Meaning::Other,
    }
}

/// A file that somebody moved away, or put there by moving it, is not worth a look at everything: nearly every way to save a
/// manifest has one.
fn other_hint(kind: EventKind, path: &Path, inside: &Path) -> Option<Hint> {
    match kind {
        EventKind::Modify(ModifyKind::Name(_)) if is_plain_file(path) => None,
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) if !is_anything(path) => {
            Some(Hint::Vanished { name: inside.to_string_lossy().into_owned() })
        }
        _ => mount_hint(kind, path),
    }
}

fn mount_hint(kind: EventKind, path: &Path) -> Option<Hint> {
    match kind {
        // Writing to a file that is no manifest means nothing; what it is linked to is found by the slow look.
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Data(_)) => None,
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(_)) if path.is_dir() => {
            Some(Hint::LookTwice)
        }
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Metadata(_)) if is_plain_file(path) => None,
        _ => Some(Hint::Look),
    }
}

fn manifest_hint(kind: EventKind, path: &Path, name: String) -> Option<Hint> {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Hint::Written { name }),
        // Our own reading is among these.
        EventKind::Access(_) => None,
        EventKind::Modify(ModifyKind::Data(_)) => Some(Hint::Writing { name, patience: WRITE_PATIENCE }),
        _ if path.is_dir() => Some(Hint::LookTwice),
        EventKind::Create(CreateKind::File) if is_plain_file(path) => {
            Some(Hint::Writing { name, patience: CREATE_PATIENCE })
        }
        EventKind::Any | EventKind::Other => Some(Hint::Look),
        EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => Some(Hint::Touched { name }),
    }
}

fn is_anything(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok()
}

/// Links are whole as soon as they are there; plain files are about to be written.
fn is_plain_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// How long a writer may take between its last write and closing the file.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);

/// How long a new file may stay without being closed: a hard link never is.
const CREATE_PATIENCE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{RemoveKind, RenameMode};

    #[test]
    fn files_that_editors_write_beside_ask_for_no_look_at_everything() {
        let dir = tempfile::tempdir().unwrap();
        let watch = Watch::new(dir.path());
        std::fs::write(dir.path().join("a.yaml~"), "").unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let (moved, removed) =
            (EventKind::Modify(ModifyKind::Name(RenameMode::From)), EventKind::Remove(RemoveKind::File));
        let vanished = |name: &str| Some(Hint::Vanished { name: name.to_owned() });
        for (kind, name, expected) in [
            (moved, "sedXYZ", vanished("sedXYZ")),
            (removed, "4913", vanished("4913")),
            (moved, "gone/deep", vanished("gone/deep")),
            (moved, "a.yaml~", None),
            (moved, "sub", Some(Hint::LookTwice)),
            (removed, "..data", Some(Hint::Look)),
            (removed, "", Some(Hint::Look)),
            (removed, "a.yaml", Some(Hint::Touched { name: "a.yaml".to_owned() })),
        ] {
            assert_eq!(watch.hint(kind, &dir.path().join(name)), expected, "{kind:?} of {name:?}");
        }
    }
}
