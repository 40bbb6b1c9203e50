//! Consumers that assign partitions by hand: from the beginning, an offset, a time, the tail.

use std::time::Duration;

use floe_tests::client;
use floe_tests::wait;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};

use crate::target::Target;

const LIMIT: Duration = Duration::from_secs(30);
const FIRST_TIME_MS: i64 = 1_700_000_000_000;

on_each_store!(
    places_to_start,
    offsets_for_times,
    out_of_range_is_told,
    a_waiting_consumer_is_woken,
    two_clients_follow_each_other,
    a_consumer_creates_no_topic,
);

/// A topic of one partition with `count` records, the n-th of them `n` seconds after the first.
fn filled(target: &Target, name: &str, count: i64) -> String {
    let topic = target.topic(name);
    client::create_topic(target.bootstrap(), &topic, 1);
    let producer: FutureProducer = client::producer_config(target.bootstrap())
        .create()
        .unwrap();
    let reports: Vec<_> = (0..count)
        .map(|number| {
            let value = number.to_string();
            let record = FutureRecord::<(), String>::to(&topic)
                .partition(0)
                .payload(&value)
                .timestamp(FIRST_TIME_MS + 1000 * number);
            producer
                .send_result(record)
                .map_err(|(error, _)| error)
                .unwrap()
        })
        .collect();
    for report in reports {
        futures::executor::block_on(report).unwrap().unwrap();
    }
    topic
}

fn places_to_start(target: &Target) {
    let topic = filled(target, "places", 100);
    for (case, from, expected) in [
        ("beginning", Offset::Beginning, 0),
        ("offset 37", Offset::Offset(37), 37),
        ("the last", Offset::Offset(99), 99),
        ("ten before the end", Offset::OffsetTail(10), 90),
    ] {
        let message = &client::take(target.bootstrap(), &topic, 0, from, 1)[0];
        assert_eq!(message.offset(), expected, "{case}");
        assert_eq!(
            message.payload(),
            Some(expected.to_string().as_bytes()),
            "{case}"
        );
    }
}

fn offsets_for_times(target: &Target) {
    let topic = filled(target, "times", 100);
    let consumer = client::consumer(target.bootstrap());
    for (case, time_ms, expected) in [
        ("before all", FIRST_TIME_MS - 5, Offset::Offset(0)),
        ("the first", FIRST_TIME_MS, Offset::Offset(0)),
        ("a record's own", FIRST_TIME_MS + 42_000, Offset::Offset(42)),
        ("between two", FIRST_TIME_MS + 42_001, Offset::Offset(43)),
        ("after all", FIRST_TIME_MS + 1_000_000, Offset::End),
    ] {
        let mut times = TopicPartitionList::new();
        times
            .add_partition_offset(&topic, 0, Offset::Offset(time_ms))
            .unwrap();
        let found = consumer.offsets_for_times(times, LIMIT).unwrap();
        let found = found.find_partition(&topic, 0).unwrap().offset();
        assert_eq!(found, expected, "{case}");
    }
    assert_eq!(client::watermarks(target.bootstrap(), &topic, 0), (0, 100));
}

fn out_of_range_is_told(target: &Target) {
    let topic = filled(target, "range", 10);
    for offset in [11, 1_000_000] {
        let consumer = client::consumer(target.bootstrap());
        client::assign(&consumer, &topic, 0, Offset::Offset(offset));
        // With `auto.offset.reset=error` librdkafka tells what the broker said.
        let code = wait::until("an error for an offset past the end", LIMIT, || {
            let error = consumer.poll(Duration::from_millis(100))?.err()?;
            error.rdkafka_error_code()
        });
        assert_eq!(code, RDKafkaErrorCode::AutoOffsetReset, "offset {offset}");
    }
    // The end itself is a good place: it waits there.
    let consumer = client::consumer(target.bootstrap());
    client::assign(&consumer, &topic, 0, Offset::Offset(10));
    assert!(consumer.poll(Duration::from_millis(500)).is_none());
}

fn send_one(target: &Target, topic: &str, value: &str) {
    let producer: FutureProducer = client::producer_config(target.bootstrap())
        .create()
        .unwrap();
    let record = FutureRecord::<(), str>::to(topic)
        .partition(0)
        .payload(value);
    futures::executor::block_on(producer.send(record, LIMIT)).unwrap();
}

fn next(consumer: &BaseConsumer) -> (i64, String) {
    let message = consumer.poll(LIMIT).expect("a record in time").unwrap();
    (
        message.offset(),
        String::from_utf8_lossy(message.payload().unwrap()).into_owned(),
    )
}

fn a_waiting_consumer_is_woken(target: &Target) {
    let topic = filled(target, "woken", 1);
    // A wait longer than the test: only a wake-up delivers in time.
    let settings = [("fetch.wait.max.ms", "20000"), ("fetch.min.bytes", "1")];
    let consumer = client::consumer_with(target.bootstrap(), &settings);
    client::assign(&consumer, &topic, 0, Offset::Beginning);
    assert_eq!(next(&consumer), (0, "0".to_owned()));
    // The fetch that follows is parked at the broker when the record arrives.
    assert!(consumer.poll(Duration::from_millis(300)).is_none());
    let start = wait::now();
    send_one(target, &topic, "wake up");
    assert_eq!(next(&consumer), (1, "wake up".to_owned()));
    let took = start.elapsed();
    assert!(took < Duration::from_secs(10), "woken after {took:?}");
}

fn two_clients_follow_each_other(target: &Target) {
    let (ping, pong) = (filled(target, "ping", 0), filled(target, "pong", 0));
    let (hear_ping, hear_pong) = (
        client::consumer(target.bootstrap()),
        client::consumer(target.bootstrap()),
    );
    client::assign(&hear_ping, &ping, 0, Offset::Beginning);
    client::assign(&hear_pong, &pong, 0, Offset::Beginning);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..5 {
                let (offset, text) = next(&hear_ping);
                assert_eq!((offset, text.as_str()), (round, round.to_string().as_str()));
                send_one(target, &pong, &text);
            }
        });
        for round in 0..5 {
            send_one(target, &ping, &round.to_string());
            assert_eq!(next(&hear_pong), (round, round.to_string()));
        }
    });
}

fn a_consumer_creates_no_topic(target: &Target) {
    let topic = target.topic("never-made");
    let consumer = client::consumer(target.bootstrap());
    client::assign(&consumer, &topic, 0, Offset::Beginning);
    // librdkafka gives a topic 30 s to become known (topic.metadata.propagation.max.ms).
    let code = wait::until("an error for an unknown topic", 2 * LIMIT, || {
        let error = consumer.poll(Duration::from_millis(100))?.err()?;
        error.rdkafka_error_code()
    });
    assert_eq!(code, RDKafkaErrorCode::UnknownTopicOrPartition);
    let all = consumer.fetch_metadata(None, LIMIT).unwrap();
    assert!(all.topics().iter().all(|known| known.name() != topic));
}
