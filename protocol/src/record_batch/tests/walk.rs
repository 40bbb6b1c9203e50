//! One row per fault a walk finds, in every codec; keys and times.

use super::*;

fn check(name: &str, records: &[u8], record_count: i32, expected: &BatchError) {
    for codec in Compression::ALL {
        let block = crate::compression::compress(records, codec).expect("it compresses");
        let batch = batch_of(codec.codec(), record_count, &block);
        check_produced(&batch, &limits()).expect("the header is good");
        let found = walk(&batch, &WalkLimits::new(1 << 20));
        assert_eq!(found.as_ref(), Err(expected), "{name}, {codec}");
    }
}

fn fault(index: i32, fault: RecordFault) -> BatchError {
    BatchError::Record { index, fault }
}

/// length, attributes, timestamp delta, offset delta, key -1, value -1, no headers.
const EMPTY: [u8; 7] = [12, 0, 0, 0, 1, 1, 0];

#[test]
fn a_good_batch_is_summed_up() {
    for codec in Compression::ALL {
        let batch = builder(codec).build().expect("three small records fit");
        let summary = walk(&batch, &WalkLimits::new(1 << 20)).expect("it is good");
        assert_eq!(
            summary,
            WalkSummary {
                record_count: 3,
                records_bytes: summary.records_bytes,
                min_timestamp_ms: T0,
                max_timestamp_ms: T0 + 2000,
            }
        );
        assert!(summary.records_bytes > 21);
    }
}

#[test]
fn malformed_records() {
    let second = |record: &[u8]| [&EMPTY, record].concat();
    for (name, records, count, expected) in [
        ("nothing", vec![], 1, fault(0, RecordFault::Truncated)),
        (
            "one of two",
            EMPTY.to_vec(),
            2,
            fault(1, RecordFault::Truncated),
        ),
        (
            "one of very many",
            EMPTY.to_vec(),
            i32::MAX,
            fault(1, RecordFault::Truncated),
        ),
        (
            "two of one",
            second(&EMPTY),
            1,
            BatchError::SurplusBytes { surplus_bytes: 7 },
        ),
        (
            "one byte behind",
            second(&[0]),
            1,
            BatchError::SurplusBytes { surplus_bytes: 1 },
        ),
        (
            "cut short",
            EMPTY[..6].to_vec(),
            1,
            fault(0, RecordFault::Truncated),
        ),
        (
            "negative length",
            vec![1],
            1,
            fault(0, RecordFault::Length(-1)),
        ),
        (
            "huge length",
            vec![0xfe, 0xff, 0xff, 0xff, 0x0f],
            1,
            fault(0, RecordFault::Truncated),
        ),
        (
            "varint of 6 bytes",
            vec![0x80; 6],
            1,
            fault(0, RecordFault::Varint),
        ),
        (
            "varint of 33 bits",
            vec![0xff, 0xff, 0xff, 0xff, 0x1f],
            1,
            fault(0, RecordFault::Varint),
        ),
        ("length 0", vec![0], 1, fault(0, RecordFault::Truncated)),
        (
            "attributes",
            vec![12, 1, 0, 0, 1, 1, 0],
            1,
            fault(0, RecordFault::Attributes(1)),
        ),
        (
            "a byte in the record",
            vec![14, 0, 0, 0, 1, 1, 0, 0],
            1,
            fault(0, RecordFault::Surplus(1)),
        ),
        (
            "first delta 1",
            vec![12, 0, 0, 2, 1, 1, 0],
            1,
            fault(0, RecordFault::OffsetDelta(1)),
        ),
        (
            "delta -1",
            vec![12, 0, 0, 1, 1, 1, 0],
            1,
            fault(0, RecordFault::OffsetDelta(-1)),
        ),
        (
            "delta repeats",
            second(&EMPTY),
            2,
            fault(1, RecordFault::OffsetDelta(0)),
        ),
        (
            "delta jumps",
            second(&[12, 0, 0, 4, 1, 1, 0]),
            2,
            fault(1, RecordFault::OffsetDelta(2)),
        ),
        (
            "key of -2",
            vec![12, 0, 0, 0, 3, 1, 0],
            1,
            fault(0, RecordFault::Length(-2)),
        ),
        (
            "key beyond the record",
            vec![12, 0, 0, 0, 8, 1, 0],
            1,
            fault(0, RecordFault::Truncated),
        ),
        (
            "value of -2",
            vec![12, 0, 0, 0, 1, 3, 0],
            1,
            fault(0, RecordFault::Length(-2)),
        ),
        (
            "headers -1",
            vec![12, 0, 0, 0, 1, 1, 1],
            1,
            fault(0, RecordFault::HeaderCount(-1)),
        ),
        (
            "too many headers",
            vec![12, 0, 0, 0, 1, 1, 2],
            1,
            fault(0, RecordFault::HeaderCount(1)),
        ),
        (
            "very many headers",
            vec![20, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f],
            1,
            fault(0, RecordFault::HeaderCount(i32::MAX)),
        ),
        (
            "header without a key",
            vec![16, 0, 0, 0, 1, 1, 2, 1, 1],
            1,
            fault(0, RecordFault::Length(-1)),
        ),
        (
            "timestamp overflows",
            vec![
                30, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 1, 1, 0,
            ],
            1,
            fault(0, RecordFault::TimestampDelta(i64::MAX)),
        ),
    ] {
        check(name, &records, count, &expected);
    }
}

