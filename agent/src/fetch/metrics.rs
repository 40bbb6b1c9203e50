//! What goes wrong on the fetch path: counted always, logged at a bounded rate, since a consumer comes
//! back for the same damaged batch many times a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use floe_protocol::types::TopicPartition;
use floe_storage::store::StoreErrorKind;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::cursor::ReadError;
use crate::metrics::Metrics;

/// Shortest time between two log lines.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Counters of the fetch path.
#[derive(Debug)]
pub(super) struct FetchMetrics {
    damaged: Counter,
    failed: Counter,
    replanned: Counter,
    logged: Mutex<Option<Instant>>,
}

impl FetchMetrics {
    /// Counters at zero, shown by `metrics`.
    pub(super) fn register(metrics: &Metrics) -> Self {
        let ours = Self {
            damaged: Counter::default(),
            failed: Counter::default(),
            replanned: Counter::default(),
            logged: Mutex::default(),
        };
        metrics.register(
            "floe_fetch_damaged",
            "Reads that met missing or damaged bytes: someone must look",
            ours.damaged.clone(),
        );
        metrics.register(
            "floe_fetch_failed",
            "Reads that the store failed",
            ours.failed.clone(),
        );
        metrics.register(
            "floe_fetch_replanned",
            "Reads that were planned anew, since an object had been replaced",
            ours.replanned.clone(),
        );
        ours
    }

    /// Notes that a read is planned anew, since an object is not there any more.
    pub(super) fn replanned(&self) {
        self.replanned.inc();
    }

    /// Notes that a read of `partition` failed.
    pub(super) fn failed(&self, partition: TopicPartition, error: &ReadError) {
        let is_damage = match error {
            ReadError::Damaged { .. } => true,
            // Metadata names the object, and no reader came too late for it.
            ReadError::Store(cause) => {
                matches!(
                    cause.kind(),
                    StoreErrorKind::NotFound | StoreErrorKind::Invalid
                )
            }
        };
        if is_damage {
            &self.damaged
        } else {
            &self.failed
        }
        .inc();
        if !self.may_log(Instant::now()) {
            return;
        }
        if is_damage {
            tracing::error!(%partition, %error, "records cannot be served: stored bytes are missing or damaged");
        } else {
            tracing::warn!(%partition, %error, "records could not be read from the store");
        }
    }

    /// Reads that met damage, and those that were planned anew.
    #[cfg(test)]
    pub(super) fn figures(&self) -> (u64, u64) {
        (self.damaged.get(), self.replanned.get())
    }

    fn may_log(&self, now: Instant) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let due = logged.is_none_or(|last| now.saturating_duration_since(last) >= LOG_EVERY);
        if due {
            *logged = Some(now);
        }
        due
    }
}
