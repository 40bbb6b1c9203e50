//! Segments written, read, damaged, and compared with what past versions wrote.

mod golden;
mod stream;

use std::sync::Arc;

use bytes::Bytes;
use floe_protocol::compression::Compression;
use floe_protocol::record_batch::{BatchBuilder, BatchHeader};
use floe_protocol::types::{Offset, TopicId, TopicPartition};
use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::*;

use super::*;
use crate::key::{self, Lineage};
use crate::store::{Caller, Operation, Store, StoreOptions};

const ID: SegmentId = SegmentId {
    write_epoch: 3,
    incarnation: 7,
    counter: 42,
};
const CREATED_MS: i64 = 1_700_000_000_000;

fn partition(topic: u8, partition: i32) -> TopicPartition {
    TopicPartition::new(TopicId::from_bytes([topic; 16]), partition)
}

/// A batch of one record of `value_bytes`, or of several of it.
fn batch(base_offset: Offset, records: usize, value_bytes: usize) -> (BatchHeader, Bytes) {
    let mut builder = BatchBuilder::new(Compression::None)
        .base_offset(base_offset)
        .producer(9, 1, 100);
    for number in 0..records {
        let value = vec![b'a' + u8::try_from(number % 26).unwrap(); value_bytes];
        builder.append(
            CREATED_MS + i64::try_from(number).unwrap(),
            Some(b"key"),
            Some(&value),
        );
    }
    let bytes = builder.build().unwrap();
    (BatchHeader::parse(&bytes).unwrap(), bytes)
}

fn whole(sealed: &SealedSegment) -> Vec<u8> {
    sealed.payload.chunks().concat()
}

#[test]
fn partitions_are_sorted_and_their_batches_keep_their_order() {
    let mut writer = Writer::new(ID, 0, CREATED_MS);
    let arrivals = [
        (2, 0, 10),
        (1, 5, 20),
        (2, 0, 30),
        (1, 1, 5000),
        (1, 5, 40),
        (1, 5, 9000),
    ];
    for (topic, number, value_bytes) in arrivals {
        let (header, bytes) = batch(0, 1, value_bytes);
        writer.push(partition(topic, number), &header, bytes, None);
    }
    let sealed = writer.seal();
    let object = whole(&sealed);
    let (footer, index) = reader::parse(&object).unwrap();
    assert_eq!(index, *sealed.index);
    assert_eq!(
        (footer.id, footer.level, footer.created_ms),
        (ID, 0, CREATED_MS)
    );
    assert_eq!(
        (footer.extent_count, footer.batch_count, footer.record_count),
        (3, 6, 6)
    );
    assert_eq!(sealed.size_bytes, object.len() as u64);

    let lengths: Vec<_> = index
        .extents
        .iter()
        .map(|extent| {
            let lengths = extent
                .batches
                .iter()
                .map(|batch| batch.length_bytes)
                .collect();
            (extent.partition, lengths)
        })
        .collect();
    let length = |value_bytes| u32::try_from(batch(0, 1, value_bytes).1.len()).unwrap();
    let expected: Vec<(TopicPartition, Vec<u32>)> = vec![
        (partition(1, 1), vec![length(5000)]),
        (partition(1, 5), vec![length(20), length(40), length(9000)]),
        (partition(2, 0), vec![length(10), length(30)]),
    ];
    assert_eq!(lengths, expected);
    for extent in &index.extents {
        let end = extent.position_bytes + extent.length_bytes();
        let bytes = sealed.payload.slice(extent.position_bytes..end);
        assert!(
            extent.matches(&bytes),
            "the checksum of {}",
            extent.partition
        );
        let mut damaged = bytes.concat();
        damaged[30] ^= 1;
        assert!(!extent.matches(&[Bytes::from(damaged)]));
    }
}

#[test]
fn large_batches_are_referenced_and_small_ones_copied_together() {
    let mut writer = Writer::new(ID, 0, CREATED_MS);
    let (large_header, large) = batch(0, 1, 100_000);
    let (small_header, small) = batch(0, 1, 100);
    for _ in 0..50 {
        writer.push(partition(1, 0), &small_header, small.clone(), None);
    }
    writer.push(partition(1, 1), &large_header, large.clone(), None);
    assert_eq!(writer.batch_count(), 51);
    let body = 50 * small.len() + large.len();
    assert_eq!(
        writer.size_bytes(),
        body as u64 + HEADER_BYTES + FOOTER_BYTES
    );
    let sealed = writer.seal();
    let chunks = sealed.payload.chunks();
    assert_eq!(
        chunks.len(),
        3,
        "header and small ones, the large one, index and footer"
    );
    assert_eq!(chunks[1].as_ptr(), large.as_ptr(), "not copied");
    assert_ne!(chunks[0][40..].as_ptr(), small.as_ptr());
}

