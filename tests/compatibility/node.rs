//! Node: KafkaJS, whose requests are of old versions.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use floe_tests::client;
use floe_tests::components::{missing, program_or_skip};
use floe_tests::program::{Program, artifacts, made_once};
use rdkafka::{Message, Offset};

use crate::{Broker, source, topic};

const NPM_LIMIT: Duration = Duration::from_secs(600);

/// Runs a script against a broker on a new topic; `None` after saying why it cannot be run.
fn check(script: &str) -> Option<(Broker, String)> {
    // One npm at a time: two would fill the same folder.
    static NPM: Mutex<()> = Mutex::new(());
    let node = program_or_skip("node", "node")?;
    let npm = program_or_skip("node", "npm")?;
    let folder = artifacts("node");
    let recipe = std::fs::read_to_string(source("node/package.json")).unwrap();
    let turn = NPM.lock().unwrap_or_else(PoisonError::into_inner);
    let made = made_once(&folder, &recipe, || {
        std::fs::copy(source("node/package.json"), folder.join("package.json")).unwrap();
        Program::new(npm)
            .args(["install", "--no-audit", "--no-fund", "--no-package-lock"])
            .folder(&folder)
            .limit(NPM_LIMIT)
            .try_run()
            .map(drop)
    });
    drop(turn);
    if let Err(why) = made {
        missing("node", &format!("the client could not be installed: {why}"));
        return None;
    }
    let broker = Broker::on_folder();
    let topic = topic("node");
    let finished = Program::new(node)
        .arg(source(script))
        .args([&broker.bootstrap, &topic])
        .env("NODE_PATH", folder.join("node_modules"))
        .run();
    assert_eq!(finished.output.trim(), "OK", "{}", finished.errors);
    Some((broker, topic))
}

#[test]
fn kafkajs_groups() {
    check("node/groups.js");
}

#[test]
fn kafkajs() {
    let Some((broker, topic)) = check("node/round_trip.js") else {
        return;
    };
    // Two producers, each with and without a codec, 1,000 records each time.
    let read = client::take(&broker.bootstrap, &topic, 0, Offset::Beginning, 4_000);
    for (offset, message) in read.iter().enumerate() {
        let expected = format!("value {}", offset % 1_000);
        assert_eq!(
            message.payload(),
            Some(expected.as_bytes()),
            "offset {offset}"
        );
    }
}
