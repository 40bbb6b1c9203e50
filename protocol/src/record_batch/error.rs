//! Why a batch is refused. Every cause has a variant of its own with the facts a client's or an
//! operator's message needs; [`BatchError::kind`] sorts them the way Kafka's error codes do.

use crate::compression::CompressionError;
use crate::types::{Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

/// A record whose time is outside of the topic's limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UntimelyRecord {
    /// Position in the batch, from 0.
    pub index: i32,
    /// Its time.
    pub timestamp_ms: TimestampMs,
}

/// Why bytes are not an acceptable record batch.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchError {
    /// No batch at all where one is required.
    #[error("no record batch")]
    Empty,
    /// The bytes end within the batch.
    #[error("record batch is cut short: {actual_bytes} of {needed_bytes} bytes")]
    Truncated {
        /// What the batch or its header takes.
        needed_bytes: usize,
        /// What there is.
        actual_bytes: usize,
    },
    /// More bytes than one batch takes.
    #[error("{total_bytes} bytes hold more than one record batch of {batch_bytes} bytes")]
    NotOneBatch {
        /// The first batch.
        batch_bytes: usize,
        /// Everything.
        total_bytes: usize,
    },
    /// Message formats of Kafka before 0.11.
    #[error("record batch has the old message format {magic}")]
    OldMagic {
        /// 0 or 1.
        magic: i8,
    },
    /// A message format nobody has defined.
    #[error("record batch has the unknown magic {magic}")]
    UnsupportedMagic {
        /// What the batch says.
        magic: i8,
    },
    /// A length field that no batch can have.
    #[error("record batch has the impossible length {length}")]
    LengthTooSmall {
        /// The length field.
        length: i32,
    },
    /// Zstandard from a client whose request version is older than the codec (KIP-110).
    #[error("zstd needs produce version 7 or later")]
    ZstdTooOld,
    /// Codecs 5 to 7.
    #[error("record batch has the unknown codec {codec}")]
    UnknownCodec {
        /// The codec bits.
        codec: u16,
    },
    /// A producer does not choose offsets.
    #[error("record batch has base offset {base_offset}, not 0")]
    BaseOffset {
        /// What the batch says.
        base_offset: Offset,
    },
    /// The last offset does not exist.
    #[error("offsets of the record batch overflow from base offset {base_offset}")]
    OffsetOverflow {
        /// What the batch says.
        base_offset: Offset,
    },
    /// Larger than the topic allows.
    #[error("record batch of {batch_bytes} bytes is larger than max.message.bytes {limit_bytes}")]
    TooLarge {
        /// The whole batch.
        batch_bytes: usize,
        /// `max.message.bytes`.
        limit_bytes: usize,
    },
    /// The bytes are not those that were sent.
    #[error("record batch has CRC {actual:08x}, its header says {expected:08x}")]
    Crc {
        /// The header's.
        expected: u32,
        /// That of the bytes.
        actual: u32,
    },
    /// A negative last offset delta.
    #[error("record batch has last offset delta {last_offset_delta}")]
    OffsetDelta {
        /// What the batch says.
        last_offset_delta: i32,
    },
    /// The record count is below 1 or does not agree with the offsets.
    #[error("record batch counts {record_count} records, last offset delta {last_offset_delta}")]
    RecordCount {
        /// What the batch says.
        record_count: i32,
        /// What the batch says.
        last_offset_delta: i32,
    },
    /// A producer id that nobody was ever given.
    #[error("record batch has producer id {producer_id}")]
    NegativeProducerId {
        /// What the batch says, below -1.
        producer_id: ProducerId,
    },
    /// An idempotent producer without a sequence.
    #[error("record batch of producer {producer_id} has sequence {base_sequence}")]
    NegativeSequence {
        /// Who.
        producer_id: ProducerId,
        /// What the batch says.
        base_sequence: Sequence,
    },
    /// An idempotent producer without an epoch.
    #[error("record batch of producer {producer_id} has epoch {producer_epoch}")]
    NegativeProducerEpoch {
        /// Who.
        producer_id: ProducerId,
        /// What the batch says.
        producer_epoch: ProducerEpoch,
    },
    /// A transaction needs a producer.
    #[error("transactional record batch has no producer id")]
    TransactionalWithoutProducer,
    /// Only brokers write markers.
    #[error("record batch of a client is a control batch")]
    ControlFromClient,
    /// Only brokers set log append time.
    #[error("record batch of a client has log append time")]
    LogAppendTimeFromClient,
    /// Only compaction sets a delete horizon.
    #[error("record batch of a client has a delete horizon")]
    DeleteHorizonFromClient,
    /// The header's times are outside of the topic's limits.
    #[error("timestamp {timestamp_ms} ms is outside of {earliest_ms} to {latest_ms} ms")]
    UntimelyBatch {
        /// The base or max timestamp.
        timestamp_ms: TimestampMs,
        /// Now less `message.timestamp.before.max.ms`.
        earliest_ms: TimestampMs,
        /// Now plus `message.timestamp.after.max.ms`.
        latest_ms: TimestampMs,
    },
    /// Records' times are outside of the topic's limits.
    #[error("{} or more records have a timestamp outside of {earliest_ms} to {latest_ms} ms", .records.len())]
    UntimelyRecords {
        /// The first of them, in order.
        records: Vec<UntimelyRecord>,
        /// Now less `message.timestamp.before.max.ms`.
        earliest_ms: TimestampMs,
        /// Now plus `message.timestamp.after.max.ms`.
        latest_ms: TimestampMs,
    },
    /// A compacted topic needs keys.
    #[error("{} or more records have no key", .record_indexes.len())]
    WithoutKey {
        /// Positions of the first of them, from 0, in order.
        record_indexes: Vec<i32>,
    },
    /// The records do not decompress.
    #[error("records do not decompress")]
    Compression(#[from] CompressionError),
    /// A record is not as the layout says.
    #[error("record {index} is malformed: {fault}")]
    Record {
        /// Position in the batch, from 0.
        index: i32,
        /// What is wrong.
        fault: RecordFault,
    },
    /// Bytes are left over behind the last record.
    #[error("{surplus_bytes} bytes are left over behind the last record")]
    SurplusBytes {
        /// How many.
        surplus_bytes: usize,
    },
}

