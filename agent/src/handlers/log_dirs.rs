//! DescribeLogDirs (KIP-113, KIP-827) and AlterReplicaLogDirs: the store is one directory, the same for every broker.
//!
//! Tools ask every broker and add up what they say, so a broker tells only of partitions it leads for this client:
//! all or none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use floe_metadata::api::Topic;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};
use floe_protocol::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};
use floe_protocol::str::Str;
use floe_protocol::types::TopicPartition;
use tokio::time::Instant;

use super::change::settle;
use super::configs::PATIENCE;
use super::{Context, Handler, Refuse};
use crate::error::Failure;

/// Partitions whose sizes are asked for at once.
const SIZES_AT_ONCE: usize = 10_000;

/// The store, as the directory it stands for.
fn dir(context: &Context) -> String {
    let dir = context.broker.derived.get("log.dirs");
    dir.cloned().unwrap_or_default()
}

impl Handler for DescribeLogDirsRequest {
    async fn handle(self, context: &Context) -> DescribeLogDirsResponse {
        let asked = match leads(context) {
            true => asked(&self, context),
            false => Vec::new(),
        };
        match sizes(&asked, context).await {
            Ok(sizes) => DescribeLogDirsResponse {
                results: vec![DescribeLogDirsResult {
                    error_code: ErrorCode::None.code(),
                    log_dir: Str::from(dir(context)),
                    topics: topics(asked, sizes),
                    total_bytes: -1,
                    usable_bytes: -1,
                }],
                ..DescribeLogDirsResponse::default()
            },
            Err(failure) => failed(dir(context), failure.code),
        }
    }
}

impl Refuse for DescribeLogDirsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<DescribeLogDirsResponse> {
        Some(failed(String::new(), code))
    }
}

fn failed(dir: String, code: ErrorCode) -> DescribeLogDirsResponse {
    DescribeLogDirsResponse {
        error_code: code.code(),
        results: vec![DescribeLogDirsResult {
            error_code: code.code(),
            log_dir: Str::from(dir),
            ..DescribeLogDirsResult::default()
        }],
        ..DescribeLogDirsResponse::default()
    }
}

/// Whether this broker leads everything for the client.
fn leads(context: &Context) -> bool {
    context.brokers().leader.node_id == context.broker.node_id
}

/// The partitions asked for that there are, by topic.
fn asked(request: &DescribeLogDirsRequest, context: &Context) -> Vec<(Arc<Topic>, Vec<i32>)> {
    let view = &context.broker.view;
    let Some(topics) = &request.topics else {
        let all = view.topics().into_iter();
        return all
            .map(|topic| {
                let partitions = (0..topic.partition_count).collect();
                (topic, partitions)
            })
            .collect();
    };
    // Each once, however often it is named: tools add sizes up.
    let mut wanted = BTreeMap::<&str, BTreeSet<i32>>::new();
    for topic in topics {
        let indexes = wanted.entry(&topic.topic).or_default();
        indexes.extend(&topic.partitions);
    }
    let known = wanted.into_iter().filter_map(|(name, indexes)| {
        let topic = view.topic_by_name(name)?;
        let existing = 0..topic.partition_count;
        let partitions = indexes.into_iter().filter(|it| existing.contains(it));
        Some((topic, partitions.collect()))
    });
    known.collect()
}

/// The size of each partition, in their order.
async fn sizes(
    asked: &[(Arc<Topic>, Vec<i32>)],
    context: &Context,
) -> Result<Vec<Option<u64>>, Failure> {
    let partitions = asked.iter().flat_map(|(topic, indexes)| {
        let partitions = indexes.iter();
        partitions.map(|index| TopicPartition::new(topic.id, *index))
    });
    let partitions: Vec<_> = partitions.collect();
    let deadline = Instant::now() + PATIENCE;
    let mut sizes = Vec::with_capacity(partitions.len());
    for some in partitions.chunks(SIZES_AT_ONCE) {
        let found = settle(context, deadline, async |_| {
            let found = context.broker.metadata.sizes(some.to_vec()).await?;
            Ok((found, None))
        });
        sizes.extend(found.await?);
    }
    Ok(sizes)
}

fn topics(
    asked: Vec<(Arc<Topic>, Vec<i32>)>,
    sizes: Vec<Option<u64>>,
) -> Vec<DescribeLogDirsTopic> {
    let mut sizes = sizes.into_iter();
    let topic = |(topic, indexes): (Arc<Topic>, Vec<i32>)| {
        // A topic that was deleted meanwhile has no sizes.
        let partitions = indexes.into_iter().zip(sizes.by_ref());
        let partitions = partitions.filter_map(|(partition_index, size)| {
            Some(DescribeLogDirsPartition {
                partition_index,
                partition_size: i64::try_from(size?).unwrap_or(i64::MAX),
                offset_lag: 0,
                is_future_key: false,
            })
        });
        DescribeLogDirsTopic {
            name: Str::from(topic.name.to_string()),
            partitions: partitions.collect(),
        }
    };
    asked.into_iter().map(topic).collect()
}

impl Handler for AlterReplicaLogDirsRequest {
    async fn handle(self, context: &Context) -> AlterReplicaLogDirsResponse {
        let own = dir(context);
        let view = &context.broker.view;
        moved(&self, |path, name, index| {
            let topic = view.topic_by_name(name);
            let is_known = topic.is_some_and(|topic| (0..topic.partition_count).contains(&index));
            match (path == own, is_known) {
                (false, _) => ErrorCode::LogDirNotFound,
                (true, false) => ErrorCode::UnknownTopicOrPartition,
                // It is there already.
                (true, true) => ErrorCode::None,
            }
        })
    }
}

impl Refuse for AlterReplicaLogDirsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<AlterReplicaLogDirsResponse> {
        Some(moved(self, |_, _, _| code))
    }
}

fn moved(
    request: &AlterReplicaLogDirsRequest,
    code: impl Fn(&str, &str, i32) -> ErrorCode,
) -> AlterReplicaLogDirsResponse {
    let topics = request.dirs.iter().flat_map(|dir| {
        let topics = dir.topics.iter();
        topics.map(|topic| {
            let partitions = topic.partitions.iter();
            AlterReplicaLogDirTopicResult {
                topic_name: topic.name.clone(),
                partitions: partitions
                    .map(|index| AlterReplicaLogDirPartitionResult {
                        partition_index: *index,
                        error_code: code(&dir.path, &topic.name, *index).code(),
                    })
                    .collect(),
            }
        })
    });
    AlterReplicaLogDirsResponse {
        throttle_time_ms: 0,
        results: topics.collect(),
    }
}
