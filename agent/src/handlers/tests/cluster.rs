//! Metadata, the cluster, coordinators and producer ids.

use std::collections::BTreeSet;

use floe_protocol::messages::describe_cluster::DescribeClusterRequest;
use floe_protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, TopicRequest,
};
use floe_protocol::messages::find_coordinator::FindCoordinatorRequest;
use floe_protocol::messages::init_producer_id::InitProducerIdRequest;
use floe_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use uuid::Uuid;

use super::{created, metadata_of, text};
use crate::config::ListenerConfig;
use crate::start::start;
use crate::testing::{self, Client, agent, local};

#[tokio::test]
async fn metadata_names_one_broker_and_the_cluster_in_every_version() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "b", 1).await;
    created(&mut client, "a", 2).await;
    let port = i32::from(agent.addresses()[0].local.port());
    for version in 0..=13 {
        let all = MetadataRequest {
            topics: (version == 0).then(Vec::new),
            allow_auto_topic_creation: true,
            ..MetadataRequest::default()
        };
        let answer = client.call(version, &all).await;
        assert_eq!(answer.brokers.len(), 1, "version {version}");
        let broker = &answer.brokers[0];
        assert_eq!(
            (broker.host.as_str(), broker.port),
            ("127.0.0.1", port),
            "version {version}"
        );
        assert_eq!(broker.node_id, agent.broker().unwrap().node_id);
        let names: Vec<_> = answer
            .topics
            .iter()
            .map(|topic| topic.name.clone().unwrap_or_default())
            .collect();
        assert_eq!(names, ["a", "b"], "version {version}: sorted by name");
        if version >= 1 {
            assert_eq!(answer.controller_id, broker.node_id);
            let none = MetadataRequest {
                topics: Some(Vec::new()),
                ..all
            };
            assert!(
                client.call(version, &none).await.topics.is_empty(),
                "version {version}"
            );
        }
        if version >= 2 {
            assert_eq!(
                answer.cluster_id.as_deref(),
                Some(agent.broker().unwrap().cluster_id.as_str())
            );
        }
    }
}

#[tokio::test]
async fn operations_are_told_when_asked_for() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "a", 1).await;
    let answer = client.call(9, &metadata_of(&["a"])).await;
    assert_eq!(answer.topics[0].topic_authorized_operations, i32::MIN);
    assert_eq!(answer.cluster_authorized_operations, i32::MIN);
    let asking = MetadataRequest {
        include_topic_authorized_operations: true,
        include_cluster_authorized_operations: true,
        ..metadata_of(&["a"])
    };
    let answer = client.call(9, &asking).await;
    assert_eq!(answer.topics[0].topic_authorized_operations, 3576);
    assert_eq!(answer.cluster_authorized_operations, 8096);
}

#[tokio::test]
async fn topics_by_id() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "a", 1).await;
    let id = client.call(12, &metadata_of(&["a"])).await.topics[0].topic_id;
    let by_id = |topic_id, name: Option<&str>| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            topic_id,
            name: name.map(text),
        }]),
        ..MetadataRequest::default()
    };
    let found = client.call(12, &by_id(id, None)).await;
    assert_eq!(found.topics[0].name, Some("a".into()));
    let unknown = client.call(12, &by_id(Uuid::from_u128(5), None)).await;
    assert_eq!(unknown.topics[0].error_code, 100);
    assert_eq!(unknown.topics[0].name, None);
    for version in [10, 11] {
        for request in [by_id(id, None), by_id(id, Some("a"))] {
            let answer = client.call(version, &request).await;
            assert_eq!(answer.topics[0].error_code, 42, "version {version}");
            assert!(answer.brokers.is_empty(), "version {version}");
        }
    }
}

