//! The one door to metadata for agents and compactors.
//!
//! A [`Client`] hands calls to whoever owns the sequencer and never guesses: a call whose answer is
//! lost comes back as `Unavailable`, and the caller repeats the same request. Commits that must keep
//! their order go through a [`CommitLane`]:
//!
//! ```text
//! term 1:  A ─▶ B ─▶ C ─▶ │ owner lost: A answered, B and C `Unavailable`
//! term 2:                 │ D, still sent for term 1, is refused; the lane restarts, repeats B, C, D
//! ```
//!
//! A term is one owner as this process met it. Within a term the commits of a lane are applied in the
//! order they were enqueued, without holes; a lane never slips into the next term by itself, so a later
//! commit cannot overtake an earlier one whose outcome is unknown.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use floe_protocol::types::{Offset, PartitionIndex, TimestampMs, TopicId, TopicPartition};
use floe_storage::latest;
use tokio::sync::{broadcast, mpsc, oneshot};

use self::view::Followed;
use crate::api::admin::{AdminReply, AdminRequest};
use crate::api::groups::{GroupReply, GroupRequest};
use crate::api::objects::{ObjectReply, ObjectRequest};
use crate::api::{
    CommitError, CommitReply, CommitRequest, Extent, LookUp, NewProcess, NewTopic, PartitionBounds,
    ProducerIdBlock, Registration, RequestError, Revision, Snapshot, Topic, WatchEvent,
};

mod admin;
mod objects;
pub mod view;

pub use crate::sequencer::leases::{BEAT, LEASE};

/// Calls that may wait in front of the sequencer before callers wait for room.
pub(crate) const CALLS_WAITING_MAX: usize = 1024;

/// Who answers calls now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// Nobody: calls are answered `Unavailable` at once.
    Absent,
    /// An owner that has proven itself.
    Ready {
        /// Counts owners as this process met them; never falls.
        term: u64,
        /// Whether it is this very process.
        is_here: bool,
    },
    /// The service this client belongs to has ended for good.
    Stopped,
}

/// The service has ended for good; no later call will succeed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the metadata service has stopped")]
pub struct Stopped;

/// A call and the way back for its answer. A dropped way back means `Unavailable`.
#[derive(Debug)]
pub(crate) enum Call {
    Commit {
        term: u64,
        request: CommitRequest,
        answer: oneshot::Sender<Result<CommitReply, CommitError>>,
    },
    Register(NewProcess, Answer<Registration>),
    Leave {
        incarnation: u32,
        has_ended: bool,
        answer: Answer<()>,
    },
    CheckFeatureLevel(u32, Answer<Revision>),
    RaiseFeatureLevel(u32, Answer<Revision>),
    Beat {
        incarnation: u32,
        passed: Revision,
        answer: Answer<bool>,
    },
    /// A process was heard, since it has connected; nobody waits for an answer.
    Connected([u8; 16]),
    /// A process cannot be heard until it connects again; nobody waits for an answer.
    Disconnected([u8; 16]),
    Passed(Revision, Answer<()>),
    CreateTopic(NewTopic, Answer<(Arc<Topic>, Revision)>),
    DeleteTopic(TopicId, Answer<Revision>),
    CreatePartitions(TopicId, PartitionIndex, Answer<(Arc<Topic>, Revision)>),
    AllocateProducerIds(Answer<ProducerIdBlock>),
    Group(GroupRequest, Answer<GroupReply>),
    Admin(AdminRequest, Answer<AdminReply>),
    Object(ObjectRequest, Answer<ObjectReply>),
    Bounds(Vec<TopicPartition>, Answer<Vec<Option<PartitionBounds>>>),
    LookUp {
        partition: TopicPartition,
        from: Offset,
        extents_max: usize,
        answer: Answer<LookUp>,
    },
    ExtentForTimestamp(TopicPartition, TimestampMs, Answer<Option<Extent>>),
    ExtentWithMaxTimestamp(TopicPartition, Answer<Option<Extent>>),
    Subscribe {
        from: Option<Revision>,
        /// Of what extents are told; of everything without it.
        followed: Option<Arc<Followed>>,
        answer: Answer<Subscription>,
    },
}

pub(crate) type Answer<T> = oneshot::Sender<Result<T, RequestError>>;

/// A handle to metadata; clones share the way to the owner.
#[derive(Clone, Debug)]
pub struct Client {
    calls: mpsc::Sender<Call>,
    owner: latest::Reader<Owner>,
}

/// The service's end of all clients.
#[derive(Debug)]
pub(crate) struct ClientsEnd {
    pub(crate) calls: mpsc::Receiver<Call>,
    pub(crate) owner: latest::Writer<Owner>,
}

