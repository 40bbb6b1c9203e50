//! What compaction asks, as calls.

use floe_protocol::types::TimestampMs;
use floe_storage::segment::SegmentId;

use super::{Call, Client};
use crate::api::objects::{
    DeadObject, MergeError, MergeRequest, MergeSource, ObjectReply, ObjectRequest, Retention,
    SegmentSummary, WriteEpochs,
};
use crate::api::{RequestError, Revision};

impl Client {
    /// Asks; the reply fits the request, see [`ObjectReply`].
    pub(crate) async fn object(&self, request: ObjectRequest) -> Result<ObjectReply, RequestError> {
        self.call(|answer| Call::Object(request, answer)).await
    }

    /// All live segments of levels below `below_level`, by commit. Linearizable.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn segments(&self, below_level: u8) -> Result<Vec<SegmentSummary>, RequestError> {
        match self.object(ObjectRequest::Segments { below_level }).await? {
            ObjectReply::Segments(segments) => Ok(segments),
            other => Err(unfit(&other)),
        }
    }

    /// Leases `sources`, commits of live segments, for `lease_ms` of cluster time, and tells what is alive of
    /// them, in their order; `None` if one of them is leased, or not alive any more.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn begin_merge(
        &self,
        sources: Vec<u64>,
        lease_ms: TimestampMs,
    ) -> Result<Option<Vec<MergeSource>>, RequestError> {
        let request = ObjectRequest::BeginMerge { sources, lease_ms };
        match self.object(request).await? {
            ObjectReply::MergeSources(sources) => Ok(sources),
            other => Err(unfit(&other)),
        }
    }

    /// Replaces extents of merged segments by those of a new one. After `Unavailable` repeat the same request:
    /// whether it happened is not known.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn complete_merge(
        &self,
        merge: MergeRequest,
    ) -> Result<Result<Revision, MergeError>, RequestError> {
        match self.object(ObjectRequest::CompleteMerge(merge)).await? {
            ObjectReply::Merged(outcome) => Ok(outcome),
            other => Err(unfit(&other)),
        }
    }

    /// Moves log starts up to what is to be kept; returns how many moved.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn retain(&self, topics: Vec<Retention>) -> Result<u64, RequestError> {
        match self.object(ObjectRequest::Retain(topics)).await? {
            ObjectReply::Retained(moved) => Ok(moved),
            other => Err(unfit(&other)),
        }
    }

    /// Objects that have been dead for at least `min_age_ms` of cluster time, the longest first, at most
    /// `objects_max`. Linearizable.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn dead_objects(
        &self,
        min_age_ms: TimestampMs,
        objects_max: usize,
    ) -> Result<Vec<DeadObject>, RequestError> {
        let request = ObjectRequest::Dead {
            min_age_ms,
            objects_max,
        };
        match self.object(request).await? {
            ObjectReply::Dead(objects) => Ok(objects),
            other => Err(unfit(&other)),
        }
    }

    /// Forgets dead objects, by commit, that are no longer in the store.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn forget_objects(&self, commits: Vec<u64>) -> Result<(), RequestError> {
        match self.object(ObjectRequest::Forget(commits)).await? {
            ObjectReply::Forgotten => Ok(()),
            other => Err(unfit(&other)),
        }
    }

    /// Whether each of `segments` is known: live, or dead and not yet forgotten. Linearizable.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn are_known(&self, segments: Vec<SegmentId>) -> Result<Vec<bool>, RequestError> {
        match self.object(ObjectRequest::AreKnown(segments)).await? {
            ObjectReply::Known(known) => Ok(known),
            other => Err(unfit(&other)),
        }
    }

    /// Write epochs as they are. Linearizable.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn write_epochs(&self) -> Result<WriteEpochs, RequestError> {
        self.ask_write_epochs(ObjectRequest::WriteEpochs).await
    }

    /// Makes the present write epoch `above + 1`, unless it is above `above` already.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn raise_write_epoch(&self, above: u32) -> Result<WriteEpochs, RequestError> {
        self.ask_write_epochs(ObjectRequest::RaiseWriteEpoch { above })
            .await
    }

    /// Refuses, for ever, names of write epochs below `to`, at most the present one.
    ///
    /// # Errors
    /// `Unavailable` only.
    pub async fn raise_lowest_accepted(&self, to: u32) -> Result<WriteEpochs, RequestError> {
        self.ask_write_epochs(ObjectRequest::RaiseLowestAccepted { to })
            .await
    }

    async fn ask_write_epochs(&self, request: ObjectRequest) -> Result<WriteEpochs, RequestError> {
        match self.object(request).await? {
            ObjectReply::WriteEpochs(epochs) => Ok(epochs),
            other => Err(unfit(&other)),
        }
    }
}

/// An answer to another question: only an owner of another release gives one.
fn unfit(reply: &ObjectReply) -> RequestError {
    tracing::error!(?reply, "metadata's owner answered another question");
    RequestError::Unavailable
}
