//! Topics and their partitions: dense slots, found by id or by name.
//!
//! A slot's number lives as long as the process and is never used again, so that what refers to a
//! deleted topic by slot can tell. Numbers are not persisted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use floe_protocol::types::{PartitionIndex, TimestampMs, TopicId, TopicPartition};
use foldhash::quality::FixedState;
use hashbrown::HashMap;

use super::partitions::Partition;
use super::rows::head::{HEADS_PER_ROW, Head};
use crate::api::Topic;

/// A slot's number.
pub(super) type SlotId = u32;

/// One topic.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) topic: Arc<Topic>,
    /// Dense, by partition index.
    pub(super) partitions: Vec<Partition>,
    /// Per row of heads the first commit whose changes it lacks, 0 if it lacks none.
    unsaved: Vec<u64>,
}

impl Slot {
    fn new(topic: Arc<Topic>) -> Self {
        let mut slot = Self {
            topic,
            partitions: Vec::new(),
            unsaved: Vec::new(),
        };
        slot.grow();
        slot
    }

    /// Makes as many partitions as the topic says.
    fn grow(&mut self) {
        let count = usize::try_from(self.topic.partition_count).unwrap_or_default();
        self.partitions
            .reserve_exact(count.saturating_sub(self.partitions.len()));
        self.partitions.resize_with(count, Partition::default);
        self.unsaved.resize(count.div_ceil(HEADS_PER_ROW), 0);
    }

    pub(super) fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    pub(super) fn partition_mut(&mut self, index: PartitionIndex) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(index).ok()?)
    }

    /// Marks a row of heads as lacking what `commit` changed; `true` if it lacked nothing before.
    pub(super) fn mark_unsaved(&mut self, chunk: u32, commit: u64) -> bool {
        match usize::try_from(chunk)
            .ok()
            .and_then(|at| self.unsaved.get_mut(at))
        {
            Some(since) if *since == 0 => {
                *since = commit;
                true
            }
            _ => false,
        }
    }

    /// Whether a row of heads lacks changes since exactly `commit`.
    pub(super) fn is_unsaved_since(&self, chunk: u32, commit: u64) -> bool {
        usize::try_from(chunk)
            .ok()
            .and_then(|at| self.unsaved.get(at))
            == Some(&commit)
    }

    /// The heads of a row, which lacks nothing from now on.
    pub(super) fn save(&mut self, chunk: u32) -> impl ExactSizeIterator<Item = Head> {
        let at = usize::try_from(chunk).unwrap_or(usize::MAX);
        if let Some(since) = self.unsaved.get_mut(at) {
            *since = 0;
        }
        let heads = self
            .partitions
            .chunks(HEADS_PER_ROW)
            .nth(at)
            .unwrap_or_default();
        heads.iter().map(|partition| partition.head)
    }

    /// Takes heads from their row; `false` if there cannot be such a row.
    pub(super) fn load(&mut self, chunk: u32, heads: &[Head]) -> bool {
        let at = usize::try_from(chunk).unwrap_or(usize::MAX);
        let Some(partitions) = self.partitions.chunks_mut(HEADS_PER_ROW).nth(at) else {
            return false;
        };
        for (partition, head) in partitions.iter_mut().zip(heads) {
            *partition = Partition::new(*head);
        }
        heads.len() <= partitions.len()
    }

    /// Rows that its heads take.
    pub(super) fn chunks(&self) -> u32 {
        u32::try_from(self.unsaved.len()).unwrap_or(u32::MAX)
    }
}

/// The row of heads that holds a partition.
pub(super) fn chunk_of(index: PartitionIndex) -> u32 {
    const SHIFT: u32 = HEADS_PER_ROW.trailing_zeros();
    index.cast_unsigned() >> SHIFT
}

/// All topics.
#[derive(Debug)]
pub(super) struct Topics {
    slots: Vec<Option<Box<Slot>>>,
    by_id: HashMap<TopicId, SlotId, FixedState>,
    by_name: BTreeMap<Arc<str>, SlotId>,
    partitions: u64,
    deleted: BTreeMap<TopicId, TimestampMs>,
    /// The deleted ones, oldest first.
    deletions: VecDeque<(TimestampMs, TopicId)>,
}

