//! Rows: golden bytes, round trips, garbage.

use floe_protocol::types::TopicPartition;
use floe_storage::segment::SegmentId;
use proptest::prelude::*;

use super::fixtures::{START_MS, at, topic_id};
use crate::api::objects::MergedExtent;
use crate::api::{BatchRejection, BrokerAddress, NewProcess};
use crate::state::RowKey;
use crate::state::codec::{Reader, RowError, put_i64, put_u64};
use crate::state::commit::reply_of;
use crate::state::counters::Counters;
use crate::state::id_blocks::IdBlocks;
use crate::state::producer::{PastBatch, ProducerState};
use crate::state::rows::head::{self, Head};
use crate::state::rows::object::{self, ObjectFigures};
use crate::state::rows::segment::{
    BatchRow, CommitFacts, ExtentRow, Outcome, ProducerRow, SegmentReader, SegmentRow,
    SegmentWriter, merged,
};
use crate::state::rows::{process, producer, topic};
use crate::testing::new_process;

type Extents = Vec<(ExtentRow, Vec<BatchRow>)>;

fn write(facts: &CommitFacts, extents: &Extents) -> Vec<u8> {
    let mut writer = SegmentWriter::default();
    for (extent, batches) in extents {
        writer.extent(extent);
        batches.iter().for_each(|batch| writer.batch(batch));
    }
    writer.finish(facts)
}

fn read(row: &[u8]) -> Result<(CommitFacts, Extents), RowError> {
    let mut reader = SegmentReader::open(row)?;
    let mut extents = Vec::new();
    while let Some(extent) = reader.next_extent()? {
        let batches = (0..extent.batches).map(|_| reader.next_batch());
        extents.push((extent, batches.collect::<Result<_, _>>()?));
    }
    Ok((*reader.facts(), extents))
}

fn example() -> (CommitFacts, Extents) {
    let segment = SegmentId {
        write_epoch: 3,
        incarnation: 9,
        counter: 300,
    };
    let facts = CommitFacts {
        segment,
        size_bytes: 5000,
        time_ms: START_MS,
        revision: 77,
    };
    let idempotent = |begins| ProducerRow {
        id: 1001,
        epoch: 2,
        base_sequence: 5,
        begins,
    };
    let outcomes = [
        Outcome::Accepted {
            count: 10,
            max_timestamp_ms: START_MS,
            producer: None,
        },
        Outcome::Accepted {
            count: 1,
            max_timestamp_ms: START_MS + 5,
            producer: Some(idempotent(true)),
        },
        Outcome::Accepted {
            count: 1,
            max_timestamp_ms: START_MS,
            producer: Some(idempotent(false)),
        },
        Outcome::Duplicate {
            base_offset: 15,
            max_timestamp_ms: START_MS - 9,
        },
        Outcome::Rejected(BatchRejection::OutOfOrderSequence),
    ];
    let batches: Vec<_> = outcomes
        .map(|outcome| BatchRow {
            length_bytes: 200,
            outcome,
        })
        .into_iter()
        .collect();
    let first = ExtentRow {
        partition: at(1, 0),
        position_bytes: 32,
        batches: batches.len(),
        before: Head {
            log_start: 10,
            high_watermark: 20,
        },
    };
    let rejected = Outcome::Rejected(BatchRejection::UnknownTopicOrPartition);
    let lone = vec![BatchRow {
        length_bytes: 100,
        outcome: rejected,
    }];
    let second = ExtentRow {
        partition: at(2, 7),
        position_bytes: 1032,
        batches: 1,
        before: Head::default(),
    };
    (facts, vec![(first, batches), (second, lone)])
}

fn read_merged(row: &[u8]) -> Result<(CommitFacts, u8, Vec<MergedExtent>), RowError> {
    let SegmentRow::Merged(mut reader) = SegmentRow::open(row)? else {
        return Err(RowError::UnknownVersion(1));
    };
    let mut extents = Vec::new();
    while let Some(extent) = reader.next_extent()? {
        extents.push(extent);
    }
    Ok((*reader.facts(), reader.level(), extents))
}

/// Two extents of one partition with a hole between them, and others.
fn merged_example() -> (CommitFacts, Vec<MergedExtent>) {
    let (facts, _) = example();
    let extent = |partition, position_bytes, base_offset, end_offset, after_ms| MergedExtent {
        partition,
        position_bytes,
        length_bytes: 300,
        base_offset,
        end_offset,
        max_timestamp_ms: START_MS + after_ms,
    };
    let extents = vec![
        extent(at(1, 0), 32, 0, 10, 0),
        extent(at(1, 3), 332, 100, 105, 5),
        extent(at(1, 3), 700, 110, 410, 2),
        extent(at(2, 3), 1000, 7, 8, -9),
    ];
    (facts, extents)
}

