//! Reads a segment's row back, extent by extent and batch by batch, without trusting a byte of it.

use floe_protocol::types::{
    PartitionIndex, ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicId, TopicPartition,
};

use super::{
    BatchRow, COLUMNS, CommitFacts, ExtentRow, KIND_BEGINS, KIND_CONTINUES, KIND_DUPLICATE,
    KIND_PLAIN, Outcome, ProducerRow, VERSION, read_facts, rejection_of,
};
use crate::state::codec::{Reader, RowError};
use crate::state::rows::head::Head;

/// Yields extents; after each its batches must be taken before the next extent.
#[derive(Debug)]
pub(in crate::state) struct SegmentReader<'a> {
    facts: CommitFacts,
    batches: usize,
    topics: Reader<'a>,
    extents: Reader<'a>,
    kinds: Reader<'a>,
    lengths: Reader<'a>,
    counts: Reader<'a>,
    times: Reader<'a>,
    producers: Reader<'a>,
    sequences: Reader<'a>,
    topic: TopicId,
    extents_of_topic: usize,
    batches_of_extent: usize,
    last_partition: i64,
    last_log_start: i64,
    end_bytes: u64,
    log_end: i64,
    last_time_ms: TimestampMs,
    last_producer: ProducerId,
}

impl<'a> SegmentReader<'a> {
    /// Reads what stands before the columns.
    pub(in crate::state) fn open(row: &'a [u8]) -> Result<Self, RowError> {
        let mut reader = Reader::versioned(row, VERSION)?;
        let facts = read_facts(&mut reader)?;
        let batches = reader.count()?;
        let mut lengths = [0; COLUMNS];
        for length in &mut lengths {
            *length = reader.count()?;
        }
        let mut columns = [const { Reader::new(&[]) }; COLUMNS];
        for (column, length) in columns.iter_mut().zip(lengths) {
            *column = Reader::new(reader.take(length)?);
        }
        reader.finish()?;
        let [
            topics,
            extents,
            kinds,
            lengths,
            counts,
            times,
            producers,
            sequences,
        ] = columns;
        Ok(Self {
            facts,
            batches,
            topics,
            extents,
            kinds,
            lengths,
            counts,
            times,
            producers,
            sequences,
            topic: TopicId::ZERO,
            extents_of_topic: 0,
            batches_of_extent: 0,
            last_partition: -1,
            last_log_start: 0,
            end_bytes: 0,
            log_end: 0,
            last_time_ms: 0,
            last_producer: 0,
        })
    }

    pub(in crate::state) const fn facts(&self) -> &CommitFacts {
        &self.facts
    }

    /// Batches of all extents, at most as many as the row has bytes.
    pub(in crate::state) const fn batch_count(&self) -> usize {
        self.batches
    }

    /// The next extent; `None` at the end, where nothing may be left over.
    pub(in crate::state) fn next_extent(&mut self) -> Result<Option<ExtentRow>, RowError> {
        if self.batches_of_extent > 0 {
            return Err(RowError::OutOfRange);
        }
        while self.extents_of_topic == 0 {
            if self.topics.is_empty() {
                self.expect_end()?;
                return Ok(None);
            }
            self.topic = TopicId::from_bytes(self.topics.array()?);
            self.extents_of_topic = self.topics.count_in(&self.extents)?;
            self.last_partition = -1;
            self.last_log_start = 0;
        }
        self.extents_of_topic -= 1;
        let skipped = self.extents.i64()?;
        let partition = skipped
            .checked_add(self.last_partition)
            .and_then(|at| at.checked_add(1))
            .and_then(|at| PartitionIndex::try_from(at).ok())
            .ok_or(RowError::OutOfRange)?;
        self.last_partition = i64::from(partition);
        self.end_bytes = self
            .end_bytes
            .wrapping_add(self.extents.i64()?.cast_unsigned());
        self.batches_of_extent = self.extents.count_in(&self.kinds)?;
        self.last_log_start = self.extents.delta(self.last_log_start)?;
        let before = Head {
            log_start: self.last_log_start,
            high_watermark: self
                .last_log_start
                .checked_add(self.extents.natural()?)
                .ok_or(RowError::OutOfRange)?,
        };
        self.log_end = before.high_watermark;
        Ok(Some(ExtentRow {
            partition: TopicPartition::new(self.topic, partition),
            position_bytes: self.end_bytes,
            batches: self.batches_of_extent,
            before,
        }))
    }

    /// The next batch of the present extent.
    pub(in crate::state) fn next_batch(&mut self) -> Result<BatchRow, RowError> {
        self.batches_of_extent = self
            .batches_of_extent
            .checked_sub(1)
            .ok_or(RowError::OutOfRange)?;
        self.batches = self.batches.checked_sub(1).ok_or(RowError::OutOfRange)?;
        let length_bytes = self.lengths.u32()?;
        self.end_bytes = self.end_bytes.wrapping_add(u64::from(length_bytes));
        let outcome = match self.kinds.u8()? {
            kind @ (KIND_PLAIN | KIND_CONTINUES | KIND_BEGINS) => Outcome::Accepted {
                count: self.counts.u32()?,
                max_timestamp_ms: self.time()?,
                producer: match kind {
                    KIND_PLAIN => None,
                    _ => Some(self.producer(kind == KIND_BEGINS)?),
                },
            },
            KIND_DUPLICATE => Outcome::Duplicate {
                base_offset: self.sequences.delta(self.log_end)?,
                max_timestamp_ms: self.time()?,
            },
            kind => Outcome::Rejected(rejection_of(kind)?),
        };
        Ok(BatchRow {
            length_bytes,
            outcome,
        })
    }

    fn time(&mut self) -> Result<TimestampMs, RowError> {
        self.last_time_ms = self.times.delta(self.last_time_ms)?;
        Ok(self.last_time_ms)
    }

    fn producer(&mut self, begins: bool) -> Result<ProducerRow, RowError> {
        self.last_producer = self.producers.delta(self.last_producer)?;
        let epoch = self.producers.i64()?;
        let base_sequence = self.sequences.u64()?;
        Ok(ProducerRow {
            id: self.last_producer,
            epoch: ProducerEpoch::try_from(epoch).map_err(|_| RowError::OutOfRange)?,
            base_sequence: Sequence::try_from(base_sequence).map_err(|_| RowError::OutOfRange)?,
            begins,
        })
    }

    fn expect_end(&self) -> Result<(), RowError> {
        if self.batches > 0 {
            return Err(RowError::Truncated);
        }
        let columns = [
            &self.extents,
            &self.kinds,
            &self.lengths,
            &self.counts,
            &self.times,
            &self.producers,
            &self.sequences,
        ];
        columns
            .into_iter()
            .try_for_each(|column| column.clone().finish())
    }
}
