//! Metadata: the cluster, its brokers and topics; creates topics that are asked for by name where that
//! is enabled.
//!
//! Each client is told one leader for everything, see [`crate::brokers`], and of this broker the one
//! address it came in on (some clients refresh for ever when a node has two).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use floe_metadata::api::Topic;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use floe_protocol::str::Str;
use floe_protocol::types::{NodeId, TopicId};
use futures::StreamExt as _;
use futures::stream;
use tokio::time::Instant;
use uuid::Uuid;

use super::create_topics::{self, TopicSpec};
use super::{Context, Handler, Refuse};
use crate::brokers::{Told, ToldBroker};
use crate::topic_name;

/// All operations on a topic: nobody is authorized here, so everybody may do everything.
pub(super) const TOPIC_OPERATIONS: i32 = 3576;
/// All operations on the cluster.
pub(super) const CLUSTER_OPERATIONS: i32 = 8096;
/// "Not asked for."
pub(super) const NO_OPERATIONS: i32 = i32::MIN;

/// How long a request waits for the topics it creates; then the client asks again.
const CREATION_PATIENCE: Duration = Duration::from_secs(5);
/// Topics of one request that are created at once.
const CREATIONS_MAX: usize = 32;
const NO_LEADER: NodeId = -1;

impl Handler for MetadataRequest {
    async fn handle(self, context: &Context) -> MetadataResponse {
        if asks_by_id_too_early(&self, context.version) {
            return too_early(&self);
        }
        let broker = &context.broker;
        let mut topics = topics(&self, context).await;
        // After the topics: who waited for a new one is told the brokers of now.
        let Told { brokers, leader } = context.brokers();
        lead(&mut topics, leader.node_id);
        if self.include_topic_authorized_operations {
            for topic in &mut topics {
                topic.topic_authorized_operations = TOPIC_OPERATIONS;
            }
        }
        MetadataResponse {
            brokers: brokers.into_iter().map(told_broker).collect(),
            cluster_id: Some(Str::from(broker.cluster_id.clone())),
            controller_id: leader.node_id,
            topics,
            cluster_authorized_operations: if self.include_cluster_authorized_operations {
                CLUSTER_OPERATIONS
            } else {
                NO_OPERATIONS
            },
            ..MetadataResponse::default()
        }
    }
}

impl Refuse for MetadataRequest {
    fn refuse(&self, version: i16, code: ErrorCode) -> Option<MetadataResponse> {
        let topics = self.topics.iter().flatten();
        let topics = topics.map(|topic| MetadataResponseTopic {
            error_code: code.code(),
            name: Some(topic.name.clone().unwrap_or_default()),
            topic_id: topic.topic_id,
            ..MetadataResponseTopic::default()
        });
        let topics: Vec<_> = topics.collect();
        let has_room = version >= 13 || !topics.is_empty();
        let error_code = code.code();
        has_room.then(|| MetadataResponse {
            topics,
            error_code,
            ..MetadataResponse::default()
        })
    }
}

/// Whether topics are named by id in a version whose answers cannot be (v10 and v11 carry the fields,
/// Kafka refuses them).
fn asks_by_id_too_early(request: &MetadataRequest, version: i16) -> bool {
    let by_id = |topic: &MetadataRequestTopic| topic.name.is_none() || !topic.topic_id.is_nil();
    version < 12 && request.topics.iter().flatten().any(by_id)
}

fn too_early(request: &MetadataRequest) -> MetadataResponse {
    request
        .refuse(0, ErrorCode::InvalidRequest)
        .unwrap_or_default()
}

/// The topics asked for, each once, in the order of the request; all of them sorted by name.
async fn topics(request: &MetadataRequest, context: &Context) -> Vec<MetadataResponseTopic> {
    let wanted = match &request.topics {
        // Before version 1 no topics meant all.
        Some(wanted) if !(wanted.is_empty() && context.version == 0) => wanted,
        Some(_) | None => {
            let all = context.broker.view.topics();
            return all.iter().map(|topic| describe(topic, context)).collect();
        }
    };
    let may_create = (context.version < 4 || request.allow_auto_topic_creation)
        && context.broker.settings.is_on("auto.create.topics.enable");
    let mut seen = BTreeSet::new();
    let described: Vec<_> = wanted
        .iter()
        .filter(|topic| seen.insert((topic.name.as_deref(), topic.topic_id)))
        .map(|topic| one(topic, may_create, context))
        .collect();
    stream::iter(described)
        .buffered(CREATIONS_MAX)
        .collect()
        .await
}

