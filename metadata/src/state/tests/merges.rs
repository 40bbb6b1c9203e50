//! Merges: what they replace, what refuses them, and that rows alone bring back what they did.

use floe_protocol::types::Offset;

use super::fixtures::{Cluster, LEASE_MS, at, merge_of, plain, request, roomy, tiny, topic_id};
use crate::api::objects::{MergeError, MergeRequest};
use crate::api::{CommitError, Extent};
use crate::state::{Command, Reply, StateConfig};

/// Six segments: 1, 3 and 5 of the partitions (1, 0) and (1, 1), 2, 4 and 6 of (1, 0) and (2, 0).
fn cluster(config: StateConfig) -> Cluster {
    let mut cluster = Cluster::registered(config);
    cluster.create(topic_id(1), "a", 2);
    cluster.create(topic_id(2), "b", 1);
    for round in 0..6_u32 {
        let other = if round % 2 == 0 { at(1, 1) } else { at(2, 0) };
        cluster.commit(&[(at(1, 0), &[plain(10)]), (other, &[plain(5 + round)])]);
    }
    cluster
}

fn offsets(extents: &[Extent]) -> Vec<(Offset, Offset, u8)> {
    let short = |it: &Extent| (it.base_offset, it.end_offset, it.level);
    extents.iter().map(short).collect()
}

/// What is asked and told before and after a crash is the same.
#[track_caller]
fn expect_recovered(cluster: &mut Cluster) {
    let hash = cluster.state.hash();
    cluster.crash();
    assert_eq!(cluster.state.hash(), hash);
}

#[test]
fn a_merge_takes_the_place_of_its_sources() {
    for config in [tiny(), roomy()] {
        let mut cluster = cluster(config);
        let before = cluster.state.segment_summaries(1);
        assert_eq!(before.len(), 6);
        assert!(
            before
                .iter()
                .all(|it| it.live_extents == 2 && !it.is_leased)
        );
        let found = cluster.begin_merge(&[2, 1]).unwrap();
        let told: Vec<_> = found.iter().map(|it| it.summary.commit).collect();
        assert_eq!(told, [2, 1], "in the order of the request");
        let of_first: Vec<_> = found[1].extents.iter().map(|(at, _)| *at).collect();
        assert_eq!(of_first, [at(1, 0), at(1, 1)]);
        let leased: Vec<_> = cluster.state.segment_summaries(1);
        let leased: Vec<_> = leased.iter().filter(|it| it.is_leased).collect();
        assert_eq!(leased.len(), 2);
        let merge = merge_of(cluster.next_segment(), 1, &found);
        let high_watermark = cluster.bounds(at(1, 0));
        assert_eq!(cluster.complete_merge(&merge), Ok(()));
        assert_eq!(cluster.bounds(at(1, 0)), high_watermark);
        for _ in 0..2 {
            let extents = cluster.extents(at(1, 0));
            let expected = [
                (0, 20, 1),
                (20, 30, 0),
                (30, 40, 0),
                (40, 50, 0),
                (50, 60, 0),
            ];
            assert_eq!(offsets(&extents), expected);
            assert_eq!(extents[0].segment, merge.segment);
            assert_eq!(extents[0].position_bytes, merge.extents[0].position_bytes);
            let by_time = cluster.state.extent_for_timestamp(at(1, 0), 0);
            assert_eq!(by_time, Some(extents[0]));
            assert_eq!(
                offsets(&cluster.extents(at(1, 1))),
                [(0, 5, 1), (5, 12, 0), (12, 21, 0)]
            );
            assert_eq!(cluster.live(), [3, 4, 5, 6, 7]);
            assert_eq!(cluster.dead(), [1, 2]);
            let summary = cluster.state.segment_summaries(2).pop().unwrap();
            let SegmentSummaryOf { level, live, size } = summary_of(&summary);
            assert_eq!((level, live, size), (1, 3, merge.size_bytes));
            assert_eq!(cluster.state.segment_summaries(1).len(), 4);
            expect_recovered(&mut cluster);
        }
        // Of merged segments another is made, with one as ingested.
        let second = cluster.merge(&[7, 3], 2);
        assert_eq!(second.extents.len(), 3);
        let expected = [(0, 30, 2), (30, 40, 0), (40, 50, 0), (50, 60, 0)];
        assert_eq!(offsets(&cluster.extents(at(1, 0))), expected);
        assert_eq!(cluster.dead(), [1, 2, 3, 7]);
        expect_recovered(&mut cluster);
        assert_eq!(offsets(&cluster.extents(at(1, 0))), expected);
    }
}

