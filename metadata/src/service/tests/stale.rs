//! What is old and looks new: owners that were overtaken, claims that came to nothing, slow stores.

use std::cell::Cell;

use bytes::Bytes;
use floe_storage::key::{self, Lineage};
use floe_storage::store::Caller;
use floe_storage::store::fault::{FaultPlan, FaultStore};
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;

use super::*;
use crate::engine::Engine;
use crate::ownership::ClaimError;
use crate::testing::{calm, owner, store_over};

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

/// Whatever a slow look at the store shows in the end, the process that looks finds its place.
#[tokio::test(start_paused = true)]
async fn owners_may_change_while_a_slow_store_lists_them() {
    for begin_ms in (0..5_000).step_by(50) {
        let base: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let world = World {
            store: store_over(Arc::clone(&base)),
            ..World::calm()
        };
        let plan = FaultPlan {
            latency_median: Duration::from_secs(2),
            latency_sigma: 0.0,
            ..FaultPlan::none()
        };
        let slow = ServiceConfig {
            store: store_over(Arc::new(FaultStore::new(base, plan, 1))),
            ..world.config(9)
        };
        let first = world.start(1).await.unwrap();
        let others = async {
            tokio::time::sleep(Duration::from_millis(begin_ms)).await;
            first.release().await;
            world.network.kill(&owner(1).address);
            for process in [2, 3] {
                let service = world.start(process).await.unwrap();
                service.release().await;
                world.network.kill(&owner(process).address);
            }
        };
        let (late, ()) = tokio::join!(world.start_with(slow), others);
        let late = late.unwrap_or_else(|error| panic!("{begin_ms} ms: {error}"));
        let client = late.client();
        let asked = until_answered(&client, |client| async move { client.bounds(vec![]).await });
        assert_eq!(asked.await, []);
    }
}

async fn marks(world: &World) -> Vec<u64> {
    let lineage = Lineage([1; 16]);
    let names = world.store.list(&key::epochs(lineage), Caller::Metadata);
    let names: Vec<_> = names.try_collect().await.unwrap();
    let marks = names
        .iter()
        .filter_map(|it| key::parse_durable(lineage, &it.location));
    marks.collect()
}

#[tokio::test(start_paused = true)]
async fn rows_that_were_set_back_are_refused() {
    let world = World::calm();
    let (first, incarnation) = with_topic(&world, 1).await;
    assert!(marks(&world).await.is_empty());
    let mut before = Vec::new();
    for counter in 0..3 {
        let request = commit(incarnation, counter, &[partition(1, 0)], 1);
        let revision = first.client().commit(request).await.unwrap().revision;
        tokio::time::sleep(Duration::from_secs(11)).await;
        // What is older than the newest mark is deleted.
        let now = marks(&world).await;
        assert!(matches!(now[..], [it] if it >= revision), "{now:?}");
        before = now;
    }
    // Idle: nothing is written.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(marks(&world).await, before);
    let request = commit(incarnation, 3, &[partition(1, 0)], 1);
    let last = first.client().commit(request).await.unwrap().revision;
    first.release().await;
    assert_eq!(marks(&world).await, [last]);

    // The same rows are good; rows that lack what was marked are not, and are not touched.
    let second = world.start(2).await.unwrap();
    second.release().await;
    let epoch = world.engine.epoch().await.unwrap();
    let mark = key::durable(Lineage([1; 16]), last + 1);
    let text = vec![Bytes::from_static(b"any")];
    world
        .store
        .put_create(&mark, text, Caller::Metadata)
        .await
        .unwrap();
    for _ in 0..2 {
        let refused = world.start(3).await.unwrap_err();
        assert!(
            matches!(&refused, StartError::Claim(ClaimError::RowsBehind { found, durable })
                if (*found, *durable) == (last, last + 1)),
            "{refused}"
        );
    }
    assert_eq!(world.engine.epoch().await.unwrap(), epoch);
}
