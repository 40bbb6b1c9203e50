//! The metadata service of one process: opens the cluster, takes part in it, serves [`Client`]s, and goes
//! on by itself when the owner or the engine is lost.
//!
//! ```text
//! prepare ─▶ cluster ─▶ answer other processes ─▶ join ─┬─ own: acquire, recover, serve ─┐
//!                                                       └─ follow: carry calls ──────────┴─ stop ─▶ release
//! ```
//!
//! A process that was overtaken follows from then on; what it had not acknowledged is repeated to the new
//! owner. Only damage stops a service unasked, and the process with it.

use std::sync::Arc;
use std::time::Duration;

use floe_storage::clock::Clock;
use floe_storage::key::{self, Lineage};
use floe_storage::latest;
use floe_storage::store::{Store, StoreUrl};
use floe_storage::tasks::Tasks;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use self::member::{Member, Standing};
use self::seeker::Seeker;
use crate::client::{Client, ClientsEnd};
use crate::cluster::{Cluster, ClusterError, NewCluster};
use crate::engine::memory::MemoryEngine;
use crate::engine::postgres::{PostgresEngine, PostgresUrl};
use crate::engine::slatedb::{SlateEngine, SlateOptions};
use crate::engine::{Engine, EngineError};
use crate::ownership::{ClaimError, Exclusion, OwnerId};
use crate::rpc::network::Dial;
use crate::rpc::{Grpc, MetadataServer, Secret};
use crate::state::{DamagedState, StateConfig};
use crate::steady_clock::SteadyClock;

mod member;
mod owner;
mod seeker;

pub(crate) use owner::{Fenced, fence, let_go};

/// Which engine keeps the metadata.
#[derive(Clone, Debug)]
pub enum EngineChoice {
    /// SlateDB in the cluster's own store.
    Store(SlateOptions),
    /// A database that speaks PostgreSQL's protocol.
    Postgres(PostgresUrl),
    /// Memory shared by the handles to it.
    Memory(MemoryEngine),
}

impl EngineChoice {
    /// The embedded engine as it suits the store at `url`.
    #[must_use]
    pub const fn embedded(url: &StoreUrl) -> Self {
        Self::Store(match url {
            StoreUrl::Folder(_) => SlateOptions::folder(),
            StoreUrl::Bucket { .. } | StoreUrl::Memory => SlateOptions::bucket(),
        })
    }

    /// Its name in the cluster's object.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Store(_) => "slatedb",
            Self::Postgres(_) => "postgres",
            Self::Memory(_) => "memory",
        }
    }

    /// The engine of a lineage.
    pub(crate) fn make(
        &self,
        config: &ServiceConfig,
        lineage: Lineage,
        tasks: &Tasks,
    ) -> Arc<dyn Engine> {
        match self {
            Self::Store(options) => Arc::new(SlateEngine::new(
                config.store.object_store(),
                key::meta(lineage),
                *options,
                config.clock.clone(),
                tasks.clone(),
            )),
            Self::Postgres(url) => {
                Arc::new(PostgresEngine::new(url.clone(), lineage, tasks.clone()))
            }
            Self::Memory(engine) => Arc::new(engine.clone()),
        }
    }

    /// Prepares an engine outside of the store for a cluster that does not exist yet, so that later
    /// one that knows nothing of the cluster is told from one that has just begun.
    async fn found(&self, config: &ServiceConfig, tasks: &Tasks) -> Result<(), StartError> {
        let lineage = Lineage(config.new_cluster.lineage);
        if matches!(self, Self::Postgres(_)) && !Cluster::exists(&config.store).await? {
            self.found_lineage(lineage, tasks).await?;
        }
        Ok(())
    }

    /// Prepares an engine outside of the store for a lineage that is about to begin.
    pub(crate) async fn found_lineage(
        &self,
        lineage: Lineage,
        tasks: &Tasks,
    ) -> Result<(), EngineError> {
        match self {
            Self::Postgres(url) => {
                let engine = PostgresEngine::new(url.clone(), lineage, tasks.clone());
                engine.found().await
            }
            Self::Store(_) | Self::Memory(_) => Ok(()),
        }
    }
}

/// What a service is made of.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Holds the cluster's object and the claims.
    pub store: Store,
    /// Keeps the metadata.
    pub engine: EngineChoice,
    /// How other owners are kept out.
    pub exclusion: Exclusion,
    /// This process, and where it answers others.
    pub owner: OwnerId,
    /// Whether it may own the sequencer (the metadata role).
    pub may_own: bool,
    /// Reaches other processes.
    pub dial: Arc<dyn Dial>,
    /// Random bytes for a cluster that does not exist yet.
    pub new_cluster: NewCluster,
    /// Limits of the state.
    pub state: StateConfig,
    /// Time of day, for timestamps.
    pub clock: Clock,
    /// Time that passes, for proofs of ownership.
    pub steady: SteadyClock,
    /// Seed of the jitter between attempts.
    pub seed: u64,
}