struct SegmentSummaryOf {
    level: u8,
    live: u64,
    size: u64,
}

fn summary_of(it: &crate::api::objects::SegmentSummary) -> SegmentSummaryOf {
    SegmentSummaryOf {
        level: it.level,
        live: it.live_extents,
        size: it.size_bytes,
    }
}

#[test]
fn a_repeated_completion_succeeds_however_late() {
    let mut cluster = cluster(tiny());
    let merge = cluster.merge(&[1, 2, 3], 1);
    assert_eq!(cluster.extents(at(1, 0)).len(), 4);
    assert_eq!(cluster.complete_merge(&merge), Ok(()));
    for _ in 0..10 {
        cluster.produce(at(2, 0), &[plain(1)]);
    }
    assert_eq!(
        cluster.complete_merge(&merge),
        Ok(()),
        "its row is not in memory"
    );
    cluster.crash();
    assert_eq!(cluster.complete_merge(&merge), Ok(()));
    // And when what it made was merged again, and is gone.
    cluster.merge(&[7, 4], 2);
    cluster.forget(&[1, 2, 3, 4, 7]);
    assert_eq!(cluster.complete_merge(&merge), Ok(()));
    assert_eq!(
        offsets(&cluster.extents(at(1, 0))),
        [(0, 40, 2), (40, 50, 0), (50, 60, 0)]
    );
    cluster.refuse_old_names();
    let too_old = MergeError::TooOld {
        write_epoch: 1,
        lowest: 2,
    };
    assert_eq!(cluster.complete_merge(&merge), Err(too_old));
}

#[test]
fn of_two_merges_of_the_same_sources_one_completes() {
    let mut cluster = cluster(roomy());
    let found = cluster.begin_merge(&[1, 2, 3]).unwrap();
    assert_eq!(cluster.begin_merge(&[3, 4]), None, "3 is leased");
    let first = merge_of(cluster.next_segment(), 1, &found);
    let second = merge_of(cluster.next_segment(), 1, &found);
    assert_eq!(cluster.complete_merge(&second), Ok(()));
    assert_eq!(cluster.complete_merge(&first), Err(MergeError::Stale));
    assert_eq!(cluster.extents(at(1, 0))[0].segment, second.segment);
    assert_eq!(cluster.live(), [4, 5, 6, 7]);
    assert!(cluster.begin_merge(&[4, 5]).is_some());
}

#[test]
fn a_merge_of_which_a_part_was_replaced_changes_nothing() {
    let mut cluster = cluster(roomy());
    let found = cluster.begin_merge(&[1, 2, 3, 4]).unwrap();
    let late = merge_of(cluster.next_segment(), 1, &found);
    cluster.now_ms += LEASE_MS;
    cluster.merge(&[4], 1);
    let before = (cluster.extents(at(1, 0)), cluster.extents(at(1, 1)));
    assert_eq!(cluster.complete_merge(&late), Err(MergeError::Stale));
    let after = (cluster.extents(at(1, 0)), cluster.extents(at(1, 1)));
    assert_eq!(before, after, "(1, 1) could have been replaced");
    assert_eq!(cluster.dead(), [4]);
    // The others are merged without it.
    let found = cluster.begin_merge(&[1, 2, 3]).unwrap();
    let merge = merge_of(cluster.next_segment(), 1, &found);
    assert_eq!(cluster.complete_merge(&merge), Ok(()));
    expect_recovered(&mut cluster);
}

#[test]
fn a_lease_ends_by_time_by_completion_and_with_the_owner() {
    let mut cluster = cluster(roomy());
    assert!(cluster.begin_merge(&[1, 2]).is_some());
    assert_eq!(cluster.begin_merge(&[2]), None);
    cluster.now_ms += LEASE_MS - 1;
    assert_eq!(cluster.begin_merge(&[1]), None);
    cluster.now_ms += 1;
    assert!(cluster.begin_merge(&[1]).is_some());
    cluster.crash();
    assert!(cluster.begin_merge(&[1]).is_some());
    let for_ever = Command::BeginMerge {
        sources: vec![2],
        lease_ms: i64::MAX,
    };
    assert!(matches!(
        cluster.run(for_ever),
        Reply::MergeSources(Some(_))
    ));
    assert_eq!(cluster.begin_merge(&[2]), None);
    cluster.now_ms += 60 * 60 * 1000;
    assert!(cluster.begin_merge(&[2]).is_some(), "no lease is for ever");
    cluster.now_ms += LEASE_MS;
    // Merged in part: what is left is free again.
    let found = cluster.begin_merge(&[3]).unwrap();
    let mut merge = merge_of(cluster.next_segment(), 1, &found);
    merge.extents.truncate(1);
    assert_eq!(cluster.complete_merge(&merge), Ok(()));
    let left = cluster.begin_merge(&[3]).unwrap();
    assert_eq!(left[0].extents.len(), 1);
    assert_eq!(left[0].summary.live_extents, 1);
}

