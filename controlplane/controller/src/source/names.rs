//! DNS: the addresses of the names that translation wants, looked up again and again.
//!
//! It runs here and never on a shard. A name server that is silent or broken says nothing about a name, which keeps the
//! addresses that it had. A name that its servers deny keeps them for a while, since names vanish for a moment when zones
//! are changed, and loses them then: its addresses may be somebody else's by now.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Addresses by name.
pub type Resolved = BTreeMap<String, Vec<IpAddr>>;

/// Looks the wanted names up on every change of the wish and every 30 s; yields the whole whenever it differs from what is
/// known. Ends when the wish has no sender any more, or nobody takes the answers.
pub async fn resolve(
    mut resolved: Resolved,
    mut wanted: watch::Receiver<BTreeSet<String>>,
    answers: mpsc::Sender<Resolved>,
) {
    let mut memory = Memory::new(&resolved);
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = again.tick() => {}
            changed = wanted.changed() => if changed.is_err() { return },
        }
        let names = wanted.borrow_and_update().clone();
        memory.learn(ask_all(names).await, Instant::now());
        let fresh = memory.resolved();
        if fresh == resolved {
            continue;
        }
        resolved = fresh;
        if answers.send(resolved.clone()).await.is_err() {
            return;
        }
    }
}

/// The addresses of these names, of those that have some.
pub async fn look_up_all(names: BTreeSet<String>) -> Resolved {
    let answers = ask_all(names).await.into_iter();
    answers.filter_map(|(name, answer)| Some((name, answer.ok()?))).collect()
}

type Answer = Result<Vec<IpAddr>, Failure>;

/// Why a name has no addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Failure {
    /// Its servers say that there is no such name, or no address of it.
    Denied(String),
    /// Nobody could say anything about it.
    Unknown(String),
}

/// What is known of each wanted name.
#[derive(Debug)]
struct Memory(BTreeMap<String, Known>);

#[derive(Debug, Default)]
struct Known {
    addresses: Vec<IpAddr>,
    /// Lookups fail since then, and somebody was told.
    is_failing: bool,
    /// When the name was denied first, since it had addresses.
    denied: Option<Instant>,
}

impl Memory {
    fn new(resolved: &Resolved) -> Self {
        let known = |addresses: &Vec<IpAddr>| Known { addresses: addresses.clone(), ..Known::default() };
        Self(resolved.iter().map(|(name, addresses)| (name.clone(), known(addresses))).collect())
    }

    /// Forgets all names but these.
    fn learn(&mut self, answers: BTreeMap<String, Answer>, now: Instant) {
        let mut before = std::mem::take(&mut self.0);
        for (name, answer) in answers {
            let mut known = before.remove(&name).unwrap_or_default();
            known.learn(&name, answer, now);
            self.0.insert(name, known);
        }
    }

    fn resolved(&self) -> Resolved {
        let found = self.0.iter().filter(|(_, known)| !known.addresses.is_empty());
        found.map(|(name, known)| (name.clone(), known.addresses.clone())).collect()
    }
}

impl Known {
    fn learn(&mut self, name: &str, answer: Answer, now: Instant) {
        match answer {
            Ok(addresses) => {
                if self.is_failing {
                    tracing::info!(name, "name resolves again");
                }
                *self = Self { addresses, ..Self::default() };
            }
            Err(failure) => {
                if !self.is_failing {
                    self.tell(name, &failure);
                }
                self.is_failing = true;
                if let Failure::Denied(_) = failure {
                    self.deny(name, now);
                }
            }
        }
    }

    /// Once for each time that it fails.
    fn tell(&self, name: &str, failure: &Failure) {
        let (Failure::Denied(why) | Failure::Unknown(why)) = failure;
        let kept = self.addresses.len();
        match failure {
            Failure::Denied(_) => {
                let for_s = DENIED_MAX.as_secs();
                tracing::warn!(name, why, kept, for_s, "name is denied; its last addresses stay for a while");
            }
            Failure::Unknown(_) => {
                tracing::warn!(name, why, kept, "name does not resolve; its last addresses stay");
            }
        }
    }

    fn deny(&mut self, name: &str, now: Instant) {
        let since = *self.denied.get_or_insert(now);
        if now.saturating_duration_since(since) >= DENIED_MAX && !self.addresses.is_empty() {
            self.addresses.clear();
            tracing::warn!(name, "name is denied for too long; it has no addresses any more");
        }
    }
}

async fn ask_all(names: BTreeSet<String>) -> BTreeMap<String, Answer> {
    let mut names = names.into_iter();
    let mut running: JoinSet<(String, Answer)> = JoinSet::new();
    let mut answers = BTreeMap::new();
    loop {
        while running.len() < LOOKUPS_MAX
            && let Some(name) = names.next()
        {
            running.spawn(async move {
                let answer = ask(&name).await;
                (name, answer)
            });
        }
        let Some(done) = running.join_next().await else { return answers };
        answers.extend(done.ok());
    }
}

