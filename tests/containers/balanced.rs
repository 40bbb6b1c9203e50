//! A stock client behind the balancer's one address, while agents are killed, restarted, stopped and
//! scaled to none and back: nothing acknowledged is lost or doubled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::say::say;
use floe_tests::wait;

use crate::stack::{Images, Stack};

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
    let Some(images) = Images::or_skip() else {
        return;
    };
    let mut stack = Stack::start(images);
    let agents: Vec<usize> = (0..AGENTS).map(|_| stack.add_agent()).collect();
    agents.iter().for_each(|agent| stack.await_ready(*agent));
    let bootstrap = stack.bootstrap();
    client::create_topic(&bootstrap, TOPIC, PARTITIONS);

    let recorder = Recorder::default();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(&bootstrap, &recorder, &stop));
        // However the steps end, the producer must, or the scope waits for it for ever.
        let stop_at_end = StopAtEnd(&stop);
        steps(&stack, &agents, &recorder);
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
    say(&format!(
        "{AGENTS} agents behind a balancer: {sent} records, none lost, doubled or reordered"
    ));
}

fn steps(stack: &Stack, agents: &[usize], recorder: &Recorder) {
    progress(recorder, "a start");
    for agent in agents {
        stack.kill(*agent);
        progress_where_others_run(recorder, agents);
        stack.restart(*agent);
        stack.await_ready(*agent);
        progress(recorder, "a kill and a restart");
    }
    let last = &agents[AGENTS - 1..];
    assert_eq!(stack.stop(last), ["0"], "exit code after SIGTERM");
    progress_where_others_run(recorder, agents);
    let rest = &agents[..AGENTS - 1];
    assert!(stack.stop(rest).iter().all(|code| code == "0"));
    // None is left; clients are refused and try again.
    agents.iter().for_each(|agent| stack.restart(*agent));
    agents.iter().for_each(|agent| stack.await_ready(*agent));
    progress(recorder, "none and back");
}

fn progress_where_others_run(recorder: &Recorder, agents: &[usize]) {
    if agents.len() > 1 {
        progress(recorder, "the end of one agent");
    }
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
