//! Configs of topics and of what is no topic: who may change them, what is told, what survives.

use std::sync::Arc;

use super::fixtures::{Cluster, at, idempotent, plain, tiny, topic_id};
use crate::api::admin::{AlterConfigs, ConfigKind, ConfigResource, ConfigValues, NamedConfigs};
use crate::api::{RequestError, WatchEvent};
use crate::state::codec::RowError;
use crate::state::rows::configs::{ConfigFigures, ConfigRow};
use crate::state::{Command, DamagedState, Reply, RowKey};

fn values(pairs: &[(&str, &str)]) -> ConfigValues {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn group(name: &str) -> ConfigResource {
    ConfigResource::Named(ConfigKind::Group, Arc::from(name))
}

fn alter(
    cluster: &mut Cluster,
    resource: ConfigResource,
    before: &[(&str, &str)],
    after: &[(&str, &str)],
) -> (Result<(), RequestError>, Vec<WatchEvent>) {
    let reply = cluster.run_open(Command::AlterConfigs(AlterConfigs {
        resource,
        before: values(before),
        after: values(after),
    }));
    let Reply::ConfigsAltered(result) = reply else {
        panic!("{reply:?}")
    };
    (result.map(|_| ()), cluster.seal())
}

#[test]
fn a_topics_configs_change_only_from_what_was_seen() {
    let mut cluster = Cluster::registered(tiny());
    cluster.create(topic_id(1), "a", 3);
    cluster.produce(at(1, 2), &[plain(5)]);
    let topic = ConfigResource::Topic(topic_id(1));
    let old = [("retention.ms", "1000")];
    let new = [("retention.ms", "5"), ("segment.ms", "6")];
    let (result, events) = alter(&mut cluster, topic.clone(), &old, &new);
    assert_eq!(result, Ok(()));
    let [WatchEvent::TopicChanged(told)] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(*told.configs, values(&new));
    let repeat = alter(&mut cluster, topic.clone(), &old, &new);
    assert_eq!(repeat, (Ok(()), vec![]), "a repeat does nothing");
    let late = alter(&mut cluster, topic, &old, &[]);
    assert_eq!(late, (Err(RequestError::ConfigsChanged), vec![]));
    let unknown = alter(&mut cluster, ConfigResource::Topic(topic_id(9)), &[], &new);
    assert_eq!(unknown, (Err(RequestError::UnknownTopic), vec![]));
    cluster.crash();
    assert_eq!(
        *cluster.state.topic(topic_id(1)).unwrap().configs,
        values(&new)
    );
    assert_eq!(
        cluster.bounds(at(1, 2)).high_watermark,
        5,
        "the records stay"
    );
    cluster.run(Command::DeleteTopic(topic_id(1)));
    cluster.create(topic_id(2), "a", 1);
    let configs = &cluster.state.topic(topic_id(2)).unwrap().configs;
    assert_eq!(**configs, values(&old), "those it was created with");
}

#[test]
fn other_configs_are_kept_until_none_is_left() {
    let mut cluster = Cluster::registered(tiny());
    let set = [("consumer.session.timeout.ms", "50000")];
    let long = "g".repeat(40_000);
    for name in ["g", long.as_str(), ""] {
        let (result, events) = alter(&mut cluster, group(name), &[], &set);
        assert_eq!(result, Ok(()));
        let told = NamedConfigs {
            kind: ConfigKind::Group,
            name: Arc::from(name),
            values: Arc::new(values(&set)),
        };
        assert_eq!(events, [WatchEvent::ConfigsChanged(told)]);
    }
    let other = ConfigResource::Named(ConfigKind::Broker, Arc::from("g"));
    let (result, _) = alter(&mut cluster, other, &set, &[("x", "y")]);
    assert_eq!(result, Err(RequestError::ConfigsChanged), "of another kind");
    cluster.crash();
    let names = |cluster: &Cluster| {
        let configs = cluster.state.snapshot().configs.into_iter();
        configs.map(|it| it.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&cluster), ["", "g", &long]);
    let (result, events) = alter(&mut cluster, group("g"), &set, &[]);
    assert_eq!(result, Ok(()));
    let [WatchEvent::ConfigsChanged(told)] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert!(told.values.is_empty());
    cluster.crash();
    assert_eq!(names(&cluster), ["", &long]);
}

#[test]
fn a_lost_row_is_noticed() {
    let mut cluster = Cluster::registered(tiny());
    let (result, _) = alter(&mut cluster, group("g"), &[], &[("a", "b")]);
    assert_eq!(result, Ok(()));
    let key = RowKey::configs(0);
    let row = cluster.rows.remove(key.as_bytes()).unwrap();
    let damage = DamagedState::Contradiction(RowKey::config_figures());
    assert_eq!(cluster.recover().unwrap_err(), damage);
    cluster.rows.insert(key.clone().into_bytes(), row.clone());
    // The same resource twice.
    cluster.rows.insert(RowKey::configs(1).into_bytes(), row);
    let damage = DamagedState::Contradiction(RowKey::configs(1));
    assert_eq!(cluster.recover().unwrap_err(), damage);
}

#[test]
fn rows_of_configs_are_these_bytes() {
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|it| format!("{it:02x}"))
            .collect::<String>()
    };
    assert_eq!(hex(RowKey::config_figures().as_bytes()), "50");
    assert_eq!(hex(RowKey::configs(258).as_bytes()), "510000000000000102");
    let figures = ConfigFigures {
        next_number: 300,
        resources: 7,
    };
    assert_eq!(hex(&figures.encode()), "01ac0207");
    assert_eq!(ConfigFigures::decode(&figures.encode()), Ok(figures));
    let row = ConfigRow(NamedConfigs {
        kind: ConfigKind::ClientMetrics,
        name: Arc::from("s"),
        values: Arc::new(values(&[("a", "b"), ("c", "")])),
    });
    assert_eq!(hex(&row.encode()), "010201730201610162016300");
    assert_eq!(ConfigRow::decode(&row.encode()), Ok(row));
    for (bytes, error) in [
        (&b"\x01\x09\x01s\x01\x01a\x01b"[..], RowError::UnknownTag(9)),
        (b"\x01\x02\x01s\x00", RowError::OutOfRange),
        (b"\x01\x02\x01s\x02\x01a\x01b", RowError::Truncated),
        (b"\x02\x02\x01s\x01\x01a\x01b", RowError::UnknownVersion(2)),
    ] {
        assert_eq!(ConfigRow::decode(bytes), Err(error));
    }
}

