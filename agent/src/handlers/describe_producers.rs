//! DescribeProducers (KIP-664): who writes to a partition with sequences.

use floe_metadata::api::admin::ActiveProducer;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState,
    TopicResponse,
};
use floe_protocol::str::Str;
use floe_protocol::types::TopicPartition;
use tokio::time::Instant;

use super::change::settle;
use super::configs::PATIENCE;
use super::{Context, Handler, Refuse};

type Outcome = Result<Vec<ActiveProducer>, ErrorCode>;

impl Handler for DescribeProducersRequest {
    async fn handle(self, context: &Context) -> DescribeProducersResponse {
        let outcomes = find_all(&self, context).await;
        response(&self, outcomes)
    }
}

impl Refuse for DescribeProducersRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<DescribeProducersResponse> {
        let counts = self
            .topics
            .iter()
            .map(|topic| topic.partition_indexes.len());
        Some(response(self, vec![Err(code); counts.sum()]))
    }
}

async fn find_all(request: &DescribeProducersRequest, context: &Context) -> Vec<Outcome> {
    let view = &context.broker.view;
    let mut asked = Vec::new();
    for data in &request.topics {
        let topic = view.topic_by_name(&data.name);
        let resolve = |index: &i32| {
            let topic = topic.as_ref();
            let topic = topic.filter(|topic| (0..topic.partition_count).contains(index));
            topic.map(|topic| TopicPartition::new(topic.id, *index))
        };
        asked.extend(data.partition_indexes.iter().map(resolve));
    }
    let partitions: Vec<_> = asked.iter().flatten().copied().collect();
    let metadata = &context.broker.metadata;
    let found = settle(context, Instant::now() + PATIENCE, async |_| {
        let found = metadata.producers(partitions.clone()).await?;
        Ok((found, None))
    });
    let mut found = match found.await {
        Ok(found) => found.into_iter(),
        Err(failure) => return vec![Err(failure.code); asked.len()],
    };
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let find = |asked: Option<TopicPartition>| {
        let producers = asked.and_then(|_| found.next().flatten());
        producers.ok_or(unknown)
    };
    asked.into_iter().map(find).collect()
}

fn response(
    request: &DescribeProducersRequest,
    outcomes: Vec<Outcome>,
) -> DescribeProducersResponse {
    let mut outcomes = outcomes.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().zip(outcomes.by_ref());
        TopicResponse {
            name: topic.name.clone(),
            partitions: partitions
                .map(|(index, outcome)| partition(*index, outcome))
                .collect(),
        }
    });
    DescribeProducersResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    }
}

fn partition(partition_index: i32, outcome: Outcome) -> PartitionResponse {
    let code = outcome.as_ref().err().copied();
    let producers = outcome.unwrap_or_default().into_iter();
    PartitionResponse {
        partition_index,
        error_code: code.unwrap_or(ErrorCode::None).code(),
        error_message: code.map(|code| Str::from(code.message())),
        active_producers: producers
            .map(|producer| ProducerState {
                producer_id: producer.id,
                producer_epoch: i32::from(producer.epoch),
                last_sequence: producer.last_sequence,
                last_timestamp: producer.last_timestamp_ms,
                // No transaction has come by.
                coordinator_epoch: -1,
                current_txn_start_offset: -1,
            })
            .collect(),
    }
}
