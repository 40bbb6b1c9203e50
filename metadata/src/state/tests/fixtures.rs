//! A state over rows in memory, driven as the sequencer drives it, and builders of what it is given.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use floe_protocol::types::{Offset, TimestampMs, TopicId, TopicPartition};
use floe_storage::segment::{Index, IndexBatch, IndexExtent, SegmentId};

use crate::api::objects::{MergeError, MergeRequest, MergeSource, MergedExtent};
use crate::api::{
    BatchRejection, BatchResult, CommitError, CommitReply, CommitRequest, Extent, NewTopic,
    PartitionBounds, WatchEvent,
};
use crate::state::rows::Place;
use crate::state::{Command, DamagedState, Reply, RowKey, State, StateConfig, WriteSet};
use crate::testing::new_process;

pub(super) const DAY_MS: TimestampMs = 24 * 60 * 60 * 1000;
pub(super) const START_MS: TimestampMs = 1_800_000_000_000;

/// Limits so small that paging, write-back and eviction happen all the time.
pub(super) fn tiny() -> StateConfig {
    StateConfig {
        producer_states_bytes_max: 400,
        recent_rows_bytes_max: 200,
        replay_commits_max: 6,
        replay_batches_max: 20,
        clock_step_ms_max: 40 * DAY_MS,
        ..StateConfig::default()
    }
}

/// Limits that keep everything in memory.
pub(super) fn roomy() -> StateConfig {
    StateConfig {
        clock_step_ms_max: 40 * DAY_MS,
        ..StateConfig::default()
    }
}

/// A state with its engine.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) config: StateConfig,
    pub(super) state: State,
    /// What is durable.
    pub(super) rows: BTreeMap<Bytes, Bytes>,
    pub(super) now_ms: TimestampMs,
    writes: WriteSet,
    next_counter: u64,
}

impl Cluster {
    pub(super) fn new(config: StateConfig) -> Self {
        Self {
            state: State::new(config.clone()),
            config,
            rows: BTreeMap::new(),
            now_ms: START_MS,
            writes: WriteSet::new(),
            next_counter: 0,
        }
    }

    /// A cluster with one registered process.
    pub(super) fn registered(config: StateConfig) -> Self {
        let mut cluster = Self::new(config);
        cluster.run(Command::Register(new_process(0)));
        cluster
    }

    fn read(&self, keys: Vec<RowKey>) -> Vec<(RowKey, Option<Bytes>)> {
        let read = |key: RowKey| (key.clone(), self.rows.get(key.as_bytes()).cloned());
        keys.into_iter().map(read).collect()
    }

    /// Reads the rows the commands need.
    pub(super) fn admit_for(&mut self, command: &Command) {
        let rows = self.read(self.state.missing(command));
        self.state.admit(rows).unwrap();
    }

    pub(super) fn apply(&mut self, command: Command) -> Reply {
        self.state.apply(self.now_ms, command, &mut self.writes)
    }

    /// Applies one command without ending the group.
    pub(super) fn run_open(&mut self, command: Command) -> Reply {
        self.admit_for(&command);
        self.apply(command)
    }

    /// Applies one command as a group of its own.
    pub(super) fn run(&mut self, command: Command) -> Reply {
        let reply = self.run_open(command);
        self.seal();
        reply
    }

    /// Ends the group; its rows are durable. Returns what the watch is told.
    pub(super) fn seal(&mut self) -> Vec<WatchEvent> {
        let mut writes = std::mem::take(&mut self.writes);
        self.state.seal(&mut writes);
        for (key, value) in writes.rows {
            match value {
                Some(value) => self.rows.insert(key, value),
                None => self.rows.remove(&key),
            };
        }
        writes.events
    }

    /// The state that the durable rows make.
    pub(super) fn recover(&self) -> Result<State, DamagedState> {
        recover(&self.config, &self.rows)
    }

    /// Loses memory and the open group, comes back from the rows.
    pub(super) fn crash(&mut self) {
        self.writes = WriteSet::new();
        self.state = self.recover().unwrap();
    }

    pub(super) fn producers_hash(&self) -> u64 {
        let range = RowKey::producers();
        let rows = self.rows.range(range.start..range.end);
        let rows = rows.map(|(key, value)| (RowKey::from(key.clone()), value.clone()));
        self.state.producers_hash(rows).unwrap()
    }

