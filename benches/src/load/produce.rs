//! The sending side: one thread and one librdkafka client per producer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use super::{Done, Load, LoadError, kafka, since, stamp};
use crate::histogram::Latencies;
use crate::time;

/// Random bytes that values are cut from: many times what a codec could look back.
const POOL_BYTES: usize = 4 << 20;

/// All records are acknowledged or given up within librdkafka's `message.timeout.ms`, 5 minutes.
const FLUSH_LIMIT: Duration = Duration::from_secs(330);

struct Acks {
    base: Instant,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    acked: u64,
    failed: u64,
    latencies: Latencies,
}

impl Acks {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    /// The stamp of the record.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, due: usize) {
        let latency = since(self.base, due);
        let mut counts = self.counts();
        match result {
            Ok(_) => {
                counts.acked += 1;
                counts.latencies.record(latency);
            }
            Err(_) => counts.failed += 1,
        }
    }
}

/// Runs all producers to the last acknowledgement. Stamps count from `base`.
pub(super) fn run(load: &Load, base: Instant) -> Result<Done, LoadError> {
    let mut clients = Vec::new();
    for _ in 0..load.producers {
        let mut config = load.client(&load.producer_settings)?;
        config.set("enable.idempotence", "true");
        let acks = Acks {
            base,
            counts: Mutex::default(),
        };
        let client: ThreadedProducer<Acks> = config
            .create_with_context(acks)
            .map_err(kafka("producer"))?;
        clients.push(Arc::new(client));
    }
    let start = time::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0_u64..)
            .zip(&clients)
            .map(|(number, client)| scope.spawn(move || one(load, client, number, base, start)))
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<(), LoadError>>| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().try_for_each(join)
    })?;
    let took = start.elapsed();
    let (mut acked, mut failed, mut latencies) = (0, 0, Latencies::new());
    for client in &clients {
        let counts = client.context().counts();
        acked += counts.acked;
        failed += counts.failed;
        latencies.add(&counts.latencies);
    }
    let size = u64::try_from(load.record_bytes).unwrap_or(u64::MAX);
    Ok(Done::new(acked, acked * size, failed, took, &latencies))
}

/// One producer: its share of the records, at its share of the rate.
fn one(
    load: &Load,
    client: &ThreadedProducer<Acks>,
    number: u64,
    base: Instant,
    start: Instant,
) -> Result<(), LoadError> {
    let producers = u64::try_from(load.producers.max(1)).unwrap_or(1);
    let share = load.records / producers + u64::from(number < load.records % producers);
    let mut values = Values::new(load.record_bytes, number);
    for index in 0..share {
        let due = match load.rate {
            // Producers take turns: the n-th record of all is due at n / rate.
            #[expect(
                clippy::cast_precision_loss,
                reason = "a schedule of less than 2^52 records"
            )]
            Some(rate) => {
                let nth = (index * producers + number) as f64;
                let due = start + Duration::from_secs_f64(nth / rate);
                time::sleep_until(due);
                due
            }
            None => time::now(),
        };
        send(
            load,
            client,
            values.next(stamp(base, due)),
            stamp(base, due),
        )?;
    }
    client.flush(FLUSH_LIMIT).map_err(kafka("flush"))
}

fn send(
    load: &Load,
    client: &ThreadedProducer<Acks>,
    value: &[u8],
    due: usize,
) -> Result<(), LoadError> {
    let mut record: BaseRecord<'_, (), [u8], usize> =
        BaseRecord::with_opaque_to(&load.topic, due).payload(value);
    loop {
        match client.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                time::sleep_until(time::now() + Duration::from_millis(1));
            }
            Err((error, _)) => return Err(kafka("send")(error)),
        }
    }
}

/// Values that do not compress, each with its stamp in front, without a copy of its own.
struct Values {
    pool: Vec<u8>,
    at: usize,
    size: usize,
}

impl Values {
    fn new(size: usize, seed: u64) -> Values {
        let mut pool = vec![0; POOL_BYTES + size];
        SmallRng::seed_from_u64(seed).fill(pool.as_mut_slice());
        Values { pool, at: 0, size }
    }

    fn next(&mut self, stamp: usize) -> &[u8] {
        // An odd step, so that the second round through the pool cuts elsewhere.
        self.at = (self.at + self.size + 1) % POOL_BYTES;
        let value = self
            .pool
            .get_mut(self.at..self.at + self.size)
            .unwrap_or_default();
        let stamp = stamp.to_be_bytes();
        if let Some(head) = value.get_mut(..stamp.len()) {
            head.copy_from_slice(&stamp);
        }
        value
    }
}
