//! Reads from memory that are linearizable: evaluated when they come, answered when everything they saw
//! is durable and ownership at that time is proven. One barrier serves all that wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use floe_planted::Bug;
use floe_protocol::types::{Offset, TimestampMs, TopicPartition};
use tokio::sync::broadcast;

use super::answer::Reply;
use super::proof::Proof;
use crate::api::admin::{AdminReply, AdminRequest, QuorumFacts};
use crate::api::objects::{ObjectReply, ObjectRequest};
use crate::api::{Extent, LookUp, PartitionBounds, RequestError, Revision, Snapshot};
use crate::client::{Answer, Subscription, WatchBatch, WatchStream};
use crate::state::State;

type Watch = broadcast::Sender<Arc<WatchBatch>>;

/// What is asked, and by whom.
#[derive(Debug)]
pub(super) enum Question {
    Bounds(Vec<TopicPartition>, Answer<Vec<Option<PartitionBounds>>>),
    LookUp {
        partition: TopicPartition,
        from: Offset,
        extents_max: usize,
        answer: Answer<LookUp>,
    },
    ExtentForTimestamp(TopicPartition, TimestampMs, Answer<Option<Extent>>),
    ExtentWithMaxTimestamp(TopicPartition, Answer<Option<Extent>>),
    /// One that changes nothing.
    Admin(AdminRequest, Answer<AdminReply>),
    /// One that changes nothing.
    Object(ObjectRequest, Answer<ObjectReply>),
    Subscribe(Option<Revision>, Answer<Subscription>),
}

/// A read that has its answer and may not give it yet.
#[derive(Debug)]
pub(super) struct Read {
    /// It saw this many groups.
    groups: u64,
    /// When it was evaluated, on the steady clock.
    at: Duration,
    found: Found,
}

#[derive(Debug)]
enum Found {
    Answer(Reply),
    /// The stream begins exactly behind the snapshot or what was missed, so it is opened when the last
    /// group that they show has been sent to all streams, and no later.
    Subscription {
        /// `None` where `missed` is all that is needed.
        snapshot: Option<Snapshot>,
        missed: VecDeque<Arc<WatchBatch>>,
        batches: Option<broadcast::Receiver<Arc<WatchBatch>>>,
        to: Answer<Subscription>,
    },
}

impl Read {
    /// A watch that goes on where it was: `missed`, then `batches`, opened when `groups` were complete.
    pub(super) fn resumption(
        missed: VecDeque<Arc<WatchBatch>>,
        batches: broadcast::Receiver<Arc<WatchBatch>>,
        to: Answer<Subscription>,
        groups: u64,
        at: Duration,
    ) -> Self {
        let found = Found::Subscription {
            snapshot: None,
            missed,
            batches: Some(batches),
            to,
        };
        Self { groups, at, found }
    }

    /// An answer that is known, and saw `groups` groups.
    pub(super) const fn known(reply: Reply, groups: u64, at: Duration) -> Self {
        let found = Found::Answer(reply);
        Self { groups, at, found }
    }

    pub(super) fn new(question: Question, state: &State, groups: u64, at: Duration) -> Self {
        Self {
            groups,
            at,
            found: find(question, state),
        }
    }
}

fn find(question: Question, state: &State) -> Found {
    let known = |partition| match state.bounds(partition) {
        Some(_) => Ok(()),
        None => Err(RequestError::UnknownTopic),
    };
    Found::Answer(match question {
        Question::Bounds(partitions, to) => {
            let bounds = partitions
                .iter()
                .map(|partition| state.bounds(*partition))
                .collect();
            Reply::new(to, Ok(bounds))
        }
        Question::LookUp {
            partition,
            from,
            extents_max,
            answer,
        } => {
            let found = state.look_up(partition, from, extents_max);
            Reply::new(answer, found.ok_or(RequestError::UnknownTopic))
        }
        Question::ExtentForTimestamp(partition, timestamp_ms, to) => {
            let found = || state.extent_for_timestamp(partition, timestamp_ms);
            Reply::new(to, known(partition).map(|()| found()))
        }
        Question::ExtentWithMaxTimestamp(partition, to) => {
            let found = || state.extent_with_max_timestamp(partition);
            Reply::new(to, known(partition).map(|()| found()))
        }
        Question::Admin(request, to) => Reply::new(to, admin(&request, state)),
        Question::Object(request, to) => Reply::new(to, object(&request, state)),
        Question::Subscribe(_, to) => {
            return Found::Subscription {
                snapshot: Some(state.snapshot()),
                missed: VecDeque::new(),
                batches: None,
                to,
            };
        }
    })
}

