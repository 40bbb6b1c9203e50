//! Groups and offsets as they are kept: rows, recovery, expiry; and anything in any order against a plain model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::types::TopicPartition;
use proptest::prelude::*;

use super::fixtures::{Cluster, DAY_MS, START_MS, at, recover, roomy, topic_id};
use crate::api::groups::{CommittedOffset, OffsetCommit, TopicRef};
use crate::groups::Saved as Kept;
use crate::groups::classic::{Saved, SavedMember};
use crate::state::rows::group::{GroupFigures, GroupRow, OffsetRow};
use crate::state::{Command, DamagedState, Reply, RowKey, StateConfig};

fn member(id: &str, topics: &[u8]) -> SavedMember {
    let mut metadata = vec![0, 0, 0, 0, 0, u8::try_from(topics.len()).unwrap()];
    for topic in topics {
        metadata.extend_from_slice(&[0, 1, *topic]);
    }
    SavedMember {
        id: id.to_owned(),
        instance: Some("fixed".to_owned()),
        client_id: "client".to_owned(),
        client_host: "/10.0.0.1".to_owned(),
        session_timeout: Duration::from_secs(45),
        rebalance_timeout: Duration::from_secs(300),
        protocols: vec![("range".to_owned(), Bytes::from(metadata))],
        assignment: Bytes::from_static(b"mine"),
    }
}

/// A stable group of consumers of these topics.
fn stable(generation: i32, topics: &[u8]) -> Kept {
    Kept::Classic(Saved {
        generation,
        protocol_type: Some("consumer".to_owned()),
        protocol: Some("range".to_owned()),
        leader: Some("m".to_owned()),
        is_assigned: true,
        members: vec![member("m", topics)],
    })
}

fn empty(generation: i32) -> Kept {
    Kept::Classic(Saved {
        generation,
        protocol_type: Some("consumer".to_owned()),
        ..Saved::default()
    })
}

fn offset(topic: &str, partition: i32, offset: i64) -> OffsetCommit {
    OffsetCommit {
        topic: TopicRef::Name(topic.to_owned()),
        partition,
        committed: CommittedOffset {
            offset,
            leader_epoch: 3,
            metadata: Arc::from("note"),
        },
    }
}

impl Cluster {
    fn save(&mut self, group: &str, saved: Kept) {
        let (group, saved) = (Arc::from(group), Arc::new(saved));
        let reply = self.run(Command::SaveGroup { group, saved });
        assert_eq!(reply, Reply::GroupSaved);
    }

    fn commit_offsets(&mut self, group: &str, offsets: Vec<OffsetCommit>) -> Vec<ErrorCode> {
        let group = Arc::from(group);
        match self.run(Command::CommitOffsets { group, offsets }) {
            Reply::Codes(codes) => codes,
            other => panic!("{other:?}"),
        }
    }

    fn expire(&mut self) -> Vec<Arc<str>> {
        match self.run(Command::ExpireOffsets) {
            Reply::OffsetsExpired(groups) => groups,
            other => panic!("{other:?}"),
        }
    }

    /// Topic, partition and offset of all that a group has committed.
    fn kept(&self, group: &str) -> Vec<(String, i32, i64)> {
        let all = self
            .state
            .all_committed(group, None, usize::MAX)
            .into_iter();
        let kept = all.map(|it| {
            (
                it.name.to_string(),
                it.partition,
                it.committed.unwrap().unwrap().offset,
            )
        });
        kept.collect()
    }

    fn groups(&self) -> Vec<String> {
        self.state
            .groups()
            .map(|(name, _)| name.to_string())
            .collect()
    }

    /// What is durable makes the same state.
    fn check_recovery(&mut self) {
        let hash = self.state.hash();
        self.crash();
        assert_eq!(self.state.hash(), hash);
    }
}

fn with_topics() -> Cluster {
    let mut cluster = Cluster::registered(roomy());
    cluster.create(topic_id(1), "a", 3);
    cluster.create(topic_id(2), "b", 1);
    cluster
}

