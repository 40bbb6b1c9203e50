//! SIGTERM under load: the broker finishes what it began, and no application hears of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::components::s3::S3;
use floe_tests::sandbox::Setup;
use floe_tests::wait;

use crate::target::BINARY;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn on_folder() {
    drain_under_load(Setup::on_folder(BINARY));
}

#[test]
fn on_s3() {
    let bucket = S3::shared().create_bucket();
    drain_under_load(Setup::on_bucket(BINARY, &bucket));
}

fn drain_under_load(setup: Setup) {
    let mut broker = setup.start();
    let bootstrap = broker.bootstrap();
    client::create_topic(&bootstrap, "drained", 2);
    let recorder = Recorder::default();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let producing = scope.spawn(|| {
            let config = client::producer_config(&bootstrap);
            let mut producer = RecordingProducer::new(&config, "drained", 0, &recorder);
            while !stop.load(Ordering::SeqCst) {
                if producer.waiting() < 1_000 {
                    (0..2).for_each(|partition| producer.send(partition, 500));
                } else {
                    wait::pause(Duration::from_millis(1));
                }
            }
            producer
                .flush(LIMIT)
                .expect("all is acknowledged in the end");
            assert_eq!(producer.fatal_error(), None);
        });
        let drained = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..2 {
                let before = recorder.acked();
                wait::until("acknowledgements under load", LIMIT, || {
                    (recorder.acked() >= before + 2_000).then_some(())
                });
                let status = broker.terminate();
                assert_eq!(
                    status.code(),
                    Some(0),
                    "round {round}: {}",
                    broker.process().text()
                );
                broker.restart();
            }
        }));
        stop.store(true, Ordering::SeqCst);
        producing.join().unwrap();
        drained.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    recorder.read_back(&bootstrap, "drained");
    for (partition, history) in recorder.lock().iter() {
        let verdict = checker::check(history).expect_clean(&format!("partition {partition}"));
        assert_eq!(
            verdict.acked,
            history.sent.len(),
            "every send was acknowledged"
        );
    }
}

/// A client that waits in a long poll does not hold a drain up.
#[test]
fn a_parked_fetch_does_not_delay_the_end() {
    use rdkafka::Offset;
    use rdkafka::consumer::Consumer;

    let mut broker = Setup::on_folder(BINARY).start();
    client::create_topic(&broker.bootstrap(), "parked", 1);
    let consumer = client::consumer_with(&broker.bootstrap(), &[("fetch.wait.max.ms", "60000")]);
    client::assign(&consumer, "parked", 0, Offset::Beginning);
    assert!(consumer.poll(Duration::from_millis(500)).is_none());
    assert_eq!(consumer.assignment().unwrap().count(), 1);
    assert_eq!(broker.terminate().code(), Some(0));
}
