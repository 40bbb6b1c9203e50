//! Commits and their results to messages and back. Results are columns: a commit may hold ten thousands
//! of batches.

use std::sync::Arc;

use bytes::Bytes;
use floe_storage::segment::index::columns_bytes_max;
use floe_storage::segment::{Index, SegmentId};

use super::convert::{Malformed, need, offset, unsigned};
use super::proto;
use crate::api::{BatchRejection, BatchResult, CommitError, CommitReply, CommitRequest};

const COMMITTED: u8 = 0;
const DUPLICATE: u8 = 1;
/// The first of the rejections.
const REJECTED: u8 = 16;

impl From<&CommitRequest> for proto::CommitRequest {
    fn from(request: &CommitRequest) -> Self {
        Self {
            segment: Some(request.segment.into()),
            size_bytes: request.size_bytes,
            index: Bytes::from(request.index.encode()),
        }
    }
}

impl TryFrom<proto::CommitRequest> for CommitRequest {
    type Error = Malformed;

    fn try_from(request: proto::CommitRequest) -> Result<Self, Malformed> {
        let limit = columns_bytes_max(request.size_bytes);
        let index = Index::decode(&request.index, limit).map_err(|_| Malformed)?;
        Ok(Self {
            segment: need(request.segment)?.into(),
            size_bytes: request.size_bytes,
            index: Arc::new(index),
        })
    }
}

const fn rejection_kind(rejection: BatchRejection) -> u8 {
    REJECTED
        + match rejection {
            BatchRejection::UnknownTopicOrPartition => 0,
            BatchRejection::OutOfOrderSequence => 1,
            BatchRejection::InvalidProducerEpoch => 2,
            BatchRejection::InvalidTxnState => 3,
            BatchRejection::OffsetsExhausted => 4,
            BatchRejection::Empty => 5,
        }
}

fn rejection(kind: u8) -> Result<BatchRejection, Malformed> {
    Ok(match kind.checked_sub(REJECTED).ok_or(Malformed)? {
        0 => BatchRejection::UnknownTopicOrPartition,
        1 => BatchRejection::OutOfOrderSequence,
        2 => BatchRejection::InvalidProducerEpoch,
        3 => BatchRejection::InvalidTxnState,
        4 => BatchRejection::OffsetsExhausted,
        5 => BatchRejection::Empty,
        _ => return Err(Malformed),
    })
}

/// The answer to a commit; `None` when its outcome is unknown, which no message says: the stream ends.
pub(super) fn reply(
    segment: SegmentId,
    outcome: Result<CommitReply, CommitError>,
) -> Option<proto::CommitReply> {
    let mut message = proto::CommitReply {
        segment: Some(segment.into()),
        ..proto::CommitReply::default()
    };
    match outcome {
        Ok(reply) => {
            message.revision = reply.revision;
            put_results(&mut message, &reply.results);
        }
        Err(CommitError::Unavailable) => return None,
        Err(CommitError::TooOld {
            write_epoch,
            lowest,
        }) => {
            message.failure = Some(proto::CommitFailure {
                kind: proto::commit_failure::Kind::TooOld.into(),
                write_epoch,
                lowest,
                incarnation: 0,
            });
        }
        Err(CommitError::NotRegistered(incarnation)) => {
            message.failure = Some(proto::CommitFailure {
                kind: proto::commit_failure::Kind::NotRegistered.into(),
                write_epoch: 0,
                lowest: 0,
                incarnation,
            });
        }
    }
    Some(message)
}

fn put_results(message: &mut proto::CommitReply, results: &[BatchResult]) {
    let mut kinds = Vec::with_capacity(results.len());
    message.base_offsets.reserve_exact(results.len());
    message.log_starts.reserve_exact(results.len());
    for result in results {
        match *result {
            BatchResult::Committed {
                base_offset,
                log_start,
            } => {
                kinds.push(COMMITTED);
                message.base_offsets.push(unsigned(base_offset));
                message.log_starts.push(unsigned(log_start));
            }
            BatchResult::Duplicate {
                base_offset,
                max_timestamp_ms,
                log_start,
            } => {
                kinds.push(DUPLICATE);
                message.base_offsets.push(unsigned(base_offset));
                message.log_starts.push(unsigned(log_start));
                message.max_timestamps_ms.push(max_timestamp_ms);
            }
            BatchResult::Rejected(rejection) => kinds.push(rejection_kind(rejection)),
        }
    }
    message.kinds = Bytes::from(kinds);
}

