//! Server-side assignors (KIP-848): who reads which partitions. Pure functions of the members' subscriptions, the
//! topics and the assignment before.
//!
//! Every partition that somebody subscribes to is given to exactly one of them.

use std::collections::{BTreeMap, BTreeSet};

use floe_protocol::types::{PartitionIndex, TopicId, TopicPartition};

mod range;
mod uniform;

#[cfg(test)]
mod tests;

/// Partitions of any topics.
pub type Partitions = BTreeSet<TopicPartition>;

/// How partitions are shared out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Assignor {
    /// As many partitions for everybody as possible, and as few as possible change hands.
    Uniform,
    /// Ranges, topic by topic: members of the same subscription get the same partitions of each topic that
    /// has as many, so that records of one key meet.
    Range,
}

/// A member as an assignor sees it.
#[derive(Clone, Debug)]
pub struct Subscriber<'a> {
    /// Range gives out partitions in the order of these: what stays when a static member is started anew.
    pub name: &'a str,
    /// What it subscribes to; topics that do not exist count for nothing.
    pub topics: BTreeSet<TopicId>,
    /// What it was given before.
    pub before: &'a Partitions,
}

impl Assignor {
    /// Kafka's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Range => "range",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Uniform, Self::Range]
            .into_iter()
            .find(|assignor| assignor.name() == name)
    }

    /// What each member is to read, in the order of `members`. `topics` are those that exist, with the
    /// number of their partitions.
    #[must_use]
    pub fn assign(
        self,
        topics: &BTreeMap<TopicId, PartitionIndex>,
        members: &[Subscriber<'_>],
    ) -> Vec<Partitions> {
        match self {
            Self::Uniform => uniform::assign(topics, members),
            Self::Range => range::assign(topics, members),
        }
    }
}

/// The partitions of a topic.
fn partitions_of(topic: TopicId, count: PartitionIndex) -> impl Iterator<Item = TopicPartition> {
    (0..count).map(move |index| TopicPartition::new(topic, index))
}
