//! Topics, bounds and the newest extents, as watch events draw them. Plain data without locks.
//!
//! ```text
//! partition   log_start ……………………… first resident ┌ extent │ extent │ extent ┐ high_watermark
//!             └── look-ups through the client ──────┘└─ answered from here ────┘
//! ```
//!
//! A partition's resident extents have no hole and end at its high watermark. All partitions share
//! one bound; past it the extent that has been resident longest goes, which is the oldest of its
//! partition. So goes what has been resident for [`RESIDENT_SECONDS`], since the object it lies in may have
//! been replaced by another, of which nobody tells.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use floe_protocol::types::{LeaderEpoch, Offset, TopicId, TopicPartition};

use super::followed::LastLook;
use crate::api::admin::{ConfigKind, ConfigValues, NamedConfigs};
use crate::api::{CommittedSegment, Extent, PartitionBounds, Process, Snapshot, Topic, WatchEvent};

/// How long an extent is resident at most. Replaced objects are kept for 15 minutes, so none that a resident
/// extent names is ever missing; and what is older is looked up, where fewer and larger objects hold it.
pub(super) const RESIDENT_SECONDS: u32 = 300;

/// What the picture knows of the records from some offset on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tail {
    /// The extents that follow the offset, in order; none at the high watermark and beyond.
    Extents(Vec<Extent>, PartitionBounds),
    /// The offset lies before what is resident, or below the log start: look it up.
    Older(PartitionBounds),
    /// The picture has no such partition.
    UnknownPartition,
}

#[derive(Debug)]
pub(super) struct Picture {
    topics: BTreeMap<TopicId, TopicPicture>,
    by_name: BTreeMap<Arc<str>, TopicId>,
    leader_epoch: LeaderEpoch,
    feature_level: u32,
    write_epoch: u32,
    processes: Arc<[Process]>,
    configs: BTreeMap<ConfigKind, BTreeMap<Arc<str>, Arc<ConfigValues>>>,
    /// Whose extents are resident, longest resident first; an entry may outlive its topic.
    resident: VecDeque<TopicPartition>,
    resident_max: usize,
    /// How many of `resident` came in which second, oldest first: an extent of its own has no time.
    came: VecDeque<Came>,
    /// The second that it is.
    second: u32,
}

/// Extents that came in one second.
#[derive(Clone, Copy, Debug)]
struct Came {
    second: u32,
    extents: usize,
}

#[derive(Debug)]
struct TopicPicture {
    topic: Arc<Topic>,
    partitions: Vec<PartitionPicture>,
}

#[derive(Debug, Default)]
struct PartitionPicture {
    bounds: PartitionBounds,
    /// Most of a million partitions have none.
    #[expect(
        clippy::box_collection,
        reason = "8 bytes instead of 32 where there is none"
    )]
    extents: Option<Box<VecDeque<Extent>>>,
    last_look: LastLook,
}

impl Picture {
    pub(super) fn new(resident_max: usize) -> Self {
        Self {
            topics: BTreeMap::new(),
            by_name: BTreeMap::new(),
            leader_epoch: 0,
            feature_level: 1,
            write_epoch: 0,
            processes: Arc::default(),
            configs: BTreeMap::new(),
            resident: VecDeque::new(),
            resident_max,
            came: VecDeque::new(),
            second: 0,
        }
    }

    pub(super) fn topic(&self, id: TopicId) -> Option<Arc<Topic>> {
        self.topics
            .get(&id)
            .map(|picture| Arc::clone(&picture.topic))
    }

    pub(super) fn topic_by_name(&self, name: &str) -> Option<Arc<Topic>> {
        self.by_name.get(name).and_then(|id| self.topic(*id))
    }

    pub(super) fn topics(&self) -> Vec<Arc<Topic>> {
        self.by_name
            .values()
            .filter_map(|id| self.topic(*id))
            .collect()
    }

    pub(super) fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    pub(super) fn feature_level(&self) -> u32 {
        self.feature_level
    }

    pub(super) fn write_epoch(&self) -> u32 {
        self.write_epoch
    }

    pub(super) fn processes(&self) -> Arc<[Process]> {
        Arc::clone(&self.processes)
    }

    pub(super) fn configs(&self, kind: ConfigKind, name: &str) -> Option<Arc<ConfigValues>> {
        self.configs.get(&kind)?.get(name).map(Arc::clone)
    }

    pub(super) fn all_configs(&self, kind: ConfigKind) -> Vec<(Arc<str>, Arc<ConfigValues>)> {
        let all = self.configs.get(&kind).into_iter().flatten();
        all.map(|(name, values)| (Arc::clone(name), Arc::clone(values)))
            .collect()
    }

    fn set_configs(&mut self, configs: &NamedConfigs) {
        let NamedConfigs { kind, name, values } = configs;
        let of_kind = self.configs.entry(*kind).or_default();
        if values.is_empty() {
            of_kind.remove(name);
        } else {
            of_kind.insert(Arc::clone(name), Arc::clone(values));
        }
    }

