//! From calls to commands and back: which reply of the state answers which caller.

use std::fmt;

use tokio::sync::oneshot;

use super::reads::Question;
use crate::api::admin::{AdminReply, AdminRequest};
use crate::api::groups::{GroupReply, GroupRequest};
use crate::api::objects::{ObjectReply, ObjectRequest, WriteEpochs};
use crate::api::{
    CommitError, CommitReply, CommitRequest, ProducerIdBlock, Registration, Revision, Topic,
};
use crate::client::{Answer, Call};
use crate::state::{self, Command};

/// A call, by what it asks for.
pub(super) enum Sorted {
    Commit {
        term: u64,
        request: CommitRequest,
        waiting: Waiting,
    },
    Change(Command, Waiting),
    Read(Question),
    Presence(Presence),
    Group(GroupRequest, Answer<GroupReply>),
}

/// What is said or asked about which processes are there: answered from memory, at once or when it
/// becomes true.
#[derive(Debug)]
pub(super) enum Presence {
    Beat {
        incarnation: u32,
        passed: Revision,
        answer: Answer<bool>,
    },
    Connected([u8; 16]),
    Disconnected([u8; 16]),
    Passed(Revision, Answer<()>),
}

/// Who waits for the reply to a command.
#[derive(Debug)]
pub(super) enum Waiting {
    Commit(oneshot::Sender<Result<CommitReply, CommitError>>),
    Registration(Answer<Registration>),
    Topic(Answer<(std::sync::Arc<Topic>, Revision)>),
    Deletion(Answer<Revision>),
    ProducerIds(Answer<ProducerIdBlock>),
    Departure(Answer<()>),
    FeatureLevel(Answer<Revision>),
    Codes(Answer<GroupReply>),
    Admin(Answer<AdminReply>),
    Object(Answer<ObjectReply>),
    /// The sequencer itself asked for it.
    Nobody,
}

/// An answer that leaves when [`Reply::send`] is called; dropping it tells the caller that the outcome
/// is unknown.
pub(super) struct Reply(Box<dyn FnOnce() + Send>);

