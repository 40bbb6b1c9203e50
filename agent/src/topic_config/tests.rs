//! Values and messages as Kafka 4.2.0's `LogConfig.validate` gives them.

use std::collections::BTreeMap;
use std::sync::Arc;

use floe_metadata::api::Topic;
use floe_protocol::types::TopicId;

use super::{
    BROKER_CONFIGS, BrokerSettings, DERIVED, Source, TOPIC_CONFIGS, TimestampType, broker_config,
    check_topic_configs, topic_config,
};

fn configs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn topic(pairs: &[(&str, &str)]) -> Topic {
    Topic {
        id: TopicId::default(),
        name: Arc::from("t"),
        partition_count: 1,
        replication_factor: 1,
        configs: Arc::new(configs(pairs)),
        created_ms: 0,
    }
}

#[test]
fn tables_are_sorted_and_their_defaults_valid() {
    assert_eq!(TOPIC_CONFIGS.len(), 33, "Kafka 4.2 has 33 topic configs");
    for table in [TOPIC_CONFIGS, BROKER_CONFIGS] {
        assert!(table.is_sorted_by(|left, right| left.name < right.name));
        for definition in table {
            if let Some(default) = definition.default {
                assert_eq!(
                    definition.check_value(default),
                    Ok(()),
                    "{}",
                    definition.name
                );
            }
            assert!(!definition.documentation.is_empty(), "{}", definition.name);
        }
    }
    for definition in TOPIC_CONFIGS {
        for (broker_name, _) in definition.broker_names {
            assert!(broker_config(broker_name).is_some(), "{broker_name}");
        }
    }
    for name in DERIVED {
        assert!(
            broker_config(name).is_some_and(|config| config.default.is_none()),
            "{name}"
        );
    }
}

#[test]
fn values_that_kafka_accepts() {
    for (name, value) in [
        ("retention.ms", " 5 "),
        ("retention.ms", "+5"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-5"),
        ("cleanup.policy", ""),
        ("cleanup.policy", "compact,compact"),
        ("cleanup.policy", "compact, delete"),
        ("preallocate", "TRUE"),
        ("compression.gzip.level", "-1"),
        ("leader.replication.throttled.replicas", "*"),
        ("leader.replication.throttled.replicas", "0:1,1:2"),
        ("local.retention.ms", "999999999999"),
        ("remote.storage.enable", "true"),
        ("min.cleanable.dirty.ratio", "0.25"),
    ] {
        assert_eq!(
            check_topic_configs(&configs(&[(name, value)])),
            Ok(()),
            "{name}={value}"
        );
    }
}

#[test]
fn values_that_kafka_refuses_and_its_words() {
    let throttled = "leader.replication.throttled.replicas must be the literal '*' or a list of \
                     replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...";
    let of_throttled = format!(
        "Invalid value [*, 0:1] for configuration leader.replication.throttled.replicas: {throttled}"
    );
    for (name, value, words) in [
        ("foo", "1", "Unknown topic config name: foo"),
        (
            "retention.ms",
            "abc",
            "Invalid value abc for configuration retention.ms: Not a number of type LONG",
        ),
        (
            "retention.ms",
            "",
            "Invalid value  for configuration retention.ms: Not a number of type LONG",
        ),
        (
            "retention.ms",
            "-2",
            "Invalid value -2 for configuration retention.ms: Value must be at least -1",
        ),
        (
            "max.message.bytes",
            "99999999999",
            "Invalid value 99999999999 for configuration max.message.bytes: Not a number of type INT",
        ),
        (
            "cleanup.policy",
            "COMPACT",
            "Invalid value COMPACT for configuration cleanup.policy: String must be one of: compact, delete",
        ),
        (
            "cleanup.policy",
            "compact,",
            "Configuration 'cleanup.policy' values must not be empty.",
        ),
        (
            "min.cleanable.dirty.ratio",
            "2",
            "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
        ),
        (
            "preallocate",
            "yes",
            "Invalid value yes for configuration preallocate: Expected value to be either true or false",
        ),
        (
            "compression.gzip.level",
            "0",
            "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
        ),
        (
            "compression.lz4.level",
            "99",
            "Invalid value 99 for configuration compression.lz4.level: Value must be no more than 17",
        ),
        (
            "segment.bytes",
            "13",
            "Invalid value 13 for configuration segment.bytes: Value must be at least 1048576",
        ),
        (
            "leader.replication.throttled.replicas",
            "*,0:1",
            of_throttled.as_str(),
        ),
    ] {
        let refused = check_topic_configs(&configs(&[(name, value)])).expect_err(name);
        assert_eq!(refused.to_string(), words, "{name}={value}");
    }
    let contradiction = configs(&[
        ("min.compaction.lag.ms", "10"),
        ("max.compaction.lag.ms", "5"),
    ]);
    assert_eq!(
        check_topic_configs(&contradiction).unwrap_err().to_string(),
        "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"
    );
}

#[test]
fn a_topic_takes_the_brokers_value_unless_it_has_its_own() {
    let settings = BrokerSettings::new(configs(&[
        ("log.retention.hours", "2"),
        ("message.max.bytes", "5000"),
        ("log.message.timestamp.type", "LogAppendTime"),
    ]))
    .unwrap();
    let retention = topic_config("retention.ms").unwrap();
    assert_eq!(
        settings.topic_value(retention, &BTreeMap::new()),
        ("7200000".to_owned(), Source::StaticBroker)
    );
    assert_eq!(
        settings.topic_value(retention, &configs(&[("retention.ms", "9")])),
        ("9".to_owned(), Source::Topic)
    );
    assert_eq!(
        BrokerSettings::default().topic_value(retention, &BTreeMap::new()),
        ("604800000".to_owned(), Source::Default)
    );
    let plain = settings.topic(&topic(&[]));
    assert_eq!(plain.max_message_bytes, 5000);
    assert_eq!(plain.timestamp_type, TimestampType::LogAppendTime);
    assert!(!plain.is_compacted);
    let own = settings.topic(&topic(&[
        ("cleanup.policy", "compact,delete"),
        ("message.timestamp.type", "CreateTime"),
    ]));
    assert_eq!(own.timestamp_type, TimestampType::CreateTime);
    assert!(own.is_compacted);
    assert_eq!(own.max_message_bytes, 5000);
    assert_eq!(
        BrokerSettings::default()
            .topic(&topic(&[]))
            .max_message_bytes,
        1_048_588
    );
}

#[test]
fn retention_of_minus_one_hour_is_for_ever() {
    let settings = BrokerSettings::new(configs(&[("log.retention.hours", "-1")])).unwrap();
    let retention = topic_config("retention.ms").unwrap();
    assert_eq!(settings.topic_value(retention, &BTreeMap::new()).0, "-1");
}
