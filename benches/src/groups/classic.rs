//! A large classic group: one member more, then one that dies.

use std::cmp::Ordering;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use floe_protocol::messages::heartbeat::HeartbeatRequest;
use floe_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use floe_protocol::str::Str;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::join;
use crate::time::now;
use crate::wire::Wire;

/// A client's own.
pub const BEAT: Duration = Duration::from_secs(3);
/// After which silence a member is given up: the least that a broker allows.
pub const SESSION: Duration = Duration::from_secs(6);
const SESSION_MS: i32 = 6_000;
const GROUP: &str = "large";

/// How long a large group takes until all its members are stable again.
#[derive(Debug)]
pub struct Rebalances {
    /// From the first request of one member more.
    pub one_joins: Duration,
    /// From the end of the session of one that died.
    pub one_dies: Duration,
}

/// Has one member more join `count` others, and die.
///
/// # Panics
///
/// If the broker closes a connection.
pub async fn measure(address: SocketAddr, count: usize) -> Rebalances {
    let (told, mut stable) = mpsc::channel(1000);
    let mut others = JoinSet::new();
    let mut lives = Vec::new();
    for _ in 0..count {
        let (life, death) = oneshot::channel();
        lives.push(life);
        others.spawn(member(address, told.clone(), death));
    }
    all_in(&mut stable, count).await;
    let start = now();
    let (life, death) = oneshot::channel();
    let mut one = JoinSet::new();
    one.spawn(member(address, told, death));
    all_in(&mut stable, count + 1).await;
    let one_joins = start.elapsed();
    drop(life);
    let heard = one.join_all().await.into_iter().max().unwrap_or(start);
    all_in(&mut stable, count).await;
    let one_dies = (heard + SESSION).elapsed();
    others.shutdown().await;
    Rebalances {
        one_joins,
        one_dies,
    }
}

/// Waits until a generation has told `count` members that they are stable.
async fn all_in(stable: &mut mpsc::Receiver<i32>, count: usize) {
    let mut newest = (0, 0);
    while newest.1 < count {
        let Some(generation) = stable.recv().await else {
            return;
        };
        newest = match generation.cmp(&newest.0) {
            Ordering::Greater => (generation, 1),
            Ordering::Equal => (generation, newest.1 + 1),
            Ordering::Less => newest,
        };
    }
}

/// A member that joins, syncs, beats, and joins again when it is told to; it tells each generation it is stable in.
/// It dies when `death` is dropped while it is stable, and says when it was heard last.
async fn member(
    address: SocketAddr,
    told: mpsc::Sender<i32>,
    mut death: oneshot::Receiver<()>,
) -> Instant {
    let mut wire = Wire::connect(address).await;
    let mut member_id = Str::default();
    loop {
        let mut request = join(GROUP, SESSION_MS);
        request.member_id = member_id;
        let joined = wire.call(3, &request).await;
        member_id = joined.member_id.clone();
        let assigned = |id: &Str| SyncGroupRequestAssignment {
            member_id: id.clone(),
            assignment: Bytes::from_static(b"all of it"),
        };
        let sync = SyncGroupRequest {
            group_id: Str::from_static(GROUP),
            generation_id: joined.generation_id,
            member_id: member_id.clone(),
            assignments: joined
                .members
                .iter()
                .map(|it| assigned(&it.member_id))
                .collect(),
            ..SyncGroupRequest::default()
        };
        if wire.call(1, &sync).await.error_code != 0 {
            continue;
        }
        told.send(joined.generation_id).await.ok();
        let heartbeat = HeartbeatRequest {
            group_id: Str::from_static(GROUP),
            generation_id: joined.generation_id,
            member_id: member_id.clone(),
            ..HeartbeatRequest::default()
        };
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = now();
        loop {
            tokio::select! {
                biased;
                _ = &mut death => return heard,
                _ = ticks.tick() => {}
            }
            heard = now();
            if wire.call(3, &heartbeat).await.error_code != 0 {
                break;
            }
        }
    }
}
