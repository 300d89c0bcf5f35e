//! Passive health: an endpoint that fails several times in a row is left out for a while.
//!
//! ```text
//! closed ── 3 failures in a row ──► ejected for 1 s × 2^k (at most 10 s) ──► on probation ── failure ──► ejected, k+1
//!    ▲                                                                            │
//!    └───────────────────────────────── success ──────────────────────────────────┘
//! ```
//!
//! A failure is what the endpoint did not answer: a refused or timed-out connection, a connection that died, silence.
//! A status is an answer, whatever it says. The last endpoint is never ejected: that is the balancer's part.

use std::time::{Duration, Instant};

/// Failures in a row that eject. Small, because every shard learns for itself.
const FAILURES_MAX: u32 = 3;
const EJECTION_BASE: Duration = Duration::from_secs(1);
/// Bounds how long a recovered endpoint stays unused.
const EJECTION_MAX: Duration = Duration::from_secs(10);

/// What one shard knows of the health of one endpoint.
#[derive(Debug, Clone, Copy, Default)]
pub struct Health {
    failures: u32,
    ejections: u32,
    ejected_until: Option<Instant>,
}

impl Health {
    /// Whether the endpoint may be picked.
    pub fn is_available(&self, now: Instant) -> bool {
        self.ejected_until.is_none_or(|until| now >= until)
    }

    /// Failures in a row, since it last answered or was last left out.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// For how long it is left out yet; `None`: it is not.
    pub fn ejected(&self, now: Instant) -> Option<Duration> {
        let left = self.ejected_until?.saturating_duration_since(now);
        Some(left).filter(|left| !left.is_zero())
    }

    /// The endpoint answered.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// The endpoint did not answer. Ejects it if `may_eject`; returns whether it did.
    pub fn failed(&mut self, now: Instant, may_eject: bool) -> bool {
        self.failures = self.failures.saturating_add(1);
        let on_probation = self.ejected_until.is_some_and(|until| now >= until);
        if !may_eject || !self.is_available(now) || !(on_probation || self.failures >= FAILURES_MAX) {
            return false;
        }
        let pause = EJECTION_BASE.saturating_mul(1 << self.ejections.min(8)).min(EJECTION_MAX);
        self.ejections += 1;
        self.failures = 0;
        self.ejected_until = Some(now + pause);
        true
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // a virtual clock needs a start
mod tests {
    use super::*;

    #[test]
    fn three_failures_in_a_row_eject_and_probation_is_short() {
        let start = Instant::now();
        let mut health = Health::default();
        assert!(!health.failed(start, true));
        health.succeeded();
        assert!(!health.failed(start, true));
        assert!(!health.failed(start, true));
        assert!(health.failed(start, true));
        assert!(!health.is_available(start));
        let later = start + EJECTION_BASE;
        assert!(health.is_available(later));
        assert!(health.failed(later, true), "one failure on probation ejects again");
        assert!(!health.is_available(later + EJECTION_BASE), "and for longer");
        assert!(health.is_available(later + EJECTION_MAX));
        health.succeeded();
        assert!(health.is_available(later));
    }

    #[test]
    fn an_endpoint_that_must_stay_is_never_ejected() {
        let now = Instant::now();
        let mut health = Health::default();
        for _ in 0..100 {
            assert!(!health.failed(now, false));
        }
        assert!(health.is_available(now));
    }
}
