//! librdkafka as the tests use it: with its defaults, so idempotent, pipelined and acks=all, and
//! recording what happens.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig, ThreadedProducer,
};
use rdkafka::{Offset, TopicPartitionList};

use crate::history::{Id, Outcome, PartitionHistory, Read, Seen};
use crate::wait;

/// Bound on one question to a healthy broker.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Settings of any client of this broker; every other setting is librdkafka's default.
pub fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        // Retries after a restart come quickly, as a test wants them; not a change of semantics.
        .set("reconnect.backoff.max.ms", "500");
    config
}

/// Settings of a producer with stock semantics: idempotent, so acks=all and five in flight.
pub fn producer_config(bootstrap: &str) -> ClientConfig {
    let mut config = config(bootstrap);
    config.set("enable.idempotence", "true");
    config
}

/// A consumer without a group's services, for `assign`.
///
/// # Panics
///
/// If librdkafka refuses its settings.
pub fn consumer(bootstrap: &str) -> BaseConsumer {
    consumer_with(bootstrap, &[])
}

/// The same with more settings.
///
/// # Panics
///
/// If librdkafka refuses its settings.
pub fn consumer_with(bootstrap: &str, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = config(bootstrap);
    config
        .set("group.id", "unused: partitions are assigned by hand")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create().expect("the settings are valid")
}

/// An admin client.
///
/// # Panics
///
/// If librdkafka refuses its settings.
pub fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    config(bootstrap).create().expect("the settings are valid")
}

/// Creates a topic.
///
/// # Panics
///
/// If the broker refuses.
pub fn create_topic(bootstrap: &str, name: &str, partitions: i32) {
    create_topic_with(bootstrap, name, partitions, &[]);
}

/// The same with configs of the topic's own.
///
/// # Panics
///
/// If the broker refuses.
pub fn create_topic_with(bootstrap: &str, name: &str, partitions: i32, configs: &[(&str, &str)]) {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    let configs = configs.iter();
    let topic = configs.fold(topic, |topic, (name, value)| topic.set(name, value));
    let options = AdminOptions::new().operation_timeout(Some(ANSWER_LIMIT));
    let results = futures::executor::block_on(admin(bootstrap).create_topics([&topic], &options));
    for result in results.expect("the broker answers") {
        result.unwrap_or_else(|(name, code)| panic!("create {name}: {code}"));
    }
}

/// The port of the broker that leads partition 0 of a topic for clients of the tests.
///
/// # Panics
///
/// If the brokers do not say.
pub fn leader_port(bootstrap: &str, topic: &str) -> u16 {
    leader_port_of(&consumer(bootstrap), topic)
}

/// The port of the broker that leads partition 0 of a topic for a consumer.
///
/// # Panics
///
/// If the brokers do not say.
pub fn leader_port_of(consumer: &BaseConsumer, topic: &str) -> u16 {
    let metadata = consumer
        .fetch_metadata(Some(topic), ANSWER_LIMIT)
        .unwrap_or_else(|error| panic!("metadata of {topic}: {error}"));
    let partitions = metadata.topics().first().map(|topic| topic.partitions());
    let leader = partitions
        .and_then(|all| all.first())
        .map(|first| first.leader());
    let port = metadata
        .brokers()
        .iter()
        .find(|broker| Some(broker.id()) == leader)
        .map(|broker| broker.port());
    let port = port.and_then(|port| u16::try_from(port).ok());
    port.expect("the leader is one of the brokers")
}

/// Log start and high watermark, as ListOffsets says.
///
/// # Panics
///
/// If the broker does not answer.
pub fn watermarks(bootstrap: &str, topic: &str, partition: i32) -> (i64, i64) {
    consumer(bootstrap)
        .fetch_watermarks(topic, partition, ANSWER_LIMIT)
        .unwrap_or_else(|error| panic!("watermarks of {topic}-{partition}: {error}"))
}

/// Reads a partition from `from` to offset `to`, exclusive, or less if `limit` passes without a
/// record: what is missing then is the checker's business.
///
/// # Panics
///
/// If the consumer reports an error that it will not get over by itself.
pub fn read(bootstrap: &str, topic: &str, partition: i32, from: i64, to: i64) -> Read {
    let mut read = Read {
        from,
        to: Some(to),
        records: Vec::new(),
    };
    messages(
        bootstrap,
        topic,
        partition,
        Offset::Offset(from),
        |message| {
            let id = message.payload().and_then(Id::of_value);
            read.records.push(Seen {
                offset: message.offset(),
                id,
            });
            message.offset() + 1 < to
        },
    );
    read
}

/// Assigns one partition and hands each record on until `more` says no, or none comes for
/// [`ANSWER_LIMIT`].
///
/// # Panics
///
/// If the consumer reports an error that it will not get over by itself.
pub fn messages(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    from: Offset,
    mut more: impl FnMut(&OwnedMessage) -> bool,
) {
    let consumer = consumer(bootstrap);
    assign(&consumer, topic, partition, from);
    let mut last = wait::now();
    while last.elapsed() < ANSWER_LIMIT {
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(message)) => {
                last = wait::now();
                if !more(&message.detach()) {
                    return;
                }
            }
            Some(Err(error)) if is_transient(&error) => {}
            Some(Err(error)) => panic!("read {topic}-{partition}: {error}"),
        }
    }
}

