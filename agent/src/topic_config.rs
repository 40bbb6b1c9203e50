//! Kafka's configs: what exists, what a value may be, and what holds for a topic.
//!
//! A topic's value is what was set on the topic, else what was set for this broker while it runs, else what was
//! set so for all brokers, else how the broker was started (`--set NAME=VALUE` and the like), else the default.

mod brokers;
mod definition;
mod dynamic;
mod named;
mod retention;
mod topics;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use floe_metadata::api::Topic;
use floe_metadata::api::admin::ConfigValues;

pub use brokers::{BROKER_CONFIGS, DERIVED, broker_config};
pub use definition::{Check, Definition, Kind, ValueError, elements};
pub(crate) use dynamic::DynamicSettings;
pub use dynamic::{dynamic_config, is_dynamic};
pub use named::{
    CLIENT_METRICS_CONFIGS, GROUP_CONFIGS, check_client_metrics_configs, check_group_configs,
    client_metrics_config, group_config,
};
pub use topics::{TOPIC_CONFIGS, topic_config};

/// Where a value comes from, with the numbers of DescribeConfigs (KIP-226).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Set on the topic.
    Topic,
    /// Set for this broker while it runs.
    Broker,
    /// Set for all brokers while they run.
    AllBrokers,
    /// Set on the broker when it was started.
    StaticBroker,
    /// Nobody set it.
    Default,
    /// Set on a subscription to clients' metrics.
    ClientMetrics,
    /// Set on the group.
    Group,
}

impl Source {
    /// The wire's number.
    #[must_use]
    pub const fn wire(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::Broker => 2,
            Self::AllBrokers => 3,
            Self::StaticBroker => 4,
            Self::Default => 5,
            Self::ClientMetrics => 7,
            Self::Group => 8,
        }
    }
}

/// Why a set of configs was refused. Messages are Kafka's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// No topic config has this name.
    #[error("Unknown topic config name: {0}")]
    UnknownTopicConfig(String),
    /// No broker config has this name.
    #[error("unknown broker setting '{0}'")]
    UnknownBrokerConfig(String),
    /// The broker config follows from how the broker was started.
    #[error("broker setting '{0}' cannot be set by name: {1}")]
    Derived(String, &'static str),
    /// A value without which the config means nothing.
    #[error("Null value not supported for topic configs: {0}")]
    Null(String),
    /// The value does not fit.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// No group config has this name.
    #[error("Unknown group config name: {0}")]
    UnknownGroupConfig(String),
    /// No config of subscriptions to clients' metrics has this name.
    #[error("Unknown client metrics configuration: {0}")]
    UnknownClientMetricsConfig(String),
    /// A value is outside of what the brokers allow, or another config does.
    #[error("{name} must be {relation} {other}")]
    OutOfBounds {
        /// The config.
        name: &'static str,
        /// In words, as Kafka has them.
        relation: &'static str,
        /// The config that bounds it.
        other: &'static str,
    },
    /// Two values contradict each other.
    #[error("conflict topic config setting {low_name} ({low}) > {high_name} ({high})")]
    Conflict {
        /// The config that must not be greater.
        low_name: &'static str,
        /// Its value.
        low: i64,
        /// The other one.
        high_name: &'static str,
        /// Its value.
        high: i64,
    },
}

/// Checks the configs of a topic that is to be created or changed.
///
/// # Errors
/// The first config that is unknown or does not fit, or two that contradict each other.
pub fn check_topic_configs(configs: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    for (name, value) in configs {
        let definition =
            topic_config(name).ok_or_else(|| ConfigError::UnknownTopicConfig(name.clone()))?;
        definition.check_value(value)?;
    }
    let number = |name: &str| {
        configs
            .get(name)
            .and_then(|value| value.trim().parse::<i64>().ok())
    };
    let low = number("min.compaction.lag.ms").unwrap_or(0);
    let high = number("max.compaction.lag.ms").unwrap_or(i64::MAX);
    if low > high {
        return Err(ConfigError::Conflict {
            low_name: "min.compaction.lag.ms",
            low,
            high_name: "max.compaction.lag.ms",
            high,
        });
    }
    Ok(())
}

/// Which time a topic's records carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// That of storing.
    LogAppendTime,
}

/// The configs of one topic that the produce and fetch paths act on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicSettings {
    /// Largest batch that is accepted, in bytes as sent.
    pub max_message_bytes: usize,
    /// Which time records carry.
    pub timestamp_type: TimestampType,
    /// How far a record's time may lie behind the broker's, in milliseconds.
    pub timestamp_before_max_ms: i64,
    /// How far a record's time may lie ahead of the broker's, in milliseconds.
    pub timestamp_after_max_ms: i64,
    /// Whether `cleanup.policy` holds `compact`: every record then needs a key.
    pub is_compacted: bool,
    /// Whether `cleanup.policy` holds `delete`: records may be dropped by offset, time and size.
    pub drops_old: bool,
}

