//! DescribeTopicPartitions (KIP-966): topics page by page, sorted by name.

use std::collections::BTreeSet;
use std::sync::Arc;

use floe_metadata::api::Topic;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use floe_protocol::str::Str;
use floe_protocol::types::NodeId;

use super::metadata::TOPIC_OPERATIONS;
use super::{Context, Handler, Refuse};
use crate::topic_name;

/// Most partitions of one answer (`max.request.partition.size.limit`).
const PARTITIONS_MAX: i32 = 2000;

impl Handler for DescribeTopicPartitionsRequest {
    async fn handle(self, context: &Context) -> DescribeTopicPartitionsResponse {
        if !is_valid(&self) {
            let code = ErrorCode::InvalidRequest;
            return self.refuse(context.version, code).unwrap_or_default();
        }
        let mut page = Page {
            leader_id: context.brokers().leader.node_id,
            room: self.response_partition_limit.clamp(1, PARTITIONS_MAX),
            topics: Vec::new(),
            next: None,
        };
        let start = self
            .cursor
            .as_deref()
            .map(|at| (at.topic_name.as_str(), at.partition_index));
        for (name, topic) in wanted(&self, context) {
            let from = match start {
                Some((first, _)) if *name < *first => continue,
                Some((first, partition)) if *name == *first => partition,
                Some(_) | None => 0,
            };
            if !page.add(&name, topic.as_deref(), from, context) {
                break;
            }
        }
        DescribeTopicPartitionsResponse {
            topics: page.topics,
            next_cursor: page.next,
            ..DescribeTopicPartitionsResponse::default()
        }
    }
}

impl Refuse for DescribeTopicPartitionsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<DescribeTopicPartitionsResponse> {
        let topics = self.topics.iter().map(|topic| missing(&topic.name, code));
        let topics: Vec<_> = topics.collect();
        let has_room = !topics.is_empty();
        has_room.then(|| DescribeTopicPartitionsResponse {
            topics,
            ..DescribeTopicPartitionsResponse::default()
        })
    }
}

/// Whether a cursor is within what is asked for.
fn is_valid(request: &DescribeTopicPartitionsRequest) -> bool {
    request.cursor.as_deref().is_none_or(|cursor| {
        let mut topics = request.topics.iter();
        let is_listed =
            request.topics.is_empty() || topics.any(|topic| topic.name == cursor.topic_name);
        is_listed && cursor.partition_index >= 0
    })
}

/// The topics asked for, or all, sorted by name; `None` for one that does not exist.
fn wanted(
    request: &DescribeTopicPartitionsRequest,
    context: &Context,
) -> Vec<(String, Option<Arc<Topic>>)> {
    let view = &context.broker.view;
    if request.topics.is_empty() {
        let all = view.topics().into_iter();
        return all
            .map(|topic| (topic.name.to_string(), Some(topic)))
            .collect();
    }
    let names: BTreeSet<&str> = request
        .topics
        .iter()
        .map(|topic| topic.name.as_str())
        .collect();
    names
        .into_iter()
        .map(|name| (name.to_owned(), view.topic_by_name(name)))
        .collect()
}

/// The answer as it fills.
struct Page {
    /// Who leads everything for this client.
    leader_id: NodeId,
    /// Partitions that still fit.
    room: i32,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<Box<Cursor>>,
}

impl Page {
    /// Adds a topic from partition `from` on; false when the page is full before its end.
    fn add(&mut self, name: &str, topic: Option<&Topic>, from: i32, context: &Context) -> bool {
        if self.room == 0 {
            self.stop_at(name, from);
            return false;
        }
        let Some(topic) = topic else {
            let code = match topic_name::check(name) {
                Ok(()) => ErrorCode::UnknownTopicOrPartition,
                Err(_) => ErrorCode::InvalidTopicException,
            };
            self.topics.push(missing(name, code));
            return true;
        };
        let end = topic.partition_count.min(from.saturating_add(self.room));
        let described = describe(topic, from..end, self.leader_id, context);
        self.topics.push(described);
        self.room -= (end - from).max(0);
        if end < topic.partition_count {
            self.stop_at(name, end);
            return false;
        }
        true
    }

    fn stop_at(&mut self, name: &str, partition_index: i32) {
        let topic_name = Str::from(name.to_owned());
        self.next = Some(Box::new(Cursor {
            topic_name,
            partition_index,
        }));
    }
}

fn missing(name: &str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: code.code(),
        name: Some(Str::from(name.to_owned())),
        is_internal: topic_name::is_internal(name),
        // Of a topic that is unknown they are told, of one that was not looked up they are not.
        topic_authorized_operations: match code {
            ErrorCode::UnknownTopicOrPartition => TOPIC_OPERATIONS,
            _ => i32::MIN,
        },
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn describe(
    topic: &Topic,
    partitions: std::ops::Range<i32>,
    leader_id: NodeId,
    context: &Context,
) -> DescribeTopicPartitionsResponseTopic {
    let leader_epoch = context.broker.view.leader_epoch();
    let partitions = partitions.map(|partition_index| DescribeTopicPartitionsResponsePartition {
        error_code: ErrorCode::None.code(),
        partition_index,
        leader_id,
        leader_epoch,
        replica_nodes: vec![leader_id],
        isr_nodes: vec![leader_id],
        eligible_leader_replicas: Some(Vec::new()),
        last_known_elr: Some(Vec::new()),
        offline_replicas: Vec::new(),
    });
    DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode::None.code(),
        name: Some(Str::from(topic.name.to_string())),
        topic_id: topic.id.into(),
        is_internal: false,
        partitions: partitions.collect(),
        topic_authorized_operations: TOPIC_OPERATIONS,
    }
}
