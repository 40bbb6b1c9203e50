//! Aligned chunks, one GET for many, and what is left when readers go away.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures::future::join_all;
use object_store::memory::InMemory;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::store::fault::{Fate, FaultPlan, FaultStore};
use crate::store::{Operation, StoreOptions};

const MIB: usize = 1 << 20;

/// The same places in memory.
fn places(range: &Range<u64>) -> Range<usize> {
    range.start.try_into().unwrap()..range.end.try_into().unwrap()
}

/// Bytes in which every place is told from its neighbours.
fn object(length: usize) -> Bytes {
    let block: Vec<u8> = (0..65_521_u32)
        .map(|place| (place % 251).to_le_bytes()[0])
        .collect();
    block.iter().copied().cycle().take(length).collect()
}

/// A cache over a store that holds `objects` and goes wrong as `plan` says from then on.
async fn cache(
    objects: &[(&str, Bytes)],
    capacity_bytes: usize,
    plan: FaultPlan,
) -> (BlockCache, Store, FaultStore) {
    let faults = FaultStore::new(Arc::new(InMemory::new()), FaultPlan::none(), 1);
    let options = StoreOptions::default();
    let store = Store::new(Arc::new(faults.clone()), &Path::default(), &options, 1);
    for (name, bytes) in objects {
        store
            .put_create(&Path::from(*name), vec![bytes.clone()], Caller::Produce)
            .await
            .unwrap();
    }
    faults.set_plan(plan);
    (
        BlockCache::new(store.clone(), capacity_bytes),
        store,
        faults,
    )
}

fn gets(store: &Store) -> u64 {
    store.request_counts().total(Operation::Get)
}

fn under_way(cache: &BlockCache) -> usize {
    cache.inner.locked().under_way.len()
}

#[tokio::test(start_paused = true)]
async fn an_object_costs_one_get_per_chunk_however_it_is_read() {
    let bytes = object(9 * MIB + 5);
    let (cache, store, _) = cache(&[("a", bytes.clone())], 64 * MIB, FaultPlan::healthy()).await;
    let path = Path::from("a");
    let size = bytes.len() as u64;
    for start in (0..size).step_by(100_000) {
        let range = start..(start + 150_000).min(size);
        let pieces = cache.read(&path, Some(size), range.clone()).await.unwrap();
        let expected = &bytes[places(&range)];
        assert!(pieces.concat() == expected, "{range:?}");
    }
    assert_eq!(gets(&store), 3, "9 MiB are three chunks of 4");
    let stats = cache.stats();
    assert_eq!(stats.misses, 3);
    assert!((9 * MIB..10 * MIB).contains(&stats.used_bytes), "{stats:?}");
}

