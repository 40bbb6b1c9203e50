//! IncrementalAlterConfigs and AlterConfigs.

mod effects;

use floe_protocol::messages::alter_configs as whole;
use floe_protocol::messages::alter_configs::AlterConfigsRequest;
use floe_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use floe_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use super::configs::{describe, find};
use super::{config, create, created, listed, text, topic};
use crate::testing::{Client, agent};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

type Op<'a> = (i8, &'a str, Option<&'a str>);

fn set<'a>(name: &'a str, value: &'a str) -> Op<'a> {
    (0, name, Some(value))
}

fn resource(kind: i8, name: &str, ops: &[Op<'_>]) -> AlterConfigsResource {
    let configs = ops.iter().map(|(op, name, value)| AlterableConfig {
        name: text(name),
        config_operation: *op,
        value: value.map(text),
    });
    AlterConfigsResource {
        resource_type: kind,
        resource_name: text(name),
        configs: configs.collect(),
    }
}

fn request(resources: Vec<AlterConfigsResource>) -> IncrementalAlterConfigsRequest {
    IncrementalAlterConfigsRequest {
        resources,
        validate_only: false,
    }
}

/// Code and message of the one resource of a request.
async fn alter(client: &mut Client, kind: i8, name: &str, ops: &[Op<'_>]) -> (i16, String) {
    let request = request(vec![resource(kind, name, ops)]);
    let mut answer = client.call(1, &request).await;
    let result = answer.responses.remove(0);
    assert_eq!(
        (result.resource_type, result.resource_name),
        (kind, text(name))
    );
    let message = result.error_message.map(|it| it.to_string());
    (result.error_code, message.unwrap_or_default())
}

/// Value and source of a config.
async fn value(client: &mut Client, kind: i8, name: &str, key: &str) -> (String, i8) {
    let answer = client.call(4, &describe(kind, name, Some(&[key]))).await;
    let config = find(&answer.results[0].configs, key);
    (
        config.value.as_ref().unwrap().to_string(),
        config.config_source,
    )
}

fn of(value: &str, source: i8) -> (String, i8) {
    (value.to_owned(), source)
}

fn ok() -> (i16, String) {
    (0, String::new())
}

#[tokio::test]
async fn a_topics_configs_are_set_deleted_and_lists_changed() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "t", 1).await;
    let ops = [set("retention.ms", "1000"), set("max.message.bytes", "500")];
    assert_eq!(alter(&mut client, TOPIC, "t", &ops).await, ok());
    assert_eq!(
        value(&mut client, TOPIC, "t", "retention.ms").await,
        of("1000", 1)
    );
    let delete = [
        (1, "retention.ms", None),
        (1, "segment.ms", Some("ignored")),
    ];
    assert_eq!(alter(&mut client, TOPIC, "t", &delete).await, ok());
    assert_eq!(
        value(&mut client, TOPIC, "t", "retention.ms").await,
        of("604800000", 5)
    );
    assert_eq!(
        value(&mut client, TOPIC, "t", "max.message.bytes").await,
        of("500", 1)
    );
    // A list that was not set begins at its default, and an element is never there twice.
    let append = [(2, "cleanup.policy", Some("compact,delete"))];
    for _ in 0..2 {
        assert_eq!(alter(&mut client, TOPIC, "t", &append).await, ok());
        let policy = value(&mut client, TOPIC, "t", "cleanup.policy").await;
        assert_eq!(policy, of("delete,compact", 1));
    }
    let subtract = [(3, "cleanup.policy", Some("delete"))];
    assert_eq!(alter(&mut client, TOPIC, "t", &subtract).await, ok());
    assert_eq!(
        value(&mut client, TOPIC, "t", "cleanup.policy").await,
        of("compact", 1)
    );
    let mut only = request(vec![resource(TOPIC, "t", &[set("retention.ms", "7")])]);
    only.validate_only = true;
    assert_eq!(client.call(0, &only).await.responses[0].error_code, 0);
    assert_eq!(
        value(&mut client, TOPIC, "t", "retention.ms").await.1,
        5,
        "only validated"
    );
}

