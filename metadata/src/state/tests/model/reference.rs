//! The model: what a cluster remembers, in the plainest words.

use std::collections::{BTreeMap, BTreeSet};

use floe_protocol::types::{Offset, TimestampMs, TopicId, TopicPartition};
use floe_storage::segment::{IndexBatch, SegmentId};

use super::steps::{Draft, DraftBatch, DraftSequence};
use crate::api::{
    BatchRejection, BatchResult, CommitError, CommitRequest, NewTopic, PartitionBounds,
    ProducerIdBlock, Registration, RequestError,
};
use crate::state::tests::fixtures::{
    DAY_MS, START_MS, committed, idempotent, new_topic, plain, request, topic_id,
};
use crate::state::{Command, Reply, State};

/// Replies without what the model does not keep.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Answer {
    Committed(Result<Vec<BatchResult>, CommitError>),
    Topic(Result<(String, i32), RequestError>),
    Deleted(Result<(), RequestError>),
    LogStarts(Vec<Option<PartitionBounds>>),
    Registered(Registration),
    Epochs(u32, u32),
    Ids(ProducerIdBlock),
}

#[derive(Clone, Debug, Default)]
struct Log {
    start: Offset,
    end: Offset,
    /// Accepted batches: offsets, segment, position, length, time.
    batches: Vec<(Offset, Offset, SegmentId, u64, u32, TimestampMs)>,
}

#[derive(Clone, Debug)]
struct Topic {
    name: String,
    created_ms: TimestampMs,
    logs: Vec<Log>,
}

#[derive(Clone, Debug)]
struct Past {
    epoch: i16,
    first: i32,
    last: i32,
    offset: Offset,
    time: TimestampMs,
}

#[derive(Clone, Debug, Default)]
struct Producer {
    past: Vec<Past>,
    used_ms: TimestampMs,
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    topics: BTreeMap<TopicId, Topic>,
    deleted: BTreeSet<TopicId>,
    producers: BTreeMap<(i64, TopicPartition), Producer>,
    commits: Vec<(CommitRequest, Result<Vec<BatchResult>, CommitError>)>,
    registered: u32,
    write_epoch: u32,
    lowest: u32,
    /// When each block of ids was handed out.
    blocks: Vec<TimestampMs>,
    segments: u64,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            topics: BTreeMap::new(),
            deleted: BTreeSet::new(),
            producers: BTreeMap::new(),
            commits: Vec::new(),
            registered: 1,
            write_epoch: 1,
            lowest: 1,
            blocks: Vec::new(),
            segments: 0,
        }
    }
}

/// The last sequence of a batch, one step at a time.
fn last_sequence(first: i32, count: u32) -> i32 {
    let steps = u64::from(count) - 1;
    i32::try_from((u64::from(first.unsigned_abs()) + steps) % (1 << 31)).unwrap()
}

fn next_sequence(last: i32) -> i32 {
    if last == i32::MAX { 0 } else { last + 1 }
}

