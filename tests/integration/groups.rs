//! Consumer groups of stock clients: they read everything between them, go on where they were, and hear
//! nothing of what befalls the brokers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use floe_tests::client;
use floe_tests::components::s3::S3;
use floe_tests::fleet::Fleet;
use floe_tests::sandbox::Setup;
use floe_tests::wait;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

use crate::target::{BINARY, Target};

const LIMIT: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 12;
const MEMBERS: usize = 3;
/// Members that read while owners die.
const READERS: usize = 12;
const CLASSIC: &str = "classic";
const CONSUMER: &str = "consumer";

on_each_store!(
    a_group_shares_the_partitions,
    a_group_of_one_goes_on_where_it_was
);

/// Counts what the group protocol does to a member.
#[derive(Clone, Default)]
struct Seen {
    rebalances: Arc<AtomicUsize>,
}

impl ClientContext for Seen {}

impl ConsumerContext for Seen {
    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, _rebalance: &Rebalance<'_>) {
        self.rebalances.fetch_add(1, Ordering::SeqCst);
    }
}

fn member(bootstrap: &str, group: &str, seen: &Seen) -> BaseConsumer<Seen> {
    member_of(bootstrap, group, seen, CLASSIC)
}

/// A member that speaks `classic` or `consumer` (KIP-848).
fn member_of(bootstrap: &str, group: &str, seen: &Seen, protocol: &str) -> BaseConsumer<Seen> {
    let mut config = client::config(bootstrap);
    config
        .set("group.protocol", protocol)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    config.create_with_context(seen.clone()).unwrap()
}

fn fill(bootstrap: &str, topic: &str, records: std::ops::Range<i32>) {
    let producer: FutureProducer = client::producer_config(bootstrap).create().unwrap();
    let reports: Vec<_> = records
        .map(|number| {
            let value = number.to_string();
            let record = FutureRecord::<(), String>::to(topic)
                .partition(number % PARTITIONS)
                .payload(&value);
            producer
                .send_result(record)
                .map_err(|(error, _)| error)
                .unwrap()
        })
        .collect();
    for report in reports {
        futures::executor::block_on(report).unwrap().unwrap();
    }
}

fn number(message: &impl Message) -> i32 {
    std::str::from_utf8(message.payload().unwrap())
        .unwrap()
        .parse()
        .unwrap()
}

/// Reads until `count` records have come, and commits them.
fn take(consumer: &BaseConsumer<Seen>, count: usize) -> BTreeSet<i32> {
    let mut numbers = BTreeSet::new();
    wait::until("the records of a group", LIMIT, || {
        // Errors of connections are the client's own affair.
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
            assert!(numbers.insert(number(&message)), "a record came twice");
        }
        (numbers.len() == count).then_some(())
    });
    consumer.commit_consumer_state(CommitMode::Sync).unwrap();
    numbers
}

fn a_group_shares_the_partitions(target: &Target) {
    let topic = target.topic("shared");
    client::create_topic(target.bootstrap(), &topic, PARTITIONS);
    let seen = Seen::default();
    let group = target.topic("group");
    let members: Vec<_> = (0..MEMBERS)
        .map(|_| member(target.bootstrap(), &group, &seen))
        .collect();
    for member in &members {
        member.subscribe(&[&topic]).unwrap();
    }
    let assigned = || {
        let counts = members.iter().map(|member| {
            assert!(member.poll(Duration::from_millis(50)).is_none());
            member.assignment().unwrap().count()
        });
        counts.collect::<Vec<_>>()
    };
    wait::until("four partitions for each member", LIMIT, || {
        (assigned() == [4, 4, 4]).then_some(())
    });
    // One leaves, and the others take its share.
    let mut members = members;
    drop(members.pop());
    wait::until("six partitions for each member", LIMIT, || {
        let counts = members.iter().map(|member| {
            assert!(member.poll(Duration::from_millis(50)).is_none());
            member.assignment().unwrap().count()
        });
        (counts.collect::<Vec<_>>() == [6, 6]).then_some(())
    });
}

