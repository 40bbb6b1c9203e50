//! The life of a process: start, serve, drain.
//!
//! ```text
//! bind ─▶ open store ─▶ own metadata ─▶ first picture ─▶ accept
//!   … stop accepting and reading ─▶ flush, commit, answer ─▶ close ─▶ release metadata ─▶ end
//! ```
//!
//! Ports are bound first, so that early clients wait in the backlog instead of being refused, and a port
//! in use is found before anything is written.

pub mod assemble;
mod open;

pub(crate) use open::transfer_config;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use floe_metadata::api::RequestError;
use floe_metadata::rpc::network::Tcp;
use floe_metadata::service::{Service, StartError as MetadataError, StopReason};
use floe_storage::store::{OpenError, StoreUrl};
use floe_storage::tasks::Tasks;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::assemble::Lifetime;
use self::open::Opened;
use crate::admin::{self, Health, Phase};
use crate::broker::{Broker, Endpoint};
use crate::compaction::Compaction;
use crate::config::Config;
use crate::presence::Presence;
use crate::server::{Acceptor, ListenError, Listener, bind, connections_max};

/// Everything a drain may take. Orchestrators kill after 30 s.
const DRAIN_PATIENCE: Duration = Duration::from_secs(22);
/// What of it is kept for releasing metadata.
const RELEASE_PATIENCE: Duration = Duration::from_secs(6);
/// How long clients may take to read their last answers.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// How long cutting the rest may take.
const CUT_PATIENCE: Duration = Duration::from_secs(1);
/// How long compaction may take to put down what it does: it was told to stop before the drain began.
const COMPACTION_PATIENCE: Duration = Duration::from_secs(1);
/// How long tasks may take to notice that the process ends.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// Why a broker did not start. One line each; nothing was damaged.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The cluster in the store.
    #[error("{store}: {source}")]
    Metadata {
        /// Where.
        store: StoreUrl,
        /// What is wrong.
        source: MetadataError,
    },
    /// Metadata started and stopped again before the first picture came.
    #[error("{store}: {reason}")]
    Lost {
        /// Where.
        store: StoreUrl,
        /// Why.
        reason: StopReason,
    },
}

/// Why a running broker cannot go on, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Ownership of the metadata is lost for good.
    #[error("stopped: {0}")]
    Metadata(StopReason),
    /// The cluster does not take this process.
    #[error("stopped: {0}")]
    Refused(RequestError),
    /// A drain ran out of time. What was acknowledged is safe; some requests were not answered.
    #[error("not everything was finished within {} s", DRAIN_PATIENCE.as_secs())]
    DrainTimedOut,
}

/// Where a listener is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenerAddress {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub local: SocketAddr,
    /// One address at which a client on this machine reaches it.
    pub reachable: Endpoint,
}

/// A broker that serves clients. Dropping it ends everything at once, as a crash would.
#[derive(Debug)]
pub struct RunningAgent {
    listeners: Vec<ListenerAddress>,
    http: SocketAddr,
    store: StoreUrl,
    internal: SocketAddr,
    /// Absent without the agent role.
    broker: Option<Arc<Broker>>,
    presence: Arc<Presence>,
    metadata: Service,
    /// Absent without the compaction role.
    compaction: Option<Compaction>,
    health: Arc<Health>,
    tokens: Tokens,
    /// Accept loops and connections.
    serving: TaskTracker,
    /// Everything else.
    tasks: Tasks,
}

/// What ends what.
#[derive(Debug)]
struct Tokens {
    /// Ends accepting, reading, and the waiting of fetches.
    stopping: CancellationToken,
    /// Ends connections that do not end by themselves.
    cut: CancellationToken,
    /// Ends all tasks.
    ended: CancellationToken,
    _guard: DropGuard,
}

