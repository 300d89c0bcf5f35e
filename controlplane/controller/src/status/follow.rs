//! A few objects that only the leader follows: the replicas beside it, the Service whose addresses it shows.
//!
//! List, then watch; what fails is tried again from where it was. Unlike the source it keeps nothing and doubts nothing: what
//! it tells decides over statuses and Events, never over traffic, and who acts on it may doubt it.

use std::time::Duration;

use kube::Client;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::api::{self, CALL};
use crate::source::kube::backoff::Backoff;
use crate::source::kube::call::{self, Failure, Lines};
use crate::source::kube::plan::escape;
use crate::source::kube::watch::random;
use crate::supervise::supervise;

/// What is followed.
#[derive(Debug, Clone)]
pub(super) struct Collection {
    /// The path of the list.
    pub(super) path: String,
    /// `labelSelector` or `fieldSelector`, and its value.
    pub(super) selector: (&'static str, String),
}

#[derive(Debug)]
pub(super) enum News {
    /// All that there is.
    Listed(Vec<Value>),
    Changed(Value),
    Deleted(Value),
    /// We may not; it is asked again from time to time.
    Refused(Failure),
}

/// Follows until the receiver is dropped.
pub(super) fn follow(client: Client, collection: Collection) -> mpsc::Receiver<News> {
    let (told, news) = mpsc::channel(NEWS_MAX);
    let follower = Follower { client, collection, told };
    tokio::spawn(async move {
        tokio::select! {
            () = follower.told.closed() => {}
            () = supervise("follower", || follower.run()) => {}
        }
    });
    news
}

struct Follower {
    client: Client,
    collection: Collection,
    told: mpsc::Sender<News>,
}

/// Why a watch ended.
enum End {
    OfTime,
    ListAgain,
    Failed,
    /// Nobody listens any more.
    Over,
}

impl Follower {
    async fn run(&self) {
        let mut tries = Backoff::new(PAUSE, PAUSE_MAX);
        let mut version: Option<String> = None;
        loop {
            let Some(from) = version.take() else {
                match self.list().await {
                    Ok(reached) => version = Some(reached),
                    Err(Failure::Forbidden(why)) => {
                        if self.told.send(News::Refused(Failure::Forbidden(why))).await.is_err() {
                            return;
                        }
                        sleep(REFUSED).await;
                    }
                    Err(_) => sleep(tries.failed(random(), None)).await,
                }
                continue;
            };
            let begun = Instant::now();
            let (reached, end) = self.watch(from).await;
            if begun.elapsed() > PAUSE_MAX {
                tries.succeeded();
            }
            match end {
                End::OfTime if begun.elapsed() > PAUSE_MAX => version = Some(reached),
                End::OfTime | End::Failed => {
                    version = Some(reached);
                    sleep(tries.failed(random(), None)).await;
                }
                End::ListAgain => sleep(tries.failed(random(), None)).await,
                End::Over => return,
            }
        }
    }

    async fn list(&self) -> Result<String, Failure> {
        let path = format!("{}?{}", self.collection.path, self.selector());
        let list = api::list(&self.client, &path).await?;
        let version = list.metadata.resource_version.clone();
        // Fails where nobody listens any more, and then the watch says so too.
        let _ = self.told.send(News::Listed(list.into_items())).await;
        Ok(version)
    }

    async fn watch(&self, mut version: String) -> (String, End) {
        let path = format!(
            "{}?watch=1&allowWatchBookmarks=true&timeoutSeconds={WATCH_S}&resourceVersion={}&{}",
            self.collection.path,
            escape(&version),
            self.selector(),
        );
        let until = Instant::now() + Duration::from_secs(WATCH_S) + CALL;
        let mut lines = match call::get(&self.client, &path, CALL).await {
            Ok(answer) => Lines::new(answer),
            Err(Failure::Expired | Failure::Missing | Failure::Forbidden(_)) => {
                return (version, End::ListAgain);
            }
            Err(_) => return (version, End::Failed),
        };
        loop {
            let line = match lines.next(until).await {
                Ok(Some(line)) => serde_json::from_slice::<Line>(line),
                Ok(None) => return (version, End::OfTime),
                Err(_) => return (version, End::Failed),
            };
            let Ok(Line { r#type, object }) = line else { return (version, End::ListAgain) };
            let reached = object["metadata"]["resourceVersion"].as_str().map(str::to_owned);
            let told = match &*r#type {
                "ADDED" | "MODIFIED" => self.told.send(News::Changed(object)).await,
                "DELETED" => self.told.send(News::Deleted(object)).await,
                "ERROR" => return (version, End::ListAgain),
                _ => Ok(()),
            };
            if told.is_err() {
                return (version, End::Over);
            }
            version = reached.unwrap_or(version);
        }
    }

    fn selector(&self) -> String {
        let (kind, value) = &self.collection.selector;
        format!("{kind}={}", escape(value))
    }
}

#[derive(Deserialize)]
struct Line {
    r#type: String,
    object: Value,
}

/// News that wait; then the server holds the stream back.
const NEWS_MAX: usize = 64;

/// A watch is ended by the server after this, so that half-open connections are noticed.
const WATCH_S: u64 = 25;

const PAUSE: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// What was refused is asked for again after this: roles change.
const REFUSED: Duration = Duration::from_secs(15);
