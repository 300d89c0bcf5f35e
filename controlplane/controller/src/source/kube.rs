//! The API server as a source: lists once, follows, and gives what is known whenever it changed.
//!
//! ```text
//! plan ─► one Watcher per watch ── Told ──► owner: Store ──► Change   (only once every first list is there)
//!           list, follow, back off           │   ▲    │ ▲
//!                                            │   │    │ └── cache: where nothing is listed after a while
//!                                            │   │    └──── cache: written at most every few seconds
//!                                            │   └── Secrets by name, once an Ingress names them
//!                                            └────── list again: an empty list is not believed at once
//! ```
//!
//! It writes nothing. What the API server does cannot take away what is known: failures, silence and senseless answers only
//! delay news; an object that cannot be read stays as it was, named by a problem.
//!
//! The pitfalls of such clients, by their number in the design, and what becomes of them here:
//!
//!  1. streaming lists that never fall back: not used, lists are paged ([`watch`]);
//!  2. retries of the client that last for minutes: switched off, each call is one try ([`connect`]);
//!  3. watches that die silently: ended by the server after half a minute, given up shortly after ([`watch`]);
//!  4. events compressed one by one: no compression is asked for ([`call`]);
//!  5. predicates that swallow changes: there are none; what translation reads is hashed, annotations included;
//!  6. a second copy while listing again: pages go into the store as they come, only names are remembered ([`store`]);
//!  7. deletions that a list swallows: its end takes out what it lacks ([`store`]);
//!  8. one undecodable object that blinds the rest: every object is decoded by itself ([`wire`]);
//!  9. floods of status writes: only what differs is written, by one replica, in turns (`status/decide`);
//! 10. entries of others in a status: an Ingress has one list of addresses and no entries by controller, so whoever owns the
//!     class owns the list. It is written where the class is ours alone, and two installations share a class only if
//!     somebody says so. Routes of the Gateway API, whose statuses do have such entries, are not read;
//! 11. a route that comes before what it refers to: translation sees everything at once, never an event;
//! 12. a cache that lags behind our own writes: what is known here has no status at all ([`Objects`] drop it), so nothing is
//!     compared with it. The leader compares with what it has written itself (`status/decide`), and an echo of its own write
//!     is no change, because a status is no part of an object's version;
//! 13. streams shared by subscribers: there is one owner;
//! 14. writes in flight when the leadership is lost: conditional, or true anyway (`status/lease`);
//! 15. rotated tokens and authorities: read again by the client, and at once where they do not hold any more ([`connect`]);
//! 16. a runtime on the shards' cores: this runs on the control runtime, shards hear of generations only;
//! 17. kinds that are not installed: only kinds of Kubernetes itself are watched;
//! 18. lists from a stale cache: no resource version is given, so lists are read at the newest state.
//!
//! [`Objects`]: ringress_translate::Objects

pub(crate) mod backoff;
mod cache;
pub(crate) mod call;
pub(crate) mod connect;
pub(crate) mod plan;
mod reached;
mod standing;
mod store;
pub(crate) mod watch;
mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use ringress_translate::manifest::Loaded;
use ringress_translate::objects::Key;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use super::Change;
use crate::supervise::{caught, supervise};
use cache::{Cache, Cached, Held, Keeper};
use call::Failure;
use plan::Kind;
use store::{Asked, Store, Verdict};
use watch::{News, Told, Watcher};
use wire::Item;

pub use cache::{CacheConfig, CacheKey, KeyError};
pub use connect::{Access, AccessError, chain, context_missing};
pub use plan::{Scope, escape};
pub use reached::{Progress, Reached};
pub use standing::{CacheReport, FromCache, Standing, WatchReport};
pub use watch::Patience;

/// A cluster to watch.
#[derive(Debug, Clone)]
pub struct KubeSource {
    access: Access,
    scope: Scope,
    patience: Arc<Patience>,
    standing: Arc<Standing>,
    cache: Option<CacheConfig>,
    progress: Arc<Progress>,
}

impl KubeSource {
    /// Decides what to watch; nothing is asked yet.
    pub fn new(access: Access, scope: Scope, patience: Patience) -> Self {
        let standing = Arc::new(Standing::new(&plan::watches(&scope)));
        Self { access, scope, patience: Arc::new(patience), standing, cache: None, progress: Arc::default() }
    }

    /// Keeps what is known in a cache, and hands that on where the API server is away at the start.
    #[must_use]
    pub fn with_cache(self, config: CacheConfig) -> Self {
        self.standing.has_cache();
        Self { cache: Some(config), ..self }
    }

