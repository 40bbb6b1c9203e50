//! Rows that are not in memory: which ones a command needs, and taking them in.

use std::collections::BTreeSet;

use bytes::Bytes;
use floe_protocol::types::TopicPartition;
use floe_storage::segment::SegmentId;

use super::State;
use super::codec::RowError;
use super::command::Command;
use super::commit::reply_of;
use super::producer::ProducerState;
use super::producers::ProducerKey;
use super::recovery::DamagedState;
use super::rows::segment::SegmentRow;
use super::rows::{Place, RowKey, producer, topic};
use crate::api::{CommitRequest, NewTopic};

impl State {
    /// The rows that must be admitted before `command` is applied, in key order; none for most commands.
    ///
    /// May be asked for a whole group of commands before the first of them is applied. The rows are to be
    /// read after the batch of the last [`Self::seal`] was submitted, and admitted before the next `seal`.
    #[must_use]
    pub fn missing(&self, command: &Command) -> Vec<RowKey> {
        match command {
            Command::Commit(request) => self.missing_for(request),
            Command::BeginMerge { sources, .. } => self.missing_for_merge(sources),
            Command::CreateTopic(NewTopic { id, .. }) | Command::DeleteTopic(id) => {
                let is_known = self.topics.slot_id(*id).is_some();
                let is_known = is_known || self.topics.was_used(*id).is_some();
                if is_known {
                    Vec::new()
                } else {
                    vec![RowKey::deleted_topic(*id)]
                }
            }
            Command::Register(_)
            | Command::RaiseFeatureLevel(_)
            | Command::CheckFeatureLevel(_)
            | Command::UnlistProcesses(_)
            | Command::ForgetProcesses(_)
            | Command::RaiseWriteEpoch { .. }
            | Command::RaiseLowestAccepted { .. }
            | Command::CreatePartitions { .. }
            | Command::AlterConfigs(_)
            | Command::MoveLogStart(_)
            | Command::CompleteMerge(_)
            | Command::Retain(_)
            | Command::ForgetObjects(_)
            | Command::AllocateProducerIds
            | Command::SaveGroup { .. }
            | Command::CommitOffsets { .. }
            | Command::DeleteOffsets { .. }
            | Command::DeleteGroup(_)
            | Command::ExpireOffsets => Vec::new(),
        }
    }

    fn missing_for(&self, request: &CommitRequest) -> Vec<RowKey> {
        if self.is_refused(request.segment) {
            return Vec::new();
        }
        if let Some((commit, entry)) = self.segments.find(request.segment) {
            let is_needless = entry.level > 0 || self.segments.recent(commit).is_some();
            return if is_needless {
                Vec::new()
            } else {
                vec![RowKey::segment(commit)]
            };
        }
        let mut missing = BTreeSet::new();
        let (mut topic, mut slot_id) = (None, None);
        for extent in &request.index.extents {
            let partition = extent.partition;
            if topic != Some(partition.topic) {
                topic = Some(partition.topic);
                slot_id = self.topics.slot_id(partition.topic);
            }
            let Some(slot) = slot_id else { continue };
            if !self
                .topics
                .slot(slot)
                .is_some_and(|slot| slot.has_producer_rows)
            {
                continue;
            }
            let mut last = None;
            for batch in extent.batches.iter().filter(|batch| batch.producer_id >= 0) {
                let id = batch.producer_id;
                let key = ProducerKey {
                    id,
                    slot,
                    partition: partition.partition,
                };
                if last.replace(id) != Some(id)
                    && self.counters.may_have_row(id)
                    && self.producers.find(&key).is_none()
                {
                    missing.insert((id, partition));
                }
            }
        }
        missing
            .into_iter()
            .map(|(id, partition)| RowKey::producer(id, partition))
            .collect()
    }

    fn is_refused(&self, segment: SegmentId) -> bool {
        segment.write_epoch < self.counters.lowest_accepted
    }

    /// Takes in rows as they were read: the value, or `None` where there is no such row. Rows that are
    /// in memory already are left alone, so that reading one twice does no harm.
    ///
    /// # Errors
    ///
    /// A row is not what was written: stop, nothing that this state answers can be trusted.
    pub fn admit(
        &mut self,
        rows: impl IntoIterator<Item = (RowKey, Option<Bytes>)>,
    ) -> Result<(), DamagedState> {
        for (key, value) in rows {
            let damaged = |error| DamagedState::Row {
                key: key.clone(),
                error,
            };
            match (key.place().map_err(damaged)?, value) {
                (Place::Segment { .. }, None) => return Err(DamagedState::Missing(key)),
                (Place::Segment { commit }, Some(row)) => {
                    check_segment(&row).map_err(damaged)?;
                    self.segments.remember(commit, row);
                }
                (Place::DeletedTopic(id), row) => {
                    if let Some(row) = &row {
                        topic::decode_deleted(row).map_err(damaged)?;
                    }
                    self.topics.admit_unused(id, row.is_some());
                }
                (Place::Producer { id, partition }, row) => {
                    let state = match row {
                        Some(row) => producer::decode(&row).map_err(damaged)?,
                        None => ProducerState::UNKNOWN,
                    };
                    self.admit_producer(id, partition, state);
                }
                _ => return Err(DamagedState::Unasked(key)),
            }
        }
        Ok(())
    }

    fn admit_producer(&mut self, id: i64, partition: TopicPartition, state: ProducerState) {
        let Some(slot) = self.topics.slot_id(partition.topic) else {
            return;
        };
        let key = ProducerKey {
            id,
            slot,
            partition: partition.partition,
        };
        if self.producers.find(&key).is_none() {
            self.producers.insert(key, state, self.counters.commits);
        }
    }
}

/// Reads a segment's row to its end.
fn check_segment(row: &[u8]) -> Result<(), RowError> {
    match SegmentRow::open(row)? {
        SegmentRow::Committed(_) => reply_of(row).map(drop),
        SegmentRow::Merged(mut reader) => {
            while reader.next_extent()?.is_some() {}
            Ok(())
        }
    }
}
