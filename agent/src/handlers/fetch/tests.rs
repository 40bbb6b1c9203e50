//! Fetch as a client sees it: sessions, versions and what is refused.

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic, PartitionData,
    ReplicaState,
};
use floe_protocol::messages::produce::ProduceRequest;
use floe_protocol::record_batch::BatchHeader;
use floe_protocol::str::Str;
use uuid::Uuid;

use super::super::produce::tests::{broker, records, request as produce};
use crate::testing::Client;

fn fetch(partitions: &[(i32, i64)]) -> FetchRequest {
    let partitions = partitions
        .iter()
        .map(|(partition, fetch_offset)| FetchPartition {
            partition: *partition,
            fetch_offset: *fetch_offset,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        });
    let topic = FetchTopic {
        topic: Str::from_static("t"),
        partitions: partitions.collect(),
        ..FetchTopic::default()
    };
    FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

async fn write(client: &mut Client, partition: i32, values: &[&str]) {
    let request: ProduceRequest = produce(-1, &[(partition, records(values))]);
    let response = client.call(9, &request).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

fn all(response: &FetchResponse) -> Vec<&PartitionData> {
    response
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions)
        .collect()
}

/// Partition, error, bytes of records per answered partition.
fn seen(response: &FetchResponse) -> Vec<(i32, i16, bool)> {
    let row = |data: &PartitionData| {
        (
            data.partition_index,
            data.error_code,
            data.records.as_ref().unwrap().is_empty(),
        )
    };
    all(response).into_iter().map(row).collect()
}

#[tokio::test]
async fn the_whole_batch_that_holds_the_offset() {
    let (_agent, mut client) = broker(&[]).await;
    write(&mut client, 0, &["a", "b", "c"]).await;
    write(&mut client, 0, &["d"]).await;
    for version in [4, 7, 11, 12] {
        let request = FetchRequest {
            max_wait_ms: 5000,
            ..fetch(&[(0, 2)])
        };
        let response = client.call(version, &request).await;
        let data = all(&response)[0].clone();
        assert_eq!(
            (
                data.error_code,
                data.high_watermark,
                data.last_stable_offset
            ),
            (0, 4, 4)
        );
        assert_eq!(data.aborted_transactions, None, "version {version}");
        let bytes = data.records.unwrap().into_bytes();
        let first = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(
            (first.base_offset, first.last_offset(), first.leader_epoch),
            (0, 2, 0)
        );
        let second = BatchHeader::parse(&bytes[first.size_bytes()..]).unwrap();
        assert_eq!(second.base_offset, 3);
    }
}

#[tokio::test]
async fn the_first_batch_comes_whatever_the_limits() {
    let (_agent, mut client) = broker(&[]).await;
    for partition in [0, 1] {
        write(&mut client, partition, &["a"]).await;
        write(&mut client, partition, &["b"]).await;
    }
    let mut request = fetch(&[(2, 0), (0, 0), (1, 0)]);
    request.max_bytes = 0;
    for partition in &mut request.topics[0].partitions {
        partition.partition_max_bytes = 1;
    }
    let response = client.call(11, &request).await;
    assert_eq!(seen(&response), [(2, 0, true), (0, 0, false), (1, 0, true)]);
    let bytes = all(&response)[1].records.clone().unwrap().into_bytes();
    assert_eq!(
        BatchHeader::parse(&bytes).unwrap().size_bytes(),
        bytes.len(),
        "one batch"
    );
}

#[tokio::test]
async fn bad_requests_are_refused_as_a_whole() {
    let (_agent, mut client) = broker(&[]).await;
    let replica = FetchRequest {
        replica_id: 1,
        ..fetch(&[(0, 0)])
    };
    let state = ReplicaState {
        replica_id: 1,
        ..ReplicaState::default()
    };
    let new_replica = FetchRequest {
        replica_state: state,
        ..fetch(&[(0, 0)])
    };
    let isolation = FetchRequest {
        isolation_level: 2,
        ..fetch(&[(0, 0)])
    };
    let negative = FetchRequest {
        max_bytes: -1,
        ..fetch(&[(0, 0)])
    };
    let rows = [
        (11, replica.clone(), ErrorCode::ClusterAuthorizationFailed),
        (17, new_replica, ErrorCode::ClusterAuthorizationFailed),
        (11, isolation, ErrorCode::InvalidRequest),
        (11, negative, ErrorCode::InvalidRequest),
    ];
    for (version, request, code) in rows {
        let response = client.call(version, &request).await;
        assert_eq!(response.error_code, code.code());
        assert!(response.responses.is_empty());
    }
    let response = client.call(6, &replica).await;
    assert_eq!(
        all(&response)[0].error_code,
        ErrorCode::ClusterAuthorizationFailed.code()
    );
}

#[tokio::test]
async fn a_session_tells_only_what_changed() {
    let (_agent, mut client) = broker(&[]).await;
    write(&mut client, 1, &["a"]).await;
    let open = FetchRequest {
        session_epoch: 0,
        ..fetch(&[(0, 0), (1, 0)])
    };
    let response = client.call(11, &open).await;
    assert_eq!(seen(&response), [(0, 0, true), (1, 0, false)]);
    let session_id = response.session_id;
    assert!(session_id > 0);

    let mut next = FetchRequest {
        session_id,
        session_epoch: 1,
        ..fetch(&[(1, 1), (2, 0)])
    };
    let response = client.call(11, &next).await;
    assert_eq!(
        seen(&response),
        [(2, 0, true)],
        "a new partition; the others have no news"
    );

    write(&mut client, 0, &["b"]).await;
    next = FetchRequest {
        session_epoch: 2,
        topics: Vec::new(),
        max_wait_ms: 5000,
        ..next
    };
    let response = client.call(11, &next).await;
    assert_eq!(seen(&response), [(0, 0, false)]);

    let wrong = FetchRequest {
        session_epoch: 2,
        ..next.clone()
    };
    let response = client.call(11, &wrong).await;
    assert_eq!(
        response.error_code,
        ErrorCode::InvalidFetchSessionEpoch.code()
    );
    let unknown = FetchRequest {
        session_id: session_id ^ 1,
        session_epoch: 3,
        ..next.clone()
    };
    let response = client.call(11, &unknown).await;
    assert_eq!(
        response.error_code,
        ErrorCode::FetchSessionIdNotFound.code()
    );
    assert_eq!((response.session_id, response.responses.len()), (0, 0));

    let forgotten = ForgottenTopic {
        topic: Str::from_static("t"),
        partitions: vec![0, 2],
        ..ForgottenTopic::default()
    };
    let last = FetchRequest {
        session_epoch: 3,
        forgotten_topics_data: vec![forgotten],
        ..next
    };
    let last = FetchRequest {
        max_wait_ms: 0,
        ..last
    };
    let response = client.call(11, &last).await;
    assert_eq!(
        (response.session_id, response.responses.len()),
        (session_id, 0)
    );
}

#[tokio::test]
async fn topics_go_by_id_from_version_13_on() {
    let (agent, mut client) = broker(&[]).await;
    write(&mut client, 0, &["a"]).await;
    let id = agent.broker().unwrap().view.topic_by_name("t").unwrap().id;
    let mut request = FetchRequest {
        session_epoch: 0,
        ..fetch(&[(0, 0), (7, 0)])
    };
    request.topics[0].topic_id = id.into();
    request.topics.push(FetchTopic {
        topic_id: Uuid::from_u128(77),
        ..request.topics[0].clone()
    });
    let response = client.call(17, &request).await;
    let (three, hundred) = (
        ErrorCode::UnknownTopicOrPartition.code(),
        ErrorCode::UnknownTopicId.code(),
    );
    assert_eq!(
        seen(&response),
        [
            (0, 0, false),
            (7, three, true),
            (0, hundred, true),
            (7, hundred, true)
        ]
    );
    assert_eq!(response.responses[0].topic_id, Uuid::from(id));
    let failed = all(&response)[1];
    let bounds = (
        failed.high_watermark,
        failed.last_stable_offset,
        failed.log_start_offset,
    );
    assert_eq!(bounds, (-1, -1, -1));
    let session_id = response.session_id;
    let by_name = FetchRequest {
        session_id,
        session_epoch: 1,
        ..fetch(&[(0, 0)])
    };
    let response = client.call(12, &by_name).await;
    assert_eq!(
        response.error_code,
        ErrorCode::FetchSessionTopicIdError.code()
    );
}

#[tokio::test]
async fn read_committed_lists_no_aborted_records_where_there_are_none() {
    let (_agent, mut client) = broker(&[]).await;
    write(&mut client, 0, &["a"]).await;
    let request = FetchRequest {
        isolation_level: 1,
        max_wait_ms: 5000,
        ..fetch(&[(0, 0)])
    };
    let response = client.call(11, &request).await;
    let data = all(&response)[0];
    assert_eq!(data.aborted_transactions, Some(Vec::new()));
    assert!(!data.records.as_ref().unwrap().is_empty());
}
