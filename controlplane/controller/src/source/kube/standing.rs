//! How the watches stand: what the admin shows, what readiness names, what is logged once and not a thousand times.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use ringress_translate::objects::Key;
use tokio::time::Instant;

use super::cache::Locked;
use super::call::Failure;
use super::plan::{Kind, Watch};
use crate::supervise::Panicked;

/// The state of all watches of a cluster.
#[derive(Debug, Default)]
pub struct Standing {
    watches: Vec<State>,
    cache: Mutex<CacheState>,
}

#[derive(Debug, Default)]
struct CacheState {
    /// `None` without a cache.
    report: Option<CacheReport>,
    /// Whether the newest write failed.
    fails: bool,
}

/// The state of the cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheReport {
    /// What is served from it, in place of the API server; `None`: nothing.
    pub serving: Option<FromCache>,
    /// How often it was written.
    pub writes: u64,
    /// How often it could not be written.
    pub failures: u64,
    /// When it was last written by this process.
    pub written: Option<SystemTime>,
}

/// What is served from the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromCache {
    /// When it was true.
    pub written: SystemTime,
    /// Secrets that are only named: hosts that need them refuse TLS.
    pub withheld: usize,
    why_withheld: Option<Locked>,
}

impl FromCache {
    pub(super) fn new(written: SystemTime, withheld: usize, why_withheld: Option<Locked>) -> Self {
        Self { written, withheld, why_withheld }
    }

    /// How long ago it was true.
    pub fn age(&self) -> Duration {
        SystemTime::now().duration_since(self.written).unwrap_or_default()
    }

    /// For people.
    pub fn describe(&self) -> String {
        let age_s = self.age().as_secs();
        let mut text = format!(
            "the API server has not listed everything since the start: a cache that is {age_s} s old is served"
        );
        if let Some(why) = self.why_withheld {
            let why = match why {
                Locked::NoKey => "it needs --cache-key-file",
                Locked::NotKept => "it was written without --cache-key-file",
                Locked::WrongKey => "the key of --cache-key-file does not open them",
            };
            text.push_str(&format!(
                "; hosts refuse TLS whose Secrets are not in it ({}): {why}",
                self.withheld
            ));
        }
        text
    }
}

#[derive(Debug)]
struct State {
    watch: Watch,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default, Clone)]
struct Inner {
    listed: bool,
    assumed: bool,
    lists: u64,
    events: u64,
    failures: u64,
    failing: Option<Failing>,
    /// Whether the newest answer was that we may not, or that nobody knows us.
    refused: bool,
    doubts: bool,
    doubted: u64,
    /// Objects that cannot be fetched one by one, and why.
    unfetched: BTreeMap<Key, String>,
    /// Since when there are such, and when that was logged.
    unfetched_since: Option<(Instant, Instant)>,
}

#[derive(Debug, Clone)]
struct Failing {
    since: Instant,
    logged: Instant,
    why: String,
}

/// The state of one watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchReport {
    /// What is watched: `services in shop`.
    pub watch: String,
    /// The kind.
    pub kind: &'static str,
    /// Whether its first list is there.
    pub listed: bool,
    /// Whether it may not be watched, and something is assumed instead.
    pub assumed: bool,
    /// Whole lists so far.
    pub lists: u64,
    /// Events so far.
    pub events: u64,
    /// Failed calls so far.
    pub failures: u64,
    /// For how long it has been failing, and why; also where it goes well and what it names cannot be fetched.
    pub failing: Option<(Duration, String)>,
    /// Whether an empty list is not believed yet.
    pub doubts: bool,
    /// Empty lists so far that were not believed at once.
    pub doubted: u64,
}

impl Standing {
    pub(super) fn new(watches: &[Watch]) -> Self {
        let state = |watch: &Watch| State { watch: watch.clone(), inner: Mutex::default() };
        Self { watches: watches.iter().map(state).collect(), cache: Mutex::default() }
    }

    /// Every watch, in the order of the plan.
    pub fn report(&self) -> Vec<WatchReport> {
        let now = Instant::now();
        self.watches.iter().map(|state| state.report(now)).collect()
    }

    /// What is missing before the first generation; empty once everything was listed.
    pub fn missing(&self) -> Vec<String> {
        let missing = self.report().into_iter();
        let missing = missing.filter(|report| (!report.listed && !report.assumed) || report.doubts);
        let say = |report: WatchReport| match report.failing {
            Some((_, why)) => format!("{} cannot be listed: {why}", report.watch),
            None if report.doubts => format!("an empty list of {} is not believed yet", report.watch),
            None => format!("{} are not listed yet", report.watch),
        };
        missing.map(say).collect()
    }

    pub(super) fn listed(&self, watch: usize) {
        self.with(watch, |_, inner| {
            inner.listed = true;
            inner.assumed = false;
            inner.lists += 1;
        });
        self.answers(watch);
    }