    /// How the watches stand, now and later.
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing)
    }

    /// How far the watches have come, now and later.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Watches; the receiver's first change comes when every first list is there, or from the cache. Dropping the receiver
    /// ends it.
    ///
    /// # Errors
    /// There is no kubeconfig and no service account. An API server that does not answer is no error: it is waited for.
    pub async fn watch(mut self) -> Result<mpsc::Receiver<Change>, AccessError> {
        let client = self.access.client().await?;
        let cache = match self.cache.take() {
            Some(config) => {
                Some(Cache::new(config, &self.access.server().await?, &plan::watches(&self.scope)))
            }
            None => None,
        };
        let (changes, receiver) = mpsc::channel(1);
        let mut owner = Owner::start(self, client, changes);
        if let Some(cache) = cache {
            owner.keep(cache).await;
        }
        tokio::spawn(owner.run());
        Ok(receiver)
    }
}

/// Owns what is known and everything that runs.
struct Owner {
    store: Store,
    client: Client,
    patience: Arc<Patience>,
    standing: Arc<Standing>,
    progress: Arc<Progress>,
    reached: Reached,
    changes: mpsc::Sender<Change>,
    told: mpsc::Receiver<Told>,
    fetched: mpsc::Receiver<(Asked, Answer)>,
    fetched_sender: mpsc::Sender<(Asked, Answer)>,
    /// Tells Secrets to begin, once it is known which of them matter.
    begin_secrets: tokio::sync::watch::Sender<bool>,
    /// Tells a watch to list again.
    again: Vec<mpsc::Sender<()>>,
    /// A fetch that is under way has one of them.
    seats: Arc<Semaphore>,
    /// Secrets that are being fetched, with what ends that.
    fetches: BTreeMap<Key, (Asked, AbortHandle)>,
    /// When to list again, by watch.
    confirmations: BTreeMap<usize, Instant>,
    /// When the oldest change that is not handed on was heard.
    seen: Option<Instant>,
    /// Until when changes wait for the content of Secrets.
    held: Option<Instant>,
    /// Whether anything was handed on.
    is_known: bool,
    /// What the cache said, until there is something newer, and when to serve it.
    fallback: Option<(Cached, Instant)>,
    /// Takes what should be kept for the next start.
    keeper: Option<tokio::sync::watch::Sender<Option<Arc<Held>>>>,
    /// Dropped with the owner, and what runs in it ends.
    tasks: JoinSet<()>,
}

enum Wake {
    Told(Told),
    Fetched(Asked, Answer),
    Send,
    Confirm(usize),
    Held,
    FallBack,
    Over,
}

impl Owner {
    fn start(source: KubeSource, client: Client, changes: mpsc::Sender<Change>) -> Self {
        let KubeSource { scope, patience, standing, progress, .. } = source;
        let watches = plan::watches(&scope);
        let (teller, told) = mpsc::channel(NEWS_MAX);
        let (fetched_sender, fetched) = mpsc::channel(FETCHED_MAX);
        let begin_secrets = tokio::sync::watch::Sender::new(false);
        // Always true; its sender may go, a value stays.
        let at_once = tokio::sync::watch::Sender::new(true);
        let mut tasks = JoinSet::new();
        let mut again = Vec::new();
        for (number, watch) in watches.iter().enumerate() {
            let (ask, asked) = mpsc::channel(1);
            again.push(ask);
            let begin = if watch.kind == Kind::Secret { &begin_secrets } else { &at_once };
            let watcher = Watcher {
                number,
                watch: watch.clone(),
                client: client.clone(),
                patience: Arc::clone(&patience),
                standing: Arc::clone(&standing),
                told: teller.clone(),
                begin: begin.subscribe(),
                again: asked,
            };
            tasks.spawn(watcher.run());
        }
        Self {
            store: Store::new(&scope, &watches, !patience.confirm.is_zero()),
            client,
            patience,
            standing,
            progress,
            reached: Reached::new(watches.iter().map(ToString::to_string)),
            changes,
            told,
            fetched,
            fetched_sender,
            begin_secrets,
            again,
            seats: Arc::new(Semaphore::new(FETCHES_AT_ONCE)),
            fetches: BTreeMap::new(),
            confirmations: BTreeMap::new(),
            seen: None,
            held: None,
            is_known: false,
            fallback: None,
            keeper: None,
            tasks,
        }
    }

