//! What is checked of every batch a producer sends: the header, once, and the CRC. Allocates nothing,
//! copies nothing. The order of the checks decides which error a client sees and follows Kafka's.

use bytes::Bytes;

use super::{BatchError, BatchHeader, CRC_START_BYTES, HEADER_BYTES, LENGTH_MIN, MAGIC};
use super::{NO_TIMESTAMP, PATCHED_HEAD_BYTES, PREFIX_BYTES};
use crate::checksum::crc32c;
use crate::compression::Compression;
use crate::types::{NO_PRODUCER_ID, TimestampMs};

/// Smallest length field of any message format ever (an empty message v0); below it the bytes are
/// damaged rather than old.
const LEGACY_LENGTH_MIN: i32 = 14;
/// First Produce version whose clients may send zstd (KIP-110).
const ZSTD_PRODUCE_VERSION_MIN: i16 = 7;

/// What a topic and a request allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProduceLimits {
    /// Version of the Produce request.
    pub produce_version: i16,
    /// `max.message.bytes` of the topic, compared with the whole batch.
    pub max_message_bytes: usize,
    /// Times the topic takes; `None` where the broker sets the time (`LogAppendTime`).
    pub timestamps: Option<TimestampLimits>,
}

/// The times a topic takes, both inclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampLimits {
    /// The earliest.
    pub earliest_ms: TimestampMs,
    /// The latest.
    pub latest_ms: TimestampMs,
}

impl TimestampLimits {
    /// The limits at `now_ms` from `message.timestamp.before.max.ms` and
    /// `message.timestamp.after.max.ms`.
    #[must_use]
    pub const fn around(now_ms: TimestampMs, before_max_ms: i64, after_max_ms: i64) -> Self {
        Self {
            earliest_ms: now_ms.saturating_sub(before_max_ms),
            latest_ms: now_ms.saturating_add(after_max_ms),
        }
    }

    /// Whether a record may have this time; "no timestamp" is never refused.
    #[must_use]
    pub const fn allow(&self, timestamp_ms: TimestampMs) -> bool {
        timestamp_ms == NO_TIMESTAMP
            || self.earliest_ms <= timestamp_ms && timestamp_ms <= self.latest_ms
    }
}

/// Checks that `records`, the record bytes of one partition in a Produce request, are exactly one
/// intact batch a client may send, and returns its header. Looks at the header and at the CRC, never
/// into the records: see [`walk`](super::walk).
///
/// # Errors
/// The first check that fails, in the order of [`BatchError`]'s causes on produce.
pub fn check_produced(records: &Bytes, limits: &ProduceLimits) -> Result<BatchHeader, BatchError> {
    let header = framed(records)?;
    if matches!(header.attributes.compression(), Ok(Compression::Zstd))
        && limits.produce_version < ZSTD_PRODUCE_VERSION_MIN
    {
        return Err(BatchError::ZstdTooOld);
    }
    if header.base_offset != 0 {
        return Err(BatchError::BaseOffset {
            base_offset: header.base_offset,
        });
    }
    if records.len() > limits.max_message_bytes {
        return Err(BatchError::TooLarge {
            batch_bytes: records.len(),
            limit_bytes: limits.max_message_bytes,
        });
    }
    check_crc(records, header.crc)?;
    check_counts(&header)?;
    check_producer(&header)?;
    check_attributes(&header)?;
    check_times(&header, limits)?;
    Ok(header)
}

/// The header of the one batch that `records` is, from its first to its last byte.
fn framed(records: &[u8]) -> Result<BatchHeader, BatchError> {
    let Some(prefix) = records.first_chunk::<PREFIX_BYTES>() else {
        return Err(if records.is_empty() {
            BatchError::Empty
        } else {
            BatchError::Truncated {
                needed_bytes: PREFIX_BYTES,
                actual_bytes: records.len(),
            }
        });
    };
    let [.., l0, l1, l2, l3] = *prefix;
    let length = i32::from_be_bytes([l0, l1, l2, l3]);
    if length < LEGACY_LENGTH_MIN {
        return Err(BatchError::LengthTooSmall { length });
    }
    let batch_bytes = PREFIX_BYTES.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    let truncated = BatchError::Truncated {
        needed_bytes: batch_bytes,
        actual_bytes: records.len(),
    };
    let Some(&[.., magic]) = records.first_chunk::<PATCHED_HEAD_BYTES>() else {
        return Err(truncated);
    };
    match i8::from_be_bytes([magic]) {
        MAGIC => {}
        magic @ 0..MAGIC => return Err(BatchError::OldMagic { magic }),
        magic => return Err(BatchError::UnsupportedMagic { magic }),
    }
    if batch_bytes > records.len() {
        return Err(truncated);
    }
    if length < LENGTH_MIN {
        return Err(BatchError::LengthTooSmall { length });
    }
    if batch_bytes < records.len() {
        return Err(BatchError::NotOneBatch {
            batch_bytes,
            total_bytes: records.len(),
        });
    }
    records
        .first_chunk::<HEADER_BYTES>()
        .map(BatchHeader::read)
        .ok_or(truncated)
}

fn check_crc(batch: &[u8], expected: u32) -> Result<(), BatchError> {
    let actual = crc32c(batch.get(CRC_START_BYTES..).unwrap_or_default());
    if actual == expected {
        Ok(())
    } else {
        Err(BatchError::Crc { expected, actual })
    }
}

fn check_counts(header: &BatchHeader) -> Result<(), BatchError> {
    let BatchHeader {
        record_count,
        last_offset_delta,
        ..
    } = *header;
    if record_count < 1 || last_offset_delta != record_count - 1 {
        return Err(BatchError::RecordCount {
            record_count,
            last_offset_delta,
        });
    }
    Ok(())
}

fn check_producer(header: &BatchHeader) -> Result<(), BatchError> {
    let BatchHeader {
        producer_id,
        producer_epoch,
        base_sequence,
        ..
    } = *header;
    if producer_id < NO_PRODUCER_ID {
        return Err(BatchError::NegativeProducerId { producer_id });
    }
    if !header.has_producer_id() {
        return if header.attributes.is_transactional() {
            Err(BatchError::TransactionalWithoutProducer)
        } else {
            Ok(())
        };
    }
    if base_sequence < 0 {
        return Err(BatchError::NegativeSequence {
            producer_id,
            base_sequence,
        });
    }
    if producer_epoch < 0 {
        return Err(BatchError::NegativeProducerEpoch {
            producer_id,
            producer_epoch,
        });
    }
    Ok(())
}

fn check_attributes(header: &BatchHeader) -> Result<(), BatchError> {
    header.attributes.compression()?;
    if header.attributes.is_control() {
        return Err(BatchError::ControlFromClient);
    }
    if header.attributes.is_log_append_time() {
        return Err(BatchError::LogAppendTimeFromClient);
    }
    if header.attributes.has_delete_horizon() {
        return Err(BatchError::DeleteHorizonFromClient);
    }
    Ok(())
}

fn check_times(header: &BatchHeader, limits: &ProduceLimits) -> Result<(), BatchError> {
    let Some(times) = limits.timestamps else {
        return Ok(());
    };
    for timestamp_ms in [header.base_timestamp_ms, header.max_timestamp_ms] {
        if !times.allow(timestamp_ms) {
            return Err(BatchError::UntimelyBatch {
                timestamp_ms,
                earliest_ms: times.earliest_ms,
                latest_ms: times.latest_ms,
            });
        }
    }
    Ok(())
}
