//! A run: a faulty store and engine, processes that come and die over them, clients that go on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use floe_agent::broker::Broker;
use floe_agent::memory::MemoryPlan;
use floe_agent::metrics::Metrics;
use floe_agent::start::assemble::{Assembled, Lifetime, Parts, assemble};
use floe_agent::topic_config::BrokerSettings;
use floe_metadata::api::BrokerAddress;
use floe_metadata::api::groups::{ConsumerConfig, GroupConfig};
use floe_metadata::cluster::NewCluster;
use floe_metadata::engine::memory::{Faults, MemoryEngine};
use floe_metadata::engine::slatedb::SlateOptions;
use floe_metadata::ownership::{Exclusion, OwnerId};
use floe_metadata::rpc::simulated::Network;
use floe_metadata::service::{EngineChoice, Service, ServiceConfig};
use floe_metadata::state::StateConfig;
use floe_metadata::steady_clock::SteadyClock;
use floe_protocol::types::TopicId;
use floe_storage::clock::Clock;
use floe_storage::store::fault::{FaultPlan, FaultStore};
use floe_storage::store::{Store, StoreOptions};
use floe_storage::tasks::Tasks;
use object_store::memory::InMemory;
use object_store::path::Path;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::plan::{Plan, Trouble};

/// How long a process that was told to stop may take.
const STOP_PATIENCE: Duration = Duration::from_secs(25);

/// Some day.
const START_MS: i64 = 1_700_000_000_000;

/// What outlives every process.
#[derive(Debug)]
pub struct World {
    plan: Plan,
    random: StdRng,
    /// The store, and how it goes wrong.
    pub store: FaultStore,
    engine: MemoryEngine,
    clock: Clock,
    steady: SteadyClock,
    /// How processes reach each other.
    pub network: Network,
    /// Who serves clients.
    pub agents: Arc<Agents>,
    processes: Vec<Process>,
    /// What goes on outside of processes.
    tasks: Tasks,
    /// Processes started, and those that gave up on their own.
    pub starts: u64,
}

/// The processes that clients may connect to.
#[derive(Debug, Default)]
pub struct Agents {
    alive: Mutex<Vec<(Arc<Broker>, CancellationToken)>>,
    changed: Notify,
    connections: AtomicU64,
    /// Whether producers finish what they have and begin nothing new.
    pub draining: AtomicBool,
}

impl Agents {
    /// Nobody connects to this process any more.
    fn forget(&self, gone: &CancellationToken) {
        let mut alive = self.alive.lock().expect("not poisoned");
        alive.retain(|(_, dead)| !dead.is_cancelled() && dead != gone);
    }

    /// Some process that is alive, the token of its death, and a connection id; waits for one if there is none.
    pub async fn connect(&self, random: &mut StdRng) -> (Arc<Broker>, CancellationToken, u64) {
        loop {
            let changed = self.changed.notified();
            {
                let alive = self.alive.lock().expect("not poisoned");
                if !alive.is_empty() {
                    let (broker, dead) = alive[random.random_range(0..alive.len())].clone();
                    let id = self.connections.fetch_add(1, Ordering::Relaxed);
                    return (broker, dead, id);
                }
            }
            changed.await;
        }
    }
}

/// One process.
#[derive(Clone, Debug)]
struct Process {
    /// Where others reach it.
    address: String,
    /// Set once it is ready.
    running: Option<(Arc<Broker>, Arc<Service>)>,
    tasks: Tasks,
    dead: CancellationToken,
}

impl Process {
    /// `SIGTERM`: clients lose it, what was begun is finished, and what it owns is let go, in bounded time.
    async fn stop(self, agents: &Agents, network: &Network) {
        agents.forget(&self.dead);
        if let Some((broker, metadata)) = &self.running {
            let stopping = async {
                broker.leave().await;
                broker.produce.drain().await;
                metadata.release().await;
            };
            drop(timeout(STOP_PATIENCE, stopping).await);
        }
        self.kill(agents, network);
    }

    /// A process whose metadata service has stopped ends, asked or not.
    async fn end_with_metadata(self, agents: Arc<Agents>, network: Network) {
        if let Some((_, metadata)) = &self.running {
            metadata.stopped().await;
        }
        self.kill(&agents, &network);
    }

    /// `kill -9`: everything stops at the await it has reached.
    fn kill(self, agents: &Agents, network: &Network) {
        network.kill(&self.address);
        agents.forget(&self.dead);
        self.tasks.kill();
        self.dead.cancel();
    }
}

impl World {
    /// A world in which nothing has happened yet.
    #[must_use]
    pub fn new(plan: Plan, mut random: StdRng) -> Self {
        let store = FaultStore::new(
            Arc::new(InMemory::new()),
            FaultPlan::none(),
            random.random(),
        );
        let engine = MemoryEngine::new(random.random(), Faults::none());
        let random_network = random.random();
        Self {
            plan,
            random,
            store,
            engine,
            clock: Clock::simulated(START_MS),
            steady: SteadyClock::simulated(),
            network: Network::new(random_network, Duration::ZERO..Duration::from_millis(5)),
            agents: Arc::default(),
            processes: Vec::new(),
            tasks: Tasks::new(),
            starts: 0,
        }
    }

    /// Lets everything go wrong as a life says.
    pub fn misbehave(&mut self, store: FaultPlan, engine: Faults) {
        self.store.set_plan(store);
        self.engine.set_faults(engine);
    }

    /// Nothing goes wrong any more.
    pub fn heal(&mut self) {
        self.misbehave(FaultPlan::none(), Faults::none());
    }

