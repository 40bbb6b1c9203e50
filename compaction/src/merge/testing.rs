//! A cluster of one process over a store and an engine in memory, what was produced to it, and a reader
//! that compares.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "tests count in small numbers"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use floe_metadata::api::objects::SegmentSummary;
use floe_metadata::api::{BatchResult, CommitRequest, Extent, NewProcess, NewTopic, Registration};
use floe_metadata::client::{BEAT, Client};
use floe_metadata::cluster::NewCluster;
use floe_metadata::engine::memory::{Faults, MemoryEngine};
use floe_metadata::ownership::{Exclusion, OwnerId};
use floe_metadata::rpc::network::Tcp;
use floe_metadata::service::{EngineChoice, Service, ServiceConfig};
use floe_metadata::state::StateConfig;
use floe_metadata::steady_clock::SteadyClock;
use floe_protocol::checksum;
use floe_protocol::compression::Compression;
use floe_protocol::record_batch::{BatchBuilder, BatchHeader, CRC_START_BYTES};
use floe_protocol::types::{Offset, TopicId, TopicPartition};
use floe_storage::clock::Clock;
use floe_storage::key::Lineages;
use floe_storage::segment::{SegmentId, Writer};
use floe_storage::store::fault::{FaultPlan, FaultStore};
use floe_storage::store::{Caller, Store, StoreOptions};
use floe_storage::tasks::Tasks;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::{MergeConfig, Merger, Names};
use crate::planner::{JobSpec, PlannerConfig, plan};

pub(crate) const START_MS: i64 = 1_700_000_000_000;

/// Batches of a partition with their final offsets, by offset.
type Log = BTreeMap<Offset, Bytes>;

pub(crate) struct World {
    pub(crate) base: Arc<InMemory>,
    pub(crate) faults: FaultStore,
    pub(crate) store: Store,
    pub(crate) client: Client,
    pub(crate) lineages: Lineages,
    pub(crate) clock: Clock,
    pub(crate) logs: BTreeMap<TopicPartition, Log>,
    registration: Registration,
    counter: Arc<AtomicU64>,
    _service: Service,
    _tasks: Tasks,
}

pub(crate) fn partition(topic: u8, index: i32) -> TopicPartition {
    TopicPartition::new(TopicId::from_bytes([topic; 16]), index)
}

