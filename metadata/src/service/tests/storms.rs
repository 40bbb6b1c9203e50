//! Processes that commit through connections that break and owners that change: every commit is answered,
//! offsets are dense and in order, nothing is doubled.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::faults::commit_all;
use super::*;
use crate::api::PartitionBounds;
use crate::client::view::View;
use crate::testing::{calm, owner};

/// Commits of each process.
const COMMITS: u64 = 300;
/// Processes that stay all the time, by their number; they commit, and the first of them watches.
const STAYING: [u8; 2] = [1, 2];
/// The first of those that come and go; it is the first owner.
const VISITOR: u8 = 10;

/// Breaks connections, silences processes, and replaces the one that comes and goes, until told to stop.
async fn storm(world: World, visitor: Service, seed: u64, stop: CancellationToken) -> u32 {
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut visiting, mut visitor) = (Some(visitor), VISITOR);
    let mut changes = 0;
    while !stop.is_cancelled() {
        let pause = Duration::from_millis(random.random_range(1..200));
        tokio::time::sleep(pause).await;
        let someone = [STAYING[0], STAYING[1], visitor][random.random_range(0..3)];
        match random.random_range(0..8) {
            0..3 => world.network.disconnect(&owner(someone).address),
            3..5 => {
                world.silence(someone, true);
                let long = Duration::from_millis(random.random_range(1..2000));
                tokio::time::sleep(long).await;
                world.silence(someone, false);
            }
            _ => {
                if let Some(gone) = visiting.take() {
                    if random.random() {
                        world.kill(visitor, &gone);
                    } else {
                        gone.release().await;
                        world.network.kill(&owner(visitor).address);
                    }
                    changes += 1;
                }
                visitor += 1;
                visiting = world.start(visitor).await.ok();
            }
        }
    }
    changes
}

/// One run; what can be told of it, to be compared with another run of the same seed.
async fn run(seed: u64) -> (u64, Duration, u32) {
    let started = Instant::now();
    let world = World::new(seed, calm());
    // In half of the runs those that stay only follow.
    let mut services = Vec::new();
    let visitor = world.start(VISITOR).await.unwrap();
    visitor
        .client()
        .create_topic(new_topic(1, 2))
        .await
        .unwrap();
    for process in STAYING {
        let config = ServiceConfig {
            may_own: seed.is_multiple_of(2),
            ..world.config(process)
        };
        services.push(world.start_with(config).await.unwrap());
    }
    let view = View::start(services[0].client(), &world.tasks, CancellationToken::new());
    let stop = CancellationToken::new();
    let mut storms = JoinSet::new();
    storms.spawn(storm(world.clone(), visitor, seed, stop.clone()));
    let mut lanes = JoinSet::new();
    for ((service, process), index) in services.iter().zip(STAYING).zip(0..) {
        let client = service.client();
        lanes.spawn(async move {
            let registration = until_answered(&client, |client| async move {
                client.register(new_process(process)).await
            });
            let incarnation = registration.await.incarnation;
            let mut lane = client.lane();
            let to = partition(1, index);
            commit_all(&client, &mut lane, (incarnation, to), COMMITS).await
        });
    }
    while let Some(found) = lanes.join_next().await {
        let found = found.unwrap();
        let expected: Vec<_> = (0..i64::try_from(COMMITS).unwrap()).collect();
        assert_eq!(found, expected, "seed {seed}");
    }
    stop.cancel();
    let changes = storms.join_next().await.unwrap().unwrap();
    let client = services[1].client();
    let last = until_answered(&client, |client| async move {
        client.bounds(vec![partition(1, 0), partition(1, 1)]).await
    });
    for bounds in last.await {
        let end = bounds.unwrap().high_watermark;
        assert_eq!(end, i64::try_from(COMMITS).unwrap(), "seed {seed}");
    }
    // The view has followed all of it without a hole, or it would have panicked.
    let seen = |bounds: PartitionBounds| bounds.high_watermark.unsigned_abs() == COMMITS;
    while !view.bounds(partition(1, 1)).is_some_and(seen) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let owner = services[1].client().owner();
    let client::Owner::Ready { term, .. } = owner else {
        panic!("{owner:?}")
    };
    (term, started.elapsed(), changes)
}

#[tokio::test(start_paused = true)]
async fn commits_keep_their_order_and_none_is_doubled() {
    let (mut terms, mut changes) = (0, 0);
    for seed in 0..16 {
        let bounded = tokio::time::timeout(Duration::from_secs(3600), run(seed));
        let (term, _, changed) = bounded
            .await
            .unwrap_or_else(|_| panic!("seed {seed} hangs"));
        terms += term;
        changes += changed;
    }
    assert!(
        terms > 80 && changes > 30,
        "{terms} terms, {changes} visits"
    );
}

#[test]
fn a_seed_is_one_story() {
    let told = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(seed))
    };
    for seed in 0..4 {
        assert_eq!(told(seed), told(seed), "seed {seed}");
    }
}
