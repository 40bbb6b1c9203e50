//! The life of objects, in the plainest words: whether a commit is alive is found by looking through all logs.

use floe_protocol::types::{TimestampMs, TopicPartition};
use floe_storage::segment::SegmentId;

use super::{Log, Model};
use crate::api::Extent;
use crate::api::objects::{
    DeadObject, MergeError, MergeRequest, MergedExtent, Retention, SegmentSummary,
};

/// What became of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    Live,
    Dead(TimestampMs),
    Gone,
}

#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) segment: SegmentId,
    pub(super) level: u8,
    pub(super) size_bytes: u64,
    pub(super) committed_ms: TimestampMs,
    pub(super) standing: Standing,
}

/// What is alive of a segment.
pub(super) type Source = (u64, Vec<(TopicPartition, Extent)>);

impl Log {
    /// What is not below the log start.
    pub(super) fn live(&self) -> Vec<(u64, Extent)> {
        let is_live = |(_, extent): &&(u64, Extent)| extent.end_offset > self.start;
        self.extents.iter().filter(is_live).copied().collect()
    }
}

impl Model {
    /// Every extent that a log leads to.
    pub(super) fn live_extents(&self) -> Vec<(u64, TopicPartition, Extent)> {
        let mut live = Vec::new();
        for (id, topic) in &self.topics {
            for (index, log) in (0..).zip(&topic.logs) {
                let at = TopicPartition::new(*id, index);
                live.extend(log.live().into_iter().map(|(commit, it)| (commit, at, it)));
            }
        }
        live
    }

    /// Commits to which no log leads any more are dead.
    pub(super) fn bury(&mut self, now_ms: TimestampMs) {
        let live = self.live_extents();
        for (commit, object) in (1..).zip(&mut self.objects) {
            let is_used = live.iter().any(|(of, ..)| *of == commit);
            if object.standing == Standing::Live && !is_used {
                object.standing = Standing::Dead(now_ms);
                self.leases.remove(&commit);
            }
        }
    }

    pub(super) fn begin_merge(
        &mut self,
        now_ms: TimestampMs,
        sources: &[u64],
        lease_ms: TimestampMs,
    ) -> Option<Vec<Source>> {
        let live = self.live_extents();
        let mut found = Vec::new();
        for (number, source) in sources.iter().enumerate() {
            let of_source = live.iter().filter(|(commit, ..)| commit == source);
            let extents: Vec<_> = of_source.map(|(_, at, extent)| (*at, *extent)).collect();
            let is_leased = self.leases.get(source).is_some_and(|until| *until > now_ms);
            if extents.is_empty() || is_leased || sources[..number].contains(source) {
                return None;
            }
            found.push((*source, extents));
        }
        for source in sources {
            self.leases.insert(*source, now_ms + lease_ms);
        }
        Some(found)
    }

    pub(super) fn complete_merge(
        &mut self,
        now_ms: TimestampMs,
        request: &MergeRequest,
    ) -> Result<(), MergeError> {
        let segment = request.segment;
        let (write_epoch, lowest) = (segment.write_epoch, self.lowest);
        if write_epoch < lowest {
            return Err(MergeError::TooOld {
                write_epoch,
                lowest,
            });
        }
        if self.objects.iter().any(|object| object.segment == segment) {
            return Ok(());
        }
        let mut before: Option<&MergedExtent> = None;
        for next in &request.extents {
            let follows = before.is_none_or(|before| {
                (before.partition, before.end_offset) <= (next.partition, next.base_offset)
            });
            let offsets = next.end_offset - next.base_offset;
            let is_sound = next.base_offset >= 0 && (1..1 << 32).contains(&offsets);
            if !follows || !is_sound {
                return Err(MergeError::Malformed);
            }
            before = Some(next);
        }
        let commit = self.objects.len() as u64 + 1;
        let mut after = self.topics.clone();
        let mut replaced = 0;
        for merged in &request.extents {
            let index = usize::try_from(merged.partition.partition).unwrap();
            let topic = after.get_mut(&merged.partition.topic);
            let Some(log) = topic.and_then(|topic| topic.logs.get_mut(index)) else {
                continue;
            };
            if merged.end_offset <= log.start {
                continue;
            }
            log.extents = log.live();
            let (base, end) = (merged.base_offset, merged.end_offset);
            let overlaps = |(_, it): &(u64, Extent)| it.base_offset < end && base < it.end_offset;
            let covered: Vec<_> = log.extents.iter().copied().filter(overlaps).collect();
            let (Some(first), Some(last)) = (covered.first(), covered.last()) else {
                return Err(MergeError::Stale);
            };
            let is_front = log.extents.first() == Some(first) && base < first.1.base_offset;
            let begins = first.1.base_offset == base || is_front;
            let are_sources = covered.iter().all(|(of, _)| request.sources.contains(of));
            if !begins || last.1.end_offset != end || !are_sources {
                return Err(MergeError::Stale);
            }
            log.extents.retain(|it| !overlaps(it));
            let extent = Extent {
                segment,
                level: request.level,
                position_bytes: merged.position_bytes,
                length_bytes: merged.length_bytes,
                base_offset: base,
                end_offset: end,
                max_timestamp_ms: merged.max_timestamp_ms,
            };
            log.extents.push((commit, extent));
            log.extents.sort_by_key(|(_, extent)| extent.base_offset);
            replaced += 1;
        }
        if replaced == 0 {
            return Err(MergeError::Stale);
        }
        self.topics = after;
        self.objects.push(Object {
            segment,
            level: request.level,
            size_bytes: request.size_bytes,
            committed_ms: now_ms,
            standing: Standing::Live,
        });
        for source in &request.sources {
            self.leases.remove(source);
        }
        Ok(())
    }

