//! Produce as a client sees it: a broker in memory, one connection, bytes on the wire.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::type_complexity,
    reason = "tests count in small numbers"
)]

use std::time::Duration;

use bytes::Bytes;
use floe_protocol::compression::Compression;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use floe_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use floe_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use floe_protocol::record_batch::BatchBuilder;
use floe_protocol::records::Records;
use floe_protocol::str::Str;

use super::*;
use crate::start::RunningAgent;
use crate::testing::{Client, agent};

/// A broker, a client, and a topic of three partitions with these configs.
pub(crate) async fn broker(configs: &[(&'static str, &'static str)]) -> (RunningAgent, Client) {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    let topic = CreatableTopic {
        name: Str::from_static("t"),
        num_partitions: 3,
        replication_factor: 1,
        configs: configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: Str::from_static(name),
                value: Some(Str::from_static(value)),
            })
            .collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        timeout_ms: 10_000,
        ..Default::default()
    };
    let response = client.call(7, &request).await;
    assert_eq!(response.topics[0].error_code, 0);
    (agent, client)
}

pub(crate) fn records(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        builder.append(now_ms(), Some(b"key"), Some(value.as_bytes()));
    }
    builder.build().unwrap()
}

pub(crate) fn now_ms() -> i64 {
    floe_storage::clock::Clock::system().now_ms()
}

pub(crate) fn request(acks: i16, partitions: &[(i32, Bytes)]) -> ProduceRequest {
    let partition_data = partitions
        .iter()
        .map(|(index, bytes)| PartitionProduceData {
            index: *index,
            records: Some(Records::from(bytes.clone())),
        })
        .collect();
    let topic = TopicProduceData {
        name: Str::from_static("t"),
        partition_data,
        ..Default::default()
    };
    ProduceRequest {
        acks,
        timeout_ms: 10_000,
        topic_data: vec![topic],
        ..Default::default()
    }
}

async fn produce(
    client: &mut Client,
    partitions: &[(i32, Bytes)],
) -> Vec<PartitionProduceResponse> {
    let mut response = client.call(9, &request(-1, partitions)).await;
    assert_eq!(response.responses.len(), 1);
    response.responses.remove(0).partition_responses
}

fn codes(answers: &[PartitionProduceResponse]) -> Vec<(i32, i16)> {
    answers
        .iter()
        .map(|answer| (answer.index, answer.error_code))
        .collect()
}

#[tokio::test]
async fn each_partition_has_its_own_answer() {
    let (_agent, mut client) = broker(&[]).await;
    let mut corrupt = records(&["b"]).to_vec();
    corrupt[70] ^= 1;
    let answers = produce(
        &mut client,
        &[
            (0, records(&["a", "b"])),
            (1, corrupt.into()),
            (3, records(&["c"])),
            (-1, records(&["c"])),
            (2, Bytes::new()),
        ],
    )
    .await;
    let expected = [
        (0, ErrorCode::None),
        (1, ErrorCode::CorruptMessage),
        (3, ErrorCode::UnknownTopicOrPartition),
        (-1, ErrorCode::UnknownTopicOrPartition),
        (2, ErrorCode::InvalidRecord),
    ]
    .map(|(index, code)| (index, code.code()));
    assert_eq!(codes(&answers), expected);
    assert_eq!(
        (answers[0].base_offset, answers[0].log_start_offset),
        (0, 0)
    );
    assert_eq!(
        (answers[1].base_offset, answers[1].log_append_time_ms),
        (-1, -1)
    );
    assert!(
        answers[1]
            .error_message
            .as_ref()
            .is_some_and(|message| message.contains("CRC"))
    );
    let again = produce(&mut client, &[(0, records(&["c"]))]).await;
    assert_eq!(again[0].base_offset, 2);
}

#[tokio::test]
async fn a_partition_named_twice_is_refused_each_time() {
    let (_agent, mut client) = broker(&[]).await;
    let twice = [
        (0, records(&["a"])),
        (1, records(&["b"])),
        (0, records(&["c"])),
    ];
    let answers = produce(&mut client, &twice).await;
    let invalid = ErrorCode::InvalidRequest.code();
    assert_eq!(codes(&answers), [(0, invalid), (1, 0), (0, invalid)]);
    let after = produce(&mut client, &[(0, records(&["d"]))]).await;
    assert_eq!(after[0].base_offset, 0, "neither was written");
}

#[tokio::test]
async fn whole_requests_are_refused() {
    let (_agent, mut client) = broker(&[]).await;
    let transactional = |producer| {
        let mut builder = BatchBuilder::new(Compression::None)
            .producer(producer, 0, 0)
            .transactional();
        builder.append(now_ms(), None, Some(b"x"));
        builder.build().unwrap()
    };
    let one = [(0, transactional(1)), (1, records(&["a"]))];
    let two = [(0, transactional(1)), (1, transactional(2))];
    let with_id = |request: ProduceRequest| ProduceRequest {
        transactional_id: Some(Str::from_static("tx")),
        ..request
    };
    let rows = [
        (
            "acks",
            request(2, &[(0, records(&["a"]))]),
            ErrorCode::InvalidRequiredAcks,
        ),
        (
            "no id",
            request(-1, &one),
            ErrorCode::TransactionalIdAuthorizationFailed,
        ),
        (
            "two",
            with_id(request(-1, &two)),
            ErrorCode::InvalidProducerIdMapping,
        ),
    ];
    for (name, request, code) in rows {
        let response = client.call(9, &request).await;
        let answers = &response.responses[0].partition_responses;
        assert!(
            answers
                .iter()
                .all(|answer| answer.error_code == code.code()),
            "{name}: {answers:?}"
        );
    }
}

