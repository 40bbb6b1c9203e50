//! The side that carries a process's calls to the owner in another process.
//!
//! A connection is one term of the owner as this process meets it. Its stream of commits decides how long
//! it lasts: when that ends, everything unanswered has an unknown outcome, and the callers repeat it on
//! the next connection. What the server still has of the old stream does no harm: it is a part of what is
//! repeated, from its beginning and in the same order, and commits are idempotent.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::{Request, Status, Streaming};

use super::channel::{Calls, channel};
use super::convert::{Malformed, array, id_bytes, need, refused, unsigned};
use super::group_stream::GroupCalls;
use super::network::Dial;
use super::proto::metadata_client::MetadataClient;
use super::proto::watch_reply::What;
use super::server::PROCESS;
use super::{MESSAGE_BYTES_MAX, Secret, commits, proto, watch};
use crate::api::{
    CommitError, CommitReply, LookUp, ProducerIdBlock, Registration, RequestError, Snapshot,
};
use crate::client::{Answer, Call, ClientsEnd, Owner, Subscription, WatchStream};

/// How long an owner may take to accept a connection and say who it is.
const PATIENCE: Duration = Duration::from_secs(1);
/// Tries within that time: a process that is dying breaks a connection which it has just accepted, and refuses
/// the next one.
const KNOCKS_MAX: u32 = 4;
const KNOCK_AGAIN_AFTER: Duration = Duration::from_millis(25);
/// Calls under way; more wait in line.
const CALLS_MAX: usize = 512;
/// Commits on their way into the connection.
const COMMITS_MAX: usize = 16;
/// Watch batches on their way to a view.
const WATCH_BATCHES_MAX: usize = 64;

pub(super) type Grpc = MetadataClient<Calls>;

/// What became of an attempt to reach the owner that a claim names.
#[derive(Debug)]
pub(crate) enum Knock {
    /// It is there and owns the sequencer.
    Owner(Box<Connection>),
    /// It is there and does not own it, or not yet.
    NotOwner,
    /// It is there and lets go of everything.
    Ending,
    /// Nobody listens where it answered, or another process does.
    Refused,
    /// It does not answer.
    Silent,
}

/// A connection to the owner.
#[derive(Debug)]
pub(crate) struct Connection {
    grpc: Grpc,
    commits: mpsc::Sender<proto::CommitRequest>,
    replies: Streaming<proto::CommitReply>,
    groups: GroupCalls,
}

impl Connection {
    /// Tries to reach the process with `nonce` at `address`; `own` is the nonce of this one.
    pub(crate) async fn knock(
        dial: &Arc<dyn Dial>,
        address: &str,
        nonce: [u8; 16],
        own: [u8; 16],
        secret: Secret,
    ) -> Knock {
        let knocks = async {
            for _ in 0..KNOCKS_MAX {
                match Self::open(dial, address, nonce, own, secret).await {
                    Ok(knock) => return knock,
                    Err(OpenError::Dial(error))
                        if error.kind() == io::ErrorKind::ConnectionRefused =>
                    {
                        return Knock::Refused;
                    }
                    Err(reason) => {
                        tracing::debug!(address, %reason, "the owner of the metadata does not answer");
                        tokio::time::sleep(KNOCK_AGAIN_AFTER).await;
                    }
                }
            }
            Knock::Silent
        };
        let knock = timeout(PATIENCE, knocks).await;
        knock.unwrap_or(Knock::Silent)
    }

