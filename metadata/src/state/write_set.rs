//! What one group of commands leaves for the engine and the watch.

use bytes::Bytes;

use super::rows::RowKey;
use crate::api::WatchEvent;

/// Collects the rows and events of a group of commands: one engine batch.
#[derive(Debug, Default)]
pub struct WriteSet {
    /// Rows to write (`Some`) or delete (`None`), in order: a later one overrides an earlier one of the
    /// same key.
    pub rows: Vec<(Bytes, Option<Bytes>)>,
    /// What changed, in order; to be sent after the rows are durable.
    pub events: Vec<WatchEvent>,
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
        self.rows.push((key.into_bytes(), Some(value.into())));
    }

    pub(super) fn delete(&mut self, key: RowKey) {
        self.rows.push((key.into_bytes(), None));
    }
}
