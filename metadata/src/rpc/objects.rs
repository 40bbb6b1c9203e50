//! What compaction asks, to messages and back.

use floe_protocol::types::TopicPartition;
use floe_storage::segment::SegmentId;

use super::convert::{Malformed, id_bytes, need, number, offset, topic_id, unsigned};
use super::proto::{self, merge_outcome, object_answer, object_call};
use crate::api::objects::{
    DeadObject, MergeError, MergeRequest, MergeSource, MergedExtent, ObjectReply, ObjectRequest,
    Retention, SegmentSummary, WriteEpochs,
};
use crate::api::{Extent, Revision};

impl From<ObjectRequest> for proto::ObjectCall {
    fn from(request: ObjectRequest) -> Self {
        use object_call::What;
        let what = match request {
            ObjectRequest::Segments { below_level } => What::Segments(u32::from(below_level)),
            ObjectRequest::BeginMerge { sources, lease_ms } => {
                What::BeginMerge(proto::BeginMerge { sources, lease_ms })
            }
            ObjectRequest::CompleteMerge(merge) => What::CompleteMerge(merge.into()),
            ObjectRequest::Retain(topics) => What::Retain(proto::Retentions {
                topics: topics.into_iter().map(Into::into).collect(),
            }),
            ObjectRequest::Dead {
                min_age_ms,
                objects_max,
            } => What::Dead(proto::DeadRequest {
                min_age_ms,
                objects_max: u32::try_from(objects_max).unwrap_or(u32::MAX),
            }),
            ObjectRequest::Forget(commits) => What::Forget(proto::Commits { commits }),
            ObjectRequest::AreKnown(segments) => What::AreKnown(proto::SegmentIds {
                segments: segments.into_iter().map(Into::into).collect(),
            }),
            ObjectRequest::WriteEpochs => What::WriteEpochs(proto::Empty {}),
            ObjectRequest::RaiseWriteEpoch { above } => What::RaiseWriteEpoch(above),
            ObjectRequest::RaiseLowestAccepted { to } => What::RaiseLowestAccepted(to),
        };
        Self { what: Some(what) }
    }
}

impl TryFrom<proto::ObjectCall> for ObjectRequest {
    type Error = Malformed;

    fn try_from(call: proto::ObjectCall) -> Result<Self, Malformed> {
        use object_call::What;
        Ok(match need(call.what)? {
            What::Segments(below_level) => Self::Segments {
                below_level: number(below_level)?,
            },
            What::BeginMerge(proto::BeginMerge { sources, lease_ms }) => {
                Self::BeginMerge { sources, lease_ms }
            }
            What::CompleteMerge(merge) => Self::CompleteMerge(merge.try_into()?),
            What::Retain(all) => {
                let topics = all.topics.into_iter().map(TryInto::try_into);
                Self::Retain(topics.collect::<Result<_, _>>()?)
            }
            What::Dead(proto::DeadRequest {
                min_age_ms,
                objects_max,
            }) => Self::Dead {
                min_age_ms,
                objects_max: number(objects_max)?,
            },
            What::Forget(proto::Commits { commits }) => Self::Forget(commits),
            What::AreKnown(all) => {
                Self::AreKnown(all.segments.into_iter().map(Into::into).collect())
            }
            What::WriteEpochs(_) => Self::WriteEpochs,
            What::RaiseWriteEpoch(above) => Self::RaiseWriteEpoch { above },
            What::RaiseLowestAccepted(to) => Self::RaiseLowestAccepted { to },
        })
    }
}

impl From<ObjectReply> for proto::ObjectAnswer {
    fn from(reply: ObjectReply) -> Self {
        use object_answer::What;
        let what = match reply {
            ObjectReply::Segments(segments) => What::Segments(proto::SegmentSummaries {
                segments: segments.into_iter().map(Into::into).collect(),
            }),
            ObjectReply::MergeSources(sources) => What::MergeSources(proto::MaybeMergeSources {
                sources: sources.map(|sources| proto::MergeSources {
                    sources: sources.into_iter().map(Into::into).collect(),
                }),
            }),
            ObjectReply::Merged(outcome) => What::Merged(outcome_message(outcome)),
            ObjectReply::Retained(moved) => What::Retained(moved),
            ObjectReply::Dead(objects) => What::Dead(proto::DeadObjects {
                objects: objects.into_iter().map(Into::into).collect(),
            }),
            ObjectReply::Forgotten => What::Forgotten(proto::Empty {}),
            ObjectReply::Known(known) => What::Known(proto::KnownSegments { known }),
            ObjectReply::WriteEpochs(WriteEpochs {
                present,
                lowest_accepted,
            }) => What::WriteEpochs(proto::WriteEpochs {
                present,
                lowest_accepted,
            }),
        };
        Self { what: Some(what) }
    }
}

impl TryFrom<proto::ObjectAnswer> for ObjectReply {
    type Error = Malformed;

