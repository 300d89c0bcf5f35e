//! What is still wrong, and when to say it again: API servers forget Events an hour after they were last written. Pure; time is an
//! argument.
//!
//! Each warning has its own minute of the hour, told by its name, so that thousands that were said together are not said again
//! together. One that another leader may have said long ago comes up soon.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use tokio::time::Instant;

use super::event::Event;
use super::outbox::Known;

/// The warnings that hold, by the names of their Events.
#[derive(Debug, Default)]
pub(super) struct Reminders(BTreeMap<String, Reminder>);

#[derive(Debug)]
struct Reminder {
    event: Event,
    due: Instant,
}

impl Reminders {
    /// A warning is said now; as [`Known::Said`], if another leader may have said it before.
    pub(super) fn put(&mut self, event: &Event, known: Known, now: Instant) {
        let name = event.name();
        if self.0.len() >= WARNINGS_MAX && !self.0.contains_key(&name) {
            return;
        }
        let due = match known {
            Known::Said => now + SPREAD.mul_f64(place(&name)),
            Known::Again | Known::Anew | Known::Still => now + pause(&name),
        };
        self.0.insert(name, Reminder { event: event.clone(), due });
    }

    /// A warning does not hold any more.
    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Somebody else says what is wrong, or it is looked at anew.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What is to be said again now, each once.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Event> {
        let due = self.0.iter_mut().filter(|(_, reminder)| reminder.due <= now);
        let again = due.map(|(name, reminder)| {
            reminder.due = now + pause(name);
            reminder.event.clone()
        });
        again.collect()
    }
}

fn pause(name: &str) -> Duration {
    AGAIN - SPREAD.mul_f64(place(name))
}

/// From 0 to 1, evenly over names.
fn place(name: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    (hasher.finish() >> 11) as f64 / (1u64 << 53) as f64
}

/// The longest time between two sayings. With the spread it stays below `--event-ttl`, an hour, also where the leader changes.
const AGAIN: Duration = Duration::from_secs(50 * 60);

/// Over so long the sayings are spread.
const SPREAD: Duration = Duration::from_secs(8 * 60);

/// Warnings that are said again, as many as the outbox has room for; what there is beyond is said once.
const WARNINGS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::super::event;
    use super::*;
    use ringress_translate::objects::Key;

    fn event(number: usize) -> Event {
        event::applied(&Key::new("a", &number.to_string()), "uid", number, String::new())
    }

    fn minutes(count: u64) -> Duration {
        Duration::from_secs(count * 60)
    }

    /// How many are due in each of these minutes.
    fn by_minute(reminders: &mut Reminders, start: Instant, until: u64) -> Vec<usize> {
        (1..=until).map(|minute| reminders.due(start + minutes(minute)).len()).collect()
    }

    #[test]
    fn what_was_said_together_is_said_again_spread_out_and_each_within_the_hour() {
        let (mut reminders, start) = (Reminders::default(), Instant::now());
        (0..800).for_each(|number| reminders.put(&event(number), Known::Again, start));
        let due = by_minute(&mut reminders, start, 50);
        assert_eq!(due[..41].iter().sum::<usize>(), 0, "{due:?}");
        assert_eq!(due.iter().sum::<usize>(), 800, "{due:?}");
        assert!(due.iter().all(|count| *count < 200), "{due:?}");
        let next = by_minute(&mut reminders, start + minutes(50), 51);
        assert_eq!(next.iter().sum::<usize>(), 800, "and again: {next:?}");
    }

    #[test]
    fn what_another_leader_said_is_said_again_before_its_hour_is_over() {
        let (mut reminders, start) = (Reminders::default(), Instant::now());
        (0..80).for_each(|number| reminders.put(&event(number), Known::Said, start));
        let due = by_minute(&mut reminders, start, 9);
        assert_eq!(due.iter().sum::<usize>(), 80, "{due:?}");
        assert!(AGAIN + minutes(9) < minutes(60));
    }

    #[test]
    fn what_is_over_is_not_said_again_and_the_number_is_bounded() {
        let (mut reminders, start) = (Reminders::default(), Instant::now());
        (0..=WARNINGS_MAX).for_each(|number| reminders.put(&event(number), Known::Again, start));
        reminders.remove(&event(0).name());
        assert_eq!(reminders.due(start + AGAIN).len(), WARNINGS_MAX - 1);
        reminders.clear();
        assert!(reminders.due(start + AGAIN * 3).is_empty());
    }
}
