//! One row per check on produce, and the order between them.

use super::*;

fn check(name: &str, batch: &Bytes, limits: &ProduceLimits, expected: &BatchError) {
    assert_eq!(
        check_produced(batch, limits).as_ref(),
        Err(expected),
        "{name}"
    );
}

#[test]
fn a_good_batch_passes_with_every_codec() {
    for codec in Compression::ALL {
        let batch = builder(codec)
            .producer(1, 0, 0)
            .build()
            .expect("three small records fit");
        let header = check_produced(&batch, &limits()).expect("it is good");
        assert_eq!(header, BatchHeader::parse(&batch).expect("it is a batch"));
        assert_eq!(header.attributes.compression(), Ok(codec));
    }
}

#[test]
fn what_is_outside_of_the_crc_and_the_unused_bits_pass() {
    let good = batch();
    for (name, batch) in [
        ("leader epoch", with(&good, 12, &7_i32.to_be_bytes())),
        (
            "unused attributes",
            with(&good, 21, &0xff80_u16.to_be_bytes()),
        ),
        (
            "sequence without producer",
            with(&good, 53, &5_i32.to_be_bytes()),
        ),
    ] {
        assert!(check_produced(&batch, &limits()).is_ok(), "{name}");
    }
}

#[test]
fn framing() {
    let good = batch();
    let len = good.len();
    let twice = Bytes::from([good.as_ref(), good.as_ref()].concat());
    let one_more = Bytes::from([good.as_ref(), &[0]].concat());
    let length = |value: i32| {
        let mut bytes = good.to_vec();
        bytes[8..12].copy_from_slice(&value.to_be_bytes());
        Bytes::from(bytes)
    };
    let magic = |value: u8| with(&good, 16, &[value]);
    let truncated = |needed_bytes, actual_bytes| BatchError::Truncated {
        needed_bytes,
        actual_bytes,
    };
    for (name, batch, expected) in [
        ("empty", Bytes::new(), BatchError::Empty),
        ("11 bytes", good.slice(..11), truncated(12, 11)),
        ("16 bytes", good.slice(..16), truncated(len, 16)),
        (
            "one byte short",
            good.slice(..len - 1),
            truncated(len, len - 1),
        ),
        ("the header alone", good.slice(..61), truncated(len, 61)),
        (
            "two batches",
            twice,
            BatchError::NotOneBatch {
                batch_bytes: len,
                total_bytes: 2 * len,
            },
        ),
        (
            "a byte behind",
            one_more,
            BatchError::NotOneBatch {
                batch_bytes: len,
                total_bytes: len + 1,
            },
        ),
        (
            "length 13",
            length(13),
            BatchError::LengthTooSmall { length: 13 },
        ),
        (
            "length -1",
            length(-1),
            BatchError::LengthTooSmall { length: -1 },
        ),
        (
            "least length",
            length(i32::MIN),
            BatchError::LengthTooSmall { length: i32::MIN },
        ),
        (
            "length 14",
            length(14),
            BatchError::LengthTooSmall { length: 14 },
        ),
        (
            "length 48",
            length(48),
            BatchError::LengthTooSmall { length: 48 },
        ),
        (
            "greatest length",
            length(i32::MAX),
            truncated(12 + 0x7fff_ffff, len),
        ),
        ("magic 0", magic(0), BatchError::OldMagic { magic: 0 }),
        ("magic 1", magic(1), BatchError::OldMagic { magic: 1 }),
        (
            "magic 3",
            magic(3),
            BatchError::UnsupportedMagic { magic: 3 },
        ),
        (
            "magic -1",
            magic(0xff),
            BatchError::UnsupportedMagic { magic: -1 },
        ),
    ] {
        check(name, &batch, &limits(), &expected);
    }
}

#[test]
fn fields() {
    let good = batch();
    let idempotent = builder(Compression::None)
        .producer(9, 0, 0)
        .build()
        .expect("it fits");
    let count = |record_count: i32, last_offset_delta: i32| {
        let counted = with(&good, 57, &record_count.to_be_bytes());
        let batch = with(&counted, 23, &last_offset_delta.to_be_bytes());
        (
            batch,
            BatchError::RecordCount {
                record_count,
                last_offset_delta,
            },
        )
    };
    let attributes = |bits: u16| with(&idempotent, 21, &bits.to_be_bytes());
    let mut rows = vec![
        (
            "base offset",
            with(&good, 0, &[0, 0, 0, 0, 0, 0, 0, 1]),
            BatchError::BaseOffset { base_offset: 1 },
        ),
        (
            "negative base offset",
            with(&good, 0, &[0xff; 8]),
            BatchError::BaseOffset { base_offset: -1 },
        ),
        (
            "sequence",
            with(&idempotent, 53, &[0xff; 4]),
            BatchError::NegativeSequence {
                producer_id: 9,
                base_sequence: -1,
            },
        ),
        (
            "producer epoch",
            with(&idempotent, 51, &[0xff; 2]),
            BatchError::NegativeProducerEpoch {
                producer_id: 9,
                producer_epoch: -1,
            },
        ),
        (
            "producer id",
            with(&idempotent, 43, &(-2_i64).to_be_bytes()),
            BatchError::NegativeProducerId { producer_id: -2 },
        ),
        (
            "transactional",
            with(&good, 21, &0x10_u16.to_be_bytes()),
            BatchError::TransactionalWithoutProducer,
        ),
        ("control", attributes(0x20), BatchError::ControlFromClient),
        (
            "log append time",
            attributes(0x08),
            BatchError::LogAppendTimeFromClient,
        ),
        (
            "delete horizon",
            attributes(0x40),
            BatchError::DeleteHorizonFromClient,
        ),
    ];
    for codec in 5..8 {
        rows.push((
            "codec",
            attributes(codec),
            BatchError::UnknownCodec { codec },
        ));
    }
    for (batch, expected) in [
        count(0, -1),
        count(0, 0),
        count(-1, -2),
        count(2, 2),
        count(4, 2),
        count(i32::MIN, i32::MAX),
        count(i32::MAX, i32::MIN),
        count(i32::MAX, i32::MAX),
    ] {
        rows.push(("count", batch, expected));
    }
    for (name, batch, expected) in rows {
        check(name, &batch, &limits(), &expected);
    }
}