#[test]
fn groups_and_offsets_survive() {
    let mut cluster = with_topics();
    cluster.save("g", stable(7, b"a"));
    let commits = vec![
        offset("a", 1, 10),
        offset("a", 2, -1),
        offset("b", 0, 5),
        offset("a", 1, 11),
    ];
    assert_eq!(cluster.commit_offsets("g", commits), [ErrorCode::None; 4]);
    cluster.commit_offsets("simple", vec![offset("b", 0, 9)]);
    cluster.check_recovery();
    assert_eq!(cluster.groups(), ["g", "simple"]);
    let kept = [("a", 1, 11), ("a", 2, -1), ("b", 0, 5)];
    let kept = kept.map(|(topic, partition, offset)| (topic.to_owned(), partition, offset));
    assert_eq!(cluster.kept("g"), kept);
    let (_, saved) = cluster.state.groups().next().unwrap();
    assert_eq!(*saved, stable(7, b"a"));
    let asked = [
        (TopicRef::Name("a".to_owned()), vec![2, 0, 9]),
        (TopicRef::Id(topic_id(2)), vec![0]),
        (TopicRef::Id(topic_id(9)), vec![0]),
        (TopicRef::Name("none".to_owned()), vec![0]),
    ];
    let found = cluster.state.committed("g", &asked);
    let offsets: Vec<_> = found
        .into_iter()
        .map(|it| it.committed.map(|it| it.map(|it| it.offset)))
        .collect();
    let unknown = Err(ErrorCode::UnknownTopicId);
    assert_eq!(
        offsets,
        [
            Ok(Some(-1)),
            Ok(None),
            Ok(None),
            Ok(Some(5)),
            unknown,
            Ok(None)
        ]
    );
    let page = cluster.state.all_committed("g", Some(at(1, 1)), 1);
    assert_eq!((page.len(), page[0].partition), (1, 2));
    let counts = cluster.state.counts();
    assert_eq!((counts.groups, counts.committed_offsets), (2, 4));
}

#[test]
fn what_does_not_exist_is_not_stored() {
    let mut cluster = with_topics();
    let by_id = |id| OffsetCommit {
        topic: TopicRef::Id(id),
        ..offset("", 0, 1)
    };
    let refused = vec![
        offset("a", 3, 1),
        offset("none", 0, 1),
        by_id(topic_id(9)),
        offset("a", -1, 1),
    ];
    let (unknown, unknown_id) = (
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::UnknownTopicId,
    );
    let codes = cluster.commit_offsets("g", refused);
    assert_eq!(codes, [unknown, unknown, unknown_id, unknown]);
    assert!(!cluster.state.has_group("g"));
    assert_eq!(
        cluster.commit_offsets("g", vec![by_id(topic_id(2))]),
        [ErrorCode::None]
    );
    let partitions = vec![
        ("b".to_owned(), 0),
        ("none".to_owned(), 0),
        ("a".to_owned(), 0),
    ];
    let group = Arc::from("g");
    let reply = cluster.run(Command::DeleteOffsets { group, partitions });
    assert_eq!(
        reply,
        Reply::Codes(vec![ErrorCode::None, unknown, ErrorCode::None])
    );
    assert_eq!(cluster.kept("g"), []);
    cluster.check_recovery();
}

#[test]
fn offsets_go_with_their_topic_and_with_their_group() {
    let mut cluster = with_topics();
    let both = || vec![offset("a", 0, 1), offset("a", 2, 2), offset("b", 0, 3)];
    for group in ["g", "h"] {
        cluster.commit_offsets(group, both());
    }
    cluster.run(Command::DeleteTopic(topic_id(1)));
    assert_eq!(cluster.kept("g"), [("b".to_owned(), 0, 3)]);
    cluster.check_recovery();
    cluster.create(topic_id(3), "a", 3);
    assert_eq!(
        cluster.kept("h").len(),
        1,
        "a re-created topic is another one"
    );
    for _ in 0..2 {
        cluster.run(Command::DeleteGroup(Arc::from("g")));
        assert_eq!(cluster.groups(), ["h"]);
    }
    cluster.check_recovery();
    let offset_rows = cluster.rows.keys().filter(|key| key[0] == 0x32);
    assert_eq!(offset_rows.count(), 1);
    cluster.commit_offsets("g", both());
    let numbers = cluster.rows.keys().filter(|key| key[0] == 0x31);
    let numbers: Vec<_> = numbers.map(|key| key[8]).collect();
    assert_eq!(numbers, [1, 2], "a number is not used again");
}

