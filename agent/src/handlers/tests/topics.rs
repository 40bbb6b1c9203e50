//! Creating, growing and deleting topics.

use floe_protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use floe_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest,
};
use floe_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use floe_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use uuid::Uuid;

use super::{config, create, created, metadata_of, text, topic};
use crate::testing::{Client, agent};

#[tokio::test]
async fn a_created_topic_is_seen_at_once_and_reported_whole() {
    let agent = agent(&[("log.retention.hours", "1")]).await;
    let mut client = Client::connect(&agent).await;
    let mut wanted = topic("orders", 3, 3);
    wanted.configs = vec![config("cleanup.policy", Some("compact"))];
    let answer = client.call(7, &create(vec![wanted])).await;
    let result = &answer.topics[0];
    assert_eq!(
        (
            result.error_code,
            result.num_partitions,
            result.replication_factor
        ),
        (0, 3, 3)
    );
    let configs = result.configs.as_ref().unwrap();
    assert_eq!(configs.len(), 33);
    let of = |name: &str| configs.iter().find(|config| config.name == name).unwrap();
    assert_eq!(of("cleanup.policy").value, Some("compact".into()));
    assert_eq!(of("cleanup.policy").config_source, 1);
    assert_eq!(of("retention.ms").value, Some("3600000".into()));
    assert_eq!(of("retention.ms").config_source, 4);
    assert_eq!(of("max.message.bytes").config_source, 5);

    let seen = client.call(12, &metadata_of(&["orders"])).await;
    assert_eq!(seen.topics[0].topic_id, result.topic_id);
    assert_eq!(seen.topics[0].partitions.len(), 3);
    assert_eq!(seen.topics[0].partitions[2].partition_index, 2);
    assert_eq!(
        seen.topics[0].partitions[2].leader_id,
        agent.broker().unwrap().node_id
    );
}

#[tokio::test]
async fn what_cannot_be_created_gets_kafkas_code_and_names_the_value() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "a.b", 1).await;
    let long = "x".repeat(250);
    let with = |value: CreatableTopic, name, setting| CreatableTopic {
        configs: vec![config(name, setting)],
        ..value
    };
    let node_id = agent.broker().unwrap().node_id;
    let placed = |ids: Vec<(i32, Vec<i32>)>, partitions, factor| CreatableTopic {
        assignments: ids
            .into_iter()
            .map(|(partition_index, broker_ids)| CreatableReplicaAssignment {
                partition_index,
                broker_ids,
            })
            .collect(),
        ..topic("placed", partitions, factor)
    };
    for (wanted, code, words) in [
        (topic("", 1, 1), 17, "the empty string is not allowed"),
        (
            topic("a b", 1, 1),
            17,
            "'a b' contains one or more characters",
        ),
        (
            topic(&long, 1, 1),
            17,
            "longer than the max allowed length 249",
        ),
        (
            topic("__consumer_offsets", 1, 1),
            42,
            "Creation of internal topic __consumer_offsets",
        ),
        (topic("a.b", 1, 1), 36, "Topic 'a.b' already exists."),
        (
            topic("a_b", 1, 1),
            17,
            "Topic 'a_b' collides with existing topic: a.b",
        ),
        (topic("t", 0, 1), 37, "invalid non-positive value"),
        (topic("t", -2, 1), 37, "invalid non-positive value"),
        (topic("t", 1, 0), 38, "must be larger than 0"),
        (topic("t", 1, -2), 38, "must be larger than 0"),
        (
            topic("t", 1, 6),
            38,
            "Replication factor 6 is not between 1 and 5",
        ),
        (topic("t", i32::MAX, 1), 37, "2147483647"),
        (
            with(topic("t", 1, 1), "foo", Some("1")),
            40,
            "Unknown topic config name: foo",
        ),
        (
            with(topic("t", 1, 1), "retention.ms", Some("soon")),
            40,
            "Invalid value soon",
        ),
        (
            with(topic("t", 1, 1), "retention.ms", None),
            40,
            "Null value",
        ),
        (
            placed(vec![(0, vec![node_id])], 1, -1),
            42,
            "numPartitions was not set to -1",
        ),
        (
            placed(vec![(0, vec![node_id])], -1, 1),
            42,
            "replication factor was not set to -1",
        ),
        (
            placed(vec![(0, vec![node_id + 1])], -1, -1),
            39,
            "no such broker is registered",
        ),
        (
            placed(vec![(1, vec![node_id])], -1, -1),
            39,
            "consecutive 0-based",
        ),
        (placed(vec![(0, vec![])], -1, -1), 39, "empty replica list"),
        (
            placed(vec![(0, vec![node_id]), (0, vec![node_id])], -1, -1),
            39,
            "for partition 0",
        ),
    ] {
        let answer = client.call(7, &create(vec![wanted.clone()])).await;
        let result = &answer.topics[0];
        let message = result.error_message.clone().unwrap_or_default();
        assert_eq!(result.error_code, code, "{wanted:?}: {message}");
        assert!(message.contains(words), "{wanted:?}: {message}");
    }
    let topics = client
        .call(
            9,
            &MetadataRequest {
                topics: None,
                ..metadata_of(&[])
            },
        )
        .await
        .topics;
    assert_eq!(topics.len(), 1, "nothing else came into being");
}

