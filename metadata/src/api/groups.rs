//! What is asked about groups and committed offsets, and what is answered. Kafka's codes are the contract
//! here: agents pass them on. Every request may be repeated: a Join carries the id that was drawn for it, and
//! all others mean the same the second time.

use std::sync::Arc;

use floe_protocol::error_code::ErrorCode;
use floe_protocol::types::{Offset, PartitionIndex, TimestampMs, TopicId, TopicPartition};

pub use crate::groups::classic::{
    Described, DescribedMember, GroupConfig, JoinAnswer, JoinRequest, Joined, Phase, SyncAnswer,
    SyncRequest,
};
pub use crate::groups::consumer::{
    Assignor, ConsumerConfig, Described as DescribedConsumers,
    DescribedMember as DescribedConsumer, GroupState, HeartbeatAnswer, HeartbeatRequest,
    Partitions,
};

/// Something that is asked of groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupRequest {
    /// Answered by [`GroupReply::Joined`] when the generation is complete: minutes later, if need be.
    Join {
        /// The group.
        group: String,
        /// What the member says.
        request: JoinRequest,
    },
    /// Answered by [`GroupReply::Synced`] when the leader has assigned.
    Sync {
        /// The group.
        group: String,
        /// What the member says.
        request: SyncRequest,
    },
    /// Keeps a member alive. Answered by [`GroupReply::Code`].
    Heartbeat(Identity),
    /// A member of the consumer protocol joins, goes on or leaves. Answered by [`GroupReply::Heard`].
    ConsumerHeartbeat {
        /// The group.
        group: String,
        /// What the member says.
        request: HeartbeatRequest,
    },
    /// Takes members out. Answered by [`GroupReply::Codes`], one per member.
    Leave {
        /// The group.
        group: String,
        /// Member id and instance id; an instance id alone removes a static member, whoever it is.
        members: Vec<(String, Option<String>)>,
    },
    /// Stores offsets. Answered by [`GroupReply::Codes`], one per offset, when they are durable.
    CommitOffsets {
        /// Who commits; a generation of -1 is nobody in particular.
        by: Identity,
        /// What is said if there is no such group and the generation is not -1.
        unknown_group: ErrorCode,
        /// In the order of the answer.
        offsets: Vec<OffsetCommit>,
    },
    /// Reads offsets. Answered by [`GroupReply::Offsets`], or [`GroupReply::Code`] if who asks may not. Linearizable.
    FetchOffsets {
        /// The group.
        group: String,
        /// Which ones.
        which: OffsetsOf,
        /// Who asks: member id and epoch; -1 is no epoch.
        by: (Option<String>, i32),
    },
    /// Forgets offsets. Answered by [`GroupReply::Deleted`].
    DeleteOffsets {
        /// The group.
        group: String,
        /// In the order of the answer.
        partitions: Vec<(String, PartitionIndex)>,
    },
    /// Forgets groups without members. Answered by [`GroupReply::Codes`], one per group.
    DeleteGroups(Vec<String>),
    /// The next [`PAGE_ITEMS`] groups by name, after this one. Answered by [`GroupReply::Listed`].
    List(Option<String>),
    /// One classic group. Answered by [`GroupReply::Described`].
    Describe(String),
    /// One group of the consumer protocol. Answered by [`GroupReply::DescribedConsumers`].
    DescribeConsumers(String),
}

/// Who says something in a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The group.
    pub group: String,
    /// Its member id; empty for nobody.
    pub member_id: String,
    /// Of a static member.
    pub instance: Option<String>,
    /// The generation it is in; -1 for none.
    pub generation: i32,
}

/// A topic as a request names it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TopicRef {
    /// By name: whatever topic has it when the request is applied.
    Name(String),
    /// By id.
    Id(TopicId),
}

/// Which offsets of a group are asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OffsetsOf {
    /// These, in the order of the answer; at most [`PAGE_ITEMS`] for one call between processes.
    Partitions(Vec<(TopicRef, Vec<PartitionIndex>)>),
    /// All there are after this one, by topic id and partition; as many as fit one answer.
    All(Option<TopicPartition>),
}

/// An offset to store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetCommit {
    /// Its topic.
    pub topic: TopicRef,
    /// Its partition.
    pub partition: PartitionIndex,
    /// What is stored.
    pub committed: CommittedOffset,
}

/// A committed offset, as the client gave it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CommittedOffset {
    /// The next record to read.
    pub offset: Offset,
    /// Epoch of the record before it; -1 if unknown.
    pub leader_epoch: i32,
    /// The client's own.
    pub metadata: Arc<str>,
}

/// What is stored for a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchedOffset {
    /// The topic's id; zero where a name is asked for that nothing is stored for.
    pub topic: TopicId,
    /// The topic's name; empty where an id is asked for that nothing is stored for.
    pub name: Arc<str>,
    /// The partition.
    pub partition: PartitionIndex,
    /// `Ok(None)` where nothing is stored, `UnknownTopicId` for an id that no topic has.
    pub committed: Result<Option<CommittedOffset>, ErrorCode>,
}

/// A group in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedGroup {
    /// Its name.
    pub name: String,
    /// `consumer`, `connect`, …; empty if it never had a member.
    pub protocol_type: String,
    /// Its kind and state.
    pub state: ListedState,
}

/// Kind and state of a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListedState {
    /// Its members assign among themselves.
    Classic(Phase),
    /// A group of the consumer protocol.
    Consumer(GroupState),
}

/// An answer about groups.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GroupReply {
    /// To [`GroupRequest::Join`].
    Joined(JoinAnswer),
    /// To [`GroupRequest::Sync`].
    Synced(SyncAnswer),
    /// To [`GroupRequest::Heartbeat`].
    Code(ErrorCode),
    /// One per thing asked for, in its order.
    Codes(Vec<ErrorCode>),
    /// To [`GroupRequest::FetchOffsets`]: one per partition asked for, in its order; of all there are, by
    /// topic id and partition.
    Offsets {
        /// What is stored.
        offsets: Vec<FetchedOffset>,
        /// Whether there is nothing after it.
        is_last: bool,
    },
    /// To [`GroupRequest::DeleteOffsets`]: one per partition. An error concerns the whole group.
    Deleted(Result<Vec<ErrorCode>, ErrorCode>),
    /// To [`GroupRequest::List`]: by name. The last page is not full.
    Listed(Vec<ListedGroup>),
    /// To [`GroupRequest::Describe`]: `None` for a group that does not exist or is of another kind.
    Described(Option<Described>),
    /// To [`GroupRequest::ConsumerHeartbeat`].
    Heard(HeartbeatAnswer),
    /// To [`GroupRequest::DescribeConsumers`]: `None` for a group that does not exist or is of another kind.
    DescribedConsumers(Option<DescribedConsumers>),
}

impl GroupRequest {
    /// The same request, asked again after its outcome became unknown.
    #[must_use]
    pub fn repeated(mut self) -> Self {
        if let Self::ConsumerHeartbeat { request, .. } = &mut self {
            request.is_repeat = true;
        }
        self
    }

    /// Whether the answer may take minutes.
    #[must_use]
    pub const fn waits(&self) -> bool {
        matches!(self, Self::Join { .. } | Self::Sync { .. })
    }
}

/// Groups or offsets in one answer.
pub const PAGE_ITEMS: usize = 2000;

/// `offsets.retention.minutes`: 7 days.
pub const OFFSETS_RETENTION_MS: TimestampMs = 7 * 24 * 60 * 60 * 1000;
