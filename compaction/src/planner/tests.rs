//! The planner alone, and an hour of its work in a simulated sequence.

#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "tests count in small numbers"
)]

use std::collections::BTreeSet;

use floe_storage::segment::SegmentId;
use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

fn segment(commit: u64, level: u8, size_bytes: u64, committed_ms: TimestampMs) -> SegmentSummary {
    SegmentSummary {
        commit,
        segment: SegmentId {
            write_epoch: 1,
            incarnation: 1,
            counter: commit,
        },
        level,
        size_bytes,
        live_extents: 10,
        committed_ms,
        is_leased: false,
    }
}

fn row(level: u8, count: u64, size_bytes: u64) -> Vec<SegmentSummary> {
    (0..count)
        .map(|commit| segment(commit, level, size_bytes, 0))
        .collect()
}

/// Sources and level of each job.
fn jobs(segments: &[SegmentSummary], now_ms: TimestampMs) -> Vec<(Vec<u64>, u8)> {
    let jobs = plan(segments, |_| false, now_ms, &PlannerConfig::default());
    jobs.into_iter()
        .map(|job| (job.sources, job.level))
        .collect()
}

#[test]
fn level_0_is_merged_by_count_bytes_or_age() {
    let all = |count| vec![((0..count).collect::<Vec<u64>>(), 1)];
    for (name, count, size, now_ms, expected) in [
        ("too few, too young", 31, MIB, 9_999, vec![]),
        ("many", 32, MIB, 0, all(32)),
        ("large", 4, 64 * MIB, 0, all(4)),
        ("a few that have waited", 8, MIB, 10_000, all(8)),
        ("nothing to gain", 7, MIB, 599_999, vec![]),
        ("at rest", 7, MIB, 600_000, all(7)),
        ("a single one at rest", 1, MIB, 600_000, all(1)),
        ("none", 0, MIB, 600_000, vec![]),
        ("not much more than usual", 50, MIB, 0, all(50)),
        ("a clock that is behind", 31, MIB, -5_000, vec![]),
    ] {
        assert_eq!(jobs(&row(0, count, size), now_ms), expected, "{name}");
    }
}

#[test]
fn level_1_is_merged_into_large_objects() {
    let all = |count| vec![((0..count).collect::<Vec<u64>>(), 2)];
    let hour = 3_600_000;
    for (name, count, size, now_ms, expected) in [
        ("few and small", 8, MIB, hour - 1, vec![]),
        ("some, of some size", 8, 32 * MIB, 0, all(8)),
        ("large", 4, 256 * MIB, 0, all(4)),
        ("many small ones", 32, MIB, 0, all(32)),
        ("two that have waited", 2, MIB, hour, all(2)),
        ("one that has waited", 1, MIB, 100 * hour, vec![]),
        ("one that is large", 1, 2048 * MIB, hour, vec![]),
    ] {
        assert_eq!(jobs(&row(1, count, size), now_ms), expected, "{name}");
    }
    assert_eq!(jobs(&row(2, 100, MIB), hour), vec![], "level 2 is final");
}

#[test]
fn leased_and_avoided_segments_cut_runs() {
    let mut segments = row(0, 100, MIB);
    segments[40].is_leased = true;
    let planned = plan(
        &segments,
        |commit| commit == 80,
        0,
        &PlannerConfig::default(),
    );
    let sources: Vec<_> = planned.into_iter().map(|job| job.sources).collect();
    assert_eq!(
        sources,
        vec![(0..40).collect::<Vec<_>>(), (41..80).collect()]
    );
}

#[test]
fn a_backlog_is_taken_in_larger_runs_and_at_once_to_the_last_level() {
    let planned = jobs(&row(0, 200, 8 * MIB), 0);
    assert_eq!(planned.len(), 2);
    assert_eq!((planned[0].0.len(), planned[0].1), (128, 2), "1 GiB");
    assert_eq!((planned[1].0.len(), planned[1].1), (72, 2), "the rest");
    let usual = jobs(&row(0, 40, 8 * MIB), 0);
    assert_eq!((usual.len(), usual[0].0.len(), usual[0].1), (1, 32, 1));
}

