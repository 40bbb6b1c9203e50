//! Segments of level 1 and up: gaps, extents without records, and offsets that no checksum covers.

use super::*;

/// A merged log of partition 0: an extent per entry, with the base offsets of its batches of two records, and
/// where it ends. All lie in one object of level 1.
async fn merged(fixture: &Fixture, extents: &[(&[i64], i64)]) -> (Vec<Extent>, Vec<(i64, Bytes)>) {
    let segment = SegmentId {
        write_epoch: 1,
        incarnation: 2,
        counter: 9,
    };
    let mut writer = Writer::new(segment, 1, 0);
    let mut batches = Vec::new();
    for (number, (bases, _)) in extents.iter().enumerate() {
        for base_offset in *bases {
            let mut builder = BatchBuilder::new(Compression::None).base_offset(*base_offset);
            for _ in 0..2 {
                builder.append(1, None, Some(&[number as u8; 300]));
            }
            let bytes = builder.build().unwrap();
            let header = BatchHeader::parse(&bytes).unwrap();
            writer.push(partition(0), &header, bytes.clone(), Some(*base_offset));
            let mut served = bytes.to_vec();
            served[12..16].copy_from_slice(&0_i32.to_be_bytes());
            batches.push((*base_offset, Bytes::from(served)));
        }
    }
    let sealed = writer.seal();
    let payload = sealed.payload.chunks().iter().cloned();
    let path = key::segment(LINEAGE, 1, segment);
    let stored = fixture.base.put(&path, payload.collect()).await;
    stored.unwrap();
    // All batches of the partition follow each other.
    let mut position_bytes = sealed
        .index
        .extents
        .first()
        .map_or(0, |it| it.position_bytes);
    let (mut base_offset, mut runs) = (0, Vec::new());
    let mut sizes = batches.iter().map(|(_, bytes): &(i64, Bytes)| bytes.len());
    for (bases, end_offset) in extents {
        let length: usize = sizes.by_ref().take(bases.len()).sum();
        runs.push(Extent {
            segment,
            level: 1,
            position_bytes,
            length_bytes: u32::try_from(length).unwrap(),
            base_offset,
            end_offset: *end_offset,
            max_timestamp_ms: 1,
        });
        position_bytes += length as u64;
        base_offset = *end_offset;
    }
    (runs, batches)
}

#[tokio::test(start_paused = true)]
async fn gaps_are_read_over_wherever_a_reader_stands() {
    let fixture = Fixture::new();
    let log: [(&[i64], i64); 6] = [
        (&[], 5),
        (&[7, 12], 20),
        (&[], 30),
        (&[], 40),
        (&[40, 42, 58], 60),
        (&[], 70),
    ];
    let (extents, batches) = merged(&fixture, &log).await;
    for from in 0..70 {
        let first = extents.partition_point(|extent| extent.end_offset <= from);
        for max_bytes in [1, 800, u64::MAX] {
            let want = Want {
                from,
                max_bytes,
                ..all(70)
            };
            let found = fixture.reader.read(&extents[first..], want, SCAN).await;
            assert!(found.error.is_none(), "{from}: {:?}", found.error);
            let mut expected = Vec::new();
            for (base_offset, bytes) in &batches {
                let fits = (expected.len() + bytes.len()) as u64 <= max_bytes;
                if base_offset + 2 > from && (fits || expected.is_empty()) {
                    expected.extend_from_slice(bytes);
                } else if base_offset + 2 > from {
                    break;
                }
            }
            assert_eq!(found.pieces.concat(), expected, "{from}, {max_bytes}");
            let rest = batches.iter().filter(|(base, _)| base + 2 > from).count();
            if max_bytes == u64::MAX || rest != 1 {
                let all_is_read = max_bytes == u64::MAX || rest == 0;
                assert_eq!(found.is_through, all_is_read, "{from}, {max_bytes}");
            }
        }
    }
}

/// The base offset lies outside of what the checksum covers.
#[tokio::test(start_paused = true)]
async fn merged_batches_whose_offsets_make_no_sense_are_damage() {
    for (name, base_offset, served) in [
        ("before the batch in front", 11_i64, 14_i64),
        ("before the extent", -5, 14),
        ("beyond the extent", 19, 14),
        ("far away", i64::MAX - 1, 14),
        ("in a gap", 17, 19),
    ] {
        let fixture = Fixture::new();
        let (extents, batches) = merged(&fixture, &[(&[7, 12, 15], 20)]).await;
        let path = key::segment(LINEAGE, 1, extents[0].segment);
        let object = fixture
            .base
            .get(&path)
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        let mut object = object.to_vec();
        let last = extents[0].position_bytes as usize + 2 * batches[0].1.len();
        object[last..last + 8].copy_from_slice(&base_offset.to_be_bytes());
        fixture.base.put(&path, object.into()).await.unwrap();
        let found = fixture.reader.read(&extents, all(20), SCAN).await;
        assert_eq!(found.end_offset, served, "{name}");
        let is_damaged = matches!(
            &found.error,
            Some(ReadError::Damaged {
                damage: Damage::Offsets { .. },
                ..
            })
        );
        assert_eq!(is_damaged, served == 14, "{name}: {:?}", found.error);
    }
}
