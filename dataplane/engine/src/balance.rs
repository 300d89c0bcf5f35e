//! Balancing: which endpoint of an upstream takes the next try, decided by one shard alone.
//!
//! State hangs on stable ids and outlives snapshots; it is brought up to date lazily, by comparing the pointer of the
//! endpoint set. A [`Lease`] accounts for itself: dropped without a word it counts as abandoned, so that a panic, a reset
//! or a cancelled task never skips the books.

mod peak_ewma;
mod round_robin;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringress_shared::id::{EndpointId, IdMap, UpstreamId};
use ringress_shared::metric::EndpointLoad;
use ringress_shared::snapshot::Generation;
use ringress_shared::upstream::{Balance, EndpointSet, Upstream, UpstreamTable};

use crate::health::Health;
use crate::random::Random;
use peak_ewma::Cost;
use round_robin::Cursor;

/// The balancers of one shard.
#[derive(Debug)]
pub struct Balancers {
    by_upstream: IdMap<UpstreamId, Balancer>,
    /// Where this shard starts to count, so that shards do not all begin at endpoint 0.
    offset: usize,
}

/// What a pick depends on beside the upstream.
#[derive(Debug)]
pub struct PickCtx<'p> {
    /// The time.
    pub now: Instant,
    /// Random numbers of the shard.
    pub random: &'p mut Random,
    /// The generation that the upstream was read from.
    pub generation: Generation,
    /// Endpoints that this request has tried already; chosen again only where there is no other.
    pub avoid: &'p [EndpointId],
}

/// What one shard knows of one endpoint of one upstream.
#[derive(Debug)]
pub struct EndpointState {
    id: EndpointId,
    address: SocketAddr,
    in_flight: Cell<u32>,
    cost: Cell<Cost>,
    health: Cell<Health>,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryResult {
    /// A response head came, whatever its status.
    Answered,
    /// The endpoint could not be reached, died or kept silent.
    Failed,
}

#[derive(Debug)]
struct Balancer {
    seen: Arc<EndpointSet>,
    generation: Generation,
    endpoints: Rc<[Rc<EndpointState>]>,
    cursor: Cursor,
    /// When the endpoints were last replaced by others.
    changed: Option<Instant>,
}

impl Balancers {
    /// No upstream yet. `shard` is the number of the shard.
    pub fn new(shard: usize) -> Self {
        Self { by_upstream: IdMap::default(), offset: shard }
    }

    /// The endpoint for the next try, or `None` where the upstream has none.
    pub fn pick(&mut self, upstream: &Upstream, ctx: PickCtx<'_>) -> Option<Lease> {
        let offset = self.offset;
        let balancer = self.by_upstream.entry(upstream.id).or_insert_with(|| Balancer::new(upstream, offset));
        let now = ctx.now;
        balancer.follow(&upstream.endpoints, ctx.generation, now);
        let state = balancer.choose(upstream.balance, ctx)?;
        Some(Lease::new(Rc::clone(state), Rc::clone(&balancer.endpoints), now))
    }

    /// Follows the endpoints of a generation without picking one, where the upstream was picked from before.
    pub fn follow(&mut self, upstream: &Upstream, generation: Generation, now: Instant) {
        if let Some(balancer) = self.by_upstream.get_mut(&upstream.id) {
            balancer.follow(&upstream.endpoints, generation, now);
        }
    }

    /// Whether the endpoints of an upstream are being replaced: they have changed a moment ago.
    pub fn is_moving(&self, upstream: UpstreamId, now: Instant) -> bool {
        let changed = self.by_upstream.get(&upstream).and_then(|balancer| balancer.changed);
        changed.is_some_and(|changed| now.saturating_duration_since(changed) < MOVING)
    }

    /// Whether an upstream that was picked from before has an endpoint that is not to be avoided.
    pub fn has_other(&self, upstream: UpstreamId, avoid: &[EndpointId]) -> bool {
        let balancer = self.by_upstream.get(&upstream);
        balancer.is_some_and(|balancer| balancer.endpoints.iter().any(|state| !avoid.contains(&state.id)))
    }

    /// The endpoints that are in use, fail or are left out. Walks all that were ever picked from.
    pub fn loads(&self, now: Instant) -> Vec<EndpointLoad> {
        let of = |(upstream, balancer): (&UpstreamId, &Balancer)| {
            let loads: Vec<_> =
                balancer.endpoints.iter().filter_map(|state| state.told(*upstream, now)).collect();
            loads
        };
        self.by_upstream.iter().flat_map(of).collect()
    }

