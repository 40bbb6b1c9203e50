//! Makes commands of drafts: what a producer sends next depends on what the model knows of it.

use std::sync::Arc;

use floe_protocol::types::{TimestampMs, TopicPartition};
use floe_storage::segment::{IndexBatch, SegmentId};

use super::{Model, next_sequence};
use crate::api::NewProcess;
use crate::api::admin::{AlterConfigs, ConfigKind, ConfigResource, ConfigValues};
use crate::state::Command;
use crate::state::tests::fixtures::{START_MS, idempotent, new_topic, plain, request, topic_id};
use crate::state::tests::model::steps::{Draft, DraftBatch, DraftSequence};
use crate::testing::new_process;

impl Model {
    /// Makes a command of a draft.
    pub(in crate::state::tests::model) fn command(
        &mut self,
        draft: &Draft,
        now_ms: TimestampMs,
    ) -> Command {
        match draft {
            Draft::Register {
                process,
                attempt,
                address,
                brokers,
            } => Command::Register(NewProcess {
                nonce: [*process; 16],
                attempt: *attempt,
                brokers: new_process(*brokers).brokers,
                ..new_process(*address)
            }),
            Draft::Unlist(back) => Command::UnlistProcesses(self.incarnations(back)),
            Draft::Forget(back) => Command::ForgetProcesses(self.incarnations(back)),
            Draft::RaiseWriteEpoch => Command::RaiseWriteEpoch {
                above: self.write_epoch,
            },
            Draft::RaiseLowestAccepted => Command::RaiseLowestAccepted {
                to: self.lowest.saturating_add(1),
            },
            Draft::AllocateProducerIds => Command::AllocateProducerIds,
            Draft::CreateTopic {
                topic,
                name,
                partitions,
            } => Command::CreateTopic(new_topic(topic_id(*topic), &name.to_string(), *partitions)),
            Draft::DeleteTopic { topic } => Command::DeleteTopic(topic_id(*topic)),
            Draft::CreatePartitions { topic, count } => Command::CreatePartitions {
                topic: topic_id(*topic),
                count: *count,
            },
            Draft::MoveLogStart {
                topic,
                partition,
                by,
            } => {
                let at = TopicPartition::new(topic_id(*topic), *partition);
                let start = self.log(at).map_or(0, |log| log.start);
                Command::MoveLogStart(vec![(at, start + by)])
            }
            Draft::AlterConfigs {
                resource,
                value,
                is_outdated,
            } => {
                let resource = match resource {
                    0..4 => ConfigResource::Topic(topic_id(*resource)),
                    _ => {
                        let kinds = ConfigKind::ALL.into_iter().cycle();
                        let kind = kinds.take(usize::from(*resource)).last().unwrap();
                        ConfigResource::Named(kind, Arc::from("x"))
                    }
                };
                let set = |value: u8| {
                    let values = (0..value).map(|n| (n.to_string(), value.to_string()));
                    values.collect::<ConfigValues>()
                };
                let before = match is_outdated {
                    true => set(7),
                    false => self.configs(&resource).unwrap_or_default(),
                };
                Command::AlterConfigs(AlterConfigs {
                    resource,
                    before,
                    after: set(*value),
                })
            }
            Draft::Repeat(back) if *back < self.commits.len() => {
                Command::Commit(self.commits[self.commits.len() - 1 - back].0.clone())
            }
            Draft::Repeat(_) => Command::ForgetProcesses(Vec::new()),
            Draft::Commit(extents) => {
                let mut made = Vec::new();
                let mut draft_model = self.clone();
                for extent in extents {
                    let at = TopicPartition::new(topic_id(extent.topic), extent.partition);
                    let mut batches = Vec::new();
                    for draft in &extent.batches {
                        let batch = draft_model.batch(at, draft);
                        draft_model.decide(now_ms, at, &batch);
                        batches.push(batch);
                    }
                    made.push((at, batches));
                }
                let made: Vec<_> = made
                    .iter()
                    .map(|(at, list)| (*at, list.as_slice()))
                    .collect();
                self.segments += 1;
                let (write_epoch, incarnation) = (self.write_epoch, self.registered);
                let segment = SegmentId {
                    write_epoch,
                    incarnation,
                    counter: self.segments,
                };
                Command::Commit(request(segment, &made))
            }
        }
    }

    fn batch(&self, at: TopicPartition, draft: &DraftBatch) -> IndexBatch {
        let max_timestamp_ms = START_MS + draft.time;
        if draft.producer == 0 {
            return IndexBatch {
                max_timestamp_ms,
                ..plain(draft.count)
            };
        }
        // The last one is an id that was never handed out.
        let id = if draft.producer == 4 {
            1 << 40
        } else {
            i64::from(draft.producer) * 700
        };
        let past = self
            .producers
            .get(&(id, at))
            .map_or(&[][..], |it| it.past.as_slice());
        let last = past.last();
        let epoch = last.map_or(0, |past| past.epoch);
        let next = last.map_or(0, |past| next_sequence(past.last));
        let (epoch, sequence, count) = match &draft.sequence {
            DraftSequence::Next => (epoch, next, draft.count),
            DraftSequence::Again(back) => match past.iter().rev().nth(*back) {
                Some(past) => {
                    let span = i64::from(past.last) - i64::from(past.first);
                    let count = u32::try_from(span.rem_euclid(1 << 31) + 1).unwrap();
                    (past.epoch, past.first, count)
                }
                None => (epoch, next, draft.count),
            },
            DraftSequence::Gap(gap) => (epoch, next.wrapping_add(*gap) & i32::MAX, draft.count),
            DraftSequence::Bump(from) => (epoch + 1, *from, draft.count),
            DraftSequence::Stale => (epoch - 1, next, draft.count),
            DraftSequence::End => (epoch, i32::MAX - 1, draft.count),
        };
        IndexBatch {
            max_timestamp_ms,
            ..idempotent(id, epoch, sequence, count)
        }
    }
}

impl Model {
    /// Incarnations counted back from the newest.
    fn incarnations(&self, back: &[u32]) -> Vec<u32> {
        let incarnation = |back: &u32| self.registered.saturating_sub(*back);
        back.iter().map(incarnation).collect()
    }
}
