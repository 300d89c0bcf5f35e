//! Events on their way: nothing twice, nothing lost by one failure, never a storm. Pure; time is an argument.
//!
//! What is to be said waits here until it may be said: two allowances fill slowly, one per object and one for all. A letter
//! that the API server does not take is tried again a few times. The box is bounded, and each object's share of it: where more
//! is to be said than may be, repetitions go first. That a newer version is applied takes the place of an older one's letter.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use ringress_shared::origin::ObjectRef;
use tokio::time::Instant;

use super::event::Event;

/// An Event that waits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Letter {
    pub(super) event: Event,
    pub(super) known: Known,
    tries: u32,
    due: Instant,
}

/// What it means where the Event is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It happened again: raise the count.
    Again,
    /// It is another occurrence: say it under another name.
    Anew,
    /// It was said, by whoever led before: leave it.
    Said,
    /// It goes on: raise the count, so that it is not forgotten.
    Still,
}

impl Known {
    /// Whether it tells nothing new.
    fn is_repetition(self) -> bool {
        matches!(self, Self::Said | Self::Still)
    }
}

#[derive(Debug, Default)]
pub(super) struct Outbox {
    letters: VecDeque<Letter>,
    limits: Limits,
    /// Letters that found no room.
    dropped: u64,
}

impl Outbox {
    /// Puts an Event in that is not to be sent before `due`, unless it waits already.
    pub(super) fn put(&mut self, event: Event, known: Known, due: Instant) {
        let is_same = |letter: &Letter| letter.event.about == event.about && letter.event == event;
        if self.letters.iter().any(is_same) {
            return;
        }
        if event.is_applied() {
            self.letters.retain(|letter| !letter.event.is_applied() || letter.event.object != event.object);
        }
        let is_neighbour = |letter: &&Letter| letter.event.object == event.object;
        let is_greedy = self.letters.iter().filter(is_neighbour).count() >= LETTERS_OF_ONE_MAX;
        let letter = Letter { event, known, tries: 0, due };
        if is_greedy || self.letters.len() >= LETTERS_MAX {
            self.dropped += 1;
            let may_go = |waiting: &Letter| {
                waiting.known.is_repetition() && (!is_greedy || waiting.event.object == letter.event.object)
            };
            match self.letters.iter().position(may_go) {
                Some(index) => drop(self.letters.remove(index)),
                None => return,
            }
        }
        // What is new is not held up by what was said already.
        match letter.known {
            Known::Said | Known::Still => self.letters.push_back(letter),
            Known::Again | Known::Anew => {
                let index = self.letters.iter().take_while(|letter| !letter.known.is_repetition()).count();
                self.letters.insert(index, letter);
            }
        }
    }

    /// The next letter that may be sent.
    pub(super) fn next(&mut self, now: Instant) -> Option<Letter> {
        if self.limits.wait(now) > Duration::ZERO {
            return None;
        }
        for index in 0..self.letters.len() {
            let letter = &mut self.letters[index];
            if letter.due > now {
                continue;
            }
            let wait = self.limits.wait_for(&letter.event.object, now);
            if wait.is_zero() {
                self.limits.take(&letter.event.object, now);
                return self.letters.remove(index);
            }
            letter.due = now + wait;
        }
        None
    }

    /// When the next letter may be sent.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        let first = self.letters.iter().map(|letter| letter.due).min()?;
        Some(first.max(now + self.limits.wait(now)))
    }

    /// Takes a letter back that the API server did not take, and what it asked us to wait; returns whether it is tried again.
    pub(super) fn failed(&mut self, mut letter: Letter, asked: Duration, now: Instant) -> bool {
        letter.tries += 1;
        if letter.tries >= TRIES_MAX {
            return false;
        }
        letter.due = now + (FIRST_PAUSE * (1 << letter.tries)).max(asked.min(ASKED_MAX));
        self.letters.push_front(letter);
        true
    }

    /// Drops what is not worth saying any more.
    pub(super) fn retain(&mut self, holds: impl FnMut(&Letter) -> bool) {
        self.letters.retain(holds);
    }

    /// How many found no room since the last time.
    pub(super) fn dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

