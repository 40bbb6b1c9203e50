//! What lies between clients and brokers: balancers that end idle connections, names that nobody knows.

use std::net::TcpListener;
use std::time::Duration;

use floe_tests::cable::Cable;
use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::program::Program;
use floe_tests::sandbox::Setup;
use floe_tests::wait;
use rdkafka::Offset;
use rdkafka::consumer::Consumer;

use crate::target::BINARY;

const TOPIC: &str = "cut";
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn idle_connections_are_ended_by_a_balancer() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = port.local_addr().unwrap();
    drop(port);
    let balancer = Cable::start(listen).unwrap();
    let address = balancer.address().to_string();
    let setup = Setup::on_folder(BINARY).listen(listen);
    let _broker = setup.arg("--advertise").arg(&address).start();
    client::create_topic(&address, TOPIC, 1);

    let recorder = Recorder::default();
    let mut producer =
        RecordingProducer::new(&client::producer_config(&address), TOPIC, 0, &recorder);
    let consumer = client::consumer(&address);
    client::assign(&consumer, TOPIC, 0, Offset::Beginning);
    for round in 0..10 {
        (0..10).for_each(|_| producer.send(0, 50));
        producer.flush(LIMIT).unwrap();
        let mut taken = 0;
        wait::until("the records of a round", LIMIT, || {
            if let Some(Ok(_)) = consumer.poll(Duration::from_millis(20)) {
                taken += 1;
            }
            (taken == 10).then_some(())
        });
        assert_eq!(recorder.acked(), 10 * (round + 1));
        // The consumer waits in a fetch or is about to, the producer is silent.
        balancer.cut();
    }
    assert_eq!(producer.fatal_error(), None);
    recorder.read_back(&address, TOPIC);
    checker::check(recorder.lock().get(&0).unwrap()).expect_clean("cut connections");
    consumer.unsubscribe();
}

#[test]
fn a_name_that_nobody_can_resolve_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Program::new(BINARY)
        .args([
            "start",
            "--store",
            &format!("file:{}", folder.path().display()),
        ])
        .args(["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        .args(["--advertise", "no-such-host.invalid:9092"])
        .spawn();
    let said = broker.wait_for_line(LIMIT, |line| {
        let words = ["no-such-host.invalid:9092", "cannot resolve", "--advertise"];
        words.iter().all(|word| line.contains(word)).then_some(())
    });
    said.unwrap();
}
