//! APIs that speak of disks, replicas, elections and security, of which there are none.

use floe_protocol::compression::Compression;
use floe_protocol::messages as m;
use floe_protocol::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use floe_protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use floe_protocol::messages::describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest};
use floe_protocol::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use floe_protocol::messages::describe_quorum::{DescribeQuorumRequest, PartitionData, TopicData};
use floe_protocol::messages::elect_leaders::{ElectLeadersRequest, TopicPartitions};
use floe_protocol::record_batch::BatchBuilder;

use super::super::produce::tests::{broker, now_ms, records, request as produce};
use super::{created, text};
use crate::testing::{Client, agent};

#[tokio::test]
async fn the_store_is_one_directory() {
    let (agent, mut client) = broker(&[]).await;
    created(&mut client, "empty", 2).await;
    let written = records(&["a", "b"]);
    client.call(9, &produce(-1, &[(1, written.clone())])).await;
    let dir = agent.broker().unwrap().derived["log.dirs"].clone();
    for version in 1..=4 {
        let all = client
            .call(version, &DescribeLogDirsRequest { topics: None })
            .await;
        assert_eq!((all.error_code, all.results.len()), (0, 1));
        let found = &all.results[0];
        assert_eq!(
            (found.error_code, found.log_dir.as_str()),
            (0, dir.as_str())
        );
        assert_eq!((found.total_bytes, found.usable_bytes), (-1, -1));
        let sizes: Vec<_> = found
            .topics
            .iter()
            .flat_map(|topic| {
                topic
                    .partitions
                    .iter()
                    .map(move |it| (topic.name.as_str(), it))
            })
            .map(|(name, it)| (name, it.partition_index, it.partition_size, it.offset_lag))
            .collect();
        let bytes = i64::try_from(written.len()).unwrap();
        let expected = [
            ("empty", 0, 0, 0),
            ("empty", 1, 0, 0),
            ("t", 0, 0, 0),
            ("t", 1, bytes, 0),
            ("t", 2, 0, 0),
        ];
        assert_eq!(sizes, expected);
    }
    let none = DescribeLogDirsRequest {
        topics: Some(vec![]),
    };
    assert!(client.call(4, &none).await.results[0].topics.is_empty());
    let named_again = [vec![1, 0, 1], vec![2, 1]].map(|partitions| DescribableLogDirTopic {
        topic: text("t"),
        partitions,
    });
    let again = DescribeLogDirsRequest {
        topics: Some(named_again.into()),
    };
    let answer = client.call(4, &again).await;
    let topics = answer.results[0].topics.iter();
    let told: Vec<Vec<_>> = topics
        .map(|topic| {
            topic
                .partitions
                .iter()
                .map(|it| it.partition_index)
                .collect()
        })
        .collect();
    assert_eq!(told, [vec![0, 1, 2]], "each once, or tools add it up twice");
    let alter = AlterReplicaLogDirsRequest {
        dirs: [dir.as_str(), "/elsewhere"]
            .map(|path| AlterReplicaLogDir {
                path: text(path),
                topics: vec![AlterReplicaLogDirTopic {
                    name: text("t"),
                    partitions: vec![0, 7],
                }],
            })
            .into(),
    };
    let answer = client.call(2, &alter).await;
    let codes = answer.results.iter().flat_map(|topic| &topic.partitions);
    let codes: Vec<_> = codes
        .map(|it| (it.partition_index, it.error_code))
        .collect();
    assert_eq!(codes, [(0, 0), (7, 3), (0, 57), (7, 57)]);
}