impl Client {
    /// A client in the service's own process, and the service's end of it.
    pub(crate) fn in_process() -> (Self, ClientsEnd) {
        let (calls, calls_end) = mpsc::channel(CALLS_WAITING_MAX);
        let (owner_end, owner) = latest::channel(Owner::Absent);
        (
            Self { calls, owner },
            ClientsEnd {
                calls: calls_end,
                owner: owner_end,
            },
        )
    }

    /// Who answers calls at this moment.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.owner.get()
    }

    /// Waits until somebody answers calls; returns at once while somebody does. Cancel-safe.
    ///
    /// # Errors
    /// [`Stopped`] when that will never be again.
    pub async fn wait_for_owner(&self) -> Result<(), Stopped> {
        self.ready_term().await.map(|_| ())
    }

    async fn ready_term(&self) -> Result<u64, Stopped> {
        let seen = self.owner.wait_for(|owner| *owner != Owner::Absent).await;
        match seen {
            Some(Owner::Ready { term, .. }) => Ok(term),
            Some(Owner::Absent | Owner::Stopped) | None => Err(Stopped),
        }
    }

    /// Whether the service has ended, in whatever way.
    pub(crate) fn has_ended(&self) -> bool {
        self.calls.is_closed()
    }

    /// Waits until the owner of this term is gone; at once if it is. Cancel-safe.
    pub(crate) async fn term_over(&self, term: u64) {
        let is_over =
            |owner: &Owner| !matches!(owner, Owner::Ready { term: now, .. } if *now == term);
        self.owner.wait_for(is_over).await;
    }

    /// A lane for commits that must be applied in the order they are enqueued.
    #[must_use]
    pub fn lane(&self) -> CommitLane {
        let term = match self.owner() {
            Owner::Ready { term, .. } => term,
            Owner::Absent | Owner::Stopped => NO_TERM,
        };
        CommitLane {
            client: self.clone(),
            term,
        }
    }

    /// Commits one segment and waits for the outcome. For callers without a second commit under way;
    /// others keep a [`CommitLane`].
    ///
    /// # Errors
    /// See [`CommitError`]; after `Unavailable` repeat the same request.
    pub async fn commit(&self, request: CommitRequest) -> Result<CommitReply, CommitError> {
        self.lane().enqueue(request).await.await
    }

    /// Makes this process known to metadata; it may name segments with what it gets. A repeat with the
    /// same nonce and attempt gets the same.
    ///
    /// # Errors
    /// `Unavailable`; `TooOld` when the cluster is at a feature level that the process does not know.
    pub async fn register(&self, new: NewProcess) -> Result<Registration, RequestError> {
        self.call(|answer| Call::Register(new, answer)).await
    }

    /// Takes this process off the list of those that clients are told. What it commits still counts.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn leave(&self, incarnation: u32) -> Result<(), RequestError> {
        self.departure(incarnation, false).await
    }

    /// Tells that this process serves nobody any more.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn ended(&self, incarnation: u32) -> Result<(), RequestError> {
        self.departure(incarnation, true).await
    }

    pub(crate) async fn departure(
        &self,
        incarnation: u32,
        has_ended: bool,
    ) -> Result<(), RequestError> {
        self.call(|answer| Call::Leave {
            incarnation,
            has_ended,
            answer,
        })
        .await
    }

    /// Whether every process understands feature level `level`.
    ///
    /// # Errors
    /// `Unavailable`; `NotUnderstood` names one that does not.
    pub async fn check_feature_level(&self, level: u32) -> Result<(), RequestError> {
        let checked = self.call(|answer| Call::CheckFeatureLevel(level, answer));
        checked.await.map(|_| ())
    }

    /// Raises the feature level; does nothing when the cluster is there already, or above. The mark in the
    /// store comes first, see [`crate::feature_level`].
    ///
    /// # Errors
    /// As [`Client::check_feature_level`].
    pub(crate) async fn raise_feature_level(&self, to: u32) -> Result<Revision, RequestError> {
        self.call(|answer| Call::RaiseFeatureLevel(to, answer))
            .await
    }

    /// Tells that this process lives and that its view shows `passed`. `false` when it is not known
    /// (any more) and has to register again.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn beat(&self, incarnation: u32, passed: Revision) -> Result<bool, RequestError> {
        self.call(|answer| Call::Beat {
            incarnation,
            passed,
            answer,
        })
        .await
    }

    /// Tells that the process with this nonce has connected. A hint that may be lost: its beats say the same.
    pub(crate) fn connected(&self, nonce: [u8; 16]) {
        drop(self.calls.try_send(Call::Connected(nonce)));
    }

    /// Tells that the process with this nonce cannot be heard until it connects again. A hint that may be
    /// lost: silence says the same later.
    pub(crate) fn disconnected(&self, nonce: [u8; 16]) {
        drop(self.calls.try_send(Call::Disconnected(nonce)));
    }

    /// Waits until the views of all processes that serve clients show `revision`, or are certain to
    /// serve nobody.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn passed(&self, revision: Revision) -> Result<(), RequestError> {
        self.call(|answer| Call::Passed(revision, answer)).await
    }

    /// Creates a topic; a repeat with the same id returns the same topic.
    ///
    /// # Errors
    /// `Unavailable`, `TopicExists`, `TooManyPartitions`.
    pub async fn create_topic(
        &self,
        topic: NewTopic,
    ) -> Result<(Arc<Topic>, Revision), RequestError> {
        self.call(|answer| Call::CreateTopic(topic, answer)).await
    }

    /// Deletes a topic and everything in it.
    ///
    /// # Errors
    /// `Unavailable`, `UnknownTopic` (also after an earlier attempt that happened).
    pub async fn delete_topic(&self, topic: TopicId) -> Result<Revision, RequestError> {
        self.call(|answer| Call::DeleteTopic(topic, answer)).await
    }

    /// Raises the number of a topic's partitions to `partition_count`.
    ///
    /// # Errors
    /// `Unavailable`, `UnknownTopic`, `PartitionCountNotRaised` (also after an earlier attempt that
    /// happened), `TooManyPartitions`.
    pub async fn create_partitions(
        &self,
        topic: TopicId,
        partition_count: PartitionIndex,
    ) -> Result<(Arc<Topic>, Revision), RequestError> {
        self.call(|answer| Call::CreatePartitions(topic, partition_count, answer))
            .await
    }

    /// Takes a block of producer ids that nobody else ever gets.
    ///
    /// # Errors
    /// `Unavailable` only; a repeat may leave a block unused.
    pub async fn allocate_producer_ids(&self) -> Result<ProducerIdBlock, RequestError> {
        self.call(Call::AllocateProducerIds).await
    }

    /// Asks something of groups; see [`GroupRequest`] for which reply answers which request. Join and Sync
    /// may be answered minutes later.
    ///
    /// # Errors
    /// `Unavailable` only: repeat the same request.
    pub async fn group(&self, request: GroupRequest) -> Result<GroupReply, RequestError> {
        let pending = self.begin_group(request).await;
        pending.await.unwrap_or(Err(RequestError::Unavailable))
    }

    /// Puts a request in line behind those before it; a dropped way back means `Unavailable`.
    pub(crate) async fn begin_group(
        &self,
        request: GroupRequest,
    ) -> oneshot::Receiver<Result<GroupReply, RequestError>> {
        let (answer, reply) = oneshot::channel();
        // A closed line drops `answer`.
        drop(self.calls.send(Call::Group(request, answer)).await);
        reply
    }

    /// The bounds of each of `partitions`, in their order; `None` for one that does not exist.
    /// Linearizable: no older than the moment of the call.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn bounds(
        &self,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<Option<PartitionBounds>>, RequestError> {
        self.call(|answer| Call::Bounds(partitions, answer)).await
    }

    /// Where the records of `partition` from offset `from` on lie, at most `extents_max` extents.
    /// Linearizable.
    ///
    /// # Errors
    /// `Unavailable`, `UnknownTopic` (no such topic or partition).
    pub async fn look_up(
        &self,
        partition: TopicPartition,
        from: Offset,
        extents_max: usize,
    ) -> Result<LookUp, RequestError> {
        self.call(|answer| Call::LookUp {
            partition,
            from,
            extents_max,
            answer,
        })
        .await
    }

    /// The first extent that may hold a record with a time of `timestamp_ms` or later: its greatest
    /// time is no less. `None` when all records are older. Linearizable.
    ///
    /// # Errors
    /// `Unavailable`, `UnknownTopic` (no such topic or partition).
    pub async fn extent_for_timestamp(
        &self,
        partition: TopicPartition,
        timestamp_ms: TimestampMs,
    ) -> Result<Option<Extent>, RequestError> {
        self.call(|answer| Call::ExtentForTimestamp(partition, timestamp_ms, answer))
            .await
    }

    /// The extent that holds the record with the greatest time; `None` for an empty partition.
    /// Linearizable.
    ///
    /// # Errors
    /// `Unavailable`, `UnknownTopic` (no such topic or partition).
    pub async fn extent_with_max_timestamp(
        &self,
        partition: TopicPartition,
    ) -> Result<Option<Extent>, RequestError> {
        self.call(|answer| Call::ExtentWithMaxTimestamp(partition, answer))
            .await
    }

    /// Everything that happens after `from` without a gap, if that is still known; else the whole
    /// picture and everything that happens after it.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn subscribe(&self, from: Option<Revision>) -> Result<Subscription, RequestError> {
        self.subscribe_to(from, None).await
    }

    /// The same, but the extents of other partitions than the followed ones may be left out, see
    /// [`WatchEvent::Advanced`].
    async fn subscribe_to(
        &self,
        from: Option<Revision>,
        followed: Option<Arc<Followed>>,
    ) -> Result<Subscription, RequestError> {
        self.call(|answer| Call::Subscribe {
            from,
            followed,
            answer,
        })
        .await
    }

    async fn call<T>(&self, make: impl FnOnce(Answer<T>) -> Call) -> Result<T, RequestError> {
        let (answer, reply) = oneshot::channel();
        self.calls
            .send(make(answer))
            .await
            .map_err(|_| RequestError::Unavailable)?;
        reply.await.map_err(|_| RequestError::Unavailable)?
    }
}

