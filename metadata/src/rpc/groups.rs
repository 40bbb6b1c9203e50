//! Requests about groups to messages and back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::types::TopicPartition;

use super::convert::{Malformed, id_bytes, need, number, topic_id};
use super::proto;
use crate::api::groups::{
    CommittedOffset, GroupRequest, Identity, JoinRequest, OffsetCommit, OffsetsOf, SyncRequest,
    TopicRef,
};

mod answers;
mod consumers;

type Call = proto::group_call::What;

impl From<GroupRequest> for Call {
    fn from(request: GroupRequest) -> Self {
        match request {
            GroupRequest::Join { group, request } => Self::Join(join(group, request)),
            GroupRequest::Sync { group, request } => Self::Sync(sync(group, request)),
            GroupRequest::Heartbeat(from) => Self::Heartbeat(from.into()),
            GroupRequest::Leave { group, members } => {
                let members = members.into_iter();
                let members = members.map(|(member_id, instance)| proto::LeavingMember {
                    member_id,
                    instance,
                });
                Self::Leave(proto::LeaveGroup {
                    group,
                    members: members.collect(),
                })
            }
            GroupRequest::CommitOffsets {
                by,
                unknown_group,
                offsets,
            } => Self::CommitOffsets(proto::CommitOffsets {
                by: Some(by.into()),
                unknown_group: code(unknown_group),
                topics: by_topic(offsets),
            }),
            GroupRequest::FetchOffsets { group, which, by } => {
                let (topics, is_all, after) = match which {
                    OffsetsOf::All(after) => (Vec::new(), true, after.map(Into::into)),
                    OffsetsOf::Partitions(topics) => {
                        let topic = |(topic, partitions): (TopicRef, _)| proto::OffsetsOfTopic {
                            topic: Some(topic.into()),
                            partitions,
                            offsets: Vec::new(),
                        };
                        (topics.into_iter().map(topic).collect(), false, None)
                    }
                };
                Self::FetchOffsets(proto::FetchOffsets {
                    group,
                    topics,
                    is_all,
                    after,
                    member_id: by.0,
                    member_epoch: by.1,
                })
            }
            GroupRequest::ConsumerHeartbeat { group, request } => {
                Self::ConsumerHeartbeat(consumers::heartbeat(group, request))
            }
            GroupRequest::DescribeConsumers(group) => Self::DescribeConsumers(group),
            GroupRequest::DeleteOffsets { group, partitions } => {
                let named = |(topic, partition)| proto::NamedPartition { topic, partition };
                let partitions = partitions.into_iter().map(named).collect();
                Self::DeleteOffsets(proto::DeleteOffsets { group, partitions })
            }
            GroupRequest::DeleteGroups(values) => Self::DeleteGroups(proto::Strings { values }),
            GroupRequest::List(value) => Self::List(proto::MaybeString { value }),
            GroupRequest::Describe(group) => Self::Describe(group),
        }
    }
}

impl TryFrom<Call> for GroupRequest {
    type Error = Malformed;

    fn try_from(call: Call) -> Result<Self, Malformed> {
        Ok(match call {
            Call::Join(join) => {
                let (group, request) = joined(join);
                Self::Join { group, request }
            }
            Call::Sync(sync) => {
                let (group, request) = synced(sync)?;
                Self::Sync { group, request }
            }
            Call::Heartbeat(from) => Self::Heartbeat(from.into()),
            Call::Leave(leave) => {
                let members = leave.members.into_iter();
                Self::Leave {
                    group: leave.group,
                    members: members.map(|it| (it.member_id, it.instance)).collect(),
                }
            }
            Call::CommitOffsets(commit) => {
                let mut offsets = Vec::new();
                for topic in commit.topics {
                    commits(topic, &mut offsets)?;
                }
                Self::CommitOffsets {
                    by: need(commit.by)?.into(),
                    unknown_group: error(commit.unknown_group)?,
                    offsets,
                }
            }
            Call::FetchOffsets(fetch) => {
                let topic = |topic: proto::OffsetsOfTopic| {
                    Ok((need(topic.topic)?.try_into()?, topic.partitions))
                };
                let which = if fetch.is_all {
                    OffsetsOf::All(fetch.after.map(TopicPartition::try_from).transpose()?)
                } else {
                    let topics = fetch.topics.into_iter().map(topic);
                    OffsetsOf::Partitions(topics.collect::<Result<_, Malformed>>()?)
                };
                Self::FetchOffsets {
                    group: fetch.group,
                    which,
                    by: (fetch.member_id, fetch.member_epoch),
                }
            }
            Call::DeleteOffsets(delete) => {
                let partitions = delete.partitions.into_iter();
                Self::DeleteOffsets {
                    group: delete.group,
                    partitions: partitions.map(|it| (it.topic, it.partition)).collect(),
                }
            }
            Call::DeleteGroups(names) => Self::DeleteGroups(names.values),
            Call::List(after) => Self::List(after.value),
            Call::Describe(name) => Self::Describe(name),
            Call::ConsumerHeartbeat(heartbeat) => {
                let (group, request) = consumers::heard(heartbeat)?;
                Self::ConsumerHeartbeat { group, request }
            }
            Call::DescribeConsumers(name) => Self::DescribeConsumers(name),
        })
    }
}

fn join(group: String, request: JoinRequest) -> proto::JoinGroup {
    proto::JoinGroup {
        group,
        member_id: request.member_id,
        instance: request.instance,
        new_member_id: request.new_member_id,
        client_id: request.client_id,
        client_host: request.client_host,
        session_timeout_ms: milliseconds(request.session_timeout),
        rebalance_timeout_ms: milliseconds(request.rebalance_timeout),
        protocol_type: request.protocol_type,
        protocols: named(request.protocols),
        comes_back_with_id: request.comes_back_with_id,
        can_skip_assignment: request.can_skip_assignment,
    }
}

