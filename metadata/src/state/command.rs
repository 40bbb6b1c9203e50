//! What the state is asked and what it answers.
//!
//! The layout of [`Command`] is by room: processes and epochs, topics, the log, objects, producers,
//! groups. Transactions and ACLs are rooms of their own with commands of their own.

use std::sync::Arc;

use floe_protocol::error_code::ErrorCode;
use floe_protocol::types::{Offset, PartitionIndex, TimestampMs, TopicId, TopicPartition};

use crate::api::admin::AlterConfigs;
use crate::api::groups::OffsetCommit;
use crate::api::objects::{MergeError, MergeRequest, MergeSource, Retention};
use crate::api::{
    CommitError, CommitReply, CommitRequest, NewProcess, NewTopic, PartitionBounds,
    ProducerIdBlock, Registration, RequestError, Revision, Topic,
};
use crate::groups::Saved;

/// A change of the state. Applying one never fails half-way: a refusal changes nothing but the revision.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    // Processes and epochs.
    /// A process wants an incarnation. Idempotent by nonce and attempt. Answered by
    /// [`Reply::Registered`].
    Register(NewProcess),
    /// Takes processes, by incarnation, off the list of those that are there. They may still serve the clients
    /// they have, and their commits are taken. Answered by [`Reply::Forgotten`].
    UnlistProcesses(Vec<u32>),
    /// Forgets processes that serve nobody any more; commits of theirs that come later are taken. Answered by
    /// [`Reply::Forgotten`].
    ForgetProcesses(Vec<u32>),
    /// Raises the feature level of the cluster to this one, unless a process does not know it; a repeat,
    /// or a lower one, does nothing. Answered by [`Reply::FeatureLevel`].
    RaiseFeatureLevel(u32),
    /// Answers as [`Command::RaiseFeatureLevel`] would, and changes nothing.
    CheckFeatureLevel(u32),
    /// Makes the present write epoch `above + 1`, unless it is above `above` already: a repeat does
    /// nothing. Answered by [`Reply::WriteEpochs`].
    RaiseWriteEpoch {
        /// The write epoch the caller knows.
        above: u32,
    },
    /// Refuses, for ever, commits of segments named in a write epoch below `to` (at most the present
    /// one); the results of earlier ones are forgotten. Answered by [`Reply::WriteEpochs`].
    RaiseLowestAccepted {
        /// The lowest write epoch to accept from now on.
        to: u32,
    },

    // Topics.
    /// Creates a topic; idempotent by its id. Answered by [`Reply::Topic`]: the topic as it is now when
    /// its id exists, `TopicExists` when its name belongs to another id, `UnknownTopic` when the id was
    /// deleted since (so that a late repeat does not bring a topic back).
    CreateTopic(NewTopic),
    /// Raises a topic's number of partitions. Answered by [`Reply::Topic`].
    CreatePartitions {
        /// Which topic.
        topic: TopicId,
        /// How many partitions it shall have in all; more than it has.
        count: PartitionIndex,
    },
    /// Deletes a topic with all its records. Answered by [`Reply::TopicDeleted`]. Ids of deleted topics
    /// are remembered for ever, so a repeat succeeds; `UnknownTopic` is for ids that never were.
    DeleteTopic(TopicId),
    /// Replaces the configs of one resource, unless they are others than the caller saw; where they are as
    /// wanted already it does nothing. Answered by [`Reply::ConfigsAltered`].
    AlterConfigs(AlterConfigs),

    // The log.
    /// Gives a segment's batches their offsets; idempotent by the segment's id. Answered by
    /// [`Reply::Committed`].
    Commit(CommitRequest),
    /// Moves log starts up. An offset below the present log start does nothing, one above the high
    /// watermark counts as the high watermark. Answered by [`Reply::LogStarts`].
    MoveLogStart(Vec<(TopicPartition, Offset)>),

    // The life of objects.
    /// Leases live segments, by commit, and tells what is alive of them. Leases are in memory only. Answered by
    /// [`Reply::MergeSources`].
    BeginMerge {
        /// Their commits.
        sources: Vec<u64>,
        /// How long nobody else is given them.
        lease_ms: TimestampMs,
    },
    /// Replaces extents of merged segments by those of a new one; idempotent by the segment's id. Answered by
    /// [`Reply::Merged`].
    CompleteMerge(MergeRequest),
    /// Moves log starts up to what is to be kept. Answered by [`Reply::Retained`].
    Retain(Vec<Retention>),
    /// Forgets dead objects, by commit, that are no longer in the store; of others nothing. Answered by
    /// [`Reply::Forgotten`].
    ForgetObjects(Vec<u64>),

    // Producers.
    /// Takes the next block of producer ids; a repeat wastes one. Answered by [`Reply::ProducerIds`].
    AllocateProducerIds,

    // Groups. Whether it is allowed was decided before.
    /// Keeps a group as it is now. Answered by [`Reply::GroupSaved`].
    SaveGroup {
        /// Its name.
        group: Arc<str>,
        /// What is to outlive the owner.
        saved: Arc<Saved>,
    },
    /// Stores offsets; makes the group if there is none and anything is stored. Answered by
    /// [`Reply::Codes`], one per offset.
    CommitOffsets {
        /// Whose.
        group: Arc<str>,
        /// In the order of the answer; of one partition the last counts.
        offsets: Vec<OffsetCommit>,
    },
    /// Forgets offsets. Answered by [`Reply::Codes`], one per partition.
    DeleteOffsets {
        /// Whose.
        group: Arc<str>,
        /// In the order of the answer.
        partitions: Vec<(String, PartitionIndex)>,
    },
    /// Forgets a group and its offsets; a repeat does nothing. Answered by [`Reply::Codes`], which has one.
    DeleteGroup(Arc<str>),
    /// Forgets offsets that nobody came for in time, and groups that have none left. Answered by
    /// [`Reply::OffsetsExpired`].
    ExpireOffsets,
}