/// The next `count` records of a partition.
///
/// # Panics
///
/// If they do not come.
pub fn take(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    from: Offset,
    count: usize,
) -> Vec<OwnedMessage> {
    let mut taken = Vec::new();
    if count > 0 {
        messages(bootstrap, topic, partition, from, |message| {
            taken.push(message.clone());
            taken.len() < count
        });
    }
    assert_eq!(
        taken.len(),
        count,
        "records of {topic}-{partition} from {from:?}"
    );
    taken
}

/// Assigns one partition by hand.
///
/// # Panics
///
/// If librdkafka refuses.
pub fn assign(consumer: &BaseConsumer, topic: &str, partition: i32, from: Offset) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, from)
        .expect("the offset is valid");
    consumer.assign(&list).expect("a partition can be assigned");
}

/// Whether librdkafka itself goes on after this error of a poll.
fn is_transient(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
        )
    )
}

/// Histories of the partitions of one topic, shared by everyone who writes into them.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    partitions: Arc<Mutex<BTreeMap<i32, PartitionHistory>>>,
    acked: Arc<AtomicUsize>,
}

impl Recorder {
    /// The histories, by partition.
    pub fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, PartitionHistory>> {
        self.partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Acknowledged records so far, over all partitions.
    pub fn acked(&self) -> usize {
        self.acked.load(Ordering::Relaxed)
    }

    /// Reads each partition with a history, from the log start to all that it has to hold, and
    /// adds the passes.
    ///
    /// # Panics
    ///
    /// If the broker does not answer.
    pub fn read_back(&self, bootstrap: &str, topic: &str) {
        let partitions: Vec<i32> = self.lock().keys().copied().collect();
        for partition in partitions {
            // The order matters: what is acknowledged before the question must be in the answer.
            let acked_end = self.lock().entry(partition).or_default().end_to_read(0);
            let (start, high_watermark) = watermarks(bootstrap, topic, partition);
            let to = acked_end.max(high_watermark);
            let pass = if to > start {
                read(bootstrap, topic, partition, start, to)
            } else {
                Read {
                    from: start,
                    to: Some(to),
                    records: Vec::new(),
                }
            };
            self.lock().entry(partition).or_default().reads.push(pass);
        }
    }
}

/// A librdkafka producer whose every send and every delivery report is recorded.
pub struct RecordingProducer {
    topic: String,
    number: u32,
    recorder: Recorder,
    producer: ThreadedProducer<Deliveries>,
    next: BTreeMap<i32, u64>,
}

impl std::fmt::Debug for RecordingProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingProducer")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

struct Deliveries {
    recorder: Recorder,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<(i32, Id)>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        let (partition, id) = *opaque;
        let outcome = match result {
            Ok(message) if message.offset() >= 0 => Outcome::Acked(Some(message.offset())),
            Ok(_) => Outcome::Acked(None),
            Err((error, _)) => failure(error),
        };
        self.recorder
            .lock()
            .entry(partition)
            .or_default()
            .settle(id, outcome);
        if matches!(outcome, Outcome::Acked(_)) {
            self.recorder.acked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether a failed delivery surely did not happen (reliability page, section 5).
fn failure(error: &KafkaError) -> Outcome {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::OutOfOrderSequenceNumber
            | RDKafkaErrorCode::PurgeQueue,
        ) => Outcome::Failed,
        _ => Outcome::Unknown,
    }
}

impl RecordingProducer {
    /// A producer to one topic. `number` is its own among all that share the recorder.
    ///
    /// # Panics
    ///
    /// If librdkafka refuses the settings.
    pub fn new(config: &ClientConfig, topic: &str, number: u32, recorder: &Recorder) -> Self {
        let deliveries = Deliveries {
            recorder: recorder.clone(),
        };
        RecordingProducer {
            topic: topic.to_owned(),
            number,
            recorder: recorder.clone(),
            producer: config
                .create_with_context(deliveries)
                .expect("the settings are valid"),
            next: BTreeMap::new(),
        }
    }

    /// Sends one record of `size_bytes`; waits while librdkafka's queue is full.
    ///
    /// # Panics
    ///
    /// If librdkafka refuses the record for another reason.
    pub fn send(&mut self, partition: i32, size_bytes: usize) {
        let number = self.next.entry(partition).or_default();
        let id = Id {
            producer: self.number,
            number: *number,
        };
        *number += 1;
        let value = id.value(size_bytes);
        // Before the send: its report may come at once.
        self.recorder.lock().entry(partition).or_default().send(id);
        let opaque = Box::new((partition, id));
        let mut record: BaseRecord<'_, (), [u8], _> =
            BaseRecord::with_opaque_to(&self.topic, opaque)
                .partition(partition)
                .payload(&value);
        loop {
            match self.producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    wait::pause(Duration::from_millis(1));
                }
                Err((error, _)) => panic!("send {id:?}: {error}"),
            }
        }
    }

    /// Waits until every record sent has its report.
    ///
    /// # Errors
    ///
    /// If some have none within `limit`.
    pub fn flush(&self, limit: Duration) -> Result<(), KafkaError> {
        self.producer.flush(limit)
    }

    /// Gives up what has not been acknowledged; its outcome stays unknown or failed.
    pub fn give_up(&self) {
        self.producer
            .purge(PurgeConfig::default().queue().inflight());
        self.producer.flush(Duration::from_secs(5)).ok();
    }

    /// Records sent and without a report.
    pub fn waiting(&self) -> i32 {
        self.producer.in_flight_count()
    }

    /// Why librdkafka gave this producer up for good, if it did. A stock producer never should.
    pub fn fatal_error(&self) -> Option<String> {
        self.producer
            .client()
            .fatal_error()
            .map(|(code, text)| format!("{code}: {text}"))
    }
}
