//! Writes a segment's row while its commit is applied; its buffers are kept from commit to commit.

use floe_protocol::types::{ProducerId, TimestampMs, TopicId};

use super::{
    BatchRow, COLUMNS, Column, CommitFacts, ExtentRow, KIND_BEGINS, KIND_CONTINUES, KIND_DUPLICATE,
    KIND_PLAIN, Outcome, VERSION, kind_of, write_facts,
};
use crate::state::codec::{put_delta, put_i64, put_len, put_u32, put_u64};

/// Takes extents and their batches in order.
#[derive(Debug, Default)]
pub(in crate::state) struct SegmentWriter {
    columns: [Vec<u8>; COLUMNS],
    batches: usize,
    topic: Option<TopicId>,
    extents_of_topic: usize,
    last_partition: i32,
    last_log_start: i64,
    /// Where the next extent lies if nothing is between.
    end_bytes: u64,
    /// Where the log of the present extent's partition ended before it.
    log_end: i64,
    last_time_ms: TimestampMs,
    last_producer: ProducerId,
}

impl SegmentWriter {
    fn column(&mut self, column: Column) -> &mut Vec<u8> {
        let [
            topics,
            extents,
            kinds,
            lengths,
            counts,
            times,
            producers,
            sequences,
        ] = &mut self.columns;
        match column {
            Column::Topics => topics,
            Column::Extents => extents,
            Column::Kinds => kinds,
            Column::Lengths => lengths,
            Column::Counts => counts,
            Column::Times => times,
            Column::Producers => producers,
            Column::Sequences => sequences,
        }
    }

    /// The next extent; its batches follow.
    pub(in crate::state) fn extent(&mut self, extent: &ExtentRow) {
        let topic = extent.partition.topic;
        if self.topic != Some(topic) {
            self.end_topic();
            self.topic = Some(topic);
            self.last_partition = -1;
            self.last_log_start = 0;
            self.column(Column::Topics)
                .extend_from_slice(topic.as_bytes());
        }
        self.extents_of_topic += 1;
        let partition = i64::from(extent.partition.partition);
        let skipped = partition - i64::from(self.last_partition) - 1;
        let gap = extent
            .position_bytes
            .wrapping_sub(self.end_bytes)
            .cast_signed();
        let (before, last_log_start) = (extent.before, self.last_log_start);
        let column = self.column(Column::Extents);
        put_i64(column, skipped);
        put_i64(column, gap);
        put_len(column, extent.batches);
        put_delta(column, before.log_start, last_log_start);
        put_u64(
            column,
            before
                .high_watermark
                .wrapping_sub(before.log_start)
                .cast_unsigned(),
        );
        self.last_partition = extent.partition.partition;
        self.last_log_start = before.log_start;
        self.end_bytes = extent.position_bytes;
        self.log_end = before.high_watermark;
    }

    /// The next batch of the present extent.
    pub(in crate::state) fn batch(&mut self, batch: &BatchRow) {
        self.batches += 1;
        self.end_bytes = self.end_bytes.wrapping_add(u64::from(batch.length_bytes));
        put_u32(self.column(Column::Lengths), batch.length_bytes);
        let kind = match batch.outcome {
            Outcome::Accepted {
                count,
                max_timestamp_ms,
                producer,
            } => {
                put_u32(self.column(Column::Counts), count);
                self.time(max_timestamp_ms);
                match producer {
                    None => KIND_PLAIN,
                    Some(producer) => {
                        let last = std::mem::replace(&mut self.last_producer, producer.id);
                        let column = self.column(Column::Producers);
                        put_delta(column, producer.id, last);
                        put_i64(column, i64::from(producer.epoch));
                        let sequence = i64::from(producer.base_sequence).cast_unsigned();
                        put_u64(self.column(Column::Sequences), sequence);
                        if producer.begins {
                            KIND_BEGINS
                        } else {
                            KIND_CONTINUES
                        }
                    }
                }
            }
            Outcome::Duplicate {
                base_offset,
                max_timestamp_ms,
            } => {
                let log_end = self.log_end;
                put_delta(self.column(Column::Sequences), base_offset, log_end);
                self.time(max_timestamp_ms);
                KIND_DUPLICATE
            }
            Outcome::Rejected(rejection) => kind_of(rejection),
        };
        self.column(Column::Kinds).push(kind);
    }

    fn time(&mut self, time_ms: TimestampMs) {
        let last = std::mem::replace(&mut self.last_time_ms, time_ms);
        put_delta(self.column(Column::Times), time_ms, last);
    }

    fn end_topic(&mut self) {
        if self.topic.is_some() {
            let extents = std::mem::take(&mut self.extents_of_topic);
            put_len(self.column(Column::Topics), extents);
        }
    }

    /// The row; the writer is empty again.
    pub(in crate::state) fn finish(&mut self, facts: &CommitFacts) -> Vec<u8> {
        self.end_topic();
        let bytes: usize = self.columns.iter().map(Vec::len).sum();
        let mut out = Vec::with_capacity(bytes + 80);
        out.push(VERSION);
        write_facts(facts, &mut out);
        put_len(&mut out, self.batches);
        for column in &self.columns {
            put_len(&mut out, column.len());
        }
        for column in &mut self.columns {
            out.append(column);
        }
        let columns = std::mem::take(&mut self.columns);
        *self = Self {
            columns,
            ..Self::default()
        };
        out
    }
}
