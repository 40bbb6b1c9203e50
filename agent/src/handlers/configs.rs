//! Changes of configs: which resource is meant, what becomes of its configs, and whether they fit. Codes and words
//! are those of Kafka 4.2: of its brokers for brokers and loggers, of its controller for all else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use floe_metadata::api::RequestError;
use floe_metadata::api::admin::{AlterConfigs, ConfigKind, ConfigResource, ConfigValues};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::str::Str;
use tokio::time::{Instant, timeout_at};

use super::Context;
use super::change::settle;
use crate::brokers::ToldBroker;
use crate::error::Failure;
use crate::topic_config::{
    Definition, Kind, broker_config, check_client_metrics_configs, check_group_configs,
    check_topic_configs, client_metrics_config, dynamic_config, elements, group_config,
    topic_config,
};
use crate::topic_name;

/// Resource types of KIP-133 and its successors.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const BROKER_LOGGER: i8 = 8;
pub(super) const CLIENT_METRICS: i8 = 16;
pub(super) const GROUP: i8 = 32;

/// Longest value of a config, in bytes.
const VALUE_BYTES_MAX: usize = 32_767;
/// How long a change may take: its requests do not say.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What is to become of one config.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Edit {
    /// Takes this value.
    Set(String, String),
    /// Is no longer set.
    Delete(String),
    /// A list gains these elements, as far as it lacks them.
    Append(String, String),
    /// A list loses these elements.
    Subtract(String, String),
}

/// What a request asks of one resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    pub(super) resource_type: i8,
    pub(super) name: String,
    /// Whether configs without an edit go.
    pub(super) is_whole: bool,
    pub(super) edits: Vec<Edit>,
}

fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::InvalidRequest, message)
}

/// A resource in a request that changes configs.
pub(super) trait Altered: Sync {
    /// What is answered about it.
    type Response: Send;

    /// Its type and name.
    fn key(&self) -> (i8, &str);

    /// What is asked of it.
    ///
    /// # Errors
    /// What is wrong with the request, whatever is set now.
    fn wanted(&self) -> Result<Wanted, Failure>;

    /// The answer, with a sentence for people where something is wrong.
    fn response(&self, code: ErrorCode, message: Option<Str>) -> Self::Response;

    /// The answer to what came of it.
    fn answer(&self, outcome: Result<(), Failure>) -> Self::Response {
        match outcome {
            Ok(()) => self.response(ErrorCode::None, None),
            Err(failure) => self.response(failure.code, Some(Str::from(failure.message))),
        }
    }
}

/// Changes the resources of a request, one after the other, with one answer each.
pub(super) async fn alter_all<R: Altered>(
    resources: &[R],
    validate_only: bool,
    context: &Context,
) -> Vec<R::Response> {
    let deadline = Instant::now() + PATIENCE;
    let repeated = named_twice(resources.iter().map(R::key));
    let mut answers = Vec::with_capacity(resources.len());
    for resource in resources {
        let outcome = if repeated.contains(&resource.key()) {
            Err(invalid("Each resource must appear at most once."))
        } else {
            match resource.wanted() {
                Ok(wanted) => alter(&wanted, validate_only, deadline, context).await,
                Err(failure) => Err(failure),
            }
        };
        answers.push(resource.answer(outcome));
    }
    answers
}

/// The answers to a request of which nothing is done.
pub(super) fn refuse_all<R: Altered>(resources: &[R], code: ErrorCode) -> Vec<R::Response> {
    let failure = Failure::new(code, code.message());
    let refused = |resource: &R| resource.answer(Err(failure.clone()));
    resources.iter().map(refused).collect()
}

/// Resources, by type and name, that a request names more than once.
fn named_twice<'a>(named: impl Iterator<Item = (i8, &'a str)>) -> BTreeSet<(i8, &'a str)> {
    let mut seen = BTreeSet::new();
    named.filter(|it| !seen.insert(*it)).collect()
}

/// Refuses configs that are named more than once, and such as have no value but need one.
pub(super) fn check_edits<'a>(
    edits: impl Iterator<Item = (&'a str, bool)> + Clone,
) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    if !edits.clone().all(|(name, _)| seen.insert(name)) {
        return Err(invalid("Error due to duplicate config keys"));
    }
    let without: Vec<_> = edits
        .filter(|(_, lacks)| *lacks)
        .map(|(name, _)| name)
        .collect();
    if without.is_empty() {
        return Ok(());
    }
    let message = format!("Null value not supported for : {}", without.join(","));
    Err(invalid(message))
}