#[test]
fn jobs_are_bounded_by_sources_and_extents() {
    let small = jobs(&row(0, 1000, 1000), 0);
    assert!(small.iter().all(|(sources, _)| sources.len() <= 256));
    assert_eq!(
        small
            .iter()
            .map(|(sources, _)| sources.len())
            .sum::<usize>(),
        1000
    );
    let mut wide = row(0, 64, MIB);
    wide.iter_mut()
        .for_each(|segment| segment.live_extents = 100_000);
    assert!(jobs(&wide, 0).iter().all(|(sources, _)| sources.len() == 2));
    let mut wide = row(1, 64, MIB);
    wide.iter_mut()
        .for_each(|segment| segment.live_extents = 400_000);
    assert!(jobs(&wide, 0).iter().all(|(sources, _)| sources.len() == 2));
}

prop_compose! {
    fn any_segments()(
        raw in prop::collection::vec(
            (0u8..3, 1u64..600 * MIB, 1u64..200_000, 0i64..4_000_000, any::<bool>(), 0u8..8), 0..300,
        ),
    ) -> Vec<SegmentSummary> {
        (0..).zip(raw).map(|(commit, (level, size, live_extents, committed_ms, small, leased))| {
            SegmentSummary {
                live_extents,
                is_leased: leased == 0,
                ..segment(commit, level, if small { size / 1000 + 1 } else { size }, committed_ms)
            }
        }).collect()
    }
}

proptest! {
    #[test]
    fn no_segment_is_in_two_jobs_or_taken_from_somebody(segments in any_segments(), now_ms in 0i64..8_000_000) {
        let config = PlannerConfig::default();
        let is_avoided = |commit| commit % 7 == 3;
        let mut seen = BTreeSet::new();
        for job in plan(&segments, is_avoided, now_ms, &config) {
            prop_assert!(!job.sources.is_empty() && job.sources.len() <= config.job_sources_max);
            prop_assert!(job.level <= FINAL_LEVEL && job.level > job.from_level);
            prop_assert!(job.sources.is_sorted());
            let of_level: Vec<_> = segments.iter().filter(|s| s.level == job.from_level).collect();
            let first = of_level.iter().position(|s| s.commit == job.sources[0]).unwrap();
            let run = &of_level[first..first + job.sources.len()];
            prop_assert_eq!(bytes_of(run), job.size_bytes);
            let extents: u64 = run.iter().map(|s| s.live_extents).sum();
            prop_assert!(run.len() <= 2 || extents <= config.job_extents_max);
            for (source, commit) in run.iter().zip(&job.sources) {
                prop_assert_eq!(source.commit, *commit, "a run without holes");
                prop_assert!(!source.is_leased && !is_avoided(*commit));
                prop_assert!(seen.insert(*commit), "in one job only");
            }
        }
    }
}

/// What a simulated hour came to.
#[derive(Debug)]
struct Hour {
    amplification: f64,
    level0_live_max: usize,
    level0_age_max_ms: TimestampMs,
    live_at_end: Vec<SegmentSummary>,
}

