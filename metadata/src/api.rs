//! The contract between metadata and everyone else: requests, replies and what an unknown outcome means.
//!
//! Agents and compactors see of this crate only `api` and `client`. Each call that changes something is
//! safe to repeat: a commit by its segment id, the others by the request id the client draws once.

use std::collections::BTreeMap;
use std::sync::Arc;

use floe_protocol::types::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerId, TimestampMs, TopicId, TopicPartition,
};
use floe_storage::segment::{Index, SegmentId};

pub mod admin;
pub mod groups;
pub mod objects;

use self::admin::NamedConfigs;

/// A position in the history of metadata: counts applied commands, never falls, survives take-over.
pub type Revision = u64;

/// A topic as clients know it. Immutable: a change makes a new one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    /// Stable identity.
    pub id: TopicId,
    /// Name, 1 to 249 of `[a-zA-Z0-9._-]`.
    pub name: Arc<str>,
    /// Number of partitions, at least 1; they are numbered from 0.
    pub partition_count: PartitionIndex,
    /// As asked for at creation (1 to 5); reported, without meaning for durability.
    pub replication_factor: i16,
    /// Configs set on this topic, under Kafka's names; defaults are not stored.
    pub configs: Arc<BTreeMap<String, String>>,
    /// When it was created.
    pub created_ms: TimestampMs,
}

/// Where a partition's log begins and ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PartitionBounds {
    /// First offset that may be read.
    pub log_start: Offset,
    /// One past the last committed offset; never falls.
    pub high_watermark: Offset,
    /// Every record of an open transaction lies at or after it; equals the high watermark when none is open.
    pub last_stable: Offset,
}

/// A run of committed batches of one partition in one segment, without holes in bytes or offsets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The object.
    pub segment: SegmentId,
    /// 0 as ingested (offsets are patched when read), 1 and up merged (final offsets in the file).
    pub level: u8,
    /// First byte in the object.
    pub position_bytes: u64,
    /// Bytes of the run.
    pub length_bytes: u32,
    /// Offset of the first record.
    pub base_offset: Offset,
    /// One past the offset of the last record.
    pub end_offset: Offset,
    /// Greatest record time of the run.
    pub max_timestamp_ms: TimestampMs,
}

/// Asks to give a segment's batches their offsets. Idempotent by `segment`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitRequest {
    /// The segment, durable in the store before this is sent.
    pub segment: SegmentId,
    /// Size of the whole object.
    pub size_bytes: u64,
    /// What it holds; level 0.
    pub index: Arc<Index>,
}

/// What became of a segment's batches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitReply {
    /// One per batch, in the order of the index.
    pub results: Vec<BatchResult>,
    /// After which revision the records are visible.
    pub revision: Revision,
}

/// What became of one batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchResult {
    /// The batch has its offsets and is visible.
    Committed {
        /// Offset of its first record.
        base_offset: Offset,
        /// Where the partition's log starts now.
        log_start: Offset,
    },
    /// The same batch was committed before (KIP-98); its bytes here are dead weight.
    Duplicate {
        /// The offset it got then.
        base_offset: Offset,
        /// Greatest record time it had then.
        max_timestamp_ms: TimestampMs,
        /// Where the partition's log starts now.
        log_start: Offset,
    },
    /// The batch was refused and will never be visible.
    Rejected(BatchRejection),
}

/// Why one batch was refused at commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchRejection {
    /// Its topic or partition does not exist (any more).
    #[error("unknown topic or partition")]
    UnknownTopicOrPartition,
    /// Its sequence is neither the next one nor one of the last five.
    #[error("sequence out of order")]
    OutOfOrderSequence,
    /// A newer epoch of its producer id has written.
    #[error("producer epoch is fenced")]
    InvalidProducerEpoch,
    /// Transactional batches need a transaction that is under way.
    #[error("no transaction under way")]
    InvalidTxnState,
    /// The partition's offsets are used up (2^63 records).
    #[error("no offsets left")]
    OffsetsExhausted,
    /// The batch takes no offsets; agents refuse such batches before they upload them.
    #[error("batch takes no offsets")]
    Empty,
}

/// Why a commit has no results.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CommitError {
    /// The segment's write epoch is below the lowest accepted one: if it was committed is unknown for
    /// ever. Answer `REQUEST_TIMED_OUT`, never upload the records again.
    #[error("write epoch {write_epoch} is below {lowest}, the lowest that is accepted")]
    TooOld {
        /// The segment's.
        write_epoch: u32,
        /// The lowest accepted.
        lowest: u32,
    },
    /// The process's registration is not known: register again, then use new segment names.
    #[error("incarnation {0} is not registered")]
    NotRegistered(u32),
    /// Nobody owns the sequencer, or the answer was lost. Repeat the same request.
    #[error("metadata is unavailable, outcome unknown")]
    Unavailable,
}

