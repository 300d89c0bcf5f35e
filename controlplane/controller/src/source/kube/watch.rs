//! One watch: list, follow, and start over only where that is the only way.
//!
//! ```text
//!          ┌────────── expired, senseless ──────────┐
//!          ▼                                        │
//! list (pages of 500) ─► Listed ─► watch from its resource version ─► lines: Changed, Deleted, bookmark
//!                                    ▲                                   │
//!                                    └── end, silence, failure ◄─────────┘   from the last line, after a pause if it failed
//! ```
//!
//! A watch asks the server to end it after half a minute, and gives up on a stream that outlives that: so a half-open
//! connection is noticed in that time, and a server that is gone costs one reconnect, never a list.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use ringress_translate::objects::Key;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use super::backoff::Backoff;
use super::call::{self, Failure, Lines};
use super::plan::{Watch, escape};
use super::reached;
use super::standing::Standing;
use super::wire::{self, Form, Item, Line};
use crate::supervise::caught;

/// How patient we are with the API server.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For the head of an answer, and for pauses inside a list.
    pub answer: Duration,
    /// A watch is ended by the server after this, in whole seconds.
    pub watch: Duration,
    /// A stream that goes on for so much longer is dead.
    pub slack: Duration,
    /// The first pause after a failure.
    pub pause: Duration,
    /// The longest pause after failures.
    pub pause_max: Duration,
    /// The longest pause between lists that lead nowhere.
    pub list_pause_max: Duration,
    /// The pause before we ask again for what was refused and can be done without.
    pub refused: Duration,
    /// An empty list must be confirmed by another one after this.
    pub confirm: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(10),
            watch: Duration::from_secs(25),
            slack: Duration::from_secs(5),
            pause: Duration::from_millis(200),
            pause_max: Duration::from_secs(3),
            list_pause_max: Duration::from_secs(60),
            refused: Duration::from_secs(15),
            confirm: Duration::from_secs(10),
        }
    }
}

/// What a watch tells.
#[derive(Debug)]
pub(super) struct Told {
    /// Which watch, by its place in the plan.
    pub(super) watch: usize,
    /// When it was heard.
    pub(super) heard: Instant,
    /// The resource version that it brings; 0 where it has none.
    pub(super) version: u64,
    pub(super) news: News,
}

#[derive(Debug)]
pub(super) enum News {
    /// A page of a list, with the newest version on it.
    Page(Vec<Item>),
    /// The list is whole: what it lacks is gone.
    Listed,
    /// The list is given up; the next begins anew.
    Torn,
    Changed(Box<Item>),
    Deleted(Key),
    /// Nothing changed up to this version.
    Bookmark,
    /// It may not be watched, and there is something to assume instead.
    Refused,
}

/// One watch and what it needs.
pub(super) struct Watcher {
    pub(super) number: usize,
    pub(super) watch: Watch,
    pub(super) client: Client,
    pub(super) patience: Arc<Patience>,
    pub(super) standing: Arc<Standing>,
    pub(super) told: mpsc::Sender<Told>,
    /// The first list waits until this is true.
    pub(super) begin: watch::Receiver<bool>,
    /// Lists that the owner did not believe.
    pub(super) again: mpsc::Receiver<()>,
}

/// Nobody listens any more.
struct Over;

impl Watcher {
    /// Runs until nobody listens. A panic costs a pause and a new list, never the watch.
    pub(super) async fn run(mut self) {
        let mut pauses = Backoff::new(self.patience.pause, self.patience.list_pause_max);
        loop {
            let begun = Instant::now();
            let Err(panicked) = caught(self.list_and_follow()).await else { return };
            self.standing.panicked(self.number, &panicked);
            // What the list has named so far is not all of it.
            if self.tell(Instant::now(), 0, News::Torn).await.is_err() {
                return;
            }
            if begun.elapsed() > self.patience.list_pause_max {
                pauses.succeeded();
            }
            sleep(pauses.failed(random(), None)).await;
        }
    }

    async fn list_and_follow(&mut self) {
        // Fails where the owner is gone, and then the first send says so too.
        let _ = self.begin.wait_for(|begin| *begin).await;
        let mut tries = Backoff::new(self.patience.pause, self.patience.pause_max);
        let mut lists = Backoff::new(self.patience.pause, self.patience.list_pause_max);
        let mut version = None;
        loop {
            let from = match version.take() {
                Some(version) => version,
                None => match self.list(&mut tries).await {
                    Ok(version) => version,
                    Err(Over) => return,
                },
            };
            let begun = Instant::now();
            let (reached, end) = self.follow(from).await;
            match end {
                End::Over => return,
                End::OfTime => {
                    version = Some(reached);
                    if begun.elapsed() < SHORT {
                        // A server on its way out ends every watch at once: no failure, but no reason to hurry either.
                        sleep(tries.failed(random(), None)).await;
                    } else {
                        tries.succeeded();
                        lists.succeeded();
                    }
                }
                End::ListAgain => {
                    if begun.elapsed() > self.patience.list_pause_max {
                        lists.succeeded();
                    }
                    sleep(lists.failed(random(), None)).await;
                }
                End::Failed(failure) => {
                    // A stream that lived for a while was a success, however it ended.
                    if begun.elapsed() > self.patience.pause_max {
                        tries.succeeded();
                    }
                    version = Some(reached);
                    self.pause(&failure, &mut tries).await;
                }
            }
        }
    }