    /// Forgets upstreams that are gone. Called after a snapshot was installed, off the way of requests.
    pub fn retain(&mut self, upstreams: &UpstreamTable) {
        self.by_upstream.retain(|id, _| upstreams.contains_key(id));
    }
}

impl Balancer {
    fn new(upstream: &Upstream, offset: usize) -> Self {
        let endpoints = carry_over(&upstream.endpoints, &[]);
        let seen = Arc::clone(&upstream.endpoints);
        Self { seen, endpoints, generation: 0, cursor: Cursor::starting_at(offset), changed: None }
    }

    /// An exchange that still holds an older snapshot takes what is newer: its own set may name endpoints that are gone.
    fn follow(&mut self, current: &Arc<EndpointSet>, generation: Generation, now: Instant) {
        if generation < self.generation {
            return;
        }
        self.generation = generation;
        if !Arc::ptr_eq(&self.seen, current) {
            self.endpoints = carry_over(current, &self.endpoints);
            self.seen = Arc::clone(current);
            self.changed = Some(now);
        }
    }

    fn choose(&mut self, balance: Balance, ctx: PickCtx<'_>) -> Option<&Rc<EndpointState>> {
        let avoid = ctx.avoid;
        let now = ctx.now;
        let wanted = |state: &EndpointState| state.is_available(now) && !avoid.contains(&state.id);
        let untried = |state: &EndpointState| !avoid.contains(&state.id);
        // Health is advice: where everything looks dead, everybody is asked again.
        if self.endpoints.iter().any(|state| wanted(state)) {
            self.choose_among(balance, ctx, wanted)
        } else if self.endpoints.iter().any(|state| untried(state)) {
            self.choose_among(balance, ctx, untried)
        } else {
            self.choose_among(balance, ctx, |_| true)
        }
    }

    fn choose_among(
        &mut self,
        balance: Balance,
        ctx: PickCtx<'_>,
        eligible: impl Fn(&EndpointState) -> bool,
    ) -> Option<&Rc<EndpointState>> {
        match balance {
            Balance::RoundRobin => round_robin::choose(&mut self.cursor, &self.endpoints, eligible),
            Balance::PeakEwma => peak_ewma::choose(&self.endpoints, ctx.now, ctx.random, eligible),
        }
    }
}

/// The states for an endpoint set, with what was known of those that stay.
fn carry_over(set: &EndpointSet, known: &[Rc<EndpointState>]) -> Rc<[Rc<EndpointState>]> {
    let known: IdMap<EndpointId, &Rc<EndpointState>> = known.iter().map(|state| (state.id, state)).collect();
    let seed = peak_ewma::mean(known.values().map(|state| state.cost.get()));
    set.endpoints
        .iter()
        .map(|endpoint| match known.get(&endpoint.id) {
            Some(state) => Rc::clone(state),
            None => Rc::new(EndpointState {
                id: endpoint.id,
                address: endpoint.address,
                in_flight: Cell::new(0),
                // A new endpoint is expected to be as good as the others, not free: else it gets everything at once.
                cost: Cell::new(seed),
                health: Cell::new(Health::default()),
            }),
        })
        .collect()
}

impl EndpointState {
    fn is_available(&self, now: Instant) -> bool {
        self.health.get().is_available(now)
    }

    /// What there is to tell of it; `None` where it is idle and well.
    fn told(&self, upstream: UpstreamId, now: Instant) -> Option<EndpointLoad> {
        let health = self.health.get();
        let (in_flight, failures, ejected) = (self.in_flight.get(), health.failures(), health.ejected(now));
        let is_quiet = in_flight == 0 && failures == 0 && ejected.is_none();
        (!is_quiet).then_some(EndpointLoad { upstream, endpoint: self.id, in_flight, failures, ejected })
    }

    fn load(&self, now: Instant) -> f64 {
        self.cost.get().at(now) * f64::from(self.in_flight.get() + 1)
    }
}

/// One try on one endpoint.
#[derive(Debug)]
pub struct Lease {
    state: Rc<EndpointState>,
    siblings: Rc<[Rc<EndpointState>]>,
    started: Instant,
    reported: RefCell<bool>,
}

impl Lease {
    fn new(state: Rc<EndpointState>, siblings: Rc<[Rc<EndpointState>]>, started: Instant) -> Self {
        state.in_flight.set(state.in_flight.get() + 1);
        Self { state, siblings, started, reported: RefCell::new(false) }
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.state.address
    }

