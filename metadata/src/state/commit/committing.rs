//! One commit under way: extent by extent, batch by batch, by the rules.

use std::collections::VecDeque;

use floe_planted::Bug;
use floe_protocol::types::{Offset, ProducerId, TimestampMs, TopicPartition};
use floe_storage::segment::{IndexBatch, IndexExtent, SegmentId};

use super::result;
use crate::api::{BatchRejection, BatchResult, Extent};
use crate::state::StateConfig;
use crate::state::counters::Counters;
use crate::state::id_blocks::IdBlocks;
use crate::state::partitions::{PackedExtent, Partition};
use crate::state::producer::{PastBatch, ProducerState, Verdict};
use crate::state::producers::{ProducerKey, Producers, Seat};
use crate::state::rows::head::Head;
use crate::state::rows::segment::{BatchRow, ExtentRow, Outcome, ProducerRow, SegmentWriter};
use crate::state::topics::{Slot, SlotId, chunk_of};

/// Attributes of batches that only a transaction may bring: transactional, control.
const TRANSACTIONAL_OR_CONTROL: u16 = 0x30;

/// A commit under way, with the parts of the state that it changes.
pub(super) struct Committing<'a> {
    pub(super) commit: u64,
    pub(super) segment: SegmentId,
    pub(super) config: &'a StateConfig,
    pub(super) counters: &'a Counters,
    pub(super) id_blocks: &'a IdBlocks,
    pub(super) producers: &'a mut Producers,
    pub(super) unsaved_heads: &'a mut VecDeque<(u64, SlotId, u32)>,
    pub(super) writer: &'a mut SegmentWriter,
    pub(super) results: Vec<BatchResult>,
    pub(super) extents: Vec<(TopicPartition, Extent)>,
}

/// Where a batch belongs.
#[derive(Clone, Copy)]
struct Home {
    slot: SlotId,
    partition: TopicPartition,
    created_ms: TimestampMs,
    /// Whether producer states of the topic may be in rows.
    has_producer_rows: bool,
}

