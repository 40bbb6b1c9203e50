//! How long a start takes from the process to the first acknowledged record, in a cluster with much history:
//! many partitions, many records, and a process that was killed.

#![allow(
    clippy::print_stdout,
    reason = "a command-line tool speaks on standard output"
)]
#![allow(
    clippy::panic,
    reason = "a benchmark that cannot go on says why and ends"
)]

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use floe_benches::servers::{Minio, floe_on_folder};
use floe_benches::time::now;
use floe_tests::client;
use floe_tests::proxy::Proxy;
use floe_tests::sandbox::{Sandbox, Setup};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// What each PUT takes longer on the slow store.
const PUT_DELAY: Duration = Duration::from_millis(60);
const LIMIT: Duration = Duration::from_secs(600);
/// The topic that has the records, and its partitions.
const HISTORY: &str = "history";
const HISTORY_PARTITIONS: usize = 100;

#[derive(Parser)]
#[command(
    about = "Times a start over a cluster with much history, to the first acknowledged record"
)]
struct CommandLine {
    /// The program to start
    #[arg(long, default_value = "target/release/floe")]
    floe: PathBuf,
    /// Topics beside the one with the records
    #[arg(long, default_value_t = 10)]
    topics: usize,
    /// Partitions of each
    #[arg(long, default_value_t = 10_000)]
    partitions: i32,
    /// Records
    #[arg(long, default_value_t = 10_000_000)]
    records: usize,
    /// Starts to time
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

fn main() {
    let given = CommandLine::parse();
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("a folder: {error}"));
    let mut broker = floe_on_folder(&given.floe, folder.path()).start();
    fill(&broker, &given);
    rounds("folder", &given, &mut broker);
    drop((broker, folder));

    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("a folder: {error}"));
    let minio = Minio::start(folder.path());
    let proxy = Proxy::start(minio.address()).unwrap_or_else(|error| panic!("a proxy: {error}"));
    let bucket = minio.bucket();
    let mut broker = Setup::on_bucket(&given.floe, &bucket)
        .environment(bucket.environment_through(proxy.address()))
        .start();
    fill(&broker, &given);
    proxy.delay_puts(PUT_DELAY);
    rounds("MinIO, 60 ms more per PUT", &given, &mut broker);
}

fn fill(broker: &Sandbox, given: &CommandLine) {
    let bootstrap = broker.bootstrap();
    for number in 0..given.topics {
        client::create_topic(&bootstrap, &format!("wide-{number}"), given.partitions);
    }
    let partitions = i32::try_from(HISTORY_PARTITIONS).unwrap_or(i32::MAX);
    client::create_topic(&bootstrap, HISTORY, partitions);
    let producer = producer(&client::producer_config(&bootstrap));
    let value = [b'x'; 100];
    for (partition, _) in (0..partitions).cycle().zip(0..given.records) {
        send(&producer, partition, &value);
    }
    flush(&producer);
}

fn producer(config: &ClientConfig) -> BaseProducer {
    config
        .create()
        .unwrap_or_else(|error| panic!("a producer: {error}"))
}

fn send(producer: &BaseProducer, partition: i32, value: &[u8]) {
    let mut record: BaseRecord<'_, (), [u8]> =
        BaseRecord::to(HISTORY).partition(partition).payload(value);
    loop {
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                producer.poll(Duration::from_millis(5));
            }
            Err((error, _)) => panic!("send: {error}"),
        }
    }
}

fn flush(producer: &BaseProducer) {
    producer
        .flush(LIMIT)
        .unwrap_or_else(|error| panic!("flush: {error}"));
}

fn rounds(place: &str, given: &CommandLine, broker: &mut Sandbox) {
    for round in 0..given.rounds {
        let how = if round % 2 == 0 {
            broker.kill();
            "kill -9"
        } else {
            broker.terminate();
            "SIGTERM"
        };
        let start = now();
        let ready = broker.restart();
        // Not idempotent: librdkafka waits 500 ms until it asks for a producer id a second time.
        let producer = producer(&client::config(&broker.bootstrap()));
        send(&producer, 0, b"first");
        flush(&producer);
        println!(
            "{place}, {} partitions, {} records, after {how}: ready after {} ms, first acknowledgement {} ms",
            given.partitions * i32::try_from(given.topics).unwrap_or(0),
            given.records,
            ready.as_millis(),
            start.elapsed().as_millis(),
        );
    }
}