#[test]
fn offsets_are_kept_for_a_week_after_their_group_has_gone() {
    let mut cluster = with_topics();
    cluster.save("left", stable(1, b"a"));
    cluster.commit_offsets("left", vec![offset("a", 0, 1)]);
    cluster.save("at work", stable(1, b"a"));
    cluster.commit_offsets("at work", vec![offset("a", 0, 1), offset("b", 0, 2)]);
    cluster.commit_offsets("simple", vec![offset("a", 0, 1)]);
    cluster.now_ms += DAY_MS;
    cluster.save("left", empty(2));
    cluster.commit_offsets("simple", vec![offset("a", 1, 1)]);
    cluster.now_ms += 6 * DAY_MS - 1;
    assert!(!cluster.state.has_expired_offsets(cluster.now_ms));
    assert_eq!(cluster.expire().len(), 0);
    cluster.now_ms += 1;
    assert!(cluster.state.has_expired_offsets(cluster.now_ms));
    assert_eq!(cluster.expire().len(), 0);
    assert_eq!(
        cluster.kept("at work"),
        [("a".to_owned(), 0, 1)],
        "it no longer reads b"
    );
    assert_eq!(cluster.kept("simple"), [("a".to_owned(), 1, 1)]);
    assert_eq!(cluster.kept("left").len(), 1);
    cluster.check_recovery();
    cluster.now_ms += DAY_MS;
    assert_eq!(cluster.expire(), [Arc::from("left"), Arc::from("simple")]);
    assert_eq!(cluster.groups(), ["at work"]);
    cluster.now_ms += 30 * DAY_MS;
    assert!(!cluster.state.has_expired_offsets(cluster.now_ms));
    cluster.check_recovery();
}

#[test]
fn a_lost_row_is_noticed() {
    let mut cluster = with_topics();
    cluster.save("g", stable(1, b"a"));
    cluster.commit_offsets("g", vec![offset("a", 0, 1)]);
    cluster.save("h", empty(1));
    for tag in [0x30, 0x31, 0x32] {
        let mut rows = cluster.rows.clone();
        let lost = rows.keys().rfind(|key| key[0] == tag).unwrap().clone();
        rows.remove(&lost);
        let found = recover(&cluster.config, &rows).map(|state| state.hash());
        assert!(
            matches!(found, Err(DamagedState::Contradiction(_))),
            "{tag:#x}: {found:?}"
        );
    }
}

#[test]
fn rows_of_groups_are_these_bytes() {
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    assert_eq!(hex(RowKey::group_figures().as_bytes()), "30");
    assert_eq!(hex(RowKey::group(258).as_bytes()), "310000000000000102");
    let key = "3200000000000000010202020202020202020202020202020200000003";
    assert_eq!(hex(RowKey::offset(1, at(2, 3)).as_bytes()), key);
    let figures = GroupFigures {
        next_number: 300,
        groups: 2,
        offsets: 1,
    };
    assert_eq!(hex(&figures.encode()), "01ac020201");
    assert_eq!(GroupFigures::decode(&figures.encode()), Ok(figures));
    let group = GroupRow {
        name: Arc::from("g"),
        emptied_ms: None,
        saved: Arc::new(stable(7, b"a")),
    };
    let expected = concat!(
        "010167000e0108636f6e73756d6572010572616e676501016d0101016d01056669786564",
        "06636c69656e74092f31302e302e302e31c8df02e0a712010572616e676509000000000001000161046d696e65"
    );
    assert_eq!(hex(&group.encode()), expected);
    let emptied = GroupRow {
        emptied_ms: Some(START_MS),
        saved: Arc::new(empty(8)),
        ..group.clone()
    };
    let expected = "0101670180c0e285e368100108636f6e73756d657200000000";
    assert_eq!(hex(&emptied.encode()), expected);
    for row in [group, emptied] {
        assert_eq!(GroupRow::decode(&row.encode()), Ok(row));
    }
    let row = OffsetRow {
        committed: offset("a", 0, 300).committed,
        committed_ms: START_MS,
    };
    assert_eq!(hex(&row.encode()), "01d80406046e6f746580c0e285e368");
    assert_eq!(OffsetRow::decode(&row.encode()), Ok(row));
}

