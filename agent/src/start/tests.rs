//! Start, refusals, restart and drain, with real sockets in one process.

use std::time::Duration;

use bytes::Bytes;
use floe_protocol::compression::Compression;
use floe_protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use floe_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use floe_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use floe_protocol::record_batch::BatchBuilder;
use floe_protocol::records::Records;
use floe_storage::store::StoreUrl;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::{RunningAgent, StartError, start};
use crate::broker::Endpoint;
use crate::config::Config;
use crate::memory::Share;
use crate::testing::{Client, agent, config, local};

fn on_folder(folder: &std::path::Path) -> Config {
    Config {
        store: StoreUrl::Folder(folder.to_owned()),
        ..config(&[])
    }
}

fn metadata() -> MetadataRequest {
    MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some("t".into()),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    }
}

fn batch() -> Bytes {
    let mut batch = BatchBuilder::new(Compression::None);
    batch.append(1_000, Some(b"key"), Some(b"value"));
    batch.build().unwrap()
}

fn produce() -> ProduceRequest {
    ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(Records::from(batch())),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}

fn fetch(max_wait_ms: i32, fetch_offset: i64) -> FetchRequest {
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic: "t".into(),
            partitions: vec![FetchPartition {
                fetch_offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut listening = config(&[]);
    listening.listeners[0].listen = local(port);
    let mut health = config(&[]);
    health.http = local(port);
    for (case, config, flag) in [
        ("listener", listening, "--listen"),
        ("http", health, "--http"),
    ] {
        let refused = start(config).await.expect_err(case).to_string();
        assert!(refused.contains(&port.to_string()), "{case}: {refused}");
        assert!(refused.contains(flag), "{case}: {refused}");
        assert_eq!(refused.lines().count(), 1, "{case}: {refused}");
    }
    let mut nowhere = config(&[]);
    nowhere.listeners[0].listen = Endpoint {
        host: "192.0.2.1".to_owned(),
        port: 0,
    };
    assert!(matches!(start(nowhere).await, Err(StartError::Listen(_))));
}

#[tokio::test]
async fn processes_of_one_folder_are_one_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(on_folder(folder.path())).await.unwrap();
    let second = start(on_folder(folder.path())).await.unwrap();
    let (mut here, mut there) = (
        Client::connect(&first).await,
        Client::connect(&second).await,
    );
    here.call(9, &metadata()).await;
    let written = there.call(9, &produce()).await;
    let partition = &written.responses[0].partition_responses[0];
    assert_eq!((partition.error_code, partition.base_offset), (0, 0));
    let read = here.call(12, &fetch(5_000, 0)).await;
    assert_eq!(read.responses[0].partitions[0].high_watermark, 1);
    let brokers = there.call(9, &metadata()).await.brokers;
    assert_eq!(brokers.len(), 2, "{brokers:?}");

    first.shutdown().await.unwrap();
    let written = there.call(9, &produce()).await;
    let partition = &written.responses[0].partition_responses[0];
    assert_eq!((partition.error_code, partition.base_offset), (0, 1));
    let brokers = there.call(9, &metadata()).await.brokers;
    assert_eq!(brokers.len(), 1, "{brokers:?}");
    second.shutdown().await.unwrap();
}

/// Starts over a folder that a dropped broker still lets go of: its tasks end at their next await, and
/// with them its lock.
async fn start_again(folder: &std::path::Path) -> RunningAgent {
    loop {
        match start(on_folder(folder)).await {
            Ok(agent) => return agent,
            Err(StartError::Metadata { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_drain_and_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster_id = None;
    for round in 0..4 {
        let agent = start_again(folder.path()).await;
        let id = agent.broker().unwrap().cluster_id.clone();
        assert_eq!(
            *cluster_id.get_or_insert(id.clone()),
            id,
            "round {round}: the same cluster"
        );
        let mut client = Client::connect(&agent).await;
        client.call(9, &metadata()).await;
        let written = client.call(9, &produce()).await;
        let partition = &written.responses[0].partition_responses[0];
        assert_eq!(
            (partition.error_code, partition.base_offset),
            (0, round),
            "round {round}"
        );
        let read = client.call(12, &fetch(0, 0)).await;
        assert_eq!(
            read.responses[0].partitions[0].high_watermark,
            round + 1,
            "round {round}"
        );
        if round % 2 == 1 {
            drop(agent);
        } else {
            agent.shutdown().await.unwrap();
        }
    }
}

/// Sends a Produce and returns its id once the broker has taken it and not yet answered.
async fn produce_taken(agent: &RunningAgent, client: &mut Client) -> i32 {
    loop {
        let id = client.ask(9, &produce()).await;
        for _ in 0..100_000 {
            if agent.broker().unwrap().memory.used_bytes(Share::Produce) > 0 {
                return id;
            }
            tokio::task::yield_now().await;
        }
        client.answer::<ProduceRequest>(9, id).await;
    }
}

#[tokio::test]
async fn a_drain_answers_what_was_taken_and_frees_the_ports() {
    let agent = agent(&[]).await;
    let mut producer = Client::connect(&agent).await;
    producer.call(9, &metadata()).await;
    let mut consumer = Client::connect(&agent).await;
    consumer.call(9, &metadata()).await;
    let fetched = consumer.ask(12, &fetch(60_000, 5_000)).await;
    let mut silent = Client::connect(&agent).await;
    let produced = produce_taken(&agent, &mut producer).await;
    let port = agent.addresses()[0].local.port();
    agent.shutdown().await.unwrap();
    let written = producer.answer::<ProduceRequest>(9, produced).await;
    assert_eq!(written.responses[0].partition_responses[0].error_code, 0);
    producer.expect_closed("producer").await;
    // A fetch that waits is answered with what there is; one that was not read yet is not.
    if let Some(frame) = consumer.frame().await {
        assert_eq!(frame[..4], fetched.to_be_bytes());
    }
    silent.expect_closed("silent").await;
    TcpListener::bind(("127.0.0.1", port)).await.unwrap();
}

#[tokio::test]
async fn a_client_that_reads_nothing_does_not_hold_up_a_drain() {
    let agent = agent(&[]).await;
    let mut client = Client::connect(&agent).await;
    client.call(9, &metadata()).await;
    // More answers than the sockets' buffers hold, none of them read.
    let frame = crate::testing::request_frame(9, 1, &metadata());
    let framed = [
        &i32::try_from(frame.len()).unwrap().to_be_bytes()[..],
        &frame,
    ]
    .concat();
    let flood = framed.repeat(1000);
    while timeout(Duration::from_millis(200), client.send(&flood))
        .await
        .is_ok()
    {}
    timeout(Duration::from_secs(15), agent.shutdown())
        .await
        .expect("within its time")
        .unwrap();
}

#[tokio::test]
async fn health_and_metrics_over_http() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let agent = agent(&[]).await;
    for (path, expected) in [
        ("/livez", "200 OK"),
        ("/readyz", "200 OK"),
        (
            "/metrics",
            "floe_store_requests_total{caller=\"produce\",operation=\"put\"} 0",
        ),
        ("/metrics", "floe_memory_capacity_bytes{share=\"produce\"}"),
        ("/nothing", "404 Not Found"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(agent.http()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.contains(expected), "{path}: {answer}");
    }
}
