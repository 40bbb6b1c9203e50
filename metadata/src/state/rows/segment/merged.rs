//! Rows of merged segments: which offsets of which partitions lie where.
//!
//! ```text
//! version 2 | segment id, size, time, revision | level | length of each column | topics | extents
//! ```
//!
//! Sorted by partition, then offset, so that most fields are small: partitions as the distance from the one
//! before, positions as the gap after the extent before, offsets as the gap after the extent before of the same
//! partition. What a row says of its extents is checked when it is read as when it was asked for.

use floe_protocol::types::{Offset, PartitionIndex, TimestampMs, TopicId, TopicPartition};

use super::{CommitFacts, VERSION_MERGED, read_facts, write_facts};
use crate::api::objects::MergedExtent;
use crate::state::codec::{Reader, RowError, put_delta, put_i64, put_len, put_u32, put_u64};

/// Whether an extent may follow another, the first of a segment none.
pub(in crate::state) fn may_follow(before: Option<&MergedExtent>, next: &MergedExtent) -> bool {
    before.is_none_or(|before| {
        before.partition < next.partition
            || (before.partition == next.partition && before.end_offset <= next.base_offset)
    })
}

/// Whether an extent makes sense in a segment of that size: it covers 1 to 2^32 - 1 offsets and lies inside.
pub(in crate::state) fn is_sound(extent: &MergedExtent, size_bytes: u64) -> bool {
    let end = extent
        .position_bytes
        .checked_add(u64::from(extent.length_bytes));
    extent.partition.partition >= 0
        && extent.base_offset >= 0
        && offsets(extent).is_some_and(|offsets| offsets > 0)
        && end.is_some_and(|end| end <= size_bytes)
}

/// How many offsets an extent covers, if that many can be.
pub(in crate::state) fn offsets(extent: &MergedExtent) -> Option<u32> {
    let offsets = extent.end_offset.checked_sub(extent.base_offset)?;
    u32::try_from(offsets).ok()
}

/// The row of a merged segment; its extents are in order and make sense.
pub(in crate::state) fn encode<'a>(
    facts: &CommitFacts,
    level: u8,
    extents: impl IntoIterator<Item = &'a MergedExtent>,
) -> Vec<u8> {
    let (mut topics, mut column) = (Vec::new(), Vec::new());
    let (mut topic, mut extents_of_topic): (Option<TopicId>, usize) = (None, 0);
    let (mut end_bytes, mut last_time_ms) = (0_u64, 0);
    let (mut last_partition, mut last_end) = (0, 0);
    for extent in extents {
        let TopicPartition {
            topic: id,
            partition,
        } = extent.partition;
        if topic != Some(id) {
            if topic.is_some() {
                put_len(&mut topics, extents_of_topic);
            }
            topics.extend_from_slice(id.as_bytes());
            (topic, extents_of_topic) = (Some(id), 0);
            (last_partition, last_end) = (0, 0);
        }
        extents_of_topic += 1;
        put_i64(
            &mut column,
            i64::from(partition) - i64::from(last_partition),
        );
        if partition != last_partition {
            (last_partition, last_end) = (partition, 0);
        }
        let gap_bytes = extent.position_bytes.wrapping_sub(end_bytes);
        put_i64(&mut column, gap_bytes.cast_signed());
        put_u32(&mut column, extent.length_bytes);
        put_delta(&mut column, extent.base_offset, last_end);
        let offsets = extent.end_offset.wrapping_sub(extent.base_offset);
        put_u64(&mut column, offsets.cast_unsigned());
        put_delta(&mut column, extent.max_timestamp_ms, last_time_ms);
        last_end = extent.end_offset;
        last_time_ms = extent.max_timestamp_ms;
        end_bytes = extent
            .position_bytes
            .wrapping_add(u64::from(extent.length_bytes));
    }
    if topic.is_some() {
        put_len(&mut topics, extents_of_topic);
    }
    let mut out = Vec::with_capacity(topics.len() + column.len() + 64);
    out.push(VERSION_MERGED);
    write_facts(facts, &mut out);
    put_u32(&mut out, u32::from(level));
    put_len(&mut out, topics.len());
    put_len(&mut out, column.len());
    out.append(&mut topics);
    out.append(&mut column);
    out
}