    pub(super) fn create(&mut self, id: TopicId, name: &str, partitions: i32) {
        let reply = self.run(Command::CreateTopic(new_topic(id, name, partitions)));
        assert!(matches!(reply, Reply::Topic(Ok(_))), "{reply:?}");
    }

    pub(super) fn next_segment(&mut self) -> SegmentId {
        self.next_counter += 1;
        SegmentId {
            write_epoch: self.state.write_epoch(),
            incarnation: 1,
            counter: self.next_counter,
        }
    }

    /// Commits a new segment.
    pub(super) fn commit(&mut self, extents: &[(TopicPartition, &[IndexBatch])]) -> CommitReply {
        let segment = self.next_segment();
        committed(self.run(Command::Commit(request(segment, extents)))).unwrap()
    }

    /// Commits a new segment with batches of one partition; the results in short.
    pub(super) fn produce(&mut self, to: TopicPartition, batches: &[IndexBatch]) -> Vec<Short> {
        self.commit(&[(to, batches)])
            .results
            .iter()
            .map(short)
            .collect()
    }

    /// Commits whose rows are durable.
    pub(super) fn segment_rows(&self) -> Vec<u64> {
        let keys = self.rows.keys().cloned().map(RowKey::from);
        keys.filter_map(|key| match key.place() {
            Ok(Place::Segment { commit }) => Some(commit),
            _ => None,
        })
        .collect()
    }

