//! Builders for tests: a store that goes wrong on demand, and a whole metadata service over the memory engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use floe_metadata::api::{
    BatchResult, CommitError, CommitRequest, NewProcess, NewTopic, Registration,
};
use floe_metadata::client::Client;
use floe_metadata::cluster::NewCluster;
use floe_metadata::engine::memory::{Faults, MemoryEngine};
use floe_metadata::ownership::{Exclusion, OwnerId};
use floe_metadata::rpc::network::Tcp;
use floe_metadata::service::{EngineChoice, Service, ServiceConfig};
use floe_metadata::state::StateConfig;
use floe_metadata::steady_clock::SteadyClock;
use floe_protocol::types::{NO_PRODUCER_ID, TimestampMs, TopicId, TopicPartition};
use floe_storage::clock::Clock;
use floe_storage::key::{self, Lineage, Lineages};
use floe_storage::segment::{Index, IndexBatch, IndexExtent, SegmentId};
use floe_storage::store::fault::{FaultPlan, FaultStore};
use floe_storage::store::{Caller, Store, StoreOptions};
use floe_storage::tasks::Tasks;
use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;

pub(crate) const START_MS: TimestampMs = 1_700_000_000_000;
pub(crate) const LINEAGE: Lineage = Lineage([7; 16]);

/// A store in memory that goes wrong as the plan of `faults` says.
#[derive(Clone)]
pub(crate) struct Bucket {
    pub(crate) faults: FaultStore,
    pub(crate) store: Store,
    /// Past the faults.
    pub(crate) direct: Store,
}

impl Bucket {
    pub(crate) fn new(seed: u64) -> Self {
        let base = Arc::new(InMemory::new());
        let faults = FaultStore::new(base.clone(), FaultPlan::none(), seed);
        let polite = |base| Store::new(base, &Path::default(), &StoreOptions::default(), seed);
        Self {
            store: polite(Arc::new(faults.clone())),
            direct: polite(base),
            faults,
        }
    }

    pub(crate) async fn put(&self, path: &Path) {
        let bytes = vec![Bytes::from(path.to_string())];
        self.direct
            .put_create(path, bytes, Caller::Produce)
            .await
            .unwrap();
    }

    /// All names among the segments, sorted.
    pub(crate) async fn names(&self) -> Vec<Path> {
        let listing = self.direct.list(&Path::from("segments"), Caller::Probe);
        let found: Vec<_> = listing.try_collect().await.unwrap();
        let mut names: Vec<_> = found.into_iter().map(|object| object.location).collect();
        names.sort_unstable();
        names
    }
}

pub(crate) fn id(write_epoch: u32, counter: u64) -> SegmentId {
    SegmentId {
        write_epoch,
        incarnation: 1,
        counter,
    }
}

/// A cluster of one process, with a topic of two partitions.
pub(crate) struct Rig {
    pub(crate) bucket: Bucket,
    pub(crate) client: Client,
    pub(crate) lineages: Lineages,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    pub(crate) registration: Registration,
    pub(crate) service: Service,
    counter: u64,
}

pub(crate) fn topic() -> TopicId {
    TopicId::from_bytes([9; 16])
}

impl Rig {
    pub(crate) async fn new(seed: u64) -> Self {
        Self::with_configs(seed, &[]).await
    }

    pub(crate) async fn with_configs(seed: u64, configs: &[(&str, &str)]) -> Self {
        let bucket = Bucket::new(seed);
        let engine = MemoryEngine::new(seed, Faults::none());
        let tasks = Tasks::new();
        let clock = Clock::simulated(START_MS);
        let config = ServiceConfig {
            store: bucket.direct.clone(),
            engine: EngineChoice::Memory(engine),
            exclusion: Exclusion::Shared,
            owner: OwnerId {
                address: "here".to_owned(),
                nonce: [1; 16],
            },
            may_own: true,
            dial: Tcp::dialer(),
            new_cluster: NewCluster {
                lineage: LINEAGE.0,
                id: [7; 16],
                secret: [7; 16],
            },
            state: StateConfig::default(),
            clock: clock.clone(),
            steady: SteadyClock::simulated(),
            seed,
        };
        let service = Service::start(config, &tasks).await.unwrap();
        let client = service.client();
        client.wait_for_owner().await.unwrap();
        let told = NewProcess {
            nonce: [1; 16],
            attempt: 0,
            internal: "here".to_owned(),
            zone: None,
            brokers: Vec::new(),
            feature_level: 1,
        };
        let registration = client.register(told).await.unwrap();
        let configs = configs.iter();
        let new = NewTopic {
            id: topic(),
            name: "topic".to_owned(),
            partition_count: 2,
            replication_factor: 1,
            configs: configs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>(),
        };
        client.create_topic(new).await.unwrap();
        Self {
            bucket,
            client,
            lineages: Lineages::from(LINEAGE),
            clock,
            tasks,
            registration,
            service,
            counter: 0,
        }
    }

    /// A name for a segment of level 0 that is put into the store.
    pub(crate) async fn upload(&mut self) -> (SegmentId, Path) {
        self.counter += 1;
        let id = SegmentId {
            write_epoch: self.registration.write_epoch,
            incarnation: self.registration.incarnation,
            counter: self.counter,
        };
        let path = key::segment(LINEAGE, 0, id);
        self.bucket.put(&path).await;
        (id, path)
    }

    /// Commits one batch of ten records of 100 bytes, the newest of `newest_ms`.
    pub(crate) async fn commit(
        &self,
        id: SegmentId,
        partition: i32,
        newest_ms: TimestampMs,
    ) -> Result<Vec<BatchResult>, CommitError> {
        let batch = IndexBatch {
            length_bytes: 100,
            record_count: 10,
            attributes: 0,
            base_timestamp_ms: newest_ms,
            max_timestamp_ms: newest_ms,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: -1,
            base_sequence: -1,
        };
        let extent = IndexExtent {
            partition: TopicPartition::new(topic(), partition),
            position_bytes: 40,
            crc: 0,
            base_offset: None,
            batches: vec![batch],
        };
        let request = CommitRequest {
            segment: id,
            size_bytes: 1000,
            index: Arc::new(Index {
                extents: vec![extent],
            }),
        };
        let reply = self.client.commit(request).await?;
        Ok(reply.results)
    }

    /// Uploads and commits a segment with records of `newest_ms` for partition 0.
    pub(crate) async fn segment(&mut self, newest_ms: TimestampMs) -> (SegmentId, Path) {
        let (id, path) = self.upload().await;
        self.commit(id, 0, newest_ms).await.unwrap();
        (id, path)
    }

    /// Drops the first records of partition 0.
    pub(crate) async fn drop_records(&self, to: i64) {
        let partition = TopicPartition::new(topic(), 0);
        let moves = vec![(partition, to)];
        self.client.move_log_starts(moves).await.unwrap();
    }

    /// Where the log of partition 0 starts.
    pub(crate) async fn log_start(&self) -> i64 {
        let partition = TopicPartition::new(topic(), 0);
        let bounds = self.client.bounds(vec![partition]).await.unwrap();
        bounds[0].unwrap().log_start
    }
}
