//! Commits: offsets, extents, repeats, refusals, what the watch is told, what reads find.

use floe_storage::segment::SegmentId;

use super::fixtures::{
    Cluster, Short, at, committed, idempotent, plain, request, roomy, short, tiny, topic_id,
};
use crate::api::{BatchRejection, CommitError, Extent, PartitionBounds, WatchEvent};
use crate::state::rows::head::{self, Head};
use crate::state::{Command, Reply, RowKey};

fn cluster() -> Cluster {
    let mut cluster = Cluster::registered(tiny());
    cluster.create(topic_id(1), "a", 3);
    cluster.create(topic_id(2), "b", 1);
    cluster
}

#[test]
fn offsets_are_dense_per_partition_over_segments_and_crashes() {
    let mut cluster = cluster();
    let reply = cluster.commit(&[
        (at(1, 0), &[plain(2), plain(3)]),
        (at(1, 2), &[plain(1)]),
        (at(2, 0), &[plain(4)]),
    ]);
    let offsets: Vec<_> = reply.results.iter().map(short).collect();
    assert_eq!(
        offsets,
        [Short::At(0), Short::At(2), Short::At(0), Short::At(0)]
    );
    cluster.crash();
    assert_eq!(cluster.produce(at(1, 0), &[plain(1)]), [Short::At(5)]);
    assert_eq!(cluster.produce(at(1, 2), &[plain(1)]), [Short::At(1)]);
    let expected = PartitionBounds {
        log_start: 0,
        high_watermark: 6,
        last_stable: 6,
    };
    assert_eq!(cluster.bounds(at(1, 0)), expected);
    assert_eq!(cluster.bounds(at(1, 1)), PartitionBounds::default());
}

#[test]
fn accepted_batches_become_runs_that_a_refused_one_splits() {
    let mut cluster = cluster();
    let refused = idempotent(1, 0, 9, 1);
    let segment = cluster.next_segment();
    let batches = [plain(1), plain(2), refused, plain(3)];
    cluster.run_open(Command::Commit(request(segment, &[(at(1, 0), &batches)])));
    let events = cluster.seal();
    let lengths: Vec<u32> = batches.iter().map(|batch| batch.length_bytes).collect();
    let first = Extent {
        segment,
        level: 0,
        position_bytes: 32,
        length_bytes: lengths[0] + lengths[1],
        base_offset: 0,
        end_offset: 3,
        max_timestamp_ms: batches[1].max_timestamp_ms,
    };
    let second = Extent {
        position_bytes: 32 + u64::from(lengths[0] + lengths[1] + lengths[2]),
        length_bytes: lengths[3],
        base_offset: 3,
        end_offset: 6,
        max_timestamp_ms: batches[3].max_timestamp_ms,
        ..first
    };
    let [WatchEvent::Committed(told)] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(told.segment, segment);
    assert_eq!(told.extents, [(at(1, 0), first), (at(1, 0), second)]);
    cluster.crash();
    let look_up = |offset, max| {
        cluster
            .state
            .look_up(at(1, 0), offset, max)
            .unwrap()
            .extents
    };
    assert_eq!(look_up(0, 10), [first, second]);
    assert_eq!(look_up(2, 10), [first, second], "in the middle");
    assert_eq!(look_up(2, 1), [first]);
    assert_eq!(look_up(3, 10), [second]);
    assert_eq!(look_up(6, 10), [], "at the high watermark");
    assert_eq!(cluster.state.look_up(at(9, 0), 0, 1), None);
    let by_time = |time| cluster.state.extent_for_timestamp(at(1, 0), time);
    assert_eq!(by_time(0), Some(first));
    assert_eq!(by_time(first.max_timestamp_ms), Some(first));
    assert_eq!(by_time(first.max_timestamp_ms + 1), Some(second));
    assert_eq!(by_time(second.max_timestamp_ms + 1), None);
    assert_eq!(
        cluster.state.extent_with_max_timestamp(at(1, 0)),
        Some(second)
    );
    assert_eq!(cluster.state.extent_with_max_timestamp(at(1, 1)), None);
}

