//! From a store and a metadata service to a broker that can serve. Nothing here knows of sockets,
//! clocks or seeds of its own, so that a simulation assembles the same broker over a faulty world.

use std::collections::BTreeMap;
use std::sync::Arc;

use floe_metadata::api::{BrokerAddress, NewProcess};
use floe_metadata::client::view::View;
use floe_metadata::feature_level::FeatureLevels;
use floe_metadata::rpc::network::Incoming;
use floe_metadata::rpc::{Routes, serve};
use floe_metadata::service::{
    Prepared, Service, ServiceConfig, StartError as MetadataError, StopReason,
};
use floe_protocol::types::NodeId;
use floe_storage::cache::BlockCache;
use floe_storage::tasks::Tasks;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, ConnectionLimits, Random};
use crate::compaction::{Compaction, CompactionConfig, CompactionParts};
use crate::fetch::{Chunks, FetchParts, FetchPath, Fresh};
use crate::handlers::init_producer_id::ProducerIds;
use crate::memory::{MemoryBudget, MemoryPlan};
use crate::metrics::Metrics;
use crate::metrics::collect::{ClusterFigures, MemoryFigures, StoreRequests};
use crate::peers::{PeerMetrics, PeerServer, PeerServerParts, Peers, PeersParts};
use crate::presence::Presence;
use crate::produce::{FlushRule, ProduceParts, ProducePath, UploadLimits};
use crate::topic_config::{BrokerSettings, DynamicSettings};

/// What a broker is assembled from.
#[derive(Debug)]
pub struct Parts {
    /// The metadata service to start; its store and clock are the broker's too.
    pub service: ServiceConfig,
    /// Settings under Kafka's names.
    pub settings: BrokerSettings,
    /// How memory is divided.
    pub memory: MemoryPlan,
    /// When a segment is sealed.
    pub rule: FlushRule,
    /// How much is stored at once.
    pub uploads: UploadLimits,
    /// Id of this broker as clients are told.
    pub node_id: NodeId,
    /// The zone of this process.
    pub zone: Option<String>,
    /// What clients of each listener are told of this broker.
    pub brokers: Vec<BrokerAddress>,
    /// What is told about how this broker was started, under Kafka's names.
    pub derived: BTreeMap<&'static str, String>,
    /// Seed of topic ids.
    pub topics_seed: u64,
    /// Seed of fetch session ids.
    pub sessions_seed: u64,
    /// Where all counts go.
    pub metrics: Metrics,
    /// How the compaction role is set up, if this process has it.
    pub compaction: Option<CompactionConfig>,
}

/// What ends the parts of a broker.
#[derive(Clone, Debug)]
pub struct Lifetime {
    /// Runs the broker's tasks.
    pub tasks: Tasks,
    /// Ends all tasks that do not end by themselves.
    pub ended: CancellationToken,
    /// Ends the waiting of fetches, and of members of groups.
    pub stopping: CancellationToken,
}

/// A broker that can serve, and its metadata service.
#[derive(Debug)]
pub struct Assembled {
    /// What request handlers see.
    pub broker: Arc<Broker>,
    /// Owns the cluster's order until it is released.
    pub metadata: Service,
    /// The compaction role, if this process has it.
    pub compaction: Option<Compaction>,
}

/// Why no broker came of it.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The metadata service did not start.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// It started and stopped again before the first picture came.
    #[error("{0}")]
    Lost(StopReason),
}

/// What a process that serves no clients is assembled from.
#[derive(Debug)]
pub(crate) struct PartTaker {
    pub(crate) service: ServiceConfig,
    pub(crate) zone: Option<String>,
    pub(crate) settings: BrokerSettings,
    pub(crate) metrics: Metrics,
    pub(crate) compaction: Option<CompactionConfig>,
}

/// Takes part in a cluster without serving clients: answers other processes, owns the sequencer whenever
/// that falls to this process, is registered, and does what belongs to the compaction role.
///
/// # Errors
/// Metadata could not be had.
pub(crate) async fn take_part(
    parts: PartTaker,
    incoming: Incoming,
    lifetime: &Lifetime,
) -> Result<(Arc<Presence>, Service, Option<Compaction>), MetadataError> {
    let PartTaker {
        service,
        zone,
        settings,
        metrics,
        compaction,
    } = parts;
    let (store, clock) = (service.store.clone(), service.clock.clone());
    metrics.register_collector(Box::new(StoreRequests(store.clone())));
    let told = told(&service, zone, Vec::new());
    let steady = service.steady.clone();
    let Lifetime {
        tasks,
        ended,
        stopping,
    } = lifetime;
    let prepared = Prepared::new(service, tasks).await?;
    let lineages = prepared.cluster().lineages();
    let routes = Routes::new(prepared.grpc());
    let metadata = join(prepared, incoming, routes, lifetime).await?;
    let client = metadata.client();
    // Who compacts has to know topics, and the newest write epoch for the names of what it makes.
    let view = compaction
        .is_some()
        .then(|| View::start(client.clone(), tasks, ended.clone()));
    let until = ended.clone();
    let presence = Presence::start(
        client.clone(),
        view.clone(),
        told,
        steady.clone(),
        tasks,
        until,
    );
    let parts = compaction.zip(view).map(|(config, view)| CompactionParts {
        config,
        client,
        view,
        presence: Arc::clone(&presence),
        store,
        lineages,
        clock,
        steady,
        settings,
        node_id: NO_NODE,
        metrics,
    });
    let compaction = parts.map(|parts| Compaction::start(parts, tasks, stopping));
    Ok((presence, metadata, compaction))
}

/// The id of a process that is no broker to clients: nothing can be set for it alone.
const NO_NODE: NodeId = -1;

