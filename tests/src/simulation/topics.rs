//! The topics of a run: made once at its start, known to all clients.

use floe_protocol::str::Str;
use floe_protocol::types::{TopicId, TopicPartition};

/// Names, ids and partitions.
#[derive(Debug, Default)]
pub struct Topics {
    topics: Vec<(Str, TopicId)>,
    partitions: Vec<TopicPartition>,
}

impl Topics {
    /// Adds a topic.
    pub fn add(&mut self, name: Str, id: TopicId, partitions: i32) {
        self.topics.push((name, id));
        self.partitions
            .extend((0..partitions).map(|index| TopicPartition::new(id, index)));
    }

    /// All partitions of all topics.
    #[must_use]
    pub fn partitions(&self) -> &[TopicPartition] {
        &self.partitions
    }

    /// The name of a topic.
    #[must_use]
    pub fn name(&self, id: TopicId) -> Str {
        let topic = self.topics.iter().find(|(_, other)| *other == id);
        topic.expect("a known topic").0.clone()
    }

    /// The id of a topic.
    #[must_use]
    pub fn id(&self, name: &str) -> TopicId {
        let topic = self.topics.iter().find(|(other, _)| &**other == name);
        topic.expect("a known topic").1
    }
}