    fn try_from(answer: proto::ObjectAnswer) -> Result<Self, Malformed> {
        use object_answer::What;
        Ok(match need(answer.what)? {
            What::Segments(all) => {
                let segments = all.segments.into_iter().map(TryInto::try_into);
                Self::Segments(segments.collect::<Result<_, _>>()?)
            }
            What::MergeSources(maybe) => {
                let all = maybe.sources.map(|all| {
                    let sources = all.sources.into_iter().map(TryInto::try_into);
                    sources.collect::<Result<_, Malformed>>()
                });
                Self::MergeSources(all.transpose()?)
            }
            What::Merged(outcome) => Self::Merged(outcome_of(outcome)?),
            What::Retained(moved) => Self::Retained(moved),
            What::Dead(all) => {
                let objects = all.objects.into_iter().map(TryInto::try_into);
                Self::Dead(objects.collect::<Result<_, _>>()?)
            }
            What::Forgotten(_) => Self::Forgotten,
            What::Known(proto::KnownSegments { known }) => Self::Known(known),
            What::WriteEpochs(proto::WriteEpochs {
                present,
                lowest_accepted,
            }) => Self::WriteEpochs(WriteEpochs {
                present,
                lowest_accepted,
            }),
        })
    }
}

impl From<SegmentSummary> for proto::SegmentSummary {
    fn from(summary: SegmentSummary) -> Self {
        Self {
            commit: summary.commit,
            segment: Some(summary.segment.into()),
            level: u32::from(summary.level),
            size_bytes: summary.size_bytes,
            live_extents: summary.live_extents,
            committed_ms: summary.committed_ms,
            is_leased: summary.is_leased,
        }
    }
}

impl TryFrom<proto::SegmentSummary> for SegmentSummary {
    type Error = Malformed;

    fn try_from(summary: proto::SegmentSummary) -> Result<Self, Malformed> {
        Ok(Self {
            commit: summary.commit,
            segment: need(summary.segment)?.into(),
            level: number(summary.level)?,
            size_bytes: summary.size_bytes,
            live_extents: summary.live_extents,
            committed_ms: summary.committed_ms,
            is_leased: summary.is_leased,
        })
    }
}

impl From<MergeSource> for proto::MergeSource {
    fn from(source: MergeSource) -> Self {
        let extents = source.extents.iter();
        let extents: Vec<_> = extents
            .map(|(partition, extent)| merged(*partition, extent))
            .collect();
        Self {
            summary: Some(source.summary.into()),
            topics: by_topic(&extents),
        }
    }
}

impl TryFrom<proto::MergeSource> for MergeSource {
    type Error = Malformed;

    fn try_from(source: proto::MergeSource) -> Result<Self, Malformed> {
        let summary: SegmentSummary = need(source.summary)?.try_into()?;
        let extents = extents(source.topics)?.into_iter().map(|run| {
            let extent = Extent {
                segment: summary.segment,
                level: summary.level,
                position_bytes: run.position_bytes,
                length_bytes: run.length_bytes,
                base_offset: run.base_offset,
                end_offset: run.end_offset,
                max_timestamp_ms: run.max_timestamp_ms,
            };
            (run.partition, extent)
        });
        Ok(Self {
            summary,
            extents: extents.collect(),
        })
    }
}

const fn merged(partition: TopicPartition, extent: &Extent) -> MergedExtent {
    MergedExtent {
        partition,
        position_bytes: extent.position_bytes,
        length_bytes: extent.length_bytes,
        base_offset: extent.base_offset,
        end_offset: extent.end_offset,
        max_timestamp_ms: extent.max_timestamp_ms,
    }
}

impl From<MergeRequest> for proto::Merge {
    fn from(merge: MergeRequest) -> Self {
        Self {
            segment: Some(merge.segment.into()),
            level: u32::from(merge.level),
            size_bytes: merge.size_bytes,
            sources: merge.sources,
            topics: by_topic(&merge.extents),
        }
    }
}

impl TryFrom<proto::Merge> for MergeRequest {
    type Error = Malformed;

    fn try_from(merge: proto::Merge) -> Result<Self, Malformed> {
        Ok(Self {
            segment: need(merge.segment)?.into(),
            level: number(merge.level)?,
            size_bytes: merge.size_bytes,
            sources: merge.sources,
            extents: extents(merge.topics)?,
        })
    }
}

