//! Idle upstream connections of one shard: last in, first out, per endpoint.
//!
//! Last in first out keeps a few connections warm and lets the rest age out. A connection comes back only after its
//! response was read whole and its request was sent whole: the caller hands it over then, and nothing else can.

use std::time::{Duration, Instant};

use ringress_shared::id::{EndpointId, IdMap};

/// Idle connections per endpoint and shard.
const IDLE_PER_ENDPOINT_MAX: usize = 1_024;

/// Idle connections, by endpoint.
#[derive(Debug)]
pub struct Pool<C> {
    idle: IdMap<EndpointId, Vec<Idle<C>>>,
}

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    expires: Instant,
}

impl<C> Default for Pool<C> {
    fn default() -> Self {
        Self { idle: IdMap::default() }
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
            if now < candidate.expires && is_alive(&candidate.connection) {
                return Some(candidate.connection);
            }
        }
        None
    }

    /// Keeps a clean connection for `life`; gives it back where there are enough.
    pub fn put(&mut self, endpoint: EndpointId, connection: C, now: Instant, life: Duration) -> Option<C> {
        let idle = self.idle.entry(endpoint).or_default();
        if idle.len() >= IDLE_PER_ENDPOINT_MAX {
            return Some(connection);
        }
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
    }

    /// Drops everything.
    pub fn clear(&mut self) {
        self.idle.clear();
    }

    /// Idle connections, over all endpoints.
    pub fn len(&self) -> usize {
        self.idle.values().map(Vec::len).sum()
    }

    /// Whether none is idle.
    pub fn is_empty(&self) -> bool {
        self.idle.is_empty()
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
    fn a_full_pool_gives_the_connection_back() {
        let now = Instant::now();
        let mut pool = Pool::default();
        for number in 0..IDLE_PER_ENDPOINT_MAX {
            assert!(pool.put(endpoint("a"), number, now, LIFE).is_none());
        }
        assert_eq!(pool.put(endpoint("a"), 77, now, LIFE), Some(77));
    }
}
