//! One lane: a batcher whose segments are stored in parallel and committed in order.
//!
//! ```text
//! connections ─▶ batcher ─seal─▶ uploads (parallel, taken in order) ─▶ committer (pipelined, in order)
//!                                   │ failed: answered, the lane goes on        └▶ answers
//!                                   └ stored: shown to readers of the tail
//! ```
//!
//! Connections put batches in under a short lock and wake the lane only when the flush rule has
//! something to do; everything else is owned by the lane's one task.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use floe_metadata::api::{BatchResult, CommitError, CommitReply, CommitRequest};
use floe_planted::Bug;
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Shared;
use super::activity::Trip;
use super::batcher::{Answer, Batch, Batcher, Sealed, Window, seal};
use super::committer::{Commit, Committer, Ending};
use super::completion::Outcome;
use super::flush::{Cause, Decision, decide};
use super::uploader::{PutError, put};

/// The side of a lane that connections see.
#[derive(Debug)]
pub(crate) struct LaneDoor {
    batcher: Mutex<Batcher>,
    pub(super) wake: Arc<Notify>,
    /// Connections pinned to this lane.
    pub(super) pinned: AtomicUsize,
}

impl LaneDoor {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            batcher: Mutex::default(),
            wake: Arc::new(Notify::new()),
            pinned: AtomicUsize::new(0),
        })
    }

    /// Puts the batches of one request in line, behind all that came before.
    pub(super) fn enqueue(&self, shared: &Shared, window: &mut Window, batches: Vec<Batch>) {
        let now = Instant::now();
        let mut batcher = self.lock();
        let was_empty = batcher.is_empty();
        batcher.push(now, window, batches);
        let decision = decide(
            &shared.rule,
            batcher.gathered(now),
            shared.activity.under_way(now),
        );
        drop(batcher);
        // The first batch starts the lane's timer. Whatever else may end the wait wakes the lane itself.
        if was_empty || matches!(decision, Decision::Seal(_)) {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Batcher> {
        self.batcher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a PUT ended.
struct Stored {
    sealed: Sealed,
    trip: Trip,
    result: Result<(), PutError>,
}

type Upload = Pin<Box<dyn Future<Output = Stored> + Send>>;

/// The task's side of a lane.
pub(super) struct Lane {
    shared: Arc<Shared>,
    door: Arc<LaneDoor>,
    uploads: FuturesOrdered<Upload>,
    committer: Committer,
}

impl Lane {
    pub(super) fn new(shared: Arc<Shared>, door: Arc<LaneDoor>) -> Self {
        let committer = Committer::new(&shared.client);
        Self {
            shared,
            door,
            uploads: FuturesOrdered::new(),
            committer,
        }
    }

    /// Runs until cancelled. What has no outcome then never gets one from here.
    pub(super) async fn run(mut self) {
        loop {
            let look_again = self.seal_what_is_due();
            tokio::select! {
                biased;
                (commit, ending) = self.committer.answered(), if !self.committer.is_empty() => {
                    self.ended(commit, ending);
                }
                Some(stored) = self.uploads.next(), if !self.uploads.is_empty() => {
                    self.stored(stored);
                }
                () = self.door.wake.notified() => {}
                () = sleep_until(look_again) => {}
            }
        }
    }

    /// Seals as long as the flush rule says so. Returns when to look again if nothing happens before.
    fn seal_what_is_due(&mut self) -> Option<Instant> {
        loop {
            let now = Instant::now();
            let mut batcher = self.door.lock();
            let under_way = self.shared.activity.under_way(now);
            let cause = match decide(&self.shared.rule, batcher.gathered(now), under_way) {
                Decision::Empty => return None,
                Decision::Seal(cause) => cause,
                Decision::Wait(_) if self.shared.activity.is_draining() => Cause::Drain,
                Decision::Wait(left) => return Some(now + left),
            };
            // Both wake this lane when they can be had.
            if !self.shared.activity.admits_put() {
                return None;
            }
            let id = self.shared.names.try_next()?;
            let rule = &self.shared.rule;
            let batches = batcher.cut(rule.segment_bytes, rule.segment_batches);
            drop(batcher);
            let sealed = seal(batches, id, self.shared.clock.now_ms());
            self.shared.metrics.sealed(cause, sealed.segment.size_bytes);
            self.upload(sealed);
        }
    }

    fn upload(&mut self, sealed: Sealed) {
        let mut trip = self.shared.activity.begin(sealed.segment.size_bytes);
        let shared = Arc::clone(&self.shared);
        self.uploads.push_back(Box::pin(async move {
            let started = Instant::now();
            let result = put(&shared.store, shared.lineage, &sealed.segment).await;
            shared.metrics.put_took(started.elapsed());
            if result.is_ok() {
                trip.stored();
            }
            Stored {
                sealed,
                trip,
                result,
            }
        }));
    }

    /// The oldest PUT of this lane is over, and with it that of everything before.
    fn stored(&mut self, stored: Stored) {
        let Stored {
            sealed: Sealed { segment, answers },
            trip,
            result,
        } = stored;
        if let Err(error) = result
            && !Bug::FailedPutTakenForDone.is_planted()
        {
            tracing::warn!(
                segment = %segment.id,
                size_bytes = segment.size_bytes,
                %error,
                "a segment could not be stored; its producers are told to send again"
            );
            self.shared.metrics.puts_failed.inc();
            if let PutError::NameTaken(id) = error {
                self.shared.names.refused(id);
            }
            self.answer_all(answers, Outcome::NotStored);
            return;
        }
        if Bug::AckWithoutCommit.is_planted() {
            let written = Outcome::Written {
                base_offset: 0,
                log_start: 0,
                log_append_time_ms: None,
            };
            self.answer_all(answers, written);
            return;
        }
        let request = CommitRequest {
            segment: segment.id,
            size_bytes: segment.size_bytes,
            index: Arc::clone(&segment.index),
        };
        // Before the commit: whoever learns of the records finds them in memory.
        self.shared.fresh.insert(segment);
        self.committer.push(Commit {
            request,
            answers,
            trip,
        });
    }

    fn ended(&mut self, commit: Commit, ending: Ending) {
        let Commit {
            request,
            answers,
            trip,
        } = commit;
        // First, so that what the answers bring in at once finds the agent as idle as it is.
        drop(trip);
        match ending {
            Ending::Decided(reply) => self.answer_each(&request, answers, &reply),
            Ending::Refused(error) => {
                tracing::warn!(segment = %request.segment, %error, "a commit was refused");
                self.given_up(&request, answers, Outcome::NoResult(error));
            }
            Ending::UnknownForEver(error) => {
                tracing::warn!(segment = %request.segment, %error, "a commit's outcome stays unknown");
                // Whatever metadata said last, an earlier attempt may have happened.
                let unknown = Outcome::NoResult(CommitError::Unavailable);
                self.given_up(&request, answers, unknown);
            }
        }
    }

    fn given_up(&self, request: &CommitRequest, answers: Vec<Answer>, outcome: Outcome) {
        self.shared.names.refused(request.segment);
        self.shared.fresh.remove(request.segment);
        self.answer_all(answers, outcome);
    }

    fn answer_all(&self, answers: Vec<Answer>, outcome: Outcome) {
        let count = answers.len();
        answers
            .into_iter()
            .for_each(|answer| answer.ticket.resolve(outcome));
        self.shared.activity.batches_settled(count);
    }

    /// # Panics
    /// Metadata answered for another number of batches than it was asked about.
    fn answer_each(&self, request: &CommitRequest, mut answers: Vec<Answer>, reply: &CommitReply) {
        if Bug::AnswersCrossed.is_planted() {
            answers.reverse();
        }
        let (results, count) = (&reply.results, answers.len());
        assert_eq!(
            results.len(),
            count,
            "one result per batch of {}",
            request.segment
        );
        let mut any_live = false;
        for (answer, result) in answers.into_iter().zip(results) {
            any_live |= matches!(result, BatchResult::Committed { .. });
            answer
                .ticket
                .resolve(outcome(*result, answer.log_append_time_ms));
        }
        if !any_live {
            self.shared.fresh.remove(request.segment);
        }
        self.shared.activity.batches_settled(count);
    }
}

fn outcome(result: BatchResult, log_append_time_ms: Option<i64>) -> Outcome {
    match result {
        BatchResult::Committed {
            base_offset,
            log_start,
        } => Outcome::Written {
            base_offset,
            log_start,
            log_append_time_ms,
        },
        // Kafka answers a duplicate with the time of the batch it has, whosever time that is.
        BatchResult::Duplicate {
            base_offset,
            max_timestamp_ms,
            log_start,
        } => Outcome::Written {
            base_offset,
            log_start,
            log_append_time_ms: Some(max_timestamp_ms),
        },
        BatchResult::Rejected(rejection) => Outcome::Rejected(rejection),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