/// What is wrong with one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordFault {
    /// The bytes end within the record, or a length points beyond it.
    #[error("it is cut short")]
    Truncated,
    /// A varint takes more bytes than its type has.
    #[error("a varint is too long")]
    Varint,
    /// A length or count that cannot be.
    #[error("it has the length or count {0}")]
    Length(i32),
    /// The record's length is not that of its fields.
    #[error("{0} bytes are left over behind its fields")]
    Surplus(usize),
    /// Records have no attributes.
    #[error("it has the attributes {0}")]
    Attributes(i8),
    /// Not the next offset, not a greater one, or beyond the batch's last.
    #[error("it has the offset delta {0}")]
    OffsetDelta(i32),
    /// Its time does not exist.
    #[error("its timestamp delta {0} overflows")]
    TimestampDelta(i64),
    /// More headers than its bytes can hold.
    #[error("it counts {0} headers")]
    HeaderCount(i32),
}

/// The families of causes, one per error code that Kafka has for them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BatchErrorKind {
    /// Sent again it fails again.
    InvalidRecord,
    /// Probably damaged on its way; clients send it again.
    Corrupt,
    /// A codec that is unknown or newer than the request.
    UnsupportedCompression,
    /// Too large for the topic; some clients split it.
    TooLarge,
    /// A time the topic does not take.
    InvalidTimestamp,
}

impl BatchError {
    /// The family of this cause.
    #[must_use]
    pub const fn kind(&self) -> BatchErrorKind {
        match self {
            Self::Empty
            | Self::Truncated { .. }
            | Self::NotOneBatch { .. }
            | Self::OldMagic { .. }
            | Self::BaseOffset { .. }
            | Self::OffsetOverflow { .. }
            | Self::OffsetDelta { .. }
            | Self::RecordCount { .. }
            | Self::NegativeProducerId { .. }
            | Self::NegativeSequence { .. }
            | Self::NegativeProducerEpoch { .. }
            | Self::TransactionalWithoutProducer
            | Self::ControlFromClient
            | Self::DeleteHorizonFromClient
            | Self::WithoutKey { .. }
            | Self::Compression(_)
            | Self::Record { .. }
            | Self::SurplusBytes { .. } => BatchErrorKind::InvalidRecord,
            Self::UnsupportedMagic { .. } | Self::LengthTooSmall { .. } | Self::Crc { .. } => {
                BatchErrorKind::Corrupt
            }
            Self::ZstdTooOld | Self::UnknownCodec { .. } => BatchErrorKind::UnsupportedCompression,
            Self::TooLarge { .. } => BatchErrorKind::TooLarge,
            Self::LogAppendTimeFromClient
            | Self::UntimelyBatch { .. }
            | Self::UntimelyRecords { .. } => BatchErrorKind::InvalidTimestamp,
        }
    }
}
