//! What is streamed is what would have been sealed, however the store cuts it up.

use bytes::Bytes;
use floe_protocol::record_batch::BatchHeader;
use object_store::memory::InMemory;
use object_store::path::Path;
use proptest::prelude::*;

use super::{CREATED_MS, ID, batch, partition, whole};
use crate::error::Outcome;
use crate::key::{self, Lineage};
use crate::segment::{StreamWriter, Writer, reader};
use crate::store::fault::{Fate, FaultPlan, FaultStore};
use crate::store::{Caller, Operation, Store, StoreErrorKind, StoreOptions, Upload, UploadOptions};

fn store_over(faults: &FaultStore) -> Store {
    let base = std::sync::Arc::new(faults.clone());
    Store::new(base, &Path::default(), &StoreOptions::default(), 1)
}

fn store() -> (FaultStore, Store) {
    let faults = FaultStore::new(std::sync::Arc::new(InMemory::new()), FaultPlan::none(), 1);
    let store = store_over(&faults);
    (faults, store)
}

fn path() -> Path {
    key::segment(Lineage([1; 16]), 1, ID)
}

fn writer(store: &Store, part_bytes: usize) -> StreamWriter {
    let options = UploadOptions {
        part_bytes,
        parts_at_once: 2,
    };
    let upload = Upload::new(store.clone(), path(), Caller::Compaction, options);
    StreamWriter::new(ID, 1, CREATED_MS, upload)
}

/// A batch in pieces, cut within its header and behind it.
fn cut(batch: &Bytes) -> Vec<Bytes> {
    vec![batch.slice(..30), batch.slice(30..65), batch.slice(65..)]
}

/// By partition, then offset: which partition, where its first offset is, records and bytes of each.
type Planned = (u8, i32, i64, usize, usize);

fn planned() -> impl Strategy<Value = Vec<Planned>> {
    let one = (0u8..3, 0i32..3, 0i64..3, 1usize..4, 1usize..6000);
    prop::collection::vec(one, 0..40).prop_map(|mut batches| {
        batches.sort_by_key(|(topic, number, ..)| (*topic, *number));
        let mut next = 0;
        let mut before = None;
        for (topic, number, gap, records, _) in &mut batches {
            if before != Some((*topic, *number)) {
                next = 10;
            }
            before = Some((*topic, *number));
            // Now and then a hole.
            let base_offset = next + (*gap - 1).max(0);
            next = base_offset + i64::try_from(*records).unwrap();
            *gap = base_offset;
        }
        batches
    })
}

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(future)
}

