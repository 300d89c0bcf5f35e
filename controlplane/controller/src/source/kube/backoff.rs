//! How long to wait before the next try: doubling, jittered, capped. Pure; randomness is an argument.

use std::time::Duration;

/// A row of failures.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failures: 0 }
    }

    /// Notes a failure. `random` is evenly spread; half of the time is certain, half is jitter, so that replicas that lost the
    /// server in one moment do not come back in one moment. What the server asks for is never undercut.
    pub(crate) fn failed(&mut self, random: u64, asked: Option<Duration>) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.failures.min(16)).min(self.longest);
        self.failures = self.failures.saturating_add(1);
        let half = doubled / 2;
        let jitter = half.mul_f64((random >> 11) as f64 / (1u64 << 53) as f64);
        let asked = asked.map_or(Duration::ZERO, |asked| asked.min(ASKED_MAX));
        (half + jitter).max(asked + jitter.min(asked / 4))
    }

    /// Notes a success.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// A server that asks for more is asked again sooner: it may be another one by then.
const ASKED_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_start_over_after_a_success() {
        let millis = Duration::from_millis;
        let mut backoff = Backoff::new(millis(100), millis(300));
        let waits: Vec<_> = (0..4).map(|_| backoff.failed(0, None)).collect();
        assert_eq!(waits, [millis(50), millis(100), millis(150), millis(150)]);
        assert!(backoff.failed(u64::MAX, None) <= millis(300));
        backoff.succeeded();
        assert_eq!(backoff.failed(0, None), millis(50));
    }

    #[test]
    fn what_the_server_asks_for_is_kept_within_reason() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        assert!(backoff.failed(0, Some(Duration::from_secs(5))) >= Duration::from_secs(5));
        assert!(backoff.failed(u64::MAX, Some(Duration::from_secs(86_400))) <= ASKED_MAX.mul_f64(1.25));
    }
}
