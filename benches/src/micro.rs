//! Micro benchmarks: one module per part of the system, each with a `run` that returns what it measured.

pub mod state;

/// One number that was measured.
#[derive(Clone, PartialEq, Debug)]
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