    /// Starts a process within `patience`; `false` if it gave up or was not ready in time, and is dead.
    pub async fn start(&mut self, patience: Duration) -> bool {
        self.starts += 1;
        let lifetime = Lifetime {
            tasks: Tasks::new(),
            ended: CancellationToken::new(),
            stopping: CancellationToken::new(),
        };
        let address = format!("process-{}:9090", self.starts);
        let incoming = self.network.listen(&address);
        let mut process = Process {
            address: address.clone(),
            running: None,
            tasks: lifetime.tasks.clone(),
            dead: CancellationToken::new(),
        };
        let parts = self.parts(address);
        match timeout(patience, assemble(parts, incoming, &lifetime)).await {
            Ok(Ok(Assembled {
                broker, metadata, ..
            })) => {
                process.running = Some((Arc::clone(&broker), Arc::new(metadata)));
                let (agents, network) = (Arc::clone(&self.agents), self.network.clone());
                let end = process.clone().end_with_metadata(agents, network);
                self.tasks.spawn(end);
                let mut alive = self.agents.alive.lock().expect("not poisoned");
                alive.push((broker, process.dead.clone()));
                drop(alive);
                self.agents.changed.notify_waiters();
                self.processes.push(process);
                true
            }
            Ok(Err(_)) | Err(_) => {
                process.kill(&self.agents, &self.network);
                false
            }
        }
    }

    /// Starts a process, as often as it takes.
    pub async fn start_surely(&mut self) {
        for _ in 0..100 {
            if self.start(Duration::from_secs(60)).await {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
        panic!("no process can start over a healthy store");
    }

    /// How many processes live.
    #[must_use]
    pub fn living(&mut self) -> usize {
        self.processes
            .retain(|process| !process.dead.is_cancelled());
        self.processes.len()
    }

    /// Lets something happen to a process; one that takes another's place starts within `patience`.
    pub async fn trouble(&mut self, trouble: Trouble, patience: Duration) {
        let count = self.living();
        if count == 0 {
            return;
        }
        match trouble {
            Trouble::Kill(which) => {
                let process = self.processes.remove(which % count);
                process.kill(&self.agents, &self.network);
                self.start(patience).await;
            }
            Trouble::Stop(which) => {
                let process = self.processes.remove(which % count);
                process.stop(&self.agents, &self.network).await;
                self.start(patience).await;
            }
            Trouble::Silence(which, time) => {
                let address = self.processes[which % count].address.clone();
                let network = self.network.clone();
                network.silence(&address, true);
                self.tasks.spawn(async move {
                    sleep(time).await;
                    network.silence(&address, false);
                });
            }
            Trouble::Disconnect(which) => {
                self.network
                    .disconnect(&self.processes[which % count].address);
            }
        }
    }

    /// Kills all processes but the newest `keep`.
    pub fn kill_but(&mut self, keep: usize) {
        let doomed = self.living().saturating_sub(keep);
        for process in self.processes.drain(..doomed) {
            process.kill(&self.agents, &self.network);
        }
    }

    fn parts(&mut self, address: String) -> Parts {
        let options = StoreOptions {
            jitter_seed: self.random.random(),
            ..self.plan.store.clone()
        };
        let seed = self.random.random();
        let store = Store::new(
            Arc::new(self.store.clone()),
            &Path::default(),
            &options,
            seed,
        );
        let service = ServiceConfig {
            store,
            engine: if self.plan.is_embedded {
                EngineChoice::Store(SlateOptions::bucket())
            } else {
                EngineChoice::Memory(self.engine.clone())
            },
            exclusion: Exclusion::Shared,
            may_own: true,
            dial: self.network.dialer(&address),
            owner: OwnerId {
                address: address.clone(),
                nonce: self.random.random(),
            },
            new_cluster: NewCluster {
                lineage: self.random.random(),
                id: self.random.random(),
                secret: self.random.random(),
            },
            state: StateConfig {
                hash_seed: self.random.random(),
                producer_states_bytes_max: self.plan.producer_states_bytes,
                replay_commits_max: self.plan.replay_commits,
                groups: groups(),
                ..StateConfig::default()
            },
            clock: self.clock.clone(),
            steady: self.steady.clone(),
            seed: self.random.random(),
        };
        Parts {
            service,
            settings: settings(),
            memory: MemoryPlan {
                fresh_bytes: self.plan.fresh_bytes,
                ..MemoryPlan::new(self.plan.memory_bytes)
            },
            rule: self.plan.rule,
            uploads: self.plan.uploads,
            node_id: 1,
            zone: None,
            brokers: vec![BrokerAddress {
                listener: "default".to_owned(),
                node_id: 1,
                host: address,
                port: 9092,
            }],
            derived: BTreeMap::new(),
            topics_seed: self.random.random(),
            sessions_seed: self.random.random(),
            metrics: Metrics::new(&[]),
            compaction: self.plan.compaction.clone(),
        }
    }

    /// A topic id of this run.
    pub fn topic_id(&mut self) -> TopicId {
        TopicId::from_bytes(self.random.random())
    }

    /// A sequence of random numbers of its own, for a client.
    pub fn fork(&mut self) -> StdRng {
        StdRng::seed_from_u64(self.random.random())
    }
}

/// Groups whose members are given up within a run.
fn groups() -> GroupConfig {
    GroupConfig {
        consumer: ConsumerConfig {
            session_timeout: super::reader::SESSION,
            ..ConsumerConfig::default()
        },
        ..GroupConfig::default()
    }
}

/// Records of simulated producers are old, and all of them are to be read.
fn settings() -> BrokerSettings {
    let set = [("log.retention.ms".to_owned(), "-1".to_owned())];
    BrokerSettings::new(set.into()).expect("a setting of Kafka")
}
