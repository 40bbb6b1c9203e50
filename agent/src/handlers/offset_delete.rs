//! OffsetDelete (KIP-496): forgets offsets of topics that a group no longer reads.

use floe_metadata::api::groups::{GroupReply, GroupRequest};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};

use super::groups::{PATIENCE, ask};
use super::{Context, Handler, Refuse};

impl Handler for OffsetDeleteRequest {
    async fn handle(self, context: &Context) -> OffsetDeleteResponse {
        let topics = self.topics.iter();
        let partitions = topics.flat_map(|topic| {
            let name = topic.name.as_str();
            let partitions = topic.partitions.iter();
            partitions.map(move |partition| (name.to_owned(), partition.partition_index))
        });
        let request = GroupRequest::DeleteOffsets {
            group: self.group_id.as_str().to_owned(),
            partitions: partitions.collect(),
        };
        match ask(context, request, PATIENCE).await {
            Ok(GroupReply::Deleted(Ok(codes))) => response(&self, codes),
            Ok(GroupReply::Deleted(Err(code))) | Err(code) => failed(code),
            Ok(_) => failed(ErrorCode::UnknownServerError),
        }
    }
}

impl Refuse for OffsetDeleteRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<OffsetDeleteResponse> {
        Some(failed(code))
    }
}

fn response(request: &OffsetDeleteRequest, codes: Vec<ErrorCode>) -> OffsetDeleteResponse {
    let mut codes = codes.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(codes.by_ref());
        OffsetDeleteResponseTopic {
            name: topic.name.clone(),
            partitions: partitions
                .map(|(partition, code)| OffsetDeleteResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: code.code(),
                })
                .collect(),
        }
    });
    OffsetDeleteResponse {
        topics: topics.collect(),
        ..OffsetDeleteResponse::default()
    }
}

fn failed(code: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse {
        error_code: code.code(),
        ..OffsetDeleteResponse::default()
    }
}
