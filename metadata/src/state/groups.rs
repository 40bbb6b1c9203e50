//! Groups as they are kept, and the offsets they have committed. Who may do what in a group is decided before,
//! by [`groups`](crate::groups); here is what has to outlive the owner.
//!
//! A group has a number of its own, never used again, since its name may be longer than a key can be. An offset
//! lives as long as its group and its topic, unless it expires: offsets of a group without members as long as
//! nobody came for [`offsets_retention_ms`](super::StateConfig::offsets_retention_ms), those of a group that never
//! had members each by its own age, and those of topics that a group of consumers no longer reads as well.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::ops::Bound;
use std::sync::Arc;

use floe_planted::Bug;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::types::{PartitionIndex, TimestampMs, TopicId, TopicPartition};

use super::State;
use super::command::Reply;
use super::rows::RowKey;
use super::rows::group::{GroupFigures, GroupRow, OffsetRow};
use super::write_set::WriteSet;
use crate::api::groups::{CommittedOffset, FetchedOffset, OffsetCommit, TopicRef};
use crate::groups::Saved;

/// Offsets that one command lets expire; the rest is for the next one.
const EXPIRED_MAX: usize = 10_000;

/// A group's number.
pub(super) type GroupNumber = u64;

/// All groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_name: BTreeMap<Arc<str>, GroupNumber>,
    groups: BTreeMap<GroupNumber, Kept>,
    figures: GroupFigures,
    /// The figures as they were sealed last.
    sealed: GroupFigures,
}

#[derive(Debug)]
struct Kept {
    row: GroupRow,
    /// The topics its members read, if that is known.
    subscribed: Option<BTreeSet<String>>,
    offsets: BTreeMap<TopicPartition, OffsetRow>,
}

impl Kept {
    fn new(row: GroupRow) -> Self {
        Self {
            subscribed: row.saved.subscribed(),
            row,
            offsets: BTreeMap::new(),
        }
    }
}

impl Groups {
    pub(super) fn hash(&self, hasher: &mut impl Hasher) {
        self.figures.hash(hasher);
        for (number, kept) in &self.groups {
            (number, &kept.row, &kept.offsets).hash(hasher);
        }
    }

    pub(super) const fn figures(&self) -> GroupFigures {
        self.figures
    }

    /// Takes the figures from their row.
    pub(super) fn load_figures(&mut self, figures: GroupFigures) {
        (self.figures.next_number, self.sealed) = (figures.next_number, figures);
    }

    /// Takes a group from its row; `false` if there is one of this number or name.
    pub(super) fn load(&mut self, number: GroupNumber, row: GroupRow) -> bool {
        let named = self.by_name.insert(Arc::clone(&row.name), number);
        let known = self.groups.insert(number, Kept::new(row));
        self.figures.groups += 1;
        named.is_none() && known.is_none() && number < self.figures.next_number
    }

    /// Takes an offset from its row; `false` if there is no such group.
    pub(super) fn load_offset(
        &mut self,
        number: GroupNumber,
        partition: TopicPartition,
        row: OffsetRow,
    ) -> bool {
        self.figures.offsets += 1;
        let group = self.groups.get_mut(&number);
        group.is_some_and(|group| group.offsets.insert(partition, row).is_none())
    }

    /// Whether there are as many rows as there were.
    pub(super) fn is_complete(&self) -> bool {
        self.figures == self.sealed
    }

    /// Adds the figures to a batch, if they have changed since the last one.
    pub(super) fn seal(&mut self, writes: &mut WriteSet) {
        if self.figures != self.sealed {
            self.sealed = self.figures;
            writes.put(RowKey::group_figures(), self.figures.encode());
        }
    }

    fn number(&self, name: &str) -> Option<GroupNumber> {
        self.by_name.get(name).copied()
    }

    fn by_name(&self, name: &str) -> Option<&Kept> {
        self.groups.get(&self.number(name)?)
    }

    /// The group of this name, made if there is none.
    fn make(&mut self, name: &Arc<str>, writes: &mut WriteSet) -> (GroupNumber, &mut Kept) {
        let number = self.number(name).unwrap_or_else(|| {
            let number = self.figures.next_number;
            self.figures.next_number += 1;
            self.figures.groups += 1;
            self.by_name.insert(Arc::clone(name), number);
            let row = GroupRow {
                name: Arc::clone(name),
                emptied_ms: None,
                saved: Arc::default(),
            };
            writes.put(RowKey::group(number), row.encode());
            self.groups.insert(number, Kept::new(row));
            number
        });
        let kept = self.groups.get_mut(&number).expect("named groups exist");
        (number, kept)
    }

    fn remove(&mut self, number: GroupNumber, writes: &mut WriteSet) -> Option<Arc<str>> {
        let kept = self.groups.remove(&number)?;
        self.by_name.remove(&kept.row.name);
        self.figures.groups -= 1;
        self.figures.offsets -= kept.offsets.len() as u64;
        writes.delete(RowKey::group(number));
        for partition in kept.offsets.keys() {
            writes.delete(RowKey::offset(number, *partition));
        }
        Some(kept.row.name)
    }

