//! A large group of the consumer protocol (KIP-848): one member more, then one that dies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use floe_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, TopicPartitions,
};
use floe_protocol::str::Str;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant as Tick, sleep_until};

use crate::time::now;
use crate::wire::Wire;

/// After which silence a broker gives a member up, by default.
pub const SESSION: Duration = Duration::from_secs(45);
const GROUP: &str = "large-consumers";

/// How long a large group takes until every partition is read again, by all its members.
#[derive(Debug)]
pub struct Rebalances {
    /// From the first request of one member more.
    pub one_joins: Duration,
    /// From the end of the session of one that died.
    pub one_dies: Duration,
    /// How often members are heard.
    pub beat: Duration,
}

/// What a member was told: its number, its partitions, and how often it is to beat.
type Share = (usize, usize, Duration);

/// Has one member more join `count` others that read `partitions` partitions of `topic`, and die.
///
/// # Panics
///
/// If the broker refuses a member.
pub async fn measure(
    address: SocketAddr,
    topic: &'static str,
    partitions: usize,
    count: usize,
) -> Rebalances {
    let (told, mut shares) = mpsc::channel(1000);
    let mut group = Group {
        shares: BTreeMap::new(),
        partitions,
        beat: Duration::ZERO,
    };
    let mut others = JoinSet::new();
    let mut lives = Vec::new();
    for number in 0..count {
        let (life, death) = oneshot::channel();
        lives.push(life);
        others.spawn(member(address, topic, number, told.clone(), death));
    }
    group.settles(&mut shares, count).await;
    let start = now();
    let (life, death) = oneshot::channel();
    let mut one = JoinSet::new();
    one.spawn(member(address, topic, count, told, death));
    group.settles(&mut shares, count + 1).await;
    let one_joins = start.elapsed();
    drop(life);
    let heard = one.join_all().await.into_iter().max().unwrap_or(start);
    group.shares.remove(&count);
    group.settles(&mut shares, count).await;
    let one_dies = (heard + SESSION).elapsed();
    others.shutdown().await;
    Rebalances {
        one_joins,
        one_dies,
        beat: group.beat,
    }
}

/// What its members were told.
struct Group {
    /// Partitions by member.
    shares: BTreeMap<usize, usize>,
    /// All there are.
    partitions: usize,
    beat: Duration,
}

impl Group {
    /// Waits until `count` members have something and nothing is left over.
    async fn settles(&mut self, told: &mut mpsc::Receiver<Share>, count: usize) {
        let is_settled = |shares: &BTreeMap<usize, usize>| {
            let has_some = shares.values().filter(|share| **share > 0).count();
            has_some == count && shares.values().sum::<usize>() == self.partitions
        };
        while !is_settled(&self.shares) {
            let Some((number, share, beat)) = told.recv().await else {
                return;
            };
            self.beat = beat;
            self.shares.insert(number, share);
        }
    }
}

/// A member, which gives up and takes what it is told at once. It dies when `death` is dropped, and says when it was
/// heard last.
async fn member(
    address: SocketAddr,
    topic: &'static str,
    number: usize,
    told: mpsc::Sender<Share>,
    mut death: oneshot::Receiver<()>,
) -> Instant {
    let mut wire = Wire::connect(address).await;
    let mut request = ConsumerGroupHeartbeatRequest {
        group_id: Str::from_static(GROUP),
        member_id: Str::from(format!("member-{number}")),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![Str::from_static(topic)]),
        topic_partitions: Some(Vec::new()),
        ..ConsumerGroupHeartbeatRequest::default()
    };
    loop {
        let heard = now();
        let answer = wire.call(1, &request).await;
        assert_eq!(answer.error_code, 0, "a heartbeat of a member");
        request = ConsumerGroupHeartbeatRequest {
            group_id: request.group_id,
            member_id: request.member_id,
            member_epoch: answer.member_epoch,
            rebalance_timeout_ms: -1,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        let beat_ms = u64::try_from(answer.heartbeat_interval_ms).unwrap_or(5000);
        let beat = Duration::from_millis(beat_ms);
        if let Some(assignment) = answer.assignment {
            let owned = assignment
                .topic_partitions
                .iter()
                .map(|topic| TopicPartitions {
                    topic_id: topic.topic_id,
                    partitions: topic.partitions.clone(),
                });
            let owned: Vec<_> = owned.collect();
            let share = owned.iter().map(|topic| topic.partitions.len()).sum();
            told.send((number, share, beat)).await.ok();
            // What was taken or given up is told at once, as clients do.
            request.topic_partitions = Some(owned);
            continue;
        }
        tokio::select! {
            biased;
            _ = &mut death => return heard,
            () = sleep_until(Tick::now() + beat) => {}
        }
    }
}
