//! Says what happened: hears every generation, knows what was said, follows the other replicas while it leads.
//!
//! ```text
//! generation live ─► changes ─► Waiting ── all replicas agree ──┐
//!                 └► problems ──────────────────────────────────┴─► Outbox ── allowed ─► POST events
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use ringress_translate::objects::Key;
use ringress_translate::{Problem, Reason};
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::api::{self, Verb};
use super::event::{self, Event};
use super::follow::{Collection, News, follow};
use super::is_ours;
use super::lease::Role;
use super::outbox::{Known, Letter, Outbox};
use super::reminders::Reminders;
use super::replica::{Agreement, LABEL, Replica, Replicas};
use super::served::Served;
use super::troubles::{Task, Troubles};
use super::users::{self, Use};
use super::waiting::{Change, Live, Waiting};
use crate::acknowledge::GenerationReport;
use crate::live::View;
use crate::source::kube::Reached;
use crate::source::kube::call::Failure;

/// Writes Events while it leads.
pub(super) struct Speaker {
    client: Client,
    /// The path of the Leases.
    leases: String,
    replica: Replica,
    /// `reportingInstance`.
    me: String,
    role: watch::Receiver<Role>,
    /// The other replicas; `None` while we do not lead.
    others: Option<Others>,
    /// What was last heard of.
    heard: Option<Arc<View>>,
    /// What was last said to be wrong; `None` where somebody else may have said more.
    said: Option<Said>,
    waiting: Waiting,
    outbox: Outbox,
    reminders: Reminders,
    /// How often an Event was said, by name.
    counts: BTreeMap<String, u32>,
    troubles: Arc<Troubles>,
    /// Whether Events about cluster-wide objects were refused: a scoped release has no right in `default`.
    is_scoped: bool,
}

struct Others {
    replicas: Replicas,
    news: mpsc::Receiver<News>,
    /// When abandoned Leases are looked for again.
    sweep: Instant,
}

/// Everything that is said to be wrong in one state.
#[derive(Clone)]
struct Said {
    view: Arc<View>,
    /// What is wrong with Secrets, as it is said at those that use them.
    uses: Arc<[Use]>,
}

impl Said {
    fn of(view: &Arc<View>) -> Self {
        let uses = users::of_broken(&view.problems, &view.objects, |key| is_ours(view, key));
        Self { view: Arc::clone(view), uses: uses.into() }
    }

    fn is_same(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.view.problems, &other.view.problems);
        (Arc::ptr_eq(ours, theirs) || ours == theirs) && self.uses == other.uses
    }

    /// The warnings of what another state lacks.
    fn beyond(&self, other: Option<&Self>) -> Vec<Event> {
        let known: BTreeSet<&Problem> = other.into_iter().flat_map(Self::problems).collect();
        let problems = self.view.problems.iter().filter(|problem| !known.contains(problem));
        let uses = self.uses.iter().filter(|user| !known.contains(&user.problem));
        let objects = &self.view.objects;
        let problems = problems.filter_map(|problem| event::warning(problem, objects));
        problems.chain(uses.filter_map(|user| event::warning_at(user, objects))).collect()
    }

    fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.view.problems.iter().chain(self.uses.iter().map(|user| &user.problem))
    }
}

impl Speaker {
    pub(super) fn new(
        (client, leases): (Client, String),
        replica: Replica,
        me: String,
        role: watch::Receiver<Role>,
        troubles: Arc<Troubles>,
    ) -> Self {
        Self {
            client,
            leases,
            replica,
            me,
            role,
            others: None,
            heard: None,
            said: None,
            waiting: Waiting::default(),
            outbox: Outbox::default(),
            reminders: Reminders::default(),
            counts: BTreeMap::new(),
            troubles,
            is_scoped: false,
        }
    }

