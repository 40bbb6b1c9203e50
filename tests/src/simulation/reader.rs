//! A simulated member of a group of the consumer protocol (KIP-848): holds the cluster to it that a partition has
//! one owner at any moment, whatever answers are lost and whoever owns the metadata, and that nobody is put out who
//! was heard within its session.
//!
//! It behaves as Kafka's client does: who is put out comes back under its id, who is to let go of a partition takes
//! its time and has it until it says otherwise, and takes nothing new before that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use floe_protocol::error_code::ErrorCode;
use floe_protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicPartitions,
};
use floe_protocol::str::Str;
use floe_protocol::types::{TopicId, TopicPartition};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::{Instant, sleep};

use super::observed::Observed;
use super::wire::{Closed, Link};
use super::world::Agents;

const GROUP: &str = "readers";
/// The topic of every run.
const TOPIC: &str = "topic-0";
/// After which silence a member is given up: shorter than most runs, so that this happens as well.
pub const SESSION: Duration = Duration::from_secs(8);
/// How long after a request that was answered nobody else may have what its sender reads. An owner that was replaced
/// without knowing may have answered it, up to 2 s after the session began anew with the next one.
const GOOD: Duration = Duration::from_secs(6);
/// Longer than any run: who is put out for being slow hears of it too late to be held to anything.
const REBALANCE_MS: i32 = 36_000_000;

/// Who reads what, and until when it may without being heard.
#[derive(Debug, Default)]
pub struct Owners(BTreeMap<TopicPartition, (u32, Instant)>);

/// A member.
#[derive(Debug)]
pub struct Reader {
    number: u32,
    random: StdRng,
    observed: Arc<Mutex<Observed>>,
    owners: Arc<Mutex<Owners>>,
    /// How often it began anew as another member.
    lives: u32,
    epoch: i32,
    /// What it reads.
    owned: BTreeSet<TopicPartition>,
    /// What it was told to read.
    told: BTreeSet<TopicPartition>,
    /// When it is done with what it was told to let go of.
    lets_go: Option<Instant>,
    /// What it said last that it reads, and was heard.
    said: Option<BTreeSet<TopicPartition>>,
    /// Its last request was not answered, so it says everything anew.
    says_all: bool,
    /// When it sent the last request that was answered.
    heard: Option<Instant>,
}

impl Reader {
    /// A member that is in no group yet.
    #[must_use]
    pub fn new(
        number: u32,
        random: StdRng,
        observed: Arc<Mutex<Observed>>,
        owners: Arc<Mutex<Owners>>,
    ) -> Self {
        Self {
            number,
            random,
            observed,
            owners,
            lives: 0,
            epoch: 0,
            owned: BTreeSet::new(),
            told: BTreeSet::new(),
            lets_go: None,
            said: None,
            says_all: false,
            heard: None,
        }
    }

    /// Lives until it is dropped.
    pub async fn run(&mut self, agents: &Agents) {
        loop {
            let (broker, dead, id) = agents.connect(&mut self.random).await;
            let mut link = Link::new(&broker, dead, id);
            // Until the process dies, or for a while: then another one is asked.
            for _ in 0..self.random.random_range(1..=8) {
                if self.beat(&mut link).await.is_err() {
                    self.unheard();
                    break;
                }
                sleep(Duration::from_millis(self.random.random_range(0..1000))).await;
            }
            match self.random.random_range(0..12) {
                0 => self.leave(&mut link).await,
                // It dies, and another one is started in its place.
                1 => self.live_again(),
                _ => {}
            }
        }
    }

    /// Its last request was not answered. A request to join may still arrive, and would say that it has nothing.
    fn unheard(&mut self) {
        if self.epoch == 0 {
            self.live_again();
        } else {
            self.says_all = true;
        }
    }

    fn id(&self) -> Str {
        format!("reader-{}-{}", self.number, self.lives).into()
    }

    async fn beat(&mut self, link: &mut Link) -> Result<(), Closed> {
        let request = self.request();
        let sent = Instant::now();
        let answer = link.call(1, &request).await?;
        let code = ErrorCode::from_code(answer.error_code);
        match code {
            // Somebody else may have what it says.
            Some(ErrorCode::None) if Instant::now() >= sent + GOOD => self.unheard(),
            Some(ErrorCode::None) => {
                if answer.member_epoch < self.epoch {
                    let what = format!("epoch {} after {}", answer.member_epoch, self.epoch);
                    self.violation(what);
                }
                self.epoch = answer.member_epoch;
                self.says_all = false;
                self.heard = Some(sent);
                if request.topic_partitions.is_some() {
                    self.said = Some(self.owned.clone());
                }
                if let Some(told) = told(&answer) {
                    // What it makes of that is said in any case.
                    self.said = None;
                    self.told = told;
                }
                self.act(sent + GOOD);
            }
            Some(
                code @ (ErrorCode::UnknownMemberId
                | ErrorCode::GroupIdNotFound
                | ErrorCode::FencedMemberEpoch),
            ) => {
                self.put_out(code);
                self.start_over();
            }
            // The topic may be gone and the group with it, or nobody owns the metadata right now.
            _ => self.unheard(),
        }
        Ok(())
    }

