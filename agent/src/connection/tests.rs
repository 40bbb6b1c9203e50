//! Bad input and what it gets: one test per row of the table in the protocol reference, with a raw
//! socket against a real listener.

use bytes::Bytes;
use floe_protocol::api::ApiKey;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use floe_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use floe_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use floe_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use floe_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use floe_protocol::records::Records;
use floe_protocol::str::Str;

use crate::dispatch::HANDLED;
use crate::start::RunningAgent;
use crate::testing::{Client, agent, closed, figure, header_bytes, request_frame};

fn api_versions() -> ApiVersionsRequest {
    ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1.0".into(),
    }
}

/// The broker still serves this connection.
async fn expect_served(client: &mut Client) {
    let answer = client.call(4, &api_versions()).await;
    assert_eq!(answer.error_code, 0);
}

/// Sends `bytes` on a connection of their own, which must be closed for `cause`.
async fn expect_close(agent: &RunningAgent, case: &str, bytes: &[u8], cause: &str) {
    let before = closed(agent, cause);
    let mut client = Client::connect(agent).await;
    client.send(bytes).await;
    client.expect_closed(case).await;
    assert_eq!(
        closed(agent, cause),
        before + 1,
        "{case}: counted as {cause}"
    );
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&i32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

fn with_body(api: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
    framed(&[&header_bytes(api, version, 1)[..], body].concat())
}

#[tokio::test]
async fn lengths_that_no_frame_has() {
    let agent = agent(&[]).await;
    for (case, bytes) in [
        ("negative", &(-1_i32).to_be_bytes()[..]),
        ("zero", &0_i32.to_be_bytes()),
        ("above the limit", &104_857_601_i32.to_be_bytes()),
        ("largest", &i32::MAX.to_be_bytes()),
        ("http", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        ("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ] {
        expect_close(&agent, case, bytes, "bad_frame").await;
    }
    for (case, body) in [
        ("one byte", &b"\0"[..]),
        ("no header", b"\0\x12\0\0"),
        ("7", b"\0\x12\0\0\0\0\0"),
    ] {
        expect_close(&agent, case, &framed(body), "short_frame").await;
    }
    // Only Produce may be as large as the limit.
    let metadata = [&(20_i32 << 20).to_be_bytes()[..], b"\0\x03\0\x09\0\0\0\x01"].concat();
    expect_close(&agent, "20 MiB of Metadata", &metadata, "bad_frame").await;
}

#[tokio::test]
async fn unknown_apis_and_versions() {
    let agent = agent(&[]).await;
    for (case, key, version, cause) in [
        ("key 999", 999_i16, 0_i16, "unknown_api"),
        ("key -1", -1, 0, "unknown_api"),
        ("SaslHandshake, not served", 17, 1, "unknown_api"),
        ("ControlledShutdown, never served", 7, 0, "unknown_api"),
        ("Metadata 14", 3, 14, "unsupported_version"),
        ("Metadata -1", 3, -1, "unsupported_version"),
        (
            "Produce 2, advertised and refused",
            0,
            2,
            "unsupported_version",
        ),
        ("CreateTopics 1", 19, 1, "unsupported_version"),
    ] {
        let body = [
            &key.to_be_bytes()[..],
            &version.to_be_bytes(),
            b"\0\0\0\x01\xff\xff",
        ]
        .concat();
        expect_close(&agent, case, &framed(&body), cause).await;
    }
}

#[tokio::test]
async fn api_versions_of_an_unknown_version_is_answered_in_version_0() {
    let agent = agent(&[]).await;
    for version in [5_i16, 99, i16::MAX, -1, i16::MIN] {
        let mut client = Client::connect(&agent).await;
        // Whatever follows the first eight bytes is not looked at.
        let body = [
            b"\0\x12",
            &version.to_be_bytes()[..],
            b"\0\0\0\x07\xff\xfe garbage",
        ]
        .concat();
        client.send_frame(&body).await;
        let expected = b"\0\0\0\x07\0\x23\0\0\0\x01\0\x12\0\0\0\x04";
        assert_eq!(
            client.frame().await,
            Some(Bytes::from_static(expected)),
            "version {version}"
        );
        expect_served(&mut client).await;
    }
}

#[tokio::test]
async fn api_versions_lists_exactly_what_is_served() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    for version in 0..=4 {
        let answer: ApiVersionsResponse = client.call(version, &api_versions()).await;
        let keys: Vec<i16> = answer.api_keys.iter().map(|entry| entry.api_key).collect();
        let handled: Vec<i16> = HANDLED.iter().map(|api| api.to_wire()).collect();
        assert_eq!(keys, handled, "version {version}");
        if version >= 3 {
            assert!(answer.finalized_features_epoch >= 0);
            assert_eq!(answer.finalized_features[0].name, "metadata.version");
            assert_eq!(answer.finalized_features[0].max_version_level, 29);
        }
    }
    for (name, version, expected) in [
        ("librdkafka", "2.5.0", 0),
        ("a", "1", 0),
        ("", "1", 42),
        ("name with spaces", "1", 42),
        ("name", "1-", 42),
        (".name", "1", 42),
        ("name\n", "1", 42),
    ] {
        let request = ApiVersionsRequest {
            client_software_name: name.into(),
            client_software_version: version.into(),
        };
        let answer = client.call(3, &request).await;
        assert_eq!(answer.error_code, expected, "{name} {version}");
        assert_eq!(
            answer.api_keys.is_empty(),
            expected != 0,
            "{name} {version}"
        );
    }
}

#[tokio::test]
async fn lengths_counts_nulls_and_varints_that_lie() {
    let agent = agent(&[]).await;
    for (case, api, version, body) in [
        (
            "a count beyond the frame",
            ApiKey::Metadata,
            1,
            &b"\x7f\xff\xff\xff"[..],
        ),
        ("a count below -1", ApiKey::Metadata, 1, b"\xff\xff\xff\xfe"),
        (
            "a compact count beyond the frame",
            ApiKey::Metadata,
            9,
            b"\xff\xff\xff\xff\x0f",
        ),
        (
            "a string beyond the frame",
            ApiKey::Metadata,
            1,
            b"\0\0\0\x01\0\x0aabc",
        ),
        (
            "a string length below -1",
            ApiKey::FindCoordinator,
            0,
            b"\xff\xfe",
        ),
        (
            "null where a string must be",
            ApiKey::FindCoordinator,
            0,
            b"\xff\xff",
        ),
        (
            "null where an array must be",
            ApiKey::CreateTopics,
            2,
            b"\xff\xff\xff\xff\0\0\0\0\0",
        ),
        (
            "a varint of six bytes",
            ApiKey::Metadata,
            9,
            b"\x80\x80\x80\x80\x80\x01",
        ),
        (
            "a varint above 32 bits",
            ApiKey::Metadata,
            9,
            b"\xff\xff\xff\xff\x7f",
        ),
        (
            "records beyond the frame",
            ApiKey::Produce,
            3,
            b"\xff\xff\0\x01\0\0\0\0\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\x7f\xff\xff\xff",
        ),
        (
            "a tag beyond the frame",
            ApiKey::Metadata,
            9,
            b"\x01\x01\x01\0\x01\x05\x7f",
        ),
        (
            "a name that is not UTF-8",
            ApiKey::FindCoordinator,
            0,
            b"\0\x02\xff\xfe",
        ),
        ("nothing", ApiKey::Metadata, 9, b""),
    ] {
        expect_close(&agent, case, &with_body(api, version, body), "malformed").await;
    }
}

#[tokio::test]
async fn tags_out_of_place_are_skipped() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    // Metadata 9 of no topic: an empty array, two bools and a false one, then tags.
    for (case, body) in [
        ("an unknown tag", &b"\x01\x01\x00\x00\x01\x63\x02ab"[..]),
        ("a repeated tag", b"\x01\x01\x00\x00\x02\x63\x01a\x63\x01b"),
        ("unordered tags", b"\x01\x01\x00\x00\x02\x64\x01a\x63\x01b"),
        ("an overlong count", b"\x81\x80\x80\x80\x00\x01\x00\x00\x00"),
    ] {
        let request = [&header_bytes(ApiKey::Metadata, 9, 3)[..], body].concat();
        client.send_frame(&request).await;
        let answer = client.answer::<MetadataRequest>(9, 3).await;
        assert!(answer.topics.is_empty(), "{case}");
    }
    // Fetch 12 with ReplicaState, a tag of version 15.
    let mut fetch = request_frame(
        12,
        5,
        &FetchRequest {
            min_bytes: 0,
            ..FetchRequest::default()
        },
    );
    assert_eq!(fetch.pop(), Some(0), "no tags");
    let replica_state = [&b"\x01\x01\x0d"[..], &[0; 12], b"\0"].concat();
    client.send_frame(&[fetch, replica_state].concat()).await;
    assert_eq!(client.answer::<FetchRequest>(12, 5).await.error_code, 0);
    expect_served(&mut client).await;
}

#[tokio::test]
async fn oddities_that_are_accepted() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    let trailing = "floe_requests_trailing_bytes_total";
    let body = [
        &header_bytes(ApiKey::Metadata, 4, 1)[..],
        b"\0\0\0\0\x01",
        b"more",
    ]
    .concat();
    client.send_frame(&body).await;
    assert!(
        client
            .answer::<MetadataRequest>(4, 1)
            .await
            .topics
            .is_empty()
    );
    assert_eq!(
        figure(&agent, trailing),
        4,
        "bytes after the body are counted"
    );
    // A bool that is neither 0 nor 1 is true.
    let body = [
        &header_bytes(ApiKey::Metadata, 4, 2)[..],
        b"\0\0\0\x01\0\x03odd\x07",
    ]
    .concat();
    client.send_frame(&body).await;
    let answer = client.answer::<MetadataRequest>(4, 2).await;
    assert_eq!(answer.topics[0].error_code, 0, "the topic was created");
    for (case, client_id) in [("null", &b"\xff\xff"[..]), ("not UTF-8", b"\0\x02\xff\xfe")] {
        let head = [&b"\0\x03\0\x04\0\0\0\x03"[..], client_id, b"\0\0\0\0\x01"].concat();
        client.send_frame(&head).await;
        assert!(
            client
                .answer::<MetadataRequest>(4, 3)
                .await
                .topics
                .is_empty(),
            "{case}"
        );
    }
}

