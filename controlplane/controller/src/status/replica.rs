//! Replicas: what each shows of itself in a Lease of its own, and what the leader makes of the others' Leases. Pure; time is
//! an argument.
//!
//! A replica counts while it is *fresh*: it renews its Lease every few seconds, only while it is ready, and takes it away when
//! it ends. So nobody need ask for Pods or EndpointSlices to know who is ready. One that is killed, frozen or cut off from the
//! API server stops counting a quarter of a minute later, by the leader's own clock, and never holds `Applied` up for longer:
//! what such a replica still serves, `Applied` does not speak for, and names it as long as its Lease is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringress_translate::Settings;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::follow::News;
use crate::source::kube::Reached;

/// Who a replica is.
#[derive(Debug, Clone)]
pub(super) struct Replica {
    /// The name of its Lease.
    pub(super) name: String,
    /// The value of [`LABEL`] on the Leases of all replicas that elect one leader.
    pub(super) group: String,
    namespace: String,
    /// The process, as `holderIdentity`.
    me: String,
}

/// What a replica shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// What all its shards serve, by watch.
    pub(super) heard: BTreeMap<String, u64>,
    pub(super) shards: usize,
    /// Its own count; for people, since counts of two processes do not compare.
    pub(super) generation: u64,
    /// `None`: it leaves statuses alone.
    pub(super) publishes: Option<Publishes>,
}

/// Which Ingresses get addresses from a replica and those that elect a leader with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Publishes {
    controller: String,
    class: String,
    without_class: bool,
    /// Where they are; empty: anywhere.
    namespaces: BTreeSet<String>,
}

impl Publishes {
    pub(super) fn new(settings: &Settings, namespaces: &BTreeSet<String>) -> Self {
        Self {
            controller: settings.controller_class.clone(),
            class: settings.ingress_class.clone(),
            without_class: settings.watch_ingress_without_class,
            namespaces: namespaces.clone(),
        }
    }

    /// Whether every Ingress of the other one is one of this one, too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let everywhere = self.namespaces.is_empty();
        let is_there =
            everywhere || !other.namespaces.is_empty() && other.namespaces.is_subset(&self.namespaces);
        let has_class = self.controller == other.controller && self.class == other.class;
        is_there && has_class && (self.without_class || !other.without_class)
    }
}

impl Replica {
    pub(super) fn new(pod: &str, me: &str, namespace: &str, election_id: &str) -> Self {
        let name: String = format!("ringress-replica-{pod}").chars().take(NAME_MAX).collect();
        Self { name, group: group_of(election_id), namespace: namespace.to_owned(), me: me.to_owned() }
    }

    /// The Lease, whole enough to be created and to be merged into what is there.
    pub(super) fn lease(&self, shown: &Shown, stamp: &str) -> Value {
        let (heard, publishes) = (json!(shown.heard).to_string(), json!(shown.publishes).to_string());
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": self.name, "namespace": self.namespace,
                "labels": {LABEL: self.group},
                "annotations": {
                    HEARD: heard, SHARDS: shown.shards.to_string(), GENERATION: shown.generation.to_string(),
                    PUBLISHES: publishes,
                },
            },
            "spec": {"holderIdentity": self.me, "leaseDurationSeconds": FRESH.as_secs(), "renewTime": stamp},
        })
    }
}

/// What the leader knows of the other replicas.
#[derive(Debug)]
pub(super) struct Replicas {
    own: String,
    /// A process that lost the election by silence: it does not count before it shows a sign of life.
    deposed: Option<String>,
    peers: Peers,
}

#[derive(Debug)]
enum Peers {
    NotListed,
    /// They may not be read.
    Unknown,
    Known(BTreeMap<String, Peer>),
}

#[derive(Debug)]
struct Peer {
    holder: String,
    version: String,
    /// When its last renewal was first seen.
    since: Instant,
    is_deposed: bool,
    shown: Shown,
}

