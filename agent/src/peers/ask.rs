//! The side that asks.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use floe_metadata::api::Process;
use floe_metadata::rpc::network::Dial;
use floe_metadata::rpc::{Calls, Secret, calls};
use floe_storage::cache::{Given, Pool};
use tokio::sync::Semaphore;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout};
use tonic::Status;

use super::aside::Aside;
use super::evicted::Evicted;
use super::metrics::PeerMetrics;
use super::neighbourhood::{Neighbourhood, PeerId};
use super::pieces::{NoChunk, Pieces};
use super::proto::peer_client::PeerClient;
use super::proto::read_reply::What;
use super::proto::{Place, ReadRequest};
use super::{ChunkId, MESSAGE_BYTES_MAX, PATIENCE, SILENCE};

/// Chunks that are asked of peers at the same time; more wait in line. Each is up to 4 MiB on its way.
const ASKS_AT_ONCE_MAX: usize = 32;

/// Tells the registered processes as they are known now: the same `Arc` while nothing changes.
pub(crate) type Registry = Box<dyn Fn() -> Arc<[Process]> + Send + Sync>;

/// What peers are asked with.
pub(crate) struct PeersParts {
    /// Who there is.
    pub(crate) registry: Registry,
    /// The nonce of this process.
    pub(crate) nonce: [u8; 16],
    /// The zone of this process.
    pub(crate) zone: Option<String>,
    /// Reaches other processes.
    pub(crate) dial: Arc<dyn Dial>,
    /// What they know each other by.
    pub(crate) secret: Secret,
    /// Counts on both sides.
    pub(crate) metrics: PeerMetrics,
}

/// The other agents of this zone.
pub(crate) struct Peers {
    parts: PeersParts,
    known: Mutex<Known>,
    asks: Semaphore,
}

/// What is known of the neighbours.
struct Known {
    /// The registry that the rest was made of.
    registry: Arc<[Process]>,
    neighbourhood: Neighbourhood,
    /// All that the neighbourhood names; a connection ends when its process leaves.
    peers: BTreeMap<PeerId, Arc<Peer>>,
    evicted: Evicted,
}

#[derive(Debug)]
struct Peer {
    id: PeerId,
    address: String,
    client: PeerClient<Calls>,
    aside: Mutex<Aside>,
}

/// What a peer said.
enum Answer {
    Here(Bytes),
    NotHere { fresh_from: u64 },
}

/// Why a peer said nothing of use.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("it was silent for too long")]
    Silent(#[from] Elapsed),
    #[error("{}", .0.message())]
    Failed(Box<Status>),
    #[error(transparent)]
    NoChunk(#[from] NoChunk),
    #[error("the answer ended too early")]
    Ended,
    #[error("too much is asked of it")]
    Busy,
}

impl From<Status> for AskError {
    fn from(status: Status) -> Self {
        Self::Failed(Box::new(status))
    }
}

impl Peer {
    fn aside(&self) -> MutexGuard<'_, Aside> {
        self.aside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, chunk: ChunkId, place: Place, pool: Pool) -> Result<Answer, AskError> {
        let request = ReadRequest {
            level: u32::from(chunk.level),
            write_epoch: chunk.segment.write_epoch,
            incarnation: chunk.segment.incarnation,
            counter: chunk.segment.counter,
            chunk: chunk.number,
            place: place.into(),
            is_catch_up: pool == Pool::CatchUp,
        };
        let mut client = self.client.clone();
        let replies = timeout(SILENCE, client.read(request)).await??;
        let (mut replies, mut pieces) = (replies.into_inner(), Pieces::default());
        loop {
            let reply = timeout(SILENCE, replies.message()).await??;
            match reply.and_then(|reply| reply.what).ok_or(AskError::Ended)? {
                What::Waiting(_) => {}
                What::Busy(_) => return Err(AskError::Busy),
                What::NotHere(answer) => {
                    let fresh_from = answer.fresh_from;
                    return Ok(Answer::NotHere { fresh_from });
                }
                What::Piece(piece) => {
                    if let Some(chunk) = pieces.add(piece)? {
                        return Ok(Answer::Here(chunk));
                    }
                }
            }
        }
    }
}

impl Peers {
    /// Asks those whom the registry will show.
    pub(crate) fn new(parts: PeersParts) -> Arc<Self> {
        let known = Known {
            registry: Arc::default(),
            neighbourhood: Neighbourhood::default(),
            peers: BTreeMap::new(),
            evicted: Evicted::default(),
        };
        Arc::new(Self {
            parts,
            known: Mutex::new(known),
            asks: Semaphore::new(ASKS_AT_ONCE_MAX),
        })
    }

    /// The chunk, if a peer has it or is the one to read it; `None` when the store is to be read here.
    /// Asks two peers at most, for the readers of `pool`. Cancel-safe.
    pub(crate) async fn chunk(&self, chunk: ChunkId, pool: Pool) -> Option<Given> {
        if let Some(writer) = self.writer(&chunk)
            && let Some(given) = self.ask(&writer, chunk, Place::Fresh, pool).await
        {
            return Some(given);
        }
        let owner = self.owner(&chunk)?;
        self.ask(&owner, chunk, Place::Cache, pool).await
    }

