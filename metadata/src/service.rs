//! The metadata service of one process: opens the cluster, becomes its owner, serves [`Client`]s, and
//! recovers by itself when the engine is lost.
//!
//! ```text
//! start ─▶ cluster ─▶ claim ─▶ acquire ─▶ recover ─▶ serve ──┬─ released ─▶ mark ─▶ stopped
//!                      ▲                                    ├─ overtaken, damaged ─▶ stopped
//!                      └──────────── engine lost ───────────┘
//! ```
//!
//! A service never serves under an epoch that another process has claimed past: it stops for good, and
//! the process with it.

use std::sync::Arc;
use std::time::Duration;

use floe_storage::clock::Clock;
use floe_storage::key::{self, Lineage};
use floe_storage::latest;
use floe_storage::store::{Store, StoreUrl};
use floe_storage::tasks::Tasks;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use self::owner::{Owner, OwnerLoop};
use crate::client::Client;
use crate::cluster::{Cluster, ClusterError, NewCluster};
use crate::engine::memory::MemoryEngine;
use crate::engine::slatedb::{SlateEngine, SlateOptions};
use crate::engine::{Engine, EngineError};
use crate::ownership::{Claim, ClaimError, Exclusion, FolderLock, OwnerId};
use crate::state::{DamagedState, StateConfig};
use crate::steady_clock::SteadyClock;

mod owner;

/// Which engine keeps the metadata.
#[derive(Clone, Debug)]
pub enum EngineChoice {
    /// SlateDB in the cluster's own store.
    Store(SlateOptions),
    /// Memory shared by the handles to it.
    Memory(MemoryEngine),
}

impl EngineChoice {
    /// The embedded engine as it suits the store at `url`.
    #[must_use]
    pub const fn embedded(url: &StoreUrl) -> Self {
        Self::Store(match url {
            StoreUrl::Folder(_) => SlateOptions::folder(),
            StoreUrl::S3 { .. } | StoreUrl::Memory => SlateOptions::bucket(),
        })
    }

    /// Its name in the cluster's object.
    const fn name(&self) -> &'static str {
        match self {
            Self::Store(_) => "slatedb",
            Self::Memory(_) => "memory",
        }
    }

    fn make(&self, config: &ServiceConfig, lineage: Lineage, tasks: &Tasks) -> Arc<dyn Engine> {
        match self {
            Self::Store(options) => Arc::new(SlateEngine::new(
                config.store.object_store(),
                key::meta(lineage),
                *options,
                config.clock.clone(),
                tasks.clone(),
            )),
            Self::Memory(engine) => Arc::new(engine.clone()),
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
    /// This process.
    pub owner: OwnerId,
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
    /// Another process has become the owner. Stop at once.
    #[error("another process has become the owner of the metadata at {}, in epoch {}", .0.owner.address, .0.epoch)]
    Overtaken(Claim),
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

impl Service {
    /// Opens the cluster, becomes its owner and recovers its state; then serves on a task of `tasks`.
    ///
    /// # Errors
    /// See [`StartError`]; the messages are for the person who started the process.
    pub async fn start(config: ServiceConfig, tasks: &Tasks) -> Result<Self, StartError> {
        let lock = match &config.exclusion {
            Exclusion::Folder(folder) => Some(FolderLock::take(folder)?),
            Exclusion::Ask(_) => None,
        };
        let name = config.engine.name();
        let cluster = Cluster::open(&config.store, name, config.new_cluster).await?;
        let engine = config.engine.make(&config, cluster.lineage, tasks);
        let (owner, owned) = Owner::first(&config, cluster.lineage, engine, lock).await?;

        let (client, clients) = Client::in_process();
        let stop = CancellationToken::new();
        let (stopped_sender, stopped) = latest::channel(None);
        let owner_loop = OwnerLoop::new(owner, clients, stop.clone());
        let task = tasks.spawn(async move {
            let reason = owner_loop.run(owned).await;
            tracing::info!(%reason, "metadata service stopped");
            stopped_sender.set(Some(reason));
        });
        Ok(Self {
            client,
            cluster,
            stop,
            stopped,
            task,
        })
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
