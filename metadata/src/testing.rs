//! Builders for tests: a store in memory, commits, a service over the memory engine.

use std::sync::Arc;
use std::time::Duration;

use floe_protocol::types::{NO_PRODUCER_ID, TopicId, TopicPartition};
use floe_storage::clock::Clock;
use floe_storage::segment::{Index, IndexBatch, IndexExtent, SegmentId};
use floe_storage::store::{Store, StoreOptions};
use floe_storage::tasks::Tasks;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use tokio_util::sync::CancellationToken;

use crate::api::{BrokerAddress, CommitRequest, NewProcess, NewTopic};
use crate::cluster::NewCluster;
use crate::engine::memory::{Faults, MemoryEngine};
use crate::ownership::{Exclusion, OwnerId};
use crate::rpc::simulated::Network;
use crate::rpc::{Routes, serve};
use crate::service::{EngineChoice, Prepared, Service, ServiceConfig, StartError};
use crate::state::StateConfig;
use crate::steady_clock::SteadyClock;

pub(crate) fn store_over(base: Arc<dyn ObjectStore>) -> Store {
    Store::new(base, &Path::default(), &StoreOptions::default(), 1)
}

pub(crate) fn store() -> Store {
    store_over(Arc::new(InMemory::new()))
}

/// A process that serves clients.
pub(crate) fn new_process(byte: u8) -> NewProcess {
    NewProcess {
        nonce: [byte; 16],
        attempt: 0,
        internal: format!("10.0.0.{byte}:9090"),
        zone: None,
        brokers: vec![BrokerAddress {
            listener: "main".to_owned(),
            node_id: i32::from(byte),
            host: format!("10.0.0.{byte}"),
            port: 9092,
        }],
        feature_level: 1,
    }
}

pub(crate) fn owner(byte: u8) -> OwnerId {
    OwnerId {
        address: format!("10.0.0.{byte}:9090"),
        nonce: [byte; 16],
    }
}

/// Processes over one store and one memory engine.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) engine: MemoryEngine,
    pub(crate) tasks: Tasks,
    pub(crate) network: Network,
    /// Ends the answering of calls over the network.
    pub(crate) served: CancellationToken,
}

impl World {
    pub(crate) fn new(seed: u64, faults: Faults) -> Self {
        let engine = MemoryEngine::new(seed, faults);
        Self {
            store: store(),
            engine,
            tasks: Tasks::new(),
            network: Network::new(seed, Duration::ZERO..Duration::from_millis(2)),
            served: CancellationToken::new(),
        }
    }

    /// Writes that take some milliseconds, nothing going wrong.
    pub(crate) fn calm() -> Self {
        Self::new(1, calm())
    }

    pub(crate) fn config(&self, process: u8) -> ServiceConfig {
        ServiceConfig {
            store: self.store.clone(),
            engine: EngineChoice::Memory(self.engine.clone()),
            exclusion: Exclusion::Shared,
            owner: owner(process),
            may_own: true,
            dial: self.network.dialer(&owner(process).address),
            new_cluster: NewCluster {
                lineage: [process; 16],
                id: [process; 16],
                secret: [process; 16],
            },
            state: StateConfig {
                producer_states_bytes_max: 4096,
                ..StateConfig::default()
            },
            clock: Clock::simulated(1_000_000),
            steady: SteadyClock::simulated(),
            seed: u64::from(process),
        }
    }

    /// Ends a process as if its machine had died.
    pub(crate) fn kill(&self, process: u8, service: &Service) {
        service.kill();
        self.network.kill(&owner(process).address);
    }

    /// Cuts a process off from the others, or lets through what was held up; it reaches the store.
    pub(crate) fn silence(&self, process: u8, is_silent: bool) {
        self.network.silence(&owner(process).address, is_silent);
    }

    pub(crate) async fn start(&self, process: u8) -> Result<Service, StartError> {
        self.start_with(self.config(process)).await
    }

    pub(crate) async fn start_with(&self, config: ServiceConfig) -> Result<Service, StartError> {
        let incoming = self.network.listen(&config.owner.address);
        let prepared = Prepared::new(config, &self.tasks).await?;
        let served = serve(incoming, Routes::new(prepared.grpc()), self.served.clone());
        self.tasks.spawn(served);
        prepared.join(&self.tasks).await
    }
}

pub(crate) fn calm() -> Faults {
    Faults {
        latency: Duration::from_millis(5)..Duration::from_millis(20),
        ..Faults::none()
    }
}

pub(crate) fn topic_id(byte: u8) -> TopicId {
    TopicId::from_bytes([byte; 16])
}

pub(crate) fn new_topic(byte: u8, partition_count: i32) -> NewTopic {
    NewTopic {
        id: topic_id(byte),
        name: format!("topic-{byte}"),
        partition_count,
        replication_factor: 1,
        configs: std::collections::BTreeMap::new(),
    }
}

pub(crate) fn partition(topic: u8, index: i32) -> TopicPartition {
    TopicPartition::new(topic_id(topic), index)
}

/// A segment with one batch of `record_count` records for each of `partitions`, which are sorted.
pub(crate) fn commit(
    incarnation: u32,
    counter: u64,
    partitions: &[TopicPartition],
    record_count: u32,
) -> CommitRequest {
    let batch = IndexBatch {
        length_bytes: 100,
        record_count,
        attributes: 0,
        base_timestamp_ms: 1_000_000,
        max_timestamp_ms: 1_000_000,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: -1,
        base_sequence: -1,
    };
    commit_of(incarnation, counter, partitions, batch)
}

/// The same with a batch of the idempotent producer `producer_id`.
pub(crate) fn idempotent_commit(
    (incarnation, counter): (u32, u64),
    partition: TopicPartition,
    producer_id: i64,
    base_sequence: i32,
) -> CommitRequest {
    let batch = IndexBatch {
        length_bytes: 100,
        record_count: 1,
        attributes: 0,
        base_timestamp_ms: 1_000_000,
        max_timestamp_ms: 1_000_000,
        producer_id,
        producer_epoch: 0,
        base_sequence,
    };
    commit_of(incarnation, counter, &[partition], batch)
}

fn commit_of(
    incarnation: u32,
    counter: u64,
    partitions: &[TopicPartition],
    batch: IndexBatch,
) -> CommitRequest {
    let extents = (1_u64..)
        .zip(partitions)
        .map(|(number, partition)| IndexExtent {
            partition: *partition,
            position_bytes: number * 100,
            crc: 0,
            base_offset: None,
            batches: vec![batch],
        })
        .collect();
    CommitRequest {
        segment: SegmentId {
            write_epoch: 1,
            incarnation,
            counter,
        },
        size_bytes: 1000,
        index: Arc::new(Index { extents }),
    }
}
