//! Questions about the state. None changes anything; all see the same moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use floe_protocol::types::{
    LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId, TopicPartition,
};

use super::State;
use super::partitions::PackedExtent;
use super::producers::RESIDENT_BYTES;
use super::topics::SlotId;
use crate::api::admin::ActiveProducer;
use crate::api::{Extent, LookUp, PartitionBounds, Snapshot, Topic};
use crate::groups::consumer::Topics;

/// Sizes of a state, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Topics that exist.
    pub topics: usize,
    /// Partitions of all topics.
    pub partitions: u64,
    /// Segments whose objects are in the store: logs lead to them, or they are dead and not forgotten.
    pub segments: u64,
    /// Those of them that are dead.
    pub dead_segments: u64,
    /// Producer states in memory.
    pub producer_states: usize,
    /// Memory they take, in bytes.
    pub producer_states_bytes: usize,
    /// Producer states in memory whose rows are behind.
    pub producer_states_unsaved: usize,
    /// Groups, of whatever kind.
    pub groups: u64,
    /// Offsets that groups have committed.
    pub committed_offsets: u64,
    /// Commits a recovery would replay.
    pub replay_commits: u64,
}

impl Topics for State {
    fn topic(&self, name: &str) -> Option<(TopicId, PartitionIndex)> {
        let topic = self.topic_by_name(name)?;
        Some((topic.id, topic.partition_count))
    }

    fn name_of(&self, id: TopicId) -> Option<Arc<str>> {
        Some(Arc::clone(&State::topic(self, id)?.name))
    }

    fn for_each(&self, each: &mut dyn FnMut(&Arc<str>, TopicId, PartitionIndex)) {
        for topic in self.topics() {
            each(&topic.name, topic.id, topic.partition_count);
        }
    }
}

impl State {
    /// A topic by its id.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.by_id(id).map(|slot| &slot.topic)
    }

    /// A topic by its name.
    #[must_use]
    pub fn topic_by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.by_name(name).map(|slot| &slot.topic)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.iter().map(|slot| &slot.topic)
    }

    /// The leader epoch of all partitions.
    #[must_use]
    pub const fn leader_epoch(&self) -> LeaderEpoch {
        self.counters.leader_epoch
    }

    /// The write epoch that new registrations are given.
    #[must_use]
    pub const fn write_epoch(&self) -> u32 {
        self.counters.write_epoch
    }

    /// The lowest write epoch that a commit may name.
    #[must_use]
    pub const fn lowest_accepted(&self) -> u32 {
        self.counters.lowest_accepted
    }

    /// Where a partition's log begins and ends; `None` if there is no such partition.
    #[must_use]
    pub fn bounds(&self, partition: TopicPartition) -> Option<PartitionBounds> {
        Some(self.topics.partition(partition)?.bounds())
    }

    /// Up to `extents_max` extents from the one that holds `offset` on, and the bounds; `None` if there
    /// is no such partition.
    #[must_use]
    pub fn look_up(
        &self,
        partition: TopicPartition,
        offset: Offset,
        extents_max: usize,
    ) -> Option<LookUp> {
        let partition = self.topics.partition(partition)?;
        let extents = partition.extents_from(offset);
        let extents = extents
            .iter()
            .take(extents_max)
            .filter_map(|it| self.unpack(it))
            .collect();
        Some(LookUp {
            bounds: partition.bounds(),
            extents,
        })
    }

    /// The first extent with a record at or after `time_ms`.
    #[must_use]
    pub fn extent_for_timestamp(
        &self,
        partition: TopicPartition,
        time_ms: TimestampMs,
    ) -> Option<Extent> {
        let extents = self.topics.partition(partition)?.extents();
        self.unpack(
            extents
                .iter()
                .find(|extent| extent.max_timestamp_ms >= time_ms)?,
        )
    }

    /// The extent with the greatest record time; the first of several.
    #[must_use]
    pub fn extent_with_max_timestamp(&self, partition: TopicPartition) -> Option<Extent> {
        let extents = self.topics.partition(partition)?.extents();
        let max = extents.iter().map(|extent| extent.max_timestamp_ms).max()?;
        self.extent_for_timestamp(partition, max)
    }

    /// Bytes of all extents that hold a record at or after the log start; `None` if there is no such partition.
    #[must_use]
    pub fn size(&self, partition: TopicPartition) -> Option<u64> {
        let extents = self.topics.partition(partition)?.extents().iter();
        Some(extents.map(|extent| u64::from(extent.length_bytes)).sum())
    }

    /// The producers of each partition whose states are in memory, by id, but for those that are expired;
    /// `None` for a partition that does not exist. One pass over all states, however many partitions.
    #[must_use]
    pub fn active_producers(
        &self,
        partitions: &[TopicPartition],
    ) -> Vec<Option<Vec<ActiveProducer>>> {
        let mut found: BTreeMap<TopicPartition, Vec<ActiveProducer>> = partitions
            .iter()
            .filter(|partition| self.topics.partition(**partition).is_some())
            .map(|partition| (*partition, Vec::new()))
            .collect();
        let slots: BTreeMap<SlotId, TopicId> = partitions
            .iter()
            .filter_map(|it| Some((self.topics.slot_id(it.topic)?, it.topic)))
            .collect();
        let (now_ms, expiration_ms) = (self.now_ms(), self.config.producer_id_expiration_ms);
        for resident in self.producers.iter() {
            let Some(topic) = slots.get(&resident.key.slot) else {
                continue;
            };
            let state = &resident.state;
            let at = TopicPartition::new(*topic, resident.key.partition);
            let last = state.batches().next_back();
            if let (Some(active), Some(last)) = (found.get_mut(&at), last)
                && !state.is_expired(now_ms, expiration_ms)
            {
                active.push(ActiveProducer {
                    id: resident.key.id,
                    epoch: state.epoch(),
                    last_sequence: state.last_sequence(),
                    last_timestamp_ms: last.max_timestamp_ms,
                });
            }
        }
        for active in found.values_mut() {
            active.sort_unstable_by_key(|producer| producer.id);
        }
        let of = |partition| found.get(partition).cloned();
        partitions.iter().map(of).collect()
    }

    fn unpack(&self, extent: &PackedExtent) -> Option<Extent> {
        let entry = self.segments.get(extent.commit)?;
        Some(extent.unpack(entry.id, entry.level))
    }

    /// The feature level of the cluster.
    #[must_use]
    pub const fn feature_level(&self) -> u32 {
        self.counters.feature_level
    }

    /// All topics, by name, and the bounds of all partitions.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let slots = || self.topics.iter();
        Snapshot {
            revision: self.counters.revision,
            topics: slots().map(|slot| Arc::clone(&slot.topic)).collect(),
            bounds: slots()
                .map(|slot| {
                    slot.partitions
                        .iter()
                        .map(|partition| partition.bounds())
                        .collect()
                })
                .collect(),
            leader_epoch: self.counters.leader_epoch,
            feature_level: self.counters.feature_level,
            write_epoch: self.counters.write_epoch,
            processes: self.processes(),
            configs: self.configs.all().collect(),
        }
    }

    /// Sizes, for metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let groups = self.groups.figures();
        Counts {
            groups: groups.groups,
            committed_offsets: groups.offsets,
            topics: self.topics.len(),
            partitions: self.topics.partition_count(),
            segments: self.segments.len(),
            dead_segments: self.segments.dead_len(),
            producer_states: self.producers.len(),
            producer_states_bytes: self.producers.len() * RESIDENT_BYTES,
            producer_states_unsaved: self.producers.unsaved_len(),
            replay_commits: self.counters.commits - self.counters.checkpoint,
        }
    }
}
