//! Merges over a cluster in memory: what is read stays the same, whatever goes wrong.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "tests count in small numbers"
)]

mod damage;

use std::time::Duration;

use floe_storage::store::fault::FaultPlan;
use floe_storage::store::{Caller, UploadOptions};
use tokio::time::{sleep, timeout};

use super::testing::{World, partition};
use super::*;
use crate::planner::PlannerConfig;

/// Everything is small: windows, parts, outputs.
fn small() -> MergeConfig {
    MergeConfig {
        read_bytes: 2_000,
        description_bytes: 1_200,
        output_bytes: 3_000,
        upload: UploadOptions {
            part_bytes: 700,
            parts_at_once: 2,
        },
    }
}

/// Merges as soon as there are two.
fn eager() -> PlannerConfig {
    PlannerConfig {
        level0_segments: 2,
        level1_segments: 2,
        job_sources_max: 5,
        ..PlannerConfig::default()
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % bound
    }

    fn batches(&mut self) -> Vec<(TopicPartition, usize, usize)> {
        let count = 1 + self.below(8);
        let batch = |_| {
            // Topic 3 does not exist: dead weight.
            let to = partition(1 + self.below(3) as u8, self.below(3) as i32);
            let size = if self.below(10) == 0 { 9_000 } else { 200 };
            (to, 1 + self.below(4) as usize, self.below(size) as usize)
        };
        (0..count).map(batch).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn level_0_becomes_one_object_with_final_offsets() {
    let mut world = World::new(1).await;
    for _ in 0..5 {
        let all = [0, 1, 2].map(|index| (partition(1, index), 2, 100));
        world.produce(&all).await;
        world
            .produce(&[(partition(2, 0), 1, 9_000), (partition(3, 0), 1, 5_000)])
            .await;
    }
    world.check("before").await;
    let spec = world.all_of_level(0).await;
    let (report, result) = world.merger(MergeConfig::default()).run(&spec).await;
    result.unwrap();
    assert_eq!((report.completed.len(), report.damaged_extents), (1, 0));
    assert_eq!(world.levels().await, [0, 1, 0]);
    world.check("after").await;
    for index in 0..3 {
        let extents = world.extents(partition(1, index)).await;
        assert_eq!(extents.len(), 1, "neighbours become one: {extents:?}");
        assert_eq!((extents[0].base_offset, extents[0].end_offset), (0, 10));
    }
    let path = world.lineages.segment(1, report.completed[0]);
    let object = world.store.get_whole(&path, Caller::Fetch).await.unwrap();
    let (footer, index) = floe_storage::segment::reader::parse(&object).unwrap();
    assert_eq!(
        (footer.level, footer.extent_count, footer.batch_count),
        (1, 4, 20)
    );
    assert!(
        index
            .extents
            .iter()
            .all(|extent| extent.base_offset == Some(0))
    );
    assert_eq!(report.written_bytes, object.len() as u64);
    assert!(
        report.read_bytes < 52_000 && object.len() < 52_000,
        "25,000 bytes of rejected batches are neither copied nor read: {} of {}",
        object.len(),
        report.read_bytes
    );
}

#[tokio::test(start_paused = true)]
async fn records_are_the_same_before_and_after_any_merges() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut world = World::new(seed).await;
        let merger = world.merger(small());
        for step in 0..40 {
            match random.below(20) {
                0..=11 => {
                    let batches = random.batches();
                    world.produce(&batches).await;
                }
                12 => {
                    let of = partition(1 + random.below(2) as u8, random.below(3) as i32);
                    world.move_log_start(of).await;
                }
                13 if step > 30 && random.below(3) == 0 => world.delete_topic(2).await,
                _ => {
                    for spec in world.plan(&eager()).await {
                        let (report, result) = merger.run(&spec).await;
                        result.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                        assert_eq!(report.damaged_extents, 0, "seed {seed}");
                        assert_eq!(report.orphans, [], "seed {seed}");
                    }
                }
            }
            world.check(&format!("seed {seed}, step {step}")).await;
        }
        // Until nothing is left to do: every segment comes to rest.
        while let [spec, ..] = world.plan(&eager()).await.as_slice() {
            merger.run(spec).await.1.unwrap();
        }
        let [level0, level1, _] = world.levels().await;
        assert!(level0 < 2 && level1 < 2, "seed {seed}: {level0} {level1}");
        world.check(&format!("seed {seed}, at the end")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_merge_may_stop_anywhere_and_another_takes_over() {
    let mut stopped = 0;
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut world = World::new(seed).await;
        for _ in 0..8 {
            let batches = random.batches();
            world.produce(&batches).await;
        }
        world.faults.set_plan(FaultPlan::healthy());
        let merger = world.merger(small());
        let spec = world.all_of_level(0).await;
        let cut = Duration::from_millis(random.below(1_500));
        stopped += u32::from(timeout(cut, merger.run(&spec)).await.is_err());
        world.faults.set_plan(FaultPlan::none());
        world
            .check(&format!("seed {seed}, stopped after {cut:?}"))
            .await;
        let taken = world.all_of_level(0).await;
        if !taken.sources.is_empty() {
            // Leases of the lost job run out.
            sleep(Duration::from_secs(120)).await;
            merger.run(&taken).await.1.unwrap();
        }
        assert_eq!(world.levels().await[0], 0, "seed {seed}");
        world.check(&format!("seed {seed}, taken over")).await;
    }
    assert!(stopped > 20, "{stopped} were stopped");
}

#[tokio::test(start_paused = true)]
async fn of_two_merges_of_the_same_sources_one_completes() {
    for seed in 0..30 {
        let mut random = Random(seed);
        let mut world = World::new(seed).await;
        for _ in 0..6 {
            let batches = random.batches();
            world.produce(&batches).await;
        }
        world.faults.set_plan(FaultPlan::healthy());
        let (one, two) = (world.merger(small()), world.merger(small()));
        let spec = world.all_of_level(0).await;
        let begun = one.client.begin_merge(spec.sources.clone(), 60_000);
        let sources = begun.await.unwrap().unwrap();
        let refused = two.run(&spec).await;
        assert!(
            matches!(refused.1, Err(MergeFailure::Taken)),
            "{:?}",
            refused.1
        );
        // One that does not know that its lease has run out.
        let (mut first, mut second) = (MergeReport::default(), MergeReport::default());
        let mut one = Job::new(&one, 1, sources.clone());
        let mut two = Job::new(&two, 1, sources);
        let (ran, ran_too) = tokio::join!(one.run(&mut first), two.run(&mut second));
        ran.unwrap();
        ran_too.unwrap();
        let outputs = first.completed.len() + first.orphans.len();
        assert_eq!(
            first.completed.len() + second.completed.len(),
            outputs,
            "seed {seed}"
        );
        world.faults.set_plan(FaultPlan::none());
        world.check(&format!("seed {seed}")).await;
        assert_eq!(world.levels().await[..2], [0, outputs], "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_on_a_bad_day_changes_no_record() {
    let (mut done, mut failed) = (0, 0);
    for seed in 0..60 {
        let mut random = Random(seed);
        let mut world = World::new(seed).await;
        for _ in 0..6 {
            let batches = random.batches();
            world.produce(&batches).await;
        }
        let part_bytes = if seed % 2 == 0 { 20_000 } else { 700 };
        let upload = UploadOptions {
            part_bytes,
            parts_at_once: 2,
        };
        let merger = world.merger(MergeConfig { upload, ..small() });
        world.faults.set_plan(FaultPlan::harsh());
        let spec = world.all_of_level(0).await;
        let (report, result) = merger.run(&spec).await;
        match result {
            Ok(()) => done += 1,
            Err(MergeFailure::Store(_) | MergeFailure::TooSlow(_)) => failed += 1,
            Err(error) => panic!("seed {seed}: {error}"),
        }
        world.faults.set_plan(FaultPlan::none());
        world.faults.settled().await;
        world.check(&format!("seed {seed}, {report:?}")).await;
    }
    assert!(done > 10 && failed > 3, "{done} {failed}");
}

#[tokio::test(start_paused = true)]
async fn what_is_deleted_or_moved_meanwhile_does_not_come_back() {
    for seed in 0..30 {
        let mut random = Random(seed);
        let mut world = World::new(seed).await;
        for _ in 0..8 {
            let batches = random.batches();
            world.produce(&batches).await;
        }
        let merger = world.merger(MergeConfig::default());
        let spec = world.all_of_level(0).await;
        let begun = merger.client.begin_merge(spec.sources.clone(), 60_000);
        let sources = begun.await.unwrap().unwrap();
        let mut report = MergeReport::default();
        if seed % 3 != 0 {
            world.delete_topic(2).await;
        }
        if seed % 3 != 1 {
            for index in 0..3 {
                world.move_log_start(partition(1, index)).await;
            }
        }
        Job::new(&merger, 1, sources)
            .run(&mut report)
            .await
            .unwrap();
        let outputs = report.completed.len() + report.orphans.len();
        assert_eq!(outputs, 1, "seed {seed}");
        world.check(&format!("seed {seed}, {report:?}")).await;
        // What was refused is merged by the next job.
        sleep(Duration::from_secs(120)).await;
        let spec = world.all_of_level(0).await;
        if !spec.sources.is_empty() {
            merger.run(&spec).await.1.unwrap();
        }
        assert_eq!(world.levels().await[0], 0, "seed {seed}");
        world.check(&format!("seed {seed}, at the end")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_level_is_cut_by_partitions_at_its_size() {
    let mut world = World::new(1).await;
    for _ in 0..4 {
        let all = [(1, 0), (1, 1), (2, 0), (2, 2)]
            .map(|(topic, index)| (partition(topic, index), 1, 1_000));
        world.produce(&all).await;
    }
    let config = MergeConfig {
        output_bytes: 5_000,
        ..MergeConfig::default()
    };
    let spec = JobSpec {
        level: FINAL_LEVEL,
        ..world.all_of_level(0).await
    };
    let (report, result) = world.merger(config).run(&spec).await;
    result.unwrap();
    assert_eq!(
        report.completed.len(),
        4,
        "a partition of 4,300 bytes in each"
    );
    assert_eq!(world.levels().await, [0, 0, 4]);
    world.check("after").await;
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_whatever_the_input() {
    let mut world = World::new(1).await;
    for _ in 0..40 {
        let all: Vec<_> = (0..60)
            .map(|number| (partition(1 + number % 2, i32::from(number) % 3), 1, 1_000))
            .collect();
        world.produce(&all).await;
    }
    let config = MergeConfig {
        read_bytes: 100_000,
        description_bytes: 40_000,
        output_bytes: 300_000,
        upload: UploadOptions {
            part_bytes: 50_000,
            parts_at_once: 2,
        },
    };
    let spec = world.all_of_level(0).await;
    let input: u64 = world
        .live()
        .await
        .iter()
        .map(|segment| segment.size_bytes)
        .sum();
    assert!(input > 2_400_000);
    let (report, result) = world.merger(config).run(&spec).await;
    result.unwrap();
    // Two windows of each source, three parts, the description, and what one extent adds to each.
    let bound = 100_000 + 150_000 + 40_000 + 40 * 1_100 + 10_000;
    assert!(
        report.held_bytes_max <= bound,
        "{} bytes",
        report.held_bytes_max
    );
    assert!(
        report.held_bytes_max > 100_000,
        "{} bytes",
        report.held_bytes_max
    );
    assert!(
        report.read_bytes < input + input / 20,
        "{} of {input} read",
        report.read_bytes
    );
    world.check("after").await;
}