    fn remove_offset(
        &mut self,
        number: GroupNumber,
        partition: TopicPartition,
        writes: &mut WriteSet,
    ) {
        let group = self.groups.get_mut(&number);
        if group.is_some_and(|group| group.offsets.remove(&partition).is_some()) {
            self.figures.offsets -= 1;
            writes.delete(RowKey::offset(number, partition));
        }
    }

    /// Forgets all offsets of a topic.
    pub(super) fn forget_topic(&mut self, topic: TopicId, writes: &mut WriteSet) {
        let of_topic = TopicPartition::new(topic, PartitionIndex::MIN)
            ..=TopicPartition::new(topic, PartitionIndex::MAX);
        let concerned: Vec<_> = self
            .groups
            .iter()
            .flat_map(|(number, kept)| {
                let offsets = kept.offsets.range(of_topic.clone());
                offsets.map(move |(partition, _)| (*number, *partition))
            })
            .collect();
        for (number, partition) in concerned {
            self.remove_offset(number, partition, writes);
        }
    }
}

impl State {
    pub(super) fn save_group(
        &mut self,
        name: &Arc<str>,
        saved: Arc<Saved>,
        writes: &mut WriteSet,
    ) -> Reply {
        let now_ms = self.counters.now_ms;
        let (number, kept) = self.groups.make(name, writes);
        kept.row.emptied_ms = saved.is_empty().then_some(now_ms);
        kept.subscribed = saved.subscribed();
        kept.row.saved = saved;
        writes.put(RowKey::group(number), kept.row.encode());
        Reply::GroupSaved
    }

    pub(super) fn commit_offsets(
        &mut self,
        name: &Arc<str>,
        offsets: Vec<OffsetCommit>,
        writes: &mut WriteSet,
    ) -> Reply {
        let committed_ms = self.counters.now_ms;
        let resolved: Vec<_> = offsets
            .into_iter()
            .map(|commit| {
                let partition = self.partition_of(&commit.topic, commit.partition);
                partition.map(|partition| (partition, commit.committed))
            })
            .collect();
        let code = |resolved: &Result<_, ErrorCode>| resolved.as_ref().err().copied();
        let codes = resolved.iter().map(code);
        let codes = codes.map(|code| code.unwrap_or(ErrorCode::None)).collect();
        for (partition, committed) in resolved.into_iter().flatten() {
            let (number, kept) = self.groups.make(name, writes);
            let row = OffsetRow {
                committed,
                committed_ms,
            };
            if !Bug::OffsetNotWritten.is_planted() {
                writes.put(RowKey::offset(number, partition), row.encode());
            }
            if kept.offsets.insert(partition, row).is_none() {
                self.groups.figures.offsets += 1;
            }
        }
        Reply::Codes(codes)
    }

    pub(super) fn delete_offsets(
        &mut self,
        name: &str,
        partitions: &[(String, PartitionIndex)],
        writes: &mut WriteSet,
    ) -> Reply {
        let codes = partitions.iter().map(|(topic, index)| {
            // Nothing stored is nothing to do; Kafka says so only of topics there are not.
            match self.partition_of(&TopicRef::Name(topic.clone()), *index) {
                Ok(partition) => {
                    if let Some(number) = self.groups.number(name) {
                        self.groups.remove_offset(number, partition, writes);
                    }
                    ErrorCode::None
                }
                Err(code) => code,
            }
        });
        Reply::Codes(codes.collect())
    }

    pub(super) fn delete_group(&mut self, name: &str, writes: &mut WriteSet) -> Reply {
        if let Some(number) = self.groups.number(name) {
            self.groups.remove(number, writes);
        }
        Reply::Codes(vec![ErrorCode::None])
    }

    pub(super) fn expire_offsets(&mut self, writes: &mut WriteSet) -> Reply {
        let expired = self.expired(self.counters.now_ms);
        let expired: Vec<_> = expired.take(EXPIRED_MAX).collect();
        for (number, partition) in expired {
            self.groups.remove_offset(number, partition, writes);
        }
        let left = self.left_over(self.counters.now_ms).collect::<Vec<_>>();
        let removed = left.into_iter();
        let removed = removed.filter_map(|number| self.groups.remove(number, writes));
        Reply::OffsetsExpired(removed.collect())
    }

    /// Whether offsets, or groups without any, have had their time at `now_ms`.
    #[must_use]
    pub fn has_expired_offsets(&self, now_ms: TimestampMs) -> bool {
        self.expired(now_ms).next().is_some() || self.left_over(now_ms).next().is_some()
    }

