//! Agents of one zone read for each other: a chunk of the store is read once for all of them, and one that
//! does not answer is passed by.

use std::path::Path;
use std::time::Duration;

use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::fleet::Fleet;
use floe_tests::http;
use floe_tests::sandbox::{Sandbox, Setup};
use floe_tests::say::say;
use floe_tests::wait;
use rdkafka::consumer::BaseConsumer;
use rdkafka::{Message, Offset};

use crate::target::BINARY;

const TOPIC: &str = "shared";
const AGENTS: usize = 3;
const RECORDS: i64 = 400;
const RECORD_BYTES: usize = 100_000;
const CHUNK_BYTES: u64 = 4 << 20;
const LIMIT: Duration = Duration::from_secs(60);
/// A pause of this length is one that an application would notice.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Three agents over a folder with old records: none of them has read or written anything.
fn old_records(setup: &Setup) -> Fleet {
    let mut fleet = Fleet::start(setup, AGENTS);
    let bootstrap = fleet.bootstrap();
    client::create_topic(&bootstrap, TOPIC, 1);
    let recorder = Recorder::default();
    let config = client::producer_config(&bootstrap);
    let mut producer = RecordingProducer::new(&config, TOPIC, 0, &recorder);
    (0..RECORDS).for_each(|_| producer.send(0, RECORD_BYTES));
    producer.flush(LIMIT).unwrap();
    recorder.read_back(&bootstrap, TOPIC);
    for history in recorder.lock().values() {
        checker::check(history).expect_clean("before the restart");
    }
    for broker in fleet.brokers() {
        assert_eq!(broker.terminate().code(), Some(0));
    }
    for broker in fleet.brokers() {
        broker.restart();
    }
    fleet.wait_for(AGENTS);
    fleet
}

/// A consumer of the topic for each agent, which leads for it.
fn one_for_each(fleet: &mut Fleet) -> Vec<BaseConsumer> {
    let bootstrap = fleet.bootstrap();
    let brokers = fleet.brokers();
    let mut consumers: Vec<_> = brokers.iter().map(|_| None).collect();
    for number in 0..100 {
        let name = format!("reader-{number}");
        let consumer = client::consumer_with(&bootstrap, &[("client.id", &name)]);
        let port = client::leader_port_of(&consumer, TOPIC);
        let leader = brokers
            .iter()
            .position(|broker| broker.address().port() == port);
        consumers[leader.unwrap()].get_or_insert(consumer);
        if consumers.iter().all(Option::is_some) {
            break;
        }
    }
    consumers
        .into_iter()
        .map(|consumer| consumer.unwrap())
        .collect()
}

/// Reads on to `end`, exclusive; the longest time without a record.
fn read_to(consumer: &BaseConsumer, end: i64) -> Duration {
    let (mut last, mut longest) = (wait::now(), Duration::ZERO);
    loop {
        let polled = consumer.poll(Duration::from_millis(100));
        longest = longest.max(last.elapsed());
        assert!(last.elapsed() < LIMIT, "no more records come");
        if let Some(Ok(message)) = polled {
            last = wait::now();
            if message.offset() + 1 >= end {
                return longest;
            }
        }
    }
}

fn figure(broker: &Sandbox, name: &str, labels: &[&str]) -> f64 {
    let (_, text) = broker.http_get("/metrics");
    http::metric(&text, name, labels).unwrap_or(0.0)
}

/// A figure of all agents together.
fn sum(fleet: &mut Fleet, name: &str, labels: &[&str]) -> f64 {
    let brokers = fleet.brokers().iter();
    brokers.map(|broker| figure(broker, name, labels)).sum()
}

fn reads(fleet: &mut Fleet, outcome: &str) -> f64 {
    sum(
        fleet,
        "floe_peer_reads_total",
        &[&format!("outcome=\"{outcome}\"")],
    )
}

fn gets(fleet: &mut Fleet) -> f64 {
    let labels = ["caller=\"fetch\"", "operation=\"get\""];
    sum(fleet, "floe_store_requests_total", &labels)
}