pub(super) fn encoded(state: &ProducerState) -> Vec<u8> {
    let mut row = Vec::new();
    producer::encode(state, &mut row);
    row
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap();
    digits.map(byte).collect()
}

#[track_caller]
fn golden(name: &str, bytes: &[u8], expected: &str) {
    assert_eq!(
        hex(bytes),
        expected,
        "{name}: rows that were written must stay readable for ever"
    );
}

#[test]
fn rows_are_these_bytes() {
    golden(
        "key of heads",
        RowKey::heads(topic_id(0xab), 258).as_bytes(),
        "18abababababababababababababababab00000102",
    );
    golden(
        "key of a segment",
        RowKey::segment(258).as_bytes(),
        "200000000000000102",
    );
    golden(
        "key of a producer",
        RowKey::producer(1, at(0xab, 2)).as_bytes(),
        "f00000000000000001abababababababababababababababab00000002",
    );
    let (facts, extents) = example();
    golden(
        "segment",
        &write(&facts, &extents),
        concat!(
            "010309ac02882780c0e285e3684d06220a060b0309050301010101010101010101010101",
            "010101010202020202020202020202020202020201004005140a0e000100000002010311",
            "10c801c801c801c801c801640a010180c0e285e3680a0911d20f040004050509"
        ),
    );
    let (facts, extents) = merged_example();
    golden(
        "merged segment",
        &merged::encode(&facts, 2, &extents),
        concat!(
            "020309ac02882780c0e285e3684d022224",
            "0101010101010101010101010101010103",
            "0202020202020202020202020202020201",
            "0040ac02000a80c0e285e3680600ac02c801050a008801ac020aac02050600ac020e0115"
        ),
    );
    golden(
        "key of figures of objects",
        RowKey::object_figures().as_bytes(),
        "60",
    );
    let (removed, dead) = (300, 2);
    let figures = ObjectFigures { removed, dead };
    golden("figures of objects", &figures.encode(), "01ac0202");
    assert_eq!(ObjectFigures::decode(&figures.encode()), Ok(figures));
    golden(
        "key of a dead object",
        RowKey::dead_object(258).as_bytes(),
        "610000000000000102",
    );
    let dead = object::encode_dead(START_MS);
    golden("dead object", &dead, "0180c0e285e368");
    assert_eq!(object::decode_dead(&dead), Ok(START_MS));
    let heads = [
        Head {
            log_start: 300,
            high_watermark: 301,
        },
        Head::default(),
    ];
    golden("heads", &head::encode(heads.into_iter()), "0102ac02010000");
    let past = [(7, 5), (9, 6)].map(|(base_offset, time)| PastBatch {
        base_offset,
        max_timestamp_ms: START_MS + time,
        count: 2,
    });
    let state = ProducerState::restore(3, 11, START_MS, past);
    golden(
        "producer",
        &encoded(&state),
        "01061680c0e285e368020e0a02040202",
    );
    let counters = Counters {
        revision: 5,
        processes: 7,
        ..Counters::default()
    };
    golden(
        "counters",
        &counters.encode(),
        "0205000000000101000000070000ffffffffffffffff7f",
    );
    let raised = Counters {
        feature_level: 300,
        ..counters.clone()
    };
    golden(
        "counters of a higher feature level",
        &raised.encode(),
        "0305000000000101000000070000ffffffffffffffff7fac02",
    );
    for counters in [&counters, &raised] {
        assert_eq!(Counters::decode(&counters.encode()).as_ref(), Ok(counters));
    }
    let first = unhex("01050000000001010000000000ffffffffffffffff7f");
    let without_processes = Counters {
        processes: 0,
        ..counters
    };
    assert_eq!(Counters::decode(&first), Ok(without_processes));
    let mut blocks = IdBlocks::default();
    blocks.issue(0, START_MS, 0);
    blocks.issue(1000, START_MS + 3_600_000, 0);
    golden(
        "key of a process",
        RowKey::process(258).as_bytes(),
        "0800000102",
    );
    let told = NewProcess {
        zone: Some("z".to_owned()),
        attempt: 300,
        ..new_process(7)
    };
    golden(
        "process",
        &process::encode(&told, true),
        concat!(
            "0107070707070707070707070707070707ac020d31302e302e302e373a39303930",
            "01017a0101046d61696e0e0831302e302e302e37844701"
        ),
    );
    golden(
        "id blocks",
        &blocks.encode(),
        "01020080c0e285e36800d00f80bab70300",
    );
}