fn admin(request: &AdminRequest, state: &State) -> Result<AdminReply, RequestError> {
    Ok(match request {
        AdminRequest::Sizes(partitions) => {
            let sizes = partitions.iter().map(|partition| state.size(*partition));
            AdminReply::Sizes(sizes.collect())
        }
        AdminRequest::Producers(partitions) => {
            AdminReply::Producers(state.active_producers(partitions))
        }
        AdminRequest::Quorum => AdminReply::Quorum(QuorumFacts {
            owner: None,
            write_epoch: state.write_epoch(),
            revision: state.revision(),
        }),
        // Changes are commands.
        AdminRequest::AlterConfigs(_) | AdminRequest::MoveLogStarts(_) => {
            return Err(RequestError::Unavailable);
        }
    })
}

fn object(request: &ObjectRequest, state: &State) -> Result<ObjectReply, RequestError> {
    Ok(match request {
        ObjectRequest::Segments { below_level } => {
            ObjectReply::Segments(state.segment_summaries(*below_level))
        }
        ObjectRequest::Dead {
            min_age_ms,
            objects_max,
        } => ObjectReply::Dead(state.dead_objects(*min_age_ms, *objects_max)),
        ObjectRequest::AreKnown(segments) => ObjectReply::Known(state.are_known(segments)),
        ObjectRequest::WriteEpochs => ObjectReply::WriteEpochs(state.write_epochs()),
        // Changes are commands.
        ObjectRequest::BeginMerge { .. }
        | ObjectRequest::CompleteMerge(_)
        | ObjectRequest::Retain(_)
        | ObjectRequest::Forget(_)
        | ObjectRequest::RaiseWriteEpoch { .. }
        | ObjectRequest::RaiseLowestAccepted { .. } => return Err(RequestError::Unavailable),
    })
}

/// Reads that wait. Both conditions become true in the order they came.
#[derive(Debug, Default)]
pub(super) struct Reads(VecDeque<Read>);

impl Reads {
    pub(super) fn push(&mut self, mut read: Read, completed: u64, watch: &Watch) {
        read.reached(completed, watch);
        self.0.push_back(read);
    }

    /// `completed` groups are durable and sent to all streams.
    pub(super) fn reached(&mut self, completed: u64, watch: &Watch) {
        for read in &mut self.0 {
            read.reached(completed, watch);
        }
    }

    /// Gives the answers that may be given.
    pub(super) fn answer(&mut self, completed: u64, proof: &Proof) {
        let may = |read: &mut Read| {
            let is_early =
                Bug::ReadsBeforeDurable.is_planted() && matches!(read.found, Found::Answer(_));
            (read.groups <= completed || is_early) && proof.covers(read.at)
        };
        while let Some(read) = self.0.pop_front_if(may) {
            read.answer();
        }
    }

    /// Whether only a proof is missing for the first.
    pub(super) fn wait_for_proof(&self, completed: u64) -> bool {
        self.0.front().is_some_and(|read| read.groups <= completed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Read {
    fn reached(&mut self, completed: u64, watch: &Watch) {
        if let Found::Subscription {
            batches: batches @ None,
            ..
        } = &mut self.found
            && self.groups == completed
        {
            *batches = Some(watch.subscribe());
        }
    }

    fn answer(self) {
        match self.found {
            Found::Answer(reply) => reply.send(),
            Found::Subscription {
                snapshot,
                missed,
                batches: Some(batches),
                to,
            } => {
                let stream = WatchStream::here(missed, batches);
                Reply::new(to, Ok(Subscription { snapshot, stream })).send();
            }
            // Answered no earlier than its groups are complete, which is when the stream is opened.
            Found::Subscription { batches: None, .. } => {
                unreachable!("a subscription was answered too early")
            }
        }
    }
}