    /// Lists until a list is whole; gives its resource version.
    async fn list(&mut self, tries: &mut Backoff) -> Result<String, Over> {
        let mut refusals = 0;
        loop {
            let heard = Instant::now();
            match self.list_once(heard).await {
                Ok(version) => {
                    tries.succeeded();
                    self.standing.listed(self.number);
                    self.tell(heard, reached::number(&version), News::Listed).await?;
                    return Ok(version);
                }
                Err(Stop::Over) => return Err(Over),
                Err(Stop::Failed(failure)) => {
                    self.tell(heard, 0, News::Torn).await?;
                    let is_refused = matches!(failure, Failure::Forbidden(_) | Failure::Missing);
                    refusals += u32::from(is_refused);
                    if self.watch.optional && is_refused && refusals >= REFUSALS_BELIEVED {
                        self.standing.assumed(self.number, &failure);
                        self.tell(heard, 0, News::Refused).await?;
                        sleep(self.patience.refused).await;
                    } else {
                        self.pause(&failure, tries).await;
                    }
                }
            }
        }
    }

    async fn list_once(&mut self, heard: Instant) -> Result<String, Stop> {
        let mut next: Option<String> = None;
        while self.again.try_recv().is_ok() {}
        loop {
            let token = next.map(|token| format!("&continue={}", escape(&token))).unwrap_or_default();
            let path = format!("{}?limit={PAGE}{}{token}", self.watch.path(), self.watch.selectors());
            let accept = if self.watch.names_only { call::NAMES } else { call::OBJECTS };
            let answer = call::get_as(&self.client, &path, accept, self.patience.answer).await?;
            let body = call::whole(answer, self.patience.answer).await?;
            let page = wire::page(self.watch.kind, self.form(), &body)
                .map_err(|error| Failure::Broken(format!("a list has no sense: {error}")))?;
            drop(body);
            self.tell(heard, page.newest, News::Page(page.items)).await?;
            match page.next {
                Some(token) => next = Some(token),
                None => return Ok(page.resource_version),
            }
        }
    }

    /// Follows a watch until it ends; gives the resource version that it reached.
    async fn follow(&mut self, mut version: String) -> (String, End) {
        // Watches of one process that end together would come back together.
        let seconds = self.patience.watch.as_secs().max(1);
        let seconds = seconds + random() % (seconds / 6 + 1);
        let path = format!(
            "{}?watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={}{}",
            self.watch.path(),
            escape(&version),
            self.watch.selectors(),
        );
        let until = Instant::now() + Duration::from_secs(seconds) + self.patience.slack;
        let accept = if self.watch.names_only { call::NAME_EVENTS } else { call::OBJECTS };
        let mut lines = match call::get_as(&self.client, &path, accept, self.patience.answer).await {
            Ok(answer) => Lines::new(answer),
            Err(Failure::Expired) => return (version, End::ListAgain),
            Err(failure) => return (version, End::Failed(failure)),
        };
        self.standing.answers(self.number);
        loop {
            let line = tokio::select! {
                line = lines.next(until) => line,
                Some(()) = self.again.recv() => return (version, End::ListAgain),
            };
            let read = match line {
                Ok(Some(line)) => wire::line(self.watch.kind, self.form(), line),
                Ok(None) => return (version, End::OfTime),
                Err(failure) => return (version, End::Failed(failure)),
            };
            let heard = Instant::now();
            let (line, moved_to) = match read {
                Ok(read) => read,
                Err(error) => {
                    // What stood there is unknown, so the resource version before it is the last that we can trust; the
                    // server would send the same again.
                    tracing::warn!(watch = %self.watch, %error, "a line of a watch has no sense; listing again");
                    return (version, End::ListAgain);
                }
            };
            let news = match line {
                Line::Changed(item) => News::Changed(Box::new(item)),
                Line::Deleted(key) => News::Deleted(key),
                Line::Bookmark | Line::Unknown => News::Bookmark,
                Line::Refused(status) => {
                    return match Failure::of(&status) {
                        Failure::Expired => (version, End::ListAgain),
                        failure => (version, End::Failed(failure)),
                    };
                }
            };
            let number = moved_to.as_deref().map_or(0, reached::number);
            if self.tell(heard, number, news).await.is_err() {
                return (version, End::Over);
            }
            if let Some(moved_to) = moved_to {
                version = moved_to;
            }
        }
    }

    fn form(&self) -> Form {
        if self.watch.names_only { Form::Named } else { Form::Whole }
    }

    async fn tell(&self, heard: Instant, version: u64, news: News) -> Result<(), Over> {
        self.told.send(Told { watch: self.number, heard, version, news }).await.map_err(|_| Over)
    }

    /// Notes a failure and waits.
    async fn pause(&self, failure: &Failure, tries: &mut Backoff) {
        self.standing.failed(self.number, failure);
        // Refusals are no exception: a server that has just started refuses everybody until it has read its roles.
        sleep(tries.failed(random(), failure.asks_for())).await;
    }
}

/// Why a list was not finished.
enum Stop {
    Over,
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Over> for Stop {
    fn from(_: Over) -> Self {
        Self::Over
    }
}

/// Why a watch ended.
enum End {
    /// Its time was over, or the server restarts: go on where it was.
    OfTime,
    /// Going on is impossible.
    ListAgain,
    Failed(Failure),
    /// Nobody listens any more.
    Over,
}

/// Randomness for pauses: good enough, and no generator to seed.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// So many refusals in a row are believed of what can be done without: an API server that has just started refuses everybody.
const REFUSALS_BELIEVED: u32 = 3;

/// A watch that ends sooner was not meant to be followed.
const SHORT: Duration = Duration::from_secs(1);

/// Objects per page: what client-go asks for.
const PAGE: u32 = 500;