/// Whether all replicas that count have what is served here.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    /// Not all of them, or it is not known yet.
    Open,
    /// There is nobody else.
    Alone,
    /// The others may not be read.
    Unknown,
    /// Everybody has.
    Common {
        /// The others.
        others: usize,
        /// Their shards.
        shards: usize,
        /// The pods of those that did not, and are waited for no more.
        silent: Vec<String>,
    },
}

impl Replicas {
    pub(super) fn new(own: &str, deposed: Option<String>) -> Self {
        Self { own: own.to_owned(), deposed, peers: Peers::NotListed }
    }

    /// Takes news in.
    pub(super) fn take(&mut self, news: News, now: Instant) {
        match news {
            News::Listed(items) => {
                let mut before = match std::mem::replace(&mut self.peers, Peers::NotListed) {
                    Peers::Known(peers) => peers,
                    Peers::NotListed | Peers::Unknown => BTreeMap::new(),
                };
                let peer = |lease| {
                    let (name, peer) = self.peer(lease, now)?;
                    let known = before.remove(&name).filter(|known| known.version == peer.version);
                    Some((name, known.unwrap_or(peer)))
                };
                self.peers = Peers::Known(items.iter().filter_map(peer).collect());
                // What changes before our eyes from now on is alive, whoever holds it.
                self.deposed = None;
            }
            News::Changed(lease) => {
                let peer = self.peer(&lease, now);
                if let Peers::Known(peers) = &mut self.peers {
                    peers.extend(peer);
                }
            }
            News::Deleted(lease) => {
                if let Peers::Known(peers) = &mut self.peers {
                    peers.remove(name_of(&lease));
                }
            }
            News::Refused(_) => self.peers = Peers::Unknown,
        }
    }

    fn peer(&self, lease: &Value, now: Instant) -> Option<(String, Peer)> {
        let name = name_of(lease);
        if name.is_empty() || name == self.own {
            return None;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let version = text(&lease["metadata"]["resourceVersion"]);
        let holder = text(&lease["spec"]["holderIdentity"]);
        let is_deposed = self.deposed.as_ref() == Some(&holder);
        Some((name.to_owned(), Peer { holder, version, since: now, is_deposed, shown: shown(lease) }))
    }

    /// Whether everybody who counts has what is served here.
    pub(super) fn agreement(&self, served: &Reached, now: Instant) -> Agreement {
        let peers = match &self.peers {
            Peers::NotListed => return Agreement::Open,
            Peers::Unknown => return Agreement::Unknown,
            Peers::Known(peers) => peers,
        };
        let (mut others, mut shards, mut silent) = (0, 0, Vec::new());
        for peer in peers.values().filter(|peer| !peer.holder.is_empty()) {
            match (peer.counts(now), served.is_known_with(&peer.shown.heard)) {
                (true, false) => return Agreement::Open,
                (true, true) => {
                    others += 1;
                    shards += peer.shown.shards;
                }
                (false, _) => silent.push(peer.pod().to_owned()),
            }
        }
        match others == 0 && silent.is_empty() {
            true => Agreement::Alone,
            false => Agreement::Common { others, shards, silent },
        }
    }

    /// Leases that nobody has renewed for so long that their replica will not take them away itself: name and version.
    pub(super) fn abandoned(&self, now: Instant) -> Vec<(String, String)> {
        let Peers::Known(peers) = &self.peers else { return Vec::new() };
        let old = peers.iter().filter(|(_, peer)| now.saturating_duration_since(peer.since) >= ABANDONED);
        old.map(|(name, peer)| (name.clone(), peer.version.clone())).collect()
    }
}

impl Peer {
    fn counts(&self, now: Instant) -> bool {
        !self.is_deposed && now.saturating_duration_since(self.since) < FRESH
    }

