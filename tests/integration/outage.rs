//! The store goes away while the broker runs, or takes what it is given and does not say so.

use std::time::Duration;

use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::components::s3::S3;
use floe_tests::proxy::{Faults, Proxy};
use floe_tests::sandbox::{Sandbox, Setup};
use floe_tests::wait;

use crate::target::BINARY;

const LIMIT: Duration = Duration::from_secs(60);

/// A broker whose way to the store leads through a proxy.
fn behind_proxy() -> (Sandbox, Proxy) {
    let s3 = S3::shared();
    let bucket = s3.create_bucket();
    let proxy = Proxy::start(s3.address()).unwrap();
    let environment = bucket.environment_through(proxy.address());
    let broker = Setup::on_bucket(BINARY, &bucket)
        .environment(environment)
        .start();
    (broker, proxy)
}

fn check_all(broker: &Sandbox, recorder: &Recorder, topic: &str) -> usize {
    recorder.read_back(&broker.bootstrap(), topic);
    let histories = recorder.lock();
    histories
        .values()
        .map(|history| checker::check(history).expect_clean(topic).acked)
        .sum()
}

#[test]
fn records_wait_for_the_store_to_come_back() {
    let (mut broker, proxy) = behind_proxy();
    client::create_topic(&broker.bootstrap(), "outage", 2);
    let recorder = Recorder::default();
    let config = client::producer_config(&broker.bootstrap());
    let mut producer = RecordingProducer::new(&config, "outage", 0, &recorder);
    let mut send = |count: usize| {
        (0..count).for_each(|_| (0..2).for_each(|partition| producer.send(partition, 1_000)));
    };
    send(500);
    wait::until("acknowledgements", LIMIT, || {
        (recorder.acked() == 1_000).then_some(())
    });

    proxy.set_faults(Faults {
        cut: true,
        ..Faults::default()
    });
    send(500);
    // Nothing is acknowledged that is not stored, however long it takes.
    let acked = wait::within(Duration::from_secs(5), || {
        Some(recorder.acked()).filter(|acked| *acked > 1_000)
    });
    assert_eq!(acked, None, "acknowledged without a store");
    assert_eq!(broker.process().try_wait(), None, "the broker lives on");
    assert_eq!(broker.http_get("/livez").0, 200);

    proxy.set_faults(Faults::default());
    producer
        .flush(LIMIT)
        .expect("all is acknowledged once the store is back");
    assert_eq!(producer.fatal_error(), None);
    assert_eq!(check_all(&broker, &recorder, "outage"), 2_000);
}

#[test]
fn an_answer_that_is_lost_loses_and_doubles_nothing() {
    let (broker, proxy) = behind_proxy();
    client::create_topic(&broker.bootstrap(), "silent", 2);
    let recorder = Recorder::default();
    let config = client::producer_config(&broker.bootstrap());
    let mut producer = RecordingProducer::new(&config, "silent", 0, &recorder);
    for _ in 0..5 {
        // Every PUT lands and none is confirmed, for the time of some flushes.
        proxy.set_faults(Faults {
            lose_answers: vec!["PUT"],
            ..Faults::default()
        });
        (0..200).for_each(|_| (0..2).for_each(|partition| producer.send(partition, 1_000)));
        let puts = proxy.requests().get("PUT").copied().unwrap_or(0);
        wait::until("PUTs whose answers are lost", LIMIT, || {
            (proxy.requests().get("PUT").copied().unwrap_or(0) >= puts + 3).then_some(())
        });
        proxy.set_faults(Faults::default());
        producer
            .flush(LIMIT)
            .expect("all is acknowledged once the store answers");
    }
    assert_eq!(producer.fatal_error(), None);
    assert_eq!(check_all(&broker, &recorder, "silent"), 2_000);
}

#[test]
fn a_slow_store_slows_and_breaks_nothing() {
    let (broker, proxy) = behind_proxy();
    proxy.delay_puts(Duration::from_millis(60));
    client::create_topic(&broker.bootstrap(), "slow", 4);
    let recorder = Recorder::default();
    let config = client::producer_config(&broker.bootstrap());
    let mut producer = RecordingProducer::new(&config, "slow", 0, &recorder);
    (0..2_000).for_each(|_| (0..4).for_each(|partition| producer.send(partition, 1_000)));
    producer.flush(LIMIT).expect("all is acknowledged");
    assert_eq!(check_all(&broker, &recorder, "slow"), 8_000);
}
