use std::time::Duration;

use floe_storage::store::fault::{FaultPlan, FaultStore};
use floe_storage::store::{Caller, Operation, Store as PoliteStore, StoreOptions};
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use tempfile::TempDir;

use super::*;
use crate::engine::conformance;

/// A store and, for folders, the folder that goes away with it.
struct Store {
    store: Arc<dyn ObjectStore>,
    options: SlateOptions,
    _folder: Option<TempDir>,
}

impl Store {
    fn over(store: Arc<dyn ObjectStore>) -> Self {
        Self {
            store,
            options: SlateOptions::bucket(),
            _folder: None,
        }
    }

    fn in_memory() -> Self {
        Self::over(Arc::new(InMemory::new()))
    }

    fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap());
        Self {
            store,
            options: SlateOptions::folder(),
            _folder: Some(folder),
        }
    }

    fn engine(&self, clock: Clock) -> SlateEngine {
        let tasks = Tasks::new();
        SlateEngine::new(
            Arc::clone(&self.store),
            Path::from("meta"),
            self.options,
            clock,
            tasks,
        )
    }

    fn handles(&self) -> impl Fn() -> Arc<dyn Engine> {
        let engine = self.engine(Clock::system());
        move || Arc::new(engine.clone())
    }
}

mod in_memory {
    use super::*;

    conformance::suite!(Store::in_memory(), #[tokio::test]);
}

mod in_a_folder {
    use super::*;