#[tokio::test]
async fn one_bad_topic_does_not_concern_the_others() {
    let agent = agent(&[("num.partitions", "4"), ("default.replication.factor", "2")]).await;
    let mut client = Client::connect(&agent).await;
    let request = create(vec![
        topic("twice", 1, 1),
        topic("good", -1, -1),
        topic("twice", 1, 1),
        topic("..", 1, 1),
    ]);
    let answer = client.call(5, &request).await;
    let codes: Vec<_> = answer
        .topics
        .iter()
        .map(|topic| (topic.name.as_str(), topic.error_code))
        .collect();
    assert_eq!(codes, [("twice", 42), ("good", 0), ("..", 17)]);
    assert_eq!(answer.topics[1].num_partitions, 4);
    assert_eq!(answer.topics[1].replication_factor, 2);
}

#[tokio::test]
async fn validation_alone_changes_nothing() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    let request = CreateTopicsRequest {
        validate_only: true,
        ..create(vec![topic("dry", 2, 1)])
    };
    assert_eq!(client.call(7, &request).await.topics[0].error_code, 0);
    assert_eq!(
        client.call(12, &metadata_of(&["dry"])).await.topics[0].error_code,
        3
    );
    created(&mut client, "wet", 1).await;
    let grow = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: "wet".into(),
            count: 2,
            assignments: None,
        }],
        validate_only: true,
        ..CreatePartitionsRequest::default()
    };
    assert_eq!(client.call(3, &grow).await.results[0].error_code, 0);
    assert_eq!(
        client.call(12, &metadata_of(&["wet"])).await.topics[0]
            .partitions
            .len(),
        1
    );
}

#[tokio::test]
async fn partitions_only_become_more() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "t", 2).await;
    let node_id = agent.broker().unwrap().node_id;
    let grow = |name: &str, count, placed: Option<Vec<i32>>| CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: text(name),
            count,
            assignments: placed.map(|ids| vec![CreatePartitionsAssignment { broker_ids: ids }]),
        }],
        timeout_ms: 1000,
        validate_only: false,
    };
    for (request, code, words) in [
        (grow("t", 2, None), 37, "Topic already has 2 partition(s)."),
        (
            grow("t", 1, None),
            37,
            "currently has 2 partition(s); 1 would not be an increase",
        ),
        (grow("none", 5, None), 3, ""),
        (
            grow("t", 4, Some(vec![node_id])),
            39,
            "only 1 assignment(s)",
        ),
        (grow("t", 3, Some(vec![node_id + 1])), 39, "no such broker"),
        (grow("t", 3, Some(vec![node_id])), 0, ""),
        (grow("t", 5, None), 0, ""),
    ] {
        let result = &client.call(3, &request).await.results[0];
        let message = result.error_message.clone().unwrap_or_default();
        assert_eq!(result.error_code, code, "{request:?}: {message}");
        assert!(message.contains(words), "{request:?}: {message}");
    }
    assert_eq!(
        client.call(12, &metadata_of(&["t"])).await.topics[0]
            .partitions
            .len(),
        5
    );
    let twice = CreatePartitionsRequest {
        topics: [grow("t", 6, None).topics, grow("t", 7, None).topics].concat(),
        ..CreatePartitionsRequest::default()
    };
    let results = client.call(3, &twice).await.results;
    assert_eq!(
        (results.len(), results[0].error_code),
        (1, 42),
        "one result per topic"
    );
}

