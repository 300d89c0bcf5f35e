//! A folder of manifests: read once, then watched from a thread of its own.
//!
//! ```text
//! inotify ──► hints ──► scan ──► texts changed? ──► Folder::update ──► Change
//!     2 s ──────────────┘            no: nothing
//! ```
//!
//! Hints only say *when* to look; the scan is the truth. So nothing depends on how an editor saves: in place, by rename,
//! by deleting first, or by swapping the link that a mounted ConfigMap hangs on.

mod scan;
mod watch;

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringress_shared::origin::ObjectRef;
use ringress_translate::Problem;
use ringress_translate::manifest::{Folder, Loaded};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Change;
use scan::{RECENT, Scan, Scanner};
use watch::{Hint, Watch};

/// A folder, what was read in it, and what wakes us.
pub struct FolderSource {
    root: PathBuf,
    watch: Watch,
    scanner: Scanner,
    folder: Folder,
    last: Scan,
    /// Files that somebody is writing, and until when we wait for them.
    held: HashMap<String, Instant>,
    /// When to look again without a hint.
    again: Option<Instant>,
}

impl FolderSource {
    /// Reads the folder. Blocks.
    ///
    /// # Errors
    /// The folder does not exist or cannot be read.
    pub fn open(root: &Path) -> io::Result<(Self, Change)> {
        let root = std::path::absolute(root)?;
        // Watching begins before reading: what changes in between is a hint that waits.
        let watch = Watch::new(&root);
        let mut scanner = Scanner::new(&root);
        let scan = scanner.scan(&HashSet::new())?;
        let (folder, last, held) = (Folder::default(), Scan::default(), HashMap::new());
        let mut source = Self { root, watch, scanner, folder, last, held, again: None };
        let change = source.load(scan, Instant::now());
        Ok((source, change))
    }

    /// Watches from a thread that ends when the receiver is gone.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn watch(mut self) -> io::Result<mpsc::Receiver<Change>> {
        let (sender, receiver) = mpsc::channel(CHANGES_MAX);
        let run = move || {
            while !sender.is_closed() {
                let Some(change) = self.next() else { continue };
                if sender.blocking_send(change).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("folder".to_owned()).spawn(run)?;
        Ok(receiver)
    }

    /// Waits for hints, at most until it is time to look anyway.
    fn next(&mut self) -> Option<Change> {
        let hints = self.watch.wait(self.patience());
        let seen = Instant::now();
        let timed_out = hints.is_empty();
        let mut look = timed_out;
        for hint in hints {
            look |= self.take(hint, seen);
        }
        if look { self.look(seen) } else { None }
    }

    /// How long nothing need be looked at.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        let held = self.held.values().map(|until| until.saturating_duration_since(now)).min();
        let unsettled = self.last.unsettled.then_some(RECENT);
        let again = self.again.map(|again| again.saturating_duration_since(now));
        held.into_iter().chain(unsettled).chain(again).min().unwrap_or(SLOW).min(SLOW)
    }

    /// Takes a hint in; returns whether it is a reason to look.
    fn take(&mut self, hint: Hint, now: Instant) -> bool {
        match hint {
            Hint::Look => true,
            Hint::LookTwice => {
                self.again = Some(now + RECENT);
                true
            }
            Hint::Writing { name, patience } => {
                self.held.insert(name, now + patience);
                false
            }
            Hint::Written { name } => {
                self.held.remove(&name);
                true
            }
        }
    }

    fn look(&mut self, seen: Instant) -> Option<Change> {
        self.again = self.again.filter(|again| *again > seen);
        if self.watch.keep_up() {
            self.again = Some(seen + RECENT);
        }
        self.held.retain(|_, until| *until > seen);
        let held = self.held.keys().cloned().collect();
        let scan = self.scanner.scan(&held).unwrap_or_else(|error| Scan {
            texts: self.last.texts.clone(),
            unreadable: [(String::new(), error.to_string())].into(),
            unsettled: false,
        });
        self.last.unsettled = scan.unsettled;
        (scan != self.last).then(|| self.load(scan, seen))
    }

    fn load(&mut self, scan: Scan, seen: Instant) -> Change {
        let Loaded { objects, mut problems } = self.folder.update(scan.texts.clone());
        problems.extend(scan.unreadable.iter().map(|(name, error)| self.unreadable(name, error)));
        self.last = scan;
        Change { seen, loaded: Loaded { objects, problems } }
    }

    fn unreadable(&self, name: &str, error: &str) -> Problem {
        let path = if name.is_empty() { self.root.clone() } else { self.root.join(name) };
        let object = ObjectRef::new("File", "", &path.display().to_string());
        Problem::undecodable(&object, "", &format!("{error}; what was read before stays as it was"))
    }
}

/// Without a hint the folder is looked at this often: network file systems and full inotify tables give none.
const SLOW: Duration = Duration::from_secs(2);

/// Changes that wait for the control loop; then the folder's thread waits too, and reads only the newest state after.
const CHANGES_MAX: usize = 4;
