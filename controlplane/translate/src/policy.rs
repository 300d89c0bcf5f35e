//! Policies as objects write them: annotations in, [`PolicySet`] out.
//!
//! Each policy's file holds its table of keys; the tables give the docs and the nearest match for a misspelt key. The
//! order of evaluation stands in `ringress_shared::policy`.

pub(crate) mod aliases;
mod balance;
mod body_limit;
mod denied;
mod foreign;
mod https_redirect;
pub(crate) mod regex_mode;
mod unknown;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

use ringress_shared::origin::ObjectRef;
use ringress_shared::policy::PolicySet;

use crate::ir::BalanceIr;
use crate::problem::Problem;
use crate::settings::Settings;

pub(crate) use denied::{Denial, SSL_REDIRECT, protections_of_all};
pub(crate) use https_redirect::exempt_from_redirect;

/// The prefix of our own annotations.
pub const PREFIX: &str = "ringress.dev/";

/// One annotation of ours, for the docs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Annotation {
    /// The key after [`PREFIX`].
    pub key: &'static str,
    /// The values it takes.
    pub values: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What it does, in one sentence.
    pub effect: &'static str,
}

/// Every annotation of ours, in the order of evaluation.
pub fn annotations() -> impl Iterator<Item = &'static Annotation> {
    [body_limit::KEYS, https_redirect::KEYS, balance::KEYS].into_iter().flatten()
}

/// The policies that one object asks for, before its hosts are known.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct PolicyIr {
    pub(crate) body_limit: body_limit::Asked,
    pub(crate) denied: Vec<Denial>,
    pub(crate) https_redirect: https_redirect::Asked,
    pub(crate) balance: BalanceIr,
    /// Whether it is a canary of another object, which takes no traffic until canaries are served.
    pub(crate) canary: bool,
}

/// Where a rule stands, as far as it decides about its policies.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Position<'p> {
    /// Whether its host is named under `tls`.
    pub(crate) host_has_tls: bool,
    /// Whether its path must stay reachable in plain text.
    pub(crate) redirect_exempt: bool,
    /// Why another object closes the whole host, if one does.
    pub(crate) guard: Option<&'p str>,
}

/// Annotations as an object has them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Annotations<'o> {
    object: &'o ObjectRef,
    values: Option<&'o BTreeMap<String, String>>,
}

impl<'o> Annotations<'o> {
    pub(crate) fn new(object: &'o ObjectRef, values: Option<&'o BTreeMap<String, String>>) -> Self {
        Self { object, values }
    }

    /// The value of a key of ours. An empty one is a value, and none that any key takes: it may be what a template has
    /// left of a protection.
    fn own(&self, key: &str) -> Option<&'o str> {
        self.values?.get(&format!("{PREFIX}{key}")).map(|value| value.trim())
    }

    /// The value of an annotation of ingress-nginx.
    fn of_nginx(&self, name: &str, settings: &Settings) -> Option<&'o str> {
        let prefix = settings.annotations_prefix.trim_end_matches('/');
        self.values?.get(&format!("{prefix}/{name}")).map(|value| value.trim())
    }

    /// Key after the prefix and value of every annotation under a prefix.
    fn under(&self, prefix: &'o str) -> impl Iterator<Item = (&'o str, &'o str)> + use<'o> {
        let all = self.values.into_iter().flatten();
        all.filter_map(move |(key, value)| {
            let name = key.strip_prefix(prefix)?.trim_start_matches('/');
            Some((name, value.trim()))
        })
    }

    /// The parsed value of a key of ours; a wrong one is reported and counts as not set.
    fn parse<T>(
        &self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
        problems: &mut Vec<Problem>,
    ) -> Result<Option<T>, Wrong> {
        let Some(value) = self.own(key) else { return Ok(None) };
        match parse(value) {
            Some(parsed) => Ok(Some(parsed)),
            None => {
                let key = format!("{PREFIX}{key}");
                problems.push(Problem::invalid_annotation(self.object, &key, value, expected));
                Err(Wrong)
            }
        }
    }
}

/// A value was wrong and has been reported.
struct Wrong;

