//! Configs of groups (KIP-848, KIP-932, KIP-1071) and of subscriptions to clients' metrics (KIP-714), as Kafka 4.2
//! has them.

use super::definition::{Check, Definition, Kind, row};
use super::{BrokerSettings, ConfigError, ConfigValues, ValueError};

const ISOLATIONS: &[&str] = &["read_committed", "read_uncommitted"];

/// The configs of groups, sorted by name.
#[rustfmt::skip]
pub const GROUP_CONFIGS: &[Definition] = &[
    row("consumer.heartbeat.interval.ms", Kind::Int, "5000", Check::AtLeast(1), &[("group.consumer.heartbeat.interval.ms", 1)],
        "Milliseconds between heartbeats of the group's members (consumer protocol)."),
    row("consumer.session.timeout.ms", Kind::Int, "45000", Check::AtLeast(1), &[("group.consumer.session.timeout.ms", 1)],
        "After this many milliseconds without a heartbeat a member is taken out of the group (consumer protocol)."),
    row("share.auto.offset.reset", Kind::String, "latest", Check::OffsetReset, &[],
        "Where a share group begins to read."),
    row("share.heartbeat.interval.ms", Kind::Int, "5000", Check::AtLeast(1), &[],
        "Milliseconds between heartbeats of the group's members (share groups)."),
    row("share.isolation.level", Kind::String, "read_uncommitted", Check::OneOf(ISOLATIONS), &[],
        "Whether a share group reads records of transactions that are not committed."),
    row("share.record.lock.duration.ms", Kind::Int, "30000", Check::AtLeast(1000), &[],
        "How long a member of a share group holds a record that it has not acknowledged, in milliseconds."),
    row("share.session.timeout.ms", Kind::Int, "45000", Check::AtLeast(1), &[],
        "After this many milliseconds without a heartbeat a member is taken out of the group (share groups)."),
    row("streams.heartbeat.interval.ms", Kind::Int, "5000", Check::AtLeast(1), &[],
        "Milliseconds between heartbeats of the group's members (streams groups)."),
    row("streams.initial.rebalance.delay.ms", Kind::Int, "3000", Check::AtLeast(0), &[],
        "How long the first rebalance of an empty streams group waits for more members, in milliseconds."),
    row("streams.num.standby.replicas", Kind::Int, "0", Check::AtLeast(0), &[],
        "Standby tasks of each stateful task of a streams group."),
    row("streams.session.timeout.ms", Kind::Int, "45000", Check::AtLeast(1), &[],
        "After this many milliseconds without a heartbeat a member is taken out of the group (streams groups)."),
];

/// The configs of subscriptions to clients' metrics, sorted by name.
#[rustfmt::skip]
pub const CLIENT_METRICS_CONFIGS: &[Definition] = &[
    row("interval.ms", Kind::Int, "300000", Check::Any, &[],
        "How often clients push metrics, in milliseconds. Kept and reported; clients are not asked for metrics."),
    row("match", Kind::List, "", Check::Any, &[],
        "Which clients are meant. Kept and reported; clients are not asked for metrics."),
    row("metrics", Kind::List, "", Check::Any, &[],
        "Prefixes of the metrics that are wanted. Kept and reported; clients are not asked for metrics."),
];

/// How often clients may be asked for metrics, in milliseconds.
const INTERVALS_MS: std::ops::RangeInclusive<i64> = 100..=3_600_000;

fn find(table: &'static [Definition], name: &str) -> Option<&'static Definition> {
    table.iter().find(|definition| definition.name == name)
}

/// The group config called `name`.
#[must_use]
pub fn group_config(name: &str) -> Option<&'static Definition> {
    find(GROUP_CONFIGS, name)
}

/// The config of subscriptions to clients' metrics called `name`.
#[must_use]
pub fn client_metrics_config(name: &str) -> Option<&'static Definition> {
    find(CLIENT_METRICS_CONFIGS, name)
}