#[test]
fn an_empty_segment_is_a_segment() {
    let writer = Writer::new(ID, 0, CREATED_MS);
    assert!(writer.is_empty());
    let sealed = writer.seal();
    let (footer, index) = reader::parse(&whole(&sealed)).unwrap();
    assert_eq!((footer.batch_count, index), (0, Index::default()));
}

#[test]
fn from_level_1_on_a_hole_in_the_offsets_begins_a_new_extent() {
    let mut writer = Writer::new(ID, 1, CREATED_MS);
    for base_offset in [100, 103, 110, 113] {
        let (header, bytes) = batch(base_offset, 3, 10);
        writer.push(partition(1, 0), &header, bytes, Some(base_offset));
    }
    let sealed = writer.seal();
    let (_, index) = reader::parse(&whole(&sealed)).unwrap();
    let runs: Vec<_> = index
        .extents
        .iter()
        .map(|extent| (extent.base_offset, extent.batches.len()))
        .collect();
    assert_eq!(runs, [(Some(100), 2), (Some(110), 2)]);
}

#[test]
#[should_panic(expected = "go back")]
fn offsets_that_go_back_are_a_broken_invariant() {
    let mut writer = Writer::new(ID, 1, CREATED_MS);
    for base_offset in [100, 101] {
        let (header, bytes) = batch(base_offset, 3, 10);
        writer.push(partition(1, 0), &header, bytes, Some(base_offset));
    }
    drop(writer.seal());
}

#[tokio::test]
async fn one_get_brings_footer_and_index_and_a_long_index_takes_two() {
    for (batches, gets) in [(10, 1), (40_000, 2)] {
        let memory = Arc::new(InMemory::new());
        let store = Store::new(memory, &Path::from("x"), &StoreOptions::default(), 1);
        let mut writer = Writer::new(ID, 0, CREATED_MS);
        for number in 0..batches {
            let mut builder = BatchBuilder::new(Compression::None);
            // Times that do not compress, so that the index is long.
            let noise = floe_protocol::checksum::crc32c(&i32::to_be_bytes(number));
            let time = CREATED_MS + i64::from(noise);
            builder.append(time, None, Some(b"v"));
            let bytes = builder.build().unwrap();
            writer.push(
                partition(1, number % 100),
                &BatchHeader::parse(&bytes).unwrap(),
                bytes,
                None,
            );
        }
        let sealed = writer.seal();
        let path = key::segment(Lineage([1; 16]), 0, ID);
        store
            .put_create(&path, sealed.payload.chunks().to_vec(), Caller::Produce)
            .await
            .unwrap();
        let (footer, index) = reader::read_index(&store, &path, Caller::Fetch)
            .await
            .unwrap();
        assert_eq!(index, *sealed.index);
        assert_eq!(footer.batch_count, u32::try_from(batches).unwrap());
        assert_eq!(
            store.request_counts().total(Operation::Get),
            gets,
            "{batches} batches"
        );
    }
}

#[tokio::test]
async fn a_damaged_object_is_told_from_a_store_that_fails() {
    let store = Store::new(
        Arc::new(InMemory::new()),
        &Path::default(),
        &StoreOptions::default(),
        1,
    );
    let path = key::segment(Lineage([1; 16]), 0, ID);
    let missing = reader::read_index(&store, &path, Caller::Fetch).await;
    assert!(matches!(missing, Err(ReadError::Store(_))), "{missing:?}");
    store
        .put_create(
            &path,
            vec![Bytes::from_static(b"no segment")],
            Caller::Produce,
        )
        .await
        .unwrap();
    let damaged = reader::read_index(&store, &path, Caller::Fetch).await;
    let expected = TailError::Footer(FooterError::TooShort(10));
    assert!(matches!(damaged, Err(ReadError::Damaged { reason, .. }) if reason == expected));
}

#[test]
fn every_single_damage_to_a_segment_is_found() {
    let object = whole(&golden::level(0));
    let (footer, _) = reader::parse(&object).unwrap();
    let body = HEADER_BYTES..footer.index_position_bytes;
    for place in 0..object.len() {
        let mut damaged = object.clone();
        damaged[place] ^= 0x10;
        let found = reader::parse(&damaged).is_err();
        // The body is guarded by the extents' own checksums, and by each batch's.
        assert_eq!(found, !body.contains(&(place as u64)), "byte {place}");
    }
    for length in 0..object.len() {
        assert!(reader::parse(&object[..length]).is_err(), "cut to {length}");
    }
}

