//! Three agents over one store are one cluster: any of them can die, pause or be replaced under load, and
//! no application hears of it.
//!
//! `FLOE_TEST_KILL_ROUNDS` sets the rounds of each kind of trouble, as in the kill -9 loop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::components::postgres::Postgres;
use floe_tests::components::s3::S3;
use floe_tests::config;
use floe_tests::fleet::{Fleet, Stalls};
use floe_tests::sandbox::Setup;
use floe_tests::say::say;
use floe_tests::steady::Steady;
use floe_tests::wait;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::target::BINARY;

const TOPIC: &str = "shared";
const PARTITIONS: i32 = 3;
pub(crate) const AGENTS: usize = 3;
const LIMIT: Duration = Duration::from_secs(60);

/// What a stock producer sends beside the troubles.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    /// Records between pauses of 5 ms.
    burst: usize,
    /// Records unacknowledged at most.
    waiting_max: i32,
    /// Bytes of a record, from and below.
    sizes: (usize, usize),
    /// Acknowledgements after each trouble before the next.
    progress: usize,
}

/// Enough to see every stall, and little beside it.
const STEADY: Load = Load {
    burst: 20,
    waiting_max: 2_000,
    sizes: (20, 2_000),
    progress: 300,
};

/// As much as the test can keep account of.
const FULL: Load = Load {
    burst: 1_000,
    waiting_max: 50_000,
    sizes: (20, 200),
    progress: 50_000,
};

pub(crate) fn on_s3() -> Setup {
    Setup::on_bucket(BINARY, &S3::shared().create_bucket())
}

/// Runs `trouble` again and again beside a stock producer, then reads everything back.
pub(crate) fn troubled(
    what: &str,
    setup: &Setup,
    trouble: impl FnMut(&mut Fleet, &mut SmallRng) + Send,
) -> Stalls {
    troubled_under(STEADY, what, setup, trouble)
}

