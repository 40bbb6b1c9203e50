//! Stock clients behind the balancer's one address, while agents are killed, restarted, stopped and
//! scaled to none and back: nothing acknowledged is lost or doubled.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::say::say;
use floe_tests::steady::Steady;
use floe_tests::wait;

use crate::stack::{Parts, Stack};

const TOPIC: &str = "balanced";
const PARTITIONS: i32 = 4;
const AGENTS: usize = 3;
/// Acknowledgements that each step waits for.
const PROGRESS: usize = 500;
/// Records that the producer leaves unacknowledged at most.
const WAITING_MAX: i32 = 2_000;
const BURST: usize = 20;
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn records_survive_kills_and_scaling_to_none_behind_one_address() {
    let Some(parts) = Parts::or_skip() else {
        return;
    };
    live_through_everything(&Stack::up(parts, &["compose.yaml"]));
}

#[test]
fn records_survive_with_metadata_in_postgres() {
    let Some(parts) = Parts::with_postgres_or_skip() else {
        return;
    };
    let files = ["compose.yaml", "compose.postgres.yaml"];
    live_through_everything(&Stack::up(parts, &files));
}

/// Three applications with stock clients: the newest librdkafka, an old one, and Java.
fn live_through_everything(stack: &Stack) {
    let bootstrap = stack.bootstrap();
    let topics = [TOPIC, "old-librdkafka", "java"];
    for topic in topics {
        client::create_topic(&bootstrap, topic, PARTITIONS);
    }
    let applications: Vec<Steady> = [
        Steady::librdkafka_2_5(&bootstrap, topics[1], PARTITIONS),
        Steady::java(&bootstrap, topics[2], PARTITIONS),
    ]
    .into_iter()
    .flatten()
    .collect();

    let recorder = Recorder::default();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(&bootstrap, &recorder, &stop));
        // However the steps end, the producer must, or the scope waits for it for ever.
        let stop_at_end = StopAtEnd(&stop);
        steps(stack, |after| {
            progress(&recorder, after);
            for application in &applications {
                application.progress(PROGRESS, LIMIT);
            }
        });
        drop(stop_at_end);
        producer.join().unwrap();
    });
    recorder.read_back(&bootstrap, TOPIC);
    let mut sent = 0;
    for (partition, history) in recorder.lock().iter() {
        checker::check(history).expect_clean(&format!("partition {partition}"));
        sent += history.sent.len();
    }
    assert_eq!(recorder.acked(), sent);
    let mut accounts = format!("librdkafka {sent} records");
    for application in applications {
        let name = application.name();
        let longest = application.stalls().into_iter().max();
        let records = application.finish();
        write!(
            accounts,
            "; {name} {records} records, longest stall {longest:?}"
        )
        .unwrap();
    }
    say(&format!(
        "behind one address: {accounts}; none lost, doubled or reordered"
    ));
}

fn steps(stack: &Stack, progress: impl Fn(&str)) {
    progress("a start");
    let agents = stack.agents();
    assert_eq!(agents.len(), AGENTS);
    for agent in &agents {
        stack.kill(agent);
        progress("the kill of one agent");
        stack.restart(agent);
        stack.await_ready(agent);
        progress("its restart");
    }
    // One of them owns the metadata.
    for agent in &agents {
        stack.cut_off(agent);
        progress("cutting off one agent");
        stack.plug_in(agent);
        stack.await_ready(agent);
        progress("plugging it in again");
    }
    assert_eq!(stack.stop(&agents[0]), "0", "exit code after SIGTERM");
    progress("the stop of one agent");
    stack.scale(0);
    // Clients are refused, and try again.
    stack.scale(AGENTS);
    progress("none and back");
}

fn progress(recorder: &Recorder, after: &str) {
    let before = recorder.acked();
    let started = wait::now();
    wait::until(&format!("acknowledgements after {after}"), LIMIT, || {
        (recorder.acked() >= before + PROGRESS).then_some(())
    });
    let took = started.elapsed().as_millis();
    say(&format!(
        "{PROGRESS} acknowledgements after {after}: {took} ms"
    ));
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One stock idempotent producer that lives through everything.
fn produce(bootstrap: &str, recorder: &Recorder, stop: &AtomicBool) {
    let config = client::producer_config(bootstrap);
    let mut producer = RecordingProducer::new(&config, TOPIC, 0, recorder);
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        for _ in 0..BURST {
            if producer.waiting() < WAITING_MAX {
                producer.send(number % PARTITIONS, 200);
                number = (number + 1) % 1_000_000;
            }
        }
        wait::pause(Duration::from_millis(5));
    }
    producer
        .flush(LIMIT)
        .expect("ready agents acknowledge what waits");
    assert_eq!(producer.fatal_error(), None);
}
