//! One seed, from its plan to its verdict.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use floe_protocol::checksum::crc32c;
use floe_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use floe_protocol::types::{Offset, TopicId, TopicPartition};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::administrator::Administrator;
use super::consumer::{Consumer, ends};
use super::member::{Member, Told};
use super::observed::Observed;
use super::plan::{Life, Plan};
use super::producer::Producer;
use super::reader::{Owners, Reader};
use super::topics::Topics;
use super::wire::Link;
use super::world::World;

/// Members of the simulated group.
const MEMBERS: u32 = 3;

/// Members of the simulated group of the consumer protocol.
const READERS: u32 = 3;

/// In which virtual time producers must finish once nothing goes wrong any more.
const RECOVERY: Duration = Duration::from_secs(600);

/// What came of a seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Broken promises, in words.
    pub broken: Vec<String>,
    /// A checksum of everything that happened: equal for equal seeds.
    pub trace: u32,
    /// Records acknowledged.
    pub acked: usize,
    /// Records whose fate no client knows.
    pub unknown: usize,
    /// Processes started.
    pub starts: u64,
}

/// Runs a seed.
///
/// # Panics
/// A promise of the code to itself is broken.
#[must_use]
pub fn run(seed: u64) -> Report {
    run_plan(seed, |plan| plan)
}

/// The same over the embedded engine, whose own tasks and random names make every run another.
///
/// # Panics
///
/// As [`run`].
#[must_use]
pub fn run_embedded(seed: u64) -> Report {
    run_plan(seed, Plan::embedded)
}

fn run_plan(seed: u64, change: impl FnOnce(Plan) -> Plan) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(simulate(seed, change))
}

async fn simulate(seed: u64, change: impl FnOnce(Plan) -> Plan) -> Report {
    let mut random = StdRng::seed_from_u64(seed);
    let plan = change(Plan::draw(&mut random));
    let mut world = World::new(plan.clone(), random);
    world.start_surely().await;
    let topics = Arc::new(create_topics(&mut world, &plan.topics).await);
    let observed = Arc::new(Mutex::new(Observed::default()));

    let mut producers = JoinSet::new();
    for plan in plan.producers {
        let (random, observed) = (world.fork(), Arc::clone(&observed));
        let mut producer = Producer::new(plan, random, observed, Arc::clone(&topics));
        let agents = Arc::clone(&world.agents);
        producers.spawn(async move { producer.run(&agents).await });
    }
    let (mut consumers, stop) = (JoinSet::new(), CancellationToken::new());
    for _ in 0..plan.consumers {
        let (random, observed) = (world.fork(), Arc::clone(&observed));
        let mut consumer = Consumer::new(plan.is_lonely, random, observed, Arc::clone(&topics))
            .asking_often(plan.is_contested);
        let (agents, stop) = (Arc::clone(&world.agents), stop.clone());
        consumers.spawn(async move {
            stop.run_until_cancelled(consumer.run(&agents)).await;
            consumer.finish(&BTreeMap::new());
        });
    }

    let mut administrator = Administrator::new(world.fork(), Arc::clone(&observed));
    let (agents, until) = (Arc::clone(&world.agents), stop.clone());
    consumers.spawn(async move {
        until.run_until_cancelled(administrator.run(&agents)).await;
    });

    let told = Arc::new(Mutex::new(Told::default()));
    for number in 0..MEMBERS {
        let (random, told) = (world.fork(), Arc::clone(&told));
        let mut member = Member::new(number, random, Arc::clone(&observed), told);
        let (agents, until) = (Arc::clone(&world.agents), stop.clone());
        consumers.spawn(async move {
            until.run_until_cancelled(member.run(&agents)).await;
        });
    }

    let owners = Arc::new(Mutex::new(Owners::default()));
    for number in 0..READERS {
        let (random, owners) = (world.fork(), Arc::clone(&owners));
        let mut reader = Reader::new(number, random, Arc::clone(&observed), owners);
        let (agents, until) = (Arc::clone(&world.agents), stop.clone());
        consumers.spawn(async move {
            until.run_until_cancelled(reader.run(&agents)).await;
        });
    }

    for life in &plan.lives {
        live(&mut world, life).await;
    }
    world.heal();
    if !plan.is_lonely || world.living() == 0 {
        world.start_surely().await;
    }
    world.kill_but(1);
    world.agents.draining.store(true, Ordering::Relaxed);
    let finished = timeout(RECOVERY, async {
        while producers.join_next().await.is_some() {}
    });
    if finished.await.is_err() {
        let what = format!("producers did not finish within {RECOVERY:?} of calm");
        observed.lock().expect("not poisoned").violation(what);
        producers.shutdown().await;
    }
    final_read(&mut world, &topics, &observed).await;
    stop.cancel();
    while consumers.join_next().await.is_some() {}
    report(&world, &observed.lock().expect("not poisoned"))
}

