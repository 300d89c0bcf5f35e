//! Which statuses are to be written: pure, desired against known, one Ingress at a time.
//!
//! The ledger follows each Ingress and each status that is read or written, and keeps the names of those that differ. So a
//! change costs its own row, however many Ingresses there are; only other addresses or a new reading look at all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ringress_translate::objects::Key;

use super::address::Address;

/// Every Ingress with what stands in its status and what should.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    rows: BTreeMap<Key, Row>,
    /// What ours should show; `None`: not known yet.
    addresses: Option<Arc<[Address]>>,
    /// Whether the statuses were read since we lead.
    is_read: bool,
    /// What differs.
    due: BTreeSet<Key>,
    /// What could not be written as it is, until it is tried again.
    put_off: BTreeSet<Key>,
}

/// One Ingress that exists now.
#[derive(Debug)]
struct Row {
    present: Present,
    shown: Shown,
}

/// What stands in a status, as far as we know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) addresses: Arc<[Address]>,
    /// Whether nobody but us wrote it.
    pub(super) is_own: bool,
}

/// What an Ingress is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Present {
    /// An object of the same name with another uid is another one.
    pub(super) uid: Arc<str>,
    pub(super) is_ours: bool,
}

/// The status of one Ingress, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) uid: String,
    pub(super) addresses: Vec<Address>,
    /// Whether nobody but us wrote them.
    pub(super) is_own: bool,
}

/// One status to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) key: Key,
    pub(super) uid: Arc<str>,
    /// What stands there, as far as we know; taking an address away is done only where this is still so.
    pub(super) before: Arc<[Address]>,
    pub(super) addresses: Arc<[Address]>,
}

impl Ledger {
    /// Follows an Ingress; `None`: it is gone.
    pub(super) fn follow(&mut self, key: &Key, present: Option<Present>) {
        match present {
            None => drop(self.rows.remove(key)),
            Some(present) => {
                let same = self.rows.remove(key).filter(|row| row.present.uid == present.uid);
                let shown = same.map(|row| row.shown).unwrap_or_default();
                self.rows.insert(key.clone(), Row { present, shown });
            }
        }
        self.judge(key);
    }

    /// None of them is ours any more.
    pub(super) fn disown(&mut self) {
        self.rows.values_mut().for_each(|row| row.present.is_ours = false);
        self.judge_all();
    }

    /// What ours should show from now on.
    pub(super) fn want(&mut self, addresses: Vec<Address>) {
        if !self.wants(&addresses) {
            self.addresses = Some(addresses.into());
            self.judge_all();
        }
    }

    /// Whether ours should show these.
    pub(super) fn wants(&self, addresses: &[Address]) -> bool {
        self.addresses.as_deref() == Some(addresses)
    }

    /// Whether it is known what ours should show.
    pub(super) fn has_addresses(&self) -> bool {
        self.addresses.is_some()
    }

    /// Whether it is known what stands in the statuses.
    pub(super) fn is_read(&self) -> bool {
        self.is_read
    }

    /// Notes what stands in all statuses; of what is not named nothing does.
    pub(super) fn read(&mut self, statuses: impl IntoIterator<Item = (Key, Known)>) {
        self.forget_statuses();
        for (key, Known { uid, addresses, is_own }) in statuses {
            // Most of them show the same.
            let wanted = self.addresses.as_ref().filter(|wanted| wanted[..] == addresses[..]);
            let addresses = wanted.map_or_else(|| addresses.into(), Arc::clone);
            self.show(&key, &uid, Shown { addresses, is_own });
        }
        self.is_read = true;
        self.judge_all();
    }

    /// Somebody else may write from now on.
    pub(super) fn forget_statuses(&mut self) {
        self.is_read = false;
        self.rows.values_mut().for_each(|row| row.shown = Shown::default());
        self.due.clear();
        self.put_off.clear();
    }

    /// Notes what was read or written of one Ingress.
    pub(super) fn note(&mut self, key: &Key, uid: &str, shown: Shown) {
        self.show(key, uid, shown);
        self.judge(key);
    }

