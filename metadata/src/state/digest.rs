//! A hash over what a state says, whatever part of it is in memory: equal states have equal hashes.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use floe_protocol::types::{ProducerId, TopicPartition};

use super::State;
use super::producer::ProducerState;
use super::recovery::DamagedState;
use super::rows::{Place, RowKey, producer};
use super::segments::Standing;

impl State {
    /// Hashes everything but the producer states: counters, topics, heads, extents and segments. Two runs
    /// of the same commands agree, and so does a state with what is recovered from its rows.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.counters.hash_logical(&mut hasher);
        self.id_blocks.hash(&mut hasher);
        self.processes.hash(&mut hasher);
        for slot in self.topics.iter() {
            let topic = &slot.topic;
            (topic.id, &topic.name, topic.partition_count).hash(&mut hasher);
            (topic.replication_factor, &topic.configs, topic.created_ms).hash(&mut hasher);
            slot.partitions.hash(&mut hasher);
        }
        self.groups.hash(&mut hasher);
        self.configs.hash(&mut hasher);
        for (commit, entry) in self.segments.entries() {
            let is_accepted = entry.id.write_epoch >= self.counters.lowest_accepted;
            // Of those that are gone only the answer to a repeat can be seen.
            if entry.standing != Standing::Gone || is_accepted {
                (commit, entry.id, entry.level, entry.standing).hash(&mut hasher);
                (entry.size_bytes, entry.committed_ms).hash(&mut hasher);
            }
        }
        hasher.finish()
    }

    /// Hashes the producer states, given all their rows ([`RowKey::producers`]) as of the last `seal`:
    /// those in memory count, and of the others the rows. States that are expired or belong to deleted
    /// topics are left out.
    ///
    /// # Errors
    ///
    /// A row is damaged.
    pub fn producers_hash(
        &self,
        rows: impl IntoIterator<Item = (RowKey, Bytes)>,
    ) -> Result<u64, DamagedState> {
        let mut states: BTreeMap<(ProducerId, TopicPartition), ProducerState> = BTreeMap::new();
        for (key, row) in rows {
            let damaged = |error| DamagedState::Row {
                key: key.clone(),
                error,
            };
            let Place::Producer { id, partition } = key.place().map_err(damaged)? else {
                return Err(DamagedState::Unasked(key));
            };
            let state = producer::decode(&row).map_err(damaged)?;
            if self.topics.partition(partition).is_some() {
                states.insert((id, partition), state);
            }
        }
        for resident in self.producers.iter() {
            if let Some(slot) = self.topics.slot(resident.key.slot) {
                let partition = TopicPartition::new(slot.topic.id, resident.key.partition);
                states.insert((resident.key.id, partition), resident.state);
            }
        }
        let expiration_ms = self.config.producer_id_expiration_ms;
        let mut hasher = DefaultHasher::new();
        for (key, state) in &states {
            if !state.is_unknown() && !state.is_expired(self.counters.now_ms, expiration_ms) {
                (key, state).hash(&mut hasher);
            }
        }
        Ok(hasher.finish())
    }
}
