//! Finds the objects of a kind that came, went or changed since the last translation.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::objects::{Key, Table, Version};

/// The versions of one kind, as last seen.
#[derive(Debug, Default)]
pub(crate) struct Tracker(BTreeMap<Key, Version>);

impl Tracker {
    /// The names of all objects that differ from the last call. One walk over both lists, without a lookup.
    pub(crate) fn moved<T>(&mut self, table: &Table<T>) -> Vec<Key> {
        let moved = self.compare(table);
        for key in &moved {
            match table.get(key) {
                Some(stored) => drop(self.0.insert(key.clone(), stored.version)),
                None => drop(self.0.remove(key)),
            }
        }
        moved
    }

    fn compare<T>(&self, table: &Table<T>) -> Vec<Key> {
        let mut moved = Vec::new();
        let mut seen = self.0.iter().peekable();
        let mut now = table.iter().peekable();
        loop {
            match (seen.peek(), now.peek()) {
                (None, None) => return moved,
                (Some((gone, _)), None) => {
                    moved.push((*gone).clone());
                    seen.next();
                }
                (None, Some((new, _))) => {
                    moved.push((*new).clone());
                    now.next();
                }
                (Some((old, version)), Some((new, stored))) => match old.cmp(new) {
                    Ordering::Less => {
                        moved.push((*old).clone());
                        seen.next();
                    }
                    Ordering::Greater => {
                        moved.push((*new).clone());
                        now.next();
                    }
                    Ordering::Equal => {
                        if **version != stored.version {
                            moved.push((*new).clone());
                        }
                        seen.next();
                        now.next();
                    }
                },
            }
        }
    }
}
