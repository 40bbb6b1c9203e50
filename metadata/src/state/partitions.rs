//! What is kept in memory per partition: where its log starts and ends, and its level-0 extents.
//!
//! ```text
//! extents    [100..140)[140..141)[141..200)      sorted, each begins where the one before ends
//!                 ^                       ^
//!              log start             high watermark
//! ```
//!
//! An extent that lies below the log start as a whole is dropped at once. Sizes count here (a million
//! partitions): 40 bytes per partition, 40 per extent, lists grow by a quarter instead of doubling.

use floe_protocol::types::{Offset, TimestampMs};
use floe_storage::segment::SegmentId;

use super::rows::head::Head;
use crate::api::{Extent, PartitionBounds};

/// An extent of level 0 as it is kept; see [`crate::api::Extent`] for the meaning of the fields.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct PackedExtent {
    /// The commit, which leads to the segment.
    pub(super) commit: u64,
    pub(super) position_bytes: u64,
    pub(super) base_offset: Offset,
    pub(super) max_timestamp_ms: TimestampMs,
    pub(super) length_bytes: u32,
    pub(super) count: u32,
}

impl PackedExtent {
    pub(super) fn end_offset(&self) -> Offset {
        self.base_offset.saturating_add(i64::from(self.count))
    }

    /// The extent as others see it, `segment` being that of its commit.
    pub(super) fn unpack(&self, segment: SegmentId) -> Extent {
        Extent {
            segment,
            level: 0,
            position_bytes: self.position_bytes,
            length_bytes: self.length_bytes,
            base_offset: self.base_offset,
            end_offset: self.end_offset(),
            max_timestamp_ms: self.max_timestamp_ms,
        }
    }

    /// Lengthens this run by `next` if that follows without a hole in bytes or offsets.
    pub(super) fn extend(&mut self, next: &Self) -> bool {
        let end_bytes = self
            .position_bytes
            .saturating_add(u64::from(self.length_bytes));
        let follows = self.commit == next.commit
            && end_bytes == next.position_bytes
            && self.end_offset() == next.base_offset;
        let (Some(length_bytes), Some(count)) = (
            self.length_bytes.checked_add(next.length_bytes),
            self.count.checked_add(next.count),
        ) else {
            return false;
        };
        if follows {
            self.length_bytes = length_bytes;
            self.count = count;
            self.max_timestamp_ms = self.max_timestamp_ms.max(next.max_timestamp_ms);
        }
        follows
    }
}

/// One partition.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Partition {
    pub(super) head: Head,
    extents: Vec<PackedExtent>,
}

impl Partition {
    pub(super) const fn new(head: Head) -> Self {
        Self {
            head,
            extents: Vec::new(),
        }
    }

    pub(super) fn extents(&self) -> &[PackedExtent] {
        &self.extents
    }

    /// Where the log begins and ends.
    pub(super) const fn bounds(&self) -> PartitionBounds {
        let Head {
            log_start,
            high_watermark,
        } = self.head;
        PartitionBounds {
            log_start,
            high_watermark,
            last_stable: high_watermark,
        }
    }

    /// Adds a run of batches at the end.
    pub(super) fn push(&mut self, extent: PackedExtent) {
        let len = self.extents.len();
        if len == self.extents.capacity() {
            self.extents.reserve_exact(len / 4 + 1);
        }
        self.extents.push(extent);
    }

    /// Moves the log start to `to`, but never back nor past the high watermark. `true` if it moved.
    pub(super) fn move_log_start(&mut self, to: Offset) -> bool {
        let to = to.min(self.head.high_watermark);
        if to <= self.head.log_start {
            return false;
        }
        self.head.log_start = to;
        let dead = self
            .extents
            .partition_point(|extent| extent.end_offset() <= to);
        self.extents.drain(..dead);
        if self.extents.len() < self.extents.capacity() / 2 {
            self.extents.shrink_to_fit();
        }
        true
    }

    /// The extents from the one that holds `offset` on.
    pub(super) fn extents_from(&self, offset: Offset) -> &[PackedExtent] {
        let first = self
            .extents
            .partition_point(|extent| extent.end_offset() <= offset);
        self.extents.get(first..).unwrap_or_default()
    }

    /// Whether the extents cover the log without gap or overlap.
    pub(super) fn is_tiled(&self) -> bool {
        let Some(first) = self.extents.first() else {
            return self.head.log_start == self.head.high_watermark;
        };
        let mut end = first.base_offset;
        let seamless = self.extents.iter().all(|extent| {
            let fits = extent.base_offset == end;
            end = extent.end_offset();
            fits
        });
        seamless
            && first.base_offset <= self.head.log_start
            && self.head.log_start < first.end_offset()
            && end == self.head.high_watermark
    }
}