/// Yields the extents of a merged segment's row, without trusting a byte of it.
#[derive(Debug)]
pub(in crate::state) struct MergedReader<'a> {
    facts: CommitFacts,
    level: u8,
    topics: Reader<'a>,
    extents: Reader<'a>,
    topic: TopicId,
    extents_of_topic: usize,
    last_partition: PartitionIndex,
    last_end: Offset,
    end_bytes: u64,
    last_time_ms: TimestampMs,
    last: Option<MergedExtent>,
}

impl<'a> MergedReader<'a> {
    /// Reads what stands before the columns; the version has been taken.
    pub(super) fn open(mut reader: Reader<'a>) -> Result<Self, RowError> {
        let facts = read_facts(&mut reader)?;
        let level = u8::try_from(reader.u32()?).map_err(|_| RowError::OutOfRange)?;
        if level == 0 {
            return Err(RowError::OutOfRange);
        }
        let lengths = [reader.count()?, reader.count()?];
        let [topics, extents] = lengths.map(|length| reader.take(length).map(Reader::new));
        reader.finish()?;
        Ok(Self {
            facts,
            level,
            topics: topics?,
            extents: extents?,
            topic: TopicId::ZERO,
            extents_of_topic: 0,
            last_partition: 0,
            last_end: 0,
            end_bytes: 0,
            last_time_ms: 0,
            last: None,
        })
    }

    pub(in crate::state) const fn facts(&self) -> &CommitFacts {
        &self.facts
    }

    pub(in crate::state) const fn level(&self) -> u8 {
        self.level
    }

    /// The next extent; `None` at the end, where nothing may be left over.
    pub(in crate::state) fn next_extent(&mut self) -> Result<Option<MergedExtent>, RowError> {
        while self.extents_of_topic == 0 {
            if self.topics.is_empty() {
                self.extents.clone().finish()?;
                return Ok(None);
            }
            self.topic = TopicId::from_bytes(self.topics.array()?);
            self.extents_of_topic = self.topics.count_in(&self.extents)?;
            (self.last_partition, self.last_end) = (0, 0);
        }
        self.extents_of_topic -= 1;
        let partition = i64::from(self.last_partition).checked_add(self.extents.i64()?);
        let partition = partition.and_then(|at| PartitionIndex::try_from(at).ok());
        let partition = partition.ok_or(RowError::OutOfRange)?;
        if partition != self.last_partition {
            (self.last_partition, self.last_end) = (partition, 0);
        }
        let gap_bytes = self.extents.i64()?.cast_unsigned();
        let position_bytes = self.end_bytes.wrapping_add(gap_bytes);
        let length_bytes = self.extents.u32()?;
        let base_offset = self.extents.delta(self.last_end)?;
        let end_offset = base_offset.checked_add(self.extents.natural()?);
        let extent = MergedExtent {
            partition: TopicPartition::new(self.topic, partition),
            position_bytes,
            length_bytes,
            base_offset,
            end_offset: end_offset.ok_or(RowError::OutOfRange)?,
            max_timestamp_ms: self.extents.delta(self.last_time_ms)?,
        };
        if !may_follow(self.last.as_ref(), &extent) || !is_sound(&extent, self.facts.size_bytes) {
            return Err(RowError::OutOfRange);
        }
        self.last_end = extent.end_offset;
        self.last_time_ms = extent.max_timestamp_ms;
        self.end_bytes = position_bytes.wrapping_add(u64::from(length_bytes));
        self.last = Some(extent);
        Ok(Some(extent))
    }
}