proptest! {
    #[test]
    fn what_is_streamed_is_what_would_have_been_sealed(
        batches in planned(), part_bytes in 1usize..30_000, forgotten in any::<prop::sample::Index>(),
    ) {
        run(async {
            let (_, store) = store();
            let mut streamed = writer(&store, part_bytes);
            let mut sealed = Writer::new(ID, 1, CREATED_MS);
            let forgotten = forgotten.index(batches.len() + 1);
            for (number, (topic, number_in_topic, base_offset, records, bytes)) in batches.iter().enumerate() {
                let to = partition(*topic, *number_in_topic);
                // As at level 0: base offset and leader epoch are not final.
                let (header, raw) = batch(0, *records, *bytes);
                if number == forgotten {
                    // Has no effect on what follows but that its bytes lie in between.
                    streamed.keep();
                    streamed.push(to, &header, &cut(&raw), *base_offset).await.unwrap();
                    streamed.push(to, &header, &cut(&raw), *base_offset + 100).await.unwrap();
                    streamed.forget();
                }
                streamed.push(to, &header, &cut(&raw), *base_offset).await.unwrap();
                let (header, raw) = batch(*base_offset, *records, *bytes);
                let mut raw = raw.to_vec();
                raw[12..16].fill(0);
                sealed.push(to, &header, Bytes::from(raw), Some(*base_offset));
            }
            let body = streamed.size_bytes();
            prop_assert!(streamed.buffered_bytes_max() <= 3 * part_bytes);
            let written = streamed.finish().await.unwrap();
            let object = store.get_whole(&path(), Caller::Compaction).await.unwrap();
            prop_assert_eq!(written.size_bytes, object.len() as u64);
            prop_assert!(written.size_bytes >= body);
            let sealed = sealed.seal();
            if forgotten == batches.len() {
                prop_assert_eq!(object.as_ref(), whole(&sealed), "byte for byte");
            }
            let (footer, index) = reader::parse(&object).unwrap();
            prop_assert_eq!((footer.id, footer.level, footer.created_ms), (ID, 1, CREATED_MS));
            for extent in &index.extents {
                let start = usize::try_from(extent.position_bytes).unwrap();
                let end = start + usize::try_from(extent.length_bytes()).unwrap();
                prop_assert!(extent.matches(&[object.slice(start..end)]), "{}", extent.partition);
                prop_assert_eq!(
                    BatchHeader::parse(&object[start..]).unwrap().base_offset,
                    extent.base_offset.unwrap()
                );
            }
            // The same batches, whatever lies between them.
            let all = |index: &crate::segment::Index| -> Vec<_> {
                let extents = index.extents.iter();
                extents.flat_map(|e| e.batches.iter().map(|b| (e.partition, *b)).collect::<Vec<_>>()).collect()
            };
            prop_assert_eq!(all(&index), all(&sealed.index));
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn small_segments_are_one_put_and_large_ones_leave_in_parts() {
    for batches in [0, 1, 2, 3, 40] {
        let (_, store) = store();
        let mut writer = writer(&store, 10_000);
        let (header, raw) = batch(0, 1, 4_000);
        for number in 0..batches {
            let pieces = cut(&raw);
            let pushed = writer.push(partition(1, 0), &header, &pieces, number);
            pushed.await.unwrap();
        }
        let written = writer.finish().await.unwrap();
        let parts = written.size_bytes.div_ceil(10_000);
        let puts = store.request_counts().total(Operation::Put);
        let expected = if parts == 1 { 1 } else { parts + 2 };
        assert_eq!(puts, expected, "{batches}: start, parts, completion");
        assert_eq!(parts > 1, batches > 2);
        let object = store.get_whole(&path(), Caller::Fetch).await.unwrap();
        assert_eq!(object.len() as u64, written.size_bytes);
    }
}

/// What became of 40 batches in parts of 10,000 bytes over a store with this plan.
async fn outcome(
    plan: FaultPlan,
    seed: u64,
) -> (FaultStore, Store, Result<u64, crate::error::StoreError>) {
    let faults = FaultStore::new(std::sync::Arc::new(InMemory::new()), plan, seed);
    let store = store_over(&faults);
    let mut writer = writer(&store, 10_000);
    let (header, raw) = batch(0, 1, 5_000);
    for number in 0..40 {
        if let Err(error) = writer
            .push(partition(1, 0), &header, &cut(&raw), number)
            .await
        {
            writer.abort().await;
            return (faults, store, Err(error));
        }
    }
    let finished = writer.finish().await.map(|written| written.size_bytes);
    (faults, store, finished)
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_wrong_never_shows_half_an_object() {
    let plan = FaultPlan {
        throttled_rate: 0.01,
        failed_rate: 0.005,
        lost_reply_rate: 0.05,
        late_effect_rate: 0.05,
        late_max: std::time::Duration::from_secs(60),
        hang_rate: 0.005,
        ..FaultPlan::healthy()
    };
    let (mut good, mut failed_and_there, mut failed) = (0, 0, 0);
    for seed in 0..200 {
        let (faults, store, finished) = outcome(plan.clone(), seed).await;
        faults.settled().await;
        faults.set_plan(FaultPlan::none());
        let there = store.head(&path(), Caller::Compaction).await.unwrap();
        match finished {
            Ok(size) => {
                assert_eq!(there.map(|meta| meta.size), Some(size), "seed {seed}");
                good += 1;
            }
            Err(error) => {
                failed += 1;
                if let Some(meta) = there {
                    assert_eq!(error.outcome(), Outcome::Unknown, "seed {seed}: {error}");
                    assert!(meta.size > 40 * 5_000, "seed {seed}: a whole one");
                    failed_and_there += 1;
                }
            }
        }
        if there_is(&store).await {
            let object = store.get_whole(&path(), Caller::Fetch).await.unwrap();
            assert_eq!(reader::parse(&object).unwrap().0.batch_count, 40);
        }
    }
    assert!(
        good > 20 && failed > 20 && failed_and_there > 3,
        "{good} {failed} {failed_and_there}"
    );
}

async fn there_is(store: &Store) -> bool {
    store
        .head(&path(), Caller::Compaction)
        .await
        .unwrap()
        .is_some()
}

#[tokio::test(start_paused = true)]
async fn a_completion_without_an_answer_is_a_failure_of_unknown_outcome() {
    let (faults, store) = store();
    let mut writer = writer(&store, 10_000);
    let (header, raw) = batch(0, 1, 15_000);
    writer
        .push(partition(1, 0), &header, &cut(&raw), 0)
        .await
        .unwrap();
    faults.set_plan(FaultPlan {
        hang_rate: 1.0,
        ..FaultPlan::none()
    });
    let error = writer.finish().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Timeout);
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert!(faults.fates().keys().any(|fate| *fate != Fate::Served));
}

#[tokio::test]
async fn a_taken_name_is_an_error() {
    let (_, store) = store();
    let taken = vec![Bytes::from_static(b"another object")];
    store
        .put_create(&path(), taken, Caller::Compaction)
        .await
        .unwrap();
    let error = writer(&store, 10_000).finish().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::AlreadyExists);
}
