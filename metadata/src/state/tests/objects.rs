//! The registry of objects: what is dead since when, what is forgotten, whose rows go; retention.

use super::fixtures::{Cluster, START_MS, at, idempotent, plain, roomy, tiny, topic_id};
use crate::api::WatchEvent;
use crate::api::objects::{DeadObject, Retention, WriteEpochs};
use crate::state::{Command, DamagedState, Reply, RowKey};

fn cluster() -> Cluster {
    let mut cluster = Cluster::registered(tiny());
    cluster.create(topic_id(1), "a", 2);
    cluster
}

#[track_caller]
fn expect_recovered(cluster: &mut Cluster) {
    let hash = cluster.state.hash();
    cluster.crash();
    assert_eq!(cluster.state.hash(), hash);
}

#[test]
fn a_segment_is_dead_once_no_log_leads_to_it() {
    let mut cluster = cluster();
    cluster.commit(&[(at(1, 0), &[plain(3)]), (at(1, 1), &[plain(3)])]);
    cluster.commit(&[(at(1, 0), &[plain(3)])]);
    // None of its batches is accepted: nobody ever needs it.
    cluster.now_ms += 5;
    cluster.commit(&[
        (at(1, 0), &[idempotent(1, 0, 7, 1)]),
        (at(9, 0), &[plain(1)]),
    ]);
    assert_eq!(cluster.dead(), [3]);
    cluster.now_ms += 5;
    cluster.run(Command::MoveLogStart(vec![(at(1, 0), 6)]));
    assert_eq!(cluster.dead(), [3, 2]);
    assert_eq!(cluster.live(), [1]);
    cluster.now_ms += 5;
    cluster.run(Command::DeleteTopic(topic_id(1)));
    assert_eq!(cluster.dead(), [3, 2, 1], "the longest dead first");
    for _ in 0..2 {
        let dead = cluster.state.dead_objects(5, 10);
        let since: Vec<_> = dead.iter().map(|it| (it.commit, it.dead_ms)).collect();
        assert_eq!(since, [(3, START_MS + 5), (2, START_MS + 10)]);
        let DeadObject {
            segment,
            level,
            size_bytes,
            ..
        } = dead[0];
        assert_eq!((segment.counter, level), (3, 0));
        assert_eq!(size_bytes, 32 + 71 + 71 + 100);
        assert_eq!(cluster.state.dead_objects(0, 1).len(), 1);
        assert_eq!(cluster.state.dead_objects(i64::MAX, 9), []);
        assert_eq!(cluster.state.are_known(&[segment]), [true]);
        expect_recovered(&mut cluster);
    }
}

#[test]
fn only_dead_objects_are_forgotten() {
    let mut cluster = cluster();
    cluster.produce(at(1, 0), &[plain(3)]);
    cluster.produce(at(1, 0), &[plain(3)]);
    cluster.run(Command::MoveLogStart(vec![(at(1, 0), 3)]));
    let segments: Vec<_> = (1..3)
        .map(|counter| floe_storage::segment::SegmentId {
            write_epoch: 1,
            incarnation: 1,
            counter,
        })
        .collect();
    assert_eq!(cluster.state.are_known(&segments), [true, true]);
    for _ in 0..2 {
        cluster.forget(&[1, 2, 3, 0, u64::MAX]);
        assert_eq!((cluster.dead(), cluster.live()), (vec![], vec![2]));
        assert_eq!(cluster.state.are_known(&segments), [false, true]);
        expect_recovered(&mut cluster);
    }
}

#[test]
fn rows_go_when_nobody_can_ask_for_them() {
    let mut cluster = cluster();
    for _ in 0..8 {
        cluster.produce(at(1, 0), &[plain(3)]);
    }
    cluster.run(Command::MoveLogStart(vec![(at(1, 0), 9)]));
    assert_eq!(cluster.dead(), [1, 2, 3]);
    cluster.forget(&[1, 3]);
    assert_eq!(
        cluster.segment_rows(),
        [1, 2, 3, 4, 5, 6, 7, 8],
        "they may be repeated"
    );
    cluster.refuse_old_names();
    assert_eq!(cluster.segment_rows(), [2, 4, 5, 6, 7, 8], "2 is dead");
    expect_recovered(&mut cluster);
    cluster.forget(&[2]);
    assert_eq!(cluster.segment_rows(), [4, 5, 6, 7, 8]);
    expect_recovered(&mut cluster);
    // The last ones stay until the checkpoint has passed them.
    cluster.run(Command::DeleteTopic(topic_id(1)));
    let dead = cluster.dead();
    cluster.forget(&dead);
    cluster.create(topic_id(2), "b", 1);
    for _ in 0..20 {
        cluster.produce(at(2, 0), &[plain(1)]);
        expect_recovered(&mut cluster);
    }
    let rows = cluster.segment_rows();
    assert_eq!(rows, (9..29).collect::<Vec<_>>());
    assert_eq!(cluster.state.counts().segments, 20);
}

