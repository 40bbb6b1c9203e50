//! The workload: N producers and M consumers of librdkafka against any broker, flat out or at a rate.
//!
//! Producers keep librdkafka's defaults and are idempotent (acks=all, five requests in flight); the
//! client chooses partitions itself. Values do not compress; each begins with the moment it was due.
//!
//! At a rate the load is open: record n is due at `start + n / rate`, and its latency counts from
//! there, so a broker that stalls pays for all that had to wait. Flat out there is no due time:
//! latency counts from the send and is mostly the client's own queue.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use serde::Serialize;

use crate::histogram::{Latencies, Percentiles};
use crate::time;

mod consume;
mod produce;

/// Bound on one question to a healthy broker.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// No record for this long means that none will come.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// What to send and read.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// The broker, HOST:PORT.
    pub bootstrap: String,
    /// Topic; created if it is not there.
    pub topic: String,
    /// Partitions of a new topic.
    pub partitions: i32,
    /// Producers, each a client of its own.
    pub producers: usize,
    /// Consumers, each a client of its own; partitions are dealt out to them.
    pub consumers: usize,
    /// Size of each value.
    pub record_bytes: usize,
    /// Records to send in all.
    pub records: u64,
    /// Records per second in all; flat out without.
    pub rate: Option<f64>,
    /// More librdkafka settings of producers, `name=value`.
    pub producer_settings: Vec<String>,
    /// More librdkafka settings of consumers, `name=value`.
    pub consumer_settings: Vec<String>,
}

/// What one side of a load did.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Done {
    /// Records acknowledged, or read.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Records that were given up.
    pub failed: u64,
    /// From the first record to the last.
    pub seconds: f64,
    /// Values per second, MiB.
    pub mib_per_s: f64,
    /// From due time to acknowledgement, or to delivery at the consumer.
    pub latency: Percentiles,
}

impl Done {
    fn new(records: u64, bytes: u64, failed: u64, took: Duration, latencies: &Latencies) -> Done {
        let seconds = took.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let mib_per_s = bytes as f64 / 1_048_576.0 / seconds.max(1e-9);
        Done {
            records,
            bytes,
            failed,
            seconds,
            mib_per_s,
            latency: latencies.percentiles(),
        }
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Done {
            records,
            seconds,
            mib_per_s,
            failed,
            latency,
            ..
        } = self;
        write!(
            f,
            "{records} records in {seconds:.2} s, {mib_per_s:.1} MiB/s, {latency}"
        )?;
        if *failed > 0 {
            write!(f, ", {failed} FAILED")
        } else {
            Ok(())
        }
    }
}

/// An error that ends a load.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// librdkafka or the broker refused.
    #[error("{what}: {error}")]
    Kafka {
        /// What was asked.
        what: String,
        /// What it said.
        error: rdkafka::error::KafkaError,
    },
    /// The broker refused a topic.
    #[error("create topic {name}: {code}")]
    Topic {
        /// Its name.
        name: String,
        /// The broker's answer.
        code: RDKafkaErrorCode,
    },
    /// A setting is not `name=value`.
    #[error("setting {0:?} is not name=value")]
    Setting(String),
    /// Records that were written did not come.
    #[error("{got} of {expected} records came, then nothing for {SILENCE_LIMIT:?}")]
    Silence {
        /// Records read.
        got: u64,
        /// Records that are there.
        expected: u64,
    },
}

fn kafka(what: impl Into<String>) -> impl FnOnce(rdkafka::error::KafkaError) -> LoadError {
    let what = what.into();
    move |error| LoadError::Kafka { what, error }
}

impl Load {
    /// Creates the topic if it is not there, and waits until its partitions have leaders.
    ///
    /// # Errors
    ///
    /// If the broker refuses or does not answer.
    pub fn create_topic(&self) -> Result<(), LoadError> {
        let admin: AdminClient<DefaultClientContext> =
            self.client(&[])?.create().map_err(kafka("admin client"))?;
        let topic = NewTopic::new(&self.topic, self.partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(ANSWER_LIMIT));
        let created = futures::executor::block_on(admin.create_topics([&topic], &options));
        for result in created.map_err(kafka("create topic"))? {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => return Err(LoadError::Topic { name, code }),
            }
        }
        // Apache Kafka answers before its brokers know of the topic.
        let start = time::now();
        while self.partition_count()? == 0 && start.elapsed() < ANSWER_LIMIT {
            time::sleep_until(time::now() + Duration::from_millis(20));
        }
        Ok(())
    }

    /// Partitions of the topic that have a leader.
    fn partition_count(&self) -> Result<usize, LoadError> {
        let consumer: BaseConsumer = self
            .client(&[])?
            .create()
            .map_err(kafka("metadata client"))?;
        let metadata = consumer
            .fetch_metadata(Some(&self.topic), ANSWER_LIMIT)
            .map_err(kafka("metadata"))?;
        let partitions = metadata.topics().first().map_or(0, |topic| {
            topic
                .partitions()
                .iter()
                .filter(|partition| partition.leader() >= 0)
                .count()
        });
        Ok(partitions)
    }

    /// Sends all records and waits for their acknowledgements.
    ///
    /// # Errors
    ///
    /// If librdkafka refuses; records that fail are counted, not an error.
    pub fn produce(&self) -> Result<Done, LoadError> {
        produce::run(self, time::now())
    }

    /// Reads what is in the topic now, from the first record to the last.
    ///
    /// # Errors
    ///
    /// If librdkafka refuses, or records stay away.
    pub fn fetch(&self) -> Result<Done, LoadError> {
        let ends = consume::bounds(self)?;
        let readers = consume::Readers::start(self, &ends.starts(), time::now())?;
        readers.finish(ends.records())
    }

    /// Sends all records while consumers follow at the end of the log. Returns what producers and
    /// what consumers did.
    ///
    /// # Errors
    ///
    /// If librdkafka refuses, or acknowledged records stay away.
    pub fn tail(&self) -> Result<(Done, Done), LoadError> {
        // One clock for stamps and readers; consumers stand at the end before the first record.
        let base = time::now();
        let ends = consume::bounds(self)?;
        let readers = consume::Readers::start(self, &ends.ends(), base)?;
        let produced = produce::run(self, base)?;
        let consumed = readers.finish(produced.records)?;
        Ok((produced, consumed))
    }

    /// A client's settings, with those of the user on top.
    fn client(&self, settings: &[String]) -> Result<ClientConfig, LoadError> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        for setting in settings {
            let (name, value) = setting
                .split_once('=')
                .ok_or_else(|| LoadError::Setting(setting.clone()))?;
            config.set(name, value);
        }
        Ok(config)
    }
}

/// Nanoseconds since `base`, as a stamp.
fn stamp(base: Instant, at: Instant) -> usize {
    usize::try_from(at.duration_since(base).as_nanos()).unwrap_or(usize::MAX)
}

/// How long ago a stamp was.
fn since(base: Instant, stamp: usize) -> Duration {
    let nanos = u64::try_from(stamp).unwrap_or(u64::MAX);
    base.elapsed().saturating_sub(Duration::from_nanos(nanos))
}
