//! ConsumerGroupHeartbeat: joining, going on, leaving.

use std::collections::BTreeSet;
use std::time::Duration;

use floe_protocol::error_code::ErrorCode;
use floe_protocol::types::TopicPartition;

use super::subscribed::compile;
use super::{
    Assignor, Catalog, ConsumerConfig, Group, LEAVING, PAUSING, Partitions, Refusal, SavedMember,
};

/// A heartbeat of one member. What is `None` is as it was said before.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HeartbeatRequest {
    /// Its id, which it has drawn itself.
    pub member_id: String,
    /// What it was brought to; 0 joins, -1 leaves, -2 leaves for a while.
    pub epoch: i32,
    /// Of a static member.
    pub instance: Option<String>,
    /// Where it is.
    pub rack: Option<String>,
    /// As the client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// How long it may take to let go of partitions.
    pub rebalance_timeout: Option<Duration>,
    /// Topics by name.
    pub names: Option<Vec<String>>,
    /// Topics by a regular expression; empty for none.
    pub regex: Option<String>,
    /// The assignor it asks for.
    pub assignor: Option<String>,
    /// What it reads.
    pub owned: Option<Partitions>,
    /// Its agent asks again, since the answer to the same request was lost on the way.
    pub is_repeat: bool,
}

/// The answer to a heartbeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeartbeatAnswer {
    /// `None` if it worked.
    pub error: ErrorCode,
    /// What is wrong, for people.
    pub message: Option<String>,
    /// The member's id.
    pub member_id: String,
    /// What it has been brought to.
    pub epoch: i32,
    /// When it is to be heard again.
    pub interval: Duration,
    /// What it is to read; `None` where that is as it was.
    pub assignment: Option<Partitions>,
}

impl HeartbeatAnswer {
    pub(crate) fn refused(Refusal(error, message): Refusal) -> Self {
        Self {
            error,
            message: Some(message),
            member_id: String::new(),
            epoch: 0,
            interval: Duration::ZERO,
            assignment: None,
        }
    }
}

impl HeartbeatRequest {
    /// What can be wrong about a heartbeat whatever the group.
    pub(crate) fn check(&self, group: &str, config: &ConsumerConfig) -> Result<(), Refusal> {
        let invalid = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
        let is_blank = |text: &str| text.trim().is_empty();
        let is_blank_if_given = |text: &Option<String>| text.as_deref().is_some_and(is_blank);
        if is_blank(group) {
            return invalid("GroupId can't be empty.");
        }
        if is_blank(&self.member_id) {
            return invalid("MemberId can't be empty.");
        }
        if is_blank_if_given(&self.instance) {
            return invalid("InstanceId can't be empty.");
        }
        if is_blank_if_given(&self.rack) {
            return invalid("RackId can't be empty.");
        }
        if self.epoch < PAUSING {
            return invalid("MemberEpoch is invalid.");
        }
        if self.epoch == PAUSING && self.instance.is_none() {
            return invalid("InstanceId can't be null.");
        }
        if self.epoch == 0 {
            if self.rebalance_timeout.is_none() {
                return invalid("RebalanceTimeoutMs must be provided in first request.");
            }
            if !self.owned.as_ref().is_some_and(BTreeSet::is_empty) {
                return invalid("TopicPartitions must be empty when (re-)joining.");
            }
            if self.names.is_none() && self.regex.is_none() {
                return invalid(
                    "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
                );
            }
        }
        match &self.assignor {
            Some(name) if known_assignor(name, config).is_none() => {
                let known = config.assignors.iter().map(|it| it.name());
                let known = known.collect::<Vec<_>>().join(", ");
                let message = format!(
                    "ServerAssignor {name} is not supported. Supported assignors: {known}."
                );
                Err(Refusal::new(ErrorCode::UnsupportedAssignor, message))
            }
            _ => Ok(()),
        }
    }

    /// Whether all is said anew: by a member that does not know what was heard of it.
    fn is_full(&self) -> bool {
        let subscribes = self.names.is_some() || self.regex.is_some();
        self.rebalance_timeout.is_some() && subscribes && self.owned.is_some()
    }
}

fn known_assignor(name: &str, config: &ConsumerConfig) -> Option<Assignor> {
    Assignor::by_name(name).filter(|it| config.assignors.contains(it))
}

impl Group {
    /// A heartbeat that was [checked](HeartbeatRequest::check).
    pub fn heartbeat(
        &mut self,
        now: Duration,
        catalog: Catalog<'_>,
        request: HeartbeatRequest,
    ) -> HeartbeatAnswer {
        let answer = match request.epoch {
            LEAVING | PAUSING => self.leave(now, catalog, &request),
            _ => self.go_on(now, catalog, request),
        };
        answer.unwrap_or_else(HeartbeatAnswer::refused)
    }

