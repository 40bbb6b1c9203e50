//! Consumer groups of stock clients in other languages, with every assignor they have.

use std::time::Duration;

use floe_tests::components::java::Kafka;

use crate::java::Tools;
use crate::python::round_trip;
use crate::{Broker, topic};

#[test]
fn confluent_kafka() {
    round_trip("python/confluent_groups.py");
}

#[test]
fn confluent_kafka_new_protocol() {
    round_trip("python/confluent_new_groups.py");
}

/// Runs a source file with the Java client of a version.
fn java(version: &str, file: &str) {
    let Some(kafka) = Kafka::or_skip(version) else {
        return;
    };
    let broker = Broker::on_folder();
    let finished = kafka
        .class(&crate::source(file).display().to_string())
        .args([&broker.bootstrap, &topic("java")])
        .limit(Duration::from_secs(600))
        .run();
    assert_eq!(finished.output.trim(), "OK", "{}", finished.errors);
}

/// Classic groups with all assignors.
#[test]
fn java_4_2() {
    java("4.2", "java/Groups.java");
}

#[test]
fn java_3_9() {
    java("3.9", "java/Groups.java");
}

#[test]
fn java_2_8() {
    java("2.8", "java/Groups.java");
}

/// Java's consumers of the new protocol, and what the admin client is told of them.
#[test]
fn java_new_protocol() {
    java("4.2", "java/NewGroups.java");
}

/// The console consumer with the new protocol, and what the tools say of its group.
#[test]
fn console_new_protocol() {
    let Some(kafka) = Tools::or_skip("4.2") else {
        return;
    };
    let broker = Broker::on_folder();
    let bootstrap = ["--bootstrap-server", &broker.bootstrap];
    let (name, group) = (topic("console-new"), topic("group"));
    let more = ["--command-property", "group.protocol=consumer"];
    in_two_halves(&kafka, &broker, &name, &group, &more);
    let tool = |class: &str, args: &[&str]| {
        let finished = kafka.class(class).args(bootstrap).args(args).run();
        finished.output
    };
    let groups = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let state = tool(groups, &["--describe", "--state", "--group", &group]);
    assert!(
        state.contains("Empty") && state.contains("uniform"),
        "{state}"
    );
    let listed = tool("org.apache.kafka.tools.GroupsCommand", &["--list"]);
    let row = listed.lines().find(|line| line.contains(&group));
    let row: Vec<&str> = row.unwrap_or_default().split_whitespace().collect();
    assert_eq!(row, [&group, "Consumer", "consumer"], "{listed}");
    let described = tool(groups, &["--describe", "--group", &group]);
    let row = described.lines().find(|line| line.contains(&name));
    let row: Vec<&str> = row.unwrap_or_default().split_whitespace().collect();
    assert_eq!(
        row.get(2..6),
        Some(&["0", "100", "100", "0"][..]),
        "{described}"
    );
    let deleted = tool(groups, &["--delete", "--group", &group]);
    assert!(deleted.contains("successful"), "{deleted}");
}

#[test]
fn kafka_python() {
    round_trip("python/kafka_python_groups.py");
}

#[test]
fn aiokafka() {
    round_trip("python/aiokafka_groups.py");
}

#[test]
fn franz_go() {
    crate::go::check("go-groups", "./groups");
}

/// The console producer writes 100 lines, the console consumer reads them in a group that goes on where it was.
fn in_two_halves(kafka: &Tools, broker: &Broker, name: &str, group: &str, more: &[&str]) {
    let bootstrap = ["--bootstrap-server", &broker.bootstrap];
    let lines: Vec<String> = (0..100).map(|n| format!("line {n}")).collect();
    for half in lines.chunks(50) {
        kafka
            .class(kafka.console_producer)
            .args(bootstrap)
            .args(["--topic", name])
            .input(half.join("\n") + "\n")
            .run();
        let read = kafka
            .class("org.apache.kafka.tools.consumer.ConsoleConsumer")
            .args(bootstrap)
            .args(["--topic", name, "--group", group, "--from-beginning"])
            .args(more)
            .args(["--max-messages", "50", "--timeout-ms", "60000"])
            .run();
        let read: Vec<&str> = read.output.lines().collect();
        assert_eq!(read, half, "it goes on where it was");
    }
}

/// The console consumer in a group, twice, and what `kafka-consumer-groups` says and does.
fn console(version: &str) {
    let Some(kafka) = Tools::or_skip(version) else {
        return;
    };
    let broker = Broker::on_folder();
    let bootstrap = ["--bootstrap-server", &broker.bootstrap];
    let (name, group) = (topic("console-group"), topic("group"));
    in_two_halves(&kafka, &broker, &name, &group, &[]);
    let groups = |args: &[&str]| {
        let command = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
        let finished = kafka.class(command).args(bootstrap).args(args).run();
        finished.output
    };
    let listed = groups(&["--list"]);
    assert!(listed.lines().any(|line| line.trim() == group), "{listed}");
    let described = groups(&["--describe", "--group", &group]);
    let row = described.lines().find(|line| line.contains(&name));
    let row: Vec<&str> = row.unwrap_or_default().split_whitespace().collect();
    assert_eq!(
        row.get(2..6),
        Some(&["0", "100", "100", "0"][..]),
        "{described}"
    );
    let state = groups(&["--describe", "--state", "--group", &group]);
    assert!(state.contains("Empty"), "{state}");
    let reset = [
        "--reset-offsets",
        "--to-earliest",
        "--execute",
        "--topic",
        &name,
        "--group",
        &group,
    ];
    groups(&reset);
    let described = groups(&["--describe", "--group", &group]);
    let row = described.lines().find(|line| line.contains(&name));
    let row: Vec<&str> = row.unwrap_or_default().split_whitespace().collect();
    assert_eq!(row.get(3).copied(), Some("0"), "{described}");
    let deleted = groups(&["--delete", "--group", &group]);
    assert!(deleted.contains("successful"), "{deleted}");
    assert!(!groups(&["--list"]).contains(&group));
}

#[test]
fn console_4_2() {
    console("4.2");
}

#[test]
fn console_3_9() {
    console("3.9");
}
