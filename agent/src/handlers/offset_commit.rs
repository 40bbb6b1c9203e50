//! OffsetCommit: answered when the offsets are durable, together with whatever else is committed meanwhile.

use std::sync::Arc;

use floe_metadata::api::groups::{CommittedOffset, GroupRequest, Identity, OffsetCommit, TopicRef};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use floe_protocol::types::TopicId;

use super::groups::{PATIENCE, ask, codes, owned};
use super::{Context, Handler, Refuse};

/// The first version with topic ids (KIP-848).
const BY_ID: i16 = 10;
/// The first version that knows of groups that are not there.
const WITH_GROUP_NOT_FOUND: i16 = 9;

impl Handler for OffsetCommitRequest {
    async fn handle(self, context: &Context) -> OffsetCommitResponse {
        let version = context.version;
        let length_max = context
            .broker
            .settings
            .integer("offset.metadata.max.bytes", 4096);
        let length_max = usize::try_from(length_max).unwrap_or_default();
        let is_too_long = |partition: &OffsetCommitRequestPartition| {
            let metadata = partition.committed_metadata.as_ref();
            metadata.is_some_and(|text| text.encode_utf16().count() > length_max)
        };
        let asked = || {
            let topics = self.topics.iter();
            topics.flat_map(|topic| topic.partitions.iter().map(move |it| (topic, it)))
        };
        let offsets = asked().filter(|(_, partition)| !is_too_long(partition));
        let offsets: Vec<_> = offsets
            .map(|(topic, partition)| OffsetCommit {
                topic: topic_ref(topic, version),
                partition: partition.partition_index,
                committed: committed(partition),
            })
            .collect();
        let count = offsets.len();
        let unknown_group = if version >= WITH_GROUP_NOT_FOUND {
            ErrorCode::GroupIdNotFound
        } else {
            ErrorCode::IllegalGeneration
        };
        let request = GroupRequest::CommitOffsets {
            by: Identity {
                group: self.group_id.as_str().to_owned(),
                member_id: self.member_id.as_str().to_owned(),
                instance: owned(self.group_instance_id.as_ref()),
                generation: self.generation_id_or_member_epoch,
            },
            unknown_group,
            offsets,
        };
        let mut codes = codes(ask(context, request, PATIENCE).await, count).into_iter();
        let each = asked().map(|(_, partition)| {
            if is_too_long(partition) {
                ErrorCode::OffsetMetadataTooLarge
            } else {
                codes.next().unwrap_or(ErrorCode::UnknownServerError)
            }
        });
        let each: Vec<_> = each.collect();
        response(&self, each)
    }
}

impl Refuse for OffsetCommitRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<OffsetCommitResponse> {
        let partitions = self.topics.iter().map(|topic| topic.partitions.len());
        Some(response(self, vec![code; partitions.sum()]))
    }
}

fn topic_ref(topic: &OffsetCommitRequestTopic, version: i16) -> TopicRef {
    if version >= BY_ID {
        TopicRef::Id(TopicId(topic.topic_id))
    } else {
        TopicRef::Name(topic.name.as_str().to_owned())
    }
}

fn committed(partition: &OffsetCommitRequestPartition) -> CommittedOffset {
    let metadata = partition.committed_metadata.as_deref();
    CommittedOffset {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: Arc::from(metadata.unwrap_or_default()),
    }
}

/// One code per partition, in the order of the request.
fn response(request: &OffsetCommitRequest, codes: Vec<ErrorCode>) -> OffsetCommitResponse {
    let mut codes = codes.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(codes.by_ref());
        OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: partitions
                .map(|(partition, code)| OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: code.code(),
                })
                .collect(),
        }
    });
    OffsetCommitResponse {
        topics: topics.collect(),
        ..OffsetCommitResponse::default()
    }
}
