//! Members of the classic protocol in a group of the consumer protocol, and groups that change from one to the
//! other (KIP-848, "Supporting Online Consumer Group Upgrade" and downgrade).
//!
//! A classic group of consumers becomes one of these when the first member joins with a heartbeat, and is a
//! classic group again when the last such member is gone. Meanwhile its classic members join and sync as ever, but
//! nobody waits: Join brings the member as far as a heartbeat would, Sync tells what it was assigned, and a
//! heartbeat says 27 when it has to come for something else. Generations are member epochs.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::types::TopicPartition;

use super::describe::by_topic;
use super::reconcile::Progress;
use super::{Catalog, ClassicMember, ConsumerConfig, Group, Member, Partitions, SavedMember};
use crate::groups::classic::{self, JoinAnswer, JoinRequest, SyncAnswer, SyncRequest};
use crate::groups::subscription::{Assignment, NamedPartitions, Subscription};

/// The protocol type of consumers.
const CONSUMER: &str = "consumer";

impl Group {
    /// JoinGroup of a classic member.
    pub(crate) fn join(
        &mut self,
        now: Duration,
        catalog: Catalog<'_>,
        request: JoinRequest,
    ) -> JoinAnswer {
        let asked_for = request.member_id.clone();
        let joined = self.try_join(now, catalog, request);
        joined.unwrap_or_else(|(error, new_id)| {
            JoinAnswer::refused(error, new_id.as_deref().unwrap_or(&asked_for))
        })
    }

    fn try_join(
        &mut self,
        now: Duration,
        catalog: Catalog<'_>,
        request: JoinRequest,
    ) -> Result<JoinAnswer, (ErrorCode, Option<String>)> {
        let refused = |error| (error, None);
        let inconsistent = || refused(ErrorCode::InconsistentGroupProtocol);
        if !self.speaks(&request) {
            return Err(inconsistent());
        }
        let (protocol, metadata) = request.protocols.first().ok_or_else(inconsistent)?;
        let protocol = protocol.clone();
        let subscription = Subscription::decode(metadata).ok_or_else(inconsistent)?;
        let holder = request.instance.as_ref();
        let holder = holder.and_then(|it| self.statics.get(it)).cloned();
        let member_id = if request.member_id.is_empty() {
            let is_static = request.instance.is_some();
            if request.comes_back_with_id && !is_static {
                return Err((ErrorCode::MemberIdRequired, Some(request.new_member_id)));
            }
            request.new_member_id
        } else {
            if request.instance.is_some() {
                let holder = holder.as_ref();
                let holder = holder.ok_or_else(|| refused(ErrorCode::UnknownMemberId))?;
                if *holder != request.member_id {
                    return Err(refused(ErrorCode::FencedInstanceId));
                }
            }
            // Ids that were given out are not remembered: who comes with one is taken in.
            request.member_id
        };
        let replaced = holder.filter(|it| *it != member_id);
        let before = replaced.as_ref().or(Some(&member_id));
        let before = before.and_then(|id| self.members.get(id));
        let before = before.map(|it| it.kept.clone());
        let mut member = before.clone().unwrap_or_default();
        if replaced.is_some() {
            (member.epoch, member.previous_epoch) = (0, 0);
        }
        member.id.clone_from(&member_id);
        member.instance = request.instance;
        member.client_id = request.client_id;
        member.client_host = request.client_host;
        member.rebalance_timeout = request.rebalance_timeout;
        member.rack = subscription.rack;
        member.names = subscription.topics.into_iter().collect();
        (member.regex, member.assignor) = (None, None);
        member.classic = Some(ClassicMember {
            session_timeout: request.session_timeout,
            protocols: request.protocols,
        });
        let subscribes_anew = before
            .as_ref()
            .is_none_or(|it| (&it.names, &it.regex) != (&member.names, &member.regex));
        self.check_room(&member, replaced.as_deref())
            .map_err(|refusal| refused(refusal.0))?;
        if let Some(replaced) = replaced {
            self.remove(&replaced);
        }
        if before.as_ref() != Some(&member) {
            self.put(now, member);
        }
        if subscribes_anew || self.topics_have_changed(catalog) {
            self.bump(catalog);
        }
        let owned = partitions(&subscription.owned, catalog);
        let said = before.map_or(0, |it| it.epoch);
        self.reconcile(&member_id, Some(&owned), said);
        let session = self
            .members
            .get(&member_id)
            .map(|it| self.session_of(&it.kept));
        let member = self.members.get_mut(&member_id);
        let member = member.ok_or_else(|| refused(ErrorCode::UnknownMemberId))?;
        member.expires = now + session.unwrap_or_default();
        // It has as long to sync as to rebalance.
        member.deadline = Some(now + member.kept.rebalance_timeout);
        Ok(JoinAnswer {
            error: ErrorCode::None,
            generation: member.kept.epoch,
            protocol_type: Some(CONSUMER.to_owned()),
            protocol: Some(protocol),
            // Not the member: it must not assign.
            leader: String::new(),
            member_id,
            members: Vec::new(),
            skip_assignment: false,
        })
    }

