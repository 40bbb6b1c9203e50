//! From settings to a broker that can serve: store, metadata, picture, paths.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use floe_metadata::api::groups::{Assignor, ConsumerConfig, GroupConfig};
use floe_metadata::cluster::NewCluster;
use floe_metadata::ownership::{Exclusion, OwnerId};
use floe_metadata::rpc::network::{Incoming, Tcp};
use floe_metadata::service::{EngineChoice, Service, ServiceConfig};
use floe_metadata::state::StateConfig;
use floe_metadata::steady_clock::SteadyClock;
use floe_storage::clock::Clock;
use floe_storage::store::{OpenError, Store, StoreOptions, StoreUrl};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::StartError;
use super::assemble::{AssembleError, Assembled, Lifetime, PartTaker, Parts, assemble, take_part};
use crate::admin::Health;
use crate::broker::Broker;
use crate::compaction::{Compaction, CompactionConfig};
use crate::config::{Config, FlushConfig, MetadataUrl};
use crate::dispatch::HANDLED;
use crate::memory::MemoryPlan;
use crate::metrics::Metrics;
use crate::node;
use crate::presence::Presence;
use crate::produce::{FlushRule, UploadLimits};
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
    pub(super) fn new(config: &Config, internal: SocketAddr) -> Self {
        let mut random = StdRng::seed_from_u64(config.seed);
        Self {
            owner: OwnerId {
                address: node::outward(internal).to_string(),
                nonce: random.random(),
            },
            new_cluster: NewCluster {
                lineage: random.random(),
                id: random.random(),
                secret: random.random(),
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
        Health::new(self.metrics.clone())
    }
}

/// A process that takes part in its cluster.
pub(super) struct Opened {
    /// Absent without the agent role.
    pub(super) broker: Option<Arc<Broker>>,
    pub(super) presence: Arc<Presence>,
    pub(super) metadata: Service,
    /// Absent without the compaction role.
    pub(super) compaction: Option<Compaction>,
}

/// Opens the store and takes part in its cluster, with a broker on top if this is an agent.
pub(super) async fn open(
    config: &Config,
    listeners: &[Listener],
    incoming: Incoming,
    identity: Identity,
    lifetime: &Lifetime,
) -> Result<Opened, StartError> {
    let options = StoreOptions {
        jitter_seed: identity.seeds.store,
        ..StoreOptions::default()
    };
    let store = Store::open(&config.store, options).await?;
    let metadata_failed = |source| StartError::Metadata {
        store: config.store.clone(),
        source,
    };
    if !config.roles.agent {
        let parts = PartTaker {
            service: service_config(config, &identity, store),
            zone: config.zone.clone(),
            settings: config.settings.clone(),
            metrics: identity.metrics,
            compaction: compaction_config(config),
        };
        let part = take_part(parts, incoming, lifetime).await;
        let (presence, metadata, compaction) = part.map_err(metadata_failed)?;
        return Ok(Opened {
            broker: None,
            presence,
            metadata,
            compaction,
        });
    }
    let node_id = listeners
        .first()
        .map_or(1, |first| node::node_id(&node::identity(first)));
    let parts = Parts {
        service: service_config(config, &identity, store),
        settings: config.settings.clone(),
        memory: MemoryPlan::new(config.memory_limit.0),
        rule: flush_rule(&config.store, config.flush),
        uploads: UploadLimits::default(),
        node_id,
        zone: config.zone.clone(),
        brokers: listeners
            .iter()
            .map(|listener| node::broker_address(node_id, listener))
            .collect(),
        derived: node::derived_settings(node_id, config.zone.as_ref(), &config.store, listeners),
        topics_seed: identity.seeds.topics,
        sessions_seed: identity.seeds.sessions,
        metrics: identity.metrics,
        compaction: compaction_config(config),
    };
    match assemble(parts, incoming, lifetime).await {
        Ok(Assembled {
            broker,
            metadata,
            compaction,
        }) => Ok(Opened {
            presence: Arc::clone(&broker.presence),
            broker: Some(broker),
            metadata,
            compaction,
        }),
        Err(AssembleError::Metadata(source)) => Err(metadata_failed(source)),
        Err(AssembleError::Lost(reason)) => Err(StartError::Lost {
            store: config.store.clone(),
            reason,
        }),
    }
}

/// How the compaction role is set up; `None` without the role.
fn compaction_config(config: &Config) -> Option<CompactionConfig> {
    let folder = match &config.store {
        StoreUrl::Folder(folder) => Some(folder.clone()),
        StoreUrl::Bucket { .. } | StoreUrl::Memory => None,
    };
    let wanted = config.roles.compaction;
    wanted.then(|| CompactionConfig::of(&config.settings, folder, config.memory_limit.0))
}

/// What a command needs that looks after the metadata of a cluster and serves nobody.
pub(crate) async fn transfer_config(config: &Config) -> Result<ServiceConfig, OpenError> {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut identity = Identity::new(config, nowhere);
    // No address: nobody can ask whether it is still there.
    "floe-meta".clone_into(&mut identity.owner.address);
    let options = StoreOptions {
        jitter_seed: identity.seeds.store,
        ..StoreOptions::default()
    };
    let store = Store::open(&config.store, options).await?;
    Ok(service_config(config, &identity, store))
}

fn service_config(config: &Config, identity: &Identity, store: Store) -> ServiceConfig {
    let exclusion = match &config.store {
        StoreUrl::Folder(folder) => Exclusion::Folder(folder.clone()),
        StoreUrl::Bucket { .. } | StoreUrl::Memory => Exclusion::Shared,
    };
    ServiceConfig {
        store,
        engine: match &config.metadata {
            MetadataUrl::Store => EngineChoice::embedded(&config.store),
            MetadataUrl::Postgres(url) => EngineChoice::Postgres(url.clone()),
        },
        exclusion,
        owner: identity.owner.clone(),
        may_own: config.roles.metadata,
        dial: Tcp::dialer(),
        new_cluster: identity.new_cluster,
        state: state_config(config, identity),
        clock: Clock::system(),
        steady: SteadyClock::system(),
        seed: identity.seeds.metadata,
    }
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
        offsets_retention_ms: config
            .settings
            .integer("offsets.retention.minutes", 7 * 24 * 60)
            .saturating_mul(60_000),
        groups: group_config(config, defaults.groups),
        feature_level: config.feature_level,
        ..defaults
    }
}