    /// It could not be written: it is gone, or changes at this moment. Not before [`try_again`](Self::try_again).
    pub(super) fn put_off(&mut self, key: &Key) {
        if self.due.remove(key) {
            self.put_off.insert(key.clone());
        }
    }

    /// What was put off is due again, unless it has become right or gone.
    pub(super) fn try_again(&mut self) {
        for key in std::mem::take(&mut self.put_off) {
            self.judge(&key);
        }
    }

    /// Some of what differs: ours get the addresses; what is not ours any more loses them, if they are the ones we wrote.
    pub(super) fn due(&self, count: usize) -> Vec<Write> {
        self.due.iter().take(count).filter_map(|key| self.write(key)).collect()
    }

    /// How many differ and may be written now.
    pub(super) fn count(&self) -> usize {
        self.due.len()
    }

    /// How many differ and could not be written as they are.
    pub(super) fn put_off_count(&self) -> usize {
        self.put_off.len()
    }

    /// How many Ingresses it follows.
    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    fn show(&mut self, key: &Key, uid: &str, shown: Shown) {
        if let Some(row) = self.rows.get_mut(key).filter(|row| *row.present.uid == *uid) {
            row.shown = shown;
        }
    }

    fn judge_all(&mut self) {
        self.put_off.clear();
        self.due = self.rows.keys().filter(|key| self.write(key).is_some()).cloned().collect();
    }

    fn judge(&mut self, key: &Key) {
        self.put_off.remove(key);
        match self.write(key) {
            Some(write) => drop(self.due.insert(write.key)),
            None => drop(self.due.remove(key)),
        }
    }

