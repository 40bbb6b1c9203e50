//! The wall clock, as an argument. Everything that stamps or compares times of day takes a [`Clock`];
//! this is the only module that may read the system's.
//!
//! A simulated clock is a start plus what `tokio::time` says has passed, so that a paused runtime
//! owns it. Neither clock promises never to step back: whoever needs that keeps a maximum.

use std::time::{SystemTime, UNIX_EPOCH};

use floe_protocol::types::TimestampMs;
use tokio::time::Instant;

/// Tells the time of day in milliseconds since the Unix epoch.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Simulated {
        start_ms: TimestampMs,
        start: Instant,
    },
}

impl Clock {
    /// The machine's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that shows `start_ms` now and then follows `tokio::time`.
    #[must_use]
    pub fn simulated(start_ms: TimestampMs) -> Self {
        Self(Source::Simulated {
            start_ms,
            start: Instant::now(),
        })
    }

    /// The time now. A system clock before 1970 or past the year 292 million shows 0 or the end.
    #[must_use]
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the system's clock"
    )]
    pub fn now_ms(&self) -> TimestampMs {
        match self.0 {
            Source::System => {
                let since = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                TimestampMs::try_from(since.as_millis()).unwrap_or(TimestampMs::MAX)
            }
            Source::Simulated { start_ms, start } => {
                let passed = i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX);
                start_ms.saturating_add(passed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_follows_paused_time() {
        let clock = Clock::simulated(1_000);
        assert_eq!(clock.now_ms(), 1_000);
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(clock.now_ms(), 1_250);
        assert_eq!(clock.clone().now_ms(), 1_250, "a clone shows the same time");
    }

    #[test]
    fn the_system_clock_is_past_the_year_2020() {
        assert!(Clock::system().now_ms() > 1_577_836_800_000);
    }
}
