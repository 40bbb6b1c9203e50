//! From settings to a broker that can serve: store, metadata, picture, paths.

use std::net::SocketAddr;
use std::sync::Arc;

use floe_metadata::client::view::View;
use floe_metadata::cluster::NewCluster;
use floe_metadata::ownership::{Exclusion, OwnerId};
use floe_metadata::service::{EngineChoice, Service, ServiceConfig};
use floe_metadata::state::StateConfig;
use floe_metadata::steady_clock::SteadyClock;
use floe_storage::cache::BlockCache;
use floe_storage::clock::Clock;
use floe_storage::store::{Store, StoreOptions, StoreUrl};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StartError;
use crate::admin::Health;
use crate::admin::alive::{AskOverHttp, nonce_text};
use crate::broker::{Broker, ConnectionLimits, Random};
use crate::config::{Config, FlushConfig};
use crate::dispatch::HANDLED;
use crate::fetch::{FetchParts, FetchPath, Fresh};
use crate::handlers::init_producer_id::ProducerIds;
use crate::memory::{MemoryBudget, MemoryPlan};
use crate::metrics::Metrics;
use crate::metrics::collect::{MemoryFigures, StoreRequests};
use crate::node;
use crate::produce::{FlushRule, ProduceParts, ProducePath, UploadLimits};
use crate::server::Listener;

/// Who this process is to other processes, and all random numbers it starts with.
pub(super) struct Identity {
    owner: OwnerId,
    new_cluster: NewCluster,
    seeds: Seeds,
    metrics: Metrics,
}

/// Each part draws from a sequence of its own.
struct Seeds {
    store: u64,
    metadata: u64,
    hashes: u64,
    topics: u64,
    sessions: u64,
}

impl Identity {
    pub(super) fn new(config: &Config, http: SocketAddr) -> Self {
        let mut random = StdRng::seed_from_u64(config.seed);
        Self {
            owner: OwnerId {
                address: node::outward(http).to_string(),
                nonce: random.random(),
            },
            new_cluster: NewCluster {
                lineage: random.random(),
                id: random.random(),
            },
            seeds: Seeds {
                store: random.random(),
                metadata: random.random(),
                hashes: random.random(),
                topics: random.random(),
                sessions: random.random(),
            },
            metrics: Metrics::new(HANDLED),
        }
    }

    /// What is told over HTTP from the first moment on.
    pub(super) fn health(&self) -> Arc<Health> {
        Health::new(nonce_text(self.owner.nonce), self.metrics.clone())
    }
}

/// What can serve.
pub(super) struct Opened {
    pub(super) broker: Arc<Broker>,
    pub(super) metadata: Service,
}

/// Opens the store and everything over it; tasks run until `ended`, fetches wait until `stopping`.
pub(super) async fn open(
    config: &Config,
    listeners: &[Listener],
    identity: Identity,
    tasks: &TaskTracker,
    ended: &CancellationToken,
    stopping: &CancellationToken,
) -> Result<Opened, StartError> {
    let options = StoreOptions {
        jitter_seed: identity.seeds.store,
        ..StoreOptions::default()
    };
    let store = Store::open(&config.store, options).await?;
    let clock = Clock::system();
    let metadata = start_metadata(config, &identity, &store, &clock, tasks).await?;
    let client = metadata.client();
    let view = View::start(client.clone(), tasks, ended.clone());
    tokio::select! {
        biased;
        () = view.ready() => {}
        reason = metadata.stopped() => {
            return Err(StartError::Lost { store: config.store.clone(), reason });
        }
    }
    let plan = MemoryPlan::new(config.memory_limit.0);
    let memory = MemoryBudget::new(&plan);
    let cache = BlockCache::new(store.clone(), plan.cache_bytes);
    let metrics = identity.metrics;
    metrics.register_collector(Box::new(StoreRequests(store.clone())));
    let figures = MemoryFigures {
        budget: memory.clone(),
        cache: cache.clone(),
    };
    metrics.register_collector(Box::new(figures));
    let lineage = metadata.cluster().lineage;
    let fresh = Arc::new(Fresh::new(
        u64::try_from(plan.fresh_bytes).unwrap_or(u64::MAX),
    ));
    let produce = ProduceParts {
        client: client.clone(),
        store,
        lineage,
        fresh: Arc::clone(&fresh),
        clock: clock.clone(),
        rule: flush_rule(&config.store, config.flush),
        uploads: UploadLimits::default(),
    };
    let fetch = FetchParts {
        client: client.clone(),
        view: Arc::clone(&view),
        fresh,
        cache,
        lineage,
        memory: memory.clone(),
        seed: identity.seeds.sessions,
    };
    let node_id = listeners
        .first()
        .map_or(1, |first| node::node_id(&node::identity(first)));
    let broker = Broker {
        cluster_id: metadata.cluster().id.clone(),
        node_id,
        zone: config.zone.clone(),
        settings: config.settings.clone(),
        produce: ProducePath::start(produce, &metrics, tasks, ended),
        fetch: FetchPath::start(fetch, &metrics, tasks, stopping),
        metadata: client,
        view,
        metrics,
        clock,
        memory,
        limits: ConnectionLimits::new(&config.settings),
        random: Random::new(identity.seeds.topics),
        producer_ids: ProducerIds::default(),
        derived: node::derived_settings(node_id, config.zone.as_ref(), &config.store, listeners),
    };
    Ok(Opened {
        broker: Arc::new(broker),
        metadata,
    })
}

async fn start_metadata(
    config: &Config,
    identity: &Identity,
    store: &Store,
    clock: &Clock,
    tasks: &TaskTracker,
) -> Result<Service, StartError> {
    let exclusion = match &config.store {
        StoreUrl::Folder(folder) => Exclusion::Folder(folder.clone()),
        StoreUrl::S3 { .. } | StoreUrl::Memory => Exclusion::Ask(Arc::new(AskOverHttp)),
    };
    let service = ServiceConfig {
        store: store.clone(),
        engine: EngineChoice::embedded(&config.store),
        exclusion,
        owner: identity.owner.clone(),
        new_cluster: identity.new_cluster,
        state: state_config(config, identity),
        clock: clock.clone(),
        steady: SteadyClock::system(),
        seed: identity.seeds.metadata,
    };
    Service::start(service, tasks)
        .await
        .map_err(|source| StartError::Metadata {
            store: config.store.clone(),
            source,
        })
}

fn state_config(config: &Config, identity: &Identity) -> StateConfig {
    let defaults = StateConfig::default();
    let plan = MemoryPlan::new(config.memory_limit.0);
    let expiration = defaults.producer_id_expiration_ms;
    StateConfig {
        hash_seed: identity.seeds.hashes,
        producer_states_bytes_max: defaults.producer_states_bytes_max.min(plan.engine_bytes),
        producer_id_expiration_ms: config
            .settings
            .integer("producer.id.expiration.ms", expiration),
        ..defaults
    }
}

/// When a segment is sealed: as asked, else as suits the kind of store.
fn flush_rule(store: &StoreUrl, flush: FlushConfig) -> FlushRule {
    let rule = match store {
        StoreUrl::Folder(_) | StoreUrl::Memory => FlushRule::FOLDER,
        StoreUrl::S3 { .. } => FlushRule::BUCKET,
    };
    FlushRule {
        segment_bytes: flush.bytes.0,
        linger: flush.interval.unwrap_or(rule.linger),
        early_bytes: rule.early_bytes.min(flush.bytes.0),
        ..rule
    }
}
