//! How long this process may serve clients from its picture of the cluster.
//!
//! A change of a topic returns to its client when all who may serve show it. A process that metadata has
//! not answered for a while is waited for no longer, so it must have stopped by then: its lease counts from
//! when it *sent* what was answered, metadata's from when it answered.

use std::time::Duration;

use floe_metadata::client::LEASE;
use floe_metadata::steady_clock::SteadyClock;
use floe_storage::latest;

/// How long a request waits for a lease. Clients wait for an answer for 30 s and more by default.
const PATIENCE: Duration = Duration::from_secs(10);

/// The right to serve.
#[derive(Debug)]
pub(super) struct Lease {
    steady: SteadyClock,
    /// On the steady clock; zero before the first.
    until: latest::Writer<Duration>,
}

impl Lease {
    pub(super) fn new(steady: SteadyClock) -> Self {
        Self {
            steady,
            until: latest::channel(Duration::ZERO).0,
        }
    }

    /// The moment from which a lease counts if what is sent now is answered.
    pub(super) fn now(&self) -> Duration {
        self.steady.now()
    }

    /// What was sent at `sent` has been answered.
    pub(super) fn extend(&self, sent: Duration) {
        self.until.set(sent + LEASE);
    }

    fn is_held(&self) -> bool {
        self.until.get() > self.steady.now()
    }

    /// Waits for the lease, for a bounded time. `false` when this process may not serve. Cancel-safe.
    pub(super) async fn held(&self) -> bool {
        if self.is_held() {
            return true;
        }
        let until = self.until.reader();
        let held = until.wait_for(|until| *until > self.steady.now());
        tokio::time::timeout(PATIENCE, held).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_by_itself_and_who_waits_gets_the_next() {
        let lease = Lease::new(SteadyClock::simulated());
        assert!(!lease.is_held(), "nothing was answered yet");
        let sent = lease.now();
        tokio::time::sleep(Duration::from_secs(1)).await;
        lease.extend(sent);
        tokio::time::sleep(LEASE - Duration::from_millis(1001)).await;
        assert!(lease.is_held(), "it counts from what was sent");
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!lease.is_held());

        let began = tokio::time::Instant::now();
        let (held, ()) = tokio::join!(lease.held(), async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            lease.extend(lease.now());
        });
        assert!(held);
        assert_eq!(began.elapsed(), Duration::from_secs(3));
        tokio::time::sleep(LEASE).await;
        assert!(!lease.held().await, "it does not wait for ever");
    }
}