/// The broker called `name`, among those that the client is told.
pub(super) fn told_node(name: &str, context: &Context) -> Result<ToldBroker, Failure> {
    let Ok(id) = name.parse::<i32>() else {
        return Err(invalid(format!(
            "Node id must be an integer, but it is: {name}"
        )));
    };
    let mut told = context.brokers().brokers.into_iter();
    told.find(|broker| broker.node_id == id).ok_or_else(|| {
        let own = context.broker.node_id;
        invalid(format!(
            "Unexpected broker id, expected {own}, but received {name}"
        ))
    })
}

/// Whose configs are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Target {
    Topic(String),
    Named(ConfigKind, Arc<str>),
}

fn target(wanted: &Wanted, context: &Context) -> Result<Option<Target>, Failure> {
    let name = wanted.name.as_str();
    Ok(Some(match wanted.resource_type {
        TOPIC => Target::Topic(wanted.name.clone()),
        BROKER if name.is_empty() => Target::Named(ConfigKind::Broker, Arc::from("")),
        BROKER => {
            let id = told_node(name, context)?.node_id;
            Target::Named(ConfigKind::Broker, Arc::from(id.to_string()))
        }
        CLIENT_METRICS => Target::Named(ConfigKind::ClientMetrics, Arc::from(name)),
        GROUP => Target::Named(ConfigKind::Group, Arc::from(name)),
        BROKER_LOGGER if !wanted.is_whole => {
            told_node(name, context)?;
            return no_loggers(&wanted.edits).map(|()| None);
        }
        other => return Err(invalid(format!("Unknown resource type {other}"))),
    }))
}

/// There are no loggers with levels of their own, by whatever name.
fn no_loggers(edits: &[Edit]) -> Result<(), Failure> {
    match edits.first() {
        None => Ok(()),
        Some(Edit::Set(name, _) | Edit::Delete(name)) => {
            let message = format!("Logger {name} does not exist!");
            Err(Failure::new(ErrorCode::InvalidConfig, message))
        }
        Some(Edit::Append(..)) => Err(invalid(
            "APPEND operation is not allowed for the BROKER_LOGGER resource",
        )),
        Some(Edit::Subtract(..)) => Err(invalid(
            "SUBTRACT operation is not allowed for the BROKER_LOGGER resource",
        )),
    }
}

/// Changes the configs of one resource, or says whether that could be done.
pub(super) async fn alter(
    wanted: &Wanted,
    validate_only: bool,
    deadline: Instant,
    context: &Context,
) -> Result<(), Failure> {
    let Some(target) = target(wanted, context)? else {
        return Ok(());
    };
    let view = &context.broker.view;
    loop {
        let seen = view.revision();
        let (resource, before) = present(&target, context);
        let after = edited(&target, &before, wanted)?;
        check(&target, &after, context)?;
        check_sizes(&after)?;
        let resource = resource.ok_or_else(|| missing(&target))?;
        if validate_only {
            return Ok(());
        }
        let change = AlterConfigs {
            resource,
            before: before.as_ref().clone(),
            after,
        };
        let metadata = &context.broker.metadata;
        let is_done = settle(context, deadline, async |_| {
            match metadata.alter_configs(change.clone()).await {
                Ok(revision) => Ok((true, Some(revision))),
                // Another change came first, or this agent has not seen all yet.
                Err(RequestError::ConfigsChanged) => Ok((false, None)),
                Err(error) => Err(error),
            }
        });
        if is_done.await? {
            return Ok(());
        }
        // What came first is newer than all that was seen here.
        if timeout_at(deadline, view.wait_revision(seen + 1))
            .await
            .is_err()
        {
            return Err(RequestError::ConfigsChanged.into());
        }
    }
}

/// What fits the state's rows, and agents' memory, is what fits Kafka's records.
fn check_sizes(configs: &ConfigValues) -> Result<(), Failure> {
    if configs.values().all(|value| value.len() <= VALUE_BYTES_MAX) {
        return Ok(());
    }
    let message = format!(
        "The configuration value cannot be added because it exceeds the maximum value size of {VALUE_BYTES_MAX} bytes."
    );
    Err(Failure::new(ErrorCode::InvalidConfig, message))
}

fn missing(target: &Target) -> Failure {
    let name = match target {
        Target::Topic(name) => name.as_str(),
        Target::Named(_, name) => name,
    };
    let message = format!("The topic '{name}' does not exist.");
    Failure::new(ErrorCode::UnknownTopicOrPartition, message)
}

/// What is set now; no resource for a topic that does not exist.
fn present(target: &Target, context: &Context) -> (Option<ConfigResource>, Arc<ConfigValues>) {
    let view = &context.broker.view;
    match target {
        Target::Topic(name) => match view.topic_by_name(name) {
            Some(topic) => {
                let configs = Arc::clone(&topic.configs);
                (Some(ConfigResource::Topic(topic.id)), configs)
            }
            None => (None, Arc::default()),
        },
        Target::Named(kind, name) => {
            let configs = view.configs(*kind, name).unwrap_or_default();
            let resource = ConfigResource::Named(*kind, Arc::clone(name));
            (Some(resource), configs)
        }
    }
}