#[tokio::test]
async fn each_listener_tells_its_own_address() {
    let mut config = testing::config(&[]);
    let outside = crate::broker::Endpoint {
        host: "example.org".to_owned(),
        port: 19_093,
    };
    config.listeners.push(ListenerConfig {
        name: "outside".to_owned(),
        listen: local(0),
        advertise: Some(outside),
    });
    config.listeners.push(ListenerConfig {
        name: "all".to_owned(),
        listen: crate::broker::Endpoint {
            host: "0.0.0.0".to_owned(),
            port: 0,
        },
        advertise: None,
    });
    config.zone = Some("z1".to_owned());
    let agent = start(config).await.unwrap();
    let mut told = Vec::new();
    for listener in 0..3 {
        let mut client = Client::connect_to(&agent, listener).await;
        let broker = client.call(9, &metadata_of(&[])).await.brokers.remove(0);
        assert_eq!(broker.rack, Some("z1".into()));
        let cluster = client
            .call(
                2,
                &DescribeClusterRequest {
                    endpoint_type: 1,
                    ..DescribeClusterRequest::default()
                },
            )
            .await;
        assert_eq!(
            (&cluster.brokers[0].host, cluster.brokers[0].port),
            (&broker.host, broker.port)
        );
        let request = FindCoordinatorRequest {
            key: "g".into(),
            ..FindCoordinatorRequest::default()
        };
        let coordinator = client.call(1, &request).await;
        assert_eq!(
            (&coordinator.host, coordinator.port),
            (&broker.host, broker.port)
        );
        told.push((broker.host.to_string(), broker.port));
    }
    let port = |listener: usize| i32::from(agent.addresses()[listener].local.port());
    assert_eq!(told[0], ("127.0.0.1".to_owned(), port(0)));
    assert_eq!(told[1], ("example.org".to_owned(), 19_093));
    assert_eq!(
        told[2],
        ("127.0.0.1".to_owned(), port(2)),
        "the address the client came in on"
    );
}

#[tokio::test]
async fn endpoint_types_of_the_cluster() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    for (endpoint_type, expected) in [(1, 0), (2, 114), (3, 115), (0, 115), (-1, 115)] {
        let request = DescribeClusterRequest {
            endpoint_type,
            include_cluster_authorized_operations: true,
            ..DescribeClusterRequest::default()
        };
        let answer = client.call(1, &request).await;
        assert_eq!(answer.error_code, expected, "endpoint type {endpoint_type}");
        if expected == 0 {
            assert_eq!(answer.cluster_authorized_operations, 8096);
        }
    }
}

#[tokio::test]
async fn every_group_is_coordinated_here() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    let node_id = agent.broker().unwrap().node_id;
    for version in 0..=6 {
        for (key_type, key, expected) in [
            (0, "g", 0),
            (1, "t", 0),
            (9, "x", 42),
            (2, "g:AAAAAAAAAAAAAAAAAAAAAA:0", 42),
            (2, "g", 42),
        ] {
            if version == 0 && key_type != 0 {
                continue;
            }
            let expected = if version == 6 && key.len() > 20 {
                0
            } else {
                expected
            };
            let request = FindCoordinatorRequest {
                key: text(key),
                key_type,
                coordinator_keys: vec![text(key)],
            };
            let answer = client.call(version, &request).await;
            let (code, id) = match answer.coordinators.first() {
                Some(found) => (found.error_code, found.node_id),
                None => (answer.error_code, answer.node_id),
            };
            assert_eq!(
                code, expected,
                "version {version}, type {key_type}, key {key}"
            );
            assert_eq!(id, if expected == 0 { node_id } else { -1 });
        }
    }
}

