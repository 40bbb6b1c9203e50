//! DescribeConfigs (KIP-133, KIP-226, KIP-569): what holds for a topic, a broker, a group or a subscription to
//! clients' metrics, and where it comes from.

use floe_metadata::api::RequestError;
use floe_metadata::api::admin::ConfigKind;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use floe_protocol::str::Str;

use super::configs::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC, told_node};
use super::{Context, Handler, Refuse};
use crate::brokers::ToldBroker;
use crate::error::Failure;
use crate::topic_config::{
    BROKER_CONFIGS, BrokerSettings, CLIENT_METRICS_CONFIGS, Definition, GROUP_CONFIGS, Source,
    TOPIC_CONFIGS, broker_config, dynamic_config, is_dynamic,
};
use crate::topic_name;

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
    let named = |what: &str| {
        if resource.resource_name.is_empty() {
            let message = format!("{what} must not be empty");
            return Err(Failure::new(ErrorCode::InvalidRequest, message));
        }
        Ok(())
    };
    match resource.resource_type {
        TOPIC => topic(resource, asked, context),
        BROKER if resource.resource_name.is_empty() => Ok(all_brokers(resource, asked, context)),
        BROKER => broker(resource, asked, context),
        // There are no loggers here that have levels of their own.
        BROKER_LOGGER => {
            named("Broker id")?;
            node(resource, "", context).map(|_| Vec::new())
        }
        CLIENT_METRICS => {
            named("Client metrics subscription name")?;
            let table = (CLIENT_METRICS_CONFIGS, ConfigKind::ClientMetrics);
            Ok(of_name(
                table,
                Source::ClientMetrics,
                resource,
                asked,
                context,
            ))
        }
        GROUP => {
            named("Group name")?;
            let table = (GROUP_CONFIGS, ConfigKind::Group);
            Ok(of_name(table, Source::Group, resource, asked, context))
        }
        other => {
            let message = format!("Unsupported resource type: {other}");
            Err(Failure::new(ErrorCode::InvalidRequest, message))
        }
    }
}

/// The broker that a resource names; in the words that this API has for brokers it does not know.
fn node(
    resource: &DescribeConfigsResource,
    or_else: &str,
    context: &Context,
) -> Result<ToldBroker, Failure> {
    let name = resource.resource_name.as_str();
    told_node(name, context).map_err(|failure| {
        let message = if name.parse::<i32>().is_err() {
            format!("Broker id must be an integer, but it is: {name}")
        } else {
            let own = context.broker.node_id;
            format!("Unexpected broker id, expected {own}{or_else} but received {name}")
        };
        Failure::new(failure.code, message)
    })
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
    let settings = context.broker.settings_now();
    let wanted = TOPIC_CONFIGS
        .iter()
        .filter(|definition| is_wanted(resource, definition.name));
    let entries = wanted.map(|definition| {
        let (value, source) = settings.topic_value(definition, &topic.configs);
        let own = topic.configs.get(definition.name);
        let own = own.map(|value| synonym(definition.name, value, Source::Topic));
        let names = definition.broker_names.iter().map(|(name, _)| *name);
        let synonyms = own.into_iter().chain(synonyms(names, &settings));
        entry(definition, Some(value), source, synonyms, asked)
    });
    Ok(entries.collect())
}

/// Where the values of broker configs that go by several names come from, strongest first.
fn synonyms<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    settings: &BrokerSettings,
) -> Vec<DescribeConfigsSynonym> {
    let mut found = Vec::new();
    for (source, set) in settings.layers() {
        let set = names
            .clone()
            .filter_map(|name| Some((name, set.get(name)?)));
        found.extend(set.map(|(name, value)| synonym(name, value, source)));
    }
    // Of names in other units only what is set is told, as Kafka does.
    let defaults = names.take(1);
    let defaults = defaults.filter_map(|name| Some((name, broker_config(name)?.default?)));
    found.extend(defaults.map(|(name, value)| synonym(name, value, Source::Default)));
    found
}

fn synonym(name: &str, value: &str, source: Source) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym {
        name: Str::from(name.to_owned()),
        value: Some(Str::from(value.to_owned())),
        source: source.wire(),
    }
}

