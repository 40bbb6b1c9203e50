//! What deletion and retention count, since the start of the process.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters; read by whoever publishes them.
#[derive(Debug, Default)]
pub struct Figures {
    /// Times that the start of a log was moved up by `retention.ms` or `retention.bytes`.
    pub logs_retained: AtomicU64,
    /// Dead objects that wait for their deletion, as of the last round; at most 1,000 are counted. No counter.
    pub objects_dead: AtomicU64,
    /// Dead objects that were deleted.
    pub objects_deleted: AtomicU64,
    /// Their bytes.
    pub bytes_deleted: AtomicU64,
    /// Orphans that were deleted.
    pub orphans_deleted: AtomicU64,
    /// Their bytes.
    pub orphan_bytes_deleted: AtomicU64,
    /// Rounds in which an object could not be deleted.
    pub deletes_failed: AtomicU64,
    /// Names among our segments that are none of ours, as of the last round. No counter.
    pub names_foreign: AtomicU64,
}

impl Figures {
    pub(crate) fn add(figure: &AtomicU64, count: u64) {
        figure.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn set(figure: &AtomicU64, count: usize) {
        figure.store(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What a figure shows now.
    #[must_use]
    pub fn read(figure: &AtomicU64) -> u64 {
        figure.load(Ordering::Relaxed)
    }
}
