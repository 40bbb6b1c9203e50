//! What is old and looks new: owners that were overtaken, claims that came to nothing, slow stores.

use std::cell::Cell;

use floe_storage::store::fault::{FaultPlan, FaultStore};
use object_store::memory::InMemory;
use tokio::task::JoinSet;

use super::*;
use crate::testing::{calm, store_over};

/// A successor whose first claims come to nothing still waits until the owner before it can no longer
/// answer reads.
#[tokio::test(start_paused = true)]
async fn a_successor_that_fails_at_first_is_not_read_past() {
    for seed in 0..30 {
        let world = World::new(seed, calm());
        let (first, incarnation) = with_topic(&world, 1).await;
        let second = world.start(2).await.unwrap();
        world.engine.set_faults(Faults {
            failed_acquisition: 0.7,
            ..calm()
        });
        world.silence(1, true);
        let acknowledged = Cell::new(None);
        let write = async {
            loop {
                let request = commit(incarnation, 0, &[partition(1, 0)], 1);
                let committed = second.client().commit(request).await.is_ok();
                if committed {
                    acknowledged.set(Some(Instant::now()));
                    return;
                }
                second.client().wait_for_owner().await.unwrap();
            }
        };
        let read = async {
            loop {
                let started = Instant::now();
                let bounds = first.client().bounds(vec![partition(1, 0)]).await;
                let is_late = acknowledged.get().is_some_and(|at| started > at);
                if let Ok(bounds) = bounds {
                    let end = bounds[0].unwrap().high_watermark;
                    assert!(!is_late || end == 1, "seed {seed}: a stale read");
                }
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        };
        let written = async {
            write.await;
            tokio::time::sleep(Duration::from_secs(2)).await;
        };
        tokio::select! {
            () = written => {}
            never = read => never,
        }
    }
}

/// An engine's epoch that is old when the newest claim is read is no engine that was set back.
#[tokio::test(start_paused = true)]
async fn owners_may_change_while_a_slow_store_lists_them() {
    let plan = FaultPlan {
        latency_median: Duration::from_millis(150),
        latency_sigma: 1.0,
        ..FaultPlan::none()
    };
    for seed in 0..6 {
        let base = FaultStore::new(Arc::new(InMemory::new()), plan.clone(), seed);
        let world = World {
            store: store_over(Arc::new(base)),
            ..World::new(seed, calm())
        };
        let started = [1, 2, 3, 4].map(|process| world.start(process));
        let services = futures::future::try_join_all(started).await.unwrap();
        // Whoever owns loses the engine again and again.
        world.engine.set_faults(Faults {
            lost_batch: 0.2,
            failed_acquisition: 0.2,
            ..calm()
        });
        let mut asking = JoinSet::new();
        for service in &services {
            let client = service.client();
            asking.spawn(async move {
                for _ in 0..40 {
                    until_answered(&client, |client| async move {
                        client.allocate_producer_ids().await
                    })
                    .await;
                }
            });
        }
        for turn in 0..40_u64 {
            let silenced = u8::try_from(turn % 4 + 1).unwrap();
            world.silence(silenced, true);
            tokio::time::sleep(Duration::from_millis(400 + 37 * turn)).await;
            world.silence(silenced, false);
        }
        while let Some(asked) = asking.join_next().await {
            asked.unwrap();
        }
        for service in &services {
            assert_ne!(service.client().owner(), client::Owner::Stopped);
        }
    }
}
