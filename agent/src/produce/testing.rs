//! Both paths over a store and an engine that go wrong on demand, in one process and on paused time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use floe_metadata::api::{NewProcess, NewTopic, RequestError};
use floe_metadata::client::Client;
use floe_metadata::client::view::View;
use floe_metadata::cluster::NewCluster;
use floe_metadata::engine::memory::{Faults, MemoryEngine};
use floe_metadata::ownership::{Exclusion, OwnerId};
use floe_metadata::rpc::network::Tcp;
use floe_metadata::service::{EngineChoice, Service, ServiceConfig};
use floe_metadata::state::StateConfig;
use floe_metadata::steady_clock::SteadyClock;
use floe_protocol::compression::Compression;
use floe_protocol::record_batch::{BatchBuilder, BatchHeader};
use floe_protocol::types::{Offset, TopicId, TopicPartition};
use floe_storage::cache::BlockCache;
use floe_storage::clock::Clock;
use floe_storage::key::Lineages;
use floe_storage::store::fault::{FaultPlan, FaultStore};
use floe_storage::store::{Store, StoreOptions};
use floe_storage::tasks::Tasks;
use object_store::memory::InMemory;
use object_store::path::Path;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Batch, Completion, FlushRule, Outcome, ProduceParts, ProducePath, Seat, Ticket};
use crate::fetch::{Answered, Chunks, Fetch, FetchParts, FetchPath, Fresh, Isolation, Position};
use crate::memory::{MemoryBudget, MemoryPermit, MemoryPlan};
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::presence::Presence;

const START_MS: i64 = 1_700_000_000_000;

/// What goes wrong in a [`Rig`].
pub(crate) struct Trouble {
    pub(crate) seed: u64,
    pub(crate) store: FaultPlan,
    pub(crate) engine: Faults,
}

impl Trouble {
    pub(crate) fn none() -> Self {
        Self {
            seed: 1,
            store: FaultPlan::none(),
            engine: Faults::none(),
        }
    }
}

/// Both paths and what they stand on.
pub(crate) struct Rig {
    pub(crate) store: FaultStore,
    pub(crate) engine: MemoryEngine,
    pub(crate) client: Client,
    pub(crate) produce: ProducePath,
    pub(crate) fetch: Arc<FetchPath>,
    pub(crate) memory: MemoryBudget,
    pub(crate) stopping: CancellationToken,
    pub(crate) tasks: Tasks,
    /// A topic of four partitions.
    pub(crate) topic: TopicId,
    pub(crate) polite: Store,
    pub(crate) view: Arc<View>,
    pub(crate) presence: Arc<Presence>,
    service: Service,
}

impl Rig {
    pub(crate) async fn new(rule: FlushRule, fresh_bytes: u64, trouble: Trouble) -> Self {
        let Trouble {
            seed,
            store: plan,
            engine: faults,
        } = trouble;
        let store = FaultStore::new(Arc::new(InMemory::new()), FaultPlan::none(), seed);
        let polite = Store::new(
            Arc::new(store.clone()),
            &Path::default(),
            &StoreOptions::default(),
            seed,
        );
        let engine = MemoryEngine::new(seed, Faults::none());
        let tasks = Tasks::new();
        let clock = Clock::simulated(START_MS);
        let service = ServiceConfig {
            store: polite.clone(),
            engine: EngineChoice::Memory(engine.clone()),
            exclusion: Exclusion::Shared,
            owner: OwnerId {
                address: "here".to_owned(),
                nonce: [1; 16],
            },
            may_own: true,
            dial: Tcp::dialer(),
            new_cluster: NewCluster {
                lineage: [7; 16],
                id: [7; 16],
                secret: [7; 16],
            },
            state: StateConfig::default(),
            clock: clock.clone(),
            steady: SteadyClock::simulated(),
            seed,
        };
        let service = Service::start(service, &tasks).await.unwrap();
        let client = service.client();
        let (stopping, metrics) = (CancellationToken::new(), Metrics::default());
        let view = View::start(client.clone(), &tasks, CancellationToken::new());
        let memory = MemoryBudget::new(&MemoryPlan::new(256 << 20));
        let fresh = Arc::new(Fresh::new(fresh_bytes));
        let lineage = service.cluster().lineage;
        let told = NewProcess {
            nonce: [1; 16],
            attempt: 0,
            internal: "here".to_owned(),
            zone: None,
            brokers: Vec::new(),
            feature_level: 1,
        };
        let (kept_view, ended) = (Arc::clone(&view), CancellationToken::new());
        let presence = Presence::start(
            client.clone(),
            Some(kept_view),
            told,
            SteadyClock::simulated(),
            &tasks,
            ended,
        );
        let produce = ProduceParts {
            client: client.clone(),
            presence: Arc::clone(&presence),
            store: polite.clone(),
            lineage,
            fresh: Arc::clone(&fresh),
            clock,
            rule,
            uploads: super::UploadLimits::default(),
        };
        let fetch = FetchParts {
            client: client.clone(),
            view: Arc::clone(&view),
            fresh,
            chunks: Chunks::new(BlockCache::new(polite.clone(), 32 << 20), None),
            lineages: lineage.into(),
            memory: memory.clone(),
            seed,
        };
        let rig = Self {
            produce: ProducePath::start(produce, &metrics, &tasks, &CancellationToken::new()),
            fetch: Arc::new(FetchPath::start(fetch, &metrics, &tasks, &stopping)),
            topic: create_topic(&client, &view).await,
            store,
            engine,
            client,
            memory,
            stopping,
            tasks,
            polite,
            view,
            presence,
            service,
        };
        rig.store.set_plan(plan);
        rig.engine.set_faults(faults);
        rig
    }