#[tokio::test]
async fn topics_go_by_id_from_version_13_on() {
    let (agent, mut client) = broker(&[]).await;
    let id = agent.broker().unwrap().view.topic_by_name("t").unwrap().id;
    let mut by_id = request(-1, &[(0, records(&["a"]))]);
    by_id.topic_data[0].topic_id = id.into();
    by_id.topic_data[0].name = Str::new();
    let response = client.call(13, &by_id).await;
    assert_eq!(response.responses[0].topic_id, uuid::Uuid::from(id));
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    by_id.topic_data[0].topic_id = floe_protocol::types::TopicId::from_bytes([5; 16]).into();
    let response = client.call(13, &by_id).await;
    let code = response.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ErrorCode::UnknownTopicId.code());
    let mut by_name = request(-1, &[(0, records(&["a"]))]);
    by_name.topic_data[0].name = Str::from_static("__consumer_offsets");
    let response = client.call(12, &by_name).await;
    let code = response.responses[0].partition_responses[0].error_code;
    assert_eq!(code, ErrorCode::UnknownTopicOrPartition.code());
}

#[tokio::test]
async fn log_append_time_is_stamped_and_told() {
    let (_agent, mut client) = broker(&[("message.timestamp.type", "LogAppendTime")]).await;
    let before = now_ms();
    let answers = produce(&mut client, &[(0, records(&["a"]))]).await;
    let stamped = answers[0].log_append_time_ms;
    assert!((before..=now_ms()).contains(&stamped), "{stamped}");
    let fetched = fetch(&mut client, 0).await;
    let record = floe_protocol::record_batch::RecordIter::new(&fetched, 1 << 20)
        .unwrap()
        .next();
    assert_eq!(record.unwrap().unwrap().timestamp_ms, stamped);
}

#[tokio::test]
async fn compacted_topics_want_keys() {
    let (_agent, mut client) = broker(&[("cleanup.policy", "compact")]).await;
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(now_ms(), Some(b"k"), Some(b"v"));
    builder.append(now_ms(), None, Some(b"v"));
    let keyless = builder.build().unwrap();
    let answers = produce(&mut client, &[(0, keyless), (1, records(&["a"]))]).await;
    assert_eq!(
        codes(&answers),
        [(0, ErrorCode::InvalidRecord.code()), (1, 0)]
    );
    let blamed: Vec<_> = answers[0]
        .record_errors
        .iter()
        .map(|error| error.batch_index)
        .collect();
    assert_eq!(blamed, [1]);
}

#[tokio::test]
async fn without_acks_there_is_no_answer_and_errors_close() {
    let (_agent, mut client) = broker(&[]).await;
    client.ask(9, &request(0, &[(0, records(&["a"]))])).await;
    let answers = produce(&mut client, &[(0, records(&["b"]))]).await;
    assert_eq!(
        answers[0].base_offset, 1,
        "the first was written, in its turn, silently"
    );
    client.ask(9, &request(0, &[(9, records(&["c"]))])).await;
    client.expect_closed("unknown partition without acks").await;
}

#[tokio::test]
async fn pipelined_requests_keep_their_order() {
    let (_agent, mut client) = broker(&[]).await;
    let mut asked = Vec::new();
    for number in 0..50 {
        let batch = records(&[&number.to_string()]);
        asked.push(client.ask(9, &request(-1, &[(number % 3, batch)])).await);
    }
    for (number, id) in asked.into_iter().enumerate() {
        let response = client.answer::<ProduceRequest>(9, id).await;
        let answer = &response.responses[0].partition_responses[0];
        assert_eq!(
            (answer.error_code, answer.base_offset),
            (0, number as i64 / 3),
            "{number}"
        );
    }
}

#[test]
fn what_is_open_at_the_end_is_an_unknown_outcome() {
    let completion = Completion::new(1, MemoryPermit::empty());
    let partition = TakenPartition {
        index: 3,
        state: TakenState::InLine {
            batch: 0,
            size_bytes: 10,
            record_count: 1,
        },
    };
    let metrics = Metrics::default();
    let answer = partition.answer(&completion, &metrics);
    let code = ErrorCode::RequestTimedOut.code();
    assert_eq!(
        (answer.index, answer.error_code, answer.base_offset),
        (3, code, -1)
    );
    assert_eq!(metrics.produced_records.get(), 0);
}

/// The record bytes of a partition.
async fn fetch(client: &mut Client, partition: i32) -> Bytes {
    let partition = FetchPartition {
        partition,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic: Str::from_static("t"),
        partitions: vec![partition],
        ..FetchTopic::default()
    };
    let wait = Duration::from_secs(10);
    let request = FetchRequest {
        max_wait_ms: i32::try_from(wait.as_millis()).unwrap(),
        min_bytes: 1,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    let mut response = client.call(11, &request).await;
    response
        .responses
        .remove(0)
        .partitions
        .remove(0)
        .records
        .unwrap()
        .into_bytes()
}