fn a_group_of_one_goes_on_where_it_was(target: &Target) {
    let topic = target.topic("goes-on");
    client::create_topic(target.bootstrap(), &topic, PARTITIONS);
    let group = target.topic("group");
    fill(target.bootstrap(), &topic, 0..100);
    for (records, count) in [(0..100, 100), (100..150, 50), (150..200, 50)] {
        if records.start > 0 {
            fill(target.bootstrap(), &topic, records.clone());
        }
        let member = member(target.bootstrap(), &group, &Seen::default());
        member.subscribe(&[&topic]).unwrap();
        assert_eq!(take(&member, count), records.collect());
    }
}

#[test]
fn a_group_goes_on_after_a_kill_on_a_folder() {
    goes_on_after_a_kill(Setup::on_folder(BINARY), CLASSIC);
}

#[test]
fn a_group_goes_on_after_a_kill_on_s3() {
    goes_on_after_a_kill(
        Setup::on_bucket(BINARY, &S3::shared().create_bucket()),
        CLASSIC,
    );
}

#[test]
fn a_group_of_the_new_protocol_goes_on_after_a_kill() {
    goes_on_after_a_kill(Setup::on_folder(BINARY), CONSUMER);
}

/// The only broker is killed under a member, which keeps its generation and its partitions.
fn goes_on_after_a_kill(setup: Setup, protocol: &str) {
    let mut broker = setup.start();
    let bootstrap = broker.bootstrap();
    client::create_topic(&bootstrap, "t", PARTITIONS);
    let seen = Seen::default();
    let consumer = member_of(&bootstrap, "group", &seen, protocol);
    consumer.subscribe(&["t"]).unwrap();
    fill(&bootstrap, "t", 0..100);
    assert_eq!(take(&consumer, 100), (0..100).collect());
    let rebalances = seen.rebalances.load(Ordering::SeqCst);
    for round in 1..=3 {
        broker.kill();
        broker.restart();
        fill(&bootstrap, "t", 100 * round..100 * (round + 1));
        let taken = take(&consumer, 100);
        assert_eq!(
            taken,
            (100 * round..100 * (round + 1)).collect(),
            "round {round}"
        );
    }
    assert_eq!(seen.rebalances.load(Ordering::SeqCst), rebalances);
    drop(consumer);
    let late = member_of(&bootstrap, "group", &seen, protocol);
    late.subscribe(&["t"]).unwrap();
    fill(&bootstrap, "t", 400..401);
    assert_eq!(take(&late, 1), BTreeSet::from([400]));
}

#[test]
fn a_group_hears_nothing_of_the_owners_death() {
    hears_nothing_of_the_owners_death(CLASSIC);
}

#[test]
fn a_group_of_the_new_protocol_hears_nothing_of_the_owners_death() {
    hears_nothing_of_the_owners_death(CONSUMER);
}