/// The same under another load.
fn troubled_under(
    load: Load,
    what: &str,
    setup: &Setup,
    mut trouble: impl FnMut(&mut Fleet, &mut SmallRng) + Send,
) -> Stalls {
    let mut fleet = Fleet::start(setup, AGENTS);
    let bootstrap = fleet.bootstrap();
    client::create_topic(&bootstrap, TOPIC, PARTITIONS);
    let recorder = Recorder::default();
    let (stop, mut stalls) = (AtomicBool::new(false), Stalls::default());
    let mut random = SmallRng::seed_from_u64(4);
    let rounds = config::kill_rounds();
    std::thread::scope(|scope| {
        let steady = scope.spawn(|| stock_producer(load, &bootstrap, &recorder, &stop));
        let stop_at_end = StopAtEnd(&stop);
        wait::until("the first acknowledgements", LIMIT, || {
            (recorder.acked() >= load.progress).then_some(())
        });
        for _ in 0..rounds {
            wait::pause(Duration::from_millis(random.random_range(0..400)));
            stalls.during(&recorder, load.progress, LIMIT, || {
                trouble(&mut fleet, &mut random)
            });
        }
        drop(stop_at_end);
        steady.join().unwrap();
    });
    recorder.read_back(&bootstrap, TOPIC);
    let mut sent = 0;
    for (partition, history) in recorder.lock().iter() {
        checker::check(history).expect_clean(&format!("{what}, partition {partition}"));
        sent += history.sent.len();
    }
    assert_eq!(recorder.acked(), sent, "no error reached the application");
    let (median, p99, longest) = stalls.figures();
    say(&format!(
        "{what}: {rounds} rounds, {sent} records, none lost, doubled or reordered; longest time without \
         an acknowledgement per round: median {median} ms, p99 {p99} ms, longest {longest} ms"
    ));
    stalls
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn stock_producer(load: Load, bootstrap: &str, recorder: &Recorder, stop: &AtomicBool) {
    let config = client::producer_config(bootstrap);
    let mut producer = RecordingProducer::new(&config, TOPIC, 0, recorder);
    let mut random = SmallRng::seed_from_u64(1);
    while !stop.load(Ordering::SeqCst) {
        for _ in 0..load.burst {
            if producer.waiting() < load.waiting_max {
                let partition = random.random_range(0..PARTITIONS);
                producer.send(partition, random.random_range(load.sizes.0..load.sizes.1));
            }
        }
        wait::pause(Duration::from_millis(5));
    }
    producer
        .flush(LIMIT)
        .expect("the cluster acknowledges what waits");
    assert_eq!(producer.fatal_error(), None);
}

#[test]
fn any_agent_is_killed_on_a_folder() {
    let setup = Setup::on_folder(BINARY);
    troubled(
        "kill -9 of any of 3 agents on a folder",
        &setup,
        |fleet, random| {
            let brokers = fleet.brokers();
            let which = random.random_range(0..brokers.len());
            brokers[which].kill();
            brokers[which].restart();
        },
    );
}

#[test]
fn any_process_is_killed_under_full_load() {
    troubled_under(
        FULL,
        "kill -9 of any of 3 agents on S3 under full load",
        &on_s3(),
        |fleet, random| {
            let brokers = fleet.brokers();
            let which = random.random_range(0..brokers.len());
            brokers[which].kill();
            wait::pause(Duration::from_millis(random.random_range(0..1_000)));
            brokers[which].restart();
        },
    );
}

#[test]
fn the_agent_of_a_client_is_killed() {
    troubled("kill -9 of a client's agent on S3", &on_s3(), |fleet, _| {
        let leader = fleet.leader(TOPIC);
        fleet.brokers()[leader].kill();
        fleet.wait_for(AGENTS - 1);
        fleet.brokers()[leader].restart();
        fleet.wait_for(AGENTS);
    });
}

#[test]
fn the_agent_of_a_java_client_is_killed() {
    let mut fleet = Fleet::start(&on_s3(), AGENTS);
    let bootstrap = fleet.bootstrap();
    client::create_topic(&bootstrap, TOPIC, PARTITIONS);
    let Some(java) = Steady::java(&bootstrap, TOPIC, PARTITIONS) else {
        return;
    };
    java.progress(STEADY.progress, LIMIT);
    let rounds = config::kill_rounds();
    let (mut stalls, mut seen) = (Vec::new(), java.stalls().len());
    for _ in 0..rounds {
        // Java goes to the leader it is told only when it next asks: seldom.
        let written_to = fleet.written_to();
        fleet.brokers()[written_to].kill();
        fleet.wait_for(AGENTS - 1);
        fleet.brokers()[written_to].restart();
        fleet.wait_for(AGENTS);
        java.progress(STEADY.progress, LIMIT);
        let all = java.stalls();
        let longest = all[seen..].iter().max().copied();
        stalls.push(longest.unwrap_or_default().as_millis());
        seen = all.len();
    }
    let records = java.finish();
    say(&format!(
        "kill -9 of a Java client's agent on S3: {rounds} rounds, {records} records, none lost, doubled or \
         reordered; longest time without an acknowledgement per round, in ms: {stalls:?}"
    ));
}

#[test]
fn the_owner_is_killed() {
    troubled("kill -9 of the owner on S3", &on_s3(), kill_owner);
}

#[test]
fn the_owner_is_killed_with_postgres() {
    let Some(postgres) = Postgres::shared() else {
        return;
    };
    let schema = postgres.create_schema();
    let setup = on_s3().variable("FLOE_METADATA", schema.url());
    troubled(
        "kill -9 of the owner on S3 with PostgreSQL",
        &setup,
        kill_owner,
    );
}

fn kill_owner(fleet: &mut Fleet, _: &mut SmallRng) {
    let owner = fleet.owner();
    fleet.brokers()[owner].kill();
    fleet.owner();
    fleet.brokers()[owner].restart();
    fleet.wait_for(AGENTS);
}

#[test]
fn a_paused_owner_acknowledges_nothing_when_it_goes_on() {
    troubled("SIGSTOP of the owner on S3", &on_s3(), |fleet, _| {
        let paused = fleet.owner();
        fleet.brokers()[paused].process().pause();
        let next = wait::until("another owner", LIMIT, || {
            let owner = fleet.owner();
            (owner != paused).then_some(owner)
        });
        assert_ne!(next, paused);
        fleet.brokers()[paused].process().resume();
        wait::until("the paused one to follow", LIMIT, || {
            (fleet.owner() == next).then_some(())
        });
        fleet.wait_for(AGENTS);
    });
}

#[test]
fn all_are_replaced_one_after_the_other() {
    troubled("rolling restart on S3", &on_s3(), |fleet, _| {
        for broker in fleet.brokers() {
            let status = broker.terminate();
            assert_eq!(status.code(), Some(0), "{}", broker.process().text());
            broker.restart();
        }
        fleet.wait_for(AGENTS);
    });
}

#[test]
fn roles_can_be_apart() {
    let setup = Setup::on_folder(BINARY);
    let mut keeper = setup.clone().arg("--roles").arg("metadata").start();
    let agents = setup.arg("--roles").arg("agent,compaction");
    let fleet = Fleet::start_beside(&agents, 2, 1);
    let bootstrap = fleet.bootstrap();
    client::create_topic(&bootstrap, TOPIC, PARTITIONS);
    let recorder = Recorder::default();
    let config = client::producer_config(&bootstrap);
    let mut producer = RecordingProducer::new(&config, TOPIC, 0, &recorder);
    (0..500).for_each(|number| producer.send(number % PARTITIONS, 100));
    producer.flush(LIMIT).unwrap();
    keeper.kill();
    (0..500).for_each(|number| producer.send(number % PARTITIONS, 100));
    wait::pause(Duration::from_secs(1));
    assert_eq!(recorder.acked(), 500, "nobody orders records now");
    keeper.restart();
    producer.flush(LIMIT).unwrap();
    recorder.read_back(&bootstrap, TOPIC);
    for history in recorder.lock().values() {
        checker::check(history).expect_clean("roles apart");
    }
    assert_eq!(recorder.acked(), 1000);
}

#[test]
fn from_three_to_none_and_back() {
    let setup = on_s3();
    let mut fleet = Fleet::start(&setup, AGENTS);
    let bootstrap = fleet.bootstrap();
    client::create_topic(&bootstrap, TOPIC, PARTITIONS);
    let recorder = Recorder::default();
    for round in 0..2 {
        let config = client::producer_config(&bootstrap);
        let mut producer = RecordingProducer::new(&config, TOPIC, round, &recorder);
        (0..500).for_each(|number| producer.send(number % PARTITIONS, 100));
        producer.flush(LIMIT).unwrap();
        for broker in fleet.brokers() {
            let status = broker.terminate();
            assert_eq!(status.code(), Some(0), "{}", broker.process().text());
        }
        let ready: Vec<_> = fleet
            .brokers()
            .iter_mut()
            .map(|broker| broker.restart())
            .collect();
        fleet.wait_for(AGENTS);
        say(&format!("from none to three on S3: ready after {ready:?}"));
    }
    recorder.read_back(&bootstrap, TOPIC);
    for history in recorder.lock().values() {
        checker::check(history).expect_clean("from three to none and back");
    }
    assert_eq!(recorder.acked(), 1000);
}
