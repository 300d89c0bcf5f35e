//! Which statuses are to be written: pure, desired against known.

use std::collections::BTreeMap;

use ringress_translate::objects::Key;

use super::address::Address;

/// What the API server says of the statuses of Ingresses, as far as we know.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    known: BTreeMap<Key, Known>,
}

/// The status of one Ingress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// An object of the same name with another uid is another one.
    pub(super) uid: String,
    pub(super) addresses: Vec<Address>,
}

/// One Ingress that exists now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) uid: String,
    pub(super) is_ours: bool,
}

/// One status to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) key: Key,
    pub(super) uid: String,
    /// What stands there, as far as we know; taking an address away is done only where this is still so.
    pub(super) before: Vec<Address>,
    pub(super) addresses: Vec<Address>,
}

impl Ledger {
    /// Notes what was read or written.
    pub(super) fn note(&mut self, key: Key, known: Known) {
        self.known.insert(key, known);
    }

    /// Forgets an object.
    pub(super) fn forget(&mut self, key: &Key) {
        self.known.remove(key);
    }

    /// What differs: ours get the addresses; what is not ours any more loses them, if they are the ones we wrote.
    pub(super) fn due(&mut self, present: &BTreeMap<Key, Present>, addresses: &[Address]) -> Vec<Write> {
        self.known.retain(|key, known| present.get(key).is_some_and(|now| now.uid == known.uid));
        let mut writes = Vec::new();
        for (key, now) in present {
            let before = self.known.get(key).map(|known| &known.addresses[..]).unwrap_or_default();
            let wanted = if now.is_ours { addresses } else { &[] };
            let is_theirs = !now.is_ours && before != addresses;
            if before != wanted && !is_theirs {
                let (before, addresses) = (before.to_vec(), wanted.to_vec());
                writes.push(Write { key: key.clone(), uid: now.uid.clone(), before, addresses });
            }
        }
        writes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present(rows: &[(&str, &str, bool)]) -> BTreeMap<Key, Present> {
        let row = |(name, uid, is_ours): &(&str, &str, bool)| {
            (Key::new("a", name), Present { uid: (*uid).to_owned(), is_ours: *is_ours })
        };
        rows.iter().map(row).collect()
    }

    fn ledger(rows: &[(&str, &str, &str)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (name, uid, address) in rows {
            let addresses =
                [*address].into_iter().filter(|text| !text.is_empty()).map(Address::new).collect();
            ledger.note(Key::new("a", name), Known { uid: (*uid).to_owned(), addresses });
        }
        ledger
    }

    fn due(mut ledger: Ledger, rows: &[(&str, &str, bool)]) -> Vec<(String, usize)> {
        let writes = ledger.due(&present(rows), &[Address::new("192.0.2.1")]);
        writes.into_iter().map(|write| (write.key.name.to_string(), write.addresses.len())).collect()
    }

    fn row(name: &str, addresses: usize) -> (String, usize) {
        (name.to_owned(), addresses)
    }

    #[test]
    fn only_what_differs_is_written() {
        let known = [("right", "1", "192.0.2.1"), ("stale", "2", "192.0.2.9"), ("bare", "3", "")];
        let rows = [("right", "1", true), ("stale", "2", true), ("bare", "3", true), ("new", "4", true)];
        assert_eq!(due(ledger(&known), &rows), [row("bare", 1), row("new", 1), row("stale", 1)]);
    }

    #[test]
    fn what_is_not_ours_any_more_loses_our_address_and_no_other() {
        let known = [("left", "1", "192.0.2.1"), ("theirs", "2", "198.51.100.1")];
        let rows = [("left", "1", false), ("theirs", "2", false), ("unknown", "3", false)];
        assert_eq!(due(ledger(&known), &rows), [row("left", 0)]);
    }

    #[test]
    fn an_object_that_was_made_anew_has_no_status_yet() {
        assert_eq!(due(ledger(&[("web", "1", "192.0.2.1")]), &[("web", "2", true)]), [row("web", 1)]);
    }

    #[test]
    fn a_write_that_was_noted_is_not_due_again() {
        let mut ledger = ledger(&[]);
        let now = present(&[("web", "1", true)]);
        let addresses = [Address::new("192.0.2.1")];
        for write in ledger.due(&now, &addresses) {
            ledger.note(write.key, Known { uid: write.uid, addresses: write.addresses });
        }
        assert!(ledger.due(&now, &addresses).is_empty());
    }
}
