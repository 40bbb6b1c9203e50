//! A simulated producer. What it knows survives the processes it talks to.
//!
//! An idempotent one keeps up to five requests in flight and, after any failure, reconnects and sends
//! everything unacknowledged again, in order, with the same sequences: what stock clients do. A plain
//! one sends each record once and never again; what it sends on one connection keeps its order all the same.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use floe_protocol::api::ApiKey;
use floe_protocol::compression::Compression;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::init_producer_id::InitProducerIdRequest;
use floe_protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use floe_protocol::record_batch::{BatchBuilder, next_sequence};
use floe_protocol::types::{Offset, ProducerEpoch, ProducerId, Sequence, TopicPartition};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::observed::Observed;
use super::topics::Topics;
use super::wire::{Closed, Link, any_version};
use super::world::Agents;
use crate::history::{Id, Outcome};

/// Larger than the number of producers in a run.
const RENAME_STEP: u32 = 1_000;

/// What a producer does.
#[derive(Clone, Debug)]
pub struct ProducerPlan {
    /// Names it in values.
    pub id: u32,
    /// With a producer id, sequences and retries.
    pub idempotent: bool,
    /// Requests in flight on one connection.
    pub in_flight_max: usize,
    /// Greatest number of records per batch.
    pub batch_records_max: u32,
    /// Mean pause between two requests.
    pub pause: Duration,
    /// How its batches are compressed.
    pub compression: Compression,
    /// How long the agent may take, as it tells the agent.
    pub timeout: Duration,
}

/// A producer and what it remembers.
#[derive(Debug)]
pub struct Producer {
    plan: ProducerPlan,
    random: StdRng,
    history: Arc<Mutex<Observed>>,
    topics: Arc<Topics>,
    identity: Option<(ProducerId, ProducerEpoch)>,
    /// Names it in values. A plain producer takes a new name after each record of unknown outcome:
    /// such a record may still land behind later ones.
    name: u32,
    /// One line of records per partition, in the order of `topics`.
    lines: Vec<Line>,
}

#[derive(Debug, Default)]
struct Line {
    next_number: u64,
    next_sequence: Sequence,
    unacked: VecDeque<Batch>,
}

#[derive(Clone, Debug)]
struct Batch {
    partition: TopicPartition,
    values: Vec<Id>,
    bytes: Bytes,
}

type Answer = Pin<Box<dyn Future<Output = Result<ProduceResponse, Closed>> + Send>>;

/// A request under way.
struct Flight {
    batches: Vec<Batch>,
    answer: Answer,
}

impl Producer {
    /// A producer that has sent nothing yet.
    #[must_use]
    pub fn new(
        plan: ProducerPlan,
        random: StdRng,
        history: Arc<Mutex<Observed>>,
        topics: Arc<Topics>,
    ) -> Self {
        let lines = topics
            .partitions()
            .iter()
            .map(|_| Line::default())
            .collect();
        let name = plan.id;
        Self {
            plan,
            random,
            history,
            topics,
            identity: None,
            name,
            lines,
        }
    }

