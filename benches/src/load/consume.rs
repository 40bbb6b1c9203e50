//! The reading side: one thread and one librdkafka client per consumer, partitions assigned by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::{ANSWER_LIMIT, Done, Load, LoadError, SILENCE_LIMIT, kafka, since};
use crate::histogram::Latencies;
use crate::time;

/// A poll's wait: how soon a reader sees that all is read.
const POLL: Duration = Duration::from_millis(50);

/// First and last offset of each partition.
pub(super) struct Bounds(BTreeMap<i32, (i64, i64)>);

impl Bounds {
    pub(super) fn starts(&self) -> BTreeMap<i32, i64> {
        self.0
            .iter()
            .map(|(partition, (low, _))| (*partition, *low))
            .collect()
    }

    pub(super) fn ends(&self) -> BTreeMap<i32, i64> {
        self.0
            .iter()
            .map(|(partition, (_, high))| (*partition, *high))
            .collect()
    }

    /// Records between the bounds; offsets are dense in a topic that is not compacted.
    pub(super) fn records(&self) -> u64 {
        let count = |(low, high): &(i64, i64)| u64::try_from(high - low).unwrap_or(0);
        self.0.values().map(count).sum()
    }
}

/// Asks for the bounds of all partitions of the topic.
pub(super) fn bounds(load: &Load) -> Result<Bounds, LoadError> {
    let consumer: BaseConsumer = load
        .client(&[])?
        .create()
        .map_err(kafka("metadata client"))?;
    let partitions = i32::try_from(load.partition_count()?).unwrap_or(i32::MAX);
    let mut found = BTreeMap::new();
    for partition in 0..partitions {
        let bounds = consumer
            .fetch_watermarks(&load.topic, partition, ANSWER_LIMIT)
            .map_err(kafka(format!("watermarks of partition {partition}")))?;
        found.insert(partition, bounds);
    }
    Ok(Bounds(found))
}

/// Consumers at work.
pub(super) struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<Latencies, LoadError>>>,
    start: Instant,
}

struct Shared {
    base: Instant,
    /// Records read by all.
    records: AtomicU64,
    bytes: AtomicU64,
    /// How many there will be, once that is known.
    expected: AtomicU64,
}

impl Readers {
    /// Starts the consumers at these offsets. They are assigned when this returns.
    pub(super) fn start(
        load: &Load,
        from: &BTreeMap<i32, i64>,
        base: Instant,
    ) -> Result<Readers, LoadError> {
        let shared = Arc::new(Shared {
            base,
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            expected: AtomicU64::new(u64::MAX),
        });
        let start = time::now();
        let mut threads = Vec::new();
        for number in 0..load.consumers {
            let consumer = consumer(load)?;
            let mut list = TopicPartitionList::new();
            for (partition, offset) in from.iter().skip(number).step_by(load.consumers) {
                let offset = Offset::Offset(*offset);
                list.add_partition_offset(&load.topic, *partition, offset)
                    .map_err(kafka("offset"))?;
            }
            consumer.assign(&list).map_err(kafka("assign"))?;
            let shared = Arc::clone(&shared);
            threads.push(std::thread::spawn(move || follow(&consumer, &shared)));
        }
        Ok(Readers {
            shared,
            threads,
            start,
        })
    }

    /// Waits until `expected` records have been read by all of them.
    pub(super) fn finish(self, expected: u64) -> Result<Done, LoadError> {
        self.shared.expected.store(expected, Ordering::SeqCst);
        let mut latencies = Latencies::new();
        for thread in self.threads {
            let read = thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            latencies.add(&read?);
        }
        let records = self.shared.records.load(Ordering::SeqCst);
        let bytes = self.shared.bytes.load(Ordering::SeqCst);
        Ok(Done::new(
            records,
            bytes,
            0,
            self.start.elapsed(),
            &latencies,
        ))
    }
}

fn consumer(load: &Load) -> Result<BaseConsumer, LoadError> {
    let mut config = load.client(&load.consumer_settings)?;
    config
        .set("group.id", "unused: partitions are assigned by hand")
        .set("enable.auto.commit", "false");
    config.create().map_err(kafka("consumer"))
}

/// Reads until all consumers together have what there is.
fn follow(consumer: &BaseConsumer, shared: &Shared) -> Result<Latencies, LoadError> {
    let mut latencies = Latencies::new();
    let mut last = time::now();
    loop {
        let expected = shared.expected.load(Ordering::Relaxed);
        let got = shared.records.load(Ordering::Relaxed);
        if got >= expected {
            return Ok(latencies);
        }
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                let value = message.payload().unwrap_or_default();
                if let Some(stamp) = value.first_chunk::<{ size_of::<usize>() }>() {
                    latencies.record(since(shared.base, usize::from_be_bytes(*stamp)));
                }
                let size = u64::try_from(value.len()).unwrap_or(0);
                shared.bytes.fetch_add(size, Ordering::Relaxed);
                shared.records.fetch_add(1, Ordering::Relaxed);
                last = time::now();
            }
            Some(Err(error)) => return Err(kafka("poll")(error)),
            None if last.elapsed() > SILENCE_LIMIT && expected != u64::MAX => {
                return Err(LoadError::Silence { got, expected });
            }
            None => {}
        }
    }
}
