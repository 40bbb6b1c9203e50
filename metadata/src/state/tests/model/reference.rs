//! The model: what a cluster remembers, in the plainest words.

mod compare;
mod draft;
mod objects;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use floe_protocol::types::{Offset, TimestampMs, TopicId, TopicPartition};
use floe_storage::segment::{IndexBatch, SegmentId};

use crate::api::admin::{AlterConfigs, ConfigKind, ConfigResource, ConfigValues};
use crate::api::objects::{MergeError, MergeRequest};
use crate::api::{
    BatchRejection, BatchResult, BrokerAddress, CommitError, CommitRequest, Extent, NewProcess,
    NewTopic, PartitionBounds, Process, ProducerIdBlock, Registration, RequestError,
};
use crate::state::Command;
use crate::state::tests::fixtures::DAY_MS;
use crate::testing::new_process;
use objects::{Object, Source, Standing};

/// Replies without what the model does not keep.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Answer {
    Committed(Result<Vec<BatchResult>, CommitError>),
    Topic(Result<(String, i32), RequestError>),
    Deleted(Result<(), RequestError>),
    LogStarts(Vec<Option<PartitionBounds>>),
    Altered(Result<(), RequestError>),
    Registered(Registration),
    Forgotten,
    Epochs(u32, u32),
    Ids(ProducerIdBlock),
    Sources(Option<Vec<Source>>),
    Merged(Result<(), MergeError>),
    Retained(u64),
}

#[derive(Clone, Debug, Default)]
struct Log {
    start: Offset,
    end: Offset,
    /// Where everything lies, by offset, and the commit that put it there. Those below the log start count no more.
    extents: Vec<(u64, Extent)>,
}

#[derive(Clone, Debug)]
struct Topic {
    name: String,
    created_ms: TimestampMs,
    logs: Vec<Log>,
    configs: ConfigValues,
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
    /// Incarnations given so far.
    registered: u32,
    /// Those that are there, in the order they came.
    processes: Vec<Process>,
    leader_epoch: i32,
    write_epoch: u32,
    lowest: u32,
    /// When each block of ids was handed out.
    blocks: Vec<TimestampMs>,
    segments: u64,
    /// What each commit made, merges included; the first is commit 1.
    objects: Vec<Object>,
    /// Until when a commit is somebody's.
    leases: BTreeMap<u64, TimestampMs>,
    /// Merges that were sent, or that somebody is about to send.
    merges: Vec<MergeRequest>,
    configs: BTreeMap<(ConfigKind, Arc<str>), ConfigValues>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            topics: BTreeMap::new(),
            deleted: BTreeSet::new(),
            producers: BTreeMap::new(),
            commits: Vec::new(),
            registered: 1,
            processes: vec![Process {
                incarnation: 1,
                told: new_process(0),
            }],
            leader_epoch: 1,
            write_epoch: 1,
            lowest: 1,
            blocks: Vec::new(),
            segments: 0,
            objects: Vec::new(),
            leases: BTreeMap::new(),
            merges: Vec::new(),
            configs: BTreeMap::new(),
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

impl Log {
    /// Adds an accepted batch, to the run before it if that `is_open`.
    fn accept(&mut self, commit: u64, next: Extent, is_open: bool) {
        if let Some((_, run)) = self.extents.last_mut().filter(|_| is_open)
            && next.end_offset - run.base_offset <= i64::from(u32::MAX)
        {
            run.length_bytes += next.length_bytes;
            run.end_offset = next.end_offset;
            run.max_timestamp_ms = run.max_timestamp_ms.max(next.max_timestamp_ms);
        } else {
            self.extents.push((commit, next));
        }
    }
}

impl Model {
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
        let answer = self.answer(now_ms, command);
        self.bury(now_ms);
        answer
    }

    fn answer(&mut self, now_ms: TimestampMs, command: Command) -> Answer {
        match command {
            Command::Register(new) => {
                let incarnation = self.register(new);
                let write_epoch = self.write_epoch;
                Answer::Registered(Registration {
                    incarnation,
                    write_epoch,
                })
            }
            Command::RaiseFeatureLevel(_) | Command::CheckFeatureLevel(_) => {
                panic!("the model knows one feature level")
            }
            Command::SaveGroup { .. }
            | Command::CommitOffsets { .. }
            | Command::DeleteOffsets { .. }
            | Command::DeleteGroup(_)
            | Command::ExpireOffsets => panic!("groups have a model of their own"),
            // The model knows only those that are listed.
            Command::UnlistProcesses(gone) | Command::ForgetProcesses(gone) => {
                let before = self.brokers();
                self.processes
                    .retain(|process| !gone.contains(&process.incarnation));
                self.follow_brokers(&before);
                Answer::Forgotten
            }
            Command::RaiseWriteEpoch { .. } => {
                self.write_epoch += 1;
                Answer::Epochs(self.write_epoch, self.lowest)
            }
            Command::RaiseLowestAccepted { to } => {
                self.lowest = to.min(self.write_epoch);
                Answer::Epochs(self.write_epoch, self.lowest)
            }
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
            Command::AlterConfigs(change) => Answer::Altered(self.alter_configs(change)),
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
            Command::BeginMerge { sources, lease_ms } => {
                Answer::Sources(self.begin_merge(now_ms, &sources, lease_ms))
            }
            Command::CompleteMerge(request) => {
                Answer::Merged(self.complete_merge(now_ms, &request))
            }
            Command::Retain(topics) => Answer::Retained(self.retain(&topics)),
            Command::ForgetObjects(commits) => {
                self.forget_objects(&commits);
                Answer::Forgotten
            }
            Command::Commit(request) => Answer::Committed(self.commit(now_ms, request)),
        }
    }

