//! The produce path: checked batches in, durable and ordered records out.
//!
//! ```text
//! handlers/produce ─▶ lanes ─▶ lane: batcher ─▶ uploader ─▶ object store
//!        ▲                              └──────▶ committer ─▶ sequencer
//!        └───────────── completion ◀──────────────────┘
//! ```
//!
//! What holds here:
//! - a batch is answered as written only after its segment is stored and its commit is durable;
//! - all batches of one connection go through one lane, in the order of their requests; a lane commits
//!   in the order in which it sealed;
//! - every enqueued batch gets exactly one outcome, unless the process ends first;
//! - a segment's name is used for one PUT of one sequence of bytes.

mod activity;
mod batcher;
mod committer;
mod completion;
mod flush;
mod lane;
mod lanes;
mod metrics;
mod names;
mod uploader;

use std::sync::Arc;

use floe_metadata::client::Client;
use floe_storage::clock::Clock;
use floe_storage::key::Lineage;
use floe_storage::store::Store;
use floe_storage::tasks::Tasks;
use tokio_util::sync::CancellationToken;

use self::activity::Activity;
use self::lanes::Lanes;
use self::metrics::ProduceMetrics;
pub(crate) use self::names::Names;
use crate::fetch::Fresh;
use crate::metrics::Metrics;
use crate::presence::Presence;

pub use self::activity::UploadLimits;
pub(crate) use self::batcher::Batch;
pub(crate) use self::completion::{Completion, Outcome, Ticket};
pub use self::flush::FlushRule;
pub(crate) use self::lanes::Seat;

/// What the produce path works with.
#[derive(Debug)]
pub struct ProduceParts {
    /// Gives records their order.
    pub client: Client,
    /// Keeps this process registered.
    pub(crate) presence: Arc<Presence>,
    /// Takes segments.
    pub store: Store,
    /// Part of every segment's name.
    pub lineage: Lineage,
    /// Keeps new segments for readers of the tail.
    pub fresh: Arc<Fresh>,
    /// Stamps segments, and records where the broker sets their time.
    pub clock: Clock,
    /// When a segment is sealed.
    pub rule: FlushRule,
    /// How much is stored at once.
    pub uploads: UploadLimits,
}

/// What all lanes share.
#[derive(Debug)]
pub(crate) struct Shared {
    client: Client,
    store: Store,
    lineage: Lineage,
    fresh: Arc<Fresh>,
    clock: Clock,
    rule: FlushRule,
    activity: Arc<Activity>,
    names: Names,
    metrics: ProduceMetrics,
}

/// Takes batches and makes them durable and ordered.
#[derive(Debug)]
pub struct ProducePath {
    activity: Arc<Activity>,
    lanes: Lanes,
}

impl ProducePath {
    /// Starts the path; its tasks run on `tasks` until `token` is cancelled.
    pub fn start(
        parts: ProduceParts,
        metrics: &Metrics,
        tasks: &Tasks,
        token: &CancellationToken,
    ) -> Self {
        let ProduceParts {
            client,
            presence,
            store,
            lineage,
            fresh,
            clock,
            rule,
            uploads,
        } = parts;
        let activity = Activity::new(uploads);
        let registered = presence.registered();
        let names = Names::new(presence);
        let shared = Arc::new(Shared {
            client,
            store,
            lineage,
            fresh,
            clock,
            rule,
            activity: Arc::clone(&activity),
            names,
            metrics: ProduceMetrics::register(metrics),
        });
        let (waiting, ended) = (Arc::clone(&activity), token.clone());
        tasks.spawn(async move {
            let mut seen = None;
            while let Some(registration) = tokio::select! {
                biased;
                () = ended.cancelled() => None,
                registration = registered.wait_for(|now| *now != seen) => registration,
            } {
                seen = registration;
                waiting.wake_lanes();
            }
        });
        let lanes = Lanes::new(shared, tasks.clone(), token.clone());
        Self { activity, lanes }
    }

    /// Puts the batches of one request in line, in the order given, behind all earlier ones of the
    /// connection that `seat` belongs to. Their outcomes arrive in `completion`.
    pub(crate) fn enqueue(&self, seat: &Seat, batches: Vec<Batch>, completion: &Arc<Completion>) {
        if batches.is_empty() {
            return;
        }
        self.activity.batches_opened(batches.len());
        self.lanes.enqueue(seat, batches, completion);
    }

    /// Seals without waiting for company from now on, and returns when everything that was enqueued
    /// has its outcome. Cancel-safe.
    pub async fn drain(&self) {
        self.activity.drain().await;
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
