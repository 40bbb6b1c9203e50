//! A simulated member of a group, which also commits offsets of its own: holds the cluster to what it told. No
//! generation has two leaders or falls, nobody gets an assignment of another generation, and no acknowledged
//! commit is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::heartbeat::HeartbeatRequest;
use floe_protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use floe_protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use floe_protocol::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use floe_protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use floe_protocol::str::Str;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::observed::Observed;
use super::wire::{Closed, Link};
use super::world::Agents;

const GROUP: &str = "simulated";
/// The topic of every run.
const TOPIC: &str = "topic-0";
const SESSION_MS: i32 = 6_000;
const REBALANCE_MS: i32 = 10_000;

/// What all members of a group were told.
#[derive(Debug, Default)]
pub struct Told {
    /// Who leads each generation.
    leaders: BTreeMap<i32, Str>,
}

/// A member, and the group without members whose offsets it commits.
#[derive(Debug)]
pub struct Member {
    number: u32,
    random: StdRng,
    observed: Arc<Mutex<Observed>>,
    told: Arc<Mutex<Told>>,
    id: Str,
    generation: i32,
    /// The next offset to commit.
    next: i64,
    /// What may be stored: the latest that was acknowledged, and all whose outcome is not known.
    acknowledged: i64,
    unknown: BTreeSet<i64>,
}

impl Member {
    /// A member that is in no group yet.
    #[must_use]
    pub fn new(
        number: u32,
        random: StdRng,
        observed: Arc<Mutex<Observed>>,
        told: Arc<Mutex<Told>>,
    ) -> Self {
        Self {
            number,
            random,
            observed,
            told,
            id: Str::new(),
            generation: 0,
            next: 0,
            acknowledged: -1,
            unknown: BTreeSet::new(),
        }
    }

    /// Lives until it is dropped.
    pub async fn run(&mut self, agents: &Agents) {
        loop {
            let (broker, dead, id) = agents.connect(&mut self.random).await;
            let mut link = Link::new(&broker, dead, id);
            // Until the process dies, or for a while: then another one is asked.
            for _ in 0..self.random.random_range(1..=3) {
                if self.life(&mut link).await.is_err() {
                    break;
                }
                self.pause().await;
            }
            self.pause().await;
        }
    }

    async fn pause(&mut self) {
        sleep(Duration::from_millis(self.random.random_range(0..500))).await;
    }

    fn violation(&self, what: String) {
        self.observed.lock().expect("not poisoned").violation(what);
    }

    /// Joins, syncs, and stays for some heartbeats, unless something keeps it from it.
    async fn life(&mut self, link: &mut Link) -> Result<(), Closed> {
        let joined = self.join(link).await?;
        if joined.error_code != 0 {
            return Ok(());
        }
        self.joined(&joined);
        let synced = link.call(5, &self.sync(&joined)).await?;
        if synced.error_code != 0 {
            return Ok(());
        }
        let expected = joined.generation_id.to_string();
        if synced.assignment != expected.as_bytes() {
            let found = String::from_utf8_lossy(&synced.assignment).into_owned();
            self.violation(format!(
                "in generation {expected} an assignment of '{found}'"
            ));
        }
        for _ in 0..self.random.random_range(1..=5) {
            self.pause().await;
            let heartbeat = HeartbeatRequest {
                group_id: GROUP.into(),
                generation_id: joined.generation_id,
                member_id: self.id.clone(),
                group_instance_id: None,
            };
            let code = link.call(4, &heartbeat).await?.error_code;
            if code == ErrorCode::UnknownMemberId.code() {
                self.id = Str::new();
            }
            if code != 0 {
                return Ok(());
            }
            self.commit(link).await?;
            self.fetch(link).await?;
        }
        Ok(())
    }

