//! Tests of the record batch view, and what they share.

mod builder;
mod check;
mod fuzz;
mod golden;
mod patch;
mod properties;
mod walk;

use bytes::Bytes;

use super::*;
use crate::checksum::crc32c;
use crate::compression::Compression;

/// Time of the first record of [`batch`].
const T0: TimestampMs = 1_700_000_000_000;

/// Everything a topic with default settings takes.
fn limits() -> ProduceLimits {
    ProduceLimits {
        produce_version: 12,
        max_message_bytes: 1_048_588,
        timestamps: None,
    }
}

/// Three records, one second apart.
fn builder(compression: Compression) -> BatchBuilder {
    let mut builder = BatchBuilder::new(compression);
    builder
        .append(T0, Some(b"a"), Some(b"one"))
        .append(T0 + 1000, Some(b"b"), None)
        .append(T0 + 2000, Some(b"c"), Some(b"three"));
    builder
}

fn batch() -> Bytes {
    builder(Compression::None)
        .build()
        .expect("three small records fit")
}

/// A batch with these bytes behind a header that counts `record_count` of them, the CRC right.
fn batch_of(codec: u16, record_count: i32, records: &[u8]) -> Bytes {
    let mut bytes = batch().to_vec();
    bytes.truncate(HEADER_BYTES);
    bytes.extend_from_slice(records);
    bytes[21..23].copy_from_slice(&codec.to_be_bytes());
    bytes[23..27].copy_from_slice(&(record_count - 1).to_be_bytes());
    bytes[57..61].copy_from_slice(&record_count.to_be_bytes());
    repaired(bytes)
}

/// `batch` with other bytes at `at`, the CRC right.
fn with(batch: &[u8], at: usize, value: &[u8]) -> Bytes {
    let mut bytes = batch.to_vec();
    bytes[at..at + value.len()].copy_from_slice(value);
    repaired(bytes)
}

