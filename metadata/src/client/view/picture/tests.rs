use floe_storage::segment::SegmentId;

use super::*;
use crate::testing::{new_process, partition, topic_id};

fn topic(byte: u8, partition_count: i32) -> Arc<Topic> {
    Arc::new(Topic {
        id: topic_id(byte),
        name: format!("topic-{byte}").into(),
        partition_count,
        replication_factor: 1,
        configs: Arc::default(),
        created_ms: 0,
    })
}

fn process(byte: u8) -> Process {
    Process {
        incarnation: u32::from(byte),
        told: new_process(byte),
    }
}

fn extent(base_offset: i64, end_offset: i64) -> Extent {
    Extent {
        segment: SegmentId {
            write_epoch: 1,
            incarnation: 1,
            counter: 0,
        },
        level: 0,
        position_bytes: 0,
        length_bytes: 100,
        base_offset,
        end_offset,
        max_timestamp_ms: 0,
    }
}

fn committed(extents: &[(TopicPartition, Extent)]) -> WatchEvent {
    let segment = SegmentId {
        write_epoch: 1,
        incarnation: 1,
        counter: 0,
    };
    WatchEvent::Committed(Arc::new(CommittedSegment {
        segment,
        extents: extents.to_vec(),
    }))
}

fn with_topic(resident_max: usize) -> Picture {
    let mut picture = Picture::new(resident_max);
    picture.apply(&WatchEvent::TopicChanged(topic(1, 2)));
    picture
}

