//! Records that are older than the tail: where they lie, in whose memory they are read, and what becomes of a
//! reader whose objects were replaced.

use floe_metadata::api::objects::{MergeRequest, MergedExtent};
use floe_protocol::record_batch::BatchHeader;
use floe_storage::cache::{BlockCache, Pool};
use floe_storage::segment::{SegmentId, Writer};
use floe_storage::store::{Caller, Operation};
use object_store::ObjectStoreExt as _;

use super::*;

/// Bytes of a partition from `from` on, step by step, as `path` reads them.
async fn read_on(rig: &Rig, path: &FetchPath, from: i64, until: i64) -> Vec<u8> {
    let (mut at, mut bytes) = (from, Vec::new());
    while at < until {
        let mut fetch = rig.fetch_of(0, at, MINUTE);
        fetch.max_bytes = 300;
        let answer = fetch_one(path, &fetch).await;
        assert_eq!(answer.error, ErrorCode::None, "at {at}");
        assert!(answer.offset_count > 0, "no progress at {at}");
        at += i64::try_from(answer.offset_count).unwrap();
        bytes.extend_from_slice(&answer.records.into_bytes());
    }
    bytes
}

/// GETs for consumers.
fn gets(rig: &Rig) -> u64 {
    let counts = rig.polite.request_counts().snapshot().into_iter();
    let ours = counts.filter(|it| (it.caller, it.operation) == (Caller::Fetch, Operation::Get));
    ours.map(|count| count.requests).sum()
}

/// Without segments in memory, so that all reads go through the store.
async fn forgetful() -> Rig {
    Rig::new(FlushRule::BUCKET, 0, Trouble::none()).await
}

#[tokio::test(start_paused = true)]
async fn an_object_that_is_gone_is_planned_anew_once() {
    let rig = forgetful().await;
    for number in 0..3 {
        rig.write(0, &batch(&number.to_string())).await;
    }
    let (partition, newcomer) = (rig.partition(0), rig.newcomer().await);
    let told = rig.client.look_up(partition, 0, 10).await.unwrap().extents;
    // As if the object that holds the second record had been replaced since the plan was made.
    let mut plan = told.clone();
    plan[1].segment.counter = 77;
    newcomer.plans.remember(Instant::now(), partition, &plan);
    let whole = fetch_one(&newcomer, &rig.fetch_of(0, 0, MINUTE)).await;
    assert_eq!((whole.error, whole.offset_count), (ErrorCode::None, 1));
    newcomer.plans.remember(Instant::now(), partition, &plan);
    let replanned = fetch_one(&newcomer, &rig.fetch_of(0, 1, MINUTE)).await;
    assert_eq!(
        (replanned.error, replanned.offset_count),
        (ErrorCode::None, 2)
    );
    assert_eq!(replanned.records.into_bytes(), rig.read(0, 1).await);
    let found = newcomer.plans.find(Instant::now(), partition, 0);
    assert_eq!(found, None, "the plan is what was looked up since");
    assert_eq!(newcomer.metrics.figures(), (0, 2));

    // Nobody has replaced it: it is missing, and only what it held.
    let lineages = rig.lineages();
    let missing = lineages.segment(told[1].level, told[1].segment);
    rig.store.delete(&missing).await.unwrap();
    let newcomer = rig.newcomer().await;
    for (from, error, count) in [
        (0, ErrorCode::None, 1),
        (1, ErrorCode::KafkaStorageError, 0),
        (1, ErrorCode::KafkaStorageError, 0),
        (2, ErrorCode::None, 1),
    ] {
        let answer = fetch_one(&newcomer, &rig.fetch_of(0, from, MINUTE)).await;
        assert_eq!(
            (answer.error, answer.offset_count),
            (error, count),
            "{from}"
        );
    }
    let (damaged, _) = newcomer.metrics.figures();
    assert!(damaged >= 2, "{damaged}");
}

