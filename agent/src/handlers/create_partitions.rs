//! CreatePartitions (KIP-195): a topic's partitions can only become more. Codes and words are those of
//! Kafka 4.2's controller.

use std::collections::BTreeMap;

use floe_metadata::api::{RequestError, Topic};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};
use floe_protocol::str::Str;
use futures::StreamExt as _;
use futures::stream;
use tokio::time::Instant;

use super::change::{deadline, settle};
use super::create_topics::check_assigned;
use super::{Context, Handler, Refuse};
use crate::error::Failure;

/// Topics of one request that grow at once.
const CHANGES_MAX: usize = 64;

impl Handler for CreatePartitionsRequest {
    async fn handle(self, context: &Context) -> CreatePartitionsResponse {
        let deadline = deadline(self.timeout_ms);
        let raised = distinct(&self.topics)
            .into_iter()
            .map(|(topic, is_twice)| one(topic, is_twice, self.validate_only, deadline, context));
        let raised: Vec<_> = raised.collect();
        let results = stream::iter(raised).buffered(CHANGES_MAX).collect().await;
        CreatePartitionsResponse {
            throttle_time_ms: 0,
            results,
        }
    }
}

impl Refuse for CreatePartitionsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<CreatePartitionsResponse> {
        let failure = Failure::new(code, code.message());
        let results = self
            .topics
            .iter()
            .map(|topic| result(topic, Err(failure.clone())));
        Some(CreatePartitionsResponse {
            throttle_time_ms: 0,
            results: results.collect(),
        })
    }
}

/// The topics of a request, each name once, and whether it was there more than once.
fn distinct(topics: &[CreatePartitionsTopic]) -> Vec<(&CreatePartitionsTopic, bool)> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in topics {
        *counts.entry(topic.name.as_str()).or_default() += 1;
    }
    topics
        .iter()
        .filter_map(|topic| {
            counts
                .remove(topic.name.as_str())
                .map(|count| (topic, count > 1))
        })
        .collect()
}

async fn one(
    wanted: &CreatePartitionsTopic,
    is_twice: bool,
    validate_only: bool,
    deadline: Instant,
    context: &Context,
) -> CreatePartitionsTopicResult {
    if is_twice {
        let failure = Failure::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
        return result(wanted, Err(failure));
    }
    let Some(topic) = context.broker.view.topic_by_name(&wanted.name) else {
        return result(wanted, Err(RequestError::UnknownTopic.into()));
    };
    let outcome = match check(wanted, &topic, context) {
        Ok(()) if validate_only => Ok(()),
        Ok(()) => raise(&topic, wanted.count, deadline, context).await,
        Err(failure) => Err(failure),
    };
    result(wanted, outcome)
}

fn check(wanted: &CreatePartitionsTopic, topic: &Topic, context: &Context) -> Result<(), Failure> {
    let have = topic.partition_count;
    let asked = wanted.count;
    if asked == have {
        return Err(RequestError::PartitionCountNotRaised { have, asked }.into());
    }
    if asked < have {
        let message = format!(
            "The topic {} currently has {have} partition(s); {asked} would not be an increase.",
            wanted.name
        );
        return Err(Failure::new(ErrorCode::InvalidPartitions, message));
    }
    let Some(assignments) = &wanted.assignments else {
        return Ok(());
    };
    let additional = wanted.count - have;
    if i32::try_from(assignments.len()) != Ok(additional) {
        let message = format!(
            "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        );
        return Err(Failure::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    let told = context.brokers();
    assignments
        .iter()
        .try_for_each(|assignment| check_assigned(&assignment.broker_ids, &told))
}

async fn raise(
    topic: &Topic,
    count: i32,
    deadline: Instant,
    context: &Context,
) -> Result<(), Failure> {
    let metadata = &context.broker.metadata;
    settle(context, deadline, async |in_doubt| {
        match metadata.create_partitions(topic.id, count).await {
            Ok((_, revision)) => Ok(((), Some(revision))),
            // An attempt whose answer was lost did it.
            Err(RequestError::PartitionCountNotRaised { have, asked })
                if in_doubt && have == asked =>
            {
                Ok(((), None))
            }
            Err(error) => Err(error),
        }
    })
    .await
}

fn result(
    wanted: &CreatePartitionsTopic,
    outcome: Result<(), Failure>,
) -> CreatePartitionsTopicResult {
    let failure = outcome.err();
    CreatePartitionsTopicResult {
        name: wanted.name.clone(),
        error_code: failure
            .as_ref()
            .map_or(ErrorCode::None, |failure| failure.code)
            .code(),
        error_message: failure.map(|failure| Str::from(failure.message)),
    }
}
