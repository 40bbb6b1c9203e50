//! Errors of every source, and what they mean.

use std::error::Error;
use std::io;

use object_store::client::{HttpError, HttpErrorKind};

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