    fn go_on(
        &mut self,
        now: Duration,
        catalog: Catalog<'_>,
        request: HeartbeatRequest,
    ) -> Result<HeartbeatAnswer, Refusal> {
        let before = if request.epoch == 0 {
            self.joining(&request)?
        } else {
            Some(self.check_member(&request)?)
        };
        let is_new = before.is_none();
        let member = self.updated(
            before.map_or_else(SavedMember::default, Clone::clone),
            &request,
        )?;
        let before = self.members.get(&member.id).map(|it| &it.kept);
        // In the place of a static member that went for a while, under its id or another.
        let replaced = member.instance.as_ref().and_then(|it| self.statics.get(it));
        let replaced = replaced.filter(|id| **id != member.id).cloned();
        let assigned_before = before.map(|it| it.assigned.clone());
        let was_like = replaced.as_ref().and_then(|id| self.members.get(id));
        let was_like = was_like.map(|it| &it.kept).or(before);
        let subscribes_anew = is_new
            || was_like.is_none_or(|it| (&it.names, &it.regex) != (&member.names, &member.regex));
        let is_changed = before != Some(&member);
        if is_changed {
            self.check_room(&member, replaced.as_deref())?;
        }
        if let Some(replaced) = replaced {
            self.remove(&replaced);
        }
        let member_id = member.id.clone();
        if is_changed {
            let before = self.members.get(&member_id);
            let before = before.map(|it| (it.deadline, it.reported.clone()));
            self.put(now, member);
            if let Some(member) = self.members.get_mut(&member_id) {
                (member.deadline, member.reported) = before.unwrap_or_default();
            }
        }
        if subscribes_anew || self.topics_have_changed(catalog) {
            self.bump(catalog);
        }
        let owned = self.surely_owned(&member_id, &request);
        self.reconcile(&member_id, owned.as_ref(), request.epoch);
        self.note_reported(&member_id, &request);
        self.set_timers(now, &member_id);
        let interval = self.heartbeat_interval();
        let member = self.members.get(&member_id).map(|it| &it.kept);
        let member = member.ok_or_else(|| unknown(&member_id))?;
        let tells_all = request.epoch == 0 || request.is_full() || request.is_repeat;
        let is_told = tells_all || assigned_before.as_ref() != Some(&member.assigned);
        Ok(HeartbeatAnswer {
            error: ErrorCode::None,
            message: None,
            epoch: member.epoch,
            interval,
            assignment: is_told.then(|| member.assigned.clone()),
            member_id,
        })
    }

    /// The member that joins, if it is known, or takes the place of one that went for a while.
    fn joining(&self, request: &HeartbeatRequest) -> Result<Option<&SavedMember>, Refusal> {
        let by_id = self.members.get(&request.member_id);
        let instance = request.instance.as_ref();
        let Some(holder) = instance.and_then(|it| self.statics.get(it)) else {
            return Ok(by_id.map(|it| &it.kept));
        };
        let holder = self.members.get(holder).map(|it| &it.kept);
        match holder {
            Some(holder) if holder.id != request.member_id && holder.epoch != PAUSING => {
                let message = format!(
                    "Static member {} with instance id {} cannot join the group because the instance id is \
                     owned by {} member.",
                    request.member_id,
                    instance.map_or("", String::as_str),
                    holder.id
                );
                Err(Refusal::new(ErrorCode::UnreleasedInstanceId, message))
            }
            holder => Ok(holder),
        }
    }

    /// The member that goes on, if it may.
    fn check_member(&self, request: &HeartbeatRequest) -> Result<&SavedMember, Refusal> {
        let member = self.identified(request)?;
        let received = request.epoch;
        if received == member.epoch {
            return Ok(member);
        }
        // The answer with the present epoch was lost: the member may go on if all it has is its own still.
        let owned = request.owned.as_ref();
        let owns_its_own = owned.is_some_and(|owned| owned.is_subset(&member.assigned));
        let said_before = request.is_repeat;
        if received == member.previous_epoch && (owns_its_own || said_before) && member.epoch > 0 {
            return Ok(member);
        }
        let side = if received > member.epoch {
            "greater"
        } else {
            "smaller"
        };
        let message = format!(
            "The consumer group member has a {side} member epoch ({received}) than the one known by the \
             group coordinator ({}). The member must abandon all its partitions and rejoin.",
            member.epoch
        );
        Err(Refusal::new(ErrorCode::FencedMemberEpoch, message))
    }

    /// The member that a request speaks for.
    fn identified(&self, request: &HeartbeatRequest) -> Result<&SavedMember, Refusal> {
        if let Some(instance) = &request.instance {
            let holder = self.statics.get(instance);
            let holder = holder.ok_or_else(|| {
                let message = format!("Instance id {instance} is unknown.");
                Refusal::new(ErrorCode::UnknownMemberId, message)
            })?;
            if *holder != request.member_id {
                let message = format!(
                    "Static member {} with instance id {instance} was fenced by member {holder}.",
                    request.member_id
                );
                return Err(Refusal::new(ErrorCode::FencedInstanceId, message));
            }
        }
        let member = self.members.get(&request.member_id);
        let member = member.filter(|member| member.kept.classic.is_none());
        Ok(&member.ok_or_else(|| unknown(&request.member_id))?.kept)
    }