impl Model {
    /// Makes a command of a draft.
    pub(super) fn command(&mut self, draft: &Draft, now_ms: TimestampMs) -> Command {
        match draft {
            Draft::Register => Command::Register,
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
            Draft::Repeat(back) if *back < self.commits.len() => {
                Command::Commit(self.commits[self.commits.len() - 1 - back].0.clone())
            }
            Draft::Repeat(_) => Command::Register,
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

    fn log(&self, at: TopicPartition) -> Option<&Log> {
        self.topics
            .get(&at.topic)?
            .logs
            .get(usize::try_from(at.partition).ok()?)
    }

    fn bounds(&self, at: TopicPartition) -> Option<PartitionBounds> {
        let log = self.log(at)?;
        let (log_start, high_watermark) = (log.start, log.end);
        Some(PartitionBounds {
            log_start,
            high_watermark,
            last_stable: high_watermark,
        })
    }

    pub(super) fn apply(&mut self, now_ms: TimestampMs, command: Command) -> Answer {
        match command {
            Command::Register => {
                self.registered += 1;
                let write_epoch = self.write_epoch;
                Answer::Registered(Registration {
                    incarnation: self.registered,
                    write_epoch,
                })
            }
            Command::RaiseWriteEpoch { .. } => {
                self.write_epoch += 1;
                Answer::Epochs(self.write_epoch, self.lowest)
            }
            Command::RaiseLowestAccepted { to } => {
                self.lowest = to.min(self.write_epoch);
                Answer::Epochs(self.write_epoch, self.lowest)
            }
            Command::RaiseLeaderEpoch { .. } => unreachable!("not drafted"),
            Command::AllocateProducerIds => {
                self.blocks.push(now_ms);
                let end = 1000 * i64::try_from(self.blocks.len()).unwrap();
                Answer::Ids(ProducerIdBlock(end - 1000..end))
            }
            Command::CreateTopic(new) => Answer::Topic(self.create(now_ms, new)),
            Command::CreatePartitions { topic, count } => {
                Answer::Topic(self.create_partitions(topic, count))
            }
            Command::DeleteTopic(id) => Answer::Deleted(self.delete(id)),
            Command::MoveLogStart(moves) => {
                for (at, to) in &moves {
                    let index = usize::try_from(at.partition).unwrap();
                    let topic = self.topics.get_mut(&at.topic);
                    if let Some(log) = topic.and_then(|topic| topic.logs.get_mut(index)) {
                        log.start = log.start.max((*to).min(log.end));
                    }
                }
                Answer::LogStarts(moves.iter().map(|(at, _)| self.bounds(*at)).collect())
            }
            Command::Commit(request) => Answer::Committed(self.commit(now_ms, request)),
        }
    }

    fn create(
        &mut self,
        now_ms: TimestampMs,
        new: NewTopic,
    ) -> Result<(String, i32), RequestError> {
        if let Some(topic) = self.topics.get(&new.id) {
            return Ok((topic.name.clone(), i32::try_from(topic.logs.len()).unwrap()));
        }
        if self.deleted.contains(&new.id) {
            return Err(RequestError::UnknownTopic);
        }
        if self.topics.values().any(|topic| topic.name == new.name) {
            return Err(RequestError::TopicExists(new.name));
        }
        let logs = (0..new.partition_count).map(|_| Log::default()).collect();
        let topic = Topic {
            name: new.name.clone(),
            created_ms: now_ms,
            logs,
        };
        self.topics.insert(new.id, topic);
        Ok((new.name, new.partition_count))
    }

    fn create_partitions(
        &mut self,
        id: TopicId,
        count: i32,
    ) -> Result<(String, i32), RequestError> {
        let topic = self.topics.get_mut(&id).ok_or(RequestError::UnknownTopic)?;
        let have = i32::try_from(topic.logs.len()).unwrap();
        if count <= have {
            return Err(RequestError::PartitionCountNotRaised { have, asked: count });
        }
        topic
            .logs
            .resize_with(usize::try_from(count).unwrap(), Log::default);
        Ok((topic.name.clone(), count))
    }

    fn delete(&mut self, id: TopicId) -> Result<(), RequestError> {
        if self.topics.remove(&id).is_some() {
            self.deleted.insert(id);
        }
        if self.deleted.contains(&id) {
            Ok(())
        } else {
            Err(RequestError::UnknownTopic)
        }
    }

    fn commit(
        &mut self,
        now_ms: TimestampMs,
        request: CommitRequest,
    ) -> Result<Vec<BatchResult>, CommitError> {
        let SegmentId { write_epoch, .. } = request.segment;
        if write_epoch < self.lowest {
            return Err(CommitError::TooOld {
                write_epoch,
                lowest: self.lowest,
            });
        }
        let first = self
            .commits
            .iter()
            .find(|(past, _)| past.segment == request.segment);
        if let Some((_, result)) = first {
            return result.clone();
        }
        let mut results = Vec::new();
        for extent in &request.index.extents {
            let mut position = extent.position_bytes;
            for batch in &extent.batches {
                let result = self.decide(now_ms, extent.partition, batch);
                if let BatchResult::Committed { base_offset, .. } = result {
                    let index = usize::try_from(extent.partition.partition).unwrap();
                    let log =
                        &mut self.topics.get_mut(&extent.partition.topic).unwrap().logs[index];
                    log.batches.push((
                        base_offset,
                        base_offset + i64::from(batch.record_count),
                        request.segment,
                        position,
                        batch.length_bytes,
                        batch.max_timestamp_ms,
                    ));
                }
                position += u64::from(batch.length_bytes);
                results.push(result);
            }
        }
        self.commits.push((request, Ok(results.clone())));
        Ok(results)
    }

    fn decide(
        &mut self,
        now_ms: TimestampMs,
        at: TopicPartition,
        batch: &IndexBatch,
    ) -> BatchResult {
        let rejected = BatchResult::Rejected;
        let Some(PartitionBounds {
            log_start,
            high_watermark,
            ..
        }) = self.bounds(at)
        else {
            return rejected(BatchRejection::UnknownTopicOrPartition);
        };
        if batch.record_count == 0 {
            return rejected(BatchRejection::Empty);
        }
        if batch.producer_id >= 0 {
            match self.judge(now_ms, at, batch) {
                Ok(None) => {}
                Ok(Some(past)) => {
                    let (base_offset, max_timestamp_ms) = (past.offset, past.time);
                    return BatchResult::Duplicate {
                        base_offset,
                        max_timestamp_ms,
                        log_start,
                    };
                }
                Err(rejection) => return rejected(rejection),
            }
            let producer = self.producers.entry((batch.producer_id, at)).or_default();
            producer.used_ms = now_ms;
            producer.past.push(Past {
                epoch: batch.producer_epoch,
                first: batch.base_sequence,
                last: last_sequence(batch.base_sequence, batch.record_count),
                offset: high_watermark,
                time: batch.max_timestamp_ms,
            });
        }
        let index = usize::try_from(at.partition).unwrap();
        let log = &mut self.topics.get_mut(&at.topic).unwrap().logs[index];
        log.end += i64::from(batch.record_count);
        BatchResult::Committed {
            base_offset: high_watermark,
            log_start,
        }
    }

    /// `None` to accept, else the batch it repeats.
    fn judge(
        &mut self,
        now_ms: TimestampMs,
        at: TopicPartition,
        batch: &IndexBatch,
    ) -> Result<Option<Past>, BatchRejection> {
        let key = (batch.producer_id, at);
        let topic_age = now_ms - self.topics[&at.topic].created_ms;
        let (first, epoch) = (batch.base_sequence, batch.producer_epoch);
        if first < 0 {
            return Err(BatchRejection::OutOfOrderSequence);
        }
        let state = self.producers.get(&key).cloned();
        let Some(state) = state.filter(|state| now_ms - state.used_ms < DAY_MS) else {
            let forgot = self.producers.remove(&key).is_some();
            let block = usize::try_from(batch.producer_id / 1000).unwrap();
            let id_age = self
                .issued_ms(block)
                .map_or(i64::MAX, |issued| now_ms - issued);
            let may_have_expired = forgot || (topic_age >= DAY_MS && id_age >= DAY_MS);
            let begins = first == 0 || may_have_expired;
            return if begins {
                Ok(None)
            } else {
                Err(BatchRejection::OutOfOrderSequence)
            };
        };
        let last = state.past.last().unwrap();
        if epoch < last.epoch {
            return Err(BatchRejection::InvalidProducerEpoch);
        }
        if epoch > last.epoch {
            if first != 0 {
                return Err(BatchRejection::OutOfOrderSequence);
            }
            self.producers.remove(&key);
            return Ok(None);
        }
        let end = last_sequence(first, batch.record_count);
        let five = state.past.iter().rev().take(5);
        let same_count = |past: &&Past| past.first == first && past.last == end;
        if let Some(past) = five.clone().find(same_count) {
            return Ok(Some(past.clone()));
        }
        if first == next_sequence(last.last) {
            return Ok(None);
        }
        Err(BatchRejection::OutOfOrderSequence)
    }

    /// When a block of ids was handed out; of blocks within ten minutes the time of the last.
    fn issued_ms(&self, block: usize) -> Option<TimestampMs> {
        let mut grains: Vec<Vec<(usize, TimestampMs)>> = Vec::new();
        for (number, at_ms) in self.blocks.iter().copied().enumerate() {
            match grains.last_mut() {
                Some(grain) if at_ms - grain[0].1 < 10 * 60 * 1000 => grain.push((number, at_ms)),
                _ => grains.push(vec![(number, at_ms)]),
            }
        }
        let grain = grains
            .into_iter()
            .find(|grain| grain.iter().any(|(it, _)| *it == block))?;
        grain.last().map(|(_, at_ms)| *at_ms)
    }

    /// A reply without revisions and other things the model does not keep.
    pub(super) fn strip(&self, reply: Reply) -> Answer {
        match reply {
            Reply::Committed(_) => Answer::Committed(committed(reply).map(|reply| reply.results)),
            Reply::Topic(result) => Answer::Topic(
                result.map(|(topic, _)| (topic.name.to_string(), topic.partition_count)),
            ),
            Reply::TopicDeleted(result) => Answer::Deleted(result.map(|_| ())),
            Reply::LogStarts(bounds) => Answer::LogStarts(bounds),
            Reply::Registered(registration) => Answer::Registered(registration),
            Reply::WriteEpochs {
                present,
                lowest_accepted,
            } => Answer::Epochs(present, lowest_accepted),
            Reply::ProducerIds(block) => Answer::Ids(block),
            Reply::LeaderEpoch(_) => unreachable!("not drafted"),
        }
    }

    /// Reads everything that can be read of topics and logs.
    pub(super) fn compare(&self, state: &State) {
        assert_eq!(state.topics().count(), self.topics.len());
        for (id, topic) in &self.topics {
            assert_eq!(state.topic_by_name(&topic.name).unwrap().id, *id);
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
        let live: Vec<_> = log
            .batches
            .iter()
            .filter(|batch| batch.1 > log.start)
            .collect();
        for (first, end, segment, position, length, time) in &live {
            let extent = found
                .iter()
                .find(|extent| extent.base_offset <= *first && *end <= extent.end_offset);
            let extent = extent.unwrap_or_else(|| panic!("{first}..{end} of {at} is not found"));
            assert_eq!(extent.segment, *segment);
            assert!(extent.position_bytes <= *position);
            let end_bytes = extent.position_bytes + u64::from(extent.length_bytes);
            assert!(position + u64::from(*length) <= end_bytes);
            assert!(extent.max_timestamp_ms >= *time);
        }
        let length: u64 = found
            .iter()
            .map(|extent| u64::from(extent.length_bytes))
            .sum();
        let before: Vec<_> = found
            .first()
            .into_iter()
            .flat_map(|first| {
                let inside = move |batch: &&(i64, i64, SegmentId, u64, u32, i64)| {
                    batch.0 >= first.base_offset && batch.1 <= log.start
                };
                log.batches.iter().filter(inside)
            })
            .collect();
        let expected: u64 = live
            .into_iter()
            .chain(before)
            .map(|batch| u64::from(batch.4))
            .sum();
        assert_eq!(length, expected, "no bytes but those of accepted batches");
        let seamless = found
            .windows(2)
            .all(|pair| pair[0].end_offset == pair[1].base_offset);
        assert!(seamless, "{found:?}");
    }
}