#[test]
fn only_live_segments_are_merged_each_once() {
    let mut cluster = cluster(roomy());
    cluster.merge(&[1, 2], 1);
    for sources in [&[1][..], &[0], &[99], &[3, 3], &[3, 2]] {
        assert_eq!(cluster.begin_merge(sources), None, "{sources:?}");
    }
    let many: Vec<u64> = (0..1025).collect();
    assert_eq!(cluster.begin_merge(&many), None);
    assert!(cluster.begin_merge(&[3]).is_some(), "no lease was taken");
    assert_eq!(cluster.begin_merge(&[]), Some(Vec::new()));
}

#[test]
fn topics_that_were_deleted_meanwhile_are_left_out() {
    let mut cluster = cluster(roomy());
    let found = cluster.begin_merge(&[1, 2]).unwrap();
    let merge = merge_of(cluster.next_segment(), 1, &found);
    assert_eq!(merge.extents.len(), 3);
    cluster.run(Command::DeleteTopic(topic_id(2)));
    assert_eq!(cluster.complete_merge(&merge), Ok(()));
    let summary = cluster.state.segment_summaries(2).pop().unwrap();
    assert_eq!(summary.live_extents, 2);
    expect_recovered(&mut cluster);
    let found = cluster.begin_merge(&[3, 4]).unwrap();
    let merge = merge_of(cluster.next_segment(), 1, &found);
    cluster.run(Command::DeleteTopic(topic_id(1)));
    assert!(cluster.live().is_empty());
    assert_eq!(cluster.dead().len(), 7);
    assert_eq!(
        cluster.complete_merge(&merge),
        Err(MergeError::Stale),
        "nothing is alive"
    );
    expect_recovered(&mut cluster);
}

#[test]
fn a_log_start_may_pass_sources_or_stop_in_them() {
    for (log_start, first) in [(10, 0), (15, 0), (20, 0), (29, 0), (30, 30)] {
        let mut cluster = cluster(roomy());
        let found = cluster.begin_merge(&[1, 2, 3]).unwrap();
        let merge = merge_of(cluster.next_segment(), 1, &found);
        cluster.run(Command::MoveLogStart(vec![(at(1, 0), log_start)]));
        assert_eq!(
            cluster.complete_merge(&merge),
            Ok(()),
            "log start {log_start}"
        );
        let extents = cluster.extents(at(1, 0));
        assert_eq!(extents[0].base_offset, first, "log start {log_start}");
        assert_eq!(cluster.bounds(at(1, 0)).log_start, log_start);
        assert_eq!(cluster.live(), [4, 5, 6, 7]);
        expect_recovered(&mut cluster);
        assert_eq!(cluster.extents(at(1, 0)), extents);
        cluster.run(Command::MoveLogStart(vec![(at(1, 0), 30)]));
        assert_eq!(cluster.extents(at(1, 0))[0].base_offset, 30);
        expect_recovered(&mut cluster);
    }
    // Only the front may be missing.
    let mut cluster = cluster(roomy());
    cluster.merge(&[2], 1);
    let found = cluster.begin_merge(&[1, 3]).unwrap();
    let mut merge = merge_of(cluster.next_segment(), 1, &found);
    let (one, other) = (merge.extents[0], merge.extents[1]);
    assert_eq!((one.end_offset, other.base_offset), (10, 20));
    merge.extents.remove(1);
    merge.extents[0].end_offset = other.end_offset;
    assert_eq!(cluster.complete_merge(&merge), Err(MergeError::Stale));
}

