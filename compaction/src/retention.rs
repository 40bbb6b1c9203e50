//! Old records leave their logs: `retention.ms` and `retention.bytes`, as Kafka understands them.
//!
//! ```text
//! topics of the picture ─▶ rule of each ─▶ what is to be kept ─▶ metadata moves log starts, durably
//! ```
//!
//! Extents go as a whole, the oldest first, as Kafka's log files do: by time while the newest record of the
//! oldest extent is older than `retention.ms`, by size while what is left is still at least `retention.bytes`.
//! A record from the future stays until its time has passed. The bytes leave the store later, see
//! [`crate::sweep`].
//!
//! What configs are called and which holds for a topic is the caller's business: [`Rules`].

use std::sync::Arc;
use std::time::Duration;

use floe_metadata::api::Topic;
use floe_metadata::api::objects::Retention;
use floe_metadata::client::Client;
use floe_metadata::client::view::View;
use floe_protocol::types::{TimestampMs, TopicId};
use floe_storage::clock::Clock;
use tokio_util::sync::CancellationToken;

use crate::rounds::{Pace, RoundError};
use crate::sweep::Figures;

#[cfg(test)]
mod tests;

/// Topics in one request: of those that have a thousand partitions each as many as one command may well look at.
const TOPICS_MAX: usize = 500;

/// How much of a topic's logs is to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Keep {
    /// For how long, in milliseconds; `None` for ever.
    pub retention_ms: Option<u64>,
    /// How many bytes of each partition; `None` for all.
    pub retention_bytes: Option<u64>,
}

impl Keep {
    /// As Kafka's configs say it: `retention.ms` and `retention.bytes`, negative for no limit.
    #[must_use]
    pub fn of_configs(retention_ms: i64, retention_bytes: i64) -> Self {
        Self {
            retention_ms: u64::try_from(retention_ms).ok(),
            retention_bytes: u64::try_from(retention_bytes).ok(),
        }
    }

    /// What to ask metadata for at `now_ms`; `None` when everything is kept.
    fn at(self, now_ms: TimestampMs, topic: TopicId) -> Option<Retention> {
        let before = |ms| now_ms.saturating_sub_unsigned(ms);
        let retention = Retention {
            topic,
            min_timestamp_ms: self.retention_ms.map(before),
            bytes_max: self.retention_bytes,
        };
        let has_limit = retention.min_timestamp_ms.is_some() || retention.bytes_max.is_some();
        has_limit.then_some(retention)
    }
}

/// Tells what is to be kept of a topic; `None` for a topic from which nothing is dropped by time or size, as one
/// that is only compacted.
pub type Rules = Arc<dyn Fn(&Topic) -> Option<Keep> + Send + Sync>;

/// What retention is made of.
#[allow(
    missing_debug_implementations,
    reason = "a closure has nothing to show"
)]
pub struct RetentionParts {
    /// The way to metadata.
    pub client: Client,
    /// Shows all topics.
    pub view: Arc<View>,
    /// What holds for each.
    pub rules: Rules,
    /// What records' times are compared with.
    pub clock: Clock,
    /// Pause between two looks at all topics (`log.retention.check.interval.ms`).
    pub every: Duration,
    /// Where it is counted.
    pub figures: Arc<Figures>,
}

/// Moves log starts until `stopping` is cancelled. May be dropped at any moment, and several may run at once.
pub async fn run(parts: RetentionParts, stopping: CancellationToken) {
    stopping.run_until_cancelled(keep_retaining(parts)).await;
}

async fn keep_retaining(parts: RetentionParts) {
    parts.view.ready().await;
    let mut pace = Pace::new("retention", parts.every);
    loop {
        tokio::time::sleep(pace.pause()).await;
        pace.ended(parts.round().await);
    }
}

impl RetentionParts {
    async fn round(&self) -> Result<(), RoundError> {
        let topics = self.view.topics();
        let wanted = limits(&topics, &self.rules, self.clock.now_ms());
        for some in wanted.chunks(TOPICS_MAX) {
            let moved = self.client.retain(some.to_vec()).await?;
            if moved > 0 {
                Figures::add(&self.figures.logs_retained, moved);
                tracing::info!(logs = moved, "old records left their logs");
            }
        }
        Ok(())
    }
}

/// What to ask for, of all topics that keep less than everything.
fn limits(topics: &[Arc<Topic>], rules: &Rules, now_ms: TimestampMs) -> Vec<Retention> {
    let limit = |topic: &Arc<Topic>| rules(topic)?.at(now_ms, topic.id);
    topics.iter().filter_map(limit).collect()
}