    /// Runs until the feed is gone. `first` gives what was live first, to whoever takes it first.
    pub(super) async fn run(
        mut self,
        mut first: Option<oneshot::Receiver<GenerationReport>>,
        mut reports: watch::Receiver<Option<GenerationReport>>,
    ) {
        reports.mark_changed();
        loop {
            let due = self.due();
            tokio::select! {
                changed = reports.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let newest = reports.borrow_and_update().clone();
                    self.follow_role();
                    if let Some(newest) = newest {
                        // Told before any other.
                        let first = first.take().and_then(|mut first| first.try_recv().ok());
                        first.iter().chain([&newest]).for_each(|report| self.hear(report));
                    }
                }
                Ok(()) = self.role.changed() => self.follow_role(),
                Some(news) = next(&mut self.others) => self.learn(news),
                () = sleep_until(due) => self.follow_role(),
            }
            self.say().await;
        }
    }

    fn leads(&self) -> bool {
        self.role.borrow().leads(Instant::now())
    }

    fn due(&mut self) -> Instant {
        let now = Instant::now();
        let letter = self.outbox.due(now).filter(|_| self.others.is_some());
        // Replicas grow stale without a word.
        letter.unwrap_or(now + LOOK).min(now + LOOK)
    }

    /// Begins or ends to lead.
    fn follow_role(&mut self) {
        let role = self.role.borrow_and_update().clone();
        match (role.leads(Instant::now()), &self.others) {
            (true, None) => self.begin(&role),
            (false, Some(_)) => {
                self.others = None;
                self.troubles.over(&[Task::Events, Task::OtherLeases]);
            }
            _ => {}
        }
        if let Some(other) = role.other
            && self.others.is_none()
        {
            self.waiting.forget(other);
            // Whoever leads says what is wrong.
            self.said = None;
            self.outbox.retain(|_| false);
            self.reminders.clear();
        }
    }

    fn begin(&mut self, role: &Role) {
        let collection = Collection {
            path: self.leases.clone(),
            selector: ("labelSelector", format!("{LABEL}={}", self.replica.group)),
        };
        self.others = Some(Others {
            replicas: Replicas::new(&self.replica.name, role.deposed.clone()),
            news: follow(self.client.clone(), collection),
            sweep: Instant::now() + SWEEP,
        });
        if let Some(view) = self.heard.clone() {
            self.warn(&view);
        }
    }

    fn learn(&mut self, news: News) {
        let Some(others) = &mut self.others else { return };
        match &news {
            News::Refused(failure) if self.troubles.note(Task::OtherLeases, failure) => {
                let needs = Task::OtherLeases.needs();
                tracing::warn!(error = %failure, needs, "the other replicas are unknown; Applied speaks for this one alone");
            }
            News::Refused(_) => {}
            _ => self.troubles.over(&[Task::OtherLeases]),
        }
        others.replicas.take(news, Instant::now());
    }

    /// Takes a generation in that all shards of this replica serve.
    fn hear(&mut self, report: &GenerationReport) {
        let view = &report.view;
        let before = self.heard.replace(Arc::clone(view));
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, view)) {
            return;
        }
        if let Some(before) = before
            && !Arc::ptr_eq(&before.objects, &view.objects)
        {
            let live = Live {
                generation: report.generation,
                shards: report.shards,
                elapsed: report.elapsed,
                at: report.at,
                reached: view.reached.load(),
            };
            self.wait_for_others(&before, view, &live);
        }
        if self.others.is_some() {
            self.warn(view);
        }
        self.troubles
            .retain(Task::Events, |namespace| namespace.is_empty() || has_ingresses(view, namespace));
    }

    fn wait_for_others(&mut self, before: &View, view: &View, live: &Live) {
        let changed = before.objects.ingresses.differing(&view.objects.ingresses);
        if changed.is_empty() {
            return;
        }
        let is_ours_to_say = self.leads();
        // Of an object in quarantine the version before is what is live.
        let quarantined = |key: &Key| {
            let mut problems = view.problems.iter().filter(|problem| problem.reason == Reason::Quarantined);
            problems.any(|problem| &*problem.object.kind == "Ingress" && Key::of(&problem.object) == *key)
        };
        for key in changed.iter().filter(|key| is_ours(view, key) && !quarantined(key)) {
            let Some(stored) = view.objects.ingresses.get(key) else { continue };
            let uid = stored.object.metadata.uid.clone().unwrap_or_default();
            let served = Served::of(&view.translation, key);
            let live = live.clone();
            let change = Change { uid, version: stored.version, served, live, is_ours_to_say };
            self.waiting.put(key.clone(), change);
        }
        self.waiting.retain(|key, change| {
            let now = view.objects.ingresses.get(key);
            now.is_some_and(|now| now.version == change.version)
        });
    }

    /// Puts the warnings in that are new, and takes those out that do not hold any more.
    fn warn(&mut self, view: &Arc<View>) {
        let said = Said::of(view);
        let before = self.said.replace(said.clone());
        // Most generations change nothing of it, and there may be thousands.
        if before.as_ref().is_some_and(|before| before.is_same(&said)) {
            return;
        }
        // What was wrong before we led was said by whoever led then; where nobody did, this is the first time.
        let meaning = if before.is_some() { Known::Again } else { Known::Said };
        let due = Instant::now() + SETTLE;
        for event in said.beyond(before.as_ref()) {
            self.reminders.put(&event, meaning, due);
            self.outbox.put(event, meaning, due);
        }
        let Some(before) = before else { return };
        let gone: BTreeSet<String> = before.beyond(Some(&said)).iter().map(Event::name).collect();
        gone.iter().for_each(|name| self.reminders.remove(name));
        if !gone.is_empty() {
            self.outbox.retain(|letter| !gone.contains(&letter.event.name()));
        }
    }

    /// Puts what is still wrong in again, before the API server forgets that it was said.
    fn remind(&mut self, now: Instant) {
        self.reminders.due(now).into_iter().for_each(|event| self.outbox.put(event, Known::Still, now));
    }

    /// Says what may be said now, as far as we lead.
    async fn say(&mut self) {
        let now = Instant::now();
        let Some(others) = &mut self.others else { return };
        if !self.waiting.is_empty() {
            // Whoever may not show itself may not see the others do it, either: nobody shows anything then.
            let is_blind = self.troubles.is_refused(Task::OwnLease);
            let agreement = |reached: &Reached| match others.replicas.agreement(reached, now) {
                Agreement::Alone if is_blind => Agreement::Unknown,
                agreement => agreement,
            };
            let said = self.waiting.agreed(agreement, now);
            said.into_iter().for_each(|(event, known)| self.outbox.put(event, known, now));
        }
        self.remind(now);
        let dropped = self.outbox.dropped();
        if dropped > 0 {
            tracing::warn!(dropped, "more Events are due than may be written; some are left out");
        }
        for _ in 0..LETTERS_MAX {
            if !self.leads() {
                return;
            }
            let Some(letter) = self.outbox.next(Instant::now()) else { break };
            self.send(letter).await;
        }
        self.sweep().await;
    }

    async fn send(&mut self, letter: Letter) {
        if self.is_scoped && letter.event.is_cluster_wide() {
            return;
        }
        let failure = match self.write(&letter).await {
            Ok(()) => {
                self.troubles.over_in(Task::Events, letter.event.namespace());
                return self.troubles.over_in(Task::Events, "");
            }
            Err(failure) => failure,
        };
        if letter.event.is_cluster_wide() && matches!(failure, Failure::Forbidden(_)) {
            self.is_scoped = true;
            tracing::debug!(object = %letter.event.object, error = %failure, "Events about such objects are left out");
            return;
        }
        if self.troubles.note_in(Task::Events, letter.event.namespace(), &failure) {
            let needs = Task::Events.needs();
            tracing::warn!(object = %letter.event.object, error = %failure, needs, "an Event cannot be written");
        }
        let (is_passing, asked) = match &failure {
            Failure::Busy { after, .. } => (true, after.unwrap_or_default()),
            Failure::Broken(_) | Failure::Unauthenticated(_) => (true, Duration::ZERO),
            _ => (false, Duration::ZERO),
        };
        let object = letter.event.object.clone();
        if !is_passing || !self.outbox.failed(letter, asked, Instant::now()) {
            tracing::debug!(%object, error = %failure, "an Event is lost");
        }
    }

    async fn write(&mut self, letter: &Letter) -> Result<(), Failure> {
        let Letter { event, known, .. } = letter;
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", event.namespace());
        let stamp = api::stamp();
        let created = api::write(&self.client, Verb::Create, &path, &event.body(&self.me, &stamp)).await;
        match (created, known) {
            (Err(Failure::Conflict), Known::Said) => Ok(()),
            (Err(Failure::Conflict), Known::Anew) => {
                let event = event.clone().anew();
                match api::write(&self.client, Verb::Create, &path, &event.body(&self.me, &stamp)).await {
                    Err(Failure::Conflict) => Ok(()),
                    created => created,
                }
            }
            (Err(Failure::Conflict), Known::Again | Known::Still) => {
                self.count(&path, &event.name(), &stamp).await
            }
            (created, _) => created,
        }
    }

    async fn count(&mut self, path: &str, name: &str, stamp: &str) -> Result<(), Failure> {
        if self.counts.len() > COUNTS_MAX {
            self.counts.clear();
        }
        let count = self.counts.get(name).copied().unwrap_or(1) + 1;
        self.counts.insert(name.to_owned(), count);
        api::write(&self.client, Verb::Merge, &format!("{path}/{name}"), &event::again(count, stamp)).await
    }

    /// Takes the Leases of replicas away that did not live to do it themselves.
    async fn sweep(&mut self) {
        let now = Instant::now();
        let Some(others) = self.others.as_mut().filter(|others| others.sweep <= now) else { return };
        others.sweep = now + SWEEP;
        for (name, version) in others.replicas.abandoned(now) {
            // Not if it has come back in this moment.
            let body = json!({"preconditions": {"resourceVersion": version}});
            match api::write(&self.client, Verb::Delete, &format!("{}/{name}", self.leases), &body).await {
                Ok(()) => tracing::info!(lease = name, "the Lease of a replica that is gone is taken away"),
                Err(error) => tracing::debug!(lease = name, %error, "a Lease that was left behind stays"),
            }
        }
    }
}