    /// The offsets that nobody came for in time.
    fn expired(
        &self,
        now_ms: TimestampMs,
    ) -> impl Iterator<Item = (GroupNumber, TopicPartition)> + '_ {
        let before_ms = now_ms.saturating_sub(self.config.offsets_retention_ms);
        self.groups.groups.iter().flat_map(move |(number, kept)| {
            let saved = &kept.row.saved;
            let is_expired = move |partition: &TopicPartition, offset: &OffsetRow| {
                if saved.is_empty() {
                    return kept.row.emptied_ms.unwrap_or(offset.committed_ms) <= before_ms;
                }
                // Of a group at work, what it no longer reads (KIP-211).
                saved.is_assigned()
                    && offset.committed_ms <= before_ms
                    && kept.subscribed.as_ref().is_some_and(|topics| {
                        let slot = self.topics.by_id(partition.topic);
                        slot.is_some_and(|slot| !topics.contains(&*slot.topic.name))
                    })
            };
            let offsets = kept.offsets.iter();
            offsets
                .filter(move |(partition, offset)| is_expired(partition, offset))
                .map(move |(partition, _)| (*number, *partition))
        })
    }

    /// Groups with neither members nor offsets, that were empty for as long as offsets live.
    fn left_over(&self, now_ms: TimestampMs) -> impl Iterator<Item = GroupNumber> + '_ {
        let before_ms = now_ms.saturating_sub(self.config.offsets_retention_ms);
        let is_left_over = move |kept: &Kept| {
            kept.offsets.is_empty()
                && kept.row.saved.is_empty()
                && kept
                    .row
                    .emptied_ms
                    .is_none_or(|emptied| emptied <= before_ms)
        };
        let groups = self.groups.groups.iter();
        groups
            .filter(move |(_, kept)| is_left_over(kept))
            .map(|(number, _)| *number)
    }

    /// All groups, by name.
    pub fn groups(&self) -> impl Iterator<Item = (&Arc<str>, &Saved)> {
        let kept = |(name, number): (_, &GroupNumber)| {
            let kept = self.groups.groups.get(number)?;
            Some((name, &*kept.row.saved))
        };
        self.groups.by_name.iter().filter_map(kept)
    }

    /// Whether there is a group of this name.
    #[must_use]
    pub fn has_group(&self, name: &str) -> bool {
        self.groups.number(name).is_some()
    }

    /// Whether there is such a partition.
    #[must_use]
    pub fn has_partition(&self, topic: &str, index: PartitionIndex) -> bool {
        let slot = self.topics.by_name(topic);
        slot.is_some_and(|slot| slot.partition(index).is_some())
    }

    /// Up to `count` of the offsets a group has committed, after a partition, by topic id and partition.
    #[must_use]
    pub fn all_committed(
        &self,
        group: &str,
        after: Option<TopicPartition>,
        count: usize,
    ) -> Vec<FetchedOffset> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let kept = self.groups.by_name(group).into_iter();
        let offsets = kept.flat_map(|kept| kept.offsets.range((after, Bound::Unbounded)));
        let offsets = offsets.take(count);
        offsets
            .map(|(partition, row)| self.fetched(*partition, Some(row.committed.clone())))
            .collect()
    }

    /// What a group has committed for these partitions, in their order.
    #[must_use]
    pub fn committed(
        &self,
        group: &str,
        topics: &[(TopicRef, Vec<PartitionIndex>)],
    ) -> Vec<FetchedOffset> {
        let kept = self.groups.by_name(group);
        let one = |topic: &TopicRef, index: &PartitionIndex| {
            let found = self.partition_of(topic, *index);
            if let Ok(partition) = found {
                let row = kept.and_then(|kept| kept.offsets.get(&partition));
                return self.fetched(partition, row.map(|row| row.committed.clone()));
            }
            let (id, name, committed) = match topic {
                TopicRef::Name(name) => (TopicId::from_bytes([0; 16]), name.as_str(), Ok(None)),
                TopicRef::Id(id) => {
                    let known = self.topics.by_id(*id);
                    let name = known.map_or("", |slot| &slot.topic.name);
                    let unknown = known.is_none();
                    let nothing = if unknown {
                        Err(ErrorCode::UnknownTopicId)
                    } else {
                        Ok(None)
                    };
                    (*id, name, nothing)
                }
            };
            FetchedOffset {
                topic: id,
                name: Arc::from(name),
                partition: *index,
                committed,
            }
        };
        let asked = topics
            .iter()
            .flat_map(|(topic, indexes)| indexes.iter().map(move |index| (topic, index)));
        asked.map(|(topic, index)| one(topic, index)).collect()
    }

    fn fetched(
        &self,
        partition: TopicPartition,
        committed: Option<CommittedOffset>,
    ) -> FetchedOffset {
        let slot = self.topics.by_id(partition.topic);
        FetchedOffset {
            topic: partition.topic,
            name: slot.map_or_else(|| Arc::from(""), |slot| Arc::clone(&slot.topic.name)),
            partition: partition.partition,
            committed: Ok(committed),
        }
    }

    /// The partition that a request names, or the code of one that does not exist.
    fn partition_of(
        &self,
        topic: &TopicRef,
        index: PartitionIndex,
    ) -> Result<TopicPartition, ErrorCode> {
        let slot = match topic {
            TopicRef::Name(name) => self.topics.by_name(name),
            TopicRef::Id(id) => Some(self.topics.by_id(*id).ok_or(ErrorCode::UnknownTopicId)?),
        };
        let partition = slot
            .map(|slot| TopicPartition::new(slot.topic.id, index))
            .filter(|partition| self.topics.partition(*partition).is_some());
        partition.ok_or(ErrorCode::UnknownTopicOrPartition)
    }
}