#[test]
fn the_tail_begins_with_the_extent_that_holds_the_offset() {
    let mut picture = with_topic(100);
    let one = partition(1, 0);
    for base in [0, 10, 20, 30] {
        picture.apply(&committed(&[(one, extent(base, base + 10))]));
    }
    let bounds = picture.bounds(one).unwrap();
    assert_eq!((bounds.high_watermark, bounds.last_stable), (40, 40));
    let bases = |from, max_bytes| match picture.tail(one, from, max_bytes) {
        Tail::Extents(extents, _) => extents.iter().map(|it| it.base_offset).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let cases: [(i64, u64, &[i64]); 8] = [
        (0, 1000, &[0, 10, 20, 30]),
        (9, 1000, &[0, 10, 20, 30]),
        (10, 1000, &[10, 20, 30]),
        (15, 200, &[10, 20]),
        (15, 101, &[10, 20]),
        (15, 100, &[10]),
        (39, 0, &[30]),
        (40, 1000, &[]),
    ];
    for (from, max_bytes, expected) in cases {
        assert_eq!(
            bases(from, max_bytes),
            expected,
            "from {from}, {max_bytes} bytes"
        );
    }
    assert_eq!(picture.tail(partition(1, 2), 0, 1), Tail::UnknownPartition);
    assert_eq!(picture.tail(partition(1, -1), 0, 1), Tail::UnknownPartition);
    assert_eq!(picture.tail(partition(2, 0), 0, 1), Tail::UnknownPartition);
}

#[test]
fn the_longest_resident_go_first() {
    let mut picture = with_topic(3);
    let (one, other) = (partition(1, 0), partition(1, 1));
    picture.apply(&committed(&[(one, extent(0, 10)), (other, extent(0, 10))]));
    picture.apply(&committed(&[(one, extent(10, 20))]));
    picture.apply(&committed(&[(one, extent(20, 30))]));
    let bounds = picture.bounds(one).unwrap();
    assert_eq!(picture.tail(one, 9, 1), Tail::Older(bounds));
    assert!(matches!(picture.tail(one, 10, 1000), Tail::Extents(it, _) if it.len() == 2));
    assert!(matches!(picture.tail(other, 0, 1000), Tail::Extents(it, _) if it.len() == 1));
    picture.apply(&committed(&[(one, extent(30, 40))]));
    assert!(matches!(picture.tail(other, 0, 1000), Tail::Older(_)));
    assert_eq!(picture.resident.len(), 3);
}

#[test]
fn a_log_start_cuts_the_tail_and_never_falls() {
    let mut picture = with_topic(100);
    let one = partition(1, 0);
    picture.apply(&committed(&[(one, extent(0, 10))]));
    for (log_start, expected) in [(4, 4), (2, 4), (10, 10)] {
        let touched = picture.apply(&WatchEvent::LogStartMoved {
            partition: one,
            log_start,
        });
        assert_eq!(touched, [one]);
        assert_eq!(picture.bounds(one).unwrap().log_start, expected);
    }
    assert!(matches!(picture.tail(one, 9, 1000), Tail::Older(_)));
    assert!(matches!(picture.tail(one, 10, 1000), Tail::Extents(it, _) if it.is_empty()));
}

#[test]
fn topics_come_grow_and_go() {
    let mut picture = with_topic(100);
    picture.apply(&committed(&[(partition(1, 0), extent(0, 10))]));
    picture.apply(&WatchEvent::TopicChanged(topic(1, 3)));
    assert_eq!(picture.bounds(partition(1, 0)).unwrap().high_watermark, 10);
    assert_eq!(picture.bounds(partition(1, 2)).unwrap().high_watermark, 0);
    picture.apply(&WatchEvent::TopicChanged(topic(0, 1)));
    let names: Vec<_> = picture
        .topics()
        .iter()
        .map(|it| it.name.to_string())
        .collect();
    assert_eq!(names, ["topic-0", "topic-1"]);

    // The name is taken again before the old topic's deletion is seen.
    let mut renamed = (*topic(7, 1)).clone();
    renamed.name = "topic-1".into();
    picture.apply(&WatchEvent::TopicChanged(Arc::new(renamed)));
    let touched = picture.apply(&WatchEvent::TopicDeleted(topic_id(1)));
    assert_eq!(touched, [partition(1, 0), partition(1, 1), partition(1, 2)]);
    assert_eq!(picture.topic_by_name("topic-1").unwrap().id, topic_id(7));
    assert_eq!(picture.topic(topic_id(1)), None);
    assert_eq!(picture.apply(&WatchEvent::TopicDeleted(topic_id(1))), []);
    // A commit of before the deletion.
    assert_eq!(
        picture.apply(&committed(&[(partition(1, 0), extent(10, 20))])),
        []
    );
}

fn bases(picture: &Picture, partition: TopicPartition) -> Vec<i64> {
    let end = picture.bounds(partition).unwrap().high_watermark;
    let from = (0..end).find(|from| {
        let tail = picture.tail(partition, *from, u64::MAX);
        matches!(tail, Tail::Extents(..))
    });
    match picture.tail(partition, from.unwrap_or(end), u64::MAX) {
        Tail::Extents(extents, _) => extents.iter().map(|it| it.base_offset).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_has_been_resident_for_long_goes_oldest_first() {
    let mut picture = with_topic(100);
    let (one, two) = (partition(1, 0), partition(1, 1));
    picture.pass_to(10);
    picture.apply(&committed(&[(one, extent(0, 10)), (two, extent(0, 5))]));
    picture.pass_to(11);
    picture.apply(&committed(&[(one, extent(10, 20))]));
    picture.pass_to(200);
    picture.apply(&committed(&[(one, extent(20, 30))]));
    picture.pass_to(10 + RESIDENT_SECONDS - 1);
    assert_eq!(bases(&picture, one), [0, 10, 20]);
    assert_eq!(bases(&picture, two), [0]);
    picture.pass_to(10 + RESIDENT_SECONDS);
    assert_eq!(bases(&picture, one), [10, 20]);
    assert_eq!(bases(&picture, two), [0; 0]);
    assert!(matches!(picture.tail(one, 9, 1), Tail::Older(_)));
    assert!(matches!(picture.tail(two, 4, 1), Tail::Older(_)));
    // Time that goes back is none.
    picture.pass_to(0);
    picture.apply(&committed(&[(two, extent(5, 6))]));
    picture.pass_to(200 + RESIDENT_SECONDS);
    assert_eq!(bases(&picture, one), [0; 0]);
    assert_eq!(bases(&picture, two), [5], "it came just now");
    picture.pass_to(10 + 2 * RESIDENT_SECONDS);
    assert!(picture.resident.is_empty() && picture.came.is_empty());
    // The tail begins anew with what comes.
    picture.apply(&committed(&[(one, extent(30, 40))]));
    assert_eq!(bases(&picture, one), [30]);
}

#[test]
fn seconds_and_extents_are_counted_alike() {
    let mut picture = with_topic(3);
    for base in 0..20 {
        picture.pass_to(u32::try_from(base / 4).unwrap());
        picture.apply(&committed(&[(partition(1, 0), extent(base, base + 1))]));
        let counted: usize = picture.came.iter().map(|came| came.extents).sum();
        assert_eq!(counted, picture.resident.len());
    }
    assert_eq!(picture.resident.len(), 3);
    picture.replace(&Snapshot::default());
    assert!(picture.resident.is_empty() && picture.came.is_empty());
}

#[test]
fn a_snapshot_replaces_everything() {
    let mut picture = with_topic(100);
    picture.apply(&committed(&[(partition(1, 0), extent(0, 10))]));
    picture.apply(&WatchEvent::LeaderEpochRaised(3));
    let bounds = |high_watermark| PartitionBounds {
        log_start: 0,
        high_watermark,
        last_stable: high_watermark,
    };
    picture.replace(&Snapshot {
        configs: Vec::new(),
        revision: 9,
        topics: vec![topic(1, 2), topic(2, 1)],
        bounds: vec![vec![bounds(15), bounds(0)], vec![bounds(7)]],
        leader_epoch: 4,
        feature_level: 1,
        write_epoch: 3,
        processes: [process(3)].into(),
    });
    assert_eq!(*picture.processes(), [process(3)]);
    assert_eq!((picture.leader_epoch(), picture.write_epoch()), (4, 3));
    assert_eq!(picture.bounds(partition(2, 0)), Some(bounds(7)));
    assert_eq!(picture.tail(partition(1, 0), 5, 1), Tail::Older(bounds(15)));
    picture.apply(&committed(&[(partition(1, 0), extent(15, 20))]));
    assert!(matches!(picture.tail(partition(1, 0), 15, 1), Tail::Extents(it, _) if it.len() == 1));
    assert_eq!(picture.resident.len(), 1);
}

#[test]
fn the_processes_are_those_that_were_told_last() {
    let mut picture = with_topic(100);
    for processes in [vec![process(1), process(2)], vec![process(2)], Vec::new()] {
        picture.apply(&WatchEvent::ProcessesChanged(processes.clone().into()));
        assert_eq!(*picture.processes(), *processes);
    }
}

#[test]
fn the_write_epoch_is_the_newest_that_was_told() {
    let mut picture = with_topic(100);
    assert_eq!(picture.write_epoch(), 0);
    for (told, expected) in [(2, 2), (5, 5), (4, 5)] {
        picture.apply(&WatchEvent::WriteEpochRaised(told));
        assert_eq!(picture.write_epoch(), expected);
    }
    for (told, expected) in [(0, 5), (6, 6)] {
        picture.replace(&Snapshot {
            write_epoch: told,
            ..Snapshot::default()
        });
        assert_eq!(picture.write_epoch(), expected);
    }
}

#[test]
fn configs_are_those_that_were_told_last() {
    let mut picture = with_topic(100);
    let values = |value: &str| Arc::new([("a".to_owned(), value.to_owned())].into());
    let configs = |kind, name: &str, values| NamedConfigs {
        kind,
        name: Arc::from(name),
        values,
    };
    let (group, broker) = (ConfigKind::Group, ConfigKind::Broker);
    for value in ["1", "2"] {
        picture.apply(&WatchEvent::ConfigsChanged(configs(
            group,
            "g",
            values(value),
        )));
    }
    picture.apply(&WatchEvent::ConfigsChanged(configs(
        broker,
        "g",
        values("3"),
    )));
    assert_eq!(picture.configs(group, "g"), Some(values("2")));
    assert_eq!(picture.configs(group, "h"), None);
    picture.apply(&WatchEvent::ConfigsChanged(configs(
        group,
        "g",
        Arc::default(),
    )));
    assert_eq!(picture.all_configs(group), []);
    assert_eq!(picture.all_configs(broker), [(Arc::from("g"), values("3"))]);
    picture.replace(&Snapshot {
        configs: vec![configs(group, "h", values("4"))],
        feature_level: 1,
        ..Snapshot::default()
    });
    assert_eq!(picture.configs(group, "h"), Some(values("4")));
    assert_eq!(picture.all_configs(broker), []);
}

#[test]
#[should_panic(expected = "went back")]
fn a_snapshot_cannot_take_records_back() {
    let mut picture = with_topic(100);
    picture.apply(&committed(&[(partition(1, 0), extent(0, 10))]));
    picture.replace(&Snapshot {
        configs: Vec::new(),
        revision: 9,
        topics: vec![topic(1, 1)],
        bounds: vec![vec![PartitionBounds::default()]],
        leader_epoch: 0,
        feature_level: 1,
        write_epoch: 1,
        processes: Arc::default(),
    });
}

#[test]
#[should_panic(expected = "does not follow")]
fn a_hole_in_the_events_is_noticed() {
    let mut picture = with_topic(100);
    picture.apply(&committed(&[(partition(1, 0), extent(0, 10))]));
    picture.apply(&committed(&[(partition(1, 0), extent(11, 20))]));
}
