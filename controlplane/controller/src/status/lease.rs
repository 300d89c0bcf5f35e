//! Who writes: one holder of a Lease, told by local clocks only. Pure; time is an argument.
//!
//! A holder that was not seen renewing for the Lease's whole duration, by our own clock since we first saw its last
//! renewal, is gone. The holder itself stops writing earlier, so two never write at once even if one sleeps; and what was
//! on its way when it stopped does no harm, because every write is conditional or says what is true anyway (pitfall 14).

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

/// What to do about the Lease.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// POST this.
    Create(Value),
    /// PUT this; it carries the version that was seen.
    Replace(Value),
    /// Somebody else holds it.
    Wait,
}

/// Our view of the Lease.
#[derive(Debug)]
pub(super) struct Election {
    me: String,
    name: String,
    namespace: String,
    /// The holder and its renewal, as last seen, and since when by our clock.
    seen: Option<(String, Instant)>,
    /// Until when we may write.
    until: Option<Instant>,
}

impl Election {
    pub(super) fn new(me: &str, namespace: &str, name: &str) -> Self {
        let own = str::to_owned;
        Self { me: own(me), name: own(name), namespace: own(namespace), seen: None, until: None }
    }

    /// Until when we may write; `None`: not at all.
    pub(super) fn leads_until(&self) -> Option<Instant> {
        self.until
    }

    /// What to do, given the Lease as it is (`None`: there is none). `stamp` is the wall clock as RFC 3339.
    pub(super) fn step(&mut self, lease: Option<&Value>, now: Instant, stamp: &str) -> Step {
        let Some(lease) = lease else {
            let metadata = json!({"name": self.name, "namespace": self.namespace});
            return Step::Create(self.lease(metadata, 0, stamp, stamp));
        };
        let spec = &lease["spec"];
        let holder = spec["holderIdentity"].as_str().unwrap_or_default();
        let seen = format!("{holder} {} {}", spec["renewTime"], spec["leaseTransitions"]);
        let since = match &self.seen {
            Some((before, since)) if *before == seen => *since,
            _ => now,
        };
        self.seen = Some((seen, since));
        let transitions = spec["leaseTransitions"].as_i64().unwrap_or(0);
        if holder == self.me {
            let acquired = spec["acquireTime"].as_str().unwrap_or(stamp);
            return Step::Replace(self.lease(lease["metadata"].clone(), transitions, acquired, stamp));
        }
        self.until = None;
        let is_free = holder.is_empty() || now.saturating_duration_since(since) >= DURATION;
        match is_free {
            true => Step::Replace(self.lease(lease["metadata"].clone(), transitions + 1, stamp, stamp)),
            false => Step::Wait,
        }
    }

    /// Our write was taken; `asked` is when it was sent. Returns whether that makes us the leader anew.
    pub(super) fn won(&mut self, asked: Instant) -> bool {
        let was_leading = self.until.is_some_and(|until| until > asked);
        self.until = Some(asked + WRITES);
        !was_leading
    }

    /// Our write was refused, because somebody else was faster.
    pub(super) fn lost(&mut self) {
        self.until = None;
    }

    fn lease(&self, metadata: Value, transitions: i64, acquired: &str, renewed: &str) -> Value {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata,
            "spec": {
                "holderIdentity": self.me, "leaseDurationSeconds": DURATION.as_secs(), "acquireTime": acquired,
                "renewTime": renewed, "leaseTransitions": transitions,
            },
        })
    }
}

/// A holder that is silent for so long is gone.
const DURATION: Duration = Duration::from_secs(15);

/// A holder writes for so long after its last renewal.
const WRITES: Duration = Duration::from_secs(10);

/// The Lease is looked at this often.
pub(super) const LOOK: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn held(by: &str, renewed: &str) -> Value {
        json!({"metadata": {"resourceVersion": "7"}, "spec": {"holderIdentity": by, "renewTime": renewed, "leaseTransitions": 3}})
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_that_is_not_there_is_made() {
        let mut election = Election::new("me", "ns", "lease");
        let Step::Create(lease) = election.step(None, Instant::now(), "now") else { panic!("no lease") };
        assert_eq!(lease["spec"]["holderIdentity"], "me");
        assert_eq!(lease["metadata"]["name"], "lease");
        assert_eq!(election.leads_until(), None, "not before the server took it");
    }

    #[test]
    fn a_holder_that_renews_is_left_alone_and_a_silent_one_is_followed() {
        let start = Instant::now();
        let mut election = Election::new("me", "ns", "lease");
        assert_eq!(election.step(Some(&held("other", "1")), at(start, 0), ""), Step::Wait);
        assert_eq!(election.step(Some(&held("other", "2")), at(start, 14), ""), Step::Wait);
        assert_eq!(election.step(Some(&held("other", "2")), at(start, 28), ""), Step::Wait);
        let Step::Replace(lease) = election.step(Some(&held("other", "2")), at(start, 29), "now") else {
            panic!("15 s of silence")
        };
        assert_eq!(lease["spec"]["leaseTransitions"], 4);
        assert_eq!(lease["metadata"]["resourceVersion"], "7", "only if nobody was faster");
    }

    #[test]
    fn a_lease_that_was_given_back_is_taken_at_once() {
        let mut election = Election::new("me", "ns", "lease");
        assert!(matches!(election.step(Some(&held("", "1")), Instant::now(), ""), Step::Replace(_)));
    }

    #[test]
    fn the_leader_stops_writing_before_another_may_begin() {
        let start = Instant::now();
        let mut election = Election::new("me", "ns", "lease");
        assert!(election.won(start));
        assert!(!election.won(at(start, 2)), "renewed");
        assert!(election.leads_until().is_some_and(|until| until < at(start, 2) + DURATION));
        election.lost();
        assert_eq!(election.leads_until(), None);
    }
}
