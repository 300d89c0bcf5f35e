//! Things by object, in pieces that copies share: all objects of one kind, or what was found about each of them.
//!
//! A change copies one piece of at most 128 entries and a list of pointers, never the whole: so handing on what is known
//! after each event of a cluster costs the same with ten objects and with thousands. What two copies share is skipped
//! when they are compared.

use std::fmt;
use std::slice;
use std::sync::Arc;

use crate::objects::{Key, Stored};

/// Entries of one piece, sorted, never none.
type Piece<V> = Vec<(Key, V)>;

/// A piece is split where it grows beyond this.
const PIECE_MAX: usize = 128;

/// Objects by key, in the order of their keys.
pub type Table<T> = ByKey<Stored<T>>;

/// A sorted map whose copies share what they have in common.
pub struct ByKey<V> {
    pieces: Vec<Arc<Piece<V>>>,
    len: usize,
}

impl<V> ByKey<V> {
    /// What stands there for that key. Costs a binary search.
    pub fn get(&self, key: &Key) -> Option<&V> {
        let piece = self.pieces.get(self.piece_of(key))?;
        let at = piece.binary_search_by(|(at, _)| at.cmp(key)).ok()?;
        Some(&piece[at].1)
    }

    /// Whether anything stands there for that key.
    pub fn contains_key(&self, key: &Key) -> bool {
        self.get(key).is_some()
    }

    /// Whether both are one and the same in memory: then they are equal. Costs a step for each piece.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        let mut pieces = self.pieces.iter().zip(&other.pieces);
        self.pieces.len() == other.pieces.len() && pieces.all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries, in the order of their keys.
    pub fn iter(&self) -> Iter<'_, V> {
        Iter { pieces: self.pieces.iter(), piece: [].iter() }
    }

    /// The entries from `first` on, in the order of their keys.
    pub fn iter_from(&self, first: &Key) -> Iter<'_, V> {
        let number = self.piece_of(first);
        let Some(piece) = self.pieces.get(number) else { return self.iter() };
        let at = piece.partition_point(|(key, _)| key < first);
        Iter { pieces: self.pieces[number + 1..].iter(), piece: piece[at..].iter() }
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.iter().map(|(key, _)| key)
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The piece that has the key, or would have it.
    fn piece_of(&self, key: &Key) -> usize {
        let after = self.pieces.partition_point(|piece| piece.first().is_some_and(|(first, _)| first <= key));
        after.saturating_sub(1)
    }
}

impl<V: Clone> ByKey<V> {
    /// Puts something in; gives what was there.
    pub fn insert(&mut self, key: Key, value: V) -> Option<V> {
        let number = self.piece_of(&key);
        let Some(piece) = self.pieces.get_mut(number) else {
            self.pieces.push(Arc::new(vec![(key, value)]));
            self.len = 1;
            return None;
        };
        let piece = Arc::make_mut(piece);
        match piece.binary_search_by(|(at, _)| at.cmp(&key)) {
            Ok(at) => Some(std::mem::replace(&mut piece[at].1, value)),
            Err(at) => {
                piece.insert(at, (key, value));
                self.len += 1;
                if piece.len() > PIECE_MAX {
                    let upper = piece.split_off(PIECE_MAX / 2);
                    self.pieces.insert(number + 1, Arc::new(upper));
                }
                None
            }
        }
    }

    /// Takes out what stands there for that key.
    pub fn remove(&mut self, key: &Key) -> Option<V> {
        let number = self.piece_of(key);
        let at = self.pieces.get(number)?.binary_search_by(|(at, _)| at.cmp(key)).ok()?;
        let piece = Arc::make_mut(&mut self.pieces[number]);
        let (_, value) = piece.remove(at);
        self.len -= 1;
        if piece.is_empty() {
            self.pieces.remove(number);
        } else {
            self.join(number);
            self.join(number.wrapping_sub(1));
        }
        Some(value)
    }

    /// Joins a piece with the next one where both are small, so that many removals leave few pieces.
    fn join(&mut self, number: usize) {
        let Some([piece, next]) = self.pieces.get(number..number.saturating_add(2)) else { return };
        if piece.len() + next.len() <= PIECE_MAX / 4 {
            let next = self.pieces.remove(number + 1);
            Arc::make_mut(&mut self.pieces[number]).extend(next.iter().cloned());
        }
    }
}

