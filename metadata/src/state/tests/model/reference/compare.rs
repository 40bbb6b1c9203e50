//! Holds replies and reads of a state against the model.

use floe_protocol::types::TopicPartition;

use super::{Accepted, Answer, Model};
use crate::api::Extent;
use crate::state::tests::fixtures::committed;
use crate::state::{Reply, State};

impl Model {
    /// A reply without revisions and other things the model does not keep.
    pub(in crate::state::tests::model) fn strip(&self, reply: Reply) -> Answer {
        match reply {
            Reply::Committed(_) => Answer::Committed(committed(reply).map(|reply| reply.results)),
            Reply::Topic(result) => Answer::Topic(
                result.map(|(topic, _)| (topic.name.to_string(), topic.partition_count)),
            ),
            Reply::TopicDeleted(result) => Answer::Deleted(result.map(|_| ())),
            Reply::ConfigsAltered(result) => Answer::Altered(result.map(|_| ())),
            Reply::LogStarts(bounds, _) => Answer::LogStarts(bounds),
            Reply::Registered(registration) => {
                Answer::Registered(registration.expect("all are of one release"))
            }
            Reply::FeatureLevel(_) => panic!("the model knows one feature level"),
            Reply::WriteEpochs {
                present,
                lowest_accepted,
            } => Answer::Epochs(present, lowest_accepted),
            Reply::ProducerIds(block) => Answer::Ids(block),
            Reply::Forgotten => Answer::Forgotten,
            Reply::GroupSaved | Reply::Codes(_) | Reply::OffsetsExpired(_) => {
                panic!("groups have a model of their own")
            }
        }
    }

    /// Reads everything that can be read of processes, topics and logs.
    pub(in crate::state::tests::model) fn compare(&self, state: &State) {
        assert_eq!(*state.processes(), *self.processes);
        assert_eq!(state.leader_epoch(), self.leader_epoch);
        assert_eq!(state.topics().count(), self.topics.len());
        let configs = state.snapshot().configs.into_iter();
        let configs: Vec<_> = configs
            .map(|it| ((it.kind, it.name), (*it.values).clone()))
            .collect();
        assert_eq!(
            configs,
            self.configs.clone().into_iter().collect::<Vec<_>>()
        );
        for (id, topic) in &self.topics {
            assert_eq!(state.topic_by_name(&topic.name).unwrap().id, *id);
            assert_eq!(*state.topic(*id).unwrap().configs, topic.configs);
            for index in 0..topic.logs.len() {
                self.compare_log(
                    state,
                    TopicPartition::new(*id, i32::try_from(index).unwrap()),
                );
            }
        }
    }

    fn compare_log(&self, state: &State, at: TopicPartition) {
        let log = self.log(at).unwrap();
        assert_eq!(state.bounds(at), self.bounds(at));
        let found = state.look_up(at, log.start, usize::MAX).unwrap().extents;
        let is_live = |batch: &&Accepted| batch.end > log.start;
        for batch in log.batches.iter().filter(is_live) {
            let holds = |extent: &&Extent| {
                extent.base_offset <= batch.first && batch.end <= extent.end_offset
            };
            let extent = found.iter().find(holds);
            let extent = extent.unwrap_or_else(|| panic!("{batch:?} of {at} is not found"));
            assert_eq!(extent.segment, batch.segment);
            assert!(extent.position_bytes <= batch.position);
            let end_bytes = extent.position_bytes + u64::from(extent.length_bytes);
            assert!(batch.position + u64::from(batch.length) <= end_bytes);
            assert!(extent.max_timestamp_ms >= batch.time);
        }
        assert_eq!(
            state.size(at),
            Some(found.iter().map(|it| u64::from(it.length_bytes)).sum())
        );
        // The first extent may begin below the log start.
        let begin = found.first().map_or(log.end, |extent| extent.base_offset);
        let covered = log.batches.iter().filter(|batch| batch.first >= begin);
        let expected: u64 = covered.map(|batch| u64::from(batch.length)).sum();
        let length: u64 = found
            .iter()
            .map(|extent| u64::from(extent.length_bytes))
            .sum();
        assert_eq!(length, expected, "no bytes but those of accepted batches");
        let seamless = found
            .windows(2)
            .all(|pair| pair[0].end_offset == pair[1].base_offset);
        assert!(seamless, "{found:?}");
    }
}