impl Tokens {
    fn new() -> Self {
        let ended = CancellationToken::new();
        let (cut, guard) = (ended.child_token(), ended.clone().drop_guard());
        Self {
            stopping: cut.child_token(),
            cut,
            ended,
            _guard: guard,
        }
    }
}

/// Says so if clients are told a name that nobody seems to know. They may know more than this machine does.
async fn check_name(told: Endpoint) {
    let found = tokio::net::lookup_host((told.host.as_str(), told.port)).await;
    if let Err(error) = found {
        tracing::warn!(
            "clients are told to connect to '{told}', a name that this machine cannot resolve ({error}): check \
             --advertise"
        );
    }
}

/// Starts a broker and returns once it serves clients.
///
/// # Errors
/// One line for the person who started it; see [`StartError`].
pub async fn start(config: Config) -> Result<RunningAgent, StartError> {
    let mut listeners = Vec::with_capacity(config.listeners.len());
    for listener in config.listeners.iter().filter(|_| config.roles.agent) {
        listeners.push(Listener::bind(listener).await?);
    }
    let (internal_listener, internal) = bind(&internal_endpoint(&config), "--internal").await?;
    let (http_listener, http) = bind(&config.http, "--http").await?;
    let tokens = Tokens::new();
    let tasks = Tasks::new();
    let identity = open::Identity::new(&config, internal);
    let health = identity.health();
    tasks.spawn(admin::run(
        http_listener,
        Arc::clone(&health),
        tokens.ended.clone(),
    ));

    let lifetime = Lifetime {
        tasks: tasks.clone(),
        ended: tokens.ended.clone(),
        stopping: tokens.stopping.clone(),
    };
    let incoming = Tcp::incoming(internal_listener);
    let Opened {
        broker,
        presence,
        metadata,
        compaction,
    } = open::open(&config, &listeners, incoming, identity, &lifetime).await?;
    for listener in &config.listeners {
        if let Some(told) = listener.advertise.clone() {
            tasks.spawn(check_name(told));
        }
    }
    let serving = TaskTracker::new();
    let addresses = listeners.iter().map(address).collect();
    if let Some(broker) = &broker {
        let places = connections_max(broker.settings.integer("max.connections", i64::MAX));
        let acceptor = Acceptor::new(
            Arc::clone(broker),
            serving.clone(),
            places,
            tokens.stopping.clone(),
            tokens.cut.clone(),
        );
        for listener in listeners {
            serving.spawn(Arc::clone(&acceptor).run(listener));
        }
    }
    health.enter(Phase::Ready);
    Ok(RunningAgent {
        listeners: addresses,
        http,
        internal,
        store: config.store,
        broker,
        presence,
        metadata,
        compaction,
        health,
        tokens,
        serving,
        tasks,
    })
}

/// Where to listen for other processes: as asked, else any port beside the first Kafka listener.
fn internal_endpoint(config: &Config) -> Endpoint {
    let beside = || {
        let first = config.listeners.first();
        let host = first.map_or("127.0.0.1", |listener| listener.listen.host.as_str());
        Endpoint {
            host: host.to_owned(),
            port: 0,
        }
    };
    config.internal.clone().unwrap_or_else(beside)
}

fn address(listener: &Listener) -> ListenerAddress {
    ListenerAddress {
        name: listener.name.to_string(),
        local: listener.local,
        reachable: listener.reachable(),
    }
}

impl RunningAgent {
    /// Where clients are served, in the order of the config.
    #[must_use]
    pub fn addresses(&self) -> &[ListenerAddress] {
        &self.listeners
    }

    /// Where health and metrics are served.
    #[must_use]
    pub const fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where other processes are served.
    #[must_use]
    pub const fn internal(&self) -> SocketAddr {
        self.internal
    }

    /// What its handlers see; `None` without the agent role.
    #[must_use]
    pub const fn broker(&self) -> Option<&Arc<Broker>> {
        self.broker.as_ref()
    }