/// Why a request other than a commit failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// Nobody owns the sequencer, or the answer was lost. Repeat with the same request id.
    #[error("metadata is unavailable")]
    Unavailable,
    /// No such topic.
    #[error("unknown topic")]
    UnknownTopic,
    /// The topic exists already.
    #[error("topic '{0}' already exists")]
    TopicExists(String),
    /// A topic's partitions can only grow.
    #[error("topic has {have} partitions, which is not fewer than {asked}")]
    PartitionCountNotRaised {
        /// Partitions it has.
        have: PartitionIndex,
        /// Partitions asked for.
        asked: PartitionIndex,
    },
    /// A process that is registered, or the owner of the metadata, does not know this feature level.
    #[error("{process} understands feature levels up to {known}, not {asked}")]
    NotUnderstood {
        /// `host:port` at which it answers other processes.
        process: String,
        /// The newest it understands.
        known: u32,
        /// The level asked for.
        asked: u32,
    },
    /// The process that registers does not know the cluster's feature level.
    #[error(
        "the cluster is at feature level {level}, this release understands {known}: use a newer one"
    )]
    TooOld {
        /// The cluster's.
        level: u32,
        /// The process's.
        known: u32,
    },
    /// The configs are not those that the change was made of.
    #[error("the configs were changed meanwhile")]
    ConfigsChanged,
    /// The cluster's limit on resources with configs of their own would be passed.
    #[error("more than {0} resources with configs of their own")]
    TooManyResources(u64),
    /// The cluster's limit on partitions would be passed.
    #[error("{asked} partitions more would pass the limit of {limit}")]
    TooManyPartitions {
        /// Partitions asked for.
        asked: u64,
        /// The cluster's limit.
        limit: u64,
    },
}

/// The newest feature level this release understands. A level gates what older releases do not read or take
/// for something else: a cluster is raised to it only when every process knows it, and never goes back.
///
/// | level | since | what it gates |
/// | --- | --- | --- |
/// | 1 | 0.1 | |
///
/// Level 2 has its gate already: from there on the counters row says the level.
pub const FEATURE_LEVEL: u32 = 1;

/// A topic to create; names and numbers were checked by the caller.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTopic {
    /// Drawn at random by the caller, once per request: it makes a repeat recognisable.
    pub id: TopicId,
    /// Name.
    pub name: String,
    /// Number of partitions.
    pub partition_count: PartitionIndex,
    /// Reported back to tools.
    pub replication_factor: i16,
    /// Configs under Kafka's names.
    pub configs: BTreeMap<String, String>,
}

/// What a process tells of itself when it registers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NewProcess {
    /// Random, new with every start of a process.
    pub nonce: [u8; 16],
    /// Counts the registrations of this process; with `nonce` it makes a repeat recognisable.
    pub attempt: u32,
    /// `host:port` at which it answers other processes of the cluster.
    pub internal: String,
    /// Its zone.
    pub zone: Option<String>,
    /// What clients are told to connect to, one per listener; none without the agent role.
    pub brokers: Vec<BrokerAddress>,
    /// The newest feature level it understands.
    pub feature_level: u32,
}

/// A broker as clients of one listener are told. Processes that tell the same one are one broker.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BrokerAddress {
    /// The listener's name.
    pub listener: String,
    /// Id of the broker.
    pub node_id: NodeId,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A registered process. It leaves when it drains, and is expired when it is not heard of.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Process {
    /// Never given to another process.
    pub incarnation: u32,
    /// What it told.
    pub told: NewProcess,
}

/// What a process is told when it registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Registration {
    /// Never given to another process.
    pub incarnation: u32,
    /// The write epoch to name segments with.
    pub write_epoch: u32,
}

/// A half-open range of producer ids for an agent to hand out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerIdBlock(pub std::ops::Range<ProducerId>);

/// What changed, in the order of revisions. Sent only after it is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WatchEvent {
    /// A segment was committed: the new extents and the high watermarks they imply.
    Committed(Arc<CommittedSegment>),
    /// The same of partitions that the view does not follow: their new high watermarks only.
    Advanced(Arc<[(TopicPartition, Offset)]>),
    /// A topic was created or its partitions or configs changed.
    TopicChanged(Arc<Topic>),
    /// A topic is gone; its id never comes back.
    TopicDeleted(TopicId),
    /// The log of a partition starts later.
    LogStartMoved {
        /// Which partition.
        partition: TopicPartition,
        /// Its new first offset.
        log_start: Offset,
    },
    /// The leader epoch of all partitions rose.
    LeaderEpochRaised(LeaderEpoch),
    /// The feature level of the cluster rose. Sent from level 2 on.
    FeatureLevelRaised(u32),
    /// The write epoch rose: name new segments with this one.
    WriteEpochRaised(u32),
    /// Configs of what is no topic were set or forgotten.
    ConfigsChanged(NamedConfigs),
    /// Processes came or went: all that are registered now, by incarnation.
    ProcessesChanged(Arc<[Process]>),
}

/// The live batches of a committed segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedSegment {
    /// The object.
    pub segment: SegmentId,
    /// Per run of accepted batches, by partition, then offset.
    pub extents: Vec<(TopicPartition, Extent)>,
}

/// Everything an agent's view starts from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// The state is that after this revision.
    pub revision: Revision,
    /// All topics.
    pub topics: Vec<Arc<Topic>>,
    /// Bounds of each partition of each topic, in the order of `topics`, then partition.
    pub bounds: Vec<Vec<PartitionBounds>>,
    /// The leader epoch of all partitions.
    pub leader_epoch: LeaderEpoch,
    /// The feature level of the cluster; 0 in no real one.
    pub feature_level: u32,
    /// The write epoch to name segments with; 0 where the owner does not tell it.
    pub write_epoch: u32,
    /// All registered processes, by incarnation.
    pub processes: Arc<[Process]>,
    /// Configs of what is no topic, by kind and name.
    pub configs: Vec<NamedConfigs>,
}

/// Where the records of a partition lie, from some offset on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LookUp {
    /// The bounds at the moment of the answer.
    pub bounds: PartitionBounds,
    /// Extents in the order of their offsets; the first holds the offset asked for or, where
    /// compaction left a gap, the next one there is. Empty at the high watermark and beyond.
    pub extents: Vec<Extent>,
}