/// Why a service could not start.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartError {
    /// The cluster's object.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Ownership.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine's rows.
    #[error("metadata is damaged, nothing was changed: {0}")]
    Damaged(#[from] DamagedState),
}

/// Why a service has stopped for good.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StopReason {
    /// It was asked to, and let go of everything.
    #[error("released")]
    Released,
    /// It was asked to, but could not let go cleanly; a successor waits a little, nothing is lost.
    #[error("released without a mark: {0}")]
    NotMarked(String),
    /// What is stored is not what was written. Nothing may be served, and nothing tidied up.
    #[error("{0}")]
    Damaged(StartError),
    /// The task ended unasked: a broken invariant.
    #[error("the metadata service ended unexpectedly")]
    Broken,
}

/// How long letting go may take; then a successor finds no mark and waits a little.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// A running service. Dropping it changes nothing.
#[derive(Debug)]
pub struct Service {
    client: Client,
    cluster: Cluster,
    stop: CancellationToken,
    stopped: latest::Reader<Option<StopReason>>,
    task: AbortHandle,
}

/// A service whose cluster is known, and which does not take part yet.
#[derive(Debug)]
pub struct Prepared {
    config: ServiceConfig,
    cluster: Cluster,
    engine: Arc<dyn Engine>,
    client: Client,
    clients: ClientsEnd,
    stop: CancellationToken,
}

impl Prepared {
    /// Opens the cluster's object, or creates the cluster.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn new(config: ServiceConfig, tasks: &Tasks) -> Result<Self, StartError> {
        config.engine.found(&config, tasks).await?;
        let name = config.engine.name();
        let cluster = Cluster::open(&config.store, name, config.new_cluster).await?;
        let engine = config.engine.make(&config, cluster.lineage, tasks);
        let (client, clients) = Client::in_process();
        Ok(Self {
            config,
            cluster,
            engine,
            client,
            clients,
            stop: CancellationToken::new(),
        })
    }

    /// A client of the service to come.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The cluster.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Answers other processes. To be served at the address that [`ServiceConfig::owner`] names before
    /// [`Prepared::join`] is called, for a claimant that does not answer is overtaken.
    #[must_use]
    pub fn grpc(&self) -> Grpc {
        let server = MetadataServer::new(self.client(), self.config.owner.nonce, self.stop.clone());
        server.into_service(self.cluster.secret)
    }

    /// Becomes the owner or finds it; then serves on a task of `tasks`.
    ///
    /// # Errors
    /// See [`StartError`]; the messages are for the person who started the process.
    pub async fn join(self, tasks: &Tasks) -> Result<Service, StartError> {
        let Self {
            config,
            cluster,
            engine,
            client,
            clients,
            stop,
        } = self;
        let secret: Secret = cluster.secret;
        let mut seeker = Seeker::new(config, cluster.lineage, secret, engine);
        let first: Standing = seeker.find_first().await?;
        let member = Member::new(seeker, clients, stop.clone());
        let (stopped_sender, stopped) = latest::channel(None);
        let task = tasks.spawn(async move {
            let reason = member.run(first).await;
            tracing::info!(%reason, "metadata service stopped");
            stopped_sender.set(Some(reason));
        });
        // From here on calls are answered.
        if client.wait_for_owner().await.is_err() {
            tracing::debug!("the metadata service stopped before it began");
        }
        Ok(Service {
            client,
            cluster,
            stop,
            stopped,
            task,
        })
    }
}

impl Service {
    /// Takes part without answering other processes: for one that is alone.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: ServiceConfig, tasks: &Tasks) -> Result<Self, StartError> {
        Prepared::new(config, tasks).await?.join(tasks).await
    }

    /// A client of this service.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The cluster it serves.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Waits until the service has stopped for good, asked or not. Cancel-safe.
    pub async fn stopped(&self) -> StopReason {
        let reason = self.stopped.wait_for(Option::is_some).await;
        reason.flatten().unwrap_or(StopReason::Broken)
    }

    /// Answers what it has taken, lets go of the engine and leaves the mark that lets a successor begin
    /// at once. Calls made later are answered `Unavailable`.
    pub async fn release(&self) -> StopReason {
        self.stop.cancel();
        self.stopped().await
    }

    /// Ends at once, wherever it is, as if the process had died: nothing is answered or released.
    pub fn kill(&self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests;
