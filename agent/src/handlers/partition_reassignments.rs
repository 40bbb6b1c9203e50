//! AlterPartitionReassignments and ListPartitionReassignments (KIP-455): every broker has every partition, so a
//! reassignment to brokers there are is done as soon as it is asked for, and none is ever under way.

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use floe_protocol::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use floe_protocol::str::Str;

use super::create_topics::check_assigned;
use super::{Context, Handler, Refuse};
use crate::brokers::Told;
use crate::error::Failure;

impl Handler for AlterPartitionReassignmentsRequest {
    async fn handle(self, context: &Context) -> AlterPartitionReassignmentsResponse {
        let told = context.brokers();
        let responses = self.topics.iter().map(|wanted| {
            let topic = context.broker.view.topic_by_name(&wanted.name);
            let check = |partition| match &topic {
                Some(topic) => check(partition, topic.partition_count, &told),
                None => Err(no_topic(&wanted.name)),
            };
            let partitions = wanted.partitions.iter();
            ReassignableTopicResponse {
                name: wanted.name.clone(),
                partitions: partitions
                    .map(|partition| response(partition, check(partition)))
                    .collect(),
            }
        });
        AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: self.allow_replication_factor_change,
            responses: responses.collect(),
            error_message: None,
            ..AlterPartitionReassignmentsResponse::default()
        }
    }
}

impl Refuse for AlterPartitionReassignmentsRequest {
    fn refuse(
        &self,
        _version: i16,
        code: ErrorCode,
    ) -> Option<AlterPartitionReassignmentsResponse> {
        Some(AlterPartitionReassignmentsResponse {
            error_code: code.code(),
            error_message: Some(Str::from(code.message())),
            ..AlterPartitionReassignmentsResponse::default()
        })
    }
}

fn no_topic(name: &str) -> Failure {
    let message = format!("Unable to find a topic named {name}.");
    Failure::new(ErrorCode::UnknownTopicOrPartition, message)
}

fn check(wanted: &ReassignablePartition, count: i32, told: &Told) -> Result<(), Failure> {
    if !(0..count).contains(&wanted.partition_index) {
        let code = ErrorCode::UnknownTopicOrPartition;
        return Err(Failure::new(code, code.message()));
    }
    match &wanted.replicas {
        None => {
            let code = ErrorCode::NoReassignmentInProgress;
            Err(Failure::new(
                code,
                "No partition reassignment is in progress.",
            ))
        }
        Some(replicas) => check_assigned(replicas, told),
    }
}

fn response(
    wanted: &ReassignablePartition,
    outcome: Result<(), Failure>,
) -> ReassignablePartitionResponse {
    let failure = outcome.err();
    let code = failure.as_ref().map_or(ErrorCode::None, |it| it.code);
    ReassignablePartitionResponse {
        partition_index: wanted.partition_index,
        error_code: code.code(),
        error_message: failure.map(|failure| Str::from(failure.message)),
    }
}

impl Handler for ListPartitionReassignmentsRequest {
    async fn handle(self, _context: &Context) -> ListPartitionReassignmentsResponse {
        ListPartitionReassignmentsResponse {
            error_message: None,
            ..ListPartitionReassignmentsResponse::default()
        }
    }
}

impl Refuse for ListPartitionReassignmentsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<ListPartitionReassignmentsResponse> {
        Some(ListPartitionReassignmentsResponse {
            error_code: code.code(),
            error_message: Some(Str::from(code.message())),
            ..ListPartitionReassignmentsResponse::default()
        })
    }
}
