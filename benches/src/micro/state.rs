//! The metadata state machine: batches committed per second on one core, memory per partition, per extent
//! and per producer, bytes of metadata per batch, speed of recovery.
//!
//! Speed counts everything a sequencer does with the state for a commit: ask for missing rows, apply, make
//! the rows, seal the group; in CPU time of one thread. Memory is the growth of the resident set, allocator
//! included.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use floe_metadata::api::{CommitRequest, NewProcess, NewTopic};
use floe_metadata::state::{Command, DamagedState, RowKey, State, StateConfig, WriteSet};
use floe_protocol::types::{PartitionIndex, TopicId, TopicPartition};
use floe_storage::segment::{Index, IndexBatch, IndexExtent, SegmentId};

use super::Measurement;
use crate::time::thread_cpu;

const NOW_MS: i64 = 1_800_000_000_000;

/// Runs all of them; takes some seconds and some hundred MiB.
#[must_use]
pub fn run() -> Vec<Measurement> {
    let mut measured = Vec::new();
    // First, before the allocator keeps freed memory from which these could be served.
    memory(&mut measured);
    speed(
        &mut measured,
        "10,000 partitions of 1 topic, no producers",
        &Load::wide(1, 0),
    );
    speed(
        &mut measured,
        "10,000 partitions of 100 topics, no producers",
        &Load::wide(100, 0),
    );
    speed(
        &mut measured,
        "10,000 partitions of 100 topics, 1 producer",
        &Load::wide(100, 1),
    );
    speed(
        &mut measured,
        "10,000 partitions of 100 topics, 100 producers",
        &Load::wide(100, 100),
    );
    speed(
        &mut measured,
        "10,000 partitions of 10,000 topics, 1 producer",
        &Load::wide(10_000, 1),
    );
    speed(
        &mut measured,
        "4 partitions per segment, 1 producer",
        &Load::small(4),
    );
    speed(
        &mut measured,
        "1 partition per segment, 1 producer",
        &Load::small(1),
    );
    recovery(&mut measured);
    measured
}

/// What is committed over and over.
#[derive(Clone, Copy)]
pub(super) struct Load {
    first_topic: u32,
    topics: u32,
    partitions_per_topic: u32,
    commits: u32,
    /// Takes turns from one commit to the next; 0 for batches without a producer.
    producers: u32,
}

impl Load {
    pub(super) const fn wide(topics: u32, producers: u32) -> Self {
        Self {
            first_topic: 0,
            topics,
            partitions_per_topic: 10_000 / topics,
            commits: 300,
            producers,
        }
    }

    pub(super) const fn small(partitions: u32) -> Self {
        Self {
            first_topic: 0,
            topics: 1,
            partitions_per_topic: partitions,
            commits: 300_000,
            producers: 1,
        }
    }

    const fn batches_per_commit(&self) -> u32 {
        self.topics * self.partitions_per_topic
    }

    /// A state with the topics, and its rows.
    fn state(&self, config: StateConfig) -> (State, WriteSet) {
        let mut state = State::new(config);
        let mut writes = WriteSet::new();
        let topics = self.new_topics().map(Command::CreateTopic);
        for command in [Command::Register(process()), Command::AllocateProducerIds]
            .into_iter()
            .chain(topics)
        {
            admit_nothing(&mut state, &command);
            state.apply(NOW_MS, command, &mut writes);
        }
        state.seal(&mut writes);
        (state, writes)
    }

    pub(super) fn new_topics(&self) -> impl Iterator<Item = NewTopic> + use<> {
        let partitions = PartitionIndex::try_from(self.partitions_per_topic);
        let partitions = partitions.unwrap_or(PartitionIndex::MAX);
        (0..self.topics).map(move |number| new_topic(number, partitions))
    }

    fn commit(&self, number: u32) -> Command {
        Command::Commit(self.request(number))
    }

