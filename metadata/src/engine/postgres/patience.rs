//! How long a session puts up with a server that fails, and how often it asks again.

use std::time::Duration;

use tokio::time::Instant;

use super::error::PostgresError;

/// From the first failure of a statement on. Longer than a failover of a managed server's proxy takes
/// to close connections, shorter than a client's request.
const LIMIT: Duration = Duration::from_secs(10);
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_LAST: Duration = Duration::from_secs(1);

/// The attempts at one statement.
#[derive(Debug)]
pub(super) struct Patience {
    ends: Option<Instant>,
    pause: Duration,
}

impl Patience {
    pub(super) const fn new() -> Self {
        Self {
            ends: None,
            pause: PAUSE_FIRST,
        }
    }

    /// Waits before the next attempt, a little longer each time.
    ///
    /// # Errors
    /// `error` itself when it does not pass or has been put up with for long enough.
    pub(super) async fn endure(
        &mut self,
        what: &'static str,
        error: PostgresError,
    ) -> Result<(), PostgresError> {
        if !error.may_pass() {
            return Err(error);
        }
        let now = Instant::now();
        let ends = match self.ends {
            Some(ends) => ends,
            None => {
                tracing::warn!(%error, "{what} failed; trying again for {} s", LIMIT.as_secs());
                *self.ends.insert(now + LIMIT)
            }
        };
        if now + self.pause > ends {
            return Err(error);
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE_LAST);
        Ok(())
    }
}