#[tokio::test]
async fn producer_ids_are_never_given_twice() {
    let agent = agent(&[]).await;
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let mut client = Client::connect(&agent).await;
        for version in 0..=5 {
            for _ in 0..100 {
                let request = InitProducerIdRequest {
                    transactional_id: None,
                    transaction_timeout_ms: 60_000,
                    ..InitProducerIdRequest::default()
                };
                let answer = client.call(version, &request).await;
                assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
                assert!(
                    ids.insert(answer.producer_id),
                    "{} given twice",
                    answer.producer_id
                );
            }
        }
    }
    let mut client = Client::connect(&agent).await;
    for (transactional_id, producer_id, producer_epoch, expected) in [
        (Some(""), -1, -1, 42),
        (Some("tx"), -1, -1, 53),
        (None, 5, -1, 42),
        (None, -1, 5, 42),
    ] {
        let request = InitProducerIdRequest {
            transactional_id: transactional_id.map(text),
            transaction_timeout_ms: 60_000,
            producer_id,
            producer_epoch,
        };
        let answer = client.call(5, &request).await;
        assert_eq!(
            (answer.error_code, answer.producer_id),
            (expected, -1),
            "{transactional_id:?}"
        );
    }
}

#[tokio::test]
async fn topics_page_by_page() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    for (name, partitions) in [("a", 2), ("b", 3), ("c", 1)] {
        created(&mut client, name, partitions).await;
    }
    let page =
        |limit, cursor: Option<(&str, i32)>, names: &[&str]| DescribeTopicPartitionsRequest {
            topics: names
                .iter()
                .map(|name| TopicRequest { name: text(name) })
                .collect(),
            response_partition_limit: limit,
            cursor: cursor.map(|(topic_name, partition_index)| {
                Cursor {
                    topic_name: text(topic_name),
                    partition_index,
                }
                .into()
            }),
        };
    let mut seen = Vec::new();
    let mut cursor = None;
    for _ in 0..10 {
        let at = cursor
            .as_ref()
            .map(|(name, partition): &(String, i32)| (name.as_str(), *partition));
        let answer = client.call(0, &page(2, at, &[])).await;
        let count: usize = answer
            .topics
            .iter()
            .map(|topic| topic.partitions.len())
            .sum();
        assert!(count <= 2);
        for topic in &answer.topics {
            for partition in &topic.partitions {
                seen.push((
                    topic.name.clone().unwrap().to_string(),
                    partition.partition_index,
                ));
            }
        }
        match answer.next_cursor {
            Some(next) => cursor = Some((next.topic_name.to_string(), next.partition_index)),
            None => break,
        }
    }
    let expected: Vec<_> = [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2), ("c", 0)]
        .map(|(name, partition)| (name.to_owned(), partition))
        .into();
    assert_eq!(seen, expected);
    let named = client
        .call(0, &page(2000, None, &["c", "none", "b/d", "a", "a"]))
        .await;
    let codes: Vec<_> = named
        .topics
        .iter()
        .map(|topic| (topic.name.clone().unwrap().to_string(), topic.error_code))
        .collect();
    let expected = [("a", 0), ("b/d", 17), ("c", 0), ("none", 3)];
    assert_eq!(codes, expected.map(|(name, code)| (name.to_owned(), code)));
    assert_eq!(named.topics[0].topic_authorized_operations, 3576);
    // A limit below 1 counts as 1; a cursor past everything finds nothing.
    let answer = client.call(0, &page(0, None, &[])).await;
    assert_eq!(answer.topics[0].partitions.len(), 1);
    let answer = client.call(0, &page(10, Some(("z", 0)), &[])).await;
    assert!(answer.topics.is_empty() && answer.next_cursor.is_none());
    let within = client
        .call(0, &page(10, Some(("b", 1)), &["a", "b", "c"]))
        .await;
    let names: Vec<_> = within
        .topics
        .iter()
        .map(|it| it.name.clone().unwrap())
        .collect();
    assert_eq!(names, [text("b"), text("c")]);
    assert_eq!(within.topics[0].partitions[0].partition_index, 1);
    // A cursor that is outside of what is asked for.
    for cursor in [("b", -1), ("z", 0)] {
        let answer = client.call(0, &page(10, Some(cursor), &["a", "b"])).await;
        let codes: Vec<_> = answer.topics.iter().map(|it| it.error_code).collect();
        assert_eq!(codes, [42, 42], "{cursor:?}");
    }
}
