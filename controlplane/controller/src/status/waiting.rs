//! Changes that are live here and may not be live everywhere: `Applied` waits for the other replicas. Pure; time is an
//! argument.
//!
//! Every replica keeps these, whoever leads. The leader says them once all agree; the others forget them when a leader was
//! seen alive long enough after them to have said them. So a change is said by the next leader where the one before died, gave
//! its Lease back or lost the API server between applying and saying; and what both say has one name, so it is said once.
//!
//! Of an Ingress that changes again before that, only the newest version is said.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ringress_translate::objects::{Key, Version};
use tokio::time::Instant;

use super::event::{self, Event};
use super::outbox::Known;
use super::replica::Agreement;
use super::served::Served;
use crate::source::kube::Reached;

/// A version of an Ingress that all shards of this replica serve.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) uid: String,
    pub(super) version: Version,
    /// What serving it amounts to.
    pub(super) served: Served,
    pub(super) live: Live,
    /// Whether we led when it became live: then nobody else can have said it.
    pub(super) is_ours_to_say: bool,
}

/// How a generation went live here.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) generation: u64,
    pub(super) shards: usize,
    /// From the change being noticed to the last shard.
    pub(super) elapsed: Duration,
    /// When the last shard had it.
    pub(super) at: Instant,
    /// What others must have heard to have it, too.
    pub(super) reached: Arc<Reached>,
}

#[derive(Debug, Default)]
pub(super) struct Waiting {
    changes: BTreeMap<Key, Change>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(super) fn put(&mut self, key: Key, change: Change) {
        let is_known = self.changes.contains_key(&key);
        if is_known || self.changes.len() < CHANGES_MAX {
            self.changes.insert(key, change);
        }
    }

    /// Drops what is gone, and what is another object by now.
    pub(super) fn retain(&mut self, mut exists: impl FnMut(&Key, &Change) -> bool) {
        self.changes.retain(|key, change| exists(key, change));
    }

    /// What may be said now; it does not wait any more.
    pub(super) fn agreed(
        &mut self,
        agreement: impl Fn(&Reached) -> Agreement,
        now: Instant,
    ) -> Vec<(Event, Known)> {
        let mut said = Vec::new();
        let mut asked: Option<(Arc<Reached>, Agreement)> = None;
        self.changes.retain(|key, change| {
            // Changes of one generation ask for the same.
            let is_asked =
                asked.as_ref().is_some_and(|(reached, _)| Arc::ptr_eq(reached, &change.live.reached));
            if !is_asked {
                asked = Some((Arc::clone(&change.live.reached), agreement(&change.live.reached)));
            }
            let Some((_, agreement)) = &asked else { return true };
            let Some(note) = note(change, agreement, now) else { return true };
            let known = if change.is_ours_to_say { Known::Anew } else { Known::Said };
            said.push((event::applied(key, &change.uid, change.version, note), known));
            false
        });
        said
    }

    /// Forgets what another leader, last seen alive at `other`, has had the time to say.
    pub(super) fn forget(&mut self, other: Instant) {
        self.changes.retain(|_, change| change.live.at + TIME_TO_SAY > other);
    }
}

/// `None` while not everybody agrees.
fn note(change: &Change, agreement: &Agreement, now: Instant) -> Option<String> {
    let millis = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let Change { served, live, .. } = change;
    let Live { generation, shards, elapsed, .. } = live;
    let own =
        format!("{served} as generation {generation} on {shards} shards after {:.1} ms", millis(*elapsed));
    match agreement {
        Agreement::Open => None,
        Agreement::Alone => Some(own),
        Agreement::Unknown => Some(format!("{own}, of this replica; the others are unknown")),
        Agreement::Common { others, shards: more, silent } => {
            let (shards, replicas) = (shards + more, others + 1);
            let elapsed = millis(*elapsed + now.saturating_duration_since(live.at));
            let confirmed = match others {
                0 => String::new(),
                _ => {
                    format!("; confirmed by all {shards} shards of {replicas} replicas after {elapsed:.1} ms")
                }
            };
            let silent = match silent.is_empty() {
                true => String::new(),
                false => format!("; not confirmed by {}, of which nothing is heard", silent.join(", ")),
            };
            Some(format!("{own}{confirmed}{silent}"))
        }
    }
}

/// A leader that was alive so long after a change has said it: longer than a replica that died can hold it up.
const TIME_TO_SAY: Duration = Duration::from_secs(30);

