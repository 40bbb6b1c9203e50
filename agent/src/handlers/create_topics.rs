//! CreateTopics (KIP-4, KIP-464, KIP-525): each topic is checked and created by itself; what is wrong
//! with one does not concern the others. Codes and words are those of Kafka 4.2's controller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use floe_metadata::api::{NewTopic, Topic};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfigs, CreatableTopicResult,
    CreateTopicsRequest, CreateTopicsResponse,
};
use floe_protocol::str::Str;
use futures::StreamExt as _;
use futures::stream;
use tokio::time::Instant;

use super::change::{deadline, settle};
use super::{Context, Handler, Refuse};
use crate::brokers::Told;
use crate::error::Failure;
use crate::topic_config::{BrokerSettings, ConfigError, TOPIC_CONFIGS, check_topic_configs};
use crate::topic_name;

/// Replication factors that are accepted and reported; the store replicates, whatever is asked.
const REPLICATION_FACTORS: std::ops::RangeInclusive<i16> = 1..=5;
/// Topics of one request that are created at once: they share metadata's group commit.
const CREATIONS_MAX: usize = 64;

impl Handler for CreateTopicsRequest {
    async fn handle(self, context: &Context) -> CreateTopicsResponse {
        let deadline = deadline(self.timeout_ms);
        let twice = named_twice(&self.topics);
        let created = distinct(&self.topics).into_iter().map(|topic| {
            let is_twice = twice.contains(topic.name.as_str());
            one(topic, is_twice, self.validate_only, deadline, context)
        });
        let created: Vec<_> = created.collect();
        let topics = stream::iter(created)
            .buffered(CREATIONS_MAX)
            .collect()
            .await;
        CreateTopicsResponse {
            throttle_time_ms: 0,
            topics,
        }
    }
}

impl Refuse for CreateTopicsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<CreateTopicsResponse> {
        let failure = Failure::new(code, code.message());
        let topics = self
            .topics
            .iter()
            .map(|topic| refused(topic, failure.clone()))
            .collect();
        Some(CreateTopicsResponse {
            throttle_time_ms: 0,
            topics,
        })
    }
}

/// A topic as it is to be created: all numbers decided, all values checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TopicSpec {
    name: String,
    partition_count: i32,
    replication_factor: i16,
    configs: BTreeMap<String, String>,
}

impl TopicSpec {
    /// A topic of which only the name is known.
    pub(super) fn with_defaults(name: &str, settings: &BrokerSettings) -> Self {
        Self {
            name: name.to_owned(),
            partition_count: default_partitions(settings),
            replication_factor: default_replication(settings),
            configs: BTreeMap::new(),
        }
    }
}

fn default_partitions(settings: &BrokerSettings) -> i32 {
    i32::try_from(settings.integer("num.partitions", 1)).unwrap_or(1)
}

fn default_replication(settings: &BrokerSettings) -> i16 {
    i16::try_from(settings.integer("default.replication.factor", 1)).unwrap_or(1)
}

fn named_twice(topics: &[CreatableTopic]) -> BTreeSet<&str> {
    let mut seen = BTreeSet::new();
    topics
        .iter()
        .map(|topic| topic.name.as_str())
        .filter(|name| !seen.insert(*name))
        .collect()
}

/// The topics of a request, each name once.
fn distinct(topics: &[CreatableTopic]) -> Vec<&CreatableTopic> {
    let mut seen = BTreeSet::new();
    topics
        .iter()
        .filter(|topic| seen.insert(topic.name.as_str()))
        .collect()
}

