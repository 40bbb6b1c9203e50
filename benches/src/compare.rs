//! Floe and Apache Kafka side by side in one run: the figures that the README and the issues name.
//!
//! Every figure is measured three times on fresh servers, memory touched before each; the table gives
//! the median and the range. Servers never run beside each other. The client is a process of its own,
//! so that its CPU is counted apart.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use serde::Serialize;
use serde_json::Value;

pub mod figures;
pub mod run;

/// What a comparison needs.
#[derive(Clone, Debug)]
pub struct Tools {
    /// The release build of `floe`.
    pub floe: PathBuf,
    /// The workload program.
    pub workload: PathBuf,
    /// A folder on the disk to be measured, for everything that servers write.
    pub folder: PathBuf,
    /// Jars of Kafka 4.2.
    pub kafka: floe_tests::components::java::Kafka,
    /// Repetitions of each figure.
    pub repeats: usize,
    /// Share of the usual amount of data, for a quick look: 1 is a GiB where that is asked.
    pub scale: f64,
}

/// All samples of a run, by figure.
#[derive(Debug, Default)]
pub struct Samples {
    values: Mutex<BTreeMap<String, Vec<f64>>>,
}

/// Median and range of a figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// The middle one.
    pub median: f64,
    /// The smallest.
    pub least: f64,
    /// The largest.
    pub most: f64,
    /// All, in the order in which they were taken.
    pub samples: Vec<f64>,
}

impl Samples {
    /// Adds a sample of a figure.
    pub fn add(&self, name: &str, value: f64) {
        let mut values = self
            .values
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        values.entry(name.to_owned()).or_default().push(value);
    }

    /// Adds the number at `path` of a report, such as `cost.server.cpu_s_per_gib`. A number that is
    /// not there is no sample.
    pub fn add_from(&self, name: &str, report: &Value, path: &str) {
        let pointer = format!("/{}", path.replace('.', "/"));
        if let Some(value) = report.pointer(&pointer).and_then(Value::as_f64) {
            self.add(name, value);
        }
    }

    /// Every figure by name.
    pub fn figures(&self) -> BTreeMap<String, Figure> {
        let values = self
            .values
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        values
            .iter()
            .filter_map(|(name, samples)| Some((name.clone(), figure(samples)?)))
            .collect()
    }
}

fn figure(samples: &[f64]) -> Option<Figure> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (least, most) = (*sorted.first()?, *sorted.last()?);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    let even = sorted.len().is_multiple_of(2);
    let median = if even {
        f64::midpoint(*sorted.get(middle - 1)?, upper)
    } else {
        upper
    };
    Some(Figure {
        median,
        least,
        most,
        samples: samples.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_range() {
        let of = |samples: &[f64]| figure(samples).map(|f| (f.median, f.least, f.most));
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(of(&[4.0, 1.0]), Some((2.5, 1.0, 4.0)));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn numbers_are_taken_by_path() {
        let samples = Samples::default();
        let report = serde_json::json!({"cost": {"server": {"cpu_s_per_gib": 1.5}}});
        samples.add_from("a", &report, "cost.server.cpu_s_per_gib");
        samples.add_from("a", &report, "cost.server.no_such");
        assert_eq!(samples.figures()["a"].samples, [1.5]);
    }
}