    /// Reads the cache, and keeps it from now on.
    async fn keep(&mut self, cache: Cache) {
        let until = Instant::now() + cache.after();
        self.fallback = cache.read().await.map(|cached| (cached, until));
        if let Some((cached, _)) = &self.fallback {
            self.store.expect(&cached.objects);
        }
        let (keeper, states) = Keeper::new(cache, Arc::clone(&self.standing));
        self.keeper = Some(states);
        self.tasks.spawn(supervise("cache", move || keeper.clone().run()));
    }

    async fn run(mut self) {
        loop {
            match self.wake().await {
                Wake::Told(told) => {
                    self.take(told);
                    // What came together is handed on together, within reason.
                    for _ in 0..NEWS_MAX {
                        match self.told.try_recv() {
                            Ok(told) => self.take(told),
                            Err(_) => break,
                        }
                    }
                    self.fetch_secrets();
                    self.note_progress();
                }
                Wake::Fetched(asked, Err(failure)) if self.store.wants(&asked) => {
                    self.standing.cannot_fetch(asked.watch, &asked.key, &failure);
                    if matches!(failure, Failure::Forbidden(_)) {
                        self.store.give_up_holding_for(&asked);
                    }
                }
                Wake::Fetched(_, Err(_)) => {}
                Wake::Fetched(asked, Ok(item)) => {
                    self.store.fetched(&asked, item);
                    self.fetch_secrets();
                    self.note_progress();
                }
                Wake::Send => self.send(),
                Wake::Confirm(watch) => {
                    self.confirmations.remove(&watch);
                    // Full: it lists again anyway.
                    let _ = self.again[watch].try_send(());
                }
                Wake::Held => {
                    self.held = None;
                    self.store.give_up_holding();
                }
                Wake::FallBack => self.fall_back(),
                Wake::Over => return,
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        if !self.store.holds_back() {
            self.held = None;
        }
        let is_held = self.held.is_some();
        let is_due = self.store.is_changed() && self.store.is_whole() && !is_held;
        let confirmation =
            self.confirmations.iter().min_by_key(|(_, at)| **at).map(|(watch, at)| (*watch, *at));
        tokio::select! {
            biased;
            () = self.changes.closed() => Wake::Over,
            Some(told) = self.told.recv() => Wake::Told(told),
            Some((asked, answer)) = self.fetched.recv() => Wake::Fetched(asked, answer),
            Ok(_) = self.changes.reserve(), if is_due => Wake::Send,
            () = until(confirmation.map(|(_, at)| at)) => Wake::Confirm(confirmation.map_or(0, |(watch, _)| watch)),
            () = until(self.held), if is_held => Wake::Held,
            () = until(self.fallback.as_ref().map(|(_, at)| *at)) => Wake::FallBack,
        }
    }

    fn take(&mut self, told: Told) {
        let Told { watch, heard, version, news } = told;
        if !matches!(news, News::Bookmark) {
            self.standing.heard(watch);
        }
        match self.hear(watch, version, news) {
            Verdict::Fine => {}
            Verdict::Doubted(objects) => {
                self.standing.doubts(watch, Some(objects));
                self.confirmations.insert(watch, Instant::now() + self.patience.confirm);
            }
            Verdict::Settled => self.standing.doubts(watch, None),
        }
        if self.store.is_changed() {
            self.seen.get_or_insert(heard);
        }
        if !*self.begin_secrets.borrow() && self.store.has(Kind::Ingress) {
            self.begin_secrets.send_replace(true);
        }
    }

    /// Takes news in, and notes how far they lead.
    fn hear(&mut self, watch: usize, version: u64, news: News) -> Verdict {
        let (is_page, is_list) = (matches!(news, News::Page(_)), matches!(news, News::Listed));
        let (verdict, changed) = self.store.hear(watch, news);
        match () {
            // What a list lacks went at a version that it does not tell.
            () if is_list => self.reached.list(watch, version),
            () if changed => self.reached.change(watch, version),
            () => {}
        }
        if !is_page && !is_list {
            self.reached.hear(watch, version);
        }
        verdict
    }

    /// What was heard counts as served once it is handed on, with the content of the Secrets that it named.
    fn note_progress(&self) {
        self.progress.note(&self.reached, self.store.is_changed() || self.store.is_waiting());
    }

    fn send(&mut self) {
        let Ok(permit) = self.changes.try_reserve() else { return };
        let seen = self.seen.take().unwrap_or_else(Instant::now);
        self.held = None;
        self.is_known = true;
        self.reached.next();
        permit.send(Change { seen, loaded: self.store.load(), reached: self.reached.clone() });
        self.note_progress();
        self.fallback = None;
        if let Some(keeper) = &self.keeper {
            self.standing.serves_cache(None);
            keeper.send_replace(Some(Arc::new(self.store.held())));
        }
    }

    /// Hands on what the cache said, because nothing else is known.
    fn fall_back(&mut self) {
        let Some((cached, at)) = &mut self.fallback else { return };
        if self.standing.is_refused() {
            *at = Instant::now() + FALL_BACK_AGAIN;
            return;
        }
        let Ok(permit) = self.changes.try_reserve() else { return };
        let Cached { written, locked, objects } = cached;
        let objects = std::mem::take(objects);
        let from = FromCache::new(*written, objects.withheld.len(), *locked);
        let loaded = Loaded { objects, problems: Vec::new() };
        permit.send(Change { seen: Instant::now(), loaded, reached: Reached::default() });
        self.standing.serves_cache(Some(from));
        self.fallback = None;
    }

    /// Asks for the content of Secrets that an Ingress names since now. Changes wait for it a moment, so that a new Ingress
    /// never serves another certificate first; what is not there by then is withheld, see [`Store::load`].
    fn fetch_secrets(&mut self) {
        // Everything in here catches its own panics.
        while self.tasks.try_join_next().is_some() {}
        let (store, standing) = (&self.store, &self.standing);
        self.fetches.retain(|key, (asked, fetch)| {
            let goes_on = store.wants(asked);
            if !goes_on {
                fetch.abort();
                standing.fetches_no_more(asked.watch, key);
            }
            goes_on
        });
        for asked in self.store.wanted_secrets() {
            // The first of them says until when: each further one would put off what waits already.
            let hold = if self.is_known { HOLD } else { HOLD_AT_START };
            self.held.get_or_insert_with(|| Instant::now() + hold);
            let (client, patience) = (self.client.clone(), Arc::clone(&self.patience));
            let (seats, fetched) = (Arc::clone(&self.seats), self.fetched_sender.clone());
            let key = asked.key.clone();
            let running = asked.clone();
            let fetching = async move { fetch(&client, &seats, asked, &patience, &fetched).await };
            self.fetches.insert(key, (running, self.tasks.spawn(fetching)));
        }
    }
}

/// What became of a try to fetch a Secret; `None` where it is gone.
type Answer = Result<Option<Item>, Failure>;

/// Tells every try, until one succeeds.
async fn fetch(
    client: &Client,
    seats: &Semaphore,
    asked: Asked,
    patience: &Patience,
    fetched: &mpsc::Sender<(Asked, Answer)>,
) {
    let mut tries = backoff::Backoff::new(patience.pause, patience.pause_max);
    loop {
        let seat = seats.acquire().await;
        let got = caught(get(client, &asked.key, patience.answer)).await;
        drop(seat);
        let failure = match got.unwrap_or_else(|panicked| Err(Failure::Broken(panicked.as_defect()))) {
            Err(failure) if failure != Failure::Missing => failure,
            got => {
                // Fails where the owner is gone, and then nobody waits.
                let _ = fetched.send((asked, Ok(got.ok()))).await;
                return;
            }
        };
        let pause = tries.failed(watch::random(), failure.asks_for());
        if fetched.send((asked.clone(), Err(failure))).await.is_err() {
            return;
        }
        sleep(pause).await;
    }
}

async fn get(client: &Client, key: &Key, within: Duration) -> Result<Item, Failure> {
    let answer = call::get(client, &Kind::Secret.path_of(key), within).await?;
    let body = call::whole(answer, within).await?;
    let text = String::from_utf8_lossy(&body);
    Ok(wire::item_of(Kind::Secret, &text))
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Where the API server refuses us, the cache waits and looks again after this.
const FALL_BACK_AGAIN: Duration = Duration::from_secs(1);

/// News that wait for the owner; then the watches wait, and the server holds their streams back.
const NEWS_MAX: usize = 256;

/// Fetched Secrets that wait for the owner.
const FETCHED_MAX: usize = 16;

/// Secrets that are fetched at a time: over HTTP/1.1 each is a connection.
const FETCHES_AT_ONCE: usize = 32;

/// Changes wait so long for the content of a Secret, then they go on without it.
const HOLD: Duration = Duration::from_secs(1);

/// The first of them waits longer: nobody is served yet, and who is ready should have all certificates.
const HOLD_AT_START: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
