//! Kafka 4.2's tools for administrators, as they come: configs, log starts, directories, elections, reassignments,
//! the quorum, quotas.

use floe_tests::program::Program;

use crate::java::Tools;
use crate::{Broker, topic};

/// The tools against one broker.
struct Admin {
    kafka: Tools,
    broker: Broker,
}

impl Admin {
    fn or_skip() -> Option<Admin> {
        let kafka = Tools::or_skip("4.2")?;
        let broker = Broker::on_folder();
        Some(Admin { kafka, broker })
    }

    fn tool(&self, class: &str, args: &[&str]) -> Program {
        self.kafka
            .class(class)
            .args(["--bootstrap-server", &self.broker.bootstrap])
            .args(args)
    }

    fn run(&self, class: &str, args: &[&str]) -> String {
        self.tool(class, args).run().output
    }

    fn refused(&self, class: &str, args: &[&str]) -> String {
        let refused = self.tool(class, args).try_run();
        refused.expect_err("this cannot be done")
    }

    fn create(&self, name: &str, partitions: &str) {
        let args = ["--create", "--topic", name, "--partitions", partitions];
        self.run("org.apache.kafka.tools.TopicCommand", &args);
    }

    fn produce(&self, name: &str, lines: &str) {
        let args = ["--topic", name];
        self.tool(self.kafka.console_producer, &args)
            .input(lines)
            .run();
    }

    /// `kafka-configs.sh` for one entity.
    fn configs(&self, kind: &str, name: &str, args: &[&str]) -> String {
        let entity = ["--entity-type", kind, "--entity-name", name];
        self.run(CONFIGS, &[&entity[..], args].concat())
    }

    /// The broker's id, as the tools see it.
    fn node(&self) -> String {
        let endpoints = ["list-endpoints"];
        let listed = self
            .kafka
            .class("org.apache.kafka.tools.ClusterTool")
            .args(endpoints)
            .args(["--bootstrap-server", &self.broker.bootstrap])
            .run()
            .output;
        let line = listed.lines().nth(1).unwrap_or_else(|| panic!("{listed}"));
        line.split_whitespace().next().unwrap().to_owned()
    }
}

const CONFIGS: &str = "kafka.admin.ConfigCommand";

#[test]
fn configs_of_topics_groups_and_brokers() {
    let Some(admin) = Admin::or_skip() else {
        return;
    };
    let name = topic("configs");
    admin.create(&name, "1");
    let set = "retention.ms=1000,cleanup.policy=[compact,delete]";
    admin.configs("topics", &name, &["--alter", "--add-config", set]);
    let described = admin.configs("topics", &name, &["--describe"]);
    let own = "DYNAMIC_TOPIC_CONFIG:retention.ms=1000";
    assert!(described.contains("retention.ms=1000"), "{described}");
    assert!(described.contains(own), "{described}");
    assert!(
        described.contains("cleanup.policy=compact,delete"),
        "{described}"
    );
    admin.configs(
        "topics",
        &name,
        &["--alter", "--delete-config", "retention.ms"],
    );
    let described = admin.configs("topics", &name, &["--describe", "--all"]);
    let kept = "retention.ms=604800000 sensitive=false synonyms={}";
    assert!(described.contains(kept), "{described}");
    let entity = ["--entity-type", "topics", "--entity-name", &name];
    let wrong = ["--alter", "--add-config", "retention.ms=soon"];
    let refused = admin.refused(CONFIGS, &[&entity[..], &wrong].concat());
    let words = "Invalid value soon for configuration retention.ms: Not a number of type LONG";
    assert!(refused.contains(words), "{refused}");

    let timeout = "consumer.session.timeout.ms=50000";
    admin.configs("groups", "g", &["--alter", "--add-config", timeout]);
    let described = admin.configs("groups", "g", &["--describe"]);
    assert!(described.contains(timeout), "{described}");

    let node = admin.node();
    let limit = "message.max.bytes=2000000";
    admin.configs("brokers", &node, &["--alter", "--add-config", limit]);
    let described = admin.configs("brokers", &node, &["--describe"]);
    assert!(described.contains(limit), "{described}");
    let everyone = ["--entity-type", "brokers", "--entity-default"];
    let retention = ["--alter", "--add-config", "log.retention.ms=5000"];
    admin.run(CONFIGS, &[&everyone[..], &retention].concat());
    let described = admin.run(CONFIGS, &[&everyone[..], &["--describe"]].concat());
    assert!(described.contains("log.retention.ms=5000"), "{described}");
    let described = admin.configs("topics", &name, &["--describe", "--all"]);
    assert!(
        described.contains("DYNAMIC_DEFAULT_BROKER_CONFIG:log.retention.ms=5000"),
        "{described}"
    );
    let fixed = ["--alter", "--add-config", "num.partitions=3"];
    let refused = admin.refused(CONFIGS, &[&everyone[..], &fixed].concat());
    assert!(
        refused.contains("Cannot update these configs dynamically"),
        "{refused}"
    );

    let quota = ["--alter", "--add-config", "producer_byte_rate=1024"];
    admin.configs("users", "alice", &quota);
    let described = admin.configs("users", "alice", &["--describe"]);
    assert!(described.contains("producer_byte_rate=1024"), "{described}");

    let subscription = ["--alter", "--name", "s", "--interval", "1000"];
    let metrics = "org.apache.kafka.tools.ClientMetricsCommand";
    admin.run(metrics, &subscription);
    let described = admin.run(metrics, &["--describe", "--name", "s"]);
    assert!(described.contains("interval.ms=1000"), "{described}");
    assert!(admin.run(metrics, &["--list"]).contains('s'));
}

