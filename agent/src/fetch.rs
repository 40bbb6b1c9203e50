//! The fetch path: finds where records lie, waits for them if there are none, reads them.
//!
//! ```text
//! handlers/fetch ─▶ sessions ─▶ look (watched picture) ──▶ share out ─▶ reader ─▶ fresh | chunks
//!                                 ▲        │ nothing yet                  ▲
//!                                 └─ waiter ┘                  plans ◀─ look-up
//! ```
//!
//! What holds here:
//! - bounds and records of a partition's answer belong together: records lie below the high watermark
//!   (or last stable offset) that is answered with them;
//! - a commit after the look wakes the wait at once: the waiter exists before the look;
//! - "out of range" is said of a position above the end only after metadata itself was asked;
//! - damaged bytes are an error of their partition, never an answer;
//! - an object that is not there was replaced after the plan was made, and is planned anew, once;
//! - readers of old records have memory of their own, and take none of those of the newest (decision 21).

mod assembler;
mod charge;
mod chunks;
mod cursor;
mod fresh;
mod long_poll;
mod look;
mod metrics;
mod planner;
mod plans;
mod positions;
mod read_ahead;
mod read_all;
mod reader;
mod rope;
mod sessions;
mod strides;

use std::sync::Arc;

use floe_metadata::api::Extent;
use floe_metadata::client::Client;
use floe_metadata::client::view::View;
use floe_protocol::types::TopicPartition;
use floe_storage::key::Lineages;
use floe_storage::tasks::Tasks;
use tokio_util::sync::CancellationToken;

use self::metrics::FetchMetrics;
use self::plans::Plans;
use self::read_ahead::ReadAhead;
use self::reader::Reader;
use crate::memory::MemoryBudget;
use crate::metrics::Metrics;

pub(crate) use self::chunks::Chunks;
pub(crate) use self::cursor::{BatchCursor, ReadError};
pub use self::fresh::Fresh;
pub(crate) use self::long_poll::{Answered, Fetch};
pub(crate) use self::look::{Isolation, Position};
pub(crate) use self::planner::ANSWER_BYTES_MAX;
pub(crate) use self::rope::Rope;
pub(crate) use self::sessions::{
    Ask, Asked, PartitionKey, Placed, SessionError, Sessions, Told, TopicKey,
};

/// What the fetch path works with.
#[derive(Debug)]
pub struct FetchParts {
    /// Answers what the watched picture cannot.
    pub client: Client,
    /// The watched picture.
    pub view: Arc<View>,
    /// Segments of this process that are still in memory.
    pub fresh: Arc<Fresh>,
    /// Chunks of objects.
    pub(crate) chunks: Chunks,
    /// Tells a segment's key.
    pub lineages: Lineages,
    /// What answers may hold.
    pub memory: MemoryBudget,
    /// Where session ids are drawn from.
    pub seed: u64,
}

/// Finds and reads batches.
#[derive(Debug)]
pub struct FetchPath {
    client: Client,
    view: Arc<View>,
    reader: Reader,
    plans: Plans,
    sessions: Sessions,
    memory: MemoryBudget,
    metrics: FetchMetrics,
    /// Ends all waiting.
    stopping: CancellationToken,
}

impl FetchPath {
    /// Starts the path. It reads ahead on `tasks`; when `stopping` is cancelled, fetches that wait are
    /// answered with what there is.
    #[must_use]
    pub fn start(
        parts: FetchParts,
        metrics: &Metrics,
        tasks: &Tasks,
        stopping: &CancellationToken,
    ) -> Self {
        let FetchParts {
            client,
            view,
            fresh,
            chunks,
            lineages,
            memory,
            seed,
        } = parts;
        let read_ahead = ReadAhead::new(tasks.clone(), stopping.clone());
        Self {
            client,
            view,
            reader: Reader::new(fresh, chunks, lineages, read_ahead),
            plans: Plans::default(),
            sessions: Sessions::new(seed),
            memory,
            metrics: FetchMetrics::register(metrics),
            stopping: stopping.clone(),
        }
    }

    /// A cursor before the first batch of `extent`, for readers that look at every batch and come by once.
    pub(crate) fn batches(&self, extent: &Extent) -> BatchCursor {
        self.reader.batches(extent)
    }

    /// Counts a read that is planned anew, since an object is not there any more.
    pub(crate) fn replanned(&self) {
        self.metrics.replanned();
    }

    /// Counts and logs a failed read.
    pub(crate) fn report(&self, partition: TopicPartition, error: &ReadError) {
        self.metrics.failed(partition, error);
    }

    /// The sessions of this agent's consumers.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }
}

#[cfg(test)]
mod tests;
