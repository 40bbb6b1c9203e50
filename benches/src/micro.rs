//! Micro benchmarks: one module per part of the system, each with a `run` that returns what it measured.

use std::hint::black_box;
use std::time::Duration;

pub mod batch;
pub mod codec;
pub mod commit;
pub mod segment;
pub mod state;

/// One number that was measured.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
pub struct Measurement {
    /// What was measured, as `part: what`.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what, such as `batches/s` or `bytes`.
    pub unit: &'static str,
}

impl Measurement {
    /// A measurement.
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        let name = name.into();
        Self { name, value, unit }
    }
}

/// Time of one repetition is at least this, so that the clock's grain does not show.
const SPAN: Duration = Duration::from_millis(200);

/// CPU seconds of this thread per call of `work`: the median of five spans, after one to warm up.
fn cpu_seconds<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut spans: Vec<f64> = (0..6)
        .map(|_| {
            let (start, begin) = (crate::time::now(), crate::time::thread_cpu());
            let mut calls = 0_u32;
            while start.elapsed() < SPAN {
                black_box(work());
                calls += 1;
            }
            (crate::time::thread_cpu() - begin).as_secs_f64() / f64::from(calls)
        })
        .skip(1)
        .collect();
    spans.sort_by(f64::total_cmp);
    spans.get(spans.len() / 2).copied().unwrap_or(0.0)
}