async fn one(
    wanted: &MetadataRequestTopic,
    may_create: bool,
    context: &Context,
) -> MetadataResponseTopic {
    // Java's consumer of a pattern sends an empty name with the id (KIP-848).
    let is_by_id = !wanted.topic_id.is_nil();
    let Some(name) = wanted.name.as_ref().filter(|_| !is_by_id) else {
        return by_id(wanted.topic_id, context);
    };
    if let Err(_illegal) = topic_name::check(name) {
        return missing(name.clone(), ErrorCode::InvalidTopicException);
    }
    if let Some(topic) = context.broker.view.topic_by_name(name) {
        return describe(&topic, context);
    }
    if topic_name::is_internal(name) {
        let unknown = missing(name.clone(), ErrorCode::UnknownTopicOrPartition);
        return MetadataResponseTopic {
            is_internal: true,
            ..unknown
        };
    }
    if !may_create {
        return missing(name.clone(), ErrorCode::UnknownTopicOrPartition);
    }
    match create(name, context).await {
        Ok(topic) => describe(&topic, context),
        Err(code) => missing(name.clone(), code),
    }
}

async fn create(name: &Str, context: &Context) -> Result<Arc<Topic>, ErrorCode> {
    let spec = TopicSpec::with_defaults(name, &context.broker.settings);
    let deadline = Instant::now() + CREATION_PATIENCE;
    let created = match create_topics::check_new_name(name, context) {
        Ok(()) => create_topics::create(context, spec, deadline).await,
        Err(refused) => Err(refused),
    };
    created.or_else(|failure| match failure.code {
        // Somebody else was quicker.
        ErrorCode::TopicAlreadyExists => context
            .broker
            .view
            .topic_by_name(name)
            .ok_or(ErrorCode::UnknownTopicOrPartition),
        // Being created, or cannot be now: clients ask again.
        ErrorCode::RequestTimedOut => Err(ErrorCode::UnknownTopicOrPartition),
        code => Err(code),
    })
}

fn by_id(id: Uuid, context: &Context) -> MetadataResponseTopic {
    match context.broker.view.topic(TopicId::from(id)) {
        Some(topic) => describe(&topic, context),
        None => MetadataResponseTopic {
            error_code: ErrorCode::UnknownTopicId.code(),
            name: None,
            topic_id: id,
            ..MetadataResponseTopic::default()
        },
    }
}

fn missing(name: Str, code: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: code.code(),
        name: Some(name.detached()),
        ..MetadataResponseTopic::default()
    }
}

fn told_broker(broker: ToldBroker) -> MetadataResponseBroker {
    MetadataResponseBroker {
        node_id: broker.node_id,
        host: Str::from(broker.endpoint.host),
        port: i32::from(broker.endpoint.port),
        rack: broker.rack.map(Str::from),
    }
}

/// Makes `node_id` the leader of all partitions.
fn lead(topics: &mut [MetadataResponseTopic], node_id: NodeId) {
    for partition in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.leader_id = node_id;
        partition.replica_nodes = vec![node_id];
        partition.isr_nodes = vec![node_id];
    }
}

/// A topic, its partitions without a leader yet: [`lead`] names it.
fn describe(topic: &Topic, context: &Context) -> MetadataResponseTopic {
    let leader_epoch = context.broker.view.leader_epoch();
    let partitions = (0..topic.partition_count).map(|partition_index| MetadataResponsePartition {
        error_code: ErrorCode::None.code(),
        partition_index,
        leader_id: NO_LEADER,
        leader_epoch,
        replica_nodes: Vec::new(),
        isr_nodes: Vec::new(),
        offline_replicas: Vec::new(),
    });
    MetadataResponseTopic {
        name: Some(Str::from(topic.name.to_string())),
        topic_id: topic.id.into(),
        is_internal: false,
        partitions: partitions.collect(),
        ..MetadataResponseTopic::default()
    }
}