impl Reply {
    pub(super) fn new<T: Send + 'static>(to: oneshot::Sender<T>, answer: T) -> Self {
        // The caller may have gone.
        Self(Box::new(move || drop(to.send(answer))))
    }

    pub(super) fn send(self) {
        (self.0)();
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

pub(super) fn sort(call: Call) -> Sorted {
    match call {
        Call::Commit {
            term,
            request,
            answer,
        } => Sorted::Commit {
            term,
            request,
            waiting: Waiting::Commit(answer),
        },
        Call::Register(new, answer) => {
            Sorted::Change(Command::Register(new), Waiting::Registration(answer))
        }
        Call::Leave {
            incarnation,
            has_ended,
            answer,
        } => {
            let command = if has_ended {
                Command::ForgetProcesses(vec![incarnation])
            } else {
                Command::UnlistProcesses(vec![incarnation])
            };
            Sorted::Change(command, Waiting::Departure(answer))
        }
        Call::CheckFeatureLevel(level, answer) => Sorted::Change(
            Command::CheckFeatureLevel(level),
            Waiting::FeatureLevel(answer),
        ),
        Call::RaiseFeatureLevel(to, answer) => Sorted::Change(
            Command::RaiseFeatureLevel(to),
            Waiting::FeatureLevel(answer),
        ),
        Call::Beat {
            incarnation,
            passed,
            answer,
        } => Sorted::Presence(Presence::Beat {
            incarnation,
            passed,
            answer,
        }),
        Call::Connected(nonce) => Sorted::Presence(Presence::Connected(nonce)),
        Call::Disconnected(nonce) => Sorted::Presence(Presence::Disconnected(nonce)),
        Call::Passed(revision, answer) => Sorted::Presence(Presence::Passed(revision, answer)),
        Call::CreateTopic(new, answer) => {
            Sorted::Change(Command::CreateTopic(new), Waiting::Topic(answer))
        }
        Call::DeleteTopic(id, answer) => {
            Sorted::Change(Command::DeleteTopic(id), Waiting::Deletion(answer))
        }
        Call::CreatePartitions(topic, count, answer) => Sorted::Change(
            Command::CreatePartitions { topic, count },
            Waiting::Topic(answer),
        ),
        Call::AllocateProducerIds(answer) => {
            Sorted::Change(Command::AllocateProducerIds, Waiting::ProducerIds(answer))
        }
        Call::Admin(AdminRequest::AlterConfigs(change), answer) => {
            Sorted::Change(Command::AlterConfigs(change), Waiting::Admin(answer))
        }
        Call::Admin(AdminRequest::MoveLogStarts(moves), answer) => {
            Sorted::Change(Command::MoveLogStart(moves), Waiting::Admin(answer))
        }
        Call::Admin(request, answer) => Sorted::Read(Question::Admin(request, answer)),
        Call::Object(request, answer) => object(request, answer),
        Call::Group(request, answer) => Sorted::Group(request, answer),
        Call::Bounds(partitions, answer) => Sorted::Read(Question::Bounds(partitions, answer)),
        Call::LookUp {
            partition,
            from,
            extents_max,
            answer,
        } => Sorted::Read(Question::LookUp {
            partition,
            from,
            extents_max,
            answer,
        }),
        Call::ExtentForTimestamp(partition, timestamp_ms, answer) => Sorted::Read(
            Question::ExtentForTimestamp(partition, timestamp_ms, answer),
        ),
        Call::ExtentWithMaxTimestamp(partition, answer) => {
            Sorted::Read(Question::ExtentWithMaxTimestamp(partition, answer))
        }
        // What happens here costs nothing to tell: all of it.
        Call::Subscribe { from, answer, .. } => Sorted::Read(Question::Subscribe(from, answer)),
    }
}

/// Changes become commands, the rest is read.
fn object(request: ObjectRequest, answer: Answer<ObjectReply>) -> Sorted {
    let command = match request {
        ObjectRequest::BeginMerge { sources, lease_ms } => {
            Command::BeginMerge { sources, lease_ms }
        }
        ObjectRequest::CompleteMerge(merge) => Command::CompleteMerge(merge),
        ObjectRequest::Retain(topics) => Command::Retain(topics),
        ObjectRequest::Forget(commits) => Command::ForgetObjects(commits),
        ObjectRequest::RaiseWriteEpoch { above } => Command::RaiseWriteEpoch { above },
        ObjectRequest::RaiseLowestAccepted { to } => Command::RaiseLowestAccepted { to },
        ObjectRequest::Segments { .. }
        | ObjectRequest::Dead { .. }
        | ObjectRequest::AreKnown(_)
        | ObjectRequest::WriteEpochs => return Sorted::Read(Question::Object(request, answer)),
    };
    Sorted::Change(command, Waiting::Object(answer))
}

impl Waiting {
    /// # Panics
    /// When the state answers a command with the reply to another.
    pub(super) fn reply(self, reply: state::Reply) -> Reply {
        match (self, reply) {
            (Self::Commit(to), state::Reply::Committed(answer)) => Reply::new(to, answer),
            (Self::Registration(to), state::Reply::Registered(answer)) => Reply::new(to, answer),
            (Self::FeatureLevel(to), state::Reply::FeatureLevel(answer)) => Reply::new(to, answer),
            (Self::Topic(to), state::Reply::Topic(answer)) => Reply::new(to, answer),
            (Self::Deletion(to), state::Reply::TopicDeleted(answer)) => Reply::new(to, answer),
            (Self::ProducerIds(to), state::Reply::ProducerIds(answer)) => {
                Reply::new(to, Ok(answer))
            }
            (Self::Codes(to), state::Reply::Codes(codes)) => {
                Reply::new(to, Ok(GroupReply::Codes(codes)))
            }
            (Self::Admin(to), state::Reply::ConfigsAltered(answer)) => {
                Reply::new(to, answer.map(AdminReply::Altered))
            }
            (Self::Admin(to), state::Reply::LogStarts(bounds, revision)) => {
                Reply::new(to, Ok(AdminReply::LogStarts(bounds, revision)))
            }
            (Self::Object(to), state::Reply::MergeSources(sources)) => {
                Reply::new(to, Ok(ObjectReply::MergeSources(sources)))
            }
            (Self::Object(to), state::Reply::Merged(outcome)) => {
                Reply::new(to, Ok(ObjectReply::Merged(outcome)))
            }
            (Self::Object(to), state::Reply::Retained(moved)) => {
                Reply::new(to, Ok(ObjectReply::Retained(moved)))
            }
            (Self::Object(to), state::Reply::Forgotten) => {
                Reply::new(to, Ok(ObjectReply::Forgotten))
            }
            (
                Self::Object(to),
                state::Reply::WriteEpochs {
                    present,
                    lowest_accepted,
                },
            ) => {
                let epochs = WriteEpochs {
                    present,
                    lowest_accepted,
                };
                Reply::new(to, Ok(ObjectReply::WriteEpochs(epochs)))
            }
            (Self::Departure(to), state::Reply::Forgotten) => Reply::new(to, Ok(())),
            (Self::Nobody, _) => Reply(Box::new(|| ())),
            (waiting, reply) => panic!("the state answered {waiting:?} with {reply:?}"),
        }
    }
}
