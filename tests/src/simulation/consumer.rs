//! A simulated consumer: reads every partition from the start and goes on where it was after each
//! process it loses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use floe_protocol::api::ApiKey;
use floe_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use floe_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use floe_protocol::record_batch::{BatchHeader, RecordIter};
use floe_protocol::types::{Offset, TopicId, TopicPartition};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::observed::Observed;
use super::topics::Topics;
use super::wire::{Closed, Link, any_version};
use super::world::Agents;
use crate::history::{Id, Read, Seen};

/// More than any record batch of a simulated producer takes when decompressed.
const DECOMPRESSED_BYTES_MAX: usize = 1 << 20;

/// What a stock client waits after an error.
const BACKOFF: Duration = Duration::from_millis(100);
/// How a consumer asks that asks all the time: questions between two fetches, and the pause before each.
const ASKS: u32 = 4;
const ASK_EVERY: Duration = Duration::from_millis(30);

/// A consumer and its positions.
#[derive(Debug)]
pub struct Consumer {
    /// Whether there is one agent at a time.
    is_lonely: bool,
    /// Whether it asks for the ends all the time.
    asks_often: bool,
    random: StdRng,
    history: Arc<Mutex<Observed>>,
    topics: Arc<Topics>,
    positions: BTreeMap<TopicPartition, Offset>,
    /// One pass over each partition, for the whole run.
    passes: BTreeMap<TopicPartition, Read>,
    /// Of the agent it is connected to; another one may be behind it, but never behind the consumer. Where
    /// there is one agent at a time, no later one is.
    high_watermarks: BTreeMap<TopicPartition, Offset>,
}

impl Consumer {
    /// A consumer at the start of every partition.
    #[must_use]
    pub fn new(
        is_lonely: bool,
        random: StdRng,
        history: Arc<Mutex<Observed>>,
        topics: Arc<Topics>,
    ) -> Self {
        let positions = topics
            .partitions()
            .iter()
            .map(|partition| (*partition, 0))
            .collect();
        let (passes, high_watermarks) = Default::default();
        Self {
            is_lonely,
            asks_often: false,
            random,
            history,
            topics,
            positions,
            passes,
            high_watermarks,
        }
    }

    /// The same, which asks for the ends of the logs all the time.
    #[must_use]
    pub fn asking_often(self, asks_often: bool) -> Self {
        Self { asks_often, ..self }
    }

    /// Hands over what it read; a pass promised to reach the end in `ends`, if there is one.
    pub fn finish(self, ends: &BTreeMap<TopicPartition, Offset>) {
        let mut history = self.history.lock().expect("not poisoned");
        for (partition, mut read) in self.passes {
            read.to = ends.get(&partition).copied();
            history.read(partition, read);
        }
    }

    /// Consumes until it is dropped.
    pub async fn run(&mut self, agents: &Agents) {
        loop {
            let (broker, dead, id) = agents.connect(&mut self.random).await;
            let mut link = Link::new(&broker, dead, id);
            self.new_agent();
            // What another agent told is asked of this one before producers have made it true.
            if self.random.random_ratio(1, 2) {
                self.ask_for_ends(&mut link).await.unwrap_or_default();
            }
            let version = any_version(ApiKey::Fetch, &mut self.random);
            while self.poll(&mut link, version).await.is_ok() {
                if self.asks_often {
                    for _ in 0..ASKS {
                        sleep(ASK_EVERY).await;
                        self.ask_for_ends(&mut link).await.unwrap_or_default();
                    }
                } else if self.random.random_ratio(1, 8) {
                    self.ask_for_ends(&mut link).await.unwrap_or_default();
                }
            }
            sleep(BACKOFF).await;
        }
    }

    /// Consumes until every partition is read up to `ends`.
    pub async fn run_until(&mut self, agents: &Agents, ends: &BTreeMap<TopicPartition, Offset>) {
        let (broker, dead, id) = agents.connect(&mut self.random).await;
        let mut link = Link::new(&broker, dead, id);
        while ends
            .iter()
            .any(|(partition, end)| self.positions.get(partition) < Some(end))
        {
            if self.poll(&mut link, 13).await.is_err() {
                sleep(BACKOFF).await;
                let (broker, dead, id) = agents.connect(&mut self.random).await;
                link = Link::new(&broker, dead, id);
                self.new_agent();
            }
        }
    }

    fn new_agent(&mut self) {
        if !self.is_lonely {
            self.high_watermarks.clear();
        }
    }

    async fn poll(&mut self, link: &mut Link, version: i16) -> Result<(), Closed> {
        let partition_max_bytes = self.random.random_range(1..4096);
        let mut topics: Vec<FetchTopic> = Vec::new();
        for (partition, position) in &self.positions {
            let wanted = FetchPartition {
                partition: partition.partition,
                fetch_offset: *position,
                partition_max_bytes,
                ..Default::default()
            };
            match topics
                .last_mut()
                .filter(|topic| TopicId(topic.topic_id) == partition.topic)
            {
                Some(topic) => topic.partitions.push(wanted),
                None => topics.push(FetchTopic {
                    topic: self.topics.name(partition.topic),
                    topic_id: partition.topic.into(),
                    partitions: vec![wanted],
                }),
            }
        }
        let request = FetchRequest {
            max_wait_ms: self.random.random_range(0..500),
            min_bytes: self.random.random_range(0..2),
            max_bytes: self.random.random_range(1..64 * 1024),
            topics,
            ..Default::default()
        };
        let answer = link.call(version, &request).await?;
        self.take(&answer)
    }

