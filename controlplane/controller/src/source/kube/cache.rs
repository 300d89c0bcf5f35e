//! The cache: what is known of the cluster, kept in a file for a start without the API server.
//!
//! ```text
//! every change ─► newest state ─► Keeper: encode, write beside, fsync, rename     (at most every few seconds)
//! start ─► read the file ─► nothing is listed after a while ─► served, degraded ─► all lists are there: replaced
//! ```
//!
//! It is served only as a whole, only where the API server does not answer, and only until it does. A server that refuses
//! us is one that answers: then nothing is served that it might not want us to see. Secrets are kept only where there is a
//! key to encrypt them with; otherwise their names are, and the hosts that need them refuse TLS.

mod file;
mod key;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::watch;
use tokio::time::Instant;

use super::plan::Watch;
use super::standing::Standing;

pub(super) use file::{Cached, Held, Locked};
pub use key::{CacheKey, KeyError};

/// Where the cache is, and when it is served.
#[derive(Debug, Clone)]
pub struct CacheConfig {
    /// The folder; made where it is missing.
    pub dir: PathBuf,
    /// Encrypts Secrets; `None`: none are kept.
    pub key: Option<CacheKey>,
    /// The API server is waited for so long before the cache is served.
    pub after: Duration,
    /// A cache that was true longer ago is not served: addresses of pods are given to others in time.
    pub age_max: Duration,
    /// The shortest time between two writes.
    pub pause: Duration,
}

impl CacheConfig {
    /// A cache in that folder with the usual patience.
    pub fn new(dir: PathBuf) -> Self {
        let (after, age_max) = (Duration::from_secs(5), Duration::from_secs(24 * 60 * 60));
        Self { dir, key: None, after, age_max, pause: PAUSE }
    }
}

/// The cache of one cluster.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    config: Arc<CacheConfig>,
    origin: Arc<str>,
}

impl Cache {
    /// `server` is the URL of the API server.
    pub(super) fn new(config: CacheConfig, server: &str, watches: &[Watch]) -> Self {
        let scope = format!("{server} {watches:?}");
        let origin = file::hex(digest(&SHA256, scope.as_bytes()).as_ref()).into();
        Self { config: Arc::new(config), origin }
    }

    pub(super) fn after(&self) -> Duration {
        self.config.after
    }

    fn path(&self) -> PathBuf {
        self.config.dir.join(NAME)
    }

    /// What the cache says; whatever is wrong with it is logged, and then there is none.
    pub(super) async fn read(&self) -> Option<Cached> {
        let cache = self.clone();
        let read = tokio::task::spawn_blocking(move || cache.read_now(SystemTime::now())).await;
        let read = read.unwrap_or_else(|error| Err(Useless::Unreadable(io::Error::other(error))));
        let file = self.path().display().to_string();
        match read {
            Ok(cached) => return Some(cached),
            Err(Useless::Missing) => tracing::info!(file, "there is no cache yet"),
            Err(why) => {
                tracing::warn!(file, error = %why, "the cache is ignored; it is written anew once everything is listed");
            }
        }
        None
    }

    fn read_now(&self, now: SystemTime) -> Result<Cached, Useless> {
        self.remove_leftovers(now);
        let path = self.path();
        let length = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Useless::Missing),
            Err(error) => return Err(error.into()),
        };
        if length > file::FILE_BYTES_MAX {
            return Err(file::Unusable::TooLarge.into());
        }
        let cached = file::decode(&fs::read(&path)?, &self.origin, self.config.key.as_ref())?;
        let age = now.duration_since(cached.written).unwrap_or_default();
        if age > self.config.age_max {
            return Err(Useless::Old { age_s: age.as_secs(), max_s: self.config.age_max.as_secs() });
        }
        Ok(cached)
    }

    /// Writes a whole file beside the old one and puts it in its place: a reader sees the one or the other.
    fn write(&self, held: &Held) -> io::Result<()> {
        fs::create_dir_all(&self.config.dir)?;
        let beside = self.config.dir.join(format!("{NAME}.{:016x}{BESIDE}", super::watch::random()));
        let written = self.write_beside(&beside, held).and_then(|()| fs::rename(&beside, self.path()));
        if written.is_err() {
            // It may never have been made.
            let _ = fs::remove_file(&beside);
        }
        written?;
        File::open(&self.config.dir)?.sync_all()
    }

    fn write_beside(&self, beside: &Path, held: &Held) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(beside)?;
        // Held while it is written, so that nobody takes it for a leftover; where locks are not to be had, its age tells.
        let _ = file.try_lock();
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
        file::encode(held, &self.origin, SystemTime::now(), self.config.key.as_ref(), &mut out)?;
        out.flush()?;
        out.get_ref().sync_all()
    }

    /// Files that a process was ended over.
    fn remove_leftovers(&self, now: SystemTime) {
        for entry in fs::read_dir(&self.config.dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(NAME) && name.ends_with(BESIDE) && is_left_over(&entry.path(), now) {
                // Somebody else was faster, or it stays for the next time.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Whether nobody writes the file: another replica may share the folder.
fn is_left_over(path: &Path, now: SystemTime) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    let is_old = modified.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > LEFTOVER));
    let is_locked =
        || File::open(path).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
    is_old && !is_locked()
}

/// Why there is no cache to serve.
#[derive(Debug, thiserror::Error)]
enum Useless {
    #[error("there is none")]
    Missing,
    #[error(transparent)]
    Unreadable(#[from] io::Error),
    #[error(transparent)]
    Unusable(#[from] file::Unusable),
    #[error("it was last true {age_s} s ago, and --cache-max-age is {max_s} s")]
    Old { age_s: u64, max_s: u64 },
}

/// Writes what it is told, the newest only, until nobody tells any more.
#[derive(Clone)]
pub(super) struct Keeper {
    cache: Cache,
    standing: Arc<Standing>,
    /// `None` before anything is known.
    states: watch::Receiver<Option<Arc<Held>>>,
}

impl Keeper {
    pub(super) fn new(cache: Cache, standing: Arc<Standing>) -> (Self, watch::Sender<Option<Arc<Held>>>) {
        let (sender, states) = watch::channel(None);
        (Self { cache, standing, states }, sender)
    }

    pub(super) async fn run(mut self) {
        while self.due().await {
            let Some(held) = self.states.borrow_and_update().clone() else { continue };
            let cache = self.cache.clone();
            let begun = Instant::now();
            let written = tokio::task::spawn_blocking(move || cache.write(&held)).await;
            let written = written.map_err(io::Error::other).and_then(|written| written);
            self.standing.wrote_cache(&self.cache.path(), written);
            // However large the cluster and slow the disk: a hundredth of the time is spent here.
            let pause = self.cache.config.pause.max(begun.elapsed() * 100);
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits for a change; without one what is known is confirmed now and then, as long as the API server answers.
    async fn due(&mut self) -> bool {
        loop {
            match tokio::time::timeout(CONFIRM, self.states.changed()).await {
                Ok(changed) => return changed.is_ok(),
                Err(_) if self.standing.is_current() => return true,
                Err(_) => {}
            }
        }
    }
}

const NAME: &str = "cluster.cache";
const BESIDE: &str = ".part";

/// A part that nobody has written to for so long has lost its writer.
const LEFTOVER: Duration = Duration::from_secs(600);

/// What has not changed is written again after this, so that its age says how long ago it was true.
const CONFIRM: Duration = Duration::from_secs(600);

/// The shortest time between two writes.
const PAUSE: Duration = Duration::from_secs(5);

const BUFFER_BYTES: usize = 128 << 10;

#[cfg(test)]
mod tests;
