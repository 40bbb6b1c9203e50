//! Fetch: places a request in its session, waits for records, and answers what changed (protocol guide,
//! "Fetch"; KIP-227 sessions, KIP-516 topic ids).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use floe_metadata::api::Topic;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, FetchableTopicResponse, PartitionData,
};
use floe_protocol::records::Records;
use floe_protocol::str::Str;
use floe_protocol::types::{TopicId, TopicPartition};
use tokio::time::Instant;

use super::Refuse as _;
use crate::broker::Broker;
use crate::connection::Connection;
use crate::error;
use crate::fetch::{
    ANSWER_BYTES_MAX, Answered, Ask, Asked, Fetch, Isolation, PartitionKey, Placed, Position, Told,
    TopicKey,
};
use crate::memory::MemoryPermit;

/// First version that names topics by id.
const IDS_FROM_VERSION: i16 = 13;

/// Places `request` and returns the answer to come.
pub(crate) fn handle(
    broker: &Arc<Broker>,
    _connection: &Arc<Connection>,
    version: i16,
    request: FetchRequest,
    permit: MemoryPermit,
) -> impl Future<Output = FetchResponse> + Send + 'static {
    let started = start(broker, version, request);
    // Nothing that was kept points into the request's frame.
    drop(permit);
    let broker = Arc::clone(broker);
    async move {
        match started {
            Ok(started) => finish(&broker, started).await,
            Err(response) => response,
        }
    }
}

/// A request that has been placed in its session.
struct Started {
    placed: Placed,
    fetch: Fetch,
}

fn start(broker: &Broker, version: i16, request: FetchRequest) -> Result<Started, FetchResponse> {
    let isolation = match check(&request) {
        Ok(isolation) => isolation,
        Err(code) => return Err(request.refuse(version, code).unwrap_or_default()),
    };
    let now = Instant::now();
    let max_bytes = u64::try_from(request.max_bytes)
        .unwrap_or(0)
        .min(ANSWER_BYTES_MAX);
    let min_bytes = u64::try_from(request.min_bytes).unwrap_or(0);
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let ask = ask(broker, version, &request);
    drop(request);
    let placed = broker.fetch.sessions().place(now, ask).map_err(|error| {
        tracing::debug!(%error, "a fetch does not fit its session");
        FetchResponse {
            error_code: error::of_session(error).code(),
            ..FetchResponse::default()
        }
    })?;
    let mut topics = Topics { broker, last: None };
    let positions = placed
        .asked
        .iter()
        .map(|asked| topics.position(asked))
        .collect();
    let deadline = now + wait;
    Ok(Started {
        placed,
        fetch: Fetch {
            positions,
            isolation,
            min_bytes,
            max_bytes,
            deadline,
        },
    })
}

/// What is wrong with the request as a whole, else its isolation level.
fn check(request: &FetchRequest) -> Result<Isolation, ErrorCode> {
    // Only brokers are replicas, and none of ours fetches from another.
    if request.replica_id >= 0 || request.replica_state.replica_id >= 0 {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
    let mut limits = partitions.map(|partition| partition.partition_max_bytes);
    if request.max_bytes < 0 || limits.any(|limit| limit < 0) {
        return Err(ErrorCode::InvalidRequest);
    }
    Isolation::from_wire(request.isolation_level).ok_or(ErrorCode::InvalidRequest)
}

fn ask(broker: &Broker, version: i16, request: &FetchRequest) -> Ask {
    let uses_ids = version >= IDS_FROM_VERSION;
    let asked = request.topics.iter().flat_map(|topic| {
        let (key, named_id) = topic_key(broker, uses_ids, topic);
        topic
            .partitions
            .iter()
            .map(move |partition| asked(key.clone(), named_id, partition))
    });
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| {
        let key = if uses_ids {
            TopicKey::Id(topic.topic_id.into())
        } else {
            TopicKey::Name(Arc::from(topic.topic.as_str()))
        };
        topic
            .partitions
            .iter()
            .map(move |partition| -> PartitionKey { (key.clone(), *partition) })
    });
    Ask {
        id: request.session_id,
        epoch: request.session_epoch,
        uses_ids,
        asked: asked.collect(),
        forgotten: forgotten.collect(),
    }
}

fn topic_key(broker: &Broker, uses_ids: bool, topic: &FetchTopic) -> (TopicKey, Option<TopicId>) {
    if uses_ids {
        return (TopicKey::Id(topic.topic_id.into()), None);
    }
    match broker.view.topic_by_name(&topic.topic) {
        Some(known) => (TopicKey::Name(Arc::clone(&known.name)), Some(known.id)),
        None => (TopicKey::Name(Arc::from(topic.topic.as_str())), None),
    }
}

