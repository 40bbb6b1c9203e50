//! Commits through a whole metadata service: how long one takes, and how many of wide segments one core does.
//!
//! The embedded engine writes to a store in memory, to one whose every PUT takes 60 ms, as a bucket's does;
//! PostgreSQL is a server of its own on this machine, left out where there is none.

use std::sync::Arc;
use std::time::Duration;

use floe_metadata::api::{CommitReply, NewProcess, RequestError};
use floe_metadata::client::Client;
use floe_metadata::engine::postgres::PostgresUrl;
use floe_metadata::engine::slatedb::SlateOptions;
use floe_metadata::ownership::{Exclusion, OwnerId};
use floe_metadata::rpc::network::Tcp;
use floe_metadata::service::{EngineChoice, Service, ServiceConfig};
use floe_metadata::state::StateConfig;
use floe_metadata::steady_clock::SteadyClock;
use floe_storage::clock::Clock;
use floe_storage::store::{Store, StoreOptions};
use floe_storage::tasks::Tasks;
use floe_tests::components::postgres::Server;
use futures::stream::{self, StreamExt};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::throttle::{ThrottleConfig, ThrottledStore};

use super::Measurement;
use super::state::Load;
use crate::time::{now, thread_cpu};

const PUT_DELAY: Duration = Duration::from_millis(60);
const COMMITS: u32 = 100;

/// Runs all of them; takes about a minute.
///
/// # Panics
/// If a service does not start or refuses a commit.
#[must_use]
pub fn run() -> Vec<Measurement> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("a runtime: {error}"));
    runtime.block_on(async {
        let mut measured = Vec::new();
        let embedded = || EngineChoice::Store(SlateOptions::bucket());
        let slow = ThrottledStore::new(
            InMemory::new(),
            ThrottleConfig {
                wait_put_per_call: PUT_DELAY,
                ..ThrottleConfig::default()
            },
        );
        latency(
            &mut measured,
            "SlateDB, 60 ms per PUT",
            Rig::start(embedded(), Arc::new(slow)).await,
        )
        .await;
        match Server::start(&[]) {
            Ok(server) => {
                let url = server.url().parse::<PostgresUrl>();
                let url = url.unwrap_or_else(|error| panic!("{error}"));
                let engine = EngineChoice::Postgres(url);
                let rig = Rig::start(engine, Arc::new(InMemory::new())).await;
                latency(&mut measured, "PostgreSQL on loopback", rig).await;
            }
            Err(why) => eprintln!("micro: no PostgreSQL: {why}"),
        }
        let rig = Rig::start(embedded(), Arc::new(InMemory::new())).await;
        wide(&mut measured, rig).await;
        measured
    })
}

/// A running service with a registered process.
struct Rig {
    client: Client,
    incarnation: u32,
    write_epoch: u32,
    _service: Service,
    _tasks: Tasks,
}

impl Rig {
    async fn start(engine: EngineChoice, store: Arc<dyn ObjectStore>) -> Self {
        let nonce = [1; 16];
        let tasks = Tasks::new();
        let config = ServiceConfig {
            store: Store::new(store, &Path::default(), &StoreOptions::default(), 1),
            engine,
            exclusion: Exclusion::Shared,
            owner: OwnerId {
                address: "here".to_owned(),
                nonce,
            },
            may_own: true,
            dial: Tcp::dialer(),
            new_cluster: floe_metadata::cluster::NewCluster {
                lineage: [7; 16],
                id: [7; 16],
                secret: [7; 16],
            },
            state: StateConfig::default(),
            clock: Clock::system(),
            steady: SteadyClock::system(),
            seed: 1,
        };
        let service = Service::start(config, &tasks)
            .await
            .unwrap_or_else(|error| panic!("a service: {error}"));
        let client = service.client();
        let process = NewProcess {
            nonce,
            attempt: 0,
            internal: "here".to_owned(),
            zone: None,
            brokers: Vec::new(),
            feature_level: 1,
        };
        let registered = answered(client.register(process).await);
        Self {
            client,
            incarnation: registered.incarnation,
            write_epoch: registered.write_epoch,
            _service: service,
            _tasks: tasks,
        }
    }

    async fn create_topics(&self, load: &Load) {
        for topic in load.new_topics() {
            answered(self.client.create_topic(topic).await);
        }
    }

    async fn commit(&self, load: &Load, number: u32) -> CommitReply {
        let mut request = load.request(number);
        request.segment.incarnation = self.incarnation;
        request.segment.write_epoch = self.write_epoch;
        let reply = self.client.commit(request).await;
        reply.unwrap_or_else(|error| panic!("commit {number}: {error}"))
    }
}

fn answered<T>(answer: Result<T, RequestError>) -> T {
    answer.unwrap_or_else(|error| panic!("metadata: {error}"))
}

/// Commits of 16 partitions, one after the other.
async fn latency(measured: &mut Vec<Measurement>, name: &str, rig: Rig) {
    let load = Load::small(16);
    rig.create_topics(&load).await;
    let mut times = Vec::new();
    for number in 0..COMMITS {
        let start = now();
        rig.commit(&load, number).await;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    for (label, index) in [("p50", times.len() / 2), ("p99", times.len() * 99 / 100)] {
        let time = times.get(index).copied().unwrap_or(0.0);
        let name = format!("commit: one at a time, {name}, {label}");
        measured.push(Measurement::new(name, time, "ms"));
    }
}

/// Commits of 10,000 partitions, several under way, the service and its engine on one thread.
async fn wide(measured: &mut Vec<Measurement>, rig: Rig) {
    let load = Load::wide(100, 1);
    rig.create_topics(&load).await;
    let (start, busy) = (now(), thread_cpu());
    let commits = stream::iter(0..COMMITS * 3).map(|number| rig.commit(&load, number));
    commits.buffered(8).for_each(|_| async {}).await;
    let commits = f64::from(COMMITS * 3);
    for (what, seconds) in [
        ("per second", start.elapsed()),
        ("per CPU second", thread_cpu() - busy),
    ] {
        measured.push(Measurement::new(
            format!("commit: 10,000 partitions of 100 topics, {what}"),
            commits / seconds.as_secs_f64(),
            "commits",
        ));
    }
}
