//! Agents of one zone in one process: what they have of each other, and what becomes of a peer that is
//! dead, slow, wrong or a stranger.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use floe_metadata::api::{BrokerAddress, NewProcess, Process};
use floe_metadata::rpc::simulated::Network;
use floe_metadata::rpc::{Routes, Secret, calls, serve};
use floe_protocol::error_code::ErrorCode;
use floe_storage::cache::{BlockCache, CHUNK_BYTES, Pool};
use floe_storage::key::{Lineage, Lineages};
use floe_storage::segment::{Index, Payload, SealedSegment};
use floe_storage::store::fault::{FaultPlan, FaultStore};
use floe_storage::store::{Caller, Operation, Store, StoreOptions};
use floe_storage::tasks::Tasks;
use futures::future::join_all;
use object_store::memory::InMemory;
use object_store::path::Path;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::proto::peer_client::PeerClient;
use super::proto::read_reply::What;
use super::proto::{Place, ReadRequest};
use super::*;
use crate::fetch::Fresh;
use crate::memory::{MemoryBudget, MemoryPlan, Share};
use crate::metrics::Metrics;
use crate::produce::testing::{Rig, batch};

const SECRET: Secret = Secret([5; 16]);
const MS: Duration = Duration::from_millis(1);

/// The store, the network and the registry of a zone.
struct Zone {
    base: Arc<InMemory>,
    network: Network,
    registry: Arc<Mutex<Arc<[Process]>>>,
    lineages: Lineages,
}

/// One agent, as far as peers see it.
struct Agent {
    address: String,
    fresh: Arc<Fresh>,
    faults: FaultStore,
    store: Store,
    cache: BlockCache,
    memory: MemoryBudget,
    peers: Arc<Peers>,
    metrics: PeerMetrics,
}

impl Zone {
    fn new() -> Self {
        Self {
            base: Arc::new(InMemory::new()),
            network: Network::new(1, Duration::ZERO..Duration::ZERO),
            registry: Arc::default(),
            lineages: Lineage([7; 16]).into(),
        }
    }

    /// Starts and registers agent `number`, over the store of the zone.
    fn start(&self, number: u8) -> Agent {
        self.start_over(number, Arc::clone(&self.base))
    }

    fn start_over(&self, number: u8, base: Arc<InMemory>) -> Agent {
        let faults = FaultStore::new(base, FaultPlan::none(), 1);
        let options = StoreOptions::default();
        let store = Store::new(Arc::new(faults.clone()), &Path::default(), &options, 1);
        let cache = BlockCache::with_pools(store.clone(), 64 << 20, 64 << 20);
        let memory = MemoryBudget::new(&MemoryPlan::new(256 << 20));
        let metrics = PeerMetrics::register(&Metrics::default());
        let fresh = Arc::new(Fresh::new(64 << 20));
        let server = PeerServer::new(PeerServerParts {
            fresh: Arc::clone(&fresh),
            cache: cache.clone(),
            lineages: self.lineages.clone(),
            memory: memory.clone(),
            tasks: Tasks::new(),
            metrics: metrics.clone(),
        });
        let address = format!("agent-{number}:9090");
        let incoming = self.network.listen(&address);
        let routes = Routes::new(server.into_service(SECRET));
        Tasks::new().spawn(serve(incoming, routes, CancellationToken::new()));
        let mut registry = self.registry.lock().unwrap();
        let processes = registry.iter().cloned().chain([Process {
            incarnation: u32::from(number),
            told: NewProcess {
                nonce: [number; 16],
                attempt: 0,
                internal: address.clone(),
                zone: None,
                brokers: vec![BrokerAddress {
                    listener: "default".to_owned(),
                    node_id: i32::from(number),
                    host: address.clone(),
                    port: 9092,
                }],
                feature_level: 1,
            },
        }]);
        *registry = processes.collect();
        Agent {
            peers: self.peers(number, &address, SECRET, &metrics),
            address,
            fresh,
            faults,
            store,
            cache,
            memory,
            metrics,
        }
    }

    fn peers(
        &self,
        number: u8,
        address: &str,
        secret: Secret,
        metrics: &PeerMetrics,
    ) -> Arc<Peers> {
        let registry = Arc::clone(&self.registry);
        Peers::new(PeersParts {
            registry: Box::new(move || Arc::clone(&registry.lock().unwrap())),
            nonce: [number; 16],
            zone: None,
            dial: self.network.dialer(address),
            secret,
            metrics: metrics.clone(),
        })
    }