async fn one(
    topic: &CreatableTopic,
    is_twice: bool,
    validate_only: bool,
    deadline: Instant,
    context: &Context,
) -> CreatableTopicResult {
    let spec = if is_twice {
        Err(Failure::new(
            ErrorCode::InvalidRequest,
            "Duplicate topic name.",
        ))
    } else {
        check(topic, context)
    };
    let outcome = match spec {
        Ok(spec) if validate_only => Ok((spec, None)),
        Ok(spec) => create(context, spec.clone(), deadline)
            .await
            .map(|made| (spec, Some(made))),
        Err(failure) => Err(failure),
    };
    match outcome {
        Ok((spec, made)) => accepted(&spec, made.as_deref(), &context.broker.settings_now()),
        Err(failure) => refused(topic, failure),
    }
}

/// Everything that can be said before metadata is asked.
fn check(topic: &CreatableTopic, context: &Context) -> Result<TopicSpec, Failure> {
    check_new_name(&topic.name, context)?;
    let settings = &context.broker.settings;
    let (partition_count, replication_factor) = if topic.assignments.is_empty() {
        counts(topic, settings)?
    } else {
        assigned_counts(topic, &context.brokers())?
    };
    let mut configs = BTreeMap::new();
    for config in &topic.configs {
        let name = config.name.to_string();
        let Some(value) = &config.value else {
            return Err(ConfigError::Null(name).into());
        };
        configs.insert(name, value.to_string());
    }
    check_topic_configs(&configs)?;
    Ok(TopicSpec {
        name: topic.name.to_string(),
        partition_count,
        replication_factor,
        configs,
    })
}

/// Whether a topic of this name may be created here and now.
pub(super) fn check_new_name(name: &str, context: &Context) -> Result<(), Failure> {
    topic_name::check(name)?;
    if topic_name::is_internal(name) {
        let message = format!("Creation of internal topic {name} is prohibited.");
        return Err(Failure::new(ErrorCode::InvalidRequest, message));
    }
    let view = &context.broker.view;
    if view.topic_by_name(name).is_some() {
        let message = format!("Topic '{name}' already exists.");
        return Err(Failure::new(ErrorCode::TopicAlreadyExists, message));
    }
    if name.contains(['.', '_']) {
        let taken = view
            .topics()
            .into_iter()
            .find(|topic| topic_name::collide(&topic.name, name));
        if let Some(taken) = taken {
            let message = format!(
                "Topic '{name}' collides with existing topic: {}",
                taken.name
            );
            return Err(Failure::new(ErrorCode::InvalidTopicException, message));
        }
    }
    Ok(())
}

fn counts(topic: &CreatableTopic, settings: &BrokerSettings) -> Result<(i32, i16), Failure> {
    let partitions = match topic.num_partitions {
        -1 => default_partitions(settings),
        asked if asked < 1 => {
            let message = "Number of partitions was set to an invalid non-positive value.";
            return Err(Failure::new(ErrorCode::InvalidPartitions, message));
        }
        asked => asked,
    };
    let factor = match topic.replication_factor {
        -1 => default_replication(settings),
        asked if asked < 1 => {
            let message =
                "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(Failure::new(ErrorCode::InvalidReplicationFactor, message));
        }
        asked => asked,
    };
    check_factor(factor)?;
    Ok((partitions, factor))
}

fn check_factor(factor: i16) -> Result<(), Failure> {
    if REPLICATION_FACTORS.contains(&factor) {
        return Ok(());
    }
    let message = format!("Replication factor {factor} is not between 1 and 5.");
    Err(Failure::new(ErrorCode::InvalidReplicationFactor, message))
}

