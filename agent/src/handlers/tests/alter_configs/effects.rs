//! What changed configs do: layers of brokers, lists, produce, and what ListConfigResources tells.

use floe_protocol::compression::Compression;
use floe_protocol::messages::list_config_resources::ListConfigResourcesRequest;
use floe_protocol::record_batch::BatchBuilder;

use super::super::super::produce::tests::{broker, now_ms, request as produce};
use super::*;

#[tokio::test]
async fn brokers_take_defaults_of_topics_while_they_run() {
    let agent = agent(&[("log.retention.ms", "1000")]).await;
    let node = agent.broker().unwrap().node_id.to_string();
    let mut client = Client::connect(&agent).await;
    created(&mut client, "t", 1).await;
    let retention = [set("log.retention.ms", "2000")];
    assert_eq!(alter(&mut client, BROKER, "", &retention).await, ok());
    assert_eq!(
        value(&mut client, TOPIC, "t", "retention.ms").await,
        of("2000", 3)
    );
    assert_eq!(
        value(&mut client, BROKER, "", "log.retention.ms").await,
        of("2000", 3)
    );
    let retention = [set("log.retention.ms", "3000")];
    assert_eq!(alter(&mut client, BROKER, &node, &retention).await, ok());
    assert_eq!(
        value(&mut client, TOPIC, "t", "retention.ms").await,
        of("3000", 2)
    );
    let answer = client
        .call(4, &describe(BROKER, &node, Some(&["log.retention.ms"])))
        .await;
    let described = find(&answer.results[0].configs, "log.retention.ms");
    assert!(!described.read_only);
    let synonyms = described.synonyms.iter();
    let synonyms: Vec<_> = synonyms
        .map(|it| (it.value.as_deref().unwrap(), it.source))
        .collect();
    assert_eq!(synonyms, [("3000", 2), ("2000", 3), ("1000", 4)]);
    let delete = [(1, "log.retention.ms", None)];
    assert_eq!(alter(&mut client, BROKER, &node, &delete).await, ok());
    assert_eq!(alter(&mut client, BROKER, "", &delete).await, ok());
    assert_eq!(
        value(&mut client, TOPIC, "t", "retention.ms").await,
        of("1000", 4)
    );
    // What Kafka's tools set and take away while they move replicas.
    let throttle = [set("leader.replication.throttled.rate", "1000")];
    assert_eq!(alter(&mut client, BROKER, &node, &throttle).await, ok());
}

#[tokio::test]
async fn what_has_configs_is_listed() {
    let agent = agent(&[]).await;
    let node = agent.broker().unwrap().node_id.to_string();
    let mut client = Client::connect(&agent).await;
    created(&mut client, "t", 1).await;
    let timeout = [set("consumer.session.timeout.ms", "50000")];
    assert_eq!(alter(&mut client, GROUP, "g", &timeout).await, ok());
    assert_eq!(
        value(&mut client, GROUP, "g", "consumer.session.timeout.ms").await,
        of("50000", 8)
    );
    assert_eq!(
        alter(&mut client, 16, "s", &[set("interval.ms", "1000")]).await,
        ok()
    );
    assert_eq!(
        value(&mut client, 16, "s", "interval.ms").await,
        of("1000", 7)
    );
    let mut list = async |version, types: &[i8]| {
        let request = ListConfigResourcesRequest {
            resource_types: types.to_vec(),
        };
        let answer = client.call(version, &request).await;
        let listed = answer.config_resources.into_iter();
        let listed: Vec<_> = listed
            .map(|it| (it.resource_type, it.resource_name.to_string()))
            .collect();
        (answer.error_code, listed)
    };
    let all: Vec<_> = [(2, "t"), (4, &node), (8, &node), (16, "s"), (32, "g")]
        .map(|(kind, name)| (kind, name.to_owned()))
        .into();
    assert_eq!(list(1, &[]).await, (0, all.clone()));
    assert_eq!(list(0, &[]).await, (0, vec![all[3].clone()]));
    assert_eq!(
        list(1, &[32, 2]).await,
        (0, vec![all[0].clone(), all[4].clone()])
    );
    assert_eq!(list(1, &[2, 3]).await, (35, vec![]));
    let forget = [(1, "consumer.session.timeout.ms", None)];
    assert_eq!(alter(&mut client, GROUP, "g", &forget).await, ok());
    let listed = client
        .call(
            1,
            &ListConfigResourcesRequest {
                resource_types: vec![GROUP],
            },
        )
        .await;
    assert!(listed.config_resources.is_empty());
}