    /// Whether everything it sent is settled.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.lines.iter().all(|line| line.unacked.is_empty())
    }

    /// Produces until producers drain and everything it sent is settled.
    pub async fn run(&mut self, agents: &Agents) {
        loop {
            if agents.draining.load(Ordering::Relaxed) && self.is_settled() {
                return;
            }
            let (broker, dead, id) = agents.connect(&mut self.random).await;
            let mut link = Link::new(&broker, dead, id);
            if self.session(&mut link, agents).await.is_ok() {
                return;
            }
            if !self.plan.idempotent {
                self.rename();
            }
            let pause = self.random.random_range(5..200);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    /// One connection's life; `Err` asks for another one.
    async fn session(&mut self, link: &mut Link, agents: &Agents) -> Result<(), Closed> {
        if self.plan.idempotent && self.identity.is_none() {
            self.identity = Some(self.init(link).await?);
        }
        let version = self.produce_version();
        let mut flights: VecDeque<Flight> = VecDeque::new();
        let again: Vec<Batch> = self
            .lines
            .iter()
            .flat_map(|line| line.unacked.iter().cloned())
            .collect();
        for batch in again {
            self.make_room(&mut flights).await?;
            flights.push_back(self.send(link, version, vec![batch]).await);
        }
        loop {
            if agents.draining.load(Ordering::Relaxed) {
                while !flights.is_empty() {
                    self.land(&mut flights).await?;
                }
                return Ok(());
            }
            self.make_room(&mut flights).await?;
            let batches = self.next_batches();
            flights.push_back(self.send(link, version, batches).await);
            let pause = self.plan.pause.mul_f64(self.random.random_range(0.0..2.0));
            sleep(pause).await;
        }
    }

    fn produce_version(&mut self) -> i16 {
        /// The first version that may bring zstd (KIP-110).
        const ZSTD: i16 = 7;
        let version = any_version(ApiKey::Produce, &mut self.random);
        if self.plan.compression == Compression::Zstd {
            version.max(ZSTD)
        } else {
            version
        }
    }

    async fn init(&mut self, link: &mut Link) -> Result<(ProducerId, ProducerEpoch), Closed> {
        let version = any_version(ApiKey::InitProducerId, &mut self.random);
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let answer = link.call(version, &request).await?;
        if answer.error_code != 0 {
            if answer.error_code != ErrorCode::CoordinatorLoadInProgress.code() {
                let what = format!("InitProducerId refused with {}", answer.error_code);
                self.history.lock().expect("not poisoned").violation(what);
            }
            return Err(Closed);
        }
        Ok((answer.producer_id, answer.producer_epoch))
    }

    fn next_batches(&mut self) -> Vec<Batch> {
        let partitions = self.lines.len();
        let first = self.random.random_range(0..partitions);
        let count = self.random.random_range(1..=partitions.min(3));
        (0..count)
            .map(|step| self.next_batch((first + step) % partitions))
            .collect()
    }

    fn next_batch(&mut self, at: usize) -> Batch {
        let partition = self.topics.partitions()[at];
        let name = self.name;
        let count = self.random.random_range(1..=self.plan.batch_records_max);
        let line = &mut self.lines[at];
        let values: Vec<Id> = (line.next_number..)
            .take(usize::try_from(count).expect("a small number"))
            .map(|number| Id {
                producer: name,
                number,
            })
            .collect();
        line.next_number += u64::from(count);
        let mut builder = BatchBuilder::new(self.plan.compression);
        if let Some((id, epoch)) = self.identity {
            builder = builder.producer(id, epoch, line.next_sequence);
            line.next_sequence = next_sequence(line.next_sequence, count);
        }
        for value in &values {
            builder.append(1_000, None, Some(&value.value(0)));
        }
        let batch = Batch {
            partition,
            values,
            bytes: builder.build().expect("a batch"),
        };
        let mut history = self.history.lock().expect("not poisoned");
        for value in &batch.values {
            history.sending(partition, *value);
        }
        if self.plan.idempotent {
            line.unacked.push_back(batch.clone());
        }
        batch
    }

    async fn send(&mut self, link: &mut Link, version: i16, batches: Vec<Batch>) -> Flight {
        let topic_data = batches
            .iter()
            .map(|batch| TopicProduceData {
                name: self.topics.name(batch.partition.topic),
                topic_id: batch.partition.topic.into(),
                partition_data: vec![PartitionProduceData {
                    index: batch.partition.partition,
                    records: Some(batch.bytes.clone().into()),
                }],
            })
            .collect();
        let request = ProduceRequest {
            acks: if self.random.random() { -1 } else { 1 },
            timeout_ms: i32::try_from(self.plan.timeout.as_millis()).expect("a short time"),
            topic_data,
            ..Default::default()
        };
        let answer = link.send(version, &request).await;
        Flight {
            batches,
            answer: Box::pin(answer),
        }
    }

    async fn make_room(&mut self, flights: &mut VecDeque<Flight>) -> Result<(), Closed> {
        while flights.len() >= self.plan.in_flight_max {
            self.land(flights).await?;
        }
        Ok(())
    }

    /// Takes the oldest answer. After a failure the later ones are taken too, so that what is known to
    /// be written is not sent again for nothing; then the connection is given up.
    async fn land(&mut self, flights: &mut VecDeque<Flight>) -> Result<(), Closed> {
        let Some(flight) = flights.pop_front() else {
            return Ok(());
        };
        let answer = flight.answer.await?;
        let is_whole = self.settle(&flight.batches, &answer);
        if is_whole {
            return Ok(());
        }
        for flight in flights.drain(..) {
            let answer = flight.answer.await?;
            self.settle(&flight.batches, &answer);
        }
        Err(Closed)
    }

    /// Notes what became of a request's batches; `false` if one has to be sent again.
    fn settle(&mut self, batches: &[Batch], answer: &ProduceResponse) -> bool {
        let results: Vec<(i16, Offset)> = answer
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses)
            .map(|partition| (partition.error_code, partition.base_offset))
            .collect();
        assert_eq!(
            results.len(),
            batches.len(),
            "one answer per batch, in the order of request"
        );
        let mut is_whole = true;
        for (batch, (error, base_offset)) in batches.iter().zip(results) {
            if error == 0 {
                self.acked(batch, base_offset);
            } else if self.plan.idempotent {
                self.refused(batch, error);
                is_whole = false;
            } else {
                self.given_up(batch, error);
            }
        }
        is_whole
    }

    fn acked(&mut self, batch: &Batch, base_offset: Offset) {
        let mut history = self.history.lock().expect("not poisoned");
        for (offset, value) in (base_offset..).zip(&batch.values) {
            history.settled(batch.partition, *value, Outcome::Acked(Some(offset)));
        }
        drop(history);
        let line = self.line_mut(batch.partition);
        line.unacked.retain(|other| other.values != batch.values);
    }

    /// An idempotent batch that is still the first of its line must never be out of order: everything
    /// before it was acknowledged.
    fn refused(&mut self, batch: &Batch, error: i16) {
        let is_first = self
            .line_mut(batch.partition)
            .unacked
            .front()
            .is_some_and(|front| front.values == batch.values);
        let is_retriable = is_retriable(error);
        let follows_a_failure = error == ErrorCode::OutOfOrderSequenceNumber.code() && !is_first;
        if !is_retriable && !follows_a_failure {
            let first = batch.values.first();
            let what = format!("{}: {first:?} refused with {error}", batch.partition);
            self.history.lock().expect("not poisoned").violation(what);
        }
    }

    /// A plain batch is not sent again. Only an answer that promises it was not written counts as such.
    fn given_up(&mut self, batch: &Batch, error: i16) {
        let surely_not = [
            ErrorCode::KafkaStorageError.code(),
            ErrorCode::NotEnoughReplicas.code(),
            ErrorCode::UnknownTopicOrPartition.code(),
            ErrorCode::UnknownTopicId.code(),
        ];
        let mut history = self.history.lock().expect("not poisoned");
        if surely_not.contains(&error) {
            for value in &batch.values {
                history.settled(batch.partition, *value, Outcome::Failed);
            }
        } else if error != ErrorCode::RequestTimedOut.code() {
            history.violation(format!(
                "{}: plain batch refused with {error}",
                batch.partition
            ));
        }
        drop(history);
        self.rename();
    }

    fn rename(&mut self) {
        self.name += RENAME_STEP;
        for line in &mut self.lines {
            line.next_number = 0;
        }
    }

    fn line_mut(&mut self, partition: TopicPartition) -> &mut Line {
        let at = self
            .topics
            .partitions()
            .iter()
            .position(|other| *other == partition);
        &mut self.lines[at.expect("a known partition")]
    }
}

fn is_retriable(error: i16) -> bool {
    [
        ErrorCode::KafkaStorageError,
        ErrorCode::NotEnoughReplicas,
        ErrorCode::RequestTimedOut,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::UnknownTopicId,
    ]
    .iter()
    .any(|code| code.code() == error)
}
