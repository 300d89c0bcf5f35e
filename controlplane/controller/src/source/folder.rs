//! A folder of manifests: read once, then watched from a thread of its own.
//!
//! ```text
//! inotify ──► hints ──► scan of the files named ──► texts changed? ──► Folder::update ──► Change
//!     2 s ────────────► scan of all ──────────────┘     no: nothing
//! ```
//!
//! Hints only say when to look, and where first; the scan of all is the truth and follows soon. So nothing depends on how an editor saves: in place, by rename,
//! by deleting first, or by swapping the link that a mounted ConfigMap hangs on.

mod scan;
mod watch;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringress_shared::origin::ObjectRef;
use ringress_translate::manifest::{Folder, Loaded};
use ringress_translate::{Problem, Reason};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Change;
use super::kube::Reached;
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
    /// Two files that define one object, as they were told.
    duplicates: Vec<Problem>,
    /// Whether more of them are not told yet, because a file is leaving.
    doubted: bool,
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
        let (again, duplicates, doubted) = (None, Vec::new(), false);
        let mut source = Self { root, watch, scanner, folder, last, held, again, duplicates, doubted };
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
        let mut look = if hints.is_empty() { Look::Everywhere } else { Look::Nowhere };
        for hint in hints {
            self.take(hint, &mut look, seen);
        }
        let scan = match look {
            Look::Nowhere => return None,
            Look::At(names) if self.is_early(seen) => self.look_at(&names, seen),
            Look::At(_) | Look::Everywhere => self.look_everywhere(seen),
        };
        self.last.unsettled = scan.unsettled;
        self.last.leaving.clone_from(&scan.leaving);
        let is_doubt_over = self.doubted && scan.leaving.is_empty();
        (is_doubt_over || scan != self.last).then(|| self.load(scan, seen))
    }

    /// How long nothing need be looked at.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        let held = self.held.values().map(|until| until.saturating_duration_since(now)).min();
        let unsettled = self.last.unsettled.then_some(RECENT);
        let again = self.again.map(|again| again.saturating_duration_since(now));
        held.into_iter().chain(unsettled).chain(again).min().unwrap_or(SLOW).min(SLOW)
    }

    /// Takes a hint in.
    fn take(&mut self, hint: Hint, look: &mut Look, now: Instant) {
        match hint {
            Hint::Look => *look = Look::Everywhere,
            Hint::LookTwice => {
                self.look_again(now + RECENT);
                *look = Look::Everywhere;
            }
            Hint::Vanished { name } if !self.last.has_below(&name) => {}
            Hint::Vanished { .. } => *look = Look::Everywhere,
            Hint::Touched { name } => look.also(name),
            Hint::Writing { name, patience } => drop(self.held.insert(name, now + patience)),
            Hint::Written { name } => {
                self.held.remove(&name);
                look.also(name);
            }
        }
    }

    fn look_again(&mut self, at: Instant) {
        self.again = Some(self.again.map_or(at, |again| again.min(at)));
    }

    /// Whether the time to look everywhere is still to come.
    fn is_early(&self, now: Instant) -> bool {
        self.again.is_none_or(|again| again > now)
    }

    fn look_at(&mut self, names: &BTreeSet<String>, seen: Instant) -> Scan {
        // One file may be there by two names, and the hint names only one.
        self.look_again(seen + SOON);
        let held = self.held(seen);
        self.scanner.scan_some(names, &held, &self.last)
    }

    fn look_everywhere(&mut self, seen: Instant) -> Scan {
        self.again = self.again.filter(|again| *again > seen);
        if self.watch.keep_up() {
            self.look_again(seen + RECENT);
        }
        let held = self.held(seen);
        self.scanner.scan(&held).unwrap_or_else(|error| Scan {
            texts: self.last.texts.clone(),
            unreadable: [(String::new(), error.to_string())].into(),
            ..Scan::default()
        })
    }

    fn held(&mut self, now: Instant) -> HashSet<String> {
        self.held.retain(|_, until| *until > now);
        self.held.keys().cloned().collect()
    }

    fn load(&mut self, scan: Scan, seen: Instant) -> Change {
        let Loaded { objects, mut problems } = self.folder.update(scan.texts.clone());
        self.doubt_duplicates(&mut problems, !scan.leaving.is_empty());
        problems.extend(scan.unreadable.iter().map(|(name, error)| self.unreadable(name, error)));
        self.last = scan;
        Change { seen, loaded: Loaded { objects, problems }, reached: Reached::default() }
    }

    /// While a file is leaving, an object that another file defines anew has most likely been renamed with it.
    fn doubt_duplicates(&mut self, problems: &mut Vec<Problem>, is_leaving: bool) {
        let is_duplicate = |problem: &Problem| problem.reason == Reason::DuplicateObject;
        let before = problems.len();
        if is_leaving {
            problems.retain(|problem| !is_duplicate(problem) || self.duplicates.contains(problem));
        }
        self.doubted = problems.len() < before;
        self.duplicates = problems.iter().filter(|problem| is_duplicate(problem)).cloned().collect();
    }

    fn unreadable(&self, name: &str, error: &str) -> Problem {
        // Named like the places in all other messages, but for the folder itself.
        let root = self.root.display().to_string();
        let object = ObjectRef::new("File", "", if name.is_empty() { &root } else { name });
        Problem::undecodable(&object, "", &format!("{error}; what was read before stays as it was"))
    }
}

/// Where to look.
enum Look {
    Nowhere,
    At(BTreeSet<String>),
    Everywhere,
}

impl Look {
    fn also(&mut self, name: String) {
        match self {
            Self::Nowhere => *self = Self::At([name].into()),
            Self::At(names) => drop(names.insert(name)),
            Self::Everywhere => {}
        }
    }
}

/// After single files were looked at, the whole folder is looked at within this.
const SOON: Duration = Duration::from_millis(250);

/// Without a hint the folder is looked at this often: network file systems and full inotify tables give none.
const SLOW: Duration = Duration::from_secs(2);

/// Changes that wait for the control loop; then the folder's thread waits too, and reads only the newest state after.
const CHANGES_MAX: usize = 4;
