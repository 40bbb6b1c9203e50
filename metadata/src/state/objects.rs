//! The life of objects after their commit: which are live, which are dead, how much of a log is kept (decision 20).

use floe_protocol::types::{Offset, TimestampMs, TopicPartition};
use floe_storage::segment::SegmentId;

use super::State;
use super::segments::{SegmentEntry, Standing};
use super::topics::{SlotId, chunk_of};
use super::write_set::WriteSet;
use crate::api::WatchEvent;
use crate::api::objects::{DeadObject, Retention, SegmentSummary, WriteEpochs};

impl State {
    /// All live segments of levels below `below_level`, by commit.
    #[must_use]
    pub fn segment_summaries(&self, below_level: u8) -> Vec<SegmentSummary> {
        let entries = self.segments.entries();
        let wanted = entries.filter(|(_, it)| it.live_extents() > 0 && it.level < below_level);
        wanted
            .map(|(commit, entry)| self.summary(commit, entry))
            .collect()
    }

    pub(super) fn summary(&self, commit: u64, entry: &SegmentEntry) -> SegmentSummary {
        SegmentSummary {
            commit,
            segment: entry.id,
            level: entry.level,
            size_bytes: entry.size_bytes,
            live_extents: entry.live_extents(),
            committed_ms: entry.committed_ms,
            is_leased: self.segments.is_leased(commit, self.counters.now_ms),
        }
    }

    /// Objects that have been dead for at least `min_age_ms` of cluster time, the longest first, at most
    /// `objects_max`.
    #[must_use]
    pub fn dead_objects(&self, min_age_ms: TimestampMs, objects_max: usize) -> Vec<DeadObject> {
        let latest_ms = self.counters.now_ms.saturating_sub(min_age_ms);
        let dead = self.segments.dead().take_while(|it| it.0 <= latest_ms);
        dead.take(objects_max)
            .map(|(dead_ms, commit, entry)| DeadObject {
                commit,
                segment: entry.id,
                level: entry.level,
                size_bytes: entry.size_bytes,
                dead_ms,
            })
            .collect()
    }

    /// Whether each of `segments` is known: live, or dead and not yet forgotten.
    #[must_use]
    pub fn are_known(&self, segments: &[SegmentId]) -> Vec<bool> {
        let is_known = |id: &SegmentId| {
            let found = self.segments.find(*id);
            found.is_some_and(|(_, entry)| entry.standing != Standing::Gone)
        };
        segments.iter().map(is_known).collect()
    }

    /// Write epochs as they are.
    #[must_use]
    pub const fn write_epochs(&self) -> WriteEpochs {
        WriteEpochs {
            present: self.counters.write_epoch,
            lowest_accepted: self.counters.lowest_accepted,
        }
    }

    pub(super) fn forget_objects(&mut self, commits: &[u64], writes: &mut WriteSet) {
        let lowest = self.counters.lowest_accepted;
        for commit in commits {
            self.segments.forget(*commit, lowest, writes);
        }
    }

    /// Moves log starts up to what is to be kept; returns how many moved.
    pub(super) fn retain(&mut self, topics: &[Retention], writes: &mut WriteSet) -> u64 {
        let mut dropped = Vec::new();
        let mut moved = 0;
        for retention in topics {
            let Some(slot_id) = self.topics.slot_id(retention.topic) else {
                continue;
            };
            let count = self
                .topics
                .slot(slot_id)
                .map_or(0, |slot| slot.partitions.len());
            for index in (0..).take(count) {
                let at = TopicPartition::new(retention.topic, index);
                let slot = self.topics.slot(slot_id);
                let partition = slot.and_then(|slot| slot.partition(index));
                let segments = &self.segments;
                let committed_ms = |commit| {
                    let entry = segments.get(commit);
                    entry.map_or(TimestampMs::MAX, |entry| entry.committed_ms)
                };
                let to = partition.map(|it| it.retained_from(retention, committed_ms));
                if to
                    .is_some_and(|to| self.move_log_start_of(slot_id, at, to, &mut dropped, writes))
                {
                    moved += 1;
                }
            }
        }
        self.release(&dropped, writes);
        moved
    }

    /// Moves one log start up; `true` if it moved. The commits of the extents that go are added to `dropped`,
    /// for [`Self::release`].
    pub(super) fn move_log_start_of(
        &mut self,
        slot_id: SlotId,
        at: TopicPartition,
        to: Offset,
        dropped: &mut Vec<u64>,
        writes: &mut WriteSet,
    ) -> bool {
        let slot = self.topics.slot_mut(slot_id);
        let Some(partition) = slot.and_then(|slot| slot.partition_mut(at.partition)) else {
            return false;
        };
        if !partition.move_log_start(to, dropped) {
            return false;
        }
        let log_start = partition.head.log_start;
        self.moved_heads.insert((slot_id, chunk_of(at.partition)));
        writes.events.push(WatchEvent::LogStartMoved {
            partition: at,
            log_start,
        });
        true
    }

    /// Extents are gone: one of each of these commits. Those that have none left are dead from now on.
    pub(super) fn release(&mut self, commits: &[u64], writes: &mut WriteSet) {
        for commit in commits {
            if self.segments.release(*commit) {
                self.segments.bury(*commit, self.counters.now_ms, writes);
            }
        }
    }

    /// A commit is made: so many extents lead to it.
    pub(super) fn hold(&mut self, commit: u64, extents: usize, writes: &mut WriteSet) {
        if extents > 0 {
            self.segments.hold(commit, extents as u64);
        } else {
            self.segments.bury(commit, self.counters.now_ms, writes);
        }
    }
}
