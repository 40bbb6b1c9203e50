//! The control batch that ends a transaction in a partition (KIP-98): one uncompressed record, 78
//! bytes, a pure function of what the sequencer remembers, so that every agent builds the same bytes.

use bytes::Bytes;

use super::record::{put_varint, put_varlong};
use super::{Attributes, BatchHeader, HEADER_BYTES, MAGIC, NO_SEQUENCE, PREFIX_BYTES};
use crate::checksum::crc32c;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Version of the key's and the value's layout.
const SCHEMA_VERSION: i16 = 0;
/// Bytes of the key: version and type.
const KEY_BYTES: i32 = 4;
/// Bytes of the value: version and coordinator epoch.
const VALUE_BYTES: i32 = 6;
/// Bytes of the record behind its length.
const RECORD_BYTES: i32 = 16;

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ControlKind {
    /// Its records are not to be read.
    Abort,
    /// Its records are to be read.
    Commit,
}

impl ControlKind {
    const fn wire(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
        }
    }

    /// What the key of a control record says; `None` for the types that are no end of a transaction.
    #[must_use]
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let &[_, _, high, low] = key else {
            return None;
        };
        match i16::from_be_bytes([high, low]) {
            0 => Some(Self::Abort),
            1 => Some(Self::Commit),
            _ => None,
        }
    }
}

/// The end of one transaction in one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControlBatch {
    /// The one offset the marker takes.
    pub offset: Offset,
    /// Leader epoch to write.
    pub leader_epoch: LeaderEpoch,
    /// Time of the end.
    pub timestamp_ms: TimestampMs,
    /// Whose transaction.
    pub producer_id: ProducerId,
    /// Epoch of the marker: that of the records, or one more since KIP-890.
    pub producer_epoch: ProducerEpoch,
    /// How it ended.
    pub kind: ControlKind,
    /// Epoch of the transaction coordinator.
    pub coordinator_epoch: i32,
}

/// The bytes of the marker.
#[must_use]
pub fn control_batch(marker: &ControlBatch) -> Bytes {
    let mut batch = vec![0; HEADER_BYTES];
    put_varint(&mut batch, RECORD_BYTES);
    batch.push(0);
    put_varlong(&mut batch, 0);
    put_varint(&mut batch, 0);
    put_varint(&mut batch, KEY_BYTES);
    batch.extend_from_slice(&SCHEMA_VERSION.to_be_bytes());
    batch.extend_from_slice(&marker.kind.wire().to_be_bytes());
    put_varint(&mut batch, VALUE_BYTES);
    batch.extend_from_slice(&SCHEMA_VERSION.to_be_bytes());
    batch.extend_from_slice(&marker.coordinator_epoch.to_be_bytes());
    put_varint(&mut batch, 0);
    let header = BatchHeader {
        base_offset: marker.offset,
        length: i32::try_from(batch.len() - PREFIX_BYTES).unwrap_or(i32::MAX),
        leader_epoch: marker.leader_epoch,
        magic: MAGIC,
        crc: 0,
        attributes: Attributes::default().with_transactional().with_control(),
        last_offset_delta: 0,
        base_timestamp_ms: marker.timestamp_ms,
        max_timestamp_ms: marker.timestamp_ms,
        producer_id: marker.producer_id,
        producer_epoch: marker.producer_epoch,
        base_sequence: NO_SEQUENCE,
        record_count: 1,
    };
    header.seal(&mut batch);
    Bytes::from(batch)
}

impl BatchHeader {
    /// Writes this header over the first bytes of `batch`, with the CRC of the whole.
    pub(super) fn seal(mut self, batch: &mut [u8]) {
        let Some((head, records)) = batch.split_first_chunk_mut::<HEADER_BYTES>() else {
            panic!("batch of {} bytes has no room for its header", batch.len());
        };
        self.crc = crc32c_append_records(&self.to_bytes(), records);
        *head = self.to_bytes();
    }
}

fn crc32c_append_records(head: &[u8; HEADER_BYTES], records: &[u8]) -> u32 {
    let covered = head.get(super::CRC_START_BYTES..).unwrap_or_default();
    crate::checksum::crc32c_append(crc32c(covered), records)
}