#[tokio::test(start_paused = true)]
async fn replays_and_readers_of_the_tail_have_pools_of_their_own() {
    let rig = forgetful().await;
    for number in 0..200 {
        rig.write(0, &batch(&number.to_string())).await;
    }
    // Room for all of the tail, or for a few old objects.
    let cache = BlockCache::with_pools(rig.polite.clone(), 64 << 10, 8 << 10);
    let newcomer = rig.newcomer_with(Chunks::new(cache.clone(), None)).await;
    for number in 200..220 {
        rig.write(0, &batch(&number.to_string())).await;
    }
    let gets = || gets(&rig);
    let before = gets();
    let tail = read_on(&rig, &newcomer, 200, 220).await;
    assert_eq!(gets() - before, 20, "each object once");
    assert_eq!(cache.pool_stats(Pool::CatchUp).misses, 0);
    for _ in 0..2 {
        read_on(&rig, &newcomer, 0, 200).await;
    }
    assert!(cache.pool_stats(Pool::CatchUp).used_bytes <= 8 << 10);
    assert!(gets() - before >= 380, "a replay has little room");
    let before = gets();
    assert_eq!(read_on(&rig, &newcomer, 200, 220).await, tail);
    assert_eq!(gets() - before, 0, "the tail is still there");
}

#[tokio::test(start_paused = true)]
async fn replays_wait_for_memory_that_replays_hold_and_nobody_else_does() {
    let rig = forgetful().await;
    rig.write(0, &batch("old")).await;
    let newcomer = rig.newcomer().await;
    rig.write(1, &batch("new")).await;
    let held = rig
        .memory
        .try_reserve(Share::CatchUp, rig.memory.capacity_bytes(Share::CatchUp))
        .unwrap();
    let began = Instant::now();
    let new = fetch_one(&newcomer, &rig.fetch_of(1, 0, MINUTE)).await;
    assert_eq!((new.error, new.offset_count), (ErrorCode::None, 1));
    assert!(began.elapsed() < Duration::from_millis(10));
    let mut both = rig.fetch_of(0, 0, MINUTE);
    both.positions.extend(rig.fetch_of(1, 0, MINUTE).positions);
    let answers = newcomer.fetch(&both).await;
    let counts: Vec<_> = answers.iter().map(|answer| answer.offset_count).collect();
    assert_eq!(counts, [0, 1]);
    assert!(began.elapsed() < Duration::from_secs(1));
    drop(answers);
    let freed = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        drop(held);
    };
    let fetch = rig.fetch_of(0, 0, MINUTE);
    let (old, ()) = tokio::join!(fetch_one(&newcomer, &fetch), freed);
    assert_eq!((old.error, old.offset_count), (ErrorCode::None, 1));
    assert!(began.elapsed() >= Duration::from_secs(5));
    let held_bytes = old.records.len_bytes();
    assert_eq!(rig.memory.used_bytes(Share::CatchUp), held_bytes);
    drop((old, new));
    assert_eq!(rig.memory.used_bytes(Share::CatchUp), 0);
    assert_eq!(rig.memory.used_bytes(Share::Answers), 0);
}

