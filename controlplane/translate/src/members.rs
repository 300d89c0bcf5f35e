//! The Ingresses one by one: read, judged by class, with the last good version in place of a broken one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::jiff::Timestamp;
use ringress_shared::origin::{ObjectRef, Origin};
use ringress_shared::route::Dialect;

use crate::claim::ClassVerdict;
use crate::ingress;
use crate::ingress::class::{self, Classes};
use crate::ir::{IngressIr, LostIr};
use crate::objects::{Key, Objects, Stored, Version};
use crate::problem::Problem;
use crate::settings::Settings;
use crate::table::Table;

#[derive(Debug, Default)]
pub(crate) struct Members {
    members: BTreeMap<Key, Member>,
    good: Table<Ingress>,
    /// What is served for these depends on the last good version that is handed in.
    broken: BTreeSet<Key>,
}

/// One Ingress.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) object: ObjectRef,
    pub(crate) created: Option<Timestamp>,
    pub(crate) class: ClassVerdict,
    /// What is served, if it is ours; of the last good version where this one is wrong.
    pub(crate) served: Option<Arc<IngressIr>>,
    /// Why nothing is served although it is ours.
    pub(crate) left_out: Option<&'static str>,
    /// Problems of class and syntax, as far as they concern us.
    pub(crate) problems: Vec<Problem>,
    reading: Reading,
}

/// What an object says, before it is known whose it is.
#[derive(Debug)]
struct Reading {
    version: Version,
    /// The last good version that was handed in; it counts only where this one is wrong.
    last_good: Option<Version>,
    /// This version, or the last good one.
    ir: Arc<IngressIr>,
    problems: Vec<Problem>,
    /// What this version claims and cannot have.
    lost: Vec<LostIr>,
    /// What is wrong inside this version.
    wrong: Option<String>,
    quarantined: bool,
}

/// An object that was looked at again, with the rules that it had and has.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) before: Option<Arc<IngressIr>>,
    pub(crate) after: Option<Arc<IngressIr>>,
}

impl Change {
    /// Whether the rules are the same ones.
    pub(crate) fn is_void(&self) -> bool {
        self.before.as_ref().map(Arc::as_ptr) == self.after.as_ref().map(Arc::as_ptr)
    }
}

/// What readings depend on beside the object.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'s> {
    pub(crate) objects: &'s Objects,
    pub(crate) classes: &'s Classes,
    pub(crate) settings: &'s Settings,
    pub(crate) last_good: &'s Table<Ingress>,
}

impl Members {
    /// Follows changed objects.
    pub(crate) fn follow(&mut self, mut moved: BTreeSet<Key>, around: Surroundings<'_>) -> Vec<Change> {
        moved.extend(self.with_other_last_good(around.last_good));
        moved.into_iter().map(|key| self.change(key, around)).collect()
    }

    fn with_other_last_good(&self, last_good: &Table<Ingress>) -> Vec<Key> {
        let other = |key: &&Key| {
            let seen = self.members.get(*key).and_then(|member| member.reading.last_good);
            seen != last_good.get(key).map(|stored| stored.version)
        };
        self.broken.iter().filter(other).cloned().collect()
    }

    fn change(&mut self, key: Key, around: Surroundings<'_>) -> Change {
        let before = self.members.remove(&key);
        let served = before.as_ref().and_then(|member| member.served.clone());
        let Some(stored) = around.objects.ingresses.get(&key) else {
            self.broken.remove(&key);
            self.keep_good(&key, None);
            return Change { key, before: served, after: None };
        };
        let good = around.last_good.get(&key);
        let reading = match before.map(|member| member.reading) {
            Some(reading) if reading.is_of(stored, good) => reading,
            before => Reading::read(&key, stored, good, before, around.settings),
        };
        if reading.wrong.is_none() {
            self.broken.remove(&key);
            self.keep_good(&key, Some(stored));
        } else {
            self.broken.insert(key.clone());
            self.keep_good(&key, good);
        }
        let member = Member::judge(&key, &stored.object, reading, around);
        let after = member.served.clone();
        self.members.insert(key.clone(), member);
        Change { key, before: served, after }
    }