/// Counts of a topic whose partitions the client placed itself.
fn assigned_counts(topic: &CreatableTopic, told: &Told) -> Result<(i32, i16), Failure> {
    let contradiction = |what: &str| {
        let message =
            format!("A manual partition assignment was specified, but {what} was not set to -1.");
        Failure::new(ErrorCode::InvalidRequest, message)
    };
    if topic.replication_factor != -1 {
        return Err(contradiction("replication factor"));
    }
    if topic.num_partitions != -1 {
        return Err(contradiction("numPartitions"));
    }
    let mut seen = BTreeSet::new();
    for assignment in &topic.assignments {
        if !seen.insert(assignment.partition_index) {
            let index = assignment.partition_index;
            let message =
                format!("Found multiple manual partition assignments for partition {index}");
            return Err(Failure::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        check_assigned(&assignment.broker_ids, told)?;
    }
    let is_sequence = seen
        .iter()
        .copied()
        .eq(0..i32::try_from(seen.len()).unwrap_or(i32::MAX));
    if !is_sequence {
        let message = "partitions should be a consecutive 0-based integer sequence";
        return Err(Failure::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    let factor = topic.assignments.first().map_or(1, replicas);
    if topic
        .assignments
        .iter()
        .any(|assignment| replicas(assignment) != factor)
    {
        let message = "partitions have different numbers of replicas";
        return Err(Failure::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    let partitions = i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX);
    Ok((partitions, factor))
}

fn replicas(assignment: &CreatableReplicaAssignment) -> i16 {
    i16::try_from(assignment.broker_ids.len()).unwrap_or(i16::MAX)
}

/// Checks the brokers a client chose for a partition: those it was told, each once.
pub(super) fn check_assigned(broker_ids: &[i32], told: &Told) -> Result<(), Failure> {
    let refuse = |message: String| Err(Failure::new(ErrorCode::InvalidReplicaAssignment, message));
    if broker_ids.is_empty() {
        return refuse(
            "The manual partition assignment includes an empty replica list.".to_owned(),
        );
    }
    let is_told = |id: i32| told.brokers.iter().any(|broker| broker.node_id == id);
    if let Some(unknown) = broker_ids.iter().find(|id| !is_told(**id)) {
        return refuse(format!(
            "The manual partition assignment includes broker {unknown}, but no such broker is registered."
        ));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = broker_ids.iter().find(|id| !seen.insert(**id)) {
        return refuse(format!(
            "The manual partition assignment includes the broker {twice} more than once."
        ));
    }
    Ok(())
}

/// Creates a topic and waits until this broker sees it.
pub(super) async fn create(
    context: &Context,
    spec: TopicSpec,
    deadline: Instant,
) -> Result<Arc<Topic>, Failure> {
    // One id for all attempts: metadata recognises a repeat by it.
    let topic = NewTopic {
        id: context.broker.random.topic_id(),
        name: spec.name,
        partition_count: spec.partition_count,
        replication_factor: spec.replication_factor,
        configs: spec.configs,
    };
    settle(context, deadline, |_| {
        let topic = topic.clone();
        async move {
            let (made, revision) = context.broker.metadata.create_topic(topic).await?;
            Ok((made, Some(revision)))
        }
    })
    .await
}

fn accepted(
    spec: &TopicSpec,
    made: Option<&Topic>,
    settings: &BrokerSettings,
) -> CreatableTopicResult {
    let configs = TOPIC_CONFIGS.iter().map(|definition| {
        let (value, source) = settings.topic_value(definition, &spec.configs);
        CreatableTopicConfigs {
            name: definition.name.into(),
            value: Some(Str::from(value)),
            read_only: false,
            config_source: source.wire(),
            is_sensitive: false,
        }
    });
    CreatableTopicResult {
        name: Str::from(spec.name.clone()),
        topic_id: made.map(|topic| topic.id.into()).unwrap_or_default(),
        num_partitions: spec.partition_count,
        replication_factor: spec.replication_factor,
        configs: Some(configs.collect()),
        error_message: None,
        ..CreatableTopicResult::default()
    }
}

fn refused(topic: &CreatableTopic, failure: Failure) -> CreatableTopicResult {
    CreatableTopicResult {
        name: topic.name.clone(),
        error_code: failure.code.code(),
        error_message: Some(Str::from(failure.message)),
        num_partitions: -1,
        replication_factor: -1,
        configs: Some(Vec::new()),
        ..CreatableTopicResult::default()
    }
}