/// An hour of `load`, which tells the sizes of the segments that come in each 100 ms, merged by one worker
/// that copies `bytes_per_ms`, with one job to each level at a time.
fn hour(mut load: impl FnMut(i64) -> Vec<u64>, bytes_per_ms: u64) -> Hour {
    const TICK_MS: i64 = 100;
    let config = PlannerConfig::default();
    let mut live: Vec<SegmentSummary> = Vec::new();
    let mut running: Vec<(i64, JobSpec)> = Vec::new();
    let (mut commit, mut ingested, mut written) = (0_u64, 0_u64, 0_u64);
    let (mut level0_live_max, mut level0_age_max_ms) = (0, 0);
    for now_ms in (0..3_600_000).step_by(TICK_MS as usize) {
        for size in load(now_ms) {
            live.push(segment(commit, 0, size, now_ms));
            commit += 1;
            ingested += size;
            written += size;
        }
        let (ended, still): (Vec<_>, Vec<_>) = running
            .into_iter()
            .partition(|(end_ms, _)| *end_ms <= now_ms);
        running = still;
        for (_, job) in &ended {
            live.retain(|segment| !job.sources.contains(&segment.commit));
            written += job.size_bytes;
            live.push(segment(commit, job.level, job.size_bytes, now_ms));
            commit += 1;
        }
        // Every 2 s, and at once when a job has ended.
        if now_ms % 2_000 == 0 || !ended.is_empty() {
            for job in plan(&live, |_| false, now_ms, &config) {
                if running
                    .iter()
                    .any(|(_, other)| other.from_level == job.from_level)
                {
                    continue;
                }
                for segment in &mut live {
                    segment.is_leased |= job.sources.contains(&segment.commit);
                }
                let takes_ms = 500 + (job.size_bytes / bytes_per_ms) as i64;
                running.push((now_ms + takes_ms, job));
            }
        }
        let level0 = || live.iter().filter(|segment| segment.level == 0);
        level0_live_max = level0_live_max.max(level0().count());
        let oldest = level0().map(|segment| now_ms - segment.committed_ms).max();
        level0_age_max_ms = level0_age_max_ms.max(oldest.unwrap_or(0));
    }
    Hour {
        amplification: written as f64 / ingested.max(1) as f64,
        level0_live_max,
        level0_age_max_ms,
        live_at_end: live,
    }
}

#[test]
fn an_hour_of_steady_load_keeps_level_0_small_and_writes_bytes_three_times() {
    let mut seed = 1_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    type Load<'a> = Box<dyn FnMut(i64) -> Vec<u64> + 'a>;
    let loads: [(&str, Load<'_>, i64); 6] = [
        ("80 MiB/s", Box::new(|_| vec![8 * MIB]), 30_000),
        (
            "four agents, a flush each 250 ms",
            Box::new(|now| if now % 500 == 0 { vec![MIB; 8] } else { vec![] }),
            30_000,
        ),
        (
            "uneven",
            Box::new(move |_| (0..random(3)).map(|_| 1 + random(8 * MIB)).collect()),
            30_000,
        ),
        (
            "one small segment a second",
            Box::new(|now| {
                if now % 1_000 == 0 {
                    vec![100_000]
                } else {
                    vec![]
                }
            }),
            30_000,
        ),
        (
            "one each 20 s",
            Box::new(|now| {
                if now % 20_000 == 0 {
                    vec![100_000]
                } else {
                    vec![]
                }
            }),
            700_000,
        ),
        (
            "one each 15 minutes",
            Box::new(|now| {
                if now % 900_000 == 0 {
                    vec![1_000]
                } else {
                    vec![]
                }
            }),
            700_000,
        ),
    ];
    for (name, load, age_max_ms) in loads {
        let hour = hour(load, 150 * MIB / 1000);
        assert!(hour.amplification <= 3.2, "{name}: {}", hour.amplification);
        assert!(
            hour.level0_live_max <= 100,
            "{name}: {}",
            hour.level0_live_max
        );
        assert!(
            hour.level0_age_max_ms <= age_max_ms,
            "{name}: every segment is merged, the last after {} ms",
            hour.level0_age_max_ms
        );
        let level1 = hour.live_at_end.iter().filter(|s| s.level == 1).count();
        assert!(level1 < 64, "{name}: {level1} segments of level 1");
        let objects = hour.live_at_end.len();
        assert!(objects < 800, "{name}: {objects} objects");
    }
}

#[test]
fn a_backlog_falls() {
    // Twice what can be merged into two levels comes in for ten minutes, and a quarter of it then.
    let load = |now_ms: i64| {
        if now_ms < 600_000 {
            vec![8 * MIB; 2]
        } else if now_ms % 800 == 0 {
            vec![8 * MIB; 4]
        } else {
            vec![]
        }
    };
    let hour = hour(load, 100 * MIB / 1000);
    assert!(hour.level0_live_max > 100, "it was behind");
    let level0 = hour.live_at_end.iter().filter(|s| s.level == 0).count();
    assert!(level0 < 100, "{level0} are left");
    assert!(hour.amplification < 3.0, "{}", hour.amplification);
}
