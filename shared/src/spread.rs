//! A hash map whose copies share what they have in common: the next generation costs what changed, not what there is.
//!
//! Entries are spread over 64 parts by their hash. A copy copies pointers to parts; a change copies one part of it, so of
//! 5,000 entries about 80. A lookup hashes once and takes one step more than in an ordinary map.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::ops::Index;
use std::sync::Arc;

use hashbrown::HashTable;

/// A power of two.
const PARTS: usize = 64;

type Part<K, V> = HashTable<(K, V)>;

/// A map in shared parts.
pub struct Spread<K, V, S> {
    parts: Box<[Arc<Part<K, V>>]>,
    len: usize,
    hasher: S,
}

impl<K, V, S> Spread<K, V, S> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All entries, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.parts.iter().flat_map(|part| part.iter()).map(|(key, value)| (key, value))
    }

    /// All values, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Spread<K, V, S> {
    /// What stands there for that key.
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.hasher.hash_one(key);
        let found = self.parts[part(hash)].find(hash, |(other, _)| other.borrow() == key);
        found.map(|(_, value)| value)
    }

    /// Whether anything stands there for that key.
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.get(key).is_some()
    }
}

impl<K: Eq + Hash + Clone, V: Clone, S: BuildHasher> Spread<K, V, S> {
    /// Puts something in; gives what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let hash = self.hasher.hash_one(&key);
        let part = Arc::make_mut(&mut self.parts[part(hash)]);
        if let Some((_, before)) = part.find_mut(hash, |(other, _)| *other == key) {
            return Some(std::mem::replace(before, value));
        }
        part.insert_unique(hash, (key, value), |(key, _)| self.hasher.hash_one(key));
        self.len += 1;
        None
    }

    /// Takes out what stands there for that key.
    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if !self.contains_key(key) {
            return None;
        }
        let hash = self.hasher.hash_one(key);
        let part = Arc::make_mut(&mut self.parts[part(hash)]);
        let found = part.find_entry(hash, |(other, _)| other.borrow() == key).ok()?;
        self.len -= 1;
        let ((_, value), _) = found.remove();
        Some(value)
    }
}

/// Bits from the middle: the lowest and the highest ones are what a part tells its own entries apart by.
fn part(hash: u64) -> usize {
    (hash >> 32) as usize % PARTS
}

impl<K, V, S: Default> Default for Spread<K, V, S> {
    fn default() -> Self {
        let empty = Arc::new(Part::new());
        Self { parts: (0..PARTS).map(|_| Arc::clone(&empty)).collect(), len: 0, hasher: S::default() }
    }
}

impl<K, V, S: Clone> Clone for Spread<K, V, S> {
    fn clone(&self) -> Self {
        Self { parts: self.parts.clone(), len: self.len, hasher: self.hasher.clone() }
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for Spread<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K, V, S, Q> Index<&Q> for Spread<K, V, S>
where
    K: Eq + Hash + Borrow<Q>,
    Q: Eq + Hash + ?Sized,
    S: BuildHasher,
{
    type Output = V;

    /// # Panics
    /// There is no such key.
    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the key is in the map")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Map = Spread<u64, u64, foldhash::fast::RandomState>;

    /// One change after the other; `None` takes out.
    fn check(changes: impl IntoIterator<Item = (u64, Option<u64>)>) {
        let (mut map, mut expected) = (Map::default(), BTreeMap::new());
        for (key, value) in changes {
            match value {
                Some(value) => assert_eq!(map.insert(key, value), expected.insert(key, value)),
                None => assert_eq!(map.remove(&key), expected.remove(&key)),
            }
            assert_eq!(map.get(&key), expected.get(&key));
        }
        let entries: BTreeMap<u64, u64> = map.iter().map(|(key, value)| (*key, *value)).collect();
        assert_eq!((map.len(), map.is_empty(), entries), (expected.len(), expected.is_empty(), expected));
    }

    #[test]
    fn a_spread_is_a_map() {
        check([]);
        check((0..2000).map(|number| (number % 700, (number % 3 > 0).then_some(number))));
        check((0..500).map(|number| (number, Some(1))).chain((0..500).map(|number| (number, None))));
    }

    #[test]
    fn a_change_leaves_copies_and_other_parts_alone() {
        let mut map = Map::default();
        for number in 0..5000 {
            map.insert(number, number);
        }
        let copy = map.clone();
        map.insert(7, 0);
        map.remove(&8);
        map.remove(&9999);
        assert_eq!((map.get(&7), map.get(&8), map[&9]), (Some(&0), None, 9));
        assert_eq!((copy.get(&7), copy.get(&8), copy.len()), (Some(&7), Some(&8), 5000));
        let shared = map.parts.iter().zip(&copy.parts).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert!(shared >= PARTS - 2, "{shared} of {PARTS} are shared");
    }
}