#[test]
fn a_row_is_not_removed_while_a_replay_needs_it() {
    let mut cluster = Cluster::registered(roomy());
    cluster.create(topic_id(1), "a", 2);
    for _ in 0..8 {
        cluster.produce(at(1, 0), &[plain(3)]);
    }
    cluster.merge(&[1, 2, 3, 4], 1);
    let dead = cluster.dead();
    cluster.forget(&dead);
    cluster.refuse_old_names();
    // Heads are saved late: all of it would be replayed.
    assert_eq!(cluster.segment_rows(), (1..10).collect::<Vec<_>>());
    expect_recovered(&mut cluster);
    cluster.config.replay_commits_max = 1;
    cluster.crash();
    cluster.produce(at(1, 1), &[plain(3)]);
    assert_eq!(cluster.segment_rows(), [5, 6, 7, 8, 9, 10]);
    expect_recovered(&mut cluster);
    let offsets: Vec<_> = cluster.extents(at(1, 0));
    let offsets: Vec<_> = offsets
        .iter()
        .map(|it| (it.base_offset, it.level))
        .collect();
    assert_eq!(offsets, [(0, 1), (12, 0), (15, 0), (18, 0), (21, 0)]);
    // Nor the rows of merged ones that were merged again.
    cluster.merge(&[9, 5], 2);
    let dead = cluster.dead();
    cluster.forget(&dead);
    cluster.refuse_old_names();
    cluster.produce(at(1, 1), &[plain(3)]);
    assert_eq!(cluster.segment_rows(), [6, 7, 8, 10, 11, 12]);
    expect_recovered(&mut cluster);
    assert_eq!(cluster.extents(at(1, 0))[0].end_offset, 15);
}

#[test]
fn rows_are_removed_in_shares() {
    let mut cluster = cluster();
    for _ in 0..700 {
        cluster.produce(at(1, 0), &[plain(1)]);
    }
    cluster.run(Command::MoveLogStart(vec![(at(1, 0), 700)]));
    let dead = cluster.dead();
    assert_eq!(dead.len(), 700);
    cluster.forget(&dead);
    cluster.run_open(Command::RaiseWriteEpoch { above: 1 });
    cluster.run_open(Command::RaiseLowestAccepted { to: 2 });
    let mut left = vec![cluster.segment_rows().len()];
    for _ in 0..3 {
        cluster.produce(at(1, 1), &[plain(1)]);
        left.push(cluster.segment_rows().len());
        expect_recovered(&mut cluster);
    }
    assert_eq!(left[..3], [700, 700 + 1 - 256, 700 + 2 - 512]);
    assert!(left[3] < 20, "{left:?}");
}

#[test]
fn write_epochs_are_told() {
    let mut cluster = cluster();
    let expected = |present, lowest_accepted| WriteEpochs {
        present,
        lowest_accepted,
    };
    assert_eq!(cluster.state.write_epochs(), expected(1, 1));
    for raised in [vec![WatchEvent::WriteEpochRaised(2)], Vec::new()] {
        cluster.run_open(Command::RaiseWriteEpoch { above: 1 });
        assert_eq!(cluster.seal(), raised);
        assert_eq!(cluster.state.write_epochs(), expected(2, 1));
        assert_eq!(cluster.state.snapshot().write_epoch, 2);
    }
    cluster.run(Command::RaiseLowestAccepted { to: 9 });
    assert_eq!(cluster.state.write_epochs(), expected(2, 2));
}

fn retain(min_timestamp_ms: Option<i64>, bytes_max: Option<u64>) -> Command {
    Command::Retain(vec![
        Retention {
            topic: topic_id(9),
            min_timestamp_ms: Some(i64::MAX),
            bytes_max: Some(0),
        },
        Retention {
            topic: topic_id(1),
            min_timestamp_ms,
            bytes_max,
        },
    ])
}