    /// Who was heard within its session is a member still. Its epoch may have gone on in answers that were lost.
    fn put_out(&self, code: ErrorCode) {
        let is_in_time = self
            .heard
            .is_some_and(|heard| Instant::now() < heard + GOOD);
        let may_be_behind = code == ErrorCode::FencedMemberEpoch && self.says_all;
        if is_in_time && !may_be_behind {
            let (number, epoch) = (self.number, self.epoch);
            self.violation(format!(
                "reader {number} is at epoch {epoch} and is told {code:?}"
            ));
        }
    }

    fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let is_full = self.epoch == 0 || self.says_all;
        let says_owned = is_full || self.said.as_ref() != Some(&self.owned);
        ConsumerGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: self.id(),
            member_epoch: self.epoch,
            rebalance_timeout_ms: if is_full { REBALANCE_MS } else { -1 },
            subscribed_topic_names: is_full.then(|| vec![TOPIC.into()]),
            topic_partitions: says_owned.then(|| by_topic(&self.owned)),
            ..ConsumerGroupHeartbeatRequest::default()
        }
    }

    /// Lets go of what it was not told to read when it is done with that, then takes what is new; good until somebody
    /// else may have it.
    fn act(&mut self, until: Instant) {
        let now = Instant::now();
        if self.owned.is_subset(&self.told) {
            self.lets_go = None;
            self.owned.clone_from(&self.told);
        } else {
            let longest_ms = [1, 3_000][self.random.random_range(0..2)];
            let takes = Duration::from_millis(self.random.random_range(0..longest_ms));
            let done = *self.lets_go.get_or_insert(now + takes);
            if now >= done {
                self.lets_go = None;
                self.owned.clone_from(&self.told);
            }
        }
        let mut broken = Vec::new();
        let mut owners = self.owners.lock().expect("not poisoned");
        let (number, owned) = (self.number, &self.owned);
        owners
            .0
            .retain(|partition, (owner, _)| *owner != number || owned.contains(partition));
        for partition in owned {
            let before = owners.0.insert(*partition, (number, until));
            if let Some((other, good_until)) = before
                && other != number
                && now < good_until
            {
                broken.push(format!(
                    "{partition} is given to reader {number} and {other} has it still"
                ));
            }
        }
        drop(owners);
        for what in broken {
            self.violation(what);
        }
    }

    /// It owns nothing any more, and comes back.
    fn start_over(&mut self) {
        let mut owners = self.owners.lock().expect("not poisoned");
        let number = self.number;
        owners.0.retain(|_, (owner, _)| *owner != number);
        drop(owners);
        self.epoch = 0;
        self.owned.clear();
        self.told.clear();
        self.lets_go = None;
        self.said = None;
        self.says_all = false;
        self.heard = None;
    }

    /// Begins anew, as another member.
    fn live_again(&mut self) {
        self.start_over();
        self.lives += 1;
    }

    async fn leave(&mut self, link: &mut Link) {
        let request = ConsumerGroupHeartbeatRequest {
            group_id: GROUP.into(),
            member_id: self.id(),
            member_epoch: -1,
            rebalance_timeout_ms: -1,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        self.live_again();
        // Who is not heard is given up after its session.
        link.call(1, &request).await.map(drop).unwrap_or_default();
    }

    fn violation(&self, what: String) {
        self.observed.lock().expect("not poisoned").violation(what);
    }
}

fn told(answer: &ConsumerGroupHeartbeatResponse) -> Option<BTreeSet<TopicPartition>> {
    let topics = answer.assignment.as_ref()?.topic_partitions.iter();
    let partitions = topics.flat_map(|topic| {
        let id = TopicId(topic.topic_id);
        let indexes = topic.partitions.iter();
        indexes.map(move |index| TopicPartition::new(id, *index))
    });
    Some(partitions.collect())
}

fn by_topic(partitions: &BTreeSet<TopicPartition>) -> Vec<TopicPartitions> {
    let partitions: Vec<_> = partitions.iter().collect();
    let topics = partitions.chunk_by(|one, next| one.topic == next.topic);
    topics
        .map(|of_topic| TopicPartitions {
            topic_id: of_topic[0].topic.0,
            partitions: of_topic.iter().map(|it| it.partition).collect(),
        })
        .collect()
}