fn fetch_of(topic: &str) -> FetchRequest {
    FetchRequest {
        max_wait_ms: 0,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic: Str::from(topic.to_owned()),
            partitions: vec![FetchPartition {
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

/// A topic called `t`.
async fn create_t(client: &mut Client) {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some("t".into()),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    assert_eq!(client.call(9, &request).await.topics[0].error_code, 0);
}

#[tokio::test]
async fn values_out_of_range_get_an_error() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    create_t(&mut client).await;
    let invalid = ErrorCode::InvalidRequest.code();
    let fetch = FetchRequest {
        isolation_level: 7,
        ..fetch_of("t")
    };
    assert_eq!(client.call(12, &fetch).await.error_code, invalid);
    let fetch = FetchRequest {
        max_bytes: -1,
        ..fetch_of("t")
    };
    assert_eq!(client.call(12, &fetch).await.error_code, invalid);
    let fetch = FetchRequest {
        replica_id: 1,
        ..fetch_of("t")
    };
    let refused = ErrorCode::ClusterAuthorizationFailed.code();
    assert_eq!(client.call(12, &fetch).await.error_code, refused);
    let offsets = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: 9,
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![ListOffsetsPartition::default()],
        }],
        ..ListOffsetsRequest::default()
    };
    let answer = client.call(5, &offsets).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, invalid);
}