#[test]
fn retention_takes_extents_from_the_front() {
    // Times 1, 5, 2 and 9 after the start; lengths 71, 75, 72 and 79.
    let with_four = || {
        let mut cluster = cluster();
        for count in [1, 5, 2, 9] {
            cluster.produce(at(1, 0), &[plain(count)]);
        }
        cluster.produce(at(1, 1), &[plain(30)]);
        cluster
    };
    let all = 71 + 75 + 72 + 79;
    for (min_ms, bytes_max, expected) in [
        (None, None, 0),
        (Some(1), None, 0),
        (Some(2), None, 1),
        (Some(5), None, 1),
        (Some(6), None, 8),
        (Some(9), None, 8),
        (Some(10), None, 17),
        (None, Some(u64::MAX), 0),
        (None, Some(all), 0),
        (None, Some(all - 70), 0),
        (None, Some(all - 71), 1),
        (None, Some(79), 8),
        (None, Some(1), 8),
        (None, Some(0), 17),
        (Some(2), Some(72 + 79), 6),
    ] {
        let mut cluster = with_four();
        let min_ms = min_ms.map(|ms| START_MS + ms);
        let reply = cluster.run_open(retain(min_ms, bytes_max));
        let name = format!("{min_ms:?} {bytes_max:?}");
        let moved_other = u64::from(bytes_max == Some(0));
        let moved = u64::from(expected > 0) + moved_other;
        assert_eq!(reply, Reply::Retained(moved), "{name}");
        let events = cluster.seal();
        assert_eq!(events.len() as u64, moved, "{name}");
        if let Some(first) = events.first() {
            let (partition, log_start) = (at(1, 0), expected);
            let told = WatchEvent::LogStartMoved {
                partition,
                log_start,
            };
            assert_eq!(*first, told, "{name}");
        }
        assert_eq!(cluster.bounds(at(1, 0)).log_start, expected, "{name}");
        assert_eq!(cluster.bounds(at(1, 0)).high_watermark, 17, "{name}");
        let gone = (0..4).filter(|number| expected >= [1, 6, 8, 17][*number]);
        assert_eq!(
            cluster.dead().len() as u64,
            gone.count() as u64 + moved_other,
            "{name}"
        );
        expect_recovered(&mut cluster);
        let again = cluster.run(retain(min_ms, bytes_max));
        assert_eq!(again, Reply::Retained(0), "{name}: a repeat");
    }
}

#[test]
fn a_lost_row_about_objects_is_noticed() {
    let mut cluster = cluster();
    for _ in 0..12 {
        cluster.produce(at(1, 0), &[plain(3)]);
    }
    cluster.merge(&[1, 2, 3, 4, 5], 1);
    cluster.forget(&[1, 2, 3]);
    cluster.refuse_old_names();
    assert_eq!(cluster.dead(), [4, 5]);
    assert_eq!(cluster.segment_rows(), (4..14).collect::<Vec<_>>());
    let figures = DamagedState::Contradiction(RowKey::object_figures());
    for (lost, expected) in [
        (
            RowKey::object_figures(),
            DamagedState::Missing(RowKey::segment(1)),
        ),
        (RowKey::dead_object(4), figures.clone()),
        (
            RowKey::segment(4),
            DamagedState::Contradiction(RowKey::dead_object(4)),
        ),
        (RowKey::segment(6), figures.clone()),
        (
            RowKey::segment(13),
            DamagedState::Contradiction(RowKey::dead_object(4)),
        ),
    ] {
        let row = cluster.rows.remove(lost.as_bytes()).unwrap();
        assert_eq!(cluster.recover().unwrap_err(), expected, "without {lost}");
        cluster.rows.insert(lost.as_bytes().clone(), row);
    }
    let dead = cluster.rows[RowKey::dead_object(4).as_bytes()].clone();
    for commit in [6, 13, 99] {
        let key = RowKey::dead_object(commit);
        let mut rows = cluster.rows.clone();
        rows.insert(key.as_bytes().clone(), dead.clone());
        let found = super::fixtures::recover(&cluster.config, &rows);
        assert_eq!(found.unwrap_err(), DamagedState::Contradiction(key));
    }
    assert!(cluster.recover().is_ok());
}

#[test]
fn figures_go_with_the_last_dead_object() {
    let mut cluster = cluster();
    let has_figures = |cluster: &Cluster| {
        let key = RowKey::object_figures();
        cluster.rows.contains_key(key.as_bytes())
    };
    cluster.produce(at(1, 0), &[plain(3)]);
    assert!(!has_figures(&cluster));
    cluster.run(Command::MoveLogStart(vec![(at(1, 0), 3)]));
    assert!(has_figures(&cluster));
    cluster.forget(&[1]);
    assert!(!has_figures(&cluster), "they say nothing");
    expect_recovered(&mut cluster);
}