/// What a message answers, and to which segment.
pub(super) fn outcome(
    message: proto::CommitReply,
) -> Result<(SegmentId, Result<CommitReply, CommitError>), Malformed> {
    use proto::commit_failure::Kind;
    let segment = need(message.segment)?.into();
    if let Some(failure) = message.failure {
        let error = match failure.kind() {
            Kind::TooOld => CommitError::TooOld {
                write_epoch: failure.write_epoch,
                lowest: failure.lowest,
            },
            Kind::NotRegistered => CommitError::NotRegistered(failure.incarnation),
            Kind::Unspecified => return Err(Malformed),
        };
        return Ok((segment, Err(error)));
    }
    let mut base_offsets = message.base_offsets.into_iter();
    let mut log_starts = message.log_starts.into_iter();
    let mut timestamps = message.max_timestamps_ms.into_iter();
    let mut results = Vec::with_capacity(message.kinds.len());
    for kind in message.kinds {
        results.push(match kind {
            COMMITTED => BatchResult::Committed {
                base_offset: offset(need(base_offsets.next())?)?,
                log_start: offset(need(log_starts.next())?)?,
            },
            DUPLICATE => BatchResult::Duplicate {
                base_offset: offset(need(base_offsets.next())?)?,
                max_timestamp_ms: need(timestamps.next())?,
                log_start: offset(need(log_starts.next())?)?,
            },
            kind => BatchResult::Rejected(rejection(kind)?),
        });
    }
    let reply = CommitReply {
        results,
        revision: message.revision,
    };
    Ok((segment, Ok(reply)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{commit, partition};

    const SEGMENT: SegmentId = SegmentId {
        write_epoch: 1,
        incarnation: 2,
        counter: 3,
    };

    #[test]
    fn outcomes_survive_the_journey() {
        let rejections = [
            BatchRejection::UnknownTopicOrPartition,
            BatchRejection::OutOfOrderSequence,
            BatchRejection::InvalidProducerEpoch,
            BatchRejection::InvalidTxnState,
            BatchRejection::OffsetsExhausted,
            BatchRejection::Empty,
        ];
        let mut results = vec![BatchResult::Committed {
            base_offset: i64::MAX,
            log_start: 0,
        }];
        results.extend(rejections.map(BatchResult::Rejected));
        results.push(BatchResult::Duplicate {
            base_offset: 7,
            max_timestamp_ms: -1,
            log_start: 5,
        });
        let decided = CommitReply {
            results,
            revision: 9,
        };
        for said in [
            Ok(decided),
            Err(CommitError::TooOld {
                write_epoch: 1,
                lowest: 2,
            }),
            Err(CommitError::NotRegistered(2)),
        ] {
            let message = reply(SEGMENT, said.clone()).unwrap();
            assert_eq!(outcome(message).unwrap(), (SEGMENT, said));
        }
        assert_eq!(reply(SEGMENT, Err(CommitError::Unavailable)), None);
    }

    #[test]
    fn requests_survive_the_journey() {
        let request = commit(
            2,
            3,
            &[partition(1, 0), partition(1, 4), partition(2, 1)],
            5,
        );
        let message = proto::CommitRequest::from(&request);
        assert_eq!(CommitRequest::try_from(message).unwrap(), request);
    }

    #[test]
    fn nonsense_is_malformed() {
        let message = reply(SEGMENT, Err(CommitError::NotRegistered(2))).unwrap();
        let without_segment = proto::CommitReply {
            segment: None,
            ..message.clone()
        };
        assert_eq!(outcome(without_segment), Err(Malformed));
        for kinds in [&[COMMITTED][..], &[DUPLICATE], &[2], &[REJECTED + 6]] {
            let strange = proto::CommitReply {
                failure: None,
                kinds: Bytes::copy_from_slice(kinds),
                ..message.clone()
            };
            assert_eq!(outcome(strange), Err(Malformed), "{kinds:?}");
        }
    }
}
