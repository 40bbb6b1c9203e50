//! Snapshots and watch events to messages and back.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use floe_protocol::types::{Offset, TopicPartition};
use floe_storage::segment::SegmentId;
use futures::stream::{self, Stream};

use super::convert::{Malformed, id_bytes, need, offset, topic_id, unsigned};
use super::proto::{self, watch_event::What};
use crate::api::admin::NamedConfigs;
use crate::api::{
    CommittedSegment, Extent, PartitionBounds, Process, Revision, Snapshot, Topic, WatchEvent,
};
use crate::client::WatchBatch;
use crate::client::view::{Changes, Followed};

/// Partitions after which a part of a snapshot ends.
const PART_PARTITIONS: usize = 20_000;

/// A snapshot in parts of bounded size, but for one that holds a single larger topic.
pub(super) fn parts(snapshot: &Snapshot) -> impl Iterator<Item = proto::SnapshotPart> {
    let empty = proto::SnapshotPart {
        revision: snapshot.revision,
        leader_epoch: snapshot.leader_epoch,
        feature_level: snapshot.feature_level,
        write_epoch: snapshot.write_epoch,
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
            part.configs = snapshot.configs.iter().map(Into::into).collect();
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
    snapshot.write_epoch = part.write_epoch;
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
        let configs = part.configs.into_iter().map(NamedConfigs::try_from);
        snapshot.configs = configs.collect::<Result<_, _>>()?;
    }
    Ok(part.is_last)
}

fn processes(processes: Vec<proto::Process>) -> Result<Arc<[Process]>, Malformed> {
    processes.into_iter().map(Process::try_from).collect()
}

/// Of what extents a subscriber is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Scope {
    Everything,
    Only(BTreeSet<TopicPartition>),
}

impl Scope {
    /// What the first request of a stream asks for.
    pub(super) fn new(request: &proto::WatchRequest) -> Result<Self, Malformed> {
        let mut scope = match request.only_followed {
            true => Self::Only(BTreeSet::new()),
            false => Self::Everything,
        };
        scope.change(request)?;
        Ok(scope)
    }

    /// Applies what a request says.
    pub(super) fn change(&mut self, request: &proto::WatchRequest) -> Result<(), Malformed> {
        let Self::Only(followed) = self else {
            return Ok(());
        };
        for ended in &request.ended {
            followed.remove(&ended.clone().try_into()?);
        }
        for begun in &request.begun {
            followed.insert(begun.clone().try_into()?);
        }
        Ok(())
    }

    /// The events as far as the subscriber wants them.
    pub(super) fn batch(&self, batch: &WatchBatch) -> proto::WatchBatch {
        let mut events = Vec::with_capacity(batch.events.len());
        for event in &batch.events {
            match (event, self) {
                (WatchEvent::Committed(segment), Self::Only(followed)) => {
                    let (wanted, others): (Vec<_>, Vec<_>) = segment
                        .extents
                        .iter()
                        .partition(|(partition, _)| followed.contains(partition));
                    if !wanted.is_empty() {
                        events.push(What::Committed(committed(segment.segment, &wanted)));
                    }
                    if !others.is_empty() {
                        events.push(What::Advanced(advanced(&others)));
                    }
                }
                _ => events.push(what(event)),
            }
        }
        let event = |what| proto::WatchEvent { what: Some(what) };
        proto::WatchBatch {
            revision: batch.revision,
            events: events.into_iter().map(event).collect(),
        }
    }
}