    /// Stores a segment of `size` bytes that agent `writer` wrote.
    async fn put(&self, by: &Agent, writer: u32, counter: u64, size: usize) -> SealedSegment {
        let segment = segment(writer, counter, size);
        let path = self.lineages.segment(0, segment.id);
        let chunks = segment.payload.chunks().to_vec();
        let put = by.store.put_create(&path, chunks, Caller::Produce).await;
        put.unwrap();
        segment
    }
}

impl Agent {
    /// A chunk as a reader of this agent gets it.
    async fn read(&self, zone: &Zone, chunk: ChunkId) -> Bytes {
        self.read_for(Pool::Tail, zone, chunk).await
    }

    async fn read_for(&self, pool: Pool, zone: &Zone, chunk: ChunkId) -> Bytes {
        let cache = self.cache.of_pool(pool);
        let path = zone.lineages.segment(chunk.level, chunk.segment);
        let start = chunk.number * CHUNK_BYTES;
        let near = |_| {
            let peers = Arc::clone(&self.peers);
            async move { peers.chunk(chunk, pool).await }
        };
        let read = cache.read_near(&path, start..start + 1, near).await;
        read.unwrap();
        cache.chunk(&path, chunk.number).await.unwrap()
    }

    fn gets(&self) -> u64 {
        self.store.request_counts().total(Operation::Get)
    }
}

fn segment(writer: u32, counter: u64, size: usize) -> SealedSegment {
    let bytes: Vec<u8> = (0..251_u8).cycle().take(size).collect();
    SealedSegment {
        id: SegmentId {
            write_epoch: 1,
            incarnation: writer,
            counter,
        },
        level: 0,
        index: Arc::new(Index::default()),
        payload: Payload::new(bytes.chunks(100_001).map(Bytes::copy_from_slice).collect()),
        size_bytes: size as u64,
    }
}

fn chunk(segment: &SealedSegment, number: u64) -> ChunkId {
    ChunkId {
        segment: segment.id,
        level: segment.level,
        number,
    }
}

fn bytes(segment: &SealedSegment, number: u64) -> Vec<u8> {
    let start = number * CHUNK_BYTES;
    segment.payload.slice(start..start + CHUNK_BYTES).concat()
}

#[tokio::test(start_paused = true)]
async fn what_one_has_just_written_costs_the_others_no_get() {
    let zone = Zone::new();
    let (writer, reader) = (zone.start(1), zone.start(2));
    let written = zone.put(&writer, 1, 0, 9 << 20).await;
    writer.fresh.insert(written.clone());
    for number in 0..3 {
        let read = reader.read(&zone, chunk(&written, number)).await;
        assert!(read == bytes(&written, number), "chunk {number}");
    }
    assert_eq!((writer.gets(), reader.gets()), (0, 0));
    assert_eq!(reader.metrics.fresh.get(), 3);
    assert_eq!(reader.metrics.bytes.get(), 9 << 20);
    assert_eq!(writer.metrics.served_bytes.get(), 9 << 20);
    assert_eq!(writer.memory.used_bytes(Share::Answers), 0);
}

#[tokio::test(start_paused = true)]
async fn a_zone_gets_a_chunk_once() {
    let zone = Zone::new();
    let agents = [1, 2, 3].map(|number| zone.start(number));
    for agent in &agents {
        agent.faults.set_plan(FaultPlan {
            // Longer than a silent peer would be waited for.
            latency_median: 300 * MS,
            ..FaultPlan::none()
        });
    }
    let mut chunks = 0;
    for counter in 0..8 {
        let written = zone.put(&agents[0], 9, counter, 7 << 20).await;
        for number in 0..2 {
            let reads = agents.iter().chain(&agents);
            let reads = reads.map(|agent| agent.read(&zone, chunk(&written, number)));
            let expected = bytes(&written, number);
            assert!(join_all(reads).await.iter().all(|read| *read == expected));
            chunks += 1;
        }
    }
    let gets = agents.each_ref().map(Agent::gets);
    assert_eq!(gets.iter().sum::<u64>(), chunks);
    assert!(gets.iter().all(|gets| *gets > 0), "{gets:?}");
    let had: u64 = agents.iter().map(|agent| agent.metrics.chunk.get()).sum();
    assert_eq!(had, 2 * chunks);
}

