//! The segment writer: from checked batches to an object that is ready for its PUT.

use floe_protocol::record_batch::BatchHeader;
use floe_protocol::types::{TopicId, TopicPartition};
use floe_storage::segment::SegmentId;
use floe_storage::segment::writer::Writer;

use super::{Measurement, batch, cpu_seconds};
use crate::sample::GIB;

const NOW_MS: i64 = 1_800_000_000_000;
const ID: SegmentId = SegmentId {
    write_epoch: 1,
    incarnation: 1,
    counter: 0,
};
const SEGMENT_BYTES: usize = 8 << 20;

/// Runs all of them; takes some seconds.
///
/// # Panics
///
/// Never: its batches are its own.
#[must_use]
pub fn run() -> Vec<Measurement> {
    let mut measured = Vec::new();
    for (name, partitions, records, value_bytes) in [
        ("1 MB batches, 4 partitions", 4, 1000, 1024),
        ("16 KiB batches, 16 partitions", 16, 16, 1000),
        ("1 KiB batches, 1,000 partitions", 1000, 1, 1000),
        ("100 byte batches, 10,000 partitions", 10_000, 1, 30),
    ] {
        let bytes = batch::batch(records, value_bytes);
        let header = BatchHeader::parse(&bytes).expect("an own batch has a header");
        let count = SEGMENT_BYTES / bytes.len();
        let seconds = cpu_seconds(|| {
            let mut writer = Writer::new(ID, 0, NOW_MS);
            for number in 0..count {
                let partition = TopicPartition {
                    topic: TopicId::default(),
                    partition: i32::try_from(number % partitions).unwrap_or(0),
                };
                writer.push(partition, &header, bytes.clone(), None);
            }
            writer.seal()
        });
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let per_gib = seconds / ((count * bytes.len()) as f64) * GIB;
        measured.push(Measurement::new(
            format!("segment: 8 MiB of {name}"),
            seconds * 1e3,
            "ms",
        ));
        measured.push(Measurement::new(
            format!("segment: {name}"),
            per_gib,
            "CPU-s/GiB",
        ));
    }
    measured
}