/// What a subscriber says: from where it goes on, and from then on what it follows, as that changes. Without
/// `followed` it is told everything.
pub(super) fn requests(
    from: Option<Revision>,
    followed: Option<Arc<Followed>>,
) -> impl Stream<Item = proto::WatchRequest> + Send + 'static {
    let followed = followed.map(|followed| (followed.begin_stream(), followed));
    let first = match &followed {
        None => request(from, false, &Changes::new()),
        Some(((_, partitions), _)) => {
            let begun = partitions.iter().map(|partition| (*partition, true));
            request(from, true, &begun.collect())
        }
    };
    let followed = followed.map(|((number, _), followed)| (number, followed));
    stream::unfold(Some(first), move |first| {
        let followed = followed.clone();
        async move {
            if let Some(first) = first {
                return Some((first, None));
            }
            match followed {
                Some((number, followed)) => {
                    let changes = followed.changes(number).await?;
                    Some((request(None, true, &changes), None))
                }
                // A stream that ended would say that the subscriber is gone.
                None => std::future::pending().await,
            }
        }
    })
}

fn request(from: Option<Revision>, only_followed: bool, changes: &Changes) -> proto::WatchRequest {
    let those = |wanted: bool| {
        let those = changes.iter().filter(move |(_, begins)| **begins == wanted);
        those.map(|(partition, _)| (*partition).into()).collect()
    };
    proto::WatchRequest {
        from,
        only_followed,
        ended: those(false),
        begun: those(true),
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
        WatchEvent::Committed(segment) => {
            let extents: Vec<_> = segment.extents.iter().collect();
            What::Committed(committed(segment.segment, &extents))
        }
        WatchEvent::Advanced(ends) => {
            let ends = ends.iter().copied();
            What::Advanced(advanced_to(ends))
        }
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
        WatchEvent::WriteEpochRaised(epoch) => What::WriteEpochRaised(*epoch),
        WatchEvent::ConfigsChanged(configs) => What::ConfigsChanged(configs.into()),
        WatchEvent::ProcessesChanged(all) => What::ProcessesChanged(proto::Processes {
            processes: all.iter().map(Into::into).collect(),
        }),
    }
}

fn event(what: What) -> Result<WatchEvent, Malformed> {
    Ok(match what {
        What::Committed(segment) => WatchEvent::Committed(Arc::new(segment.try_into()?)),
        What::Advanced(advanced) => WatchEvent::Advanced(ends(advanced)?),
        What::TopicChanged(topic) => WatchEvent::TopicChanged(Arc::new(topic.try_into()?)),
        What::TopicDeleted(id) => WatchEvent::TopicDeleted(topic_id(&id)?),
        What::LogStartMoved(moved) => WatchEvent::LogStartMoved {
            partition: need(moved.partition)?.try_into()?,
            log_start: offset(moved.log_start)?,
        },
        What::LeaderEpochRaised(epoch) => WatchEvent::LeaderEpochRaised(epoch),
        What::FeatureLevelRaised(level) => WatchEvent::FeatureLevelRaised(level),
        What::WriteEpochRaised(epoch) => WatchEvent::WriteEpochRaised(epoch),
        What::ConfigsChanged(configs) => WatchEvent::ConfigsChanged(configs.try_into()?),
        What::ProcessesChanged(all) => WatchEvent::ProcessesChanged(processes(all.processes)?),
    })
}

/// Extents by partition, then offset, to where each partition ends.
fn advanced(extents: &[&(TopicPartition, Extent)]) -> proto::Advanced {
    let of_one = extents.chunk_by(|(one, _), (other, _)| one == other);
    advanced_to(of_one.filter_map(|extents| {
        let (partition, last) = extents.last()?;
        Some((*partition, last.end_offset))
    }))
}

fn advanced_to(ends: impl Iterator<Item = (TopicPartition, Offset)>) -> proto::Advanced {
    let ends: Vec<_> = ends.collect();
    let topics = ends.chunk_by(|(one, _), (other, _)| one.topic == other.topic);
    let topics = topics.map(|run| proto::AdvancedTopic {
        topic: topic_of(run.first().map(|(partition, _)| partition)),
        partitions: run.iter().map(|(it, _)| it.partition).collect(),
        end_offsets: run.iter().map(|(_, end)| unsigned(*end)).collect(),
    });
    proto::Advanced {
        topics: topics.collect(),
    }
}

/// The topic of a run, which is never empty.
fn topic_of(first: Option<&TopicPartition>) -> Bytes {
    first.map(|first| id_bytes(first.topic)).unwrap_or_default()
}

