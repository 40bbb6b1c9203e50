//! A group as tools are told of it.

use std::sync::Arc;

use floe_protocol::types::{PartitionIndex, TopicId};

use super::reconcile::Progress;
use super::{Catalog, Group, Partitions};

/// The state of a group, as tools show it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum GroupState {
    /// Without members.
    Empty,
    /// Somebody is not where it is to be yet.
    Reconciling,
    /// Every member has its assignment.
    Stable,
}

/// A group as tools are told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    /// Its state.
    pub state: GroupState,
    /// Group epoch and assignment epoch.
    pub epoch: i32,
    /// Name of the assignor.
    pub assignor: String,
    /// By their ids, in their order.
    pub members: Vec<DescribedMember>,
}

/// Partitions of topics by name.
type NamedPartitions = Vec<(TopicId, Arc<str>, Vec<PartitionIndex>)>;

/// A member as tools are told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedMember {
    /// Its id.
    pub id: String,
    /// Of a static member.
    pub instance: Option<String>,
    /// Where it is, as it says.
    pub rack: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// What it has been brought to.
    pub epoch: i32,
    /// Topics it subscribes to by name.
    pub names: Vec<String>,
    /// Topics it subscribes to by a regular expression.
    pub regex: Option<String>,
    /// What it was told to read.
    pub assigned: NamedPartitions,
    /// What it is to have in the end.
    pub target: NamedPartitions,
    /// It speaks the classic protocol.
    pub is_classic: bool,
}

impl Group {
    /// Its state.
    #[must_use]
    pub fn state(&self) -> GroupState {
        let mut progress = self.members.values().map(|it| it.kept.progress(self.epoch));
        if self.members.is_empty() {
            GroupState::Empty
        } else if progress.all(|it| it == Progress::Stable) {
            GroupState::Stable
        } else {
            GroupState::Reconciling
        }
    }

    /// The group as tools are told of it.
    #[must_use]
    pub fn described(&self, catalog: Catalog<'_>) -> Described {
        let named = |partitions: &Partitions| by_topic(partitions, catalog);
        let members = self.members.values().map(|member| {
            let member = &member.kept;
            DescribedMember {
                id: member.id.clone(),
                instance: member.instance.clone(),
                rack: member.rack.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                epoch: member.epoch,
                names: member.names.iter().cloned().collect(),
                regex: member.regex.clone(),
                assigned: named(&member.assigned),
                target: named(&member.target),
                is_classic: member.classic.is_some(),
            }
        });
        Described {
            state: self.state(),
            epoch: self.epoch,
            assignor: self.assignor().name().to_owned(),
            members: members.collect(),
        }
    }
}

/// Partitions by topic; those of topics that are gone are left out.
pub(super) fn by_topic(partitions: &Partitions, catalog: Catalog<'_>) -> NamedPartitions {
    let mut topics: Vec<(TopicId, Arc<str>, Vec<PartitionIndex>)> = Vec::new();
    for partition in partitions {
        match topics.last_mut() {
            Some((topic, _, indexes)) if *topic == partition.topic => {
                indexes.push(partition.partition);
            }
            _ => {
                if let Some(name) = catalog.topics.name_of(partition.topic) {
                    topics.push((partition.topic, name, vec![partition.partition]));
                }
            }
        }
    }
    topics
}