    /// A fetch path as a process has it that was started just now: nothing is resident or fresh.
    pub(crate) async fn newcomer(&self) -> FetchPath {
        self.newcomer_beside(None).await
    }

    /// The same with `peers` to ask.
    pub(crate) async fn newcomer_beside(&self, peers: Option<Arc<Peers>>) -> FetchPath {
        let cache = BlockCache::new(self.polite.clone(), 32 << 20);
        self.newcomer_with(Chunks::new(cache, peers)).await
    }

    /// The same that reads chunks in a way of its own.
    pub(crate) async fn newcomer_with(&self, chunks: Chunks) -> FetchPath {
        let view = View::start(self.client.clone(), &self.tasks, CancellationToken::new());
        view.ready().await;
        let fetch = FetchParts {
            client: self.client.clone(),
            view,
            fresh: Arc::new(Fresh::new(0)),
            chunks,
            lineages: self.service.cluster().lineages(),
            memory: self.memory.clone(),
            seed: 2,
        };
        FetchPath::start(fetch, &Metrics::default(), &self.tasks, &self.stopping)
    }

    pub(crate) async fn calm() -> Self {
        Self::new(FlushRule::BUCKET, u64::MAX, Trouble::none()).await
    }

    /// Nothing goes wrong, and every PUT takes 60 ms.
    pub(crate) async fn slow() -> Self {
        let trouble = Trouble {
            store: FaultPlan {
                latency_median: Duration::from_millis(60),
                ..FaultPlan::none()
            },
            ..Trouble::none()
        };
        Self::new(FlushRule::BUCKET, u64::MAX, trouble).await
    }

    /// Tells segments' keys.
    pub(crate) fn lineages(&self) -> Lineages {
        self.service.cluster().lineages()
    }

    pub(crate) fn partition(&self, index: i32) -> TopicPartition {
        TopicPartition::new(self.topic, index)
    }

    /// Enqueues one request with a batch for each entry, by partition.
    pub(crate) fn send(&self, seat: &Seat, batches: &[(i32, Bytes)]) -> Arc<Completion> {
        let completion = Completion::new(batches.len(), MemoryPermit::empty());
        let batches = batches
            .iter()
            .enumerate()
            .map(|(number, (index, bytes))| Batch {
                partition: self.partition(*index),
                header: BatchHeader::parse(bytes).unwrap(),
                bytes: bytes.clone(),
                log_append_time: false,
                ticket: Ticket::new(&completion, number),
            });
        self.produce.enqueue(seat, batches.collect(), &completion);
        completion
    }

    /// Sends one batch and waits for its outcome.
    pub(crate) async fn write(&self, index: i32, bytes: &Bytes) -> Outcome {
        let completion = self.send(&Seat::default(), &[(index, bytes.clone())]);
        completion.done().await;
        completion.outcome(0).unwrap()
    }

    /// A fetch of one partition that waits up to `wait`.
    pub(crate) fn fetch_of(&self, index: i32, fetch_offset: Offset, wait: Duration) -> Fetch {
        let position = Position {
            partition: self.partition(index),
            fetch_offset,
            max_bytes: 1 << 20,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
        };
        Fetch {
            positions: vec![Ok(position)],
            isolation: Isolation::ReadUncommitted,
            min_bytes: 1,
            max_bytes: 1 << 20,
            deadline: Instant::now() + wait,
        }
    }

    /// Reads a partition from `from` to its end as it is now.
    pub(crate) async fn read(&self, index: i32, from: Offset) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut at = from;
        loop {
            let fetch = self.fetch_of(index, at, Duration::ZERO);
            let mut answers = self.fetch.fetch(&fetch).await;
            let Answered {
                records,
                offset_count,
                ..
            } = answers.remove(0);
            if records.is_empty() {
                return bytes;
            }
            bytes.extend_from_slice(&records.into_bytes());
            at += i64::try_from(offset_count).unwrap();
        }
    }
}

async fn create_topic(client: &Client, view: &View) -> TopicId {
    let id = TopicId::from_bytes([9; 16]);
    loop {
        let topic = NewTopic {
            id,
            name: "topic".to_owned(),
            partition_count: 4,
            replication_factor: 1,
            configs: BTreeMap::new(),
        };
        match client.create_topic(topic).await {
            Ok((_, revision)) => {
                view.wait_revision(revision).await;
                return id;
            }
            Err(RequestError::Unavailable) => client.wait_for_owner().await.unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A batch of one record that says `value`.
pub(crate) fn batch(value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(START_MS, None, Some(value.as_bytes()));
    builder.build().unwrap()
}

/// A batch of one record of an idempotent producer.
pub(crate) fn sequenced(producer: i64, sequence: i32, value: &str) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None).producer(producer, 0, sequence);
    builder.append(START_MS, None, Some(value.as_bytes()));
    builder.build().unwrap()
}
