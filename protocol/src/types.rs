//! The words every crate shares: Kafka's names for Kafka's things.
//! Owns ids and coordinates only; no wire layout (see `messages`) and no behaviour.

use std::fmt;

use uuid::Uuid;

/// Position of a record in a partition; the first record ever has offset 0.
pub type Offset = i64;
/// Number of a partition within its topic, from 0.
pub type PartitionIndex = i32;
/// Id of an idempotent producer; -1 on the wire means none.
pub type ProducerId = i64;
/// Epoch of a producer id; a higher one fences the lower.
pub type ProducerEpoch = i16;
/// Sequence number of a producer's record in a partition; 2147483647 is followed by 0.
pub type Sequence = i32;
/// Milliseconds since the Unix epoch.
pub type TimestampMs = i64;
/// Epoch of a partition's leadership; Floe's is one persisted counter that never falls.
pub type LeaderEpoch = i32;
/// Id of a broker as clients see it.
pub type NodeId = i32;

/// The wire's "no producer".
pub const NO_PRODUCER_ID: ProducerId = -1;

/// Identity of a topic (KIP-516): random, stable, new when a topic is created again under the same name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub Uuid);

impl TopicId {
    /// The wire's "no topic id".
    pub const ZERO: Self = Self(Uuid::nil());

    /// A topic id from its 16 bytes, most significant first.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes, most significant first.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Whether this is the wire's "no topic id".
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.0.is_nil()
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.as_hyphenated(), f)
    }
}

impl From<Uuid> for TopicId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl From<TopicId> for Uuid {
    fn from(id: TopicId) -> Self {
        id.0
    }
}

/// One partition of one topic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition within it.
    pub partition: PartitionIndex,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    #[must_use]
    pub const fn new(topic: TopicId, partition: PartitionIndex) -> Self {
        Self { topic, partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
