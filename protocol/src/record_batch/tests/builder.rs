//! What the builder refuses and keeps, and the iterator over stored batches.

use super::*;

fn header(key: &'static [u8], value: Option<&'static [u8]>) -> RecordHeader {
    RecordHeader {
        key: Bytes::from_static(key),
        value: value.map(Bytes::from_static),
    }
}

#[test]
fn a_batch_without_anything_is_refused() {
    assert_eq!(
        BatchBuilder::new(Compression::None).build(),
        Err(BuildError::Empty)
    );
    let empty = BatchBuilder::new(Compression::Gzip)
        .base_offset(5)
        .last_offset(9)
        .build();
    let empty = empty.expect("an empty batch keeps offsets");
    assert_eq!(empty.len(), HEADER_BYTES);
    let header = BatchHeader::parse(&empty).expect("it is a batch");
    assert_eq!(
        (
            header.base_offset,
            header.last_offset(),
            header.record_count
        ),
        (5, 9, 0)
    );
    assert_eq!(records(&empty), Ok(Vec::new()));
}

#[test]
fn offsets_must_rise_within_reach() {
    let at = |offset| Record {
        offset,
        ..Record::default()
    };
    let far = 10 + i64::from(i32::MAX);
    for (name, offsets, wrong) in [
        ("below the base", vec![9], 9),
        ("repeated", vec![10, 10], 10),
        ("falling", vec![12, 11], 11),
        ("too far", vec![10, far + 1], far + 1),
        ("overflowing", vec![10, i64::MAX], i64::MAX),
    ] {
        let mut builder = BatchBuilder::new(Compression::None).base_offset(10);
        for offset in offsets {
            builder.push(&at(offset));
        }
        let expected = BuildError::Offset {
            offset: wrong,
            base_offset: 10,
        };
        assert_eq!(builder.build(), Err(expected), "{name}");
    }
    let mut sparse = BatchBuilder::new(Compression::None).base_offset(10);
    sparse.push(&at(12)).push(&at(far));
    let batch = sparse.build().expect("gaps are kept");
    let header = BatchHeader::parse(&batch).expect("it is a batch");
    assert_eq!(
        (header.last_offset(), header.offset_count()),
        (far, 1 << 31)
    );
    assert_eq!(records(&batch), Ok(vec![at(12), at(far)]));
}

#[test]
fn times_must_be_within_reach() {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(-5, None, None).append(i64::MAX, None, None);
    let expected = BuildError::Timestamp {
        timestamp_ms: i64::MAX,
        base_timestamp_ms: -5,
    };
    assert_eq!(builder.build(), Err(expected));
}

#[test]
fn the_first_fault_is_kept() {
    let mut builder = BatchBuilder::new(Compression::None).base_offset(10);
    builder.push(&Record::default()).append(T0, None, None);
    assert!(matches!(
        builder.build(),
        Err(BuildError::Offset { offset: 0, .. })
    ));
}

#[test]
fn headers_keep_their_order_and_repeat() {
    let record = Record {
        headers: [
            header(b"b", Some(b"1")),
            header(b"a", None),
            header(b"b", Some(b"")),
            header(b"", Some(b"2")),
        ]
        .into_iter()
        .collect(),
        ..Record::default()
    };
    assert_eq!(record.headers.len(), 4);
    assert_eq!(record.headers.iter().nth(1), Some(header(b"a", None)));
    let mut builder = BatchBuilder::new(Compression::Zstd);
    builder.push(&record);
    assert_eq!(
        records(&builder.build().expect("it fits")),
        Ok(vec![record])
    );
}

#[test]
fn the_size_is_known_before_building() {
    let mut batch = builder(Compression::None);
    batch.append(T0, None, Some(&[7; 1000]));
    let size_bytes = batch.size_bytes();
    assert_eq!(batch.record_count(), 4);
    assert_eq!(batch.build().expect("it fits").len(), size_bytes);
}

#[test]
fn a_delete_horizon_is_the_base_of_the_times() {
    let mut builder = BatchBuilder::new(Compression::None).delete_horizon(T0 + 99);
    builder.append(T0, Some(b"k"), None);
    let batch = builder.build().expect("it fits");
    let header = BatchHeader::parse(&batch).expect("it is a batch");
    assert!(header.attributes.has_delete_horizon());
    assert_eq!(
        (header.base_timestamp_ms, header.max_timestamp_ms),
        (T0 + 99, T0)
    );
    assert_eq!(records(&batch).expect("good records")[0].timestamp_ms, T0);
}

/// Base offset 10, offsets through 19, records at the given deltas.
fn stored(deltas: &[u8], record_count: i32) -> Bytes {
    let body: Vec<u8> = deltas
        .iter()
        .flat_map(|delta| [12, 0, 0, 2 * delta, 1, 1, 0])
        .collect();
    let mut bytes = batch_of(0, 10, &body).to_vec();
    bytes[7] = 10;
    bytes[57..61].copy_from_slice(&record_count.to_be_bytes());
    repaired(bytes)
}

#[test]
fn the_iterator_takes_gaps_but_not_disorder() {
    let offsets = |batch: &Bytes| {
        records(batch).map(|records| {
            records
                .iter()
                .map(|record| record.offset)
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(offsets(&stored(&[0, 4, 9], 3)), Ok(vec![10, 14, 19]));
    assert_eq!(offsets(&stored(&[7], 1)), Ok(vec![17]));
    for (name, batch, expected) in [
        (
            "falls",
            stored(&[4, 3], 2),
            BatchError::Record {
                index: 1,
                fault: RecordFault::OffsetDelta(3),
            },
        ),
        (
            "repeats",
            stored(&[4, 4], 2),
            BatchError::Record {
                index: 1,
                fault: RecordFault::OffsetDelta(4),
            },
        ),
        (
            "beyond the last",
            stored(&[4, 10], 2),
            BatchError::Record {
                index: 1,
                fault: RecordFault::OffsetDelta(10),
            },
        ),
        (
            "surplus",
            stored(&[4, 5], 1),
            BatchError::SurplusBytes { surplus_bytes: 7 },
        ),
        (
            "missing",
            stored(&[4], 2),
            BatchError::Record {
                index: 1,
                fault: RecordFault::Truncated,
            },
        ),
    ] {
        assert_eq!(offsets(&batch), Err(expected), "{name}");
    }
}

#[test]
fn the_iterator_ends_after_an_error_and_ignores_what_follows_the_batch() {
    let broken = stored(&[4, 3, 5], 3);
    let items: Vec<_> = RecordIter::new(&broken, 0)
        .expect("a good header")
        .collect();
    assert_eq!(items.len(), 2);
    assert!(items[0].is_ok() && items[1].is_err());
    let good = batch();
    let twice = Bytes::from([good.as_ref(), good.as_ref()].concat());
    assert_eq!(records(&twice), records(&good));
    let short = good.slice(..good.len() - 1);
    let expected = BatchError::Truncated {
        needed_bytes: good.len(),
        actual_bytes: good.len() - 1,
    };
    assert_eq!(records(&short), Err(expected));
}

#[test]
fn records_share_the_memory_of_an_uncompressed_batch() {
    let batch = batch();
    let within = batch.as_ptr_range();
    for record in records(&batch).expect("good records") {
        let key = record.key.expect("all have keys");
        assert!(within.contains(&key.as_ptr()), "the key was copied");
    }
}