impl World {
    /// Topics 1 and 2 of three partitions each.
    pub(crate) async fn new(seed: u64) -> Self {
        let base = Arc::new(InMemory::new());
        let faults = FaultStore::new(base.clone(), FaultPlan::none(), seed);
        let (options, root) = (StoreOptions::default(), Path::default());
        let store = Store::new(Arc::new(faults.clone()), &root, &options, seed);
        let (clock, tasks) = (Clock::simulated(START_MS), Tasks::new());
        let config = ServiceConfig {
            store: store.clone(),
            engine: EngineChoice::Memory(MemoryEngine::new(seed, Faults::none())),
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
        let service = Service::start(config, &tasks).await.unwrap();
        let client = service.client();
        client.wait_for_owner().await.unwrap();
        let registration = client.register(process()).await.unwrap();
        // Who is not heard is forgotten, and its names with it.
        let beating = client.clone();
        tasks.spawn(async move {
            while let Ok(true) | Err(_) = beating.beat(registration.incarnation, 0).await {
                tokio::time::sleep(BEAT).await;
            }
        });
        let mut logs = BTreeMap::new();
        for topic in [1, 2] {
            let new = NewTopic {
                id: TopicId::from_bytes([topic; 16]),
                name: format!("topic-{topic}"),
                partition_count: 3,
                replication_factor: 1,
                configs: BTreeMap::new(),
            };
            client.create_topic(new).await.unwrap();
            logs.extend((0..3).map(|index| (partition(topic, index), Log::new())));
        }
        Self {
            base,
            faults,
            store,
            lineages: service.cluster().lineage.into(),
            client,
            clock,
            logs,
            registration,
            counter: Arc::default(),
            _service: service,
            _tasks: tasks,
        }
    }

    pub(crate) fn merger(&self, config: MergeConfig) -> Merger {
        let (counter, registration) = (Arc::clone(&self.counter), self.registration);
        Merger {
            client: self.client.clone(),
            store: self.store.clone(),
            lineages: self.lineages.clone(),
            names: Names {
                next: Box::new(move || Some(name(&counter, registration))),
                refused: Box::new(|id| panic!("{id} was refused")),
            },
            clock: self.clock.clone(),
            config,
        }
    }

    /// Commits a segment of one batch each: partition, records, bytes of each record. Partitions that do
    /// not exist are refused and become dead weight.
    pub(crate) async fn produce(
        &mut self,
        batches: &[(TopicPartition, usize, usize)],
    ) -> SegmentId {
        let mut batches = batches.to_vec();
        batches.sort_by_key(|(partition, ..)| *partition);
        let id = name(&self.counter, self.registration);
        let mut writer = Writer::new(id, 0, self.clock.now_ms());
        let mut pushed = Vec::new();
        for (to, records, value_bytes) in batches {
            let mut builder = BatchBuilder::new(Compression::None);
            let value = vec![b'a' + (id.counter % 26) as u8; value_bytes];
            for number in 0..records {
                builder.append(START_MS + number as i64, Some(b"key"), Some(&value));
            }
            let bytes = builder.build().unwrap();
            writer.push(
                to,
                &BatchHeader::parse(&bytes).unwrap(),
                bytes.clone(),
                None,
            );
            pushed.push((to, bytes));
        }
        let sealed = writer.seal();
        let path = self.lineages.segment(0, id);
        let chunks = sealed.payload.chunks().to_vec();
        self.store
            .put_create(&path, chunks, Caller::Produce)
            .await
            .unwrap();
        let request = CommitRequest {
            segment: id,
            size_bytes: sealed.size_bytes,
            index: sealed.index,
        };
        let reply = self.client.commit(request).await.unwrap();
        for ((to, bytes), result) in pushed.into_iter().zip(reply.results) {
            let Some(log) = self.logs.get_mut(&to) else {
                assert!(matches!(result, BatchResult::Rejected(_)), "{result:?}");
                continue;
            };
            let BatchResult::Committed { base_offset, .. } = result else {
                panic!("{result:?}");
            };
            log.insert(base_offset, with_offset(&bytes, base_offset));
        }
        id
    }

    pub(crate) async fn delete_topic(&mut self, topic: u8) {
        let id = TopicId::from_bytes([topic; 16]);
        self.client.delete_topic(id).await.unwrap();
        self.logs.retain(|partition, _| partition.topic != id);
    }

    /// Moves the start of a log to the batch in the middle of it.
    pub(crate) async fn move_log_start(&mut self, of: TopicPartition) {
        let Some(log) = self.logs.get_mut(&of) else {
            return;
        };
        let Some(start) = log.keys().nth(log.len() / 2).copied() else {
            return;
        };
        let moved = self.client.move_log_starts(vec![(of, start)]).await;
        moved.unwrap();
        *log = log.split_off(&start);
    }

    pub(crate) async fn live(&self) -> Vec<SegmentSummary> {
        self.client.segments(u8::MAX).await.unwrap()
    }

    /// Live segments by level: 0, 1, 2.
    pub(crate) async fn levels(&self) -> [usize; 3] {
        let mut levels = [0; 3];
        for segment in self.live().await {
            levels[usize::from(segment.level)] += 1;
        }
        levels
    }

    pub(crate) async fn plan(&self, config: &PlannerConfig) -> Vec<JobSpec> {
        let live = self.client.segments(crate::planner::FINAL_LEVEL).await;
        plan(&live.unwrap(), |_| false, self.clock.now_ms(), config)
    }

    /// All live level 0 segments as one job.
    pub(crate) async fn all_of_level(&self, from_level: u8) -> JobSpec {
        let live = self.live().await;
        let sources = live.iter().filter(|segment| segment.level == from_level);
        JobSpec {
            sources: sources.map(|segment| segment.commit).collect(),
            from_level,
            level: from_level + 1,
            size_bytes: 1,
        }
    }

    pub(crate) async fn extents(&self, of: TopicPartition) -> Vec<Extent> {
        let mut extents = Vec::new();
        let mut from = 0;
        loop {
            let found = self.client.look_up(of, from, 3).await.unwrap();
            let Some(last) = found.extents.last() else {
                return extents;
            };
            from = last.end_offset;
            extents.extend(found.extents);
        }
    }

    /// Reads everything there is and compares it with what was produced.
    pub(crate) async fn check(&self, when: &str) {
        for (of, log) in &self.logs {
            let mut read = Log::new();
            let mut next = None;
            for extent in self.extents(*of).await {
                assert!(
                    next.is_none_or(|next| next == extent.base_offset),
                    "{when}: {of} has a hole before {extent:?}"
                );
                next = Some(extent.end_offset);
                read.extend(self.read(&extent).await);
            }
            // Extents go as a whole: batches before the start of the log may still lie in the first.
            let start = log.keys().next().copied().unwrap_or(Offset::MAX);
            let read = read.split_off(&start);
            assert_eq!(read.len(), log.len(), "{when}: batches of {of}");
            assert!(read == *log, "{when}: {of} reads differently");
        }
    }

    async fn read(&self, extent: &Extent) -> Log {
        let path = self.lineages.segment(extent.level, extent.segment);
        let end = extent.position_bytes + u64::from(extent.length_bytes);
        let range = extent.position_bytes..end;
        let mut bytes = self
            .store
            .get_range(&path, range, Caller::Fetch)
            .await
            .unwrap();
        let mut log = Log::new();
        let mut next = extent.base_offset;
        while !bytes.is_empty() {
            let header = BatchHeader::parse(&bytes).unwrap();
            let batch = bytes.split_to(header.size_bytes());
            assert_eq!(checksum::crc32c(&batch[CRC_START_BYTES..]), header.crc);
            let base_offset = if extent.level == 0 {
                next
            } else {
                header.base_offset
            };
            assert!(base_offset >= next, "{extent:?}");
            next = base_offset + i64::from(header.offset_count());
            log.insert(base_offset, with_offset(&batch, base_offset));
        }
        assert_eq!(next, extent.end_offset);
        log
    }

    /// Changes the bytes of an object as no program of ours would.
    pub(crate) async fn tamper(&self, level: u8, id: SegmentId, with: impl FnOnce(&mut Vec<u8>)) {
        let path = self.lineages.segment(level, id);
        let bytes = self.base.get(&path).await.unwrap().bytes().await.unwrap();
        let mut bytes = bytes.to_vec();
        with(&mut bytes);
        self.base.put(&path, bytes.into()).await.unwrap();
    }

    pub(crate) async fn delete_object(&self, level: u8, id: SegmentId) -> Bytes {
        let path = self.lineages.segment(level, id);
        let bytes = self.base.get(&path).await.unwrap().bytes().await.unwrap();
        self.base.delete(&path).await.unwrap();
        bytes
    }

    pub(crate) async fn restore_object(&self, level: u8, id: SegmentId, bytes: Bytes) {
        let path = self.lineages.segment(level, id);
        self.base.put(&path, bytes.into()).await.unwrap();
    }
}

fn name(counter: &AtomicU64, registration: Registration) -> SegmentId {
    SegmentId {
        write_epoch: registration.write_epoch,
        incarnation: registration.incarnation,
        counter: counter.fetch_add(1, Ordering::Relaxed),
    }
}

fn process() -> NewProcess {
    NewProcess {
        nonce: [1; 16],
        attempt: 0,
        internal: "here".to_owned(),
        zone: None,
        brokers: Vec::new(),
        feature_level: floe_metadata::api::FEATURE_LEVEL,
    }
}

fn with_offset(batch: &[u8], base_offset: Offset) -> Bytes {
    let mut batch = batch.to_vec();
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[12..16].fill(0);
    batch.into()
}
