//! Everything a cluster remembers, in memory: a pure, deterministic state machine.
//!
//! Owns the rules (what a command does, what its reply is) and the rows they live in. Does no I/O, has no
//! clock, no randomness, and nothing depends on the order of a hash table; time, ids and rows are handed in.
//!
//! ```text
//! for each command of a group:
//!     missing(&command) ─▶ read these rows ─▶ admit(rows)
//!     apply(now, command, &mut writes) ─▶ reply
//! seal(&mut writes) ─▶ rows: one engine batch ─▶ durable ─▶ send replies and events
//! ```
//!
//! **Groups.** Nothing is lost from memory between two [`State::seal`]s, so rows that were admitted stay. `seal`
//! writes back, evicts and adds the counters; a row it evicts may be asked for by `missing` in the very next
//! group, so the engine's reads must show every batch that was submitted, durable or not. A state whose rows
//! were not submitted, or failed to be, must be dropped.
//!
//! **Redo log** (decision 1). A commit writes one row, however many partitions it touches; a completed merge is a
//! commit too, and of two rows that cover an offset the later one holds (decision 20). Heads and producer
//! states get their own rows later, some with each group; `checkpoint` in the counters is the last commit that
//! all of these rows include. [`Recovery`] reads all resident rows in key order, then adds to heads and
//! producer states what later commits changed.
//!
//! **Rooms.** `topics`, `partitions`, `segments`, `merge`, `objects`, `producer`, `producers`, `groups` and `configs` are
//! here. Transactions and ACLs are further rooms: each a module with its commands (see [`Command`]), its
//! own range of row tags (see [`rows`]) and its part of the hash.

mod administration;
mod codec;
mod command;
mod commit;
mod configs;
mod counters;
mod digest;
mod groups;
mod id_blocks;
mod merge;
mod objects;
mod paging;
mod partitions;
mod processes;
mod producer;
mod producers;
mod reads;
mod rebuild;
mod recovery;
mod rows;
mod segments;
mod topics;
mod write_back;
mod write_set;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use floe_protocol::types::TimestampMs;

pub use codec::RowError;
pub use command::{Command, Reply};
pub use reads::Counts;
pub use rebuild::{Rebuild, RowFigures};
pub use recovery::{DamagedState, Recovery};
pub use rows::RowKey;
pub use write_set::WriteSet;

use configs::Configs;
use counters::Counters;
use groups::Groups;
use id_blocks::IdBlocks;
use processes::Processes;
use producers::Producers;
use rows::segment::SegmentWriter;
use segments::Segments;
use topics::{SlotId, Topics};

use crate::api::groups::{GroupConfig, OFFSETS_RETENTION_MS};
use crate::api::{FEATURE_LEVEL, Revision};

/// Limits of a [`State`]. Sizes decide what is in memory and how long a recovery takes, never a reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StateConfig {
    /// Seeds the hash tables against clients that choose their producer ids to collide. Any value; no
    /// effect can be seen from outside.
    pub hash_seed: u64,
    /// Memory for producer states; those beyond it are read when a commit needs them. Default 256 MiB.
    pub producer_states_bytes_max: usize,
    /// Memory for rows of the latest commits, to answer repeats without a read. Default 16 MiB.
    pub recent_rows_bytes_max: usize,
    /// Commits a recovery may have to replay. Lower makes take-over faster and writes heads and producer
    /// states more often. Default 10,000, at least 1.
    pub replay_commits_max: u64,
    /// Batches a recovery may have to replay; see `replay_commits_max`. Default 500,000, at least 1.
    pub replay_batches_max: u64,
    /// After how long without a batch a producer is forgotten in a partition
    /// (`producer.id.expiration.ms`). Default 1 day.
    pub producer_id_expiration_ms: TimestampMs,
    /// How far one command may move cluster time forward, so that one wrong clock does not expire the
    /// world at a stroke. After a long pause time catches up over as many commands. Default 1 hour.
    pub clock_step_ms_max: TimestampMs,
    /// Partitions of all topics. Default 1,000,000.
    pub partitions_max: u64,
    /// How long the offsets of a group without members are kept (`offsets.retention.minutes`). Default 7 days.
    pub offsets_retention_ms: TimestampMs,
    /// Settings of groups; used by what decides about them, not by the state.
    pub groups: GroupConfig,
    /// The newest feature level this process understands; a new cluster begins at it. Default
    /// [`FEATURE_LEVEL`].
    pub feature_level: u32,
}

impl Default for StateConfig {
    fn default() -> Self {
        const HOUR_MS: TimestampMs = 60 * 60 * 1000;
        Self {
            hash_seed: 0,
            producer_states_bytes_max: 256 << 20,
            recent_rows_bytes_max: 16 << 20,
            replay_commits_max: 10_000,
            replay_batches_max: 500_000,
            producer_id_expiration_ms: 24 * HOUR_MS,
            clock_step_ms_max: HOUR_MS,
            partitions_max: 1_000_000,
            offsets_retention_ms: OFFSETS_RETENTION_MS,
            groups: GroupConfig::default(),
            feature_level: FEATURE_LEVEL,
        }
    }
}

