//! What administrators ask of metadata beyond topics: configs of all kinds, log starts, sizes, producers.

use std::collections::BTreeMap;
use std::sync::Arc;

use floe_protocol::types::{
    Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicId, TopicPartition,
};

use super::{PartitionBounds, Revision};

/// Configs by name, as they were set; what was not set is not there.
pub type ConfigValues = BTreeMap<String, String>;

/// What configs that belong to no topic are about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ConfigKind {
    /// A broker by its node id, or all of them where the name is empty.
    Broker,
    /// A subscription to metrics of clients (KIP-714).
    ClientMetrics,
    /// A group by its name (KIP-848).
    Group,
    /// Quotas of the clients that the name describes (KIP-546).
    Quota,
}

impl ConfigKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Broker, Self::ClientMetrics, Self::Group, Self::Quota];

    /// A number that never changes: rows and messages name the kind by it.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Broker => 1,
            Self::ClientMetrics => 2,
            Self::Group => 3,
            Self::Quota => 4,
        }
    }

    /// The kind with this number.
    #[must_use]
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// Whose configs are to change.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ConfigResource {
    /// A topic's: they are part of it.
    Topic(TopicId),
    /// Those of something else, by kind and name.
    Named(ConfigKind, Arc<str>),
}

/// Replaces the configs of one resource, if they are still those that the change was made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AlterConfigs {
    /// Whose.
    pub resource: ConfigResource,
    /// What the caller saw.
    pub before: ConfigValues,
    /// What shall hold; empty forgets a resource that is no topic.
    pub after: ConfigValues,
}

/// The configs of a resource that is no topic. Immutable: a change makes new ones.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NamedConfigs {
    /// What they are about.
    pub kind: ConfigKind,
    /// Which one.
    pub name: Arc<str>,
    /// What was set; empty in an event that says that nothing is any more.
    pub values: Arc<ConfigValues>,
}

/// A producer whose sequences are remembered in a partition (KIP-664).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ActiveProducer {
    /// Its id.
    pub id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// Sequence of its last record.
    pub last_sequence: Sequence,
    /// Greatest record time of its last batch.
    pub last_timestamp_ms: TimestampMs,
}

/// What is told of the owner of metadata where Kafka tells of its quorum (KIP-595).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuorumFacts {
    /// The nonce of the process that is the owner; `None` when that is the one asked.
    pub owner: Option<[u8; 16]>,
    /// The write epoch that new registrations are given: rises with each owner.
    pub write_epoch: u32,
    /// Commands applied so far.
    pub revision: Revision,
}

/// What is asked; see [`AdminReply`] for which reply answers which. Changes may be repeated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdminRequest {
    /// Answered by [`AdminReply::Altered`]. `UnknownTopic`, `ConfigsChanged` where `before` does not hold,
    /// `TooManyResources`.
    AlterConfigs(AlterConfigs),
    /// Moves log starts up: an offset below the present log start does nothing, one above the high watermark
    /// counts as the high watermark. Answered by [`AdminReply::LogStarts`].
    MoveLogStarts(Vec<(TopicPartition, Offset)>),
    /// How many bytes the records of each partition take. Answered by [`AdminReply::Sizes`].
    Sizes(Vec<TopicPartition>),
    /// Who writes with sequences to each partition. Answered by [`AdminReply::Producers`].
    Producers(Vec<TopicPartition>),
    /// Answered by [`AdminReply::Quorum`].
    Quorum,
}

/// The answer to an [`AdminRequest`]. Lists are in the order of the request, `None` for partitions that do not
/// exist.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AdminReply {
    /// The revision after which views show the configs.
    Altered(Revision),
    /// The bounds afterwards, and the revision after which views show them.
    LogStarts(Vec<Option<PartitionBounds>>, Revision),
    /// In bytes, of all extents that hold a record at or after the log start.
    Sizes(Vec<Option<u64>>),
    /// By producer id. States that memory had no room for are not among them.
    Producers(Vec<Option<Vec<ActiveProducer>>>),
    /// What is known of the owner.
    Quorum(QuorumFacts),
}
