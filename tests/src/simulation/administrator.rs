//! A simulated administrator: makes, configures, enlarges and deletes topics, drops records, and holds the cluster to its promise that who was
//! told of a change sees it at whatever agent it asks next.

mod changes;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::Request;
use floe_protocol::messages::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use floe_protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use floe_protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use floe_protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use floe_protocol::str::Str;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::observed::Observed;
use super::wire::{Closed, Link};
use super::world::Agents;

const TIMEOUT_MS: i32 = 30_000;

/// How a topic must be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shown {
    /// With this many partitions.
    Partitions(usize),
    NotAtAll,
}

/// An administrator, who uses topics that nobody else knows.
#[derive(Debug)]
pub struct Administrator {
    random: StdRng,
    observed: Arc<Mutex<Observed>>,
    topics: u32,
}

impl Administrator {
    /// One that has done nothing yet.
    #[must_use]
    pub const fn new(random: StdRng, observed: Arc<Mutex<Observed>>) -> Self {
        Self {
            random,
            observed,
            topics: 0,
        }
    }

    /// Works until it is dropped.
    pub async fn run(&mut self, agents: &Agents) {
        loop {
            sleep(Duration::from_millis(self.random.random_range(0..1_000))).await;
            self.topics += 1;
            let name: Str = format!("administered-{}", self.topics).into();
            // An outcome that is not known promises nothing: the next topic has another name.
            self.one_topic(&name, agents).await.unwrap_or_default();
        }
    }

    async fn one_topic(&mut self, name: &Str, agents: &Agents) -> Result<(), Closed> {
        let partitions: i32 = self.random.random_range(1..=3);
        let create = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: name.clone(),
                num_partitions: partitions,
                replication_factor: -1,
                ..CreatableTopic::default()
            }],
            timeout_ms: TIMEOUT_MS,
            ..CreateTopicsRequest::default()
        };
        let created = self.ask(agents, 7, &create).await?.topics;
        if !is_done(created.first().map(|topic| topic.error_code)) {
            return Ok(());
        }
        let mut shown = Shown::Partitions(partitions.unsigned_abs() as usize);
        self.look(name, shown, "created", agents).await?;
        if self.random.random_ratio(1, 2) && !self.configure(name, agents).await? {
            return Ok(());
        }
        if self.random.random_ratio(1, 2) && !self.drop_records(name, agents).await? {
            return Ok(());
        }
        if self.random.random_ratio(1, 2) {
            let enlarge = CreatePartitionsRequest {
                topics: vec![CreatePartitionsTopic {
                    name: name.clone(),
                    count: partitions + 1,
                    ..CreatePartitionsTopic::default()
                }],
                timeout_ms: TIMEOUT_MS,
                ..CreatePartitionsRequest::default()
            };
            let enlarged = self.ask(agents, 3, &enlarge).await?.results;
            if !is_done(enlarged.first().map(|topic| topic.error_code)) {
                return Ok(());
            }
            shown = Shown::Partitions(partitions.unsigned_abs() as usize + 1);
            self.look(name, shown, "enlarged", agents).await?;
        }
        let delete = DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some(name.clone()),
                ..DeleteTopicState::default()
            }],
            timeout_ms: TIMEOUT_MS,
            ..DeleteTopicsRequest::default()
        };
        let deleted = self.ask(agents, 6, &delete).await?.responses;
        if is_done(deleted.first().map(|topic| topic.error_code)) {
            self.look(name, Shown::NotAtAll, "deleted", agents).await?;
        }
        Ok(())
    }

    /// Asks any agent what it shows.
    async fn look(
        &mut self,
        name: &Str,
        expected: Shown,
        change: &str,
        agents: &Agents,
    ) -> Result<(), Closed> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(name.clone()),
                ..MetadataRequestTopic::default()
            }]),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let answer = self.ask(agents, 12, &request).await?;
        let shown = match answer.topics.first() {
            Some(topic) if topic.error_code == ErrorCode::UnknownTopicOrPartition.code() => {
                Shown::NotAtAll
            }
            Some(topic) if topic.error_code == 0 => Shown::Partitions(topic.partitions.len()),
            // It may not know for sure.
            Some(_) | None => return Ok(()),
        };
        if shown != expected {
            self.violation(format!(
                "topic {name} was {change}, then shown as {shown:?}"
            ));
        }
        Ok(())
    }

    fn violation(&self, what: String) {
        self.observed.lock().expect("not poisoned").violation(what);
    }

    /// Sends one request to any agent.
    async fn ask<R: Request>(
        &mut self,
        agents: &Agents,
        version: i16,
        request: &R,
    ) -> Result<R::Response, Closed> {
        let (broker, dead, id) = agents.connect(&mut self.random).await;
        Link::new(&broker, dead, id).call(version, request).await
    }
}

fn is_done(code: Option<i16>) -> bool {
    code == Some(0)
}