    /// Asks what is alive of segments, and leases them.
    pub(super) fn begin_merge(&mut self, sources: &[u64]) -> Option<Vec<MergeSource>> {
        let (sources, lease_ms) = (sources.to_vec(), LEASE_MS);
        match self.run(Command::BeginMerge { sources, lease_ms }) {
            Reply::MergeSources(found) => found,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn complete_merge(&mut self, request: &MergeRequest) -> Result<(), MergeError> {
        match self.run(Command::CompleteMerge(request.clone())) {
            Reply::Merged(result) => result.map(|_| ()),
            other => panic!("{other:?}"),
        }
    }

    /// Merges all that is alive of some segments.
    pub(super) fn merge(&mut self, sources: &[u64], level: u8) -> MergeRequest {
        let found = self.begin_merge(sources).expect("they are alive");
        let request = merge_of(self.next_segment(), level, &found);
        assert_eq!(self.complete_merge(&request), Ok(()));
        request
    }

    /// Commits of all live segments.
    pub(super) fn live(&self) -> Vec<u64> {
        let summaries = self.state.segment_summaries(u8::MAX);
        summaries.into_iter().map(|it| it.commit).collect()
    }

    /// Commits of all dead objects.
    pub(super) fn dead(&self) -> Vec<u64> {
        let dead = self.state.dead_objects(0, usize::MAX);
        dead.into_iter().map(|it| it.commit).collect()
    }

    pub(super) fn forget(&mut self, commits: &[u64]) {
        let reply = self.run(Command::ForgetObjects(commits.to_vec()));
        assert_eq!(reply, Reply::Forgotten);
    }

    /// Nothing of the present write epoch and before is accepted any more.
    pub(super) fn refuse_old_names(&mut self) {
        let above = self.state.write_epoch();
        self.run(Command::RaiseWriteEpoch { above });
        self.run(Command::RaiseLowestAccepted { to: u32::MAX });
    }

    pub(super) fn extents(&self, partition: TopicPartition) -> Vec<Extent> {
        let found = self.state.look_up(partition, 0, usize::MAX);
        found.unwrap().extents
    }

    pub(super) fn bounds(&self, partition: TopicPartition) -> PartitionBounds {
        self.state.bounds(partition).unwrap()
    }
}

/// How long merges of tests are leased.
pub(super) const LEASE_MS: TimestampMs = 1000;

/// A merge of all that is alive of its sources: extents that follow each other become one.
pub(super) fn merge_of(segment: SegmentId, level: u8, sources: &[MergeSource]) -> MergeRequest {
    let parts = sources.iter().flat_map(|source| &source.extents);
    let mut parts: Vec<_> = parts.copied().collect();
    parts.sort_by_key(|(at, extent)| (*at, extent.base_offset));
    let mut extents: Vec<MergedExtent> = Vec::new();
    let mut position_bytes = 32;
    for (partition, extent) in parts {
        match extents.last_mut() {
            Some(last) if last.partition == partition && last.end_offset == extent.base_offset => {
                last.end_offset = extent.end_offset;
                last.length_bytes += extent.length_bytes;
                last.max_timestamp_ms = last.max_timestamp_ms.max(extent.max_timestamp_ms);
            }
            _ => extents.push(MergedExtent {
                partition,
                position_bytes,
                length_bytes: extent.length_bytes,
                base_offset: extent.base_offset,
                end_offset: extent.end_offset,
                max_timestamp_ms: extent.max_timestamp_ms,
            }),
        }
        position_bytes += u64::from(extent.length_bytes);
    }
    MergeRequest {
        segment,
        level,
        size_bytes: position_bytes + 100,
        sources: sources.iter().map(|it| it.summary.commit).collect(),
        extents,
    }
}

pub(super) fn recover(
    config: &StateConfig,
    rows: &BTreeMap<Bytes, Bytes>,
) -> Result<State, DamagedState> {
    let mut recovery = State::recover(config.clone());
    let range = RowKey::resident();
    for (key, value) in rows.range(range.start..range.end) {
        recovery.row(key.clone(), value)?;
    }
    let missing = recovery.missing();
    recovery.admit(
        missing
            .into_iter()
            .map(|key| (key.clone(), rows.get(key.as_bytes()).cloned())),
    )?;
    recovery.finish()
}

/// What became of a batch, in short: offset, duplicate of an offset, or refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Short {
    At(Offset),
    DuplicateOf(Offset),
    No(BatchRejection),
}

pub(super) fn short(result: &BatchResult) -> Short {
    match *result {
        BatchResult::Committed { base_offset, .. } => Short::At(base_offset),
        BatchResult::Duplicate { base_offset, .. } => Short::DuplicateOf(base_offset),
        BatchResult::Rejected(rejection) => Short::No(rejection),
    }
}

pub(super) fn committed(reply: Reply) -> Result<CommitReply, CommitError> {
    match reply {
        Reply::Committed(result) => result,
        other => panic!("{other:?}"),
    }
}

pub(super) fn topic_id(number: u8) -> TopicId {
    TopicId::from_bytes([number; 16])
}

pub(super) fn at(topic: u8, partition: i32) -> TopicPartition {
    TopicPartition::new(topic_id(topic), partition)
}

pub(super) fn new_topic(id: TopicId, name: &str, partition_count: i32) -> NewTopic {
    let configs = BTreeMap::from([("retention.ms".to_owned(), "1000".to_owned())]);
    NewTopic {
        id,
        name: name.to_owned(),
        partition_count,
        replication_factor: 3,
        configs,
    }
}

/// A batch of `count` records without a producer.
pub(super) fn plain(count: u32) -> IndexBatch {
    IndexBatch {
        length_bytes: 70 + count % 1000,
        record_count: count,
        attributes: 0,
        base_timestamp_ms: START_MS,
        max_timestamp_ms: START_MS + i64::from(count),
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
    }
}

/// A batch of an idempotent producer.
pub(super) fn idempotent(id: i64, epoch: i16, base_sequence: i32, count: u32) -> IndexBatch {
    IndexBatch {
        producer_id: id,
        producer_epoch: epoch,
        base_sequence,
        ..plain(count)
    }
}

/// A commit of batches that lie back to back after a header of 32 bytes.
pub(super) fn request(
    segment: SegmentId,
    extents: &[(TopicPartition, &[IndexBatch])],
) -> CommitRequest {
    let mut position_bytes = 32;
    let mut index = Index::default();
    for (partition, batches) in extents {
        let extent = IndexExtent {
            partition: *partition,
            position_bytes,
            crc: 0,
            base_offset: None,
            batches: batches.to_vec(),
        };
        position_bytes += extent.length_bytes();
        index.extents.push(extent);
    }
    CommitRequest {
        segment,
        size_bytes: position_bytes + 100,
        index: Arc::new(index),
    }
}
