//! DescribeConfigs (KIP-133, KIP-226, KIP-524): what is set, where it comes from and what it means.

use std::collections::BTreeMap;

use floe_metadata::api::RequestError;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use floe_protocol::str::Str;

use super::{Context, Handler, Refuse};
use crate::error::Failure;
use crate::topic_config::{
    BROKER_CONFIGS, BrokerSettings, Definition, Source, TOPIC_CONFIGS, broker_config,
};
use crate::topic_name;

/// Resource types of KIP-133 and its successors.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

impl Handler for DescribeConfigsRequest {
    async fn handle(self, context: &Context) -> DescribeConfigsResponse {
        let asked = Asked {
            synonyms: self.include_synonyms,
            documentation: self.include_documentation,
        };
        let results = self.resources.iter().map(|resource| {
            let configs = describe(resource, asked, context);
            result(resource, configs)
        });
        DescribeConfigsResponse {
            throttle_time_ms: 0,
            results: results.collect(),
        }
    }
}

impl Refuse for DescribeConfigsRequest {
    fn refuse(&self, _version: i16, code: ErrorCode) -> Option<DescribeConfigsResponse> {
        let failure = Failure::new(code, code.message());
        let results = self
            .resources
            .iter()
            .map(|resource| result(resource, Err(failure.clone())));
        Some(DescribeConfigsResponse {
            throttle_time_ms: 0,
            results: results.collect(),
        })
    }
}

/// What the client wants beside the values.
#[derive(Clone, Copy)]
struct Asked {
    synonyms: bool,
    documentation: bool,
}

type Configs = Vec<DescribeConfigsResourceResult>;

fn describe(
    resource: &DescribeConfigsResource,
    asked: Asked,
    context: &Context,
) -> Result<Configs, Failure> {
    match resource.resource_type {
        TOPIC => topic(resource, asked, context),
        BROKER => broker(resource, asked, context),
        BROKER_LOGGER => check_node(&resource.resource_name, context).map(|()| Vec::new()),
        CLIENT_METRICS | GROUP => Ok(Vec::new()),
        other => {
            let message = format!("Unsupported resource type: {other}");
            Err(Failure::new(ErrorCode::InvalidRequest, message))
        }
    }
}

/// Whether a config is among those asked for: no list, or an empty one, asks for all.
fn is_wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key.as_str() == name),
        Some(_) | None => true,
    }
}

fn topic(
    resource: &DescribeConfigsResource,
    asked: Asked,
    context: &Context,
) -> Result<Configs, Failure> {
    topic_name::check(&resource.resource_name)?;
    let topic = context
        .broker
        .view
        .topic_by_name(&resource.resource_name)
        .ok_or(RequestError::UnknownTopic)?;
    let settings = &context.broker.settings;
    let wanted = TOPIC_CONFIGS
        .iter()
        .filter(|definition| is_wanted(resource, definition.name));
    let entries = wanted.map(|definition| {
        let (value, source) = settings.topic_value(definition, &topic.configs);
        let synonyms = if asked.synonyms {
            topic_synonyms(definition, &topic.configs, settings)
        } else {
            Vec::new()
        };
        entry(definition, Some(value), source, false, synonyms, asked)
    });
    Ok(entries.collect())
}

/// Where a topic's value could come from, strongest first.
fn topic_synonyms(
    definition: &Definition,
    configs: &BTreeMap<String, String>,
    settings: &BrokerSettings,
) -> Vec<DescribeConfigsSynonym> {
    let own = configs
        .get(definition.name)
        .map(|value| synonym(definition.name, value, Source::Topic));
    let brokers = definition.broker_names.iter().flat_map(|(name, _)| {
        let set = settings
            .set_value(name)
            .map(|value| synonym(name, value, Source::StaticBroker));
        let default = broker_config(name).and_then(|config| config.default);
        set.into_iter()
            .chain(default.map(|value| synonym(name, value, Source::Default)))
    });
    own.into_iter().chain(brokers).collect()
}

fn synonym(name: &str, value: &str, source: Source) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym {
        name: Str::from(name.to_owned()),
        value: Some(Str::from(value.to_owned())),
        source: source.wire(),
    }
}

fn check_node(name: &str, context: &Context) -> Result<(), Failure> {
    let node_id = context.broker.node_id;
    if name == node_id.to_string() {
        return Ok(());
    }
    let message =
        format!("Unexpected broker id, expected {node_id} or empty string, but received {name}");
    Err(Failure::new(ErrorCode::InvalidRequest, message))
}

fn broker(
    resource: &DescribeConfigsResource,
    asked: Asked,
    context: &Context,
) -> Result<Configs, Failure> {
    if resource.resource_name.is_empty() {
        // Cluster-wide dynamic settings: there are none.
        return Ok(Vec::new());
    }
    check_node(&resource.resource_name, context)?;
    let settings = &context.broker.settings;
    let derived = &context.broker.derived;
    let wanted = BROKER_CONFIGS
        .iter()
        .filter(|definition| is_wanted(resource, definition.name));
    let entries = wanted.map(|definition| {
        let name = definition.name;
        let set = settings
            .set_value(name)
            .or_else(|| derived.get(name).map(String::as_str));
        let (value, source) = match set {
            Some(value) => (Some(value), Source::StaticBroker),
            None => (definition.default, Source::Default),
        };
        let synonyms = if asked.synonyms {
            let set = set.map(|value| synonym(name, value, Source::StaticBroker));
            let default = definition
                .default
                .map(|value| synonym(name, value, Source::Default));
            set.into_iter().chain(default).collect()
        } else {
            Vec::new()
        };
        entry(
            definition,
            value.map(str::to_owned),
            source,
            true,
            synonyms,
            asked,
        )
    });
    Ok(entries.collect())
}

fn entry(
    definition: &Definition,
    value: Option<String>,
    source: Source,
    read_only: bool,
    synonyms: Vec<DescribeConfigsSynonym>,
    asked: Asked,
) -> DescribeConfigsResourceResult {
    DescribeConfigsResourceResult {
        name: definition.name.into(),
        value: value.map(Str::from),
        read_only,
        config_source: source.wire(),
        is_sensitive: false,
        synonyms,
        config_type: definition.kind.wire(),
        documentation: asked.documentation.then(|| definition.documentation.into()),
    }
}

fn result(
    resource: &DescribeConfigsResource,
    configs: Result<Configs, Failure>,
) -> DescribeConfigsResult {
    let (configs, failure) = match configs {
        Ok(configs) => (configs, None),
        Err(failure) => (Vec::new(), Some(failure)),
    };
    DescribeConfigsResult {
        error_code: failure
            .as_ref()
            .map_or(ErrorCode::None, |failure| failure.code)
            .code(),
        error_message: failure.map(|failure| Str::from(failure.message)),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        configs,
    }
}
