//! Record batch v2, viewed in place (protocol guide, "Record Batch"; KIP-98).
//!
//! Owns the layout: header, records, the checks on what a producer sends, the fields that may be
//! patched, and the builders. Does not know topics, offsets' meaning or what an error is called on the
//! wire. Header parsing, [`check_produced`] and patching never decompress and never look at records.
//!
//! ```text
//!  0 base offset i64 | 8 length i32 | 12 leader epoch i32 | 16 magic i8 | 17 crc u32 | 21 attributes u16
//!  └──────────── outside the CRC; offset and epoch are patched ───────────────┘      └─ inside ──▶
//! 23 last offset delta i32 | 27 base timestamp i64 | 35 max timestamp i64 | 43 producer id i64
//! 51 producer epoch i16 | 53 base sequence i32 | 57 record count i32 | 61 records, one block if compressed
//! ```

mod attributes;
mod builder;
mod check;
mod control;
mod error;
mod headers;
mod iter;
mod patch;
mod record;
mod walk;

#[cfg(test)]
mod tests;

use bytes::Buf;

pub use attributes::Attributes;
pub use builder::{BatchBuilder, BuildError};
pub use check::{ProduceLimits, TimestampLimits, check_produced};
pub use control::{ControlBatch, ControlKind, control_batch};
pub use error::{BatchError, BatchErrorKind, RecordFault, UntimelyRecord};
pub use headers::{RecordHeader, RecordHeaders};
pub use iter::{Record, RecordIter};
pub use patch::{patched_head, stamp_log_append_time, stamped_head};
pub use walk::{WalkLimits, WalkSummary, walk};

use crate::types::{
    LeaderEpoch, NO_PRODUCER_ID, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs,
};

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;
/// Bytes of base offset and length, which the length field does not count.
pub const PREFIX_BYTES: usize = 12;
/// Bytes from the start through the magic byte: all that may be patched without a new CRC.
pub const PATCHED_HEAD_BYTES: usize = 17;
/// Where the bytes covered by the CRC begin.
pub const CRC_START_BYTES: usize = 21;
/// The only magic we store.
pub const MAGIC: i8 = 2;
/// The wire's "no sequence".
pub const NO_SEQUENCE: Sequence = -1;
/// The wire's "no producer epoch".
pub const NO_PRODUCER_EPOCH: ProducerEpoch = -1;
/// The wire's "no timestamp".
pub const NO_TIMESTAMP: TimestampMs = -1;

/// Smallest legal value of the length field: an empty batch.
const LENGTH_MIN: i32 = 49;

