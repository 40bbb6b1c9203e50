//! The side that is asked.
//!
//! An answer holds a chunk until the asker has taken it, it goes away, or [`PATIENCE`] is over; it is
//! charged to the memory of answers like that of a client, and all of them together get a part of it.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use floe_metadata::rpc::{Checking, Secret};
use floe_protocol::records::Records;
use floe_storage::cache::{BlockCache, CHUNK_BYTES, Pool};
use floe_storage::key::Lineages;
use floe_storage::segment::SegmentId;
use floe_storage::tasks::Tasks;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Response, Status};

use super::metrics::PeerMetrics;
use super::proto::peer_server;
use super::proto::read_reply::What;
use super::proto::{Empty, NotHere, Piece, Place, ReadReply, ReadRequest};
use super::{ChunkId, MESSAGE_BYTES_MAX, PATIENCE, PIECE_BYTES, SIGN_OF_LIFE};
use crate::fetch::{Fresh, Rope};
use crate::memory::{MemoryBudget, MemoryPermit, Share};

/// Calls of all peers together; more are told that it is too much. Most of them wait for memory.
const CALLS_MAX: usize = 256;
/// All answers to peers together take this part of the memory of answers at most.
const SHARE_PARTS: usize = 2;

/// How long an answer may wait for memory: the asker can read the store sooner than clients that do not
/// take their answers let go of theirs.
const ROOM_PATIENCE: Duration = Duration::from_millis(500);

/// What peers are answered from.
#[derive(Debug)]
pub(crate) struct PeerServerParts {
    /// Segments that this process has just written.
    pub(crate) fresh: Arc<Fresh>,
    /// Chunks, and the store behind them.
    pub(crate) cache: BlockCache,
    /// Tells a segment's key.
    pub(crate) lineages: Lineages,
    /// What answers may hold.
    pub(crate) memory: MemoryBudget,
    /// Ends answers that nobody takes.
    pub(crate) tasks: Tasks,
    /// Counts on both sides.
    pub(crate) metrics: PeerMetrics,
}

/// Answers for this process. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PeerServer {
    parts: Arc<PeerServerParts>,
    calls: Arc<Semaphore>,
    chunks: Arc<Semaphore>,
}

/// The calls of peers as a service for a gRPC server; lets pass who knows the cluster's secret.
pub(crate) type Grpc = InterceptedService<peer_server::PeerServer<PeerServer>, Checking>;

/// What there is to say.
enum Found {
    Here(Held),
    NotHere { fresh_from: u64 },
    Busy,
}

/// A chunk on its way.
struct Held {
    rope: Rope,
    chunk_bytes: u64,
    _permit: MemoryPermit,
    _place: Option<OwnedSemaphorePermit>,
}

impl PeerServer {
    pub(crate) fn new(parts: PeerServerParts) -> Self {
        let share = parts.memory.capacity_bytes(Share::Answers) / SHARE_PARTS;
        let chunks = u64::try_from(share).unwrap_or(u64::MAX) / CHUNK_BYTES;
        let chunks = usize::try_from(chunks).unwrap_or(CALLS_MAX);
        Self {
            parts: Arc::new(parts),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            chunks: Arc::new(Semaphore::new(chunks.clamp(1, CALLS_MAX))),
        }
    }

    pub(crate) fn into_service(self, secret: Secret) -> Grpc {
        let server = peer_server::PeerServer::new(self);
        secret.checking(server.max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// What this process wrote itself and still has; never waits.
    fn find_fresh(&self, chunk: ChunkId) -> Found {
        let PeerServerParts { fresh, memory, .. } = &*self.parts;
        let id = chunk.segment;
        let mut rope = Rope::default();
        if let Some(payload) = fresh.get(id) {
            rope.extend(payload.slice(places(chunk.number)));
        }
        if rope.len_bytes() == 0 {
            let fresh_from = fresh.kept_from(id.incarnation);
            return Found::NotHere { fresh_from };
        }
        let bytes = usize::try_from(rope.len_bytes()).unwrap_or(usize::MAX);
        memory
            .try_reserve(Share::Answers, bytes)
            .map_or(Found::Busy, |permit| {
                Found::Here(Held::new(rope, permit, None))
            })
    }

    /// From the cache or the store, once there is room for it.
    async fn find(self, chunk: ChunkId, pool: Pool) -> Found {
        let PeerServerParts {
            cache,
            lineages,
            memory,
            ..
        } = &*self.parts;
        let room = async {
            let place = self.chunks.acquire_owned().await;
            let chunk_bytes = usize::try_from(CHUNK_BYTES).unwrap_or(usize::MAX);
            (place, memory.reserve(Share::Answers, chunk_bytes).await)
        };
        let Ok((Ok(place), mut permit)) = timeout(ROOM_PATIENCE, room).await else {
            return Found::Busy;
        };
        let path = lineages.segment(chunk.level, chunk.segment);
        let cache = cache.of_pool(pool);
        let bytes = match cache.chunk(&path, chunk.number).await {
            Ok(bytes) if !bytes.is_empty() => bytes,
            Ok(_) => return Found::NotHere { fresh_from: 0 },
            Err(error) => {
                // Who asks reads the store itself, and tells its client.
                tracing::debug!(%error, "a chunk could not be read for another agent");
                return Found::NotHere { fresh_from: 0 };
            }
        };
        let permit = permit.split(bytes.len());
        let mut rope = Rope::default();
        rope.extend(vec![bytes]);
        Found::Here(Held::new(rope, permit, Some(place)))
    }
}

/// The bytes of an object that are its chunk `number`.
fn places(number: u64) -> Range<u64> {
    let start = number.saturating_mul(CHUNK_BYTES);
    start..start.saturating_add(CHUNK_BYTES)
}

impl Held {
    fn new(rope: Rope, permit: MemoryPermit, place: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            chunk_bytes: rope.len_bytes(),
            rope,
            _permit: permit,
            _place: place,
        }
    }

    /// The next piece; `None` at the end.
    fn next(&mut self) -> Option<Piece> {
        let mut parts = Vec::new();
        self.rope.take(PIECE_BYTES, |part| parts.push(part));
        let bytes = parts.into_iter().collect::<Records>().into_bytes();
        (!bytes.is_empty()).then_some(Piece {
            chunk_bytes: self.chunk_bytes,
            bytes,
        })
    }
}

/// One answer, message by message.
struct Answer {
    state: State,
    tasks: Tasks,
    served_bytes: Counter,
    _call: OwnedSemaphorePermit,
}

enum State {
    Finding(BoxFuture<'static, Found>),
    Sending(Sending),
    Ended,
}

/// A chunk that is let go of after a while, also when nobody asks for its next piece.
struct Sending {
    held: Arc<Mutex<Option<Held>>>,
    /// Its end says that the asker is done or gone.
    _asker: oneshot::Receiver<()>,
}

impl Sending {
    fn new(held: Held, tasks: &Tasks) -> Self {
        let held = Arc::new(Mutex::new(Some(held)));
        let (mut asker_gone, asker) = oneshot::channel();
        let kept = Arc::clone(&held);
        tasks.spawn(async move {
            tokio::select! {
                biased;
                () = asker_gone.closed() => {}
                () = sleep(PATIENCE) => drop(locked(&kept).take()),
            }
        });
        Self {
            held,
            _asker: asker,
        }
    }