fn definition(target: &Target, name: &str) -> Option<&'static Definition> {
    match target {
        Target::Topic(_) => topic_config(name),
        Target::Named(ConfigKind::Broker, _) => {
            broker_config(name).or_else(|| dynamic_config(name))
        }
        Target::Named(ConfigKind::Group, _) => group_config(name),
        Target::Named(ConfigKind::ClientMetrics, _) => client_metrics_config(name),
        Target::Named(ConfigKind::Quota, _) => None,
    }
}

/// The configs as they shall be.
fn edited(
    target: &Target,
    before: &ConfigValues,
    wanted: &Wanted,
) -> Result<ConfigValues, Failure> {
    let mut after = match wanted.is_whole {
        true => ConfigValues::new(),
        false => before.clone(),
    };
    for edit in &wanted.edits {
        match edit {
            Edit::Set(name, value) => {
                after.insert(name.clone(), value.clone());
            }
            Edit::Delete(name) => {
                after.remove(name);
            }
            Edit::Append(name, value) => {
                let mut list = list(target, &after, name, "append")?;
                for part in value.split(',') {
                    if !list.iter().any(|it| it == part) {
                        list.push(part.to_owned());
                    }
                }
                after.insert(name.clone(), list.join(","));
            }
            Edit::Subtract(name, value) => {
                let mut list = list(target, &after, name, "subtract")?;
                for part in value.split(',') {
                    if let Some(at) = list.iter().position(|it| it == part) {
                        list.remove(at);
                    }
                }
                after.insert(name.clone(), list.join(","));
            }
        }
    }
    Ok(after)
}

/// The elements of a list as they are, or as the default has them.
fn list(
    target: &Target,
    configs: &ConfigValues,
    name: &str,
    change: &str,
) -> Result<Vec<String>, Failure> {
    let definition = definition(target, name);
    let is_list = definition.is_some_and(|definition| definition.kind == Kind::List);
    if !is_list {
        let is_broker = matches!(target, Target::Named(ConfigKind::Broker, _));
        let message = match (is_broker, definition) {
            (true, None) => format!("Unknown config name: {name}"),
            (true, Some(_)) => {
                format!("Config value {change} is not allowed for config key: {name}")
            }
            (false, _) => {
                let change = change.to_ascii_uppercase();
                format!("Can't {change} to key {name} because its type is not LIST.")
            }
        };
        return Err(Failure::new(ErrorCode::InvalidConfig, message));
    }
    let default = || definition.and_then(|definition| definition.default);
    let value = configs.get(name).map(String::as_str).or_else(default);
    let parts = value.unwrap_or_default().split(',');
    let parts = parts.filter(|part| !part.is_empty());
    Ok(parts.map(str::to_owned).collect())
}

/// Whether configs as a whole fit what they are for.
fn check(target: &Target, configs: &ConfigValues, context: &Context) -> Result<(), Failure> {
    let no_default = |what: &str, name: &str| match name {
        "" => Err(invalid(format!(
            "Default {what} resources are not allowed."
        ))),
        _ => Ok(()),
    };
    match target {
        Target::Topic(name) => {
            no_default("topic", name)?;
            topic_name::check(name)?;
            Ok(check_topic_configs(configs)?)
        }
        Target::Named(ConfigKind::Broker, _) => check_broker_configs(configs),
        Target::Named(ConfigKind::Group, name) => {
            no_default("group", name)?;
            let settings = context.broker.settings_now();
            Ok(check_group_configs(configs, &settings)?)
        }
        Target::Named(ConfigKind::ClientMetrics, name) => {
            no_default("client metrics", name)?;
            Ok(check_client_metrics_configs(configs)?)
        }
        Target::Named(ConfigKind::Quota, _) => Err(invalid("Unknown resource type")),
    }
}

/// Broker configs that may be set while the brokers run, with values that fit. Kafka calls whatever does not fit an
/// invalid request (KAFKA-13609).
fn check_broker_configs(configs: &ConfigValues) -> Result<(), Failure> {
    let fixed = configs.keys().filter(|name| dynamic_config(name).is_none());
    let fixed: Vec<_> = fixed.map(String::as_str).collect();
    if !fixed.is_empty() {
        let names = fixed.join(", ");
        let message = format!("Cannot update these configs dynamically: Set({names})");
        return Err(invalid(message));
    }
    for (name, value) in configs {
        if let Some(definition) = dynamic_config(name) {
            definition
                .check_value(value)
                .map_err(|error| invalid(error.to_string()))?;
        }
        let policy = "log.cleanup.policy";
        if name == policy && elements(value).is_empty() {
            let message = format!("Configuration '{policy}' values must not be empty.");
            return Err(invalid(message));
        }
    }
    Ok(())
}
