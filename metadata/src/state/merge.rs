//! Merging: extents of several segments are replaced by those of a new one, all in one step (decision 20).
//!
//! A completed merge is a commit with a number of its own. Its row comes after those of its sources, and of two
//! rows that cover an offset the later one holds: so the rows alone say what is where, whichever of them are
//! removed later. It changes no head and no producer.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;
use floe_protocol::types::{Offset, TimestampMs, TopicPartition};

use super::partitions::PackedExtent;
use super::rows::RowKey;
use super::rows::segment::{CommitFacts, Outcome, SegmentRow, merged};
use super::topics::SlotId;
use super::write_set::WriteSet;
use super::{RowError, State};
use crate::api::Revision;
use crate::api::objects::{MergeError, MergeRequest, MergeSource, MergedExtent};

/// Segments merged at once: their rows are in memory together.
pub(super) const SOURCES_MAX: usize = 1024;

/// No lease lasts longer, whatever is asked for: who holds it may be gone.
const LEASE_MS_MAX: TimestampMs = 60 * 60 * 1000;

/// What a segment's row covers, live or not.
type Covered = Vec<(TopicPartition, Range<Offset>)>;

impl State {
    pub(super) fn begin_merge(
        &mut self,
        sources: &[u64],
        lease_ms: TimestampMs,
    ) -> Option<Vec<MergeSource>> {
        if sources.len() > SOURCES_MAX {
            return None;
        }
        let is_each_once = sources.iter().collect::<BTreeSet<_>>().len() == sources.len();
        let now_ms = self.counters.now_ms;
        let is_free =
            |commit: &u64| self.can_be_merged(*commit) && !self.segments.is_leased(*commit, now_ms);
        if !is_each_once || !sources.iter().all(is_free) {
            return None;
        }
        let until_ms = now_ms.saturating_add(lease_ms.clamp(0, LEASE_MS_MAX));
        self.segments.lease(sources, now_ms, until_ms);
        let found = sources.iter().map(|commit| self.merge_source(*commit));
        found.collect()
    }

    /// Whether a segment is alive, and there is a level above its own.
    fn can_be_merged(&self, commit: u64) -> bool {
        let entry = self.segments.get(commit);
        entry.is_some_and(|entry| entry.live_extents() > 0 && entry.level < u8::MAX)
    }

    /// The rows that beginning a merge needs.
    pub(super) fn missing_for_merge(&self, sources: &[u64]) -> Vec<RowKey> {
        if sources.len() > SOURCES_MAX {
            return Vec::new();
        }
        let is_missing =
            |commit: &u64| self.can_be_merged(*commit) && self.segments.recent(*commit).is_none();
        let missing: BTreeSet<u64> = sources.iter().copied().filter(is_missing).collect();
        missing.into_iter().map(RowKey::segment).collect()
    }

    /// What is alive of a live segment, whose row is at hand.
    fn merge_source(&self, commit: u64) -> Option<MergeSource> {
        let entry = self.segments.get(commit)?;
        let row = self.segments.recent(commit);
        let row = row.expect("missing rows were admitted");
        let covered = covered(row).expect("the row was checked when it was admitted");
        let mut extents = Vec::new();
        for (at, offsets) in covered {
            let Some(partition) = self.topics.partition(at) else {
                continue;
            };
            let from = partition.extents_from(offsets.start).iter();
            let within = from.take_while(|extent| extent.base_offset < offsets.end);
            let live = within.filter(|extent| extent.commit == commit);
            extents.extend(live.map(|extent| (at, extent.unpack(entry.id, entry.level))));
        }
        extents.sort_unstable_by_key(|(at, extent)| (*at, extent.base_offset));
        Some(MergeSource {
            summary: self.summary(commit, entry),
            extents,
        })
    }

    pub(super) fn complete_merge(
        &mut self,
        request: &MergeRequest,
        writes: &mut WriteSet,
    ) -> Result<Revision, MergeError> {
        let segment = request.segment;
        let lowest = self.counters.lowest_accepted;
        if segment.write_epoch < lowest {
            return Err(MergeError::TooOld {
                write_epoch: segment.write_epoch,
                lowest,
            });
        }
        if let Some((_, entry)) = self.segments.find(segment) {
            // A name that was committed with batches is no merge's.
            let is_merged = entry.level > 0;
            return is_merged
                .then_some(self.counters.revision)
                .ok_or(MergeError::Malformed);
        }
        if !self.is_registered(segment) {
            return Err(MergeError::NotRegistered(segment.incarnation));
        }
        if !is_well_formed(request) {
            return Err(MergeError::Malformed);
        }
        let replaced = self.replaced_by(request)?;
        self.replace(request, &replaced, writes);
        Ok(self.counters.revision)
    }

