//! Small values to messages and back. What comes in is checked: a message of another release, or of
//! nobody, is [`Malformed`], never a panic.

use bytes::Bytes;
use floe_protocol::types::{Offset, TopicId, TopicPartition};
use floe_storage::segment::SegmentId;
use prost::Message as _;
use tonic::{Code, Status};

use super::proto;
use crate::api::{Extent, PartitionBounds, RequestError};

/// A message that no release of ours sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("malformed message")]
pub struct Malformed;

impl From<Malformed> for Status {
    fn from(error: Malformed) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

pub(super) fn need<T>(value: Option<T>) -> Result<T, Malformed> {
    value.ok_or(Malformed)
}

/// A number in a smaller or signed type.
pub(super) fn number<T, U: TryFrom<T>>(value: T) -> Result<U, Malformed> {
    U::try_from(value).map_err(|_| Malformed)
}

pub(super) const fn unsigned(offset: Offset) -> u64 {
    offset.cast_unsigned()
}

pub(super) fn offset(value: u64) -> Result<Offset, Malformed> {
    number(value)
}

pub(super) fn id_bytes(id: TopicId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

pub(super) fn array(bytes: &[u8]) -> Result<[u8; 16], Malformed> {
    number(bytes)
}

pub(super) fn topic_id(bytes: &[u8]) -> Result<TopicId, Malformed> {
    Ok(TopicId::from_bytes(array(bytes)?))
}

impl From<TopicPartition> for proto::Partition {
    fn from(partition: TopicPartition) -> Self {
        Self {
            topic: id_bytes(partition.topic),
            index: partition.partition,
        }
    }
}

impl TryFrom<proto::Partition> for TopicPartition {
    type Error = Malformed;

    fn try_from(partition: proto::Partition) -> Result<Self, Malformed> {
        let topic = topic_id(&partition.topic)?;
        Ok(Self::new(topic, partition.index))
    }
}

impl From<SegmentId> for proto::SegmentId {
    fn from(id: SegmentId) -> Self {
        Self {
            write_epoch: id.write_epoch,
            incarnation: id.incarnation,
            counter: id.counter,
        }
    }
}

impl From<proto::SegmentId> for SegmentId {
    fn from(id: proto::SegmentId) -> Self {
        Self {
            write_epoch: id.write_epoch,
            incarnation: id.incarnation,
            counter: id.counter,
        }
    }
}

impl From<PartitionBounds> for proto::PartitionBounds {
    fn from(bounds: PartitionBounds) -> Self {
        Self {
            log_start: unsigned(bounds.log_start),
            high_watermark: unsigned(bounds.high_watermark),
            last_stable: unsigned(bounds.last_stable),
        }
    }
}

impl TryFrom<proto::PartitionBounds> for PartitionBounds {
    type Error = Malformed;

    fn try_from(bounds: proto::PartitionBounds) -> Result<Self, Malformed> {
        Ok(Self {
            log_start: offset(bounds.log_start)?,
            high_watermark: offset(bounds.high_watermark)?,
            last_stable: offset(bounds.last_stable)?,
        })
    }
}

impl From<Extent> for proto::Extent {
    fn from(extent: Extent) -> Self {
        Self {
            segment: Some(extent.segment.into()),
            level: u32::from(extent.level),
            position_bytes: extent.position_bytes,
            length_bytes: extent.length_bytes,
            base_offset: unsigned(extent.base_offset),
            end_offset: unsigned(extent.end_offset),
            max_timestamp_ms: extent.max_timestamp_ms,
        }
    }
}

impl TryFrom<proto::Extent> for Extent {
    type Error = Malformed;

    fn try_from(extent: proto::Extent) -> Result<Self, Malformed> {
        Ok(Self {
            segment: need(extent.segment)?.into(),
            level: number(extent.level)?,
            position_bytes: extent.position_bytes,
            length_bytes: extent.length_bytes,
            base_offset: offset(extent.base_offset)?,
            end_offset: offset(extent.end_offset)?,
            max_timestamp_ms: extent.max_timestamp_ms,
        })
    }
}

type Kind = proto::request_failure::Kind;

/// A refusal as a status. `Unavailable` has no details: the call is to be repeated.
pub(super) fn refusal(error: &RequestError) -> Status {
    let (kind, name, have, asked, limit) = match error {
        RequestError::Unavailable => return Status::unavailable(error.to_string()),
        RequestError::UnknownTopic => (Kind::UnknownTopic, String::new(), 0, 0, 0),
        RequestError::TopicExists(name) => (Kind::TopicExists, name.clone(), 0, 0, 0),
        RequestError::PartitionCountNotRaised { have, asked } => {
            let asked = u64::try_from(*asked).unwrap_or_default();
            (
                Kind::PartitionCountNotRaised,
                String::new(),
                *have,
                asked,
                0,
            )
        }
        RequestError::TooManyPartitions { asked, limit } => {
            (Kind::TooManyPartitions, String::new(), 0, *asked, *limit)
        }
        RequestError::ConfigsChanged => (Kind::ConfigsChanged, String::new(), 0, 0, 0),
        RequestError::TooManyResources(limit) => {
            (Kind::TooManyResources, String::new(), 0, 0, *limit)
        }
        RequestError::NotUnderstood {
            process,
            known,
            asked,
        } => {
            let (asked, known) = (u64::from(*asked), u64::from(*known));
            (Kind::NotUnderstood, process.clone(), 0, asked, known)
        }
        RequestError::TooOld { level, known } => {
            let (level, known) = (u64::from(*level), u64::from(*known));
            (Kind::TooOld, String::new(), 0, level, known)
        }
    };
    let failure = proto::RequestFailure {
        kind: kind.into(),
        name,
        have,
        asked,
        limit,
    };
    let details = Bytes::from(failure.encode_to_vec());
    Status::with_details(Code::FailedPrecondition, error.to_string(), details)
}

/// Why a call was refused; `Unavailable` for whatever is no refusal.
pub(super) fn refused(status: &Status) -> RequestError {
    understood(status).unwrap_or_else(|| {
        if status.code() != Code::Unavailable && status.code() != Code::Cancelled {
            tracing::debug!(%status, "an internal call failed");
        }
        RequestError::Unavailable
    })
}

fn understood(status: &Status) -> Option<RequestError> {
    if status.code() != Code::FailedPrecondition {
        return None;
    }
    let failure = proto::RequestFailure::decode(status.details()).ok()?;
    Some(match failure.kind() {
        Kind::Unspecified => return None,
        Kind::UnknownTopic => RequestError::UnknownTopic,
        Kind::TopicExists => RequestError::TopicExists(failure.name),
        Kind::PartitionCountNotRaised => RequestError::PartitionCountNotRaised {
            have: failure.have,
            asked: i32::try_from(failure.asked).ok()?,
        },
        Kind::TooManyPartitions => RequestError::TooManyPartitions {
            asked: failure.asked,
            limit: failure.limit,
        },
        Kind::ConfigsChanged => RequestError::ConfigsChanged,
        Kind::TooManyResources => RequestError::TooManyResources(failure.limit),
        Kind::NotUnderstood => RequestError::NotUnderstood {
            process: failure.name,
            known: number(failure.limit).ok()?,
            asked: number(failure.asked).ok()?,
        },
        Kind::TooOld => RequestError::TooOld {
            level: number(failure.asked).ok()?,
            known: number(failure.limit).ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_survive_the_journey() {
        for error in [
            RequestError::Unavailable,
            RequestError::UnknownTopic,
            RequestError::TopicExists("orders".to_owned()),
            RequestError::PartitionCountNotRaised { have: 4, asked: 3 },
            RequestError::TooManyPartitions { asked: 9, limit: 8 },
            RequestError::ConfigsChanged,
            RequestError::TooManyResources(7),
            RequestError::NotUnderstood {
                process: "10.0.0.7:9090".to_owned(),
                known: 1,
                asked: 2,
            },
            RequestError::TooOld { level: 2, known: 1 },
        ] {
            assert_eq!(refused(&refusal(&error)), error);
        }
        let strange =
            Status::with_details(Code::FailedPrecondition, "", Bytes::from_static(b"\xff"));
        assert_eq!(refused(&strange), RequestError::Unavailable);
        assert_eq!(refused(&Status::internal("")), RequestError::Unavailable);
    }
}
