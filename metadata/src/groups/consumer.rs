//! One group of the consumer protocol (KIP-848): members only send heartbeats, the assignment is made here.
//!
//! ```text
//!  heartbeat ─▶ check ─▶ subscription ─▶ changed? epoch + 1, new target ─▶ reconcile this member ─▶ answer
//!
//!            target differs                  it no longer owns them        others have let go
//!  Stable ─────────────────▶ Unrevoked ─────────────────────────▶ Unreleased ───────────────▶ Stable
//!                            keeps its epoch,                     at the group's epoch, with
//!                            told what to keep                    what of its target is free
//! ```
//!
//! Invariant: a partition is in the [`assigned`](SavedMember::assigned) or [`revoking`](SavedMember::revoking) set
//! of one member at most, and no client owns what is in neither of its sets. So nobody is given a partition before
//! its owner has said that it let go, was told to leave, or went silent for its session.
//!
//! Group epoch and assignment epoch are one: the target is made in the step that raises the epoch. All that a
//! member was ever told is in [`Saved`], which [`Group::take_save`] says is to be durable before answers leave
//! (decision 18); timers are not. Members of the classic protocol may be in such a group as well, see
//! [`bridge`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use floe_planted::Bug;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::types::{PartitionIndex, TopicId};

pub mod assignor;
mod bridge;
mod describe;
mod heartbeat;
mod reconcile;
mod saved;
mod subscribed;
mod timers;

#[cfg(test)]
mod tests;

pub use assignor::{Assignor, Partitions};
pub use describe::{Described, DescribedMember, GroupState};
pub use heartbeat::{HeartbeatAnswer, HeartbeatRequest};
pub use saved::{ClassicMember, Saved, SavedMember};

use assignor::Subscriber;
use subscribed::Subscribed;

/// Epoch of a member that leaves.
pub const LEAVING: i32 = -1;
/// Epoch of a static member that goes and will be back.
pub const PAUSING: i32 = -2;