#[test]
fn an_overlong_varint_within_its_bytes_is_taken() {
    let record = [0x8c, 0x80, 0x80, 0x80, 0, 0, 0, 0, 1, 1, 0];
    let batch = batch_of(0, 1, &record);
    assert!(walk(&batch, &WalkLimits::new(1 << 20)).is_ok());
}

#[test]
fn a_block_that_does_not_decompress_is_refused() {
    for codec in &Compression::ALL[1..] {
        let batch = batch_of(codec.codec(), 1, b"this is none of the formats");
        let found = walk(&batch, &WalkLimits::new(1 << 20));
        assert!(
            matches!(found, Err(BatchError::Compression(_))),
            "{codec}: {found:?}"
        );
    }
}

#[test]
fn the_cap_follows_the_largest_batch() {
    assert_eq!(WalkLimits::new(0).decompressed_bytes_max, 64 << 20);
    assert_eq!(WalkLimits::new(1_048_588).decompressed_bytes_max, 64 << 20);
    assert_eq!(WalkLimits::new(10 << 20).decompressed_bytes_max, 160 << 20);
    assert_eq!(
        WalkLimits::new(usize::MAX).decompressed_bytes_max,
        usize::MAX
    );
    for codec in &Compression::ALL[1..] {
        let mut builder = BatchBuilder::new(*codec);
        builder.append(T0, None, Some(&[0; 5000]));
        let batch = builder.build().expect("it fits");
        let limits = WalkLimits {
            decompressed_bytes_max: 4999,
            ..WalkLimits::new(0)
        };
        let expected = crate::compression::CompressionError::TooLarge {
            codec: *codec,
            cap_bytes: limits.decompressed_bytes_max,
        };
        assert_eq!(
            walk(&batch, &limits),
            Err(BatchError::Compression(expected)),
            "{codec}"
        );
        assert!(walk(&batch, &WalkLimits::new(0)).is_ok(), "{codec}");
    }
}

#[test]
fn records_without_a_key_are_named() {
    let mut builder = BatchBuilder::new(Compression::Snappy);
    for i in 0..5000 {
        builder.append(T0, (i % 2 == 0).then_some(b"k".as_slice()), None);
    }
    let batch = builder.build().expect("it fits");
    let keys = WalkLimits {
        require_keys: true,
        ..WalkLimits::new(1 << 20)
    };
    let Err(BatchError::WithoutKey { record_indexes }) = walk(&batch, &keys) else {
        panic!("records without a key passed");
    };
    assert_eq!(
        record_indexes,
        (0..1024).map(|i| 2 * i + 1).collect::<Vec<_>>()
    );
    assert!(walk(&batch, &WalkLimits::new(1 << 20)).is_ok());
    let keyed = super::batch();
    assert!(walk(&keyed, &keys).is_ok());
    let mut empty_key = BatchBuilder::new(Compression::None);
    empty_key.append(T0, Some(b""), None);
    assert!(
        walk(&empty_key.build().expect("it fits"), &keys).is_ok(),
        "an empty key is a key"
    );
}

#[test]
fn records_outside_of_the_time_limits_are_named() {
    let mut builder = BatchBuilder::new(Compression::None);
    for timestamp_ms in [T0, T0 - 1, -1, T0 + 11, T0 + 10] {
        builder.append(timestamp_ms, None, None);
    }
    let batch = builder.build().expect("it fits");
    let times = TimestampLimits {
        earliest_ms: T0,
        latest_ms: T0 + 10,
    };
    let limits = WalkLimits {
        timestamps: Some(times),
        require_keys: true,
        ..WalkLimits::new(1 << 20)
    };
    let expected = BatchError::UntimelyRecords {
        records: vec![
            UntimelyRecord {
                index: 1,
                timestamp_ms: T0 - 1,
            },
            UntimelyRecord {
                index: 3,
                timestamp_ms: T0 + 11,
            },
        ],
        earliest_ms: T0,
        latest_ms: T0 + 10,
    };
    assert_eq!(
        walk(&batch, &limits),
        Err(expected),
        "times come before keys"
    );
}

#[test]
fn stored_batches_with_gaps_are_not_for_the_walk() {
    let mut builder = BatchBuilder::new(Compression::None).last_offset(9);
    builder.append(T0, None, None);
    let batch = builder.build().expect("it fits");
    assert_eq!(
        walk(&batch, &WalkLimits::new(1 << 20)),
        Err(BatchError::RecordCount {
            record_count: 1,
            last_offset_delta: 9
        })
    );
    assert_eq!(records(&batch).map(|records| records.len()), Ok(1));
}
