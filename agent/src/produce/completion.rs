//! What became of the batches of one Produce request: one object per request, however many partitions
//! it has. Lanes fill it in any order and from any thread; the request's answer waits for the last.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use floe_metadata::api::{BatchRejection, CommitError};
use floe_protocol::types::{Offset, TimestampMs};
use tokio::sync::Notify;

use crate::memory::MemoryPermit;

/// What became of one batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Durable, ordered and visible.
    Written {
        /// Offset of its first record.
        base_offset: Offset,
        /// Where the partition's log starts.
        log_start: Offset,
        /// The time the broker stamped; `None` where records keep their producer's.
        log_append_time_ms: Option<TimestampMs>,
    },
    /// Its commit decided against it: surely not written.
    Rejected(BatchRejection),
    /// Its segment could not be stored, and so was never committed: surely not written.
    NotStored,
    /// Its commit has no result; the error says whether it may have happened.
    NoResult(CommitError),
}

/// The outcomes of one request's batches, in the order in which the request enqueued them.
#[derive(Debug)]
pub(crate) struct Completion {
    outcomes: Box<[OnceLock<Outcome>]>,
    open: AtomicUsize,
    done: Notify,
    /// The request's frame, which its batches point into; given back with the last of them.
    _permit: MemoryPermit,
}

impl Completion {
    /// No outcomes yet for `batches` batches, whose bytes `permit` stands for.
    pub(crate) fn new(batches: usize, permit: MemoryPermit) -> Arc<Self> {
        Arc::new(Self {
            outcomes: std::iter::repeat_with(OnceLock::new)
                .take(batches)
                .collect(),
            open: AtomicUsize::new(batches),
            done: Notify::new(),
            _permit: permit,
        })
    }

    /// Notes what became of a batch.
    ///
    /// # Panics
    /// The batch has an outcome already or does not exist: two segments held it, or an answer was
    /// taken for another's.
    pub(crate) fn resolve(&self, batch: usize, outcome: Outcome) {
        let Some(place) = self.outcomes.get(batch) else {
            panic!(
                "a request of {} batches has no batch {batch}",
                self.outcomes.len()
            );
        };
        assert!(
            place.set(outcome).is_ok(),
            "batch {batch} was answered twice"
        );
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.done.notify_one();
        }
    }

    /// Whether all batches have an outcome.
    pub(crate) fn is_done(&self) -> bool {
        self.open.load(Ordering::Acquire) == 0
    }

    /// Waits until all batches have an outcome. For one waiter; cancel-safe.
    pub(crate) async fn done(&self) {
        while !self.is_done() {
            self.done.notified().await;
        }
    }

    /// Whether all batches were decided: written, or rejected by metadata for good.
    pub(crate) fn is_decided(&self) -> bool {
        self.outcomes.iter().all(|outcome| match outcome.get() {
            Some(Outcome::Written { .. } | Outcome::Rejected(_)) => true,
            Some(Outcome::NotStored | Outcome::NoResult(_)) | None => false,
        })
    }

    /// What became of a batch; `None` while that is open.
    pub(crate) fn outcome(&self, batch: usize) -> Option<Outcome> {
        self.outcomes
            .get(batch)
            .and_then(|place| place.get())
            .copied()
    }
}

/// The place of one batch in its request's completion.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    completion: Arc<Completion>,
    batch: usize,
}

impl Ticket {
    /// The place of batch number `batch`.
    pub(crate) fn new(completion: &Arc<Completion>, batch: usize) -> Self {
        Self {
            completion: Arc::clone(completion),
            batch,
        }
    }

    /// Answers the batch, once.
    pub(crate) fn resolve(self, outcome: Outcome) {
        self.completion.resolve(self.batch, outcome);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const LOST: Outcome = Outcome::NotStored;

    #[test]
    fn waits_for_the_last_batch() {
        let completion = Completion::new(2, MemoryPermit::empty());
        assert!(completion.done().now_or_never().is_none());
        Ticket::new(&completion, 1).resolve(LOST);
        assert!(completion.done().now_or_never().is_none());
        assert_eq!(completion.outcome(0), None);
        assert_eq!(completion.outcome(1), Some(LOST));
        let mut waiting = Box::pin(completion.done());
        assert!(waiting.as_mut().now_or_never().is_none());
        Ticket::new(&completion, 0).resolve(Outcome::NoResult(CommitError::Unavailable));
        assert!(
            waiting.now_or_never().is_some(),
            "the waiter is woken by the last"
        );
        assert!(
            completion.done().now_or_never().is_some(),
            "and a second look is at once"
        );
    }

    #[test]
    fn a_request_without_batches_is_done() {
        assert!(
            Completion::new(0, MemoryPermit::empty())
                .done()
                .now_or_never()
                .is_some()
        );
    }

    #[test]
    #[should_panic(expected = "answered twice")]
    fn one_outcome_per_batch() {
        let completion = Completion::new(1, MemoryPermit::empty());
        Ticket::new(&completion, 0).resolve(LOST);
        Ticket::new(&completion, 0).resolve(LOST);
    }
}
