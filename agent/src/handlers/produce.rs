//! Produce: checks each batch, puts the good ones in line, answers when their commits are durable.
//!
//! Everything with an effect happens before [`handle`] returns; the future it returns only waits. A bad
//! batch concerns its partition alone, the others go on (protocol guide, "Produce").

mod check;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use floe_metadata::api::Topic;
use floe_planted::Bug;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceResponse,
};
use floe_protocol::record_batch::BatchError;
use floe_protocol::str::Str;
use floe_protocol::types::{TopicId, TopicPartition};

use self::check::{Checked, Checker, request_error};
use super::Refuse as _;
use crate::broker::Broker;
use crate::connection::Connection;
use crate::error;
use crate::memory::MemoryPermit;
use crate::metrics::Metrics;
use crate::produce::{Batch, Completion, Outcome, Seat, Ticket};

/// The answer to a Produce request.
#[derive(Debug)]
pub(crate) struct Answered {
    /// What the client is told.
    pub(crate) response: ProduceResponse,
    /// Whether a batch is told to be sent again without having been decided: then this must be the last
    /// answer on its connection. An idempotent producer keeps five requests in flight, and five of its
    /// batches are remembered; were later ones acknowledged while an earlier one stays open, the producer
    /// would go on, and its repeat of the open one would no longer be known for the duplicate it may be.
    pub(crate) is_last: bool,
}

/// Takes the batches of `request` and returns the answer to come. The batches keep `permit` as long as
/// they keep the request's bytes.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    connection: &Arc<Connection>,
    version: i16,
    request: ProduceRequest,
    permit: MemoryPermit,
) -> impl Future<Output = Answered> + Send + 'static {
    // Who wants no answer does not wait for one, and must not lose its connection to a slow commit.
    let timeout = (request.acks != 0)
        .then(|| Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0)));
    let taken = match request_error(&request) {
        Some(code) => Err(request.refuse(version, code).unwrap_or_default()),
        None => Ok(take(broker, connection, version, request, permit)),
    };
    let metrics = broker.metrics.clone();
    async move {
        let Taken { topics, completion } = match taken {
            Ok(taken) => taken,
            Err(response) => {
                return Answered {
                    response,
                    is_last: false,
                };
            }
        };
        match timeout {
            // What is still open then may yet be written: its code makes the client ask again.
            Some(timeout) => drop(tokio::time::timeout(timeout, completion.done()).await),
            None => completion.done().await,
        }
        // Before the answers are made: what is decided meanwhile was not waited for.
        let is_last = !completion.is_decided() && !Bug::AcknowledgedPastUndecided.is_planted();
        let responses = topics
            .into_iter()
            .map(|topic| topic.answer(&completion, &metrics));
        let response = ProduceResponse {
            responses: responses.collect(),
            ..ProduceResponse::default()
        };
        Answered { response, is_last }
    }
}

/// A request whose batches are in line.
struct Taken {
    topics: Vec<TakenTopic>,
    completion: Arc<Completion>,
}

struct TakenTopic {
    name: Str,
    id: TopicId,
    partitions: Vec<TakenPartition>,
}

struct TakenPartition {
    index: i32,
    state: TakenState,
}

/// What became of a partition's batch so far.
enum TakenState {
    /// In line as this batch of the completion; its size and records, for counting.
    InLine {
        batch: usize,
        size_bytes: u64,
        record_count: u64,
    },
    /// Refused.
    Refused(ErrorCode, Option<Box<BatchError>>),
}

fn take(
    broker: &Broker,
    connection: &Connection,
    version: i16,
    request: ProduceRequest,
    permit: MemoryPermit,
) -> Taken {
    let topics: Vec<_> = request
        .topic_data
        .iter()
        .map(|topic| find(broker, version, &topic.name, TopicId::from(topic.topic_id)))
        .collect();
    let twice = wanted_twice(&request, &topics);
    let checker = Checker::new(broker, version);
    let mut checked = Vec::new();
    let mut taken = Vec::with_capacity(topics.len());
    for (data, topic) in request.topic_data.into_iter().zip(topics) {
        let topic_checker = topic.as_ref().ok().map(|topic| checker.topic(topic));
        let mut partitions = Vec::with_capacity(data.partition_data.len());
        for partition in data.partition_data {
            let index = partition.index;
            let result = match (&topic, &topic_checker) {
                (Ok(topic), Some(_)) if twice.contains(&TopicPartition::new(topic.id, index)) => {
                    Err((ErrorCode::InvalidRequest, None))
                }
                (Ok(_), Some(topic)) => topic.check(index, partition.records),
                (Err(code), _) => Err((*code, None)),
                (Ok(_), None) => Err((ErrorCode::UnknownTopicOrPartition, None)),
            };
            let state = match result {
                Ok(batch) => {
                    let size_bytes = batch.bytes.len() as u64;
                    let record_count = u64::from(batch.header.offset_count());
                    checked.push(batch);
                    TakenState::InLine {
                        batch: checked.len() - 1,
                        size_bytes,
                        record_count,
                    }
                }
                Err((code, cause)) => TakenState::Refused(code, cause),
            };
            partitions.push(TakenPartition { index, state });
        }
        taken.push(TakenTopic {
            // A copy: the name would keep the whole frame in memory.
            name: data.name.detached(),
            id: data.topic_id.into(),
            partitions,
        });
    }
    let completion = Completion::new(checked.len(), permit);
    let batches = checked.into_iter().enumerate().map(|(batch, checked)| {
        let Checked {
            partition,
            header,
            bytes,
            log_append_time,
        } = checked;
        let ticket = Ticket::new(&completion, batch);
        Batch {
            partition,
            header,
            bytes,
            log_append_time,
            ticket,
        }
    });
    let batches = batches.collect();
    broker
        .produce
        .enqueue(&connection.slot::<Seat>(), batches, &completion);
    Taken {
        topics: taken,
        completion,
    }
}