#[test]
fn a_repeat_gets_exactly_the_first_reply_however_late() {
    let mut cluster = cluster();
    let batches = [
        plain(2),
        idempotent(1, 0, 0, 1),
        idempotent(1, 0, 0, 1),
        idempotent(1, 0, 7, 1),
    ];
    let unknown = [plain(1)];
    let segment = cluster.next_segment();
    let request = request(segment, &[(at(1, 0), &batches), (at(7, 0), &unknown)]);
    let repeat = |cluster: &mut Cluster| {
        committed(cluster.run_open(Command::Commit(request.clone()))).unwrap()
    };
    let first = repeat(&mut cluster);
    assert_eq!(repeat(&mut cluster), first, "in the same group");
    cluster.seal();
    for _ in 0..20 {
        cluster.produce(at(1, 0), &[plain(1)]);
        assert_eq!(repeat(&mut cluster), first);
    }
    cluster.run(Command::MoveLogStart(vec![(at(1, 0), 5)]));
    cluster.run(Command::DeleteTopic(topic_id(1)));
    cluster.crash();
    let before = cluster.state.hash();
    assert_eq!(repeat(&mut cluster), first, "from the row");
    assert!(cluster.seal().is_empty());
    assert_ne!(before, cluster.state.hash(), "the revision rose");
}

#[test]
fn unknown_topics_and_partitions_refuse_their_batches_only() {
    let mut cluster = cluster();
    let reply = cluster.commit(&[
        (at(0, 0), &[plain(1), plain(1)]),
        (at(1, -1), &[plain(1)]),
        (at(1, 1), &[plain(2)]),
        (at(1, 3), &[plain(1)]),
    ]);
    let unknown = Short::No(BatchRejection::UnknownTopicOrPartition);
    let results: Vec<_> = reply.results.iter().map(short).collect();
    assert_eq!(results, [unknown, unknown, unknown, Short::At(0), unknown]);
}

#[test]
fn segments_of_strangers_and_of_old_epochs_are_refused() {
    let mut cluster = cluster();
    let mut commit = |segment| {
        committed(cluster.run(Command::Commit(request(
            segment,
            &[(at(1, 0), &[plain(1)])],
        ))))
    };
    let known = SegmentId {
        write_epoch: 1,
        incarnation: 1,
        counter: 100,
    };
    let stranger = SegmentId {
        incarnation: 2,
        ..known
    };
    let nobody = SegmentId {
        incarnation: 0,
        ..known
    };
    let future = SegmentId {
        write_epoch: 2,
        ..known
    };
    assert_eq!(commit(stranger), Err(CommitError::NotRegistered(2)));
    assert_eq!(commit(nobody), Err(CommitError::NotRegistered(0)));
    assert_eq!(commit(future), Err(CommitError::NotRegistered(1)));
    let first = commit(known).unwrap();
    assert_eq!(
        cluster.run(Command::RaiseWriteEpoch { above: 1 }),
        epochs(2, 1)
    );
    assert_eq!(
        cluster.run(Command::RaiseWriteEpoch { above: 1 }),
        epochs(2, 1),
        "a repeat"
    );
    cluster.crash();
    let mut commit = |segment| {
        committed(cluster.run(Command::Commit(request(
            segment,
            &[(at(1, 0), &[plain(1)])],
        ))))
    };
    assert_eq!(commit(known).unwrap(), first, "still accepted");
    assert_eq!(
        cluster.run(Command::RaiseLowestAccepted { to: 9 }),
        epochs(2, 2)
    );
    for _ in 0..2 {
        let result =
            committed(cluster.run(Command::Commit(request(known, &[(at(1, 0), &[plain(1)])]))));
        assert_eq!(
            result,
            Err(CommitError::TooOld {
                write_epoch: 1,
                lowest: 2
            })
        );
        cluster.crash();
    }
    assert_eq!(cluster.bounds(at(1, 0)).high_watermark, 1);
    let again = SegmentId {
        write_epoch: 2,
        ..known
    };
    let reply = cluster.run(Command::Commit(request(again, &[(at(1, 0), &[plain(1)])])));
    assert_eq!(short(&committed(reply).unwrap().results[0]), Short::At(1));
}

fn epochs(present: u32, lowest_accepted: u32) -> Reply {
    Reply::WriteEpochs {
        present,
        lowest_accepted,
    }
}

#[test]
fn runs_of_more_than_2_to_the_32_records_are_split() {
    let mut cluster = cluster();
    cluster.produce(at(1, 0), &[plain(u32::MAX), plain(1), plain(u32::MAX)]);
    assert_eq!(
        cluster.bounds(at(1, 0)).high_watermark,
        2 * i64::from(u32::MAX) + 1
    );
    cluster.crash();
    assert_eq!(
        cluster.state.look_up(at(1, 0), 0, 9).unwrap().extents.len(),
        3
    );
}

