//! Many small classic groups, all of them stable, whose members beat as Kafka's clients do.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use floe_protocol::messages::heartbeat::HeartbeatRequest;
use floe_protocol::messages::join_group::JoinGroupRequest;
use floe_protocol::messages::sync_group::SyncGroupRequest;
use floe_protocol::str::Str;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::wire::Wire;

/// Groups whose members share a connection.
const GROUPS_OF_ONE: usize = 24;
/// As Kafka's clients have it.
const SESSION_MS: i32 = 60_000;

/// Members in groups of two, by connection: what each says to be heard.
#[derive(Debug)]
pub struct Members(Vec<(Wire, Vec<HeartbeatRequest>)>);

impl Members {
    /// Has two members join each of `groups` groups.
    ///
    /// # Panics
    ///
    /// If one cannot.
    pub async fn join(address: SocketAddr, groups: usize) -> Members {
        let mut joining = JoinSet::new();
        for first in (0..groups).step_by(GROUPS_OF_ONE) {
            let last = groups.min(first + GROUPS_OF_ONE);
            joining.spawn(members(address, first..last));
        }
        Members(joining.join_all().await)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.iter().map(|(_, beats)| beats.len()).sum()
    }

    /// All members beat every `pause`, `rounds` times after a first one, at whose end `begun` is called.
    ///
    /// # Panics
    ///
    /// If a member is told anything but that it goes on.
    pub async fn beat(self, pause: Duration, rounds: u64, begun: impl FnOnce()) {
        let (told, mut first) = mpsc::channel(self.0.len().max(1));
        let mut loads = JoinSet::new();
        for (mut wire, beats) in self.0 {
            let told = told.clone();
            loads.spawn(async move {
                let mut ticks = interval(pause);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                for round in 0..=rounds {
                    ticks.tick().await;
                    for beat in &beats {
                        wire.send(3, beat).await;
                    }
                    for _ in &beats {
                        let answer = wire.receive::<HeartbeatRequest>().await;
                        assert_eq!(answer.error_code, 0, "a heartbeat of a stable group");
                    }
                    if round == 0 {
                        told.send(()).await.ok();
                    }
                }
            });
        }
        drop(told);
        for _ in 0..loads.len() {
            first.recv().await;
        }
        begun();
        loads.join_all().await;
    }
}

/// Groups of two over one connection, stable; and the heartbeat of each member.
async fn members(address: SocketAddr, groups: Range<usize>) -> (Wire, Vec<HeartbeatRequest>) {
    let mut wire = Wire::connect(address).await;
    let names: Vec<_> = groups.map(|number| format!("small-{number}")).collect();
    for name in names.iter().flat_map(|name| [name, name]) {
        wire.send(1, &super::join(name, SESSION_MS)).await;
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
        let answer = wire.receive::<SyncGroupRequest>().await;
        assert_eq!(answer.error_code, 0, "a member syncs");
    }
    (wire, beats)
}
