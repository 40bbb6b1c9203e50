//! Kafka's own system test programs: what they write and read is told by themselves, line by line, as JSON.

use std::collections::BTreeSet;

use floe_tests::client;
use floe_tests::components::java::Kafka;
use floe_tests::fleet::Fleet;
use floe_tests::sandbox::Setup;
use serde_json::Value;

use crate::{BINARY, Broker, topic};

const RECORDS: i64 = 5_000;

/// The lines of a program's output that are JSON and have this name.
fn events(output: &str, name: &str) -> Vec<Value> {
    let lines = output
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|event| event["name"] == name).collect()
}

/// `VerifiableProducer` writes, a group of one `VerifiableConsumer` reads it all and commits.
fn round_trip(version: &str, consumer: &[&str]) {
    let Some(kafka) = Kafka::or_skip(version) else {
        return;
    };
    let broker = Broker::on_folder();
    let (topic, count) = (topic("verifiable"), RECORDS.to_string());
    let bootstrap = ["--bootstrap-server", &broker.bootstrap, "--topic", &topic];
    let written = kafka
        .class("org.apache.kafka.tools.VerifiableProducer")
        .args(bootstrap)
        .args(["--max-messages", &count, "--acks", "-1"])
        .run();
    let sent = events(&written.output, "producer_send_success");
    let places: BTreeSet<_> = sent
        .iter()
        .map(|it| (it["partition"].as_i64(), it["offset"].as_i64()))
        .collect();
    assert_eq!(
        i64::try_from(places.len()),
        Ok(RECORDS),
        "each record has a place of its own"
    );
    let read = kafka
        .class("org.apache.kafka.tools.VerifiableConsumer")
        .args(bootstrap)
        .args([
            "--group-id",
            &topic,
            "--max-messages",
            &count,
            "--reset-policy",
            "earliest",
            "--verbose",
        ])
        .args(consumer)
        .run();
    let values = events(&read.output, "record_data");
    let values: Vec<_> = values
        .iter()
        .filter_map(|it| it["value"].as_str()?.parse::<i64>().ok())
        .collect();
    assert_eq!(
        values,
        (0..RECORDS).collect::<Vec<_>>(),
        "one partition is read in order, each record once"
    );
    let commits = events(&read.output, "offsets_committed");
    assert!(!commits.is_empty());
    assert!(
        commits.iter().all(|commit| commit["success"] == true),
        "{commits:?}"
    );
}

#[test]
fn classic_group() {
    round_trip("4.2", &["--group-protocol", "classic"]);
}

#[test]
fn consumer_group() {
    round_trip("4.2", &["--group-protocol", "consumer"]);
}

#[test]
fn consumer_group_with_range() {
    round_trip(
        "4.2",
        &[
            "--group-protocol",
            "consumer",
            "--group-remote-assignor",
            "range",
        ],
    );
}

#[test]
fn classic_group_3_9() {
    round_trip("3.9", &[]);
}

/// A Java application and its group while every one of three agents is stopped and started again, twice: the group
/// is not disturbed, and each record is read once.
fn rolled(protocol: &str) {
    const RECORDS: usize = 12_000;
    const PARTITIONS: i32 = 6;
    let Some(kafka) = Kafka::or_skip("4.2") else {
        return;
    };
    let mut fleet = Fleet::start(&Setup::on_folder(BINARY), 3);
    let (bootstrap, topic, count) = (fleet.bootstrap(), topic("rolled"), RECORDS.to_string());
    client::create_topic(&bootstrap, &topic, PARTITIONS);
    let common = [
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        &topic,
        "--max-messages",
        &count,
    ];
    let (written, read) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let producer = kafka.class("org.apache.kafka.tools.VerifiableProducer");
            producer
                .args(common)
                .args(["--acks", "-1", "--throughput", "500"])
                .run()
        });
        let reader = scope.spawn(|| {
            let consumer = kafka.class("org.apache.kafka.tools.VerifiableConsumer");
            let group = [
                "--group-id",
                &topic,
                "--reset-policy",
                "earliest",
                "--verbose",
            ];
            consumer
                .args(common)
                .args(group)
                .args(["--group-protocol", protocol])
                .run()
        });
        for _ in 0..2 {
            for broker in fleet.brokers() {
                let status = broker.terminate();
                assert_eq!(status.code(), Some(0), "{}", broker.process().text());
                broker.restart();
            }
            fleet.wait_for(3);
        }
        assert!(
            !writer.is_finished(),
            "the agents were stopped while records were written"
        );
        (writer.join().unwrap(), reader.join().unwrap())
    });
    let failed = events(&written.output, "producer_send_error");
    assert!(failed.is_empty(), "{failed:?}");
    let records = events(&read.output, "record_data");
    let values = records
        .iter()
        .filter_map(|it| it["value"].as_str()?.parse::<usize>().ok());
    let values: Vec<_> = values.collect();
    assert_eq!(values.len(), RECORDS);
    assert_eq!(
        values.iter().collect::<BTreeSet<_>>().len(),
        RECORDS,
        "no record came twice"
    );
    let commits = events(&read.output, "offsets_committed");
    assert!(
        commits.iter().all(|commit| commit["success"] == true),
        "{commits:?}"
    );
    let assigned = events(&read.output, "partitions_assigned");
    let assigned = assigned
        .iter()
        .filter(|it| it["partitions"] != Value::Array(Vec::new()));
    assert_eq!(
        assigned.count(),
        1,
        "no rebalance: {}",
        read.output
            .lines()
            .filter(|it| it.contains("partitions_"))
            .collect::<String>()
    );
}

#[test]
fn a_classic_group_does_not_notice_a_rolling_restart() {
    rolled("classic");
}

#[test]
fn a_consumer_group_does_not_notice_a_rolling_restart() {
    rolled("consumer");
}

/// What a client of 4.2 may expect of a broker of 4.2, checked by Kafka's own program.
#[test]
fn client_compatibility() {
    let Some(kafka) = Kafka::or_skip("4.2") else {
        return;
    };
    let broker = Broker::on_folder();
    let finished = kafka
        .class("org.apache.kafka.tools.ClientCompatibilityTest")
        .args([
            "--bootstrap-server",
            &broker.bootstrap,
            "--topic",
            &topic("compatibility"),
        ])
        .args([
            "--num-cluster-nodes",
            "1",
            "--offsets-for-times-supported",
            "true",
        ])
        .args([
            "--cluster-id-supported",
            "true",
            "--expect-record-too-large-exception",
            "false",
        ])
        .args([
            "--idempotent-producer-supported",
            "true",
            "--create-topics-supported",
            "true",
        ])
        .args([
            "--describe-acls-supported",
            "true",
            "--describe-configs-supported",
            "true",
        ])
        .try_run();
    let finished = finished.unwrap_or_else(|why| panic!("{why}"));
    assert!(finished.output.contains("SUCCESS"), "{}", finished.output);
}
