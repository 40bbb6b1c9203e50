//! Builds batches: for tests and tools as a producer would, for log compaction from the records that a
//! stored batch keeps.

use bytes::Bytes;

use super::record::{put_nullable, put_varint, put_varlong};
use super::{
    Attributes, BatchHeader, HEADER_BYTES, MAGIC, NO_PRODUCER_EPOCH, NO_SEQUENCE, NO_TIMESTAMP,
    PREFIX_BYTES, Record, RecordHeaders,
};
use crate::compression::{Compression, CompressionError, compress};
use crate::types::{
    LeaderEpoch, NO_PRODUCER_ID, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs,
};

/// Why records make no batch.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    /// Neither a record nor a last offset was given.
    #[error("a batch needs a record or a last offset")]
    Empty,
    /// Offsets must rise from the base offset and stay within 2^31 of it.
    #[error("offset {offset} cannot follow in a batch of base offset {base_offset}")]
    Offset {
        /// The record's.
        offset: Offset,
        /// The batch's.
        base_offset: Offset,
    },
    /// The time is too far from the base timestamp.
    #[error(
        "timestamp {timestamp_ms} ms cannot be told from base timestamp {base_timestamp_ms} ms"
    )]
    Timestamp {
        /// The record's.
        timestamp_ms: TimestampMs,
        /// The batch's.
        base_timestamp_ms: TimestampMs,
    },
    /// A length or count is beyond 2^31 - 1.
    #[error("{0} bytes or entries are more than the format can count")]
    TooLarge(usize),
    /// The codec failed.
    #[error("records do not compress")]
    Compression(#[from] CompressionError),
}

/// Collects records and makes one batch of them. The first fault is kept and returned by
/// [`build`](Self::build).
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    compression: Compression,
    /// `None` until the first record or [`BatchBuilder::base_timestamp_ms`] decides it.
    base_timestamp_ms: Option<TimestampMs>,
    max_timestamp_ms: Option<TimestampMs>,
    next_offset: Offset,
    last_offset: Option<Offset>,
    records: Vec<u8>,
    record_count: i32,
    fault: Option<BuildError>,
}

impl BatchBuilder {
    /// An empty batch with base offset 0 and no producer, as a plain producer sends it.
    #[must_use]
    pub fn new(compression: Compression) -> Self {
        Self {
            header: BatchHeader {
                base_offset: 0,
                length: 0,
                leader_epoch: -1,
                magic: MAGIC,
                crc: 0,
                attributes: Attributes::default(),
                last_offset_delta: 0,
                base_timestamp_ms: NO_TIMESTAMP,
                max_timestamp_ms: NO_TIMESTAMP,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: NO_PRODUCER_EPOCH,
                base_sequence: NO_SEQUENCE,
                record_count: 0,
            },
            compression,
            base_timestamp_ms: None,
            max_timestamp_ms: None,
            next_offset: 0,
            last_offset: None,
            records: Vec::new(),
            record_count: 0,
            fault: None,
        }
    }

    /// A batch that takes the place of the one with this header: same offsets, producer, sequence and
    /// flags, for the records that compaction keeps, possibly none. Times are those of the kept records;
    /// a delete horizon and a time of log append stay.
    #[must_use]
    pub fn replacing(header: &BatchHeader, compression: Compression) -> Self {
        let attributes = header.attributes;
        Self {
            header: *header,
            base_timestamp_ms: attributes
                .has_delete_horizon()
                .then_some(header.base_timestamp_ms),
            max_timestamp_ms: attributes
                .is_log_append_time()
                .then_some(header.max_timestamp_ms),
            next_offset: header.base_offset,
            last_offset: Some(header.last_offset()),
            ..Self::new(compression)
        }
    }

    /// Sets the base offset; the next record takes it.
    #[must_use]
    pub fn base_offset(mut self, base_offset: Offset) -> Self {
        self.header.base_offset = base_offset;
        self.next_offset = base_offset;
        self
    }

    /// Sets the leader epoch.
    #[must_use]
    pub fn leader_epoch(mut self, leader_epoch: LeaderEpoch) -> Self {
        self.header.leader_epoch = leader_epoch;
        self
    }

