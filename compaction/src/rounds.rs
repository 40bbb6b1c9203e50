//! What is done again and again: a round, a pause, the next round; after one that failed a shorter pause.

use std::time::Duration;

use floe_metadata::api::{RequestError, Revision};
use floe_storage::store::StoreError;

/// The first round begins no later than this after the start, so that a process that is restarted often still
/// gets to it.
const FIRST_AFTER_MAX: Duration = Duration::from_secs(30);
/// Pause after a first failure; doubles from then on.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// No pause after a failure is longer.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(60);

/// Why a round ended early. The next one begins anew.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoundError {
    /// Metadata.
    #[error(transparent)]
    Metadata(#[from] RequestError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Processes that serve clients did not follow.
    #[error("some process has not come to revision {0} in time")]
    NotPassed(Revision),
    /// A folder that is the store.
    #[error("folder '{folder}': {reason}")]
    Folder {
        /// Which.
        folder: String,
        /// The system's words.
        reason: std::io::Error,
    },
}

/// When rounds begin.
#[derive(Debug)]
pub(crate) struct Pace {
    what: &'static str,
    every: Duration,
    failures: u32,
    next: Duration,
}

impl Pace {
    /// Rounds of `what` with pauses of `every` between them.
    pub(crate) fn new(what: &'static str, every: Duration) -> Self {
        Self {
            what,
            every,
            failures: 0,
            next: every.min(FIRST_AFTER_MAX),
        }
    }

    /// How long to wait for the next round.
    pub(crate) const fn pause(&self) -> Duration {
        self.next
    }

    /// Takes note of how a round ended; says so if it failed.
    pub(crate) fn ended(&mut self, round: Result<(), RoundError>) {
        let Err(error) = round else {
            self.failures = 0;
            self.next = self.every;
            return;
        };
        let doubled = AGAIN_AFTER.saturating_mul(1 << self.failures.min(10));
        self.next = doubled.min(AGAIN_AFTER_MAX).min(self.every);
        self.failures = self.failures.saturating_add(1);
        tracing::warn!(%error, again_in = ?self.next, "{} was cut short", self.what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_shorten_the_pause_and_then_stretch_it() {
        let mut pace = Pace::new("test", Duration::from_secs(3600));
        assert_eq!(pace.pause(), FIRST_AFTER_MAX);
        pace.ended(Ok(()));
        assert_eq!(pace.pause(), Duration::from_secs(3600));
        let mut pauses = Vec::new();
        for _ in 0..9 {
            pace.ended(Err(RequestError::Unavailable.into()));
            pauses.push(pace.pause().as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        pace.ended(Ok(()));
        assert_eq!(pace.pause(), Duration::from_secs(3600));

        let mut quick = Pace::new("test", Duration::from_millis(100));
        assert_eq!(quick.pause(), Duration::from_millis(100));
        quick.ended(Err(RequestError::Unavailable.into()));
        assert_eq!(
            quick.pause(),
            Duration::from_millis(100),
            "never longer than without"
        );
    }
}
