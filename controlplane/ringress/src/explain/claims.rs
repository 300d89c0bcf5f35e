//! Claims as `explain` looks them up: which one became a rule, and whose rules were tried.

use ringress_shared::route::{HostEntry, RouteTable, Rule, Trace};
use ringress_translate::{Chunks, Claim, Key, Outcome};

/// The claim that became this rule. Looks at those of its object alone: there may be thousands of objects.
pub(super) fn of_rule<'c>(claims: &'c Chunks<Claim>, rule: &Rule) -> Option<&'c Claim> {
    let object = Key::of(&rule.origin.object);
    claims.of(&object).find(|claim| is_of(claim, rule))
}

/// Whether a claim became this rule. Not by field: a wrong version of an object has its own claims there, while the rule
/// is that of the last good one.
pub(super) fn is_of(claim: &Claim, rule: &Rule) -> bool {
    matches!(claim.outcome, Outcome::Routed(id) if id == rule.id)
}

/// Hears how many host entries the matcher tries.
#[derive(Default)]
pub(super) struct Tried(usize);

impl Trace for Tried {
    fn host(&mut self, _: &HostEntry) {
        self.0 += 1;
    }
}

impl Tried {
    /// The hosts whose rules were tried for `host`, in that order; `*` for every host.
    pub(super) fn hosts(&self, table: &RouteTable, host: &str, claims: &Chunks<Claim>) -> Vec<String> {
        let tried = table.entries_for(host).take(self.0);
        tried.filter_map(|entry| lender(entry, claims).or_else(|| named(table, entry))).collect()
    }
}

/// The host that the rules of an entry were written for: a host that only stands under `tls` has those of another one.
fn lender(entry: &HostEntry, claims: &Chunks<Claim>) -> Option<String> {
    let rule = entry.candidates().first().map(|candidate| &candidate.rule)?;
    let claim = of_rule(claims, rule)?;
    Some(claim.host.as_ref().map_or_else(|| "*".to_owned(), ToString::to_string))
}

/// The host under which an entry stands.
fn named(table: &RouteTable, entry: &HostEntry) -> Option<String> {
    let is_it = |(_, known): &(String, &std::sync::Arc<HostEntry>)| std::ptr::eq(&raw const ***known, entry);
    table.hosts().into_iter().find(is_it).map(|(host, _)| host)
}