    conformance::suite!(Store::folder(), #[tokio::test(flavor = "multi_thread", worker_threads = 2)]);
}

fn row(number: usize) -> RowChange {
    (
        Bytes::from(format!("k{number:06}")),
        Some(Bytes::from(vec![b'v'; 200])),
    )
}

async fn rows(session: &Arc<dyn Session>) -> Vec<Bytes> {
    let all = Bytes::from_static(b"k")..Bytes::from_static(b"l");
    let rows: Vec<Row> = session.scan(all).try_collect().await.unwrap();
    rows.into_iter().map(|(key, _)| key).collect()
}

async fn own(engine: &SlateEngine) -> Arc<dyn Session> {
    engine.acquire(engine.epoch().await.unwrap()).await.unwrap()
}

/// Whatever runtime dies at whatever moment: what was durable is there, and nothing but a prefix.
#[test]
fn a_killed_process_keeps_what_was_durable() {
    let store = Store::folder();
    let (mut submitted, mut durable) = (0, 0);
    for round in 0..6 {
        let process = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        durable = process.block_on(async {
            let session = own(&store.engine(Clock::system())).await;
            let found = rows(&session).await;
            assert!(
                found.len() >= durable,
                "round {round}: {} of {durable}",
                found.len()
            );
            assert_eq!(
                found,
                (0..found.len()).map(|it| row(it).0).collect::<Vec<_>>()
            );
            submitted = found.len();
            let mut last = None;
            for _ in 0..150 {
                last = Some(session.submit(vec![row(submitted)]));
                submitted += 1;
                if submitted.is_multiple_of(4) {
                    last.take().unwrap().await.unwrap();
                    durable = submitted;
                }
            }
            drop(last);
            std::mem::forget(session);
            durable
        });
        process.shutdown_background();
    }
    assert!(durable > 600, "{durable}");
}

/// Store requests of one kind by the engine so far.
fn requests(store: &PoliteStore, operation: Operation) -> u64 {
    let counts = store.request_counts().snapshot();
    let of_engine = counts
        .iter()
        .filter(|count| count.caller == Caller::Metadata);
    of_engine
        .filter(|count| count.operation == operation)
        .map(|count| count.requests)
        .sum()
}

fn all_requests(store: &PoliteStore) -> u64 {
    Operation::ALL
        .into_iter()
        .map(|operation| requests(store, operation))
        .sum()
}

fn counted() -> (PoliteStore, Store) {
    let base = Arc::new(InMemory::new());
    let polite = PoliteStore::new(base, &Path::default(), &StoreOptions::default(), 1);
    let store = Store::over(polite.object_store());
    (polite, store)
}

#[tokio::test(start_paused = true)]
async fn a_commit_is_one_put_and_many_at_once_share_it() {
    let (polite, store) = counted();
    let session = own(&store.engine(Clock::simulated(1_000_000))).await;
    // The memtable of what was replayed, here nothing, is written out first of all.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = requests(&polite, Operation::Put);
    for number in 0..100 {
        session.submit(vec![row(number)]).await.unwrap();
    }
    assert_eq!(requests(&polite, Operation::Put) - before, 100);

    let before = requests(&polite, Operation::Put);
    let under_way: Vec<_> = (0..1000)
        .map(|number| session.submit(vec![row(number)]))
        .collect();
    futures::future::try_join_all(under_way).await.unwrap();
    let puts = requests(&polite, Operation::Put) - before;
    assert!(puts <= 3, "{puts} PUTs for 1000 batches at once");
}

#[tokio::test(start_paused = true)]
async fn an_idle_engine_asks_nothing() {
    let (polite, store) = counted();
    let session = own(&store.engine(Clock::simulated(1_000_000))).await;
    for number in 0..300 {
        session.submit(vec![row(number)]).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    let before = all_requests(&polite);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let requests = all_requests(&polite) - before;
    assert!(requests <= 24, "{requests} requests in an idle hour");
}

#[tokio::test(start_paused = true)]
async fn memtables_bound_the_replay_and_are_compacted() {
    let (polite, store) = counted();
    let engine = store.engine(Clock::simulated(1_000_000));
    let session = own(&engine).await;
    for number in 0..4000 {
        session.submit(vec![row(number % 500)]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    let manifest = engine.admin().read_manifest(None).await.unwrap().unwrap();
    assert!(
        manifest.l0().len() < L0_MAX / 2,
        "{} L0 objects",
        manifest.l0().len()
    );
    assert!(!manifest.compacted().is_empty(), "L0 was compacted");
    drop(session);
    let before = requests(&polite, Operation::Get);
    let session = own(&engine).await;
    assert_eq!(rows(&session).await.len(), 500);
    let gets = requests(&polite, Operation::Get) - before;
    assert!(gets < 2 * 128 + 64, "{gets} GETs to open");
}

/// Owners that die early do not leave an ever longer replay behind.
#[tokio::test(start_paused = true)]
async fn a_crash_loop_does_not_lengthen_the_replay() {
    let (polite, store) = counted();
    let mut gets = 0;
    for round in 0..20 {
        let engine = store.engine(Clock::simulated(1_000_000));
        let before = requests(&polite, Operation::Get);
        let session = own(&engine).await;
        gets = requests(&polite, Operation::Get) - before;
        for number in 0..50 {
            session
                .submit(vec![row(round * 50 + number)])
                .await
                .unwrap();
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!(
        gets < 150,
        "{gets} GETs to open after 20 deaths of 50 WALs each"
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_out() {
    let plan = FaultPlan {
        outages: vec![Duration::from_secs(10)..Duration::from_secs(100)],
        latency_median: Duration::from_millis(20),
        ..FaultPlan::none()
    };
    let faults = FaultStore::new(Arc::new(InMemory::new()), plan, 1);
    let base: Arc<dyn ObjectStore> = Arc::new(faults);
    let polite = PoliteStore::new(base, &Path::default(), &StoreOptions::default(), 1);
    let store = Store::over(polite.object_store());
    let began = tokio::time::Instant::now();
    let session = own(&store.engine(Clock::simulated(1_000_000))).await;
    session.submit(vec![row(0)]).await.unwrap();
    tokio::time::sleep_until(began + Duration::from_secs(20)).await;
    let waiting = session.submit(vec![row(1)]);
    let behind = session.submit(vec![row(2)]);
    waiting.await.unwrap();
    assert!(
        began.elapsed() >= Duration::from_secs(100),
        "acknowledged during the outage"
    );
    assert!(
        began.elapsed() < Duration::from_secs(140),
        "took {:?}",
        began.elapsed()
    );
    behind.await.unwrap();
    session.barrier().await.unwrap();
    assert_eq!(rows(&session).await.len(), 3);
}

/// A store that fails in all ways there are: sessions may be lost, rows may not.
#[tokio::test(start_paused = true)]
async fn a_harsh_store_loses_nothing() {
    let mut sessions = 0;
    for seed in 0..20 {
        // SlateDB takes damage on the way for damage in the store and ends; so does the process.
        let plan = FaultPlan {
            damaged_get_rate: 0.0,
            ..FaultPlan::harsh()
        };
        let faults = FaultStore::new(Arc::new(InMemory::new()), plan, seed);
        let base: Arc<dyn ObjectStore> = Arc::new(faults);
        let polite = PoliteStore::new(base, &Path::default(), &StoreOptions::default(), seed);
        let store = Store::over(polite.object_store());
        let mut durable = 0;
        for _ in 0..4 {
            let engine = store.engine(Clock::simulated(1_000_000));
            let session = loop {
                let Ok(epoch) = engine.epoch().await else {
                    continue;
                };
                match engine.acquire(epoch).await {
                    Ok(session) => break session,
                    Err(EngineError::UnexpectedEpoch { .. } | EngineError::Unavailable(_)) => {}
                    Err(error) => panic!("seed {seed}: {error}"),
                }
            };
            let found = rows(&session).await;
            assert!(
                found.len() >= durable,
                "seed {seed}: {} of {durable}",
                found.len()
            );
            assert_eq!(
                found,
                (0..found.len()).map(|it| row(it).0).collect::<Vec<_>>()
            );
            sessions += 1;
            for number in found.len()..found.len() + 30 {
                match session.submit(vec![row(number)]).await {
                    Ok(()) => durable = number + 1,
                    Err(EngineError::Fenced | EngineError::Unavailable(_)) => break,
                    Err(error) => panic!("seed {seed}: {error}"),
                }
            }
        }
    }
    assert_eq!(sessions, 80);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_back_stops_nothing() {
    let store = Store::in_memory();
    for wall_ms in [2_000_000_000_000, 1_000_000_000_000, 1_000_000_000_000] {
        let session = own(&store.engine(Clock::simulated(wall_ms))).await;
        let began = tokio::time::Instant::now();
        session.submit(vec![row(0)]).await.unwrap();
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn damage_is_told_as_damage() {
    let store = Store::folder();
    let engine = store.engine(Clock::system());
    let session = own(&engine).await;
    session.submit(vec![row(0)]).await.unwrap();
    session.release().await.unwrap();
    let folder = store._folder.as_ref().unwrap().path().join("meta/manifest");
    let manifests = std::fs::read_dir(folder).unwrap();
    let newest = manifests.map(|entry| entry.unwrap().path()).max().unwrap();
    std::fs::write(&newest, b"not a manifest").unwrap();
    let told = engine.epoch().await.unwrap_err();
    assert!(matches!(told, EngineError::Damaged(_)), "{told}");
}