/// What a [`Command`] came to. To be sent when the batch its rows are in is durable.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// To [`Command::Register`].
    Registered(Result<Registration, RequestError>),
    /// To [`Command::RaiseFeatureLevel`] and [`Command::CheckFeatureLevel`]: the revision after which
    /// views show it.
    FeatureLevel(Result<Revision, RequestError>),
    /// To [`Command::RaiseWriteEpoch`] and [`Command::RaiseLowestAccepted`]: what holds now.
    WriteEpochs {
        /// The write epoch that new registrations are given.
        present: u32,
        /// The lowest that a commit may name.
        lowest_accepted: u32,
    },
    /// To [`Command::UnlistProcesses`], [`Command::ForgetProcesses`] and [`Command::ForgetObjects`].
    Forgotten,
    /// To [`Command::BeginMerge`]: in its order; `None` if one of them is leased, or not alive any more.
    MergeSources(Option<Vec<MergeSource>>),
    /// To [`Command::CompleteMerge`]: the revision since which it holds.
    Merged(Result<Revision, MergeError>),
    /// To [`Command::Retain`]: logs that start later now.
    Retained(u64),
    /// To [`Command::CreateTopic`] and [`Command::CreatePartitions`]: the topic and the revision after
    /// which views show it.
    Topic(Result<(Arc<Topic>, Revision), RequestError>),
    /// To [`Command::DeleteTopic`]: the revision after which views no longer show it.
    TopicDeleted(Result<Revision, RequestError>),
    /// To [`Command::Commit`].
    Committed(Result<CommitReply, CommitError>),
    /// To [`Command::AlterConfigs`]: the revision after which views show it.
    ConfigsAltered(Result<Revision, RequestError>),
    /// To [`Command::MoveLogStart`]: the bounds afterwards, one per partition asked for, `None` for one that
    /// does not exist; and the revision after which views show them.
    LogStarts(Vec<Option<PartitionBounds>>, Revision),
    /// To [`Command::AllocateProducerIds`].
    ProducerIds(ProducerIdBlock),
    /// To [`Command::SaveGroup`].
    GroupSaved,
    /// One per thing asked for, in its order.
    Codes(Vec<ErrorCode>),
    /// To [`Command::ExpireOffsets`]: the groups that are gone.
    OffsetsExpired(Vec<Arc<str>>),
}
