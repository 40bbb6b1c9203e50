//! Makes commands of drafts: what a producer sends next depends on what the model knows of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use floe_protocol::types::{TimestampMs, TopicPartition};
use floe_storage::segment::{IndexBatch, SegmentId};

use super::{Model, next_sequence};
use crate::api::NewProcess;
use crate::api::admin::{AlterConfigs, ConfigKind, ConfigResource, ConfigValues};
use crate::api::objects::{MergeRequest, MergedExtent, Retention};
use crate::state::Command;
use crate::state::tests::fixtures::{START_MS, idempotent, new_topic, plain, request, topic_id};
use crate::state::tests::model::steps::{Draft, DraftBatch, DraftMerge, DraftSequence};
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
            Draft::BeginMerge {
                from,
                count,
                lease_ms,
            } => Command::BeginMerge {
                sources: self.pick(*from, *count),
                lease_ms: *lease_ms,
            },
            Draft::Merge(merge) => {
                let request = self.merge(merge);
                self.merges.push(request.clone());
                if merge.is_late {
                    Command::ForgetObjects(Vec::new())
                } else {
                    Command::CompleteMerge(request)
                }
            }
            Draft::RepeatMerge(back) if *back < self.merges.len() => {
                Command::CompleteMerge(self.merges[self.merges.len() - 1 - back].clone())
            }
            Draft::Retain {
                topic,
                time,
                bytes_max,
            } => Command::Retain(vec![Retention {
                topic: topic_id(*topic),
                min_timestamp_ms: time.map(|time| START_MS + time),
                bytes_max: *bytes_max,
            }]),
            Draft::ForgetObjects(every) => {
                let dead = self.dead().into_iter().map(|object| object.commit);
                let mut commits: Vec<_> = dead.step_by(*every).collect();
                commits.push(*every as u64);
                Command::ForgetObjects(commits)
            }
            Draft::RepeatMerge(_) => Command::ForgetProcesses(Vec::new()),
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
                Command::Commit(request(self.new_segment(), &made))
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
    fn new_segment(&mut self) -> SegmentId {
        self.segments += 1;
        SegmentId {
            write_epoch: self.write_epoch,
            incarnation: self.registered,
            counter: self.segments,
        }
    }

    /// Some commits, live ones where there are any.
    fn pick(&self, from: usize, count: usize) -> Vec<u64> {
        let live = self.live_extents();
        let live: BTreeSet<u64> = live.into_iter().map(|(commit, ..)| commit).collect();
        let circle = live.iter().cycle().skip(from).take(count.min(live.len()));
        let mut picked: Vec<u64> = circle.copied().collect();
        if from.is_multiple_of(13) {
            picked.push(from as u64);
        }
        picked
    }

    /// A merge of what is alive now.
    fn merge(&mut self, draft: &DraftMerge) -> MergeRequest {
        let sources = self.pick(draft.from, draft.count);
        let mut live = self.live_extents();
        live.retain(|(commit, ..)| sources.contains(commit));
        live.sort_by_key(|(_, at, extent)| (*at, extent.base_offset));
        let mut extents: Vec<MergedExtent> = Vec::new();
        let mut position_bytes = 32;
        for (_, partition, extent) in live {
            let last = extents.last_mut().filter(|last| {
                let offsets = extent.end_offset - last.base_offset;
                last.partition == partition
                    && last.end_offset == extent.base_offset
                    && offsets <= i64::from(u32::MAX)
                    && !draft.is_split
            });
            if let Some(last) = last {
                last.end_offset = extent.end_offset;
                last.length_bytes += extent.length_bytes;
                last.max_timestamp_ms = last.max_timestamp_ms.max(extent.max_timestamp_ms);
            } else {
                extents.push(MergedExtent {
                    partition,
                    position_bytes,
                    length_bytes: extent.length_bytes,
                    base_offset: extent.base_offset,
                    end_offset: extent.end_offset,
                    max_timestamp_ms: extent.max_timestamp_ms,
                });
            }
            position_bytes += u64::from(extent.length_bytes);
        }
        if let Some(left_out) = draft.left_out {
            let at = left_out.min(extents.len());
            extents.drain(at..extents.len().min(at + 1));
        }
        let damaged = extents.len() / 2;
        if let Some(extent) = extents.get_mut(damaged) {
            extent.base_offset += draft.shift_base;
            extent.end_offset += draft.shift_end;
        }
        MergeRequest {
            segment: self.new_segment(),
            level: draft.level,
            size_bytes: position_bytes + 100,
            sources,
            extents,
        }
    }

    /// Incarnations counted back from the newest.
    fn incarnations(&self, back: &[u32]) -> Vec<u32> {
        let incarnation = |back: &u32| self.registered.saturating_sub(*back);
        back.iter().map(incarnation).collect()
    }
}