/// The topic that a request names: by id from version 13 on.
fn find(broker: &Broker, version: i16, name: &str, id: TopicId) -> Result<Arc<Topic>, ErrorCode> {
    if version >= 13 {
        broker.view.topic(id).ok_or(ErrorCode::UnknownTopicId)
    } else {
        broker
            .view
            .topic_by_name(name)
            .ok_or(ErrorCode::UnknownTopicOrPartition)
    }
}

/// Partitions that occur more than once. Which of their batches was meant to come first is not known,
/// so that none is taken (Kafka silently drops all but the last).
fn wanted_twice(
    request: &ProduceRequest,
    topics: &[Result<Arc<Topic>, ErrorCode>],
) -> BTreeSet<TopicPartition> {
    let mut partitions: Vec<_> = request
        .topic_data
        .iter()
        .zip(topics)
        .filter_map(|(data, topic)| Some((data, topic.as_ref().ok()?.id)))
        .flat_map(|(data, id)| {
            data.partition_data
                .iter()
                .map(move |data| TopicPartition::new(id, data.index))
        })
        .collect();
    partitions.sort_unstable();
    let pairs = partitions.iter().zip(partitions.iter().skip(1));
    pairs
        .filter(|(one, next)| one == next)
        .map(|(one, _)| *one)
        .collect()
}

impl TakenTopic {
    fn answer(self, completion: &Completion, metrics: &Metrics) -> TopicProduceResponse {
        let partitions = self.partitions.into_iter();
        TopicProduceResponse {
            name: self.name,
            topic_id: self.id.into(),
            partition_responses: partitions
                .map(|partition| partition.answer(completion, metrics))
                .collect(),
        }
    }
}

impl TakenPartition {
    fn answer(self, completion: &Completion, metrics: &Metrics) -> PartitionProduceResponse {
        let answer = PartitionProduceResponse {
            index: self.index,
            base_offset: -1,
            ..PartitionProduceResponse::default()
        };
        match self.state {
            TakenState::Refused(code, cause) => refused(answer, code, cause.as_deref()),
            TakenState::InLine {
                batch,
                size_bytes,
                record_count,
            } => match completion.outcome(batch) {
                Some(Outcome::Written {
                    base_offset,
                    log_start,
                    log_append_time_ms,
                }) => {
                    metrics.produced_bytes.inc_by(size_bytes);
                    metrics.produced_records.inc_by(record_count);
                    PartitionProduceResponse {
                        base_offset,
                        log_start_offset: log_start,
                        log_append_time_ms: log_append_time_ms.unwrap_or(-1),
                        ..answer
                    }
                }
                outcome => refused(answer, error::of_outcome(outcome), None),
            },
        }
    }
}

fn refused(
    answer: PartitionProduceResponse,
    code: ErrorCode,
    cause: Option<&BatchError>,
) -> PartitionProduceResponse {
    let message = cause.map_or_else(|| code.message().to_owned(), ToString::to_string);
    PartitionProduceResponse {
        error_code: code.code(),
        error_message: Some(Str::from(message)),
        record_errors: cause.map_or_else(Vec::new, record_errors),
        ..answer
    }
}

/// The records that are to blame, where a check names them (KIP-467).
fn record_errors(cause: &BatchError) -> Vec<BatchIndexAndErrorMessage> {
    let error = |batch_index: i32, message: String| BatchIndexAndErrorMessage {
        batch_index,
        batch_index_error_message: Some(Str::from(message)),
    };
    match cause {
        BatchError::WithoutKey { record_indexes } => record_indexes
            .iter()
            .map(|index| {
                error(
                    *index,
                    "a compacted topic takes no record without a key".into(),
                )
            })
            .collect(),
        BatchError::UntimelyRecords {
            records,
            earliest_ms,
            latest_ms,
        } => records
            .iter()
            .map(|record| {
                let time = record.timestamp_ms;
                error(
                    record.index,
                    format!("timestamp {time} ms is outside of {earliest_ms} to {latest_ms} ms"),
                )
            })
            .collect(),
        // The header does not say which record: the first stands for all.
        BatchError::UntimelyBatch { .. } => vec![error(0, cause.to_string())],
        BatchError::Record { index, .. } => vec![error(*index, cause.to_string())],
        _ => Vec::new(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
