//! Producers of librdkafka with their defaults: order, codecs, acknowledgements, sizes.

use std::time::Duration;

use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::history::Outcome;
use rdkafka::Offset;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::target::Target;

const SEND_LIMIT: Duration = Duration::from_secs(60);

on_each_store!(
    pipelined_producers_keep_order_and_lose_nothing,
    records_come_back_as_they_were_sent,
    a_topic_creates_itself,
    acks,
    record_sizes,
);

/// Checks every partition of a recorder and returns the number of acknowledged records.
fn expect_clean(recorder: &Recorder) -> usize {
    let histories = recorder.lock();
    let verdicts = histories.iter().map(|(partition, history)| {
        checker::check(history).expect_clean(&format!("partition {partition}"))
    });
    verdicts.map(|verdict| verdict.acked).sum()
}

fn pipelined_producers_keep_order_and_lose_nothing(target: &Target) {
    const PARTITIONS: i32 = 4;
    const EACH: usize = 2_000;
    let topic = target.topic("pipelined");
    client::create_topic(target.bootstrap(), &topic, PARTITIONS);
    let recorder = Recorder::default();
    std::thread::scope(|scope| {
        for number in 0..2 {
            let (topic, recorder) = (&topic, &recorder);
            scope.spawn(move || {
                let config = client::producer_config(target.bootstrap());
                let mut producer = RecordingProducer::new(&config, topic, number, recorder);
                for _ in 0..EACH {
                    (0..PARTITIONS).for_each(|partition| producer.send(partition, 200));
                }
                producer.flush(SEND_LIMIT).unwrap();
                assert_eq!(producer.fatal_error(), None);
            });
        }
    });
    recorder.read_back(target.bootstrap(), &topic);
    let expected = 2 * EACH * usize::try_from(PARTITIONS).unwrap();
    assert_eq!(expect_clean(&recorder), expected);
}

/// Key, value, headers and time of a record, as compared.
#[derive(Debug, PartialEq)]
struct Shape {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    time_ms: Option<i64>,
}

impl Shape {
    fn of(message: &OwnedMessage) -> Shape {
        let headers = message.headers().map_or(Vec::new(), |headers| {
            let own = |header: Header<'_, &[u8]>| {
                (header.key.to_owned(), header.value.map(<[u8]>::to_vec))
            };
            headers.iter().map(own).collect()
        });
        Shape {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
            time_ms: message.timestamp().to_millis(),
        }
    }

    fn send(&self, producer: &FutureProducer, topic: &str) -> rdkafka::producer::DeliveryFuture {
        let mut record = FutureRecord::<[u8], [u8]>::to(topic).partition(0);
        record.key = self.key.as_deref();
        record.payload = self.value.as_deref();
        record.timestamp = self.time_ms;
        let insert = |headers: OwnedHeaders, (key, value): &(String, Option<Vec<u8>>)| {
            headers.insert(Header {
                key,
                value: value.as_ref(),
            })
        };
        record.headers = Some(self.headers.iter().fold(OwnedHeaders::new(), insert));
        producer
            .send_result(record)
            .map_err(|(error, _)| error)
            .unwrap()
    }
}

/// Every combination of key and value, with none, one and two headers of one name.
fn shapes() -> Vec<Shape> {
    let bytes = [
        None,
        Some(Vec::new()),
        Some(vec![0, 255, 7]),
        Some(vec![b'x'; 3000]),
    ];
    let header = |value: &[u8]| ("name".to_owned(), Some(value.to_vec()));
    let headers = [vec![], vec![header(b"")], vec![header(b"1"), header(b"2")]];
    let mut shapes = Vec::new();
    for (k, key) in bytes.iter().enumerate() {
        for (v, value) in bytes.iter().enumerate() {
            shapes.push(Shape {
                key: key.clone(),
                value: value.clone(),
                headers: headers[(k + v) % headers.len()].clone(),
                time_ms: Some(1_700_000_000_000 + i64::try_from(10 * k + v).unwrap()),
            });
        }
    }
    shapes
}