    /// The next piece; `None` at the end.
    fn next(&self) -> Result<Option<Piece>, Status> {
        let mut held = locked(&self.held);
        let held = held.as_mut();
        held.map(Held::next)
            .ok_or_else(|| Status::deadline_exceeded("the answer was not taken in time"))
    }
}

fn locked(held: &Mutex<Option<Held>>) -> MutexGuard<'_, Option<Held>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Answer {
    /// The next message; `None` at the end. Nothing follows an error.
    async fn next(mut self) -> Option<(Result<ReadReply, Status>, Self)> {
        loop {
            let what = match &mut self.state {
                State::Ended => return None,
                State::Finding(finding) => match timeout(SIGN_OF_LIFE, finding).await {
                    Err(_) => What::Waiting(Empty {}),
                    Ok(Found::Here(held)) => {
                        self.state = State::Sending(Sending::new(held, &self.tasks));
                        continue;
                    }
                    Ok(Found::NotHere { fresh_from }) => {
                        self.state = State::Ended;
                        What::NotHere(NotHere { fresh_from })
                    }
                    Ok(Found::Busy) => {
                        self.state = State::Ended;
                        What::Busy(Empty {})
                    }
                },
                State::Sending(sending) => match sending.next() {
                    Ok(None) => return None,
                    Ok(Some(piece)) => {
                        self.served_bytes.inc_by(piece.bytes.len() as u64);
                        What::Piece(piece)
                    }
                    Err(late) => {
                        self.state = State::Ended;
                        return Some((Err(late), self));
                    }
                },
            };
            return Some((Ok(ReadReply { what: Some(what) }), self));
        }
    }
}

#[tonic::async_trait]
impl peer_server::Peer for PeerServer {
    type ReadStream = BoxStream<'static, Result<ReadReply, Status>>;

    async fn read(
        &self,
        request: Request<ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let place = request.place();
        let pool = match request.is_catch_up {
            true => Pool::CatchUp,
            false => Pool::Tail,
        };
        let chunk = chunk(&request)?;
        let Ok(call) = Arc::clone(&self.calls).try_acquire_owned() else {
            let what = Some(What::Busy(Empty {}));
            let busy = stream::iter([Ok(ReadReply { what })]);
            return Ok(Response::new(busy.boxed()));
        };
        let finding = match place {
            Place::Fresh => std::future::ready(self.find_fresh(chunk)).boxed(),
            Place::Cache => self.clone().find(chunk, pool).boxed(),
            Place::Unknown => return Err(Status::invalid_argument("where to look is not known")),
        };
        let answer = Answer {
            state: State::Finding(finding),
            tasks: self.parts.tasks.clone(),
            served_bytes: self.parts.metrics.served_bytes.clone(),
            _call: call,
        };
        Ok(Response::new(stream::unfold(answer, Answer::next).boxed()))
    }
}

fn chunk(request: &ReadRequest) -> Result<ChunkId, Status> {
    let level = u8::try_from(request.level);
    // Beyond this no object has bytes.
    let number = u32::try_from(request.chunk);
    Ok(ChunkId {
        segment: SegmentId {
            write_epoch: request.write_epoch,
            incarnation: request.incarnation,
            counter: request.counter,
        },
        level: level.map_err(|_| Status::invalid_argument("no level is that high"))?,
        number: u64::from(number.map_err(|_| Status::invalid_argument("no object is that large"))?),
    })
}