    /// Without the number of the process.
    fn pod(&self) -> &str {
        self.holder.rsplit_once('_').map_or(&self.holder, |(pod, _)| pod)
    }
}

/// What a Lease shows; what has no sense shows nothing, so nobody takes it for an acknowledgement.
pub(super) fn shown(lease: &Value) -> Shown {
    let annotation = |name: &str| lease["metadata"]["annotations"][name].as_str().unwrap_or_default();
    Shown {
        heard: serde_json::from_str(annotation(HEARD)).unwrap_or_default(),
        shards: annotation(SHARDS).parse().unwrap_or(0),
        generation: annotation(GENERATION).parse().unwrap_or(0),
        publishes: serde_json::from_str(annotation(PUBLISHES)).unwrap_or_default(),
    }
}

/// Whether a Lease is that of a replica that elects a leader with us.
pub(super) fn is_of_group(lease: &Value, group: &str) -> bool {
    lease["metadata"]["labels"][LABEL] == *group
}

/// The value of [`LABEL`] of those that elect a leader by this Lease.
pub(super) fn group_of(election_id: &str) -> String {
    let group: String = election_id.chars().take(LABEL_MAX).collect();
    group.trim_end_matches(['-', '.', '_']).to_owned()
}

/// The name of a Lease.
pub(super) fn name_of(lease: &Value) -> &str {
    lease["metadata"]["name"].as_str().unwrap_or_default()
}

/// Marks the Leases of replicas.
pub(super) const LABEL: &str = "ringress.dev/replica-of";
const HEARD: &str = "ringress.dev/heard";
const SHARDS: &str = "ringress.dev/shards";
const GENERATION: &str = "ringress.dev/generation";
const PUBLISHES: &str = "ringress.dev/publishes";

/// A replica that has not renewed for so long does not count.
pub(super) const FRESH: Duration = Duration::from_secs(15);

/// A Lease that was not renewed for so long is taken away by the leader.
const ABANDONED: Duration = Duration::from_secs(60);

/// Limits of the API.
const NAME_MAX: usize = 253;
const LABEL_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(name: &str, version: &str, heard: u64) -> Value {
        let publishes = Some(publishes(&Settings::default(), &["shop"]));
        let shown =
            Shown { heard: [("ingresses".to_owned(), heard)].into(), shards: 2, generation: 3, publishes };
        let mut lease = Replica::new(name, &format!("{name}_1"), "ns", "leader").lease(&shown, "now");
        lease["metadata"]["resourceVersion"] = json!(version);
        lease
    }

    fn publishes(settings: &Settings, namespaces: &[&str]) -> Publishes {
        Publishes::new(settings, &namespaces.iter().map(|name| (*name).to_owned()).collect())
    }

    fn common(others: usize, shards: usize) -> Agreement {
        Agreement::Common { others, shards, silent: Vec::new() }
    }