/// What a process tells of itself.
fn told(service: &ServiceConfig, zone: Option<String>, brokers: Vec<BrokerAddress>) -> NewProcess {
    NewProcess {
        nonce: service.owner.nonce,
        attempt: 0,
        internal: service.owner.address.clone(),
        zone,
        brokers,
        feature_level: service.state.feature_level,
    }
}

/// Answers other processes with `routes`, and then takes part.
async fn join(
    prepared: Prepared,
    incoming: Incoming,
    routes: Routes,
    Lifetime { tasks, ended, .. }: &Lifetime,
) -> Result<Service, MetadataError> {
    tasks.spawn(serve(incoming, routes, ended.clone()));
    prepared.join(tasks).await
}

/// Takes part in the cluster, waits for the first picture of it, and puts the paths on top. Other
/// processes come in by `incoming`.
///
/// # Errors
/// Metadata could not be had; see [`AssembleError`].
pub async fn assemble(
    parts: Parts,
    incoming: Incoming,
    lifetime: &Lifetime,
) -> Result<Assembled, AssembleError> {
    let Lifetime {
        tasks,
        ended,
        stopping,
    } = lifetime;
    let (store, clock) = (parts.service.store.clone(), parts.service.clock.clone());
    let (nonce, dial) = (parts.service.owner.nonce, Arc::clone(&parts.service.dial));
    let metrics = parts.metrics;
    let memory = MemoryBudget::new(&parts.memory);
    let catch_up_bytes = parts.memory.cache_bytes / 2;
    let tail_bytes = parts.memory.cache_bytes - catch_up_bytes;
    let cache = BlockCache::with_pools(store.clone(), tail_bytes, catch_up_bytes);
    let fresh_bytes = u64::try_from(parts.memory.fresh_bytes).unwrap_or(u64::MAX);
    let fresh = Arc::new(Fresh::new(fresh_bytes));
    let peer_metrics = PeerMetrics::register(&metrics);
    let known_level = parts.service.state.feature_level;
    let told = told(&parts.service, parts.zone.clone(), parts.brokers);
    let steady = parts.service.steady.clone();
    let prepared = Prepared::new(parts.service, tasks).await?;
    let (secret, lineages) = (prepared.cluster().secret, prepared.cluster().lineages());
    let peer_server = PeerServer::new(PeerServerParts {
        fresh: Arc::clone(&fresh),
        cache: cache.clone(),
        lineages: lineages.clone(),
        memory: memory.clone(),
        tasks: tasks.clone(),
        metrics: peer_metrics.clone(),
    });
    let routes = Routes::new(prepared.grpc()).add_service(peer_server.into_service(secret));
    let metadata = join(prepared, incoming, routes, lifetime).await?;
    let client = metadata.client();
    let view = View::start(client.clone(), tasks, ended.clone());
    tokio::select! {
        biased;
        () = view.ready() => {}
        reason = metadata.stopped() => return Err(AssembleError::Lost(reason)),
    }
    let (kept_view, until) = (Some(Arc::clone(&view)), ended.clone());
    let presence = Presence::start(
        client.clone(),
        kept_view,
        told,
        steady.clone(),
        tasks,
        until,
    );
    let seen = Arc::clone(&view);
    let peers = Peers::new(PeersParts {
        registry: Box::new(move || seen.processes()),
        nonce,
        zone: parts.zone.clone(),
        dial,
        secret,
        metrics: peer_metrics,
    });
    metrics.register_collector(Box::new(StoreRequests(store.clone())));
    let figures = MemoryFigures {
        budget: memory.clone(),
        cache: cache.clone(),
    };
    metrics.register_collector(Box::new(figures));
    let figures = ClusterFigures {
        client: client.clone(),
        view: Arc::clone(&view),
    };
    metrics.register_collector(Box::new(figures));
    let lineage = metadata.cluster().lineage;
    let compaction = parts.compaction.map(|config| CompactionParts {
        config,
        client: client.clone(),
        view: Arc::clone(&view),
        presence: Arc::clone(&presence),
        store: store.clone(),
        lineages: lineages.clone(),
        clock: clock.clone(),
        steady,
        settings: parts.settings.clone(),
        node_id: parts.node_id,
        metrics: metrics.clone(),
    });
    let levels = FeatureLevels::new(client.clone(), store.clone(), lineage, known_level);
    let produce = ProduceParts {
        client: client.clone(),
        presence: Arc::clone(&presence),
        store,
        lineage,
        fresh: Arc::clone(&fresh),
        clock: clock.clone(),
        rule: parts.rule,
        uploads: parts.uploads,
    };
    let fetch = FetchParts {
        client: client.clone(),
        view: Arc::clone(&view),
        fresh,
        chunks: Chunks::new(cache, Some(peers)),
        lineages,
        memory: memory.clone(),
        seed: parts.sessions_seed,
    };
    let broker = Broker {
        cluster_id: metadata.cluster().id.clone(),
        node_id: parts.node_id,
        zone: parts.zone,
        presence,
        produce: ProducePath::start(produce, &metrics, tasks, ended),
        fetch: FetchPath::start(fetch, &metrics, tasks, stopping),
        metadata: client,
        levels,
        view,
        metrics,
        clock,
        memory,
        limits: ConnectionLimits::new(&parts.settings),
        dynamic: DynamicSettings::new(&parts.settings, parts.node_id),
        settings: parts.settings,
        stopping: stopping.clone(),
        random: Random::new(parts.topics_seed),
        producer_ids: ProducerIds::default(),
        derived: parts.derived,
    };
    let compaction = compaction.map(|parts| Compaction::start(parts, tasks, stopping));
    Ok(Assembled {
        broker: Arc::new(broker),
        metadata,
        compaction,
    })
}