#[test]
fn any_range_is_the_range_of_the_object() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let bytes = object(8 * MIB + 17);
    let objects = [("a", bytes.clone())];
    // Room for one chunk: what is read falls out while it is read.
    let (cache, ..) = runtime.block_on(cache(&objects, 5 * MIB, FaultPlan::none()));
    let size = bytes.len() as u64;
    let mut runner = TestRunner::new(Config::with_cases(100));
    let near_borders = (0_u64..3, 0_u64..40, 0..size + 10);
    runner
        .run(&near_borders, |(chunk, place, length)| {
            let start = (chunk * CHUNK_BYTES + place).saturating_sub(20);
            let range = start..start.saturating_add(length);
            let read = runtime.block_on(cache.read(&Path::from("a"), None, range.clone()));
            if range.end > size && !range.is_empty() {
                prop_assert_eq!(read.unwrap_err().kind(), StoreErrorKind::Invalid);
            } else {
                let expected = &bytes[places(&range)];
                prop_assert!(read.unwrap().concat() == expected);
            }
            Ok(())
        })
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_size_of_the_object_saves_a_hopeless_question() {
    let (cache, store, _) = cache(&[("a", object(10))], MIB, FaultPlan::none()).await;
    let error = cache
        .read(&Path::from("a"), Some(10), 5..11)
        .await
        .unwrap_err();
    assert_eq!((error.kind(), gets(&store)), (StoreErrorKind::Invalid, 0));
    assert!(
        cache
            .read(&Path::from("a"), Some(10), 3..3)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn many_readers_make_one_get() {
    let bytes = object(4 * MIB);
    let (cache, store, _) = cache(&[("a", bytes.clone())], 64 * MIB, FaultPlan::healthy()).await;
    let path = Path::from("a");
    let reads = join_all((0..50).map(|start| cache.read(&path, None, start..start + 100))).await;
    for (start, pieces) in reads.into_iter().enumerate() {
        assert_eq!(pieces.unwrap().concat(), bytes[start..start + 100]);
    }
    assert_eq!((gets(&store), under_way(&cache)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_failed_get_fails_all_who_wait_and_is_not_kept() {
    let plan = FaultPlan {
        throttled_rate: 1.0,
        ..FaultPlan::healthy()
    };
    let (cache, store, faults) = cache(&[("a", object(100))], MIB, plan).await;
    let path = Path::from("a");
    let reads = join_all((0..10).map(|_| cache.read(&path, None, 0..10))).await;
    for read in reads {
        assert_eq!(read.unwrap_err().kind(), StoreErrorKind::Throttled);
    }
    let failed = gets(&store);
    assert!(failed < 30, "one request and its retries: {failed}");
    assert_eq!(under_way(&cache), 0);
    faults.set_plan(FaultPlan::healthy());
    assert!(cache.read(&path, None, 0..10).await.is_ok());
    assert_eq!(gets(&store), failed + 1);
    let missing = cache.read(&Path::from("b"), None, 0..10).await.unwrap_err();
    assert_eq!(missing.kind(), StoreErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_get_lives_as_long_as_someone_waits_for_it() {
    let plan = FaultPlan {
        latency_median: Duration::from_millis(100),
        ..FaultPlan::none()
    };
    let (cache, store, _) = cache(&[("a", object(100))], MIB, plan).await;
    let path = Path::from("a");
    let give_up = Duration::from_millis(50);
    let impatient = || tokio::time::timeout(give_up, cache.read(&path, None, 0..10));
    // The first reader started the GET and leaves; the others still get it.
    let (first, second, third) = tokio::join!(
        impatient(),
        cache.read(&path, None, 0..10),
        cache.read(&path, None, 1..11)
    );
    assert!(first.is_err());
    assert_eq!(
        (
            second.unwrap().concat().len(),
            third.unwrap().concat().len()
        ),
        (10, 10)
    );
    assert_eq!((gets(&store), under_way(&cache)), (1, 0));

    // Everyone leaves: nothing stays behind, and the next reader starts over.
    let path = Path::from("b");
    store
        .put_create(&path, vec![object(100)], Caller::Produce)
        .await
        .unwrap();
    let impatient = || tokio::time::timeout(give_up, cache.read(&path, None, 0..10));
    let (first, second) = tokio::join!(impatient(), impatient());
    assert!(first.is_err() && second.is_err());
    assert_eq!((gets(&store), under_way(&cache)), (2, 0));
    assert!(cache.read(&path, None, 0..10).await.is_ok());
    assert_eq!(gets(&store), 3);
}

#[tokio::test(start_paused = true)]
async fn a_short_body_is_never_kept() {
    let plan = FaultPlan {
        short_get_rate: 0.5,
        ..FaultPlan::healthy()
    };
    let names: Vec<_> = (0..40).map(|number| format!("{number}")).collect();
    let bytes = object(5_000);
    let objects: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), bytes.clone()))
        .collect();
    let (cache, _, faults) = cache(&objects, MIB, plan).await;
    for name in &names {
        let pieces = cache
            .read(&Path::from(name.as_str()), None, 0..5_000)
            .await
            .unwrap();
        assert_eq!(pieces.concat(), bytes);
    }
    assert!(faults.fates()[&Fate::ShortGet] > 10);
}

#[tokio::test(start_paused = true)]
async fn the_capacity_is_kept_and_what_is_read_often_stays() {
    let names: Vec<_> = (0..12).map(|number| format!("{number}")).collect();
    let bytes = object(MIB);
    let objects: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), bytes.clone()))
        .collect();
    let (cache, store, _) = cache(&objects, 4 * MIB, FaultPlan::none()).await;
    for name in &names {
        for often in [name.as_str(), "0"] {
            cache.read(&Path::from(often), None, 0..10).await.unwrap();
        }
        assert!(cache.stats().used_bytes <= 4 * MIB);
    }
    assert_eq!(gets(&store), 12, "the first one was never fetched again");
}

#[tokio::test(start_paused = true)]
async fn what_is_near_is_asked_for_once_and_before_the_store() {
    let (near, far) = (object(5 * MIB), object(3 * MIB));
    let objects = [("a", far.clone()), ("b", far.clone())];
    let (cache, store, _) = cache(&objects, 64 * MIB, FaultPlan::none()).await;
    let asked = AtomicU64::new(0);
    let given = |number: u64| {
        asked.fetch_add(1, Ordering::Relaxed);
        let start = usize::try_from(number * CHUNK_BYTES).unwrap();
        let bytes = near.slice(start..near.len().min(start + 4 * MIB));
        async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Some(Given { bytes, by: 7 })
        }
    };
    let path = Path::from("a");
    let reads =
        (0..20_u64).map(|start| cache.read_near(&path, start..start + (5 << 20) - 30, given));
    for (start, pieces) in join_all(reads).await.into_iter().enumerate() {
        assert!(pieces.unwrap().concat() == near[start..start + 5 * MIB - 30]);
    }
    assert_eq!(gets(&store), 0);
    // It turns out to be damaged, and whoever gave it is told.
    assert_eq!(cache.forget(&path, 0..5 << 20), [7, 7]);
    assert_eq!(cache.chunk(&path, 0).await.unwrap(), far);
    assert_eq!(cache.forget(&path, 0..5 << 20), []);

    // Nobody near has it: one GET for all, also for those who ask the store alone.
    let path = Path::from("b");
    let nobody = |_| async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        None
    };
    let (first, second, third) = tokio::join!(
        cache.read_near(&path, 0..10, nobody),
        cache.read_near(&path, 5..15, nobody),
        cache.read(&path, None, 0..10),
    );
    assert_eq!(first.unwrap(), third.unwrap());
    assert_eq!(second.unwrap().concat(), far[5..15]);
    assert_eq!((gets(&store), under_way(&cache)), (2, 0));
}