#[test]
fn extents_are_replaced_as_a_whole_and_by_their_sources() {
    let mut cluster = cluster(roomy());
    let found = cluster.begin_merge(&[1, 2]).unwrap();
    let whole = merge_of(cluster.next_segment(), 1, &found);
    let with = |change: fn(&mut MergeRequest)| {
        let mut merge = whole.clone();
        change(&mut merge);
        merge
    };
    let stale = [
        with(|merge| merge.extents[0].end_offset = 19),
        with(|merge| merge.extents[0].end_offset = 21),
        with(|merge| merge.extents[0].base_offset = 1),
        with(|merge| merge.sources = vec![1]),
        with(|merge| merge.sources = Vec::new()),
        with(|merge| merge.extents.clear()),
        with(|merge| merge.extents[0].partition = at(1, 7)).only_first(),
        with(|merge| merge.extents[0].end_offset = 1000),
    ];
    for merge in stale {
        assert_eq!(
            cluster.complete_merge(&merge),
            Err(MergeError::Stale),
            "{merge:?}"
        );
    }
    let malformed = [
        with(|merge| merge.level = 0),
        with(|merge| merge.extents.swap(0, 1)),
        with(|merge| merge.extents[1] = merge.extents[0]),
        with(|merge| merge.extents[0].base_offset = 20),
        with(|merge| merge.extents[0].base_offset = -1),
        with(|merge| merge.extents[0].end_offset = i64::MAX),
        with(|merge| merge.extents[0].partition.partition = -1),
        with(|merge| merge.extents[0].position_bytes = merge.size_bytes),
        with(|merge| merge.extents[0].position_bytes = u64::MAX),
        with(|merge| merge.sources = (0..2000).collect()),
    ];
    for merge in malformed {
        let reply = cluster.complete_merge(&merge);
        assert_eq!(reply, Err(MergeError::Malformed), "{merge:?}");
    }
    let stranger = with(|merge| merge.segment.incarnation = 2);
    let unknown = cluster.complete_merge(&stranger);
    assert_eq!(unknown, Err(MergeError::NotRegistered(2)));
    let later = with(|merge| merge.segment.write_epoch = 2);
    let unknown = cluster.complete_merge(&later);
    assert_eq!(unknown, Err(MergeError::NotRegistered(1)));
    assert_eq!(cluster.live(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(cluster.complete_merge(&whole), Ok(()));
}

trait OnlyFirst {
    fn only_first(self) -> Self;
}

impl OnlyFirst for MergeRequest {
    fn only_first(mut self) -> Self {
        self.extents.truncate(1);
        self
    }
}

#[test]
fn a_merged_extent_may_hold_no_bytes() {
    let mut cluster = cluster(roomy());
    let found = cluster.begin_merge(&[1, 2]).unwrap();
    let mut merge = merge_of(cluster.next_segment(), 1, &found);
    merge.extents[0].length_bytes = 0;
    assert_eq!(cluster.complete_merge(&merge), Ok(()));
    assert_eq!(cluster.extents(at(1, 0))[0].length_bytes, 0);
    expect_recovered(&mut cluster);
    assert_eq!(offsets(&cluster.extents(at(1, 0)))[0], (0, 20, 1));
}

#[test]
fn names_of_commits_and_merges_are_not_confused() {
    let mut cluster = cluster(roomy());
    let merge = cluster.merge(&[1, 2], 1);
    let commit = Command::Commit(request(merge.segment, &[(at(1, 0), &[plain(1)])]));
    for _ in 0..2 {
        let reply = cluster.run(commit.clone());
        let refused = CommitError::NotRegistered(merge.segment.incarnation);
        assert_eq!(reply, Reply::Committed(Err(refused)));
        cluster.crash();
    }
    let segment = cluster.state.segment_summaries(1)[0].segment;
    let misnamed = MergeRequest { segment, ..merge };
    assert_eq!(
        cluster.complete_merge(&misnamed),
        Err(MergeError::Malformed)
    );
}

#[test]
fn commits_go_on_between_and_after_merges() {
    let mut cluster = cluster(tiny());
    for round in 0..30 {
        let at_end = cluster.bounds(at(1, 0)).high_watermark;
        cluster.produce(at(1, 0), &[plain(2)]);
        cluster.produce(at(1, 0), &[plain(3)]);
        if round % 3 == 2 {
            let live = cluster.live();
            let some: Vec<u64> = live.into_iter().rev().take(4).collect();
            cluster.merge(&some, 1);
        }
        assert_eq!(cluster.bounds(at(1, 0)).high_watermark, at_end + 5);
        expect_recovered(&mut cluster);
    }
    let all = cluster.live();
    cluster.merge(&all, 3);
    assert_eq!(offsets(&cluster.extents(at(1, 0))), [(0, 60 + 150, 3)]);
    assert_eq!(cluster.live().len(), 1);
    expect_recovered(&mut cluster);
}
