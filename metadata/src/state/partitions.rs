//! What is kept in memory per partition: where its log starts and ends, and its extents of all levels.
//!
//! ```text
//! extents    [100..140)[140..141)[141..200)      sorted, each begins where the one before ends
//!                 ^                       ^
//!              log start             high watermark
//! ```
//!
//! An extent that lies below the log start as a whole is dropped at once. Merged extents take the place of those
//! they were made of, each of which goes as a whole. Sizes count here (a million
//! partitions): 40 bytes per partition, 40 per extent, lists grow by a quarter instead of doubling.

use std::ops::Range;

use floe_protocol::types::{Offset, TimestampMs};
use floe_storage::segment::SegmentId;

use super::rows::head::Head;
use super::rows::segment::merged;
use crate::api::objects::{MergedExtent, Retention};
use crate::api::{Extent, PartitionBounds};

/// An extent as it is kept; see [`crate::api::Extent`] for the meaning of the fields.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct PackedExtent {
    /// The commit, which leads to the segment and its level.
    pub(super) commit: u64,
    pub(super) position_bytes: u64,
    pub(super) base_offset: Offset,
    pub(super) max_timestamp_ms: TimestampMs,
    pub(super) length_bytes: u32,
    /// Offsets it covers; of a merged one not all need have records.
    pub(super) count: u32,
}

impl PackedExtent {
    /// A merged extent; `None` if it covers more offsets than can be.
    pub(super) fn merged(commit: u64, extent: &MergedExtent) -> Option<Self> {
        Some(Self {
            commit,
            position_bytes: extent.position_bytes,
            base_offset: extent.base_offset,
            max_timestamp_ms: extent.max_timestamp_ms,
            length_bytes: extent.length_bytes,
            count: merged::offsets(extent)?,
        })
    }

    pub(super) fn end_offset(&self) -> Offset {
        self.base_offset.saturating_add(i64::from(self.count))
    }

    /// The extent as others see it, `segment` and `level` being those of its commit.
    pub(super) fn unpack(&self, segment: SegmentId, level: u8) -> Extent {
        Extent {
            segment,
            level,
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

    /// Moves the log start to `to`, but never back nor past the high watermark. `true` if it moved. The commits
    /// of the extents that go are added to `dropped`, one entry for each extent.
    pub(super) fn move_log_start(&mut self, to: Offset, dropped: &mut Vec<u64>) -> bool {
        let to = to.min(self.head.high_watermark);
        if to <= self.head.log_start {
            return false;
        }
        self.head.log_start = to;
        let dead = self
            .extents
            .partition_point(|extent| extent.end_offset() <= to);
        dropped.extend(self.extents.drain(..dead).map(|extent| extent.commit));
        self.give_back_room();
        true
    }

    fn give_back_room(&mut self) {
        if self.extents.len() < self.extents.capacity() / 2 {
            self.extents.shrink_to_fit();
        }
    }

    /// Where the log is to start so that no more is kept than `retention` asks for.
    pub(super) fn retained_from(
        &self,
        retention: &Retention,
        committed_ms: impl Fn(u64) -> TimestampMs,
    ) -> Offset {
        let lengths = || self.extents.iter().map(|it| u64::from(it.length_bytes));
        let mut bytes: u64 = match retention.bytes_max {
            Some(_) => lengths().sum(),
            None => 0,
        };
        let mut start = self.head.log_start;
        for extent in &self.extents {
            let rest = bytes.saturating_sub(u64::from(extent.length_bytes));
            // Records may have no time (-1); Kafka then goes by the file's.
            let newest_ms = match extent.max_timestamp_ms {
                ..0 => committed_ms(extent.commit),
                newest_ms => newest_ms,
            };
            let is_old = |min_ms| newest_ms < min_ms;
            let is_too_much = |bytes_max| rest >= bytes_max;
            if !retention.min_timestamp_ms.is_some_and(is_old)
                && !retention.bytes_max.is_some_and(is_too_much)
            {
                break;
            }
            (start, bytes) = (extent.end_offset(), rest);
        }
        start
    }

    /// The extents that share offsets with `base..end`.
    fn overlapping(&self, base: Offset, end: Offset) -> Range<usize> {
        let first = self.extents.partition_point(|it| it.end_offset() <= base);
        let after = self.extents.partition_point(|it| it.base_offset < end);
        first..after.max(first)
    }

    /// Whether a merged extent covers exactly the offsets of extents that follow each other, all of which
    /// `is_source` knows by commit; the first ones may be missing where the log start has passed them.
    pub(super) fn is_made_of(
        &self,
        merged: &MergedExtent,
        is_source: impl Fn(u64) -> bool,
    ) -> bool {
        let (base, end) = (merged.base_offset, merged.end_offset);
        let range = self.overlapping(base, end);
        let is_first = range.start == 0;
        let Some(parts @ [first, ..]) = self.extents.get(range) else {
            return false;
        };
        let begins = first.base_offset == base || (is_first && first.base_offset > base);
        let ends = parts.last().is_some_and(|last| last.end_offset() == end);
        begins && ends && parts.iter().all(|part| is_source(part.commit))
    }

    /// Puts an extent in the place of all that share offsets with it, and their commits into `dropped`, one
    /// entry for each extent. `false`, and nothing done, if one of them has offsets besides.
    pub(super) fn replace(&mut self, extent: PackedExtent, dropped: &mut Vec<u64>) -> bool {
        let (base, end) = (extent.base_offset, extent.end_offset());
        let range = self.overlapping(base, end);
        let Some(parts) = self.extents.get(range.clone()) else {
            return false;
        };
        let is_whole = |part: &PackedExtent| part.base_offset >= base && part.end_offset() <= end;
        if !parts.iter().all(is_whole) {
            return false;
        }
        dropped.extend(parts.iter().map(|part| part.commit));
        self.extents.splice(range, [extent]);
        self.give_back_room();
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