fn group_config(config: &Config, defaults: GroupConfig) -> GroupConfig {
    let settings = &config.settings;
    let milliseconds = |name, otherwise: Duration| {
        let otherwise_ms = i64::try_from(otherwise.as_millis()).unwrap_or(i64::MAX);
        let value = settings.integer(name, otherwise_ms);
        Duration::from_millis(u64::try_from(value).unwrap_or_default())
    };
    let delay = defaults.initial_rebalance_delay;
    let (shortest, longest) = (defaults.session_timeout_min, defaults.session_timeout_max);
    let members_max = settings.integer("group.max.size", i64::from(i32::MAX));
    GroupConfig {
        initial_rebalance_delay: milliseconds("group.initial.rebalance.delay.ms", delay),
        session_timeout_min: milliseconds("group.min.session.timeout.ms", shortest),
        session_timeout_max: milliseconds("group.max.session.timeout.ms", longest),
        members_max: usize::try_from(members_max).unwrap_or(usize::MAX),
        consumer: consumer_config(config, defaults.consumer.clone()),
        ..defaults
    }
}

/// Settings of groups of the consumer protocol.
fn consumer_config(config: &Config, defaults: ConsumerConfig) -> ConsumerConfig {
    let settings = &config.settings;
    let members_max = settings.integer("group.consumer.max.size", i64::from(i32::MAX));
    let milliseconds = |name, otherwise: Duration| {
        let otherwise_ms = i64::try_from(otherwise.as_millis()).unwrap_or(i64::MAX);
        let value = settings.integer(name, otherwise_ms);
        Duration::from_millis(u64::try_from(value).unwrap_or_default())
    };
    let session = defaults.session_timeout;
    let interval = defaults.heartbeat_interval;
    let policy = settings.value("group.consumer.migration.policy");
    let policy = policy.unwrap_or("bidirectional").to_ascii_lowercase();
    let assignors = settings.value("group.consumer.assignors");
    let assignors: Vec<_> = assignors
        .unwrap_or_default()
        .split(',')
        .filter_map(|name| Assignor::by_name(name.trim()))
        .collect();
    ConsumerConfig {
        session_timeout: milliseconds("group.consumer.session.timeout.ms", session),
        heartbeat_interval: milliseconds("group.consumer.heartbeat.interval.ms", interval),
        members_max: usize::try_from(members_max).unwrap_or(usize::MAX),
        assignors: if assignors.is_empty() {
            defaults.assignors
        } else {
            assignors
        },
        upgrades: matches!(policy.as_str(), "bidirectional" | "upgrade"),
        downgrades: matches!(policy.as_str(), "bidirectional" | "downgrade"),
        ..defaults
    }
}

/// When a segment is sealed: as asked, else as suits the kind of store.
fn flush_rule(store: &StoreUrl, flush: FlushConfig) -> FlushRule {
    let rule = match store {
        StoreUrl::Folder(_) | StoreUrl::Memory => FlushRule::FOLDER,
        StoreUrl::Bucket { .. } => FlushRule::BUCKET,
    };
    FlushRule {
        segment_bytes: flush.bytes.0,
        linger: flush.interval.unwrap_or(rule.linger),
        early_bytes: rule.early_bytes.min(flush.bytes.0),
        ..rule
    }
}