    /// Sets the idempotent producer and the sequence of the first record.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base: Sequence) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base;
        self
    }

    /// Marks the batch as part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.header.attributes = self.header.attributes.with_transactional();
        self
    }

    /// Gives all records the time of the append.
    #[must_use]
    pub fn log_append_time(mut self, now_ms: TimestampMs) -> Self {
        self.header.attributes = self.header.attributes.with_log_append_time();
        self.max_timestamp_ms = Some(now_ms);
        self
    }

    /// Makes the base timestamp a delete horizon; to be called before the first record.
    #[must_use]
    pub fn delete_horizon(mut self, horizon_ms: TimestampMs) -> Self {
        self.header.attributes = self.header.attributes.with_delete_horizon();
        self.base_timestamp_ms = Some(horizon_ms);
        self
    }

    /// Sets the attributes as a whole; the codec is still the builder's.
    #[must_use]
    pub fn attributes(mut self, attributes: Attributes) -> Self {
        self.header.attributes = attributes;
        self
    }

    /// Keeps offsets through `last_offset`, whatever the last record is.
    #[must_use]
    pub fn last_offset(mut self, last_offset: Offset) -> Self {
        self.last_offset = Some(last_offset);
        self
    }

    /// Bytes of the batch before compression.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        HEADER_BYTES + self.records.len()
    }

    /// Records so far.
    #[must_use]
    pub const fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Appends a record without headers at the next offset.
    pub fn append(
        &mut self,
        timestamp_ms: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> &mut Self {
        self.append_at(
            self.next_offset,
            timestamp_ms,
            key,
            value,
            &RecordHeaders::new(),
        )
    }

    /// Appends `record` at its own offset, which must rise; gaps are kept.
    pub fn push(&mut self, record: &Record) -> &mut Self {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        self.append_at(
            record.offset,
            record.timestamp_ms,
            key,
            value,
            &record.headers,
        )
    }

    fn append_at(
        &mut self,
        offset: Offset,
        timestamp_ms: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &RecordHeaders,
    ) -> &mut Self {
        if self.fault.is_none() {
            let fields = (key, value, headers);
            self.fault = self.try_append(offset, timestamp_ms, fields).err();
        }
        self
    }

    fn try_append(
        &mut self,
        offset: Offset,
        timestamp_ms: TimestampMs,
        (key, value, headers): (Option<&[u8]>, Option<&[u8]>, &RecordHeaders),
    ) -> Result<(), BuildError> {
        let base_timestamp_ms = *self.base_timestamp_ms.get_or_insert(timestamp_ms);
        let mut fields = vec![0];
        let time = timestamp_ms
            .checked_sub(base_timestamp_ms)
            .ok_or(BuildError::Timestamp {
                timestamp_ms,
                base_timestamp_ms,
            })?;
        put_varlong(&mut fields, time);
        if offset < self.next_offset {
            return Err(BuildError::Offset {
                offset,
                base_offset: self.header.base_offset,
            });
        }
        put_varint(&mut fields, self.offset_delta(offset)?);
        put_field(&mut fields, key)?;
        put_field(&mut fields, value)?;
        let (header_count, entries) = headers.wire();
        put_varint(&mut fields, header_count);
        fields.extend_from_slice(entries);
        put_varint(&mut self.records, counted(fields.len())?);
        self.records.extend_from_slice(&fields);
        self.record_count += 1;
        self.next_offset = offset.saturating_add(1);
        if !self.header.attributes.is_log_append_time() {
            self.max_timestamp_ms = self.max_timestamp_ms.max(Some(timestamp_ms));
        }
        Ok(())
    }

    fn offset_delta(&self, offset: Offset) -> Result<i32, BuildError> {
        let base_offset = self.header.base_offset;
        offset
            .checked_sub(base_offset)
            .and_then(|delta| i32::try_from(delta).ok())
            .filter(|delta| *delta >= 0)
            .ok_or(BuildError::Offset {
                offset,
                base_offset,
            })
    }

    /// Makes the batch.
    ///
    /// # Errors
    /// The first fault of what was set and appended; nothing was appended and no last offset kept; the
    /// whole is larger than the format can say.
    pub fn build(mut self) -> Result<Bytes, BuildError> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let last_record = (self.record_count > 0).then(|| self.next_offset.saturating_sub(1));
        let last_offset = last_record.max(self.last_offset).ok_or(BuildError::Empty)?;
        self.header.last_offset_delta = self.offset_delta(last_offset)?;
        self.header.record_count = self.record_count;
        self.settle_times();
        let mut batch = vec![0; HEADER_BYTES];
        match self.codec() {
            Compression::None => batch.append(&mut self.records),
            codec => batch.append(&mut compress(&self.records, codec)?),
        }
        self.header.attributes = self.header.attributes.with_compression(self.codec());
        self.header.length = counted(batch.len() - PREFIX_BYTES)?;
        self.header.seal(&mut batch);
        Ok(Bytes::from(batch))
    }
}

impl BatchBuilder {
    /// Nothing is not compressed: clients do not decompress the records of an empty batch.
    const fn codec(&self) -> Compression {
        if self.record_count == 0 {
            Compression::None
        } else {
            self.compression
        }
    }

    /// An empty batch has no base timestamp and keeps its max timestamp, as Kafka's cleaner writes it.
    fn settle_times(&mut self) {
        if self.record_count == 0 {
            self.header.attributes = self.header.attributes.without_delete_horizon();
            self.header.base_timestamp_ms = NO_TIMESTAMP;
        } else if let Some(base_timestamp_ms) = self.base_timestamp_ms {
            self.header.base_timestamp_ms = base_timestamp_ms;
        }
        if let Some(max_timestamp_ms) = self.max_timestamp_ms {
            self.header.max_timestamp_ms = max_timestamp_ms;
        }
    }
}

fn put_field(out: &mut Vec<u8>, bytes: Option<&[u8]>) -> Result<(), BuildError> {
    put_nullable(out, bytes).map_err(|_| BuildError::TooLarge(bytes.map_or(0, <[u8]>::len)))
}

fn counted(count: usize) -> Result<i32, BuildError> {
    i32::try_from(count).map_err(|_| BuildError::TooLarge(count))
}