#[test]
fn offsets_end_at_the_greatest_number() {
    let mut cluster = cluster();
    cluster.produce(at(1, 0), &[plain(1)]);
    cluster.run(Command::MoveLogStart(vec![(at(1, 0), 1)]));
    let near = Head {
        log_start: i64::MAX - 5,
        high_watermark: i64::MAX - 5,
    };
    let row = head::encode([near].into_iter()).into();
    cluster
        .rows
        .insert(RowKey::heads(topic_id(1), 0).into_bytes(), row);
    cluster.crash();
    let used_up = Short::No(BatchRejection::OffsetsExhausted);
    let first = |count| idempotent(1, 0, 0, count);
    assert_eq!(
        cluster.produce(at(1, 0), &[plain(6), first(6)]),
        [used_up, used_up]
    );
    let end = Short::At(i64::MAX - 5);
    assert_eq!(
        cluster.produce(at(1, 0), &[first(5), plain(1)]),
        [end, used_up]
    );
    cluster.crash();
    assert_eq!(
        cluster.produce(at(1, 0), &[first(5)]),
        [Short::DuplicateOf(i64::MAX - 5)]
    );
}

#[test]
fn a_log_start_moves_up_only_and_takes_whole_extents_with_it() {
    let mut cluster = cluster();
    for _ in 0..4 {
        cluster.produce(at(1, 0), &[plain(10)]);
    }
    let mut to = |offset| {
        let reply = cluster.run_open(Command::MoveLogStart(vec![
            (at(1, 0), offset),
            (at(9, 9), 1),
        ]));
        let Reply::LogStarts(bounds, _) = reply else {
            panic!("{reply:?}")
        };
        assert_eq!(bounds[1], None);
        let events = cluster.seal();
        cluster.crash();
        let extents = cluster.state.look_up(at(1, 0), 0, 10).unwrap().extents;
        assert_eq!(
            cluster.bounds(at(1, 0)),
            bounds[0].unwrap(),
            "after a crash"
        );
        (bounds[0].unwrap().log_start, extents.len(), events.len())
    };
    assert_eq!(to(15), (15, 3, 1));
    assert_eq!(to(15), (15, 3, 0));
    assert_eq!(to(3), (15, 3, 0));
    assert_eq!(to(20), (20, 2, 1));
    assert_eq!(to(1_000), (40, 0, 1));
    assert_eq!(cluster.produce(at(1, 0), &[plain(1)]), [Short::At(40)]);
    let reply = cluster.commit(&[(at(1, 0), &[plain(1)])]);
    let expected = crate::api::BatchResult::Committed {
        base_offset: 41,
        log_start: 40,
    };
    assert_eq!(reply.results, [expected]);
}

#[test]
fn an_index_that_makes_no_sense_is_taken_as_it_is() {
    let mut cluster = cluster();
    let mut request = request(
        cluster.next_segment(),
        &[
            (at(2, 0), &[plain(1)]),
            (at(1, 2), &[plain(1), plain(1)]),
            (at(1, 0), &[]),
            (at(1, 2), &[plain(1)]),
        ],
    );
    let index = std::sync::Arc::make_mut(&mut request.index);
    index.extents[1].position_bytes = u64::MAX - 3;
    let reply = committed(cluster.run(Command::Commit(request.clone()))).unwrap();
    let results: Vec<_> = reply.results.iter().map(short).collect();
    assert_eq!(
        results,
        [Short::At(0), Short::At(0), Short::At(1), Short::At(2)]
    );
    let hash = cluster.state.hash();
    cluster.crash();
    assert_eq!(cluster.state.hash(), hash);
    assert_eq!(
        committed(cluster.run(Command::Commit(request))).unwrap(),
        reply
    );
}

#[test]
fn time_never_falls_and_its_steps_are_bounded() {
    let mut config = roomy();
    config.clock_step_ms_max = 1000;
    let mut cluster = Cluster::new(config);
    let mut now = |ms| {
        cluster.now_ms = ms;
        cluster.run(Command::AllocateProducerIds);
        cluster.crash();
        cluster.state.now_ms()
    };
    assert_eq!(now(5_000_000), 5_000_000);
    assert_eq!(now(4_000_000), 5_000_000);
    assert_eq!(now(5_000_900), 5_000_900);
    assert_eq!(now(9_000_000), 5_001_900);
    assert_eq!(now(i64::MAX), 5_002_900);
    assert_eq!(now(i64::MIN), 5_002_900);
}