#[tokio::test(start_paused = true)]
async fn a_replay_at_one_agent_pushes_the_tail_out_at_none() {
    let zone = Zone::new();
    let agents = [1, 2].map(|number| zone.start(number));
    let [reader, other] = &agents;
    for counter in 0..8 {
        let written = zone.put(reader, 9, counter, 1000).await;
        let read = reader.read_for(Pool::CatchUp, &zone, chunk(&written, 0));
        assert_eq!(read.await, bytes(&written, 0));
    }
    assert!(other.gets() > 0, "it owns some of the chunks");
    for agent in &agents {
        let used = |pool| agent.cache.pool_stats(pool).used_bytes;
        assert!(used(Pool::CatchUp) > 0);
        assert_eq!(used(Pool::Tail), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_waited_for_once() {
    let zone = Zone::new();
    let agents = [1, 2].map(|number| zone.start(number));
    let [reader, silent] = &agents;
    zone.network.silence(&silent.address, true);
    let start = Instant::now();
    for counter in 0..20 {
        let written = zone.put(reader, 2, counter, 1000).await;
        let read = reader.read(&zone, chunk(&written, 0)).await;
        assert_eq!(read, bytes(&written, 0));
    }
    assert_eq!((start.elapsed(), reader.gets()), (SILENCE, 20));
    assert_eq!(reader.metrics.silent.get(), 1);
    zone.network.silence(&silent.address, false);
    sleep(Duration::from_secs(5)).await;
    let written = zone.put(reader, 2, 20, 1000).await;
    silent.fresh.insert(written.clone());
    reader.read(&zone, chunk(&written, 0)).await;
    assert_eq!(reader.metrics.fresh.get(), 1, "it is asked again");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_gone_costs_no_time() {
    let zone = Zone::new();
    let agents = [1, 2].map(|number| zone.start(number));
    let [reader, gone] = &agents;
    zone.network.kill(&gone.address);
    let start = Instant::now();
    for counter in 0..20 {
        let written = zone.put(reader, 2, counter, 1000).await;
        reader.read(&zone, chunk(&written, 0)).await;
    }
    assert!(start.elapsed() < MS, "{:?}", start.elapsed());
    assert_eq!(reader.metrics.failed.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_memory_is_passed_by() {
    let zone = Zone::new();
    let agents = [1, 2].map(|number| zone.start(number));
    let [reader, full] = &agents;
    let capacity = full.memory.capacity_bytes(Share::Answers);
    let held = full.memory.try_reserve(Share::Answers, capacity).unwrap();
    let start = Instant::now();
    for counter in 0..20 {
        let written = zone.put(reader, 2, counter, 1000).await;
        full.fresh.insert(written.clone());
        let read = reader.read(&zone, chunk(&written, 0)).await;
        assert_eq!(read, bytes(&written, 0));
    }
    // As the writer it says so at once.
    assert!(start.elapsed() < MS);
    assert_eq!((reader.metrics.busy.get(), reader.gets()), (1, 20));
    sleep(Duration::from_secs(5)).await;
    let start = Instant::now();
    for counter in 0..20 {
        let written = zone.put(reader, 7, counter, 1000).await;
        reader.read(&zone, chunk(&written, 0)).await;
    }
    assert_eq!(start.elapsed().as_millis(), 500);
    assert_eq!((reader.metrics.busy.get(), reader.gets()), (2, 40));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn old_segments_are_not_asked_of_their_writer_again() {
    let zone = Zone::new();
    let agents = [1, 2].map(|number| zone.start(number));
    let [reader, writer] = &agents;
    for counter in 0..10 {
        let written = zone.put(writer, 2, counter, 30 << 20).await;
        writer.fresh.insert(written);
    }
    let (mut asked, start) = (0, Instant::now());
    for counter in 0..10 {
        let kept = counter >= 8;
        let read = reader.read(&zone, chunk(&segment(2, counter, 0), 0)).await;
        assert_eq!(read.len() as u64, CHUNK_BYTES);
        asked += u64::from(kept);
        assert_eq!(reader.metrics.fresh.get(), asked, "{counter}");
    }
    assert_eq!(reader.metrics.not_here.get(), 1);
    assert!(start.elapsed() < MS);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_rubbish_harms_nobody() {
    let zone = Zone::new();
    let rig = Rig::calm().await;
    let sizes = [3000, 3000, 500, 9000];
    for size in sizes {
        rig.write(0, &batch(&"x".repeat(size))).await;
    }
    // Half of the chunks it is asked for are too short, the others are wrong.
    let other = Arc::new(InMemory::new());
    let liar = zone.start_over(2, other);
    for counter in 0..10 {
        let size = [100, 100_000][usize::try_from(counter % 2).unwrap()];
        zone.put(&liar, 1, counter, size).await;
    }
    let metrics = PeerMetrics::register(&Metrics::default());
    let peers = zone.peers(1, "agent-1:9090", SECRET, &metrics);
    let mut read = Vec::new();
    for offset in 0..4 {
        let newcomer = rig.newcomer_beside(Some(Arc::clone(&peers))).await;
        let mut fetch = rig.fetch_of(0, offset, Duration::ZERO);
        fetch.max_bytes = 1;
        let answer = newcomer.fetch(&fetch).await.remove(0);
        assert_eq!(answer.error, ErrorCode::None);
        read.extend_from_slice(&answer.records.into_bytes());
        sleep(Duration::from_secs(20)).await;
    }
    assert_eq!(read, rig.read(0, 0).await);
    assert_eq!(metrics.damaged.get(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_learns_nothing() {
    let zone = Zone::new();
    let writer = zone.start(1);
    let written = zone.put(&writer, 1, 0, 1000).await;
    writer.fresh.insert(written.clone());
    let metrics = PeerMetrics::register(&Metrics::default());
    let stranger = zone.peers(9, "stranger", Secret([6; 16]), &metrics);
    assert_eq!(stranger.chunk(chunk(&written, 0), Pool::Tail).await, None);
    assert_eq!((metrics.failed.get(), writer.gets()), (1, 0));
    assert_eq!(writer.metrics.served_bytes.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_takes_is_let_go_of() {
    let zone = Zone::new();
    let writer = zone.start(1);
    let written = zone.put(&writer, 1, 0, 4 << 20).await;
    let dial = zone.network.dialer("asker");
    let incoming = zone.network.listen("asker");
    let mut client = PeerClient::new(calls(&dial, &writer.address, SECRET));
    for place in [Place::Fresh, Place::Cache] {
        writer.fresh.remove(written.id);
        writer.fresh.insert(written.clone());
        let request = ReadRequest {
            level: 0,
            write_epoch: 1,
            incarnation: 1,
            counter: 0,
            chunk: 0,
            place: place.into(),
            is_catch_up: false,
        };
        let mut replies = client.read(request).await.unwrap().into_inner();
        let first = replies.message().await.unwrap().unwrap();
        assert!(matches!(first.what, Some(What::Piece(_))));
        zone.network.silence("asker", true);
        sleep(MS).await;
        assert_eq!(writer.memory.used_bytes(Share::Answers), 4 << 20);
        sleep(PATIENCE).await;
        assert_eq!(writer.memory.used_bytes(Share::Answers), 0);
        zone.network.silence("asker", false);
    }
    drop(incoming);
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_refused() {
    let zone = Zone::new();
    let agent = zone.start(1);
    let dial = zone.network.dialer("asker");
    let mut client = PeerClient::new(calls(&dial, &agent.address, SECRET));
    let request = ReadRequest {
        level: 0,
        write_epoch: 1,
        incarnation: 1,
        counter: 0,
        chunk: 0,
        place: Place::Cache.into(),
        is_catch_up: false,
    };
    let strange = [
        ReadRequest {
            level: 256,
            ..request
        },
        ReadRequest {
            chunk: u64::MAX,
            ..request
        },
        ReadRequest {
            place: 77,
            ..request
        },
    ];
    for strange in strange {
        let refused = client.read(strange).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    }
    let mut missing = client.read(request).await.unwrap().into_inner();
    let answer = missing.message().await.unwrap().unwrap().what;
    assert!(matches!(answer, Some(What::NotHere(_))), "{answer:?}");
}
