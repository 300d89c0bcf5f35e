//! Deadlines: one wheel per shard, on one timer.
//!
//! A [`Watch`] guards one direction of a connection. Arming it writes a cell; the wheel looks at the cell when the slot
//! that it was put in comes up, and puts it into a later slot if the deadline has moved. So a busy connection costs no
//! timer at all. When a deadline passes, the socket is shut down: the pending operation ends and its owner, who awaits it,
//! learns from the watch why.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::Shutdown;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::Clock;
use crate::rt::{self, Sleep};

/// Width of a slot of the wheel.
const SLOT: Duration = Duration::from_millis(10);
/// The farthest slot that a watch is put in; a later deadline takes several hops. So a connection that ended is forgotten
/// soon, and not when its hour of silence would have been over.
const HOP: u64 = 500;

/// How far apart idle connections are closed while draining.
const APART: Duration = Duration::from_millis(1);

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The next request of an idle connection.
    Idle,
    /// Bytes from the peer.
    Read,
    /// Room at the peer.
    Write,
}

/// The wheel of a shard: slots with the watches that must be looked at then. Kept sparse.
#[derive(Debug)]
pub(crate) struct Wheel {
    start: Duration,
    slots: RefCell<BTreeMap<u64, Vec<Rc<Inner>>>>,
    /// The slot that the timer waits for, and who to wake when an earlier one comes.
    waits_for: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Debug)]
struct Inner {
    descriptor: Cell<Option<RawFd>>,
    purpose: Cell<Purpose>,
    deadline: Cell<u64>,
    /// The earliest slot that holds this watch; `NEVER` for none.
    scheduled: Cell<u64>,
    expired: Cell<bool>,
}

const NEVER: u64 = u64::MAX;

/// The deadline of one direction of a connection.
#[derive(Debug)]
pub(crate) struct Watch {
    wheel: Rc<Wheel>,
    inner: Rc<Inner>,
}

impl Watch {
    pub(crate) fn new(wheel: &Rc<Wheel>, descriptor: RawFd) -> Self {
        let inner = Inner {
            descriptor: Cell::new(Some(descriptor)),
            purpose: Cell::new(Purpose::Read),
            deadline: Cell::new(NEVER),
            scheduled: Cell::new(NEVER),
            expired: Cell::new(false),
        };
        Self { wheel: Rc::clone(wheel), inner: Rc::new(inner) }
    }

    /// Shuts the connection down unless armed again or disarmed `within` that time.
    pub(crate) fn arm(&self, purpose: Purpose, within: Duration) {
        self.wheel.arm(&self.inner, purpose, within);
    }

    pub(crate) fn disarm(&self) {
        self.inner.deadline.set(NEVER);
    }

    /// A way to arm this watch while somebody else holds it.
    pub(crate) fn remote(&self) -> Remote {
        Remote { wheel: Rc::clone(&self.wheel), inner: Rc::clone(&self.inner) }
    }

    /// Whether the deadline has passed.
    pub(crate) fn has_expired(&self) -> bool {
        self.inner.expired.get()
    }
}

/// Arms the watch of a connection that another future of the same task works with.
#[derive(Debug)]
pub(crate) struct Remote {
    wheel: Rc<Wheel>,
    inner: Rc<Inner>,
}