/// The fields before the records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// Offset of the first record, kept by compaction.
    pub base_offset: Offset,
    /// Bytes after this field; see [`BatchHeader::size_bytes`].
    pub length: i32,
    /// Epoch of the leader that wrote the batch.
    pub leader_epoch: LeaderEpoch,
    /// Version of the layout, 2.
    pub magic: i8,
    /// CRC-32C of everything behind it.
    pub crc: u32,
    /// Codec, timestamp type and flags.
    pub attributes: Attributes,
    /// Offset of the last record minus the base offset, kept by compaction.
    pub last_offset_delta: i32,
    /// What the records' times count from: the first record's time, or a delete horizon.
    pub base_timestamp_ms: TimestampMs,
    /// Greatest time of a record; every record's time if the batch has log append time.
    pub max_timestamp_ms: TimestampMs,
    /// Idempotent producer, -1 for none.
    pub producer_id: ProducerId,
    /// Its epoch, -1 for none.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record, -1 for none.
    pub base_sequence: Sequence,
    /// Records present; fewer than the offsets after compaction.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may go on behind it and need not hold the records.
    ///
    /// # Errors
    /// The bytes are no v2 batch that anyone may store: too short, another magic, an impossible
    /// length, a negative offset delta or count, or more records than offsets. The CRC is not checked.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let head = bytes
            .first_chunk::<HEADER_BYTES>()
            .ok_or(BatchError::Truncated {
                needed_bytes: HEADER_BYTES,
                actual_bytes: bytes.len(),
            })?;
        let header = Self::read(head);
        if header.magic != MAGIC {
            return Err(BatchError::UnsupportedMagic {
                magic: header.magic,
            });
        }
        if header.length < LENGTH_MIN {
            return Err(BatchError::LengthTooSmall {
                length: header.length,
            });
        }
        if header.last_offset_delta < 0 {
            return Err(BatchError::OffsetDelta {
                last_offset_delta: header.last_offset_delta,
            });
        }
        let records = i64::from(header.record_count);
        if records < 0 || records > i64::from(header.last_offset_delta) + 1 {
            return Err(BatchError::RecordCount {
                record_count: header.record_count,
                last_offset_delta: header.last_offset_delta,
            });
        }
        if header
            .base_offset
            .checked_add(i64::from(header.last_offset_delta))
            .is_none()
        {
            return Err(BatchError::OffsetOverflow {
                base_offset: header.base_offset,
            });
        }
        Ok(header)
    }

    /// The fields as they stand, whatever they say.
    fn read(head: &[u8; HEADER_BYTES]) -> Self {
        let mut buf = head.as_slice();
        Self {
            base_offset: buf.get_i64(),
            length: buf.get_i32(),
            leader_epoch: buf.get_i32(),
            magic: buf.get_i8(),
            crc: buf.get_u32(),
            attributes: Attributes(buf.get_u16()),
            last_offset_delta: buf.get_i32(),
            base_timestamp_ms: buf.get_i64(),
            max_timestamp_ms: buf.get_i64(),
            producer_id: buf.get_i64(),
            producer_epoch: buf.get_i16(),
            base_sequence: buf.get_i32(),
            record_count: buf.get_i32(),
        }
    }

    /// The header's bytes, in wire order.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut out = bytes.as_mut_slice();
        let buf = &mut out;
        bytes::BufMut::put_i64(buf, self.base_offset);
        bytes::BufMut::put_i32(buf, self.length);
        bytes::BufMut::put_i32(buf, self.leader_epoch);
        bytes::BufMut::put_i8(buf, self.magic);
        bytes::BufMut::put_u32(buf, self.crc);
        bytes::BufMut::put_u16(buf, self.attributes.0);
        bytes::BufMut::put_i32(buf, self.last_offset_delta);
        bytes::BufMut::put_i64(buf, self.base_timestamp_ms);
        bytes::BufMut::put_i64(buf, self.max_timestamp_ms);
        bytes::BufMut::put_i64(buf, self.producer_id);
        bytes::BufMut::put_i16(buf, self.producer_epoch);
        bytes::BufMut::put_i32(buf, self.base_sequence);
        bytes::BufMut::put_i32(buf, self.record_count);
        bytes
    }

    /// Bytes of the whole batch, the 12 leading ones included; 12 if the length is negative.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        PREFIX_BYTES + usize::try_from(self.length).unwrap_or(0)
    }

    /// Offsets the batch takes: last offset delta + 1; 0 if the delta is negative.
    #[must_use]
    pub fn offset_count(&self) -> u32 {
        u32::try_from(i64::from(self.last_offset_delta) + 1).unwrap_or(0)
    }

    /// Offset of the last record.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    /// Sequence of the last record, -1 for none.
    #[must_use]
    pub fn last_sequence(&self) -> Sequence {
        next_sequence(self.base_sequence, self.offset_count().saturating_sub(1))
    }

    /// Whether an idempotent producer wrote the batch.
    #[must_use]
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }
}

/// The sequence `count` records after `base`; 2147483647 is followed by 0 (KIP-98). No sequence stays
/// none.
#[must_use]
pub fn next_sequence(base: Sequence, count: u32) -> Sequence {
    if base < 0 {
        return base;
    }
    let sum = (i64::from(base) + i64::from(count)) & i64::from(Sequence::MAX);
    Sequence::try_from(sum).unwrap_or(Sequence::MAX)
}
