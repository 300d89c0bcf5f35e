//! Power of two choices by peak EWMA: the better of two by moving average of latency times requests in flight.
//!
//! A slower answer counts at once, a faster one sinks in over [`DECAY`]: an endpoint that stalls is left alone now and
//! tried again soon. Source of the idea: Finagle's and linkerd's balancers.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::EndpointState;
use crate::random::Random;

/// How fast old latencies are forgotten.
const DECAY: Duration = Duration::from_secs(10);
/// What is assumed of an endpoint that nothing is known of.
const DEFAULT_SECONDS: f64 = 0.001;

/// The moving average of one endpoint, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    seconds: f64,
    updated: Option<Instant>,
}

impl Cost {
    pub(super) fn observe(&mut self, latency: Duration, now: Instant) {
        let seconds = latency.as_secs_f64();
        let current = self.at(now);
        let elapsed = self.updated.map_or(DECAY, |updated| now.saturating_duration_since(updated));
        let keep = (-elapsed.as_secs_f64() / DECAY.as_secs_f64()).exp();
        self.seconds = if seconds > current { seconds } else { current * keep + seconds * (1.0 - keep) };
        self.updated = Some(now);
    }

    /// The average now: it sinks towards the default while nobody asks the endpoint.
    pub(super) fn at(self, now: Instant) -> f64 {
        let Some(updated) = self.updated else { return self.seconds };
        let keep = (-now.saturating_duration_since(updated).as_secs_f64() / DECAY.as_secs_f64()).exp();
        self.seconds * keep + self.seconds.min(DEFAULT_SECONDS) * (1.0 - keep)
    }
}

/// The mean of what is known, or the default.
pub(super) fn mean(costs: impl Iterator<Item = Cost>) -> Cost {
    let (sum, count) = costs.fold((0.0, 0), |(sum, count), cost| (sum + cost.seconds, count + 1));
    Cost { seconds: if count == 0 { DEFAULT_SECONDS } else { sum / f64::from(count) }, updated: None }
}

pub(super) fn choose<'e>(
    endpoints: &'e [Rc<EndpointState>],
    now: Instant,
    random: &mut Random,
    eligible: impl Fn(&EndpointState) -> bool,
) -> Option<&'e Rc<EndpointState>> {
    let count = endpoints.iter().filter(|state| eligible(state)).count();
    let nth = |number: usize| endpoints.iter().filter(|state| eligible(state)).nth(number);
    if count < 2 {
        return nth(0);
    }
    let first = random.below(count);
    // The second is drawn from the others, so that two choices are always two.
    let second = (first + 1 + random.below(count - 1)) % count;
    let (first, second) = (nth(first)?, nth(second)?);
    Some(if second.load(now) < first.load(now) { second } else { first })
}