fn produce(acks: i16, records: Option<Records>) -> ProduceRequest {
    ProduceRequest {
        acks,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            partition_data: vec![PartitionProduceData { index: 0, records }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}

#[tokio::test]
async fn produce_without_records_is_answered() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    create_t(&mut client).await;
    let answer = client.call(9, &produce(-1, None)).await;
    let invalid = ErrorCode::InvalidRecord.code();
    assert_eq!(
        answer.responses[0].partition_responses[0].error_code,
        invalid
    );
}

#[tokio::test]
async fn an_unacknowledged_produce_that_fails_closes() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    create_t(&mut client).await;
    client
        .ask(
            9,
            &produce(0, Some(Records::from(Bytes::from_static(b"no batch")))),
        )
        .await;
    client.expect_closed("garbage with acks=0").await;
    assert_eq!(closed(&agent, "unacknowledged_produce"), 1);
}

#[tokio::test]
async fn answers_leave_in_the_order_of_requests() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    create_t(&mut client).await;
    // The fetch waits for data; what is asked after it is answered after it.
    let fetch = FetchRequest {
        max_wait_ms: 300,
        min_bytes: 1,
        ..fetch_of("t")
    };
    let first = client.ask(12, &fetch).await;
    let second = client.ask(4, &api_versions()).await;
    let third = client
        .ask(
            12,
            &FetchRequest {
                max_wait_ms: 0,
                ..fetch_of("t")
            },
        )
        .await;
    assert_eq!(client.answer::<FetchRequest>(12, first).await.error_code, 0);
    assert_eq!(
        client
            .answer::<ApiVersionsRequest>(4, second)
            .await
            .error_code,
        0
    );
    assert_eq!(client.answer::<FetchRequest>(12, third).await.error_code, 0);
}