#[test]
fn a_segment_row_gives_back_what_was_written() {
    let (facts, extents) = example();
    assert_eq!(read(&write(&facts, &extents)), Ok((facts, extents)));
}

#[test]
fn a_writer_starts_afresh_after_each_row() {
    let (facts, extents) = example();
    let mut writer = SegmentWriter::default();
    let mut rows = (0..2).map(|_| {
        for (extent, batches) in &extents {
            writer.extent(extent);
            batches.iter().for_each(|batch| writer.batch(batch));
        }
        writer.finish(&facts)
    });
    assert_eq!(rows.next(), rows.next());
}

#[test]
fn a_merged_row_gives_back_what_was_written_and_nothing_else_is_read() {
    let (facts, extents) = merged_example();
    let row = merged::encode(&facts, 2, &extents);
    assert_eq!(read_merged(&row), Ok((facts, 2, extents)));
    for cut in 0..row.len() {
        assert!(read_merged(&row[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = row.clone();
    longer.push(0);
    assert!(read_merged(&longer).is_err());
    for at in 0..row.len() {
        for bit in 0..8 {
            let mut damaged = row.clone();
            damaged[at] ^= 1 << bit;
            // Some damage cannot be told from another merge; that one makes sense at least.
            if let Ok((facts, level, extents)) = read_merged(&damaged) {
                let before = std::iter::once(None).chain(extents.iter().map(Some));
                let follow = |(before, next)| merged::may_follow(before, next);
                assert!(before.zip(&extents).all(follow));
                assert!(
                    extents
                        .iter()
                        .all(|it| merged::is_sound(it, facts.size_bytes))
                );
                assert!(level > 0);
            }
        }
    }
}

fn partition() -> impl Strategy<Value = TopicPartition> {
    (0_u8..3, prop_oneof![0..5, any::<i32>()]).prop_map(|(topic, index)| at(topic, index))
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let producer = (any::<i64>(), any::<i16>(), 0..=i32::MAX, any::<bool>());
    let producer = producer.prop_map(|(id, epoch, base_sequence, begins)| ProducerRow {
        id,
        epoch,
        base_sequence,
        begins,
    });
    let accepted = (any::<u32>(), any::<i64>(), prop::option::of(producer));
    prop_oneof![
        accepted.prop_map(|(count, max_timestamp_ms, producer)| Outcome::Accepted {
            count,
            max_timestamp_ms,
            producer
        }),
        (any::<i64>(), any::<i64>()).prop_map(|(base_offset, max_timestamp_ms)| {
            Outcome::Duplicate {
                base_offset,
                max_timestamp_ms,
            }
        }),
        Just(Outcome::Rejected(BatchRejection::InvalidProducerEpoch)),
        Just(Outcome::Rejected(BatchRejection::InvalidTxnState)),
        Just(Outcome::Rejected(BatchRejection::OffsetsExhausted)),
        Just(Outcome::Rejected(BatchRejection::Empty)),
    ]
}

fn extents() -> impl Strategy<Value = Extents> {
    let batch = (any::<u32>(), outcome()).prop_map(|(length_bytes, outcome)| BatchRow {
        length_bytes,
        outcome,
    });
    let batches = prop::collection::vec(batch, 0..6);
    let heads = (0..=i64::MAX, 0..=i64::MAX).prop_map(|(one, other)| Head {
        log_start: one.min(other),
        high_watermark: one.max(other),
    });
    let extent = (partition(), any::<u64>(), heads, batches).prop_map(
        |(partition, position_bytes, before, batches)| {
            let extent = ExtentRow {
                partition,
                position_bytes,
                batches: batches.len(),
                before,
            };
            (extent, batches)
        },
    );
    prop::collection::vec(extent, 0..6)
}

fn merged_extent() -> impl Strategy<Value = MergedExtent> {
    let offsets = (
        prop_oneof![0..20_i64, 0..i64::MAX - (1 << 32)],
        1..=u32::MAX,
    );
    let bytes = (0..u64::MAX - (1 << 32), any::<u32>());
    let partition = partition().prop_map(|it| at(it.topic.as_bytes()[0], it.partition & i32::MAX));
    (partition, bytes, offsets, any::<i64>()).prop_map(
        |(partition, (position_bytes, length_bytes), (base_offset, count), max_timestamp_ms)| {
            MergedExtent {
                partition,
                position_bytes,
                length_bytes,
                base_offset,
                end_offset: base_offset + i64::from(count),
                max_timestamp_ms,
            }
        },
    )
}

fn told() -> impl Strategy<Value = NewProcess> {
    let broker = (".{0,8}", any::<i32>(), ".{0,8}", any::<u16>()).prop_map(
        |(listener, node_id, host, port)| BrokerAddress {
            listener,
            node_id,
            host,
            port,
        },
    );
    (
        any::<([u8; 16], u32, u32)>(),
        (".{0,8}", prop::option::of(".{0,8}")),
        prop::collection::vec(broker, 0..4),
    )
        .prop_map(
            |((nonce, attempt, feature_level), (internal, zone), brokers)| NewProcess {
                nonce,
                attempt,
                internal,
                zone,
                brokers,
                feature_level,
            },
        )
}

/// Reads bytes as every kind of row; only the absence of panics counts.
fn read_as_everything(bytes: &[u8]) {
    drop(Counters::decode(bytes));
    drop(IdBlocks::decode(bytes));
    drop(process::decode(bytes));
    drop(topic::decode(topic_id(1), bytes));
    assert_ne!(topic::decode_deleted(bytes), Err(RowError::MalformedKey));
    drop(head::decode(bytes));
    assert_ne!(producer::decode(bytes), Err(RowError::MalformedKey));
    drop(read(bytes));
    drop(reply_of(bytes));
    drop(read_merged(bytes));
    assert_ne!(ObjectFigures::decode(bytes), Err(RowError::MalformedKey));
    assert_ne!(object::decode_dead(bytes), Err(RowError::MalformedKey));
    let key = RowKey::from(bytes::Bytes::copy_from_slice(bytes));
    drop(key.to_string());
}

proptest! {
    #[test]
    fn any_segment_row_round_trips(extents in extents(), time_ms: i64, revision: u64) {
        let segment = SegmentId { write_epoch: 1, incarnation: u32::MAX, counter: u64::MAX };
        let facts = CommitFacts { segment, size_bytes: revision, time_ms, revision };
        prop_assert_eq!(read(&write(&facts, &extents)), Ok((facts, extents)));
    }

    #[test]
    fn any_merged_row_round_trips(
        extents in prop::collection::vec(merged_extent(), 0..8),
        level in 1..=u8::MAX,
        time_ms: i64,
        revision: u64,
    ) {
        let mut sorted = extents;
        sorted.sort_by_key(|it| (it.partition, it.base_offset));
        sorted.dedup_by(|next, before| !merged::may_follow(Some(before), next));
        let segment = SegmentId { write_epoch: 1, incarnation: u32::MAX, counter: u64::MAX };
        let facts = CommitFacts { segment, size_bytes: u64::MAX, time_ms, revision };
        let row = merged::encode(&facts, level, &sorted);
        prop_assert_eq!(read_merged(&row), Ok((facts, level, sorted)));
    }

    #[test]
    fn garbage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_as_everything(&bytes);
        for version in [1, 2] {
            let mut versioned = vec![version];
            versioned.extend(&bytes);
            read_as_everything(&versioned);
        }
    }

    #[test]
    fn a_changed_segment_row_never_panics(at: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let (facts, extents) = example();
        let mut row = write(&facts, &extents);
        let at = at.index(row.len());
        row[at] = byte;
        read_as_everything(&row);
        row.truncate(cut.index(row.len()));
        prop_assert!(read(&row).is_err(), "cut short");
    }

    #[test]
    fn numbers_round_trip(unsigned: u64, signed: i64) {
        let mut out = Vec::new();
        put_u64(&mut out, unsigned);
        put_i64(&mut out, signed);
        let mut reader = Reader::new(&out);
        prop_assert_eq!(reader.u64(), Ok(unsigned));
        prop_assert_eq!(reader.i64(), Ok(signed));
        prop_assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn process_rows_round_trip(told in told()) {
        for is_listed in [true, false] {
            let row = process::encode(&told, is_listed);
            prop_assert_eq!(process::decode(&row), Ok((told.clone(), is_listed)));
        }
    }

    #[test]
    fn producer_rows_round_trip(
        epoch: i16,
        last in 0..=i32::MAX,
        used_ms: i64,
        past in prop::collection::vec((any::<i64>(), any::<i64>(), any::<u32>()), 1..=5),
    ) {
        let past = past.into_iter().map(|(base_offset, max_timestamp_ms, count)| PastBatch {
            base_offset,
            max_timestamp_ms,
            count,
        });
        let state = ProducerState::restore(epoch, last, used_ms, past);
        prop_assert_eq!(producer::decode(&encoded(&state)), Ok(state));
    }
}

#[test]
fn a_count_does_not_size_an_allocation() {
    let mut row = vec![1];
    put_u64(&mut row, u64::MAX >> 1);
    assert_eq!(head::decode(&row), Err(RowError::Truncated));
    assert_eq!(Reader::new(&[0xff; 11]).u64(), Err(RowError::NumberTooLong));
}