    /// The extents that replace others, with the slots of their topics: all but those of logs that are gone, or
    /// start later by now.
    fn replaced_by<'a>(
        &self,
        request: &'a MergeRequest,
    ) -> Result<Vec<(SlotId, &'a MergedExtent)>, MergeError> {
        let sources: BTreeSet<u64> = request.sources.iter().copied().collect();
        let mut replaced = Vec::new();
        for extent in &request.extents {
            let TopicPartition { topic, partition } = extent.partition;
            let slot_id = self.topics.slot_id(topic);
            let slot = slot_id.and_then(|id| Some((id, self.topics.slot(id)?)));
            let Some((slot_id, partition)) =
                slot.and_then(|(id, slot)| Some((id, slot.partition(partition)?)))
            else {
                continue;
            };
            if extent.end_offset <= partition.head.log_start {
                continue;
            }
            if !partition.is_made_of(extent, |commit| sources.contains(&commit)) {
                return Err(MergeError::Stale);
            }
            replaced.push((slot_id, extent));
        }
        if replaced.is_empty() {
            return Err(MergeError::Stale);
        }
        Ok(replaced)
    }

    fn replace(
        &mut self,
        request: &MergeRequest,
        replaced: &[(SlotId, &MergedExtent)],
        writes: &mut WriteSet,
    ) {
        let commit = self.counters.commits + 1;
        self.counters.commits = commit;
        let facts = CommitFacts {
            segment: request.segment,
            size_bytes: request.size_bytes,
            time_ms: self.counters.now_ms,
            revision: self.counters.revision,
        };
        let mut dropped = Vec::new();
        for (slot_id, extent) in replaced {
            let slot = self.topics.slot_mut(*slot_id);
            let partition = slot.and_then(|slot| slot.partition_mut(extent.partition.partition));
            let packed = PackedExtent::merged(commit, extent);
            let is_done = partition
                .zip(packed)
                .is_some_and(|(partition, packed)| partition.replace(packed, &mut dropped));
            assert!(is_done, "what a merge replaces was checked before");
        }
        let extents = replaced.iter().map(|(_, extent)| *extent);
        let row = Bytes::from(merged::encode(&facts, request.level, extents));
        writes.put(RowKey::segment(commit), row.clone());
        self.segments.push(commit, &facts, request.level, 0);
        self.segments.remember(commit, row);
        self.hold(commit, replaced.len(), writes);
        self.release(&dropped, writes);
        for source in &request.sources {
            self.segments.end_lease(*source);
        }
    }
}

/// Whether a merge says what it may say, whatever is there.
fn is_well_formed(request: &MergeRequest) -> bool {
    let extents = request.extents.iter();
    let before = std::iter::once(None).chain(extents.clone().map(Some));
    let mut pairs = before.zip(extents);
    request.level > 0
        && request.sources.len() <= SOURCES_MAX
        && pairs.all(|(before, next)| {
            merged::may_follow(before, next) && merged::is_sound(next, request.size_bytes)
        })
}

/// What a row says that its segment covers.
fn covered(row: &[u8]) -> Result<Covered, RowError> {
    let mut covered = Vec::new();
    match SegmentRow::open(row)? {
        SegmentRow::Committed(mut reader) => {
            while let Some(extent) = reader.next_extent()? {
                let base_offset = extent.before.high_watermark;
                let mut end_offset = base_offset;
                for _ in 0..extent.batches {
                    if let Outcome::Accepted { count, .. } = reader.next_batch()?.outcome {
                        end_offset = end_offset.saturating_add(i64::from(count));
                    }
                }
                if end_offset > base_offset {
                    covered.push((extent.partition, base_offset..end_offset));
                }
            }
        }
        SegmentRow::Merged(mut reader) => {
            while let Some(extent) = reader.next_extent()? {
                covered.push((extent.partition, extent.base_offset..extent.end_offset));
            }
        }
    }
    Ok(covered)
}