/// A bucket that fills slowly.
#[derive(Debug, Clone)]
struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { left: rate.burst, at: now }
    }

    /// How long until there is one more.
    fn wait(&mut self, rate: Rate, now: Instant) -> Duration {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() / rate.every.as_secs_f64();
        self.left = (self.left + gained).min(rate.burst);
        self.at = now;
        // What is nearly whole is whole: sums of fractions never are.
        if self.left >= 0.999 { Duration::ZERO } else { rate.every.mul_f64(1.0 - self.left) }
    }
}

/// So many at once, and one more after each of these.
#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: f64,
    every: Duration,
}

#[derive(Debug, Default)]
struct Limits {
    all: Option<Allowance>,
    by_object: BTreeMap<ObjectRef, Allowance>,
}

impl Limits {
    fn wait(&mut self, now: Instant) -> Duration {
        self.all.get_or_insert_with(|| Allowance::full(ALL, now)).wait(ALL, now)
    }

    fn wait_for(&mut self, object: &ObjectRef, now: Instant) -> Duration {
        if self.by_object.len() > OBJECTS_MAX {
            self.by_object.retain(|_, own| now.saturating_duration_since(own.at) < OBJECT.every);
        }
        let own = self.by_object.entry(object.clone()).or_insert_with(|| Allowance::full(OBJECT, now));
        own.wait(OBJECT, now)
    }

    fn take(&mut self, object: &ObjectRef, now: Instant) {
        self.wait(now);
        self.wait_for(object, now);
        self.all.iter_mut().chain(self.by_object.get_mut(object)).for_each(|allowance| allowance.left -= 1.0);
    }
}

/// Events of one object.
const OBJECT: Rate = Rate { burst: 10.0, every: Duration::from_secs(30) };

/// Events of all objects.
const ALL: Rate = Rate { burst: 200.0, every: Duration::from_millis(100) };

/// Objects whose allowance is remembered.
const OBJECTS_MAX: usize = 4096;

/// Letters that wait.
const LETTERS_MAX: usize = 4096;

/// Letters of one object that wait: by [`OBJECT`] the last of them is said a quarter of an hour later.
const LETTERS_OF_ONE_MAX: usize = 32;

