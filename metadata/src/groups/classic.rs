//! One classic group (protocol guide, "Group Membership"; KIP-62, KIP-345, KIP-394, KIP-800, KIP-814).
//!
//! ```text
//!           first join                  all joined, or time is up          the leader syncs
//!  Empty ──────────────▶ Preparing ─────────────────────────▶ Completing ─────────────────▶ Stable
//!    ▲                     ▲  │ nobody joined                    │ somebody joins anew,        │
//!    └─────────────────────┼──┘                                  │ leaves or is late           │
//!                          └─────────────────────────────────────┴─────────────────────────────┘
//! ```
//!
//! Members wait in Join until the group is complete and in Sync until the leader has assigned; who waits is a
//! [`Token`] that comes back in an [`Effect`]. What a new owner of the metadata goes on from is the last
//! generation that was [saved](Effect::Save), which is each one when it is complete and again when it is
//! assigned: the owner restarts all timers in full, no generation is given out twice, and whoever waited asks
//! again with the same ids, which changes nothing if it was heard before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use floe_protocol::error_code::ErrorCode;

use super::consumer::ConsumerConfig;

mod change;
mod describe;
mod join;
mod requests;
mod saved;
mod sync;
mod timers;

#[cfg(test)]
mod tests;

pub use describe::{Described, DescribedMember};
pub use requests::{JoinAnswer, JoinRequest, Joined, SyncAnswer, SyncRequest};
pub use saved::{Saved, SavedMember};

/// Who waits for an answer.
pub type Token = u64;

/// Settings of all groups, under Kafka's names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members. Default 3 s.
    pub initial_rebalance_delay: Duration,
    /// `group.min.session.timeout.ms`, default 6 s.
    pub session_timeout_min: Duration,
    /// `group.max.session.timeout.ms`, default 30 min.
    pub session_timeout_max: Duration,
    /// `group.max.size`, default none.
    pub members_max: usize,
    /// What the members of one group may say of themselves together, in bytes, and again what the leader may
    /// assign: a group is one row and one message. Default 16 MiB.
    pub bytes_max: usize,
    /// Settings of groups of the consumer protocol.
    pub consumer: ConsumerConfig,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::from_secs(3),
            session_timeout_min: Duration::from_secs(6),
            session_timeout_max: Duration::from_secs(30 * 60),
            members_max: usize::MAX,
            bytes_max: 16 << 20,
            consumer: ConsumerConfig::default(),
        }
    }
}

/// What is to be done after a request or when time has passed, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The group as it is now must be durable before the answers after it leave.
    Save,
    /// Answers a Join.
    Joined(Token, JoinAnswer),
    /// Answers a Sync.
    Synced(Token, SyncAnswer),
}

/// The state of a group, as tools show it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Phase {
    /// Without members.
    Empty,
    /// Members are joining.
    PreparingRebalance,
    /// The leader is assigning.
    CompletingRebalance,
    /// Every member has its assignment.
    Stable,
}

/// A member.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Member {
    instance: Option<String>,
    client_id: String,
    client_host: String,
    session_timeout: Duration,
    rebalance_timeout: Duration,
    /// Names with metadata that is opaque here, the preferred one first.
    protocols: Vec<(String, Bytes)>,
    assignment: Bytes,
    /// When it is given up unless it is heard; not while it waits for an answer.
    expires: Duration,
    joining: Option<Token>,
    syncing: Option<Token>,
    /// It has never been in a complete generation.
    is_new: bool,
    /// It has synced in this generation.
    has_synced: bool,
}

/// When something happens by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Rebalance {
    /// Joining ends, whoever is missing.
    ends: Duration,
    /// The first of an empty group: it waits on for as long as members come, up to this moment.
    initial_until: Option<Duration>,
}

/// One group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    config: GroupConfig,
    phase: Phase,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Member ids by instance id.
    statics: BTreeMap<String, String>,
    /// Ids that were given to members that have not joined with them yet, and until when they may.
    pending: BTreeMap<String, Duration>,
    rebalance: Option<Rebalance>,
    /// Members that have not synced are removed.
    sync_ends: Option<Duration>,
}

impl Group {
    /// A group without members.
    #[must_use]
    pub fn new(config: GroupConfig) -> Self {
        Self {
            config,
            phase: Phase::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            rebalance: None,
            sync_ends: None,
        }
    }

