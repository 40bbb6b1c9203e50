//! The checks of a Produce request, in Kafka's order: first those that concern the request, then each
//! partition's batch, once.

use std::sync::Arc;

use bytes::Bytes;
use floe_metadata::api::Topic;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::produce::ProduceRequest;
use floe_protocol::record_batch::{
    BatchError, BatchHeader, ProduceLimits, TimestampLimits, WalkLimits, check_produced, walk,
};
use floe_protocol::records::Records;
use floe_protocol::types::{NO_PRODUCER_ID, ProducerId, TimestampMs, TopicPartition};

use crate::broker::Broker;
use crate::error;
use crate::topic_config::{BrokerSettings, TimestampType, TopicSettings};

/// A batch that passed.
pub(super) struct Checked {
    pub(super) partition: TopicPartition,
    pub(super) header: BatchHeader,
    pub(super) bytes: Bytes,
    pub(super) log_append_time: bool,
}

/// Why a batch did not pass.
pub(super) type Refused = (ErrorCode, Option<Box<BatchError>>);

/// What is wrong with a request as a whole.
pub(super) fn request_error(request: &ProduceRequest) -> Option<ErrorCode> {
    let mut producer_id = NO_PRODUCER_ID;
    for header in transactional(request) {
        if request.transactional_id.is_none() {
            return Some(ErrorCode::TransactionalIdAuthorizationFailed);
        }
        if producer_id != NO_PRODUCER_ID && producer_id != header {
            return Some(ErrorCode::InvalidProducerIdMapping);
        }
        producer_id = header;
    }
    let known = matches!(request.acks, -1..=1);
    (!known).then_some(ErrorCode::InvalidRequiredAcks)
}

/// The producer ids of the request's transactional batches. Unreadable ones are refused later.
fn transactional(request: &ProduceRequest) -> impl Iterator<Item = ProducerId> {
    let partitions = request
        .topic_data
        .iter()
        .flat_map(|topic| &topic.partition_data);
    partitions
        .filter_map(|partition| partition.records.as_ref()?.chunks().first())
        .filter_map(|bytes| BatchHeader::parse(bytes).ok())
        .filter(|header| header.attributes.is_transactional())
        .map(|header| header.producer_id)
}

/// Checks the batches of one request.
pub(super) struct Checker {
    settings: Arc<BrokerSettings>,
    version: i16,
    now_ms: TimestampMs,
}

/// Checks the batches of one request for one topic.
pub(super) struct TopicChecker<'a> {
    topic: &'a Topic,
    log_append_time: bool,
    limits: ProduceLimits,
    /// Set where every record has to be looked at.
    walk: Option<WalkLimits>,
}

impl Checker {
    pub(super) fn new(broker: &Broker, version: i16) -> Self {
        Self {
            settings: broker.settings_now(),
            version,
            now_ms: broker.clock.now_ms(),
        }
    }

    pub(super) fn topic<'t>(&self, topic: &'t Topic) -> TopicChecker<'t> {
        let TopicSettings {
            max_message_bytes,
            timestamp_type,
            timestamp_before_max_ms,
            timestamp_after_max_ms,
            is_compacted,
            drops_old: _,
        } = self.settings.topic(topic);
        let log_append_time = timestamp_type == TimestampType::LogAppendTime;
        let timestamps = (!log_append_time).then(|| {
            TimestampLimits::around(self.now_ms, timestamp_before_max_ms, timestamp_after_max_ms)
        });
        TopicChecker {
            topic,
            log_append_time,
            limits: ProduceLimits {
                produce_version: self.version,
                max_message_bytes,
                timestamps,
            },
            walk: is_compacted.then(|| WalkLimits {
                require_keys: true,
                timestamps,
                ..WalkLimits::new(max_message_bytes)
            }),
        }
    }
}

impl TopicChecker<'_> {
    /// Checks the batch of partition `index`.
    pub(super) fn check(&self, index: i32, records: Option<Records>) -> Result<Checked, Refused> {
        if !(0..self.topic.partition_count).contains(&index) {
            return Err((ErrorCode::UnknownTopicOrPartition, None));
        }
        // No records and null records are the same mistake.
        let bytes = records.map(Records::into_bytes).unwrap_or_default();
        let header = check_produced(&bytes, &self.limits).map_err(refused)?;
        if let Some(limits) = &self.walk {
            walk(&bytes, limits).map_err(refused)?;
        }
        Ok(Checked {
            partition: TopicPartition::new(self.topic.id, index),
            header,
            bytes,
            log_append_time: self.log_append_time,
        })
    }
}

fn refused(cause: BatchError) -> Refused {
    (error::of_batch(cause.kind()), Some(Box::new(cause)))
}