#[tokio::test]
async fn a_new_topic_of_the_same_name_has_no_configs() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "t", 1).await;
    alter(&mut client, TOPIC, "t", &[set("retention.ms", "1")]).await;
    let delete = DeleteTopicsRequest {
        topics: vec![DeleteTopicState {
            name: Some(text("t")),
            ..DeleteTopicState::default()
        }],
        ..DeleteTopicsRequest::default()
    };
    assert_eq!(client.call(6, &delete).await.responses[0].error_code, 0);
    created(&mut client, "t", 1).await;
    assert_eq!(
        value(&mut client, TOPIC, "t", "retention.ms").await,
        of("604800000", 5)
    );
}

#[tokio::test]
async fn what_cannot_be_altered_gets_kafkas_code_and_words() {
    let agent = agent(&[]).await;
    let node = agent.broker().unwrap().node_id.to_string();
    let mut client = Client::connect(&agent).await;
    created(&mut client, "t", 1).await;
    let rows: Vec<(i8, &str, Vec<Op<'_>>, i16, &str)> = vec![
        (
            TOPIC,
            "none",
            vec![set("retention.ms", "1")],
            3,
            "The topic 'none' does not exist.",
        ),
        (TOPIC, "b/d", vec![set("retention.ms", "1")], 17, ""),
        (
            TOPIC,
            "",
            vec![],
            42,
            "Default topic resources are not allowed.",
        ),
        (
            TOPIC,
            "t",
            vec![set("no.such", "1")],
            40,
            "Unknown topic config name: no.such",
        ),
        (
            TOPIC,
            "t",
            vec![set("retention.ms", "x")],
            40,
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        (TOPIC, "t", vec![set("cleanup.policy", "burn")], 40, ""),
        (
            TOPIC,
            "t",
            vec![(0, "retention.ms", None)],
            42,
            "Null value not supported for : retention.ms",
        ),
        (
            TOPIC,
            "t",
            vec![(2, "cleanup.policy", None)],
            42,
            "Null value not supported for : cleanup.policy",
        ),
        (
            TOPIC,
            "t",
            vec![(2, "retention.ms", Some("1"))],
            40,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            TOPIC,
            "t",
            vec![(3, "no.such", Some("1"))],
            40,
            "Can't SUBTRACT to key no.such because its type is not LIST.",
        ),
        (
            TOPIC,
            "t",
            vec![(9, "retention.ms", Some("1"))],
            42,
            "Unknown operations type 9",
        ),
        (
            TOPIC,
            "t",
            vec![set("retention.ms", "1"), set("retention.ms", "2")],
            42,
            "Error due to duplicate config keys",
        ),
        (
            BROKER,
            "",
            vec![set("num.partitions", "3")],
            42,
            "Cannot update these configs dynamically: Set(num.partitions)",
        ),
        (
            BROKER,
            &node,
            vec![set("message.max.bytes", "-1")],
            42,
            "Invalid value -1 for configuration message.max.bytes: Value must be at least 0",
        ),
        (
            BROKER,
            &node,
            vec![(2, "no.such", Some("1"))],
            40,
            "Unknown config name: no.such",
        ),
        (
            BROKER,
            &node,
            vec![(2, "message.max.bytes", Some("1"))],
            40,
            "Config value append is not allowed for config key: message.max.bytes",
        ),
        (
            BROKER,
            "x",
            vec![],
            42,
            "Node id must be an integer, but it is: x",
        ),
        (BROKER, "77", vec![], 42, ""),
        (
            8,
            &node,
            vec![set("root", "DEBUG")],
            40,
            "Logger root does not exist!",
        ),
        (8, &node, vec![(2, "root", Some("DEBUG"))], 42, ""),
        (8, &node, vec![], 0, ""),
        (
            GROUP,
            "",
            vec![],
            42,
            "Default group resources are not allowed.",
        ),
        (
            GROUP,
            "g",
            vec![set("no.such", "1")],
            40,
            "Unknown group config name: no.such",
        ),
        (
            GROUP,
            "g",
            vec![set("consumer.session.timeout.ms", "1")],
            40,
            "",
        ),
        (
            16,
            "",
            vec![],
            42,
            "Default client metrics resources are not allowed.",
        ),
        (16, "s", vec![set("interval.ms", "1")], 40, ""),
        (1, "t", vec![], 42, "Unknown resource type 1"),
    ];
    // No longer value can be sent, nor told, but a list could grow beyond.
    let long = "x".repeat(32_767);
    assert_eq!(
        alter(&mut client, 16, "s", &[set("metrics", &long)]).await,
        ok()
    );
    let append = [(2, "metrics", Some("y"))];
    let (code, words) = alter(&mut client, 16, "s", &append).await;
    assert!(code == 40 && words.contains("exceeds the maximum value size of 32767 bytes"));
    for (kind, name, ops, code, words) in rows {
        let (got, message) = alter(&mut client, kind, name, &ops).await;
        assert_eq!(got, code, "{kind} {name} {ops:?}: {message}");
        assert!(
            message.starts_with(words),
            "{kind} {name} {ops:?}: {message}"
        );
        assert_eq!(message.is_empty(), code == 0);
    }
    let twice = vec![
        resource(TOPIC, "t", &[]),
        resource(TOPIC, "t", &[]),
        resource(GROUP, "t", &[]),
    ];
    let answer = client.call(1, &request(twice)).await;
    let codes: Vec<_> = answer.responses.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [42, 42, 0]);
    assert_eq!(
        value(&mut client, TOPIC, "t", "retention.ms").await.1,
        5,
        "nothing was changed"
    );
}