    /// A member as it says of itself from now on.
    fn updated(
        &self,
        mut member: SavedMember,
        request: &HeartbeatRequest,
    ) -> Result<SavedMember, Refusal> {
        let is_joining = request.epoch == 0;
        if is_joining {
            if member.id != request.member_id {
                request.member_id.clone_into(&mut member.id);
                (member.epoch, member.previous_epoch) = (0, 0);
            }
            if member.epoch == PAUSING {
                (member.epoch, member.previous_epoch) = (0, 0);
            }
            member.classic = None;
            (member.names, member.regex) = (BTreeSet::new(), None);
            request.instance.clone_into(&mut member.instance);
        }
        if request.rack.is_some() {
            request.rack.clone_into(&mut member.rack);
        }
        request.client_id.clone_into(&mut member.client_id);
        request.client_host.clone_into(&mut member.client_host);
        if let Some(timeout) = request.rebalance_timeout {
            member.rebalance_timeout = timeout;
        }
        if let Some(names) = &request.names {
            member.names = names.iter().cloned().collect();
        }
        if let Some(pattern) = &request.regex {
            let known = self.members.get(&member.id);
            if !pattern.is_empty() && known.is_none_or(|it| it.kept.regex.as_ref() != Some(pattern))
            {
                compile(pattern)?;
            }
            member.regex = Some(pattern.clone()).filter(|it| !it.is_empty());
        }
        if let Some(name) = &request.assignor {
            member.assignor = Assignor::by_name(name);
        }
        Ok(member)
    }

    /// What a client reads, or may be about to: an assignment takes time to act on. What it was told to read and
    /// has not reported yet counts as owned, unless the client surely knows by now that it is not to read it.
    fn surely_owned(&self, member_id: &str, request: &HeartbeatRequest) -> Option<Partitions> {
        let mut owned = request.owned.clone()?;
        let Some(member) = self.members.get(member_id).filter(|_| request.epoch > 0) else {
            return Some(owned);
        };
        let is_unreported = |it: &&TopicPartition| !member.reported.contains(it);
        owned.extend(member.kept.assigned.iter().filter(is_unreported));
        // Who says everything again has missed an answer, maybe the one that told it to let go.
        if request.is_full() || request.is_repeat {
            owned.extend(member.kept.revoking.iter().filter(is_unreported));
        }
        Some(owned)
    }

    fn note_reported(&mut self, member_id: &str, request: &HeartbeatRequest) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        if let Some(owned) = &request.owned {
            if request.epoch == 0 {
                member.reported.clear();
            }
            member.reported.extend(owned);
        }
        let kept = &member.kept;
        member
            .reported
            .retain(|it| kept.assigned.contains(it) || kept.revoking.contains(it));
    }

    /// A member is heard: its session begins anew, and so does the time it has to let go of what it was told
    /// to now.
    fn set_timers(&mut self, now: Duration, member_id: &str) {
        let session = self.session_timeout();
        if let Some(member) = self.members.get_mut(member_id) {
            member.expires = now + session;
            let limit = now + member.kept.rebalance_timeout;
            member.deadline = if member.kept.revoking.is_empty() {
                None
            } else {
                Some(member.deadline.unwrap_or(limit))
            };
        }
    }

    fn leave(
        &mut self,
        now: Duration,
        catalog: Catalog<'_>,
        request: &HeartbeatRequest,
    ) -> Result<HeartbeatAnswer, Refusal> {
        let member_id = self.identified(request)?.id.clone();
        if request.epoch == PAUSING {
            let session = self.session_timeout();
            if let Some(member) = self.members.get_mut(&member_id) {
                self.is_unsaved |= member.kept.epoch != PAUSING;
                member.kept.epoch = PAUSING;
                member.kept.previous_epoch = PAUSING;
                member.expires = now + session;
                // It has let go of everything; what it is to have is kept for it.
                for partition in std::mem::take(&mut member.kept.revoking) {
                    self.taken.remove(&partition);
                }
                member.deadline = None;
            }
        } else {
            self.remove(&member_id);
            self.lost_somebody(catalog);
        }
        Ok(HeartbeatAnswer {
            error: ErrorCode::None,
            message: None,
            member_id,
            epoch: request.epoch,
            interval: Duration::ZERO,
            assignment: None,
        })
    }
}

fn unknown(member_id: &str) -> Refusal {
    let message = format!("Member {member_id} is not a member of the group.");
    Refusal::new(ErrorCode::UnknownMemberId, message)
}