    pub(super) fn heard(&self, watch: usize) {
        self.with(watch, |_, inner| inner.events += 1);
    }

    /// Notes that the server answers.
    pub(super) fn answers(&self, watch: usize) {
        self.with(watch, |watch, inner| {
            inner.refused = false;
            if let Some(failing) = inner.failing.take() {
                let after_s = failing.since.elapsed().as_secs_f64();
                tracing::info!(%watch, after_s, "the watch is well again");
            }
        });
    }

    /// Notes a failure; logs it when it is new, another one, or a minute old.
    pub(super) fn failed(&self, watch: usize, failure: &Failure) {
        let now = Instant::now();
        let why = failure.to_string();
        self.with(watch, |watch, inner| {
            inner.failures += 1;
            inner.refused = matches!(failure, Failure::Forbidden(_) | Failure::Unauthenticated(_));
            let known = inner.failing.take();
            let since = known.as_ref().map_or(now, |failing| failing.since);
            let is_known = known.as_ref().is_some_and(|failing| {
                failing.why == why && now.saturating_duration_since(failing.logged) < LOG_AGAIN
            });
            let logged = if is_known { known.map_or(now, |failing| failing.logged) } else { now };
            if !is_known {
                let since_s = now.saturating_duration_since(since).as_secs_f64();
                log(watch, failure, &why, since_s);
            }
            inner.failing = Some(Failing { since, logged, why });
        });
    }

    /// Notes that what watches panicked: nothing is heard until it has listed again.
    pub(super) fn panicked(&self, watch: usize, panicked: &Panicked) {
        let now = Instant::now();
        self.with(watch, |watch, inner| {
            inner.failures += 1;
            tracing::error!(%watch, error = %panicked, "a defect of ringress: a watch panicked; it lists again");
            let since = inner.failing.take().map_or(now, |failing| failing.since);
            inner.failing = Some(Failing { since, logged: now, why: panicked.as_defect() });
        });
    }

    /// Notes that a Secret cannot be fetched; logged when it is the first one, and once a minute while there are such.
    pub(super) fn cannot_fetch(&self, watch: usize, key: &Key, failure: &Failure) {
        let now = Instant::now();
        self.with(watch, |watch, inner| {
            inner.failures += 1;
            inner.unfetched.insert(key.clone(), failure.to_string());
            let (since, logged) = inner.unfetched_since.unwrap_or((now, now));
            let is_news =
                inner.unfetched_since.is_none() || now.saturating_duration_since(logged) >= LOG_AGAIN;
            inner.unfetched_since = Some((since, if is_news { now } else { logged }));
            if is_news {
                let needs = format!("get secrets in the namespace {}", key.namespace);
                tracing::error!(
                    %watch, secret = %Kind::Secret.reference(key), error = %failure, secrets = inner.unfetched.len(), needs,
                    "the API server does not give the content of a Secret; where none is known its hosts refuse TLS"
                );
            }
        });
    }

    /// Notes that a Secret is fetched, or that nobody wants it any more.
    pub(super) fn fetches_no_more(&self, watch: usize, key: &Key) {
        self.with(watch, |watch, inner| {
            inner.unfetched.remove(key);
            if inner.unfetched.is_empty()
                && let Some((since, _)) = inner.unfetched_since.take()
            {
                let after_s = since.elapsed().as_secs_f64();
                tracing::info!(%watch, after_s, "no Secret is awaited any more");
            }
        });
    }

    /// Notes that something is assumed, because it may not be watched.
    pub(super) fn assumed(&self, watch: usize, failure: &Failure) {
        self.with(watch, |watch, inner| {
            // An answer, if no welcome one: an outage before it is over.
            inner.failing = None;
            if !std::mem::replace(&mut inner.assumed, true) {
                tracing::warn!(
                    %watch, error = %failure, needs = watch.right(),
                    "may not be watched; the class of the flags is assumed to exist"
                );
            }
        });
    }

    /// Notes whether an empty list is doubted.
    pub(super) fn doubts(&self, watch: usize, objects: Option<usize>) {
        self.with(watch, |watch, inner| {
            match (inner.doubts, objects) {
                (false, Some(objects)) => tracing::error!(
                    %watch, objects,
                    "the API server lists nothing where there were objects; they go on until a second list confirms it"
                ),
                (true, None) => tracing::warn!(%watch, "the doubt about an empty list is settled"),
                _ => {}
            }
            inner.doubted += u64::from(!inner.doubts && objects.is_some());
            inner.doubts = objects.is_some();
        });
    }

    /// Whether the API server says that we may not, or that it does not know us: that is an answer, and no cache stands in for it.
    pub(super) fn is_refused(&self) -> bool {
        self.watches.iter().any(|state| state.lock().refused && !state.watch.optional)
    }