    /// The commit of that number, counted from 0.
    pub(super) fn request(&self, number: u32) -> CommitRequest {
        let mut position_bytes = 32;
        let mut extents = Vec::new();
        for topic in self.first_topic..self.first_topic + self.topics {
            for partition in 0..self.partitions_per_topic {
                let index = PartitionIndex::try_from(partition).unwrap_or_default();
                let batch = self.batch(number, partition);
                extents.push(IndexExtent {
                    partition: TopicPartition::new(topic_id(topic), index),
                    position_bytes,
                    crc: partition,
                    base_offset: None,
                    batches: vec![batch],
                });
                position_bytes += u64::from(batch.length_bytes);
            }
        }
        CommitRequest {
            segment: SegmentId {
                write_epoch: 1,
                incarnation: 1,
                counter: u64::from(number),
            },
            size_bytes: position_bytes,
            index: Arc::new(Index { extents }),
        }
    }

    fn batch(&self, commit: u32, partition: u32) -> IndexBatch {
        const RECORDS: u32 = 7;
        let time_ms = NOW_MS + i64::from(commit) * 250 + i64::from(partition % 250);
        let (producer, epoch, sequence) = match self.producers {
            0 => (-1, -1, -1),
            producers => {
                let sequence = (commit / producers) * RECORDS;
                (
                    i64::from(commit % producers),
                    0,
                    i32::try_from(sequence).unwrap_or_default(),
                )
            }
        };
        IndexBatch {
            length_bytes: 700 + (commit.wrapping_mul(7919) ^ partition) % 300,
            record_count: RECORDS,
            attributes: 0,
            base_timestamp_ms: time_ms - 20,
            max_timestamp_ms: time_ms,
            producer_id: producer,
            producer_epoch: epoch,
            base_sequence: sequence,
        }
    }
}

fn topic_id(number: u32) -> TopicId {
    let random = u128::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    TopicId::from_bytes(random.to_be_bytes())
}

fn new_topic(number: u32, partition_count: PartitionIndex) -> NewTopic {
    NewTopic {
        id: topic_id(number),
        name: format!("topic-{number}"),
        partition_count,
        replication_factor: 3,
        configs: BTreeMap::new(),
    }
}

/// Tells the state that there are no rows of what it asks for.
fn admit_nothing(state: &mut State, command: &Command) {
    let rows = state.missing(command).into_iter().map(|key| (key, None));
    if let Err(damaged) = state.admit(rows) {
        unreachable!("no row is damaged: {damaged}");
    }
}

/// Commits one segment as a group of its own; the rows.
fn commit(state: &mut State, command: Command) -> WriteSet {
    let mut writes = WriteSet::new();
    admit_nothing(state, &command);
    black_box(state.apply(NOW_MS, command, &mut writes));
    state.seal(&mut writes);
    writes
}

fn speed(measured: &mut Vec<Measurement>, name: &str, load: &Load) {
    let (mut state, _) = load.state(StateConfig::default());
    let (mut busy, mut row_bytes) = (Duration::ZERO, 0.0);
    let mut numbers = 0..load.commits;
    loop {
        // Many commits between two looks at the clock, which takes as long as a small commit.
        let some = numbers
            .by_ref()
            .take(usize::try_from(load.commits / 100).unwrap_or(1));
        let commands: Vec<_> = some.map(|number| load.commit(number)).collect();
        if commands.is_empty() {
            break;
        }
        let start = thread_cpu();
        for command in commands {
            row_bytes += size_bytes(&commit(&mut state, command));
        }
        busy += thread_cpu().saturating_sub(start);
    }
    let batches = f64::from(load.commits) * f64::from(load.batches_per_commit());
    let per_second = batches / busy.as_secs_f64();
    measured.push(Measurement::new(
        format!("state: {name}"),
        per_second,
        "batches/s",
    ));
    let per_batch = row_bytes / batches;
    measured.push(Measurement::new(
        format!("state: {name}, rows"),
        per_batch,
        "bytes/batch",
    ));
}