#[tokio::test]
async fn a_request_in_any_pieces_is_the_same_request() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    let frame = framed(&request_frame(4, 1, &api_versions()));
    for byte in &frame {
        client.send(std::slice::from_ref(byte)).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(
        client.answer::<ApiVersionsRequest>(4, 1).await.error_code,
        0
    );
    // Many in one piece.
    client.send(&frame.repeat(500)).await;
    for _ in 0..500 {
        assert_eq!(
            client.answer::<ApiVersionsRequest>(4, 1).await.error_code,
            0
        );
    }
}

#[tokio::test]
async fn a_frame_larger_than_any_buffer_is_read() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    create_t(&mut client).await;
    let garbage = Records::from(Bytes::from(vec![7; 3 << 20]));
    let answer = client.call(9, &produce(-1, Some(garbage))).await;
    assert_ne!(answer.responses[0].partition_responses[0].error_code, 0);
    expect_served(&mut client).await;
    let budget = &agent.broker().unwrap().memory;
    assert_eq!(
        budget.used_bytes(crate::memory::Share::Produce),
        0,
        "all bytes were given back"
    );
    assert_eq!(
        budget.used_bytes(crate::memory::Share::Requests),
        0,
        "all bytes were given back"
    );
}

#[tokio::test]
async fn requests_before_the_end_of_input_are_answered() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    let id = client.ask(4, &api_versions()).await;
    tokio::io::AsyncWriteExt::shutdown(&mut client.stream)
        .await
        .unwrap();
    assert_eq!(
        client.answer::<ApiVersionsRequest>(4, id).await.error_code,
        0
    );
    client.expect_closed("after the client's end").await;
}

