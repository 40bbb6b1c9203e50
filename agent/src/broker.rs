//! Everything a request handler may use: one value per process, shared by all connections.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use floe_metadata::client::Client;
use floe_metadata::client::view::View;
use floe_metadata::feature_level::FeatureLevels;
use floe_protocol::types::{NodeId, TopicId};
use floe_storage::clock::Clock;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use crate::fetch::FetchPath;
use crate::handlers::init_producer_id::ProducerIds;
use crate::memory::MemoryBudget;
use crate::metrics::Metrics;
use crate::presence::Presence;
use crate::produce::ProducePath;
use crate::topic_config::{BrokerSettings, DynamicSettings};

/// A host and port that clients are told to connect to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Endpoint {
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => write!(f, "[{}]:{}", self.host, self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// One process as its request handlers see it.
#[derive(Debug)]
pub struct Broker {
    /// Id of this cluster as clients are told.
    pub cluster_id: String,
    /// Id of this broker as clients are told.
    pub node_id: NodeId,
    /// The zone of this process, told to clients as the broker's rack.
    pub zone: Option<String>,
    /// This process among the others of the cluster.
    pub(crate) presence: Arc<Presence>,
    /// Settings under Kafka's names.
    pub settings: BrokerSettings,
    /// The same with what was set since.
    pub(crate) dynamic: DynamicSettings,
    /// Changes and linearizable reads.
    pub metadata: Client,
    /// Raises the cluster's feature level.
    pub levels: FeatureLevels,
    /// The watched picture of topics and partitions.
    pub view: Arc<View>,
    /// Takes batches and makes them durable and ordered.
    pub produce: ProducePath,
    /// Finds and reads batches.
    pub fetch: FetchPath,
    /// Counters.
    pub metrics: Metrics,
    /// Wall-clock time.
    pub clock: Clock,
    /// Bytes that requests and answers may hold.
    pub memory: MemoryBudget,
    /// What one connection may do.
    pub limits: ConnectionLimits,
    /// Ends the waiting of requests that depend on other clients: this process stops.
    pub(crate) stopping: CancellationToken,
    /// Draws topic ids and ids of members.
    pub random: Random,
    /// Ids for idempotent producers.
    pub producer_ids: ProducerIds,
    /// What is told about how this broker was started, under Kafka's names.
    pub derived: BTreeMap<&'static str, String>,
}

impl Broker {
    /// The settings that hold now: those of the start, below what was set while the brokers run.
    pub(crate) fn settings_now(&self) -> Arc<BrokerSettings> {
        self.dynamic.now(&self.settings, &self.view)
    }

    /// Takes this process off the list of those that clients are told; it goes on serving those it has.
    pub async fn leave(&self) {
        self.presence.leave().await;
    }
}

/// What one connection may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionLimits {
    /// Largest Produce frame in bytes; other frames have a lower limit of their own.
    pub frame_bytes_max: usize,
    /// It is closed after this long without a request; `None` for never.
    pub idle: Option<Duration>,
}

impl ConnectionLimits {
    /// As `socket.request.max.bytes` and `connections.max.idle.ms` say.
    #[must_use]
    pub fn new(settings: &BrokerSettings) -> Self {
        let frame_bytes_max = settings.integer("socket.request.max.bytes", 104_857_600);
        let idle_ms = settings.integer("connections.max.idle.ms", 600_000);
        Self {
            frame_bytes_max: usize::try_from(frame_bytes_max).unwrap_or(usize::MAX),
            idle: u64::try_from(idle_ms).ok().map(Duration::from_millis),
        }
    }
}

/// Random numbers from the seed that the process drew once.
#[derive(Debug)]
pub struct Random(Mutex<StdRng>);

impl Random {
    /// A sequence that depends on `seed` alone.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// A UUID nobody had before, in its usual form.
    #[must_use]
    pub fn uuid(&self) -> String {
        self.topic_id().to_string()
    }

    /// A topic id nobody had before; never one of the reserved ones (protocol guide: zero, and 1 for
    /// the metadata log).
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        let mut random = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let bits: u128 = random.random();
            if bits > 1 {
                // Version 4, variant 1, as Kafka's own ids are.
                let bits = (bits & !(0xf << 76 | 0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
                return TopicId::from_bytes(bits.to_be_bytes());
            }
        }
    }
}
