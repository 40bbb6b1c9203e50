//! Patched heads leave the rest of a batch alone.

use super::golden::golden;
use super::*;

fn chained(head: &Bytes, batch: &Bytes) -> Bytes {
    Bytes::from([head.as_ref(), &batch[head.len()..]].concat())
}

#[test]
fn offset_and_epoch_are_patched_outside_of_the_crc() {
    let batch = builder(Compression::Zstd)
        .build()
        .expect("three small records fit");
    let head = patched_head(&batch, 5_000_000_000, 17);
    assert_eq!(head.len(), PATCHED_HEAD_BYTES);
    assert_eq!(
        patched_head(&batch[..HEADER_BYTES], 5_000_000_000, 17),
        head
    );
    let patched = chained(&head, &batch);
    let before = BatchHeader::parse(&batch).expect("it is a batch");
    let after = BatchHeader::parse(&patched).expect("it is a batch");
    assert_eq!(
        after,
        BatchHeader {
            base_offset: 5_000_000_000,
            leader_epoch: 17,
            ..before
        }
    );
    assert_eq!(crc32c(&patched[CRC_START_BYTES..]), after.crc);
    let offsets: Vec<_> = records(&patched)
        .expect("good records")
        .iter()
        .map(|record| record.offset)
        .collect();
    assert_eq!(offsets, [5_000_000_000, 5_000_000_001, 5_000_000_002]);
}

#[test]
fn the_time_of_append_is_stamped_as_kafka_stamps_it() {
    let before = golden("java-stamp-before");
    let stamped = stamp_log_append_time(&before, 1_700_000_009_999);
    let stored = chained(&patched_head(&stamped, 5_000_000_000, 17), &stamped);
    assert_eq!(stored, golden("java-stamp-after"));
}

#[test]
fn a_stamped_head_has_the_crc_of_the_whole() {
    for codec in Compression::ALL {
        let batch = builder(codec).build().expect("three small records fit");
        let stamped = stamp_log_append_time(&batch, 42);
        assert_eq!(stamped, chained(&stamped_head(&batch, 42), &batch));
        let header = BatchHeader::parse(&stamped).expect("it is a batch");
        assert_eq!(header.crc, crc32c(&stamped[CRC_START_BYTES..]));
        assert_eq!(header.max_timestamp_ms, 42);
        assert!(header.attributes.is_log_append_time());
        assert_eq!(header.attributes.compression(), Ok(codec));
        for record in records(&stamped).expect("good records") {
            assert_eq!(record.timestamp_ms, 42);
        }
        assert_eq!(
            stamp_log_append_time(&stamped, 42),
            stamped,
            "stamping is idempotent"
        );
    }
}

/// A stamp must not make damaged records look whole.
#[test]
fn a_stamp_does_not_hide_damage() {
    let mut damaged = batch().to_vec();
    damaged[70] ^= 4;
    let stamped = stamp_log_append_time(&Bytes::from(damaged), 42);
    let header = BatchHeader::parse(&stamped).expect("it is a batch");
    assert_ne!(header.crc, crc32c(&stamped[CRC_START_BYTES..]));
}

#[test]
#[should_panic(expected = "no head to patch")]
fn a_head_that_is_no_head_is_a_broken_invariant() {
    drop(patched_head(&batch()[..16], 0, 0));
}
