//! DescribeConfigs, and what other requests change of what it says.

use floe_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
};

use super::{config, create, text, topic};
use crate::config::ListenerConfig;
use crate::start::start;
use crate::testing::{self, Client, agent, local};
use crate::topic_config::BROKER_CONFIGS;

pub(super) fn describe(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsRequest {
    DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: kind,
            resource_name: text(name),
            configuration_keys: keys.map(|keys| keys.iter().map(|key| text(key)).collect()),
        }],
        include_synonyms: true,
        include_documentation: true,
    }
}

pub(super) fn find<'a>(
    configs: &'a [DescribeConfigsResourceResult],
    name: &str,
) -> &'a DescribeConfigsResourceResult {
    configs.iter().find(|config| config.name == name).unwrap()
}

#[tokio::test]
async fn all_configs_of_a_topic_and_where_they_come_from() {
    let agent = agent(&[("log.retention.minutes", "10")]).await;
    let mut client = Client::connect(&agent).await;
    let mut wanted = topic("t", 1, 1);
    wanted.configs = vec![config("max.message.bytes", Some("2000"))];
    client.call(7, &create(vec![wanted])).await;
    for version in 1..=4 {
        let answer = client.call(version, &describe(2, "t", None)).await;
        let configs = &answer.results[0].configs;
        assert_eq!(configs.len(), 33, "version {version}");
        let own = find(configs, "max.message.bytes");
        assert_eq!((own.value.as_deref(), own.config_source), (Some("2000"), 1));
        let sources: Vec<_> = own
            .synonyms
            .iter()
            .map(|one| (one.name.as_str(), one.source))
            .collect();
        assert_eq!(
            sources,
            [("max.message.bytes", 1), ("message.max.bytes", 5)]
        );
        let retention = find(configs, "retention.ms");
        assert_eq!(
            (retention.value.as_deref(), retention.config_source),
            (Some("600000"), 4)
        );
        let sources: Vec<_> = retention
            .synonyms
            .iter()
            .map(|one| (one.name.as_str(), one.source))
            .collect();
        assert_eq!(sources, [("log.retention.minutes", 4)]);
        assert!(!retention.read_only);
        if version >= 3 {
            assert_eq!(retention.config_type, 5);
            assert!(
                retention
                    .documentation
                    .as_ref()
                    .is_some_and(|words| !words.is_empty())
            );
        }
    }
}

#[tokio::test]
async fn only_what_was_asked_for() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    client.call(7, &create(vec![topic("t", 1, 1)])).await;
    let keys = ["retention.ms", "no.such.config"];
    let mut request = describe(2, "t", Some(&keys));
    request.include_synonyms = false;
    request.include_documentation = false;
    let answer = client.call(4, &request).await;
    let configs = &answer.results[0].configs;
    assert_eq!(configs.len(), 1, "unknown keys are left out");
    assert_eq!(configs[0].documentation, None);
    assert!(configs[0].synonyms.is_empty());
}

#[tokio::test]
async fn the_broker_and_what_else_can_be_described() {
    let agent = agent(&[("num.partitions", "7")]).await;
    let mut client = Client::connect(&agent).await;
    let node_id = agent.broker().unwrap().node_id.to_string();
    let answer = client.call(4, &describe(4, &node_id, None)).await;
    let configs = &answer.results[0].configs;
    assert_eq!(configs.len(), BROKER_CONFIGS.len());
    let partitions = find(configs, "num.partitions");
    assert_eq!(
        (partitions.value.as_deref(), partitions.config_source),
        (Some("7"), 4)
    );
    assert!(partitions.read_only);
    assert_eq!(
        find(configs, "node.id").value.as_deref(),
        Some(node_id.as_str())
    );
    assert_eq!(find(configs, "auto.create.topics.enable").config_source, 5);
    for (kind, name, expected) in [
        (2, "none", 3),
        (2, "b/d", 17),
        (4, "", 0),
        (4, "12345", 42),
        (4, "x", 42),
        (8, node_id.as_str(), 0),
        (8, "", 42),
        (16, "", 42),
        (32, "", 42),
        (1, "t", 42),
        (0, "t", 42),
        (-5, "t", 42),
    ] {
        let result = &client.call(4, &describe(kind, name, None)).await.results[0];
        assert_eq!(result.error_code, expected, "type {kind}, name '{name}'");
        assert!(result.configs.is_empty(), "type {kind}, name '{name}'");
        let message = result.error_message.clone().unwrap_or_default();
        assert_eq!(message.is_empty(), expected == 0);
    }
}

#[tokio::test]
async fn groups_and_subscriptions_have_defaults_whether_they_exist_or_not() {
    let agent = agent(&[("group.consumer.session.timeout.ms", "50000")]).await;
    let mut client = Client::connect(&agent).await;
    let groups = client.call(4, &describe(32, "any", None)).await;
    let configs = &groups.results[0].configs;
    assert_eq!(configs.len(), 11);
    let timeout = find(configs, "consumer.session.timeout.ms");
    assert_eq!(
        (timeout.value.as_deref(), timeout.config_source),
        (Some("50000"), 5)
    );
    assert!(!timeout.read_only);
    let synonyms = timeout.synonyms.iter();
    let synonyms: Vec<_> = synonyms
        .map(|it| (it.value.as_deref(), it.source))
        .collect();
    assert_eq!(synonyms, [(Some("50000"), 5)]);
    let metrics = client.call(4, &describe(16, "any", None)).await;
    let configs = &metrics.results[0].configs;
    assert_eq!(configs.len(), 3);
    assert_eq!(
        find(configs, "interval.ms").value.as_deref(),
        Some("300000")
    );
    assert_eq!(find(configs, "metrics").config_type, 7);
}

#[tokio::test]
async fn another_broker_is_described_by_what_it_advertises() {
    let mut config = testing::config(&[]);
    config.listeners = [Some(local(9)), None]
        .into_iter()
        .zip(["default", "inside"])
        .map(|(advertise, name)| ListenerConfig {
            name: name.to_owned(),
            listen: local(0),
            advertise,
        })
        .collect();
    let agent = start(config).await.unwrap();
    let own = agent.broker().unwrap().node_id;
    let mut client = Client::connect(&agent).await;
    let answer = client.call(4, &describe(4, &own.to_string(), None)).await;
    let configs = &answer.results[0].configs;
    let advertised = find(configs, "advertised.listeners").value.clone();
    assert!(advertised.unwrap().contains("DEFAULT://127.0.0.1:9"));
    let strange = client
        .call(4, &describe(4, &(own ^ 1).to_string(), None))
        .await;
    assert_eq!(strange.results[0].error_code, 42);
}
