//! The loop, over a cluster in memory.

use std::time::Duration;

use floe_storage::store::{Caller, Operation};
use tokio::time::sleep;

use super::*;
use crate::merge::MergeConfig;
use crate::merge::testing::{World, partition};

fn worker(world: &World, config: WorkerConfig) -> (Arc<Worker>, Arc<CompactionMetrics>) {
    let metrics = Arc::new(CompactionMetrics::default());
    let merger = world.merger(MergeConfig::default());
    let worker = Worker::new(merger, config, Arc::clone(&metrics));
    (Arc::new(worker), metrics)
}

/// Runs `worker` until the returned token is cancelled.
fn start(worker: &Arc<Worker>, tasks: &mut JoinSet<()>) -> CancellationToken {
    let (worker, stopping) = (Arc::clone(worker), CancellationToken::new());
    let stop = stopping.clone();
    tasks.spawn(async move { worker.run(stop).await });
    stopping
}

/// Requests of merges.
fn requests(world: &World) -> u64 {
    let counts = world.store.request_counts().snapshot();
    let merges = counts
        .iter()
        .filter(|count| count.caller == Caller::Compaction);
    merges.map(|count| count.requests).sum()
}

#[tokio::test(start_paused = true)]
async fn steady_load_is_merged_and_then_the_cluster_comes_to_rest() {
    let mut world = World::new(1).await;
    let (worker, metrics) = worker(&world, WorkerConfig::default());
    let (other, other_metrics) = self::worker(&world, WorkerConfig::default());
    let mut tasks = JoinSet::new();
    let stopping = [start(&worker, &mut tasks), start(&other, &mut tasks)];
    for _ in 0..600 {
        sleep(Duration::from_millis(250)).await;
        world
            .produce(&[(partition(1, 0), 1, 100), (partition(2, 1), 2, 50)])
            .await;
        assert!(world.levels().await[0] <= 100);
    }
    world.check("under load").await;
    sleep(Duration::from_secs(7_200)).await;
    let [level0, level1, level2] = world.levels().await;
    assert!(
        level0 == 0 && level1 <= 1 && level2 > 0,
        "{level0} {level1} {level2}"
    );
    world.check("at rest").await;
    let before = requests(&world);
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(
        requests(&world),
        before,
        "an idle cluster asks nothing of the store"
    );
    for stop in stopping {
        stop.cancel();
    }
    tasks.join_all().await;
    let merges = [metrics.levels(), other_metrics.levels()].concat();
    let outputs: u64 = merges.iter().map(|level| level.outputs).sum();
    assert!(outputs >= 10, "{merges:?}");
    assert!(
        merges
            .iter()
            .all(|level| level.failures == 0 && level.orphans == 0),
        "{merges:?}"
    );
    let written: u64 = merges.iter().map(|level| level.written_bytes).sum();
    assert!(written > 0 && metrics.damaged_extents() == 0);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_source_is_left_alone_for_a_while() {
    let mut world = World::new(1).await;
    let (worker, metrics) = worker(&world, WorkerConfig::default());
    let mut ids = Vec::new();
    for _ in 0..32 {
        ids.push(world.produce(&[(partition(1, 0), 1, 100)]).await);
    }
    world.tamper(0, ids[7], |bytes| bytes[100] ^= 1).await;
    assert_eq!(worker.run_once().await, 1);
    assert_eq!(world.levels().await, [1, 1, 0]);
    assert_eq!(metrics.damaged_extents(), 1);
    let gets = || world.store.request_counts().total(Operation::Get);
    let before = gets();
    let mut tasks = JoinSet::new();
    let stopping = start(&worker, &mut tasks);
    sleep(Duration::from_secs(3_000)).await;
    assert_eq!(gets(), before, "not looked at again");
    world.tamper(0, ids[7], |bytes| bytes[100] ^= 1).await;
    sleep(Duration::from_secs(1_000)).await;
    // The lease of the first job ends in cluster time, which goes on with commits.
    world.produce(&[(partition(1, 0), 1, 100)]).await;
    sleep(Duration::from_secs(3_000)).await;
    assert_eq!(
        world.levels().await[0],
        0,
        "mended, and tried again after an hour"
    );
    world.check("mended").await;
    stopping.cancel();
    tasks.join_all().await;
}

#[tokio::test(start_paused = true)]
async fn it_stops_at_once() {
    let mut world = World::new(1).await;
    for _ in 0..32 {
        world.produce(&[(partition(1, 0), 1, 100)]).await;
    }
    world
        .faults
        .set_plan(floe_storage::store::fault::FaultPlan {
            latency_median: Duration::from_secs(5),
            ..floe_storage::store::fault::FaultPlan::none()
        });
    let (worker, _) = worker(&world, WorkerConfig::default());
    let mut tasks = JoinSet::new();
    let stopping = start(&worker, &mut tasks);
    sleep(Duration::from_secs(1)).await;
    stopping.cancel();
    let started = Instant::now();
    tasks.join_all().await;
    assert!(started.elapsed() < Duration::from_millis(10));
    world
        .faults
        .set_plan(floe_storage::store::fault::FaultPlan::none());
    world.check("stopped").await;
}