#[test]
fn the_crc_is_that_of_the_bytes() {
    let good = batch();
    let mut damaged = good.to_vec();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let expected = BatchHeader::parse(&good).expect("it is a batch").crc;
    let actual = crc32c(&damaged[CRC_START_BYTES..]);
    check(
        "crc",
        &Bytes::from(damaged),
        &limits(),
        &BatchError::Crc { expected, actual },
    );
}

#[test]
fn the_topic_limits_the_size_of_the_whole_batch() {
    let good = batch();
    let limited = |max_message_bytes| ProduceLimits {
        max_message_bytes,
        ..limits()
    };
    assert!(check_produced(&good, &limited(good.len())).is_ok());
    let expected = BatchError::TooLarge {
        batch_bytes: good.len(),
        limit_bytes: good.len() - 1,
    };
    check("too large", &good, &limited(good.len() - 1), &expected);
}

#[test]
fn zstd_needs_produce_7() {
    let zstd = builder(Compression::Zstd)
        .build()
        .expect("three small records fit");
    let at = |produce_version| ProduceLimits {
        produce_version,
        ..limits()
    };
    check("version 6", &zstd, &at(6), &BatchError::ZstdTooOld);
    assert!(check_produced(&zstd, &at(7)).is_ok());
    let lz4 = builder(Compression::Lz4)
        .build()
        .expect("three small records fit");
    assert!(check_produced(&lz4, &at(0)).is_ok());
}

#[test]
fn the_topic_limits_the_times_of_the_header() {
    let between = |earliest_ms, latest_ms| ProduceLimits {
        timestamps: Some(TimestampLimits {
            earliest_ms,
            latest_ms,
        }),
        ..limits()
    };
    let good = batch();
    assert!(
        check_produced(&good, &between(T0, T0 + 2000)).is_ok(),
        "both ends are inclusive"
    );
    for (name, (earliest_ms, latest_ms), timestamp_ms) in [
        ("base", (T0 + 1, T0 + 2000), T0),
        ("max", (T0, T0 + 1999), T0 + 2000),
        ("base is after all", (T0 - 9, T0 - 1), T0),
    ] {
        let expected = BatchError::UntimelyBatch {
            timestamp_ms,
            earliest_ms,
            latest_ms,
        };
        check(name, &good, &between(earliest_ms, latest_ms), &expected);
    }
    let without = with(&with(&good, 27, &[0xff; 8]), 35, &[0xff; 8]);
    assert!(
        check_produced(&without, &between(T0, T0)).is_ok(),
        "no timestamp is never refused"
    );
    let least = with(&good, 27, &i64::MIN.to_be_bytes());
    assert!(check_produced(&least, &between(T0, i64::MAX)).is_err());
}

#[test]
fn time_limits_saturate() {
    let all = TimestampLimits::around(T0, i64::MAX, i64::MAX);
    assert!(all.allow(T0 - i64::MAX) && all.allow(i64::MAX));
    let hour = TimestampLimits::around(T0, 1000, 3_600_000);
    assert_eq!(
        (hour.earliest_ms, hour.latest_ms),
        (T0 - 1000, T0 + 3_600_000)
    );
    assert!(TimestampLimits::around(-9, i64::MAX, 0).allow(i64::MIN));
}

/// Where two things are wrong, the earlier row of the table decides.
#[test]
fn the_order_of_the_checks() {
    let old = ProduceLimits {
        produce_version: 6,
        max_message_bytes: 10,
        ..limits()
    };
    let mut bytes = builder(Compression::Zstd)
        .build()
        .expect("it fits")
        .to_vec();
    bytes[7] = 9;
    bytes[61] ^= 1;
    bytes[57..61].copy_from_slice(&[0; 4]);
    bytes[22] |= 0x68;
    let kinds = [
        (old, BatchErrorKind::UnsupportedCompression),
        (
            ProduceLimits {
                produce_version: 7,
                ..old
            },
            BatchErrorKind::InvalidRecord,
        ),
    ];
    for (limits, expected) in kinds {
        let found = check_produced(&Bytes::from(bytes.clone()), &limits);
        assert_eq!(found.map_err(|error| error.kind()), Err(expected));
    }
    bytes[7] = 0;
    let batch = Bytes::from(bytes.clone());
    let small = ProduceLimits {
        max_message_bytes: 10,
        ..limits()
    };
    let kind = |batch: &Bytes, limits| check_produced(batch, limits).map_err(|error| error.kind());
    assert_eq!(kind(&batch, &small), Err(BatchErrorKind::TooLarge));
    assert_eq!(kind(&batch, &limits()), Err(BatchErrorKind::Corrupt));
    let counted = repaired(bytes);
    assert!(matches!(
        check_produced(&counted, &limits()),
        Err(BatchError::RecordCount { .. })
    ));
    let flagged = with(&counted, 57, &3_i32.to_be_bytes());
    assert_eq!(
        check_produced(&flagged, &limits()),
        Err(BatchError::ControlFromClient)
    );
}