/// A letter is given up after so many tries, the pauses between them doubling from this.
const TRIES_MAX: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// A server that asks for more is asked again sooner: it may be another one by then.
const ASKED_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::super::event;
    use super::*;
    use ringress_translate::objects::Key;

    fn event(name: &str, version: u64) -> Event {
        event::applied(&Key::new("a", name), "uid", version, "note".to_owned())
    }

    fn sent(outbox: &mut Outbox, now: Instant) -> Vec<Letter> {
        std::iter::from_fn(|| outbox.next(now)).collect()
    }

    fn later(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    fn warning(name: &str, about: u64) -> Event {
        Event { kind: "Warning", reason: "Shadowed".to_owned(), ..event(name, about) }
    }

    #[test]
    fn one_object_gets_no_storm_and_in_the_end_everything() {
        let (mut outbox, start) = (Outbox::default(), Instant::now());
        (0..13).for_each(|about| outbox.put(warning("one", about), Known::Again, start));
        assert_eq!(sent(&mut outbox, start).len(), 10);
        assert_eq!(outbox.due(start), Some(later(start, 30.0)));
        assert_eq!(sent(&mut outbox, later(start, 30.0)).len(), 1);
        assert_eq!(sent(&mut outbox, later(start, 90.0)).len(), 2);
        assert_eq!(outbox.due(start), None);
    }

    #[test]
    fn many_objects_get_no_storm_either() {
        let (mut outbox, start) = (Outbox::default(), Instant::now());
        (0..500).for_each(|number| outbox.put(event(&number.to_string(), 1), Known::Again, start));
        assert_eq!(sent(&mut outbox, start).len(), 200);
        assert_eq!(outbox.due(start), Some(later(start, 0.1)));
        let next: usize =
            (1..=10).map(|tenth| sent(&mut outbox, later(start, f64::from(tenth) / 10.0)).len()).sum();
        assert_eq!(next, 10);
        assert_eq!(sent(&mut outbox, later(start, 60.0)).len(), 200);
    }

    #[test]
    fn what_waits_is_not_put_in_twice() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.put(event("one", 1), Known::Again, now);
        outbox.put(event("one", 1), Known::Again, now);
        assert_eq!(sent(&mut outbox, now).len(), 1);
    }

    #[test]
    fn what_is_new_goes_before_what_was_said() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.put(event("old", 1), Known::Said, now);
        outbox.put(event("older", 1), Known::Still, now);
        outbox.put(event("new", 1), Known::Anew, now);
        outbox.put(event("newer", 1), Known::Again, now);
        let names: Vec<_> =
            sent(&mut outbox, now).iter().map(|letter| letter.event.object.name.to_string()).collect();
        assert_eq!(names, ["new", "newer", "old", "older"]);
    }

    #[test]
    fn a_letter_that_is_not_taken_is_tried_again_and_then_given_up() {
        let (mut outbox, mut now) = (Outbox::default(), Instant::now());
        outbox.put(event("one", 1), Known::Again, now);
        let mut tries = 0;
        while let Some(due) = outbox.due(now) {
            now = due;
            let letter = outbox.next(now).expect("it is due");
            tries += 1;
            let again = outbox.failed(letter, Duration::ZERO, now);
            assert_eq!(again, tries < TRIES_MAX);
            assert_eq!(outbox.next(now), None, "not at once");
        }
        assert_eq!(tries, TRIES_MAX);
    }

    #[test]
    fn what_the_server_asks_for_is_kept() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.put(event("one", 1), Known::Again, now);
        let letter = outbox.next(now).expect("it is due");
        assert!(outbox.failed(letter, Duration::from_secs(7), now));
        assert_eq!(outbox.due(now), Some(later(now, 7.0)));
    }

    #[test]
    fn a_full_box_gives_repetitions_up_first() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.put(event("said", 1), Known::Said, now);
        let names = (0..LETTERS_MAX).map(|number| number.to_string());
        names.for_each(|name| outbox.put(event(&name, 1), Known::Again, now));
        assert_eq!(outbox.dropped(), 1);
        assert!(outbox.letters.iter().all(|letter| letter.known == Known::Again));
        outbox.put(event("late", 1), Known::Again, now);
        assert_eq!((outbox.dropped(), outbox.letters.len()), (1, LETTERS_MAX));
    }

    #[test]
    fn the_newest_version_that_is_applied_is_said_and_no_older_one_after_it() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.put(warning("one", 1), Known::Again, now);
        outbox.put(event("two", 1), Known::Again, now);
        (0..1_000).for_each(|version| outbox.put(event("one", version), Known::Again, now));
        let said: Vec<_> = sent(&mut outbox, now).into_iter().map(|letter| letter.event).collect();
        assert_eq!(said, [warning("one", 1), event("two", 1), event("one", 999)]);
        assert_eq!(outbox.dropped(), 0);
    }

    #[test]
    fn one_object_takes_no_room_from_others() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.put(warning("one", 0), Known::Still, now);
        outbox.put(warning("two", 0), Known::Still, now);
        (1..=100).for_each(|about| outbox.put(warning("one", about), Known::Again, now));
        assert_eq!(outbox.dropped(), 101 - LETTERS_OF_ONE_MAX as u64);
        let of_one = outbox.letters.iter().filter(|letter| *letter.event.object.name == *"one");
        assert!(of_one.clone().all(|letter| !letter.known.is_repetition()));
        assert_eq!((of_one.count(), outbox.letters.len()), (LETTERS_OF_ONE_MAX, LETTERS_OF_ONE_MAX + 1));
    }
}