/// Broker settings under Kafka's names, each value checked. Immutable: what is set while the broker runs makes
/// new ones, see [`BrokerSettings::with_dynamic`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerSettings {
    set: BTreeMap<String, String>,
    /// Set while the brokers run: for this one, for all.
    dynamic: [Arc<ConfigValues>; 2],
    /// What holds for a topic that sets nothing, ready for the hot path.
    topic_defaults: TopicSettings,
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self::from_checked(BTreeMap::new())
    }
}

impl BrokerSettings {
    /// Checks names and values.
    ///
    /// # Errors
    /// The first setting that is unknown, derived, or does not fit.
    pub fn new(set: BTreeMap<String, String>) -> Result<Self, ConfigError> {
        for (name, value) in &set {
            let definition = broker_config(name)
                .ok_or_else(|| ConfigError::UnknownBrokerConfig(name.clone()))?;
            if DERIVED.contains(&name.as_str()) {
                return Err(ConfigError::Derived(name.clone(), definition.documentation));
            }
            definition.check_value(value)?;
        }
        Ok(Self::from_checked(set))
    }

    fn from_checked(set: BTreeMap<String, String>) -> Self {
        let topic_defaults = TopicSettings {
            max_message_bytes: 0,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: 0,
            timestamp_after_max_ms: 0,
            is_compacted: false,
            drops_old: false,
        };
        let mut settings = Self {
            set,
            dynamic: Default::default(),
            topic_defaults,
        };
        settings.topic_defaults = settings.resolve(&BTreeMap::new());
        settings
    }

    /// The same with what was set while the brokers run, for this one and for all; the values were checked when
    /// they were set.
    #[must_use]
    pub fn with_dynamic(&self, own: Arc<ConfigValues>, all: Arc<ConfigValues>) -> Self {
        let mut settings = Self {
            dynamic: [own, all],
            ..self.clone()
        };
        settings.topic_defaults = settings.resolve(&BTreeMap::new());
        settings
    }

    /// What was set, by the layer it was set in, strongest first.
    pub fn layers(&self) -> [(Source, &ConfigValues); 3] {
        let [own, all] = &self.dynamic;
        [
            (Source::Broker, own),
            (Source::AllBrokers, all),
            (Source::StaticBroker, &self.set),
        ]
    }

    /// The value that was set for a broker config, in whatever layer, and where.
    #[must_use]
    pub fn set_value(&self, name: &str) -> Option<(&str, Source)> {
        let mut layers = self.layers().into_iter();
        layers.find_map(|(source, set)| Some((set.get(name)?.as_str(), source)))
    }

    /// The value that holds for a broker config; `None` if it has none or does not exist.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.set_value(name)
            .map(|(value, _)| value)
            .or_else(|| broker_config(name).and_then(|config| config.default))
    }

    /// The integer that holds for a broker config, or `otherwise` if it has none.
    #[must_use]
    pub fn integer(&self, name: &str, otherwise: i64) -> i64 {
        self.value(name)
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(otherwise)
    }

    /// Whether a boolean broker config is on.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.value(name)
            .is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// What holds for `topic`. Cheap where the topic sets nothing itself.
    #[must_use]
    pub fn topic(&self, topic: &Topic) -> TopicSettings {
        if topic.configs.is_empty() {
            self.topic_defaults
        } else {
            self.resolve(&topic.configs)
        }
    }

    /// The value of a topic config for a topic that set `configs`, in the topic's unit, and its source.
    #[must_use]
    pub fn topic_value(
        &self,
        definition: &Definition,
        configs: &BTreeMap<String, String>,
    ) -> (String, Source) {
        if let Some(value) = configs.get(definition.name) {
            return (value.clone(), Source::Topic);
        }
        for (broker_name, factor) in definition.broker_names {
            if let Some((value, source)) = self.set_value(broker_name) {
                return (scaled(value, *factor), source);
            }
        }
        (
            definition.default.unwrap_or_default().to_owned(),
            Source::Default,
        )
    }

    fn resolve(&self, configs: &BTreeMap<String, String>) -> TopicSettings {
        let value = |name: &str| {
            topic_config(name).map_or_else(String::new, |definition| {
                self.topic_value(definition, configs).0.trim().to_owned()
            })
        };
        let policies = value("cleanup.policy");
        let has_policy = |policy| elements(&policies).contains(&policy);
        TopicSettings {
            max_message_bytes: value("max.message.bytes").parse().unwrap_or(0),
            timestamp_type: match value("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max_ms: value("message.timestamp.before.max.ms")
                .parse()
                .unwrap_or(i64::MAX),
            timestamp_after_max_ms: value("message.timestamp.after.max.ms")
                .parse()
                .unwrap_or(i64::MAX),
            is_compacted: has_policy("compact"),
            drops_old: has_policy("delete"),
        }
    }
}

/// A broker config's value in the unit of the topic config it is the default of. Kafka takes negative
/// hours and minutes of retention for "for ever".
fn scaled(value: &str, factor: i64) -> String {
    match (factor, value.trim().parse::<i64>()) {
        (1, _) | (_, Err(_)) => value.to_owned(),
        (_, Ok(number)) if number < 0 => "-1".to_owned(),
        (factor, Ok(number)) => number.saturating_mul(factor).to_string(),
    }
}
