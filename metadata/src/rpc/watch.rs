//! Snapshots and watch events to messages and back.

use std::sync::Arc;

use floe_protocol::types::TopicPartition;

use super::convert::{Malformed, id_bytes, need, offset, topic_id, unsigned};
use super::proto::{self, watch_event::What};
use crate::api::{CommittedSegment, Extent, PartitionBounds, Process, Snapshot, Topic, WatchEvent};
use crate::client::WatchBatch;

/// Partitions after which a part of a snapshot ends.
const PART_PARTITIONS: usize = 20_000;

/// A snapshot in parts of bounded size, but for one that holds a single larger topic.
pub(super) fn parts(snapshot: &Snapshot) -> impl Iterator<Item = proto::SnapshotPart> {
    let empty = proto::SnapshotPart {
        revision: snapshot.revision,
        leader_epoch: snapshot.leader_epoch,
        feature_level: snapshot.feature_level,
        ..proto::SnapshotPart::default()
    };
    let mut states = snapshot.topics.iter().zip(&snapshot.bounds).peekable();
    let mut has_ended = false;
    std::iter::from_fn(move || {
        if has_ended {
            return None;
        }
        let mut part = empty.clone();
        let mut partitions = 0;
        while let Some((topic, bounds)) = states
            .next_if(|(_, bounds)| partitions == 0 || partitions + bounds.len() <= PART_PARTITIONS)
        {
            partitions += bounds.len();
            part.topics.push(state(topic, bounds));
        }
        has_ended = states.peek().is_none();
        if has_ended {
            part.processes = snapshot.processes.iter().map(Into::into).collect();
            part.is_last = true;
        }
        Some(part)
    })
}

fn state(topic: &Topic, bounds: &[PartitionBounds]) -> proto::TopicState {
    let column =
        |of: fn(&PartitionBounds) -> i64| bounds.iter().map(|it| unsigned(of(it))).collect();
    proto::TopicState {
        topic: Some(topic.into()),
        log_starts: column(|bounds| bounds.log_start),
        high_watermarks: column(|bounds| bounds.high_watermark),
        last_stables: column(|bounds| bounds.last_stable),
    }
}

