//! Damaged sources: nothing of them is spread, nothing is left out in silence, everything else is merged.

use bytes::Bytes;
use floe_storage::segment::SegmentId;

use super::*;

/// Three segments with a batch for each of three partitions, merged after `damage` was done to the second.
/// Returns the world, its second segment and the report.
async fn merged_after<F: Future<Output = ()>>(
    damage: impl FnOnce(std::sync::Arc<World>, SegmentId) -> F,
) -> (std::sync::Arc<World>, SegmentId, MergeReport) {
    let mut world = World::new(1).await;
    let all = [0, 1, 2].map(|index| (partition(1, index), 2, 500));
    world.produce(&all).await;
    let second = world.produce(&all).await;
    world.produce(&all).await;
    let world = std::sync::Arc::new(world);
    damage(std::sync::Arc::clone(&world), second).await;
    let spec = world.all_of_level(0).await;
    let (report, result) = world.merger(MergeConfig::default()).run(&spec).await;
    result.unwrap();
    (world, second, report)
}

/// Levels of the extents of each partition, in order.
async fn levels(world: &World) -> Vec<Vec<u8>> {
    let mut levels = Vec::new();
    for index in 0..3 {
        let extents = world.extents(partition(1, index)).await;
        levels.push(extents.iter().map(|extent| extent.level).collect());
    }
    levels
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_keeps_its_extent_where_it_is() {
    for place in [0.25, 0.45, 0.8] {
        let (world, second, report) = merged_after(|world, second| async move {
            let flip = |bytes: &mut Vec<u8>| {
                let at = (bytes.len() as f64 * place) as usize;
                bytes[at] ^= 0x40;
            };
            world.tamper(0, second, flip).await;
        })
        .await;
        assert_eq!(
            (report.damaged_extents, report.damaged.len()),
            (1, 1),
            "{place}"
        );
        let levels = levels(&world).await;
        let broken = levels.iter().filter(|levels| **levels == [1, 0, 1]).count();
        let whole = levels.iter().filter(|levels| **levels == [1]).count();
        assert_eq!((broken, whole), (1, 2), "{place}: {levels:?}");
        let live = world.live().await;
        let left = live.iter().find(|segment| segment.level == 0).unwrap();
        assert_eq!((left.segment, left.live_extents), (second, 1));
        // The index of the output does not speak of it.
        let path = world.lineages.segment(1, report.completed[0]);
        let object = world.store.get_whole(&path, Caller::Fetch).await.unwrap();
        let (footer, _) = floe_storage::segment::reader::parse(&object).unwrap();
        assert_eq!((footer.batch_count, footer.extent_count), (8, 4));
    }
}

#[tokio::test(start_paused = true)]
async fn what_lies_before_the_end_of_a_cut_object_is_merged() {
    let mut whole = Vec::new();
    let (world, _, report) = merged_after(|world, second| async move {
        world
            .tamper(0, second, |bytes| bytes.truncate(bytes.len() / 2))
            .await;
    })
    .await;
    assert_eq!((report.damaged_extents, report.damaged.len()), (2, 1));
    whole.extend(levels(&world).await);
    assert_eq!(whole, [vec![1], vec![1, 0, 1], vec![1, 0, 1]]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_object_is_asked_for_once_and_can_be_put_back() {
    let lost = std::sync::Arc::new(std::sync::Mutex::new(Bytes::new()));
    let keep = std::sync::Arc::clone(&lost);
    let (world, second, report) = merged_after(|world, second| async move {
        let bytes = world.delete_object(0, second).await;
        *keep.lock().unwrap() = bytes;
    })
    .await;
    assert_eq!((report.damaged_extents, report.damaged.len()), (3, 1));
    assert_eq!(levels(&world).await, vec![vec![1, 0, 1]; 3]);
    let bytes = lost.lock().unwrap().clone();
    world.restore_object(0, second, bytes).await;
    world.check("put back").await;
    sleep(Duration::from_secs(120)).await;
    let spec = world.all_of_level(0).await;
    let (report, result) = world.merger(MergeConfig::default()).run(&spec).await;
    result.unwrap();
    assert_eq!(report.damaged_extents, 0);
    world.check("merged").await;
}

#[tokio::test(start_paused = true)]
async fn bits_that_fall_over_on_the_way_are_no_damage() {
    for seed in 0..20 {
        let mut world = World::new(seed).await;
        for _ in 0..5 {
            let all = [0, 1, 2].map(|index| (partition(1, index), 2, 500));
            world.produce(&all).await;
        }
        world.faults.set_plan(FaultPlan {
            damaged_get_rate: 0.01,
            short_get_rate: 0.1,
            ..FaultPlan::none()
        });
        let spec = world.all_of_level(0).await;
        let (report, result) = world.merger(small()).run(&spec).await;
        result.unwrap();
        world.faults.set_plan(FaultPlan::none());
        assert!(report.damaged_extents <= 1, "seed {seed}: {report:?}");
        world.check(&format!("seed {seed}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_was_changed_in_a_merged_object_is_found() {
    for (at, by) in [(7, 1), (7, 4), (0, 0x80)] {
        let mut world = World::new(1).await;
        for _ in 0..3 {
            world.produce(&[(partition(1, 0), 2, 500)]).await;
        }
        let merger = world.merger(MergeConfig::default());
        let spec = world.all_of_level(0).await;
        let merged = merger.run(&spec).await.0.completed[0];
        // Outside of the checksum of the batch.
        let header = floe_storage::segment::HEADER_BYTES as usize;
        world
            .tamper(1, merged, |bytes| bytes[header + at] ^= by)
            .await;
        let spec = world.all_of_level(1).await;
        let (report, result) = merger.run(&spec).await;
        result.unwrap();
        assert_eq!(
            (report.damaged_extents, report.completed.len()),
            (1, 0),
            "{at} {by}"
        );
        assert_eq!(world.levels().await, [0, 1, 0]);
    }
}
