//! Latencies: recorded in microseconds with three digits, told as percentiles in milliseconds.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency that is told apart; a longer one counts as this.
const LONGEST: Duration = Duration::from_secs(3600);

/// Latencies of many requests.
#[derive(Clone, Debug)]
pub struct Latencies {
    micros: Histogram<u64>,
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Percentiles {
    /// Number of latencies.
    pub count: u64,
    /// Half were faster.
    pub p50_ms: f64,
    /// 90 % were faster.
    pub p90_ms: f64,
    /// 99 % were faster.
    pub p99_ms: f64,
    /// 99.9 % were faster.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies::new()
    }
}

impl Latencies {
    /// An empty record.
    ///
    /// # Panics
    ///
    /// Never: the bounds and three digits are valid.
    pub fn new() -> Latencies {
        // With bounds: one that grows does not grow for a value that saturates.
        let longest = u64::try_from(LONGEST.as_micros()).unwrap_or(u64::MAX);
        Latencies {
            micros: Histogram::new_with_bounds(1, longest, 3)
                .expect("the bounds and three digits are valid"),
        }
    }

    /// Notes one latency.
    pub fn record(&mut self, latency: Duration) {
        self.micros
            .saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds those of another record.
    ///
    /// # Panics
    ///
    /// Never: both have the same bounds.
    pub fn add(&mut self, other: &Latencies) {
        self.micros
            .add(&other.micros)
            .expect("both have the same bounds");
    }

    /// What was recorded.
    pub fn percentiles(&self) -> Percentiles {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a latency has far fewer than 52 bits"
        )]
        let at = |quantile: f64| self.micros.value_at_quantile(quantile) as f64 / 1000.0;
        Percentiles {
            count: self.micros.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: at(1.0),
        }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "p50 {:.2} ms, p90 {:.2}, p99 {:.2}, p99.9 {:.2}, max {:.2}",
            self.p50_ms, self.p90_ms, self.p99_ms, self.p999_ms, self.max_ms
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let (mut all, mut half) = (Latencies::new(), Latencies::new());
        for ms in 1..=99 {
            all.record(Duration::from_millis(ms));
        }
        half.record(Duration::from_secs(100_000));
        all.add(&half);
        let told = all.percentiles();
        assert_eq!(told.count, 100);
        assert!((told.p50_ms - 50.0).abs() < 0.1, "{told}");
        assert!((told.p99_ms - 99.0).abs() < 0.1, "{told}");
        assert!((told.max_ms / 3_600_000.0 - 1.0).abs() < 0.001, "{told}");
    }
}
