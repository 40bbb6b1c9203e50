//! Batches that real clients made, and what Kafka's own reader finds in them; see the README beside
//! the files.

use std::fmt::Write;
use std::path::PathBuf;

use super::*;

/// The client libraries whose batches we hold, besides Java's.
const CLIENTS: [&str; 6] = [
    "aiokafka",
    "franz-go",
    "kafka-go",
    "kafka-python",
    "librdkafka",
    "sarama",
];
const CODECS: [Compression; 4] = [
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/record_batch")
        .join(name)
}

pub(super) fn golden(name: &str) -> Bytes {
    let path = path(&format!("{name}.bin"));
    Bytes::from(std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn listing(name: &str) -> String {
    let path = path(&format!("{name}.txt"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All golden batches of the current format, by name.
pub(super) fn all() -> Vec<(String, Bytes)> {
    let mut batches: Vec<_> = std::fs::read_dir(path(""))
        .expect("the folder of golden batches")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".bin").map(str::to_owned))
        .filter(|name| !name.contains("magic"))
        .map(|name| (name.clone(), golden(&name)))
        .collect();
    batches.sort();
    assert!(batches.len() > 50, "{} golden batches", batches.len());
    batches
}

fn hex(bytes: Option<&Bytes>) -> String {
    let Some(bytes) = bytes else {
        return "-".to_owned();
    };
    bytes.iter().fold("x".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string");
        text
    })
}

fn list(batch: &Bytes) -> String {
    let mut text = String::new();
    for record in RecordIter::new(batch, 1 << 20).expect("a golden batch") {
        let record = record.expect("a golden record");
        let (key, value) = (hex(record.key.as_ref()), hex(record.value.as_ref()));
        write!(
            text,
            "{} {} {key} {value}",
            record.offset, record.timestamp_ms
        )
        .expect("a string");
        for header in record.headers.iter() {
            write!(
                text,
                " {}={}",
                hex(Some(&header.key)),
                hex(header.value.as_ref())
            )
            .expect("a string");
        }
        text.push('\n');
    }
    text
}

fn check_crc(name: &str, batch: &Bytes) {
    let header = BatchHeader::parse(batch).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(header.size_bytes(), batch.len(), "{name}");
    assert_eq!(crc32c(&batch[CRC_START_BYTES..]), header.crc, "{name}");
}

#[test]
fn every_client_and_codec_is_read_as_kafka_reads_it() {
    let mut names = vec![("librdkafka-idempotent".to_owned(), "clients")];
    names.extend(
        [
            "java-plain-none",
            "java-idempotent",
            "java-transactional",
            "java-stamp-before",
        ]
        .map(|name| (name.to_owned(), "java")),
    );
    for codec in CODECS {
        names.push((format!("java-plain-{codec}"), "java"));
        names.extend(CLIENTS.map(|client| (format!("{client}-plain-{codec}"), "clients")));
    }
    for (name, expected) in names {
        let batch = golden(&name);
        check_produced(&batch, &limits()).unwrap_or_else(|error| panic!("{name}: {error}"));
        walk(&batch, &WalkLimits::new(1 << 20)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(list(&batch), listing(expected), "{name}");
    }
}

#[test]
fn batches_of_many_blocks_are_read() {
    let mut seen = 0;
    for (name, batch) in all().iter().filter(|(name, _)| name.contains("-large-")) {
        check_produced(batch, &limits()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let summary = walk(batch, &WalkLimits::new(1 << 20)).expect(name);
        assert_eq!(summary.record_count, 220, "{name}");
        assert_eq!(
            (summary.min_timestamp_ms, summary.max_timestamp_ms),
            (T0, T0 + 219),
            "{name}"
        );
        for (i, record) in records(batch).expect(name).into_iter().enumerate() {
            assert_eq!(
                record.key.as_deref(),
                Some(format!("key-{i}").as_bytes()),
                "{name}"
            );
            let value = format!("value-{i:05} ").repeat(50);
            assert_eq!(record.value.as_deref(), Some(value.as_bytes()), "{name}");
        }
        seen += 1;
    }
    assert!(seen >= 14, "{seen} large batches");
}

#[test]
fn stored_batches_are_read_as_kafka_reads_them() {
    for (name, expected) in [
        ("java-log-append-time", "java-log-append-time"),
        ("java-stamp-after", "java-stamp-after"),
        ("java-compacted-sparse-none", "java-compacted-sparse"),
        ("java-compacted-sparse-lz4", "java-compacted-sparse"),
        ("java-compacted-horizon-none", "java-compacted-horizon"),
        ("java-compacted-horizon-lz4", "java-compacted-horizon"),
        ("java-control-commit", "java-control-commit"),
        ("java-control-abort", "java-control-abort"),
    ] {
        let batch = golden(name);
        check_crc(name, &batch);
        assert_eq!(list(&batch), listing(expected), "{name}");
    }
}

#[test]
fn an_empty_batch_keeps_its_place() {
    for name in ["java-compacted-empty-none", "java-compacted-empty-lz4"] {
        let batch = golden(name);
        check_crc(name, &batch);
        let header = BatchHeader::parse(&batch).expect("a golden batch");
        assert_eq!(
            (
                header.base_offset,
                header.last_offset(),
                header.record_count
            ),
            (900, 906, 0)
        );
        assert_eq!((header.base_sequence, header.last_sequence()), (40, 46));
        assert_eq!(records(&batch), Ok(Vec::new()), "{name}");
    }
}

#[test]
fn the_old_formats_are_refused() {
    for magic in [0, 1] {
        let batch = golden(&format!("java-magic-{magic}"));
        assert_eq!(
            check_produced(&batch, &limits()),
            Err(BatchError::OldMagic { magic })
        );
    }
}

#[test]
fn markers_are_those_of_kafka() {
    let commit = ControlBatch {
        offset: 123_456_789_012,
        leader_epoch: 7,
        timestamp_ms: 1_700_000_001_234,
        producer_id: 4711,
        producer_epoch: 3,
        kind: ControlKind::Commit,
        coordinator_epoch: 42,
    };
    let abort = ControlBatch {
        offset: 0,
        leader_epoch: 0,
        producer_id: i64::MAX - 1,
        producer_epoch: i16::MAX - 1,
        kind: ControlKind::Abort,
        coordinator_epoch: 0,
        ..commit
    };
    for (name, marker) in [
        ("java-control-commit", commit),
        ("java-control-abort", abort),
    ] {
        let batch = control_batch(&marker);
        assert_eq!(batch, golden(name), "{name}");
        assert_eq!(batch.len(), 78);
        let header = BatchHeader::parse(&batch).expect("it is a batch");
        assert!(header.attributes.is_control() && header.attributes.is_transactional());
        let [record] = records(&batch)
            .expect("one record")
            .try_into()
            .expect("one record");
        let key = record.key.expect("a marker has a key");
        assert_eq!(ControlKind::from_key(&key), Some(marker.kind));
        assert_eq!(
            check_produced(&with(&batch, 0, &[0; 8]), &limits()).map(|_| ()),
            Err(BatchError::NegativeSequence {
                producer_id: marker.producer_id,
                base_sequence: -1
            })
        );
    }
    assert_eq!(
        ControlKind::from_key(&[0, 0, 0, 2]),
        None,
        "a leader change"
    );
    assert_eq!(ControlKind::from_key(&[0, 0, 0]), None);
}

#[test]
fn the_builder_writes_what_java_writes() {
    let plain = records(&golden("java-plain-none")).expect("golden records");
    let build = |builder: BatchBuilder, kept: &[Record]| {
        let mut builder = builder;
        for record in kept {
            builder.push(record);
        }
        builder.build().expect("golden records fit")
    };
    let new = || BatchBuilder::new(Compression::None);
    assert_eq!(build(new(), &plain), golden("java-plain-none"));
    let idempotent = new().producer(4711, 3, i32::MAX - 2);
    assert_eq!(build(idempotent, &plain), golden("java-idempotent"));
    for (name, records_of, codec) in [
        ("java-log-append-time", "java-plain-none", Compression::None),
        ("java-plain-snappy", "java-plain-none", Compression::Snappy),
        (
            "java-compacted-sparse-none",
            "java-compacted-sparse-none",
            Compression::None,
        ),
        (
            "java-compacted-sparse-lz4",
            "java-compacted-sparse-lz4",
            Compression::Lz4,
        ),
        (
            "java-compacted-horizon-none",
            "java-compacted-horizon-none",
            Compression::None,
        ),
        (
            "java-compacted-empty-none",
            "java-compacted-empty-none",
            Compression::None,
        ),
        (
            "java-compacted-empty-lz4",
            "java-compacted-empty-lz4",
            Compression::Lz4,
        ),
    ] {
        let expected = golden(name);
        let header = BatchHeader::parse(&expected).expect("a golden batch");
        let mut kept = records(&golden(records_of)).expect("golden records");
        for record in &mut kept {
            record.offset += header.base_offset * i64::from(records_of.contains("plain"));
        }
        let built = build(BatchBuilder::replacing(&header, codec), &kept);
        let reread = BatchHeader::parse(&built).expect("it is a batch");
        assert_eq!(list(&built), list(&expected), "{name}");
        // A codec may compress otherwise than Java's.
        let (length, crc) = (reread.length, reread.crc);
        assert_eq!(
            reread,
            BatchHeader {
                length,
                crc,
                ..header
            },
            "{name}"
        );
        if codec == Compression::None {
            assert_eq!(built, expected, "{name}");
        }
    }
}