#[tokio::test]
async fn deleting_by_name_and_by_id() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "a", 1).await;
    created(&mut client, "b", 1).await;
    let id = client.call(12, &metadata_of(&["b"])).await.topics[0].topic_id;
    let by_name = DeleteTopicsRequest {
        topic_names: vec!["a".into(), "none".into()],
        timeout_ms: 1000,
        ..DeleteTopicsRequest::default()
    };
    let answer = client.call(5, &by_name).await;
    let codes: Vec<_> = answer
        .responses
        .iter()
        .map(|result| result.error_code)
        .collect();
    assert_eq!(codes, [0, 3]);
    let state = |name: Option<&str>, topic_id| DeleteTopicState {
        name: name.map(text),
        topic_id,
    };
    let by_id = DeleteTopicsRequest {
        topics: vec![
            state(None, id),
            state(None, Uuid::from_u128(99)),
            state(Some("b"), id),
            state(None, Uuid::nil()),
            state(Some("x"), Uuid::nil()),
            state(Some("x"), Uuid::nil()),
        ],
        timeout_ms: 1000,
        ..DeleteTopicsRequest::default()
    };
    let answer = client.call(6, &by_id).await;
    let codes: Vec<_> = answer
        .responses
        .iter()
        .map(|result| result.error_code)
        .collect();
    assert_eq!(codes, [0, 100, 42, 42, 42, 42]);
    assert_eq!(answer.responses[0].name, Some("b".into()));
    assert_eq!(
        client.call(12, &metadata_of(&["a", "b"])).await.topics[1].error_code,
        3
    );
    // The same name again is another topic.
    created(&mut client, "b", 1).await;
    assert_ne!(
        client.call(12, &metadata_of(&["b"])).await.topics[0].topic_id,
        id
    );
}

#[tokio::test]
async fn deletion_can_be_switched_off() {
    let agent = agent(&[("delete.topic.enable", "false")]).await;
    let mut client = Client::connect(&agent).await;
    created(&mut client, "a", 1).await;
    let request = DeleteTopicsRequest {
        topic_names: vec!["a".into()],
        ..DeleteTopicsRequest::default()
    };
    assert_eq!(client.call(5, &request).await.responses[0].error_code, 73);
    assert_eq!(client.call(1, &request).await.responses[0].error_code, 42);
}

#[tokio::test]
async fn topics_create_themselves_where_that_is_enabled() {
    let on = agent(&[("num.partitions", "2")]).await;
    let mut client = Client::connect(&on).await;
    let asking = |names: &[&str]| MetadataRequest {
        allow_auto_topic_creation: true,
        ..metadata_of(names)
    };
    let answer = client
        .call(12, &asking(&["new", "b/d", "__consumer_offsets", "new"]))
        .await;
    let codes: Vec<_> = answer.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [0, 17, 3], "each name once");
    assert_eq!(answer.topics[0].partitions.len(), 2);
    assert!(answer.topics[2].is_internal);
    // Without the flag nothing is created; before version 4 there was no flag.
    assert_eq!(
        client.call(4, &metadata_of(&["other"])).await.topics[0].error_code,
        3
    );
    assert_eq!(
        client.call(3, &metadata_of(&["other"])).await.topics[0].error_code,
        0
    );
    let off = agent(&[("auto.create.topics.enable", "false")]).await;
    let mut client = Client::connect(&off).await;
    assert_eq!(
        client.call(12, &asking(&["new"])).await.topics[0].error_code,
        3
    );
}

#[tokio::test]
async fn topics_of_one_name_created_at_once_are_one_topic() {
    let agent = agent(&[]).await;
    let ask = |agent| async move {
        let mut client = Client::connect(agent).await;
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some("shared".into()),
                ..MetadataRequestTopic::default()
            }]),
            ..MetadataRequest::default()
        };
        loop {
            let topic = client.call(12, &request).await.topics.remove(0);
            match topic.error_code {
                0 => return topic.topic_id,
                // Somebody else's creation is on its way.
                3 => tokio::task::yield_now().await,
                code => panic!("error {code}"),
            }
        }
    };
    let ids = futures::future::join_all((0..10).map(|_| ask(&agent))).await;
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}
