//! A broker whose metadata is in PostgreSQL, as a user starts it.

use std::time::Duration;

use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::components::postgres::{Postgres, Server};
use floe_tests::sandbox::Setup;

use crate::start::expect_refusal;
use crate::target::BINARY;

const TOPIC: &str = "kept-in-postgres";
const LIMIT: Duration = Duration::from_secs(60);

/// Sends records and waits until all are acknowledged.
fn produce(bootstrap: &str, recorder: &Recorder, producer: u32) {
    let config = client::producer_config(bootstrap);
    let mut producer = RecordingProducer::new(&config, TOPIC, producer, recorder);
    (0..200).for_each(|number| producer.send(number % 2, 100));
    producer.flush(LIMIT).expect("all is acknowledged");
}

/// Reads everything and checks it against what was acknowledged.
fn check(bootstrap: &str, recorder: &Recorder, what: &str) {
    recorder.read_back(bootstrap, TOPIC);
    for (partition, history) in recorder.lock().iter() {
        checker::check(history).expect_clean(&format!("{what}, partition {partition}"));
    }
}

#[test]
fn a_cluster_keeps_its_engine() {
    let Some(postgres) = Postgres::shared() else {
        return;
    };
    let schema = postgres.create_schema();
    let start = || Setup::on_folder(BINARY);
    let mut broker = start().variable("FLOE_METADATA", schema.url()).start();
    let store = broker.setup().store().to_owned();
    let recorder = Recorder::default();
    client::create_topic(&broker.bootstrap(), TOPIC, 2);
    produce(&broker.bootstrap(), &recorder, 1);
    assert!(broker.terminate().success());
    broker.restart();
    produce(&broker.bootstrap(), &recorder, 2);
    check(&broker.bootstrap(), &recorder, "after a drain");
    broker.kill();
    broker.restart();
    check(&broker.bootstrap(), &recorder, "after a kill");
    let secret = postgres.url().split(['@', ':']).nth(2).unwrap().to_owned();
    assert!(
        !broker.process().text().contains(&secret),
        "no password is logged"
    );
    broker.kill();

    let again = |metadata: &str| {
        Setup::on_store(BINARY, &store)
            .arg("--metadata")
            .arg(metadata)
    };
    let words = ["'postgres'", "'slatedb'", "--metadata"];
    expect_refusal("embedded", again("store:"), 1, &words);
    let other = postgres.create_schema();
    let words = ["does not hold the metadata", "--metadata"];
    expect_refusal("another database", again(&other.url()), 1, &words);
    schema.run("UPDATE floe_owner SET epoch = epoch - 2");
    let words = ["was set back", "epoch"];
    expect_refusal("an old copy", again(&schema.url()), 1, &words);

    let mut embedded = start().start();
    embedded.kill();
    let store = embedded.setup().store();
    let setup = Setup::on_store(BINARY, store).variable("FLOE_METADATA", schema.url());
    let words = ["'slatedb'", "'postgres'", "--metadata"];
    expect_refusal("a cluster of the embedded engine", setup, 1, &words);
}

#[test]
fn databases_that_cannot_be_used() {
    let Some(postgres) = Postgres::shared() else {
        return;
    };
    let schema = postgres.create_schema();
    let setup = |url: &str| Setup::on_folder(BINARY).variable("FLOE_METADATA", url);
    let wrong = schema.url_as("nobody-known", "wrong-password");
    let words = ["nobody-known", "password", "--metadata"];
    expect_refusal("wrong password", setup(&wrong), 1, &words);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let nobody = schema.url_through(address);
    expect_refusal(
        "nobody there",
        setup(&nobody),
        1,
        &["cannot connect", &address.to_string()],
    );
    let words = ["FLOE_METADATA", "sslmode"];
    let nonsense = format!("{}&sslmode=sometimes", schema.url());
    expect_refusal("error of use", setup(&nonsense), 2, &words);
}

#[test]
fn a_server_that_is_killed_under_load() {
    let Some(mut server) = Server::start_or_skip(&[]) else {
        return;
    };
    let broker = Setup::on_folder(BINARY)
        .variable("FLOE_METADATA", server.url())
        .start();
    let recorder = Recorder::default();
    client::create_topic(&broker.bootstrap(), TOPIC, 2);
    let config = client::producer_config(&broker.bootstrap());
    let mut producer = RecordingProducer::new(&config, TOPIC, 1, &recorder);
    for _ in 0..3 {
        (0..500).for_each(|number| producer.send(number % 2, 500));
        server.restart(&[]);
        (0..500).for_each(|number| producer.send(number % 2, 500));
        producer.flush(LIMIT).expect("all is acknowledged");
    }
    check(
        &broker.bootstrap(),
        &recorder,
        "after restarts of the server",
    );
    assert_eq!(recorder.acked(), 3000);
}
