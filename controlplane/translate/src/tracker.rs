//! Finds the objects of a kind that came, went or changed since the last translation.

use crate::objects::{Key, Table};

/// One kind, as last seen.
#[derive(Debug)]
pub(crate) struct Tracker<T>(Table<T>);

impl<T> Default for Tracker<T> {
    fn default() -> Self {
        Self(Table::default())
    }
}

impl<T> Tracker<T> {
    /// The names of all objects that differ from the last call. Costs what differs: tables share the rest.
    pub(crate) fn moved(&mut self, table: &Table<T>) -> Vec<Key> {
        let moved = self.0.differing(table);
        self.0 = table.clone();
        moved
    }
}
