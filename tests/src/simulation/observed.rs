//! What clients did and saw during a run, kept outside of every process that can be killed.

use std::collections::BTreeMap;

use floe_protocol::types::{Offset, TopicPartition};

use crate::checker;
use crate::history::{Id, Outcome, PartitionHistory, Read};

/// One run as its clients saw it.
#[derive(Debug, Default)]
pub struct Observed {
    /// Sends and reads, per partition.
    pub partitions: BTreeMap<TopicPartition, PartitionHistory>,
    /// Log ends that some client was told.
    pub ends: BTreeMap<TopicPartition, Offset>,
    /// Promises that a client saw broken on the way, beyond what the checker looks for.
    pub violations: Vec<String>,
}

impl Observed {
    /// Notes that a record is sent for the first time.
    pub fn sending(&mut self, partition: TopicPartition, id: Id) {
        self.partitions.entry(partition).or_default().send(id);
    }

    /// Notes an answer. One that contradicts an earlier acknowledgement breaks a promise.
    pub fn settled(&mut self, partition: TopicPartition, id: Id, outcome: Outcome) {
        let history = self.partitions.entry(partition).or_default();
        if let Some(before @ Outcome::Acked(_)) = history.sent.get(&id).copied()
            && before != outcome
        {
            self.violations.push(format!(
                "{partition}: {id:?} was {before:?}, then {outcome:?}"
            ));
        }
        history.settle(id, outcome);
    }

    /// Notes what a reader was given.
    pub fn read(&mut self, partition: TopicPartition, read: Read) {
        self.partitions
            .entry(partition)
            .or_default()
            .reads
            .push(read);
    }

    /// The least log end that may be told from now on: what was acknowledged or told before lies below it.
    #[must_use]
    pub fn least_ends(&self) -> BTreeMap<TopicPartition, Offset> {
        let mut ends = self.ends.clone();
        for (partition, history) in &self.partitions {
            let end = ends.entry(*partition).or_default();
            *end = history.end_to_read(*end);
        }
        ends
    }

    /// Notes a broken promise.
    pub fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// Every broken promise, in words.
    #[must_use]
    pub fn verdict(&self) -> Vec<String> {
        let mut broken = self.violations.clone();
        for (partition, history) in &self.partitions {
            let anomalies = checker::check(history).anomalies;
            broken.extend(
                anomalies
                    .iter()
                    .map(|anomaly| format!("{partition}: {anomaly:?}")),
            );
        }
        broken
    }

    /// Records acknowledged, and records of unknown outcome.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let outcomes = || {
            self.partitions
                .values()
                .flat_map(|history| history.sent.values())
        };
        let unknown = outcomes()
            .filter(|outcome| **outcome == Outcome::Unknown)
            .count();
        (
            self.partitions.values().map(PartitionHistory::acked).sum(),
            unknown,
        )
    }
}