    pub(super) fn bounds(&self, partition: TopicPartition) -> Option<PartitionBounds> {
        self.partition(partition).map(|picture| picture.bounds)
    }

    /// Hands the last look at `partition` to `note`, if there is such a partition.
    pub(super) fn look(&self, partition: TopicPartition, note: impl FnOnce(&LastLook)) {
        self.last_look(partition).map(note);
    }

    /// When somebody last looked at `partition`.
    pub(super) fn last_look(&self, partition: TopicPartition) -> Option<&LastLook> {
        self.partition(partition).map(|picture| &picture.last_look)
    }

    pub(super) fn tail(&self, partition: TopicPartition, from: Offset, max_bytes: u64) -> Tail {
        let Some(picture) = self.partition(partition) else {
            return Tail::UnknownPartition;
        };
        let bounds = picture.bounds;
        if from >= bounds.high_watermark {
            return Tail::Extents(Vec::new(), bounds);
        }
        let Some(extents) = picture.extents.as_deref() else {
            return Tail::Older(bounds);
        };
        let resident = extents
            .front()
            .is_some_and(|first| from >= first.base_offset);
        if !resident || from < bounds.log_start {
            return Tail::Older(bounds);
        }
        let first = extents.partition_point(|extent| extent.end_offset <= from);
        let mut bytes = 0_u64;
        let chosen = extents.range(first..).take_while(|extent| {
            let admitted = bytes == 0 || bytes < max_bytes;
            bytes = bytes.saturating_add(u64::from(extent.length_bytes));
            admitted
        });
        Tail::Extents(chosen.copied().collect(), bounds)
    }

    /// Takes over a snapshot. Resident extents go: what replaced them meanwhile is not known.
    ///
    /// # Panics
    /// When the snapshot takes back a high watermark or log start: the history was rewritten.
    pub(super) fn replace(&mut self, snapshot: &Snapshot) {
        let mut topics = BTreeMap::new();
        self.by_name.clear();
        for (topic, bounds) in snapshot.topics.iter().zip(&snapshot.bounds) {
            let partitions = bounds.iter().map(|bounds| PartitionPicture {
                bounds: *bounds,
                ..PartitionPicture::default()
            });
            let mut picture = TopicPicture {
                topic: Arc::clone(topic),
                partitions: partitions.collect(),
            };
            if let Some(before) = self.topics.get_mut(&topic.id) {
                picture.assert_not_behind(before);
                picture.take_looks(before);
            }
            self.by_name.insert(Arc::clone(&topic.name), topic.id);
            topics.insert(topic.id, picture);
        }
        self.topics = topics;
        self.leader_epoch = self.leader_epoch.max(snapshot.leader_epoch);
        self.feature_level = self.feature_level.max(snapshot.feature_level);
        self.write_epoch = self.write_epoch.max(snapshot.write_epoch);
        self.processes = Arc::clone(&snapshot.processes);
        self.configs.clear();
        for configs in &snapshot.configs {
            self.set_configs(configs);
        }
        self.resident.clear();
        self.came.clear();
    }

    /// It is `second` now, on a clock of the caller's: lets go of what has been resident for too long.
    pub(super) fn pass_to(&mut self, second: u32) {
        self.second = self.second.max(second);
        while let Some(oldest) = self.came.front()
            && self.second.saturating_sub(oldest.second) >= RESIDENT_SECONDS
        {
            self.let_go();
        }
    }

    /// Lets go of the extent that has been resident longest.
    fn let_go(&mut self) {
        if let Some(oldest) = self.came.front_mut() {
            oldest.extents = oldest.extents.saturating_sub(1);
            if oldest.extents == 0 {
                self.came.pop_front();
            }
        }
        if let Some(partition) = self.resident.pop_front()
            && let Some(picture) = self.partition_mut(partition)
        {
            picture.pop();
        }
    }

    fn note_resident(&mut self, partition: TopicPartition) {
        self.resident.push_back(partition);
        match self.came.back_mut() {
            Some(newest) if newest.second == self.second => newest.extents += 1,
            _ => self.came.push_back(Came {
                second: self.second,
                extents: 1,
            }),
        }
    }

    /// Applies one event; returns the partitions whose waiters must look again.
    pub(super) fn apply(&mut self, event: &WatchEvent) -> Vec<TopicPartition> {
        match event {
            WatchEvent::Committed(segment) => self.commit(segment),
            WatchEvent::Advanced(ends) => self.advance(ends),
            WatchEvent::TopicChanged(topic) => {
                self.change_topic(topic);
                Vec::new()
            }
            WatchEvent::TopicDeleted(id) => self.delete_topic(*id),
            WatchEvent::LogStartMoved {
                partition,
                log_start,
            } => {
                let Some(picture) = self.partition_mut(*partition) else {
                    return Vec::new();
                };
                picture.bounds.log_start = picture.bounds.log_start.max(*log_start);
                vec![*partition]
            }
            WatchEvent::LeaderEpochRaised(epoch) => {
                self.leader_epoch = self.leader_epoch.max(*epoch);
                Vec::new()
            }
            WatchEvent::FeatureLevelRaised(level) => {
                self.feature_level = self.feature_level.max(*level);
                Vec::new()
            }
            WatchEvent::WriteEpochRaised(epoch) => {
                self.write_epoch = self.write_epoch.max(*epoch);
                Vec::new()
            }
            WatchEvent::ConfigsChanged(configs) => {
                self.set_configs(configs);
                Vec::new()
            }
            WatchEvent::ProcessesChanged(processes) => {
                self.processes = Arc::clone(processes);
                Vec::new()
            }
        }
    }