impl<T: PartialEq> ByKey<Arc<[T]>> {
    /// Puts a list in the place of the one before, an empty one nowhere; an equal one leaves everything as it is.
    pub(crate) fn put(&mut self, key: Key, list: Arc<[T]>) {
        match self.get(&key) {
            None if list.is_empty() => {}
            Some(before) if *before == list => {}
            _ if list.is_empty() => drop(self.remove(&key)),
            _ => drop(self.insert(key, list)),
        }
    }
}

impl<T> Table<T> {
    /// The keys of objects that are in one table only, or in both with different versions, in order. Costs what the tables
    /// do not share, and a step for each piece that they do.
    pub fn differing(&self, other: &Self) -> Vec<Key> {
        let (mut a, mut b) = (Cursor::new(self), Cursor::new(other));
        let mut differing = Vec::new();
        loop {
            if a.skips_with(&mut b) {
                continue;
            }
            match (a.entry(), b.entry()) {
                (None, None) => return differing,
                (Some((key, _)), None) => {
                    differing.push(key.clone());
                    a.step();
                }
                (None, Some((key, _))) => {
                    differing.push(key.clone());
                    b.step();
                }
                (Some((a_key, _)), Some((b_key, _))) if a_key < b_key => {
                    differing.push(a_key.clone());
                    a.step();
                }
                (Some((a_key, _)), Some((b_key, _))) if a_key > b_key => {
                    differing.push(b_key.clone());
                    b.step();
                }
                (Some((key, a_stored)), Some((_, b_stored))) => {
                    if a_stored.version != b_stored.version {
                        differing.push(key.clone());
                    }
                    a.step();
                    b.step();
                }
            }
        }
    }
}

/// A place in a table.
struct Cursor<'t, V> {
    pieces: &'t [Arc<Piece<V>>],
    at: usize,
}

impl<'t, V> Cursor<'t, V> {
    fn new(table: &'t ByKey<V>) -> Self {
        Self { pieces: &table.pieces, at: 0 }
    }

    fn entry(&self) -> Option<&'t (Key, V)> {
        self.pieces.first()?.get(self.at)
    }

    fn step(&mut self) {
        self.at += 1;
        if self.pieces.first().is_some_and(|piece| self.at >= piece.len()) {
            self.pieces = &self.pieces[1..];
            self.at = 0;
        }
    }

    /// Steps over a piece that both have, where both are at its beginning.
    fn skips_with(&mut self, other: &mut Self) -> bool {
        let (Some(a), Some(b)) = (self.pieces.first(), other.pieces.first()) else { return false };
        let is_shared = self.at == 0 && other.at == 0 && Arc::ptr_eq(a, b);
        if is_shared {
            self.pieces = &self.pieces[1..];
            other.pieces = &other.pieces[1..];
        }
        is_shared
    }
}

/// The entries of a map.
pub struct Iter<'t, V> {
    pieces: slice::Iter<'t, Arc<Piece<V>>>,
    piece: slice::Iter<'t, (Key, V)>,
}

impl<'t, V> Iterator for Iter<'t, V> {
    type Item = (&'t Key, &'t V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.piece.next() {
                return Some((key, value));
            }
            self.piece = self.pieces.next()?.iter();
        }
    }
}

impl<'t, V> IntoIterator for &'t ByKey<V> {
    type Item = (&'t Key, &'t V);
    type IntoIter = Iter<'t, V>;

    fn into_iter(self) -> Iter<'t, V> {
        self.iter()
    }
}

impl<V: Clone> Extend<(Key, V)> for ByKey<V> {
    fn extend<I: IntoIterator<Item = (Key, V)>>(&mut self, entries: I) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<V: Clone> FromIterator<(Key, V)> for ByKey<V> {
    fn from_iter<I: IntoIterator<Item = (Key, V)>>(entries: I) -> Self {
        let mut table = Self::default();
        table.extend(entries);
        table
    }
}

impl<V> Default for ByKey<V> {
    fn default() -> Self {
        Self { pieces: Vec::new(), len: 0 }
    }
}

impl<V> Clone for ByKey<V> {
    fn clone(&self) -> Self {
        Self { pieces: self.pieces.clone(), len: self.len }
    }
}

impl<V: fmt::Debug> fmt::Debug for ByKey<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::Namespace;
    use proptest::prelude::*;

