//! Joining, and what makes a generation complete.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use floe_planted::Bug;
use floe_protocol::error_code::ErrorCode;

use super::{
    Effect, Group, JoinAnswer, JoinRequest, Joined, Member, Phase, Rebalance, SyncAnswer, Token,
};

/// How long a member that is new waits in Join before it is given up: its client may be long gone.
const NEW_MEMBER_PATIENCE: Duration = Duration::from_secs(5 * 60);

impl Group {
    /// JoinGroup. The answer comes in an effect, now or later.
    pub fn join(
        &mut self,
        now: Duration,
        token: Token,
        request: JoinRequest,
        effects: &mut Vec<Effect>,
    ) {
        if let Err((error, member_id)) = self.try_join(now, token, request, effects) {
            effects.push(Effect::Joined(
                token,
                JoinAnswer::refused(error, &member_id),
            ));
        }
    }

    fn try_join(
        &mut self,
        now: Duration,
        token: Token,
        request: JoinRequest,
        effects: &mut Vec<Effect>,
    ) -> Result<(), (ErrorCode, String)> {
        let refused = |error| (error, request.member_id.clone());
        let allowed = self.config.session_timeout_min..=self.config.session_timeout_max;
        if !allowed.contains(&request.session_timeout) {
            return Err(refused(ErrorCode::InvalidSessionTimeout));
        }
        let is_repeat = self.is_repeat(&request);
        if !is_repeat && !self.has_room(&request) {
            return Err(refused(ErrorCode::GroupMaxSizeReached));
        }
        if !self.is_consistent(&request) {
            return Err(refused(ErrorCode::InconsistentGroupProtocol));
        }
        if request.member_id.is_empty() {
            let instance = request.instance.as_ref();
            if let Some(old_id) = instance.and_then(|id| self.statics.get(id)).cloned() {
                self.replace(now, token, &old_id, request, effects);
                return Ok(());
            }
            if is_repeat && self.members.contains_key(&request.new_member_id) {
                let member_id = request.new_member_id.clone();
                let request = JoinRequest {
                    member_id,
                    ..request
                };
                self.rejoin(now, token, request, effects);
                return Ok(());
            }
            if request.comes_back_with_id && request.instance.is_none() {
                let until = now + request.session_timeout;
                self.pending.insert(request.new_member_id.clone(), until);
                return Err((ErrorCode::MemberIdRequired, request.new_member_id));
            }
            let member_id = request.new_member_id.clone();
            self.add(now, token, member_id, request, effects);
            return Ok(());
        }
        if self.pending.remove(&request.member_id).is_some() {
            let member_id = request.member_id.clone();
            self.add(now, token, member_id, request, effects);
            return Ok(());
        }
        self.check_identity(&request.member_id, request.instance.as_deref())
            .map_err(refused)?;
        self.rejoin(now, token, request, effects);
        Ok(())
    }

    /// Whether the same request was heard before: the id that was drawn for it is known. Its answer was lost,
    /// and it must not make a second member.
    fn is_repeat(&self, request: &JoinRequest) -> bool {
        let id = &request.new_member_id;
        request.member_id.is_empty()
            && (self.members.contains_key(id) || self.pending.contains_key(id))
    }

    /// Whether the group takes what the member brings.
    fn has_room(&self, request: &JoinRequest) -> bool {
        let instance = request.instance.as_ref();
        let known = self.members.get(&request.member_id).or_else(|| {
            let id = instance.and_then(|instance| self.statics.get(instance))?;
            self.members.get(id)
        });
        let is_counted = known.is_some() || self.pending.contains_key(&request.member_id);
        if !is_counted && self.members.len() + self.pending.len() >= self.config.members_max {
            return false;
        }
        let bytes = |protocols: &[(String, Bytes)], names: [&str; 2]| -> usize {
            let protocols = protocols.iter();
            let protocols = protocols.map(|(name, metadata)| name.len() + metadata.len());
            protocols.sum::<usize>() + names.map(str::len).iter().sum::<usize>()
        };
        let of_member = |member: &Member| {
            let instance = member.instance.as_deref().unwrap_or_default();
            bytes(&member.protocols, [&member.client_id, instance])
        };
        let others = self.members.values().map(of_member).sum::<usize>();
        let others = others - known.map_or(0, of_member);
        let instance = request.instance.as_deref().unwrap_or_default();
        let own = bytes(&request.protocols, [&request.client_id, instance]);
        others.saturating_add(own) <= self.config.bytes_max
    }

    /// Whether the member and the group speak of the same: any protocol will do for an empty group, else
    /// there must be one that all know.
    fn is_consistent(&self, request: &JoinRequest) -> bool {
        if request.protocol_type.is_empty() || request.protocols.is_empty() {
            return false;
        }
        if !self.members.is_empty() && self.protocol_type.as_deref() != Some(&request.protocol_type)
        {
            return false;
        }
        let mut others = self
            .members
            .iter()
            .filter(|(id, _)| **id != request.member_id)
            .map(|(_, member)| member)
            .peekable();
        if others.peek().is_none() {
            return true;
        }
        let others: Vec<&Member> = others.collect();
        let knows = |member: &Member, name: &str| member.protocols.iter().any(|(it, _)| it == name);
        let mut protocols = request.protocols.iter();
        protocols.any(|(name, _)| others.iter().all(|member| knows(member, name)))
    }