fn asked(topic: TopicKey, named_id: Option<TopicId>, partition: &FetchPartition) -> Asked {
    Asked {
        key: (topic, partition.partition),
        named_id,
        fetch_offset: partition.fetch_offset,
        max_bytes: u64::try_from(partition.partition_max_bytes).unwrap_or(0),
        current_leader_epoch: partition.current_leader_epoch,
        last_fetched_epoch: partition.last_fetched_epoch,
    }
}

/// Finds topics; partitions of one topic mostly come one after the other.
struct Topics<'a> {
    broker: &'a Broker,
    last: Option<(TopicKey, Option<Arc<Topic>>)>,
}

impl Topics<'_> {
    fn find(&mut self, key: &TopicKey) -> Option<Arc<Topic>> {
        if let Some((last, topic)) = &self.last
            && last == key
        {
            return topic.clone();
        }
        let view = &self.broker.view;
        let topic = match key {
            TopicKey::Name(name) => view.topic_by_name(name),
            TopicKey::Id(id) => view.topic(*id),
        };
        self.last = Some((key.clone(), topic.clone()));
        topic
    }

    fn position(&mut self, asked: &Asked) -> Result<Position, ErrorCode> {
        let (key, partition) = &asked.key;
        let Some(topic) = self.find(key) else {
            return Err(match key {
                TopicKey::Name(_) => ErrorCode::UnknownTopicOrPartition,
                TopicKey::Id(_) => ErrorCode::UnknownTopicId,
            });
        };
        if asked.named_id.is_some_and(|id| id != topic.id) {
            return Err(ErrorCode::InconsistentTopicId);
        }
        if !(0..topic.partition_count).contains(partition) {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        Ok(Position {
            partition: TopicPartition::new(topic.id, *partition),
            fetch_offset: asked.fetch_offset,
            max_bytes: asked.max_bytes,
            current_leader_epoch: asked.current_leader_epoch,
            last_fetched_epoch: asked.last_fetched_epoch,
        })
    }
}

async fn finish(broker: &Broker, started: Started) -> FetchResponse {
    let Started { placed, fetch } = started;
    let answers = broker.fetch.fetch(&fetch).await;
    for answer in &answers {
        broker
            .metrics
            .fetched_bytes
            .inc_by(answer.records.len_bytes() as u64);
        broker.metrics.fetched_records.inc_by(answer.offset_count);
    }
    let told: Vec<_> = answers
        .iter()
        .map(|answer| Told {
            bounds: answer.bounds,
            has_records: !answer.records.is_empty(),
        })
        .collect();
    let keys: Vec<_> = placed.asked.iter().map(|asked| asked.key.clone()).collect();
    let (session_id, named) = broker
        .fetch
        .sessions()
        .answer(Instant::now(), placed, &told);
    let mut responses = Responses {
        topics: Vec::new(),
        last: None,
    };
    for ((key, answer), named) in keys.into_iter().zip(answers).zip(named) {
        if named {
            responses.add(key, answer, fetch.isolation);
        }
    }
    FetchResponse {
        session_id,
        responses: responses.topics,
        ..FetchResponse::default()
    }
}

/// Topics of an answer in the order of their partitions.
struct Responses {
    topics: Vec<FetchableTopicResponse>,
    last: Option<TopicKey>,
}

impl Responses {
    fn add(&mut self, key: PartitionKey, answer: Answered, isolation: Isolation) {
        let (topic, partition_index) = key;
        if self.last.as_ref() != Some(&topic) {
            let (name, id) = match &topic {
                TopicKey::Name(name) => (Str::from(name.to_string()), TopicId::ZERO),
                TopicKey::Id(id) => (Str::new(), *id),
            };
            self.topics.push(FetchableTopicResponse {
                topic: name,
                topic_id: id.into(),
                partitions: Vec::new(),
            });
            self.last = Some(topic);
        }
        if let Some(topic) = self.topics.last_mut() {
            topic
                .partitions
                .push(partition_data(partition_index, answer, isolation));
        }
    }
}

fn partition_data(partition_index: i32, answer: Answered, isolation: Isolation) -> PartitionData {
    let Answered {
        error,
        bounds,
        records,
        ..
    } = answer;
    // Null says that aborted records were not left out because nobody asked for that.
    let aborted_transactions = match isolation {
        Isolation::ReadCommitted => Some(Vec::new()),
        Isolation::ReadUncommitted => None,
    };
    let data = PartitionData {
        partition_index,
        error_code: error.code(),
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        aborted_transactions,
        // Never null: old clients take that for a broken answer.
        records: Some(Records::new()),
        ..PartitionData::default()
    };
    let Some(bounds) = bounds else { return data };
    PartitionData {
        high_watermark: bounds.high_watermark,
        last_stable_offset: bounds.last_stable,
        log_start_offset: bounds.log_start,
        records: Some(records),
        ..data
    }
}

#[cfg(test)]
mod tests;