/// Extents that follow each other in one topic share its name.
fn by_topic(extents: &[MergedExtent]) -> Vec<proto::CommittedTopic> {
    let runs = extents.chunk_by(|one, other| one.partition.topic == other.partition.topic);
    let runs = runs.map(|run| {
        let topic = run.first().map(|first| id_bytes(first.partition.topic));
        proto::CommittedTopic {
            topic: topic.unwrap_or_default(),
            partitions: run.iter().map(|it| it.partition.partition).collect(),
            positions_bytes: run.iter().map(|it| it.position_bytes).collect(),
            lengths_bytes: run.iter().map(|it| it.length_bytes).collect(),
            base_offsets: run.iter().map(|it| unsigned(it.base_offset)).collect(),
            end_offsets: run.iter().map(|it| unsigned(it.end_offset)).collect(),
            max_timestamps_ms: run.iter().map(|it| it.max_timestamp_ms).collect(),
        }
    });
    runs.collect()
}

fn extents(topics: Vec<proto::CommittedTopic>) -> Result<Vec<MergedExtent>, Malformed> {
    let mut extents = Vec::new();
    for run in topics {
        let topic = topic_id(&run.topic)?;
        let count = run.partitions.len();
        let is_whole = [
            run.positions_bytes.len(),
            run.lengths_bytes.len(),
            run.base_offsets.len(),
            run.end_offsets.len(),
            run.max_timestamps_ms.len(),
        ];
        if is_whole.iter().any(|column| *column != count) {
            return Err(Malformed);
        }
        let places = run.positions_bytes.into_iter().zip(run.lengths_bytes);
        let offsets = run.base_offsets.into_iter().zip(run.end_offsets);
        let columns = run.partitions.into_iter().zip(places).zip(offsets);
        for (((index, place), offsets), max_timestamp_ms) in columns.zip(run.max_timestamps_ms) {
            extents.push(MergedExtent {
                partition: TopicPartition::new(topic, index),
                position_bytes: place.0,
                length_bytes: place.1,
                base_offset: offset(offsets.0)?,
                end_offset: offset(offsets.1)?,
                max_timestamp_ms,
            });
        }
    }
    Ok(extents)
}

type Kind = proto::merge_failure::Kind;

fn outcome_message(outcome: Result<Revision, MergeError>) -> proto::MergeOutcome {
    use merge_outcome::What;
    let failure = |kind: Kind| proto::MergeFailure {
        kind: kind.into(),
        ..proto::MergeFailure::default()
    };
    let what = match outcome {
        Ok(revision) => What::Revision(revision),
        Err(MergeError::Stale) => What::Failure(failure(Kind::Stale)),
        Err(MergeError::Malformed) => What::Failure(failure(Kind::Malformed)),
        Err(MergeError::TooOld {
            write_epoch,
            lowest,
        }) => What::Failure(proto::MergeFailure {
            write_epoch,
            lowest,
            ..failure(Kind::TooOld)
        }),
        Err(MergeError::NotRegistered(incarnation)) => What::Failure(proto::MergeFailure {
            incarnation,
            ..failure(Kind::NotRegistered)
        }),
    };
    proto::MergeOutcome { what: Some(what) }
}

fn outcome_of(outcome: proto::MergeOutcome) -> Result<Result<Revision, MergeError>, Malformed> {
    use merge_outcome::What;
    let failure = match need(outcome.what)? {
        What::Revision(revision) => return Ok(Ok(revision)),
        What::Failure(failure) => failure,
    };
    Ok(Err(match failure.kind() {
        Kind::Unspecified => return Err(Malformed),
        Kind::Stale => MergeError::Stale,
        Kind::Malformed => MergeError::Malformed,
        Kind::TooOld => MergeError::TooOld {
            write_epoch: failure.write_epoch,
            lowest: failure.lowest,
        },
        Kind::NotRegistered => MergeError::NotRegistered(failure.incarnation),
    }))
}

impl From<Retention> for proto::Retention {
    fn from(retention: Retention) -> Self {
        Self {
            topic: id_bytes(retention.topic),
            min_timestamp_ms: retention.min_timestamp_ms,
            bytes_max: retention.bytes_max,
        }
    }
}

impl TryFrom<proto::Retention> for Retention {
    type Error = Malformed;

    fn try_from(retention: proto::Retention) -> Result<Self, Malformed> {
        Ok(Self {
            topic: topic_id(&retention.topic)?,
            min_timestamp_ms: retention.min_timestamp_ms,
            bytes_max: retention.bytes_max,
        })
    }
}

impl From<DeadObject> for proto::DeadObject {
    fn from(object: DeadObject) -> Self {
        Self {
            commit: object.commit,
            segment: Some(object.segment.into()),
            level: u32::from(object.level),
            size_bytes: object.size_bytes,
            dead_ms: object.dead_ms,
        }
    }
}

impl TryFrom<proto::DeadObject> for DeadObject {
    type Error = Malformed;

    fn try_from(object: proto::DeadObject) -> Result<Self, Malformed> {
        Ok(Self {
            commit: object.commit,
            segment: SegmentId::from(need(object.segment)?),
            level: number(object.level)?,
            size_bytes: object.size_bytes,
            dead_ms: object.dead_ms,
        })
    }
}

#[cfg(test)]
mod tests;