fn joined(join: proto::JoinGroup) -> (String, JoinRequest) {
    let request = JoinRequest {
        member_id: join.member_id,
        instance: join.instance,
        new_member_id: join.new_member_id,
        client_id: join.client_id,
        client_host: join.client_host,
        session_timeout: Duration::from_millis(join.session_timeout_ms),
        rebalance_timeout: Duration::from_millis(join.rebalance_timeout_ms),
        protocol_type: join.protocol_type,
        protocols: unnamed(join.protocols),
        comes_back_with_id: join.comes_back_with_id,
        can_skip_assignment: join.can_skip_assignment,
    };
    (join.group, request)
}

fn sync(group: String, request: SyncRequest) -> proto::SyncGroup {
    let from = proto::GroupIdentity {
        group,
        member_id: request.member_id,
        instance: request.instance,
        generation: request.generation,
    };
    proto::SyncGroup {
        from: Some(from),
        protocol_type: request.protocol_type,
        protocol: request.protocol,
        assignments: named(request.assignments),
    }
}

fn synced(sync: proto::SyncGroup) -> Result<(String, SyncRequest), Malformed> {
    let from = need(sync.from)?;
    let request = SyncRequest {
        member_id: from.member_id,
        instance: from.instance,
        generation: from.generation,
        protocol_type: sync.protocol_type,
        protocol: sync.protocol,
        assignments: unnamed(sync.assignments),
    };
    Ok((from.group, request))
}

/// Neighbours of one topic share its name.
fn by_topic(offsets: Vec<OffsetCommit>) -> Vec<proto::OffsetsOfTopic> {
    let mut topics: Vec<proto::OffsetsOfTopic> = Vec::new();
    let mut last: Option<TopicRef> = None;
    for commit in offsets {
        if last.as_ref() != Some(&commit.topic) {
            topics.push(proto::OffsetsOfTopic {
                topic: Some(commit.topic.clone().into()),
                ..proto::OffsetsOfTopic::default()
            });
            last = Some(commit.topic);
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(commit.partition);
            topic.offsets.push(commit.committed.into());
        }
    }
    topics
}

fn commits(topic: proto::OffsetsOfTopic, out: &mut Vec<OffsetCommit>) -> Result<(), Malformed> {
    if topic.partitions.len() != topic.offsets.len() {
        return Err(Malformed);
    }
    let of: TopicRef = need(topic.topic)?.try_into()?;
    let offsets = topic.partitions.into_iter().zip(topic.offsets);
    out.extend(offsets.map(|(partition, committed)| OffsetCommit {
        topic: of.clone(),
        partition,
        committed: committed.into(),
    }));
    Ok(())
}

impl From<Identity> for proto::GroupIdentity {
    fn from(identity: Identity) -> Self {
        Self {
            group: identity.group,
            member_id: identity.member_id,
            instance: identity.instance,
            generation: identity.generation,
        }
    }
}

impl From<proto::GroupIdentity> for Identity {
    fn from(identity: proto::GroupIdentity) -> Self {
        Self {
            group: identity.group,
            member_id: identity.member_id,
            instance: identity.instance,
            generation: identity.generation,
        }
    }
}

impl From<TopicRef> for proto::TopicRef {
    fn from(topic: TopicRef) -> Self {
        use proto::topic_ref::What;
        Self {
            what: Some(match topic {
                TopicRef::Name(name) => What::Name(name),
                TopicRef::Id(id) => What::Id(id_bytes(id)),
            }),
        }
    }
}

impl TryFrom<proto::TopicRef> for TopicRef {
    type Error = Malformed;

    fn try_from(topic: proto::TopicRef) -> Result<Self, Malformed> {
        use proto::topic_ref::What;
        Ok(match need(topic.what)? {
            What::Name(name) => Self::Name(name),
            What::Id(id) => Self::Id(topic_id(&id)?),
        })
    }
}

impl From<CommittedOffset> for proto::CommittedOffset {
    fn from(committed: CommittedOffset) -> Self {
        Self {
            offset: committed.offset,
            leader_epoch: committed.leader_epoch,
            metadata: committed.metadata.to_string(),
        }
    }
}

impl From<proto::CommittedOffset> for CommittedOffset {
    fn from(committed: proto::CommittedOffset) -> Self {
        Self {
            offset: committed.offset,
            leader_epoch: committed.leader_epoch,
            metadata: Arc::from(committed.metadata),
        }
    }
}

fn named(pairs: Vec<(String, Bytes)>) -> Vec<proto::NamedBytes> {
    let pair = |(name, value)| proto::NamedBytes { name, value };
    pairs.into_iter().map(pair).collect()
}

fn unnamed(pairs: Vec<proto::NamedBytes>) -> Vec<(String, Bytes)> {
    pairs.into_iter().map(|it| (it.name, it.value)).collect()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn code(error: ErrorCode) -> i32 {
    i32::from(error.code())
}

/// A code of Kafka's.
fn error(code: i32) -> Result<ErrorCode, Malformed> {
    need(ErrorCode::from_code(number(code)?))
}

fn codes(errors: Vec<ErrorCode>) -> Vec<i32> {
    errors.into_iter().map(code).collect()
}

fn errors(codes: Vec<i32>) -> Result<Vec<ErrorCode>, Malformed> {
    codes.into_iter().map(error).collect()
}