/// Sorted and without duplicates, so that the order of an answer makes no generation.
async fn ask(name: &str) -> Answer {
    match timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((name, 0))).await {
        Ok(Ok(found)) => {
            let addresses: BTreeSet<IpAddr> = found.map(|address| address.ip()).collect();
            match addresses.is_empty() {
                true => Err(Failure::Denied("it has no address".to_owned())),
                false => Ok(addresses.into_iter().collect()),
            }
        }
        Ok(Err(error)) => Err(failure(&error)),
        Err(_) => Err(Failure::Unknown("no answer in time".to_owned())),
    }
}

/// The standard library keeps the code of `getaddrinfo` to itself and passes its text on, which no locale changes in a
/// process that never sets one.
fn failure(error: &io::Error) -> Failure {
    let text = error.to_string();
    match DENIALS.iter().any(|denial| text.ends_with(denial)) {
        true => Failure::Denied(text),
        false => Failure::Unknown(text),
    }
}

/// `EAI_NONAME` and `EAI_NODATA` in glibc, `EAI_NONAME` in musl.
const DENIALS: [&str; 3] =
    ["Name or service not known", "No address associated with hostname", "Name does not resolve"];

/// So long a denied name keeps its addresses.
const DENIED_MAX: Duration = Duration::from_secs(5 * 60);

/// Time between two looks; answers come without a time to live.
const AGAIN: Duration = Duration::from_secs(30);

const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Lookups at a time: each takes a blocking thread.
const LOOKUPS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured::Captured;

    const NAME: &str = "db.example.com";

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn denied() -> Answer {
        Err(Failure::Denied("no such name".into()))
    }

    fn unknown() -> Answer {
        Err(Failure::Unknown("SERVFAIL".into()))
    }

    /// Answers at these seconds, and the last byte of the address that holds after each.
    fn check(answers: &[(u64, Answer, Option<u8>)]) {
        let start = Instant::now();
        let mut memory = Memory::new(&Resolved::from([(NAME.to_owned(), vec![address(1)])]));
        for (at, answer, expected) in answers {
            let now = start + Duration::from_secs(*at);
            memory.learn(BTreeMap::from([(NAME.to_owned(), answer.clone())]), now);
            let expected = expected.map(|last| (NAME.to_owned(), vec![address(last)]));
            assert_eq!(memory.resolved(), expected.into_iter().collect(), "after {at} s: {answers:?}");
        }
    }

    #[test]
    fn a_denied_name_loses_its_addresses_after_five_minutes() {
        check(&[
            (0, denied(), Some(1)),
            (299, denied(), Some(1)),
            (300, denied(), None),
            (330, denied(), None),
        ]);
        check(&[(0, denied(), Some(1)), (400, denied(), None), (430, Ok(vec![address(2)]), Some(2))]);
    }

    #[test]
    fn a_silent_name_server_takes_nothing_away() {
        check(&[(0, unknown(), Some(1)), (86_400, unknown(), Some(1))]);
        check(&[
            (0, denied(), Some(1)),
            (400, unknown(), Some(1)),
            (430, denied(), None),
            (460, unknown(), None),
        ]);
    }

    #[test]
    fn an_answer_ends_the_time_of_a_denial() {
        let found = || Ok(vec![address(1)]);
        check(&[
            (0, denied(), Some(1)),
            (200, found(), Some(1)),
            (400, denied(), Some(1)),
            (699, denied(), Some(1)),
        ]);
    }

    #[test]
    fn a_name_that_is_not_wanted_any_more_is_forgotten() {
        let mut memory = Memory::new(&Resolved::from([(NAME.to_owned(), vec![address(1)])]));
        memory.learn(BTreeMap::new(), Instant::now());
        memory.learn(BTreeMap::from([(NAME.to_owned(), unknown())]), Instant::now());
        assert_eq!(memory.resolved(), Resolved::new());
    }

    #[test]
    fn each_turn_of_a_name_is_told_once() {
        let out = Captured::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(out.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            check(&[
                (0, unknown(), Some(1)),
                (30, unknown(), Some(1)),
                (60, denied(), Some(1)),
                (400, denied(), None),
                (430, denied(), None),
                (460, Ok(vec![address(2)]), Some(2)),
                (490, denied(), Some(2)),
            ]);
        });
        let text = out.text();
        let told = ["does not resolve; its", "no addresses any more", "resolves again", "stay for a while"];
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines.iter().all(|line| line.contains(NAME)), "{text}");
        assert_eq!(text.matches(" WARN ").count(), 3, "{text}");
        for part in told {
            assert_eq!(text.matches(part).count(), 1, "{part}: {text}");
        }
    }

    #[tokio::test]
    async fn a_name_that_cannot_exist_is_denied() {
        // No name server is asked about a name with an empty label.
        let answer = ask("bad..name").await;
        assert!(matches!(answer, Err(Failure::Denied(_))), "{answer:?}");
        let broken =
            io::Error::other("failed to lookup address information: Temporary failure in name resolution");
        assert!(matches!(failure(&broken), Failure::Unknown(_)));
    }
}