/// One life: faults begin, processes start beside what is left of the life before, are troubled, and are
/// killed when their time is up, wherever they are.
async fn live(world: &mut World, life: &Life) {
    let end = Instant::now() + life.lasts;
    world.misbehave(life.store.clone(), life.engine.clone());
    for _ in world.living()..life.processes {
        world.start(life.lasts).await;
    }
    for (after, trouble) in &life.troubles {
        sleep(*after).await;
        if Instant::now() >= end {
            break;
        }
        world.trouble(*trouble, life.lasts).await;
    }
    sleep_until(end).await;
    world.kill_but(life.survivors);
    sleep(life.pause).await;
}

async fn create_topics(world: &mut World, partitions: &[i32]) -> Topics {
    let mut random = world.fork();
    let (broker, dead, id) = world.agents.connect(&mut random).await;
    let mut link = Link::new(&broker, dead, id);
    let mut topics = Topics::default();
    for (index, partitions) in partitions.iter().enumerate() {
        let name = format!("topic-{index}");
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: name.clone().into(),
                num_partitions: *partitions,
                replication_factor: -1,
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = link
            .call(7, &request)
            .await
            .expect("a healthy agent answers");
        let created = answer.topics.first().expect("one answer per topic");
        assert_eq!(created.error_code, 0, "{created:?}");
        topics.add(name.into(), TopicId(created.topic_id), *partitions);
    }
    topics
}

/// Reads every partition from its start to its end, which must reach everything acknowledged.
async fn final_read(world: &mut World, topics: &Arc<Topics>, observed: &Arc<Mutex<Observed>>) {
    let mut random = world.fork();
    let (broker, dead, id) = world.agents.connect(&mut random).await;
    let mut link = Link::new(&broker, dead, id);
    let log_ends = ends(&mut link, 5, topics)
        .await
        .expect("a healthy agent answers");
    let promised: BTreeMap<TopicPartition, Offset> = {
        let observed = observed.lock().expect("not poisoned");
        let end = |(partition, end): (&TopicPartition, &Offset)| {
            let history = observed.partitions.get(partition);
            (
                *partition,
                history.map_or(*end, |history| history.end_to_read(*end)),
            )
        };
        log_ends.iter().map(end).collect()
    };
    let mut reader = Consumer::new(false, random, Arc::clone(observed), Arc::clone(topics));
    let read = timeout(RECOVERY, reader.run_until(&world.agents, &log_ends)).await;
    if read.is_err() {
        let what = format!("the log cannot be read to its ends {log_ends:?}");
        observed.lock().expect("not poisoned").violation(what);
    }
    reader.finish(&promised);
}

fn report(world: &World, observed: &Observed) -> Report {
    let (acked, unknown) = observed.counts();
    let seen = crc32c(format!("{:?}", observed.partitions).as_bytes());
    Report {
        broken: observed.verdict(),
        trace: world.store.trace() ^ seen,
        acked,
        unknown,
        starts: world.starts,
    }
}

/// A seed drawn from another, for runs of many.
#[must_use]
pub fn nth_seed(base: u64, index: u64) -> u64 {
    StdRng::seed_from_u64(base.wrapping_add(index)).random()
}

/// Visits seeds drawn from `base` on all cores, in no order that means anything, until `visit` breaks or there
/// were `seeds` of them. `visit` gets the place of a seed, from 0, and the seed.
pub fn each_seed(base: u64, seeds: u64, visit: impl Fn(u64, u64) -> ControlFlow<()> + Sync) {
    let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= seeds {
                        return;
                    }
                    if visit(index, nth_seed(base, index)).is_break() {
                        is_over.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
}