impl Remote {
    /// As [`Watch::arm`].
    pub(crate) fn arm(&self, purpose: Purpose, within: Duration) {
        self.wheel.arm(&self.inner, purpose, within);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // The number may belong to another connection soon.
        self.inner.descriptor.set(None);
        self.inner.deadline.set(NEVER);
    }
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self {
            start: Clock::coarse(),
            slots: RefCell::new(BTreeMap::new()),
            waits_for: Cell::new(NEVER),
            waker: RefCell::new(None),
        }
    }

    /// Turns for as long as the shard lives.
    pub(crate) fn turn(self: Rc<Self>) -> Turn {
        Turn { wheel: self, sleep: None }
    }

    /// Gives idle connections until `soonest` from now, one after the other until `latest`: what they lead to next must
    /// not meet them all at once.
    pub(crate) fn hurry_idle(&self, soonest: Duration, latest: Duration) {
        let start = Clock::coarse() + soonest;
        let spread = latest.saturating_sub(soonest);
        let idle: Vec<Rc<Inner>> = self
            .slots
            .borrow()
            .values()
            .flatten()
            .filter(|inner| inner.purpose.get() == Purpose::Idle && inner.deadline.get() != NEVER)
            .map(Rc::clone)
            .collect();
        for (inner, number) in idle.into_iter().zip(0_u32..) {
            let slot = self.slot_of(start + APART.saturating_mul(number).min(spread)) + 1;
            if slot < inner.deadline.get() {
                inner.deadline.set(slot);
                self.schedule(inner, slot);
            }
        }
    }

    fn arm(&self, inner: &Rc<Inner>, purpose: Purpose, within: Duration) {
        let now = Clock::coarse();
        let slot = self.slot_of(now + within) + 1;
        inner.purpose.set(purpose);
        inner.deadline.set(slot);
        let look_at = slot.min(self.slot_of(now) + HOP);
        if look_at < inner.scheduled.get() {
            self.schedule(Rc::clone(inner), look_at);
        }
    }

    fn slot_of(&self, time: Duration) -> u64 {
        (time.saturating_sub(self.start).as_millis() / SLOT.as_millis()) as u64
    }

    /// How long it is until a slot begins.
    fn until(&self, slot: u64) -> Duration {
        let at = self.start + SLOT.saturating_mul(u32::try_from(slot).unwrap_or(u32::MAX));
        at.saturating_sub(Clock::coarse())
    }

    fn schedule(&self, inner: Rc<Inner>, slot: u64) {
        inner.scheduled.set(slot);
        self.slots.borrow_mut().entry(slot).or_default().push(inner);
        if slot < self.waits_for.get()
            && let Some(waker) = self.waker.borrow_mut().take()
        {
            waker.wake();
        }
    }

    fn fire_until(&self, now: u64) {
        loop {
            // Taken out first: firing schedules.
            let due = {
                let mut slots = self.slots.borrow_mut();
                match slots.first_key_value() {
                    Some((slot, _)) if *slot <= now => slots.pop_first(),
                    _ => None,
                }
            };
            let Some((slot, due)) = due else { return };
            for inner in due {
                self.look_at(inner, slot, now);
            }
        }
    }

    fn look_at(&self, inner: Rc<Inner>, slot: u64, now: u64) {
        if inner.scheduled.get() != slot {
            // An earlier slot took over; it schedules the rest.
            return;
        }
        inner.scheduled.set(NEVER);
        let deadline = inner.deadline.get();
        if deadline == NEVER {
            return;
        }
        if deadline > now {
            self.schedule(inner, deadline.min(now + HOP));
            return;
        }
        inner.deadline.set(NEVER);
        inner.expired.set(true);
        if let Some(descriptor) = inner.descriptor.get() {
            // Reading may end while an answer still goes out; who cannot write has nothing left to say.
            let how = match inner.purpose.get() {
                Purpose::Idle | Purpose::Read => Shutdown::Read,
                Purpose::Write => Shutdown::Both,
            };
            rt::shutdown(descriptor, how);
        }
    }
}

/// The timer of a wheel.
pub(crate) struct Turn {
    wheel: Rc<Wheel>,
    /// The slot that is slept for.
    sleep: Option<(u64, Pin<Box<Sleep>>)>,
}