impl Topics {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            by_id: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            by_name: BTreeMap::new(),
            partitions: 0,
            deleted: BTreeMap::new(),
            deletions: VecDeque::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Partitions of all topics.
    pub(super) const fn partition_count(&self) -> u64 {
        self.partitions
    }

    pub(super) fn slot_id(&self, id: TopicId) -> Option<SlotId> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn slot(&self, slot: SlotId) -> Option<&Slot> {
        self.slots.get(usize::try_from(slot).ok()?)?.as_deref()
    }

    pub(super) fn slot_mut(&mut self, slot: SlotId) -> Option<&mut Slot> {
        self.slots
            .get_mut(usize::try_from(slot).ok()?)?
            .as_deref_mut()
    }

    pub(super) fn by_id(&self, id: TopicId) -> Option<&Slot> {
        self.slot(self.slot_id(id)?)
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Slot> {
        self.slot(*self.by_name.get(name)?)
    }

    pub(super) fn partition(&self, partition: TopicPartition) -> Option<&Partition> {
        self.by_id(partition.topic)?.partition(partition.partition)
    }

    /// All topics, by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.by_name.values().filter_map(|slot| self.slot(*slot))
    }

    /// Adds a topic whose id and name are free.
    pub(super) fn insert(&mut self, topic: Arc<Topic>) {
        let slot_id = SlotId::try_from(self.slots.len()).expect("fewer than 2^32 topics");
        let known = self.by_id.insert(topic.id, slot_id);
        assert!(known.is_none(), "topic id {} is taken", topic.id);
        let named = self.by_name.insert(Arc::clone(&topic.name), slot_id);
        assert!(named.is_none(), "topic name {} is taken", topic.name);
        let slot = Slot::new(topic);
        self.partitions += slot.partitions.len() as u64;
        self.slots.push(Some(Box::new(slot)));
    }

    /// Replaces a topic by another version of it with no fewer partitions.
    pub(super) fn update(&mut self, topic: Arc<Topic>) {
        let slot = self.slot_id(topic.id).and_then(|slot| self.slot_mut(slot));
        let slot = slot.expect("the topic exists");
        let before = slot.partitions.len();
        slot.topic = topic;
        slot.grow();
        let grown = slot.partitions.len() - before;
        self.partitions += grown as u64;
    }

    /// Takes a topic out and remembers its id.
    pub(super) fn remove(&mut self, id: TopicId, now_ms: TimestampMs) -> Option<Box<Slot>> {
        let slot_id = self.by_id.remove(&id)?;
        let slot = self.slots.get_mut(usize::try_from(slot_id).ok()?)?.take()?;
        self.by_name.remove(&slot.topic.name);
        self.partitions -= slot.partitions.len() as u64;
        self.insert_deleted(id, now_ms);
        Some(slot)
    }

    pub(super) fn insert_deleted(&mut self, id: TopicId, deleted_ms: TimestampMs) {
        self.deleted.insert(id, deleted_ms);
        self.deletions.push_back((deleted_ms, id));
    }

    /// Brings deletions that were inserted by id into the order of their times.
    pub(super) fn sort_deleted(&mut self) {
        self.deletions.make_contiguous().sort_unstable();
    }

    pub(super) fn is_deleted(&self, id: TopicId) -> bool {
        self.deleted.contains_key(&id)
    }

    /// Forgets one topic that was deleted before `before_ms`.
    pub(super) fn forget_deleted(&mut self, before_ms: TimestampMs) -> Option<TopicId> {
        let (_, id) = self
            .deletions
            .pop_front_if(|(at_ms, _)| *at_ms < before_ms)?;
        self.deleted.remove(&id);
        Some(id)
    }

    /// Topics deleted lately, by id.
    pub(super) fn deleted(&self) -> impl Iterator<Item = (&TopicId, &TimestampMs)> {
        self.deleted.iter()
    }
}
