//! The control loop: one task that owns everything that changes, and waits for whatever comes next.
//!
//! Nothing in it blocks: folders are read on a thread of their own, translation that may take long runs on another, binding
//! is a system call. So the loop also serves as the pulse of liveness: it counts the shards' heartbeats every second.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ringress_shared::command::{Command, Event, ShardId};
use ringress_shared::listener::SocketId;
use ringress_shared::snapshot::Generation;
use ringress_translate::{Problem, Settings, Translation};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::Controller;
use crate::acknowledge::{GenerationReport, Underway};
use crate::debounce::Debounce;
use crate::error::{Error, bind_message};
use crate::live::{Covered, Live, View};
use crate::problems::{Shift, State};
use crate::publish::bind::BindError;
use crate::publish::{Publication, Publisher};
use crate::reconcile::{Difference, Input, Known, Output, Translator, difference};
use crate::shutdown::{Ended, Stage};
use crate::source::names::{self, Resolved};
use crate::source::{Change, SourceError};
use crate::supervise::{Panicked, supervise};
use crate::tickets::{self, TicketKeys};

/// The state of the loop.
pub(super) struct Loop {
    settings: Arc<Settings>,
    live: Arc<Live>,
    publisher: Publisher,
    tickets: Arc<TicketKeys>,
    next_rotation: Instant,
    known: Known,
    translator: Translator,
    debounce: Debounce,
    /// When the oldest change that is not translated was noticed.
    seen: Option<Instant>,
    underway: Underway,
    stage: Stage,
    drain_timeout: Duration,
    shutdown_grace_period: Duration,
    on_generation: Box<dyn FnMut(GenerationReport) + Send>,
    wanted_names: watch::Sender<BTreeSet<String>>,
    // What wakes it.
    stop: mpsc::Receiver<()>,
    events: mpsc::UnboundedReceiver<Event>,
    changes: mpsc::Receiver<Change>,
    resolved: mpsc::Receiver<Resolved>,
    tick: Interval,
    ticks: u64,
}

/// What woke the loop.
enum Wake {
    Stop,
    StageOver,
    Event(Event),
    Changed(Box<Change>),
    SourceEnded,
    Resolved(Resolved),
    Due,
    Translated(Result<Output, Panicked>),
    Tick,
}

