//! What the produce path counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use super::flush::Cause;
use crate::metrics::Metrics;

/// Counters of the produce path.
#[derive(Debug)]
pub(crate) struct ProduceMetrics {
    sealed: [Counter; 5],
    segment_bytes: Counter,
    put_seconds: Histogram,
    pub(super) puts_failed: Counter,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct SealLabel {
    cause: &'static str,
}

const CAUSES: [(Cause, &str); 5] = [
    (Cause::Full, "full"),
    (Cause::Linger, "linger"),
    (Cause::Idle, "idle"),
    (Cause::Early, "early"),
    (Cause::Drain, "drain"),
];

impl ProduceMetrics {
    /// Counters at zero, shown by `metrics`.
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let segments = Family::<SealLabel, Counter>::default();
        // 0.5 ms to 33 s.
        let put_seconds = Histogram::new(exponential_buckets(0.000_5, 2.0, 17));
        let ours = Self {
            sealed: CAUSES.map(|(_, cause)| segments.get_or_create(&SealLabel { cause }).clone()),
            segment_bytes: Counter::default(),
            put_seconds: put_seconds.clone(),
            puts_failed: Counter::default(),
        };
        metrics.register(
            "floe_produce_segments",
            "Segments sealed, by cause",
            segments,
        );
        metrics.register(
            "floe_produce_segment_bytes",
            "Bytes of sealed segments",
            ours.segment_bytes.clone(),
        );
        metrics.register(
            "floe_produce_puts_failed",
            "Segments that could not be stored",
            ours.puts_failed.clone(),
        );
        metrics.register(
            "floe_produce_put_seconds",
            "Time to store a segment",
            put_seconds,
        );
        ours
    }

    pub(super) fn sealed(&self, cause: Cause, size_bytes: u64) {
        for ((counted, _), counter) in CAUSES.iter().zip(&self.sealed) {
            if *counted == cause {
                counter.inc();
            }
        }
        self.segment_bytes.inc_by(size_bytes);
    }

    pub(super) fn put_took(&self, took: Duration) {
        self.put_seconds.observe(took.as_secs_f64());
    }
}
