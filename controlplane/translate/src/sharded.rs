//! A map that is cheap to hand on and to change by one entry: its copies share all but the shard that changes.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use crate::objects::Key;

/// Shards of a map: 5,000 entries make 80 a shard, which is what a change copies.
const SHARDS: usize = 64;

/// A map by name in shared shards.
#[derive(Debug)]
pub(crate) struct Sharded<V>(Vec<Arc<BTreeMap<Key, V>>>);

impl<V> Default for Sharded<V> {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Arc::default()).collect())
    }
}

impl<V> Clone for Sharded<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V: Clone> Sharded<V> {
    pub(crate) fn get(&self, key: &Key) -> Option<&V> {
        self.0[shard(key)].get(key)
    }

    pub(crate) fn insert(&mut self, key: Key, value: V) {
        let shard = shard(&key);
        Arc::make_mut(&mut self.0[shard]).insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        let shard = &mut self.0[shard(key)];
        if shard.contains_key(key) {
            Arc::make_mut(shard).remove(key);
        }
    }
}

/// Without a random seed, so that equal maps have equal shards.
fn shard(key: &Key) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
    (hash % SHARDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_copies_and_other_shards_alone() {
        let key = |number: usize| Key::new("one", &number.to_string());
        let mut map = Sharded::default();
        (0..500).for_each(|number| map.insert(key(number), number));
        let copy = map.clone();
        map.insert(key(7), 0);
        map.remove(&key(8));
        assert_eq!((map.get(&key(7)), map.get(&key(8)), map.get(&key(9))), (Some(&0), None, Some(&9)));
        assert_eq!((copy.get(&key(7)), copy.get(&key(8))), (Some(&7), Some(&8)));
        let shared = map.0.iter().zip(&copy.0).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert!(shared >= SHARDS - 2, "{shared} of {SHARDS} are shared");
    }
}
