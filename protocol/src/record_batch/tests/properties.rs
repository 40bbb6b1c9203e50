//! Properties over random batches and garbage.

use proptest::prelude::*;

use super::*;

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..max).prop_map(Bytes::from),
        (any::<u8>(), 0..max * 20).prop_map(|(byte, len)| Bytes::from(vec![byte; len])),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let header = (bytes(9), proptest::option::of(bytes(9)))
        .prop_map(|(key, value)| RecordHeader { key, value });
    let key = proptest::option::of(bytes(20));
    let value = proptest::option::of(bytes(200));
    let timestamp_ms = prop_oneof![
        T0 - 1_000_000..T0 + 1_000_000,
        Just(-1),
        Just(0),
        0..i64::MAX
    ];
    (
        timestamp_ms,
        key,
        value,
        proptest::collection::vec(header, 0..4),
    )
        .prop_map(|(timestamp_ms, key, value, headers)| {
            let headers = headers.into_iter().collect();
            Record {
                offset: 0,
                timestamp_ms,
                key,
                value,
                headers,
            }
        })
}

fn codec() -> impl Strategy<Value = Compression> {
    proptest::sample::select(Compression::ALL.to_vec())
}

/// None of these may panic, whatever the bytes.
fn survive(bytes: &Bytes) {
    let header = BatchHeader::parse(bytes);
    if let Ok(header) = header {
        assert!(header.size_bytes() >= HEADER_BYTES && header.offset_count() > 0);
        assert!(header.last_offset() >= header.base_offset);
        assert!(header.last_sequence() >= header.base_sequence.min(0));
    }
    let checked = check_produced(bytes, &limits());
    let limits = WalkLimits {
        require_keys: true,
        ..WalkLimits::new(0)
    };
    let walked = walk(
        bytes,
        &WalkLimits {
            decompressed_bytes_max: 1 << 16,
            ..limits
        },
    );
    let read = records(bytes);
    for error in [header.err(), checked.err(), walked.err(), read.err()]
        .into_iter()
        .flatten()
    {
        assert!(!error.to_string().is_empty(), "{:?}", error.kind());
    }
    if bytes.len() >= HEADER_BYTES {
        let stamped = stamp_log_append_time(bytes, T0);
        assert_eq!(stamped.len(), bytes.len());
    }
}

proptest! {
    #[test]
    fn records_come_back_from_a_batch(
        mut given in proptest::collection::vec((record(), 0..5_i64), 1..40),
        base_offset in 0..i64::MAX / 2,
        codec in codec(),
        producer in proptest::option::of((0..i64::MAX, 0..i16::MAX, 0..i32::MAX)),
    ) {
        let mut offset = base_offset;
        for (record, gap) in &mut given {
            offset += *gap;
            record.offset = offset;
            offset += 1;
        }
        let given: Vec<_> = given.into_iter().map(|(record, _)| record).collect();
        let mut builder = BatchBuilder::new(codec).base_offset(base_offset);
        if let Some((id, epoch, base)) = producer {
            builder = builder.producer(id, epoch, base).transactional();
        }
        for record in &given {
            builder.push(record);
        }
        let batch = builder.build().expect("the records fit");
        prop_assert_eq!(records(&batch), Ok(given.clone()));
        let header = BatchHeader::parse(&batch).expect("it is a batch");
        prop_assert_eq!(header.last_offset(), offset - 1);
        let latest = given.iter().map(|record| record.timestamp_ms).max();
        prop_assert_eq!(Some(header.max_timestamp_ms), latest);
        prop_assert_eq!(crc32c(&batch[CRC_START_BYTES..]), header.crc);
    }

    #[test]
    fn what_a_producer_builds_passes(
        given in proptest::collection::vec(record(), 1..40),
        codec in codec(),
    ) {
        let mut builder = BatchBuilder::new(codec);
        for record in &given {
            builder.append(record.timestamp_ms, record.key.as_deref(), record.value.as_deref());
        }
        let batch = builder.build().expect("the records fit");
        let header = check_produced(&batch, &limits()).expect("it is good");
        let summary = walk(&batch, &WalkLimits::new(1 << 20)).expect("it is good");
        prop_assert_eq!(summary.max_timestamp_ms, header.max_timestamp_ms);
        let least = given.iter().map(|record| record.timestamp_ms).min();
        prop_assert_eq!(Some(summary.min_timestamp_ms), least);
    }

    #[test]
    fn garbage_is_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        survive(&Bytes::from(bytes));
    }

    #[test]
    fn garbage_records_behind_a_good_header_are_survived(
        block in proptest::collection::vec(any::<u8>(), 0..300),
        codec in 0..8_u16,
        count in prop_oneof![1..5_i32, 1..i32::MAX],
    ) {
        survive(&batch_of(codec, count, &block));
    }

    #[test]
    fn garbage_plain_records_in_every_codec_are_survived(
        plain in proptest::collection::vec(prop_oneof![0..40_u8, any::<u8>()], 0..300),
        codec in codec(),
        count in 1..5_i32,
    ) {
        let block = crate::compression::compress(&plain, codec).expect("it compresses");
        survive(&batch_of(codec.codec(), count, &block));
    }

    #[test]
    fn sequences_add_up(base in 0..=i32::MAX, m in 0..1_u32 << 30, n in 0..1_u32 << 30) {
        prop_assert_eq!(next_sequence(next_sequence(base, m), n), next_sequence(base, m + n));
        prop_assert!(next_sequence(base, m) >= 0);
    }
}

#[test]
fn every_flipped_bit_is_caught_but_those_of_the_leader_epoch() {
    for codec in Compression::ALL {
        let batch = builder(codec)
            .producer(4711, 3, 40)
            .build()
            .expect("it fits");
        check_produced(&batch, &limits()).expect("it is good");
        for bit in 0..batch.len() * 8 {
            let mut flipped = batch.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let found = check_produced(&Bytes::from(flipped), &limits());
            let epoch = (12..16).contains(&(bit / 8));
            assert_eq!(
                found.is_ok(),
                epoch,
                "{codec}, byte {}, bit {}",
                bit / 8,
                bit % 8
            );
            if bit / 8 > 16 {
                assert!(
                    matches!(found, Err(BatchError::Crc { .. })),
                    "{codec}, byte {}",
                    bit / 8
                );
            }
        }
    }
}

#[test]
fn every_truncation_is_caught() {
    for codec in Compression::ALL {
        let batch = builder(codec).build().expect("it fits");
        for len in 0..batch.len() {
            let short = batch.slice(..len);
            let found = check_produced(&short, &limits()).map_err(|error| error.kind());
            assert_eq!(
                found,
                Err(BatchErrorKind::InvalidRecord),
                "{codec}, {len} bytes"
            );
            survive(&short);
        }
        // The same with a header that knows nothing of it: records are missing.
        for len in HEADER_BYTES..batch.len() {
            let short = repaired(batch[..len].to_vec());
            assert!(
                check_produced(&short, &limits()).is_ok(),
                "{codec}, {len} bytes"
            );
            assert!(
                walk(&short, &WalkLimits::new(1 << 20)).is_err(),
                "{codec}, {len} bytes"
            );
            assert!(records(&short).is_err(), "{codec}, {len} bytes");
        }
    }
}