/// Twelve members read and commit while the owner of the metadata is killed three times: nobody rebalances, and
/// nothing is read twice.
fn hears_nothing_of_the_owners_death(protocol: &str) {
    let mut fleet = Fleet::start(&crate::cluster::on_s3(), crate::cluster::AGENTS);
    let bootstrap = fleet.bootstrap();
    client::create_topic(&bootstrap, "t", PARTITIONS);
    let (stop, seen) = (AtomicBool::new(false), Seen::default());
    let log = Log::default();
    std::thread::scope(|scope| {
        let producing = scope.spawn(|| produce(&bootstrap, &stop));
        let consuming: Vec<_> = (0..READERS)
            .map(|_| scope.spawn(|| consume(&bootstrap, protocol, &seen, &log, &stop)))
            .collect();
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait::until("a stable group that reads", LIMIT, || {
                let load = |count: &AtomicUsize| count.load(Ordering::SeqCst);
                (load(&log.members) == READERS && load(&log.records) > 300).then_some(())
            });
            // All have their share by now; from here on nobody may stop.
            log.is_stable.store(true, Ordering::SeqCst);
            let rebalances = seen.rebalances.load(Ordering::SeqCst);
            for _ in 0..3 {
                let owner = fleet.owner();
                fleet.brokers()[owner].kill();
                progress(&log);
                fleet.brokers()[owner].restart();
                fleet.wait_for(crate::cluster::AGENTS);
                progress(&log);
            }
            assert_eq!(
                seen.rebalances.load(Ordering::SeqCst),
                rebalances,
                "nobody rebalanced"
            );
        }));
        stop.store(true, Ordering::SeqCst);
        producing.join().unwrap();
        for member in consuming {
            member.join().unwrap();
        }
        ended.unwrap();
    });
    let reader = member(&bootstrap, "group", &Seen::default());
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_range("t", 0, PARTITIONS - 1);
    let stored = reader.committed_offsets(partitions, LIMIT).unwrap();
    for (partition, acknowledged) in &*log.committed.lock().unwrap() {
        let found = stored.find_partition("t", *partition).unwrap().offset();
        let Offset::Offset(found) = found else {
            panic!("partition {partition}: {found:?}");
        };
        assert!(
            found >= *acknowledged,
            "partition {partition}: {found} < {acknowledged}"
        );
    }
}

/// What a group has read and committed.
#[derive(Default)]
struct Log {
    records: AtomicUsize,
    /// Nobody joins any more.
    is_stable: AtomicBool,
    /// The highest acknowledged commit by partition.
    committed: Mutex<BTreeMap<i32, i64>>,
    /// Members that have read something.
    members: AtomicUsize,
}

/// Waits until every partition is read further, and committed further.
fn progress(log: &Log) {
    let committed = |log: &Log| log.committed.lock().unwrap().clone();
    let before = committed(log);
    wait::until("commits in every partition", LIMIT, || {
        let now = committed(log);
        let mut partitions = 0..PARTITIONS;
        partitions
            .all(|index| now.get(&index) > before.get(&index))
            .then_some(())
    });
}

fn produce(bootstrap: &str, stop: &AtomicBool) {
    let mut next = 0;
    while !stop.load(Ordering::SeqCst) {
        fill(bootstrap, "t", next..next + 2 * PARTITIONS);
        next += 2 * PARTITIONS;
    }
}

fn consume(bootstrap: &str, protocol: &str, seen: &Seen, log: &Log, stop: &AtomicBool) {
    let consumer = member_of(bootstrap, "group", seen, protocol);
    consumer.subscribe(&["t"]).unwrap();
    let (mut unsaved, mut last) = (BTreeMap::new(), BTreeMap::new());
    let mut has_read = false;
    while !stop.load(Ordering::SeqCst) {
        // Errors of connections are the client's own affair.
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else {
            continue;
        };
        let (partition, offset) = (message.partition(), message.offset());
        log.records.fetch_add(1, Ordering::SeqCst);
        let before = last.insert(partition, offset);
        // Only a rebalance makes somebody read again what was not committed.
        let is_new = before.is_none_or(|before| before < offset);
        assert!(
            is_new || !log.is_stable.load(Ordering::SeqCst),
            "{partition}/{offset} came after {before:?}"
        );
        unsaved.insert(partition, offset + 1);
        if !has_read {
            has_read = true;
            log.members.fetch_add(1, Ordering::SeqCst);
        }
        if offset % 5 == 0 && consumer.commit_consumer_state(CommitMode::Sync).is_ok() {
            let mut committed = log.committed.lock().unwrap();
            for (partition, offset) in std::mem::take(&mut unsaved) {
                let known = committed.entry(partition).or_insert(0);
                *known = (*known).max(offset);
            }
        }
    }
}
