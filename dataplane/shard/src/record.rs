//! What remains of a finished exchange: counters, a latency and a line of the access log.

mod access_log;

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};

use hdrhistogram::Histogram;
use ringress_engine::http::Head;
use ringress_shared::listener::AccessLogFormat;
use ringress_shared::metric::{COUNTERS, Counter};
use ringress_shared::origin::Origin;
use ringress_shared::route::Rule;

/// Largest latency that is told apart: an hour, in microseconds.
const LATENCY_MICROS_MAX: u64 = 3_600_000_000;

/// Counters and latencies of a shard.
pub(crate) struct Statistics {
    counters: [Cell<u64>; COUNTERS],
    latency: RefCell<Histogram<u64>>,
}

impl Statistics {
    pub(crate) fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, 2);
        Self {
            counters: [const { Cell::new(0) }; COUNTERS],
            latency: RefCell::new(latency.expect("the bounds are constants that fit")),
        }
    }

    pub(crate) fn add(&self, counter: Counter, count: u64) {
        let cell = &self.counters[counter as usize];
        cell.set(cell.get() + count);
    }

    pub(crate) fn observe(&self, micros: u64) {
        self.latency.borrow_mut().saturating_record(micros.max(1));
    }

    pub(crate) fn counters(&self) -> [u64; COUNTERS] {
        std::array::from_fn(|number| self.counters[number].get())
    }

    pub(crate) fn latency(&self) -> Histogram<u64> {
        self.latency.borrow().clone()
    }
}

/// What a shard keeps of a rule beyond its snapshot: whose it is, and how often which class of status was answered.
pub(crate) struct RuleRecord {
    pub(crate) origin: Origin,
    pub(crate) classes: [Cell<u64>; 5],
}

impl RuleRecord {
    pub(crate) fn new(rule: &Rule) -> Self {
        Self { origin: rule.origin.clone(), classes: [const { Cell::new(0) }; 5] }
    }
}

/// One exchange, as the log shows it.
pub(crate) struct Record<'r> {
    pub(crate) format: AccessLogFormat,
    pub(crate) generation: u64,
    pub(crate) shard: usize,
    /// The client behind the trusted proxies.
    pub(crate) client: IpAddr,
    pub(crate) tls: &'static str,
    /// `None` where not even a head could be read.
    pub(crate) head: Option<&'r Head>,
    /// What was received instead of a head.
    pub(crate) line: Option<&'r [u8]>,
    pub(crate) status: u16,
    /// The error token; empty for none.
    pub(crate) token: &'static str,
    /// Why an answer of our own was given.
    pub(crate) detail: &'static str,
    pub(crate) no_route: &'static str,
    pub(crate) request_id: &'r [u8],
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) tries: usize,
    pub(crate) rule: Option<&'r RuleRecord>,
    pub(crate) micros: u64,
}

impl Record<'_> {
    /// Appends the line, if one is wanted.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self.format {
            AccessLogFormat::Off => {}
            AccessLogFormat::Json => access_log::json(self, out),
            AccessLogFormat::Clf => access_log::clf(self, out),
        }
    }
}

/// The counter for a class of status.
pub(crate) fn class_counter(status: u16) -> Counter {
    match status {
        ..200 => Counter::Responses1xx,
        200..300 => Counter::Responses2xx,
        300..400 => Counter::Responses3xx,
        400..500 => Counter::Responses4xx,
        500.. => Counter::Responses5xx,
    }
}