/// A group config, and the broker configs that bound it, each with its default.
type Bounds = (&'static str, (&'static str, i64), (&'static str, i64));

const BOUNDS: &[Bounds] = &[
    (
        "consumer.heartbeat.interval.ms",
        ("group.consumer.min.heartbeat.interval.ms", 5000),
        ("group.consumer.max.heartbeat.interval.ms", 15_000),
    ),
    (
        "consumer.session.timeout.ms",
        ("group.consumer.min.session.timeout.ms", 45_000),
        ("group.consumer.max.session.timeout.ms", 60_000),
    ),
    (
        "share.heartbeat.interval.ms",
        ("group.share.min.heartbeat.interval.ms", 5000),
        ("group.share.max.heartbeat.interval.ms", 15_000),
    ),
    (
        "share.record.lock.duration.ms",
        ("group.share.min.record.lock.duration.ms", 15_000),
        ("group.share.max.record.lock.duration.ms", 60_000),
    ),
    (
        "share.session.timeout.ms",
        ("group.share.min.session.timeout.ms", 45_000),
        ("group.share.max.session.timeout.ms", 60_000),
    ),
    (
        "streams.heartbeat.interval.ms",
        ("group.streams.min.heartbeat.interval.ms", 5000),
        ("group.streams.max.heartbeat.interval.ms", 15_000),
    ),
    (
        "streams.num.standby.replicas",
        // Nothing but the config's own check bounds it below.
        ("", 0),
        ("group.streams.max.standby.replicas", 2),
    ),
    (
        "streams.session.timeout.ms",
        ("group.streams.min.session.timeout.ms", 45_000),
        ("group.streams.max.session.timeout.ms", 60_000),
    ),
];

/// A timeout, and the interval that must be shorter.
const LONGER_THAN: &[(&str, &str)] = &[
    (
        "consumer.session.timeout.ms",
        "consumer.heartbeat.interval.ms",
    ),
    ("share.session.timeout.ms", "share.heartbeat.interval.ms"),
    (
        "streams.session.timeout.ms",
        "streams.heartbeat.interval.ms",
    ),
];

/// The number that holds for a group config.
fn number(name: &str, configs: &ConfigValues, settings: &BrokerSettings) -> i64 {
    let value = group_config(name).map(|definition| settings.topic_value(definition, configs).0);
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

/// Checks the configs of a group, all that will hold, against each other and what the brokers allow.
///
/// # Errors
/// The first config that is unknown or does not fit.
pub fn check_group_configs(
    configs: &ConfigValues,
    settings: &BrokerSettings,
) -> Result<(), ConfigError> {
    for (name, value) in configs {
        let definition =
            group_config(name).ok_or_else(|| ConfigError::UnknownGroupConfig(name.clone()))?;
        definition.check_value(value)?;
    }
    let refused = |name, relation, other| ConfigError::OutOfBounds {
        name,
        relation,
        other,
    };
    for (name, (least, least_default), (most, most_default)) in BOUNDS {
        if !configs.contains_key(*name) {
            continue;
        }
        let value = number(name, configs, settings);
        if value < settings.integer(least, *least_default) {
            return Err(refused(name, "greater than or equal to", least));
        }
        if value > settings.integer(most, *most_default) {
            return Err(refused(name, "less than or equal to", most));
        }
    }
    for (long, short) in LONGER_THAN {
        let is_set = configs.contains_key(*long) || configs.contains_key(*short);
        if is_set && number(long, configs, settings) <= number(short, configs, settings) {
            return Err(refused(long, "greater than", short));
        }
    }
    Ok(())
}

/// Checks the configs of a subscription to clients' metrics.
///
/// # Errors
/// The first config that is unknown or does not fit.
pub fn check_client_metrics_configs(configs: &ConfigValues) -> Result<(), ConfigError> {
    for (name, value) in configs {
        let definition = client_metrics_config(name)
            .ok_or_else(|| ConfigError::UnknownClientMetricsConfig(name.clone()))?;
        definition.check_value(value)?;
        let is_interval = definition.kind == Kind::Int;
        if is_interval
            && !value
                .trim()
                .parse()
                .is_ok_and(|ms| INTERVALS_MS.contains(&ms))
        {
            return Err(ConfigError::Value(ValueError::Invalid {
                name: name.clone(),
                value: value.clone(),
                reason: "interval must be between 100 and 3600000 (1 hour)".to_owned(),
            }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> ConfigValues {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn tables_are_sorted_and_their_defaults_valid() {
        let settings = BrokerSettings::default();
        for table in [GROUP_CONFIGS, CLIENT_METRICS_CONFIGS] {
            assert!(table.is_sorted_by_key(|definition| definition.name));
            for definition in table {
                let default = definition.default.unwrap();
                assert_eq!(
                    definition.check_value(default),
                    Ok(()),
                    "{}",
                    definition.name
                );
            }
        }
        for definition in GROUP_CONFIGS {
            let alone = of(&[(definition.name, definition.default.unwrap())]);
            assert_eq!(check_group_configs(&alone, &settings), Ok(()));
        }
    }

    #[test]
    fn what_groups_may_set() {
        let settings = BrokerSettings::default();
        let check = |pairs: &[_]| {
            let checked = check_group_configs(&of(pairs), &settings);
            checked
                .err()
                .map_or_else(String::new, |error| error.to_string())
        };
        assert_eq!(check(&[("consumer.session.timeout.ms", "50000")]), "");
        assert_eq!(
            check(&[("share.auto.offset.reset", "by_duration:P1DT2H3.5S")]),
            ""
        );
        assert_eq!(
            check(&[("consumer.session.timeout.ms", "44999")]),
            "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms"
        );
        assert_eq!(
            check(&[("consumer.session.timeout.ms", "60001")]),
            "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms"
        );
        assert_eq!(
            check(&[("consumer.no.such", "1")]),
            "Unknown group config name: consumer.no.such"
        );
        assert_eq!(
            check(&[("consumer.session.timeout.ms", "x")]),
            "Invalid value x for configuration consumer.session.timeout.ms: Not a number of type INT"
        );
        for wrong in [
            "by_duration:",
            "by_duration:P",
            "by_duration:PT",
            "by_duration:3S",
            "never",
        ] {
            assert_ne!(check(&[("share.auto.offset.reset", wrong)]), "", "{wrong}");
        }
        let wide = [
            ("group.consumer.min.session.timeout.ms", "5000"),
            ("group.consumer.session.timeout.ms", "45000"),
        ];
        let wide = BrokerSettings::new(of(&wide)).unwrap();
        let error = check_group_configs(&of(&[("consumer.session.timeout.ms", "5000")]), &wide);
        assert_eq!(
            error.unwrap_err().to_string(),
            "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms"
        );
    }

    #[test]
    fn what_subscriptions_may_set() {
        let check = |name, value| check_client_metrics_configs(&of(&[(name, value)])).is_ok();
        assert!(check("interval.ms", "100"));
        assert!(!check("interval.ms", "99"));
        assert!(!check("interval.ms", "3600001"));
        assert!(check("metrics", "org.apache.kafka.,*"));
        assert!(!check("no.such", "1"));
    }
}
