//! Syncing: the leader's assignment for everybody.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use floe_protocol::error_code::ErrorCode;

use super::{Effect, Group, Phase, SyncAnswer, SyncRequest, Token};

impl Group {
    /// SyncGroup. The answer comes in an effect, now or when the leader has assigned.
    pub fn sync(
        &mut self,
        now: Duration,
        token: Token,
        request: SyncRequest,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(error) = self.try_sync(now, token, request, effects) {
            effects.push(Effect::Synced(token, SyncAnswer::refused(error)));
        }
    }

    fn try_sync(
        &mut self,
        now: Duration,
        token: Token,
        request: SyncRequest,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        let member_id = request.member_id;
        self.check_member(&member_id, request.instance.as_deref(), request.generation)?;
        let differs =
            |told: &Option<String>, known: &Option<String>| told.is_some() && told != known;
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.phase {
            Phase::Empty => Err(ErrorCode::UnknownMemberId),
            Phase::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            Phase::CompletingRebalance => {
                if self.leader.as_deref() == Some(&member_id)
                    && !self.has_room_for(&request.assignments)
                {
                    return Err(ErrorCode::UnknownServerError);
                }
                self.has_synced(now, &member_id);
                if let Some(member) = self.members.get_mut(&member_id)
                    && let Some(earlier) = member.syncing.replace(token)
                {
                    let answer = SyncAnswer::refused(ErrorCode::RebalanceInProgress);
                    effects.push(Effect::Synced(earlier, answer));
                }
                if self.leader.as_deref() == Some(&member_id) {
                    self.assign(now, request.assignments.into_iter().collect(), effects);
                }
                Ok(())
            }
            Phase::Stable => {
                self.has_synced(now, &member_id);
                effects.push(Effect::Synced(token, self.synced(&member_id)));
                Ok(())
            }
        }
    }

    /// Kafka's limit is that of a record, and its answer the same.
    fn has_room_for(&self, assignments: &[(String, Bytes)]) -> bool {
        let bytes: usize = assignments.iter().map(|(_, bytes)| bytes.len()).sum();
        bytes <= self.config.bytes_max
    }

    /// A member has synced; when all have, nobody is late any more.
    fn has_synced(&mut self, now: Duration, member_id: &str) {
        self.heard(now, member_id);
        if let Some(member) = self.members.get_mut(member_id) {
            member.has_synced = true;
        }
        if self.members.values().all(|member| member.has_synced) {
            self.sync_ends = None;
        }
    }

    /// The leader has spoken; whom it has forgotten gets an empty assignment.
    fn assign(
        &mut self,
        now: Duration,
        mut assignments: BTreeMap<String, Bytes>,
        effects: &mut Vec<Effect>,
    ) {
        self.phase = Phase::Stable;
        for (member_id, member) in &mut self.members {
            member.assignment = assignments.remove(member_id).unwrap_or_default();
        }
        effects.push(Effect::Save);
        let waiting: Vec<_> = self
            .members
            .iter_mut()
            .filter_map(|(member_id, member)| {
                let token = member.syncing.take()?;
                member.expires = now + member.session_timeout;
                Some((member_id.clone(), token))
            })
            .collect();
        for (member_id, token) in waiting {
            effects.push(Effect::Synced(token, self.synced(&member_id)));
        }
    }

    fn synced(&self, member_id: &str) -> SyncAnswer {
        let member = self.members.get(member_id);
        SyncAnswer {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: member
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
        }
    }
}
