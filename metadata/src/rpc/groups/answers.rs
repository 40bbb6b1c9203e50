//! Answers about groups to messages and back.

use std::sync::Arc;

use floe_protocol::error_code::ErrorCode;

use super::{code, codes, consumers, error, errors};
use crate::api::groups::{
    Described, DescribedMember, FetchedOffset, GroupReply, JoinAnswer, Joined, ListedGroup, Phase,
    SyncAnswer,
};
use crate::rpc::convert::{Malformed, id_bytes, need, number, topic_id};
use crate::rpc::proto;

type Answer = proto::group_answer::What;

impl From<GroupReply> for Answer {
    fn from(reply: GroupReply) -> Self {
        match reply {
            GroupReply::Joined(answer) => Self::Joined(answer.into()),
            GroupReply::Synced(answer) => Self::Synced(proto::SyncedGroup {
                error: code(answer.error),
                protocol_type: answer.protocol_type,
                protocol: answer.protocol,
                assignment: answer.assignment,
            }),
            GroupReply::Code(error) => Self::Code(code(error)),
            GroupReply::Codes(errors) => Self::Codes(proto::Codes {
                codes: codes(errors),
            }),
            GroupReply::Offsets { offsets, is_last } => Self::Offsets(proto::FetchedOffsets {
                offsets: offsets.into_iter().map(Into::into).collect(),
                is_last,
            }),
            GroupReply::Deleted(deleted) => {
                let (error, deleted) = match deleted {
                    Ok(deleted) => (ErrorCode::None, deleted),
                    Err(error) => (error, Vec::new()),
                };
                Self::Deleted(proto::DeletedOffsets {
                    error: code(error),
                    codes: codes(deleted),
                })
            }
            GroupReply::Listed(groups) => {
                let groups = groups.into_iter().map(|group| proto::ListedGroup {
                    name: group.name,
                    protocol_type: group.protocol_type,
                    phase: consumers::state_number(group.state),
                });
                Self::Listed(proto::ListedGroups {
                    groups: groups.collect(),
                })
            }
            GroupReply::Described(described) => Self::Described(proto::MaybeDescribedGroup {
                group: described.map(Into::into),
            }),
            GroupReply::Heard(answer) => Self::Heard(consumers::answer(answer)),
            GroupReply::DescribedConsumers(described) => {
                Self::DescribedConsumers(proto::MaybeDescribedConsumers {
                    group: described.map(consumers::described),
                })
            }
        }
    }
}

impl TryFrom<Answer> for GroupReply {
    type Error = Malformed;

    fn try_from(answer: Answer) -> Result<Self, Malformed> {
        Ok(match answer {
            Answer::Joined(joined) => Self::Joined(joined.try_into()?),
            Answer::Synced(synced) => Self::Synced(SyncAnswer {
                error: error(synced.error)?,
                protocol_type: synced.protocol_type,
                protocol: synced.protocol,
                assignment: synced.assignment,
            }),
            Answer::Code(code) => Self::Code(error(code)?),
            Answer::Codes(it) => Self::Codes(errors(it.codes)?),
            Answer::Offsets(fetched) => {
                let offsets = fetched.offsets.into_iter().map(TryInto::try_into);
                Self::Offsets {
                    offsets: offsets.collect::<Result<_, _>>()?,
                    is_last: fetched.is_last,
                }
            }
            Answer::Deleted(deleted) => Self::Deleted(match error(deleted.error)? {
                ErrorCode::None => Ok(errors(deleted.codes)?),
                error => Err(error),
            }),
            Answer::Listed(listed) => {
                let group = |group: proto::ListedGroup| {
                    Ok(ListedGroup {
                        name: group.name,
                        protocol_type: group.protocol_type,
                        state: consumers::state(group.phase)?,
                    })
                };
                let groups = listed.groups.into_iter().map(group);
                Self::Listed(groups.collect::<Result<_, Malformed>>()?)
            }
            Answer::Described(described) => {
                Self::Described(described.group.map(TryInto::try_into).transpose()?)
            }
            Answer::Heard(heard) => Self::Heard(consumers::answered(heard)?),
            Answer::DescribedConsumers(described) => {
                let group = described.group.map(consumers::described_back);
                Self::DescribedConsumers(group.transpose()?)
            }
        })
    }
}