/// Adds a part to a snapshot that began as its default; whether it was the last one.
pub(super) fn add(snapshot: &mut Snapshot, part: proto::SnapshotPart) -> Result<bool, Malformed> {
    snapshot.revision = part.revision;
    snapshot.leader_epoch = part.leader_epoch;
    snapshot.feature_level = part.feature_level.max(1);
    for state in part.topics {
        let topic = Topic::try_from(need(state.topic)?)?;
        let columns = state
            .log_starts
            .iter()
            .zip(&state.high_watermarks)
            .zip(&state.last_stables);
        let bounds = columns
            .map(|((log_start, high_watermark), last_stable)| {
                Ok(PartitionBounds {
                    log_start: offset(*log_start)?,
                    high_watermark: offset(*high_watermark)?,
                    last_stable: offset(*last_stable)?,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        if Ok(bounds.len()) != usize::try_from(topic.partition_count) {
            return Err(Malformed);
        }
        snapshot.topics.push(Arc::new(topic));
        snapshot.bounds.push(bounds);
    }
    if part.is_last {
        snapshot.processes = processes(part.processes)?;
    }
    Ok(part.is_last)
}

fn processes(processes: Vec<proto::Process>) -> Result<Arc<[Process]>, Malformed> {
    processes.into_iter().map(Process::try_from).collect()
}

impl From<&WatchBatch> for proto::WatchBatch {
    fn from(batch: &WatchBatch) -> Self {
        let event = |event| proto::WatchEvent {
            what: Some(what(event)),
        };
        Self {
            revision: batch.revision,
            events: batch.events.iter().map(event).collect(),
        }
    }
}

impl TryFrom<proto::WatchBatch> for WatchBatch {
    type Error = Malformed;

    fn try_from(batch: proto::WatchBatch) -> Result<Self, Malformed> {
        let event = |event: proto::WatchEvent| self::event(need(event.what)?);
        Ok(Self {
            revision: batch.revision,
            events: batch
                .events
                .into_iter()
                .map(event)
                .collect::<Result<_, _>>()?,
        })
    }
}

fn what(event: &WatchEvent) -> What {
    match event {
        WatchEvent::Committed(segment) => What::Committed(committed(segment)),
        WatchEvent::TopicChanged(topic) => What::TopicChanged(topic.as_ref().into()),
        WatchEvent::TopicDeleted(id) => What::TopicDeleted(id_bytes(*id)),
        WatchEvent::LogStartMoved {
            partition,
            log_start,
        } => What::LogStartMoved(proto::LogStartMoved {
            partition: Some((*partition).into()),
            log_start: unsigned(*log_start),
        }),
        WatchEvent::LeaderEpochRaised(epoch) => What::LeaderEpochRaised(*epoch),
        WatchEvent::FeatureLevelRaised(level) => What::FeatureLevelRaised(*level),
        WatchEvent::ProcessesChanged(all) => What::ProcessesChanged(proto::Processes {
            processes: all.iter().map(Into::into).collect(),
        }),
    }
}

fn event(what: What) -> Result<WatchEvent, Malformed> {
    Ok(match what {
        What::Committed(segment) => WatchEvent::Committed(Arc::new(segment.try_into()?)),
        What::TopicChanged(topic) => WatchEvent::TopicChanged(Arc::new(topic.try_into()?)),
        What::TopicDeleted(id) => WatchEvent::TopicDeleted(topic_id(&id)?),
        What::LogStartMoved(moved) => WatchEvent::LogStartMoved {
            partition: need(moved.partition)?.try_into()?,
            log_start: offset(moved.log_start)?,
        },
        What::LeaderEpochRaised(epoch) => WatchEvent::LeaderEpochRaised(epoch),
        What::FeatureLevelRaised(level) => WatchEvent::FeatureLevelRaised(level),
        What::ProcessesChanged(all) => WatchEvent::ProcessesChanged(processes(all.processes)?),
    })
}

fn committed(segment: &CommittedSegment) -> proto::CommittedSegment {
    let mut topics: Vec<proto::CommittedTopic> = Vec::new();
    let mut last = None;
    for (partition, extent) in &segment.extents {
        if last != Some(partition.topic) {
            last = Some(partition.topic);
            topics.push(proto::CommittedTopic {
                topic: id_bytes(partition.topic),
                ..proto::CommittedTopic::default()
            });
        }
        if let Some(run) = topics.last_mut() {
            run.partitions.push(partition.partition);
            run.positions_bytes.push(extent.position_bytes);
            run.lengths_bytes.push(extent.length_bytes);
            run.base_offsets.push(unsigned(extent.base_offset));
            run.end_offsets.push(unsigned(extent.end_offset));
            run.max_timestamps_ms.push(extent.max_timestamp_ms);
        }
    }
    proto::CommittedSegment {
        segment: Some(segment.segment.into()),
        topics,
    }
}

impl TryFrom<proto::CommittedSegment> for CommittedSegment {
    type Error = Malformed;

    fn try_from(message: proto::CommittedSegment) -> Result<Self, Malformed> {
        let segment = need(message.segment)?.into();
        let mut extents = Vec::new();
        for run in message.topics {
            let topic = topic_id(&run.topic)?;
            let (mut positions, mut lengths) =
                (run.positions_bytes.iter(), run.lengths_bytes.iter());
            let (mut bases, mut ends) = (run.base_offsets.iter(), run.end_offsets.iter());
            let mut timestamps = run.max_timestamps_ms.iter();
            for partition in run.partitions {
                let extent = Extent {
                    segment,
                    level: 0,
                    position_bytes: *need(positions.next())?,
                    length_bytes: *need(lengths.next())?,
                    base_offset: offset(*need(bases.next())?)?,
                    end_offset: offset(*need(ends.next())?)?,
                    max_timestamp_ms: *need(timestamps.next())?,
                };
                extents.push((TopicPartition::new(topic, partition), extent));
            }
        }
        Ok(Self { segment, extents })
    }
}

#[cfg(test)]
mod tests {
    use floe_storage::segment::SegmentId;

    use super::*;
    use crate::testing::{new_process, partition, topic_id};

    fn topic(byte: u8, partition_count: i32) -> Topic {
        Topic {
            id: topic_id(byte),
            name: Arc::from(format!("topic-{byte}")),
            partition_count,
            replication_factor: 3,
            configs: Arc::new([("a".to_owned(), "b".to_owned())].into()),
            created_ms: 5,
        }
    }

    #[test]
    fn snapshots_travel_in_parts() {
        let counts = [3, 20_001, 7, 19_990, 11];
        let topics: Vec<_> = (1..)
            .zip(counts)
            .map(|(byte, count)| Arc::new(topic(byte, count)))
            .collect();
        let bounds = |topic: &Arc<Topic>| {
            (0..topic.partition_count)
                .map(|index| PartitionBounds {
                    log_start: i64::from(index),
                    high_watermark: i64::MAX,
                    last_stable: i64::from(index) + 1,
                })
                .collect()
        };
        let process = Process {
            incarnation: 4,
            told: new_process(3),
        };
        let whole = Snapshot {
            revision: 9,
            bounds: topics.iter().map(bounds).collect(),
            topics,
            leader_epoch: 2,
            feature_level: 3,
            processes: [process].into(),
        };
        let empty = Snapshot {
            feature_level: 1,
            ..Snapshot::default()
        };
        for whole in [whole, empty] {
            let parts: Vec<_> = parts(&whole).collect();
            assert_eq!(parts.iter().filter(|part| part.is_last).count(), 1);
            let mut rebuilt = Snapshot::default();
            let last: Vec<_> = parts
                .into_iter()
                .map(|part| add(&mut rebuilt, part).unwrap())
                .collect();
            assert!(last.ends_with(&[true]));
            assert_eq!(rebuilt, whole);
        }
    }

    #[test]
    fn events_survive_the_journey() {
        let segment = SegmentId {
            write_epoch: 1,
            incarnation: 2,
            counter: 3,
        };
        let extent = |base_offset| Extent {
            segment,
            level: 0,
            position_bytes: 10,
            length_bytes: 70,
            base_offset,
            end_offset: base_offset + 1,
            max_timestamp_ms: -1,
        };
        let extents = vec![
            (partition(1, 0), extent(5)),
            (partition(1, 7), extent(i64::MAX - 1)),
            (partition(2, 0), extent(0)),
        ];
        let process = Process {
            incarnation: 4,
            told: new_process(3),
        };
        let batch = WatchBatch {
            revision: 7,
            events: vec![
                WatchEvent::Committed(Arc::new(CommittedSegment { segment, extents })),
                WatchEvent::TopicChanged(Arc::new(topic(1, 2))),
                WatchEvent::TopicDeleted(topic_id(3)),
                WatchEvent::LogStartMoved {
                    partition: partition(1, 1),
                    log_start: 4,
                },
                WatchEvent::LeaderEpochRaised(6),
                WatchEvent::FeatureLevelRaised(2),
                WatchEvent::ProcessesChanged([process].into()),
            ],
        };
        let message = proto::WatchBatch::from(&batch);
        assert_eq!(WatchBatch::try_from(message).unwrap(), batch);
    }
}
