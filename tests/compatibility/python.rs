//! Python: confluent-kafka (librdkafka) and kafka-python, in a virtual environment of their own.

use std::time::Duration;

use floe_tests::components::python::interpreter_or_skip;
use floe_tests::program::Program;

use crate::{Broker, source, topic};

/// Members of the new protocol learn of each step in a heartbeat, every 5 s.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs a script against each kind of broker.
pub(crate) fn round_trip(script: &str) {
    let Some(python) = interpreter_or_skip("python", &source("python/requirements.txt")) else {
        return;
    };
    for broker in [Broker::on_folder(), Broker::on_s3()] {
        let finished = Program::new(&python)
            .arg(source(script))
            .args([&broker.bootstrap, &topic("python")])
            .limit(LIMIT)
            .run();
        assert_eq!(finished.output.trim(), "OK", "{}", finished.errors);
    }
}

#[test]
fn confluent_kafka() {
    round_trip("python/confluent_round_trip.py");
}

#[test]
fn kafka_python() {
    round_trip("python/kafka_python_round_trip.py");
}
