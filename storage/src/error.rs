//! What went wrong at the object store, in the three answers a caller needs: did it happen, may I try
//! again, after how long.
//!
//! Between the layers of the store errors travel as [`object_store::Error`]. A layer that knows more
//! than that type can say (an HTTP status, a timeout of ours, a short body) puts a [`Fault`] into the
//! source chain; [`classify`] finds it again. Texts are never searched.

mod classify;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use classify::{Class, classify, root};

/// Whether a failed request had an effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Surely none, now or later.
    DidNotHappen,
    /// It may have happened, or may still. Settle it by repeating the same request.
    Unknown,
}

/// What went wrong.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StoreErrorKind {
    /// There is no such object.
    NotFound,
    /// There is no such bucket.
    NoSuchBucket,
    /// The store did not accept the keys, or they may not do this.
    Denied,
    /// No connection could be made.
    Unreachable,
    /// The disk, or a quota, is full.
    Full,
    /// The store asks for fewer requests (503 SlowDown, 429).
    Throttled,
    /// No answer in time.
    Timeout,
    /// The connection broke, or the answer ended early.
    Interrupted,
    /// The store failed inside (5xx).
    Internal,
    /// Two writers met at one name and neither landed (409).
    Conflict,
    /// The name is taken, by other bytes.
    AlreadyExists,
    /// A condition of the request did not hold.
    Precondition,
    /// The store cannot do this.
    Unsupported,
    /// The request makes no sense to the store.
    Invalid,
    /// Anything else.
    Other,
}

impl StoreErrorKind {
    /// Whether the same request may succeed soon without anyone's help.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        match self {
            Self::Unreachable
            | Self::Throttled
            | Self::Timeout
            | Self::Interrupted
            | Self::Internal
            | Self::Conflict
            | Self::Other => true,
            Self::NotFound
            | Self::NoSuchBucket
            | Self::Denied
            | Self::Full
            | Self::AlreadyExists
            | Self::Precondition
            | Self::Unsupported
            | Self::Invalid => false,
        }
    }

    /// In words, for log lines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::NoSuchBucket => "no such bucket",
            Self::Denied => "access denied",
            Self::Unreachable => "unreachable",
            Self::Full => "no space left",
            Self::Throttled => "throttled",
            Self::Timeout => "no answer in time",
            Self::Interrupted => "interrupted",
            Self::Internal => "internal error of the store",
            Self::Conflict => "conflict",
            Self::AlreadyExists => "already exists",
            Self::Precondition => "condition not met",
            Self::Unsupported => "not supported",
            Self::Invalid => "invalid request",
            Self::Other => "failed",
        }
    }
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request to the store failed, after all retries.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    outcome: Outcome,
    retry_after: Option<Duration>,
    operation: &'static str,
    path: String,
    source: Arc<object_store::Error>,
}

impl StoreError {
    pub(crate) fn new(operation: &'static str, path: &str, source: object_store::Error) -> Self {
        let Class {
            kind,
            outcome,
            retry_after,
        } = classify(&source);
        let path = path.to_owned();
        Self {
            kind,
            outcome,
            retry_after,
            operation,
            path,
            source: Arc::new(source),
        }
    }

    pub(crate) fn of_fault(operation: &'static str, path: &str, fault: Fault) -> Self {
        Self::new(operation, path, fault.into())
    }

    /// The same failure of a step after a write: what became of the write is not known.
    pub(crate) fn into_unknown(self) -> Self {
        Self {
            outcome: Outcome::Unknown,
            ..self
        }
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether it happened: for a write, over all attempts that were made.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether the same request may succeed later without anyone's help.
    #[must_use]
    pub const fn is_retriable(&self) -> bool {
        self.kind.is_retriable()
    }

    /// How long the store asked to be left alone, if it did.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} '{}': {} ({})",
            self.operation,
            self.path,
            self.kind,
            root(&*self.source)
        )
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// What a layer of the store knows about a failure, carried in an [`object_store::Error`].
#[derive(Debug)]
pub struct Fault {
    /// What went wrong.
    pub kind: StoreErrorKind,
    /// Whether it happened.
    pub outcome: Outcome,
    /// How long the store asked to be left alone.
    pub retry_after: Option<Duration>,
    /// The store's own words, or ours.
    pub message: String,
}

impl Fault {
    /// A fault that surely had no effect.
    #[must_use]
    pub fn without_effect(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        let outcome = Outcome::DidNotHappen;
        Self {
            kind,
            outcome,
            retry_after: None,
            message: message.into(),
        }
    }

    /// A fault whose effect is not known.
    #[must_use]
    pub fn unknown(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Unknown,
            ..Self::without_effect(kind, message)
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Fault {}

impl From<Fault> for object_store::Error {
    fn from(fault: Fault) -> Self {
        Self::Generic {
            store: "floe",
            source: Box::new(fault),
        }
    }
}