    async fn join(&mut self, link: &mut Link) -> Result<JoinGroupResponse, Closed> {
        let request = |id: &Str| JoinGroupRequest {
            group_id: GROUP.into(),
            session_timeout_ms: SESSION_MS,
            rebalance_timeout_ms: REBALANCE_MS,
            member_id: id.clone(),
            protocol_type: "consumer".into(),
            protocols: vec![JoinGroupRequestProtocol {
                name: "range".into(),
                metadata: Bytes::new(),
            }],
            ..JoinGroupRequest::default()
        };
        let answer = link.call(9, &request(&self.id)).await?;
        if answer.error_code == ErrorCode::UnknownMemberId.code() {
            self.id = Str::new();
        }
        if answer.error_code != ErrorCode::MemberIdRequired.code() {
            return Ok(answer);
        }
        self.id = answer.member_id.detached();
        link.call(9, &request(&self.id)).await
    }

    /// Holds what it was told against what was told before.
    fn joined(&mut self, joined: &JoinGroupResponse) {
        let generation = joined.generation_id;
        if generation < self.generation {
            let before = self.generation;
            self.violation(format!("generation {generation} came after {before}"));
        }
        self.generation = generation;
        let leader = joined.leader.detached();
        let known = {
            let mut told = self.told.lock().expect("not poisoned");
            told.leaders
                .entry(generation)
                .or_insert_with(|| leader.clone())
                .clone()
        };
        if known != leader {
            self.violation(format!("{known} and {leader} lead generation {generation}"));
        }
    }

    /// The leader gives everybody the number of the generation.
    fn sync(&self, joined: &JoinGroupResponse) -> SyncGroupRequest {
        let generation = joined.generation_id;
        let own = |member: &floe_protocol::messages::join_group::JoinGroupResponseMember| {
            SyncGroupRequestAssignment {
                member_id: member.member_id.clone(),
                assignment: Bytes::from(generation.to_string()),
            }
        };
        SyncGroupRequest {
            group_id: GROUP.into(),
            generation_id: generation,
            member_id: self.id.clone(),
            group_instance_id: None,
            protocol_type: joined.protocol_type.clone(),
            protocol_name: joined.protocol_name.clone(),
            assignments: joined.members.iter().map(own).collect(),
        }
    }

    fn own_group(&self) -> Str {
        format!("offsets-{}", self.number).into()
    }

    async fn commit(&mut self, link: &mut Link) -> Result<(), Closed> {
        let offset = self.next;
        self.next += 1;
        self.unknown.insert(offset);
        let request = OffsetCommitRequest {
            group_id: self.own_group(),
            generation_id_or_member_epoch: -1,
            topics: vec![OffsetCommitRequestTopic {
                name: TOPIC.into(),
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: 0,
                    committed_offset: offset,
                    committed_leader_epoch: -1,
                    committed_metadata: None,
                }],
                ..OffsetCommitRequestTopic::default()
            }],
            ..OffsetCommitRequest::default()
        };
        let answer = link.call(9, &request).await?;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let codes: Vec<_> = partitions.map(|partition| partition.error_code).collect();
        if codes == [0] {
            self.unknown.remove(&offset);
            self.acknowledged = offset;
        }
        Ok(())
    }

    async fn fetch(&mut self, link: &mut Link) -> Result<(), Closed> {
        let request = OffsetFetchRequest {
            group_id: self.own_group(),
            topics: Some(vec![OffsetFetchRequestTopic {
                name: TOPIC.into(),
                partition_indexes: vec![0],
            }]),
            ..OffsetFetchRequest::default()
        };
        let answer = link.call(7, &request).await?;
        if answer.error_code != 0 {
            return Ok(());
        }
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        for found in partitions.map(|partition| partition.committed_offset) {
            let (acknowledged, unknown) = (self.acknowledged, &self.unknown);
            if found != acknowledged && !unknown.contains(&found) {
                let group = self.number;
                self.violation(format!(
                    "group {group}: offset {found} is stored, {acknowledged} was acknowledged"
                ));
            }
        }
        Ok(())
    }
}