/// Merges all of partition 0 into one object of level 1, without the records at the offsets `without`; returns
/// the replaced extents.
async fn merge_all(rig: &Rig, without: &[i64]) -> Vec<Extent> {
    let (partition, lineages) = (rig.partition(0), rig.lineages());
    let segments = rig.client.segments(1).await.unwrap();
    let sources: Vec<_> = segments.iter().map(|summary| summary.commit).collect();
    let begun = rig.client.begin_merge(sources.clone(), 60_000).await;
    let mut replaced = Vec::new();
    for source in begun.unwrap().unwrap() {
        replaced.extend(source.extents.into_iter().map(|(_, extent)| extent));
    }
    replaced.sort_by_key(|extent| extent.base_offset);
    let segment = SegmentId {
        counter: 1 << 40,
        ..replaced[0].segment
    };
    let mut writer = Writer::new(segment, 1, 0);
    let mut lengths = Vec::new();
    for extent in &replaced {
        let object = lineages.segment(extent.level, extent.segment);
        let object = rig.store.get(&object).await.unwrap().bytes().await.unwrap();
        let from = usize::try_from(extent.position_bytes).unwrap();
        let length = usize::try_from(extent.length_bytes).unwrap();
        let mut batch = object.slice(from..from + length).to_vec();
        batch[..8].copy_from_slice(&extent.base_offset.to_be_bytes());
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(header.size_bytes(), length, "one batch each");
        if without.contains(&extent.base_offset) {
            lengths.push(0);
        } else {
            let at = Some(extent.base_offset);
            writer.push(partition, &header, batch.into(), at);
            lengths.push(extent.length_bytes);
        }
    }
    let sealed = writer.seal();
    let mut position_bytes = sealed.index.extents[0].position_bytes;
    let mut extents = Vec::new();
    for (extent, length_bytes) in replaced.iter().zip(lengths) {
        extents.push(MergedExtent {
            partition,
            position_bytes,
            length_bytes,
            base_offset: extent.base_offset,
            end_offset: extent.end_offset,
            max_timestamp_ms: extent.max_timestamp_ms,
        });
        position_bytes += u64::from(length_bytes);
    }
    let chunks = sealed.payload.chunks().to_vec();
    let path = lineages.segment(1, segment);
    let stored = rig.polite.put_create(&path, chunks, Caller::Produce).await;
    stored.unwrap();
    let merge = MergeRequest {
        segment,
        level: 1,
        size_bytes: sealed.size_bytes,
        sources,
        extents,
    };
    let merged = rig.client.complete_merge(merge).await.unwrap();
    merged.unwrap();
    replaced
}

#[tokio::test(start_paused = true)]
async fn a_partition_reads_the_same_before_and_after_a_merge_and_when_the_old_objects_are_gone() {
    let rig = forgetful().await;
    // What is written from now on is in this one's tail.
    let tail = rig.newcomer().await;
    for number in 0..10 {
        rig.write(0, &batch(&number.to_string())).await;
    }
    let before = rig.read(0, 0).await;
    let replaced = merge_all(&rig, &[]).await;
    for _ in 0..2 {
        let newcomer = rig.newcomer().await;
        assert_eq!(read_on(&rig, &newcomer, 0, 10).await, before);
    }
    for extent in &replaced {
        let path = rig.lineages().segment(extent.level, extent.segment);
        rig.store.delete(&path).await.unwrap();
    }
    let planned = rig.newcomer().await;
    let plans = &planned.plans;
    plans.remember(Instant::now(), rig.partition(0), &replaced);
    for path in [&tail, &planned] {
        assert_eq!(read_on(&rig, path, 0, 10).await, before);
        let (damaged, replanned) = path.metrics.figures();
        assert!(damaged == 0 && replanned > 0, "{damaged}, {replanned}");
    }
}

#[tokio::test(start_paused = true)]
async fn consumers_read_over_what_log_compaction_left_nothing_of() {
    let rig = forgetful().await;
    for number in 0..600 {
        rig.write(0, &batch(&number.to_string())).await;
    }
    // More extents without records than one look-up tells of.
    let gone: Vec<i64> = (3..590).chain([597, 599]).collect();
    merge_all(&rig, &gone).await;
    let newcomer = rig.newcomer().await;
    let mut seen = Vec::new();
    for from in [0, 3, 4, 300, 589, 595, 597] {
        let answer = fetch_one(&newcomer, &rig.fetch_of(0, from, MINUTE)).await;
        assert_eq!(answer.error, ErrorCode::None, "{from}");
        let bytes = answer.records.into_bytes();
        seen.push(BatchHeader::parse(&bytes).unwrap().base_offset);
    }
    assert_eq!(seen, [0, 590, 590, 590, 590, 595, 598]);
    // Nothing is left behind this: it waits for more.
    let began = Instant::now();
    let answer = fetch_one(&newcomer, &rig.fetch_of(0, 599, MINUTE)).await;
    assert_eq!(
        (answer.error, answer.records.is_empty()),
        (ErrorCode::None, true)
    );
    assert!(began.elapsed() >= MINUTE);
    let fetch = rig.fetch_of(0, 599, MINUTE);
    let more = batch("more");
    let (answer, _) = tokio::join!(fetch_one(&newcomer, &fetch), rig.write(0, &more));
    let bytes = answer.records.into_bytes();
    assert_eq!(BatchHeader::parse(&bytes).unwrap().base_offset, 600);
}
