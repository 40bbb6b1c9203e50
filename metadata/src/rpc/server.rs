//! The side that serves calls of other processes, where the sequencer's owner is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::stream::{BoxStream, FuturesOrdered, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status, Streaming};

use super::convert::{need, offset, refusal, topic_id};
use super::group_stream::GroupAnswers;
use super::proto::metadata_server::Metadata;
use super::proto::watch_reply::What;
use super::secret::Checking;
use super::watch::Scope;
use super::{MESSAGE_BYTES_MAX, Secret, commits, proto, watch};
use crate::api::{CommitRequest, RequestError, Snapshot};
use crate::client::{Client, CommitLane, Owner, PendingCommit, Subscription, WatchStream};

/// The header that names the process that calls, in hex.
pub(super) const PROCESS: &str = "floe-process";

/// Commits of one caller that wait for their answers; more are not read.
const COMMITS_WAITING_MAX: usize = 256;

/// Answers for the process it is part of.
#[derive(Clone, Debug)]
pub struct MetadataServer {
    client: Client,
    nonce: [u8; 16],
    /// Set once this process is about to end: nobody should begin to follow it.
    ended: CancellationToken,
    connected: Arc<Connected>,
}

/// The calls of metadata as a service for a gRPC server; lets pass who knows the cluster's secret.
pub type Grpc =
    InterceptedService<proto::metadata_server::MetadataServer<MetadataServer>, Checking>;

type Answer<T> = Result<Response<T>, Status>;

impl MetadataServer {
    pub(crate) fn new(client: Client, nonce: [u8; 16], ended: CancellationToken) -> Self {
        Self {
            client,
            nonce,
            ended,
            connected: Arc::default(),
        }
    }

    pub(crate) fn into_service(self, secret: Secret) -> Grpc {
        let server = proto::metadata_server::MetadataServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        secret.checking(server)
    }

    /// The client of this process, if the owner is here: a call is carried once, not on and on.
    fn here(&self) -> Result<&Client, Status> {
        match self.client.owner() {
            Owner::Ready { is_here: true, .. } if !self.client.has_ended() => Ok(&self.client),
            Owner::Ready { .. } | Owner::Absent | Owner::Stopped => {
                Err(Status::unavailable("the owner of the metadata is not here"))
            }
        }
    }
}

fn answer<T, U>(result: Result<T, RequestError>) -> Answer<U>
where
    T: Into<U>,
{
    result
        .map(|value| Response::new(value.into()))
        .map_err(|error| refusal(&error))
}

impl From<()> for proto::Empty {
    fn from((): ()) -> Self {
        Self {}
    }
}

#[tonic::async_trait]
impl Metadata for MetadataServer {
    type CommitStream = BoxStream<'static, Result<proto::CommitReply, Status>>;
    type GroupsStream = BoxStream<'static, Result<proto::GroupAnswer, Status>>;
    type WatchStream = BoxStream<'static, Result<proto::WatchReply, Status>>;

    async fn hello(&self, _request: Request<proto::HelloRequest>) -> Answer<proto::HelloReply> {
        let is_ending = self.ended.is_cancelled();
        // One that was asked to end has left its mark, or will: nobody must take it for silent.
        if self.client.has_ended() && !is_ending {
            return Err(Status::unavailable("this process has ended"));
        }
        Ok(Response::new(proto::HelloReply {
            nonce: Bytes::copy_from_slice(&self.nonce),
            is_owner: self.here().is_ok(),
            is_ending,
        }))
    }

