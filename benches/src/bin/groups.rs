//! What groups cost: commits of offsets, heartbeats of many groups, the time a rebalance takes, and the metadata of a
//! wide topic, each against a broker on a folder. Requests are made by hand, so that the load is the broker's and not a
//! client library's.

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

use bytes::Bytes;
use clap::Parser;
use floe_benches::cpu::CpuSeconds;
use floe_benches::servers::floe_on_folder;
use floe_benches::time::now;
use floe_benches::wire::Wire;
use floe_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use floe_protocol::messages::heartbeat::HeartbeatRequest;
use floe_protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use floe_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use floe_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use floe_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use floe_protocol::str::Str;
use floe_tests::sandbox::Sandbox;
use floe_tests::{client, http};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Requests that one connection has under way.
const AHEAD: usize = 48;
const WIDE: &str = "wide";

#[derive(Parser)]
#[command(about = "Measures what groups and their offsets cost a broker")]
struct CommandLine {
    /// The program to start
    #[arg(long, default_value = "target/release/floe")]
    floe: PathBuf,
    /// Seconds that each load lasts
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Groups of two members that beat every 3 s
    #[arg(long, default_value_t = 10_000)]
    groups: usize,
    /// Members of the group that is rebalanced
    #[arg(long, default_value_t = 100)]
    members: usize,
    /// Partitions of the wide topic
    #[arg(long, default_value_t = 10_000)]
    partitions: i32,
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
    runtime.block_on(async {
        metadata(&mut broker, address).await;
        commits(&mut broker, address, given.seconds).await;
        rebalances(address, given.members, &broker.bootstrap()).await;
        heartbeats(&mut broker, address, &given).await;
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

/// Commits of simple groups, as many as go.
async fn commits(broker: &mut Sandbox, address: SocketAddr, seconds: u64) {
    let (cpu_before, puts_before, start) = (cpu(broker), puts(broker), now());
    let end = start + Duration::from_secs(seconds);
    let mut loads = JoinSet::new();
    for number in 0..16 {
        loads.spawn(async move {
            let mut wire = Wire::connect(address).await;
            let mut count = 0_u32;
            for _ in 0..AHEAD {
                wire.send(8, &commit(number, 0)).await;
            }
            while now() < end {
                let answer = wire.receive::<OffsetCommitRequest>().await;
                let codes = answer.topics.iter().flat_map(|topic| &topic.partitions);
                assert!(codes.into_iter().all(|it| it.error_code == 0));
                count += 1;
                wire.send(8, &commit(number, i64::from(count))).await;
            }
            count
        });
    }
    let counts = loads.join_all().await;
    let took = start.elapsed().as_secs_f64();
    let count: u32 = counts.iter().sum();
    println!(
        "offset commits: {:.0} per second, {:.2} CPU seconds per second, {:.1} PUTs per second",
        f64::from(count) / took,
        (cpu(broker) - cpu_before) / took,
        (puts(broker) - puts_before) / took,
    );
}

fn commit(group: usize, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: Str::from(format!("committer-{group}")),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: Str::from_static(WIDE),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: i32::try_from(offset % 100).unwrap_or_default(),
                committed_offset: offset,
                ..OffsetCommitRequestPartition::default()
            }],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

fn join(group: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: Str::from(group.to_owned()),
        session_timeout_ms: 60_000,
        rebalance_timeout_ms: 300_000,
        protocol_type: Str::from_static("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: Str::from_static("range"),
            metadata: Bytes::from_static(&[0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
        }],
        ..JoinGroupRequest::default()
    }
}

/// Many small groups: all members join, sync, and then beat every 3 s.
async fn heartbeats(broker: &mut Sandbox, address: SocketAddr, given: &CommandLine) {
    let start = now();
    let mut setting_up = JoinSet::new();
    let groups_of_one = AHEAD / 2;
    for first in (0..given.groups).step_by(groups_of_one) {
        let last = given.groups.min(first + groups_of_one);
        setting_up.spawn(async move { members(address, first..last).await });
    }
    let wires = setting_up.join_all().await;
    let members: usize = wires.iter().map(|(_, beats)| beats.len()).sum();
    println!(
        "{members} members joined within {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let seconds = given.seconds;
    let mut loads = JoinSet::new();
    for (mut wire, beats) in wires {
        loads.spawn(async move {
            let mut ticks = interval(Duration::from_secs(3));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for _ in 0..=seconds / 3 {
                ticks.tick().await;
                for beat in &beats {
                    wire.send(3, beat).await;
                }
                for _ in &beats {
                    let answer = wire.receive::<HeartbeatRequest>().await;
                    assert_eq!(answer.error_code, 0, "a heartbeat of a stable group");
                }
            }
        });
    }
    sleep(Duration::from_secs(3)).await;
    let (before, start) = (cpu(broker), now());
    loads.join_all().await;
    let share = (cpu(broker) - before) / start.elapsed().as_secs_f64();
    println!(
        "heartbeats of {} groups of 2 members every 3 s: {:.1} % of a core",
        given.groups,
        share * 100.0
    );
}

/// Groups of two over one connection, stable; and the heartbeat of each member.
async fn members(
    address: SocketAddr,
    groups: std::ops::Range<usize>,
) -> (Wire, Vec<HeartbeatRequest>) {
    let mut wire = Wire::connect(address).await;
    let names: Vec<_> = groups.map(|number| format!("small-{number}")).collect();
    for name in names.iter().flat_map(|name| [name, name]) {
        wire.send(1, &join(name)).await;
    }
    let mut joined = Vec::new();
    for name in names.iter().flat_map(|name| [name, name]) {
        let answer = wire.receive::<JoinGroupRequest>().await;
        assert_eq!(answer.error_code, 0, "a member joins");
        joined.push((name.clone(), answer));
    }
    let mut beats = Vec::new();
    for (name, member) in joined {
        let sync = SyncGroupRequest {
            group_id: Str::from(name.clone()),
            generation_id: member.generation_id,
            member_id: member.member_id.clone(),
            ..SyncGroupRequest::default()
        };
        wire.send(1, &sync).await;
        beats.push(HeartbeatRequest {
            group_id: Str::from(name),
            generation_id: member.generation_id,
            member_id: member.member_id,
            ..HeartbeatRequest::default()
        });
    }
    for _ in &beats {
        assert_eq!(
            wire.receive::<SyncGroupRequest>().await.error_code,
            0,
            "a member syncs"
        );
    }
    (wire, beats)
}

/// One more member in a large group, by either protocol: from its first request until all are stable.
async fn rebalances(address: SocketAddr, count: usize, bootstrap: &str) {
    // A client's own.
    const BEAT: Duration = Duration::from_secs(3);
    let (told, mut stable) = tokio::sync::mpsc::channel(1000);
    let mut loads = JoinSet::new();
    for _ in 0..count {
        loads.spawn(classic_member(address, BEAT, told.clone()));
    }
    all_in(&mut stable, count).await;
    let start = now();
    loads.spawn(classic_member(address, BEAT, told.clone()));
    all_in(&mut stable, count + 1).await;
    println!(
        "classic group of {count}, one joins: {:.2} s to all stable, members beat every {} s",
        start.elapsed().as_secs_f64(),
        BEAT.as_secs()
    );
    loads.shutdown().await;

    client::create_topic(
        bootstrap,
        "shared",
        i32::try_from(count * 2).unwrap_or(i32::MAX),
    );
    let (told, mut stable) = tokio::sync::mpsc::channel(1000);
    for number in 0..count {
        loads.spawn(consumer_member(address, number, told.clone()));
    }
    all_have_some(&mut stable, count).await;
    let start = now();
    loads.spawn(consumer_member(address, count, told.clone()));
    let last = all_have_some(&mut stable, count + 1).await;
    println!(
        "consumer group of {count}, one joins: {:.2} s until it has its share, members beat every {last} ms",
        start.elapsed().as_secs_f64()
    );
    loads.shutdown().await;
}

/// Waits until a generation has told `count` members that they are stable.
async fn all_in(stable: &mut tokio::sync::mpsc::Receiver<i32>, count: usize) {
    let mut newest = (0, 0);
    while newest.1 < count {
        let Some(generation) = stable.recv().await else {
            return;
        };
        newest = match generation.cmp(&newest.0) {
            std::cmp::Ordering::Greater => (generation, 1),
            std::cmp::Ordering::Equal => (generation, newest.1 + 1),
            std::cmp::Ordering::Less => newest,
        };
    }
}

/// A member that joins, syncs, beats, and joins again when it is told to; it tells each generation it is stable in.
async fn classic_member(address: SocketAddr, beat: Duration, told: tokio::sync::mpsc::Sender<i32>) {
    let mut wire = Wire::connect(address).await;
    let mut member_id = Str::default();
    loop {
        let request = JoinGroupRequest {
            member_id: member_id.clone(),
            ..join("large")
        };
        let joined = wire.call(3, &request).await;
        member_id = joined.member_id.clone();
        let members = joined
            .members
            .iter()
            .map(|member| SyncGroupRequestAssignment {
                member_id: member.member_id.clone(),
                assignment: Bytes::from_static(b"all of it"),
            });
        let sync = SyncGroupRequest {
            group_id: Str::from_static("large"),
            generation_id: joined.generation_id,
            member_id: member_id.clone(),
            assignments: members.collect(),
            ..SyncGroupRequest::default()
        };
        if wire.call(1, &sync).await.error_code != 0 {
            continue;
        }
        told.send(joined.generation_id).await.ok();
        let heartbeat = HeartbeatRequest {
            group_id: Str::from_static("large"),
            generation_id: joined.generation_id,
            member_id: member_id.clone(),
            ..HeartbeatRequest::default()
        };
        while wire.call(3, &heartbeat).await.error_code == 0 {
            sleep(beat).await;
        }
    }
}

/// Waits until `count` members have partitions of their own, and says how often they beat.
async fn all_have_some(
    stable: &mut tokio::sync::mpsc::Receiver<(usize, i32)>,
    count: usize,
) -> i32 {
    let mut members = std::collections::BTreeSet::new();
    let mut interval_ms = 0;
    while members.len() < count {
        let Some((number, beat_ms)) = stable.recv().await else {
            return 0;
        };
        interval_ms = beat_ms;
        // Those that were there before have theirs.
        members.insert(number);
        if number + 1 == count {
            return interval_ms;
        }
    }
    interval_ms
}

/// A member of the newer protocol, which gives up and takes what it is told; it tells when it has partitions.
async fn consumer_member(
    address: SocketAddr,
    number: usize,
    told: tokio::sync::mpsc::Sender<(usize, i32)>,
) {
    let mut wire = Wire::connect(address).await;
    let mut request = ConsumerGroupHeartbeatRequest {
        group_id: Str::from_static("large-consumers"),
        member_id: Str::from(format!("member-{number}")),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![Str::from_static("shared")]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    loop {
        let answer = wire.call(1, &request).await;
        assert_eq!(answer.error_code, 0, "a heartbeat of a member");
        let mut is_changed = false;
        request = ConsumerGroupHeartbeatRequest {
            group_id: request.group_id,
            member_id: request.member_id,
            member_epoch: answer.member_epoch,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        if let Some(assignment) = answer.assignment {
            let owned = assignment
                .topic_partitions
                .iter()
                .map(|topic| TopicPartitions {
                    topic_id: topic.topic_id,
                    partitions: topic.partitions.clone(),
                });
            let owned: Vec<_> = owned.collect();
            if !owned.is_empty() {
                told.send((number, answer.heartbeat_interval_ms)).await.ok();
            }
            // What was taken or given up is told at once, as clients do.
            request.topic_partitions = Some(owned);
            is_changed = true;
        }
        if !is_changed {
            let beat_ms = u64::try_from(answer.heartbeat_interval_ms).unwrap_or(5000);
            sleep(Duration::from_millis(beat_ms)).await;
        }
    }
}