    fn keep_good(&mut self, key: &Key, stored: Option<&Stored<Ingress>>) {
        let version = |stored: &Stored<Ingress>| stored.version;
        if self.good.get(key).map(version) == stored.map(version) {
            return;
        }
        match stored {
            Some(stored) => drop(self.good.insert(key.clone(), stored.clone())),
            None => drop(self.good.remove(key)),
        }
    }

    /// The names of all members.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.members.keys()
    }

    /// One member.
    pub(crate) fn member(&self, key: &Key) -> Option<&Member> {
        self.members.get(key)
    }

    /// The versions that go on if the next one is wrong.
    pub(crate) fn good(&self) -> &Table<Ingress> {
        &self.good
    }
}

impl Reading {
    fn is_of(&self, stored: &Stored<Ingress>, good: Option<&Stored<Ingress>>) -> bool {
        let same_good = || self.last_good == good.map(|good| good.version);
        self.version == stored.version && (self.wrong.is_none() || same_good())
    }

    fn read(
        key: &Key,
        stored: &Stored<Ingress>,
        good: Option<&Stored<Ingress>>,
        before: Option<Self>,
        settings: &Settings,
    ) -> Self {
        let ingress::Read { mut ir, problems, wrong } = ingress::read(key, &stored.object, settings);
        let lost = std::mem::take(&mut ir.lost);
        let mut quarantined = false;
        if let (Some(_), Some(good)) = (&wrong, good) {
            let mut older = ingress::read(key, &good.object, settings).ir;
            older.policies.harden(&ir.policies);
            if ir.policies.is_protected() {
                older.close(&ir);
            }
            ir = older;
            quarantined = true;
        }
        // An object that says the same in routing terms keeps its form, and so do the hosts that it contributes to.
        let ir = match before {
            Some(before) if *before.ir == ir => before.ir,
            _ => Arc::new(ir),
        };
        let last_good = good.map(|good| good.version);
        Self { version: stored.version, last_good, ir, problems, lost, wrong, quarantined }
    }
}

impl Member {
    fn judge(key: &Key, ingress: &Ingress, reading: Reading, around: Surroundings<'_>) -> Self {
        let object = key.reference("Ingress");
        let class = around.classes.verdict(ingress, around.settings);
        let mut problems = class::problems(&object, ingress, &class, around.settings);
        if concerns_us(&class) {
            problems.extend(reading.problems.iter().cloned());
        }
        if let Some(because) = reading.wrong.as_ref().filter(|_| reading.quarantined && class.is_ours()) {
            let origin = Origin { object: object.clone(), field: "".into() };
            problems.push(Problem::quarantined(&origin, because));
        }
        let left_out = match around.settings.compat {
            Dialect::Strict if reading.ir.policies.canary => Some("ringress serves no canaries yet"),
            Dialect::Strict => None,
            _ => Some("--compat ingress-nginx is not implemented yet"),
        };
        let serve = class.is_ours() && left_out.is_none();
        Self {
            object,
            created: ingress.metadata.creation_timestamp.as_ref().map(|time| time.0),
            served: serve.then(|| Arc::clone(&reading.ir)),
            class,
            left_out,
            problems,
            reading,
        }
    }

    /// The rules as read, whoever's they are.
    pub(crate) fn read(&self) -> &IngressIr {
        &self.reading.ir
    }

    /// What this version claims and cannot have.
    pub(crate) fn lost(&self) -> &[LostIr] {
        &self.reading.lost
    }

    /// Whether the last good version is served.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.reading.quarantined
    }
}

/// Objects of other controllers are their business; an object that nobody owns was likely meant for us.
fn concerns_us(class: &ClassVerdict) -> bool {
    class.is_ours() || matches!(class, ClassVerdict::NoClass | ClassVerdict::NotFound(_))
}