#[tokio::test]
async fn the_old_way_replaces_the_whole_set() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    let mut wanted = topic("t", 1, 1);
    wanted.configs = vec![
        config("retention.ms", Some("5")),
        config("segment.ms", Some("6")),
    ];
    client.call(7, &create(vec![wanted])).await;
    let alter = |kind: i8, name: &str, configs: &[(&str, Option<&str>)]| AlterConfigsRequest {
        resources: vec![whole::AlterConfigsResource {
            resource_type: kind,
            resource_name: text(name),
            configs: configs
                .iter()
                .map(|(name, value)| whole::AlterableConfig {
                    name: text(name),
                    value: value.map(text),
                })
                .collect(),
        }],
        validate_only: false,
    };
    for version in 0..=2 {
        let set = alter(TOPIC, "t", &[("segment.ms", Some("8"))]);
        assert_eq!(client.call(version, &set).await.responses[0].error_code, 0);
    }
    assert_eq!(
        value(&mut client, TOPIC, "t", "retention.ms").await,
        of("604800000", 5)
    );
    assert_eq!(
        value(&mut client, TOPIC, "t", "segment.ms").await,
        of("8", 1)
    );
    for (bad, code) in [
        (alter(TOPIC, "t", &[("segment.ms", None)]), 42),
        (alter(TOPIC, "t", &[("segment.ms", Some("x"))]), 40),
        (
            alter(
                TOPIC,
                "t",
                &[("segment.ms", Some("1")), ("segment.ms", Some("2"))],
            ),
            42,
        ),
        (alter(TOPIC, "none", &[]), 3),
        (alter(BROKER, "", &[("num.partitions", Some("1"))]), 42),
        (alter(8, "1", &[]), 42),
    ] {
        assert_eq!(
            client.call(2, &bad).await.responses[0].error_code,
            code,
            "{bad:?}"
        );
    }
    assert_eq!(
        value(&mut client, TOPIC, "t", "segment.ms").await,
        of("8", 1)
    );
}
