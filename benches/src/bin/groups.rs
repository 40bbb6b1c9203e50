//! What groups cost: commits of offsets, heartbeats of many groups, the time a rebalance takes, and the metadata of a
//! wide topic, each against a broker on a folder.

#![allow(
    clippy::print_stdout,
    reason = "a command-line tool speaks on standard output"
)]
#![allow(
    clippy::panic,
    reason = "a benchmark that cannot go on says why and ends"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use floe_benches::cpu::CpuSeconds;
use floe_benches::groups::{classic, commits, consumers, heartbeats};
use floe_benches::servers::floe_on_folder;
use floe_benches::time::now;
use floe_benches::wire::Wire;
use floe_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use floe_protocol::str::Str;
use floe_tests::sandbox::Sandbox;
use floe_tests::{client, http};

const WIDE: &str = "wide";
const SHARED: &str = "shared";
/// Between two heartbeats of a member of a small group.
const BEAT: Duration = Duration::from_secs(3);

#[derive(Parser)]
#[command(about = "Measures what groups and their offsets cost a broker")]
struct CommandLine {
    /// The program to start
    #[arg(long, default_value = "target/release/floe")]
    floe: PathBuf,
    /// Seconds that each load lasts
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Consumers that commit again on each answer; always measured beside 1 and 16
    #[arg(long, default_value_t = 512)]
    committers: usize,
    /// Groups of two members that beat every 3 s
    #[arg(long, default_value_t = 10_000)]
    groups: usize,
    /// Members of the group that is rebalanced
    #[arg(long, default_value_t = 100)]
    members: usize,
    /// Partitions of the wide topic
    #[arg(long, default_value_t = 10_000)]
    partitions: i32,
    /// Measures commits of offsets alone
    #[arg(long)]
    only_commits: bool,
}

fn main() {
    let given = CommandLine::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.unwrap_or_else(|why| panic!("a runtime: {why}"));
    let folder = tempfile::tempdir().unwrap_or_else(|why| panic!("a folder: {why}"));
    let mut broker = floe_on_folder(&given.floe, folder.path()).start();
    let address = broker
        .bootstrap()
        .parse()
        .unwrap_or_else(|why| panic!("an address: {why}"));
    client::create_topic(&broker.bootstrap(), WIDE, given.partitions);
    let shared = i32::try_from(given.members * 2).unwrap_or(i32::MAX);
    client::create_topic(&broker.bootstrap(), SHARED, shared);
    runtime.block_on(async {
        for committers in [1, 16, given.committers] {
            committed(&mut broker, address, committers, given.seconds).await;
        }
        if given.only_commits {
            return;
        }
        metadata(&mut broker, address).await;
        rebalanced(address, given.members).await;
        heard(&mut broker, address, &given).await;
    });
}

fn cpu(broker: &mut Sandbox) -> f64 {
    CpuSeconds::of(&[broker.process().id()]).total()
}

fn puts(broker: &Sandbox) -> f64 {
    let page = http::get(broker.http_address(), "/metrics")
        .map(|(_, text)| text)
        .unwrap_or_default();
    http::metric(&page, "floe_store_requests_total", &["operation=\"put\""]).unwrap_or_default()
}

/// Metadata of the wide topic, again and again.
async fn metadata(broker: &mut Sandbox, address: SocketAddr) {
    const ASKED: u32 = 200;
    let mut wire = Wire::connect(address).await;
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(Str::from_static(WIDE)),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    let before = cpu(broker);
    for _ in 0..ASKED {
        let answer = wire.call(12, &request).await;
        assert!(answer.topics.iter().all(|topic| topic.error_code == 0));
    }
    let each_ms = (cpu(broker) - before) * 1000.0 / f64::from(ASKED);
    println!("metadata of the wide topic: {each_ms:.2} ms of CPU each");
}

async fn committed(broker: &mut Sandbox, address: SocketAddr, consumers: usize, seconds: u64) {
    let (cpu_before, puts_before) = (cpu(broker), puts(broker));
    let lasts = Duration::from_secs(seconds);
    let done = commits::measure(address, WIDE, consumers, lasts).await;
    let took = done.took.as_secs_f64();
    let count = f64::from(u32::try_from(done.count).unwrap_or(u32::MAX));
    println!(
        "offset commits of {consumers} consumers: {:.0} per second, p50 {:.2} ms, p99 {:.2} ms, {:.2} CPU seconds \
         per second, {:.0} PUTs per second",
        count / took,
        done.p50.as_secs_f64() * 1000.0,
        done.p99.as_secs_f64() * 1000.0,
        (cpu(broker) - cpu_before) / took,
        (puts(broker) - puts_before) / took,
    );
}

async fn rebalanced(address: SocketAddr, count: usize) {
    let found = classic::measure(address, count).await;
    println!(
        "classic group of {count}, one joins: {:.2} s until all are stable; one dies: {:.2} s after its session; \
         members beat every {} s",
        found.one_joins.as_secs_f64(),
        found.one_dies.as_secs_f64(),
        classic::BEAT.as_secs()
    );
    let found = consumers::measure(address, SHARED, count * 2, count).await;
    println!(
        "consumer group of {count}, one joins: {:.2} s until all partitions are read; one dies: {:.2} s after its \
         session; members beat every {} s",
        found.one_joins.as_secs_f64(),
        found.one_dies.as_secs_f64(),
        found.beat.as_secs()
    );
}

async fn heard(broker: &mut Sandbox, address: SocketAddr, given: &CommandLine) {
    let start = now();
    let members = heartbeats::Members::join(address, given.groups).await;
    println!(
        "{} members joined within {:.1} s",
        members.count(),
        start.elapsed().as_secs_f64()
    );
    let mut begun = (0.0, start);
    let rounds = given.seconds / BEAT.as_secs();
    members
        .beat(BEAT, rounds, || begun = (cpu(broker), now()))
        .await;
    let (before, start) = begun;
    let share = (cpu(broker) - before) / start.elapsed().as_secs_f64();
    println!(
        "heartbeats of {} groups of 2 members every {} s: {:.1} % of a core",
        given.groups,
        BEAT.as_secs(),
        share * 100.0
    );
}
