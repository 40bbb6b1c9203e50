//! Random segments, from memory and from the store: what is read is what was produced, offsets patched.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::type_complexity,
    reason = "tests count in small numbers"
)]

use std::collections::BTreeMap;

use floe_protocol::compression::Compression;
use floe_protocol::record_batch::{BatchBuilder, BatchHeader};
use floe_protocol::types::{TopicId, TopicPartition};
use floe_storage::cache::BlockCache;
use floe_storage::key::{self, Lineage};
use floe_storage::segment::{SealedSegment, SegmentId, Writer};
use floe_storage::store::{Store, StoreErrorKind, StoreOptions};
use floe_storage::tasks::Tasks;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::super::cursor::Damage;
use super::*;

mod merged;

const LINEAGE: Lineage = Lineage([7; 16]);

/// As one who reads the tail of some partition.
const SCAN: Scan = Scan {
    partition: TopicPartition::new(TopicId::ZERO, 0),
    pool: Pool::Tail,
};

fn partition(index: i32) -> TopicPartition {
    TopicPartition::new(TopicId::from_bytes([3; 16]), index)
}

/// A batch of `records` records whose values together have about `bytes` bytes.
fn batch(records: u32, bytes: usize, seed: u8) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    for record in 0..records {
        let value = vec![seed.wrapping_add(record as u8); bytes / records as usize];
        builder.append(1000 + i64::from(record), None, Some(&value));
    }
    builder.build().unwrap()
}

/// A log of one partition: its extents, and each batch with its final offsets and bytes.
#[derive(Default)]
struct Log {
    extents: Vec<Extent>,
    batches: Vec<(i64, i64, Vec<u8>)>,
}

impl Log {
    fn end(&self) -> i64 {
        self.batches.last().map_or(0, |(_, end, _)| *end)
    }
}

struct Fixture {
    base: Arc<InMemory>,
    fresh: Arc<Fresh>,
    cache: BlockCache,
    reader: Reader,
    logs: BTreeMap<TopicPartition, Log>,
    segments: Vec<SealedSegment>,
}

impl Fixture {
    fn new() -> Self {
        let base = Arc::new(InMemory::new());
        let store = Store::new(
            Arc::clone(&base) as Arc<dyn ObjectStore>,
            &Path::default(),
            &StoreOptions::default(),
            1,
        );
        let fresh = Arc::new(Fresh::new(u64::MAX));
        let cache = BlockCache::new(store, 64 << 20);
        let chunks = Chunks::new(cache.clone(), None);
        let ahead = ReadAhead::new(Tasks::new(), CancellationToken::new());
        let reader = Reader::new(Arc::clone(&fresh), chunks, LINEAGE.into(), ahead);
        Self {
            base,
            fresh,
            cache,
            reader,
            logs: BTreeMap::new(),
            segments: Vec::new(),
        }
    }

    /// Stores a segment of `batches` and gives them the next offsets.
    async fn add(&mut self, batches: &[(i32, Bytes)], keep_fresh: bool) {
        let id = SegmentId {
            write_epoch: 1,
            incarnation: 1,
            counter: self.segments.len() as u64,
        };
        let mut writer = Writer::new(id, 0, 0);
        for (index, bytes) in batches {
            let header = BatchHeader::parse(bytes).unwrap();
            writer.push(partition(*index), &header, bytes.clone(), None);
        }
        let sealed = writer.seal();
        for extent in &sealed.index.extents {
            let log = self.logs.entry(extent.partition).or_default();
            let base_offset = log.end();
            let mut position = extent.position_bytes;
            for batch in &extent.batches {
                let next = position + u64::from(batch.length_bytes);
                let start = log.end();
                let end = start + i64::from(batch.record_count);
                let mut bytes = sealed.payload.slice(position..next).concat();
                bytes[..8].copy_from_slice(&start.to_be_bytes());
                bytes[12..16].copy_from_slice(&0_i32.to_be_bytes());
                log.batches.push((start, end, bytes));
                position = next;
            }
            log.extents.push(Extent {
                segment: id,
                level: 0,
                position_bytes: extent.position_bytes,
                length_bytes: u32::try_from(extent.length_bytes()).unwrap(),
                base_offset,
                end_offset: log.end(),
                max_timestamp_ms: 0,
            });
        }
        let path = key::segment(LINEAGE, 0, id);
        let payload = sealed
            .payload
            .chunks()
            .iter()
            .cloned()
            .collect::<object_store::PutPayload>();
        self.base.put(&path, payload).await.unwrap();
        if keep_fresh {
            self.fresh.insert(sealed.clone());
        }
        self.segments.push(sealed);
    }

