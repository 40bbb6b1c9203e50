//! ElectLeaders (KIP-183, KIP-460): every broker leads every partition, so there is never anything to elect.

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use floe_protocol::str::Str;

use super::{Context, Handler, Refuse};

/// Preferred, unclean.
const ELECTION_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

impl Handler for ElectLeadersRequest {
    async fn handle(self, context: &Context) -> ElectLeadersResponse {
        let is_known = ELECTION_TYPES.contains(&self.election_type);
        let view = &context.broker.view;
        let results = match &self.topic_partitions {
            // Only partitions whose leader changed would be told of.
            None => {
                let topics = view.topics().into_iter();
                let nothing = topics.map(|topic| ReplicaElectionResult {
                    topic: Str::from(topic.name.to_string()),
                    ..ReplicaElectionResult::default()
                });
                nothing.collect()
            }
            Some(topics) => {
                let results = topics.iter().map(|wanted| {
                    let topic = view.topic_by_name(&wanted.topic);
                    let count = topic.map(|topic| topic.partition_count);
                    let partitions = wanted.partitions.iter();
                    ReplicaElectionResult {
                        topic: wanted.topic.clone(),
                        partition_result: partitions
                            .map(|index| match is_known {
                                true => partition(&wanted.topic, *index, count),
                                false => of_no_type(*index, self.election_type),
                            })
                            .collect(),
                    }
                });
                results.collect()
            }
        };
        let code = match is_known {
            true => ErrorCode::None,
            false => ErrorCode::InvalidRequest,
        };
        ElectLeadersResponse {
            error_code: code.code(),
            replica_election_results: results,
            ..ElectLeadersResponse::default()
        }
    }
}

impl Refuse for ElectLeadersRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<ElectLeadersResponse> {
        Some(failed(code))
    }
}

fn failed(code: ErrorCode) -> ElectLeadersResponse {
    ElectLeadersResponse {
        error_code: code.code(),
        ..ElectLeadersResponse::default()
    }
}

fn of_no_type(partition_id: i32, election_type: i8) -> PartitionResult {
    PartitionResult {
        partition_id,
        error_code: ErrorCode::InvalidRequest.code(),
        error_message: Some(Str::from(format!("Unknown election type {election_type}"))),
    }
}

fn partition(topic: &str, partition_id: i32, count: Option<i32>) -> PartitionResult {
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let (code, message) = match count {
        None => (unknown, format!("No such topic as {topic}")),
        Some(count) if !(0..count).contains(&partition_id) => (
            unknown,
            format!("No such partition as {topic}-{partition_id}"),
        ),
        Some(_) => {
            let message = "Leader election not needed for topic partition.";
            (ErrorCode::ElectionNotNeeded, message.to_owned())
        }
    };
    PartitionResult {
        partition_id,
        error_code: code.code(),
        error_message: Some(Str::from(message)),
    }
}