impl From<JoinAnswer> for proto::JoinedGroup {
    fn from(answer: JoinAnswer) -> Self {
        let members = answer
            .members
            .into_iter()
            .map(|member| proto::JoinedMember {
                member_id: member.member_id,
                instance: member.instance,
                metadata: member.metadata,
            });
        Self {
            error: code(answer.error),
            generation: answer.generation,
            protocol_type: answer.protocol_type,
            protocol: answer.protocol,
            leader: answer.leader,
            member_id: answer.member_id,
            members: members.collect(),
            skip_assignment: answer.skip_assignment,
        }
    }
}

impl TryFrom<proto::JoinedGroup> for JoinAnswer {
    type Error = Malformed;

    fn try_from(joined: proto::JoinedGroup) -> Result<Self, Malformed> {
        let members = joined.members.into_iter().map(|member| Joined {
            member_id: member.member_id,
            instance: member.instance,
            metadata: member.metadata,
        });
        Ok(Self {
            error: error(joined.error)?,
            generation: joined.generation,
            protocol_type: joined.protocol_type,
            protocol: joined.protocol,
            leader: joined.leader,
            member_id: joined.member_id,
            members: members.collect(),
            skip_assignment: joined.skip_assignment,
        })
    }
}

impl From<FetchedOffset> for proto::FetchedOffset {
    fn from(fetched: FetchedOffset) -> Self {
        let (committed, error) = match fetched.committed {
            Ok(committed) => (committed, ErrorCode::None),
            Err(error) => (None, error),
        };
        Self {
            topic: id_bytes(fetched.topic),
            name: fetched.name.to_string(),
            partition: fetched.partition,
            committed: committed.map(Into::into),
            error: code(error),
        }
    }
}

impl TryFrom<proto::FetchedOffset> for FetchedOffset {
    type Error = Malformed;

    fn try_from(fetched: proto::FetchedOffset) -> Result<Self, Malformed> {
        Ok(Self {
            topic: topic_id(&fetched.topic)?,
            name: Arc::from(fetched.name),
            partition: fetched.partition,
            committed: match error(fetched.error)? {
                ErrorCode::None => Ok(fetched.committed.map(Into::into)),
                error => Err(error),
            },
        })
    }
}

impl From<Described> for proto::DescribedGroup {
    fn from(described: Described) -> Self {
        let members = described.members.into_iter();
        let members = members.map(|member| proto::DescribedMember {
            id: member.id,
            instance: member.instance,
            client_id: member.client_id,
            client_host: member.client_host,
            metadata: member.metadata,
            assignment: member.assignment,
        });
        Self {
            phase: phase_number(described.phase),
            protocol_type: described.protocol_type,
            protocol: described.protocol,
            members: members.collect(),
        }
    }
}

impl TryFrom<proto::DescribedGroup> for Described {
    type Error = Malformed;

    fn try_from(described: proto::DescribedGroup) -> Result<Self, Malformed> {
        let members = described.members.into_iter().map(|member| DescribedMember {
            id: member.id,
            instance: member.instance,
            client_id: member.client_id,
            client_host: member.client_host,
            metadata: member.metadata,
            assignment: member.assignment,
        });
        Ok(Self {
            phase: phase(described.phase)?,
            protocol_type: described.protocol_type,
            protocol: described.protocol,
            members: members.collect(),
        })
    }
}

pub(super) fn phase_number(phase: Phase) -> i32 {
    let phase = match phase {
        Phase::Empty => proto::GroupPhase::Empty,
        Phase::PreparingRebalance => proto::GroupPhase::PreparingRebalance,
        Phase::CompletingRebalance => proto::GroupPhase::CompletingRebalance,
        Phase::Stable => proto::GroupPhase::Stable,
    };
    phase.into()
}

pub(super) fn phase(value: i32) -> Result<Phase, Malformed> {
    match number::<_, proto::GroupPhase>(value)? {
        proto::GroupPhase::Unspecified
        | proto::GroupPhase::ConsumersEmpty
        | proto::GroupPhase::ConsumersReconciling
        | proto::GroupPhase::ConsumersStable => need(None),
        proto::GroupPhase::Empty => Ok(Phase::Empty),
        proto::GroupPhase::PreparingRebalance => Ok(Phase::PreparingRebalance),
        proto::GroupPhase::CompletingRebalance => Ok(Phase::CompletingRebalance),
        proto::GroupPhase::Stable => Ok(Phase::Stable),
    }
}
