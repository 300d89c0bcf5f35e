//! When to translate: at once when idle; after a turn, once there is quiet for as long as turns should rest; at the latest
//! 100 ms after the first change.
//!
//! The rest follows what the last turn cost: three times that, and never more than 5 ms, so turns of up to 1.7 ms that follow each
//! other take a quarter of a core at most. So changes that come one after the other, each when the one before is live, do not
//! wait for company that never comes, and a storm of them is still taken in few turns.
//!
//! ```text
//! change ─► turn ─► rest ─────────► idle          a change in here is due at once
//!             │      └─ a change in here: due once no other has come for the length of a rest
//!             └─ a change in here: the same, counted from the end of the turn
//! ```
//!
//! A state machine with time as an argument; it holds no timer.

use std::time::Duration;

use tokio::time::Instant;

/// A rest is so many times as long as the turn before it.
const REST_TURNS: u32 = 3;

/// The longest rest: changes that follow each other within this are taken together, whatever turns cost.
pub const REST_MAX: Duration = Duration::from_millis(5);

/// The longest that a change waits for the ones after it.
pub const LONGEST: Duration = Duration::from_millis(100);

/// Collects changes until they are due.
#[derive(Debug, Default)]
pub struct Debounce {
    /// When the turn that runs began.
    began: Option<Instant>,
    /// The last turn that is over.
    last: Option<Turn>,
    pending: Option<Pending>,
}

#[derive(Debug, Clone, Copy)]
struct Turn {
    ended: Instant,
    /// How long it is rested after it.
    rest: Duration,
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

    /// When the collected changes are due; `None` while there are none, or a turn runs.
    pub fn due(&self) -> Option<Instant> {
        let pending = self.pending.filter(|_| self.began.is_none())?;
        let Some(Turn { ended, rest }) = self.last else { return Some(pending.first) };
        if pending.first >= ended + rest {
            return Some(pending.first);
        }
        Some((pending.last.max(ended) + rest).min(pending.first + LONGEST))
    }

    /// Takes the collected changes, and a turn begins: those that come now are a batch of their own.
    pub fn take(&mut self, now: Instant) {
        self.pending = None;
        self.began = Some(now);
    }

    /// The turn is over, whatever came of it.
    pub fn ended(&mut self, now: Instant) {
        let Some(began) = self.began.take() else { return };
        let cost = now.saturating_duration_since(began);
        self.last = Some(Turn { ended: now, rest: (cost * REST_TURNS).min(REST_MAX) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes at these milliseconds, each turn so long: when do turns begin?
    fn turns(cost: u64, changes: &[u64]) -> Vec<u64> {
        let start = Instant::now();
        let at = |millis: u64| start + Duration::from_millis(millis);
        let mut debounce = Debounce::default();
        let mut begun: Vec<u64> = Vec::new();
        for millis in 0..1000 {
            if begun.last().is_some_and(|begun| begun + cost == millis) {
                debounce.ended(at(millis));
            }
            for _ in changes.iter().filter(|change| **change == millis) {
                debounce.changed(at(millis));
            }
            if debounce.due().is_some_and(|due| due <= at(millis)) {
                debounce.take(at(millis));
                begun.push(millis);
                if cost == 0 {
                    debounce.ended(at(millis));
                }
            }
        }
        begun
    }

    fn check(cost: u64, changes: &[u64], expected: &[u64]) {
        assert_eq!(turns(cost, changes), expected, "changes at {changes:?}, turns of {cost} ms");
    }

    #[test]
    fn nothing_is_due_without_a_change() {
        check(1, &[], &[]);
        assert_eq!(Debounce::default().due(), None);
    }

    #[test]
    fn a_change_while_idle_is_due_at_once() {
        check(1, &[7], &[7]);
        check(1, &[0, 4, 8], &[0, 4, 8]);
        check(9, &[0, 14, 300], &[0, 14, 300]);
    }

    #[test]
    fn turns_that_cost_nothing_wait_for_nobody() {
        check(0, &[0, 1, 2, 3], &[0, 1, 2, 3]);
    }

    #[test]
    fn a_change_in_the_rest_waits_for_as_much_quiet() {
        check(1, &[0, 2], &[0, 5]);
        check(1, &[0, 2, 4, 6], &[0, 9]);
        check(1, &[0, 3, 3, 3], &[0, 6]);
    }

    #[test]
    fn a_change_during_a_turn_waits_for_the_rest_after_it() {
        check(1, &[0, 0], &[0]);
        check(4, &[0, 1], &[0, 9]);
        check(4, &[0, 1, 7], &[0, 12]);
    }

    #[test]
    fn a_rest_is_no_longer_than_five_milliseconds() {
        check(50, &[0, 51], &[0, 56]);
    }

    #[test]
    fn a_storm_is_cut_after_a_hundred_milliseconds() {
        let storm: Vec<u64> = (0..250).collect();
        check(1, &storm, &[0, 101, 202, 252]);
    }

    #[test]
    fn turns_take_a_quarter_of_a_core_at_most_however_changes_come() {
        for pause in 1..8 {
            let changes: Vec<u64> = (0..1000).step_by(pause).collect();
            let busy = turns(1, &changes).len();
            assert!(busy <= 250, "a change every {pause} ms: {busy} turns of 1 ms in a second");
        }
    }
}
