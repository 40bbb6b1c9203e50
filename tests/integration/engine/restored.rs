//! A database that somebody set back to an older copy, while the store has what came later.

use std::time::Duration;

use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::components::postgres::{Postgres, Schema};
use floe_tests::sandbox::Setup;

use crate::start::expect_refusal;
use crate::target::BINARY;

const TOPIC: &str = "restored";
const TABLES: [&str; 3] = ["floe_schema", "floe_owner", "floe_row"];

fn dump(schema: &Schema, name: &str) {
    for table in TABLES {
        schema.run(&format!("CREATE TABLE {name}_{table} AS TABLE {table}"));
    }
}

fn restore(schema: &Schema, name: &str) {
    for table in TABLES {
        schema.run(&format!("TRUNCATE {table}"));
        schema.run(&format!("INSERT INTO {table} SELECT * FROM {name}_{table}"));
    }
}

#[test]
fn an_older_copy_is_refused_and_left_as_it_is() {
    let Some(postgres) = Postgres::shared() else {
        return;
    };
    let schema = postgres.create_schema();
    let setup = Setup::on_folder(BINARY).variable("FLOE_METADATA", schema.url());
    let mut broker = setup.clone().start();
    let bootstrap = broker.bootstrap();
    client::create_topic(&bootstrap, TOPIC, 1);
    let recorder = Recorder::default();
    let config = client::producer_config(&bootstrap);
    let mut producer = RecordingProducer::new(&config, TOPIC, 0, &recorder);
    let mut produce = || {
        (0..100).for_each(|_| producer.send(0, 100));
        producer.flush(Duration::from_secs(60)).unwrap();
    };
    produce();
    // Within one epoch: only what was written since tells the copies apart.
    dump(&schema, "older");
    produce();
    assert_eq!(broker.terminate().code(), Some(0));
    dump(&schema, "newest");

    restore(&schema, "older");
    let words = ["set back", "revision", "floe meta export"];
    for round in ["the older copy", "the older copy again"] {
        expect_refusal(round, setup.clone(), 1, &words);
    }
    restore(&schema, "newest");
    broker.restart();
    produce();
    assert_eq!(recorder.acked(), 300);
    recorder.read_back(&bootstrap, TOPIC);
    checker::check(recorder.lock().get(&0).unwrap()).expect_clean("the newest copy");
}
