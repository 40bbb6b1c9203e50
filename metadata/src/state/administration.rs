//! Commands about processes, epochs, topics, log starts and producer ids.

use std::sync::Arc;

use floe_planted::Bug;
use floe_protocol::types::{Offset, PartitionIndex, ProducerId, TopicId, TopicPartition};

use super::State;
use super::command::Reply;
use super::partitions::Partition;
use super::rows::{RowKey, topic};
use super::write_set::WriteSet;
use crate::api::{NewTopic, ProducerIdBlock, RequestError, Revision, Topic, WatchEvent};

/// Producer ids handed out at once, as many as Kafka does.
const ID_BLOCK: ProducerId = 1000;

impl State {
    pub(super) fn raise_write_epoch(&mut self, above: u32, writes: &mut WriteSet) -> Reply {
        if self.counters.write_epoch == above {
            let raised = above.checked_add(1).expect("fewer than 2^32 write epochs");
            self.counters.write_epoch = raised;
            writes.events.push(WatchEvent::WriteEpochRaised(raised));
        }
        self.told_write_epochs()
    }

    pub(super) fn raise_lowest_accepted(&mut self, to: u32) -> Reply {
        let lowest = to.min(self.counters.write_epoch);
        if lowest > self.counters.lowest_accepted {
            self.counters.lowest_accepted = lowest;
            self.segments.refuse_below(lowest);
        }
        self.told_write_epochs()
    }

    const fn told_write_epochs(&self) -> Reply {
        Reply::WriteEpochs {
            present: self.counters.write_epoch,
            lowest_accepted: self.counters.lowest_accepted,
        }
    }

    pub(super) fn create_topic(
        &mut self,
        new: NewTopic,
        writes: &mut WriteSet,
    ) -> Result<(Arc<Topic>, Revision), RequestError> {
        if let Some(slot) = self.topics.by_id(new.id) {
            return Ok((Arc::clone(&slot.topic), self.counters.revision));
        }
        if self
            .topics
            .was_used(new.id)
            .expect("missing rows were admitted")
        {
            return Err(RequestError::UnknownTopic);
        }
        if self.topics.by_name(&new.name).is_some() {
            return Err(RequestError::TopicExists(new.name));
        }
        let partition_count = new.partition_count.max(1);
        self.check_limit(partition_count)?;
        let topic = Arc::new(Topic {
            id: new.id,
            name: Arc::from(new.name),
            partition_count,
            replication_factor: new.replication_factor,
            configs: Arc::new(new.configs),
            created_ms: self.counters.now_ms,
        });
        self.topics.insert(Arc::clone(&topic));
        Ok(self.topic_changed(topic, writes))
    }

    fn check_limit(&self, asked: PartitionIndex) -> Result<(), RequestError> {
        let asked = u64::try_from(asked).unwrap_or_default();
        let limit = self.config.partitions_max;
        if self.topics.partition_count().saturating_add(asked) > limit {
            return Err(RequestError::TooManyPartitions { asked, limit });
        }
        Ok(())
    }

    pub(super) fn topic_changed(
        &self,
        topic: Arc<Topic>,
        writes: &mut WriteSet,
    ) -> (Arc<Topic>, Revision) {
        writes.put(RowKey::topic(topic.id), topic::encode(&topic));
        writes
            .events
            .push(WatchEvent::TopicChanged(Arc::clone(&topic)));
        (topic, self.counters.revision)
    }

    pub(super) fn create_partitions(
        &mut self,
        id: TopicId,
        count: PartitionIndex,
        writes: &mut WriteSet,
    ) -> Result<(Arc<Topic>, Revision), RequestError> {
        let slot = self.topics.by_id(id).ok_or(RequestError::UnknownTopic)?;
        let have = slot.topic.partition_count;
        if count <= have {
            return Err(RequestError::PartitionCountNotRaised { have, asked: count });
        }
        self.check_limit(count - have)?;
        let topic = Arc::new(Topic {
            partition_count: count,
            ..Topic::clone(&slot.topic)
        });
        self.topics.update(Arc::clone(&topic));
        Ok(self.topic_changed(topic, writes))
    }

    pub(super) fn delete_topic(
        &mut self,
        id: TopicId,
        writes: &mut WriteSet,
    ) -> Result<Revision, RequestError> {
        let Some(slot) = self.topics.remove(id) else {
            let was_used = self
                .topics
                .was_used(id)
                .expect("missing rows were admitted");
            return if was_used {
                Ok(self.counters.revision)
            } else {
                Err(RequestError::UnknownTopic)
            };
        };
        writes.delete(RowKey::topic(id));
        writes.put(
            RowKey::deleted_topic(id),
            topic::encode_deleted(self.counters.now_ms),
        );
        for chunk in slot.head_rows() {
            writes.delete(RowKey::heads(id, chunk));
            self.counters.head_rows -= 1;
        }
        self.groups.forget_topic(id, writes);
        let extents = slot.partitions.iter().flat_map(Partition::extents);
        let dropped: Vec<u64> = extents.map(|extent| extent.commit).collect();
        self.release(&dropped, writes);
        writes.events.push(WatchEvent::TopicDeleted(id));
        Ok(self.counters.revision)
    }

    pub(super) fn move_log_starts(
        &mut self,
        moves: &[(TopicPartition, Offset)],
        writes: &mut WriteSet,
    ) -> Reply {
        let mut dropped = Vec::new();
        for (partition, to) in moves {
            if let Some(slot_id) = self.topics.slot_id(partition.topic) {
                self.move_log_start_of(slot_id, *partition, *to, &mut dropped, writes);
            }
        }
        self.release(&dropped, writes);
        let bounds = moves.iter().map(|(partition, _)| self.bounds(*partition));
        Reply::LogStarts(bounds.collect(), self.counters.revision)
    }

    pub(super) fn allocate_producer_ids(&mut self, writes: &mut WriteSet) -> Reply {
        let first = self.counters.next_producer_id;
        let end = first
            .checked_add(ID_BLOCK)
            .expect("fewer than 2^63 producer ids");
        if !Bug::ProducerIdsReissued.is_planted() {
            self.counters.next_producer_id = end;
        }
        let now_ms = self.counters.now_ms;
        let forget_before_ms = now_ms.saturating_sub(self.config.producer_id_expiration_ms);
        self.id_blocks.issue(first, now_ms, forget_before_ms);
        writes.put(RowKey::id_blocks(), self.id_blocks.encode());
        Reply::ProducerIds(ProducerIdBlock(first..end))
    }
}