    fn commit(&mut self, segment: &CommittedSegment) -> Vec<TopicPartition> {
        let mut touched = Vec::with_capacity(segment.extents.len());
        for (partition, extent) in &segment.extents {
            let Some(picture) = self.partition_mut(*partition) else {
                continue;
            };
            picture.push(*extent);
            if touched.last() != Some(partition) {
                touched.push(*partition);
            }
            self.note_resident(*partition);
        }
        while self.resident.len() > self.resident_max {
            self.let_go();
        }
        touched
    }

    fn advance(&mut self, ends: &[(TopicPartition, Offset)]) -> Vec<TopicPartition> {
        for (partition, end) in ends {
            if let Some(picture) = self.partition_mut(*partition) {
                picture.advance(*end);
            }
        }
        ends.iter().map(|(partition, _)| *partition).collect()
    }

    fn change_topic(&mut self, topic: &Arc<Topic>) {
        let count = usize::try_from(topic.partition_count).unwrap_or(0);
        let picture = self.topics.entry(topic.id).or_insert_with(|| TopicPicture {
            topic: Arc::clone(topic),
            partitions: Vec::new(),
        });
        picture.topic = Arc::clone(topic);
        if picture.partitions.len() < count {
            picture
                .partitions
                .resize_with(count, PartitionPicture::default);
        }
        self.by_name.insert(Arc::clone(&topic.name), topic.id);
    }

    fn delete_topic(&mut self, id: TopicId) -> Vec<TopicPartition> {
        let Some(picture) = self.topics.remove(&id) else {
            return Vec::new();
        };
        // A topic of the same name may have been created since.
        if self.by_name.get(&picture.topic.name) == Some(&id) {
            self.by_name.remove(&picture.topic.name);
        }
        (0..picture.topic.partition_count)
            .map(|index| TopicPartition::new(id, index))
            .collect()
    }

    fn partition(&self, partition: TopicPartition) -> Option<&PartitionPicture> {
        let index = usize::try_from(partition.partition).ok()?;
        self.topics.get(&partition.topic)?.partitions.get(index)
    }

    fn partition_mut(&mut self, partition: TopicPartition) -> Option<&mut PartitionPicture> {
        let index = usize::try_from(partition.partition).ok()?;
        self.topics
            .get_mut(&partition.topic)?
            .partitions
            .get_mut(index)
    }
}

impl TopicPicture {
    /// Goes on following what was followed.
    fn take_looks(&mut self, before: &mut Self) {
        for (now, before) in self.partitions.iter_mut().zip(&mut before.partitions) {
            now.last_look = std::mem::take(&mut before.last_look);
        }
    }

    fn assert_not_behind(&self, before: &Self) {
        for (now, before) in self.partitions.iter().zip(&before.partitions) {
            assert!(
                now.bounds.high_watermark >= before.bounds.high_watermark
                    && now.bounds.log_start >= before.bounds.log_start,
                "bounds of topic {} went back from {:?} to {:?}",
                self.topic.id,
                before.bounds,
                now.bounds
            );
        }
    }
}

impl PartitionPicture {
    /// # Panics
    /// When the high watermark does not rise: an event was lost or came twice.
    fn advance(&mut self, end: Offset) {
        assert!(
            end > self.bounds.high_watermark,
            "offset {end} does not follow the high watermark {}",
            self.bounds.high_watermark
        );
        if self.bounds.last_stable == self.bounds.high_watermark {
            self.bounds.last_stable = end;
        }
        self.bounds.high_watermark = end;
        // Where these records are was not told: nothing may be resident before a hole.
        self.extents = None;
    }

    /// # Panics
    /// When the extent does not follow the high watermark: an event was lost or came twice.
    fn push(&mut self, extent: Extent) {
        assert!(
            extent.base_offset == self.bounds.high_watermark
                && extent.end_offset > extent.base_offset,
            "extent {extent:?} does not follow the high watermark {}",
            self.bounds.high_watermark
        );
        if self.bounds.last_stable == self.bounds.high_watermark {
            self.bounds.last_stable = extent.end_offset;
        }
        self.bounds.high_watermark = extent.end_offset;
        self.extents.get_or_insert_default().push_back(extent);
    }

    fn pop(&mut self) {
        if let Some(extents) = &mut self.extents {
            extents.pop_front();
            if extents.is_empty() {
                self.extents = None;
            }
        }
    }
}

#[cfg(test)]
mod tests;