/// What was set for all brokers while they run.
fn all_brokers(resource: &DescribeConfigsResource, asked: Asked, context: &Context) -> Configs {
    let set = context.broker.view.configs(ConfigKind::Broker, "");
    let set = set.unwrap_or_default();
    let wanted = set.iter().filter(|(name, _)| is_wanted(resource, name));
    let known = wanted.filter_map(|(name, value)| Some((dynamic_config(name)?, value)));
    let entries = known.map(|(definition, value)| {
        let source = Source::AllBrokers;
        let synonyms = [synonym(definition.name, value, source)].into_iter();
        entry(definition, Some(value.clone()), source, synonyms, asked)
    });
    entries.collect()
}

/// What holds for one broker. Of another one is told what it advertises; that it was started with the same settings
/// as this one is taken for granted.
fn broker(
    resource: &DescribeConfigsResource,
    asked: Asked,
    context: &Context,
) -> Result<Configs, Failure> {
    let node = node(resource, " or empty string,", context)?;
    let broker = &context.broker;
    let (settings, derived) = if node.node_id == broker.node_id {
        (broker.settings_now(), broker.derived.clone())
    } else {
        let configs = |name: &str| broker.view.configs(ConfigKind::Broker, name);
        let own = configs(&node.node_id.to_string()).unwrap_or_default();
        let all = configs("").unwrap_or_default();
        let settings = broker.settings.with_dynamic(own, all);
        let mut derived = broker.derived.clone();
        derived.retain(|name, _| !matches!(*name, "listeners" | "broker.rack"));
        derived.insert("node.id", node.node_id.to_string());
        derived.insert("broker.id", node.node_id.to_string());
        let listener = context.connection.listener.to_ascii_uppercase();
        let advertised = format!("{listener}://{}", node.endpoint);
        derived.insert("advertised.listeners", advertised);
        derived.extend(node.rack.map(|rack| ("broker.rack", rack)));
        (settings.into(), derived)
    };
    let wanted = BROKER_CONFIGS
        .iter()
        .filter(|definition| is_wanted(resource, definition.name));
    let entries = wanted.map(|definition| {
        let name = definition.name;
        let derived = derived.get(name).map(String::as_str);
        let derived = derived.map(|value| (value, Source::StaticBroker));
        let set = settings.set_value(name).or(derived);
        let (value, source) = match set {
            Some((value, source)) => (Some(value), source),
            None => (definition.default, Source::Default),
        };
        let derived = derived.map(|(value, source)| synonym(name, value, source));
        let synonyms = derived
            .into_iter()
            .chain(synonyms([name].into_iter(), &settings));
        entry(
            definition,
            value.map(str::to_owned),
            source,
            synonyms,
            asked,
        )
    });
    Ok(entries.collect())
}

/// What holds for a group or a subscription, whether it exists or not.
fn of_name(
    (table, kind): (&'static [Definition], ConfigKind),
    own: Source,
    resource: &DescribeConfigsResource,
    asked: Asked,
    context: &Context,
) -> Configs {
    let set = context.broker.view.configs(kind, &resource.resource_name);
    let set = set.unwrap_or_default();
    let settings = context.broker.settings_now();
    let wanted = table
        .iter()
        .filter(|definition| is_wanted(resource, definition.name));
    let entries = wanted.map(|definition| {
        let source = if set.contains_key(definition.name) {
            own
        } else {
            Source::Default
        };
        let (value, _) = settings.topic_value(definition, &set);
        // The one that holds and no other, as Kafka does, which has no layers here.
        let synonyms = [synonym(definition.name, &value, source)].into_iter();
        entry(definition, Some(value), source, synonyms, asked)
    });
    entries.collect()
}

fn entry(
    definition: &Definition,
    value: Option<String>,
    source: Source,
    synonyms: impl Iterator<Item = DescribeConfigsSynonym>,
    asked: Asked,
) -> DescribeConfigsResourceResult {
    let synonyms = match asked.synonyms {
        true => synonyms.collect(),
        false => Vec::new(),
    };
    let is_of_broker = broker_config(definition.name).is_some();
    let is_of_topic = crate::topic_config::topic_config(definition.name).is_some();
    DescribeConfigsResourceResult {
        name: definition.name.into(),
        value: value.map(Str::from),
        read_only: is_of_broker && !is_of_topic && !is_dynamic(definition.name),
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
        error_message: Some(failure.map_or_else(Str::new, |it| Str::from(it.message))),
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        configs,
    }
}