    /// Which endpoint it is.
    pub fn endpoint(&self) -> EndpointId {
        self.state.id
    }

    /// Tells how the try went; only the first word counts. Returns whether the endpoint was ejected for it.
    pub fn report(&self, result: TryResult, now: Instant) -> bool {
        if self.reported.replace(true) {
            return false;
        }
        let mut health = self.state.health.get();
        let mut cost = self.state.cost.get();
        let ejected = match result {
            TryResult::Answered => {
                health.succeeded();
                cost.observe(now.saturating_duration_since(self.started), now);
                false
            }
            TryResult::Failed => {
                cost.observe(now.saturating_duration_since(self.started).max(FAILURE_COST), now);
                health.failed(now, self.has_available_sibling(now))
            }
        };
        self.state.health.set(health);
        self.state.cost.set(cost);
        ejected
    }

    fn has_available_sibling(&self, now: Instant) -> bool {
        self.siblings.iter().any(|other| other.id != self.state.id && other.is_available(now))
    }
}

/// Endpoints that changed so long ago are not being replaced any more.
const MOVING: Duration = Duration::from_secs(10);

/// What a failure costs in the books, so that an endpoint that fails fast does not look fast.
const FAILURE_COST: Duration = Duration::from_secs(1);

impl Drop for Lease {
    fn drop(&mut self) {
        // An abandoned try says nothing of the endpoint's health; only the place in flight is given back.
        self.state.in_flight.set(self.state.in_flight.get().saturating_sub(1));
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // a virtual clock needs a start
mod tests {
    use super::*;
    use ringress_shared::origin::ObjectRef;
    use ringress_shared::upstream::{Endpoint, UpstreamProtocol};

    fn upstream(ports: &[u16], balance: Balance) -> Upstream {
        let endpoints =
            ports.iter().map(|port| Endpoint::new(([127, 0, 0, 1], *port).into(), None)).collect();
        Upstream {
            id: UpstreamId::of(&["shop/web:80"]),
            service: ObjectRef::new("Service", "shop", "web"),
            port: "80".into(),
            protocol: UpstreamProtocol::Http1,
            balance,
            endpoints: Arc::new(EndpointSet { endpoints }),
        }
    }

    struct Bench {
        balancers: Balancers,
        random: Random,
        generation: Generation,
        now: Instant,
    }

    impl Bench {
        fn new(shard: usize) -> Self {
            Self {
                balancers: Balancers::new(shard),
                random: Random::new(1),
                generation: 1,
                now: Instant::now(),
            }
        }

        fn pick(&mut self, upstream: &Upstream, avoid: &[EndpointId]) -> Option<Lease> {
            let ctx = PickCtx { now: self.now, random: &mut self.random, generation: self.generation, avoid };
            self.balancers.pick(upstream, ctx)
        }

        fn ports(&mut self, upstream: &Upstream, picks: usize) -> Vec<u16> {
            (0..picks).map(|_| self.pick(upstream, &[]).unwrap().address().port()).collect()
        }
    }

    #[test]
    fn round_robin_is_even_and_shards_start_apart() {
        let upstream = upstream(&[1, 2, 3], Balance::RoundRobin);
        assert_eq!(Bench::new(0).ports(&upstream, 6), [1, 2, 3, 1, 2, 3]);
        assert_eq!(Bench::new(1).ports(&upstream, 6), [2, 3, 1, 2, 3, 1]);
    }

    #[test]
    fn the_position_survives_a_new_endpoint_set() {
        let mut bench = Bench::new(0);
        assert_eq!(bench.ports(&upstream(&[1, 2, 3], Balance::RoundRobin), 2), [1, 2]);
        assert_eq!(bench.ports(&upstream(&[1, 2, 3, 4], Balance::RoundRobin), 3), [3, 4, 1]);
    }

    #[test]
    fn an_older_snapshot_does_not_bring_gone_endpoints_back() {
        let mut bench = Bench::new(0);
        let (old, new) = (upstream(&[1], Balance::RoundRobin), upstream(&[2], Balance::RoundRobin));
        assert_eq!(bench.ports(&old, 1), [1]);
        bench.generation = 2;
        assert_eq!(bench.ports(&new, 1), [2]);
        bench.generation = 1;
        assert_eq!(bench.ports(&old, 1), [2], "a retry of an exchange that began under generation 1");
    }

    #[test]
    fn a_failing_endpoint_is_ejected_but_never_the_last() {
        let mut bench = Bench::new(0);
        let pair = upstream(&[1, 2], Balance::RoundRobin);
        for _ in 0..20 {
            let lease = bench.pick(&pair, &[]).unwrap();
            let result = if lease.address().port() == 1 { TryResult::Failed } else { TryResult::Answered };
            lease.report(result, bench.now);
        }
        assert_eq!(bench.ports(&pair, 3), [2, 2, 2]);
        for _ in 0..20 {
            bench.pick(&pair, &[]).unwrap().report(TryResult::Failed, bench.now);
        }
        assert!(bench.pick(&pair, &[]).is_some());
        assert!(bench.ports(&pair, 4).contains(&2), "the last one is never ejected");
    }

    #[test]
    fn a_retry_goes_elsewhere_where_there_is_an_elsewhere() {
        let mut bench = Bench::new(0);
        let pair = upstream(&[1, 2], Balance::RoundRobin);
        let first = bench.pick(&pair, &[]).unwrap();
        let second = bench.pick(&pair, &[first.endpoint()]).unwrap();
        assert_ne!(first.endpoint(), second.endpoint());
        let lonely = upstream(&[1], Balance::RoundRobin);
        let mut bench = Bench::new(0);
        let first = bench.pick(&lonely, &[]).unwrap();
        assert_eq!(bench.pick(&lonely, &[first.endpoint()]).unwrap().endpoint(), first.endpoint());
    }

    #[test]
    fn an_upstream_without_endpoints_gives_nothing() {
        assert!(Bench::new(0).pick(&upstream(&[], Balance::RoundRobin), &[]).is_none());
        assert!(Bench::new(0).pick(&upstream(&[], Balance::PeakEwma), &[]).is_none());
    }

    #[test]
    fn a_dropped_lease_gives_its_place_back() {
        let mut bench = Bench::new(0);
        let one = upstream(&[1], Balance::PeakEwma);
        let lease = bench.pick(&one, &[]).unwrap();
        let state = Rc::clone(&lease.state);
        assert_eq!(state.in_flight.get(), 1);
        drop(lease);
        assert_eq!(state.in_flight.get(), 0);
    }

    #[test]
    fn what_is_in_use_or_fails_is_told_and_what_is_well_is_not() {
        let mut bench = Bench::new(0);
        let pair = upstream(&[1, 2], Balance::RoundRobin);
        let told = |bench: &Bench| -> Vec<(u16, u32, u32, bool)> {
            let port = |id| pair.endpoints.endpoints.iter().find(|one| one.id == id).unwrap().address.port();
            let loads = bench.balancers.loads(bench.now).into_iter();
            loads
                .map(|load| (port(load.endpoint), load.in_flight, load.failures, load.ejected.is_some()))
                .collect()
        };
        assert_eq!(told(&bench), [], "nobody was picked");
        let (first, second) = (bench.pick(&pair, &[]).unwrap(), bench.pick(&pair, &[]).unwrap());
        first.report(TryResult::Failed, bench.now);
        assert_eq!(told(&bench), [(1, 1, 1, false), (2, 1, 0, false)]);
        second.report(TryResult::Answered, bench.now);
        drop((first, second));
        assert_eq!(told(&bench), [(1, 0, 1, false)]);
        for _ in 0..4 {
            let lease = bench.pick(&pair, &[]).unwrap();
            let result = if lease.address().port() == 1 { TryResult::Failed } else { TryResult::Answered };
            lease.report(result, bench.now);
        }
        assert_eq!(told(&bench), [(1, 0, 0, true)], "left out");
        bench.now += Duration::from_secs(20);
        assert_eq!(told(&bench), [], "taken in again");
    }

    #[test]
    fn peak_ewma_prefers_the_fast_one() {
        let mut bench = Bench::new(0);
        let pair = upstream(&[1, 2], Balance::PeakEwma);
        let mut slow = 0;
        for _ in 0..1_000 {
            let lease = bench.pick(&pair, &[]).unwrap();
            let is_slow = lease.address().port() == 1;
            slow += usize::from(is_slow);
            bench.now += Duration::from_millis(if is_slow { 50 } else { 1 });
            lease.report(TryResult::Answered, bench.now);
        }
        assert!(slow < 100, "{slow} of 1000 went to the slow endpoint");
    }
}
