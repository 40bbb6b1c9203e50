//! DescribeQuorum (KIP-595, KIP-836): the owner of metadata stands for the quorum, the agents that follow it for its
//! observers.

use floe_metadata::api::Process;
use floe_metadata::api::admin::QuorumFacts;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, ReplicaState,
    ResponsePartitionData, ResponseTopicData,
};
use floe_protocol::str::Str;
use floe_protocol::types::NodeId;
use tokio::time::Instant;

use super::change::settle;
use super::configs::PATIENCE;
use super::{Context, Handler, Refuse};
use crate::brokers::Told;
use crate::error::Failure;

/// The only topic that there are voters of, with its one partition.
const CLUSTER_METADATA: (&str, i32) = ("__cluster_metadata", 0);

impl Handler for DescribeQuorumRequest {
    async fn handle(self, context: &Context) -> DescribeQuorumResponse {
        let metadata = &context.broker.metadata;
        let facts = settle(context, Instant::now() + PATIENCE, async |_| {
            Ok((metadata.quorum().await?, None))
        });
        let facts = match facts.await {
            Ok(facts) => facts,
            Err(failure) => return failed(failure),
        };
        let told = context.brokers();
        let leader_id = leader(&facts, &told, context);
        let topics = self.topics.iter().map(|topic| {
            let name = topic.topic_name.as_str();
            let partitions = topic.partitions.iter().map(|partition| {
                let index = partition.partition_index;
                if (name, index) == CLUSTER_METADATA {
                    describe(&facts, leader_id, &told)
                } else {
                    unknown(index)
                }
            });
            ResponseTopicData {
                topic_name: topic.topic_name.clone(),
                partitions: partitions.collect(),
            }
        });
        let topics: Vec<_> = topics.collect();
        let is_known = |partition: &ResponsePartitionData| partition.error_code == 0;
        let has_voters = topics
            .iter()
            .any(|topic| topic.partitions.iter().any(is_known));
        DescribeQuorumResponse {
            topics,
            nodes: match has_voters {
                true => nodes(leader_id, &told, context),
                false => Vec::new(),
            },
            ..DescribeQuorumResponse::default()
        }
    }
}

impl Refuse for DescribeQuorumRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<DescribeQuorumResponse> {
        Some(failed(Failure::new(code, code.message())))
    }
}

fn failed(failure: Failure) -> DescribeQuorumResponse {
    DescribeQuorumResponse {
        error_code: failure.code.code(),
        error_message: Some(Str::from(failure.message)),
        ..DescribeQuorumResponse::default()
    }
}

/// The node of the owner. An owner that serves no clients on this listener is stood for by the broker that leads
/// for this client, through which it is reached.
fn leader(facts: &QuorumFacts, told: &Told, context: &Context) -> NodeId {
    let Some(owner) = facts.owner else {
        return match told
            .brokers
            .iter()
            .any(|it| it.node_id == context.broker.node_id)
        {
            true => context.broker.node_id,
            false => told.leader.node_id,
        };
    };
    let processes = context.broker.view.processes();
    let is_owner = |process: &&Process| process.told.nonce == owner;
    let process = processes.iter().find(is_owner);
    let brokers = process.map(|process| process.told.brokers.as_slice());
    let mut brokers = brokers.unwrap_or_default().iter();
    let listener = &context.connection.listener;
    let here = brokers.find(|broker| broker.listener == **listener);
    here.map_or(told.leader.node_id, |broker| broker.node_id)
}

fn describe(facts: &QuorumFacts, leader_id: NodeId, told: &Told) -> ResponsePartitionData {
    let end = i64::try_from(facts.revision).unwrap_or(i64::MAX);
    // Who serves shows every change that anybody was told of (decision 16).
    let replica = |replica_id: NodeId| ReplicaState {
        replica_id,
        log_end_offset: end,
        ..ReplicaState::default()
    };
    let others = told.brokers.iter().map(|broker| broker.node_id);
    let others = others.filter(|id| *id != leader_id);
    ResponsePartitionData {
        partition_index: CLUSTER_METADATA.1,
        leader_id,
        leader_epoch: i32::try_from(facts.write_epoch).unwrap_or(i32::MAX),
        high_watermark: end,
        current_voters: vec![replica(leader_id)],
        observers: others.map(replica).collect(),
        ..ResponsePartitionData::default()
    }
}

fn unknown(partition_index: i32) -> ResponsePartitionData {
    let code = ErrorCode::UnknownTopicOrPartition;
    ResponsePartitionData {
        partition_index,
        error_code: code.code(),
        error_message: Some(Str::from(code.message())),
        ..ResponsePartitionData::default()
    }
}

/// Where the voter is reached.
fn nodes(leader_id: NodeId, told: &Told, context: &Context) -> Vec<Node> {
    let leader = told.brokers.iter().filter(|it| it.node_id == leader_id);
    let listener = &context.connection.listener;
    leader
        .map(|broker| Node {
            node_id: broker.node_id,
            listeners: vec![Listener {
                // Java takes no other case.
                name: Str::from(listener.to_ascii_uppercase()),
                host: Str::from(broker.endpoint.host.clone()),
                port: broker.endpoint.port,
            }],
        })
        .collect()
}
