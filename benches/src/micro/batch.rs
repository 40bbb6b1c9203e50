//! Record batches on produce: header checks and CRC, without and with a codec; the walk over records.

use bytes::Bytes;
use floe_protocol::compression::Compression;
use floe_protocol::record_batch::{BatchBuilder, ProduceLimits, check_produced};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Measurement, cpu_seconds};
use crate::sample::GIB;

const NOW_MS: i64 = 1_800_000_000_000;

/// Batches as one default producer makes them when it is busy: about 1 MB, and a small one.
const SIZES: [(&str, usize, usize); 3] = [
    ("1 MB of 1 KiB records", 1000, 1024),
    ("16 KiB", 16, 1000),
    ("100 bytes", 1, 30),
];

/// Runs all of them; takes some seconds.
#[must_use]
pub fn run() -> Vec<Measurement> {
    SIZES
        .into_iter()
        .flat_map(|(name, records, value_bytes)| {
            let batch = batch(records, value_bytes);
            let limits = ProduceLimits {
                produce_version: 9,
                max_message_bytes: 2 << 20,
                timestamps: None,
            };
            let seconds = cpu_seconds(|| check_produced(&batch, &limits).is_ok());
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            let per_gib = seconds / (batch.len() as f64) * GIB;
            [
                Measurement::new(format!("batch: check {name}"), seconds * 1e9, "ns"),
                Measurement::new(format!("batch: check {name}"), per_gib, "CPU-s/GiB"),
            ]
        })
        .collect()
}

/// A batch of incompressible records.
///
/// # Panics
///
/// Never: its records are in order and small.
pub(super) fn batch(records: usize, value_bytes: usize) -> Bytes {
    let mut random = SmallRng::seed_from_u64(1);
    let mut builder = BatchBuilder::new(Compression::None);
    let mut value = vec![0_u8; value_bytes];
    for _ in 0..records {
        random.fill(value.as_mut_slice());
        builder.append(NOW_MS, None, Some(&value));
    }
    builder.build().expect("records in order make a batch")
}
