//! The handlers of topics, configs and the cluster, asked over the wire.

mod alter_configs;
mod cluster;
mod configs;
mod delete_records;
mod groups;
mod quotas;
mod synthetic;
mod topics;

use floe_protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use floe_protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use floe_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use floe_protocol::str::Str;

use crate::testing::Client;

fn text(text: &str) -> Str {
    Str::from(text.to_owned())
}

fn topic(name: &str, partitions: i32, factor: i16) -> CreatableTopic {
    CreatableTopic {
        name: text(name),
        num_partitions: partitions,
        replication_factor: factor,
        ..CreatableTopic::default()
    }
}

fn config(name: &str, value: Option<&str>) -> CreatableTopicConfig {
    CreatableTopicConfig {
        name: text(name),
        value: value.map(text),
    }
}

fn create(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest {
        topics,
        ..CreateTopicsRequest::default()
    }
}

fn metadata_of(names: &[&str]) -> MetadataRequest {
    let topics = names.iter().map(|name| MetadataRequestTopic {
        name: Some(text(name)),
        ..MetadataRequestTopic::default()
    });
    MetadataRequest {
        topics: Some(topics.collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    }
}

/// What ListOffsets finds in partition 0 of topic `t`: offset and timestamp.
async fn listed(client: &mut Client, timestamp: i64) -> (i64, i64) {
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: text("t"),
            partitions: vec![ListOffsetsPartition {
                timestamp,
                ..ListOffsetsPartition::default()
            }],
        }],
        ..ListOffsetsRequest::default()
    };
    let answer = client.call(10, &request).await;
    let found = &answer.topics[0].partitions[0];
    (found.offset, found.timestamp)
}

/// A topic that must come into being.
async fn created(client: &mut Client, name: &str, partitions: i32) {
    let answer = client
        .call(7, &create(vec![topic(name, partitions, 1)]))
        .await;
    assert_eq!(
        answer.topics[0].error_code, 0,
        "{name}: {:?}",
        answer.topics[0].error_message
    );
}
