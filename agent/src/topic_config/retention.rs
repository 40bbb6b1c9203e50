//! What configs say about how long a topic's records are kept.

use floe_compaction::retention::Keep;
use floe_metadata::api::Topic;

use super::{BrokerSettings, elements, topic_config};

impl BrokerSettings {
    /// How much of a topic's logs is to be kept; `None` where `cleanup.policy` does not hold `delete`, so that
    /// nothing is dropped by time or size.
    #[must_use]
    pub fn keep(&self, topic: &Topic) -> Option<Keep> {
        let value = |name| {
            let definition = topic_config(name)?;
            Some(self.topic_value(definition, &topic.configs).0)
        };
        let policies = value("cleanup.policy")?;
        if !elements(&policies).contains(&"delete") {
            return None;
        }
        // Values were checked when they were set. One that makes no sense all the same keeps everything.
        let number = |name| value(name)?.trim().parse().ok();
        let (ms, bytes) = (number("retention.ms"), number("retention.bytes"));
        Some(Keep::of_configs(ms.unwrap_or(-1), bytes.unwrap_or(-1)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use floe_protocol::types::TopicId;

    use super::*;

    const WEEK_MS: u64 = 604_800_000;

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_is_kept_of_a_topic() {
        let keep = |retention_ms, retention_bytes| {
            Some(Keep {
                retention_ms,
                retention_bytes,
            })
        };
        // Of the broker, of the topic, what is kept.
        type Case<'a> = (
            &'a [(&'a str, &'a str)],
            &'a [(&'a str, &'a str)],
            Option<Keep>,
        );
        let cases: &[Case<'_>] = &[
            (&[], &[], keep(Some(WEEK_MS), None)),
            (&[], &[("retention.ms", "-1")], keep(None, None)),
            (
                &[],
                &[("retention.ms", "0"), ("retention.bytes", "0")],
                keep(Some(0), Some(0)),
            ),
            (
                &[("log.retention.hours", "1")],
                &[],
                keep(Some(3_600_000), None),
            ),
            (
                &[("log.retention.hours", "1"), ("log.retention.minutes", "1")],
                &[],
                keep(Some(60_000), None),
            ),
            (
                &[("log.retention.minutes", "1"), ("log.retention.ms", "1")],
                &[],
                keep(Some(1), None),
            ),
            (&[("log.retention.minutes", "-1")], &[], keep(None, None)),
            (&[("log.retention.hours", "-5")], &[], keep(None, None)),
            (
                &[("log.retention.hours", "2147483647")],
                &[],
                keep(Some(2_147_483_647 * 3_600_000), None),
            ),
            (
                &[("log.retention.ms", "1"), ("log.retention.bytes", "5")],
                &[("retention.ms", "9223372036854775807")],
                keep(Some(i64::MAX.unsigned_abs()), Some(5)),
            ),
            (&[], &[("cleanup.policy", "compact")], None),
            (&[("log.cleanup.policy", "compact")], &[], None),
            (&[], &[("cleanup.policy", "")], None),
            (
                &[],
                &[("cleanup.policy", "compact, delete")],
                keep(Some(WEEK_MS), None),
            ),
        ];
        for (broker, of_topic, expected) in cases {
            let settings = BrokerSettings::new(pairs(broker)).unwrap();
            let topic = Topic {
                id: TopicId::from_bytes([1; 16]),
                name: Arc::from("topic"),
                partition_count: 1,
                replication_factor: 1,
                configs: Arc::new(pairs(of_topic)),
                created_ms: 0,
            };
            assert_eq!(settings.keep(&topic), *expected, "{broker:?} {of_topic:?}");
        }
    }

    #[test]
    fn what_is_set_for_all_brokers_holds() {
        let topic = Topic {
            id: TopicId::from_bytes([1; 16]),
            name: Arc::from("topic"),
            partition_count: 1,
            replication_factor: 1,
            configs: Arc::default(),
            created_ms: 0,
        };
        let started = BrokerSettings::new(pairs(&[("log.retention.ms", "1")])).unwrap();
        let all = Arc::new(pairs(&[("log.retention.ms", "2")]));
        let now = started.with_dynamic(Arc::default(), all);
        assert_eq!(now.keep(&topic).unwrap().retention_ms, Some(2));
    }
}
