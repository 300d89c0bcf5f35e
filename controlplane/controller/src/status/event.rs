//! Which Events are due: pure, from one state to the next.
//!
//! `Applied` for every Ingress of ours that changed and is live on all shards; a warning for everything that went wrong
//! since. An Event's name is a hash of what it says, so that saying it again, also by another leader or after a restart,
//! raises a count and makes no second one. Two allowances keep a storm away: one per object, one for all.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use ringress_shared::origin::ObjectRef;
use ringress_translate::objects::{Key, Stored, Table};
use ringress_translate::{Level, Objects, Problem};
use serde_json::{Value, json};
use tokio::time::Instant;

/// One thing to say about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) object: ObjectRef,
    pub(super) uid: String,
    /// `Normal` or `Warning`.
    pub(super) kind: &'static str,
    pub(super) reason: String,
    pub(super) note: String,
}

/// How a generation went live.
#[derive(Debug, Clone, Copy)]
pub(super) struct Applied {
    pub(super) generation: u64,
    pub(super) shards: usize,
    pub(super) elapsed: Duration,
}

/// One state of objects with what is wrong.
#[derive(Clone, Copy)]
pub(super) struct State<'s> {
    pub(super) objects: &'s Objects,
    pub(super) problems: &'s [Problem],
}

/// The Events between two states; `None` before the first, where what is wrong is said but nothing is new.
pub(super) fn between(
    before: Option<State<'_>>,
    now: State<'_>,
    applied: Applied,
    is_ours: impl Fn(&Key) -> bool,
) -> Vec<Event> {
    let mut events = Vec::new();
    if let Some(before) = before {
        let changed = changed(&before.objects.ingresses, &now.objects.ingresses);
        let ours = changed.into_iter().filter(|(key, _)| is_ours(key));
        events.extend(ours.map(|(key, stored)| {
            let elapsed_ms = applied.elapsed.as_secs_f64() * 1000.0;
            let (generation, shards) = (applied.generation, applied.shards);
            Event {
                object: key.reference("Ingress"),
                uid: stored.object.metadata.uid.clone().unwrap_or_default(),
                kind: "Normal",
                reason: "Applied".to_owned(),
                note: format!("live as generation {generation} on {shards} shards after {elapsed_ms:.1} ms"),
            }
        }));
    }
    let known: BTreeSet<&Problem> = before.map(|before| before.problems).unwrap_or_default().iter().collect();
    let fresh =
        now.problems.iter().filter(|problem| problem.level != Level::Info && !known.contains(problem));
    events.extend(fresh.filter_map(|problem| warning(problem, now.objects)));
    events
}

/// Objects that are new or another version.
fn changed<'t, T>(before: &Table<T>, now: &'t Table<T>) -> Vec<(Key, &'t Stored<T>)> {
    let differing = before.differing(now).into_iter();
    differing.filter_map(|key| now.get(&key).map(|stored| (key, stored))).collect()
}

/// What is wrong with files and flags has no object to say it at.
fn warning(problem: &Problem, objects: &Objects) -> Option<Event> {
    let uid = uid(&problem.object, objects)?;
    let note = match problem.field.is_empty() {
        true => problem.message.clone(),
        false => format!("{}: {}", problem.field, problem.message),
    };
    Some(Event {
        object: problem.object.clone(),
        uid,
        kind: "Warning",
        reason: problem.reason.as_str().to_owned(),
        note: cut(note),
    })
}

fn uid(object: &ObjectRef, objects: &Objects) -> Option<String> {
    let key = Key::of(object);
    let uid = match &*object.kind {
        "Ingress" => &objects.ingresses.get(&key)?.object.metadata.uid,
        "Service" => &objects.services.get(&key)?.object.metadata.uid,
        "Secret" => &objects.secrets.get(&key)?.object.metadata.uid,
        "EndpointSlice" => &objects.endpoint_slices.get(&key)?.object.metadata.uid,
        "IngressClass" => &objects.ingress_classes.get(&key)?.object.metadata.uid,
        _ => return None,
    };
    uid.clone()
}

/// The API refuses longer notes.
fn cut(mut note: String) -> String {
    if note.len() > NOTE_BYTES_MAX {
        let end = (0..=NOTE_BYTES_MAX - 3).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
        note.truncate(end);
        note.push('…');
    }
    note
}

impl Event {
    /// The namespace that it stands in: cluster-wide objects have theirs in `default`.
    pub(super) fn namespace(&self) -> &str {
        if self.object.namespace.is_empty() { "default" } else { &self.object.namespace }
    }

    /// Its name: the same for the same thing said of the same object.
    pub(super) fn name(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (&self.object.kind, &self.uid, &self.reason, &self.note).hash(&mut hasher);
        let stem: String = self.object.name.chars().take(200).collect();
        format!("{}.{:016x}", stem.trim_end_matches(['.', '-']), hasher.finish())
    }

    /// As the API wants it. `stamp` is the wall clock as RFC 3339 with microseconds.
    pub(super) fn body(&self, reporter: &str, stamp: &str) -> Value {
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": self.name(), "namespace": self.namespace()},
            "eventTime": stamp, "reportingController": CONTROLLER, "reportingInstance": reporter,
            "action": "Serve", "reason": self.reason, "note": self.note, "type": self.kind,
            "regarding": {
                "apiVersion": api_version(&self.object.kind), "kind": &*self.object.kind,
                "namespace": &*self.object.namespace, "name": &*self.object.name, "uid": self.uid,
            },
        })
    }
}

/// What raises the count of an Event that is there.
pub(super) fn again(count: u32, stamp: &str) -> Value {
    json!({"series": {"count": count.max(2), "lastObservedTime": stamp}})
}

