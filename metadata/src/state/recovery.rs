//! Rebuilds a state from its rows.
//!
//! ```text
//! row(counters), row(topic)…, row(heads)…, row(segment)…     all resident rows, in key order
//! missing() ─▶ read ─▶ admit()                               producer states with earlier batches
//! finish() ─▶ State
//! ```
//!
//! Segment rows give the index, merged extents in the place of whatever they cover; rows that nobody needs any more
//! may be missing. Those after the checkpoint are replayed: an extent that ends at or
//! below its partition's high watermark is in the head's row already, one that begins there is added, any
//! other is damage. A producer's accepted batches are added to what its row says; the offsets tell which of
//! them the row has. At the end each partition's extents must cover its log exactly.

mod replay;

use std::sync::Arc;

use bytes::Bytes;
use floe_protocol::types::{TopicId, TopicPartition};

use super::codec::RowError;
use super::counters::Counters;
use super::id_blocks::IdBlocks;
use super::producers::ProducerKey;
use super::rows::configs::{ConfigFigures, ConfigRow};
use super::rows::group::{GroupFigures, GroupRow, OffsetRow};
use super::rows::object::{ObjectFigures, decode_dead};
use super::rows::segment::SegmentRow;
use super::rows::{Place, RowKey, head, process, producer, topic};
use super::{State, StateConfig};
use crate::api::{Process, Revision};
use replay::Replay;

/// Rows that do not make a state. Nothing may be served, repaired or deleted on their word.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DamagedState {
    /// A row that cannot be read.
    #[error("{key}: {error}")]
    Row {
        /// Which row.
        key: RowKey,
        /// What is wrong with it.
        error: RowError,
    },
    /// The rows are sound, but of a newer release.
    #[error(
        "the cluster is at feature level {level}, this release understands {known}: use a newer one"
    )]
    NewerLevel {
        /// The cluster's.
        level: u32,
        /// Ours.
        known: u32,
    },
    /// A row that must be there is not.
    #[error("{0}: missing")]
    Missing(RowKey),
    /// A row says something that others contradict.
    #[error("{0}: contradicts other rows")]
    Contradiction(RowKey),
    /// Rows came out of key order, or one that was not asked for.
    #[error("{0}: not asked for")]
    Unasked(RowKey),
    /// The committed extents of a partition do not cover its log exactly.
    #[error("{0}: extents do not cover the log")]
    Holes(TopicPartition),
}

/// A state that is being rebuilt.
#[derive(Debug)]
pub struct Recovery {
    state: State,
    has_counters: bool,
    has_id_blocks: bool,
    head_rows: u64,
    last: Option<RowKey>,
}

impl Recovery {
    pub(super) fn new(config: StateConfig) -> Self {
        Self {
            state: State::new(config),
            has_counters: false,
            has_id_blocks: false,
            head_rows: 0,
            last: None,
        }
    }