fn records_come_back_as_they_were_sent(target: &Target) {
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = target.topic(codec);
        client::create_topic(target.bootstrap(), &topic, 1);
        let producer: FutureProducer = client::producer_config(target.bootstrap())
            .set("compression.type", codec)
            // One batch, so that the codec has something to do.
            .set("linger.ms", "50")
            .create()
            .unwrap();
        let sent = shapes();
        let reports: Vec<_> = sent
            .iter()
            .map(|shape| shape.send(&producer, &topic))
            .collect();
        for (offset, report) in (0..).zip(reports) {
            let delivery = futures::executor::block_on(report).unwrap().unwrap();
            assert_eq!(
                (delivery.partition, delivery.offset),
                (0, offset),
                "{codec}"
            );
        }
        let read = client::take(target.bootstrap(), &topic, 0, Offset::Beginning, sent.len());
        let read: Vec<Shape> = read.iter().map(Shape::of).collect();
        assert_eq!(read, sent, "{codec}");
    }
}

fn a_topic_creates_itself(target: &Target) {
    let topic = target.topic("unheard-of");
    let recorder = Recorder::default();
    let config = client::producer_config(target.bootstrap());
    let mut producer = RecordingProducer::new(&config, &topic, 0, &recorder);
    (0..10).for_each(|_| producer.send(0, 50));
    producer.flush(SEND_LIMIT).unwrap();
    recorder.read_back(target.bootstrap(), &topic);
    assert_eq!(expect_clean(&recorder), 10);
}

fn acks(target: &Target) {
    for acks in ["0", "1", "all"] {
        let topic = target.topic(&format!("acks-{acks}"));
        client::create_topic(target.bootstrap(), &topic, 1);
        let recorder = Recorder::default();
        let mut config = client::config(target.bootstrap());
        // One in flight, or order is not promised without idempotence.
        config.set("acks", acks).set("max.in.flight", "1");
        let mut producer = RecordingProducer::new(&config, &topic, 0, &recorder);
        (0..500).for_each(|_| producer.send(0, 100));
        producer.flush(SEND_LIMIT).unwrap();
        if acks == "0" {
            let sent: Vec<_> = recorder.lock()[&0].sent.values().copied().collect();
            assert_eq!(sent, [Outcome::Acked(None); 500]);
            // Reported when written to the socket; the broker stores them all the same.
            let topic = &topic;
            floe_tests::wait::until("500 records of acks=0", SEND_LIMIT, move || {
                (client::watermarks(target.bootstrap(), topic, 0) == (0, 500)).then_some(())
            });
            // They owe no offset.
            recorder
                .lock()
                .get_mut(&0)
                .unwrap()
                .sent
                .values_mut()
                .for_each(|outcome| {
                    *outcome = Outcome::Unknown;
                });
        }
        recorder.read_back(target.bootstrap(), &topic);
        let verdict = checker::check(&recorder.lock()[&0]).expect_clean(acks);
        assert_eq!(
            (verdict.acked + verdict.unknown_kept, verdict.delivered),
            (500, 500),
            "{acks}"
        );
    }
}

fn record_sizes(target: &Target) {
    let topic = target.topic("sizes");
    client::create_topic(target.bootstrap(), &topic, 1);
    // The client must let the large one through, or the broker never sees it.
    let producer: FutureProducer = client::producer_config(target.bootstrap())
        .set("message.max.bytes", "20000000")
        .create()
        .unwrap();
    let send = |size_bytes: usize| {
        let value = vec![b'v'; size_bytes];
        let record = FutureRecord::<(), Vec<u8>>::to(&topic)
            .partition(0)
            .payload(&value);
        futures::executor::block_on(producer.send(record, SEND_LIMIT)).map_err(|(error, _)| error)
    };
    // The default limit is 1,048,588 bytes with the batch's own 61 and the record's few.
    for size_bytes in [0, 1, 100_000, 1_048_000] {
        send(size_bytes).unwrap_or_else(|error| panic!("{size_bytes} bytes: {error}"));
    }
    for size_bytes in [1_048_588, 3_000_000] {
        let error = send(size_bytes).unwrap_err();
        let code = error.rdkafka_error_code();
        assert_eq!(
            code,
            Some(RDKafkaErrorCode::MessageSizeTooLarge),
            "{size_bytes} bytes"
        );
    }
    // And the producer goes on.
    send(10).unwrap();
    let read = client::take(target.bootstrap(), &topic, 0, Offset::Beginning, 5);
    let sizes: Vec<usize> = read
        .iter()
        .map(|message| message.payload().map_or(0, <[u8]>::len))
        .collect();
    assert_eq!(sizes, [0, 1, 100_000, 1_048_000, 10]);
}