    /// What to tell the person who started it: addresses, version, and how to send a first record.
    #[must_use]
    pub fn ready_line(&self) -> String {
        let reachable: Vec<_> = self
            .listeners
            .iter()
            .map(|listener| listener.reachable.to_string())
            .collect();
        let Some(first) = reachable.first() else {
            return format!(
                "floe {} is ready without Kafka clients over {}, other processes on {}, health and \
                 metrics on http://{}",
                env!("CARGO_PKG_VERSION"),
                self.store,
                self.internal,
                self.http,
            );
        };
        format!(
            "floe {} is ready on {} over {}, health and metrics on http://{}; \
             try: echo hello | kcat -P -b {first} -t first && kcat -C -e -b {first} -t first",
            env!("CARGO_PKG_VERSION"),
            reachable.join(", "),
            self.store,
            self.http,
        )
    }

    /// Waits until the broker cannot go on. Cancel-safe.
    pub async fn failed(&self) -> RunError {
        tokio::select! {
            biased;
            reason = self.metadata.stopped() => RunError::Metadata(reason),
            refused = self.presence.refused_for_good() => RunError::Refused(refused),
        }
    }

    /// Stops accepting, finishes what was begun, writes what waits, answers, closes, and lets go of the
    /// cluster, within 25 s.
    ///
    /// # Errors
    /// Metadata was lost meanwhile, or time ran out. Acknowledged records are safe in any case.
    pub async fn shutdown(self) -> Result<(), RunError> {
        let end = Instant::now() + DRAIN_PATIENCE;
        self.health.enter(Phase::Stopping);
        // First, so that clients that must leave here are not sent back.
        self.presence.leave().await;
        self.tokens.stopping.cancel();
        self.serving.close();
        let finished = match &self.broker {
            Some(broker) => self.finish(broker, end - RELEASE_PATIENCE).await,
            None => true,
        };
        if let Some(compaction) = &self.compaction
            && timeout(COMPACTION_PATIENCE, compaction.ended())
                .await
                .is_err()
        {
            tracing::debug!("compaction did not end in time; what it left is found again");
        }
        self.presence.end().await;
        let reason = timeout_at(end, self.metadata.release()).await;
        self.tokens.ended.cancel();
        if timeout(END_PATIENCE, self.tasks.ended()).await.is_err() {
            tracing::debug!("some tasks did not end in time");
        }
        match (finished, reason) {
            (true, Ok(StopReason::Released | StopReason::NotMarked(_))) => Ok(()),
            (false, Ok(StopReason::Released | StopReason::NotMarked(_))) | (_, Err(_)) => {
                Err(RunError::DrainTimedOut)
            }
            (_, Ok(reason @ (StopReason::Damaged(_) | StopReason::Broken))) => {
                Err(RunError::Metadata(reason))
            }
        }
    }

    /// Waits until all records taken are answered for, then until their connections have ended; cuts
    /// those that do not. False if records were left in doubt.
    async fn finish(&self, broker: &Broker, end: Instant) -> bool {
        let lost = async {
            let reason = self.metadata.stopped().await;
            tracing::warn!(%reason, "metadata is gone: what is not yet committed stays unanswered");
        };
        let drained = tokio::select! {
            biased;
            drained = timeout_at(end, broker.produce.drain()) => drained.is_ok(),
            () = lost => false,
        };
        let patience = end.min(Instant::now() + CLOSE_PATIENCE);
        let closed = drained && timeout_at(patience, self.serving.wait()).await.is_ok();
        if !closed {
            tracing::info!(
                connections = broker.metrics.connections_open.get(),
                "closing connections whose clients did not take their answers"
            );
            self.tokens.cut.cancel();
            if timeout(CUT_PATIENCE, self.serving.wait()).await.is_err() {
                tracing::debug!("some connections did not end in time");
            }
        }
        drained
    }
}

impl Drop for RunningAgent {
    fn drop(&mut self) {
        self.tasks.kill();
    }
}
