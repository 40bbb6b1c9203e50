//! The wire codec: requests and responses of the busiest APIs, decoded under a budget and encoded.

use bytes::Bytes;
use floe_protocol::budget::Budget;
use floe_protocol::decoder::Decoder;
use floe_protocol::encoder::Encoder;
use floe_protocol::messages::Message;
use floe_protocol::messages::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use floe_protocol::messages::metadata::{
    MetadataResponse, MetadataResponsePartition, MetadataResponseTopic,
};
use floe_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use floe_protocol::records::Records;

use super::{Measurement, batch, cpu_seconds};

/// Runs all of them; takes some seconds.
#[must_use]
pub fn run() -> Vec<Measurement> {
    let mut measured = Vec::new();
    let megabyte = Records::from(batch::batch(1000, 1024));
    let small = Records::from(batch::batch(1, 30));
    both(
        &mut measured,
        "Produce request, 4 × 1 MB",
        9,
        &produce(4, &megabyte),
    );
    both(
        &mut measured,
        "Produce request, 100 × 100 bytes",
        9,
        &produce(100, &small),
    );
    both(
        &mut measured,
        "Fetch request, empty session",
        13,
        &FetchRequest::default(),
    );
    both(
        &mut measured,
        "Fetch response, 4 × 1 MB",
        13,
        &fetched(4, &megabyte),
    );
    both(
        &mut measured,
        "Metadata response, 1,000 topics × 10",
        12,
        &metadata(),
    );
    measured
}

fn produce(partitions: i32, records: &Records) -> ProduceRequest {
    let partition = |index| PartitionProduceData {
        index,
        records: Some(records.clone()),
    };
    let topic = TopicProduceData {
        name: "a-topic-of-usual-length".into(),
        partition_data: (0..partitions).map(partition).collect(),
        ..TopicProduceData::default()
    };
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    }
}

fn fetched(partitions: i32, records: &Records) -> FetchResponse {
    let partition = |partition_index| PartitionData {
        partition_index,
        records: Some(records.clone()),
        ..PartitionData::default()
    };
    let topic = FetchableTopicResponse {
        partitions: (0..partitions).map(partition).collect(),
        ..FetchableTopicResponse::default()
    };
    FetchResponse {
        responses: vec![topic],
        ..FetchResponse::default()
    }
}

fn metadata() -> MetadataResponse {
    let partition = |partition_index| MetadataResponsePartition {
        partition_index,
        replica_nodes: vec![1],
        isr_nodes: vec![1],
        ..MetadataResponsePartition::default()
    };
    let topic = |number: i32| MetadataResponseTopic {
        name: Some(format!("topic-{number}").into()),
        partitions: (0..10).map(partition).collect(),
        ..MetadataResponseTopic::default()
    };
    MetadataResponse {
        topics: (0..1000).map(topic).collect(),
        ..MetadataResponse::default()
    }
}

/// Encoding, and decoding what was encoded.
fn both<M: Message>(measured: &mut Vec<Measurement>, name: &str, version: i16, message: &M) {
    let encode = || {
        let mut encoder = Encoder::new();
        message
            .encode(&mut encoder, version)
            .expect("the message has the fields of this version");
        encoder
    };
    let seconds = cpu_seconds(|| encode().finish());
    measured.push(Measurement::new(
        format!("codec: encode {name}"),
        seconds * 1e9,
        "ns",
    ));
    let frame: Bytes = encode().into_body();
    let decode = || {
        let budget = Budget::for_frame(frame.len());
        M::decode(&mut Decoder::new(frame.clone(), budget), version)
    };
    assert!(decode().is_ok(), "{name}: what was encoded can be decoded");
    let seconds = cpu_seconds(decode);
    measured.push(Measurement::new(
        format!("codec: decode {name}"),
        seconds * 1e9,
        "ns",
    ));
}
