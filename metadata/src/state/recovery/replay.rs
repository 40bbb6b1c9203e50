//! Takes the rows of segments into a state that is being recovered, commit by commit.

use floe_planted::Bug;
use floe_protocol::types::TopicPartition;

use crate::state::State;
use crate::state::codec::RowError;
use crate::state::partitions::PackedExtent;
use crate::state::producer::{PastBatch, ProducerState};
use crate::state::producers::ProducerKey;
use crate::state::rows::segment::{
    BatchRow, CommitFacts, ExtentRow, MergedReader, Outcome, ProducerRow, SegmentReader,
};
use crate::state::topics::{SlotId, chunk_of};

/// One segment's row on its way into the state.
pub(super) struct Replay<'a> {
    state: &'a mut State,
    commit: u64,
    facts: CommitFacts,
    is_replayed: bool,
    /// Extents that lead to it, so far.
    live: u64,
}

impl<'a> Replay<'a> {
    /// A row of a commit that is known; `is_replayed` if the rows of heads and producers may lack it.
    pub(super) const fn new(
        state: &'a mut State,
        commit: u64,
        facts: CommitFacts,
        is_replayed: bool,
    ) -> Self {
        Self {
            state,
            commit,
            facts,
            is_replayed,
            live: 0,
        }
    }

    /// Adds the runs of accepted batches. `false` if the row contradicts what is known.
    pub(super) fn committed(&mut self, mut reader: SegmentReader<'_>) -> Result<bool, RowError> {
        while let Some(extent) = reader.next_extent()? {
            let mut batches = Vec::with_capacity(extent.batches);
            for _ in 0..extent.batches {
                batches.push(reader.next_batch()?);
            }
            if !self.extent(&extent, &batches) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts merged extents in the place of what they cover. `false` if the row contradicts what is known.
    pub(super) fn merged(&mut self, mut reader: MergedReader<'_>) -> Result<bool, RowError> {
        let mut dropped = Vec::new();
        while let Some(extent) = reader.next_extent()? {
            let packed = PackedExtent::merged(self.commit, &extent).ok_or(RowError::OutOfRange)?;
            let TopicPartition { topic, partition } = extent.partition;
            let topics = &mut self.state.topics;
            let slot = topics.slot_id(topic).and_then(|slot| topics.slot_mut(slot));
            let Some(slot) = slot else { continue };
            let Some(partition) = slot.partition_mut(partition) else {
                return Ok(false);
            };
            if extent.end_offset > partition.head.high_watermark {
                return Ok(false);
            }
            if extent.end_offset > partition.head.log_start {
                if !partition.replace(packed, &mut dropped) {
                    return Ok(false);
                }
                self.live += 1;
            }
        }
        for commit in dropped {
            self.state.segments.release(commit);
        }
        Ok(true)
    }

    /// The row was taken in to its end.
    pub(super) fn end(self) {
        self.state.segments.hold(self.commit, self.live);
    }

    /// `false` if the row contradicts what is known of the partition.
    fn extent(&mut self, extent: &ExtentRow, batches: &[BatchRow]) -> bool {
        let Some(slot) = self.state.topics.slot_id(extent.partition.topic) else {
            return true;
        };
        let mut position_bytes = extent.position_bytes;
        let mut next_offset = extent.before.high_watermark;
        let mut run: Option<PackedExtent> = None;
        for batch in batches {
            if let Outcome::Accepted {
                count,
                max_timestamp_ms,
                producer,
            } = batch.outcome
            {
                let next = PackedExtent {
                    commit: self.commit,
                    position_bytes,
                    base_offset: next_offset,
                    max_timestamp_ms,
                    length_bytes: batch.length_bytes,
                    count,
                };
                let Some(end) = next_offset.checked_add(i64::from(count)) else {
                    return false;
                };
                next_offset = end;
                let is_skipped = Bug::LatestCommitNotReplayed.is_planted()
                    && self.commit == self.state.counters.commits;
                if let Some(producer) = producer.filter(|_| self.is_replayed && !is_skipped) {
                    self.producer(slot, extent.partition, &next, producer);
                }
                if !run.as_mut().is_some_and(|run| run.extend(&next))
                    && !self.end_run(run.replace(next), slot, extent.partition)
                {
                    return false;
                }
            }
            position_bytes = position_bytes.saturating_add(u64::from(batch.length_bytes));
        }
        self.end_run(run, slot, extent.partition)
    }

    fn end_run(
        &mut self,
        run: Option<PackedExtent>,
        slot_id: SlotId,
        whose: TopicPartition,
    ) -> bool {
        let Some(run) = run else { return true };
        let Some(slot) = self.state.topics.slot_mut(slot_id) else {
            return false;
        };
        let Some(partition) = slot.partition_mut(whose.partition) else {
            return false;
        };
        let end = run.end_offset();
        if end > partition.head.high_watermark {
            if !self.is_replayed || run.base_offset != partition.head.high_watermark {
                return false;
            }
            partition.head.high_watermark = end;
        }
        if end > partition.head.log_start {
            partition.push(run);
            self.live += 1;
        }
        let chunk = chunk_of(whose.partition);
        if self.is_replayed && slot.mark_unsaved(chunk, self.commit) {
            self.state
                .unsaved_heads
                .push_back((self.commit, slot_id, chunk));
        }
        true
    }

    fn producer(
        &mut self,
        slot: SlotId,
        whose: TopicPartition,
        batch: &PackedExtent,
        producer: ProducerRow,
    ) {
        let key = ProducerKey {
            id: producer.id,
            slot,
            partition: whose.partition,
        };
        let begin = || ProducerState::begin(producer.epoch, producer.base_sequence);
        let producers = &mut self.state.producers;
        let known = producers.find(&key);
        let seat = known.unwrap_or_else(|| producers.insert(key, begin(), self.commit));
        if let Some(resident) = producers.change(seat, self.commit) {
            resident.partial |= known.is_none();
            if producer.begins {
                resident.state = begin();
                resident.partial = false;
            }
            let past = PastBatch {
                base_offset: batch.base_offset,
                max_timestamp_ms: batch.max_timestamp_ms,
                count: batch.count,
            };
            resident.state.append(past, self.facts.time_ms);
            resident.partial &= !resident.state.is_full();
        }
    }
}