    /// Whether the member is a consumer, and shares a protocol with all other classic members.
    fn speaks(&self, request: &JoinRequest) -> bool {
        let others = self.members.values().map(|it| &it.kept);
        let others = others.filter(|it| it.id != request.member_id);
        let mut others = others.filter_map(|it| it.classic.as_ref());
        let mut common: BTreeSet<&str> = names(&request.protocols).collect();
        request.protocol_type == CONSUMER
            && !common.is_empty()
            && others.all(|other| {
                let theirs: BTreeSet<&str> = names(&other.protocols).collect();
                common.retain(|name| theirs.contains(name));
                !common.is_empty()
            })
    }

    /// SyncGroup of a classic member: never waits.
    pub(crate) fn sync(
        &mut self,
        now: Duration,
        catalog: Catalog<'_>,
        request: &SyncRequest,
    ) -> SyncAnswer {
        self.try_sync(now, catalog, request)
            .unwrap_or_else(SyncAnswer::refused)
    }

    fn try_sync(
        &mut self,
        now: Duration,
        catalog: Catalog<'_>,
        request: &SyncRequest,
    ) -> Result<SyncAnswer, ErrorCode> {
        let instance = request.instance.as_deref();
        self.check_classic(&request.member_id, instance, request.generation)?;
        let group_epoch = self.epoch;
        let session = self.members.get(&request.member_id);
        let session = session
            .map(|it| self.session_of(&it.kept))
            .unwrap_or_default();
        let member = self.members.get_mut(&request.member_id);
        let Member {
            kept,
            expires,
            deadline,
            ..
        } = member.ok_or(ErrorCode::UnknownMemberId)?;
        let classic = kept.classic.as_ref().ok_or(ErrorCode::UnknownMemberId)?;
        let (protocol, metadata) = classic
            .protocols
            .first()
            .ok_or(ErrorCode::InconsistentGroupProtocol)?;
        let differs =
            |told: &Option<String>, known: &str| told.as_ref().is_some_and(|told| told != known);
        if differs(&request.protocol_type, CONSUMER) || differs(&request.protocol, protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        *expires = now + session;
        if kept.progress(group_epoch) == Progress::Behind {
            return Err(ErrorCode::RebalanceInProgress);
        }
        *deadline = None;
        let version = Subscription::decode(metadata).map_or(0, |it| it.version);
        Ok(SyncAnswer {
            error: ErrorCode::None,
            protocol_type: Some(CONSUMER.to_owned()),
            protocol: Some(protocol.clone()),
            assignment: encoded(&kept.assigned, version, catalog),
        })
    }

    /// Heartbeat of a classic member.
    ///
    /// # Errors
    /// `RebalanceInProgress` says that it has to join again. Else the member is not one of this generation.
    pub(crate) fn classic_heartbeat(
        &mut self,
        now: Duration,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        let member = self.check_classic(member_id, instance, generation)?;
        let must_rejoin = self.must_rejoin(member);
        let session = self.session_of(member);
        if let Some(member) = self.members.get_mut(member_id) {
            member.expires = now + session;
            if must_rejoin {
                let limit = now + member.kept.rebalance_timeout;
                member.deadline.get_or_insert(limit);
            }
        }
        if must_rejoin {
            Err(ErrorCode::RebalanceInProgress)
        } else {
            Ok(())
        }
    }

    /// Whether a classic member has to come for another assignment.
    pub(super) fn must_rejoin(&self, member: &SavedMember) -> bool {
        match member.progress(self.epoch) {
            Progress::Stable => false,
            Progress::Unrevoked | Progress::Behind => true,
            Progress::Unreleased => self.waits_for_nobody(member),
        }
    }

    /// LeaveGroup for some members: one code for each. An instance id without a member id removes a static member,
    /// whoever it is.
    pub(crate) fn leave_all(
        &mut self,
        catalog: Catalog<'_>,
        members: &[(String, Option<String>)],
    ) -> Vec<ErrorCode> {
        let count = self.members.len();
        let leave = |(member_id, instance): &(String, Option<String>)| {
            let found = match instance {
                Some(instance) => match self.statics.get(instance) {
                    Some(id) if member_id.is_empty() || id == member_id => Ok(id.clone()),
                    Some(_) => Err(ErrorCode::FencedInstanceId),
                    None => Err(ErrorCode::UnknownMemberId),
                },
                None => {
                    let member = self.members.get(member_id);
                    let classic = member.filter(|it| it.kept.classic.is_some());
                    let classic = classic.map(|_| member_id.clone());
                    classic.ok_or(ErrorCode::UnknownMemberId)
                }
            };
            match found {
                Ok(id) => {
                    self.remove(&id);
                    ErrorCode::None
                }
                Err(code) => code,
            }
        };
        let codes = members.iter().map(leave).collect();
        if self.members.len() < count {
            self.lost_somebody(catalog);
        }
        codes
    }

    fn check_classic(
        &self,
        member_id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<&SavedMember, ErrorCode> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(id) if id != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        let member = self.members.get(member_id).map(|it| &it.kept);
        let member = member.filter(|it| it.classic.is_some());
        let member = member.ok_or(ErrorCode::UnknownMemberId)?;
        if member.epoch == generation {
            Ok(member)
        } else {
            Err(ErrorCode::IllegalGeneration)
        }
    }

    /// A classic group of consumers as one of these; `None` if it cannot be: it is of another kind, or what
    /// was assigned in it is not all to be understood.
    pub(crate) fn from_classic(
        config: ConsumerConfig,
        now: Duration,
        saved: &classic::Saved,
        catalog: Catalog<'_>,
    ) -> Option<Self> {
        if !saved.is_of_consumers() || !config.upgrades || saved.members.len() >= config.members_max
        {
            return None;
        }
        let mut group = Self::new(config, saved.generation);
        for member in &saved.members {
            let mut protocols = member.protocols.iter();
            let chosen = protocols.find(|(name, _)| Some(name) == saved.protocol.as_ref());
            let (_, metadata) = chosen.or(member.protocols.first())?;
            let subscription = Subscription::decode(metadata)?;
            let assigned = if member.assignment.is_empty() {
                // Cooperative members read on while their group rebalances.
                subscription.owned
            } else {
                let assignment = Assignment::decode(&member.assignment)?;
                if !assignment.user_data.is_empty() {
                    return None;
                }
                assignment.partitions
            };
            let mut assigned = partitions(&assigned, catalog);
            assigned.retain(|it| !group.taken.contains(it));
            let kept = SavedMember {
                id: member.id.clone(),
                instance: member.instance.clone(),
                rack: subscription.rack,
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout: member.rebalance_timeout,
                names: subscription.topics.into_iter().collect(),
                epoch: saved.generation,
                previous_epoch: saved.generation,
                target: assigned.clone(),
                assigned,
                classic: Some(ClassicMember {
                    session_timeout: member.session_timeout,
                    protocols: member.protocols.clone(),
                }),
                ..SavedMember::default()
            };
            group.put(now, kept);
        }
        Some(group)
    }

    /// Whether only classic members are left.
    pub(crate) fn is_to_be_classic(&self) -> bool {
        let mut members = self.members.values();
        self.config.downgrades
            && !self.members.is_empty()
            && members.all(|it| it.kept.classic.is_some())
    }

    /// The group as a classic one, in which all members have to join again.
    pub(crate) fn to_classic(&self, catalog: Catalog<'_>) -> classic::Saved {
        let members = self.members.values().filter_map(|Member { kept, .. }| {
            let classic = kept.classic.clone()?;
            let (_, metadata) = classic.protocols.first()?;
            let version = Subscription::decode(metadata).map_or(0, |it| it.version);
            Some(classic::SavedMember {
                id: kept.id.clone(),
                instance: kept.instance.clone(),
                client_id: kept.client_id.clone(),
                client_host: kept.client_host.clone(),
                session_timeout: classic.session_timeout,
                rebalance_timeout: kept.rebalance_timeout,
                assignment: encoded(&kept.assigned, version, catalog),
                protocols: classic.protocols,
            })
        });
        let members: Vec<_> = members.collect();
        let first = members.first();
        classic::Saved {
            generation: self.epoch,
            protocol_type: Some(CONSUMER.to_owned()),
            protocol: first.and_then(|it| Some(it.protocols.first()?.0.clone())),
            leader: first.map(|it| it.id.clone()),
            is_assigned: true,
            members,
        }
    }
}

fn names(protocols: &[(String, Bytes)]) -> impl Iterator<Item = &str> {
    protocols.iter().map(|(name, _)| name.as_str())
}

/// Partitions that exist.
fn partitions(named: &NamedPartitions, catalog: Catalog<'_>) -> Partitions {
    let mut found = Partitions::new();
    for (name, indexes) in named {
        let Some((topic, count)) = catalog.topics.topic(name) else {
            continue;
        };
        let existing = indexes.iter().filter(|it| (0..count).contains(*it));
        found.extend(existing.map(|index| TopicPartition::new(topic, *index)));
    }
    found
}

fn encoded(assigned: &Partitions, version: i16, catalog: Catalog<'_>) -> Bytes {
    let partitions = by_topic(assigned, catalog).into_iter();
    let partitions = partitions.map(|(_, name, indexes)| (name.to_string(), indexes));
    let assignment = Assignment {
        version,
        partitions: partitions.collect(),
        user_data: Bytes::new(),
    };
    assignment.encode()
}
