//! Holds replies and reads of a state against the model.

use floe_protocol::types::TopicPartition;

use super::{Answer, Model, Standing};
use crate::api::objects::MergeSource;
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
            Reply::MergeSources(found) => Answer::Sources(found.map(|found| {
                let told = |it: MergeSource| (it.summary.commit, it.extents);
                found.into_iter().map(told).collect()
            })),
            Reply::Merged(result) => Answer::Merged(result.map(|_| ())),
            Reply::Retained(moved) => Answer::Retained(moved),
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
        self.compare_objects(state);
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
        let expected: Vec<_> = log.live().into_iter().map(|(_, extent)| extent).collect();
        assert_eq!(found, expected, "{at}");
        // Nothing of the log is missing, and nothing twice. The first extent may begin below the log start.
        let mut end = expected
            .first()
            .map_or(log.start, |it| it.base_offset.max(log.start));
        for extent in &found {
            assert!(extent.base_offset == end || extent.base_offset <= log.start);
            end = extent.end_offset;
        }
        assert_eq!(end, log.end, "{at}");
        let lengths = found.iter().map(|extent| u64::from(extent.length_bytes));
        assert_eq!(state.size(at), Some(lengths.sum()));
    }

    /// Reads all that is told of objects.
    fn compare_objects(&self, state: &State) {
        let summaries = state.segment_summaries(u8::MAX);
        assert_eq!(summaries, self.summaries(state.now_ms()));
        let of_level_0 = summaries.into_iter().filter(|it| it.level == 0);
        assert_eq!(state.segment_summaries(1), of_level_0.collect::<Vec<_>>());
        let dead = self.dead();
        assert_eq!(state.dead_objects(0, usize::MAX), dead);
        let age_ms = dead
            .get(1)
            .map_or(0, |second| state.now_ms() - second.dead_ms);
        let older = dead
            .iter()
            .filter(|it| it.dead_ms <= state.now_ms() - age_ms);
        let older: Vec<_> = older.copied().take(3).collect();
        assert_eq!(state.dead_objects(age_ms, 3), older);
        let segments: Vec<_> = self.objects.iter().map(|it| it.segment).collect();
        let expected = self.objects.iter().map(|it| it.standing != Standing::Gone);
        assert_eq!(state.are_known(&segments), expected.collect::<Vec<_>>());
        let in_store = self
            .objects
            .iter()
            .filter(|it| it.standing != Standing::Gone);
        assert_eq!(state.counts().segments, in_store.count() as u64);
        assert_eq!(state.counts().dead_segments, dead.len() as u64);
    }
}