/// The state of a cluster. See the module for how to use it.
#[derive(Debug)]
pub struct State {
    config: StateConfig,
    counters: Counters,
    id_blocks: IdBlocks,
    processes: Processes,
    topics: Topics,
    segments: Segments,
    producers: Producers,
    groups: Groups,
    configs: Configs,
    /// Rows of heads that are behind, with the first commit they lack, in its order. An entry may be stale.
    unsaved_heads: VecDeque<(u64, SlotId, u32)>,
    /// Rows of heads with a log start that no other row knows of.
    moved_heads: BTreeSet<(SlotId, u32)>,
    /// The counters as they were sealed last.
    sealed: Counters,
    writer: SegmentWriter,
    /// Room to write a row in.
    row: Vec<u8>,
}

impl State {
    /// The state of a cluster in which nothing has happened.
    #[must_use]
    pub fn new(config: StateConfig) -> Self {
        Self {
            counters: Counters {
                feature_level: config.feature_level,
                ..Counters::default()
            },
            id_blocks: IdBlocks::default(),
            processes: Processes::default(),
            topics: Topics::new(config.hash_seed),
            segments: Segments::new(config.hash_seed),
            producers: Producers::new(config.hash_seed),
            groups: Groups::default(),
            configs: Configs::default(),
            unsaved_heads: VecDeque::new(),
            moved_heads: BTreeSet::new(),
            sealed: Counters::default(),
            writer: SegmentWriter::default(),
            row: Vec::new(),
            config,
        }
    }

    /// Rebuilds a state from its rows.
    #[must_use]
    pub fn recover(config: StateConfig) -> Recovery {
        Recovery::new(config)
    }

    /// Applies one command: changes the state, adds the rows and events of the change to `writes`, and
    /// answers. Total and deterministic; a refused command raises the revision and changes nothing else.
    ///
    /// `now_ms` moves cluster time: never back, forward by at most `clock_step_ms_max`.
    ///
    /// # Panics
    ///
    /// If rows named by [`Self::missing`] were not admitted: answering without them could take a batch
    /// twice.
    pub fn apply(&mut self, now_ms: TimestampMs, command: Command, writes: &mut WriteSet) -> Reply {
        self.move_clock(now_ms);
        self.counters.revision += 1;
        match command {
            Command::Register(new) => self.register(new, writes),
            Command::UnlistProcesses(silent) => self.unlist_processes(&silent, writes),
            Command::ForgetProcesses(gone) => self.forget_processes(&gone, writes),
            Command::RaiseFeatureLevel(to) => {
                Reply::FeatureLevel(self.raise_feature_level(to, writes))
            }
            Command::CheckFeatureLevel(level) => {
                let checked = self.check_feature_level(level);
                Reply::FeatureLevel(checked.map(|()| self.counters.revision))
            }
            Command::RaiseWriteEpoch { above } => self.raise_write_epoch(above, writes),
            Command::RaiseLowestAccepted { to } => self.raise_lowest_accepted(to),
            Command::CreateTopic(new) => Reply::Topic(self.create_topic(new, writes)),
            Command::CreatePartitions { topic, count } => {
                Reply::Topic(self.create_partitions(topic, count, writes))
            }
            Command::DeleteTopic(id) => Reply::TopicDeleted(self.delete_topic(id, writes)),
            Command::AlterConfigs(change) => {
                Reply::ConfigsAltered(self.alter_configs(change, writes))
            }
            Command::Commit(request) => Reply::Committed(self.commit(&request, writes)),
            Command::MoveLogStart(moves) => self.move_log_starts(&moves, writes),
            Command::BeginMerge { sources, lease_ms } => {
                Reply::MergeSources(self.begin_merge(&sources, lease_ms))
            }
            Command::CompleteMerge(request) => Reply::Merged(self.complete_merge(&request, writes)),
            Command::Retain(topics) => Reply::Retained(self.retain(&topics, writes)),
            Command::ForgetObjects(commits) => {
                self.forget_objects(&commits, writes);
                Reply::Forgotten
            }
            Command::AllocateProducerIds => self.allocate_producer_ids(writes),
            Command::SaveGroup { group, saved } => self.save_group(&group, saved, writes),
            Command::CommitOffsets { group, offsets } => {
                self.commit_offsets(&group, offsets, writes)
            }
            Command::DeleteOffsets { group, partitions } => {
                self.delete_offsets(&group, &partitions, writes)
            }
            Command::DeleteGroup(group) => self.delete_group(&group, writes),
            Command::ExpireOffsets => self.expire_offsets(writes),
        }
    }

    fn move_clock(&mut self, now_ms: TimestampMs) {
        let last = self.counters.now_ms;
        let is_first = self.counters.revision == 0;
        let latest = last.saturating_add(self.config.clock_step_ms_max);
        self.counters.now_ms = if is_first {
            now_ms.max(last)
        } else {
            now_ms.clamp(last, latest)
        };
    }

    /// The revision that a row of counters shows.
    ///
    /// # Errors
    /// The row is not what anyone wrote.
    pub fn revision_in(counters: &[u8]) -> Result<Revision, DamagedState> {
        Counters::decode(counters)
            .map(|counters| counters.revision)
            .map_err(|error| DamagedState::Row {
                key: RowKey::counters(),
                error,
            })
    }

    /// Commands applied so far.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        self.counters.revision
    }

    /// The limits and settings it was made with.
    #[must_use]
    pub const fn config(&self) -> &StateConfig {
        &self.config
    }

    /// Cluster time after the last command.
    #[must_use]
    pub const fn now_ms(&self) -> TimestampMs {
        self.counters.now_ms
    }
}