impl Loop {
    pub(super) fn new(
        controller: Controller,
        changes: mpsc::Receiver<Change>,
        stop: mpsc::Receiver<()>,
    ) -> Self {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            publisher: Publisher::new(controller.live.ports.clone(), Arc::clone(&controller.tickets)),
            known: Known::new(controller.overlay),
            translator: Translator::new(Arc::clone(&controller.settings)),
            settings: controller.settings,
            live: controller.live,
            tickets: controller.tickets,
            next_rotation: Instant::now() + tickets::ROTATION,
            debounce: Debounce::default(),
            seen: None,
            underway: Underway::default(),
            stage: Stage::default(),
            drain_timeout: controller.drain_timeout,
            shutdown_grace_period: controller.shutdown_grace_period,
            on_generation: controller.on_generation,
            wanted_names: watch::Sender::default(),
            stop,
            events: controller.events,
            changes,
            // Nothing comes before the resolver is made.
            resolved: mpsc::channel(1).1,
            tick,
            ticks: 0,
        }
    }

    /// Publishes generation 1; what cannot be bound now is an error of the flags.
    pub(super) async fn first(&mut self, change: Change) -> Result<(), Error> {
        self.known.loaded(change.loaded, change.reached);
        let mut output = self.translate(change.seen).await?;
        let names = &output.translation.wants.dns_names;
        if !names.is_empty() {
            // Otherwise external names would answer 503 until generation 2.
            let found = tokio::time::timeout(FIRST_LOOKUP, names::look_up_all(names.clone())).await;
            self.known.resolved(found.unwrap_or_default());
            output = self.translate(change.seen).await?;
        }
        match self.publish(output)?.into_iter().next() {
            None => Ok(()),
            Some(error) => Err(Error::Bind { flag: self.flag_of(error.socket), error }),
        }
    }

    /// What looks the wanted names up from now on.
    pub(super) fn resolver(&mut self) -> impl Future<Output = ()> + use<> {
        let (answers, resolved) = mpsc::channel(1);
        self.resolved = resolved;
        let (known, wanted) = (self.known.names().clone(), self.wanted_names.subscribe());
        supervise("resolver", move || names::resolve(known.clone(), wanted.clone(), answers.clone()))
    }

    async fn translate(&mut self, seen: Instant) -> Result<Output, Error> {
        let input = self.known.input(seen);
        self.translator.start(input, Difference::Much);
        self.translator.finished().await.map_err(|error| Error::Translation(error.to_string()))
    }

    /// Turns until the process must end.
    pub(super) async fn turn(&mut self) -> Result<Ended, Error> {
        loop {
            match self.wake().await {
                Wake::Stop => {
                    if let Some(ended) = self.stop() {
                        return Ok(ended);
                    }
                }
                Wake::StageOver if self.stage.is_draining() => return Ok(Ended::TimedOut),
                Wake::StageOver => self.drain(),
                Wake::Event(Event::Died { shard, message }) => {
                    return Err(Error::ShardDied { shard, message });
                }
                Wake::Event(Event::Drained { shard, cut }) => {
                    if let Some(ended) = self.stage.drained(shard, cut) {
                        return Ok(ended);
                    }
                }
                Wake::Event(Event::Installed { shard, generation }) => self.installed(shard, generation),
                Wake::Event(Event::Notice { shard, message }) => {
                    self.live.change(|standing| standing.noticed(shard));
                    tracing::warn!(shard, notice = message, "shard notice");
                }
                Wake::Changed(change) => {
                    self.known.loaded(change.loaded, change.reached);
                    self.changed(change.seen);
                }
                // What is served would be frozen for good; whoever started us does better.
                Wake::SourceEnded => return Err(SourceError::Ended.into()),
                Wake::Resolved(resolved) => {
                    self.known.resolved(resolved);
                    self.changed(Instant::now());
                }
                Wake::Due => self.start_translation(),
                Wake::Translated(outcome) => {
                    self.translated(outcome);
                    self.debounce.ended(Instant::now());
                }
                Wake::Tick => self.tick(),
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        let due = self.debounce.due().filter(|_| !self.stage.is_draining());
        tokio::select! {
            biased;
            Some(()) = self.stop.recv() => Wake::Stop,
            () = self.stage.over() => Wake::StageOver,
            Some(event) = self.events.recv() => Wake::Event(event),
            _ = self.tick.tick() => Wake::Tick,
            output = self.translator.finished() => Wake::Translated(output),
            // While draining nothing is translated, and connections that end in order are worth more than the news.
            change = self.changes.recv(), if !self.stage.is_draining() => match change {
                Some(change) => Wake::Changed(Box::new(change)),
                None => Wake::SourceEnded,
            },
            Some(resolved) = self.resolved.recv() => Wake::Resolved(resolved),
            () = until(due) => Wake::Due,
        }
    }
}

/// Waits until `due`; for ever without one. The timer rounds up to whole milliseconds, so what is due now does not ask it.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) if due <= Instant::now() => {}
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// From a change to a generation.
impl Loop {
    fn changed(&mut self, seen: Instant) {
        self.seen.get_or_insert(seen);
        self.debounce.changed(Instant::now());
    }

    fn start_translation(&mut self) {
        let now = Instant::now();
        self.debounce.take(now);
        let input = self.known.input(self.seen.take().unwrap_or(now));
        let Some(view) = self.live.view() else { return self.translator.start(input, Difference::Much) };
        match difference(&view.objects, &input.objects) {
            Difference::Nothing => {
                view.reached.store(input.reached.clone());
                // What failed may have been taken back.
                self.live.change(|standing| standing.reloads.is_last_good = true);
                self.only_problems(&view, &input);
                self.debounce.ended(Instant::now());
            }
            difference => self.translator.start(input, difference),
        }
    }

    /// No object changed: no generation, but what could not be read may differ.
    fn only_problems(&mut self, view: &View, input: &Input) {
        let problems = all_problems(input, view.translation.problems.iter());
        if problems == view.problems {
            return;
        }
        let generation = view.snapshot.generation;
        let shift = Shift::between(view.state(), State { objects: &input.objects, problems: &problems });
        shift.log(generation);
        let view = self.live.show(View { problems, ..view.clone() });
        // What no shard has acknowledged is not live: its own report says this, too, once it is.
        if self.underway.replaced(&view, shift.clone()) {
            return;
        }
        (self.on_generation)(GenerationReport {
            generation,
            shards: self.live.ports.len(),
            elapsed: input.seen.elapsed(),
            at: Instant::now(),
            fresh: false,
            problems: Arc::clone(&view.problems),
            appeared: shift.appeared,
            solved: shift.solved,
            recovered: shift.recovered,
            view,
        });
    }

    fn translated(&mut self, outcome: Result<Output, Panicked>) {
        let output = match outcome {
            // A generation after the end of accepting would reach nobody.
            Ok(_) if self.stage.is_draining() => return,
            Ok(output) => output,
            Err(error) => {
                self.live.change(|standing| standing.reloads.failed());
                tracing::error!(%error, "translation failed; the generation before goes on");
                return;
            }
        };
        match self.publish(output) {
            Ok(failed) => self.log_unbound(&failed),
            Err(error) => {
                self.live.change(|standing| standing.reloads.failed());
                tracing::error!(%error, "generation cannot be published; the one before goes on");
            }
        }
    }

    fn publish(&mut self, output: Output) -> Result<Vec<BindError>, Error> {
        let Output { input, translation } = output;
        let Publication { snapshot, failed } = self.publisher.publish(translation.parts.clone())?;
        let names = &translation.wants.dns_names;
        self.wanted_names.send_if_modified(|wanted| {
            let differs = wanted != names;
            wanted.clone_from(names);
            differs
        });
        let before = self.live.view();
        let problems = match &before {
            Some(before) if has_same_problems(before, &input, &translation) => Arc::clone(&before.problems),
            _ => all_problems(&input, translation.problems.iter()),
        };
        let settings = Arc::clone(&self.settings);
        let reached = Covered::new(input.reached);
        let view = View { objects: input.objects, settings, translation, snapshot, problems, reached };
        let is_same = |before: &Arc<View>| Arc::ptr_eq(&before.snapshot.sockets, &view.snapshot.sockets);
        if !before.as_ref().is_some_and(is_same) {
            self.live.shown_since.note(&view.snapshot, SystemTime::now());
        }
        let shift = match before {
            Some(before) if Arc::ptr_eq(&before.problems, &view.problems) => Shift::default(),
            Some(before) => Shift::between(before.state(), view.state()),
            None => Shift { appeared: view.problems.to_vec(), ..Shift::default() },
        };
        shift.log(view.snapshot.generation);
        let view = self.live.show(view);
        self.underway.published(view, shift, input.seen);
        self.live.change(|standing| standing.reloads.succeeded(SystemTime::now()));
        self.show_standing(&failed);
        Ok(failed)
    }

    fn show_standing(&mut self, failed: &[BindError]) {
        let snapshots = self.publisher.free();
        let unbound =
            failed.iter().map(|error| bind_message(error, self.flag_of(error.socket).as_deref())).collect();
        let (generation, bound) = (self.publisher.generation(), self.publisher.bound().clone());
        self.live.change(|standing| {
            standing.generation = generation;
            standing.snapshots = snapshots;
            standing.bound = bound;
            standing.unbound = unbound;
        });
    }

    fn installed(&mut self, shard: ShardId, generation: Generation) {
        let acknowledged = self.publisher.installed(shard, generation);
        for report in self.underway.acknowledged(acknowledged, self.live.ports.len()) {
            self.live.apply.observe(report.elapsed.as_secs_f64());
            let elapsed_ms = report.elapsed.as_secs_f64() * 1000.0;
            let (shards, problems) = (report.shards, report.problems.len());
            tracing::info!(generation = report.generation, shards, elapsed_ms, problems, "generation live");
            (self.on_generation)(report);
        }
    }

    /// The flag that names the port of a socket.
    fn flag_of(&self, socket: SocketId) -> Option<String> {
        let named = |address: Option<SocketAddr>| address == Some(socket.address);
        match () {
            () if named(self.settings.http) => Some("--http-port".to_owned()),
            () if named(self.settings.https) => Some("--https-port".to_owned()),
            () => None,
        }
    }

    fn log_unbound(&self, failed: &[BindError]) {
        for error in failed {
            let next = bind_message(error, self.flag_of(error.socket).as_deref());
            tracing::warn!(socket = %error.socket, error = next, "socket cannot be bound");
        }
    }
}

/// Once a second.
impl Loop {
    fn tick(&mut self) {
        let now = Instant::now();
        self.ticks += 1;
        self.live.listen_to_hearts(now);
        let snapshots = self.publisher.free();
        self.live.change(|standing| standing.snapshots = snapshots);
        if let Some(generation) = self.underway.overdue(now) {
            let installed: Vec<_> = self.live.ports.iter().map(|port| port.status().generation()).collect();
            tracing::warn!(generation, ?installed, "generation is not live on every shard yet");
        }
        if now >= self.next_rotation {
            self.rotate_tickets(now);
        }
        if self.ticks.is_multiple_of(REBIND_TICKS) && !self.stage.is_draining() {
            self.rebind();
        }
    }

    fn rotate_tickets(&mut self, now: Instant) {
        self.next_rotation = now + tickets::ROTATION;
        if self.tickets.rotate().is_err() {
            tracing::error!("ticket keys are not rotated, because the system gives no random bytes");
        }
    }

    fn rebind(&mut self) {
        if self.live.standing().unbound.is_empty() {
            return;
        }
        let failed = self.publisher.rebind();
        self.show_standing(&failed);
    }
}

/// The way out.
impl Loop {
    /// The end, where this was the second time.
    fn stop(&mut self) -> Option<Ended> {
        if !matches!(self.stage, Stage::Serving) {
            tracing::warn!("stopping at once, because a second signal came");
            return Some(Ended::Forced);
        }
        self.live.change(|standing| standing.draining = true);
        self.live.stopping.send_replace(true);
        if self.shutdown_grace_period.is_zero() {
            self.drain();
            return None;
        }
        tracing::info!(grace_period_s = self.shutdown_grace_period.as_secs_f64(), "not ready any more");
        self.stage = Stage::Grace { until: Instant::now() + self.shutdown_grace_period };
        None
    }

    fn drain(&mut self) {
        let within = self.drain_timeout;
        tracing::info!(within_s = within.as_secs_f64(), "draining");
        for port in &self.live.ports {
            port.send(Command::Drain { within });
        }
        self.stage = Stage::draining(self.live.ports.len(), within);
    }
}

/// Whether the problems are those of before, as far as can be said without looking at each: there may be thousands.
fn has_same_problems(before: &View, input: &Input, translation: &Translation) -> bool {
    before.translation.problems.is_shared_with(&translation.problems)
        && before.problems.len() == input.unread.len() + translation.problems.len()
        && before.problems.starts_with(&input.unread)
}

fn all_problems<'p>(input: &'p Input, translated: impl Iterator<Item = &'p Problem>) -> Arc<[Problem]> {
    input.unread.iter().chain(translated).cloned().collect()
}

