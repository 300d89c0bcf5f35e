//! Who writes: one holder of a Lease, told by local clocks only. Pure; time is an argument.
//!
//! A holder that was not seen renewing for the Lease's whole duration, by our own clock since we first saw its last
//! renewal, is gone. The holder itself stops writing earlier, by more than a call may take, so two never write at once even if
//! one sleeps; and what was on its way when it was stopped by force does no harm, because every write is conditional or says
//! what is true anyway (pitfall 14).
//!
//! ```text
//! holder    asked ─┬──── WRITES ────┬─ a call under way ─┤
//! another          └ seen at the latest a LOOK later ├───────── DURATION ─────────┼ a LOOK ┤ takes it
//! ```
//!
//! So after a kill the next one leads within DURATION and two looks; a holder that ends in order gives the Lease back.

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
    role: Role,
}

/// What the Lease says of us and of others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Role {
    /// Until when we may write; `None`: not at all.
    until: Option<Instant>,
    /// When somebody else was last seen to hold it, since we did.
    pub(super) other: Option<Instant>,
    /// Who lost it to us by silence.
    pub(super) deposed: Option<String>,
}

impl Role {
    /// Whether it was ours when we last looked.
    pub(super) fn holds(&self) -> bool {
        self.until.is_some()
    }

    /// Whether we may write now.
    pub(super) fn leads(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }
}

impl Election {
    pub(super) fn new(me: &str, namespace: &str, name: &str) -> Self {
        let own = str::to_owned;
        Self { me: own(me), name: own(name), namespace: own(namespace), seen: None, role: Role::default() }
    }

    pub(super) fn role(&self) -> &Role {
        &self.role
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
        self.role.until = None;
        if !holder.is_empty() {
            self.role.other = Some(since);
        }
        let is_silent = now.saturating_duration_since(since) >= DURATION;
        self.role.deposed = (is_silent && !holder.is_empty()).then(|| holder.to_owned());
        match holder.is_empty() || is_silent {
            true => Step::Replace(self.lease(lease["metadata"].clone(), transitions + 1, stamp, stamp)),
            false => Step::Wait,
        }
    }

    /// What gives the Lease back, if it is ours: the next one need not wait.
    pub(super) fn release(&mut self, lease: &Value, stamp: &str) -> Option<Value> {
        self.role.until = None;
        let spec = &lease["spec"];
        (spec["holderIdentity"] == *self.me).then(|| {
            let transitions = spec["leaseTransitions"].as_i64().unwrap_or(0);
            let mut free = self.lease(lease["metadata"].clone(), transitions, stamp, stamp);
            free["spec"]["holderIdentity"] = json!("");
            // The API takes no Lease without a duration.
            free["spec"]["leaseDurationSeconds"] = json!(1);
            free
        })
    }

    /// Our write was taken; `asked` is when it was sent. Returns whether that makes us the leader anew.
    pub(super) fn won(&mut self, asked: Instant) -> bool {
        let was_leading = self.role.leads(asked);
        self.role.until = Some(asked + WRITES);
        self.role.other = None;
        !was_leading
    }

    /// Our write was refused, because somebody else was faster.
    pub(super) fn lost(&mut self) {
        self.role.until = None;
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
const DURATION: Duration = Duration::from_secs(13);

/// A holder begins writes for so long after its last renewal.
const WRITES: Duration = Duration::from_secs(8);

/// The Lease is looked at this often.
pub(super) const LOOK: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::super::api::CALL;
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
        assert!(!election.role().leads(Instant::now()), "not before the server took it");
    }

    #[test]
    fn a_holder_that_renews_is_left_alone_and_a_silent_one_is_followed() {
        let start = Instant::now();
        let mut election = Election::new("me", "ns", "lease");
        assert_eq!(election.step(Some(&held("other", "1")), at(start, 0), ""), Step::Wait);
        assert_eq!(election.step(Some(&held("other", "2")), at(start, 12), ""), Step::Wait);
        assert_eq!(election.step(Some(&held("other", "2")), at(start, 24), ""), Step::Wait);
        let Step::Replace(lease) = election.step(Some(&held("other", "2")), at(start, 25), "now") else {
            panic!("13 s of silence")
        };
        assert_eq!(lease["spec"]["leaseTransitions"], 4);
        assert_eq!(lease["metadata"]["resourceVersion"], "7", "only if nobody was faster");
        assert_eq!(election.role().deposed.as_deref(), Some("other"));
        assert_eq!(election.role().other, Some(at(start, 12)), "the last sign of it");
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
        let taken = at(start, 2) + DURATION;
        assert!(election.role().leads(at(start, 9)));
        assert!(!election.role().leads(taken - CALL), "a call that began before would end after");
        election.lost();
        assert!(!election.role().leads(at(start, 2)));
    }

    #[test]
    fn after_a_kill_another_leads_in_twenty_seconds() {
        assert!(LOOK + DURATION + LOOK <= Duration::from_secs(17), "with an API server that answers");
    }

    #[test]
    fn who_ends_gives_back_what_is_its_own_and_nothing_else() {
        let mut election = Election::new("me", "ns", "lease");
        election.won(Instant::now());
        let free = election.release(&held("me", "1"), "now").expect("it is ours");
        assert_eq!(free["spec"]["holderIdentity"], "");
        assert_eq!(free["metadata"]["resourceVersion"], "7", "only if nobody was faster");
        assert!(!election.role().leads(Instant::now()), "not a write after that");
        assert_eq!(election.release(&held("other", "1"), "now"), None);
        let mut next = Election::new("next", "ns", "lease");
        assert!(matches!(next.step(Some(&free), Instant::now(), ""), Step::Replace(_)), "at once");
        assert_eq!(next.role().deposed, None, "it ended in order");
    }
}