impl Future for Turn {
    type Output = std::convert::Infallible;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let wheel = Rc::clone(&self.wheel);
        loop {
            wheel.fire_until(wheel.slot_of(Clock::coarse()));
            wheel.waker.replace(Some(context.waker().clone()));
            let next = wheel.slots.borrow().first_key_value().map(|(slot, _)| *slot);
            wheel.waits_for.set(next.unwrap_or(NEVER));
            let Some(slot) = next else {
                self.sleep = None;
                return Poll::Pending;
            };
            if self.sleep.as_ref().is_none_or(|(slept_for, _)| *slept_for != slot) {
                // A millisecond more than none: the coarse clock may be behind the timer's.
                let pause = wheel.until(slot) + Duration::from_millis(1);
                self.sleep = Some((slot, Box::pin(rt::sleep(pause))));
            }
            if let Some((_, sleep)) = &mut self.sleep
                && sleep.as_mut().poll(context).is_pending()
            {
                return Poll::Pending;
            }
            self.sleep = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> (Rc<Wheel>, Watch) {
        let wheel = Rc::new(Wheel::new());
        let watch = watch_of(&wheel);
        (wheel, watch)
    }

    /// A watch that guards no socket.
    fn watch_of(wheel: &Rc<Wheel>) -> Watch {
        let watch = Watch::new(wheel, -1);
        watch.inner.descriptor.set(None);
        watch
    }

    #[test]
    fn a_deadline_that_moves_costs_one_entry() {
        let (wheel, watch) = watch();
        for _ in 0..100 {
            watch.arm(Purpose::Read, Duration::from_secs(60));
        }
        assert_eq!(wheel.slots.borrow().values().map(Vec::len).sum::<usize>(), 1);
        assert!(!watch.has_expired());
    }

    #[test]
    fn it_fires_when_passed_and_not_before() {
        let (wheel, watch) = watch();
        watch.arm(Purpose::Read, Duration::from_millis(500));
        let first = watch.inner.scheduled.get();
        watch.arm(Purpose::Read, Duration::from_millis(1_000));
        wheel.fire_until(first);
        assert!(!watch.has_expired(), "the deadline had moved");
        wheel.fire_until(watch.inner.deadline.get());
        assert!(watch.has_expired());
    }

    #[test]
    fn an_earlier_deadline_is_seen() {
        let (wheel, watch) = watch();
        watch.arm(Purpose::Idle, Duration::from_secs(60));
        watch.arm(Purpose::Read, Duration::from_millis(20));
        wheel.fire_until(watch.inner.deadline.get());
        assert!(watch.has_expired());
    }

    #[test]
    fn disarmed_and_dropped_watches_never_fire() {
        let (wheel, watch) = watch();
        watch.arm(Purpose::Read, Duration::from_millis(10));
        watch.disarm();
        wheel.fire_until(NEVER - 1);
        assert!(!watch.has_expired());
        let inner = Rc::clone(&watch.inner);
        watch.arm(Purpose::Read, Duration::from_millis(10));
        drop(watch);
        wheel.fire_until(NEVER - 1);
        assert!(!inner.expired.get());
    }

    #[test]
    fn what_was_dropped_is_forgotten_within_a_hop() {
        let (wheel, watch) = watch();
        watch.arm(Purpose::Read, Duration::from_secs(3600));
        let inner = Rc::downgrade(&watch.inner);
        drop(watch);
        wheel.fire_until(HOP + 2);
        assert!(inner.upgrade().is_none());
    }

    #[test]
    fn a_far_deadline_is_reached_in_hops() {
        let (wheel, watch) = watch();
        watch.arm(Purpose::Read, Duration::from_secs(60));
        let deadline = watch.inner.deadline.get();
        for now in (0..deadline).step_by(100) {
            wheel.fire_until(now);
            assert!(!watch.has_expired(), "slot {now} of {deadline}");
        }
        wheel.fire_until(deadline);
        assert!(watch.has_expired());
    }

    #[test]
    fn idle_connections_can_be_hurried() {
        let (wheel, watch) = watch();
        watch.arm(Purpose::Idle, Duration::from_secs(75));
        wheel.hurry_idle(Duration::from_millis(100), Duration::from_millis(100));
        wheel.fire_until(20);
        assert!(watch.has_expired());
    }

    #[test]
    fn many_idle_connections_are_hurried_one_after_the_other() {
        let wheel = Rc::new(Wheel::new());
        let watches: Vec<Watch> = (0..3_000).map(|_| watch_of(&wheel)).collect();
        watches.iter().for_each(|watch| watch.arm(Purpose::Idle, Duration::from_secs(75)));
        wheel.hurry_idle(Duration::from_millis(100), Duration::from_millis(1_100));
        let expired = || watches.iter().filter(|watch| watch.has_expired()).count();
        wheel.fire_until(60);
        assert!((400..600).contains(&expired()), "{} after half a second", expired());
        wheel.fire_until(115);
        assert_eq!(expired(), 3_000, "the last ones share the last moment");
    }
}