/// Hearts are listened to and snapshots freed this often.
const TICK: Duration = Duration::from_secs(1);

/// Sockets that could not be bound are tried again after so many ticks.
const REBIND_TICKS: u64 = 5;

/// The first generation waits so long for external names.
const FIRST_LOOKUP: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::controller::Config;
    use crate::source::Source;

    /// A loop over no shards that has its first objects, what feeds it and what stops it.
    async fn turning() -> (Loop, mpsc::Sender<Change>, mpsc::Sender<()>) {
        let config = Config {
            source: Source::Texts(BTreeMap::new()),
            settings: Settings { http: None, https: None, ..Settings::default() },
            admin_address: None,
            health_address: None,
            drain_timeout: Duration::from_secs(1),
            shutdown_grace_period: Duration::ZERO,
            overlay: None,
            explain: Arc::new(|_, question| Ok(question)),
            on_generation: Box::new(|_| {}),
        };
        let controller = Controller::new(config, Vec::new(), mpsc::unbounded_channel().1).unwrap();
        let (first, _) = controller.source.clone().open().await.unwrap();
        let ((sender, changes), (stop, stopped)) = (mpsc::channel(1), mpsc::channel(1));
        let mut control = Loop::new(controller, changes, stopped);
        control.first(first).await.unwrap();
        (control, sender, stop)
    }

    #[tokio::test]
    async fn a_source_that_ends_ends_the_process_to_be_started_again() {
        let (mut control, sender, _stop) = turning().await;
        drop(sender);
        let error = tokio::time::timeout(Duration::from_secs(5), control.turn()).await.expect("it turns on");
        let error = error.unwrap_err();
        assert!(matches!(error, Error::Source(SourceError::Ended)), "{error}");
        assert_eq!(error.exit_code(), 1, "nobody can put that right but us");
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_ends_while_draining_cuts_nothing_off() {
        let (mut control, sender, stop) = turning().await;
        stop.send(()).await.unwrap();
        drop(sender);
        assert_eq!(control.turn().await.unwrap(), Ended::TimedOut);
    }
}
