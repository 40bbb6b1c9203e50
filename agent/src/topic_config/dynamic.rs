//! Broker configs that may be set while the brokers run (KIP-226): the defaults of topic configs, as far as Kafka
//! lets them change, and the throttles that Kafka's tools set and take away.

use std::sync::{Arc, Mutex, PoisonError};

use floe_metadata::api::admin::{ConfigKind, ConfigValues};
use floe_metadata::client::view::View;
use floe_protocol::types::NodeId;

use super::definition::{Check, Definition, Kind};
use super::{BrokerSettings, broker_config};

/// Those that have an effect or a meaning here, sorted.
const DYNAMIC: &[&str] = &[
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "log.cleaner.delete.retention.ms",
    "log.cleaner.max.compaction.lag.ms",
    "log.cleaner.min.cleanable.ratio",
    "log.cleaner.min.compaction.lag.ms",
    "log.cleanup.policy",
    "log.flush.interval.messages",
    "log.flush.interval.ms",
    "log.index.interval.bytes",
    "log.index.size.max.bytes",
    "log.local.retention.bytes",
    "log.local.retention.ms",
    "log.message.timestamp.after.max.ms",
    "log.message.timestamp.before.max.ms",
    "log.message.timestamp.type",
    "log.preallocate",
    "log.retention.bytes",
    "log.retention.ms",
    "log.roll.jitter.ms",
    "log.roll.ms",
    "log.segment.bytes",
    "log.segment.delete.delay.ms",
    "message.max.bytes",
    "min.insync.replicas",
    "unclean.leader.election.enable",
];

/// What Kafka's tools set while they move replicas. Kept, and without effect: nothing is moved.
const THROTTLES: &[Definition] = &[
    throttle("follower.replication.throttled.rate"),
    throttle("leader.replication.throttled.rate"),
    throttle("replica.alter.log.dirs.io.max.bytes.per.second"),
];

const fn throttle(name: &'static str) -> Definition {
    Definition {
        name,
        kind: Kind::Long,
        default: Some("9223372036854775807"),
        check: Check::AtLeast(0),
        broker_names: &[],
        documentation: "Bytes per second while replicas move. No effect: nothing is moved.",
    }
}

/// Whether a broker config may be set while the brokers run.
#[must_use]
pub fn is_dynamic(name: &str) -> bool {
    dynamic_config(name).is_some()
}

/// The broker config called `name`, if it may be set while the brokers run.
#[must_use]
pub fn dynamic_config(name: &str) -> Option<&'static Definition> {
    let throttle = || THROTTLES.iter().find(|definition| definition.name == name);
    match DYNAMIC.binary_search(&name) {
        Ok(_) => broker_config(name),
        Err(_) => throttle(),
    }
}

/// The settings of this broker as they are now: those it was started with, below what was set since.
#[derive(Debug)]
pub(crate) struct DynamicSettings {
    /// This broker's id, as configs name it.
    name: String,
    /// The latest; remade when the view shows other configs.
    latest: Mutex<Made>,
}

#[derive(Clone, Debug)]
struct Made {
    of: [Option<Arc<ConfigValues>>; 2],
    settings: Arc<BrokerSettings>,
}

impl DynamicSettings {
    /// Nothing was set since the start.
    pub(crate) fn new(start: &BrokerSettings, node_id: NodeId) -> Self {
        let made = Made {
            of: [None, None],
            settings: Arc::new(start.clone()),
        };
        Self {
            name: node_id.to_string(),
            latest: Mutex::new(made),
        }
    }

    /// What holds now, on top of what held at the start.
    pub(crate) fn now(&self, start: &BrokerSettings, view: &View) -> Arc<BrokerSettings> {
        let of = [self.name.as_str(), ""].map(|name| view.configs(ConfigKind::Broker, name));
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |(one, other): (&Option<Arc<_>>, &Option<Arc<_>>)| match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        if !latest.of.iter().zip(&of).all(is_same) {
            let [own, all] = of.clone().map(Option::unwrap_or_default);
            let settings = Arc::new(start.with_dynamic(own, all));
            *latest = Made { of, settings };
        }
        Arc::clone(&latest.settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(DYNAMIC.is_sorted());
        for name in DYNAMIC {
            assert!(dynamic_config(name).is_some(), "{name} is a broker config");
        }
        assert!(is_dynamic("message.max.bytes"));
        assert!(!is_dynamic("num.partitions"));
    }
}
