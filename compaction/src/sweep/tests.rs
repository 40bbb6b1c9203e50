use std::time::Duration;

use floe_storage::key;
use floe_storage::store::StoreErrorKind;
use floe_storage::store::fault::FaultPlan;

use floe_metadata::steady_clock::SteadyClock;
use object_store::path::Path;

use super::*;
use crate::testing::{Bucket, LINEAGE, Rig, START_MS, id};

fn doomed(count: u64) -> Vec<Doomed<u64>> {
    let one = |counter| Doomed {
        path: key::segment(LINEAGE, 0, id(1, counter)),
        what: counter,
    };
    (0..count).map(one).collect()
}

#[tokio::test(start_paused = true)]
async fn deleting_is_the_same_the_second_time() {
    let bucket = Bucket::new(1);
    let all = doomed(100);
    for it in &all {
        bucket.put(&it.path).await;
    }
    for round in ["there", "not there any more"] {
        let deleted = delete_all(&bucket.store, all.clone()).await;
        assert_eq!(deleted.gone.len(), 100, "{round}");
        assert!(deleted.failure.is_none(), "{round}");
        assert_eq!(bucket.names().await, [], "{round}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_in_trouble_is_left_alone() {
    let bucket = Bucket::new(1);
    let all = doomed(500);
    for it in &all {
        bucket.put(&it.path).await;
    }
    let outage = Duration::ZERO..Duration::from_secs(3600);
    bucket.faults.set_plan(FaultPlan {
        outages: vec![outage],
        ..FaultPlan::none()
    });
    let deleted = delete_all(&bucket.store, all.clone()).await;
    assert_eq!(deleted.gone.len(), 0);
    assert_eq!(
        deleted.failure.map(|error| error.kind()),
        Some(StoreErrorKind::Unreachable)
    );
    assert_eq!(bucket.names().await.len(), 500);
    let asked = bucket
        .store
        .request_counts()
        .total(floe_storage::store::Operation::Delete);
    assert!(asked < 500, "{asked} requests to a store that is down");
}

#[tokio::test(start_paused = true)]
async fn what_is_said_to_be_gone_is_gone() {
    for seed in 0..20 {
        let bucket = Bucket::new(seed);
        let mut left = doomed(60);
        for it in &left {
            bucket.put(&it.path).await;
        }
        bucket.faults.set_plan(FaultPlan {
            throttled_rate: 0.1,
            failed_rate: 0.1,
            lost_reply_rate: 0.1,
            late_effect_rate: 0.1,
            late_max: Duration::from_secs(300),
            hang_rate: 0.05,
            ..FaultPlan::none()
        });
        while !left.is_empty() {
            let deleted = delete_all(&bucket.store, left.clone()).await;
            let names = bucket.names().await;
            for it in &deleted.gone {
                assert!(!names.contains(&it.path), "{}", it.path);
            }
            left.retain(|it| !deleted.gone.iter().any(|gone| gone.path == it.path));
        }
        assert_eq!(bucket.names().await, []);
    }
}

/// How long dead objects are kept in these tests.
const GRACE: Duration = Duration::from_secs(900);

fn start(rig: &Rig, is_dry_run: bool) -> (Arc<Figures>, CancellationToken) {
    let figures = Arc::new(Figures::default());
    let parts = SweepParts {
        client: rig.client.clone(),
        store: rig.bucket.store.clone(),
        lineages: rig.lineages.clone(),
        every: Duration::from_secs(60),
        grace: GRACE,
        is_dry_run,
        steady: SteadyClock::simulated(),
        figures: Arc::clone(&figures),
    };
    let stopping = CancellationToken::new();
    rig.tasks.spawn(run(parts, stopping.clone()));
    (figures, stopping)
}

/// A rig whose topic has lost the first of two segments: what is dead, and what lives.
async fn with_dead(seed: u64) -> (Rig, Path, Path) {
    let mut rig = Rig::new(seed).await;
    let (_, dead) = rig.segment(START_MS).await;
    let (_, live) = rig.segment(START_MS).await;
    rig.drop_records(10).await;
    (rig, dead, live)
}

#[tokio::test(start_paused = true)]
async fn a_dead_object_is_deleted_after_the_grace_and_no_sooner() {
    let (rig, dead, live) = with_dead(1).await;
    let (figures, _stopping) = start(&rig, false);
    tokio::time::sleep(GRACE - Duration::from_secs(1)).await;
    let mut both = vec![dead.clone(), live.clone()];
    both.sort_unstable();
    assert_eq!(rig.bucket.names().await, both);
    assert_eq!(Figures::read(&figures.objects_dead), 1, "it waits");
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(rig.bucket.names().await, std::slice::from_ref(&live));
    assert_eq!(rig.client.dead_objects(0, 10).await.unwrap(), []);
    assert_eq!(Figures::read(&figures.objects_deleted), 1);
    assert_eq!(Figures::read(&figures.bytes_deleted), 1000);
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(rig.bucket.names().await, [live], "what lives stays");
    assert_eq!(Figures::read(&figures.objects_dead), 0);
}

#[tokio::test(start_paused = true)]
async fn cluster_time_that_jumps_does_not_shorten_the_grace() {
    for idle_hours in [0, 1, 10, 100] {
        let mut rig = Rig::new(1).await;
        let (_, dead) = rig.segment(START_MS).await;
        tokio::time::sleep(Duration::from_secs(idle_hours * 3600)).await;
        let (_figures, _stopping) = start(&rig, false);
        rig.drop_records(10).await;
        for _ in 0..85 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            // Commands, each of which moves cluster time by up to an hour.
            rig.segment(START_MS).await;
            let names = rig.bucket.names().await;
            assert!(names.contains(&dead), "after {idle_hours} hours");
        }
        // Until cluster time has caught up.
        for _ in 0..200 {
            rig.drop_records(0).await;
        }
        tokio::time::sleep(Duration::from_secs(300)).await;
        let names = rig.bucket.names().await;
        assert!(!names.contains(&dead), "after {idle_hours} hours");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_deleted_without_metadata() {
    let (rig, ..) = with_dead(1).await;
    let (figures, _stopping) = start(&rig, false);
    rig.service.kill();
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(rig.bucket.names().await.len(), 2);
    assert_eq!(Figures::read(&figures.objects_deleted), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_deletes_and_forgets_nothing() {
    let (rig, ..) = with_dead(1).await;
    let (figures, _stopping) = start(&rig, true);
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(rig.bucket.names().await.len(), 2);
    assert_eq!(rig.client.dead_objects(0, 10).await.unwrap().len(), 1);
    assert_eq!(Figures::read(&figures.objects_deleted), 0);
    assert_eq!(Figures::read(&figures.objects_dead), 1);
}

#[tokio::test(start_paused = true)]
async fn an_object_is_forgotten_only_when_it_is_surely_gone() {
    for seed in 0..8 {
        let (rig, dead, live) = with_dead(seed).await;
        let plan = FaultPlan {
            throttled_rate: 0.2,
            failed_rate: 0.2,
            lost_reply_rate: 0.3,
            hang_rate: 0.1,
            late_effect_rate: 0.1,
            late_max: Duration::from_secs(600),
            ..FaultPlan::none()
        };
        rig.bucket.faults.set_plan(plan);
        let (_figures, _stopping) = start(&rig, false);
        let mut was_forgotten = false;
        for _ in 0..400 {
            tokio::time::sleep(Duration::from_secs(10)).await;
            let known = rig.client.dead_objects(0, 10).await.unwrap();
            if known.is_empty() {
                was_forgotten = true;
                assert!(!rig.bucket.names().await.contains(&dead), "seed {seed}");
            }
        }
        assert!(was_forgotten, "seed {seed}");
        assert_eq!(rig.bucket.names().await, [live], "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_it_is_told_to() {
    let (rig, ..) = with_dead(1).await;
    let (_figures, stopping) = start(&rig, false);
    tokio::time::sleep(Duration::from_secs(100)).await;
    stopping.cancel();
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(rig.bucket.names().await.len(), 2);
}
