//! When to translate: at once when idle, then after 5 ms of quiet, at the latest 100 ms after the first change.
//!
//! A state machine with time as an argument; it holds no timer.

use std::time::Duration;

use tokio::time::Instant;

/// Changes that follow each other within this are taken together.
pub const QUIET: Duration = Duration::from_millis(5);

/// The longest that a change waits for the ones after it.
pub const LONGEST: Duration = Duration::from_millis(100);

/// Collects changes until they are due.
#[derive(Debug, Default)]
pub struct Debounce {
    /// When the last batch was taken.
    taken: Option<Instant>,
    pending: Option<Pending>,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    first: Instant,
    last: Instant,
}

impl Debounce {
    /// Notes a change.
    pub fn changed(&mut self, now: Instant) {
        let first = self.pending.map_or(now, |pending| pending.first);
        self.pending = Some(Pending { first, last: now });
    }

    /// When the collected changes are due; `None` while there are none.
    pub fn due(&self) -> Option<Instant> {
        let pending = self.pending?;
        let idle = self.taken.is_none_or(|taken| pending.first >= taken + QUIET);
        if idle {
            return Some(pending.first);
        }
        Some((pending.last + QUIET).min(pending.first + LONGEST))
    }

    /// Takes the collected changes: those that come now are a batch of their own.
    pub fn take(&mut self, now: Instant) {
        self.pending = None;
        self.taken = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes at these milliseconds; a batch is taken when it is due, and taking costs nothing.
    fn check(changes: &[u64], expected: &[u64]) {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut debounce = Debounce::default();
        let mut taken = Vec::new();
        for millis in 0..1000 {
            for _ in changes.iter().filter(|change| **change == millis) {
                debounce.changed(at(millis));
            }
            if debounce.due().is_some_and(|due| due <= at(millis)) {
                debounce.take(at(millis));
                taken.push(millis);
            }
        }
        assert_eq!(taken, expected, "changes at {changes:?}");
    }

    #[test]
    fn nothing_is_due_without_a_change() {
        check(&[], &[]);
        assert_eq!(Debounce::default().due(), None);
    }

    #[test]
    fn a_change_while_idle_is_due_at_once() {
        check(&[7], &[7]);
        check(&[0, 5, 10], &[0, 5, 10]);
        check(&[0, 300], &[0, 300]);
    }

    #[test]
    fn changes_after_the_first_wait_for_five_milliseconds_of_quiet() {
        check(&[0, 1], &[0, 6]);
        check(&[0, 1, 3, 7], &[0, 12]);
        check(&[0, 4, 4, 4], &[0, 9]);
    }

    #[test]
    fn a_storm_is_cut_after_a_hundred_milliseconds() {
        let storm: Vec<u64> = (0..250).collect();
        check(&storm, &[0, 101, 202, 254]);
    }
}
