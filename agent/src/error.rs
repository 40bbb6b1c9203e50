//! Every error inside the broker, and the Kafka code clients see for it. Nowhere else is that decided,
//! and no match has a wildcard: a new error does not compile until someone chose its code.

use floe_metadata::api::{BatchRejection, CommitError, RequestError};
use floe_protocol::error_code::ErrorCode;
use floe_protocol::record_batch::BatchErrorKind;
use floe_storage::error::{StoreError, StoreErrorKind};

use crate::fetch::{ReadError, SessionError};
use crate::produce::Outcome;
use crate::topic_config::ConfigError;
use crate::topic_name::NameError;

/// What a client is told instead of a result.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    /// The code.
    pub(crate) code: ErrorCode,
    /// Words for people; names the value that was refused.
    pub(crate) message: String,
}

impl Failure {
    /// A failure of the handler's own.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        let code = match &error {
            // Also for "outcome unknown": clients ask again, and the same request may then succeed.
            RequestError::Unavailable => ErrorCode::RequestTimedOut,
            RequestError::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
            RequestError::TopicExists(_) => ErrorCode::TopicAlreadyExists,
            RequestError::PartitionCountNotRaised { .. }
            | RequestError::TooManyPartitions { .. } => ErrorCode::InvalidPartitions,
            // Whoever changes configs looks again by itself, as long as it may.
            RequestError::ConfigsChanged => ErrorCode::RequestTimedOut,
            RequestError::TooManyResources(_) => ErrorCode::PolicyViolation,
            RequestError::NotUnderstood { .. } => ErrorCode::FeatureUpdateFailed,
            RequestError::TooOld { .. } => ErrorCode::UnsupportedVersion,
        };
        let message = match &error {
            RequestError::UnknownTopic => {
                "This server does not host this topic-partition.".to_owned()
            }
            RequestError::TopicExists(name) => format!("Topic '{name}' already exists."),
            RequestError::PartitionCountNotRaised { have, asked } if have == asked => {
                format!("Topic already has {have} partition(s).")
            }
            RequestError::PartitionCountNotRaised { have, asked } => format!(
                "Topic currently has {have} partitions, which is higher than the requested {asked}."
            ),
            RequestError::Unavailable
            | RequestError::ConfigsChanged
            | RequestError::TooManyResources(_)
            | RequestError::TooManyPartitions { .. }
            | RequestError::NotUnderstood { .. }
            | RequestError::TooOld { .. } => error.to_string(),
        };
        Self { code, message }
    }
}

impl From<NameError> for Failure {
    fn from(error: NameError) -> Self {
        Self::new(ErrorCode::InvalidTopicException, error.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(ErrorCode::InvalidConfig, error.to_string())
    }
}

/// The code for a batch that its commit refused.
pub(crate) const fn of_rejection(rejection: BatchRejection) -> ErrorCode {
    match rejection {
        BatchRejection::UnknownTopicOrPartition => ErrorCode::UnknownTopicOrPartition,
        BatchRejection::OutOfOrderSequence => ErrorCode::OutOfOrderSequenceNumber,
        BatchRejection::InvalidProducerEpoch => ErrorCode::InvalidProducerEpoch,
        BatchRejection::InvalidTxnState => ErrorCode::InvalidTxnState,
        BatchRejection::Empty => ErrorCode::InvalidRecord,
        // No retry can help, and no other code says "full for ever".
        BatchRejection::OffsetsExhausted => ErrorCode::UnknownServerError,
    }
}

/// The code for a batch whose commit has no result.
pub(crate) const fn of_commit(error: CommitError) -> ErrorCode {
    match error {
        // Unknown for ever, or until the sequence comes back: never "not written".
        CommitError::TooOld { .. } | CommitError::Unavailable => ErrorCode::RequestTimedOut,
        CommitError::NotRegistered(_) => ErrorCode::NotEnoughReplicas,
    }
}

/// The code for records that could not be read from the store.
pub(crate) const fn of_read(error: &StoreError) -> ErrorCode {
    match error.kind() {
        // An object that metadata names is gone or damaged: clients come back, and someone must look.
        StoreErrorKind::NotFound
        | StoreErrorKind::NoSuchBucket
        | StoreErrorKind::Denied
        | StoreErrorKind::Unreachable
        | StoreErrorKind::Full
        | StoreErrorKind::Throttled
        | StoreErrorKind::Timeout
        | StoreErrorKind::Interrupted
        | StoreErrorKind::Internal
        | StoreErrorKind::Conflict
        | StoreErrorKind::AlreadyExists
        | StoreErrorKind::Precondition
        | StoreErrorKind::Unsupported
        | StoreErrorKind::Invalid
        | StoreErrorKind::Other => ErrorCode::KafkaStorageError,
    }
}

/// The code for a produced batch that failed a check.
pub(crate) const fn of_batch(kind: BatchErrorKind) -> ErrorCode {
    match kind {
        BatchErrorKind::InvalidRecord => ErrorCode::InvalidRecord,
        BatchErrorKind::Corrupt => ErrorCode::CorruptMessage,
        BatchErrorKind::UnsupportedCompression => ErrorCode::UnsupportedCompressionType,
        BatchErrorKind::TooLarge => ErrorCode::MessageTooLarge,
        BatchErrorKind::InvalidTimestamp => ErrorCode::InvalidTimestamp,
    }
}

/// The code for a produced batch with this outcome; `None` is one that was still open in the end.
pub(crate) const fn of_outcome(outcome: Option<Outcome>) -> ErrorCode {
    match outcome {
        Some(Outcome::Written { .. }) => ErrorCode::None,
        Some(Outcome::Rejected(rejection)) => of_rejection(rejection),
        Some(Outcome::NotStored) => ErrorCode::KafkaStorageError,
        Some(Outcome::NoResult(error)) => of_commit(error),
        None => ErrorCode::RequestTimedOut,
    }
}

/// The code for records that could not be read.
pub(crate) const fn of_read_error(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::Store(cause) => of_read(cause),
        ReadError::Damaged { .. } => ErrorCode::KafkaStorageError,
    }
}

/// The code for a fetch that does not fit its session.
pub(crate) const fn of_session(error: SessionError) -> ErrorCode {
    match error {
        SessionError::NotFound(_) => ErrorCode::FetchSessionIdNotFound,
        SessionError::Epoch { .. } => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::TopicId(_) => ErrorCode::FetchSessionTopicIdError,
    }
}
