use std::collections::BTreeMap;
use std::io::Cursor;
use std::time::Duration;

use bytes::Bytes;
use floe_storage::store::fault::{FaultPlan, FaultStore};
use object_store::memory::InMemory;
use proptest::prelude::*;

use super::*;
use floe_protocol::error_code::ErrorCode;

use crate::api::groups::{
    CommittedOffset, GroupReply, GroupRequest, Identity, OffsetCommit, OffsetsOf, TopicRef,
};
use crate::api::objects::{MergeRequest, MergedExtent};
use crate::api::{BatchResult, CommitRequest};
use crate::engine::memory::{Faults, MemoryEngine};
use crate::service::{EngineChoice, Prepared, Service, ServiceConfig, StartError};
use crate::state::{Command, Rebuild, RowKey, State, WriteSet};
use crate::testing::{
    World, calm, commit, idempotent_commit, new_process, new_topic, partition, store_over, topic_id,
};

/// The processes that export and import.
const EXPORTER: u8 = 90;
const IMPORTER: u8 = 91;
const PRODUCER: i64 = 77;

impl Sink for &mut Vec<u8> {
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn over(config: ServiceConfig, engine: &MemoryEngine) -> ServiceConfig {
    ServiceConfig {
        engine: EngineChoice::Memory(engine.clone()),
        ..config
    }
}

fn engine() -> MemoryEngine {
    MemoryEngine::new(5, calm())
}

/// A store whose requests take time, so that a crash can come between any two of them.
fn slow_world() -> World {
    let plan = FaultPlan {
        latency_median: Duration::from_millis(4),
        latency_sigma: 0.0,
        ..FaultPlan::none()
    };
    let base = FaultStore::new(Arc::new(InMemory::new()), plan, 1);
    World {
        store: store_over(Arc::new(base)),
        ..World::calm()
    }
}

/// What a producer sends in `write_epoch`.
fn sent(write_epoch: u32, counter: u64, base_sequence: i32) -> CommitRequest {
    let mut request = idempotent_commit((1, counter), partition(1, 1), PRODUCER, base_sequence);
    request.segment.write_epoch = write_epoch;
    request
}

async fn results(service: &Service, request: CommitRequest) -> Vec<BatchResult> {
    loop {
        if let Ok(reply) = service.client().commit(request.clone()).await {
            return reply.results;
        }
        service.client().wait_for_owner().await.unwrap();
    }
}

/// A commit of a group without members.
fn offset_to_commit() -> GroupRequest {
    GroupRequest::CommitOffsets {
        by: Identity {
            group: "group".to_owned(),
            member_id: String::new(),
            instance: None,
            generation: -1,
        },
        unknown_group: ErrorCode::GroupIdNotFound,
        offsets: vec![OffsetCommit {
            topic: TopicRef::Id(topic_id(1)),
            partition: 3,
            committed: committed_offset(),
        }],
    }
}

fn committed_offset() -> CommittedOffset {
    CommittedOffset {
        offset: 42,
        leader_epoch: -1,
        metadata: Arc::from("note"),
    }
}

/// Runs a cluster for a while: three records of a producer, ten of nobody, one registered process.
async fn with_records(world: &World) -> Service {
    let service = world.start(1).await.unwrap();
    let client = service.client();
    client.create_topic(new_topic(1, 4)).await.unwrap();
    client.register(new_process(1)).await.unwrap();
    for sequence in 0..3_i32 {
        results(
            &service,
            sent(1, u64::from(sequence.unsigned_abs()), sequence),
        )
        .await;
    }
    results(&service, commit(1, 10, &[partition(1, 0)], 10)).await;
    client.group(offset_to_commit()).await.unwrap();
    service
}

async fn stop(world: &World, service: Service) {
    service.release().await;
    world.network.kill(&crate::testing::owner(1).address);
}

async fn stopped(world: &World) {
    let service = with_records(world).await;
    stop(world, service).await;
}

async fn exported(world: &World) -> Result<Vec<u8>, TransferError> {
    let mut file = Vec::new();
    export(&world.config(EXPORTER), &mut file, &world.tasks).await?;
    Ok(file)
}

async fn imported(
    world: &World,
    file: &[u8],
    engine: &MemoryEngine,
) -> Result<Imported, TransferError> {
    let config = over(world.config(IMPORTER), engine);
    import(&config, Cursor::new(file), &world.tasks).await
}

/// Starts the cluster and checks that everything that was acknowledged is there; `next` is the sequence
/// number that its producer goes on with.
async fn expect_all(world: &World, engine: &MemoryEngine, process: u8, next: i32) -> Service {
    let config = over(world.config(process), engine);
    let service = world.start_with(config).await.unwrap();
    let asked = vec![partition(1, 0), partition(1, 1)];
    let bounds = service.client().bounds(asked).await.unwrap();
    let ends: Vec<_> = bounds.iter().map(|it| it.unwrap().high_watermark).collect();
    assert_eq!(ends, [10, i64::from(next)]);
    let stored = GroupRequest::FetchOffsets {
        group: "group".to_owned(),
        which: OffsetsOf::All(None),
        by: (None, -1),
    };
    let stored = service.client().group(stored).await.unwrap();
    assert!(
        matches!(&stored, GroupReply::Offsets { offsets, .. }
            if offsets[0].partition == 3 && offsets[0].committed == Ok(Some(committed_offset()))),
        "{stored:?}"
    );
    let registration = service
        .client()
        .register(new_process(process))
        .await
        .unwrap();
    let epoch = registration.write_epoch;
    let counter = u64::from(process) * 100;
    let repeated = results(&service, sent(epoch, counter, next - 1)).await;
    let base_offset = i64::from(next - 1);
    assert!(
        matches!(repeated[..], [BatchResult::Duplicate { base_offset: found, .. }] if found == base_offset),
        "{repeated:?}"
    );
    let new = results(&service, sent(epoch, counter + 1, next)).await;
    assert!(
        matches!(new[..], [BatchResult::Committed { base_offset, .. }] if base_offset == i64::from(next)),
        "{new:?}"
    );
    service
}

#[tokio::test(start_paused = true)]
async fn a_cluster_goes_on_in_another_engine() {
    let world = World::calm();
    stopped(&world).await;
    let old = Cluster::read(&world.store).await.unwrap().unwrap();
    let file = exported(&world).await.unwrap();
    let waiting = Prepared::new(world.config(3), &world.tasks).await.unwrap();
    let target = engine();
    let Imported { cluster, content } = imported(&world, &file, &target).await.unwrap();
    assert_eq!(content.rows, world.engine.rows().len() as u64);
    assert_eq!(cluster, Cluster::read(&world.store).await.unwrap().unwrap());
    assert_eq!(cluster.id, old.id);
    assert_ne!(cluster.lineage, old.lineage);
    assert_ne!(cluster.secret, old.secret);
    assert_eq!(cluster.lineages().of(1), old.lineage);
    assert_eq!(cluster.lineages().of(2), cluster.lineage);
    // A process of the old life that is still there learns of it.
    let refused = waiting.join(&world.tasks).await.unwrap_err();
    assert!(
        matches!(&refused, StartError::Claim(ClaimError::Moved(_))),
        "{refused}"
    );
    let service = expect_all(&world, &target, 4, 3).await;
    assert!(
        service.client().commit(sent(1, 999, 4)).await.is_err(),
        "of the old write epoch"
    );
    service.release().await;
    world.network.kill(&crate::testing::owner(4).address);
    // And once more: three lives.
    let world = World {
        engine: target,
        ..world
    };
    let file = exported(&world).await.unwrap();
    let third = engine();
    let config = ServiceConfig {
        new_cluster: crate::cluster::NewCluster {
            lineage: [200; 16],
            ..world.config(1).new_cluster
        },
        ..over(world.config(IMPORTER), &third)
    };
    let last = import(&config, Cursor::new(&file[..]), &world.tasks)
        .await
        .unwrap()
        .cluster;
    assert_eq!(last.earlier.len(), 2);
    assert_eq!(last.lineages().of(1), old.lineage);
    assert_eq!(last.lineages().of(2), cluster.lineage);
    expect_all(&world, &third, 5, 4).await;
}

#[tokio::test(start_paused = true)]
async fn a_running_cluster_is_left_alone() {
    let world = World::calm();
    let service = with_records(&world).await;
    let error = exported(&world).await.unwrap_err().to_string();
    assert!(error.contains("10.0.0.1:9090 answers"), "{error}");
    results(&service, sent(1, 50, 3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_dead_owner_is_fenced() {
    let world = World::calm();
    let service = with_records(&world).await;
    world.silence(1, true);
    let file = exported(&world).await.unwrap();
    let target = engine();
    imported(&world, &file, &target).await.unwrap();
    // It comes to itself, and can do nothing.
    let client = service.client();
    let late = client.commit(sent(1, 50, 3));
    let late = tokio::time::timeout(Duration::from_secs(60), late).await;
    assert!(!matches!(late, Ok(Ok(_))), "{late:?}");
    assert!(matches!(
        service.stopped().await,
        crate::service::StopReason::Damaged(StartError::Claim(ClaimError::Moved(_)))
    ));
    expect_all(&world, &target, 4, 3).await;
}

#[tokio::test(start_paused = true)]
async fn only_the_newest_file_of_the_cluster_is_imported() {
    let world = World::calm();
    stopped(&world).await;
    let stale = exported(&world).await.unwrap();
    let service = expect_all(&world, &world.engine, 2, 3).await;
    let target = engine();
    let expect = async |file: &[u8], words: &str| {
        let error = imported(&world, file, &target)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{words}: {error}");
    };
    expect(&stale, "by the process at 10.0.0.2:9090").await;
    service.release().await;
    world.network.kill(&crate::testing::owner(2).address);
    expect(&stale, "export again").await;
    let other = World::calm();
    let config = ServiceConfig {
        new_cluster: crate::cluster::NewCluster {
            id: [99; 16],
            ..world.config(1).new_cluster
        },
        ..other.config(1)
    };
    other.start_with(config).await.unwrap().release().await;
    other.network.kill(&crate::testing::owner(1).address);
    expect(&exported(&other).await.unwrap(), "is of cluster").await;
    expect(&stale[..stale.len() - 1], "cut short").await;
    let error = imported(&World::calm(), &stale, &target).await.unwrap_err();
    assert!(matches!(error, TransferError::NoCluster), "{error}");
    assert!(target.rows().is_empty(), "nothing was written");

    let file = exported(&world).await.unwrap();
    imported(&world, &file, &target).await.unwrap();
    expect(&file, "imported already").await;
    expect(&stale, "earlier lineage").await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_forgets_moves_nothing() {
    let world = World::calm();
    stopped(&world).await;
    let file = exported(&world).await.unwrap();
    let faults = Faults {
        lost_batch: 1.0,
        ..calm()
    };
    let lossy = MemoryEngine::new(1, faults);
    imported(&world, &file, &lossy).await.unwrap_err();
    let used = engine();
    let session = used.acquire(0).await.unwrap();
    session.release().await.unwrap();
    let error = imported(&world, &file, &used).await.unwrap_err();
    assert!(matches!(error, TransferError::NotEmpty), "{error}");
    expect_all(&world, &world.engine, 2, 3).await;
}

#[tokio::test(start_paused = true)]
async fn an_export_may_crash_at_any_step() {
    for step in 0.. {
        let world = slow_world();
        stopped(&world).await;
        let patience = Duration::from_millis(step * 2);
        let outcome = tokio::time::timeout(patience, exported(&world)).await;
        let service = expect_all(&world, &world.engine, 2, 3).await;
        service.release().await;
        world.network.kill(&crate::testing::owner(2).address);
        if let Ok(outcome) = outcome {
            outcome.unwrap();
            assert!(step > 5, "there was something to crash");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_import_may_crash_at_any_step() {
    let (mut before, mut after) = (0, 0);
    for step in 0.. {
        let world = slow_world();
        stopped(&world).await;
        let old = Cluster::read(&world.store).await.unwrap().unwrap();
        let file = exported(&world).await.unwrap();
        let target = engine();
        let patience = Duration::from_millis(step * 2);
        let outcome = tokio::time::timeout(patience, imported(&world, &file, &target)).await;
        // What was under way lands, or never does.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = Cluster::read(&world.store).await.unwrap().unwrap();
        if now.lineage == old.lineage {
            before += 1;
            assert!(outcome.is_err(), "step {step}");
            if step % 2 == 0 {
                expect_all(&world, &world.engine, 2, 3).await;
            } else {
                // The same file is still good.
                let target = engine();
                imported(&world, &file, &target).await.unwrap();
                expect_all(&world, &target, 2, 3).await;
            }
        } else {
            after += 1;
            let again = imported(&world, &file, &engine()).await.unwrap_err();
            assert!(
                matches!(again, TransferError::ImportedAlready { .. }),
                "{again}"
            );
            expect_all(&world, &target, 2, 3).await;
        }
        if let Ok(outcome) = outcome {
            outcome.unwrap();
            break;
        }
    }
    assert!(
        before > 10 && after > 1,
        "{before} crashes before the move, {after} after it"
    );
}

#[tokio::test(start_paused = true)]
async fn a_running_cluster_is_shown() {
    let world = World::calm();
    let service = with_records(&world).await;
    let shown = inspect(&world.config(EXPORTER), &world.tasks)
        .await
        .unwrap();
    let text = shown.to_string();
    for words in [
        "cluster            AQEBAQEBAQEBAQEBAQEBAQ",
        "epoch 1, 10.0.0.1:9090, which answers",
        "topics             1, with 4 partitions",
        "segments           4, with 4000 bytes",
        "dead segments      0 of them, to be deleted",
        "write epoch        1, commits accepted from 1 on",
        "processes          1 registered",
        "main 10.0.0.1:9092",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    results(&service, sent(1, 50, 3)).await;
    stop(&world, service).await;
    let shown = inspect(&world.config(EXPORTER), &world.tasks)
        .await
        .unwrap();
    assert!(shown.to_string().contains("which has let go"));
    let empty = inspect(&World::calm().config(1), &world.tasks).await;
    assert!(matches!(empty, Err(TransferError::NoCluster)));
}

/// The state that rows make, and the hash of its producers.
fn state_of(config: &ServiceConfig, engine: &MemoryEngine) -> (State, u64) {
    let rows: BTreeMap<Bytes, Bytes> = engine.rows().into_iter().collect();
    let mut rebuild = Rebuild::new(config.state.clone());
    for (key, value) in &rows {
        rebuild.row(key, value).unwrap();
    }
    let (state, _) = rebuild.finish().unwrap();
    let range = RowKey::producers();
    let producers = rows.range(range.start..range.end);
    let producers = producers.map(|(key, value)| (RowKey::from(key.clone()), value.clone()));
    let hash = state.producers_hash(producers).unwrap();
    (state, hash)
}

/// Merges the oldest segments, and forgets the objects that have been dead for longest.
async fn merged(service: &Service, counter: u64) {
    let client = service.client();
    let live = client.segments(u8::MAX).await.unwrap();
    let commits: Vec<u64> = live.iter().take(5).map(|it| it.commit).collect();
    let sources = client.begin_merge(commits.clone(), 0).await.unwrap();
    let parts = sources.unwrap().into_iter().flat_map(|it| it.extents);
    let mut parts: Vec<_> = parts.collect();
    parts.sort_by_key(|(at, extent)| (*at, extent.base_offset));
    let mut size_bytes = 32;
    let extents = parts.into_iter().map(|(partition, extent)| {
        let position_bytes = size_bytes;
        size_bytes += u64::from(extent.length_bytes);
        MergedExtent {
            partition,
            position_bytes,
            length_bytes: extent.length_bytes,
            base_offset: extent.base_offset,
            end_offset: extent.end_offset,
            max_timestamp_ms: extent.max_timestamp_ms,
        }
    });
    let extents = extents.collect();
    let request = MergeRequest {
        segment: sent(1, counter, 0).segment,
        level: 1,
        size_bytes,
        sources: commits,
        extents,
    };
    client.complete_merge(request).await.unwrap().unwrap();
    let dead = client.dead_objects(0, 2).await.unwrap();
    let dead = dead.iter().map(|it| it.commit).collect();
    client.forget_objects(dead).await.unwrap();
}

fn moves_everything(batches: &[(i64, u8, u8)]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = World::calm();
        stopped(&world).await;
        let service = world.start(1).await.unwrap();
        let mut sequences: BTreeMap<(i64, u8), i32> = BTreeMap::new();
        for (counter, (producer, to, count)) in (100..).zip(batches) {
            let request = if *producer == 0 {
                commit(
                    1,
                    counter,
                    &[partition(1, i32::from(*to))],
                    u32::from(*count) + 1,
                )
            } else {
                let next = sequences.entry((*producer, *to)).or_default();
                let base_sequence = *next;
                *next += 1;
                let to = partition(1, i32::from(*to));
                idempotent_commit((1, counter), to, *producer, base_sequence)
            };
            results(&service, request).await;
            if counter % 5 == 0 {
                merged(&service, 1000 + counter).await;
            }
        }
        stop(&world, service).await;
        let config = world.config(1);
        let (mut before, producers_before) = state_of(&config, &world.engine);
        let file = exported(&world).await.unwrap();
        let target = engine();
        imported(&world, &file, &target).await.unwrap();
        let (after, producers_after) = state_of(&config, &target);
        assert_eq!(producers_before, producers_after);
        let mut writes = WriteSet::new();
        let gone = before.processes().iter().map(|it| it.incarnation).collect();
        for command in [
            Command::ForgetProcesses(gone),
            Command::RaiseWriteEpoch { above: 1 },
            Command::RaiseLowestAccepted { to: 2 },
        ] {
            before.apply(before.now_ms(), command, &mut writes);
        }
        assert_eq!(before.hash(), after.hash());
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_imported_is_what_was_exported(
        batches in prop::collection::vec((0_i64..40, 0_u8..4, 0_u8..50), 0..120),
    ) {
        moves_everything(&batches);
    }
}
