//! ConsumerGroupDescribe (KIP-848): the state and the members of groups of the consumer protocol. Of groups of
//! another kind tools ask DescribeGroups.

use std::sync::Arc;

use floe_metadata::api::groups::{
    DescribedConsumer, DescribedConsumers, GroupReply, GroupRequest, GroupState,
};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::consumer_group_describe::{
    Assignment, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup,
    Member, TopicPartitions,
};
use floe_protocol::str::Str;
use floe_protocol::types::{PartitionIndex, TopicId};
use futures::{StreamExt as _, stream};

use super::describe_groups::{GROUPS_AT_ONCE_MAX, OPERATIONS};
use super::groups::{PATIENCE, ask};
use super::{Context, Handler, Refuse};

/// Of a member that speaks the classic protocol.
const CLASSIC_MEMBER: i8 = 0;
/// Of a member that speaks the consumer protocol.
const CONSUMER_MEMBER: i8 = 1;

impl Handler for ConsumerGroupDescribeRequest {
    async fn handle(self, context: &Context) -> ConsumerGroupDescribeResponse {
        let asks_for_operations = self.include_authorized_operations;
        let groups = self.group_ids.into_iter().map(|name| async move {
            let mut group = describe(context, &name).await;
            if asks_for_operations && group.error_code == ErrorCode::None.code() {
                group.authorized_operations = OPERATIONS;
            }
            group
        });
        ConsumerGroupDescribeResponse {
            groups: stream::iter(groups)
                .buffered(GROUPS_AT_ONCE_MAX)
                .collect()
                .await,
            ..ConsumerGroupDescribeResponse::default()
        }
    }
}

impl Refuse for ConsumerGroupDescribeRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<ConsumerGroupDescribeResponse> {
        let groups = self.group_ids.iter().map(|name| failed(name, code));
        Some(ConsumerGroupDescribeResponse {
            groups: groups.collect(),
            ..ConsumerGroupDescribeResponse::default()
        })
    }
}

async fn describe(context: &Context, name: &Str) -> DescribedGroup {
    if name.is_empty() {
        return failed(name, ErrorCode::InvalidGroupId);
    }
    let request = GroupRequest::DescribeConsumers(name.as_str().to_owned());
    match ask(context, request, PATIENCE).await {
        Ok(GroupReply::DescribedConsumers(Some(group))) => described(name, group),
        Ok(GroupReply::DescribedConsumers(None)) => {
            let message = format!("Group {} not found.", name.as_str());
            DescribedGroup {
                error_message: Some(Str::from(message)),
                ..failed(name, ErrorCode::GroupIdNotFound)
            }
        }
        Ok(_) => failed(name, ErrorCode::UnknownServerError),
        Err(code) => failed(name, code),
    }
}

/// Kafka's name of a state.
pub(super) const fn state_name(state: GroupState) -> &'static str {
    match state {
        GroupState::Empty => "Empty",
        GroupState::Reconciling => "Reconciling",
        GroupState::Stable => "Stable",
    }
}

fn described(name: &Str, group: DescribedConsumers) -> DescribedGroup {
    DescribedGroup {
        group_id: name.clone(),
        group_state: Str::from_static(state_name(group.state)),
        group_epoch: group.epoch,
        assignment_epoch: group.epoch,
        assignor_name: Str::from(group.assignor),
        members: group.members.into_iter().map(member).collect(),
        ..DescribedGroup::default()
    }
}

fn member(member: DescribedConsumer) -> Member {
    Member {
        member_id: Str::from(member.id),
        instance_id: member.instance.map(Str::from),
        rack_id: member.rack.map(Str::from),
        member_epoch: member.epoch,
        client_id: Str::from(member.client_id),
        client_host: Str::from(member.client_host),
        subscribed_topic_names: member.names.into_iter().map(Str::from).collect(),
        // Empty and not null where there is none, as Kafka has it.
        subscribed_topic_regex: Some(member.regex.map(Str::from).unwrap_or_default()),
        assignment: assignment(member.assigned),
        target_assignment: assignment(member.target),
        member_type: if member.is_classic {
            CLASSIC_MEMBER
        } else {
            CONSUMER_MEMBER
        },
    }
}

fn assignment(topics: Vec<(TopicId, Arc<str>, Vec<PartitionIndex>)>) -> Assignment {
    let topics = topics.into_iter();
    let topics = topics.map(|(id, name, partitions)| TopicPartitions {
        topic_id: id.0,
        topic_name: Str::from(name.to_string()),
        partitions,
    });
    Assignment {
        topic_partitions: topics.collect(),
    }
}

fn failed(name: &Str, code: ErrorCode) -> DescribedGroup {
    DescribedGroup {
        error_code: code.code(),
        group_id: name.clone(),
        ..DescribedGroup::default()
    }
}
