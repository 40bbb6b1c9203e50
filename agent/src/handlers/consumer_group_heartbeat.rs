//! ConsumerGroupHeartbeat (KIP-848): a member of a group of the consumer protocol joins, goes on or leaves.

use std::time::Duration;

use floe_metadata::api::groups::{
    GroupReply, GroupRequest, HeartbeatAnswer, HeartbeatRequest, Partitions,
};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use floe_protocol::str::Str;
use floe_protocol::types::{TopicId, TopicPartition};

use super::groups::{PATIENCE, ask_in_doubt, owned};
use super::{Context, Handler, Refuse};

/// The first version whose members draw their ids themselves.
const WITH_OWN_ID: i16 = 1;

impl Handler for ConsumerGroupHeartbeatRequest {
    async fn handle(self, context: &Context) -> ConsumerGroupHeartbeatResponse {
        let (asked_for, epoch) = (self.member_id.clone(), self.member_epoch);
        let group = self.group_id.as_str().to_owned();
        let request = request(&self, context);
        drop(self);
        let request = GroupRequest::ConsumerHeartbeat { group, request };
        let asked = ask_in_doubt(context, request, PATIENCE).await;
        match asked {
            Ok((GroupReply::Heard(answer), in_doubt)) => {
                let is_gone = matches!(
                    answer.error,
                    ErrorCode::UnknownMemberId | ErrorCode::GroupIdNotFound
                );
                if in_doubt && is_gone && epoch < 0 {
                    // An earlier attempt was heard.
                    return ConsumerGroupHeartbeatResponse {
                        member_id: Some(asked_for),
                        member_epoch: epoch,
                        ..ConsumerGroupHeartbeatResponse::default()
                    };
                }
                response(answer)
            }
            Ok(_) => refused(ErrorCode::UnknownServerError),
            Err(code) => refused(code),
        }
    }
}

impl Refuse for ConsumerGroupHeartbeatRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<ConsumerGroupHeartbeatResponse> {
        Some(refused(code))
    }
}

fn request(heartbeat: &ConsumerGroupHeartbeatRequest, context: &Context) -> HeartbeatRequest {
    let client_id = context.connection.client().client_id;
    let mut member_id = heartbeat.member_id.as_str().to_owned();
    let draws = context.version < WITH_OWN_ID && heartbeat.member_epoch == 0;
    if member_id.is_empty() && draws {
        member_id = context.broker.random.uuid().to_string();
    }
    let timeout_ms = u64::try_from(heartbeat.rebalance_timeout_ms).ok();
    let names = heartbeat.subscribed_topic_names.as_ref();
    let names = names.map(|names| names.iter().map(|it| it.as_str().to_owned()).collect());
    HeartbeatRequest {
        member_id,
        epoch: heartbeat.member_epoch,
        instance: owned(heartbeat.instance_id.as_ref()),
        rack: owned(heartbeat.rack_id.as_ref()),
        client_id: client_id.as_deref().unwrap_or_default().to_owned(),
        client_host: format!("/{}", context.connection.peer.ip()),
        rebalance_timeout: timeout_ms.map(Duration::from_millis),
        names,
        regex: owned(heartbeat.subscribed_topic_regex.as_ref()),
        assignor: owned(heartbeat.server_assignor.as_ref()),
        owned: heartbeat.topic_partitions.as_deref().map(partitions),
        is_repeat: false,
    }
}

fn partitions(topics: &[TopicPartitions]) -> Partitions {
    let of_topic = |topic: &TopicPartitions| {
        let id = TopicId(topic.topic_id);
        let indexes = topic.partitions.clone();
        indexes
            .into_iter()
            .map(move |index| TopicPartition::new(id, index))
    };
    topics.iter().flat_map(of_topic).collect()
}

fn response(answer: HeartbeatAnswer) -> ConsumerGroupHeartbeatResponse {
    let interval = i32::try_from(answer.interval.as_millis());
    ConsumerGroupHeartbeatResponse {
        error_code: answer.error.code(),
        error_message: answer.message.map(Str::from),
        member_id: Some(answer.member_id)
            .filter(|id| !id.is_empty())
            .map(Str::from),
        member_epoch: answer.epoch,
        heartbeat_interval_ms: interval.unwrap_or(i32::MAX),
        assignment: answer.assignment.as_ref().map(assignment).map(Box::new),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}

fn assignment(partitions: &Partitions) -> Assignment {
    let partitions: Vec<_> = partitions.iter().collect();
    let topics = partitions.chunk_by(|one, next| one.topic == next.topic);
    let topics = topics.filter_map(|of_topic| {
        Some(TopicPartitions {
            topic_id: of_topic.first()?.topic.0,
            partitions: of_topic.iter().map(|it| it.partition).collect(),
        })
    });
    Assignment {
        topic_partitions: topics.collect(),
    }
}

fn refused(code: ErrorCode) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: code.code(),
        ..ConsumerGroupHeartbeatResponse::default()
    }
}