    /// What is to be written of one Ingress, if anything is.
    fn write(&self, key: &Key) -> Option<Write> {
        let addresses = self.addresses.as_ref().filter(|_| self.is_read)?;
        let (own, Row { present, shown }) = self.rows.get_key_value(key)?;
        let wanted = if present.is_ours { Arc::clone(addresses) } else { Arc::default() };
        // What others wrote may be replaced where the Ingress is ours, and is never just taken away.
        let is_theirs = match present.is_ours {
            true => wanted.is_empty() && !shown.is_own,
            false => !shown.is_own || shown.addresses != *addresses,
        };
        let differs = shown.addresses != wanted && !is_theirs;
        differs.then(|| Write {
            key: own.clone(),
            uid: Arc::clone(&present.uid),
            before: Arc::clone(&shown.addresses),
            addresses: wanted,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("a", name)
    }

    fn addresses(texts: &[&str]) -> Vec<Address> {
        texts.iter().filter(|text| !text.is_empty()).map(|text| Address::new(text)).collect()
    }

    fn own(texts: &[&str]) -> Shown {
        Shown { addresses: addresses(texts).into(), is_own: true }
    }

    fn present(uid: &str, is_ours: bool) -> Option<Present> {
        Some(Present { uid: uid.into(), is_ours })
    }

    /// What is known of the statuses, beside the Ingresses that there are; ours should show one address.
    fn ledger(known: &[(&str, &str, &str)], rows: &[(&str, &str, bool)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (name, uid, is_ours) in rows {
            ledger.follow(&key(name), present(uid, *is_ours));
        }
        let status = |(name, uid, address): &(&str, &str, &str)| {
            (key(name), Known { uid: (*uid).to_owned(), addresses: addresses(&[address]), is_own: true })
        };
        ledger.read(known.iter().map(status));
        ledger.want(addresses(&["192.0.2.1"]));
        ledger
    }

    fn check(ledger: &Ledger, expected: &[(&str, usize)]) {
        let writes = ledger.due(usize::MAX);
        let writes: Vec<_> = writes.iter().map(|write| (&*write.key.name, write.addresses.len())).collect();
        assert_eq!(writes, expected);
        assert_eq!(ledger.count(), expected.len());
    }

    #[test]
    fn only_what_differs_is_written() {
        let known = [("right", "1", "192.0.2.1"), ("stale", "2", "192.0.2.9"), ("bare", "3", "")];
        let rows = [("right", "1", true), ("stale", "2", true), ("bare", "3", true), ("new", "4", true)];
        let ledger = ledger(&known, &rows);
        check(&ledger, &[("bare", 1), ("new", 1), ("stale", 1)]);
        assert_eq!(ledger.due(2).len(), 2);
    }

    #[test]
    fn what_is_not_ours_any_more_loses_our_address_and_no_other() {
        let known = [("left", "1", "192.0.2.1"), ("theirs", "2", "198.51.100.1")];
        let rows = [("left", "1", false), ("theirs", "2", false), ("unknown", "3", false)];
        check(&ledger(&known, &rows), &[("left", 0)]);
    }

    #[test]
    fn the_same_address_of_another_author_is_no_reason_to_write() {
        let mut ledger = ledger(&[], &[("web", "1", true), ("left", "2", false)]);
        let theirs = || Shown { is_own: false, ..own(&["192.0.2.1"]) };
        ledger.note(&key("web"), "1", theirs());
        ledger.note(&key("left"), "2", theirs());
        check(&ledger, &[]);
        ledger.note(&key("left"), "2", own(&["192.0.2.1"]));
        check(&ledger, &[("left", 0)]);
        ledger.want(Vec::new());
        check(&ledger, &[]);
        ledger.note(&key("web"), "1", own(&["192.0.2.1"]));
        check(&ledger, &[("web", 0)]);
    }

    #[test]
    fn an_object_that_was_made_anew_has_no_status_yet() {
        let mut ledger = ledger(&[("web", "1", "192.0.2.1")], &[("web", "1", true)]);
        check(&ledger, &[]);
        ledger.follow(&key("web"), present("2", true));
        check(&ledger, &[("web", 1)]);
        ledger.note(&key("web"), "1", own(&["192.0.2.1"]));
        check(&ledger, &[("web", 1)]);
    }

    #[test]
    fn a_write_that_was_noted_is_not_due_again() {
        let mut ledger = ledger(&[], &[("web", "1", true)]);
        for Write { key, uid, addresses, .. } in ledger.due(1) {
            ledger.note(&key, &uid, Shown { addresses, is_own: true });
        }
        check(&ledger, &[]);
        ledger.follow(&key("web"), present("1", true));
        check(&ledger, &[]);
    }

    #[test]
    fn nothing_is_written_before_addresses_and_statuses_are_known() {
        let mut ledger = Ledger::default();
        ledger.follow(&key("web"), present("1", true));
        ledger.want(addresses(&["192.0.2.1"]));
        check(&ledger, &[]);
        ledger.read([]);
        check(&ledger, &[("web", 1)]);
        ledger.forget_statuses();
        check(&ledger, &[]);
        assert!(!ledger.is_read());
    }

    #[test]
    fn other_addresses_and_a_change_of_hands_look_at_all() {
        let known = [("one", "1", "192.0.2.1"), ("two", "2", "192.0.2.1")];
        let mut ledger = ledger(&known, &[("one", "1", true), ("two", "2", true)]);
        ledger.want(addresses(&["192.0.2.1", "192.0.2.2"]));
        check(&ledger, &[("one", 2), ("two", 2)]);
        ledger.want(addresses(&["192.0.2.1"]));
        check(&ledger, &[]);
        ledger.disown();
        check(&ledger, &[("one", 0), ("two", 0)]);
        ledger.follow(&key("one"), None);
        check(&ledger, &[("two", 0)]);
    }

    #[test]
    fn what_is_put_off_does_not_come_again_at_once() {
        let mut ledger = ledger(&[], &[("one", "1", true), ("two", "2", true)]);
        ledger.put_off(&key("one"));
        ledger.put_off(&key("unknown"));
        check(&ledger, &[("two", 1)]);
        assert_eq!(ledger.put_off_count(), 1);
        ledger.try_again();
        check(&ledger, &[("one", 1), ("two", 1)]);
        ledger.put_off(&key("one"));
        ledger.follow(&key("one"), None);
        ledger.try_again();
        check(&ledger, &[("two", 1)]);
    }
}
