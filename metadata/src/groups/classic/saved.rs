//! What of a group outlives the owner of the metadata: a complete generation, and nobody's timers.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::{Group, GroupConfig, Member, Phase};

/// A complete generation of a group, or a group without members.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Saved {
    /// Complete generations so far; none of them is given out again.
    pub generation: i32,
    /// `consumer`, `connect`, …; `None` for a group that only ever had offsets.
    pub protocol_type: Option<String>,
    /// The one that was chosen.
    pub protocol: Option<String>,
    /// Who assigns.
    pub leader: Option<String>,
    /// Whether the leader has assigned.
    pub is_assigned: bool,
    /// By their ids, in their order.
    pub members: Vec<SavedMember>,
}

/// A member of a complete generation.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SavedMember {
    /// Its id.
    pub id: String,
    /// Of a static member.
    pub instance: Option<String>,
    /// As the client called itself.
    pub client_id: String,
    /// Where it connected from.
    pub client_host: String,
    /// Whole milliseconds.
    pub session_timeout: Duration,
    /// Whole milliseconds.
    pub rebalance_timeout: Duration,
    /// Names and metadata, the preferred one first.
    pub protocols: Vec<(String, Bytes)>,
    /// What the leader gave to it; empty before.
    pub assignment: Bytes,
}

impl Group {
    /// The group as it has to be saved when an effect says so.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let member = |(id, member): (&String, &Member)| SavedMember {
            id: id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            session_timeout: member.session_timeout,
            rebalance_timeout: member.rebalance_timeout,
            protocols: member.protocols.clone(),
            assignment: member.assignment.clone(),
        };
        Saved {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            is_assigned: self.phase == Phase::Stable,
            members: self.members.iter().map(member).collect(),
        }
    }

    /// The group under a new owner: nobody expires for the absence of one, so every timer starts in full.
    #[must_use]
    pub fn restored(config: GroupConfig, now: Duration, saved: &Saved) -> Self {
        let mut group = Self::new(config);
        group.generation = saved.generation;
        group.protocol_type.clone_from(&saved.protocol_type);
        group.protocol.clone_from(&saved.protocol);
        group.leader.clone_from(&saved.leader);
        let member = |saved: &SavedMember, has_synced| Member {
            instance: saved.instance.clone(),
            client_id: saved.client_id.clone(),
            client_host: saved.client_host.clone(),
            session_timeout: saved.session_timeout,
            rebalance_timeout: saved.rebalance_timeout,
            protocols: saved.protocols.clone(),
            assignment: saved.assignment.clone(),
            expires: now + saved.session_timeout,
            joining: None,
            syncing: None,
            is_new: false,
            has_synced,
        };
        let members = saved.members.iter();
        group.members = members
            .map(|it| (it.id.clone(), member(it, saved.is_assigned)))
            .collect::<BTreeMap<_, _>>();
        let statics = saved.members.iter();
        group.statics = statics
            .filter_map(|it| Some((it.instance.clone()?, it.id.clone())))
            .collect();
        if group.members.is_empty() {
            return group;
        }
        group.phase = if saved.is_assigned {
            Phase::Stable
        } else {
            group.sync_ends = Some(now + group.rebalance_timeout());
            Phase::CompletingRebalance
        };
        group
    }
}
