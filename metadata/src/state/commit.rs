//! Commits: a segment's batches get their offsets, each by the rules, all in one step.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use floe_protocol::types::{Offset, ProducerId, TimestampMs, TopicPartition};
use floe_storage::segment::{IndexBatch, IndexExtent, SegmentId};

use super::counters::Counters;
use super::id_blocks::IdBlocks;
use super::partitions::{PackedExtent, Partition};
use super::producer::{PastBatch, ProducerState, Verdict};
use super::producers::{ProducerKey, Producers, Seat};
use super::rows::RowKey;
use super::rows::head::Head;
use super::rows::segment::{
    BatchRow, CommitFacts, ExtentRow, Outcome, ProducerRow, SegmentReader, SegmentWriter,
};
use super::topics::{Slot, SlotId, chunk_of};
use super::write_set::WriteSet;
use super::{RowError, State, StateConfig};
use crate::api::{
    BatchRejection, BatchResult, CommitError, CommitReply, CommitRequest, CommittedSegment, Extent,
    WatchEvent,
};

/// Attributes of batches that only a transaction may bring: transactional, control.
const TRANSACTIONAL_OR_CONTROL: u16 = 0x30;

impl State {
    pub(super) fn commit(
        &mut self,
        request: &CommitRequest,
        writes: &mut WriteSet,
    ) -> Result<CommitReply, CommitError> {
        let segment = request.segment;
        let lowest = self.counters.lowest_accepted;
        if segment.write_epoch < lowest {
            return Err(CommitError::TooOld {
                write_epoch: segment.write_epoch,
                lowest,
            });
        }
        if let Some(commit) = self.segments.commit_of(segment) {
            let row = self
                .segments
                .recent(commit)
                .expect("missing rows were admitted");
            return Ok(reply_of(row).expect("the row was checked when it was admitted"));
        }
        let incarnation = segment.incarnation;
        let is_registered = (1..=self.counters.incarnations).contains(&incarnation)
            && segment.write_epoch <= self.counters.write_epoch;
        if !is_registered {
            return Err(CommitError::NotRegistered(incarnation));
        }
        Ok(self.commit_new(request, writes))
    }

    fn commit_new(&mut self, request: &CommitRequest, writes: &mut WriteSet) -> CommitReply {
        let batches = request.index.batch_count();
        let commit = self.segments.push(request.segment, batches, true);
        self.counters.commits = commit;
        let mut committing = Committing {
            commit,
            segment: request.segment,
            config: &self.config,
            counters: &self.counters,
            id_blocks: &self.id_blocks,
            producers: &mut self.producers,
            unsaved_heads: &mut self.unsaved_heads,
            writer: &mut self.writer,
            results: Vec::with_capacity(batches),
            extents: Vec::with_capacity(request.index.extents.len()),
        };
        let (mut topic, mut slot_id) = (None, None);
        for extent in &request.index.extents {
            if topic != Some(extent.partition.topic) {
                topic = Some(extent.partition.topic);
                slot_id = self.topics.slot_id(extent.partition.topic);
            }
            let slot = slot_id.and_then(|id| Some((id, self.topics.slot_mut(id)?)));
            committing.extent(slot, extent);
        }
        let Committing {
            results, extents, ..
        } = committing;
        let facts = CommitFacts {
            segment: request.segment,
            size_bytes: request.size_bytes,
            time_ms: self.counters.now_ms,
            revision: self.counters.revision,
        };
        let row = Bytes::from(self.writer.finish(&facts));
        writes.put(RowKey::segment(commit), row.clone());
        self.segments.remember(commit, row);
        if !extents.is_empty() {
            let committed = CommittedSegment {
                segment: request.segment,
                extents,
            };
            writes
                .events
                .push(WatchEvent::Committed(Arc::new(committed)));
        }
        CommitReply {
            results,
            revision: facts.revision,
        }
    }
}

/// The reply that was given when the row was written.
pub(super) fn reply_of(row: &[u8]) -> Result<CommitReply, RowError> {
    let mut reader = SegmentReader::open(row)?;
    let mut results = Vec::with_capacity(reader.batch_count());
    while let Some(extent) = reader.next_extent()? {
        let log_start = extent.before.log_start;
        let mut next_offset = extent.before.high_watermark;
        for _ in 0..extent.batches {
            let outcome = reader.next_batch()?.outcome;
            results.push(result(&outcome, next_offset, log_start));
            if let Outcome::Accepted { count, .. } = outcome {
                next_offset = next_offset
                    .checked_add(i64::from(count))
                    .ok_or(RowError::OutOfRange)?;
            }
        }
    }
    Ok(CommitReply {
        results,
        revision: reader.facts().revision,
    })
}

const fn result(outcome: &Outcome, next_offset: Offset, log_start: Offset) -> BatchResult {
    match *outcome {
        Outcome::Accepted { .. } => BatchResult::Committed {
            base_offset: next_offset,
            log_start,
        },
        Outcome::Duplicate {
            base_offset,
            max_timestamp_ms,
        } => BatchResult::Duplicate {
            base_offset,
            max_timestamp_ms,
            log_start,
        },
        Outcome::Rejected(rejection) => BatchResult::Rejected(rejection),
    }
}

/// A commit under way, with the parts of the state that it changes.
struct Committing<'a> {
    commit: u64,
    segment: SegmentId,
    config: &'a StateConfig,
    counters: &'a Counters,
    id_blocks: &'a IdBlocks,
    producers: &'a mut Producers,
    unsaved_heads: &'a mut VecDeque<(u64, SlotId, u32)>,
    writer: &'a mut SegmentWriter,
    results: Vec<BatchResult>,
    extents: Vec<(TopicPartition, Extent)>,
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
    fn extent(&mut self, slot: Option<(SlotId, &mut Slot)>, extent: &IndexExtent) {
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
        self.extents.push((whose, run.unpack(self.segment)));
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
            Verdict::Refused(rejection) => return Outcome::Rejected(rejection),
            Verdict::Duplicate(PastBatch {
                base_offset,
                max_timestamp_ms,
                ..
            }) => {
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
        let seat = seat.unwrap_or_else(|| self.producers.insert(key, unknown, false));
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
        let Some(resident) = seat.and_then(|seat| self.producers.get(seat)) else {
            let may_have_row = home.has_producer_rows && self.counters.may_have_row(id);
            assert!(!may_have_row, "missing rows were admitted");
            return ProducerState::UNKNOWN.judge(batch, || self.may_have_expired(home, id));
        };
        let expiration_ms = self.config.producer_id_expiration_ms;
        if resident.state.is_unknown() {
            resident
                .state
                .judge(batch, || self.may_have_expired(home, id))
        } else if resident
            .state
            .is_expired(self.counters.now_ms, expiration_ms)
        {
            ProducerState::UNKNOWN.judge(batch, || true)
        } else {
            resident.state.judge(batch, || false)
        }
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
