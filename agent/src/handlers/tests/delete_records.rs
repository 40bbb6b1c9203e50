//! DeleteRecords, and who looks at log starts: Fetch, ListOffsets, OffsetForLeaderEpoch, DescribeLogDirs.

use floe_protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use floe_protocol::messages::describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest};
use floe_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use floe_protocol::messages::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use super::super::produce::tests::{broker, records, request as produce};
use super::{listed, text};
use crate::testing::Client;

async fn write(client: &mut Client, values: &[&str]) {
    let response = client.call(9, &produce(-1, &[(0, records(values))])).await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

fn delete_of(topic: &str, asked: &[(i32, i64)]) -> DeleteRecordsRequest {
    let partitions = asked
        .iter()
        .map(|(partition_index, offset)| DeleteRecordsPartition {
            partition_index: *partition_index,
            offset: *offset,
        });
    DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: text(topic),
            partitions: partitions.collect(),
        }],
        timeout_ms: 10_000,
    }
}

/// Error and low watermark of each partition.
async fn delete(client: &mut Client, version: i16, asked: &[(i32, i64)]) -> Vec<(i16, i64)> {
    let answer = client.call(version, &delete_of("t", asked)).await;
    let partitions = answer.topics[0].partitions.iter();
    partitions
        .map(|it| (it.error_code, it.low_watermark))
        .collect()
}

/// Error, log start and bytes of a fetch.
async fn fetch(client: &mut Client, fetch_offset: i64) -> (i16, i64, usize) {
    let request = FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic: text("t"),
            partitions: vec![FetchPartition {
                fetch_offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let mut answer = client.call(11, &request).await;
    let data = answer.responses.remove(0).partitions.remove(0);
    let bytes = data.records.map_or(0, |records| records.into_bytes().len());
    (data.error_code, data.log_start_offset, bytes)
}

async fn list(client: &mut Client, timestamp: i64) -> i64 {
    listed(client, timestamp).await.0
}

async fn size(client: &mut Client) -> i64 {
    let request = DescribeLogDirsRequest {
        topics: Some(vec![DescribableLogDirTopic {
            topic: text("t"),
            partitions: vec![0],
        }]),
    };
    let answer = client.call(4, &request).await;
    answer.results[0].topics[0].partitions[0].partition_size
}

#[tokio::test]
async fn the_log_starts_later_at_once_and_for_all_who_ask() {
    let (_agent, mut client) = broker(&[]).await;
    write(&mut client, &["a", "b", "c"]).await;
    write(&mut client, &["d", "e"]).await;
    let whole = size(&mut client).await;
    assert_eq!(
        delete(&mut client, 2, &[(0, 0)]).await,
        [(0, 0)],
        "nothing below it"
    );
    assert_eq!(delete(&mut client, 0, &[(0, 1)]).await, [(0, 1)]);
    assert_eq!(fetch(&mut client, 0).await, (1, -1, 0));
    let (error, start, bytes) = fetch(&mut client, 1).await;
    assert_eq!((error, start), (0, 1));
    assert!(bytes > 0, "the whole batch that holds the offset");
    assert_eq!(list(&mut client, -2).await, 1);
    assert_eq!(list(&mut client, -4).await, 1);
    assert_eq!(
        list(&mut client, 0).await,
        1,
        "the first record that is left"
    );
    assert_eq!(
        size(&mut client).await,
        whole,
        "no batch is gone as a whole"
    );
    assert_eq!(delete(&mut client, 1, &[(0, 3)]).await, [(0, 3)]);
    assert!(size(&mut client).await < whole);
    assert_eq!(list(&mut client, 0).await, 3);
    assert_eq!(
        delete(&mut client, 2, &[(0, 2)]).await,
        [(0, 3)],
        "never back"
    );
    assert_eq!(delete(&mut client, 2, &[(0, -1)]).await, [(0, 5)]);
    assert_eq!(size(&mut client).await, 0);
    assert_eq!(fetch(&mut client, 4).await.0, 1);
    assert_eq!(fetch(&mut client, 5).await, (0, 5, 0));
    assert_eq!(list(&mut client, -1).await, 5);
    assert_eq!(list(&mut client, 0).await, -1, "no record is left");
    assert_eq!(list(&mut client, -3).await, -1);
    write(&mut client, &["f"]).await;
    assert_eq!(list(&mut client, 0).await, 5);
}

#[tokio::test]
async fn what_cannot_be_deleted() {
    let (_agent, mut client) = broker(&[]).await;
    write(&mut client, &["a", "b"]).await;
    let asked = [(0, 3), (0, -2), (9, 0), (-1, 0), (1, -1), (1, 1), (0, 1)];
    let expected = [(1, -1), (1, -1), (3, -1), (3, -1), (0, 0), (1, -1), (0, 1)];
    assert_eq!(delete(&mut client, 2, &asked).await, expected);
    for (topic, code) in [("none", 3), ("__consumer_offsets", 3)] {
        let answer = client.call(2, &delete_of(topic, &[(0, 0)])).await;
        let result = &answer.topics[0].partitions[0];
        assert_eq!(
            (result.error_code, result.low_watermark),
            (code, -1),
            "{topic}"
        );
    }
    let nothing = DeleteRecordsRequest::default();
    assert!(client.call(2, &nothing).await.topics.is_empty());
}

#[tokio::test]
async fn records_of_compacted_topics_stay() {
    for (policy, code) in [("compact", 44), ("compact,delete", 0), ("delete", 0)] {
        let (_agent, mut client) = broker(&[("cleanup.policy", policy)]).await;
        write(&mut client, &["a"]).await;
        assert_eq!(
            delete(&mut client, 2, &[(0, 1)]).await[0].0,
            code,
            "{policy}"
        );
    }
}

#[tokio::test]
async fn epochs_end_where_the_log_does() {
    let (agent, mut client) = broker(&[]).await;
    write(&mut client, &["a", "b"]).await;
    let present = agent.broker().unwrap().view.leader_epoch();
    for version in 2..=4 {
        let mut ask = async |topic: &str, partition, current_leader_epoch, leader_epoch| {
            let request = OffsetForLeaderEpochRequest {
                replica_id: -1,
                topics: vec![OffsetForLeaderTopic {
                    topic: text(topic),
                    partitions: vec![OffsetForLeaderPartition {
                        partition,
                        current_leader_epoch,
                        leader_epoch,
                    }],
                }],
            };
            let answer = client.call(version, &request).await;
            let found = &answer.topics[0].partitions[0];
            assert_eq!(found.partition, partition);
            (found.error_code, found.leader_epoch, found.end_offset)
        };
        assert_eq!(ask("t", 0, -1, 0).await, (0, 0, 2));
        assert_eq!(ask("t", 1, present, present).await, (0, present, 0));
        assert_eq!(ask("t", 0, 0, present + 1).await, (0, -1, -1));
        assert_eq!(ask("t", 0, -1, -1).await, (0, -1, -1));
        assert_eq!(ask("t", 0, present + 1, 0).await, (75, -1, -1));
        assert_eq!(ask("t", 3, -1, 0).await, (3, -1, -1));
        assert_eq!(ask("none", 0, -1, 0).await, (3, -1, -1));
    }
}