/// Reads the policies of an object.
pub(crate) fn read(
    annotations: Annotations<'_>,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> PolicyIr {
    let mut denied = unknown::read(annotations, problems);
    denied.extend(denied::read(annotations, settings, problems));
    foreign::report(annotations, settings, problems);
    let canary = denied::is_canary(annotations, settings);
    let body_limit = body_limit::read(annotations, &mut denied, problems);
    PolicyIr {
        body_limit,
        denied,
        https_redirect: https_redirect::read(annotations, settings, problems),
        balance: balance::read(annotations, problems),
        canary,
    }
}

/// Whether an annotation asks for a protection, whatever its prefix and its value are.
pub(crate) fn is_protection(key: &str) -> bool {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    let is_unknown = || key.strip_prefix(PREFIX).is_some_and(unknown::means_protection);
    name == "max-body-bytes" || denied::protects_by_name(name) || is_unknown()
}

/// Says what depends on the hosts of the object too: those that are not named under its own `tls`.
pub(crate) fn report_hosts(
    annotations: Annotations<'_>,
    asked: &PolicyIr,
    in_plain_text: &[String],
    settings: &Settings,
    problems: &mut Vec<Problem>,
) {
    problems.extend(denied::force_redirect(annotations, &asked.denied, in_plain_text, settings));
}

/// The policies of one rule.
pub(crate) fn lower(asked: &PolicyIr, position: Position<'_>, settings: &Settings) -> PolicySet {
    let PolicyIr { body_limit, denied, https_redirect, balance: _, canary: _ } = asked;
    let https_redirect = https_redirect::lower(*https_redirect, position, settings);
    PolicySet {
        body_limit: body_limit::lower(*body_limit, settings),
        denied: denied::lower(denied, https_redirect.is_some() || position.redirect_exempt, position.guard),
        https_redirect,
    }
}

impl PolicyIr {
    /// Whether it asks for a protection that cannot be applied.
    pub(crate) fn is_protected(&self) -> bool {
        !self.denied.is_empty()
    }

    /// Whether it closes all paths, whatever the scheme is.
    pub(crate) fn is_closed(&self) -> bool {
        self.denied.iter().any(Denial::closes)
    }

    /// Whether it asks in so many words that plain text be redirected.
    pub(crate) fn says_redirect(&self) -> bool {
        self.https_redirect == https_redirect::Asked::WithTls
    }

    /// Why its hosts are closed as a whole, if they are.
    pub(crate) fn guards_hosts(&self) -> Option<&Arc<str>> {
        self.denied.iter().find_map(Denial::of_hosts)
    }

    /// Takes over what a newer, broken version asks for beyond this one: no protection is lost by serving an older version.
    pub(crate) fn harden(&mut self, newer: &Self) {
        let Self { body_limit, denied, https_redirect, balance: _, canary: _ } = newer;
        self.https_redirect.harden(*https_redirect);
        if body_limit.is_set() {
            self.body_limit = *body_limit;
        }
        for denial in denied {
            let known = self.denied.contains(denial) || denial.is_body_limit() && self.body_limit.is_set();
            if !known {
                self.denied.push(denial.clone());
            }
        }
    }
}

/// Policy sets by content, so that equal ones share one allocation.
#[derive(Debug, Default)]
pub(crate) struct Interned(std::collections::HashSet<Arc<PolicySet>>);

impl Interned {
    pub(crate) fn intern(&mut self, set: PolicySet) -> Arc<PolicySet> {
        if let Some(known) = self.0.get(&set) {
            return Arc::clone(known);
        }
        let set = Arc::new(set);
        self.0.insert(Arc::clone(&set));
        set
    }

    /// Forgets what nobody uses any more.
    pub(crate) fn prune(&mut self) {
        self.0.retain(|set| Arc::strong_count(set) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_share_one_allocation() {
        let mut interned = Interned::default();
        let one = interned.intern(PolicySet::default());
        assert!(Arc::ptr_eq(&one, &interned.intern(PolicySet::default())));
        drop(one);
        interned.prune();
        assert!(interned.0.is_empty());
    }
}