/// Bytes that go to the engine.
fn size_bytes(writes: &WriteSet) -> f64 {
    let value_len = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
    let bytes: usize = writes
        .rows
        .iter()
        .map(|(key, value)| key.len() + value_len(value))
        .sum();
    u32::try_from(bytes).map_or(f64::INFINITY, f64::from)
}

/// Memory of partitions, then of extents, then of producer states.
fn memory(measured: &mut Vec<Measurement>) {
    const TOPICS: u32 = 100;
    const PARTITIONS: u32 = 10_000;
    let one = Load {
        first_topic: 0,
        topics: 1,
        partitions_per_topic: PARTITIONS,
        commits: 1,
        producers: 1,
    };
    let all = Load {
        topics: TOPICS,
        ..one
    };
    let deep = Load {
        commits: 100,
        producers: 0,
        ..one
    };
    let partitions = f64::from(TOPICS) * f64::from(PARTITIONS);
    let config = StateConfig {
        recent_rows_bytes_max: 0,
        ..StateConfig::default()
    };

    let mut last_bytes = resident_bytes();
    let mut grown = |name: &str, things: f64| {
        let before = std::mem::replace(&mut last_bytes, resident_bytes());
        let bytes = (last_bytes - before) / things;
        measured.push(Measurement::new(
            format!("state: memory per {name}"),
            bytes,
            "bytes",
        ));
    };
    let (mut state, _) = all.state(config);
    grown("partition of 1,000,000", partitions);
    for first_topic in 0..TOPICS {
        let Command::Commit(mut request) = (Load { first_topic, ..one }).commit(0) else {
            return;
        };
        request.segment.counter = u64::from(deep.commits + 1 + first_topic);
        drop(commit(&mut state, Command::Commit(request)));
    }
    grown(
        "extent and producer state, 1,000,000 partitions with 1 each",
        partitions,
    );
    for number in 1..=deep.commits {
        drop(commit(&mut state, deep.commit(number)));
    }
    let extents = f64::from(deep.commits) * f64::from(PARTITIONS);
    grown("extent, 10,000 partitions with 100 more each", extents);
    black_box(state);
}

/// Memory of this process that is in RAM.
fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.map_or(f64::NAN, |kib: f64| kib * 1024.0)
}

/// How fast rows become a state again, most of them beyond the checkpoint.
fn recovery(measured: &mut Vec<Measurement>) {
    let load = Load::wide(100, 10);
    let (mut state, writes) = load.state(StateConfig::default());
    let mut rows = BTreeMap::new();
    let mut keep = |writes: WriteSet| {
        rows.extend(
            writes
                .rows
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?))),
        );
    };
    keep(writes);
    for number in 0..load.commits {
        keep(commit(&mut state, load.commit(number)));
    }
    let replayed = state.counts().replay_commits;
    let start = thread_cpu();
    let again = recover(&rows);
    let seconds = thread_cpu().saturating_sub(start).as_secs_f64();
    assert_eq!(
        again.ok().map(|again| again.hash()),
        Some(state.hash()),
        "the same state"
    );
    let batches = f64::from(load.commits) * f64::from(load.batches_per_commit());
    let name = format!(
        "state: recovery of {} commits, {replayed} replayed",
        load.commits
    );
    measured.push(Measurement::new(name, batches / seconds, "batches/s"));
}

fn recover(rows: &BTreeMap<Bytes, Bytes>) -> Result<State, DamagedState> {
    let mut recovery = State::recover(StateConfig::default());
    let resident = RowKey::resident();
    for (key, value) in rows.range(resident.start..resident.end) {
        recovery.row(key.clone(), value)?;
    }
    let missing = recovery.missing().into_iter();
    recovery.admit(missing.map(|key| (key.clone(), rows.get(key.as_bytes()).cloned())))?;
    recovery.finish()
}

/// A process that writes segments.
fn process() -> NewProcess {
    NewProcess {
        nonce: [1; 16],
        attempt: 0,
        internal: "127.0.0.1:9090".to_owned(),
        zone: None,
        brokers: Vec::new(),
        feature_level: 1,
    }
}
