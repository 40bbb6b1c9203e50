//! Rows of segments: what one commit was asked and what it answered, column by column. Those of merged segments
//! are in [`merged`]; the version tells.
//!
//! ```text
//! version 1 | segment id, size, time, revision, batches | length of each column | columns
//! ```
//!
//! From such a row follow, without any other: the reply (for a repeat of the commit), the extents of the
//! level-0 index, and what a replay must add to heads and producer states. Positions are kept as the gap
//! after the extent before, offsets as the distance from where the partition's log started and ended,
//! times and producer ids as the distance from the batch before: most fields take a byte or two.

pub(in crate::state) mod merged;
mod reader;
mod writer;

use floe_protocol::types::{
    Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicPartition,
};
use floe_storage::segment::SegmentId;

pub(in crate::state) use merged::MergedReader;
pub(in crate::state) use reader::SegmentReader;
pub(in crate::state) use writer::SegmentWriter;

use super::head::Head;
use crate::api::{BatchRejection, Revision};
use crate::state::codec::{Reader, RowError, put_i64, put_u32, put_u64};

const VERSION: u8 = 1;
const VERSION_MERGED: u8 = 2;

/// The row of a segment, of either kind.
#[derive(Debug)]
pub(in crate::state) enum SegmentRow<'a> {
    /// As ingested.
    Committed(SegmentReader<'a>),
    /// Merged of others.
    Merged(MergedReader<'a>),
}

impl<'a> SegmentRow<'a> {
    /// Reads what stands before the columns.
    pub(in crate::state) fn open(row: &'a [u8]) -> Result<Self, RowError> {
        let mut reader = Reader::new(row);
        match reader.u8()? {
            VERSION => SegmentReader::open(row).map(Self::Committed),
            VERSION_MERGED => MergedReader::open(reader).map(Self::Merged),
            version => Err(RowError::UnknownVersion(version)),
        }
    }

    pub(in crate::state) const fn facts(&self) -> &CommitFacts {
        match self {
            Self::Committed(reader) => reader.facts(),
            Self::Merged(reader) => reader.facts(),
        }
    }
}

/// The columns of a row, in their order.
#[derive(Clone, Copy)]
#[repr(usize)]
enum Column {
    /// Per run of extents of one topic: topic id, number of extents.
    Topics,
    /// Per extent: partition, gap before it, number of batches, log start and end before it.
    Extents,
    /// Per batch: a byte that says what became of it.
    Kinds,
    /// Per batch: its length in bytes.
    Lengths,
    /// Per accepted batch: the offsets it takes.
    Counts,
    /// Per accepted and duplicate batch: its greatest time.
    Times,
    /// Per accepted idempotent batch: producer id, epoch.
    Producers,
    /// Per accepted idempotent batch: first sequence; per duplicate batch: the offset it got first.
    Sequences,
}

const COLUMNS: usize = Column::Sequences as usize + 1;

/// What concerns the commit as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::state) struct CommitFacts {
    pub(in crate::state) segment: SegmentId,
    pub(in crate::state) size_bytes: u64,
    /// Cluster time of the commit.
    pub(in crate::state) time_ms: TimestampMs,
    pub(in crate::state) revision: Revision,
}

fn write_facts(facts: &CommitFacts, out: &mut Vec<u8>) {
    put_u32(out, facts.segment.write_epoch);
    put_u32(out, facts.segment.incarnation);
    put_u64(out, facts.segment.counter);
    put_u64(out, facts.size_bytes);
    put_i64(out, facts.time_ms);
    put_u64(out, facts.revision);
}

fn read_facts(reader: &mut Reader<'_>) -> Result<CommitFacts, RowError> {
    let segment = SegmentId {
        write_epoch: reader.u32()?,
        incarnation: reader.u32()?,
        counter: reader.u64()?,
    };
    Ok(CommitFacts {
        segment,
        size_bytes: reader.u64()?,
        time_ms: reader.i64()?,
        revision: reader.u64()?,
    })
}

/// An extent as it came, and its partition as it was before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::state) struct ExtentRow {
    pub(in crate::state) partition: TopicPartition,
    pub(in crate::state) position_bytes: u64,
    pub(in crate::state) batches: usize,
    pub(in crate::state) before: Head,
}

/// A batch as it came, and what became of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::state) struct BatchRow {
    pub(in crate::state) length_bytes: u32,
    pub(in crate::state) outcome: Outcome,
}

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::state) enum Outcome {
    /// It took the next `count` offsets of its partition.
    Accepted {
        count: u32,
        max_timestamp_ms: TimestampMs,
        producer: Option<ProducerRow>,
    },
    /// It had been accepted before.
    Duplicate {
        base_offset: Offset,
        max_timestamp_ms: TimestampMs,
    },
    /// It was refused.
    Rejected(BatchRejection),
}

/// The idempotent producer of an accepted batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::state) struct ProducerRow {
    pub(in crate::state) id: ProducerId,
    pub(in crate::state) epoch: ProducerEpoch,
    pub(in crate::state) base_sequence: Sequence,
    /// Whether what was known of the producer before no longer counts.
    pub(in crate::state) begins: bool,
}

const KIND_PLAIN: u8 = 0;
const KIND_CONTINUES: u8 = 1;
const KIND_BEGINS: u8 = 2;
const KIND_DUPLICATE: u8 = 3;

/// The byte that stands for a refusal. Numbers are never used again for another meaning.
const fn kind_of(rejection: BatchRejection) -> u8 {
    match rejection {
        BatchRejection::UnknownTopicOrPartition => 16,
        BatchRejection::OutOfOrderSequence => 17,
        BatchRejection::InvalidProducerEpoch => 18,
        BatchRejection::InvalidTxnState => 19,
        BatchRejection::OffsetsExhausted => 20,
        BatchRejection::Empty => 21,
    }
}

const fn rejection_of(kind: u8) -> Result<BatchRejection, RowError> {
    Ok(match kind {
        16 => BatchRejection::UnknownTopicOrPartition,
        17 => BatchRejection::OutOfOrderSequence,
        18 => BatchRejection::InvalidProducerEpoch,
        19 => BatchRejection::InvalidTxnState,
        20 => BatchRejection::OffsetsExhausted,
        21 => BatchRejection::Empty,
        tag => return Err(RowError::UnknownTag(tag)),
    })
}
