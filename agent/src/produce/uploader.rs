//! Stores one sealed segment under its own name. Waiting, retries and hedges are the store's business.

use floe_planted::Bug;
use floe_storage::error::StoreError;
use floe_storage::key::{self, Lineage};
use floe_storage::segment::{SealedSegment, SegmentId};
use floe_storage::store::{Caller, Created, Store};

/// Why a segment is not in the store under its name.
#[derive(Debug, thiserror::Error)]
pub(super) enum PutError {
    /// The store failed. The object may exist or come to exist.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another object has this name, which nobody else may use: somebody wrote to the bucket by hand,
    /// or two processes believe to be the same one.
    #[error("segment name {0} is taken by other bytes")]
    NameTaken(SegmentId),
}

/// Stores `segment`; it is durable and readable under its name when this returns.
///
/// # Errors
/// The segment may or may not exist, and nobody refers to it: its commit was never sent, so its records
/// are surely not written. It is never stored under this name again; the object, if there is one, is an
/// orphan for the sweeper. The lane answers `KAFKA_STORAGE_ERROR` instead of trying another name: the
/// store's own retries have used up the time that was worth waiting, and the producer, which keeps the
/// records anyway, knows best whether they are still wanted.
pub(super) async fn put(
    store: &Store,
    lineage: Lineage,
    segment: &SealedSegment,
) -> Result<(), PutError> {
    let path = key::segment(lineage, 0, segment.id);
    match store
        .put_create(&path, segment.payload.chunks().to_vec(), Caller::Produce)
        .await?
    {
        Created::New => Ok(()),
        Created::Existed if Bug::NamesReused.is_planted() => Ok(()),
        Created::Existed => Err(PutError::NameTaken(segment.id)),
    }
}