fn api_version(kind: &str) -> &'static str {
    match kind {
        "Ingress" | "IngressClass" => "networking.k8s.io/v1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        _ => "v1",
    }
}

/// How much may be said: a bucket that fills slowly.
#[derive(Debug, Clone)]
struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    fn take(&mut self, burst: f64, every: Duration, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() / every.as_secs_f64();
        self.left = (self.left + gained).min(burst);
        self.at = now;
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

/// Keeps a storm away.
#[derive(Debug, Default)]
pub(super) struct Limits {
    all: Option<Allowance>,
    by_object: BTreeMap<ObjectRef, Allowance>,
}

impl Limits {
    /// Whether an Event about that object may be written now.
    pub(super) fn allow(&mut self, object: &ObjectRef, now: Instant) -> bool {
        if self.by_object.len() > OBJECTS_MAX {
            self.by_object.retain(|_, allowance| now.saturating_duration_since(allowance.at) < OBJECT_EVERY);
        }
        let own = Allowance { left: OBJECT_BURST, at: now };
        let own = self.by_object.entry(object.clone()).or_insert(own);
        let all = self.all.get_or_insert(Allowance { left: ALL_BURST, at: now });
        own.take(OBJECT_BURST, OBJECT_EVERY, now) && all.take(ALL_BURST, ALL_EVERY, now)
    }
}

/// Events of one object at once, and one more after each of these.
const OBJECT_BURST: f64 = 10.0;
const OBJECT_EVERY: Duration = Duration::from_secs(30);

/// Events at once, and one more after each of these.
const ALL_BURST: f64 = 200.0;
const ALL_EVERY: Duration = Duration::from_millis(100);

/// Objects whose allowance is remembered.
const OBJECTS_MAX: usize = 4096;

/// The API's limit for notes.
const NOTE_BYTES_MAX: usize = 1024;

/// Who reports.
const CONTROLLER: &str = "ringress.dev/ingress-controller";

#[cfg(test)]
mod tests {
    use super::*;
    use ringress_translate::manifest::json::object;

    fn objects(ingresses: &[(&str, &str)]) -> Objects {
        let mut objects = Objects::default();
        for (name, host) in ingresses {
            let text = format!(
                r#"{{"metadata":{{"namespace":"a","name":"{name}","uid":"u-{name}"}},"spec":{{"rules":[{{"host":"{host}"}}]}}}}"#
            );
            objects.insert(object("Ingress", &text).unwrap());
        }
        objects
    }

    fn events(before: Option<(&Objects, &[Problem])>, now: (&Objects, &[Problem])) -> Vec<String> {
        let state = |(objects, problems)| State { objects, problems };
        let applied = Applied { generation: 7, shards: 2, elapsed: Duration::from_micros(4250) };
        let events = between(before.map(state), state(now), applied, |key| &*key.name != "foreign");
        events.into_iter().map(|event| format!("{} {} {}", event.object, event.reason, event.note)).collect()
    }

    #[test]
    fn a_change_that_is_live_is_said_of_the_object_that_changed() {
        let before = objects(&[("one", "a.test"), ("two", "b.test"), ("foreign", "c.test")]);
        let now =
            objects(&[("one", "a.test"), ("two", "new.test"), ("three", "d.test"), ("foreign", "new.test")]);
        let said = events(Some((&before, &[])), (&now, &[]));
        let note = "live as generation 7 on 2 shards after 4.2 ms";
        assert_eq!(
            said,
            [format!("Ingress a/three Applied {note}"), format!("Ingress a/two Applied {note}")]
        );
        assert!(events(None, (&now, &[])).is_empty(), "at the start nothing is new");
    }

    #[test]
    fn what_went_wrong_is_said_once() {
        let now = objects(&[("one", "a.test")]);
        let wrong = [Problem::undecodable(&ObjectRef::new("Ingress", "a", "one"), "spec", "why")];
        let nobody = [Problem::undecodable(&ObjectRef::new("File", "", "x.yaml"), "", "why")];
        assert_eq!(events(None, (&now, &wrong)).len(), 1);
        assert!(events(Some((&now, &wrong)), (&now, &wrong)).is_empty());
        assert!(events(None, (&now, &nobody)).is_empty(), "a file has no Events");
    }

    #[test]
    fn the_same_thing_has_the_same_name() {
        let event = |uid: &str, note: &str| Event {
            object: ObjectRef::new("Ingress", "a", "one"),
            uid: uid.to_owned(),
            kind: "Warning",
            reason: "PortNotFound".to_owned(),
            note: note.to_owned(),
        };
        assert_eq!(event("1", "x").name(), event("1", "x").name());
        assert_ne!(event("1", "x").name(), event("2", "x").name());
        assert_ne!(event("1", "x").name(), event("1", "y").name());
        assert!(event("1", "x").name().starts_with("one."));
    }

    #[test]
    fn nobody_gets_a_storm() {
        let mut limits = Limits::default();
        let now = Instant::now();
        let object = ObjectRef::new("Ingress", "a", "one");
        let said = (0..100).filter(|_| limits.allow(&object, now)).count();
        assert_eq!(said, 10);
        let others = (0..1000)
            .filter(|number| limits.allow(&ObjectRef::new("Ingress", "a", &number.to_string()), now));
        assert_eq!(others.count(), 190);
        assert!(limits.allow(&object, now + Duration::from_secs(31)));
    }

    #[test]
    fn a_note_fits_the_api() {
        assert!(cut("ä".repeat(2000)).len() <= NOTE_BYTES_MAX);
        assert_eq!(cut("short".to_owned()), "short");
    }
}
