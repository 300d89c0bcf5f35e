//! Idle upstream connections of one shard: last in, first out, per endpoint.
//!
//! Last in first out keeps a few connections warm and lets the rest age out. A connection comes back only after its
//! response was read whole and its request was sent whole: the caller hands it over then, and nothing else can.

use std::time::{Duration, Instant};

use ringress_shared::id::{EndpointId, IdMap};

/// Idle connections per endpoint and shard.
const IDLE_PER_ENDPOINT_MAX: usize = 1_024;
/// Idle connections per shard: a burst must not leave descriptors behind for everybody else.
const IDLE_MAX: usize = 8_192;

/// Idle connections, by endpoint.
#[derive(Debug)]
pub struct Pool<C> {
    idle: IdMap<EndpointId, Vec<Idle<C>>>,
    /// Over all endpoints, as of the last put, take or sweep.
    len: usize,
}

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    expires: Instant,
}

impl<C> Default for Pool<C> {
    fn default() -> Self {
        Self { idle: IdMap::default(), len: 0 }
    }
}

impl<C> Pool<C> {
    /// The connection that was used last, if it is young enough and `is_alive` says so. Dead ones are dropped on the way.
    pub fn take(
        &mut self,
        endpoint: EndpointId,
        now: Instant,
        mut is_alive: impl FnMut(&C) -> bool,
    ) -> Option<C> {
        let idle = self.idle.get_mut(&endpoint)?;
        while let Some(candidate) = idle.pop() {
            self.len -= 1;
            if now < candidate.expires && is_alive(&candidate.connection) {
                return Some(candidate.connection);
            }
        }
        None
    }

    /// Keeps a clean connection for `life`; gives it back where there are enough.
    pub fn put(&mut self, endpoint: EndpointId, connection: C, now: Instant, life: Duration) -> Option<C> {
        let idle = self.idle.entry(endpoint).or_default();
        if idle.len() >= IDLE_PER_ENDPOINT_MAX || self.len >= IDLE_MAX {
            return Some(connection);
        }
        self.len += 1;
        idle.push(Idle { connection, expires: now + life });
        None
    }

    /// Drops what is too old, what `is_alive` refuses and everything of endpoints that `is_known` refuses.
    pub fn sweep(
        &mut self,
        now: Instant,
        mut is_known: impl FnMut(EndpointId) -> bool,
        mut is_alive: impl FnMut(&C) -> bool,
    ) {
        self.idle.retain(|endpoint, idle| {
            if !is_known(*endpoint) {
                return false;
            }
            idle.retain(|one| now < one.expires && is_alive(&one.connection));
            !idle.is_empty()
        });
        self.len = self.idle.values().map(Vec::len).sum();
    }

    /// Idle connections, over all endpoints.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is idle.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // a virtual clock needs a start
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(60);

    fn endpoint(name: &str) -> EndpointId {
        EndpointId::of(&[name])
    }

    #[test]
    fn the_last_one_in_is_the_first_one_out() {
        let now = Instant::now();
        let mut pool = Pool::default();
        for number in 1..=3 {
            assert!(pool.put(endpoint("a"), number, now, LIFE).is_none());
        }
        assert_eq!(pool.take(endpoint("a"), now, |_| true), Some(3));
        assert_eq!(pool.take(endpoint("b"), now, |_| true), None);
        assert_eq!(pool.take(endpoint("a"), now, |number| *number < 2), Some(1), "2 was dead");
        assert_eq!(pool.take(endpoint("a"), now, |_| true), None);
    }

    #[test]
    fn old_dead_and_unknown_ones_are_swept() {
        let now = Instant::now();
        let mut pool = Pool::default();
        pool.put(endpoint("a"), 1, now, Duration::from_secs(1));
        pool.put(endpoint("a"), 2, now, LIFE);
        pool.put(endpoint("gone"), 3, now, LIFE);
        let later = now + Duration::from_secs(2);
        pool.sweep(later, |id| id == endpoint("a"), |_| true);
        assert_eq!(pool.len(), 1);
        assert_eq!(pool.take(endpoint("a"), later, |_| true), Some(2));
    }

    #[test]
    fn a_full_shard_gives_the_connection_back() {
        let now = Instant::now();
        let mut pool = Pool::default();
        for number in 0..IDLE_MAX {
            assert!(pool.put(endpoint(&format!("{}", number % 64)), number, now, LIFE).is_none());
        }
        assert_eq!(pool.put(endpoint("another"), 1, now, LIFE), Some(1));
        assert!(pool.take(endpoint("0"), now, |_| true).is_some());
        assert!(pool.put(endpoint("another"), 1, now, LIFE).is_none());
        assert_eq!(pool.len(), IDLE_MAX);
    }

    #[test]
    fn a_full_pool_gives_the_connection_back() {
        let now = Instant::now();
        let mut pool = Pool::default();
        for number in 0..IDLE_PER_ENDPOINT_MAX {
            assert!(pool.put(endpoint("a"), number, now, LIFE).is_none());
        }
        assert_eq!(pool.put(endpoint("a"), 77, now, LIFE), Some(77));
    }
}