    use super::*;
    use crate::objects::Version;

    fn key(number: u16) -> Key {
        Key::new("a", &format!("{number:05}"))
    }

    fn stored(version: u64) -> Stored<Namespace> {
        Stored { version: Version::of_test(version), object: Arc::default() }
    }

    /// One change after the other; `None` takes out.
    fn apply(table: &mut Table<Namespace>, map: &mut BTreeMap<Key, Version>, changes: &[(u16, Option<u64>)]) {
        for (number, version) in changes {
            match version {
                Some(version) => {
                    let before = table.insert(key(*number), stored(*version)).map(|stored| stored.version);
                    assert_eq!(before, map.insert(key(*number), Version::of_test(*version)));
                }
                None => {
                    let before = table.remove(&key(*number)).map(|stored| stored.version);
                    assert_eq!(before, map.remove(&key(*number)));
                }
            }
        }
    }

    fn changes(count: usize) -> impl Strategy<Value = Vec<(u16, Option<u64>)>> {
        prop::collection::vec((0..600u16, prop::option::weighted(0.7, 0..3u64)), 0..count)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_table_is_a_sorted_map_and_differences_are_what_differs(first in changes(900), then in changes(60)) {
            let (mut table, mut map) = (Table::default(), BTreeMap::new());
            apply(&mut table, &mut map, &first);
            let (before, map_before) = (table.clone(), map.clone());
            apply(&mut table, &mut map, &then);
            for (table, map) in [(&before, &map_before), (&table, &map)] {
                let entries: Vec<_> = table.iter().map(|(key, stored)| (key.clone(), stored.version)).collect();
                let expected: Vec<_> = map.iter().map(|(key, version)| (key.clone(), *version)).collect();
                prop_assert_eq!(entries, expected);
                prop_assert_eq!(table.len(), map.len());
                let from: Vec<_> = table.iter_from(&key(300)).map(|(key, _)| key.clone()).collect();
                prop_assert_eq!(from, map.range(key(300)..).map(|(key, _)| key.clone()).collect::<Vec<_>>());
            }
            let mut expected: Vec<Key> = map_before.keys().chain(map.keys()).cloned().collect();
            expected.sort();
            expected.dedup();
            expected.retain(|key| map_before.get(key) != map.get(key));
            prop_assert_eq!(before.differing(&table), expected.clone());
            prop_assert_eq!(table.differing(&before), expected);
        }
    }

    #[test]
    fn a_change_copies_one_piece() {
        let mut table: Table<Namespace> = (0..5000).map(|number| (key(number), stored(0))).collect();
        let copy = table.clone();
        table.insert(key(2500), stored(1));
        let shared =
            table.pieces.iter().filter(|piece| copy.pieces.iter().any(|other| Arc::ptr_eq(piece, other)));
        assert_eq!(shared.count(), table.pieces.len() - 1);
        assert_eq!(copy.differing(&table), [key(2500)]);
    }

    #[test]
    fn an_equal_list_leaves_everything_shared_and_an_empty_one_stands_nowhere() {
        let list = |numbers: &[u8]| Arc::<[u8]>::from(numbers);
        let mut lists: ByKey<Arc<[u8]>> = (0..300).map(|number| (key(number), list(&[1]))).collect();
        let copy = lists.clone();
        lists.put(key(7), list(&[1]));
        lists.put(key(999), list(&[]));
        assert!(lists.is_shared_with(&copy));
        lists.put(key(7), list(&[]));
        assert!(!lists.contains_key(&key(7)) && !lists.is_shared_with(&copy));
        lists.put(key(7), list(&[1, 2]));
        assert_eq!((lists.get(&key(7)), lists.len()), (Some(&list(&[1, 2])), 300));
    }

    #[test]
    fn many_removals_leave_few_pieces() {
        let mut table: Table<Namespace> = (0..5000).map(|number| (key(number), stored(0))).collect();
        (0..5000).filter(|number| number % 100 != 0).for_each(|number| drop(table.remove(&key(number))));
        assert_eq!(table.len(), 50);
        assert!(table.pieces.len() < 30, "{}", table.pieces.len());
    }
}