/// The term of a lane that began without an owner; every commit in it is refused.
const NO_TERM: u64 = 0;

/// Commits of one caller, applied in the order they are enqueued; several may be under way.
///
/// After the first `Unavailable` all later commits of the lane are refused the same way until
/// [`CommitLane::restart`]; the caller then repeats what was not answered, oldest first.
#[derive(Debug)]
pub struct CommitLane {
    client: Client,
    term: u64,
}

impl CommitLane {
    /// Puts a commit in line behind those enqueued before; waits only for room in the line. Not
    /// cancel-safe in effect: a cancelled call has not sent the request.
    pub async fn enqueue(&mut self, request: CommitRequest) -> PendingCommit {
        let (answer, reply) = oneshot::channel();
        let call = Call::Commit {
            term: self.term,
            request,
            answer,
        };
        // A closed line drops `answer`, which the pending commit reports as unavailable.
        drop(self.client.calls.send(call).await);
        PendingCommit { reply }
    }

    /// Waits for an owner and joins its term. Call it after `Unavailable`, then repeat every commit
    /// that has no answer, oldest first. Cancel-safe.
    ///
    /// # Errors
    /// [`Stopped`] when there will never be an owner again.
    pub async fn restart(&mut self) -> Result<(), Stopped> {
        self.term = self.client.ready_term().await?;
        Ok(())
    }
}