prop_compose! {
    fn any_batch()(
        length_bytes in 61u32.., record_count in 1u32.., attributes: u16,
        base_timestamp_ms: i64, max_timestamp_ms: i64,
        producer_id: i64, producer_epoch: i16, base_sequence: i32,
    ) -> IndexBatch {
        IndexBatch {
            length_bytes, record_count, attributes, base_timestamp_ms, max_timestamp_ms,
            producer_id, producer_epoch, base_sequence,
        }
    }
}

prop_compose! {
    fn any_index()(
        extents in prop::collection::btree_map(
            (0u8..4, any::<i32>()),
            (any::<u32>(), prop::option::of(0i64..), 0u64..1 << 40,
             prop::collection::vec(any_batch(), 1..6)),
            0..8,
        ),
    ) -> Index {
        let mut position_bytes = 0;
        let extents = extents.into_iter().map(|((topic, number), (crc, base_offset, gap, batches))| {
            position_bytes += gap;
            let partition = partition(topic, number);
            let extent = IndexExtent { partition, position_bytes, crc, base_offset, batches };
            position_bytes += extent.length_bytes();
            extent
        });
        Index { extents: extents.collect() }
    }
}

proptest! {
    #[test]
    fn an_index_comes_back(index in any_index()) {
        let columns = index.encode_columns();
        prop_assert_eq!(Index::decode_columns(&columns), Ok(index.clone()));
        let packed = index.encode();
        prop_assert_eq!(Index::decode(&packed, columns.len() as u64), Ok(index.clone()));
        let body: u64 = index.extents.iter().map(IndexExtent::length_bytes).sum();
        prop_assert!(columns.len() as u64 <= index::columns_bytes_max(body));
    }

    #[test]
    fn a_limit_below_the_columns_is_kept(index in any_index()) {
        let limit = index.encode_columns().len() as u64 - 1;
        let refused = matches!(
            Index::decode(&index.encode(), limit),
            Err(IndexError::TooLarge { .. })
        );
        prop_assert!(refused);
    }

    #[test]
    fn garbage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(reader::parse(&bytes).is_err());
        // These have no checksum: what decodes must at least be what would be encoded.
        if let Ok(index) = Index::decode_columns(&bytes) {
            prop_assert_eq!(Index::decode_columns(&index.encode_columns()), Ok(index));
        }
        prop_assert!(Index::decode(&bytes, 1 << 20).is_err() || bytes.len() > 5);
    }

    #[test]
    fn a_damaged_index_is_an_error_or_another_index_and_never_large(
        index in any_index(), place in any::<prop::sample::Index>(), flip in 1u8..,
    ) {
        let mut columns = index.encode_columns();
        let place = place.index(columns.len());
        columns[place] ^= flip;
        if let Ok(other) = Index::decode_columns(&columns) {
            // Eight columns of a byte each are the least a batch can be.
            prop_assert!(other.batch_count() * 8 <= columns.len());
        }
    }
}

#[test]
fn claims_do_not_size_allocations() {
    // Four billion topics; two topics with four billion extents; a packed gigabyte.
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let topics = [[1].as_slice(), &huge].concat();
    assert_eq!(Index::decode_columns(&topics), Err(IndexError::CutOff));
    let extents = [[1, 1].as_slice(), &[7; 16], &huge, &[0; 64]].concat();
    assert_eq!(Index::decode_columns(&extents), Err(IndexError::CutOff));
    let claim = [1, 0x40, 0, 0, 0, 9, 9];
    let limit = 1 << 20;
    assert_eq!(
        Index::decode(&claim, limit),
        Err(IndexError::TooLarge {
            claimed: 1 << 30,
            limit
        }),
    );
    // A bomb that says it is small: 16 MiB of zeros in a few hundred bytes, claimed as 100 bytes.
    let bomb = zstd::bulk::compress(&vec![0; 16 << 20], 1).unwrap();
    let packed = [[1, 0, 0, 0, 100].as_slice(), &bomb].concat();
    assert_eq!(Index::decode(&packed, limit), Err(IndexError::Compression));
}

#[test]
fn alike_batches_cost_a_few_bits_each() {
    let mut writer = Writer::new(ID, 0, CREATED_MS);
    for number in 0..10_000 {
        let mut builder =
            BatchBuilder::new(Compression::None).producer(9, 1, i32::try_from(number).unwrap());
        builder.append(CREATED_MS + number / 10, None, Some(b"value"));
        let bytes = builder.build().unwrap();
        let to = partition(1, i32::try_from(number % 1000).unwrap());
        writer.push(to, &BatchHeader::parse(&bytes).unwrap(), bytes, None);
    }
    let packed = writer.seal().index.encode();
    assert!(
        packed.len() < 20_000,
        "{} bytes for 10,000 batches",
        packed.len()
    );
}
