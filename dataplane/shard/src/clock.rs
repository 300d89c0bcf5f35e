//! The only place where a shard reads clocks.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant, SystemTime};

/// The clocks of a shard.
#[derive(Debug)]
pub(crate) struct Clock {
    date_second: Cell<u64>,
    date: RefCell<[u8; 29]>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { date_second: Cell::new(u64::MAX), date: RefCell::new([b' '; 29]) }
    }

    /// The monotonic time.
    #[allow(clippy::disallowed_methods)]
    pub(crate) fn now() -> Instant {
        Instant::now()
    }

    /// The monotonic time to a few milliseconds, at a fraction of the cost: for deadlines, which every step of an exchange
    /// moves.
    pub(crate) fn coarse() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    /// The time since 1970, to a few milliseconds.
    pub(crate) fn since_epoch() -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        // Before 1970 there is nothing better to say.
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    /// The value of the Date field (RFC 9110 §5.6.7), formatted once a second.
    pub(crate) fn date(&self) -> [u8; 29] {
        let second = Self::since_epoch().as_secs();
        if self.date_second.replace(second) != second {
            let text = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(second));
            if let Ok(bytes) = text.as_bytes().try_into() {
                *self.date.borrow_mut() = bytes;
            }
        }
        *self.date.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_has_its_fixed_form() {
        let date = Clock::new().date();
        assert!(date.ends_with(b" GMT") && date[3] == b',', "{}", String::from_utf8_lossy(&date));
    }
}