    async fn commit(
        &self,
        request: Request<Streaming<proto::CommitRequest>>,
    ) -> Answer<Self::CommitStream> {
        let client = self.here()?;
        let Owner::Ready { term, .. } = client.owner() else {
            return Err(Status::unavailable("the owner of the metadata is gone"));
        };
        let presence = Presence::new(
            client.clone(),
            Arc::clone(&self.connected),
            caller(request.metadata()),
        );
        let commits = Commits {
            lane: client.lane(),
            term,
            incoming: request.into_inner(),
            waiting: FuturesOrdered::new(),
            presence,
        };
        let replies = futures::stream::unfold(Some(commits), |commits| async move {
            let mut commits = commits?;
            match commits.next().await {
                Ok(Some(reply)) => Some((Ok(reply), Some(commits))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(replies.boxed()))
    }

    async fn groups(
        &self,
        request: Request<Streaming<proto::GroupCall>>,
    ) -> Answer<Self::GroupsStream> {
        let client = self.here()?;
        let Owner::Ready { term, .. } = client.owner() else {
            return Err(Status::unavailable("the owner of the metadata is gone"));
        };
        let calls = GroupAnswers::new(client.clone(), term, request.into_inner());
        Ok(Response::new(calls.into_stream()))
    }

    async fn watch(
        &self,
        request: Request<Streaming<proto::WatchRequest>>,
    ) -> Answer<Self::WatchStream> {
        let client = self.here()?;
        let mut requests = request.into_inner();
        let first = need(requests.message().await?)?;
        let (from, scope) = (first.from, Scope::new(&first)?);
        let Subscription { snapshot, stream } = client
            .subscribe(from)
            .await
            .map_err(|error| refusal(&error))?;
        let message = |what| Ok(proto::WatchReply { what: Some(what) });
        let first = match snapshot {
            None => futures::stream::iter([message(What::Resumed(().into()))]).boxed(),
            Some(snapshot) => snapshot_parts(snapshot)
                .map(What::Part)
                .map(message)
                .boxed(),
        };
        let watch = Watch {
            stream,
            scope,
            requests: Some(requests),
        };
        let then = futures::stream::unfold(watch, |mut watch| async move {
            Some((watch.next().await?, watch))
        });
        let then = then.map(What::Batch).map(message);
        Ok(Response::new(first.chain(then).boxed()))
    }

    async fn register(
        &self,
        request: Request<proto::RegisterRequest>,
    ) -> Answer<proto::RegisterReply> {
        let process = need(request.into_inner().process)?.try_into()?;
        let registered = self.here()?.register(process).await;
        answer(registered.map(|registration| proto::RegisterReply {
            incarnation: registration.incarnation,
            write_epoch: registration.write_epoch,
        }))
    }

    async fn leave(&self, request: Request<proto::LeaveRequest>) -> Answer<proto::Empty> {
        let proto::LeaveRequest {
            incarnation,
            has_ended,
        } = request.into_inner();
        answer(self.here()?.departure(incarnation, has_ended).await)
    }

    async fn check_feature_level(
        &self,
        request: Request<proto::FeatureLevelRequest>,
    ) -> Answer<proto::Empty> {
        let level = request.into_inner().level;
        answer(self.here()?.check_feature_level(level).await)
    }

    async fn raise_feature_level(
        &self,
        request: Request<proto::FeatureLevelRequest>,
    ) -> Answer<proto::RevisionReply> {
        let level = request.into_inner().level;
        let raised = self.here()?.raise_feature_level(level).await;
        answer(raised.map(|revision| proto::RevisionReply { revision }))
    }

    async fn beat(&self, request: Request<proto::BeatRequest>) -> Answer<proto::BeatReply> {
        let proto::BeatRequest {
            incarnation,
            passed,
        } = request.into_inner();
        let known = self.here()?.beat(incarnation, passed).await;
        answer(known.map(|is_known| proto::BeatReply { is_known }))
    }

    async fn passed(&self, request: Request<proto::PassedRequest>) -> Answer<proto::Empty> {
        answer(self.here()?.passed(request.into_inner().revision).await)
    }

    async fn create_topic(&self, request: Request<proto::NewTopic>) -> Answer<proto::TopicReply> {
        let new = request.into_inner().try_into()?;
        answer(self.here()?.create_topic(new).await)
    }

    async fn delete_topic(
        &self,
        request: Request<proto::DeleteTopicRequest>,
    ) -> Answer<proto::RevisionReply> {
        let topic = topic_id(&request.into_inner().topic)?;
        let deleted = self.here()?.delete_topic(topic).await;
        answer(deleted.map(|revision| proto::RevisionReply { revision }))
    }

    async fn create_partitions(
        &self,
        request: Request<proto::CreatePartitionsRequest>,
    ) -> Answer<proto::TopicReply> {
        let proto::CreatePartitionsRequest {
            topic,
            partition_count,
        } = request.into_inner();
        let topic = topic_id(&topic)?;
        answer(self.here()?.create_partitions(topic, partition_count).await)
    }

    async fn admin(&self, request: Request<proto::AdminCall>) -> Answer<proto::AdminAnswer> {
        let asked = request.into_inner().try_into()?;
        let reply = self.here()?.admin(asked).await;
        answer(reply.map(|reply| proto::AdminAnswer::new(reply, self.nonce)))
    }

    async fn object(&self, request: Request<proto::ObjectCall>) -> Answer<proto::ObjectAnswer> {
        let asked = request.into_inner().try_into()?;
        answer(self.here()?.object(asked).await)
    }

    async fn allocate_producer_ids(
        &self,
        _request: Request<proto::Empty>,
    ) -> Answer<proto::ProducerIdsReply> {
        let block = self.here()?.allocate_producer_ids().await;
        answer(block.map(|block| proto::ProducerIdsReply {
            start: block.0.start,
            end: block.0.end,
        }))
    }

    async fn bounds(&self, request: Request<proto::BoundsRequest>) -> Answer<proto::BoundsReply> {
        let asked = request.into_inner().partitions.into_iter();
        let asked = asked.map(TryInto::try_into).collect::<Result<_, _>>()?;
        let bounds = self.here()?.bounds(asked).await;
        answer(bounds.map(|bounds| {
            let bounds = bounds.into_iter().map(|bounds| proto::MaybeBounds {
                bounds: bounds.map(Into::into),
            });
            proto::BoundsReply {
                bounds: bounds.collect(),
            }
        }))
    }

    async fn look_up(&self, request: Request<proto::LookUpRequest>) -> Answer<proto::LookUpReply> {
        let proto::LookUpRequest {
            partition,
            from,
            extents_max,
        } = request.into_inner();
        let partition = need(partition)?.try_into()?;
        let extents_max = usize::try_from(extents_max).unwrap_or(usize::MAX);
        let found = self.here()?.look_up(partition, offset(from)?, extents_max);
        answer(found.await.map(|found| proto::LookUpReply {
            bounds: Some(found.bounds.into()),
            extents: found.extents.into_iter().map(Into::into).collect(),
        }))
    }

    async fn extent_for_timestamp(
        &self,
        request: Request<proto::ExtentForTimestampRequest>,
    ) -> Answer<proto::ExtentReply> {
        let proto::ExtentForTimestampRequest {
            partition,
            timestamp_ms,
        } = request.into_inner();
        let partition = need(partition)?.try_into()?;
        let found = self.here()?.extent_for_timestamp(partition, timestamp_ms);
        answer(found.await.map(|extent| proto::ExtentReply {
            extent: extent.map(Into::into),
        }))
    }

    async fn extent_with_max_timestamp(
        &self,
        request: Request<proto::ExtentWithMaxTimestampRequest>,
    ) -> Answer<proto::ExtentReply> {
        let partition = need(request.into_inner().partition)?.try_into()?;
        let found = self.here()?.extent_with_max_timestamp(partition);
        answer(found.await.map(|extent| proto::ExtentReply {
            extent: extent.map(Into::into),
        }))
    }
}

fn snapshot_parts(snapshot: Snapshot) -> BoxStream<'static, proto::SnapshotPart> {
    let parts: Vec<_> = watch::parts(&snapshot).collect();
    futures::stream::iter(parts).boxed()
}

/// Who calls; all zero for a caller that does not say.
fn caller(metadata: &MetadataMap) -> [u8; 16] {
    let text = metadata.get(PROCESS).and_then(|text| text.to_str().ok());
    let nonce = text.and_then(|text| u128::from_str_radix(text, 16).ok());
    nonce.unwrap_or_default().to_be_bytes()
}

/// How many connections each process has: one that connects anew may be noticed before the end of the
/// connection that broke.
#[derive(Debug, Default)]
struct Connected(Mutex<BTreeMap<[u8; 16], usize>>);

impl Connected {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<[u8; 16], usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, nonce: [u8; 16]) {
        *self.lock().entry(nonce).or_default() += 1;
    }

    /// Whether it was the last one.
    fn remove(&self, nonce: [u8; 16]) -> bool {
        let mut connected = self.lock();
        if let Some(count @ 2..) = connected.get_mut(&nonce) {
            *count -= 1;
            return false;
        }
        connected.remove(&nonce).is_some()
    }
}

/// Tells the sequencer when the last connection of a process ends, in whatever way.
#[derive(Debug)]
struct Presence {
    client: Client,
    connected: Arc<Connected>,
    nonce: [u8; 16],
}

impl Presence {
    fn new(client: Client, connected: Arc<Connected>, nonce: [u8; 16]) -> Self {
        connected.add(nonce);
        client.connected(nonce);
        Self {
            client,
            connected,
            nonce,
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if self.connected.remove(self.nonce) {
            self.client.disconnected(self.nonce);
        }
    }
}

/// What one caller watches.
struct Watch {
    stream: WatchStream,
    scope: Scope,
    /// `None` once the caller has no more to ask.
    requests: Option<Streaming<proto::WatchRequest>>,
}

impl Watch {
    /// The next events; `None` when the position is lost, or the caller is.
    async fn next(&mut self) -> Option<proto::WatchBatch> {
        loop {
            let requests = self.requests.as_mut();
            let request = async {
                match requests {
                    Some(requests) => requests.message().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                request = request => match request.ok()? {
                    Some(request) => self.scope.change(&request).ok()?,
                    None => self.requests = None,
                },
                batch = self.stream.next() => return Some(self.scope.batch(batch.ok()?.as_ref())),
            }
        }
    }
}

/// The commits of one caller during one term.
struct Commits {
    lane: CommitLane,
    term: u64,
    incoming: Streaming<proto::CommitRequest>,
    waiting: FuturesOrdered<futures::future::BoxFuture<'static, Committed>>,
    presence: Presence,
}

type Committed = Result<proto::CommitReply, Status>;

enum Next {
    Reply(Committed),
    Request(Option<proto::CommitRequest>),
}

impl Commits {
    /// The next reply; `None` when the caller is done. An error ends the stream.
    async fn next(&mut self) -> Result<Option<proto::CommitReply>, Status> {
        loop {
            match self.happened().await? {
                Next::Reply(reply) => return reply.map(Some),
                Next::Request(Some(request)) => self.enqueue(request).await?,
                Next::Request(None) => return Ok(None),
            }
        }
    }

    async fn happened(&mut self) -> Result<Next, Status> {
        let (term, has_room) = (self.term, self.waiting.len() < COMMITS_WAITING_MAX);
        let client = &self.presence.client;
        tokio::select! {
            biased;
            Some(reply) = self.waiting.next(), if !self.waiting.is_empty() => Ok(Next::Reply(reply)),
            () = client.term_over(term) => Err(Status::unavailable("the owner's term is over")),
            request = self.incoming.message(), if has_room => Ok(Next::Request(request?)),
        }
    }

    async fn enqueue(&mut self, request: proto::CommitRequest) -> Result<(), Status> {
        let request = CommitRequest::try_from(request)?;
        let segment = request.segment;
        let pending: PendingCommit = self.lane.enqueue(request).await;
        self.waiting.push_back(Box::pin(async move {
            let reply = commits::reply(segment, pending.await);
            reply.ok_or_else(|| Status::unavailable("the owner was lost, the outcome is unknown"))
        }));
        Ok(())
    }
}