    fn served(version: u64) -> Reached {
        let mut reached = Reached::of_test("ingresses");
        reached.change_of_test(version);
        reached
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn listed(leases: &[Value], now: Instant) -> Replicas {
        let mut replicas = Replicas::new("ringress-replica-me", None);
        replicas.take(News::Listed(leases.to_vec()), now);
        replicas
    }

    #[test]
    fn a_lease_shows_what_it_was_given() {
        let read = shown(&lease("a", "1", 7));
        assert_eq!((read.heard["ingresses"], read.shards, read.generation), (7, 2, 3));
        assert_eq!(read.publishes, Some(publishes(&Settings::default(), &["shop"])));
        assert_eq!(shown(&json!({"metadata": {"annotations": {HEARD: "nonsense"}}})), Shown::default());
    }

    #[test]
    fn ingresses_are_covered_by_who_serves_the_class_in_all_of_their_namespaces() {
        let usual = Settings::default();
        let other = Settings { controller_class: "example.test/other".to_owned(), ..Settings::default() };
        let greedy = Settings { watch_ingress_without_class: true, ..Settings::default() };
        let check =
            |(covering, there): (&Settings, &[&str]), (covered, here): (&Settings, &[&str]), expected| {
                let covers = publishes(covering, there).covers(&publishes(covered, here));
                assert_eq!(covers, expected, "{there:?} {here:?}");
            };
        check((&usual, &[]), (&usual, &[]), true);
        check((&usual, &[]), (&usual, &["a"]), true);
        check((&usual, &["a", "b"]), (&usual, &["a"]), true);
        check((&usual, &["a"]), (&usual, &["a", "b"]), false);
        check((&usual, &["a"]), (&usual, &[]), false);
        check((&other, &[]), (&usual, &[]), false);
        check((&greedy, &[]), (&usual, &[]), true);
        check((&usual, &[]), (&greedy, &[]), false);
    }

    #[test]
    fn everybody_who_is_fresh_must_have_it() {
        let now = Instant::now();
        let mut replicas = listed(&[lease("me", "1", 0), lease("a", "1", 9), lease("b", "1", 6)], now);
        assert_eq!(replicas.agreement(&served(7), now), Agreement::Open);
        assert_eq!(replicas.agreement(&served(6), now), common(2, 4));
        replicas.take(News::Changed(lease("b", "2", 7)), now);
        assert_eq!(replicas.agreement(&served(7), now), common(2, 4));
        replicas.take(News::Deleted(lease("b", "3", 7)), now);
        replicas.take(News::Deleted(lease("a", "3", 7)), now);
        assert_eq!(replicas.agreement(&served(7), now), Agreement::Alone);
    }

    #[test]
    fn nothing_is_agreed_before_the_others_are_known() {
        let now = Instant::now();
        let mut replicas = Replicas::new("me", None);
        assert_eq!(replicas.agreement(&served(7), now), Agreement::Open);
        replicas.take(News::Refused(crate::source::kube::call::Failure::Forbidden(String::new())), now);
        assert_eq!(replicas.agreement(&served(7), now), Agreement::Unknown);
    }

    #[test]
    fn a_silent_replica_holds_nothing_up_for_ever() {
        let start = Instant::now();
        let mut replicas = listed(&[lease("a", "1", 6)], start);
        assert_eq!(replicas.agreement(&served(7), at(start, 14)), Agreement::Open);
        let without = Agreement::Common { others: 0, shards: 0, silent: vec!["a".to_owned()] };
        assert_eq!(replicas.agreement(&served(7), at(start, 15)), without);
        // Listing the same again is no sign of life.
        replicas.take(News::Listed(vec![lease("a", "1", 6)]), at(start, 16));
        assert_eq!(replicas.agreement(&served(7), at(start, 16)), without);
        replicas.take(News::Changed(lease("a", "2", 6)), at(start, 17));
        assert_eq!(replicas.agreement(&served(7), at(start, 17)), Agreement::Open, "it is back");
    }

    #[test]
    fn the_leader_that_was_followed_counts_when_it_is_back() {
        let now = Instant::now();
        let mut replicas = Replicas::new("ringress-replica-me", Some("a_1".to_owned()));
        replicas.take(News::Listed(vec![lease("a", "1", 6)]), now);
        let without = Agreement::Common { others: 0, shards: 0, silent: vec!["a".to_owned()] };
        assert_eq!(replicas.agreement(&served(7), now), without);
        replicas.take(News::Changed(lease("a", "2", 6)), now);
        assert_eq!(replicas.agreement(&served(7), now), Agreement::Open);
    }

    #[test]
    fn a_lease_that_was_left_behind_is_taken_away() {
        let start = Instant::now();
        let mut replicas = listed(&[lease("a", "1", 6), lease("b", "1", 6)], start);
        replicas.take(News::Changed(lease("b", "2", 6)), at(start, 30));
        assert!(replicas.abandoned(at(start, 59)).is_empty());
        let expected = ("ringress-replica-a".to_owned(), "1".to_owned());
        assert_eq!(replicas.abandoned(at(start, 60)), [expected]);
    }

    #[test]
    fn names_and_labels_fit_the_api() {
        let replica = Replica::new(&"p".repeat(253), "me", "ns", &format!("{}-x", "e".repeat(62)));
        assert_eq!((replica.name.len(), replica.group), (253, "e".repeat(62)));
    }
}
