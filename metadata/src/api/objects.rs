//! The life of an object after its commit: what is merged into what, how much of a log is kept, and which
//! objects nobody needs any more.
//!
//! A committed segment is known by its *commit*, a number that never comes back. Merging takes several
//! commits and makes a new one, whose extents replace theirs. A commit to which no extent of any log leads
//! is *dead*; its object is deleted a grace period later, and then forgotten.

use std::fmt;

use floe_protocol::types::{Offset, TimestampMs, TopicId, TopicPartition};
use floe_storage::segment::SegmentId;

use super::{Extent, Revision};

/// A live segment as those who plan merges see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentSummary {
    /// Its commit.
    pub commit: u64,
    /// The object.
    pub segment: SegmentId,
    /// 0 as ingested, 1 and up merged.
    pub level: u8,
    /// Of the whole object.
    pub size_bytes: u64,
    /// Extents of logs that lead to it, at least 1.
    pub live_extents: u64,
    /// Cluster time of the commit.
    pub committed_ms: TimestampMs,
    /// Somebody is merging it.
    pub is_leased: bool,
}

/// What is alive of a segment that is to be merged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MergeSource {
    /// The segment; its lease is the caller's.
    pub summary: SegmentSummary,
    /// Every extent of a log that leads to it, by partition, then offset.
    pub extents: Vec<(TopicPartition, Extent)>,
}

/// Replaces extents of merged segments by those of a new one. Idempotent by `segment`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MergeRequest {
    /// The new object, durable in the store before this is sent.
    pub segment: SegmentId,
    /// Its level, at least 1.
    pub level: u8,
    /// Of the whole object.
    pub size_bytes: u64,
    /// Commits whose extents are replaced.
    pub sources: Vec<u64>,
    /// By partition, then offset. An extent may be replaced only as a whole: each of these covers exactly
    /// the offsets of extents of `sources` that follow each other; those that the log start has passed
    /// meanwhile may be missing at the front.
    pub extents: Vec<MergedExtent>,
}

/// A run of merged batches. Offsets in the bytes are final and may have gaps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MergedExtent {
    /// Whose records they are.
    pub partition: TopicPartition,
    /// First byte in the new object.
    pub position_bytes: u64,
    /// Bytes of the run.
    pub length_bytes: u32,
    /// First offset covered.
    pub base_offset: Offset,
    /// One past the last offset covered; at most 2^32 - 1 above the first.
    pub end_offset: Offset,
    /// Greatest record time of the run.
    pub max_timestamp_ms: TimestampMs,
}

/// Why a merge was refused; its object is an orphan then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MergeError {
    /// What it covers is not (or no longer) covered by its sources, or nothing of it is alive.
    #[error("the sources of the merge were replaced meanwhile")]
    Stale,
    /// As [`super::CommitError::TooOld`].
    #[error("write epoch {write_epoch} is below {lowest}, the lowest that is accepted")]
    TooOld {
        /// The segment's.
        write_epoch: u32,
        /// The lowest accepted.
        lowest: u32,
    },
    /// The name was given by a registration that does not exist.
    #[error("incarnation {0} is not registered")]
    NotRegistered(u32),
    /// Extents out of order, empty where they may not be, or of level 0.
    #[error("the merge makes no sense")]
    Malformed,
}

/// How much of a topic's logs is to be kept. Extents go as a whole, the oldest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Which topic.
    pub topic: TopicId,
    /// Extents whose greatest record time is below this go, up to the first that stays (`retention.ms`). Where
    /// records have no time, that of the commit counts.
    pub min_timestamp_ms: Option<TimestampMs>,
    /// Extents go while what is left of a partition holds at least this many bytes (`retention.bytes`).
    pub bytes_max: Option<u64>,
}

/// An object that no log leads to any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeadObject {
    /// Its commit.
    pub commit: u64,
    /// The object.
    pub segment: SegmentId,
    /// Part of its key.
    pub level: u8,
    /// Of the whole object.
    pub size_bytes: u64,
    /// Cluster time since which it is dead.
    pub dead_ms: TimestampMs,
}

/// Write epochs as they are now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WriteEpochs {
    /// The one to name segments with.
    pub present: u32,
    /// Names of lower ones are refused for ever.
    pub lowest_accepted: u32,
}

/// What is asked; see [`ObjectReply`] for which reply answers which. All may be repeated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ObjectRequest {
    /// All live segments of levels below this, by commit. Answered by [`ObjectReply::Segments`].
    Segments {
        /// Levels from here on are left out.
        below_level: u8,
    },
    /// Leases segments and tells what is alive of them. Answered by [`ObjectReply::MergeSources`]. The lease
    /// only saves work: completing a merge is safe without it.
    BeginMerge {
        /// Their commits.
        sources: Vec<u64>,
        /// How long nobody else is given them, in cluster time.
        lease_ms: TimestampMs,
    },
    /// Answered by [`ObjectReply::Merged`].
    CompleteMerge(MergeRequest),
    /// Moves log starts up. Answered by [`ObjectReply::Retained`].
    Retain(Vec<Retention>),
    /// Objects that have been dead for at least as long, the longest first. Answered by [`ObjectReply::Dead`].
    Dead {
        /// In cluster time.
        min_age_ms: TimestampMs,
        /// Most to tell.
        objects_max: usize,
    },
    /// These dead objects, by commit, are no longer in the store. Answered by [`ObjectReply::Forgotten`].
    Forget(Vec<u64>),
    /// Whether metadata knows of a segment: live, or dead and not yet forgotten. Answered by
    /// [`ObjectReply::Known`].
    AreKnown(Vec<SegmentId>),
    /// Answered by [`ObjectReply::WriteEpochs`].
    WriteEpochs,
    /// Makes the present write epoch `above + 1`, unless it is above `above` already. Answered by
    /// [`ObjectReply::WriteEpochs`].
    RaiseWriteEpoch {
        /// The one the caller knows.
        above: u32,
    },
    /// Refuses, for ever, names of write epochs below `to`, at most the present one. Answered by
    /// [`ObjectReply::WriteEpochs`].
    RaiseLowestAccepted {
        /// The lowest to accept.
        to: u32,
    },
}

/// The answer to an [`ObjectRequest`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ObjectReply {
    /// By commit.
    Segments(Vec<SegmentSummary>),
    /// In the order of the request; `None` if one of them is leased, or not alive any more.
    MergeSources(Option<Vec<MergeSource>>),
    /// The revision since which it holds.
    Merged(Result<Revision, MergeError>),
    /// Logs that start later now.
    Retained(u64),
    /// The longest dead first.
    Dead(Vec<DeadObject>),
    /// They are forgotten.
    Forgotten,
    /// In the order of the request.
    Known(Vec<bool>),
    /// As they are now.
    WriteEpochs(WriteEpochs),
}

impl fmt::Display for DeadObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of level {}, dead since {} ms",
            self.segment, self.level, self.dead_ms
        )
    }
}