    /// Takes the next of the rows in [`RowKey::resident`], in key order.
    ///
    /// # Errors
    ///
    /// The row is damaged, or does not fit those before it.
    pub fn row(&mut self, key: impl Into<RowKey>, value: &Bytes) -> Result<(), DamagedState> {
        let key = key.into();
        if self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(DamagedState::Unasked(key));
        }
        let damaged = |error| DamagedState::Row {
            key: key.clone(),
            error,
        };
        let place = key.place().map_err(damaged)?;
        if !self.has_counters && place != Place::Counters {
            return Err(DamagedState::Missing(RowKey::counters()));
        }
        match place {
            Place::Counters => {
                self.state.counters = Counters::decode(value).map_err(damaged)?;
                let (level, known) = (
                    self.state.counters.feature_level,
                    self.state.config.feature_level,
                );
                if level > known {
                    return Err(DamagedState::NewerLevel { level, known });
                }
                self.has_counters = true;
            }
            Place::IdBlocks => {
                self.state.id_blocks = IdBlocks::decode(value).map_err(damaged)?;
                self.has_id_blocks = true;
            }
            Place::Process(incarnation) => {
                let (told, is_listed) = process::decode(value).map_err(damaged)?;
                let process = Process { incarnation, told };
                self.state.processes.insert(process, is_listed);
            }
            Place::Topic(id) => {
                let topic = topic::decode(id, value).map_err(damaged)?;
                if self.state.topics.by_name(&topic.name).is_some() {
                    return Err(DamagedState::Contradiction(key));
                }
                self.state.topics.insert(Arc::new(topic)).has_producer_rows = true;
            }
            Place::Heads { topic, chunk } => {
                let heads = head::decode(value).map_err(damaged)?;
                self.head_rows += 1;
                if !self.heads(topic, chunk, &heads) {
                    return Err(DamagedState::Contradiction(key));
                }
            }
            Place::Segment { commit } => self.segment(&key, commit, value)?,
            Place::GroupFigures => {
                let figures = GroupFigures::decode(value).map_err(damaged)?;
                self.state.groups.load_figures(figures);
            }
            Place::Group(number) => {
                let row = GroupRow::decode(value).map_err(damaged)?;
                if !self.state.groups.load(number, row) {
                    return Err(DamagedState::Contradiction(key));
                }
            }
            Place::Offset { group, partition } => {
                let row = OffsetRow::decode(value).map_err(damaged)?;
                let is_known = self.state.topics.partition(partition).is_some();
                if !is_known || !self.state.groups.load_offset(group, partition, row) {
                    return Err(DamagedState::Contradiction(key));
                }
            }
            Place::ConfigFigures => {
                let figures = ConfigFigures::decode(value).map_err(damaged)?;
                self.state.configs.load_figures(figures);
            }
            Place::Configs(number) => {
                let row = ConfigRow::decode(value).map_err(damaged)?;
                if !self.state.configs.load(number, row) {
                    return Err(DamagedState::Contradiction(key));
                }
            }
            Place::ObjectFigures => {
                let figures = ObjectFigures::decode(value).map_err(damaged)?;
                self.state.segments.load_figures(figures);
            }
            Place::DeadObject { commit } => {
                let since_ms = decode_dead(value).map_err(damaged)?;
                if !self.state.segments.load_dead(commit, since_ms) {
                    return Err(DamagedState::Contradiction(key));
                }
            }
            Place::Producer { .. } | Place::DeletedTopic(_) => {
                return Err(DamagedState::Unasked(key));
            }
        }
        self.last = Some(key);
        Ok(())
    }

    pub(super) const fn revision(&self) -> Revision {
        self.state.counters.revision
    }

    fn heads(&mut self, id: TopicId, chunk: u32, heads: &[head::Head]) -> bool {
        let topics = &mut self.state.topics;
        let slot = topics.slot_id(id).and_then(|slot| topics.slot_mut(slot));
        slot.is_some_and(|slot| slot.load(chunk, heads))
    }

    fn segment(&mut self, key: &RowKey, commit: u64, row: &Bytes) -> Result<(), DamagedState> {
        self.expect_commits_until(commit.saturating_sub(1))?;
        if commit > self.state.counters.commits || commit <= self.state.segments.last() {
            return Err(DamagedState::Contradiction(key.clone()));
        }
        let damaged = |error| DamagedState::Row {
            key: key.clone(),
            error,
        };
        let row = SegmentRow::open(row).map_err(damaged)?;
        let facts = *row.facts();
        let (level, batches) = match &row {
            SegmentRow::Committed(reader) => (0, reader.batch_count()),
            SegmentRow::Merged(reader) => (reader.level(), 0),
        };
        let segments = &mut self.state.segments;
        segments.push(commit, &facts, level, batches);
        let is_replayed = commit > self.state.counters.checkpoint;
        let mut replay = Replay::new(&mut self.state, commit, facts, is_replayed);
        let fits = match row {
            SegmentRow::Committed(reader) => replay.committed(reader),
            SegmentRow::Merged(reader) => replay.merged(reader),
        };
        if fits.map_err(damaged)? {
            replay.end();
            Ok(())
        } else {
            Err(DamagedState::Contradiction(key.clone()))
        }
    }

    /// Rows of commits are only removed below the checkpoint.
    fn expect_commits_until(&self, commit: u64) -> Result<(), DamagedState> {
        let first = self.state.counters.checkpoint.max(1);
        let next = first.max(self.state.segments.last().saturating_add(1));
        if next <= commit {
            return Err(DamagedState::Missing(RowKey::segment(next)));
        }
        Ok(())
    }

    /// Rows of producer states whose earlier batches the replay does not know. In key order.
    #[must_use]
    pub fn missing(&self) -> Vec<RowKey> {
        let topics = &self.state.topics;
        let partial = self
            .state
            .producers
            .iter()
            .filter(|resident| resident.partial);
        let mut keys: Vec<_> = partial
            .filter_map(|resident| {
                let topic = topics.slot(resident.key.slot)?.topic.id;
                let partition = TopicPartition::new(topic, resident.key.partition);
                Some(RowKey::producer(resident.key.id, partition))
            })
            .collect();
        keys.sort_unstable();
        keys
    }

    /// Takes in rows named by [`Self::missing`], as they were read; others are left alone.
    ///
    /// # Errors
    ///
    /// A row is damaged, or says something else than the commits do.
    pub fn admit(
        &mut self,
        rows: impl IntoIterator<Item = (RowKey, Option<Bytes>)>,
    ) -> Result<(), DamagedState> {
        for (key, value) in rows {
            let damaged = |error| DamagedState::Row {
                key: key.clone(),
                error,
            };
            let Place::Producer { id, partition } = key.place().map_err(damaged)? else {
                return Err(DamagedState::Unasked(key));
            };
            let Some(slot) = self.state.topics.slot_id(partition.topic) else {
                continue;
            };
            let at = ProducerKey {
                id,
                slot,
                partition: partition.partition,
            };
            let Some(resident) = self.state.producers.partial_mut(&at) else {
                continue;
            };
            let Some(value) = value else {
                return Err(DamagedState::Missing(key));
            };
            let row = producer::decode(&value).map_err(damaged)?;
            resident.state = resident
                .state
                .joined_to(&row)
                .ok_or(DamagedState::Contradiction(key))?;
            resident.partial = false;
        }
        Ok(())
    }

    /// The state, exactly as it was after the last group whose batch is in the rows.
    ///
    /// # Errors
    ///
    /// Rows are missing, or the partitions' extents leave holes.
    pub fn finish(mut self) -> Result<State, DamagedState> {
        if let Some(key) = self.missing().into_iter().next() {
            return Err(DamagedState::Missing(key));
        }
        self.expect_commits_until(self.state.counters.commits)?;
        let State {
            counters, segments, ..
        } = &mut self.state;
        if !segments.has_all(counters.commits) {
            let missing = segments.first_missing();
            return Err(missing.map_or_else(
                || DamagedState::Contradiction(RowKey::object_figures()),
                |commit| DamagedState::Missing(RowKey::segment(commit)),
            ));
        }
        if !segments.is_complete() {
            return Err(DamagedState::Contradiction(RowKey::object_figures()));
        }
        segments.settle(counters.lowest_accepted);
        let counters = &self.state.counters;
        if self.state.topics.len() as u64 != counters.topics
            || self.head_rows != counters.head_rows
            || self.state.processes.len() as u64 != counters.processes
            || self.has_id_blocks != (counters.next_producer_id > 0)
        {
            return Err(DamagedState::Contradiction(RowKey::counters()));
        }
        if !self.state.groups.is_complete() {
            return Err(DamagedState::Contradiction(RowKey::group_figures()));
        }
        if !self.state.configs.is_complete() {
            return Err(DamagedState::Contradiction(RowKey::config_figures()));
        }
        for slot in self.state.topics.iter() {
            let holes = slot
                .partitions
                .iter()
                .position(|partition| !partition.is_tiled());
            if let Some(index) = holes.and_then(|index| i32::try_from(index).ok()) {
                return Err(DamagedState::Holes(TopicPartition::new(
                    slot.topic.id,
                    index,
                )));
            }
        }
        self.state.sealed = self.state.counters.clone();
        Ok(self.state)
    }
}