#[derive(Clone, Debug)]
enum Step {
    Save {
        group: u8,
        generation: i32,
        is_empty: bool,
    },
    Commit {
        group: u8,
        partitions: Vec<(u8, i32)>,
        offset: i64,
    },
    DeleteOffset {
        group: u8,
        topic: u8,
        partition: i32,
    },
    DeleteGroup {
        group: u8,
    },
    DeleteTopic {
        topic: u8,
    },
    CreateTopic {
        topic: u8,
    },
    Expire,
    Wait {
        days: i64,
    },
    Seal,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (group, topic, partition) = (0_u8..3, 0_u8..3, 0_i32..3);
    let one = prop_oneof![
        4 => (group.clone(), 0..9, any::<bool>()).prop_map(|(group, generation, is_empty)| Step::Save { group, generation, is_empty }),
        6 => (group.clone(), prop::collection::vec((topic.clone(), partition.clone()), 0..4), 0_i64..1000)
            .prop_map(|(group, partitions, offset)| Step::Commit { group, partitions, offset }),
        1 => (group.clone(), topic.clone(), partition).prop_map(|(group, topic, partition)| Step::DeleteOffset { group, topic, partition }),
        1 => group.prop_map(|group| Step::DeleteGroup { group }),
        1 => topic.clone().prop_map(|topic| Step::DeleteTopic { topic }),
        2 => topic.prop_map(|topic| Step::CreateTopic { topic }),
        2 => Just(Step::Expire),
        2 => (0_i64..9).prop_map(|days| Step::Wait { days }),
        3 => Just(Step::Seal),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(one, 0..80)
}

/// The same rules over plain lists.
#[derive(Clone, Default, PartialEq, Debug)]
struct Model {
    /// By name: id and partitions.
    topics: BTreeMap<String, TopicPartition>,
    groups: BTreeMap<String, ModelGroup>,
    created: u8,
}

#[derive(Clone, Default, PartialEq, Debug)]
struct ModelGroup {
    saved: Kept,
    emptied_ms: Option<i64>,
    /// By topic's name and partition: offset and time.
    offsets: BTreeMap<(String, i32), (i64, i64)>,
}

impl Model {
    fn expire(&mut self, now_ms: i64) {
        let before_ms = now_ms - 7 * DAY_MS;
        for group in self.groups.values_mut() {
            let (is_empty, emptied_ms) = (group.saved.is_empty(), group.emptied_ms);
            // All members read topic "0" alone.
            group.offsets.retain(|(topic, _), (_, committed_ms)| {
                if is_empty {
                    emptied_ms.unwrap_or(*committed_ms) > before_ms
                } else {
                    topic == "0" || *committed_ms > before_ms
                }
            });
        }
        self.groups.retain(|_, group| {
            !group.offsets.is_empty()
                || !group.saved.is_empty()
                || group.emptied_ms.is_some_and(|emptied| emptied > before_ms)
        });
    }
}

fn run(steps: Vec<Step>) {
    let mut cluster = Cluster::registered(StateConfig {
        clock_step_ms_max: 4000 * DAY_MS,
        ..roomy()
    });
    let mut model = Model::default();
    let mut sealed = model.clone();
    for step in steps {
        let name = |number: u8| -> Arc<str> { Arc::from(number.to_string()) };
        let now_ms = cluster.now_ms;
        match step {
            Step::Wait { days } => cluster.now_ms += days * DAY_MS,
            Step::Seal => {
                cluster.seal();
                sealed = model.clone();
            }
            Step::Crash => {
                cluster.crash();
                // Ids are never used again, whatever was lost.
                let created = model.created;
                model = Model {
                    created,
                    ..sealed.clone()
                };
            }
            Step::Save {
                group,
                generation,
                is_empty,
            } => {
                let saved = if is_empty {
                    empty(generation)
                } else {
                    stable(generation, b"0")
                };
                let kept = model.groups.entry(group.to_string()).or_default();
                kept.emptied_ms = is_empty.then_some(now_ms);
                kept.saved = saved.clone();
                let (group, saved) = (name(group), Arc::new(saved));
                cluster.run_open(Command::SaveGroup { group, saved });
            }
            Step::Commit {
                group,
                partitions,
                offset: value,
            } => {
                let offsets = partitions.iter();
                let offsets =
                    offsets.map(|(topic, index)| offset(&topic.to_string(), *index, value));
                let command = Command::CommitOffsets {
                    group: name(group),
                    offsets: offsets.collect(),
                };
                let expected = partitions.iter().map(|(topic, index)| {
                    let is_known = *index < 2 && model.topics.contains_key(&topic.to_string());
                    if !is_known {
                        return ErrorCode::UnknownTopicOrPartition;
                    }
                    let kept = model.groups.entry(group.to_string()).or_default();
                    kept.offsets
                        .insert((topic.to_string(), *index), (value, now_ms));
                    ErrorCode::None
                });
                let expected = Reply::Codes(expected.collect());
                assert_eq!(cluster.run_open(command), expected);
            }
            Step::DeleteOffset {
                group,
                topic,
                partition,
            } => {
                if let Some(kept) = model.groups.get_mut(&group.to_string()) {
                    kept.offsets.remove(&(topic.to_string(), partition));
                }
                let partitions = vec![(topic.to_string(), partition)];
                cluster.run_open(Command::DeleteOffsets {
                    group: name(group),
                    partitions,
                });
            }
            Step::DeleteGroup { group } => {
                model.groups.remove(&group.to_string());
                cluster.run_open(Command::DeleteGroup(name(group)));
            }
            Step::CreateTopic { topic } => {
                if !model.topics.contains_key(&topic.to_string()) {
                    model.created += 1;
                    let id = topic_id(100 + model.created);
                    model
                        .topics
                        .insert(topic.to_string(), TopicPartition::new(id, 2));
                    let new = super::fixtures::new_topic(id, &topic.to_string(), 2);
                    cluster.run_open(Command::CreateTopic(new));
                }
            }
            Step::DeleteTopic { topic } => {
                if let Some(gone) = model.topics.remove(&topic.to_string()) {
                    for group in model.groups.values_mut() {
                        group
                            .offsets
                            .retain(|(name, _), _| *name != topic.to_string());
                    }
                    cluster.run_open(Command::DeleteTopic(gone.topic));
                }
            }
            Step::Expire => {
                let before: Vec<_> = model.groups.keys().cloned().collect();
                let is_due = cluster.state.has_expired_offsets(now_ms);
                let unchanged = model.clone();
                model.expire(now_ms);
                assert_eq!(is_due, model != unchanged);
                let gone = before
                    .into_iter()
                    .filter(|name| !model.groups.contains_key(name));
                let mut gone: Vec<Arc<str>> = gone.map(Arc::from).collect();
                let Reply::OffsetsExpired(mut found) = cluster.run_open(Command::ExpireOffsets)
                else {
                    panic!("another reply");
                };
                found.sort();
                gone.sort();
                assert_eq!(found, gone);
            }
        }
        let found: BTreeMap<_, _> = cluster
            .state
            .groups()
            .map(|(name, saved)| (name.to_string(), saved.clone()))
            .collect();
        let expected: BTreeMap<_, _> = model
            .groups
            .iter()
            .map(|(name, group)| (name.clone(), group.saved.clone()))
            .collect();
        assert_eq!(found, expected);
        for (name, group) in &model.groups {
            let mut kept = cluster.kept(name);
            kept.sort();
            let expected = group
                .offsets
                .iter()
                .map(|((topic, partition), (offset, _))| (topic.clone(), *partition, *offset));
            assert_eq!(kept, expected.collect::<Vec<_>>());
        }
    }
    cluster.seal();
    cluster.check_recovery();
}

proptest! {
    #[test]
    fn agrees_with_plain_lists(steps in steps()) {
        run(steps);
    }
}
