//! Groups of the consumer protocol to messages and back.

use std::sync::Arc;
use std::time::Duration;

use floe_protocol::types::{PartitionIndex, TopicId, TopicPartition};

use super::answers::{phase, phase_number};
use super::{code, error, milliseconds};
use crate::api::groups::{
    DescribedConsumer, DescribedConsumers, GroupState, HeartbeatAnswer, HeartbeatRequest,
    ListedState, Partitions,
};
use crate::rpc::convert::{Malformed, id_bytes, number, topic_id};
use crate::rpc::proto;

pub(super) fn heartbeat(group: String, request: HeartbeatRequest) -> proto::ConsumerHeartbeat {
    proto::ConsumerHeartbeat {
        group,
        member_id: request.member_id,
        epoch: request.epoch,
        instance: request.instance,
        rack: request.rack,
        client_id: request.client_id,
        client_host: request.client_host,
        rebalance_timeout_ms: request.rebalance_timeout.map(milliseconds),
        names: request.names.map(|values| proto::Strings { values }),
        regex: request.regex,
        assignor: request.assignor,
        owned: request.owned.as_ref().map(of_topics),
        is_repeat: request.is_repeat,
    }
}

pub(super) fn heard(
    heartbeat: proto::ConsumerHeartbeat,
) -> Result<(String, HeartbeatRequest), Malformed> {
    let timeout = heartbeat.rebalance_timeout_ms;
    let request = HeartbeatRequest {
        member_id: heartbeat.member_id,
        epoch: heartbeat.epoch,
        instance: heartbeat.instance,
        rack: heartbeat.rack,
        client_id: heartbeat.client_id,
        client_host: heartbeat.client_host,
        rebalance_timeout: timeout.map(Duration::from_millis),
        names: heartbeat.names.map(|names| names.values),
        regex: heartbeat.regex,
        assignor: heartbeat.assignor,
        owned: heartbeat.owned.map(partitions).transpose()?,
        is_repeat: heartbeat.is_repeat,
    };
    Ok((heartbeat.group, request))
}

pub(super) fn answer(answer: HeartbeatAnswer) -> proto::HeardConsumer {
    proto::HeardConsumer {
        error: code(answer.error),
        message: answer.message,
        member_id: answer.member_id,
        epoch: answer.epoch,
        interval_ms: milliseconds(answer.interval),
        assignment: answer.assignment.as_ref().map(of_topics),
    }
}

pub(super) fn answered(heard: proto::HeardConsumer) -> Result<HeartbeatAnswer, Malformed> {
    Ok(HeartbeatAnswer {
        error: error(heard.error)?,
        message: heard.message,
        member_id: heard.member_id,
        epoch: heard.epoch,
        interval: Duration::from_millis(heard.interval_ms),
        assignment: heard.assignment.map(partitions).transpose()?,
    })
}

pub(super) fn described(group: DescribedConsumers) -> proto::DescribedConsumers {
    let members = group.members.into_iter();
    let members = members.map(|member| proto::DescribedConsumer {
        id: member.id,
        instance: member.instance,
        rack: member.rack,
        client_id: member.client_id,
        client_host: member.client_host,
        epoch: member.epoch,
        names: member.names,
        regex: member.regex,
        assigned: member.assigned.into_iter().map(named).collect(),
        target: member.target.into_iter().map(named).collect(),
        is_classic: member.is_classic,
    });
    proto::DescribedConsumers {
        phase: state_number(ListedState::Consumer(group.state)),
        epoch: group.epoch,
        assignor: group.assignor,
        members: members.collect(),
    }
}

pub(super) fn described_back(
    group: proto::DescribedConsumers,
) -> Result<DescribedConsumers, Malformed> {
    let ListedState::Consumer(state) = state(group.phase)? else {
        return Err(Malformed);
    };
    let members = group.members.into_iter().map(|member| {
        let all = |topics: Vec<proto::OfTopic>| {
            let topics = topics.into_iter().map(named_back);
            topics.collect::<Result<_, Malformed>>()
        };
        Ok(DescribedConsumer {
            id: member.id,
            instance: member.instance,
            rack: member.rack,
            client_id: member.client_id,
            client_host: member.client_host,
            epoch: member.epoch,
            names: member.names,
            regex: member.regex,
            assigned: all(member.assigned)?,
            target: all(member.target)?,
            is_classic: member.is_classic,
        })
    });
    Ok(DescribedConsumers {
        state,
        epoch: group.epoch,
        assignor: group.assignor,
        members: members.collect::<Result<_, Malformed>>()?,
    })
}

pub(super) fn state_number(state: ListedState) -> i32 {
    let phase = match state {
        ListedState::Classic(phase) => return phase_number(phase),
        ListedState::Consumer(GroupState::Empty) => proto::GroupPhase::ConsumersEmpty,
        ListedState::Consumer(GroupState::Reconciling) => proto::GroupPhase::ConsumersReconciling,
        ListedState::Consumer(GroupState::Stable) => proto::GroupPhase::ConsumersStable,
    };
    phase.into()
}

pub(super) fn state(value: i32) -> Result<ListedState, Malformed> {
    Ok(match number::<_, proto::GroupPhase>(value)? {
        proto::GroupPhase::ConsumersEmpty => ListedState::Consumer(GroupState::Empty),
        proto::GroupPhase::ConsumersReconciling => ListedState::Consumer(GroupState::Reconciling),
        proto::GroupPhase::ConsumersStable => ListedState::Consumer(GroupState::Stable),
        proto::GroupPhase::Unspecified
        | proto::GroupPhase::Empty
        | proto::GroupPhase::PreparingRebalance
        | proto::GroupPhase::CompletingRebalance
        | proto::GroupPhase::Stable => ListedState::Classic(phase(value)?),
    })
}

fn of_topics(partitions: &Partitions) -> proto::OfTopics {
    let mut topics: Vec<(TopicId, proto::OfTopic)> = Vec::new();
    for partition in partitions {
        match topics.last_mut() {
            Some((topic, of_topic)) if *topic == partition.topic => {
                of_topic.partitions.push(partition.partition);
            }
            _ => {
                let of_topic = proto::OfTopic {
                    topic: id_bytes(partition.topic),
                    name: String::new(),
                    partitions: vec![partition.partition],
                };
                topics.push((partition.topic, of_topic));
            }
        }
    }
    proto::OfTopics {
        topics: topics.into_iter().map(|(_, of_topic)| of_topic).collect(),
    }
}

fn partitions(topics: proto::OfTopics) -> Result<Partitions, Malformed> {
    let mut partitions = Partitions::new();
    for of_topic in topics.topics {
        let topic = topic_id(&of_topic.topic)?;
        let indexes = of_topic.partitions.into_iter();
        partitions.extend(indexes.map(|index| TopicPartition::new(topic, index)));
    }
    Ok(partitions)
}

fn named((topic, name, partitions): (TopicId, Arc<str>, Vec<PartitionIndex>)) -> proto::OfTopic {
    proto::OfTopic {
        topic: id_bytes(topic),
        name: name.to_string(),
        partitions,
    }
}

fn named_back(
    of_topic: proto::OfTopic,
) -> Result<(TopicId, Arc<str>, Vec<PartitionIndex>), Malformed> {
    let topic = topic_id(&of_topic.topic)?;
    Ok((topic, Arc::from(of_topic.name), of_topic.partitions))
}