    /// Notes that what `peer` gave was damaged.
    pub(crate) fn blame(&self, peer: PeerId) {
        self.parts.metrics.damaged.inc();
        let known = self.known().peers.get(&peer).cloned();
        if let Some(peer) = known {
            tracing::warn!(
                address = peer.address,
                "another agent gave bytes that do not pass their checks: the store is read instead"
            );
            let now = Instant::now();
            peer.aside().failed(now, now);
        }
    }

    /// Who wrote the chunk, if that is worth asking.
    fn writer(&self, chunk: &ChunkId) -> Option<Arc<Peer>> {
        let known = self.known();
        let writer = known.neighbourhood.writer(chunk)?;
        if !known.evicted.may_be_fresh(chunk.segment) {
            return None;
        }
        let peer = known.peers.get(&writer)?;
        peer.aside()
            .may_ask(Instant::now())
            .then(|| Arc::clone(peer))
    }

    /// Who is to have the chunk, of those that can be asked; `None` if that is this process.
    fn owner(&self, chunk: &ChunkId) -> Option<Arc<Peer>> {
        let (known, now) = (self.known(), Instant::now());
        let owners = known.neighbourhood.owners(chunk);
        let mut peers = owners.iter().filter_map(|owner| known.peers.get(owner));
        peers.find(|peer| peer.aside().may_ask(now)).cloned()
    }

    async fn ask(&self, peer: &Peer, chunk: ChunkId, place: Place, pool: Pool) -> Option<Given> {
        // Never closed: an error cannot occur, and to ask nobody is the safe reading.
        let _turn = self.asks.acquire().await.ok()?;
        let asked = Instant::now();
        let answer = timeout(PATIENCE, peer.read(chunk, place, pool)).await;
        match answer.map_err(AskError::from).flatten() {
            Ok(answer) => {
                peer.aside().answered();
                self.take(answer, peer, chunk, place)
            }
            Err(error) => {
                self.pass_by(peer, asked, &error);
                None
            }
        }
    }

    fn take(&self, answer: Answer, peer: &Peer, chunk: ChunkId, place: Place) -> Option<Given> {
        let metrics = &self.parts.metrics;
        let bytes = match answer {
            Answer::Here(bytes) => bytes,
            Answer::NotHere { fresh_from } => {
                metrics.not_here.inc();
                if place == Place::Fresh {
                    self.known().evicted.note(chunk.segment, fresh_from);
                }
                return None;
            }
        };
        match place {
            Place::Fresh => &metrics.fresh,
            Place::Cache | Place::Unknown => &metrics.chunk,
        }
        .inc();
        metrics.bytes.inc_by(bytes.len() as u64);
        tracing::debug!(address = peer.address, ?place, "another agent gave a chunk");
        let by = peer.id;
        Some(Given { bytes, by })
    }

    /// Notes that `peer`, which was asked at `asked`, was of no use.
    fn pass_by(&self, peer: &Peer, asked: Instant, error: &AskError) {
        let metrics = &self.parts.metrics;
        match error {
            AskError::Silent(_) => &metrics.silent,
            AskError::Busy => &metrics.busy,
            AskError::Failed(_) | AskError::NoChunk(_) | AskError::Ended => &metrics.failed,
        }
        .inc();
        tracing::debug!(address = peer.address, %error, "another agent was passed by");
        peer.aside().failed(asked, Instant::now());
    }

    /// What is known now.
    fn known(&self) -> MutexGuard<'_, Known> {
        let registry = (self.parts.registry)();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&known.registry, &registry) {
            known.update(registry, &self.parts);
        }
        known
    }
}

impl Known {
    fn update(&mut self, registry: Arc<[Process]>, parts: &PeersParts) {
        let own = PeerId::from_be_bytes(parts.nonce);
        let neighbourhood = Neighbourhood::new(&registry, own, parts.zone.as_deref());
        let mut before = std::mem::take(&mut self.peers);
        for (id, address) in neighbourhood.others() {
            let kept = before.remove(&id).filter(|peer| peer.address == address);
            let peer = kept.unwrap_or_else(|| Arc::new(Peer::new(id, address, parts)));
            self.peers.insert(id, peer);
        }
        self.evicted
            .retain(|incarnation| neighbourhood.has_writer(incarnation));
        self.neighbourhood = neighbourhood;
        self.registry = registry;
    }
}

impl Peer {
    fn new(id: PeerId, address: &str, parts: &PeersParts) -> Self {
        let calls = calls(&parts.dial, address, parts.secret);
        Self {
            id,
            address: address.to_owned(),
            client: PeerClient::new(calls).max_decoding_message_size(MESSAGE_BYTES_MAX),
            aside: Mutex::default(),
        }
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").finish_non_exhaustive()
    }
}
