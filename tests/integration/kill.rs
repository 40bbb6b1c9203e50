//! kill -9 under a pipelined idempotent producer, again and again: what was acknowledged is there,
//! once, in order, at its offset, after every restart.
//!
//! `FLOE_TEST_KILL_ROUNDS` sets the rounds for each store; 50 of them are the documented run:
//! `FLOE_TEST_KILL_ROUNDS=50 cargo test -p floe-tests --test integration kill`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::components::postgres::Postgres;
use floe_tests::components::s3::S3;
use floe_tests::components::{azurite, gcs};
use floe_tests::config;
use floe_tests::sandbox::{Sandbox, Setup};
use floe_tests::say::say;
use floe_tests::wait;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::target::BINARY;

const TOPIC: &str = "killed";
const PARTITIONS: i32 = 3;

/// Acknowledgements that each round waits for before it kills.
const PROGRESS: usize = 300;

/// Records that the long-lived producer leaves unacknowledged at most.
const WAITING_MAX: i32 = 2_000;

/// Records that it sends before a pause of 5 ms: what comes in during a check must stay little beside what is
/// checked, or every round takes longer than the one before.
const BURST: usize = 20;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn on_folder() {
    kill_loop("folder", Setup::on_folder(BINARY));
}

#[test]
fn on_s3() {
    let bucket = S3::shared().create_bucket();
    kill_loop("S3", Setup::on_bucket(BINARY, &bucket));
}

#[test]
fn on_s3_with_postgres() {
    let Some(postgres) = Postgres::shared() else {
        return;
    };
    let (bucket, schema) = (S3::shared().create_bucket(), postgres.create_schema());
    let setup = Setup::on_bucket(BINARY, &bucket).variable("FLOE_METADATA", schema.url());
    kill_loop("S3 with PostgreSQL", setup);
}

#[test]
fn on_google_cloud_storage() {
    if let Some(bucket) = gcs::bucket_or_skip() {
        let setup = Setup::on_emulated(BINARY, &bucket);
        kill_loop("Google Cloud Storage", setup);
    }
}

#[test]
fn on_azure() {
    if let Some(container) = azurite::container_or_skip() {
        kill_loop("Azure", Setup::on_emulated(BINARY, &container));
    }
}

fn kill_loop(store: &str, setup: Setup) {
    let rounds = config::kill_rounds();
    let mut broker = setup.start();
    let bootstrap = broker.bootstrap();
    client::create_topic(&bootstrap, TOPIC, PARTITIONS);
    let recorder = Recorder::default();
    let stop = AtomicBool::new(false);
    let mut ready_ms = Vec::new();
    std::thread::scope(|scope| {
        let steady = scope.spawn(|| steady_producer(&bootstrap, &recorder, &stop));
        // However the rounds end, the producer must, or the scope waits for it for ever.
        let stop_at_end = StopAtEnd(&stop);
        for round in 0..rounds {
            ready_ms.push(one_round(&mut broker, &recorder, round));
            read_and_check(&bootstrap, &recorder, &format!("{store}, round {round}"));
        }
        drop(stop_at_end);
        steady.join().unwrap();
    });
    read_and_check(&bootstrap, &recorder, &format!("{store}, at the end"));
    let sent: usize = recorder
        .lock()
        .values()
        .map(|history| history.sent.len())
        .sum();
    // Every outcome is known in the end, and every one of them is good.
    assert_eq!(recorder.acked(), sent);
    ready_ms.sort_unstable();
    say(&format!(
        "kill -9 on {store}: {rounds} rounds, {sent} records, none lost, doubled or reordered; \
         ready again after {} ms (median), {} ms (worst)",
        ready_ms.get(ready_ms.len() / 2).copied().unwrap_or(0),
        ready_ms.last().copied().unwrap_or(0),
    ));
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One stock producer that lives through all the kills, with many requests always under way.
fn steady_producer(bootstrap: &str, recorder: &Recorder, stop: &AtomicBool) {
    let config = client::producer_config(bootstrap);
    let mut producer = RecordingProducer::new(&config, TOPIC, 0, recorder);
    let mut random = SmallRng::seed_from_u64(1);
    while !stop.load(Ordering::SeqCst) {
        for _ in 0..BURST {
            if producer.waiting() < WAITING_MAX {
                producer.send(
                    random.random_range(0..PARTITIONS),
                    random.random_range(20..2_000),
                );
            }
        }
        wait::pause(Duration::from_millis(5));
    }
    producer
        .flush(LIMIT)
        .expect("a healthy broker acknowledges what waits");
    assert_eq!(producer.fatal_error(), None);
}

/// Waits for progress, kills at a moment of chance, starts again. Returns the time to ready in ms.
fn one_round(broker: &mut Sandbox, recorder: &Recorder, round: usize) -> u128 {
    let seed = u64::try_from(round).unwrap();
    let mut random = SmallRng::seed_from_u64(seed);
    let before = recorder.acked();
    // A producer that is new in each round: ids must not be given out twice.
    let config = client::producer_config(&broker.bootstrap());
    let number = u32::try_from(round).unwrap() + 1;
    let mut newcomer = RecordingProducer::new(&config, TOPIC, number, recorder);
    (0..50).for_each(|_| newcomer.send(0, 100));
    wait::until("acknowledgements under load", LIMIT, || {
        (recorder.acked() >= before + PROGRESS).then_some(())
    });
    wait::pause(Duration::from_millis(random.random_range(0..400)));
    broker.kill();
    let ready = broker.restart();
    newcomer
        .flush(LIMIT)
        .expect("its records are acknowledged after the restart");
    assert_eq!(newcomer.fatal_error(), None);
    ready.as_millis()
}

/// Reads everything, checks it against all acknowledgements and the pass before.
fn read_and_check(bootstrap: &str, recorder: &Recorder, what: &str) {
    recorder.read_back(bootstrap, TOPIC);
    for (partition, history) in recorder.lock().iter_mut() {
        checker::check(history).expect_clean(&format!("{what}, partition {partition}"));
        // Two passes that agree with the acknowledgements and with each other are kept as one.
        let last = history.reads.len().saturating_sub(1);
        history.reads.drain(..last);
    }
}
