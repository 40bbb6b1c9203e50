//! Kafka's topic and broker configs: what exists, what a value may be, and what holds for a topic.
//!
//! A topic's value is what was set on the topic, else what was set on the broker, else the default.
//! ([`BrokerSettings`] are `--set NAME=VALUE` and the like; they do not change while the broker runs.)

mod brokers;
mod definition;
mod topics;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use floe_metadata::api::Topic;

pub use brokers::{BROKER_CONFIGS, DERIVED, broker_config};
pub use definition::{Check, Definition, Kind, ValueError, elements};
pub use topics::{TOPIC_CONFIGS, topic_config};

/// Where a value comes from, with the numbers of DescribeConfigs (KIP-226).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// Set on the topic.
    Topic,
    /// Set on the broker when it was started.
    StaticBroker,
    /// Nobody set it.
    Default,
}

impl Source {
    /// The wire's number.
    #[must_use]
    pub const fn wire(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::StaticBroker => 4,
            Self::Default => 5,
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
}

/// Broker settings under Kafka's names: checked once, then fixed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerSettings {
    set: BTreeMap<String, String>,
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
        };
        let mut settings = Self {
            set,
            topic_defaults,
        };
        settings.topic_defaults = settings.resolve(&BTreeMap::new());
        settings
    }

    /// The value that was set for a broker config, if any.
    #[must_use]
    pub fn set_value(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(String::as_str)
    }

    /// The value that holds for a broker config; `None` if it has none or does not exist.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.set_value(name)
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
            if let Some(value) = self.set_value(broker_name) {
                return (scaled(value, *factor), Source::StaticBroker);
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
            is_compacted: elements(&value("cleanup.policy")).contains(&"compact"),
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