    async fn read(&self, index: i32, want: Want) -> Found {
        let extents = &self.logs[&partition(index)].extents;
        let first = extents.partition_point(|extent| extent.end_offset <= want.from);
        self.reader.read(&extents[first..], want, SCAN).await
    }

    /// What [`Fixture::read`] must find.
    fn expected(&self, index: i32, want: Want) -> (Vec<u8>, i64) {
        let mut bytes = Vec::new();
        let mut end_offset = want.from;
        for (_, end, batch) in &self.logs[&partition(index)].batches {
            if *end <= want.from {
                continue;
            }
            let fits = (bytes.len() + batch.len()) as u64 <= want.max_bytes;
            let first = want.at_least_one && bytes.is_empty();
            if *end > want.upper || !(fits || first) {
                break;
            }
            bytes.extend_from_slice(batch);
            end_offset = *end;
        }
        (bytes, end_offset)
    }
}

fn all(log_end: i64) -> Want {
    Want {
        from: 0,
        upper: log_end,
        max_bytes: u64::MAX,
        at_least_one: true,
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

/// Batches of a segment: partition, records, bytes; and whether it stays in memory.
fn segments() -> impl Strategy<Value = Vec<(Vec<(i32, u32, usize)>, bool)>> {
    let size = prop_oneof![0_usize..300, 1000_usize..3000, 4000_usize..20_000];
    let batches = prop::collection::vec((0..3_i32, 1_u32..5, size), 1..12);
    prop::collection::vec((batches, any::<bool>()), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_read_is_what_was_produced(
        segments in segments(),
        wants in prop::collection::vec(
            (0..3_i32, any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0_u64..60_000, any::<bool>()),
            1..20,
        ),
    ) {
        run(async move {
            let mut fixture = Fixture::new();
            for (batches, keep_fresh) in segments {
                let batches: Vec<_> = batches
                    .into_iter()
                    .enumerate()
                    .map(|(seed, (index, records, bytes))| (index, batch(records, bytes, seed as u8)))
                    .collect();
                fixture.add(&batches, keep_fresh).await;
            }
            let untouched: Vec<_> =
                fixture.segments.iter().map(|segment| segment.payload.chunks().concat()).collect();
            for (index, from, upper, max_bytes, at_least_one) in wants {
                let Some(log) = fixture.logs.get(&partition(index)) else { continue };
                let end = log.end();
                let from = from.index(end as usize) as i64;
                // Batches end where they end: what may be read does too.
                let upper = log.batches[upper.index(log.batches.len())].1;
                let want = Want { from, upper, max_bytes, at_least_one };
                let found = fixture.read(index, want).await;
                let (bytes, end_offset) = fixture.expected(index, want);
                assert!(found.error.is_none(), "{:?}", found.error);
                assert_eq!(found.size_bytes, bytes.len() as u64);
                assert_eq!(found.pieces.concat(), bytes, "{want:?}");
                assert_eq!(found.end_offset, end_offset);
            }
            for (segment, untouched) in fixture.segments.iter().zip(untouched) {
                assert_eq!(segment.payload.chunks().concat(), untouched, "bytes were written to");
            }
        });
    }

    #[test]
    fn step_by_step_is_the_same_as_at_once(segments in segments(), step in 1_u64..30_000) {
        run(async move {
            let mut fixture = Fixture::new();
            for (batches, keep_fresh) in segments {
                let batches: Vec<_> =
                    batches.into_iter().map(|(index, n, bytes)| (index, batch(n, bytes, 1))).collect();
                fixture.add(&batches, keep_fresh).await;
            }
            for (tp, log) in &fixture.logs {
                let mut read = Vec::new();
                let mut from = 0;
                while from < log.end() {
                    let want = Want { from, upper: log.end(), max_bytes: step, at_least_one: true };
                    let found = fixture.read(tp.partition, want).await;
                    assert!(found.end_offset > from, "no progress at {from}");
                    read.extend(found.pieces.concat());
                    from = found.end_offset;
                }
                let whole: Vec<_> = log.batches.iter().flat_map(|(_, _, bytes)| bytes.clone()).collect();
                assert_eq!(read, whole);
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn large_bodies_are_not_copied() {
    let mut fixture = Fixture::new();
    fixture.add(&[(0, batch(1, 10_000, 1))], true).await;
    let found = fixture.read(0, all(1)).await;
    let body = found.pieces.last().unwrap();
    let payload = fixture.segments[0].payload.chunks();
    let within = payload
        .iter()
        .any(|chunk| chunk.as_ptr_range().contains(&body.as_ptr()));
    assert!(within, "the body is a slice of the segment");
    assert_eq!(found.pieces.len(), 2, "a head and a body");
}

#[tokio::test(start_paused = true)]
async fn stored_bytes_are_checked_and_fresh_ones_are_not_needed() {
    for (name, flip_at) in [
        ("head", 8),
        ("crc", 17),
        ("attributes", 22),
        ("records", 70),
    ] {
        let mut fixture = Fixture::new();
        fixture
            .add(&[(0, batch(2, 500, 1)), (0, batch(2, 500, 2))], false)
            .await;
        let extent = fixture.logs[&partition(0)].extents[0];
        let second =
            extent.position_bytes as usize + fixture.logs[&partition(0)].batches[0].2.len();
        let path = key::segment(LINEAGE, 0, extent.segment);
        let mut object = fixture
            .base
            .get(&path)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
            .to_vec();
        object[second + flip_at] ^= 0x40;
        fixture
            .base
            .put(&path, object.clone().into())
            .await
            .unwrap();

        let found = fixture.read(0, all(4)).await;
        assert_eq!(
            found.end_offset, 2,
            "{name}: what lies before the damage is served"
        );
        assert!(
            matches!(found.error, Some(ReadError::Damaged { .. })),
            "{name}: {:?}",
            found.error
        );
        let found = fixture.read(0, Want { from: 2, ..all(4) }).await;
        assert_eq!(found.size_bytes, 0, "{name}");
        let Some(ReadError::Damaged {
            segment,
            position_bytes,
            ..
        }) = found.error
        else {
            panic!("{name}: {:?}", found.error)
        };
        assert_eq!(
            (segment, position_bytes),
            (extent.segment, second as u64),
            "{name}"
        );

        object[second + flip_at] ^= 0x40;
        fixture.base.put(&path, object.into()).await.unwrap();
        let found = fixture.read(0, all(4)).await;
        assert!(
            found.error.is_none() && found.end_offset == 4,
            "{name}: what came damaged once is not kept: {:?}",
            found.error
        );
    }
}

#[tokio::test(start_paused = true)]
async fn missing_and_short_objects_are_errors() {
    let mut fixture = Fixture::new();
    fixture.add(&[(0, batch(2, 500, 1))], false).await;
    let path = key::segment(LINEAGE, 0, fixture.segments[0].id);
    fixture
        .base
        .put(&path, Bytes::from_static(b"short").into())
        .await
        .unwrap();
    let found = fixture.read(0, all(2)).await;
    assert!(
        matches!(&found.error, Some(ReadError::Store(error)) if error.kind() == StoreErrorKind::Invalid),
        "{:?}",
        found.error
    );
    assert_eq!(found.size_bytes, 0);

    let mut fixture = Fixture::new();
    fixture.add(&[(0, batch(2, 500, 1))], false).await;
    fixture.base.delete(&path).await.unwrap();
    let found = fixture.read(0, all(2)).await;
    assert!(
        matches!(&found.error, Some(ReadError::Store(error)) if error.kind() == StoreErrorKind::NotFound),
        "{:?}",
        found.error
    );
}

#[tokio::test(start_paused = true)]
async fn batches_that_do_not_take_the_committed_offsets_are_damage() {
    let mut fixture = Fixture::new();
    fixture
        .add(&[(0, batch(3, 500, 1)), (0, batch(2, 500, 1))], true)
        .await;
    let extent = fixture.logs[&partition(0)].extents[0];
    for (end_offset, served) in [(4, 3), (6, 5)] {
        let wrong = Extent {
            end_offset,
            ..extent
        };
        let found = fixture.reader.read(&[wrong], all(end_offset), SCAN).await;
        assert!(
            matches!(
                &found.error,
                Some(ReadError::Damaged {
                    damage: Damage::Offsets { .. },
                    ..
                })
            ),
            "{:?}",
            found.error
        );
        assert_eq!(found.end_offset, served);
    }
}

#[tokio::test(start_paused = true)]
async fn small_objects_are_read_side_by_side_and_once() {
    let mut fixture = Fixture::new();
    for _ in 0..20 {
        fixture.add(&[(0, batch(1, 2000, 1))], false).await;
    }
    let found = fixture.read(0, all(20)).await;
    assert_eq!(found.end_offset, 20);
    let stats = fixture.cache.stats();
    assert_eq!(stats.misses, 20, "one GET per object: {stats:?}");
    let again = fixture.read(0, all(20)).await;
    assert_eq!(again.size_bytes, found.size_bytes);
    assert_eq!(fixture.cache.stats().misses, 20);
}

#[tokio::test(start_paused = true)]
async fn merged_segments_are_served_as_they_are() {
    let fixture = Fixture::new();
    let id = SegmentId {
        write_epoch: 1,
        incarnation: 1,
        counter: 9,
    };
    let mut writer = Writer::new(id, 1, 0);
    // Compaction left a gap between the batches.
    for base_offset in [100, 110] {
        let mut builder = BatchBuilder::new(Compression::None).base_offset(base_offset);
        for _ in 0..3 {
            builder.append(1, None, Some(b"value"));
        }
        let bytes = builder.build().unwrap();
        let header = BatchHeader::parse(&bytes).unwrap();
        writer.push(partition(0), &header, bytes, Some(base_offset));
    }
    let sealed = writer.seal();
    let store = Arc::clone(&fixture.base);
    let payload = sealed
        .payload
        .chunks()
        .iter()
        .cloned()
        .collect::<object_store::PutPayload>();
    store
        .put(&key::segment(LINEAGE, 1, id), payload)
        .await
        .unwrap();
    let extents: Vec<_> = sealed
        .index
        .extents
        .iter()
        .map(|extent| Extent {
            segment: id,
            level: 1,
            position_bytes: extent.position_bytes,
            length_bytes: u32::try_from(extent.length_bytes()).unwrap(),
            base_offset: extent.base_offset.unwrap(),
            end_offset: extent.base_offset.unwrap() + extent.record_count() as i64,
            max_timestamp_ms: 1,
        })
        .collect();
    let found = fixture
        .reader
        .read(
            &extents,
            Want {
                from: 104,
                ..all(113)
            },
            SCAN,
        )
        .await;
    assert!(found.error.is_none());
    let header = BatchHeader::parse(&found.pieces.concat()).unwrap();
    assert_eq!((header.base_offset, found.end_offset), (110, 113));
}