#[tokio::test]
async fn slow_and_silent_clients_are_closed() {
    let agent = agent(&[]).await;
    for (case, bytes, cause) in [
        ("silent", &b""[..], "idle"),
        ("half a length", b"\0\0", "too_slow"),
        (
            "half a frame",
            b"\0\0\0\x40\0\x12\0\0\0\0\0\x01",
            "too_slow",
        ),
        (
            "part of a large frame",
            b"\0\x10\0\0\0\0\0\x09\0\0\0\x01",
            "too_slow",
        ),
    ] {
        let mut client = Client::connect(&agent).await;
        client.send(bytes).await;
        // Whatever was sent is read before time begins to fly.
        expect_served(&mut Client::connect(&agent).await).await;
        tokio::time::pause();
        let mut rest = Vec::new();
        let read = tokio::io::AsyncReadExt::read_to_end(&mut client.stream, &mut rest).await;
        tokio::time::resume();
        assert!(read.is_err() || rest.is_empty(), "{case}");
        assert!(closed(&agent, cause) > 0, "{case}");
    }
    assert_eq!(closed(&agent, "too_slow"), 3);
}

#[tokio::test]
async fn every_api_can_be_refused_in_every_version() {
    use crate::handlers::Refuse;
    use floe_protocol::encoder::Encoder;
    use floe_protocol::messages as m;
    use floe_protocol::messages::Message as _;
    fn check<R: Refuse + Default>() {
        for version in R::KEY.decodable_versions() {
            if let Some(response) = R::default().refuse(version, ErrorCode::UnknownServerError) {
                let encoded = response.encode(&mut Encoder::new(), version);
                assert_eq!(encoded, Ok(()), "{} {version}", R::KEY);
            }
        }
    }
    check::<ProduceRequest>();
    check::<FetchRequest>();
    check::<ListOffsetsRequest>();
    check::<MetadataRequest>();
    check::<m::find_coordinator::FindCoordinatorRequest>();
    check::<ApiVersionsRequest>();
    check::<m::create_topics::CreateTopicsRequest>();
    check::<m::delete_topics::DeleteTopicsRequest>();
    check::<m::init_producer_id::InitProducerIdRequest>();
    check::<m::describe_configs::DescribeConfigsRequest>();
    check::<m::create_partitions::CreatePartitionsRequest>();
    check::<m::describe_cluster::DescribeClusterRequest>();
    check::<m::describe_topic_partitions::DescribeTopicPartitionsRequest>();
    check::<m::delete_records::DeleteRecordsRequest>();
    check::<m::offset_for_leader_epoch::OffsetForLeaderEpochRequest>();
    check::<m::describe_acls::DescribeAclsRequest>();
    check::<m::create_acls::CreateAclsRequest>();
    check::<m::delete_acls::DeleteAclsRequest>();
    check::<m::alter_configs::AlterConfigsRequest>();
    check::<m::alter_replica_log_dirs::AlterReplicaLogDirsRequest>();
    check::<m::describe_log_dirs::DescribeLogDirsRequest>();
    check::<m::create_delegation_token::CreateDelegationTokenRequest>();
    check::<m::renew_delegation_token::RenewDelegationTokenRequest>();
    check::<m::expire_delegation_token::ExpireDelegationTokenRequest>();
    check::<m::describe_delegation_token::DescribeDelegationTokenRequest>();
    check::<m::elect_leaders::ElectLeadersRequest>();
    check::<m::incremental_alter_configs::IncrementalAlterConfigsRequest>();
    check::<m::alter_partition_reassignments::AlterPartitionReassignmentsRequest>();
    check::<m::list_partition_reassignments::ListPartitionReassignmentsRequest>();
    check::<m::describe_client_quotas::DescribeClientQuotasRequest>();
    check::<m::alter_client_quotas::AlterClientQuotasRequest>();
    check::<m::describe_user_scram_credentials::DescribeUserScramCredentialsRequest>();
    check::<m::describe_quorum::DescribeQuorumRequest>();
    check::<m::describe_producers::DescribeProducersRequest>();
    check::<m::unregister_broker::UnregisterBrokerRequest>();
    check::<m::describe_transactions::DescribeTransactionsRequest>();
    check::<m::list_transactions::ListTransactionsRequest>();
    check::<m::list_config_resources::ListConfigResourcesRequest>();
}