/// Objects of a chunk each, and a cache of two pools with room for `chunks` of them in each.
async fn pools(objects: usize, chunks: usize, plan: FaultPlan) -> (BlockCache, Store, FaultStore) {
    let bytes = object(4 * MIB);
    let names: Vec<_> = (0..objects).map(|number| number.to_string()).collect();
    let objects: Vec<_> = names
        .iter()
        .map(|name| (name.as_str(), bytes.clone()))
        .collect();
    let (_, store, faults) = cache(&objects, 0, plan).await;
    let room = chunks * (4 * MIB + 1024);
    let cache = BlockCache::with_pools(store.clone(), room, room);
    (cache, store, faults)
}

async fn read_one(cache: &BlockCache, number: usize) {
    let path = Path::from(number.to_string());
    let read = cache.read(&path, None, 0..10).await.unwrap();
    assert_eq!(read.concat(), object(10));
}

#[tokio::test(start_paused = true)]
async fn a_replay_does_not_push_the_tail_out() {
    let (tail, store, _) = pools(40, 3, FaultPlan::none()).await;
    let catch_up = tail.of_pool(Pool::CatchUp);
    for number in 0..3 {
        read_one(&tail, number).await;
    }
    for number in 3..40 {
        read_one(&catch_up, number).await;
    }
    assert_eq!(gets(&store), 40);
    for number in 0..3 {
        read_one(&tail, number).await;
    }
    assert_eq!(gets(&store), 40, "all of the tail is still there");
    // Either finds what the other has.
    for number in 0..3 {
        read_one(&catch_up, number).await;
    }
    read_one(&tail, 39).await;
    assert_eq!(gets(&store), 40);
    // What readers of the tail found there is theirs from then on.
    for number in 3..10 {
        read_one(&catch_up, number).await;
    }
    assert_eq!(gets(&store), 47);
    read_one(&tail, 39).await;
    assert_eq!(gets(&store), 47);
    assert_eq!(tail.pool_stats(Pool::Tail).misses, 3);
    assert_eq!(tail.pool_stats(Pool::CatchUp).misses, 44);
    assert_eq!(tail.stats().misses, 47);
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_goes_from_both_pools() {
    let (tail, store, _) = pools(1, 3, FaultPlan::none()).await;
    let catch_up = tail.of_pool(Pool::CatchUp);
    let given = |_| {
        let bytes = object(4 * MIB);
        async move { Some(Given { bytes, by: 7 }) }
    };
    let path = Path::from("0");
    catch_up.read_near(&path, 0..10, given).await.unwrap();
    read_one(&tail, 0).await;
    assert_eq!(gets(&store), 0);
    assert_eq!(tail.forget(&path, 0..10), [7, 7]);
    read_one(&tail, 0).await;
    assert_eq!(gets(&store), 1);
}

/// A replay with many reads under way waits for itself, and for nobody else; and each pool makes one GET
/// for all who miss a chunk.
#[tokio::test(start_paused = true)]
async fn a_replay_has_few_gets_under_way_and_the_tail_does_not_wait() {
    let plan = FaultPlan {
        latency_median: Duration::from_millis(100),
        ..FaultPlan::none()
    };
    // Half of the room of four chunks may be under way.
    let (tail, store, _) = pools(30, 4, plan).await;
    let catch_up = tail.of_pool(Pool::CatchUp);
    let replay = join_all((0..20).flat_map(|number| {
        let cache = &catch_up;
        [read_one(cache, number), read_one(cache, number)]
    }));
    let newest = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(gets(&store), 2);
        let began = tokio::time::Instant::now();
        join_all((20..30).flat_map(|number| [read_one(&tail, number), read_one(&tail, number)]))
            .await;
        assert!(began.elapsed() < Duration::from_millis(150));
        // The same chunk as the replay waits for.
        read_one(&tail, 19).await;
        assert!(began.elapsed() < Duration::from_millis(300));
    };
    tokio::join!(replay, newest);
    // The replay found the last one where the tail's readers had put it.
    assert!((30..=31).contains(&gets(&store)), "{}", gets(&store));
    assert_eq!(under_way(&tail), 0);
}