/// Settings of groups of the consumer protocol, under Kafka's names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumerConfig {
    /// `group.consumer.session.timeout.ms`: after how long without a heartbeat a member is given up. Default 45 s.
    pub session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`: what members are told. Default 5 s.
    pub heartbeat_interval: Duration,
    /// `group.consumer.max.size`, default none.
    pub members_max: usize,
    /// `group.consumer.assignors`: those that members may ask for; the first is the default.
    pub assignors: Vec<Assignor>,
    /// `group.consumer.migration.policy`: whether a classic group becomes one of these.
    pub upgrades: bool,
    /// The same: whether one of these becomes a classic group when only classic members are left.
    pub downgrades: bool,
    /// What the members of one group may say of themselves together, in bytes: a group is one row. Default 16 MiB.
    pub bytes_max: usize,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(5),
            members_max: usize::MAX,
            assignors: vec![Assignor::Uniform, Assignor::Range],
            upgrades: true,
            downgrades: true,
            bytes_max: 16 << 20,
        }
    }
}

/// What is set for one group (KIP-848's group configs); what is not set is as in [`ConsumerConfig`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupSettings {
    /// `consumer.session.timeout.ms`.
    pub session_timeout: Option<Duration>,
    /// `consumer.heartbeat.interval.ms`.
    pub heartbeat_interval: Option<Duration>,
}

/// The topics of the cluster.
pub trait Topics {
    /// Id and number of partitions of the topic of this name.
    fn topic(&self, name: &str) -> Option<(TopicId, PartitionIndex)>;
    /// The name of a topic.
    fn name_of(&self, id: TopicId) -> Option<Arc<str>>;
    /// Calls `each` with every topic's name, id and number of partitions.
    fn for_each(&self, each: &mut dyn FnMut(&Arc<str>, TopicId, PartitionIndex));
}

/// The topics as they are now.
#[derive(Clone, Copy)]
pub struct Catalog<'a> {
    /// The topics.
    pub topics: &'a dyn Topics,
    /// Another number after each change of them.
    pub version: u64,
}

impl std::fmt::Debug for Catalog<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Why a heartbeat is refused: a code and, for people, a sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refusal(pub(crate) ErrorCode, pub(crate) String);

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(code, message.into())
    }
}

/// A member, and its timers.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Member {
    kept: SavedMember,
    /// When it is given up unless it is heard.
    expires: Duration,
    /// By when it must have let go of what it was told to, or as a classic member have joined or synced.
    deadline: Option<Duration>,
    /// What it has said that it reads, of what it was told to since it was told. The rest it may still take.
    reported: Partitions,
}

/// One group.
#[derive(Clone, Debug)]
pub struct Group {
    config: ConsumerConfig,
    settings: GroupSettings,
    epoch: i32,
    members: BTreeMap<String, Member>,
    /// Member ids by instance id.
    statics: BTreeMap<String, String>,
    /// What is in the sets of any member.
    taken: Partitions,
    /// What members subscribe to, as it was last looked up; `None` until a new owner has looked.
    subscribed: Option<Subscribed>,
    is_unsaved: bool,
}

impl Group {
    /// A group without members, whose epochs follow `epoch`.
    #[must_use]
    pub const fn new(config: ConsumerConfig, epoch: i32) -> Self {
        Self {
            config,
            settings: GroupSettings {
                session_timeout: None,
                heartbeat_interval: None,
            },
            epoch,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            taken: Partitions::new(),
            subscribed: None,
            is_unsaved: false,
        }
    }

    /// What is set for this group from now on.
    pub const fn configure(&mut self, settings: GroupSettings) {
        self.settings = settings;
    }

    /// After how long without a heartbeat a member is given up.
    fn session_timeout(&self) -> Duration {
        let own = self.settings.session_timeout;
        own.unwrap_or(self.config.session_timeout)
    }

    /// How often members are told to send heartbeats.
    fn heartbeat_interval(&self) -> Duration {
        let own = self.settings.heartbeat_interval;
        own.unwrap_or(self.config.heartbeat_interval)
    }

    /// The group epoch, which is that of the target assignment as well.
    #[must_use]
    pub const fn epoch(&self) -> i32 {
        self.epoch
    }

    /// Whether it has no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// What is to be durable before any answer leaves that was made before this call; `None` if nothing
    /// changed since the last one.
    pub fn take_save(&mut self) -> Option<Saved> {
        let is_unsaved = std::mem::take(&mut self.is_unsaved);
        // Of a group that is new something is always kept.
        let is_lost = Bug::MembersNotSaved.is_planted() && self.epoch > 2;
        (is_unsaved && !is_lost).then(|| self.saved())
    }

    /// Names of the topics that members read.
    #[must_use]
    pub fn topics_read(&self) -> BTreeSet<String> {
        let members = self.members.values();
        let named = members.flat_map(|member| member.kept.names.iter().cloned());
        let found = self.subscribed.iter().flat_map(Subscribed::names);
        named.chain(found.map(|name| name.to_string())).collect()
    }

    /// Whether a member of the given epoch may commit or fetch offsets; an epoch below 0 is nobody in particular,
    /// who may while the group is empty.
    ///
    /// # Errors
    /// The code for all of them.
    pub fn check_epoch(
        &self,
        member_id: &str,
        instance: Option<&str>,
        epoch: i32,
        knows_epochs: bool,
    ) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(member_id);
        let Member { kept, .. } = member.ok_or(ErrorCode::UnknownMemberId)?;
        if let (Some(instance), Some(own)) = (instance, &kept.instance)
            && instance != own
        {
            return Err(ErrorCode::FencedInstanceId);
        }
        match &kept.classic {
            None if !knows_epochs => Err(ErrorCode::UnsupportedVersion),
            None if epoch != kept.epoch => Err(ErrorCode::StaleMemberEpoch),
            Some(_) if epoch != kept.epoch => Err(ErrorCode::IllegalGeneration),
            _ => Ok(()),
        }
    }

    /// The next epoch, with a target of its own.
    fn bump(&mut self, catalog: Catalog<'_>) {
        self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        self.is_unsaved = true;
        self.look_up(catalog);
        let assignor = self.assignor();
        let targets = {
            let Some(subscribed) = &self.subscribed else {
                return;
            };
            let members = self.members.values().map(|member| Subscriber {
                name: member.kept.instance.as_ref().unwrap_or(&member.kept.id),
                topics: subscribed.topics_of(&member.kept),
                before: &member.kept.target,
            });
            let members: Vec<_> = members.collect();
            assignor.assign(&subscribed.counts(), &members)
        };
        for (member, target) in self.members.values_mut().zip(targets) {
            member.kept.target = target;
        }
    }

    /// The one that most members ask for, else the default.
    fn assignor(&self) -> Assignor {
        let mut votes: BTreeMap<Assignor, usize> = BTreeMap::new();
        for assignor in self.members.values().filter_map(|it| it.kept.assignor) {
            *votes.entry(assignor).or_default() += 1;
        }
        let default = self.config.assignors.first().copied();
        // Of as many votes the default.
        let chosen = votes
            .into_iter()
            .max_by_key(|(assignor, votes)| (*votes, Some(*assignor) == default));
        let chosen = chosen.map(|(assignor, _)| assignor).or(default);
        chosen.unwrap_or(Assignor::Uniform)
    }

    /// Takes a member out, and with it all it had.
    fn remove(&mut self, member_id: &str) -> Option<SavedMember> {
        let Member { kept, .. } = self.members.remove(member_id)?;
        self.is_unsaved = true;
        for partition in kept.assigned.iter().chain(&kept.revoking) {
            self.taken.remove(partition);
        }
        if let Some(instance) = &kept.instance
            && self.statics.get(instance) == Some(&kept.id)
        {
            self.statics.remove(instance);
        }
        Some(kept)
    }

    /// Adds a member, or puts another in its place; what it has is taken.
    fn put(&mut self, now: Duration, kept: SavedMember) {
        self.remove(&kept.id);
        self.is_unsaved = true;
        self.taken
            .extend(kept.assigned.iter().chain(&kept.revoking));
        if let Some(instance) = &kept.instance {
            self.statics.insert(instance.clone(), kept.id.clone());
        }
        let expires = now + self.session_of(&kept);
        let member = Member {
            kept,
            expires,
            deadline: None,
            reported: Partitions::new(),
        };
        self.members.insert(member.kept.id.clone(), member);
    }

    /// Somebody was removed: the others share what it had, unless they are about to become a classic group.
    fn lost_somebody(&mut self, catalog: Catalog<'_>) {
        if !self.is_to_be_classic() {
            self.bump(catalog);
        }
    }

    /// Whether there is room for a member, which may be known already or take another's place.
    fn check_room(&self, new: &SavedMember, replaced: Option<&str>) -> Result<(), Refusal> {
        let is_known = replaced.is_some() || self.members.contains_key(&new.id);
        if !is_known && self.members.len() >= self.config.members_max {
            let message = "The consumer group has reached its maximum capacity.";
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, message));
        }
        let stays = |id: &str| id != new.id && Some(id) != replaced;
        let others = self.members.values().filter(|it| stays(&it.kept.id));
        let bytes: usize = others.map(|it| it.kept.bytes_said()).sum();
        if bytes.saturating_add(new.bytes_said()) > self.config.bytes_max {
            let message = "The members of the group say too much of themselves.";
            return Err(Refusal::new(ErrorCode::GroupMaxSizeReached, message));
        }
        Ok(())
    }
}
