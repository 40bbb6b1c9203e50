//! Commits of one lane: sent in the order of the lane, several at a time, answered in that order.
//!
//! ```text
//! queue   │ N: sent │ N+1: sent │ N+2: not sent yet │      answered() takes from the left
//! ```
//!
//! An unknown outcome is repeated with the same request, and so is everything sent after it, oldest
//! first, until metadata answers. Nothing leaves the queue without an answer, nothing overtakes.

use std::collections::VecDeque;
use std::time::Duration;

use floe_metadata::api::{CommitError, CommitReply, CommitRequest};
use floe_metadata::client::{Client, CommitLane, PendingCommit, Stopped};
use floe_planted::Bug;
use tokio::time::Instant;

use super::activity::Trip;
use super::batcher::Answer;

/// First and last pause before unanswered commits are repeated; it doubles in between.
const REPEAT_AFTER: Duration = Duration::from_millis(10);
const REPEAT_AFTER_MAX: Duration = Duration::from_secs(1);

/// A stored segment that waits for its commit.
#[derive(Debug)]
pub(crate) struct Commit {
    /// What is asked for, the same in every repeat.
    pub(crate) request: CommitRequest,
    /// Whom to answer, in the order of the index.
    pub(crate) answers: Vec<Answer>,
    /// Counts the segment as under way.
    pub(crate) trip: Trip,
}

/// How a commit ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// Decided and durable.
    Decided(CommitReply),
    /// Refused when it was sent for the first time: surely not committed.
    Refused(CommitError),
    /// Refused, or never answered, after an earlier attempt that may have happened.
    UnknownForEver(CommitError),
}

#[derive(Debug)]
struct Queued {
    commit: Commit,
    pending: Option<PendingCommit>,
    /// An earlier attempt was not answered.
    repeated: bool,
}

/// The commits of one lane that have no answer yet.
#[derive(Debug)]
pub(crate) struct Committer {
    lane: CommitLane,
    queue: VecDeque<Queued>,
    /// Set after an unknown outcome: join a new term, not before this moment, and repeat.
    restart: Option<Instant>,
    pause: Duration,
}

impl Committer {
    pub(crate) fn new(client: &Client) -> Self {
        Self {
            lane: client.lane(),
            queue: VecDeque::new(),
            restart: None,
            pause: REPEAT_AFTER,
        }
    }

    /// Whether nothing waits for an answer.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Puts a commit last; it is sent when [`Committer::answered`] runs.
    pub(crate) fn push(&mut self, commit: Commit) {
        self.queue.push_back(Queued {
            commit,
            pending: None,
            repeated: false,
        });
    }

    /// Sends what was not sent and waits until the oldest commit has ended; for ever if there is none.
    /// Cancel-safe: all progress is kept in `self`.
    pub(crate) async fn answered(&mut self) -> (Commit, Ending) {
        loop {
            if self.send_all().await == Err(Stopped) {
                return self
                    .end_oldest(Ending::UnknownForEver(CommitError::Unavailable))
                    .await;
            }
            let Some(Queued {
                pending: Some(pending),
                repeated,
                ..
            }) = self.queue.front_mut()
            else {
                return std::future::pending().await;
            };
            let ending = match pending.await {
                Ok(reply) => Ending::Decided(reply),
                Err(CommitError::Unavailable) => {
                    self.note_unanswered();
                    continue;
                }
                // Told so for sure, but an epoch given up is named by metadata as unknown for ever.
                Err(error @ CommitError::TooOld { .. }) => Ending::UnknownForEver(error),
                Err(error @ CommitError::NotRegistered(_)) if *repeated => {
                    Ending::UnknownForEver(error)
                }
                Err(error @ CommitError::NotRegistered(_)) => Ending::Refused(error),
            };
            self.pause = REPEAT_AFTER;
            return self.end_oldest(ending).await;
        }
    }

    async fn end_oldest(&mut self, ending: Ending) -> (Commit, Ending) {
        match self.queue.pop_front() {
            Some(queued) => (queued.commit, ending),
            None => std::future::pending().await,
        }
    }

    /// All that was sent is unanswered: the lane refuses what came after the first unknown outcome.
    fn note_unanswered(&mut self) {
        for queued in &mut self.queue {
            queued.repeated |= queued.pending.take().is_some();
        }
        tracing::warn!(
            commits = self.queue.len(),
            pause = ?self.pause,
            "metadata did not answer; commits will be repeated in order"
        );
        self.restart = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(REPEAT_AFTER_MAX);
    }

    async fn send_all(&mut self) -> Result<(), Stopped> {
        if let Some(at) = self.restart {
            tokio::time::sleep_until(at).await;
            self.lane.restart().await?;
            self.restart = None;
        }
        if Bug::CommitsReversed.is_planted() {
            self.queue.make_contiguous().reverse();
        }
        for queued in self
            .queue
            .iter_mut()
            .filter(|queued| queued.pending.is_none())
        {
            queued.pending = Some(self.lane.enqueue(queued.commit.request.clone()).await);
        }
        Ok(())
    }
}
