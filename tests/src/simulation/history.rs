//! What clients did and saw during a run, kept outside of every process that can be killed.

use std::collections::BTreeMap;
use std::fmt;

use floe_protocol::types::{Offset, TopicPartition};

/// The content of one record: unique in a run, and ordered per producer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Value {
    /// Who sent it.
    pub producer: u32,
    /// Counts that producer's records in that partition from 0.
    pub number: u32,
}

impl Value {
    /// The bytes of the record's value: 8, big-endian.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 8] {
        (u64::from(self.producer) << 32 | u64::from(self.number)).to_be_bytes()
    }

    /// Reads it back.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let word = u64::from_be_bytes(bytes.try_into().ok()?);
        let half = |word: u64| u32::try_from(word & u64::from(u32::MAX)).ok();
        Some(Self { producer: half(word >> 32)?, number: half(word)? })
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.producer, self.number)
    }
}

/// What a producer knows about a record it sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// Sent at least once, never answered for sure.
    Unknown,
    /// Acknowledged at this offset.
    Acked(Offset),
    /// Refused for ever.
    Refused,
}

/// How strict the rules are for a producer's records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guarantee {
    /// Idempotent: at most once, in the order of sending.
    ExactlyOnce,
    /// Sent once without a producer id, one at a time: at most once, in the order of sending.
    AtMostOnce,
}

/// One run as the clients saw it.
#[derive(Debug, Default)]
pub struct History {
    /// Each record sent and what became of it.
    pub sent: BTreeMap<TopicPartition, BTreeMap<Value, Fate>>,
    /// The rules per producer.
    pub guarantees: BTreeMap<u32, Guarantee>,
    /// What consumers read, in the order they read it.
    pub reads: Vec<Read>,
    /// Rules that were broken as seen on the way.
    pub violations: Vec<String>,
}

/// One record as a consumer got it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    /// From where.
    pub partition: TopicPartition,
    /// At which offset.
    pub offset: Offset,
    /// What.
    pub value: Value,
}

impl History {
    /// Notes that a record is about to be sent; sending it again changes nothing.
    pub fn sending(&mut self, partition: TopicPartition, value: Value) {
        self.sent.entry(partition).or_default().entry(value).or_insert(Fate::Unknown);
    }

    /// Notes an answer. Two answers that contradict each other break a rule.
    pub fn settled(&mut self, partition: TopicPartition, value: Value, fate: Fate) {
        let before = self.sent.entry(partition).or_default().insert(value, fate);
        if let Some(before @ Fate::Acked(_)) = before
            && before != fate
        {
            self.violations.push(format!("{partition}: {value} was {before:?}, then {fate:?}"));
        }
    }

    /// Notes a rule that was broken.
    pub fn violation(&mut self, what: String) {
        self.violations.push(what);
    }
}