fn ends(message: proto::Advanced) -> Result<Arc<[(TopicPartition, Offset)]>, Malformed> {
    let mut ends = Vec::new();
    for run in message.topics {
        let topic = topic_id(&run.topic)?;
        let mut offsets = run.end_offsets.iter();
        for partition in run.partitions {
            let end = offset(*need(offsets.next())?)?;
            ends.push((TopicPartition::new(topic, partition), end));
        }
    }
    Ok(ends.into())
}

fn committed(segment: SegmentId, extents: &[&(TopicPartition, Extent)]) -> proto::CommittedSegment {
    let topics = extents.chunk_by(|(one, _), (other, _)| one.topic == other.topic);
    let topics = topics.map(|run| {
        let extents = || run.iter().map(|(_, extent)| extent);
        proto::CommittedTopic {
            topic: topic_of(run.first().map(|(partition, _)| partition)),
            partitions: run.iter().map(|(it, _)| it.partition).collect(),
            positions_bytes: extents().map(|it| it.position_bytes).collect(),
            lengths_bytes: extents().map(|it| it.length_bytes).collect(),
            base_offsets: extents().map(|it| unsigned(it.base_offset)).collect(),
            end_offsets: extents().map(|it| unsigned(it.end_offset)).collect(),
            max_timestamps_ms: extents().map(|it| it.max_timestamp_ms).collect(),
        }
    });
    proto::CommittedSegment {
        segment: Some(segment.into()),
        topics: topics.collect(),
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

    fn configs() -> NamedConfigs {
        NamedConfigs {
            kind: crate::api::admin::ConfigKind::Group,
            name: Arc::from("g"),
            values: Arc::new([("a".to_owned(), "b".to_owned())].into()),
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
            write_epoch: 8,
            processes: [process].into(),
            configs: vec![configs()],
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
                WatchEvent::WriteEpochRaised(u32::MAX),
                WatchEvent::ConfigsChanged(configs()),
                WatchEvent::ProcessesChanged([process].into()),
            ],
        };
        let message = Scope::Everything.batch(&batch);
        assert_eq!(WatchBatch::try_from(message).unwrap(), batch);
    }

    #[test]
    fn only_the_followed_are_told_of_in_full() {
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
            end_offset: base_offset + 5,
            max_timestamp_ms: 9,
        };
        let extents = vec![
            (partition(1, 0), extent(5)),
            (partition(1, 0), extent(10)),
            (partition(1, 7), extent(8)),
            (partition(2, 0), extent(0)),
        ];
        let batch = WatchBatch {
            revision: 7,
            events: vec![WatchEvent::Committed(Arc::new(CommittedSegment {
                segment,
                extents: extents.clone(),
            }))],
        };
        let told = |scope: &Scope| WatchBatch::try_from(scope.batch(&batch)).unwrap().events;
        let committed = |extents: &[_]| {
            let extents = extents.to_vec();
            WatchEvent::Committed(Arc::new(CommittedSegment { segment, extents }))
        };
        let mut scope =
            Scope::new(&request(None, true, &[(partition(1, 7), true)].into())).unwrap();
        let ends = [(partition(1, 0), 15), (partition(2, 0), 5)];
        let expected = [committed(&extents[2..3]), WatchEvent::Advanced(ends.into())];
        assert_eq!(told(&scope), expected);

        let changes = [
            (partition(1, 0), true),
            (partition(1, 7), false),
            (partition(2, 0), true),
        ];
        scope.change(&request(None, true, &changes.into())).unwrap();
        let ends = [(partition(1, 7), 13)];
        let wanted = [&extents[..2], &extents[3..]].concat();
        let expected = [committed(&wanted), WatchEvent::Advanced(ends.into())];
        assert_eq!(told(&scope), expected);

        let everything = Scope::new(&request(None, false, &Changes::new())).unwrap();
        assert_eq!(told(&everything), batch.events);
    }
}
