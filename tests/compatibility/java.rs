//! Java: the client library and the console tools, 4.2 and 3.9. The test program runs from its source.

use floe_tests::components::java::Kafka;
use floe_tests::program::{Finished, Program};

use crate::{Broker, source, topic};

/// The console tools of one version.
pub(crate) struct Tools {
    kafka: Kafka,
    /// 4.x moved the console producer.
    pub(crate) console_producer: &'static str,
    api_versions: &'static str,
}

impl Tools {
    pub(crate) fn or_skip(version: &str) -> Option<Tools> {
        let kafka = Kafka::or_skip(version)?;
        let is_old = version.starts_with('3');
        Some(Tools {
            kafka,
            console_producer: if is_old {
                "kafka.tools.ConsoleProducer"
            } else {
                "org.apache.kafka.tools.ConsoleProducer"
            },
            api_versions: if is_old {
                "kafka.admin.BrokerApiVersionsCommand"
            } else {
                "org.apache.kafka.tools.BrokerApiVersionsCommand"
            },
        })
    }

    pub(crate) fn class(&self, class: &str) -> Program {
        self.kafka.class(class)
    }

    /// `kafka-topics.sh` with these arguments.
    fn topics(&self, broker: &Broker, args: &[&str]) -> Finished {
        let bootstrap = ["--bootstrap-server", &broker.bootstrap];
        self.class("org.apache.kafka.tools.TopicCommand")
            .args(bootstrap)
            .args(args)
            .run()
    }
}

fn client_round_trip(version: &str) {
    let Some(kafka) = Kafka::or_skip(version) else {
        return;
    };
    for broker in [Broker::on_folder(), Broker::on_s3()] {
        let finished = kafka
            .class(&source("java/RoundTrip.java").display().to_string())
            .args([&broker.bootstrap, &topic("java")])
            .run();
        assert_eq!(finished.output.trim(), "OK", "{}", finished.errors);
    }
}

fn console_tools(version: &str) {
    let Some(kafka) = Tools::or_skip(version) else {
        return;
    };
    let broker = Broker::on_folder();
    let name = topic("console");
    // What most guides say: the store replicates, whatever is asked for.
    let create = [
        "--create",
        "--topic",
        &name,
        "--partitions",
        "3",
        "--replication-factor",
        "3",
    ];
    kafka.topics(&broker, &create);
    assert!(
        kafka
            .topics(&broker, &["--list"])
            .output
            .lines()
            .any(|line| line == name)
    );
    let described = kafka
        .topics(&broker, &["--describe", "--topic", &name])
        .output;
    assert!(described.contains("PartitionCount: 3"), "{described}");
    kafka.topics(&broker, &["--alter", "--topic", &name, "--partitions", "5"]);
    let described = kafka
        .topics(&broker, &["--describe", "--topic", &name])
        .output;
    assert!(described.contains("PartitionCount: 5"), "{described}");

    console_round_trip(&kafka, &broker);

    let offsets = kafka
        .class("org.apache.kafka.tools.GetOffsetShell")
        .args(["--bootstrap-server", &broker.bootstrap, "--topic", &name])
        .run();
    assert!(
        offsets.output.contains(&format!("{name}:4:0")),
        "{}",
        offsets.output
    );
    let versions = kafka
        .class(kafka.api_versions)
        .args(["--bootstrap-server", &broker.bootstrap])
        .run();
    assert!(
        versions.output.contains("Produce(0): "),
        "{}",
        versions.output
    );
    features(&kafka, &broker);
    kafka.topics(&broker, &["--delete", "--topic", &name]);
    assert!(!kafka.topics(&broker, &["--list"]).output.contains(&name));
}

/// `kafka-features.sh` shows the feature level of the cluster, and is told why it cannot be raised here.
fn features(kafka: &Tools, broker: &Broker) {
    let features = |args: &[&str]| {
        kafka
            .class("org.apache.kafka.tools.FeatureCommand")
            .args(["--bootstrap-server", &broker.bootstrap])
            .args(args)
    };
    let described = features(&["describe"]).run().output;
    let level = described.lines().find(|line| line.contains("floe.level"));
    let level = level.unwrap_or_else(|| panic!("{described}"));
    assert!(level.contains("FinalizedVersionLevel: 1"), "{level}");
    let refused = features(&["upgrade", "--feature", "floe.level=99"])
        .try_run()
        .expect_err("level 99 is unknown");
    assert!(
        refused.contains("understands feature levels up to 1"),
        "{refused}"
    );
}

/// The console producer into a topic that creates itself, and back with `--partition --offset`.
fn console_round_trip(kafka: &Tools, broker: &Broker) {
    let name = topic("typed");
    let lines: Vec<String> = (0..200).map(|n| format!("line {n}")).collect();
    kafka
        .class(kafka.console_producer)
        .args(["--bootstrap-server", &broker.bootstrap, "--topic", &name])
        .input(lines.join("\n") + "\n")
        .run();
    for (offset, first, count) in [("earliest", 0, "200"), ("150", 150, "50")] {
        let read = kafka
            .class("org.apache.kafka.tools.consumer.ConsoleConsumer")
            .args(["--bootstrap-server", &broker.bootstrap, "--topic", &name])
            .args([
                "--partition",
                "0",
                "--offset",
                offset,
                "--max-messages",
                count,
            ])
            .args(["--timeout-ms", "60000"])
            .run();
        let read: Vec<&str> = read.output.lines().collect();
        assert_eq!(read, lines[first..], "from {offset}");
    }
}

#[test]
fn client_4_2() {
    client_round_trip("4.2");
}

#[test]
fn client_3_9() {
    client_round_trip("3.9");
}

#[test]
fn console_tools_4_2() {
    console_tools("4.2");
}

#[test]
fn console_tools_3_9() {
    console_tools("3.9");
}

#[test]
fn producer_and_consumer_performance() {
    let Some(kafka) = Tools::or_skip("4.2") else {
        return;
    };
    let broker = Broker::on_folder();
    let name = topic("perf");
    kafka.topics(
        &broker,
        &["--create", "--topic", &name, "--partitions", "16"],
    );
    let finished = kafka
        .class("org.apache.kafka.tools.ProducerPerformance")
        .args([
            "--topic",
            &name,
            "--num-records",
            "50000",
            "--record-size",
            "1024",
        ])
        .args(["--throughput", "-1", "--producer-props"])
        .args([
            &format!("bootstrap.servers={}", broker.bootstrap),
            "acks=all",
        ])
        .run();
    let last = finished.output.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("50000 records sent"),
        "{}",
        finished.output
    );
    floe_tests::say::say(&format!("ProducerPerformance, test build: {last}"));
    let finished = kafka
        .class("org.apache.kafka.tools.ConsumerPerformance")
        .args(["--bootstrap-server", &broker.bootstrap, "--topic", &name])
        .args(["--messages", "50000", "--timeout", "60000"])
        .run();
    // One line of headings and one of figures; the fifth is how many were read.
    let last = finished.output.lines().last().unwrap_or_default();
    let read = last
        .split(", ")
        .nth(4)
        .and_then(|it| it.parse::<u32>().ok());
    assert!(
        read.is_some_and(|read| read >= 50_000),
        "{}",
        finished.output
    );
    floe_tests::say::say(&format!("ConsumerPerformance, test build: {last}"));
}