#[tokio::test]
async fn lists_that_two_clients_add_to_at_once_lose_nothing() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "t", 1).await;
    let key = "leader.replication.throttled.replicas";
    let adding = (0..8).map(|n| {
        let agent = &agent;
        async move {
            let mut client = Client::connect(agent).await;
            let element = format!("{n}:{n}");
            let append = [(2, key, Some(element.as_str()))];
            assert_eq!(alter(&mut client, TOPIC, "t", &append).await, ok());
        }
    });
    futures::future::join_all(adding).await;
    let (list, _) = value(&mut client, TOPIC, "t", key).await;
    let mut list: Vec<_> = list.split(',').collect();
    list.sort_unstable();
    let all: Vec<_> = (0..8).map(|n| format!("{n}:{n}")).collect();
    assert_eq!(list, all);
}

#[tokio::test]
async fn produce_goes_by_the_new_values_at_once() {
    let (_agent, mut client) = broker(&[]).await;
    let batch = |key: Option<&[u8]>, time| {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.append(time, key, Some(b"value"));
        builder.build().unwrap()
    };
    let now = now_ms();
    let mut steps = Vec::new();
    for (name, value, bytes) in [
        ("max.message.bytes", "40", batch(Some(b"k"), now)),
        (
            "message.timestamp.before.max.ms",
            "1000",
            batch(None, now - 60_000),
        ),
        (
            "message.timestamp.after.max.ms",
            "1000",
            batch(None, now + 60_000),
        ),
        ("cleanup.policy", "compact", batch(None, now)),
    ] {
        let mut codes = Vec::new();
        for ops in [vec![], vec![set(name, value)], vec![(1, name, None)]] {
            assert_eq!(alter(&mut client, TOPIC, "t", &ops).await, ok());
            let answer = client.call(9, &produce(-1, &[(0, bytes.clone())])).await;
            let result = &answer.responses[0].partition_responses[0];
            codes.push((result.error_code, result.record_errors.len()));
        }
        steps.push((name, codes));
    }
    let refused = |code, records| vec![(0, 0), (code, records), (0, 0)];
    let expected = [
        ("max.message.bytes", refused(10, 0)),
        ("message.timestamp.before.max.ms", refused(32, 1)),
        ("message.timestamp.after.max.ms", refused(32, 1)),
        ("cleanup.policy", refused(87, 1)),
    ];
    assert_eq!(steps, expected);
}

#[tokio::test]
async fn the_time_of_log_append_is_found_again() {
    let (_agent, mut client) = broker(&[]).await;
    let stamp = [set("message.timestamp.type", "LogAppendTime")];
    assert_eq!(alter(&mut client, TOPIC, "t", &stamp).await, ok());
    let mut builder = BatchBuilder::new(Compression::Zstd);
    let sent = now_ms() - 1_000_000;
    builder.append(sent, Some(b"k"), Some(b"a"));
    builder.append(sent + 1, Some(b"k"), Some(b"b"));
    let bytes = builder.build().unwrap();
    let answer = client.call(9, &produce(-1, &[(0, bytes)])).await;
    let stamped = answer.responses[0].partition_responses[0].log_append_time_ms;
    assert!(stamped > sent + 1);
    for timestamp in [0, sent + 1, stamped, -3] {
        let found = listed(&mut client, timestamp).await;
        assert_eq!(found, (0, stamped), "{timestamp}");
    }
    assert_eq!(listed(&mut client, stamped + 1).await, (-1, -1));
}