#[test]
fn log_starts_offsets_and_directories() {
    let Some(admin) = Admin::or_skip() else {
        return;
    };
    let name = topic("starts");
    admin.create(&name, "1");
    admin.produce(&name, "a\nb\nc\nd\n");
    let offset = |time: &str| {
        let args = ["--topic", &name, "--time", time];
        admin.run("org.apache.kafka.tools.GetOffsetShell", &args)
    };
    let at = |offset: &str| format!("{name}:0:{offset}\n");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("offsets.json");
    let partition = format!(r#"{{"topic":"{name}","partition":0,"offset":3}}"#);
    let json = format!(r#"{{"partitions":[{partition}],"version":1}}"#);
    std::fs::write(&file, json).unwrap();
    let path = file.display().to_string();
    let deleted = admin.run(
        "org.apache.kafka.tools.DeleteRecordsCommand",
        &["--offset-json-file", &path],
    );
    assert!(
        deleted.contains(&format!("partition: {name}-0\tlow_watermark: 3")),
        "{deleted}"
    );
    for (time, expected) in [
        ("-1", at("4")),
        ("latest", at("4")),
        ("-2", at("3")),
        ("earliest", at("3")),
        ("-4", at("3")),
        ("earliest-local", at("3")),
        ("-3", at("3")),
        ("max-timestamp", at("3")),
        ("0", at("3")),
    ] {
        assert_eq!(offset(time), expected, "{time}");
    }
    // Nothing lies in another tier.
    for time in ["-5", "latest-tiered", "-6", "earliest-pending-upload"] {
        let found = offset(time);
        assert!(
            found.is_empty() || found == at("-1") || found == at(""),
            "{time}: {found}"
        );
    }

    let dirs = admin.run(
        "org.apache.kafka.tools.LogDirsCommand",
        &["--describe", "--topic-list", &name],
    );
    assert!(
        dirs.contains(&format!(r#""partition":"{name}-0""#)),
        "{dirs}"
    );
    assert!(dirs.contains(r#""offsetLag":0"#), "{dirs}");
    let producers = admin
        .kafka
        .class("org.apache.kafka.tools.TransactionsCommand")
        .args([
            "--bootstrap-server",
            &admin.broker.bootstrap,
            "describe-producers",
        ])
        .args(["--topic", &name, "--partition", "0"])
        .run()
        .output;
    assert_eq!(
        producers.trim().lines().count(),
        2,
        "a head and one producer: {producers}"
    );
    let list = ["--bootstrap-server", &admin.broker.bootstrap, "list"];
    let listed = admin
        .kafka
        .class("org.apache.kafka.tools.TransactionsCommand")
        .args(list)
        .run()
        .output;
    assert_eq!(listed.trim().lines().count(), 1, "a head only: {listed}");
}

#[test]
fn elections_reassignments_and_the_quorum() {
    let Some(admin) = Admin::or_skip() else {
        return;
    };
    let name = topic("moved");
    admin.create(&name, "2");
    let node = admin.node();
    let elected = admin.run(
        "org.apache.kafka.tools.LeaderElectionCommand",
        &[
            "--election-type",
            "preferred",
            "--topic",
            &name,
            "--partition",
            "0",
        ],
    );
    assert!(
        elected.contains("Valid replica already elected for partitions"),
        "{elected}"
    );
    admin.run(
        "org.apache.kafka.tools.LeaderElectionCommand",
        &["--election-type", "preferred", "--all-topic-partitions"],
    );

    let reassign = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let topics = format!(r#"{{"topics":[{{"topic":"{name}"}}],"version":1}}"#);
    std::fs::write(path("topics.json"), topics).unwrap();
    let wanted = ["--topics-to-move-json-file", &path("topics.json")];
    let generate = ["--broker-list", &node, "--generate"];
    let plan = admin.run(reassign, &[&wanted[..], &generate].concat());
    let plan = plan.lines().last().unwrap();
    assert!(plan.contains(&name), "{plan}");
    std::fs::write(path("plan.json"), plan).unwrap();
    let file = path("plan.json");
    let with = |action: &'static str| ["--reassignment-json-file", &file, action];
    let executed = admin.run(reassign, &with("--execute"));
    assert!(
        executed.contains("Successfully started partition reassignments"),
        "{executed}"
    );
    let verified = admin.run(reassign, &with("--verify"));
    let done = format!("Reassignment of partition {name}-0 is completed.");
    assert!(verified.contains(&done), "{verified}");
    let listed = admin.run(reassign, &["--list"]);
    assert!(
        listed.contains("No partition reassignments found."),
        "{listed}"
    );

    let quorum = |args: &[&str]| {
        admin
            .kafka
            .class("org.apache.kafka.tools.MetadataQuorumCommand")
            .args(["--bootstrap-server", &admin.broker.bootstrap, "describe"])
            .args(args)
            .run()
            .output
    };
    let status = quorum(&["--status"]);
    let leader = status.lines().find(|line| line.starts_with("LeaderId:"));
    assert_eq!(
        leader.and_then(|line| line.split_whitespace().nth(1)),
        Some(node.as_str())
    );
    let replication = quorum(&["--replication"]);
    assert!(
        replication
            .lines()
            .any(|line| line.starts_with(&node) && line.contains("Leader"))
    );

    let cluster = admin
        .kafka
        .class("org.apache.kafka.tools.ClusterTool")
        .args(["cluster-id", "--bootstrap-server", &admin.broker.bootstrap])
        .run()
        .output;
    assert!(cluster.starts_with("Cluster ID: "), "{cluster}");
    let acls = admin.refused("org.apache.kafka.tools.AclCommand", &["--list"]);
    assert!(acls.contains("No Authorizer is configured"), "{acls}");
}
