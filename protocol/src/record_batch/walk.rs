//! The walk over all records of a produced batch: what the header claims is compared with what is
//! there. Decompresses under a cap, copies no record, allocates only to list the records it refuses.

use std::borrow::Cow;

use super::record::Cursor;
use super::{BatchError, BatchHeader, HEADER_BYTES, RecordFault, TimestampLimits, UntimelyRecord};
use crate::compression::{Compression, decompress};
use crate::types::TimestampMs;

/// Records named in one error; a batch of millions must not make an answer of millions.
const LISTED_RECORDS_MAX: usize = 1024;
/// Least that decompressed records may always take.
const DECOMPRESSED_BYTES_FLOOR: usize = 64 << 20;
/// What decompressed records may take, in multiples of the largest batch.
const DECOMPRESSED_BATCHES_MAX: usize = 16;

/// What a walk allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalkLimits {
    /// Bytes that compressed records may become.
    pub decompressed_bytes_max: usize,
    /// Whether every record needs a key (`cleanup.policy=compact`).
    pub require_keys: bool,
    /// Times the topic takes, `None` for all.
    pub timestamps: Option<TimestampLimits>,
}

impl WalkLimits {
    /// Limits of form alone: a cap of max(64 MiB, 16 × `max_message_bytes`) on decompression.
    #[must_use]
    pub const fn new(max_message_bytes: usize) -> Self {
        let scaled = max_message_bytes.saturating_mul(DECOMPRESSED_BATCHES_MAX);
        let decompressed_bytes_max = if scaled > DECOMPRESSED_BYTES_FLOOR {
            scaled
        } else {
            DECOMPRESSED_BYTES_FLOOR
        };
        Self {
            decompressed_bytes_max,
            require_keys: false,
            timestamps: None,
        }
    }
}

/// What a walk found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalkSummary {
    /// Number of records.
    pub record_count: i32,
    /// Bytes of the records, decompressed.
    pub records_bytes: usize,
    /// Earliest time of a record.
    pub min_timestamp_ms: TimestampMs,
    /// Greatest time of a record, which the header need not have right.
    pub max_timestamp_ms: TimestampMs,
}

/// Reads every record of `batch`, one batch that [`check_produced`](super::check_produced) has passed.
///
/// # Errors
/// The records do not decompress within the cap, or are not as the header says: lengths, offset deltas
/// 0, 1, 2, …, header counts, record attributes 0, the count, nothing left over. Well-formed batches are
/// refused for records without a key or outside of the time limits; the first 1024 of them are named,
/// times before keys, as Kafka does.
pub fn walk(batch: &[u8], limits: &WalkLimits) -> Result<WalkSummary, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let needed_bytes = header.size_bytes();
    let block = batch
        .get(HEADER_BYTES..needed_bytes)
        .ok_or(BatchError::Truncated {
            needed_bytes,
            actual_bytes: batch.len(),
        })?;
    let records = match header.attributes.compression()? {
        Compression::None => Cow::Borrowed(block),
        codec => Cow::Owned(decompress(block, codec, limits.decompressed_bytes_max)?),
    };
    let mut walker = Walker::new(header, *limits);
    let mut cursor = Cursor(&records);
    for index in 0..header.record_count {
        walker
            .step(index, &mut cursor)
            .map_err(|fault| BatchError::Record { index, fault })?;
    }
    if !cursor.0.is_empty() {
        return Err(BatchError::SurplusBytes {
            surplus_bytes: cursor.0.len(),
        });
    }
    walker.finish(records.len())
}

/// What the records so far have shown.
#[derive(Debug)]
struct Walker {
    header: BatchHeader,
    limits: WalkLimits,
    min_timestamp_ms: TimestampMs,
    max_timestamp_ms: TimestampMs,
    keyless: Vec<i32>,
    untimely: Vec<UntimelyRecord>,
}

impl Walker {
    const fn new(header: BatchHeader, limits: WalkLimits) -> Self {
        Self {
            header,
            limits,
            min_timestamp_ms: TimestampMs::MAX,
            max_timestamp_ms: TimestampMs::MIN,
            keyless: Vec::new(),
            untimely: Vec::new(),
        }
    }

    fn step(&mut self, index: i32, cursor: &mut Cursor<'_>) -> Result<(), RecordFault> {
        let record = cursor.record()?;
        if record.attributes != 0 {
            return Err(RecordFault::Attributes(record.attributes));
        }
        if record.offset_delta != index {
            return Err(RecordFault::OffsetDelta(record.offset_delta));
        }
        let timestamp_ms = self.header.record_time(record.timestamp_delta)?;
        self.min_timestamp_ms = self.min_timestamp_ms.min(timestamp_ms);
        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        if self.limits.require_keys
            && record.key.is_none()
            && self.keyless.len() < LISTED_RECORDS_MAX
        {
            self.keyless.push(index);
        }
        let timely = self
            .limits
            .timestamps
            .is_none_or(|times| times.allow(timestamp_ms));
        if !timely && self.untimely.len() < LISTED_RECORDS_MAX {
            self.untimely.push(UntimelyRecord {
                index,
                timestamp_ms,
            });
        }
        Ok(())
    }

    fn finish(self, records_bytes: usize) -> Result<WalkSummary, BatchError> {
        if let Some(times) = self.limits.timestamps
            && !self.untimely.is_empty()
        {
            return Err(BatchError::UntimelyRecords {
                records: self.untimely,
                earliest_ms: times.earliest_ms,
                latest_ms: times.latest_ms,
            });
        }
        if !self.keyless.is_empty() {
            return Err(BatchError::WithoutKey {
                record_indexes: self.keyless,
            });
        }
        if i64::from(self.header.record_count) != i64::from(self.header.offset_count()) {
            return Err(BatchError::RecordCount {
                record_count: self.header.record_count,
                last_offset_delta: self.header.last_offset_delta,
            });
        }
        Ok(WalkSummary {
            record_count: self.header.record_count,
            records_bytes,
            min_timestamp_ms: self.min_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
        })
    }
}