fn has_ingresses(view: &View, namespace: &str) -> bool {
    let first = view.objects.ingresses.iter_from(&Key::new(namespace, "")).next();
    first.is_some_and(|(key, _)| &*key.namespace == namespace)
}

async fn next(others: &mut Option<Others>) -> Option<News> {
    match others {
        Some(others) => others.news.recv().await,
        None => std::future::pending().await,
    }
}

/// What is wrong for less than this is not said: an Ingress may come a moment before its Service.
const SETTLE: Duration = Duration::from_millis(300);

/// Replicas are looked through this often without news of them.
const LOOK: Duration = Duration::from_secs(1);

/// Abandoned Leases are looked for this often.
const SWEEP: Duration = Duration::from_secs(10);

/// Events that are written before news have their turn.
const LETTERS_MAX: usize = 20;

/// Events whose counts are remembered.
const COUNTS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use ringress_translate::manifest::json::object;
    use ringress_translate::{LastGood, Memo, Objects, Settings, translate};

    use super::*;
    use crate::live::Covered;
    use crate::publish::Publisher;
    use crate::tickets::TicketKeys;

    /// A generation with one Ingress of our class whose Service is this one; `web` is there.
    fn view(service: &str) -> Arc<View> {
        let class =
            r#"{"metadata":{"name":"ringress"},"spec":{"controller":"ringress.dev/ingress-controller"}}"#;
        let web =
            r#"{"metadata":{"namespace":"shop","name":"web","uid":"s"},"spec":{"ports":[{"port":80}]}}"#;
        let ingress = json!({
            "metadata": {"namespace": "shop", "name": "web", "uid": "uid-web"},
            "spec": {"ingressClassName": "ringress", "rules": [{"host": "a.test", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}},
            ]}}]},
        });
        let mut objects = Objects::default();
        for (kind, text) in [("IngressClass", class), ("Service", web), ("Ingress", &ingress.to_string())] {
            objects.insert(object(kind, text).unwrap());
        }
        let objects = Arc::new(objects);
        let settings = Arc::new(Settings::default());
        let translation =
            Arc::new(translate(&objects, &settings, &LastGood::default(), &mut Memo::default()));
        let tickets = TicketKeys::new().unwrap();
        let snapshot =
            Publisher::new(Vec::new(), tickets).publish(translation.parts.clone()).unwrap().snapshot;
        let problems = translation.problems.iter().cloned().collect();
        let reached = Covered::new(Reached::default());
        Arc::new(View { objects, settings, translation, snapshot, problems, reached })
    }

    /// What is put in within so many minutes: when, the reason, and what it means.
    async fn said(speaker: &mut Speaker, minutes: u64) -> Vec<(Duration, String, Known)> {
        let begun = Instant::now();
        let mut said = Vec::new();
        for _ in 0..minutes {
            tokio::time::advance(Duration::from_secs(60)).await;
            let now = Instant::now();
            speaker.remind(now);
            while let Some(letter) = speaker.outbox.next(now) {
                said.push((now - begun, letter.event.reason, letter.known));
            }
        }
        said
    }

    #[tokio::test(start_paused = true)]
    async fn what_stays_wrong_is_said_again_within_each_hour_until_it_is_right() {
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = Client::try_from(config).unwrap();
        let (role, replica) =
            (watch::Sender::new(Role::default()), Replica::new("pod", "me", "own", "lease"));
        let calls = (client, "/leases".to_owned());
        let mut speaker = Speaker::new(calls, replica, "me".to_owned(), role.subscribe(), Arc::default());
        speaker.warn(&view("web"));
        speaker.outbox.retain(|_| false);
        speaker.reminders.clear();
        speaker.warn(&view("missing"));
        let four_hours = said(&mut speaker, 240).await;
        let (firsts, again): (Vec<_>, Vec<_>) =
            four_hours.into_iter().partition(|(.., known)| *known == Known::Again);
        assert_eq!(firsts.len(), 1, "{firsts:?}");
        assert_eq!(firsts[0].1, "BackendNotFound");
        assert!((4..=6).contains(&again.len()), "{again:?}");
        let mut before = firsts[0].0;
        for (at, reason, known) in &again {
            assert_eq!((&**reason, *known), ("BackendNotFound", Known::Still));
            assert!(*at - before < Duration::from_secs(55 * 60), "{again:?}");
            before = *at;
        }
        speaker.warn(&view("web"));
        let after = said(&mut speaker, 120).await;
        assert!(after.iter().all(|(_, reason, _)| reason != "BackendNotFound"), "{after:?}");
    }
}
