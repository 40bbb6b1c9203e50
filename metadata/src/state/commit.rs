//! Commits: a segment's batches get their offsets, each by the rules, all in one step.

mod committing;

use std::sync::Arc;

use bytes::Bytes;
use floe_planted::Bug;
use floe_protocol::types::Offset;
use floe_storage::segment::SegmentId;

use super::rows::RowKey;
use super::rows::segment::{CommitFacts, Outcome, SegmentReader};
use super::write_set::WriteSet;
use super::{RowError, State};
use crate::api::{
    BatchResult, CommitError, CommitReply, CommitRequest, CommittedSegment, WatchEvent,
};
use committing::Committing;

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
        let known = self.segments.find(segment);
        if let Some((commit, entry)) = known.filter(|_| !Bug::RepeatedCommitApplied.is_planted()) {
            if entry.level > 0 {
                // A name that was given to a merge: whoever uses it twice needs names of its own.
                return Err(CommitError::NotRegistered(segment.incarnation));
            }
            let row = self
                .segments
                .recent(commit)
                .expect("missing rows were admitted");
            return Ok(reply_of(row).expect("the row was checked when it was admitted"));
        }
        if !self.is_registered(segment) {
            return Err(CommitError::NotRegistered(segment.incarnation));
        }
        Ok(self.commit_new(request, writes))
    }

    /// Whether a segment's name can have been given.
    pub(super) fn is_registered(&self, segment: SegmentId) -> bool {
        (1..=self.counters.incarnations).contains(&segment.incarnation)
            && segment.write_epoch <= self.counters.write_epoch
    }

    fn commit_new(&mut self, request: &CommitRequest, writes: &mut WriteSet) -> CommitReply {
        let batches = request.index.batch_count();
        let facts = CommitFacts {
            segment: request.segment,
            size_bytes: request.size_bytes,
            time_ms: self.counters.now_ms,
            revision: self.counters.revision,
        };
        let commit = self.counters.commits + 1;
        self.segments.push(commit, &facts, 0, batches);
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
        let row = Bytes::from(self.writer.finish(&facts));
        writes.put(RowKey::segment(commit), row.clone());
        self.segments.remember(commit, row);
        self.hold(commit, extents.len(), writes);
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