impl Committing<'_> {
    /// The next extent, with the slot of its topic if there is such a topic.
    pub(super) fn extent(&mut self, slot: Option<(SlotId, &mut Slot)>, extent: &IndexExtent) {
        let index = extent.partition.partition;
        let Some((slot_id, slot)) = slot.filter(|(_, slot)| slot.partition(index).is_some()) else {
            self.unknown(extent);
            return;
        };
        let created_ms = slot.topic.created_ms;
        let home = Home {
            slot: slot_id,
            partition: extent.partition,
            created_ms,
            has_producer_rows: slot.has_producer_rows,
        };
        let Some(partition) = slot.partition_mut(index) else {
            return;
        };
        if self.known(home, partition, extent) && slot.mark_unsaved(chunk_of(index), self.commit) {
            self.unsaved_heads
                .push_back((self.commit, slot_id, chunk_of(index)));
        }
    }

    /// Batches for a partition that does not exist.
    fn unknown(&mut self, extent: &IndexExtent) {
        self.begin(extent, Head::default());
        for batch in &extent.batches {
            let outcome = Outcome::Rejected(BatchRejection::UnknownTopicOrPartition);
            self.end(batch, &outcome, Head::default());
        }
    }

    fn begin(&mut self, extent: &IndexExtent, before: Head) {
        self.writer.extent(&ExtentRow {
            partition: extent.partition,
            position_bytes: extent.position_bytes,
            batches: extent.batches.len(),
            before,
        });
    }

    fn end(&mut self, batch: &IndexBatch, outcome: &Outcome, before: Head) {
        self.writer.batch(&BatchRow {
            length_bytes: batch.length_bytes,
            outcome: *outcome,
        });
        self.results
            .push(result(outcome, before.high_watermark, before.log_start));
    }

    /// Batches for a partition that exists. `true` if its head moved.
    fn known(&mut self, home: Home, partition: &mut Partition, extent: &IndexExtent) -> bool {
        let before = partition.head;
        self.begin(extent, before);
        let mut position_bytes = extent.position_bytes;
        let mut run: Option<PackedExtent> = None;
        for batch in &extent.batches {
            let head = partition.head;
            let outcome = self.decide(home, head.high_watermark, batch);
            self.end(batch, &outcome, head);
            if let Outcome::Accepted {
                count,
                max_timestamp_ms,
                ..
            } = outcome
            {
                let next = PackedExtent {
                    commit: self.commit,
                    position_bytes,
                    base_offset: head.high_watermark,
                    max_timestamp_ms,
                    length_bytes: batch.length_bytes,
                    count,
                };
                partition.head.high_watermark = next.end_offset();
                if !run.as_mut().is_some_and(|run| run.extend(&next)) {
                    self.end_run(run.replace(next), home.partition, partition);
                }
            }
            position_bytes = position_bytes.saturating_add(u64::from(batch.length_bytes));
        }
        self.end_run(run, home.partition, partition);
        partition.head != before
    }

    fn end_run(
        &mut self,
        run: Option<PackedExtent>,
        whose: TopicPartition,
        partition: &mut Partition,
    ) {
        let Some(run) = run else { return };
        partition.push(run);
        self.extents.push((whose, run.unpack(self.segment, 0)));
    }

    /// What becomes of a batch that would get the offsets from `next_offset` on.
    fn decide(&mut self, home: Home, next_offset: Offset, batch: &IndexBatch) -> Outcome {
        if batch.record_count == 0 {
            return Outcome::Rejected(BatchRejection::Empty);
        }
        if batch.attributes & TRANSACTIONAL_OR_CONTROL != 0 {
            return Outcome::Rejected(BatchRejection::InvalidTxnState);
        }
        let count = batch.record_count;
        let max_timestamp_ms = batch.max_timestamp_ms;
        let has_room = next_offset.checked_add(i64::from(count)).is_some();
        if batch.producer_id >= 0 {
            return self.decide_idempotent(home, next_offset, has_room, batch);
        }
        if has_room {
            Outcome::Accepted {
                count,
                max_timestamp_ms,
                producer: None,
            }
        } else {
            Outcome::Rejected(BatchRejection::OffsetsExhausted)
        }
    }

    fn decide_idempotent(
        &mut self,
        home: Home,
        next_offset: Offset,
        has_room: bool,
        batch: &IndexBatch,
    ) -> Outcome {
        let IndexBatch {
            producer_id: id,
            producer_epoch: epoch,
            base_sequence,
            ..
        } = *batch;
        let key = ProducerKey {
            id,
            slot: home.slot,
            partition: home.partition.partition,
        };
        let seat = self.producers.find(&key);
        let begins = match self.judge(home, seat, batch) {
            Verdict::Continues => false,
            Verdict::Begins => true,
            Verdict::Refused(rejection) => {
                if Bug::SequenceBeforeBatch.is_planted()
                    && rejection == BatchRejection::OutOfOrderSequence
                    && let Some(seat) = seat
                    && let Some(resident) = self.producers.change(seat, self.commit)
                {
                    resident.state = ProducerState::begin(epoch, base_sequence);
                    let past = PastBatch::of(batch, next_offset);
                    resident.state.append(past, self.counters.now_ms);
                }
                return Outcome::Rejected(rejection);
            }
            Verdict::Duplicate(PastBatch {
                base_offset,
                max_timestamp_ms,
                ..
            }) => {
                let base_offset = if Bug::DuplicateAckedWithZero.is_planted() {
                    0
                } else {
                    base_offset
                };
                return Outcome::Duplicate {
                    base_offset,
                    max_timestamp_ms,
                };
            }
        };
        if !has_room {
            return Outcome::Rejected(BatchRejection::OffsetsExhausted);
        }
        let unknown = ProducerState::UNKNOWN;
        let seat = seat.unwrap_or_else(|| self.producers.insert(key, unknown, self.commit));
        if let Some(resident) = self.producers.change(seat, self.commit) {
            if begins {
                resident.state = ProducerState::begin(epoch, base_sequence);
            }
            let past = PastBatch::of(batch, next_offset);
            resident.state.append(past, self.counters.now_ms);
        }
        Outcome::Accepted {
            count: batch.record_count,
            max_timestamp_ms: batch.max_timestamp_ms,
            producer: Some(ProducerRow {
                id,
                epoch,
                base_sequence,
                begins,
            }),
        }
    }

    fn judge(&self, home: Home, seat: Option<Seat>, batch: &IndexBatch) -> Verdict {
        let id = batch.producer_id;
        let resident = seat.and_then(|seat| self.producers.get(seat));
        if resident.is_none() {
            let may_have_row = home.has_producer_rows && self.counters.may_have_row(id);
            assert!(!may_have_row, "missing rows were admitted");
        }
        // That an expired state is still at hand must make no difference: others are swept by now.
        let (now_ms, expiration_ms) = (self.counters.now_ms, self.config.producer_id_expiration_ms);
        let state = resident.map(|resident| &resident.state);
        let state = state.filter(|state| !state.is_expired(now_ms, expiration_ms));
        let state = state.unwrap_or(&ProducerState::UNKNOWN);
        state.judge(batch, || self.may_have_expired(home, id))
    }

    /// Whether a producer of which nothing is known in a partition can have been known there and
    /// forgotten: both the topic and the id must be older than states live.
    fn may_have_expired(&self, home: Home, id: ProducerId) -> bool {
        let issued_ms = if id < self.counters.next_producer_id {
            self.id_blocks.issued_ms(id)
        } else {
            TimestampMs::MIN
        };
        let since_ms = self
            .counters
            .now_ms
            .saturating_sub(home.created_ms.max(issued_ms));
        since_ms >= self.config.producer_id_expiration_ms
    }
}