/// Chunks of all segments in a folder, and those among them that are full.
fn chunks(folder: &Path) -> (f64, f64) {
    let mut counts = (0.0, 0.0);
    for entry in folder.read_dir().unwrap() {
        let entry = entry.unwrap();
        let (all, full) = if entry.file_type().unwrap().is_dir() {
            chunks(&entry.path())
        } else {
            let bytes = entry.metadata().unwrap().len();
            let full = bytes / CHUNK_BYTES;
            (bytes.div_ceil(CHUNK_BYTES) as f64, full as f64)
        };
        counts = (counts.0 + all, counts.1 + full);
    }
    counts
}

#[test]
fn a_zone_reads_a_chunk_once() {
    let setup = Setup::on_folder(BINARY);
    let mut fleet = old_records(&setup);
    let store = setup.store().strip_prefix("file:").unwrap();
    let (all, full) = chunks(&Path::new(store).join("segments"));
    let consumers = one_for_each(&mut fleet);
    std::thread::scope(|scope| {
        for consumer in &consumers {
            scope.spawn(|| {
                client::assign(consumer, TOPIC, 0, Offset::Beginning);
                read_to(consumer, RECORDS)
            });
        }
    });
    let gets = gets(&mut fleet);
    // An agent that had no processor for 75 ms is passed by; its chunk is then read once more.
    let missed: f64 = ["not_here", "busy", "failed", "silent"]
        .map(|outcome| reads(&mut fleet, outcome))
        .iter()
        .sum();
    let had = reads(&mut fleet, "chunk");
    say(&format!(
        "{AGENTS} agents, {RECORDS} records of {RECORD_BYTES} bytes read by a consumer at each: {gets} GETs \
         for {all} chunks, {had} had from each other, {missed} in vain"
    ));
    assert!((full..=all + missed).contains(&gets), "{gets} GETs");
    assert!(had >= full, "{had} of {full} chunks");
}

#[test]
fn what_was_just_written_is_read_from_the_writer() {
    let mut fleet = Fleet::start(&Setup::on_folder(BINARY), AGENTS);
    let bootstrap = fleet.bootstrap();
    client::create_topic(&bootstrap, TOPIC, 1);
    let recorder = Recorder::default();
    let config = client::producer_config(&bootstrap);
    let mut producer = RecordingProducer::new(&config, TOPIC, 0, &recorder);
    let consumers = one_for_each(&mut fleet);
    for consumer in &consumers {
        client::assign(consumer, TOPIC, 0, Offset::Beginning);
    }
    for round in 1..=20 {
        (0..10).for_each(|_| producer.send(0, 10_000));
        producer.flush(LIMIT).unwrap();
        for consumer in &consumers {
            read_to(consumer, round * 10);
        }
    }
    let (gets, fresh) = (gets(&mut fleet), reads(&mut fleet, "fresh"));
    let silent = reads(&mut fleet, "silent");
    say(&format!(
        "{AGENTS} agents, records read at each as they are written: {gets} GETs, {fresh} chunks had from \
         their writer, {silent} in vain"
    ));
    assert!(gets <= silent * AGENTS as f64, "{gets} GETs");
    assert!(fresh >= 40.0, "{fresh}");
}

#[test]
fn a_paused_agent_is_passed_by() {
    let mut fleet = old_records(&Setup::on_folder(BINARY));
    let consumers = one_for_each(&mut fleet);
    // Where old records lie is asked of the metadata, whose owner goes on.
    let owner = fleet.owner();
    let [reading, paused] = [1, 2].map(|after| (owner + after) % AGENTS);
    let consumer = &consumers[reading];
    client::assign(consumer, TOPIC, 0, Offset::Beginning);
    read_to(consumer, 10);
    fleet.brokers()[paused].process().pause();
    let longest = read_to(consumer, RECORDS);
    let labels = ["outcome=\"silent\""];
    let silent = figure(&fleet.brokers()[reading], "floe_peer_reads_total", &labels);
    fleet.brokers()[paused].process().resume();
    say(&format!(
        "an agent of the zone is stopped while another reads on: longest time without a record {} ms, \
         passed by {silent} times",
        longest.as_millis()
    ));
    assert!(longest < PAUSE_MAX, "{longest:?}");
}