/// The bytes with the length and CRC that go with them.
fn repaired(mut bytes: Vec<u8>) -> Bytes {
    let length = i32::try_from(bytes.len() - PREFIX_BYTES).expect("a small batch");
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&bytes[CRC_START_BYTES..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

fn records(batch: &Bytes) -> Result<Vec<Record>, BatchError> {
    RecordIter::new(batch, 1 << 20)?.collect()
}

#[test]
fn sequences_wrap() {
    for (base, count, expected) in [
        (0, 0, 0),
        (0, 1, 1),
        (5, 10, 15),
        (i32::MAX, 1, 0),
        (i32::MAX, 2, 1),
        (i32::MAX - 2, 2, i32::MAX),
        (i32::MAX - 2, 3, 0),
        (i32::MAX - 2, 7, 4),
        (i32::MAX, 1 << 31, i32::MAX),
        (NO_SEQUENCE, 7, NO_SEQUENCE),
        (i32::MIN, u32::MAX, i32::MIN),
    ] {
        assert_eq!(next_sequence(base, count), expected, "{base} + {count}");
    }
}

#[test]
fn the_last_sequence_wraps_inside_a_batch() {
    let mut batch = builder(Compression::None).producer(7, 0, i32::MAX - 1);
    batch.append(T0, None, None);
    let header = BatchHeader::parse(&batch.build().expect("it fits")).expect("it is a batch");
    assert_eq!(header.last_sequence(), 1);
    assert_eq!(
        next_sequence(header.base_sequence, header.offset_count()),
        2
    );
}

#[test]
fn a_header_is_read_and_written() {
    let batch = builder(Compression::Lz4)
        .producer(4711, 3, 40)
        .transactional()
        .leader_epoch(17)
        .build()
        .expect("three small records fit");
    let header = BatchHeader::parse(&batch).expect("it is a batch");
    assert_eq!(header.to_bytes().as_slice(), &batch[..HEADER_BYTES]);
    assert_eq!(header.size_bytes(), batch.len());
    assert_eq!(
        (
            header.producer_id,
            header.producer_epoch,
            header.base_sequence
        ),
        (4711, 3, 40)
    );
    assert_eq!(
        (header.base_timestamp_ms, header.max_timestamp_ms),
        (T0, T0 + 2000)
    );
    assert_eq!(
        (
            header.offset_count(),
            header.record_count,
            header.last_offset()
        ),
        (3, 3, 2)
    );
    assert_eq!((header.leader_epoch, header.last_sequence()), (17, 42));
    assert_eq!(header.attributes.compression(), Ok(Compression::Lz4));
    assert!(header.attributes.is_transactional() && header.has_producer_id());
    assert!(!header.attributes.is_control() && !header.attributes.is_log_append_time());
}

#[test]
fn a_header_nobody_may_store_is_refused() {
    let good = batch();
    assert!(
        BatchHeader::parse(&good[..HEADER_BYTES]).is_ok(),
        "the records are not needed"
    );
    let mut far = good.to_vec();
    far[..8].copy_from_slice(&i64::MAX.to_be_bytes());
    for (name, bytes, expected) in [
        (
            "short",
            good.slice(..60),
            BatchError::Truncated {
                needed_bytes: 61,
                actual_bytes: 60,
            },
        ),
        (
            "magic",
            with(&good, 16, &[1]),
            BatchError::UnsupportedMagic { magic: 1 },
        ),
        (
            "delta",
            with(&good, 23, &[0xff; 4]),
            BatchError::OffsetDelta {
                last_offset_delta: -1,
            },
        ),
        (
            "negative count",
            with(&good, 57, &[0xff; 4]),
            BatchError::RecordCount {
                record_count: -1,
                last_offset_delta: 2,
            },
        ),
        (
            "more records than offsets",
            with(&good, 57, &4_i32.to_be_bytes()),
            BatchError::RecordCount {
                record_count: 4,
                last_offset_delta: 2,
            },
        ),
        (
            "offsets",
            Bytes::from(far),
            BatchError::OffsetOverflow {
                base_offset: i64::MAX,
            },
        ),
    ] {
        assert_eq!(BatchHeader::parse(&bytes), Err(expected), "{name}");
    }
    let mut tiny = good.to_vec();
    tiny[8..12].copy_from_slice(&48_i32.to_be_bytes());
    assert_eq!(
        BatchHeader::parse(&tiny),
        Err(BatchError::LengthTooSmall { length: 48 })
    );
}

#[test]
fn causes_belong_to_kafkas_families() {
    use BatchErrorKind::{Corrupt, InvalidRecord, InvalidTimestamp, UnsupportedCompression};
    let compression = crate::compression::CompressionError::Truncated {
        codec: Compression::Lz4,
    };
    let untimely = BatchError::UntimelyRecords {
        records: vec![],
        earliest_ms: 0,
        latest_ms: 0,
    };
    for (error, expected) in [
        (BatchError::Empty, InvalidRecord),
        (BatchError::OldMagic { magic: 1 }, InvalidRecord),
        (
            BatchError::NotOneBatch {
                batch_bytes: 1,
                total_bytes: 2,
            },
            InvalidRecord,
        ),
        (BatchError::ControlFromClient, InvalidRecord),
        (
            BatchError::WithoutKey {
                record_indexes: vec![0],
            },
            InvalidRecord,
        ),
        (BatchError::Compression(compression), InvalidRecord),
        (BatchError::LengthTooSmall { length: 13 }, Corrupt),
        (BatchError::UnsupportedMagic { magic: 3 }, Corrupt),
        (
            BatchError::Crc {
                expected: 0,
                actual: 1,
            },
            Corrupt,
        ),
        (BatchError::ZstdTooOld, UnsupportedCompression),
        (
            BatchError::UnknownCodec { codec: 5 },
            UnsupportedCompression,
        ),
        (BatchError::LogAppendTimeFromClient, InvalidTimestamp),
        (untimely, InvalidTimestamp),
    ] {
        assert_eq!(error.kind(), expected, "{error}");
    }
}
