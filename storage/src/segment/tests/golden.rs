//! What past versions wrote, byte for byte.

use super::{CREATED_MS, ID, batch, partition, whole};
use crate::segment::{SealedSegment, Writer, reader};

/// What version 1 looked like when it was fixed. Never regenerate these files: what they hold is in
/// buckets. A new version gets new files.
#[test]
fn version_1_is_read_and_written_as_it_always_was() {
    let golden: [(&[u8], SealedSegment); 4] = [
        (
            include_bytes!("../../../../tests/data/segment/v1-zstd.bin"),
            packed(),
        ),
        (
            include_bytes!("../../../../tests/data/segment/v1-empty.bin"),
            empty(),
        ),
        (
            include_bytes!("../../../../tests/data/segment/v1-level0.bin"),
            level(0),
        ),
        (
            include_bytes!("../../../../tests/data/segment/v1-level1.bin"),
            level(1),
        ),
    ];
    for (number, (stored, sealed)) in golden.into_iter().enumerate() {
        let (footer, index) = reader::parse(stored).unwrap();
        assert_eq!(index, *sealed.index, "reading file {number}");
        assert_eq!((footer.id, footer.level), (sealed.id, sealed.level));
        // Another zstd may pack the same columns into other bytes.
        if number > 0 {
            assert_eq!(stored, whole(&sealed), "writing file {number}");
        }
    }
}

fn empty() -> SealedSegment {
    Writer::new(ID, 0, CREATED_MS).seal()
}

fn packed() -> SealedSegment {
    let mut writer = Writer::new(ID, 0, CREATED_MS);
    for number in 0..40 {
        let (header, bytes) = batch(0, 1, 16);
        writer.push(partition(1, number % 3), &header, bytes, None);
    }
    writer.seal()
}

pub(super) fn level(level: u8) -> SealedSegment {
    let mut writer = Writer::new(ID, level, CREATED_MS);
    for (topic, number, records) in [(2, 3, 1), (1, 0, 2), (2, 3, 4), (1, 7, 1)] {
        let offset = 1000 * i64::from(number) + if records == 4 { 1 } else { 0 };
        let base_offset = if level == 0 { 0 } else { offset };
        let (header, bytes) = batch(base_offset, records, 16);
        let base_offset = (level > 0).then_some(base_offset);
        writer.push(partition(topic, number), &header, bytes, base_offset);
    }
    writer.seal()
}
