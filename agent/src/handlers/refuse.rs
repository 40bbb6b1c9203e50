//! One error for a whole Produce or Fetch request.

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use floe_protocol::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use floe_protocol::records::Records;

use super::Refuse;

impl Refuse for ProduceRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<ProduceResponse> {
        let responses = self.topic_data.iter().map(|topic| TopicProduceResponse {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partition_responses: topic
                .partition_data
                .iter()
                .map(|partition| PartitionProduceResponse {
                    index: partition.index,
                    error_code: code.code(),
                    base_offset: -1,
                    ..PartitionProduceResponse::default()
                })
                .collect(),
        });
        Some(ProduceResponse {
            responses: responses.collect(),
            ..ProduceResponse::default()
        })
    }
}

impl Refuse for FetchRequest {
    fn refuse(&self, version: i16, code: ErrorCode) -> Option<FetchResponse> {
        // From version 7 on an error concerns the whole answer (KIP-227).
        if version >= 7 {
            return Some(FetchResponse {
                error_code: code.code(),
                ..FetchResponse::default()
            });
        }
        let responses = self.topics.iter().map(|topic| FetchableTopicResponse {
            topic: topic.topic.clone(),
            topic_id: topic.topic_id,
            partitions: topic
                .partitions
                .iter()
                .map(|partition| PartitionData {
                    partition_index: partition.partition,
                    error_code: code.code(),
                    high_watermark: -1,
                    records: Some(Records::new()),
                    ..PartitionData::default()
                })
                .collect(),
        });
        Some(FetchResponse {
            responses: responses.collect(),
            ..FetchResponse::default()
        })
    }
}