    /// Whether everything is listed and followed.
    pub(super) fn is_current(&self) -> bool {
        self.watches.iter().all(|state| {
            let inner = state.lock();
            (inner.listed || inner.assumed) && inner.failing.is_none()
        })
    }

    fn with(&self, watch: usize, act: impl FnOnce(&Watch, &mut Inner)) {
        if let Some(state) = self.watches.get(watch) {
            act(&state.watch, &mut state.lock());
        }
    }
}

/// The cache.
impl Standing {
    /// The state of the cache; `None` without one.
    pub fn cache(&self) -> Option<CacheReport> {
        self.lock_cache().report.clone()
    }

    /// Why what is served may be wrong; empty where nothing speaks against it.
    pub fn degraded(&self) -> Vec<String> {
        self.cache().and_then(|cache| cache.serving).iter().map(FromCache::describe).collect()
    }

    pub(super) fn has_cache(&self) {
        self.lock_cache().report.get_or_insert_default();
    }

    /// Notes what is served from the cache; `None`: nothing any more.
    pub(super) fn serves_cache(&self, serving: Option<FromCache>) {
        let mut cache = self.lock_cache();
        let report = cache.report.get_or_insert_default();
        match (&report.serving, &serving) {
            (None, Some(from)) => tracing::error!(
                age_s = from.age().as_secs(),
                secrets_withheld = from.withheld,
                degraded = from.describe(),
                "serving from the cache"
            ),
            (Some(_), None) => {
                tracing::warn!("the API server answers; the cache is replaced by what it says")
            }
            _ => {}
        }
        report.serving = serving;
    }

    /// Notes a write; a failure is logged once, until one succeeds.
    pub(super) fn wrote_cache(&self, file: &Path, written: io::Result<()>) {
        let mut cache = self.lock_cache();
        let was_failing = std::mem::replace(&mut cache.fails, written.is_err());
        let report = cache.report.get_or_insert_default();
        let file = file.display();
        match written {
            Ok(()) => {
                report.writes += 1;
                report.written = Some(SystemTime::now());
                if was_failing {
                    tracing::info!(%file, "the cache is written again");
                }
            }
            Err(error) => {
                report.failures += 1;
                if !was_failing {
                    tracing::warn!(
                        %file, %error,
                        "the cache cannot be written; give --cache-dir a folder that this user may write"
                    );
                }
            }
        }
    }

    fn lock_cache(&self) -> MutexGuard<'_, CacheState> {
        // Nothing in here can be left half-done.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here can be left half-done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, now: Instant) -> WatchReport {
        let inner = self.lock().clone();
        let unfetched = inner.unfetched();
        WatchReport {
            watch: self.watch.to_string(),
            kind: self.watch.kind.as_str(),
            listed: inner.listed,
            assumed: inner.assumed,
            lists: inner.lists,
            events: inner.events,
            failures: inner.failures,
            failing: inner
                .failing
                .map(|failing| (failing.since, failing.why))
                .or(unfetched)
                .map(|(since, why)| (now.saturating_duration_since(since), why)),
            doubts: inner.doubts,
            doubted: inner.doubted,
        }
    }
}

impl Inner {
    /// Since when Secrets cannot be fetched, and what becomes of one of them.
    fn unfetched(&self) -> Option<(Instant, String)> {
        let (since, _) = self.unfetched_since?;
        let (key, why) = self.unfetched.first_key_value()?;
        let key = Kind::Secret.reference(key);
        let count = self.unfetched.len();
        Some((since, format!("the content of {count} Secrets does not come, such as {key}: {why}")))
    }
}

fn log(watch: &Watch, failure: &Failure, error: &str, since_s: f64) {
    match failure {
        Failure::Forbidden(_) => {
            tracing::error!(%watch, error, needs = watch.right(), "the API server refuses a watch");
        }
        Failure::Unauthenticated(_) => {
            tracing::error!(%watch, error, "the API server does not accept our credentials; what is known goes on");
        }
        _ => tracing::warn!(%watch, error, since_s, "the API server does not answer; what is known goes on"),
    }
}

/// A failure that stays is said again after this.
const LOG_AGAIN: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::super::plan::{self, Scope};
    use super::*;

    #[test]
    fn what_is_assumed_after_an_outage_does_not_fail_any_more() {
        let standing = Standing::new(&plan::watches(&Scope::default()));
        standing.failed(0, &Failure::Broken("no connection".to_owned()));
        assert!(standing.report()[0].failing.is_some());
        standing.assumed(0, &Failure::Forbidden("by the roles".to_owned()));
        let report = &standing.report()[0];
        assert!(report.assumed && report.failing.is_none(), "{report:?}");
    }
}
