//! A group as tools are told of it.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Group, Phase, Saved};
use crate::groups::subscription;

/// A group as tools are told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    /// Its state.
    pub phase: Phase,
    /// `consumer`, `connect`, …; empty if it never had a member.
    pub protocol_type: String,
    /// The one that was chosen; empty unless the group is stable.
    pub protocol: String,
    /// By their ids, in their order.
    pub members: Vec<DescribedMember>,
}

/// A member as tools are told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedMember {
    /// Its id.
    pub id: String,
    /// Of a static member.
    pub instance: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// For the protocol that was chosen; empty unless the group is stable.
    pub metadata: Bytes,
    /// What the leader gave to it; empty unless the group is stable.
    pub assignment: Bytes,
}

impl Group {
    /// `consumer`, `connect`, …; `None` if it never had a member.
    #[must_use]
    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// The group as tools are told of it.
    #[must_use]
    pub fn described(&self) -> Described {
        let is_stable = self.phase == Phase::Stable;
        let saved = self.saved();
        let protocol = saved.protocol.filter(|_| is_stable).unwrap_or_default();
        let members = saved.members.into_iter().map(|member| {
            let mut protocols = member.protocols.into_iter();
            let chosen = protocols.find(|(name, _)| is_stable && *name == protocol);
            DescribedMember {
                id: member.id,
                instance: member.instance,
                client_id: member.client_id,
                client_host: member.client_host,
                metadata: chosen.map(|(_, metadata)| metadata).unwrap_or_default(),
                assignment: if is_stable {
                    member.assignment
                } else {
                    Bytes::new()
                },
            }
        });
        Described {
            phase: self.phase,
            protocol_type: saved.protocol_type.unwrap_or_default(),
            members: members.collect(),
            protocol,
        }
    }

    /// Whether there is nothing to remember: no member, nobody to come, no generation that was complete.
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        self.phase == Phase::Empty && self.members.is_empty() && self.pending.is_empty()
    }
}

impl Saved {
    /// The topics that the members of a group of consumers read; `None` where that is not known: the group is
    /// of another kind, or what its members say of themselves is not what consumers say.
    #[must_use]
    pub fn subscribed(&self) -> Option<BTreeSet<String>> {
        if !self.is_of_consumers() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in &self.members {
            let mut protocols = member.protocols.iter();
            let chosen = protocols.find(|(name, _)| Some(name) == self.protocol.as_ref());
            topics.extend(subscription::topics(&chosen?.1)?);
        }
        Some(topics)
    }

    /// Whether the members are consumers.
    #[must_use]
    pub fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some("consumer")
    }
}