#[tokio::test]
async fn nothing_is_elected_or_reassigned() {
    let (agent, mut client) = broker(&[]).await;
    let node = agent.broker().unwrap().node_id;
    let elect = |election_type, partitions: Option<(&str, &[i32])>| ElectLeadersRequest {
        election_type,
        topic_partitions: partitions.map(|(topic, partitions)| {
            vec![TopicPartitions {
                topic: text(topic),
                partitions: partitions.to_vec(),
            }]
        }),
        timeout_ms: 1000,
    };
    for kind in [0, 1] {
        let answer = client.call(2, &elect(kind, Some(("t", &[0, 9])))).await;
        assert_eq!(answer.error_code, 0);
        let results = answer.replica_election_results[0].partition_result.iter();
        let codes: Vec<_> = results.map(|it| (it.partition_id, it.error_code)).collect();
        assert_eq!(codes, [(0, 84), (9, 3)]);
    }
    let unknown = client.call(0, &elect(0, Some(("none", &[0])))).await;
    assert_eq!(
        unknown.replica_election_results[0].partition_result[0].error_code,
        3
    );
    let all = client.call(1, &elect(0, None)).await;
    assert_eq!(all.replica_election_results.len(), 1);
    assert!(all.replica_election_results[0].partition_result.is_empty());
    assert_eq!(client.call(2, &elect(7, None)).await.error_code, 42);

    let rows = [
        ("t", 0, Some(vec![node]), 0),
        ("t", 0, Some(vec![node, node]), 39),
        ("t", 0, Some(vec![node ^ 1]), 39),
        ("t", 0, Some(vec![]), 39),
        ("t", 0, None, 85),
        ("t", 5, Some(vec![node]), 3),
        ("none", 0, Some(vec![node]), 3),
    ];
    for (topic, partition_index, replicas, code) in rows {
        let request = AlterPartitionReassignmentsRequest {
            topics: vec![ReassignableTopic {
                name: text(topic),
                partitions: vec![ReassignablePartition {
                    partition_index,
                    replicas,
                }],
            }],
            ..AlterPartitionReassignmentsRequest::default()
        };
        let answer = client.call(1, &request).await;
        assert_eq!(answer.error_code, 0);
        let result = &answer.responses[0].partitions[0];
        assert_eq!(result.error_code, code, "{request:?}");
        assert_eq!(result.error_message.is_some(), code != 0);
    }
    let list = m::list_partition_reassignments::ListPartitionReassignmentsRequest::default();
    let answer = client.call(0, &list).await;
    assert_eq!((answer.error_code, answer.topics.len()), (0, 0));
}

#[tokio::test]
async fn the_owner_of_metadata_is_the_quorum() {
    let agent = agent(&[]).await;
    let node = agent.broker().unwrap().node_id;
    let mut client = Client::connect(&agent).await;
    let ask = |topic: &str, partition_index| DescribeQuorumRequest {
        topics: vec![TopicData {
            topic_name: text(topic),
            partitions: vec![PartitionData { partition_index }],
        }],
    };
    let mut seen = 0;
    for version in 0..=2 {
        created(&mut client, &format!("t{version}"), 1).await;
        let answer = client.call(version, &ask("__cluster_metadata", 0)).await;
        assert_eq!(answer.error_code, 0);
        let found = &answer.topics[0].partitions[0];
        assert_eq!((found.error_code, found.leader_id), (0, node));
        assert!(found.leader_epoch >= 1);
        assert!(found.high_watermark > seen, "each change counts");
        seen = found.high_watermark;
        let voters: Vec<_> = found
            .current_voters
            .iter()
            .map(|it| it.replica_id)
            .collect();
        assert_eq!((voters, found.observers.len()), (vec![node], 0));
        if version == 2 {
            let port = agent.addresses()[0].local.port();
            assert_eq!(answer.nodes[0].node_id, node);
            let listener = &answer.nodes[0].listeners[0];
            assert_eq!((listener.name.as_str(), listener.port), ("DEFAULT", port));
        }
    }
    for (topic, partition) in [("__cluster_metadata", 1), ("t0", 0)] {
        let answer = client.call(2, &ask(topic, partition)).await;
        assert_eq!(answer.topics[0].partitions[0].error_code, 3);
    }
    for (broker_id, code) in [(node, 42), (node ^ 1, 102), (-1, 102)] {
        let request = m::unregister_broker::UnregisterBrokerRequest { broker_id };
        assert_eq!(client.call(0, &request).await.error_code, code);
    }
}