    fn take(&mut self, answer: &FetchResponse) -> Result<(), Closed> {
        let mut outcome = if answer.error_code == 0 {
            Ok(())
        } else {
            Err(Closed)
        };
        for topic in &answer.responses {
            let id = match TopicId(topic.topic_id) {
                id if id.is_zero() => self.topics.id(&topic.topic),
                id => id,
            };
            for partition in &topic.partitions {
                let at = TopicPartition::new(id, partition.partition_index);
                if partition.error_code == 0 {
                    self.take_partition(at, partition);
                } else {
                    self.refused(at, partition.error_code);
                    outcome = Err(Closed);
                }
            }
        }
        outcome
    }

    fn take_partition(&mut self, at: TopicPartition, data: &PartitionData) {
        let seen = self.high_watermarks.entry(at).or_default();
        if data.high_watermark < *seen {
            let what = format!(
                "{at}: high watermark fell from {seen} to {}",
                data.high_watermark
            );
            self.history.lock().expect("not poisoned").violation(what);
        }
        *seen = data.high_watermark.max(*seen);
        let bytes = data.records.clone().unwrap_or_default().into_bytes();
        let asked_from = self.positions.get(&at).copied().unwrap_or_default();
        let mut history = self.history.lock().expect("not poisoned");
        if data.high_watermark < asked_from {
            let end = data.high_watermark;
            let what = format!("{at}: asked from {asked_from} on, told that the log ends at {end}");
            history.violation(what);
        }
        // Whoever asks for the end of the log later is told no less.
        let told = history.ends.entry(at).or_default();
        *told = data.high_watermark.max(*told);
        drop(history);
        for (offset, id) in records(&bytes) {
            let position = self.positions.entry(at).or_default();
            if offset < *position {
                continue;
            }
            let mut history = self.history.lock().expect("not poisoned");
            if offset >= data.high_watermark {
                let end = data.high_watermark;
                history.violation(format!(
                    "{at}: read {offset}, past the high watermark {end}"
                ));
            }
            drop(history);
            self.passes
                .entry(at)
                .or_default()
                .records
                .push(Seen { offset, id });
            *position = offset + 1;
        }
        let position = self.positions.entry(at).or_default();
        if !bytes.is_empty() && *position == asked_from {
            let what = format!("{at}: asked from {asked_from} on, got only what lies before");
            self.history.lock().expect("not poisoned").violation(what);
            // Past it, or a reader would ask for the same for ever.
            *position = (asked_from + 1).max(data.high_watermark);
        }
    }

    /// The position is never out of range here: nothing is deleted.
    fn refused(&self, at: TopicPartition, error: i16) {
        const OFFSET_OUT_OF_RANGE: i16 = 1;
        if error == OFFSET_OUT_OF_RANGE {
            let position = self.positions.get(&at);
            let what = format!("{at}: offset {position:?} out of range");
            self.history.lock().expect("not poisoned").violation(what);
        }
    }

    /// Asks where the logs end: at or beyond everything that was acknowledged, and every end that was told,
    /// before the question (linearizable).
    async fn ask_for_ends(&mut self, link: &mut Link) -> Result<(), Closed> {
        let floors = self.history.lock().expect("not poisoned").least_ends();
        let version = any_version(ApiKey::ListOffsets, &mut self.random);
        let ends = ends(link, version, &self.topics).await?;
        let mut history = self.history.lock().expect("not poisoned");
        for (partition, end) in ends {
            let floor = floors.get(&partition).copied().unwrap_or_default();
            if end < floor {
                history.violation(format!(
                    "{partition}: ends at {end}, acknowledged or told up to {floor}"
                ));
            }
            let told = history.ends.entry(partition).or_default();
            *told = end.max(*told);
        }
        Ok(())
    }
}

/// The log end of each partition, where the agent could say it.
///
/// # Errors
/// The agent closed the connection.
pub async fn ends(
    link: &mut Link,
    version: i16,
    topics: &Topics,
) -> Result<BTreeMap<TopicPartition, Offset>, Closed> {
    const LATEST: i64 = -1;
    let asked = topics
        .partitions()
        .iter()
        .map(|partition| ListOffsetsTopic {
            name: topics.name(partition.topic),
            partitions: vec![ListOffsetsPartition {
                partition_index: partition.partition,
                timestamp: LATEST,
                ..Default::default()
            }],
        });
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: asked.collect(),
        ..Default::default()
    };
    let answer = link.call(version, &request).await?;
    let mut ends = BTreeMap::new();
    for topic in &answer.topics {
        for partition in &topic.partitions {
            if partition.error_code == 0 {
                let at = TopicPartition::new(topics.id(&topic.name), partition.partition_index);
                ends.insert(at, partition.offset);
            }
        }
    }
    Ok(ends)
}

/// The records of a fetch answer's batches.
fn records(bytes: &Bytes) -> Vec<(Offset, Option<Id>)> {
    let mut records = Vec::new();
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let header = BatchHeader::parse(&rest).expect("whole batches");
        let batch = rest.split_to(header.size_bytes());
        for record in RecordIter::new(&batch, DECOMPRESSED_BYTES_MAX).expect("a batch") {
            let record = record.expect("a record as it was sent");
            records.push((
                record.offset,
                record.value.as_deref().and_then(Id::of_value),
            ));
        }
    }
    records
}