    async fn open(
        dial: &Arc<dyn Dial>,
        address: &str,
        nonce: [u8; 16],
        own: [u8; 16],
        secret: Secret,
    ) -> Result<Knock, OpenError> {
        let link = dial.dial(address).await?;
        let channel = channel(link).await?;
        let mut grpc = MetadataClient::new(secret.signing(channel))
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let hello = grpc.hello(proto::HelloRequest {}).await?.into_inner();
        if array(&hello.nonce)? != nonce {
            return Ok(Knock::Refused);
        }
        if hello.is_ending {
            return Ok(Knock::Ending);
        }
        if !hello.is_owner {
            return Ok(Knock::NotOwner);
        }
        let (commits, outgoing) = mpsc::channel(COMMITS_MAX);
        let outgoing = futures::stream::unfold(outgoing, |mut outgoing| async move {
            Some((outgoing.recv().await?, outgoing))
        });
        let mut request = Request::new(outgoing);
        let process = format!("{:032x}", u128::from_be_bytes(own));
        if let Ok(process) = MetadataValue::try_from(process) {
            request.metadata_mut().insert(PROCESS, process);
        }
        let replies = grpc.commit(request).await?.into_inner();
        let groups = GroupCalls::open(&mut grpc).await?;
        Ok(Knock::Owner(Box::new(Self {
            grpc,
            commits,
            replies,
            groups,
        })))
    }
}

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Dial(#[from] io::Error),
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    #[error("{}", .0.message())]
    Refused(Box<Status>),
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl From<Status> for OpenError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// Who waits for the answer to a commit.
type Committer = oneshot::Sender<Result<CommitReply, CommitError>>;

/// Something that was begun for a caller and goes on beside the rest.
type Begun = BoxFuture<'static, Ended>;

/// How something that was begun has ended.
enum Ended {
    /// A call was answered.
    Call,
    /// A view's stream is open; events are carried until it ends.
    Subscribed(Begun),
    /// A view's stream has ended; the view subscribes again.
    Watch,
}

/// Carries the calls of this process over one connection until it is lost.
pub(crate) struct Carrier {
    connection: Box<Connection>,
    term: u64,
    begun: FuturesUnordered<Begun>,
    calls: usize,
    /// Whom the replies are for, in the order they were sent.
    committers: VecDeque<Committer>,
    /// A commit that waits for room in the connection; nothing is taken after it.
    next: Option<proto::CommitRequest>,
}

enum Happened {
    Reply(Option<proto::CommitReply>),
    /// Calls about groups went on; `false` when they cannot any more.
    Groups(bool),
    Ended(Ended),
    Sent,
    Called(Option<Call>),
    Stop,
}

impl Carrier {
    pub(crate) fn new(connection: Box<Connection>, term: u64) -> Self {
        Self {
            connection,
            term,
            begun: FuturesUnordered::new(),
            calls: 0,
            committers: VecDeque::new(),
            next: None,
        }
    }

    /// Runs until the owner is lost or `stop`. Afterwards drop it: that answers `Unavailable` to all who
    /// still wait.
    pub(crate) async fn run(&mut self, clients: &mut ClientsEnd, stop: &CancellationToken) {
        clients.owner.set(Owner::Ready {
            term: self.term,
            is_here: false,
        });
        loop {
            match self.happened(&mut clients.calls, stop).await {
                Happened::Reply(Some(reply)) => {
                    if let Err(error) = self.committed(reply) {
                        tracing::error!(%error, "an answer to a commit makes no sense");
                        return;
                    }
                }
                Happened::Ended(Ended::Call) => self.calls -= 1,
                Happened::Ended(Ended::Subscribed(watch)) => {
                    self.calls -= 1;
                    self.begun.push(watch);
                }
                Happened::Ended(Ended::Watch) | Happened::Sent | Happened::Groups(true) => {}
                Happened::Called(Some(call)) => self.take(call),
                Happened::Reply(None)
                | Happened::Groups(false)
                | Happened::Called(None)
                | Happened::Stop => return,
            }
        }
    }

    async fn happened(
        &mut self,
        calls: &mut mpsc::Receiver<Call>,
        stop: &CancellationToken,
    ) -> Happened {
        let has_room =
            self.calls < CALLS_MAX && self.next.is_none() && self.connection.groups.has_room();
        tokio::select! {
            biased;
            () = stop.cancelled() => Happened::Stop,
            reply = self.connection.replies.message() => match reply {
                Ok(reply) => Happened::Reply(reply),
                Err(status) => {
                    tracing::debug!(%status, "the connection to the owner of the metadata ended");
                    Happened::Reply(None)
                }
            },
            goes_on = self.connection.groups.go_on() => Happened::Groups(goes_on),
            Some(ended) = self.begun.next(), if !self.begun.is_empty() => Happened::Ended(ended),
            permit = self.connection.commits.reserve(), if self.next.is_some() => {
                // A closed channel shows as the end of the replies.
                if let (Ok(permit), Some(next)) = (permit, self.next.take()) {
                    permit.send(next);
                }
                Happened::Sent
            }
            call = calls.recv(), if has_room => Happened::Called(call),
        }
    }

    fn committed(&mut self, reply: proto::CommitReply) -> Result<(), Malformed> {
        let (_segment, outcome) = commits::outcome(reply)?;
        let to = need(self.committers.pop_front())?;
        // The caller may have gone.
        drop(to.send(outcome));
        Ok(())
    }

    fn take(&mut self, call: Call) {
        match call {
            Call::Commit { term, .. } if term != self.term => {}
            Call::Commit {
                request, answer, ..
            } => {
                self.committers.push_back(answer);
                self.next = Some((&request).into());
            }
            Call::Group(request, answer) => self.connection.groups.take(request, answer),
            call => {
                self.calls += 1;
                self.begun.push(begin(self.connection.grpc.clone(), call));
            }
        }
    }
}

/// Carries one call; whoever does not get an answer repeats it.
async fn carry<T>(to: Answer<T>, call: impl Future<Output = Result<T, CallError>> + Send) -> Ended {
    let answer = match call.await {
        Ok(answer) => Ok(answer),
        Err(CallError::Status(status)) => Err(refused(&status)),
        Err(CallError::Malformed(error)) => {
            tracing::error!(%error, "an answer of the metadata's owner makes no sense");
            Err(RequestError::Unavailable)
        }
    };
    // The caller may have gone.
    drop(to.send(answer));
    Ended::Call
}

enum CallError {
    Status(Box<Status>),
    Malformed(Malformed),
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl From<Malformed> for CallError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

fn begin(mut grpc: Grpc, call: Call) -> Begun {
    match call {
        // Commits and groups have been sorted out, to keep their order; a connection is told of where it ends.
        Call::Commit { .. } | Call::Group(..) | Call::Connected(_) | Call::Disconnected(_) => {
            std::future::ready(Ended::Call).boxed()
        }
        Call::Subscribe {
            from,
            followed,
            answer,
        } => subscribe(grpc, watch::requests(from, followed), answer).boxed(),
        Call::Register(new, to) => carry(to, async move {
            let process = Some((&new).into());
            let reply = grpc.register(proto::RegisterRequest { process }).await?;
            let proto::RegisterReply {
                incarnation,
                write_epoch,
            } = reply.into_inner();
            Ok(Registration {
                incarnation,
                write_epoch,
            })
        })
        .boxed(),
        Call::Leave {
            incarnation,
            has_ended,
            answer,
        } => carry(answer, async move {
            let departure = proto::LeaveRequest {
                incarnation,
                has_ended,
            };
            grpc.leave(departure).await?;
            Ok(())
        })
        .boxed(),
        Call::CheckFeatureLevel(level, to) => carry(to, async move {
            let request = proto::FeatureLevelRequest { level };
            grpc.check_feature_level(request).await?;
            Ok(0)
        })
        .boxed(),
        Call::RaiseFeatureLevel(level, to) => carry(to, async move {
            let request = proto::FeatureLevelRequest { level };
            let reply = grpc.raise_feature_level(request).await?;
            Ok(reply.into_inner().revision)
        })
        .boxed(),
        Call::Beat {
            incarnation,
            passed,
            answer,
        } => carry(answer, async move {
            let beat = proto::BeatRequest {
                incarnation,
                passed,
            };
            Ok(grpc.beat(beat).await?.into_inner().is_known)
        })
        .boxed(),
        Call::Passed(revision, to) => carry(to, async move {
            grpc.passed(proto::PassedRequest { revision }).await?;
            Ok(())
        })
        .boxed(),
        Call::Admin(request, to) => carry(to, async move {
            let reply = grpc.admin(proto::AdminCall::from(request)).await?;
            Ok(reply.into_inner().try_into()?)
        })
        .boxed(),
        Call::Object(request, to) => carry(to, async move {
            let reply = grpc.object(proto::ObjectCall::from(request)).await?;
            Ok(reply.into_inner().try_into()?)
        })
        .boxed(),
        Call::AllocateProducerIds(to) => carry(to, async move {
            let block = grpc
                .allocate_producer_ids(proto::Empty {})
                .await?
                .into_inner();
            Ok(ProducerIdBlock(block.start..block.end))
        })
        .boxed(),
        Call::CreateTopic(..) | Call::DeleteTopic(..) | Call::CreatePartitions(..) => {
            begin_change(grpc, call)
        }
        Call::Bounds(..)
        | Call::LookUp { .. }
        | Call::ExtentForTimestamp(..)
        | Call::ExtentWithMaxTimestamp(..) => begin_read(grpc, call),
    }
}

fn begin_change(mut grpc: Grpc, call: Call) -> Begun {
    match call {
        Call::CreateTopic(new, to) => carry(to, async move {
            let reply = grpc.create_topic(proto::NewTopic::from(new)).await?;
            Ok(reply.into_inner().try_into()?)
        })
        .boxed(),
        Call::DeleteTopic(id, to) => carry(to, async move {
            let topic = id_bytes(id);
            let reply = grpc
                .delete_topic(proto::DeleteTopicRequest { topic })
                .await?;
            Ok(reply.into_inner().revision)
        })
        .boxed(),
        Call::CreatePartitions(id, partition_count, to) => carry(to, async move {
            let request = proto::CreatePartitionsRequest {
                topic: id_bytes(id),
                partition_count,
            };
            let reply = grpc.create_partitions(request).await?;
            Ok(reply.into_inner().try_into()?)
        })
        .boxed(),
        _ => std::future::ready(Ended::Call).boxed(),
    }
}

fn begin_read(mut grpc: Grpc, call: Call) -> Begun {
    match call {
        Call::Bounds(partitions, to) => carry(to, async move {
            let partitions = partitions.into_iter().map(Into::into).collect();
            let reply = grpc.bounds(proto::BoundsRequest { partitions }).await?;
            let bounds = reply.into_inner().bounds.into_iter();
            let bounds = bounds.map(|maybe| maybe.bounds.map(TryInto::try_into).transpose());
            Ok(bounds.collect::<Result<_, _>>()?)
        })
        .boxed(),
        Call::LookUp {
            partition,
            from,
            extents_max,
            answer,
        } => carry(answer, async move {
            let request = proto::LookUpRequest {
                partition: Some(partition.into()),
                from: unsigned(from),
                extents_max: u32::try_from(extents_max).unwrap_or(u32::MAX),
            };
            let reply = grpc.look_up(request).await?.into_inner();
            let extents = reply.extents.into_iter().map(TryInto::try_into);
            Ok(LookUp {
                bounds: need(reply.bounds)?.try_into()?,
                extents: extents.collect::<Result<_, _>>()?,
            })
        })
        .boxed(),
        Call::ExtentForTimestamp(partition, timestamp_ms, to) => carry(to, async move {
            let request = proto::ExtentForTimestampRequest {
                partition: Some(partition.into()),
                timestamp_ms,
            };
            let reply = grpc.extent_for_timestamp(request).await?.into_inner();
            Ok(reply.extent.map(TryInto::try_into).transpose()?)
        })
        .boxed(),
        Call::ExtentWithMaxTimestamp(partition, to) => carry(to, async move {
            let partition = Some(partition.into());
            let request = proto::ExtentWithMaxTimestampRequest { partition };
            let reply = grpc.extent_with_max_timestamp(request).await?.into_inner();
            Ok(reply.extent.map(TryInto::try_into).transpose()?)
        })
        .boxed(),
        _ => std::future::ready(Ended::Call).boxed(),
    }
}

/// Opens a view's stream: reads the snapshot, if one comes.
async fn open_watch(
    mut grpc: Grpc,
    requests: impl Stream<Item = proto::WatchRequest> + Send + 'static,
) -> Result<(Option<Snapshot>, Streaming<proto::WatchReply>), CallError> {
    let mut stream = grpc.watch(requests).await?.into_inner();
    let mut snapshot = Snapshot::default();
    loop {
        let reply = need(stream.message().await?)?;
        match need(reply.what)? {
            What::Resumed(_) => return Ok((None, stream)),
            What::Part(part) => {
                if watch::add(&mut snapshot, part)? {
                    return Ok((Some(snapshot), stream));
                }
            }
            What::Batch(_) => return Err(CallError::Malformed(Malformed)),
        }
    }
}

/// Opens a view's stream and then carries events for as long as both sides want them.
async fn subscribe(
    grpc: Grpc,
    requests: impl Stream<Item = proto::WatchRequest> + Send + 'static,
    to: Answer<Subscription>,
) -> Ended {
    let opened = open_watch(grpc, requests);
    let (snapshot, mut stream) = match opened.await {
        Ok(opened) => opened,
        Err(error) => return carry(to, std::future::ready(Err(error))).await,
    };
    let (batches, remote) = mpsc::channel(WATCH_BATCHES_MAX);
    let subscription = Subscription {
        snapshot,
        stream: WatchStream::remote(remote),
    };
    if to.send(Ok(subscription)).is_err() {
        return Ended::Call;
    }
    Ended::Subscribed(Box::pin(async move {
        while let Ok(Some(reply)) = stream.message().await {
            let Some(What::Batch(batch)) = reply.what else {
                break;
            };
            let Ok(batch) = batch.try_into() else { break };
            if batches.send(Arc::new(batch)).await.is_err() {
                break;
            }
        }
        Ended::Watch
    }))
}
