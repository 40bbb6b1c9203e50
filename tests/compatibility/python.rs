//! Python: confluent-kafka (librdkafka) and kafka-python, in a virtual environment of their own.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use floe_tests::components::{missing, program_or_skip};
use floe_tests::program::{Program, artifacts, made_once};

use crate::{Broker, source, topic};

const PIP_LIMIT: Duration = Duration::from_secs(600);

/// The interpreter of an environment that has the clients.
pub(crate) fn python() -> Option<PathBuf> {
    static PIP: Mutex<()> = Mutex::new(());
    let _turn = PIP.lock().unwrap_or_else(PoisonError::into_inner);
    let python = program_or_skip("python", "python3")?;
    let folder = artifacts("python");
    let own = folder.join("bin").join("python");
    let requirements = source("python/requirements.txt");
    let recipe = std::fs::read_to_string(&requirements).unwrap();
    let made = made_once(&folder, &recipe, || {
        Program::new(&python)
            .args(["-m", "venv"])
            .arg(&folder)
            .limit(PIP_LIMIT)
            .try_run()?;
        Program::new(&own)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "-r",
            ])
            .arg(&requirements)
            .limit(PIP_LIMIT)
            .try_run()
            .map(drop)
    });
    match made {
        Ok(()) => Some(own),
        Err(why) => {
            missing(
                "python",
                &format!("the clients could not be installed: {why}"),
            );
            None
        }
    }
}

fn round_trip(script: &str) {
    let Some(python) = python() else { return };
    for broker in [Broker::on_folder(), Broker::on_s3()] {
        let finished = Program::new(&python)
            .arg(source(script))
            .args([&broker.bootstrap, &topic("python")])
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