    pub(super) fn retain(&mut self, topics: &[Retention]) -> u64 {
        let mut moved = 0;
        for retention in topics {
            let Some(topic) = self.topics.get_mut(&retention.topic) else {
                continue;
            };
            for log in &mut topic.logs {
                let before = log.start;
                loop {
                    let live = log.live();
                    let Some((_, first)) = live.first() else {
                        break;
                    };
                    let lengths = live.iter().map(|(_, it)| u64::from(it.length_bytes));
                    let rest = lengths.sum::<u64>() - u64::from(first.length_bytes);
                    let is_old = retention.min_timestamp_ms;
                    let is_old = is_old.is_some_and(|min| first.max_timestamp_ms < min);
                    if !is_old && retention.bytes_max.is_none_or(|max| rest < max) {
                        break;
                    }
                    log.start = first.end_offset;
                }
                moved += u64::from(log.start > before);
            }
        }
        moved
    }

    pub(super) fn forget_objects(&mut self, commits: &[u64]) {
        for (commit, object) in (1..).zip(&mut self.objects) {
            if commits.contains(&commit) && matches!(object.standing, Standing::Dead(_)) {
                object.standing = Standing::Gone;
            }
        }
    }

    pub(super) fn summaries(&self, now_ms: TimestampMs) -> Vec<SegmentSummary> {
        let live = self.live_extents();
        let numbered = (1..).zip(&self.objects);
        let of_live = numbered.filter(|(_, object)| object.standing == Standing::Live);
        of_live
            .map(|(commit, object)| SegmentSummary {
                commit,
                segment: object.segment,
                level: object.level,
                size_bytes: object.size_bytes,
                live_extents: live.iter().filter(|(of, ..)| *of == commit).count() as u64,
                committed_ms: object.committed_ms,
                is_leased: self
                    .leases
                    .get(&commit)
                    .is_some_and(|until| *until > now_ms),
            })
            .collect()
    }

    pub(super) fn dead(&self) -> Vec<DeadObject> {
        let numbered = (1..).zip(&self.objects);
        let dead = numbered.filter_map(|(commit, object)| match object.standing {
            Standing::Dead(dead_ms) => Some(DeadObject {
                commit,
                segment: object.segment,
                level: object.level,
                size_bytes: object.size_bytes,
                dead_ms,
            }),
            Standing::Live | Standing::Gone => None,
        });
        let mut dead: Vec<_> = dead.collect();
        dead.sort_by_key(|object| (object.dead_ms, object.commit));
        dead
    }

    /// Commits whose rows must be there, given the checkpoint.
    pub(in crate::state::tests::model) fn rows(&self, checkpoint: u64) -> Vec<u64> {
        let numbered = (1..).zip(&self.objects);
        let is_kept = |(commit, object): &(u64, &Object)| {
            let is_refused = object.segment.write_epoch < self.lowest;
            object.standing != Standing::Gone || !is_refused || *commit >= checkpoint
        };
        numbered.filter(is_kept).map(|(commit, _)| commit).collect()
    }

    /// The number of the last commit.
    pub(in crate::state::tests::model) fn last_commit(&self) -> u64 {
        self.objects.len() as u64
    }

    /// What is in memory only is lost.
    pub(in crate::state::tests::model) fn crash(&mut self) {
        self.leases.clear();
    }
}
