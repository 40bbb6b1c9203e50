//! ListOffsets as a client sees it.

use bytes::Bytes;
use floe_protocol::compression::Compression;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use floe_protocol::messages::produce::ProduceRequest;
use floe_protocol::record_batch::BatchBuilder;
use floe_protocol::str::Str;

use super::super::produce::tests::{broker, now_ms, request as produce};
use super::*;
use crate::testing::Client;

fn batch(compression: Compression, times: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new(compression);
    for time in times {
        builder.append(*time, None, Some(b"value"));
    }
    builder.build().unwrap()
}

async fn write(client: &mut Client, bytes: Bytes) {
    let response = client
        .call::<ProduceRequest>(9, &produce(-1, &[(0, bytes)]))
        .await;
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

/// Error, timestamp and offset for each of `asked`, which are partition and timestamp.
async fn list(client: &mut Client, version: i16, asked: &[(i32, i64)]) -> Vec<(i16, i64, i64)> {
    let partitions = asked
        .iter()
        .map(|(partition_index, timestamp)| ListOffsetsPartition {
            partition_index: *partition_index,
            timestamp: *timestamp,
            ..ListOffsetsPartition::default()
        });
    let topic = ListOffsetsTopic {
        name: Str::from_static("t"),
        partitions: partitions.collect(),
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![topic],
        ..ListOffsetsRequest::default()
    };
    let response = client.call(version, &request).await;
    let answers = response.topics.iter().flat_map(|topic| &topic.partitions);
    answers
        .map(|answer| (answer.error_code, answer.timestamp, answer.offset))
        .collect()
}

#[tokio::test]
async fn bounds_and_times() {
    let (_agent, mut client) = broker(&[]).await;
    let t = now_ms() - 100_000;
    write(&mut client, batch(Compression::None, &[t, t + 10, t + 5])).await;
    write(
        &mut client,
        batch(Compression::Zstd, &[t + 20, t + 40, t + 40]),
    )
    .await;
    write(&mut client, batch(Compression::Gzip, &[t + 30, t + 35])).await;
    let rows = [
        ("latest", -1, (0, -1, 8)),
        ("earliest", -2, (0, -1, 0)),
        ("earliest local", -4, (0, -1, 0)),
        ("greatest time", -3, (0, t + 40, 4)),
        ("tiered", -5, (0, -1, -1)),
        ("pending upload", -6, (0, -1, -1)),
        ("before all", 0, (0, t, 0)),
        ("the first record", t, (0, t, 0)),
        ("between records", t + 1, (0, t + 10, 1)),
        (
            "the last of a batch has not the greatest time",
            t + 6,
            (0, t + 10, 1),
        ),
        ("in the next segment, compressed", t + 11, (0, t + 20, 3)),
        ("at or after", t + 33, (0, t + 40, 4)),
        ("after all", t + 41, (0, -1, -1)),
    ];
    for (name, timestamp, expected) in rows {
        assert_eq!(
            list(&mut client, 11, &[(0, timestamp)]).await,
            [expected],
            "{name}"
        );
    }
    assert_eq!(
        list(&mut client, 11, &[(1, -3), (2, -1)]).await,
        [(0, -1, -1), (0, -1, 0)]
    );
}

#[tokio::test]
async fn errors_are_per_partition() {
    let (_agent, mut client) = broker(&[]).await;
    let (three, invalid, unsupported) = (
        ErrorCode::UnknownTopicOrPartition.code(),
        ErrorCode::InvalidRequest.code(),
        ErrorCode::UnsupportedVersion.code(),
    );
    let asked = [(0, -1), (3, -1), (1, -2), (1, -1), (2, -7)];
    let answers = list(&mut client, 11, &asked).await;
    assert_eq!(
        answers,
        [
            (0, -1, 0),
            (three, -1, -1),
            (invalid, -1, -1),
            (invalid, -1, -1),
            (unsupported, -1, -1)
        ]
    );
    for (timestamp, version) in [(-3, 6), (-4, 7), (-5, 8), (-6, 10)] {
        assert_eq!(
            list(&mut client, version, &[(0, timestamp)]).await,
            [(unsupported, -1, -1)]
        );
        let next = list(&mut client, version + 1, &[(0, timestamp)]).await;
        assert_eq!(next[0].0, 0, "{timestamp} from version {} on", version + 1);
    }
}

#[test]
fn targets() {
    assert_eq!(Target::of(-1, 1), Some(Target::Latest));
    assert_eq!(Target::of(0, 1), Some(Target::Time(0)));
    assert_eq!(Target::of(i64::MIN, 11), None);
}