#[tokio::test]
async fn producers_with_sequences_are_told_of() {
    let (_agent, mut client) = broker(&[]).await;
    let now = now_ms();
    let mut builder = BatchBuilder::new(Compression::None).producer(77, 3, 0);
    builder.append(now, None, Some(b"a"));
    builder.append(now, None, Some(b"b"));
    let batch = builder.build().unwrap();
    let answer = client.call(9, &produce(-1, &[(0, batch)])).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    client
        .call(9, &produce(-1, &[(1, records(&["plain"]))]))
        .await;
    let request = DescribeProducersRequest {
        topics: [("t", vec![0, 1, 9]), ("none", vec![0])]
            .map(|(name, partition_indexes)| TopicRequest {
                name: text(name),
                partition_indexes,
            })
            .into(),
    };
    let answer = client.call(0, &request).await;
    let partitions: Vec<_> = answer.topics.iter().flat_map(|it| &it.partitions).collect();
    let codes: Vec<_> = partitions.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [0, 0, 3, 3]);
    let [only] = partitions[0].active_producers.as_slice() else {
        panic!("{:?}", partitions[0]);
    };
    assert_eq!(
        (only.producer_id, only.producer_epoch, only.last_sequence),
        (77, 3, 1)
    );
    assert_eq!(
        (only.last_timestamp, only.current_txn_start_offset),
        (now, -1)
    );
    assert!(partitions[1].active_producers.is_empty());
}

#[tokio::test]
async fn there_are_no_transactions_credentials_acls_or_tokens() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    let describe = m::describe_transactions::DescribeTransactionsRequest {
        transactional_ids: vec![text("a"), text("b")],
    };
    let answer = client.call(0, &describe).await;
    let codes: Vec<_> = answer
        .transaction_states
        .iter()
        .map(|it| it.error_code)
        .collect();
    assert_eq!(codes, [105, 105]);
    let list =
        |states: &[&str], pattern: Option<&str>| m::list_transactions::ListTransactionsRequest {
            state_filters: states.iter().map(|it| text(it)).collect(),
            transactional_id_pattern: pattern.map(text),
            ..m::list_transactions::ListTransactionsRequest::default()
        };
    let answer = client
        .call(2, &list(&["Ongoing", "Lost"], Some("a.*")))
        .await;
    assert_eq!((answer.error_code, answer.transaction_states.len()), (0, 0));
    assert_eq!(answer.unknown_state_filters, [text("Lost")]);
    assert_eq!(client.call(2, &list(&[], Some("("))).await.error_code, 128);
    assert_eq!(client.call(0, &list(&[], None)).await.error_code, 0);

    let scram = |users: Option<&[&str]>| {
        use m::describe_user_scram_credentials::{DescribeUserScramCredentialsRequest, UserName};
        DescribeUserScramCredentialsRequest {
            users: users.map(|users| users.iter().map(|it| UserName { name: text(it) }).collect()),
        }
    };
    assert!(client.call(0, &scram(None)).await.results.is_empty());
    assert!(client.call(0, &scram(Some(&[]))).await.results.is_empty());
    let answer = client.call(0, &scram(Some(&["a", "b", "a"]))).await;
    let codes = answer
        .results
        .iter()
        .map(|it| (it.user.to_string(), it.error_code));
    let codes: Vec<_> = codes.collect();
    assert_eq!(codes, [("a".to_owned(), 92), ("b".to_owned(), 91)]);

    for version in 1..=3 {
        let acls = m::describe_acls::DescribeAclsRequest::default();
        assert_eq!(client.call(version, &acls).await.error_code, 54);
        let acls = m::create_acls::CreateAclsRequest {
            creations: vec![m::create_acls::AclCreation::default(); 2],
        };
        let answer = client.call(version, &acls).await;
        let codes: Vec<_> = answer.results.iter().map(|it| it.error_code).collect();
        assert_eq!(codes, [54, 54]);
        let acls = m::delete_acls::DeleteAclsRequest {
            filters: vec![m::delete_acls::DeleteAclsFilter::default()],
        };
        let answer = client.call(version, &acls).await;
        assert_eq!(answer.filter_results[0].error_code, 54);
        let token = m::create_delegation_token::CreateDelegationTokenRequest::default();
        assert_eq!(client.call(version, &token).await.error_code, 64);
        let token = m::describe_delegation_token::DescribeDelegationTokenRequest::default();
        assert_eq!(client.call(version, &token).await.error_code, 64);
    }
    let token = m::renew_delegation_token::RenewDelegationTokenRequest::default();
    assert_eq!(client.call(2, &token).await.error_code, 64);
    let token = m::expire_delegation_token::ExpireDelegationTokenRequest::default();
    assert_eq!(client.call(1, &token).await.error_code, 64);
}
