//! What went wrong at the object store, in the three answers a caller needs: did it happen, may I try
//! again, after how long.
//!
//! Between the layers of the store errors travel as [`object_store::Error`]. A layer that knows more
//! than that type can say (an HTTP status, a timeout of ours, a short body) puts a [`Fault`] into the
//! source chain; [`classify`] finds it again. Texts are never searched.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind};

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

/// The three answers of [`StoreError`], read from an error of any layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Class {
    pub(crate) kind: StoreErrorKind,
    pub(crate) outcome: Outcome,
    pub(crate) retry_after: Option<Duration>,
}

/// Reads what `error` means. Errors nobody knows are taken for unknown and retriable: repeating a
/// create-only PUT, a GET or a DELETE does no harm.
pub(crate) fn classify(error: &object_store::Error) -> Class {
    if let Some(fault) = find::<Fault>(error) {
        return Class {
            kind: fault.kind,
            outcome: fault.outcome,
            retry_after: fault.retry_after,
        };
    }
    let class = |kind, outcome| Class {
        kind,
        outcome,
        retry_after: None,
    };
    match error {
        object_store::Error::NotFound { .. } => {
            class(StoreErrorKind::NotFound, Outcome::DidNotHappen)
        }
        object_store::Error::AlreadyExists { .. } => {
            class(StoreErrorKind::AlreadyExists, Outcome::DidNotHappen)
        }
        object_store::Error::Precondition { .. } | object_store::Error::NotModified { .. } => {
            class(StoreErrorKind::Precondition, Outcome::DidNotHappen)
        }
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => {
            class(StoreErrorKind::Denied, Outcome::DidNotHappen)
        }
        object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. } => {
            class(StoreErrorKind::Unsupported, Outcome::DidNotHappen)
        }
        object_store::Error::InvalidPath { .. }
        | object_store::Error::UnknownConfigurationKey { .. } => {
            class(StoreErrorKind::Invalid, Outcome::DidNotHappen)
        }
        _ => {
            let (kind, outcome) = classify_source(error);
            class(kind, outcome)
        }
    }
}

fn classify_source(error: &object_store::Error) -> (StoreErrorKind, Outcome) {
    if let Some(http) = find::<HttpError>(error) {
        return match http.kind() {
            HttpErrorKind::Connect => (StoreErrorKind::Unreachable, Outcome::DidNotHappen),
            HttpErrorKind::Timeout => (StoreErrorKind::Timeout, Outcome::Unknown),
            HttpErrorKind::Request | HttpErrorKind::Interrupted | HttpErrorKind::Decode => {
                (StoreErrorKind::Interrupted, Outcome::Unknown)
            }
            _ => (StoreErrorKind::Other, Outcome::Unknown),
        };
    }
    // A file is published last, by one link or rename, and its folder is synced after that: an error
    // of the file system may have come after the publishing.
    match find::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            (StoreErrorKind::Full, Outcome::Unknown)
        }
        Some(io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            (StoreErrorKind::Denied, Outcome::Unknown)
        }
        // Folder and memory fail for good where no device is involved: a range past the end, a name
        // that cannot be.
        None if is_local(error) => (StoreErrorKind::Invalid, Outcome::DidNotHappen),
        _ => (StoreErrorKind::Other, Outcome::Unknown),
    }
}

fn is_local(error: &object_store::Error) -> bool {
    let local = ["LocalFileSystem", "InMemory"];
    matches!(error, object_store::Error::Generic { store, .. } if local.contains(store))
}

/// The first `T` in the chain of sources of `error`.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(found) = current.downcast_ref::<T>() {
            return Some(found);
        }
        next = current.source();
    }
    None
}

/// The innermost cause, which is what names the file, address or limit.
pub(crate) fn root<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut current = error;
    while let Some(source) = current.source() {
        current = source;
    }
    current
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(source: impl Error + Send + Sync + 'static) -> object_store::Error {
        object_store::Error::Generic {
            store: "test",
            source: Box::new(source),
        }
    }

    #[test]
    fn every_kind_of_source_is_understood() {
        let io = |kind| generic(io::Error::new(kind, "x"));
        let http = |kind| generic(HttpError::new(kind, io::Error::other("x")));
        let missing = object_store::Error::NotFound {
            path: "p".into(),
            source: "x".into(),
        };
        for (error, kind, outcome) in [
            (missing, StoreErrorKind::NotFound, Outcome::DidNotHappen),
            (
                io(io::ErrorKind::StorageFull),
                StoreErrorKind::Full,
                Outcome::Unknown,
            ),
            (
                io(io::ErrorKind::PermissionDenied),
                StoreErrorKind::Denied,
                Outcome::Unknown,
            ),
            (
                io(io::ErrorKind::Other),
                StoreErrorKind::Other,
                Outcome::Unknown,
            ),
            (
                http(HttpErrorKind::Connect),
                StoreErrorKind::Unreachable,
                Outcome::DidNotHappen,
            ),
            (
                http(HttpErrorKind::Timeout),
                StoreErrorKind::Timeout,
                Outcome::Unknown,
            ),
            (
                http(HttpErrorKind::Request),
                StoreErrorKind::Interrupted,
                Outcome::Unknown,
            ),
            (
                Fault::without_effect(StoreErrorKind::Throttled, "slow down").into(),
                StoreErrorKind::Throttled,
                Outcome::DidNotHappen,
            ),
            (
                generic(generic(Fault::unknown(StoreErrorKind::Timeout, "late"))),
                StoreErrorKind::Timeout,
                Outcome::Unknown,
            ),
        ] {
            let class = classify(&error);
            assert_eq!((class.kind, class.outcome), (kind, outcome), "{error:?}");
        }
    }

    #[test]
    fn a_store_error_names_operation_object_and_root() {
        let error = StoreError::new("put", "a/b", generic(io::Error::other("disk on fire")));
        assert_eq!(error.to_string(), "put 'a/b': failed (disk on fire)");
        assert!(error.is_retriable());
    }
}
