//! Reads what an error of any layer means.

use std::error::Error;
use std::io;
use std::time::Duration;

use object_store::client::{HttpError, HttpErrorKind};

use super::{Fault, Outcome, StoreErrorKind};

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