/// Changes that wait.
const CHANGES_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use ringress_translate::Objects;
    use ringress_translate::manifest::json::object;

    fn version(host: &str) -> Version {
        let text = format!(
            r#"{{"metadata":{{"namespace":"a","name":"one"}},"spec":{{"rules":[{{"host":"{host}"}}]}}}}"#
        );
        let mut objects = Objects::default();
        objects.insert(object("Ingress", &text).unwrap());
        objects.ingresses.get(&Key::new("a", "one")).unwrap().version
    }

    fn change(host: &str, at: Instant, is_ours_to_say: bool) -> Change {
        let elapsed = Duration::from_micros(4250);
        let live = Live { generation: 7, shards: 2, elapsed, at, reached: Arc::default() };
        Change { uid: "u".to_owned(), version: version(host), served: Served::Live, live, is_ours_to_say }
    }

    fn notes(said: Vec<(Event, Known)>) -> Vec<String> {
        said.into_iter().map(|(event, known)| format!("{} {known:?}: {}", event.object, event.note)).collect()
    }

    #[test]
    fn nothing_is_said_before_everybody_agrees() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        waiting.put(Key::new("a", "one"), change("a.test", start, true));
        assert!(waiting.agreed(|_| Agreement::Open, start).is_empty());
        let now = start + Duration::from_millis(50);
        let everybody = |_: &Reached| Agreement::Common { others: 2, shards: 4, silent: Vec::new() };
        let said = notes(waiting.agreed(everybody, now));
        let note = "live as generation 7 on 2 shards after 4.2 ms; confirmed by all 6 shards of 3 replicas after 54.2 ms";
        assert_eq!(said, [format!("Ingress a/one Anew: {note}")]);
        assert!(waiting.is_empty(), "once");
    }

    #[test]
    fn who_is_alone_speaks_for_itself() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        waiting.put(Key::new("a", "one"), change("a.test", now, false));
        let said = notes(waiting.agreed(|_| Agreement::Alone, now));
        assert_eq!(said, ["Ingress a/one Said: live as generation 7 on 2 shards after 4.2 ms"]);
    }

    #[test]
    fn who_did_not_confirm_is_named() {
        let now = Instant::now();
        let check = |others: usize, silent: &[&str], expected: &str| {
            let mut waiting = Waiting::default();
            waiting.put(Key::new("a", "one"), change("a.test", now, true));
            let silent: Vec<String> = silent.iter().map(|pod| (*pod).to_owned()).collect();
            let agreement =
                |_: &Reached| Agreement::Common { others, shards: 2 * others, silent: silent.clone() };
            let said = notes(waiting.agreed(agreement, now));
            assert_eq!(
                said,
                [format!("Ingress a/one Anew: live as generation 7 on 2 shards after 4.2 ms{expected}")]
            );
        };
        check(0, &["b"], "; not confirmed by b, of which nothing is heard");
        let confirmed = "; confirmed by all 4 shards of 2 replicas after 4.2 ms";
        check(1, &["b", "c"], &format!("{confirmed}; not confirmed by b, c, of which nothing is heard"));
    }

    #[test]
    fn who_may_not_ask_the_others_says_so() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        waiting.put(Key::new("a", "one"), change("a.test", now, true));
        let said = notes(waiting.agreed(|_| Agreement::Unknown, now));
        let note = "live as generation 7 on 2 shards after 4.2 ms, of this replica; the others are unknown";
        assert_eq!(said, [format!("Ingress a/one Anew: {note}")]);
    }

    #[test]
    fn of_two_versions_the_newer_is_said() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        waiting.put(Key::new("a", "one"), change("a.test", now, true));
        waiting.put(Key::new("a", "one"), change("b.test", now, true));
        let said = waiting.agreed(|_| Agreement::Alone, now);
        let expected = event::applied(&Key::new("a", "one"), "u", version("b.test"), String::new());
        assert_eq!(said.iter().map(|(event, _)| event.name()).collect::<Vec<_>>(), [expected.name()]);
    }

    #[test]
    fn what_a_leader_has_had_the_time_to_say_is_forgotten() {
        let (mut waiting, start) = (Waiting::default(), Instant::now());
        waiting.put(Key::new("a", "one"), change("a.test", start, false));
        waiting.forget(start + Duration::from_secs(29));
        assert!(!waiting.is_empty(), "it may have died before it said it");
        waiting.forget(start + Duration::from_secs(31));
        assert!(waiting.is_empty());
    }

    #[test]
    fn what_is_gone_is_not_said() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        waiting.put(Key::new("a", "one"), change("a.test", now, true));
        waiting.retain(|_, change| change.uid != "u");
        assert!(waiting.is_empty());
    }
}
