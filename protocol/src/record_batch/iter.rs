//! The records of a stored batch, one by one. Takes what compaction leaves behind: gaps in the
//! offsets, empty batches; and gives every record the time a consumer sees.

use bytes::Bytes;

use super::record::Cursor;
use super::{BatchError, BatchHeader, HEADER_BYTES, RecordFault, RecordHeaders};
use crate::compression::{Compression, decompress};
use crate::types::{Offset, TimestampMs};

/// A decoded record; its bytes are slices of the batch or of its decompressed records.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// Position in the partition.
    pub offset: Offset,
    /// Time of creation, or of the append where the batch says so.
    pub timestamp_ms: TimestampMs,
    /// The key, if it has one.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub value: Option<Bytes>,
    /// The headers.
    pub headers: RecordHeaders,
}

/// Yields a batch's records in order. Ends after the first error, and after as many records as the
/// header counts.
#[derive(Clone, Debug)]
pub struct RecordIter {
    header: BatchHeader,
    /// The unread rest.
    records: Bytes,
    /// Records already yielded.
    index: i32,
    last_delta: Option<i32>,
    ended: bool,
}

impl RecordIter {
    /// The records of the batch at the start of `batch`, which may go on behind it.
    /// `decompressed_bytes_max` bounds what a compressed batch may take in memory.
    ///
    /// # Errors
    /// The header is malformed, the batch is cut short, or its records do not decompress within the
    /// bound. The CRC is not checked.
    pub fn new(batch: &Bytes, decompressed_bytes_max: usize) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(batch)?;
        let needed_bytes = header.size_bytes();
        if batch.len() < needed_bytes {
            return Err(BatchError::Truncated {
                needed_bytes,
                actual_bytes: batch.len(),
            });
        }
        let block = batch.slice(HEADER_BYTES..needed_bytes);
        let records = match header.attributes.compression()? {
            Compression::None => block,
            // Compaction leaves nothing, not a compressed nothing.
            _ if header.record_count == 0 => block,
            codec => Bytes::from(decompress(&block, codec, decompressed_bytes_max)?),
        };
        Ok(Self {
            header,
            records,
            index: 0,
            last_delta: None,
            ended: false,
        })
    }

    /// The batch's header.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    fn take(&mut self) -> Result<Record, RecordFault> {
        let mut cursor = Cursor(&self.records);
        let view = cursor.record()?;
        let rest = self.records.slice_ref(cursor.0);
        let record = Record {
            offset: self.offset(view.offset_delta)?,
            timestamp_ms: self.header.record_time(view.timestamp_delta)?,
            key: view.key.map(|key| self.records.slice_ref(key)),
            value: view.value.map(|value| self.records.slice_ref(value)),
            headers: RecordHeaders::checked(
                view.header_count,
                self.records.slice_ref(view.headers),
            ),
        };
        self.last_delta = Some(view.offset_delta);
        self.records = rest;
        Ok(record)
    }

    fn offset(&self, delta: i32) -> Result<Offset, RecordFault> {
        let rises = self.last_delta.map_or(delta >= 0, |last| delta > last);
        if !rises || delta > self.header.last_offset_delta {
            return Err(RecordFault::OffsetDelta(delta));
        }
        self.header
            .base_offset
            .checked_add(i64::from(delta))
            .ok_or(RecordFault::OffsetDelta(delta))
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.index >= self.header.record_count {
            self.ended = true;
            let surplus_bytes = self.records.len();
            return (surplus_bytes > 0).then_some(Err(BatchError::SurplusBytes { surplus_bytes }));
        }
        let index = self.index;
        self.index += 1;
        let record = self
            .take()
            .map_err(|fault| BatchError::Record { index, fault });
        self.ended = record.is_err();
        Some(record)
    }
}

impl std::iter::FusedIterator for RecordIter {}

impl BatchHeader {
    /// The time of a record whose timestamp delta this is.
    pub(super) fn record_time(&self, timestamp_delta: i64) -> Result<TimestampMs, RecordFault> {
        if self.attributes.is_log_append_time() {
            return Ok(self.max_timestamp_ms);
        }
        self.base_timestamp_ms
            .checked_add(timestamp_delta)
            .ok_or(RecordFault::TimestampDelta(timestamp_delta))
    }
}