    fn register(&mut self, new: NewProcess) -> u32 {
        let same = |known: &&Process| known.told.nonce == new.nonce;
        if let Some(known) = self.processes.iter().find(same)
            && known.told.attempt >= new.attempt
        {
            return known.incarnation;
        }
        let before = self.brokers();
        self.processes
            .retain(|known| known.told.nonce != new.nonce && known.told.internal != new.internal);
        self.registered += 1;
        self.processes.push(Process {
            incarnation: self.registered,
            told: new,
        });
        self.follow_brokers(&before);
        self.registered
    }

    /// What clients may be told.
    fn brokers(&self) -> BTreeSet<BrokerAddress> {
        let brokers = |process: &Process| process.told.brokers.clone();
        self.processes.iter().flat_map(brokers).collect()
    }

    fn follow_brokers(&mut self, before: &BTreeSet<BrokerAddress>) {
        if self.brokers() != *before {
            self.leader_epoch += 1;
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
            configs: new.configs,
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

    /// What was set for a resource; `None` for a topic that does not exist.
    pub(super) fn configs(&self, resource: &ConfigResource) -> Option<ConfigValues> {
        match resource {
            ConfigResource::Topic(id) => Some(self.topics.get(id)?.configs.clone()),
            ConfigResource::Named(kind, name) => {
                let found = self.configs.get(&(*kind, Arc::clone(name)));
                Some(found.cloned().unwrap_or_default())
            }
        }
    }

    fn alter_configs(&mut self, change: AlterConfigs) -> Result<(), RequestError> {
        let present = self.configs(&change.resource);
        let present = present.ok_or(RequestError::UnknownTopic)?;
        if present != change.before && present != change.after {
            return Err(RequestError::ConfigsChanged);
        }
        match change.resource {
            ConfigResource::Topic(id) => self.topics.get_mut(&id).unwrap().configs = change.after,
            ConfigResource::Named(kind, name) if change.after.is_empty() => {
                self.configs.remove(&(kind, name));
            }
            ConfigResource::Named(kind, name) => {
                self.configs.insert((kind, name), change.after);
            }
        }
        Ok(())
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
        self.objects.push(Object {
            segment: request.segment,
            level: 0,
            size_bytes: request.size_bytes,
            committed_ms: now_ms,
            standing: Standing::Live,
        });
        let commit = self.objects.len() as u64;
        let mut results = Vec::new();
        for extent in &request.index.extents {
            let mut position = extent.position_bytes;
            let mut is_open = false;
            for batch in &extent.batches {
                let result = self.decide(now_ms, extent.partition, batch);
                if let BatchResult::Committed { base_offset, .. } = result {
                    let index = usize::try_from(extent.partition.partition).unwrap();
                    let log =
                        &mut self.topics.get_mut(&extent.partition.topic).unwrap().logs[index];
                    let next = Extent {
                        segment: request.segment,
                        level: 0,
                        position_bytes: position,
                        length_bytes: batch.length_bytes,
                        base_offset,
                        end_offset: base_offset + i64::from(batch.record_count),
                        max_timestamp_ms: batch.max_timestamp_ms,
                    };
                    log.accept(commit, next, is_open);
                }
                // A batch that was not accepted lies between the one before and the next.
                is_open = matches!(result, BatchResult::Committed { .. });
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
            self.producers.remove(&key);
            let block = usize::try_from(batch.producer_id / 1000).unwrap();
            let id_age = self
                .issued_ms(block)
                .map_or(i64::MAX, |issued| now_ms - issued);
            let may_have_expired = topic_age >= DAY_MS && id_age >= DAY_MS;
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

    /// When a block of ids was handed out; of blocks within a minute the time of the last.
    fn issued_ms(&self, block: usize) -> Option<TimestampMs> {
        let mut grains: Vec<Vec<(usize, TimestampMs)>> = Vec::new();
        for (number, at_ms) in self.blocks.iter().copied().enumerate() {
            match grains.last_mut() {
                Some(grain) if at_ms - grain[0].1 < 60 * 1000 => grain.push((number, at_ms)),
                _ => grains.push(vec![(number, at_ms)]),
            }
        }
        let grain = grains
            .into_iter()
            .find(|grain| grain.iter().any(|(it, _)| *it == block))?;
        grain.last().map(|(_, at_ms)| *at_ms)
    }
}