#[test]
fn active_producers_are_those_in_memory_that_are_not_expired() {
    let mut cluster = Cluster::registered(crate::state::tests::fixtures::roomy());
    cluster.create(topic_id(1), "a", 3);
    cluster.produce(at(1, 0), &[idempotent(9, 2, 0, 4), idempotent(5, 0, 0, 1)]);
    cluster.produce(at(1, 2), &[idempotent(9, 2, 0, 1)]);
    let active = |cluster: &Cluster| {
        let found = cluster
            .state
            .active_producers(&[at(1, 1), at(1, 0), at(7, 0), at(1, 2)]);
        let short = found.into_iter().map(|producers| {
            let short = producers?.into_iter();
            Some(
                short
                    .map(|it| (it.id, it.epoch, it.last_sequence))
                    .collect(),
            )
        });
        short.collect::<Vec<Option<Vec<_>>>>()
    };
    let expected = vec![
        Some(vec![]),
        Some(vec![(5, 0, 0), (9, 2, 3)]),
        None,
        Some(vec![(9, 2, 0)]),
    ];
    assert_eq!(active(&cluster), expected);
    cluster.now_ms += 2 * crate::state::tests::fixtures::DAY_MS;
    cluster.produce(at(1, 2), &[plain(1)]);
    let none = Some(vec![]);
    assert_eq!(active(&cluster), [none.clone(), none.clone(), None, none]);
}