    /// A member that nobody knows yet.
    fn add(
        &mut self,
        now: Duration,
        token: Token,
        member_id: String,
        request: JoinRequest,
        effects: &mut Vec<Effect>,
    ) {
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type);
        }
        if let Some(instance) = &request.instance {
            self.statics.insert(instance.clone(), member_id.clone());
        }
        let member = Member {
            instance: request.instance,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: request.protocols,
            assignment: Bytes::new(),
            expires: now + NEW_MEMBER_PATIENCE,
            joining: Some(token),
            syncing: None,
            is_new: true,
            has_synced: false,
        };
        self.members.insert(member_id, member);
        match self.phase {
            Phase::PreparingRebalance => {
                let delay = self.config.initial_rebalance_delay;
                if let Some(Rebalance {
                    ends,
                    initial_until: Some(until),
                }) = &mut self.rebalance
                {
                    *ends = (now + delay).min(*until);
                }
                self.look_whether_all_joined(now, effects);
            }
            Phase::Empty | Phase::CompletingRebalance | Phase::Stable => self.prepare(now, effects),
        }
    }

    /// A member that is known joins again.
    fn rejoin(
        &mut self,
        now: Duration,
        token: Token,
        request: JoinRequest,
        effects: &mut Vec<Effect>,
    ) {
        let Some(member) = self.members.get_mut(&request.member_id) else {
            return;
        };
        let is_changed = member.protocols != request.protocols;
        let is_leader = self.leader.as_deref() == Some(&request.member_id);
        let starts_over = match self.phase {
            Phase::Empty | Phase::PreparingRebalance => true,
            Phase::CompletingRebalance => is_changed,
            // A leader that joins again wants to assign anew: it has seen other topics.
            Phase::Stable => is_changed || is_leader,
        };
        if !starts_over {
            self.heard(now, &request.member_id);
            effects.push(Effect::Joined(
                token,
                self.joined(&request.member_id, false),
            ));
            return;
        }
        member.session_timeout = request.session_timeout;
        member.rebalance_timeout = request.rebalance_timeout;
        member.protocols = request.protocols;
        if let Some(earlier) = member.joining.replace(token) {
            // The client, or the agent for it, gave up waiting and asks again. It is a member all the same.
            let answer = JoinAnswer::refused(ErrorCode::RebalanceInProgress, &request.member_id);
            effects.push(Effect::Joined(earlier, answer));
        }
        match self.phase {
            Phase::PreparingRebalance => self.look_whether_all_joined(now, effects),
            Phase::Empty | Phase::CompletingRebalance | Phase::Stable => self.prepare(now, effects),
        }
    }

    /// A static member was started anew: it takes the place of the one before under a new id.
    fn replace(
        &mut self,
        now: Duration,
        token: Token,
        old_id: &str,
        request: JoinRequest,
        effects: &mut Vec<Effect>,
    ) {
        let Some(mut member) = self.members.remove(old_id) else {
            return;
        };
        let new_id = request.new_member_id.clone();
        // The same id: the request is repeated, and nobody is fenced.
        let is_repeat = new_id == old_id;
        let fenced = if is_repeat {
            ErrorCode::RebalanceInProgress
        } else {
            ErrorCode::FencedInstanceId
        };
        if let Some(token) = member.joining.take() {
            effects.push(Effect::Joined(token, JoinAnswer::refused(fenced, old_id)));
        }
        if let Some(token) = member.syncing.take() {
            effects.push(Effect::Synced(token, SyncAnswer::refused(fenced)));
        }
        member.session_timeout = request.session_timeout;
        member.rebalance_timeout = request.rebalance_timeout;
        member.protocols = request.protocols;
        member.client_id = request.client_id;
        member.client_host = request.client_host;
        member.expires = now + member.session_timeout;
        if let Some(instance) = request.instance {
            self.statics.insert(instance, new_id.clone());
        }
        self.members.insert(new_id.clone(), member);
        let was_leader = self.leader.as_deref() == Some(old_id);
        if was_leader {
            self.leader = Some(new_id.clone());
        }
        if self.phase == Phase::Stable && self.chosen_protocol() == self.protocol {
            effects.push(Effect::Save);
            let mut answer = self.joined(&new_id, request.can_skip_assignment);
            if was_leader && !request.can_skip_assignment {
                // It must not assign, and can be told so only by naming another leader.
                let other = if is_repeat { "" } else { old_id };
                other.clone_into(&mut answer.leader);
                answer.members = Vec::new();
            }
            effects.push(Effect::Joined(token, answer));
            return;
        }
        if let Some(member) = self.members.get_mut(&new_id) {
            member.joining = Some(token);
        }
        match self.phase {
            Phase::PreparingRebalance => self.look_whether_all_joined(now, effects),
            Phase::Empty | Phase::CompletingRebalance | Phase::Stable => self.prepare(now, effects),
        }
    }

    /// All members have to join.
    pub(super) fn prepare(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        for member in self.members.values_mut() {
            if let Some(token) = member.syncing.take() {
                let answer = SyncAnswer::refused(ErrorCode::RebalanceInProgress);
                effects.push(Effect::Synced(token, answer));
                member.expires = now + member.session_timeout;
            }
        }
        self.sync_ends = None;
        let rebalance = self.rebalance_timeout();
        self.rebalance = Some(if self.phase == Phase::Empty {
            let until = now + rebalance;
            Rebalance {
                ends: (now + self.config.initial_rebalance_delay).min(until),
                initial_until: Some(until),
            }
        } else {
            Rebalance {
                ends: now + rebalance,
                initial_until: None,
            }
        });
        self.phase = Phase::PreparingRebalance;
        self.look_whether_all_joined(now, effects);
    }

    /// Completes the generation when nobody is missing.
    pub(super) fn look_whether_all_joined(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let waits_for_more = self.rebalance.is_some_and(|it| it.initial_until.is_some());
        let is_complete = self.phase == Phase::PreparingRebalance
            && self.pending.is_empty()
            && self.members.values().all(|member| member.joining.is_some());
        if is_complete && (!waits_for_more || self.members.is_empty()) {
            self.complete(now, effects);
        }
    }

    /// The next generation, of those who have joined.
    pub(super) fn complete(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        let is_absent = |member: &Member| member.joining.is_none() && member.instance.is_none();
        let absent = self.members.iter().filter(|(_, member)| is_absent(member));
        let absent: Vec<String> = absent.map(|(id, _)| id.clone()).collect();
        for member_id in absent {
            self.remove(&member_id, effects);
        }
        let has_joined = |member: &&Member| member.joining.is_some();
        if !self.members.is_empty() && !self.members.values().any(|member| has_joined(&member)) {
            // Static members may still come back.
            self.rebalance = Some(Rebalance {
                ends: now + self.rebalance_timeout(),
                initial_until: None,
            });
            return;
        }
        self.rebalance = None;
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            (self.protocol, self.leader) = (None, None);
            effects.push(Effect::Save);
            return;
        }
        self.protocol = self.chosen_protocol();
        let leads = |id: &String| self.members.get(id).is_some_and(|it| it.joining.is_some());
        if !self.leader.as_ref().is_some_and(leads) {
            let mut joined = self.members.iter().filter(|(_, member)| has_joined(member));
            self.leader = joined.next().map(|(id, _)| id.clone());
        }
        self.phase = Phase::CompletingRebalance;
        self.sync_ends = Some(now + self.rebalance_timeout());
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            member.has_synced = false;
        }
        if !Bug::GenerationNotSaved.is_planted() {
            effects.push(Effect::Save);
        }
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for member_id in ids {
            let answer = self.joined(&member_id, false);
            let Some(member) = self.members.get_mut(&member_id) else {
                continue;
            };
            let Some(token) = member.joining.take() else {
                continue;
            };
            member.is_new = false;
            member.expires = now + member.session_timeout;
            effects.push(Effect::Joined(token, answer));
        }
    }

    /// The present generation as a member is told of it.
    fn joined(&self, member_id: &str, skip_assignment: bool) -> JoinAnswer {
        let is_leader = self.leader.as_deref() == Some(member_id);
        let protocol = self.protocol.clone();
        JoinAnswer {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: member_id.to_owned(),
            members: if is_leader {
                self.members_for_leader()
            } else {
                Vec::new()
            },
            skip_assignment: is_leader && skip_assignment,
            protocol,
        }
    }

    fn members_for_leader(&self) -> Vec<Joined> {
        let metadata = |member: &Member| {
            let mut protocols = member.protocols.iter();
            let chosen = protocols.find(|(name, _)| Some(name) == self.protocol.as_ref());
            chosen
                .map(|(_, metadata)| metadata.clone())
                .unwrap_or_default()
        };
        let members = self.members.iter().map(|(member_id, member)| Joined {
            member_id: member_id.clone(),
            instance: member.instance.clone(),
            metadata: metadata(member),
        });
        members.collect()
    }

    /// Of the protocols that all know, the one that most prefer.
    fn chosen_protocol(&self) -> Option<String> {
        let common = self.common_protocols();
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let mut preferred = member.protocols.iter().map(|(name, _)| name.as_str());
            if let Some(vote) = preferred.find(|name| common.contains(name)) {
                *votes.entry(vote).or_default() += 1;
            }
        }
        let chosen = votes
            .into_iter()
            .max_by_key(|(name, votes)| (*votes, Reverse(*name)));
        chosen.map(|(name, _)| name.to_owned())
    }

    /// The longest that any member may take to join.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        let timeouts = self.members.values().map(|member| member.rebalance_timeout);
        timeouts.max().unwrap_or_default()
    }
}