/// The answer to come of one enqueued commit; dropping it abandons the answer, not the commit.
#[derive(Debug)]
pub struct PendingCommit {
    reply: oneshot::Receiver<Result<CommitReply, CommitError>>,
}

impl Future for PendingCommit {
    type Output = Result<CommitReply, CommitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.reply)
            .poll(context)
            .map(|reply| reply.unwrap_or(Err(CommitError::Unavailable)))
    }
}

/// What became durable together: all events up to and including `revision`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchBatch {
    /// The state's revision after the last event.
    pub revision: Revision,
    /// In the order of revisions; empty when the revisions changed nothing that is watched.
    pub events: Vec<WatchEvent>,
}

/// The position in the history was lost: subscribe again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("watch position lost")]
pub struct WatchReset;

/// The beginning of a watch and what follows it.
#[derive(Debug)]
pub struct Subscription {
    /// Where the picture starts; `None` when it goes on from the revision that was asked for.
    pub snapshot: Option<Snapshot>,
    /// What happens after it.
    pub stream: WatchStream,
}

/// What happens after some revision, in order, without gaps.
#[derive(Debug)]
pub struct WatchStream {
    /// What happened before the stream was opened.
    missed: VecDeque<Arc<WatchBatch>>,
    batches: Batches,
}

#[derive(Debug)]
enum Batches {
    /// From the owner in this process.
    Here(broadcast::Receiver<Arc<WatchBatch>>),
    /// From the owner in another.
    Remote(mpsc::Receiver<Arc<WatchBatch>>),
}

impl WatchStream {
    pub(crate) fn here(
        missed: VecDeque<Arc<WatchBatch>>,
        batches: broadcast::Receiver<Arc<WatchBatch>>,
    ) -> Self {
        Self {
            missed,
            batches: Batches::Here(batches),
        }
    }

    pub(crate) fn remote(batches: mpsc::Receiver<Arc<WatchBatch>>) -> Self {
        Self {
            missed: VecDeque::new(),
            batches: Batches::Remote(batches),
        }
    }

    /// The next batch of events. Cancel-safe.
    ///
    /// # Errors
    /// [`WatchReset`] when the owner was lost or this stream fell too far behind.
    pub async fn next(&mut self) -> Result<Arc<WatchBatch>, WatchReset> {
        if let Some(missed) = self.missed.pop_front() {
            return Ok(missed);
        }
        match &mut self.batches {
            Batches::Here(batches) => batches.recv().await.map_err(|_| WatchReset),
            Batches::Remote(batches) => batches.recv().await.ok_or(WatchReset),
        }
    }
}
