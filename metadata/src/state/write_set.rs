//! What one group of commands leaves for the engine and the watch.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::rows::RowKey;
use crate::api::WatchEvent;

/// Collects the rows and events of a group of commands: one engine batch.
#[derive(Debug, Default)]
pub struct WriteSet {
    /// Rows to write (`Some`) or delete (`None`); each key once, in the order of its first write.
    pub rows: Vec<(Bytes, Option<Bytes>)>,
    /// What changed, in order; to be sent after the rows are durable.
    pub events: Vec<WatchEvent>,
    places: BTreeMap<Bytes, usize>,
}

impl WriteSet {
    /// Nothing to write.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to write and nothing to tell.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.events.is_empty()
    }

    pub(super) fn put(&mut self, key: RowKey, value: impl Into<Bytes>) {
        self.set(key.into_bytes(), Some(value.into()));
    }

    pub(super) fn delete(&mut self, key: RowKey) {
        self.set(key.into_bytes(), None);
    }

    fn set(&mut self, key: Bytes, value: Option<Bytes>) {
        let end = self.rows.len();
        let place = *self.places.entry(key.clone()).or_insert(end);
        match self.rows.get_mut(place) {
            Some(row) => row.1 = value,
            None => self.rows.push((key, value)),
        }
    }
}
