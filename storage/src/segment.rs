//! The segment format's words. A segment is one immutable object that holds record batches of many
//! partitions; `docs/formats/segment.md` has its byte table.
//!
//! ```text
//! header | extent extent extent … | index | footer
//!          └ body, sorted by (topic id, partition); raw record batches back to back
//! ```
//!
//! An [`Index`] describes the body: per extent its place, per batch what a commit must know. The same
//! index travels in the commit request, so that metadata never reads the object.

pub mod footer;
pub mod index;
pub mod payload;
pub mod reader;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod writer;

use std::fmt;

use bytes::Bytes;
use floe_protocol::checksum;
use floe_protocol::record_batch::BatchHeader;
use floe_protocol::types::{
    Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicPartition,
};

pub use footer::{Footer, FooterError};
pub use index::IndexError;
pub use payload::Payload;
pub use reader::{ReadError, TailError};
pub use stream::{StreamWriter, WrittenSegment};
pub use writer::{SealedSegment, Writer};

/// Bytes of the header at the start of every segment; the body follows.
pub const HEADER_BYTES: u64 = footer::HEADER_BYTES as u64;
/// Bytes of the footer at the end of every segment.
pub const FOOTER_BYTES: u64 = footer::FOOTER_BYTES as u64;

/// Name of a segment, unique in a lineage without randomness: metadata hands out write epochs and
/// incarnations, an agent counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SegmentId {
    /// The write epoch the writer held when it named the segment; below the lowest accepted one a
    /// commit is refused for ever.
    pub write_epoch: u32,
    /// The writer's registration; no two processes ever share one.
    pub incarnation: u32,
    /// Counts the writer's segments from 0.
    pub counter: u64,
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:08x}-{:08x}-{:016x}",
            self.write_epoch, self.incarnation, self.counter
        )
    }
}

/// What lies in a segment's body.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Index {
    /// One entry per partition, sorted by topic id, then partition; bodies lie in the same order.
    pub extents: Vec<IndexExtent>,
}

impl Index {
    /// Number of batches over all extents.
    #[must_use]
    pub fn batch_count(&self) -> usize {
        self.extents.iter().map(|extent| extent.batches.len()).sum()
    }
}

/// The bytes of one partition inside one segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IndexExtent {
    /// Whose records these are.
    pub partition: TopicPartition,
    /// First byte, counted from the start of the object.
    pub position_bytes: u64,
    /// CRC32C over the extent's bytes as they lie in the object.
    pub crc: u32,
    /// Offset of the first record; known from level 1 on, `None` in level 0.
    pub base_offset: Option<Offset>,
    /// The batches in the order of their bytes; never empty.
    pub batches: Vec<IndexBatch>,
}

impl IndexExtent {
    /// Bytes of all batches together.
    #[must_use]
    pub fn length_bytes(&self) -> u64 {
        self.batches
            .iter()
            .map(|batch| u64::from(batch.length_bytes))
            .sum()
    }

    /// Offsets of all batches together.
    #[must_use]
    pub fn record_count(&self) -> u64 {
        self.batches
            .iter()
            .map(|batch| u64::from(batch.record_count))
            .sum()
    }

    /// Whether `bytes`, the whole extent in pieces, are those the writer wrote.
    #[must_use]
    pub fn matches(&self, bytes: &[Bytes]) -> bool {
        let length: u64 = bytes.iter().map(|piece| piece.len() as u64).sum();
        let crc = bytes
            .iter()
            .fold(0, |crc, piece| checksum::crc32c_append(crc, piece));
        length == self.length_bytes() && crc == self.crc
    }
}

/// One record batch as a commit sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexBatch {
    /// Bytes of the whole batch, its 12 leading bytes included.
    pub length_bytes: u32,
    /// Offsets the batch takes: its last offset delta + 1.
    pub record_count: u32,
    /// Attributes of the batch header (codec, timestamp type, transactional, control).
    pub attributes: u16,
    /// Time of the first record.
    pub base_timestamp_ms: TimestampMs,
    /// Greatest time of a record.
    pub max_timestamp_ms: TimestampMs,
    /// Idempotent producer, -1 for none.
    pub producer_id: ProducerId,
    /// Its epoch, -1 for none.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record, -1 for none.
    pub base_sequence: Sequence,
}

impl IndexBatch {
    /// What the batch with this header is to an index.
    ///
    /// # Panics
    /// When the header says that its batch is longer than an i32 and its 12 leading bytes can say; none
    /// that was parsed does.
    #[must_use]
    pub fn of(header: &BatchHeader) -> Self {
        Self {
            length_bytes: u32::try_from(header.size_bytes()).expect("a batch's length is an i32"),
            record_count: header.offset_count(),
            attributes: header.attributes.0,
            base_timestamp_ms: header.base_timestamp_ms,
            max_timestamp_ms: header.max_timestamp_ms,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
        }
    }
}
