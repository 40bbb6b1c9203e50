//! Topics and their partitions: dense slots, found by id or by name.
//!
//! A slot's number lives as long as the process and is never used again, so that what refers to a
//! deleted topic by slot can tell. Numbers are not persisted.

use std::collections::BTreeMap;
use std::sync::Arc;

use floe_protocol::types::{PartitionIndex, TopicId, TopicPartition};
use foldhash::quality::FixedState;
use hashbrown::HashMap;

use super::partitions::Partition;
use super::rows::head::{HEADS_PER_ROW, Head};
use crate::api::Topic;

/// A slot's number.
pub(super) type SlotId = u32;

/// What is known of a row of heads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Chunk {
    /// The first commit whose changes the row lacks, 0 if it lacks none.
    unsaved_since: u64,
    is_written: bool,
}

/// One topic.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) topic: Arc<Topic>,
    /// Dense, by partition index.
    pub(super) partitions: Vec<Partition>,
    /// Per row of heads.
    chunks: Vec<Chunk>,
    /// Whether producer states of this topic may be in rows.
    pub(super) has_producer_rows: bool,
}

impl Slot {
    fn new(topic: Arc<Topic>) -> Self {
        let (partitions, chunks) = (Vec::new(), Vec::new());
        let mut slot = Self {
            topic,
            partitions,
            chunks,
            has_producer_rows: false,
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
        self.chunks
            .resize(count.div_ceil(HEADS_PER_ROW), Chunk::default());
    }

    pub(super) fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    pub(super) fn partition_mut(&mut self, index: PartitionIndex) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(index).ok()?)
    }

    fn chunk_mut(&mut self, chunk: u32) -> Option<&mut Chunk> {
        self.chunks.get_mut(usize::try_from(chunk).ok()?)
    }

    /// Marks a row of heads as lacking what `commit` changed; `true` if it lacked nothing before.
    pub(super) fn mark_unsaved(&mut self, chunk: u32, commit: u64) -> bool {
        let chunk = self
            .chunk_mut(chunk)
            .filter(|chunk| chunk.unsaved_since == 0);
        chunk.map(|chunk| chunk.unsaved_since = commit).is_some()
    }

    /// Whether a row of heads lacks changes since exactly `commit`.
    pub(super) fn is_unsaved_since(&self, chunk: u32, commit: u64) -> bool {
        let chunk = usize::try_from(chunk)
            .ok()
            .and_then(|at| self.chunks.get(at));
        chunk.is_some_and(|chunk| chunk.unsaved_since == commit)
    }

    /// The heads of a row, which lacks nothing from now on.
    pub(super) fn save(&mut self, chunk: u32) -> impl ExactSizeIterator<Item = Head> {
        if let Some(chunk) = self.chunk_mut(chunk) {
            *chunk = Chunk {
                unsaved_since: 0,
                is_written: true,
            };
        }
        let at = usize::try_from(chunk).unwrap_or(usize::MAX);
        let heads = self
            .partitions
            .chunks(HEADS_PER_ROW)
            .nth(at)
            .unwrap_or_default();
        heads.iter().map(|partition| partition.head)
    }

    /// Takes heads from their row; `false` if there cannot be such a row.
    pub(super) fn load(&mut self, chunk: u32, heads: &[Head]) -> bool {
        if let Some(chunk) = self.chunk_mut(chunk) {
            chunk.is_written = true;
        }
        let at = usize::try_from(chunk).unwrap_or(usize::MAX);
        let Some(partitions) = self.partitions.chunks_mut(HEADS_PER_ROW).nth(at) else {
            return false;
        };
        for (partition, head) in partitions.iter_mut().zip(heads) {
            *partition = Partition::new(*head);
        }
        heads.len() <= partitions.len()
    }

    /// Whether there is a row of these heads.
    pub(super) fn is_written(&self, chunk: u32) -> bool {
        let chunk = usize::try_from(chunk)
            .ok()
            .and_then(|at| self.chunks.get(at));
        chunk.is_some_and(|chunk| chunk.is_written)
    }

    /// The rows of heads that were written.
    pub(super) fn head_rows(&self) -> impl Iterator<Item = u32> {
        let numbered = (0_u32..).zip(&self.chunks);
        numbered
            .filter(|(_, chunk)| chunk.is_written)
            .map(|(number, _)| number)
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
    /// Ids that are not in use, and whether they belonged to a topic; until the group ends.
    unused: BTreeMap<TopicId, bool>,
}

impl Topics {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            by_id: HashMap::with_hasher(FixedState::with_seed(hash_seed)),
            by_name: BTreeMap::new(),
            partitions: 0,
            unused: BTreeMap::new(),
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
    pub(super) fn insert(&mut self, topic: Arc<Topic>) -> &mut Slot {
        let slot_id = SlotId::try_from(self.slots.len()).expect("fewer than 2^32 topics");
        let known = self.by_id.insert(topic.id, slot_id);
        assert!(known.is_none(), "topic id {} is taken", topic.id);
        let named = self.by_name.insert(Arc::clone(&topic.name), slot_id);
        assert!(named.is_none(), "topic name {} is taken", topic.name);
        let slot = Slot::new(topic);
        self.partitions += slot.partitions.len() as u64;
        self.unused.remove(&slot.topic.id);
        self.slots.push(None);
        let place = self.slots.last_mut().expect("just pushed");
        place.insert(Box::new(slot))
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

    /// Takes a topic out.
    pub(super) fn remove(&mut self, id: TopicId) -> Option<Box<Slot>> {
        let slot_id = self.by_id.remove(&id)?;
        let slot = self.slots.get_mut(usize::try_from(slot_id).ok()?)?.take()?;
        self.by_name.remove(&slot.topic.name);
        self.partitions -= slot.partitions.len() as u64;
        self.unused.insert(id, true);
        Some(slot)
    }

    /// Whether an id that is not in use belonged to a topic once; `None` if that is in a row.
    pub(super) fn was_used(&self, id: TopicId) -> Option<bool> {
        self.unused.get(&id).copied()
    }

    /// Learns from a row whether an id belonged to a topic once.
    pub(super) fn admit_unused(&mut self, id: TopicId, was_used: bool) {
        self.unused.entry(id).or_insert(was_used);
    }

    /// Forgets what is in rows.
    pub(super) fn forget_unused(&mut self) {
        self.unused.clear();
    }
}
