//! How long is waited, and what is said meanwhile.
//!
//! Whoever waits for nothing that takes long hears nothing; others hear on stderr what it is, and when it becomes something
//! else.

use std::time::{Duration, Instant};

use crate::ask::may_pass;
use crate::terminal::escaped;

/// What is left of the time that the user gives.
pub(super) struct Patience {
    until: Instant,
    pause: Duration,
    lines: Lines,
}

impl Patience {
    /// From now on.
    pub(super) fn of(timeout: Duration) -> Self {
        let now = Instant::now();
        let lines = Lines { next: now + QUIET, last: String::new() };
        Self { until: now + timeout, pause: PAUSE, lines }
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Pauses because of an error that may pass.
    ///
    /// # Errors
    /// It does not, or the time is over.
    pub(super) async fn bear(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        if self.is_over() || !may_pass(&error) {
            return Err(error);
        }
        self.pause(&format!("{error:#}")).await;
        Ok(())
    }

    /// Pauses before the next look, and says why where that has been going on for a while.
    pub(super) async fn pause(&mut self, why: &str) {
        if let Some(line) = self.lines.about(why, Instant::now()) {
            eprintln!("{line}");
        }
        tokio::time::sleep(self.pause.min(self.left())).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

/// What was said, and when more may be.
struct Lines {
    next: Instant,
    last: String,
}

impl Lines {
    /// The line about what is waited for, where it is time for one and it says something new.
    fn about(&mut self, why: &str, now: Instant) -> Option<String> {
        if now < self.next || why == self.last {
            return None;
        }
        self.next = now + BETWEEN;
        self.last = why.to_owned();
        Some(format!("waiting: {}", escaped(why)))
    }
}

/// What is over by then needs no line.
const QUIET: Duration = Duration::from_secs(1);

/// Between two lines: reasons may have numbers in them that change with every look.
const BETWEEN: Duration = Duration::from_secs(5);

/// Between two looks: short beside what a person notices, long beside what a look costs.
const PAUSE: Duration = Duration::from_millis(50);

/// The same after a while: what takes long is not noticed sooner by asking often.
const PAUSE_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_is_said_once_and_not_at_once() {
        let start = Instant::now();
        let mut lines = Lines { next: start + QUIET, last: String::new() };
        for (millis, why, expected) in [
            (0, "away", None),
            (999, "away", None),
            (1_000, "away", Some("waiting: away")),
            (7_000, "away", None),
            (7_100, "behind\n", Some("waiting: behind\\n")),
            (9_000, "other", None),
            (12_100, "other", Some("waiting: other")),
        ] {
            let said = lines.about(why, start + Duration::from_millis(millis));
            assert_eq!(said.as_deref(), expected, "{millis} {why}");
        }
    }

    #[tokio::test]
    async fn an_error_that_lasts_is_not_borne() {
        let mut patience = Patience::of(Duration::from_secs(60));
        assert!(patience.bear(crate::ask::unreachable("away")).await.is_ok());
        for lasting in [crate::ask::forbidden("no"), anyhow::anyhow!("no such Ingress")] {
            assert!(patience.bear(lasting).await.is_err());
        }
        let mut over = Patience::of(Duration::ZERO);
        assert!(over.bear(crate::ask::unreachable("away")).await.is_err());
    }
}