    /// Its state.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Complete generations so far.
    #[must_use]
    pub const fn generation(&self) -> i32 {
        self.generation
    }

    /// Heartbeat: keeps a member alive.
    ///
    /// # Errors
    /// `RebalanceInProgress` says that it has to join again, and keeps it alive as well. Else the member is
    /// not one of this generation.
    pub fn heartbeat(
        &mut self,
        now: Duration,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        self.check_member(member_id, instance, generation)?;
        self.heard(now, member_id);
        match self.phase {
            Phase::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            Phase::Empty | Phase::CompletingRebalance | Phase::Stable => Ok(()),
        }
    }

    /// Whether a member may commit offsets; keeps it alive if so. A generation of -1 is a consumer that
    /// assigns itself, or a tool, and may commit while the group is empty.
    ///
    /// # Errors
    /// The code for all partitions of the commit.
    pub fn may_commit(
        &mut self,
        now: Duration,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        if generation < 0 && member_id.is_empty() && instance.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(member_id, instance, generation)?;
        match self.phase {
            Phase::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            Phase::Empty | Phase::PreparingRebalance | Phase::Stable => {
                self.heard(now, member_id);
                Ok(())
            }
        }
    }

    /// LeaveGroup for one member. An instance id without a member id removes a static member, whoever it is.
    ///
    /// # Errors
    /// `UnknownMemberId`, `FencedInstanceId`.
    pub fn leave(
        &mut self,
        now: Duration,
        member_id: &str,
        instance: Option<&str>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        let member_id = match instance {
            Some(instance) if member_id.is_empty() => self.statics.get(instance).cloned(),
            Some(_) | None => {
                if self.pending.remove(member_id).is_some() {
                    self.look_whether_all_joined(now, effects);
                    return Ok(());
                }
                self.check_identity(member_id, instance)?;
                Some(member_id.to_owned())
            }
        };
        let member_id = member_id.ok_or(ErrorCode::UnknownMemberId)?;
        self.remove(&member_id, effects);
        self.lost_somebody(now, effects);
        Ok(())
    }

    /// The member is known, its instance id is its own, and the generation is the present one.
    fn check_member(
        &self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        self.check_identity(member_id, instance)?;
        if generation == self.generation {
            Ok(())
        } else {
            Err(ErrorCode::IllegalGeneration)
        }
    }

    fn check_identity(&self, member_id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if known != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    /// A member was heard: its session begins anew.
    fn heard(&mut self, now: Duration, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.expires = now + member.session_timeout;
        }
    }

    /// Takes a member out; who waits in its name learns that it is unknown.
    fn remove(&mut self, member_id: &str, effects: &mut Vec<Effect>) {
        let Some(member) = self.members.remove(member_id) else {
            return;
        };
        if let Some(instance) = &member.instance
            && self.statics.get(instance).is_some_and(|id| id == member_id)
        {
            self.statics.remove(instance);
        }
        if let Some(token) = member.joining {
            let answer = JoinAnswer::refused(ErrorCode::UnknownMemberId, member_id);
            effects.push(Effect::Joined(token, answer));
        }
        if let Some(token) = member.syncing {
            let answer = SyncAnswer::refused(ErrorCode::UnknownMemberId);
            effects.push(Effect::Synced(token, answer));
        }
        if self.leader.as_deref() == Some(member_id) {
            self.leader = None;
        }
    }

    /// Somebody was removed: the others join again, or those who join may be all now.
    fn lost_somebody(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Empty => {}
            Phase::PreparingRebalance => self.look_whether_all_joined(now, effects),
            Phase::CompletingRebalance | Phase::Stable => self.prepare(now, effects),
        }
    }

    /// The names that every member knows.
    fn common_protocols(&self) -> BTreeSet<&str> {
        let mut members = self.members.values();
        let names = |member: &'_ Member| -> BTreeSet<String> {
            member
                .protocols
                .iter()
                .map(|(name, _)| name.clone())
                .collect()
        };
        let Some(first) = members.next() else {
            return BTreeSet::new();
        };
        let mut common: BTreeSet<&str> = first
            .protocols
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        for member in members {
            let known = names(member);
            common.retain(|name| known.contains(*name));
        }
        common
    }
}
